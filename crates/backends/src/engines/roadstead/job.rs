//! Jobs of a server: what can be done with one from here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_core::{
    Capability, Error, ErrorKind, ItemStream, Job, JobSpec, JobState, JobStatus, OutputChunk, OutputOptions, Result,
    Signal, TerminalSize, names,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::following;
use super::known::Known;
use super::lists;
use super::request::{Request, SLOW_DEADLINE};
use super::shared::Remote;
use super::wire;

/// One question waits so long at most, so that a server that went away is noticed.
const WAIT_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);

/// A job of a server.
#[derive(Debug)]
pub(super) struct RemoteJob {
    known: Arc<Known>,
    /// One writer at a time, so that pieces of input do not mix.
    stdin: tokio::sync::Mutex<()>,
}

impl RemoteJob {
    pub(super) fn new(remote: &Arc<Remote>, status: JobStatus) -> Self {
        RemoteJob { known: Arc::new(Known::new(remote, status)), stdin: tokio::sync::Mutex::new(()) }
    }

    fn remote(&self) -> &Remote {
        &self.known.remote
    }

    fn at<'a>(&'a self, rest: &'a [&'a str]) -> Vec<&'a str> {
        let mut path = vec!["jobs", self.known.id.as_str()];
        path.extend_from_slice(rest);
        path
    }

    async fn call<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        work.await.map_err(|error| {
            error.with_operation(operation).with_node(&self.remote().name).with_resource(&self.known.id)
        })
    }

    fn conflict(&self) -> Error {
        Error::new(ErrorKind::Conflict, format!("job {} has ended", self.known.id))
    }

    async fn wait_until(&self, deadline: Duration) -> Result<JobStatus> {
        // None: later than any clock shows.
        let end = Instant::now().checked_add(deadline);
        let late = || {
            let words = format!("job {} has not ended within {} s", self.known.id, deadline.as_secs_f64());
            Error::new(ErrorKind::DeadlineExceeded, words)
        };
        let left = || end.map_or(WAIT_MAX, |end| end.saturating_duration_since(Instant::now()));
        // A job that has ended is answered at once, however short the time is.
        let mut wait = Duration::ZERO;
        // Of a job that is lost, a wait tells why; its status tells that it is.
        let mut told = None;
        loop {
            if let Some(status) = self.known.ended() {
                return self.result(status, told);
            }
            let answer = if wait.is_zero() {
                self.known.ask(wait).await
            } else {
                timeout(left(), self.known.ask(wait)).await.map_err(|_| late())?
            };
            match answer {
                Ok(status) if status.state.is_final() => {}
                Ok(_) if left().is_zero() => return Err(late()),
                Ok(_) => wait = left().min(WAIT_MAX),
                Err(error) if !wait.is_zero() => {
                    told = Some(error);
                    wait = Duration::ZERO;
                }
                Err(error) => {
                    let error = self.known.note(error)?;
                    if left().is_zero() {
                        return Err(late().with_source(error));
                    }
                    sleep(PAUSE.min(left())).await;
                }
            }
        }
    }

    /// What a wait gives of a job that has ended.
    fn result(&self, status: JobStatus, told: Option<Error>) -> Result<JobStatus> {
        if status.state != JobState::Lost {
            return Ok(status);
        }
        Err(self.known.lost().or(told).unwrap_or_else(|| {
            let words = status.error.unwrap_or_else(|| "the job was lost".to_owned());
            Error::new(ErrorKind::Unavailable, words)
        }))
    }
}

#[async_trait]
impl Job for RemoteJob {
    fn id(&self) -> &str {
        &self.known.id
    }

    async fn status(&self) -> Result<JobStatus> {
        if let Some(status) = self.known.ended() {
            return Ok(status);
        }
        let work = async {
            match self.known.ask(Duration::ZERO).await {
                Ok(status) => Ok(status),
                Err(error) => match self.known.note(error) {
                    Ok(error) => Err(error),
                    Err(last_word) => self.known.ended().ok_or(last_word),
                },
            }
        };
        self.call("job.status", work).await
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        self.call("job.output", following::output(&self.known, options)).await
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let work = async {
            let _one_at_a_time = self.stdin.lock().await;
            if self.known.ended().is_some() {
                return Err(self.conflict());
            }
            let request = Request::post(&self.at(&["stdin"])).bytes_body(data).within(SLOW_DEADLINE);
            request.done(self.remote()).await
        };
        self.call("job.write_stdin", work).await
    }

    async fn close_stdin(&self) -> Result<()> {
        let work = async {
            let _one_at_a_time = self.stdin.lock().await;
            if self.known.ended().is_some() {
                return Ok(());
            }
            Request::post(&self.at(&["stdin"]))
                .query("close", "true")
                .bytes_body(Bytes::new())
                .done(self.remote())
                .await
        };
        self.call("job.close_stdin", work).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let work = async {
            size.validate()?;
            let body = json!({"columns": size.columns, "rows": size.rows});
            Request::post(&self.at(&["resize"])).body(&body).done(self.remote()).await
        };
        self.call("job.resize", work).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let work = async {
            if self.known.ended().is_some() {
                return Ok(());
            }
            self.remote().capabilities.require(Capability::JobKill)?;
            Request::delete(&self.at(&[])).query("signal", &signal.to_string()).done(self.remote()).await
        };
        self.call("job.kill", work).await
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        self.call("job.wait", self.wait_until(deadline)).await
    }
}

/// Starts what `spec` says at `path`. What the node lacks is refused here.
pub(super) async fn run(remote: &Arc<Remote>, path: &[&str], spec: &JobSpec) -> Result<Arc<dyn Job>> {
    for (field, asked, capability) in [
        ("stdin", spec.stdin, Capability::JobStdin),
        ("tty", spec.tty, Capability::JobTty),
        ("user", spec.user.is_some(), Capability::Users),
    ] {
        if asked {
            remote.capabilities.require_for(field, capability)?;
        }
    }
    spec.validate()?;
    let told: Value = Request::post(path).body(&json!(spec)).json(remote).await?;
    Ok(Arc::new(RemoteJob::new(remote, wire::job(remote, told)?)))
}

/// The jobs of the list at `rest` of the node.
pub(super) async fn list(remote: &Remote, rest: &[&str]) -> Result<Vec<JobStatus>> {
    let items = lists::all(remote, &remote.path(rest), |request| request).await?;
    items.into_iter().map(|item| wire::job(remote, item)).collect()
}

/// J6. Ids are unique on the server, which may have other nodes: those are not this node's.
pub(super) async fn find(remote: &Arc<Remote>, id: &str) -> Result<Arc<dyn Job>> {
    names::existing("job", id)?;
    let told: Value = Request::get(&["jobs", id]).json(remote).await?;
    let there = told.get("node").and_then(Value::as_str) == Some(remote.there.as_str());
    let status = wire::job(remote, told)?;
    if !there {
        return Err(Error::not_found("job", id));
    }
    Ok(Arc::new(RemoteJob::new(remote, status)))
}
