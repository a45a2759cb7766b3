//! The wrapper of a container: every method goes through the layer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::job::LayeredJob;
use super::{Around, Call};
use crate::container::{
    AttachOptions, BackupOptions, CommitOptions, Container, ContainerDetails, ContainerExit, ContainerUpdate,
    CopyInOptions, DeleteOptions, LogOptions, Snapshot, SnapshotOptions, StopOptions, WaitFor,
};
use crate::error::Result;
use crate::job::{Job, JobSpec, JobStatus};
use crate::operation::{self, Operation};
use crate::process::Process;
use crate::signal::Signal;
use crate::stats::ContainerStats;
use crate::stream::{Attachment, ByteStream, ItemStream, LogRecord, TerminalSize};

#[derive(Debug)]
pub(super) struct LayeredContainer<A> {
    inner: Arc<dyn Container>,
    node: Arc<str>,
    layer: Arc<A>,
}

impl<A: Around> LayeredContainer<A> {
    pub(super) fn new(inner: Arc<dyn Container>, node: &str, layer: Arc<A>) -> Self {
        LayeredContainer { inner, node: node.into(), layer }
    }

    fn call(&self, operation: &'static Operation) -> Call<'_> {
        Call::new(operation, &self.node, self.inner.id())
    }

    /// A stop takes as long as the container was granted.
    fn stopping(&self, operation: &'static Operation, options: &StopOptions) -> Call<'_> {
        self.call(operation).granted(Duration::from_secs(options.timeout_seconds.unwrap_or_default().into()))
    }
}

#[async_trait]
impl<A: Around> Container for LayeredContainer<A> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        self.layer.around(self.call(&operation::CONTAINER_INSPECT), || Some(self.inner.inspect())).await
    }

    async fn start(&self) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_START), || Some(self.inner.start())).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        let call = self.stopping(&operation::CONTAINER_STOP, options);
        self.layer.around(call, || Some(self.inner.stop(options))).await
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        let call = self.stopping(&operation::CONTAINER_RESTART, options);
        self.layer.around(call, || Some(self.inner.restart(options))).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_KILL), || Some(self.inner.kill(signal))).await
    }

    async fn freeze(&self) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_FREEZE), || Some(self.inner.freeze())).await
    }

    async fn unfreeze(&self) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_UNFREEZE), || Some(self.inner.unfreeze())).await
    }

    async fn rename(&self, name: &str) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_RENAME), || Some(self.inner.rename(name))).await
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_UPDATE), || Some(self.inner.update(changes))).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_DELETE), || Some(self.inner.delete(options))).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let call = self.call(&operation::CONTAINER_WAIT).granted(deadline);
        self.layer.around(call, || Some(self.inner.wait(condition, deadline))).await
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        self.layer.around(self.call(&operation::CONTAINER_COMMIT), || Some(self.inner.commit(options))).await
    }

    async fn export(&self) -> Result<ByteStream> {
        let call = self.call(&operation::CONTAINER_EXPORT);
        let stream = self.layer.around(call, || Some(self.inner.export())).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.layer.around(self.call(&operation::CONTAINER_SNAPSHOTS), || Some(self.inner.snapshots())).await
    }

    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        let call = self.call(&operation::CONTAINER_CREATE_SNAPSHOT);
        self.layer.around(call, || Some(self.inner.create_snapshot(options))).await
    }

    async fn restore_snapshot(&self, name: &str) -> Result<()> {
        let call = self.call(&operation::CONTAINER_RESTORE_SNAPSHOT);
        self.layer.around(call, || Some(self.inner.restore_snapshot(name))).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        let call = self.call(&operation::CONTAINER_DELETE_SNAPSHOT);
        self.layer.around(call, || Some(self.inner.delete_snapshot(name))).await
    }

    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream> {
        let call = self.call(&operation::CONTAINER_BACKUP);
        let stream = self.layer.around(call, || Some(self.inner.backup(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        let call = self.call(&operation::CONTAINER_COPY_OUT);
        let stream = self.layer.around(call, || Some(self.inner.copy_out(path))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let call = self.call(&operation::CONTAINER_COPY_IN);
        let mut archive = Some(archive);
        self.layer.around(call, || archive.take().map(|archive| self.inner.copy_in(path, archive, options))).await
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        let call = self.call(&operation::CONTAINER_LOGS).live(options.follow);
        let stream = self.layer.around(call, || Some(self.inner.logs(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        let call = self.call(&operation::CONTAINER_ATTACH).live(true);
        let Attachment { output, input } = self.layer.around(call, || Some(self.inner.attach(options))).await?;
        Ok(Attachment { output: self.layer.stream(call, output), input })
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.layer.around(self.call(&operation::CONTAINER_RESIZE), || Some(self.inner.resize(size))).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        self.layer.around(self.call(&operation::CONTAINER_STATS), || Some(self.inner.stats())).await
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        self.layer.around(self.call(&operation::CONTAINER_PROCESSES), || Some(self.inner.processes())).await
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        let job = self.layer.around(self.call(&operation::CONTAINER_RUN), || Some(self.inner.run(job))).await?;
        Ok(LayeredJob::wrap(job, &self.node, &self.layer))
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.layer.around(self.call(&operation::CONTAINER_JOBS), || Some(self.inner.jobs())).await
    }
}
