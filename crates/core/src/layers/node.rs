//! The wrapper of a node: every method goes through the layer.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use super::container::LayeredContainer;
use super::job::LayeredJob;
use super::pool::LayeredPool;
use super::{Around, Call};
use crate::capabilities::Capabilities;
use crate::container::{Container, ContainerFilter, ContainerSpec, ContainerSummary, RestoreOptions};
use crate::copy::{CopyOptions, CopyProgress, CopyWay};
use crate::error::Result;
use crate::event::Event;
use crate::image::{ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions, PullOptions};
use crate::job::{Job, JobSpec, JobStatus};
use crate::network::{Network, NetworkSpec, Networks};
use crate::node::{CreatedContainer, EventOptions, Node, NodeInfo};
use crate::operation::{self, Operation};
use crate::pool::Pool;
use crate::process::Process;
use crate::stream::{ByteStream, ItemStream};
use crate::usage::{HistoryOptions, HostFacts, Metrics, NodeUsage, ProcessOptions, UsageHistory, UsageOptions};
use crate::volume::{Volume, VolumeSpec, Volumes};

#[derive(Debug)]
pub(super) struct LayeredNode<A> {
    inner: Arc<dyn Node>,
    layer: Arc<A>,
}

impl<A: Around> LayeredNode<A> {
    pub(super) fn new(inner: Arc<dyn Node>, layer: Arc<A>) -> Self {
        LayeredNode { inner, layer }
    }

    fn call<'a>(&'a self, operation: &'static Operation, resource: &'a str) -> Call<'a> {
        Call::new(operation, self.inner.name(), resource)
    }
}

