//! A container of a node of another server: which request each call is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::{
    AttachOptions, Attachment, BackupOptions, ByteStream, Capability, CommitOptions, Container, ContainerDetails,
    ContainerExit, ContainerStats, ContainerUpdate, CopyInOptions, DeleteOptions, Error, ErrorKind, ItemStream, Job,
    JobSpec, JobStatus, LogOptions, LogRecord, Process, RestartPolicy, Result, Signal, Snapshot, SnapshotOptions,
    StopOptions, TerminalSize, Timestamp, WaitFor, names,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::frames::{self, Said};
use super::request::{READ_DEADLINE, Request, SLOW_DEADLINE};
use super::shared::Remote;
use super::wire::{self, Piece};
use super::{attach, job, lists};

/// A server waits so long at most for one request.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// A handle on a container.
#[derive(Clone, Debug)]
pub(super) struct RemoteContainer {
    remote: Arc<Remote>,
    id: String,
}

impl RemoteContainer {
    pub(super) fn new(remote: Arc<Remote>, id: &str) -> Self {
        RemoteContainer { remote, id: id.to_owned() }
    }

    /// Refuses what the node lacks (C2) and an id that cannot be part of a path (C3), does the work, and names operation,
    /// node and container in its error.
    async fn call<T>(
        &self,
        operation: &'static str,
        needs: Option<Capability>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = async {
            if let Some(capability) = needs {
                self.remote.capabilities.require(capability)?;
            }
            names::existing("id", &self.id)?;
            work.await
        };
        result
            .await
            .map_err(|error| error.with_operation(operation).with_node(&self.remote.name).with_resource(&self.id))
    }

    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        self.remote.of_container(&self.id, rest)
    }

    /// A verb without an answer.
    async fn verb(&self, verb: &str, body: Option<&Value>, deadline: Duration) -> Result<()> {
        let request = Request::post(&self.at(&[verb])).within(deadline);
        match body {
            Some(body) => request.body(body),
            None => request,
        }
        .done(&self.remote)
        .await
    }

    async fn stopping(&self, verb: &str, options: &StopOptions) -> Result<()> {
        options.validate()?;
        let granted = Duration::from_secs(options.timeout_seconds.unwrap_or_default().into());
        self.verb(verb, Some(&json!(options)), SLOW_DEADLINE.saturating_add(granted)).await
    }

    /// One request that waits.
    fn ask(&self, condition: WaitFor, wait: Duration) -> Asked<'_> {
        Box::pin(async move {
            // Whole seconds, rounded up: the clock here is exact.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            let body = json!({"condition": condition, "timeout_seconds": seconds.clamp(1, WAIT_MAX.as_secs())});
            let request = Request::post(&self.at(&["wait"])).body(&body);
            request.within(wait.saturating_add(READ_DEADLINE)).json(&self.remote).await
        })
    }

    /// One request at a time, each for as long as the server allows. The end of one that is waited for next may come between
    /// two requests, an hour after the first; so the next is sent before the one before it ends.
    async fn wait_until(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let late = || {
            let words = format!("container {} has not ended within {} s", self.id, deadline.as_secs_f64());
            Error::new(ErrorKind::DeadlineExceeded, words)
        };
        // None: later than any clock shows.
        let end = Instant::now().checked_add(deadline);
        let left = || end.map_or(WAIT_MAX, |end| end.saturating_duration_since(Instant::now()));
        let whole = async {
            let mut running = self.ask(condition, left().min(WAIT_MAX));
            loop {
                let overlap = WAIT_MAX.saturating_sub(Duration::from_secs(60));
                match timeout(overlap, &mut running).await {
                    Ok(answer) => return answer,
                    Err(_) => running = Box::pin(first(running, self.ask(condition, left().min(WAIT_MAX)))),
                }
            }
        };
        match timeout(deadline, whole).await {
            // It only looks, whatever HTTP calls it.
            Ok(answer) => answer.map_err(crate::broken::nothing_changed),
            Err(_) => Err(late()),
        }
    }
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<ContainerExit>> + Send + 'a>>;

