//! A proxy between the server and an engine's socket that forwards every byte and counts the requests by path: how
//! many engine calls something costs is counted on the wire, not believed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct CountingProxy {
    socket: PathBuf,
    _directory: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CountingProxy {
    /// Listens on a socket of its own and forwards to `engine`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(engine: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the socket");
        let socket = directory.path().join("proxy.sock");
        let listener = UnixListener::bind(&socket).expect("the proxy listens");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (engine, seen) = (engine.to_owned(), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, engine.clone(), Arc::clone(&seen)));
            }
        });
        CountingProxy { socket, _directory: directory, requests, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Every request since the last call, as `METHOD path`, in order of arrival.
    ///
    /// # Panics
    /// Never while no other thread panicked.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().expect("no thread panicked"))
    }
}

async fn forward(client: UnixStream, engine: PathBuf, seen: Arc<Mutex<Vec<String>>>) {
    let Ok(engine) = UnixStream::connect(engine).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let up = async move {
        let mut counter = Counter::default();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut piece).await {
            let requests = counter.feed(&piece[..count]);
            seen.lock().expect("no thread panicked").extend(requests);
            if to_engine.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_engine.shutdown().await;
    };
    let down = async move {
        let _ = tokio::io::copy(&mut from_engine, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// Finds the requests in what a client sends on one connection.
#[derive(Debug, Default)]
struct Counter {
    buffer: Vec<u8>,
    body: Body,
}

#[derive(Debug, Default)]
enum Body {
    /// Between requests or within a head.
    #[default]
    None,
    /// So many bytes of a body are still to come.
    Bytes(usize),
    /// Chunks until an empty one.
    Chunks,
    /// The connection was taken over: no requests any more.
    Opaque,
}

impl Counter {
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.extend_from_slice(bytes);
        let mut requests = Vec::new();
        loop {
            match self.body {
                Body::Opaque => {
                    self.buffer.clear();
                    return requests;
                }
                Body::Bytes(left) => {
                    let taken = left.min(self.buffer.len());
                    self.buffer.drain(..taken);
                    if taken < left {
                        self.body = Body::Bytes(left - taken);
                        return requests;
                    }
                    self.body = Body::None;
                }
                Body::Chunks => {
                    let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else { return requests };
                    let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                    let Ok(length) = length else {
                        self.body = Body::Opaque;
                        continue;
                    };
                    if self.buffer.len() < end + 2 + length + 2 {
                        return requests;
                    }
                    self.buffer.drain(..end + 2 + length + 2);
                    if length == 0 {
                        self.body = Body::None;
                    }
                }
                Body::None => {
                    let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                        return requests;
                    };
                    let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    self.buffer.drain(..end + 4);
                    let mut lines = head.lines();
                    let mut words = lines.next().unwrap_or_default().split(' ');
                    requests.push(format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default()));
                    for line in lines {
                        let (name, value) = line.split_once(':').unwrap_or((line, ""));
                        match name.to_ascii_lowercase().as_str() {
                            "content-length" => self.body = Body::Bytes(value.trim().parse().unwrap_or(0)),
                            "transfer-encoding" => self.body = Body::Chunks,
                            "upgrade" => {
                                self.body = Body::Opaque;
                                break;
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_however_they_are_cut() {
        let wire = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b?c=d HTTP/1.1\r\nContent-Length: 16\r\n\r\nGET /no \r\n\r\n1234\
            POST /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /f HTTP/1.1\r\n\r\n\
            POST /g HTTP/1.1\r\nUpgrade: tcp\r\n\r\nGET /h HTTP/1.1\r\n\r\n";
        for size in [1, 2, 7, wire.len()] {
            let mut counter = Counter::default();
            let found: Vec<String> = wire.as_bytes().chunks(size).flat_map(|piece| counter.feed(piece)).collect();
            assert_eq!(found, ["GET /a", "POST /b?c=d", "POST /e", "GET /f", "POST /g"], "in pieces of {size}");
        }
    }
}
