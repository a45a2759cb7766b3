//! Exec as a job: the server's own operation is forgotten five seconds after its end, so what the process writes and
//! how it ends is carried into a job of ours from the moment it starts.
//!
//! The server starts the process when the websockets of its streams are connected, and gives up when that takes longer
//! than five seconds. The control socket is connected first: its loss kills the process, so a program that ends takes
//! its jobs with it, and the server drops it the moment the process has ended.

mod end;
mod pump;
mod sockets;
pub(super) mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use roadstead_core::jobs::{JobControl, JobSlot};
use roadstead_core::{Capability, Error, ErrorKind, Job, JobSpec, Result, Signal, TerminalSize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::facts::Facts;
use super::request::Request;
use super::shared::Lxd;
use super::websocket::Writer;
use sockets::Sockets;
pub(super) use sockets::connect;

/// Input is sent in messages of at most this many bytes.
const PIECE: usize = 32 * 1024;
/// Time for a word on the control socket.
const CONTROL_DEADLINE: Duration = Duration::from_secs(10);
/// What the process does waits in a queue of so many pieces until the job has taken it.
const QUEUE: usize = 16;
/// The key that ends the input at a terminal: Ctrl-D.
pub(super) const END_OF_INPUT: u8 = 4;

/// J1 and following.
pub(super) async fn run(lxd: &Arc<Lxd>, id: &str, spec: &JobSpec) -> Result<Arc<dyn Job>> {
    spec.validate()?;
    if spec.stdin {
        lxd.capabilities.require(Capability::JobStdin)?;
    }
    if spec.tty {
        lxd.capabilities.require(Capability::JobTty)?;
    }
    if spec.privileged {
        return Err(Error::unsupported("jobs with more kernel capabilities than their container"));
    }
    let facts = Facts::of(lxd, id).await?;
    facts.must_run()?;
    let body = request(lxd, id, &facts, spec).await?;
    let slot = lxd.jobs.admit(Some(id), spec)?;
    // In a task of its own: a caller who leaves between the start and the job's being noted would kill the process.
    let starting = tokio::spawn(begin(Arc::clone(lxd), id.to_owned(), body, slot, spec.clone()));
    starting.await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, while it started the job").with_source(cause)
    })?
}

/// What the server is asked to run.
async fn request(lxd: &Lxd, id: &str, facts: &Facts, spec: &JobSpec) -> Result<Value> {
    let mut environment = spec.env.clone();
    let (mut uid, mut gid) = (facts.user, facts.group);
    if let Some(wanted) = &spec.user {
        let user = user::resolve(lxd, id, wanted).await?;
        (uid, gid) = (Some(user.uid), Some(user.gid));
        // Root's is set by the server.
        if let Some(home) = user.home.filter(|_| user.uid != 0) {
            environment.entry("HOME".to_owned()).or_insert(home);
        }
    }
    if let Some(directory) = &spec.working_directory {
        must_be_directory(lxd, id, directory).await?;
    }
    let directory = spec.working_directory.as_ref().or(facts.directory.as_ref());
    let mut body = json!({
        "command": spec.command,
        "environment": environment,
        "interactive": spec.tty,
        "wait-for-websocket": true,
    });
    let optional = [
        ("user", uid.map(Value::from)),
        ("group", gid.map(Value::from)),
        ("cwd", directory.map(|directory| Value::from(directory.as_str()))),
        ("width", spec.terminal_size.map(|size| Value::from(size.columns))),
        ("height", spec.terminal_size.map(|size| Value::from(size.rows))),
    ];
    let beyond = optional[..3].iter().any(|(_, value)| value.is_some());
    if beyond && !lxd.has("container_exec_user_group_cwd") {
        return Err(Error::unsupported("jobs with a user or directory of their own"));
    }
    if let Some(body) = body.as_object_mut() {
        for (key, value) in optional {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        }
    }
    Ok(body)
}

