//! Exec as a job: what Docker calls an exec gets an id of ours, a kept result, and a kill.

mod signal;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::jobs::{JobControl, JobProgress, JobSlot};
use roadstead_core::{Capability, Error, ErrorKind, Job, JobSpec, Result, Signal, TerminalSize};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::attach::DETACH_KEYS;
use super::client::Client;
use super::facts::Facts;
use super::hijack::{self, Hijacked, Input};
use super::request::Request;
use super::watch;
use signal::HostProcess;

/// Marks the processes of a job on an engine of another machine, so that they can be found inside the container.
const MARK: &str = "ROADSTEAD_JOB";

/// An engine may take so long to start a process once it has said that it will.
const START_MAX: Duration = Duration::from_secs(10);

/// Runs a command in a running container.
pub(super) async fn run(client: &Arc<Client>, id: &str, spec: &JobSpec) -> Result<Arc<dyn Job>> {
    spec.validate()?;
    if spec.stdin {
        client.capabilities.require(Capability::JobStdin)?;
    }
    if spec.tty {
        client.capabilities.require(Capability::JobTty)?;
    }
    let facts = Facts::of(client, id).await?;
    facts.must_run()?;
    let slot = client.jobs.admit(Some(&facts.id), spec)?;
    // In a task of its own: a caller who leaves between the start and the job's being noted would leave a process that
    // nobody can find or kill.
    let starting = tokio::spawn(begin(Arc::clone(client), facts, slot, spec.clone()));
    starting.await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, while it started the job").with_source(cause)
    })?
}

/// Starts the command and makes a job of it.
async fn begin(client: Arc<Client>, facts: Facts, slot: JobSlot, spec: JobSpec) -> Result<Arc<dyn Job>> {
    let (client, spec) = (&client, &spec);
    // Seeming to be on this machine is not enough: the socket may lead into a virtual one.
    let here = client.local && facts.pid.is_some_and(|pid| HostProcess::in_container(pid, &facts.id).is_some());
    let mark = (!here).then(|| slot.id().to_owned());
    let request = Command {
        command: &spec.command,
        spec: Some(spec),
        mark: mark.as_deref(),
        user: spec.user.as_deref(),
        privileged: spec.privileged,
    };
    let exec = create(client, &facts.id, &request).await?;
    let (output, input) = start(client, &exec, spec.tty, spec.terminal_size).await?.split(spec.tty);
    let exec = Arc::new(Exec {
        client: Arc::clone(client),
        id: exec,
        container: facts.id,
        user: spec.user.clone(),
        mark,
        input: Mutex::new(input),
        process: std::sync::Mutex::new(None),
    });
    // Docker takes a size before the process is there, and sets it the moment it is.
    let (pid, ()) = tokio::join!(exec.started(), exec.first_size(spec.terminal_size));
    let pid = pid.map(|pid| Ok(JobProgress::Pid(pid)));
    let output = watch::watched(client, output).map(|item| item.map(|(kind, data)| JobProgress::Output(kind, data)));
    let end = stream::once(Arc::clone(&exec).end());
    let (job, feed) = slot.started(exec, stream::iter(pid).chain(output).chain(end));
    tokio::spawn(feed);
    Ok(job)
}

/// What is to be run.
struct Command<'a> {
    command: &'a [String],
    /// The rest of what a caller may wish.
    spec: Option<&'a JobSpec>,
    mark: Option<&'a str>,
    user: Option<&'a str>,
    privileged: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

/// What an exec's inspection tells.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    running: Option<bool>,
    exit_code: Option<i64>,
    pid: Option<i64>,
}

async fn create(client: &Client, container: &str, command: &Command<'_>) -> Result<String> {
    let spec = command.spec;
    let tty = spec.is_some_and(|spec| spec.tty);
    let mut env: Vec<String> =
        spec.into_iter().flat_map(|spec| &spec.env).map(|(key, value)| format!("{key}={value}")).collect();
    env.extend(command.mark.map(|mark| format!("{MARK}={mark}")));
    let mut body = json!({
        "AttachStdin": spec.is_some_and(|spec| spec.stdin),
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": tty,
        "Cmd": command.command,
        "Env": env,
        "Privileged": command.privileged,
    });
    let optional = [
        ("DetachKeys", tty.then_some(DETACH_KEYS)),
        ("User", command.user),
        ("WorkingDir", spec.and_then(|spec| spec.working_directory.as_deref())),
    ];
    if let Some(body) = body.as_object_mut() {
        for (key, value) in optional {
            if let Some(value) = value {
                body.insert(key.to_owned(), value.into());
            }
        }
    }
    let created: Created = Request::post(&format!("/containers/{container}/exec")).body(&body).json(client).await?;
    Ok(created.id)
}

