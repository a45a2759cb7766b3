//! A container of a daemon: the handle, and which module does what.

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

use super::client::Client;
use super::facts::Facts;
use super::{attach, exec, files, inspect, lifecycle, logs, stats, top};

/// A container of a daemon.
#[derive(Debug)]
pub(super) struct DockerContainer {
    client: Arc<Client>,
    id: String,
}

impl DockerContainer {
    pub(super) fn new(client: Arc<Client>, id: &str) -> Self {
        DockerContainer { client, id: id.to_owned() }
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
                self.client.capabilities.require(capability)?;
            }
            names::existing("id", &self.id)?;
            work.await
        };
        result
            .await
            .map_err(|error| error.with_operation(operation).with_node(&self.client.name).with_resource(&self.id))
    }

    /// What no daemon has: its checkpoints are of processes alone, and its archives of file systems alone.
    async fn lacks<T>(&self, operation: &'static str, capability: Capability) -> Result<T> {
        self.call(operation, Some(capability), async { Err(Error::unsupported(capability.text())) }).await
    }
}

#[async_trait]
impl Container for DockerContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        self.call("container.inspect", None, inspect::details(&self.client, &self.id)).await
    }

    async fn start(&self) -> Result<()> {
        self.call("container.start", None, lifecycle::start(&self.client, &self.id)).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        self.call("container.stop", None, lifecycle::stop(&self.client, &self.id, options)).await
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        let work = lifecycle::restart(&self.client, &self.id, options);
        self.call("container.restart", Some(Capability::Restart), work).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let work = lifecycle::kill(&self.client, &self.id, signal);
        self.call("container.kill", Some(Capability::Kill), work).await
    }

    async fn freeze(&self) -> Result<()> {
        let work = lifecycle::freeze(&self.client, &self.id);
        self.call("container.freeze", Some(Capability::Freeze), work).await
    }

    async fn unfreeze(&self) -> Result<()> {
        let work = lifecycle::unfreeze(&self.client, &self.id);
        self.call("container.unfreeze", Some(Capability::Freeze), work).await
    }

    async fn rename(&self, name: &str) -> Result<()> {
        let work = lifecycle::rename(&self.client, &self.id, name);
        self.call("container.rename", Some(Capability::Rename), work).await
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        let work = lifecycle::update(&self.client, &self.id, changes);
        self.call("container.update", Some(Capability::Update), work).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        let work = lifecycle::delete(&self.client, &self.id, options);
        self.call("container.delete", Some(Capability::Create), work).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let work = lifecycle::wait(&self.client, &self.id, condition, deadline);
        self.call("container.wait", Some(Capability::Wait), work).await
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        let work = files::commit(&self.client, &self.id, options);
        self.call("container.commit", Some(Capability::Commit), work).await
    }

    async fn export(&self) -> Result<ByteStream> {
        let work = files::export(&self.client, &self.id);
        self.call("container.export", Some(Capability::Export), work).await
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
        let work = files::copy_out(&self.client, &self.id, path);
        self.call("container.copy_out", Some(Capability::Files), work).await
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let work = files::copy_in(&self.client, &self.id, path, archive, options);
        self.call("container.copy_in", Some(Capability::Files), work).await
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        let work = logs::read(&self.client, &self.id, options);
        self.call("container.logs", Some(Capability::Logs), work).await
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        let work = attach::open(&self.client, &self.id, options);
        self.call("container.attach", Some(Capability::Attach), work).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let work = attach::resize(&self.client, &self.id, size);
        self.call("container.resize", Some(Capability::Attach), work).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        self.call("container.stats", Some(Capability::Stats), stats::stats(&self.client, &self.id)).await
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        self.call("container.processes", Some(Capability::Processes), top::processes(&self.client, &self.id)).await
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.call("container.run", Some(Capability::Jobs), exec::run(&self.client, &self.id, job)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        // Jobs are kept by the full id, and the handle may have been made with a name.
        let work = async { Ok(self.client.jobs.list(Some(&Facts::of(&self.client, &self.id).await?.id))) };
        self.call("container.jobs", Some(Capability::Jobs), work).await
    }
}
