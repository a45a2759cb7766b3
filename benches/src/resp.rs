//! The least that a client of core0 can do: bytes over a kept unix socket, and no more read of the answer than where it ends.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A connection to a Redis.
#[derive(Debug)]
pub struct Resp {
    stream: BufReader<UnixStream>,
}

fn words(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

impl Resp {
    /// Connects to the socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &str) -> Result<Self> {
        Ok(Resp { stream: BufReader::new(UnixStream::connect(socket).await?) })
    }

    /// One question and its answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is an error.
    pub async fn ping(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&words(&["PING"])).await?;
        self.answer().await
    }

    /// Pushes `core.ping` and waits for its result, in one write.
    ///
    /// # Errors
    /// As of [`Resp::ping`].
    pub async fn push_and_wait(&mut self, id: &str) -> Result<()> {
        let document = format!(
            r#"{{"id":"{id}","command":"core.ping","arguments":{{}},"queue":null,"max_time":null,"stream":false,"tags":null}}"#
        );
        let key = format!("result:{id}");
        let mut bytes = words(&["RPUSH", "core:default", &document]);
        bytes.extend(words(&["BRPOPLPUSH", &key, &key, "10"]));
        self.stream.get_mut().write_all(&bytes).await?;
        self.answer().await?;
        self.answer().await
    }

    /// Appends entries to a list and keeps the last thousand, in one write, as a node does with output.
    ///
    /// # Errors
    /// As of [`Resp::ping`].
    pub async fn push_and_trim(&mut self, key: &str, entries: &[String]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut push = vec!["RPUSH", key];
        push.extend(entries.iter().map(String::as_str));
        let mut bytes = words(&push);
        bytes.extend(words(&["LTRIM", key, "-1000", "-1"]));
        self.stream.get_mut().write_all(&bytes).await?;
        self.answer().await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(ErrorKind::UnexpectedEof)?;
        match (kind, rest.parse::<i64>()) {
            ("$", Ok(length @ 0..)) => {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default() + 2];
                self.stream.read_exact(&mut bytes).await.map(drop)
            }
            ("+" | ":", _) => Ok(()),
            _ => Err(Error::other(line)),
        }
    }
}