/// Asked for beforehand, since the server says nothing of a directory that is not there and takes another one.
async fn must_be_directory(lxd: &Lxd, id: &str, directory: &str) -> Result<()> {
    let segments = ["instances", id, "files"];
    let request = if lxd.has("instance_file_head") { Request::head(&segments) } else { Request::get(&segments) };
    match request.query("path", directory).raw(&lxd.client).await {
        Ok(answer) if answer.told("type") == Some("file") => {
            Err(Error::invalid("working_directory", "is not a directory of the container"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::invalid("working_directory", "does not exist in the container"))
        }
        Err(error) => Err(error),
    }
}

/// Starts the process and makes a job of it.
async fn begin(lxd: Arc<Lxd>, id: String, body: Value, slot: JobSlot, spec: JobSpec) -> Result<Arc<dyn Job>> {
    let operation = Request::post(&["instances", &id, "exec"]).body(&body).start(&lxd.client).await?;
    let sockets = Sockets::open(&lxd.client, &operation, spec.tty).await?;
    let exec = Arc::new(Exec {
        input: Mutex::new(Some(sockets.input)),
        control: Mutex::new(sockets.control),
        tty: spec.tty,
        ended: AtomicBool::new(false),
        killed: AtomicBool::new(false),
    });
    if !spec.stdin && !spec.tty {
        // The process may be gone by now, and the socket with it; whatever else is wrong shows in what follows.
        let _ = exec.close_stdin().await;
    }
    let (progress, received) = mpsc::channel(QUEUE);
    tokio::spawn(pump::run(Arc::clone(&exec), operation, sockets.readers, progress));
    let progress = stream::unfold(received, |mut received| async move { Some((received.recv().await?, received)) });
    let (job, feed) = slot.started(exec, progress);
    tokio::spawn(feed);
    Ok(job)
}

/// What can be done to a running process.
#[derive(Debug)]
struct Exec {
    /// Gone once it is closed.
    input: Mutex<Option<Writer>>,
    control: Mutex<Writer>,
    tty: bool,
    /// Whether the server has said that the process is gone. Its children may hold its output still.
    ended: AtomicBool,
    /// Whether it was sent the signal that no process survives.
    killed: AtomicBool,
}

impl Exec {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Tells the server something about the process.
    async fn tell(&self, words: &Value) -> Result<()> {
        if self.ended() {
            return Err(gone());
        }
        let mut control = self.control.lock().await;
        match timeout(CONTROL_DEADLINE, control.text(&words.to_string())).await {
            Ok(Ok(())) => Ok(()),
            // The server hangs up when the process has ended.
            Ok(Err(error)) => Err(if self.ended() { gone() } else { broken(error) }),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the engine does not take words about the job")),
        }
    }

    /// Hangs up: at a terminal, the server waits for that before it says how the process ended.
    async fn hang_up(&self) {
        if let Some(mut input) = self.input.lock().await.take() {
            let _ = timeout(CONTROL_DEADLINE, input.close()).await;
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "the job's process has ended")
}

/// A websocket that is closed is the same here as one that broke.
fn broken(error: Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the job broke").with_source(error)
}

#[async_trait]
impl JobControl for Exec {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let mut input = self.input.lock().await;
        let Some(writer) = &mut *input else {
            return Err(Error::new(ErrorKind::Conflict, "the process reads no more input"));
        };
        let mut rest = data;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            if let Err(error) = writer.binary(piece).await {
                let reads_no_more = self.ended();
                return Err(if reads_no_more {
                    Error::new(ErrorKind::Conflict, "the process reads no more input").with_source(error)
                } else {
                    broken(error)
                });
            }
        }
        Ok(())
    }

    async fn close_stdin(&self) -> Result<()> {
        let mut input = self.input.lock().await;
        let Some(writer) = &mut *input else { return Ok(()) };
        // At a terminal it is a key that means this, and the socket carries its output, too. Elsewhere a text message
        // is the end; an empty binary one means nothing.
        let closed = match self.tty {
            true => writer.binary(Bytes::from_static(&[END_OF_INPUT])).await,
            false => writer.text("").await,
        };
        match closed {
            Err(error) if !self.ended() => Err(broken(error)),
            _ => Ok(()),
        }
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let (width, height) = (size.columns.to_string(), size.rows.to_string());
        self.tell(&json!({"command": "window-resize", "args": {"width": width, "height": height}})).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.tell(&json!({"command": "signal", "signal": signal.number()})).await?;
        if signal == Signal::KILL {
            self.killed.store(true, Ordering::Release);
        }
        Ok(())
    }
}
