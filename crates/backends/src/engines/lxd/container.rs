//! A container of a server: the handle, and which module does what.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_core::{
    AttachOptions, Attachment, BackupOptions, ByteStream, Capability, CommitOptions, Container, ContainerDetails,
    ContainerExit, ContainerStats, ContainerUpdate, CopyInOptions, DeleteOptions, ItemStream, Job, JobSpec, JobStatus,
    LogOptions, LogRecord, Process, Result, Signal, Snapshot, SnapshotOptions, StopOptions, TerminalSize, WaitFor,
    names,
};

use super::shared::Lxd;
use super::{attach, backups, exec, export, files, inspect, lifecycle, logs, processes, snapshots, stats, update};

/// A container of a server.
#[derive(Debug)]
pub(super) struct LxdContainer {
    lxd: Arc<Lxd>,
    id: String,
}

impl LxdContainer {
    pub(super) fn new(lxd: Arc<Lxd>, id: &str) -> Self {
        LxdContainer { lxd, id: id.to_owned() }
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
                self.lxd.capabilities.require(capability)?;
            }
            names::existing("id", &self.id)?;
            work.await
        };
        result.await.map_err(|error| error.with_operation(operation).with_node(&self.lxd.name).with_resource(&self.id))
    }
}

#[async_trait]
impl Container for LxdContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        self.call("container.inspect", None, inspect::inspect(&self.lxd, &self.id)).await
    }

    async fn start(&self) -> Result<()> {
        self.call("container.start", None, lifecycle::start(&self.lxd, &self.id)).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        self.call("container.stop", None, lifecycle::stop(&self.lxd, &self.id, options)).await
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        let work = lifecycle::restart(&self.lxd, &self.id, options);
        self.call("container.restart", Some(Capability::Restart), work).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let work = lifecycle::kill(&self.lxd, &self.id, signal);
        self.call("container.kill", Some(Capability::Kill), work).await
    }

    async fn freeze(&self) -> Result<()> {
        let work = lifecycle::freeze(&self.lxd, &self.id);
        self.call("container.freeze", Some(Capability::Freeze), work).await
    }

    async fn unfreeze(&self) -> Result<()> {
        let work = lifecycle::unfreeze(&self.lxd, &self.id);
        self.call("container.unfreeze", Some(Capability::Freeze), work).await
    }

    async fn rename(&self, name: &str) -> Result<()> {
        let work = lifecycle::rename(&self.lxd, &self.id, name);
        self.call("container.rename", Some(Capability::Rename), work).await
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        let work = update::update(&self.lxd, &self.id, changes);
        self.call("container.update", Some(Capability::Update), work).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        let work = lifecycle::delete(&self.lxd, &self.id, options);
        self.call("container.delete", Some(Capability::Create), work).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let work = lifecycle::wait(&self.lxd, &self.id, condition, deadline);
        self.call("container.wait", Some(Capability::Wait), work).await
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        let work = export::commit(&self.lxd, &self.id, options);
        self.call("container.commit", Some(Capability::Commit), work).await
    }

    async fn export(&self) -> Result<ByteStream> {
        let work = export::export(&self.lxd, &self.id);
        self.call("container.export", Some(Capability::Export), work).await
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let work = snapshots::snapshots(&self.lxd, &self.id);
        self.call("container.snapshots", Some(Capability::Snapshots), work).await
    }

    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        let work = snapshots::create_snapshot(&self.lxd, &self.id, options);
        self.call("container.create_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn restore_snapshot(&self, name: &str) -> Result<()> {
        let work = snapshots::restore_snapshot(&self.lxd, &self.id, name);
        self.call("container.restore_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        let work = snapshots::delete_snapshot(&self.lxd, &self.id, name);
        self.call("container.delete_snapshot", Some(Capability::Snapshots), work).await
    }

    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream> {
        let work = backups::backup(&self.lxd, &self.id, options);
        self.call("container.backup", Some(Capability::Backups), work).await
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        let work = files::copy_out(&self.lxd, &self.id, path);
        self.call("container.copy_out", Some(Capability::Files), work).await
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let work = files::copy_in(&self.lxd, &self.id, path, archive, options);
        self.call("container.copy_in", Some(Capability::Files), work).await
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        let work = logs::logs(&self.lxd, &self.id, options);
        self.call("container.logs", Some(Capability::Logs), work).await
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        let work = attach::attach(&self.lxd, &self.id, options);
        self.call("container.attach", Some(Capability::Attach), work).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let work = attach::resize(&self.lxd, &self.id, size);
        self.call("container.resize", Some(Capability::Attach), work).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        self.call("container.stats", Some(Capability::Stats), stats::stats(&self.lxd, &self.id)).await
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        self.call("container.processes", Some(Capability::Processes), processes::processes(&self.lxd, &self.id)).await
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.call("container.run", Some(Capability::Jobs), exec::run(&self.lxd, &self.id, job)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        // Names are the only ids there are.
        let work = async {
            inspect::exists(&self.lxd, &self.id).await?;
            Ok(self.lxd.jobs.list(Some(&self.id)))
        };
        self.call("container.jobs", Some(Capability::Jobs), work).await
    }
}
