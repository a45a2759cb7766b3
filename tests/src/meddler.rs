//! A proxy before an engine's socket that answers some requests itself, or changes what is answered: for what a real engine says only
//! in an older version, or only at a moment that cannot be brought about. Everything else passes as it is, upgrades too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What is done to a request.
#[derive(Debug)]
pub enum Meddling {
    /// It passes.
    Pass,
    /// It is answered with this status line and body, and the engine never sees it.
    Answer(&'static str, String),
    /// The body of its answer is changed by this.
    Change(fn(&[u8]) -> Vec<u8>),
}

type Rule = dyn Fn(&str) -> Meddling + Send + Sync;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Meddler {
    socket: PathBuf,
    _directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Meddler {
    /// Listens before `engine`; the rule is given each request as `METHOD target`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(engine: &Path, rule: impl Fn(&str) -> Meddling + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the socket");
        let socket = directory.path().join("meddler.sock");
        let listener = UnixListener::bind(&socket).expect("the proxy listens");
        let (engine, rule): (PathBuf, Arc<Rule>) = (engine.to_owned(), Arc::new(rule));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (engine, rule) = (engine.clone(), Arc::clone(&rule));
                tokio::spawn(async move {
                    // A connection that breaks is a client that has gone.
                    let _ = one_request(client, &engine, &*rule).await;
                });
            }
        });
        Meddler { socket, _directory: directory, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Each connection has one request, so that only heads have to be understood.
async fn one_request(mut client: UnixStream, engine: &Path, rule: &Rule) -> std::io::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let request: String = text.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let meddling = rule(&request);
    if let Meddling::Answer(status, body) = &meddling {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await?;
        client.write_all(body.as_bytes()).await?;
        return client.shutdown().await;
    }
    let mut engine = UnixStream::connect(engine).await?;
    let upgrades = text.to_ascii_lowercase().contains("\r\nupgrade:");
    let head = if upgrades { text } else { text.replacen("\r\n", "\r\nConnection: close\r\n", 1) };
    engine.write_all(head.as_bytes()).await?;
    engine.write_all(&rest).await?;
    let Meddling::Change(change) = meddling else {
        tokio::io::copy_bidirectional(&mut client, &mut engine).await?;
        return Ok(());
    };
    let (mut head, mut body) = read_head(&mut engine).await?;
    engine.read_to_end(&mut body).await?;
    let lower = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(!lower.contains("transfer-encoding"), "an answer in chunks is not changed");
    let body = change(&body);
    let kept = String::from_utf8_lossy(&head)
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("content-length"))
        .collect::<Vec<_>>()
        .join("\r\n");
    head = format!("{kept}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    client.write_all(&head).await?;
    client.write_all(&body).await?;
    client.shutdown().await
}

/// The head of a message, and what came behind it.
async fn read_head(stream: &mut UnixStream) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((read, rest));
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