async fn start(client: &Client, exec: &str, tty: bool, size: Option<TerminalSize>) -> Result<Hijacked> {
    let mut body = json!({ "Detach": false, "Tty": tty });
    if let (Some(size), Some(body)) = (size, body.as_object_mut()) {
        // For Docker since API 1.42 and for Podman; older daemons take the size only afterwards.
        body.insert("ConsoleSize".to_owned(), json!([size.rows, size.columns]));
        body.insert("h".to_owned(), json!(size.rows));
        body.insert("w".to_owned(), json!(size.columns));
    }
    hijack::open(client, Request::post(&format!("/exec/{exec}/start")).body(&body)).await
}

async fn inspect(client: &Client, exec: &str) -> Result<Inspected> {
    Request::get(&format!("/exec/{exec}/json")).json(client).await
}

/// Waits for the end of an exec whose output has ended, and gives its exit code.
async fn exit_code(client: &Client, exec: &str) -> Result<i32> {
    let mut pause = Duration::from_millis(5);
    let mut unclear = 0;
    loop {
        let inspected = inspect(client, exec).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, "the container was deleted, or the engine restarted, while the job ran")
                    .with_source(error)
            }
            _ => error,
        })?;
        match (inspected.running, inspected.exit_code.map(i32::try_from)) {
            (Some(false), Some(Ok(code))) => return Ok(code),
            // The process goes on without its streams; nothing but asking tells of its end.
            (Some(true), _) => {}
            _ => {
                unclear += 1;
                if unclear > 20 {
                    return Err(Error::new(ErrorKind::Unexpected, "the engine does not tell how the job ended"));
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// A running exec.
#[derive(Debug)]
struct Exec {
    client: Arc<Client>,
    /// The engine's id of it.
    id: String,
    /// Full id of the container.
    container: String,
    user: Option<String>,
    /// What finds its process inside the container; absent where its process is one of this machine's.
    mark: Option<String>,
    input: Mutex<Input>,
    /// Its process, once known, where the machine is this one.
    process: std::sync::Mutex<Option<HostProcess>>,
}

impl Exec {
    /// Waits until the process is there, and gives its id: a signal for a process that is only about to start would be
    /// lost. Engines take the connection first and start then.
    async fn started(&self) -> Option<u32> {
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_millis(2);
        while waited < START_MAX {
            match inspect(&self.client, &self.id).await {
                // It has ended already. Podman says so of what has not been started, too, but starts it first.
                Ok(Inspected { running: Some(false), exit_code: Some(_), .. }) => return None,
                Ok(inspected) => {
                    if let Some(pid) = self.note_pid(&inspected) {
                        return Some(pid);
                    }
                }
                // What follows finds out the same, and makes it the job's end.
                Err(_) => return None,
            }
            sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        None
    }

    /// The process id in an inspection of the running exec; remembers which process that is, where it is this machine's.
    fn note_pid(&self, inspected: &Inspected) -> Option<u32> {
        let pid = inspected.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let pid = pid.filter(|_| inspected.running == Some(true))?;
        if self.mark.is_none() {
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            if process.is_none() {
                *process = HostProcess::in_container(pid, &self.container);
            }
        }
        Some(pid)
    }

    /// Sets the first size of the terminal. When it is not taken the terminal keeps the engine's size; the process runs
    /// already.
    async fn first_size(&self, size: Option<TerminalSize>) {
        let Some(size) = size else { return };
        for pause in [5, 20, 100] {
            if self.resize(size).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn end(self: Arc<Self>) -> Result<JobProgress> {
        exit_code(&self.client, &self.id).await.map(JobProgress::Ended)
    }
}

#[async_trait]
impl JobControl for Exec {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.input.lock().await.write(&data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.input.lock().await.end().await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        Request::post(&format!("/exec/{}/resize", self.id))
            .query("h", &size.rows.to_string())
            .query("w", &size.columns.to_string())
            .done(&self.client)
            .await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        signal::send(self, signal).await
    }
}
