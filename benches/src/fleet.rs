//! Many nodes that one real engine answers for: each has a port of its own, and a script says when it answers.
//!
//! Nobody can start a thousand engines on one machine, and no engine is slow when told to. So each distinct request is put to
//! the real engine once, and its answer is given out again, byte by byte, for every node and after that node's delay. What an
//! engine says is nowhere written down here.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// Longer than any head of a request or body that a client of these nodes sends.
const REQUEST_MAX: usize = 64 * 1024;

/// What a node does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers, so late.
    Answers(Duration),
    /// Takes connections and requests, and never answers.
    Silent,
}

/// What the engine answers: recorded the first time that anybody asks.
#[derive(Debug)]
pub struct Recorder {
    socket: PathBuf,
    answers: Mutex<HashMap<String, Arc<[u8]>>>,
}

impl Recorder {
    /// Of the engine at this unix socket.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Recorder { socket: socket.into(), answers: Mutex::default() })
    }

    /// The engine's answer to a whole request.
    async fn answer(&self, request: &[u8]) -> io::Result<Arc<[u8]>> {
        let first =
            String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
        let known = |key: &str| self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(answer) = known(&first) {
            return Ok(answer);
        }
        let mut stream = UnixStream::connect(&self.socket).await?;
        // The answer ends where the engine closes; that it does so is not a part of what is given out.
        let mut lines = request.splitn(2, |byte| *byte == b'\n');
        let (line, rest) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        stream.write_all(&[line, b"\nConnection: close\r\n", rest].concat()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer: Arc<[u8]> = without(&answer, b"Connection: close\r\n").into();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(first, Arc::clone(&answer));
        Ok(answer)
    }
}

fn without(bytes: &[u8], line: &[u8]) -> Vec<u8> {
    match bytes.windows(line.len()).position(|window| window == line) {
        Some(at) => bytes.iter().take(at).chain(bytes.iter().skip(at + line.len())).copied().collect(),
        None => bytes.to_vec(),
    }
}

/// One node. It goes away when dropped.
#[derive(Debug)]
pub struct FleetNode {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    requests: Arc<AtomicU64>,
    task: AbortHandle,
}

impl FleetNode {
    /// Starts one.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start(recorder: &Arc<Recorder>, mood: Mood) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (mood, told) = watch::channel(mood);
        let requests = Arc::new(AtomicU64::new(0));
        let (recorder, counted) = (Arc::clone(recorder), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (recorder, told, counted) = (Arc::clone(&recorder), told.clone(), Arc::clone(&counted));
                connections.spawn(async move {
                    // A client that goes away has had enough.
                    let _ = serve(stream, &recorder, told, &counted).await;
                });
            }
        });
        Ok(FleetNode { address, mood, requests, task: task.abort_handle() })
    }

    /// Its URI.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("docker+tcp://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for requests that wait, too.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many requests it was sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Goes away: connections break, and new ones are refused.
    pub fn leave(&self) {
        self.task.abort();
    }
}

impl Drop for FleetNode {
    fn drop(&mut self) {
        self.leave();
    }
}

async fn serve(
    mut stream: TcpStream,
    recorder: &Recorder,
    mut mood: watch::Receiver<Mood>,
    counted: &AtomicU64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(request) = request(&mut stream, &mut buffer).await? else { return Ok(()) };
        counted.fetch_add(1, Ordering::SeqCst);
        loop {
            let now = *mood.borrow_and_update();
            tokio::select! {
                () = waited(now) => break,
                changed = mood.changed() => changed.map_err(io::Error::other)?,
            }
        }
        stream.write_all(&recorder.answer(&request).await?).await?;
    }
}

async fn waited(mood: Mood) {
    match mood {
        Mood::Answers(delay) => sleep(delay).await,
        Mood::Silent => std::future::pending().await,
    }
}

/// The next whole request; `None` when the client has closed.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
            let told = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = told.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
            let whole = end.saturating_add(4).saturating_add(length);
            if buffer.len() >= whole {
                let rest = buffer.split_off(whole);
                return Ok(Some(std::mem::replace(buffer, rest)));
            }
        }
        if buffer.len() > REQUEST_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