#[async_trait]
impl<A: Around> Node for LayeredNode<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn uri(&self) -> &str {
        self.inner.uri()
    }

    fn lasting_uri(&self) -> Option<&str> {
        self.inner.lasting_uri()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self.inner.engine()
    }

    async fn ping(&self) -> Result<()> {
        self.layer.around(self.call(&operation::NODE_PING, ""), || Some(self.inner.ping())).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.layer.around(self.call(&operation::NODE_INFO, ""), || Some(self.inner.info())).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        let call = self.call(&operation::NODE_LIST_CONTAINERS, "");
        self.layer.around(call, || Some(self.inner.list_containers(filter))).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        let call = self.call(&operation::NODE_CREATE_CONTAINER, spec.name.as_deref().unwrap_or_default());
        self.layer.around(call, || Some(self.inner.create_container(spec))).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        let call = self.call(&operation::NODE_CHECK_CONTAINER, spec.name.as_deref().unwrap_or_default());
        self.layer.around(call, || Some(self.inner.check_container(spec))).await
    }

    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer> {
        let call = self.call(&operation::NODE_RESTORE_CONTAINER, options.name.as_deref().unwrap_or_default());
        let mut archive = Some(archive);
        self.layer.around(call, || archive.take().map(|archive| self.inner.restore_container(archive, options))).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(LayeredContainer::new(self.inner.container(id), self.inner.name(), Arc::clone(&self.layer)))
    }

    async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        let call = self.call(&operation::NODE_COPY_WAYS, container);
        self.layer.around(call, || Some(self.inner.copy_ways(source, container))).await
    }

    async fn copy_container(&self, source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        let call = self.call(&operation::NODE_COPY_CONTAINER, &options.name);
        let stream = self.layer.around(call, || Some(self.inner.copy_container(source, options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        let call = self.call(&operation::NODE_EVENTS, "").live(true);
        let stream = self.layer.around(call, || Some(self.inner.events(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        let call = self.call(&operation::NODE_RUN, "");
        let job = self.layer.around(call, || Some(self.inner.run(job))).await?;
        Ok(LayeredJob::wrap(job, self.inner.name(), &self.layer))
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.layer.around(self.call(&operation::NODE_JOBS, ""), || Some(self.inner.jobs())).await
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        let job = self.layer.around(self.call(&operation::NODE_JOB, id), || Some(self.inner.job(id))).await?;
        Ok(LayeredJob::wrap(job, self.inner.name(), &self.layer))
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        let call = self.call(&operation::NODE_POOL, name);
        let pool = self.layer.around(call, || Some(self.inner.pool(name))).await?;
        Ok(Arc::new(LayeredPool::new(pool, Arc::clone(&self.layer))))
    }
}

#[async_trait]
impl<A: Around> Metrics for LayeredNode<A> {
    async fn host(&self) -> Result<HostFacts> {
        self.layer.around(self.call(&operation::METRICS_HOST, ""), || Some(self.inner.host())).await
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        let call = self.call(&operation::METRICS_USAGE, only(&options.containers));
        self.layer.around(call, || Some(self.inner.usage(options))).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let call = self.call(&operation::METRICS_WATCH, only(&options.containers)).live(true);
        let stream = self.layer.around(call, || Some(self.inner.watch_usage(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory> {
        self.layer.around(self.call(&operation::METRICS_HISTORY, ""), || Some(self.inner.usage_history(options))).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        let call = self.call(&operation::METRICS_PROCESSES, only(&options.containers));
        self.layer.around(call, || Some(self.inner.list_processes(options))).await
    }
}

/// The one container that a call is about; nothing when it is about several.
fn only(containers: &[String]) -> &str {
    match containers {
        [one] => one,
        _ => "",
    }
}

#[async_trait]
impl<A: Around> Images for LayeredNode<A> {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.layer.around(self.call(&operation::IMAGE_LIST, ""), || Some(self.inner.list_images())).await
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        let call = self.call(&operation::IMAGE_INSPECT, reference);
        self.layer.around(call, || Some(self.inner.inspect_image(reference))).await
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        let call = self.call(&operation::IMAGE_PULL, &options.reference);
        let stream = self.layer.around(call, || Some(self.inner.pull_image(options))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String> {
        let call = self.call(&operation::IMAGE_IMPORT, &options.reference);
        let mut archive = Some(archive);
        self.layer.around(call, || archive.take().map(|archive| self.inner.import_image(archive, options))).await
    }

    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>> {
        let call = self.call(&operation::IMAGE_LOAD, "");
        let mut archive = Some(archive);
        self.layer.around(call, || archive.take().map(|archive| self.inner.load_images(archive))).await
    }

    async fn save_images(&self, references: &[String]) -> Result<ByteStream> {
        let call = self.call(&operation::IMAGE_SAVE, references.first().map_or("", String::as_str));
        let stream = self.layer.around(call, || Some(self.inner.save_images(references))).await?;
        Ok(self.layer.stream(call, stream))
    }

    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()> {
        let call = self.call(&operation::IMAGE_TAG, reference);
        self.layer.around(call, || Some(self.inner.tag_image(reference, new_reference))).await
    }

    async fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        let call = self.call(&operation::IMAGE_DELETE, reference);
        self.layer.around(call, || Some(self.inner.delete_image(reference, force))).await
    }
}

#[async_trait]
impl<A: Around> Networks for LayeredNode<A> {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.layer.around(self.call(&operation::NETWORK_LIST, ""), || Some(self.inner.list_networks())).await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let call = self.call(&operation::NETWORK_INSPECT, name);
        self.layer.around(call, || Some(self.inner.inspect_network(name))).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let call = self.call(&operation::NETWORK_CREATE, &spec.name);
        self.layer.around(call, || Some(self.inner.create_network(spec))).await
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        let call = self.call(&operation::NETWORK_DELETE, name);
        self.layer.around(call, || Some(self.inner.delete_network(name))).await
    }
}

#[async_trait]
impl<A: Around> Volumes for LayeredNode<A> {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.layer.around(self.call(&operation::VOLUME_LIST, ""), || Some(self.inner.list_volumes())).await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let call = self.call(&operation::VOLUME_INSPECT, name);
        self.layer.around(call, || Some(self.inner.inspect_volume(name))).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let call = self.call(&operation::VOLUME_CREATE, &spec.name);
        self.layer.around(call, || Some(self.inner.create_volume(spec))).await
    }

    async fn delete_volume(&self, name: &str, force: bool) -> Result<()> {
        let call = self.call(&operation::VOLUME_DELETE, name);
        self.layer.around(call, || Some(self.inner.delete_volume(name, force))).await
    }
}
