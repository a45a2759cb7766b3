//! A container of a node: the handle, and which module does what.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_core::{
    AttachOptions, Attachment, BackupOptions, ByteStream, Capability, CommitOptions, Container, ContainerDetails,
    ContainerExit, ContainerStats, ContainerUpdate, CopyInOptions, DeleteOptions, Error, ItemStream, Job, JobSpec,
    JobStatus, LogOptions, LogRecord, Process, Result, Signal, Snapshot, SnapshotOptions, StopOptions, TerminalSize,
    WaitFor, names,
};

use super::shared::Core0;
use super::{files, found, inspect, jobs, lifecycle, logs, processes, stats, wait};

/// A container of a node.
#[derive(Debug)]
pub(super) struct Core0Container {
    core0: Arc<Core0>,
    id: String,
}

impl Core0Container {
    pub(super) fn new(core0: Arc<Core0>, id: &str) -> Self {
        Core0Container { core0, id: id.to_owned() }
    }

    /// Refuses what the engine lacks (C2) and an id that cannot be part of a path (C3), does the work, and names
    /// operation, node and container in its error.
    async fn call<T>(
        &self,
        operation: &'static str,
        needs: Option<Capability>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = async {
            if let Some(capability) = needs {
                self.core0.capabilities.require(capability)?;
            }
            names::existing("id", &self.id)?;
            work.await
        };
        result
            .await
            .map_err(|error| error.with_operation(operation).with_node(&self.core0.name).with_resource(&self.id))
    }

    /// What no node has.
    async fn lacks<T>(&self, operation: &'static str, capability: Capability) -> Result<T> {
        self.call(operation, Some(capability), async { Err(Error::unsupported(capability.text())) }).await
    }
}

#[async_trait]
impl Container for Core0Container {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        self.call("container.inspect", None, inspect::inspect(&self.core0, &self.id)).await
    }

    async fn start(&self) -> Result<()> {
        self.call("container.start", None, lifecycle::start(&self.core0, &self.id)).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        self.call("container.stop", None, lifecycle::stop(&self.core0, &self.id, options)).await
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        let work = lifecycle::restart(&self.core0, &self.id, options);
        self.call("container.restart", Some(Capability::Restart), work).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let work = lifecycle::kill(&self.core0, &self.id, signal);
        self.call("container.kill", Some(Capability::Kill), work).await
    }

    async fn freeze(&self) -> Result<()> {
        self.lacks("container.freeze", Capability::Freeze).await
    }

    async fn unfreeze(&self) -> Result<()> {
        self.lacks("container.unfreeze", Capability::Freeze).await
    }

    async fn rename(&self, _: &str) -> Result<()> {
        self.lacks("container.rename", Capability::Rename).await
    }

    async fn update(&self, _: &ContainerUpdate) -> Result<()> {
        self.lacks("container.update", Capability::Update).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        let work = lifecycle::delete(&self.core0, &self.id, options);
        self.call("container.delete", Some(Capability::Create), work).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let work = wait::wait(&self.core0, &self.id, condition, deadline);
        self.call("container.wait", Some(Capability::Wait), work).await
    }

    async fn commit(&self, _: &CommitOptions) -> Result<String> {
        self.lacks("container.commit", Capability::Commit).await
    }

    async fn export(&self) -> Result<ByteStream> {
        self.lacks("container.export", Capability::Export).await
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.lacks("container.snapshots", Capability::Snapshots).await
    }

    async fn create_snapshot(&self, _: &SnapshotOptions) -> Result<Snapshot> {
        self.lacks("container.create_snapshot", Capability::Snapshots).await
    }

    async fn restore_snapshot(&self, _: &str) -> Result<()> {
        self.lacks("container.restore_snapshot", Capability::Snapshots).await
    }

    async fn delete_snapshot(&self, _: &str) -> Result<()> {
        self.lacks("container.delete_snapshot", Capability::Snapshots).await
    }

    async fn backup(&self, _: &BackupOptions) -> Result<ByteStream> {
        self.lacks("container.backup", Capability::Backups).await
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        let work = files::copy_out(&self.core0, &self.id, path);
        self.call("container.copy_out", Some(Capability::Files), work).await
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let work = files::copy_in(&self.core0, &self.id, path, archive, options);
        self.call("container.copy_in", Some(Capability::Files), work).await
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        let work = logs::logs(&self.core0, &self.id, options);
        self.call("container.logs", Some(Capability::Logs), work).await
    }

    async fn attach(&self, _: &AttachOptions) -> Result<Attachment> {
        self.lacks("container.attach", Capability::Attach).await
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        self.lacks("container.resize", Capability::Attach).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        let work = async { stats::stats(&self.core0, &found::one(&self.core0, &self.id).await?).await };
        self.call("container.stats", Some(Capability::Stats), work).await
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        let work = async { processes::processes(&self.core0, &found::one(&self.core0, &self.id).await?).await };
        self.call("container.processes", Some(Capability::Processes), work).await
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.call("container.run", Some(Capability::Jobs), jobs::run_inside(&self.core0, &self.id, job)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        // Jobs are kept by the id, and the handle may have been made with a name.
        let work = async { Ok(self.core0.jobs.list(Some(&found::one(&self.core0, &self.id).await?.id()))) };
        self.call("container.jobs", Some(Capability::Jobs), work).await
    }
}