/// The answer of the one that was asked before, unless its time is up.
async fn first(before: Asked<'_>, mut next: Asked<'_>) -> Result<ContainerExit> {
    tokio::select! {
        answer = before => match answer {
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => next.await,
            answer => answer,
        },
        answer = &mut next => answer,
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[async_trait]
impl Container for RemoteContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        let work = async { wire::details(&self.remote, Request::get(&self.at(&[])).json(&self.remote).await?) };
        self.call("container.inspect", None, work).await
    }

    async fn start(&self) -> Result<()> {
        self.call("container.start", None, self.verb("start", None, SLOW_DEADLINE)).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        self.call("container.stop", None, self.stopping("stop", options)).await
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        self.call("container.restart", Some(Capability::Restart), self.stopping("restart", options)).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let body = json!({"signal": signal});
        self.call("container.kill", Some(Capability::Kill), self.verb("kill", Some(&body), SLOW_DEADLINE)).await
    }

    async fn freeze(&self) -> Result<()> {
        self.call("container.freeze", Some(Capability::Freeze), self.verb("freeze", None, SLOW_DEADLINE)).await
    }

    async fn unfreeze(&self) -> Result<()> {
        self.call("container.unfreeze", Some(Capability::Freeze), self.verb("unfreeze", None, SLOW_DEADLINE)).await
    }

    async fn rename(&self, name: &str) -> Result<()> {
        let work = async {
            names::container_name("name", name)?;
            self.verb("rename", Some(&json!({"name": name})), SLOW_DEADLINE).await
        };
        self.call("container.rename", Some(Capability::Rename), work).await
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        let work = async {
            changes.limits.require("limits", &self.remote.capabilities)?;
            if changes.restart.is_some_and(|policy| policy != RestartPolicy::Never) {
                self.remote.capabilities.require_for("restart", Capability::RestartPolicy)?;
            }
            changes.validate()?;
            let mut request = Request::post(&self.at(&["update"])).body(&json!(changes)).within(SLOW_DEADLINE);
            if let Some(hold) = changes.hold {
                request = request.query("hold", if hold { "true" } else { "false" });
            }
            request.done(&self.remote).await
        };
        self.call("container.update", Some(Capability::Update), work).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        let work = async {
            let request = Request::delete(&self.at(&[])).within(SLOW_DEADLINE);
            request.flag("force", options.force).flag("volumes", options.volumes).done(&self.remote).await
        };
        self.call("container.delete", Some(Capability::Create), work).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        self.call("container.wait", Some(Capability::Wait), self.wait_until(condition, deadline)).await
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        let work = async {
            options.validate()?;
            let request = Request::post(&self.at(&["commit"])).body(&json!(options)).within(SLOW_DEADLINE);
            request.json::<Created>(&self.remote).await.map(|made| made.id)
        };
        self.call("container.commit", Some(Capability::Commit), work).await
    }

    async fn export(&self) -> Result<ByteStream> {
        let work = async { Request::get(&self.at(&["export"])).bytes(&self.remote).await };
        self.call("container.export", Some(Capability::Export), work).await
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let path = self.at(&["snapshots"]);
        self.call("container.snapshots", Some(Capability::Snapshots), lists::short(&self.remote, &path)).await
    }

    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        let work = async {
            for (field, asked, capability) in [
                ("stateful", options.stateful, Capability::SnapshotsStateful),
                ("expires_at", options.expires_at.is_some(), Capability::SnapshotsExpire),
            ] {
                if asked {
                    self.remote.capabilities.require_for(field, capability)?;
                }
            }
            options.validate(Timestamp::now())?;
            let request = Request::post(&self.at(&["snapshots"])).body(&json!(options)).within(SLOW_DEADLINE);
            wire::item(&self.remote, request.json(&self.remote).await?)
        };
        self.call("container.create_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn restore_snapshot(&self, name: &str) -> Result<()> {
        let work = async {
            names::snapshot_name("name", name)?;
            let request = Request::post(&self.at(&["snapshots", name, "restore"])).within(SLOW_DEADLINE);
            request.done(&self.remote).await
        };
        self.call("container.restore_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        let work = async {
            names::snapshot_name("name", name)?;
            Request::delete(&self.at(&["snapshots", name])).within(SLOW_DEADLINE).done(&self.remote).await
        };
        self.call("container.delete_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream> {
        let work = async {
            let word = if options.snapshots { "true" } else { "false" };
            Request::get(&self.at(&["backup"])).query("snapshots", word).bytes(&self.remote).await
        };
        self.call("container.backup", Some(Capability::Backups), work).await
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        let work = async {
            names::absolute_path("path", path)?;
            Request::get(&self.at(&["files"])).query("path", path).bytes(&self.remote).await
        };
        self.call("container.copy_out", Some(Capability::Files), work).await
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let work = async {
            names::absolute_path("path", path)?;
            Request::put(&self.at(&["files"]))
                .query("path", path)
                .flag("no_overwrite_dir_with_file", options.no_overwrite_dir_with_file)
                .archive(archive)
                .done(&self.remote)
                .await
        };
        self.call("container.copy_in", Some(Capability::Files), work).await
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        self.call("container.logs", Some(Capability::Logs), logs(&self.remote, &self.id, options)).await
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        self.call("container.attach", Some(Capability::Attach), attach::attach(&self.remote, &self.id, options)).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.call("container.resize", Some(Capability::Attach), attach::resize(&self.remote, &self.id, size)).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        let work = async { Request::get(&self.at(&["stats"])).json(&self.remote).await };
        self.call("container.stats", Some(Capability::Stats), work).await
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        let path = self.at(&["processes"]);
        self.call("container.processes", Some(Capability::Processes), lists::short(&self.remote, &path)).await
    }

    async fn run(&self, spec: &JobSpec) -> Result<Arc<dyn Job>> {
        let path = self.at(&["jobs"]);
        self.call("container.run", Some(Capability::Jobs), job::run(&self.remote, &path, spec)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        let path = ["containers", self.id.as_str(), "jobs"];
        let work = job::list(&self.remote, &path);
        self.call("container.jobs", Some(Capability::Jobs), work).await
    }
}

/// C140 to C144.
async fn logs(remote: &Arc<Remote>, id: &str, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
    if options.needs_times() {
        remote.capabilities.require(Capability::LogTimes)?;
    }
    options.validate()?;
    let word = |value: bool| if value { "true" } else { "false" };
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let request = Request::get(&remote.of_container(id, &["logs"]))
        .query("stdout", word(options.stdout))
        .query("stderr", word(options.stderr))
        .flag("follow", options.follow)
        .flag("timestamps", options.timestamps)
        .query_some("tail", options.tail.map(|lines| lines.to_string()).as_deref())
        .query_some("since", text(options.since).as_deref())
        .query_some("until", text(options.until).as_deref());
    let said = frames::open(remote, request).await?;
    let (name, id) = (remote.name.clone(), id.to_owned());
    let records = stream::unfold(Some(said), move |said| {
        let (name, id) = (name.clone(), id.clone());
        async move {
            let mut said = said?;
            let record = match said.next().await? {
                Ok(Said::Data(data)) => Piece::read(&data).and_then(Piece::record),
                Ok(Said::End) => return None,
                Ok(Said::Failed(error)) | Err(error) => Err(error),
            };
            match record {
                Ok(record) => Some((Ok(record), Some(said))),
                Err(error) => {
                    let error = error.with_operation("container.logs").with_node(name).with_resource(id);
                    Some((Err(error), None))
                }
            }
        }
    });
    Ok(records.fuse().boxed())
}
