//! Server-sent events: what stands in one frame, where a stream properly ends, and what tells a broken connection from both.
//!
//! A server says something every fifteen seconds, and closes every stream with `end` or `error`. What ends without either, or
//! is silent for long, is a connection that broke.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, ItemStream, Result, Retry};
use serde_json::Value;

use super::problem;
use super::request::Request;
use super::shared::Remote;
use crate::flow::flowing;

/// Three times the longest silence of a server.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// A frame longer than this is nonsense.
const FRAME_MAX: usize = 16 * 1024 * 1024;

/// What a stream says. An `Err` in its place says that the connection broke.
#[derive(Debug)]
pub(super) enum Said {
    /// The data of an event.
    Data(String),
    /// It has ended with this error; nothing follows.
    Failed(Error),
    /// It has ended; nothing follows.
    End,
}

/// Asks for a stream. What is refused at once is an error.
pub(super) async fn open(remote: &Remote, request: Request) -> Result<ItemStream<Said>> {
    let body = request.header("accept", "text/event-stream").open(remote).await?;
    Ok(read(flowing(SILENCE_MAX, body)))
}

struct Reader {
    body: ByteStream,
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    looked_at: usize,
    event: String,
    data: Option<String>,
    over: bool,
}

fn read(body: ByteStream) -> ItemStream<Said> {
    let reader = Reader { body, buffer: BytesMut::new(), looked_at: 0, event: String::new(), data: None, over: false };
    stream::unfold(reader, Reader::next).fuse().boxed()
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Said>, Self)> {
        while !self.over {
            while let Some(line) = self.line() {
                if let Some(said) = self.take(&line) {
                    self.over = !matches!(said, Said::Data(_));
                    return Some((Ok(said), self));
                }
            }
            let held = self.buffer.len() + self.data.as_ref().map_or(0, String::len);
            let broke = match self.body.next().await {
                Some(Ok(bytes)) if held + bytes.len() <= FRAME_MAX => {
                    self.buffer.extend_from_slice(&bytes);
                    continue;
                }
                Some(Ok(_)) => Error::new(ErrorKind::Unexpected, "the server's answer is too long"),
                Some(Err(error)) => broken(error.message()),
                None => broken("it ended in the middle"),
            };
            self.over = true;
            return Some((Err(broke), self));
        }
        None
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<String> {
        let unseen = self.buffer.get(self.looked_at..).unwrap_or_default();
        let Some(length) = unseen.iter().position(|byte| *byte == b'\n') else {
            self.looked_at = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.looked_at + length);
        self.buffer.advance(1);
        self.looked_at = 0;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        Some(String::from_utf8_lossy(line).into_owned())
    }

    /// Takes a line; an empty one closes a frame.
    fn take(&mut self, line: &str) -> Option<Said> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            return Some(match event.as_str() {
                "end" => Said::End,
                "error" => Said::Failed(failure(&data)),
                _ => Said::Data(data),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // A comment, or what is not needed.
            _ => {}
        }
        None
    }
}

fn failure(data: &str) -> Error {
    match serde_json::from_str::<Value>(data) {
        Ok(document) => problem::from_document(500, &document),
        Err(_) => Error::new(ErrorKind::Unexpected, "the server ended its answer with an error that makes no sense"),
    }
}

fn broken(why: &str) -> Error {
    let words = "the connection to the engine broke";
    let words = if why.starts_with(words) { why.to_owned() } else { format!("{words}: {why}") };
    Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    async fn said(pieces: &[&[u8]]) -> Vec<String> {
        let pieces: Vec<Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        read(stream::iter(pieces).boxed())
            .map(|said| match said {
                Ok(Said::Data(data)) => data,
                Ok(Said::End) => "END".to_owned(),
                Ok(Said::Failed(error)) => format!("FAILED {}: {}", error.kind(), error.message()),
                Err(error) => format!("BROKE {}", error.kind()),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn frames_are_read_however_they_are_cut() {
        let text = b": open\n\nid: 1\nevent: log\ndata: {\"a\":1}\n\n: keep-alive\n\ndata:x\r\ndata: y\r\n\r\nevent: end\ndata: {}\n\n";
        for size in [1, 2, 7, 1000] {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(said(&pieces).await, ["{\"a\":1}", "x\ny", "END"]);
        }
    }

    #[tokio::test]
    async fn an_end_is_told_from_a_break() {
        assert_eq!(said(&[b"data: x\n\ndata: cut"]).await, ["x", "BROKE unavailable"]);
        assert_eq!(said(&[]).await, ["BROKE unavailable"]);
        let error = b"event: error\ndata: {\"code\":\"conflict\",\"detail\":\"no\"}\n\ndata: after\n\n";
        assert_eq!(said(&[error]).await, ["FAILED conflict: no"]);
        assert_eq!(said(&[b"event: error\ndata: ]\n\n"]).await.len(), 1);
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_kept() {
        let piece = vec![b'x'; 1 << 20];
        let pieces = stream::iter((0..100).map(move |_| Ok(Bytes::from(piece.clone()))));
        let said: Vec<_> = read(pieces.boxed()).collect().await;
        assert!(matches!(said.as_slice(), [Err(error)] if error.kind() == ErrorKind::Unexpected));
    }
}
