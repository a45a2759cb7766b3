//! The least that a client can do: one HTTP/1.1 request over a kept connection, the answer's bytes thrown away.
//!
//! It stands beside Roadstead in the measurements as the floor that no client of the engine can go below.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// A kept connection to an engine's socket.
#[derive(Debug)]
pub struct Raw<S = UnixStream> {
    stream: BufReader<S>,
    headers: String,
}

impl Raw<TcpStream> {
    /// Connects to a port. With each request go `headers`, whole lines.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn to_port(address: std::net::SocketAddr, headers: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream: BufReader::new(stream), headers: headers.to_owned() })
    }
}

impl Raw {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(path: &str) -> Result<Self> {
        Ok(Raw { stream: BufReader::new(UnixStream::connect(path).await?), headers: String::new() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Sends `GET target`, and gives the number of bytes in the answer's body.
    ///
    /// # Errors
    /// When the connection breaks or the status is not 200.
    pub async fn get(&mut self, target: &str) -> Result<usize> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: engine\r\n{}\r\n", self.headers);
        self.stream.write_all(request.as_bytes()).await?;
        let status = self.line().await?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(Error::new(ErrorKind::InvalidData, status));
        }
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        if !chunked {
            let length = length.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no length"))?;
            return self.body(length).await;
        }
        let mut total = 0;
        loop {
            let size = usize::from_str_radix(self.line().await?.trim(), 16).map_err(Error::other)?;
            total += self.body(size).await?;
            self.line().await?;
            if size == 0 {
                return Ok(total);
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn body(&mut self, length: usize) -> Result<usize> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(length)
    }
}
