//! The wrapper of a job: every method goes through the layer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Around, Call};
use crate::error::Result;
use crate::job::{Job, JobStatus, OutputOptions};
use crate::operation::{self, Operation};
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, TerminalSize};

#[derive(Debug)]
pub(super) struct LayeredJob<A> {
    inner: Arc<dyn Job>,
    node: Arc<str>,
    layer: Arc<A>,
}

impl<A: Around> LayeredJob<A> {
    pub(super) fn wrap(inner: Arc<dyn Job>, node: &str, layer: &Arc<A>) -> Arc<dyn Job> {
        Arc::new(LayeredJob { inner, node: node.into(), layer: Arc::clone(layer) })
    }

    fn call(&self, operation: &'static Operation) -> Call<'_> {
        Call::new(operation, &self.node, self.inner.id())
    }
}

#[async_trait]
impl<A: Around> Job for LayeredJob<A> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn status(&self) -> Result<JobStatus> {
        self.layer.around(self.call(&operation::JOB_STATUS), || Some(self.inner.status())).await
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        let call = self.call(&operation::JOB_OUTPUT).live(options.follow);
        let stream = self.layer.around(call, || Some(self.inner.output(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let call = self.call(&operation::JOB_WRITE_STDIN);
        self.layer.around(call, || Some(self.inner.write_stdin(data.clone()))).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.layer.around(self.call(&operation::JOB_CLOSE_STDIN), || Some(self.inner.close_stdin())).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.layer.around(self.call(&operation::JOB_RESIZE), || Some(self.inner.resize(size))).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.layer.around(self.call(&operation::JOB_KILL), || Some(self.inner.kill(signal))).await
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        let call = self.call(&operation::JOB_WAIT).granted(deadline);
        self.layer.around(call, || Some(self.inner.wait(deadline))).await
    }
}
