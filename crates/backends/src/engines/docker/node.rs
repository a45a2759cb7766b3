//! A daemon as a node.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{
    ByteStream, Capabilities, Capability, ConnectOptions, Container, ContainerFilter, ContainerSpec, ContainerSummary,
    CopyOptions, CopyProgress, CopyWay, CreatedContainer, Error, Event, EventOptions, ItemStream, Job, JobSpec,
    JobStatus, Node, NodeInfo, NodeUri, Pool, RestoreOptions, Result,
};

use super::client::Client;
use super::container::DockerContainer;
use super::request::Request;
use super::{check, connect, create, error, events, list, swarm, system};

/// A Docker daemon, or Podman's compatible service.
#[derive(Clone, Debug)]
pub struct DockerNode(pub(super) Arc<Client>);

impl DockerNode {
    pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let client = connect::connect(name, uri, options).await.map_err(error::nothing_changed)?;
        Ok(DockerNode(Arc::new(client)))
    }

    /// Names operation and node in an error.
    pub(super) async fn call<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        work.await.map_err(|error| error.with_operation(operation).with_node(&self.0.name))
    }

    fn lacks<T>(&self, capability: Capability) -> Result<T> {
        self.0.capabilities.require(capability).and_then(|()| Err(Error::unsupported(capability.text())))
    }
}

#[async_trait]
impl Node for DockerNode {
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
        self.call("node.ping", async { Request::get("/_ping").bytes(&self.0).await.map(|_| ()) }).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.call("node.info", system::node_info(&self.0)).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        self.call("node.list_containers", list::list(&self.0, filter)).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        self.call("node.create_container", create::create(&self.0, spec)).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        self.call("node.check_container", async { check::check(&self.0, spec) }).await
    }

    async fn restore_container(&self, _: ByteStream, _: &RestoreOptions) -> Result<CreatedContainer> {
        // No daemon has backups of whole containers.
        self.call("node.restore_container", async { self.lacks(Capability::Backups) }).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(DockerContainer::new(Arc::clone(&self.0), id))
    }

    async fn copy_ways(&self, _source: &dyn Node, _container: &str) -> Result<Vec<CopyWay>> {
        // A daemon has no way to take a whole container.
        self.call("node.copy_ways", async { Err(Error::unsupported(Capability::Copy.text())) }).await
    }

    async fn copy_container(&self, _source: &dyn Node, _options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        self.call("node.copy_container", async { Err(Error::unsupported(Capability::Copy.text())) }).await
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        let work = async {
            self.0.capabilities.require(Capability::Events)?;
            events::stream(&self.0, options).await
        };
        self.call("node.events", work).await
    }

    async fn run(&self, _job: &JobSpec) -> Result<Arc<dyn Job>> {
        // A daemon runs commands in containers only.
        self.call("node.run", async { self.lacks(Capability::NodeJobs) }).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        Ok(self.0.jobs.list(None))
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        self.call("node.job", async { self.0.jobs.get(id) }).await
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        let work = async {
            self.0.capabilities.require(Capability::Pools)?;
            Ok(Arc::new(swarm::pool(self, name).await?) as Arc<dyn Pool>)
        };
        self.call("node.pool", work).await
    }
}
