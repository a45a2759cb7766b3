//! Connections that carry raw bytes both ways once the engine has agreed: attach and exec.
//!
//! bollard opens them too, but guesses whether the bytes are framed by looking at them, so that a terminal's output may be
//! swallowed, or held back while a frame of gigabytes is awaited. Whether there is a terminal is known; here it is told.

use std::fmt::Debug;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ErrorKind, ItemStream, OutputKind, Result, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::client::Client;
use super::error;
use super::frames::Frames;
use super::request::{self, Request};
use super::transport::Link;

/// Time for connecting, and for the engine's answer.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// The head of an answer is never longer than this; what an error says is cut off here.
const HEAD_MAX: usize = 64 * 1024;
/// What is read at once.
const PIECE: usize = 32 * 1024;

/// An open connection.
pub(super) struct Hijacked {
    read: ReadHalf<Link>,
    /// What came with the head of the answer.
    early: BytesMut,
    write: WriteHalf<Link>,
}

/// The writing side of a connection.
pub(super) struct Input {
    /// Gone once it is closed.
    write: Option<WriteHalf<Link>>,
    tty: bool,
}

impl Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("open", &self.write.is_some()).finish_non_exhaustive()
    }
}

impl Input {
    /// Writes all of `data`.
    pub(super) async fn write(&mut self, data: &[u8]) -> Result<()> {
        let Some(write) = &mut self.write else {
            return Err(Error::new(ErrorKind::Conflict, "the input is closed"));
        };
        let written = async {
            write.write_all(data).await?;
            write.flush().await
        };
        written.await.map_err(|cause| match cause.kind() {
            // The engine hangs up when the process has ended.
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => {
                Error::new(ErrorKind::Conflict, "the process reads no more input").with_source(cause)
            }
            _ => broken(cause),
        })
    }

    /// Ends the input: the process reads end of file. The output stays open.
    pub(super) async fn end(&mut self) -> Result<()> {
        let Some(mut write) = self.write.take() else { return Ok(()) };
        let ended = if self.tty {
            // At a terminal it is the key Ctrl-D that means this. The connection must stay as it is: Docker ends the
            // output, too, when a terminal's input is closed.
            async {
                write.write_all(&[4]).await?;
                write.flush().await
            }
            .await
        } else {
            write.shutdown().await
        };
        match ended {
            Ok(()) => Ok(()),
            // These say that the other side is gone already, and with it the reader of the input.
            Err(cause)
                if matches!(
                    cause.kind(),
                    std::io::ErrorKind::BrokenPipe
                        | std::io::ErrorKind::NotConnected
                        | std::io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            Err(cause) => Err(broken(cause)),
        }
    }
}

impl Drop for Input {
    /// The process reads end of file when nobody can write to it any more; a terminal stays as it is.
    fn drop(&mut self) {
        if let (Some(mut write), false, Ok(runtime)) =
            (self.write.take(), self.tty, tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { write.shutdown().await });
        }
    }
}

fn broken(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the engine broke").with_source(cause)
}

/// Sends a POST on a connection of its own, and takes the connection over.
pub(super) async fn open(client: &Client, request: Request) -> Result<Hijacked> {
    match timeout(OPEN_DEADLINE, upgrade(client, request)).await {
        Ok(result) => result.map_err(|error| error.with_node(&client.name)),
        Err(_) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("the engine did not answer within {} s", OPEN_DEADLINE.as_secs()),
        )
        .with_node(&client.name)),
    }
}

async fn upgrade(client: &Client, request: Request) -> Result<Hijacked> {
    let unreachable = |cause: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("the engine cannot be reached: {cause}"))
            .with_source(cause)
            // Nothing has been sent.
            .with_retry(Retry::Safe)
    };
    let mut stream = client.transport.dial().await.map_err(unreachable)?;
    let (target, body) = request.into_parts();
    let head = format!(
        "POST /v{}{target} HTTP/1.1\r\nHost: roadstead\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        client.docker.client_version(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    stream.write_all(&body).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;

    let mut early = BytesMut::with_capacity(PIECE);
    let end = loop {
        if let Some(end) = early.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if early.len() > HEAD_MAX {
            return Err(Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense"));
        }
        if stream.read_buf(&mut early).await.map_err(broken)? == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "the engine hung up before it answered"));
        }
    };
    let head = early.split_to(end);
    early.advance(4);
    let answer = Answer::parse(&String::from_utf8_lossy(&head));
    match answer.status {
        // Engines that ignore the wish for an upgrade say 200, and take the connection over all the same.
        Some(101 | 200) => {
            let (read, write) = tokio::io::split(stream);
            Ok(Hijacked { read, early, write })
        }
        Some(status) => {
            let text = answer.body(&mut stream, early).await;
            Err(error::translate(request::refusal(status, &text)))
        }
        None => Err(Error::new(ErrorKind::Unexpected, "the engine's answer is not HTTP")),
    }
}

/// The head of an answer, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Option<u16>,
    length: Option<usize>,
}

impl Answer {
    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .filter(|line| line.starts_with("HTTP/1."))
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok());
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok());
        Answer { status, length }
    }

    /// The body of an error answer, as far as it comes.
    async fn body(&self, stream: &mut Link, mut body: BytesMut) -> BytesMut {
        let wanted = self.length.unwrap_or(HEAD_MAX).min(HEAD_MAX);
        // An answer without a length ends when nothing more comes: the connection stays open for the next request.
        while body.len() < wanted {
            match timeout(Duration::from_millis(500), stream.read_buf(&mut body)).await {
                Ok(Ok(1..)) => {}
                _ => break,
            }
        }
        body
    }
}

impl Hijacked {
    /// Splits into what the process writes and the way to its input. `tty`: the bytes are a terminal's, unframed.
    /// The output ends when the engine hangs up, which it does when the process has ended, and when it dies itself.
    pub(super) fn split(self, tty: bool) -> (ItemStream<(OutputKind, Bytes)>, Input) {
        let Hijacked { read, early, write } = self;
        let input = Input { write: Some(write), tty };
        let state = (read, Frames::new(tty), Some(early), false);
        let output = stream::unfold(state, |(mut read, mut frames, mut early, over)| async move {
            if over {
                return None;
            }
            loop {
                if let Some(early) = early.take() {
                    frames.push(&early);
                }
                match frames.next() {
                    Ok(Some(frame)) => return Some((Ok((frame.kind, frame.data)), (read, frames, None, false))),
                    Ok(None) => {}
                    Err(error) => return Some((Err(error), (read, frames, None, true))),
                }
                let mut piece = BytesMut::with_capacity(PIECE);
                match read.read_buf(&mut piece).await {
                    Ok(0) => return None,
                    Ok(_) => frames.push(&piece),
                    Err(cause) => return Some((Err(broken(cause)), (read, frames, None, true))),
                }
            }
        });
        (output.boxed(), input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_answers() {
        let answer = Answer::parse("HTTP/1.1 409 Conflict\r\nApi-Version: 1.41\r\ncontent-LENGTH: 12\r\n");
        assert_eq!(answer, Answer { status: Some(409), length: Some(12) });
        assert_eq!(Answer::parse("HTTP/1.1 101 UPGRADED").status, Some(101));
        assert_eq!(Answer::parse("SSH-2.0-x"), Answer { status: None, length: None });
    }
}
