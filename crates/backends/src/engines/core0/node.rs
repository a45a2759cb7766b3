//! A node: the handle, and which module does what.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{
    ByteStream, Capabilities, Capability, ConnectOptions, Container, ContainerFilter, ContainerSpec, ContainerSummary,
    CopyOptions, CopyProgress, CopyWay, CreatedContainer, Error, Event, EventOptions, ImageDetails, ImageProgress,
    ImageSummary, Images, ImportOptions, ItemStream, Job, JobSpec, JobStatus, Network, NetworkSpec, Networks, Node,
    NodeInfo, NodeUri, Pool, PullOptions, RestoreOptions, Result, Volume, VolumeSpec, Volumes,
};

use super::commands::{Commands, HostCommands};
use super::container::Core0Container;
use super::shared::Core0;
use super::started::Core0Job;
use super::{Command, Scope, connect, create, facts, inspect, jobs};

/// A node whose agent is core0.
#[derive(Clone, Debug)]
pub struct Core0Node(pub(super) Arc<Core0>);

impl Core0Node {
    pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        connect::connect(name, uri, options).await.map(Core0Node)
    }

    /// Every command of the node itself.
    #[must_use]
    pub fn commands(&self) -> &HostCommands {
        &self.0.host
    }

    /// Every command of the container with this number. Whether it exists is found out by the first call.
    #[must_use]
    pub fn inside(&self, container: u64) -> Commands {
        self.0.inside(container)
    }

    /// Pushes a command with all that core0 can do with one (queues, tags, runs that recur or are repeated, levels of
    /// output), and gives it as a job once the node has accepted it. It is not among [`Node::jobs`], and goes on when the
    /// handle is dropped.
    ///
    /// # Errors
    /// `InvalidInput` for a command that a node would drop; `Unavailable` when the node cannot be reached, or does not accept
    /// it; `NotFound` when there is no such container. Advice `unknown`: it may run.
    pub async fn start_job(&self, scope: Scope, command: &Command) -> Result<Core0Job> {
        let work = Core0Job::start(&self.0, scope, command);
        self.call("node.start_job", None, &command.id, work).await
    }

    /// Refuses what the engine lacks (N3), does the work, and names operation, node and resource in its error.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        needs: Option<Capability>,
        resource: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = async {
            if let Some(capability) = needs {
                self.0.capabilities.require(capability)?;
            }
            work.await
        };
        result.await.map_err(|error| {
            let error = error.with_operation(operation).with_node(&self.0.name);
            if resource.is_empty() { error } else { error.with_resource(resource) }
        })
    }

    /// What no node has.
    async fn lacks<T>(&self, operation: &'static str, capability: Capability, resource: &str) -> Result<T> {
        let work = async { Err(Error::unsupported(capability.text()).with_context("capability", capability.name())) };
        self.call(operation, None, resource, work).await
    }
}

#[async_trait]
impl Node for Core0Node {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn uri(&self) -> &str {
        &self.0.uri
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.call("node.ping", None, "", facts::ping(&self.0)).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.call("node.info", None, "", facts::node_info(&self.0)).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        self.call("node.list_containers", None, "", inspect::list(&self.0, filter)).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        let work = create::create_container(&self.0, spec);
        self.call("node.create_container", Some(Capability::Create), "", work).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        let work = async { create::check(&self.0, spec) };
        self.call("node.check_container", Some(Capability::Create), "", work).await
    }

    async fn restore_container(&self, _: ByteStream, _: &RestoreOptions) -> Result<CreatedContainer> {
        self.lacks("node.restore_container", Capability::Backups, "").await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(Core0Container::new(Arc::clone(&self.0), id))
    }

    async fn copy_ways(&self, _: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        self.lacks("node.copy_ways", Capability::Copy, container).await
    }

    async fn copy_container(&self, _: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        self.lacks("node.copy_container", Capability::Copy, &options.container).await
    }

    async fn events(&self, _: &EventOptions) -> Result<ItemStream<Event>> {
        self.lacks("node.events", Capability::Events, "").await
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.call("node.run", Some(Capability::NodeJobs), "", jobs::run_on_node(&self.0, job)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        Ok(self.0.jobs.list(None))
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        self.call("node.job", None, "", async { self.0.jobs.get(id) }).await
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        // Nodes know nothing of each other: see `resource_pool`.
        self.lacks("node.pool", Capability::Pools, name).await
    }
}

#[async_trait]
impl Images for Core0Node {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.lacks("image.list", Capability::Images, "").await
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        self.lacks("image.inspect", Capability::Images, reference).await
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        self.lacks("image.pull", Capability::ImagePull, &options.reference).await
    }

    async fn import_image(&self, _: ByteStream, options: &ImportOptions) -> Result<String> {
        self.lacks("image.import", Capability::ImageImport, &options.reference).await
    }

    async fn load_images(&self, _: ByteStream) -> Result<Vec<String>> {
        self.lacks("image.load", Capability::ImageArchive, "").await
    }

    async fn save_images(&self, _: &[String]) -> Result<ByteStream> {
        self.lacks("image.save", Capability::ImageArchive, "").await
    }

    async fn tag_image(&self, reference: &str, _: &str) -> Result<()> {
        self.lacks("image.tag", Capability::Images, reference).await
    }

    async fn delete_image(&self, reference: &str, _: bool) -> Result<()> {
        self.lacks("image.delete", Capability::Images, reference).await
    }
}

#[async_trait]
impl Networks for Core0Node {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.lacks("network.list", Capability::Networks, "").await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.lacks("network.inspect", Capability::Networks, name).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        self.lacks("network.create", Capability::Networks, &spec.name).await
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        self.lacks("network.delete", Capability::Networks, name).await
    }
}

#[async_trait]
impl Volumes for Core0Node {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.lacks("volume.list", Capability::Volumes, "").await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.lacks("volume.inspect", Capability::Volumes, name).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        self.lacks("volume.create", Capability::Volumes, &spec.name).await
    }

    async fn delete_volume(&self, name: &str, _: bool) -> Result<()> {
        self.lacks("volume.delete", Capability::Volumes, name).await
    }
}
