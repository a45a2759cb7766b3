//! A server as a node: the handle, and which module does what.

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

use super::container::LxdContainer;
use super::shared::Lxd;
use super::{backups, connect, create, error, events, images, list, migrate, networks, server, volumes};

/// An LXD or Incus server.
#[derive(Clone, Debug)]
pub struct LxdNode(pub(super) Arc<Lxd>);

impl LxdNode {
    pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let lxd = connect::connect(name, uri, options).await.map_err(error::nothing_changed)?;
        let lxd = Arc::new(lxd);
        images::sweep_on_connecting(&lxd).await;
        Ok(LxdNode(lxd))
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
}

#[async_trait]
impl Node for LxdNode {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn uri(&self) -> &str {
        &self.0.uri
    }

    fn lasting_uri(&self) -> Option<&str> {
        self.0.joined.then_some(&self.0.uri)
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.call("node.ping", None, "", server::ping(&self.0)).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.call("node.info", None, "", server::node_info(&self.0)).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        self.call("node.list_containers", None, "", list::list_containers(&self.0, filter)).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        let work = create::create_container(&self.0, spec);
        self.call("node.create_container", Some(Capability::Create), "", work).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        let work = async {
            create::check(&self.0, spec)?;
            server::must_have_cpus(&self.0, &spec.limits).await
        };
        self.call("node.check_container", Some(Capability::Create), "", work).await
    }

    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer> {
        let work = backups::restore_container(&self.0, archive, options);
        self.call("node.restore_container", Some(Capability::Backups), "", work).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(LxdContainer::new(Arc::clone(&self.0), id))
    }

    async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        let work = migrate::copy_ways(&self.0, source, container);
        self.call("node.copy_ways", Some(Capability::Copy), container, work).await
    }

    async fn copy_container(&self, source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        let work = migrate::copy_container(&self.0, source, options);
        self.call("node.copy_container", Some(Capability::Copy), &options.container, work).await
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        self.call("node.events", Some(Capability::Events), "", events::stream(&self.0, options)).await
    }

    async fn run(&self, _job: &JobSpec) -> Result<Arc<dyn Job>> {
        // A server runs commands in containers only.
        self.call("node.run", None, "", async { Err(Error::unsupported(Capability::NodeJobs.text())) }).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        Ok(self.0.jobs.list(None))
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        self.call("node.job", None, "", async { self.0.jobs.get(id) }).await
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        let work = async { Ok(Arc::new(self.cluster_of(name).await?) as Arc<dyn Pool>) };
        self.call("node.pool", Some(Capability::Pools), "", work).await
    }
}

#[async_trait]
impl Images for LxdNode {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.call("image.list", Some(Capability::Images), "", images::list_images(&self.0)).await
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        let work = images::inspect_image(&self.0, reference);
        self.call("image.inspect", Some(Capability::Images), reference, work).await
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        let work = images::pull_image(&self.0, options);
        self.call("image.pull", Some(Capability::ImagePull), &options.reference, work).await
    }

    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String> {
        let work = images::import_image(&self.0, archive, options);
        self.call("image.import", Some(Capability::ImageImport), &options.reference, work).await
    }

    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>> {
        self.call("image.load", Some(Capability::ImageArchive), "", images::load_images(&self.0, archive)).await
    }

    async fn save_images(&self, references: &[String]) -> Result<ByteStream> {
        self.call("image.save", Some(Capability::ImageArchive), "", images::save_images(&self.0, references)).await
    }

    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()> {
        let work = images::tag_image(&self.0, reference, new_reference);
        self.call("image.tag", Some(Capability::Images), reference, work).await
    }

    async fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        let work = images::delete_image(&self.0, reference, force);
        self.call("image.delete", Some(Capability::Images), reference, work).await
    }
}

#[async_trait]
impl Networks for LxdNode {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.call("network.list", Some(Capability::Networks), "", networks::list_networks(&self.0)).await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let work = networks::inspect_network(&self.0, name);
        self.call("network.inspect", Some(Capability::Networks), name, work).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let work = networks::create_network(&self.0, spec);
        self.call("network.create", Some(Capability::Networks), &spec.name, work).await
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        let work = networks::delete_network(&self.0, name);
        self.call("network.delete", Some(Capability::Networks), name, work).await
    }
}

#[async_trait]
impl Volumes for LxdNode {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.call("volume.list", Some(Capability::Volumes), "", volumes::list_volumes(&self.0)).await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let work = volumes::inspect_volume(&self.0, name);
        self.call("volume.inspect", Some(Capability::Volumes), name, work).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let work = volumes::create_volume(&self.0, spec);
        self.call("volume.create", Some(Capability::Volumes), &spec.name, work).await
    }

    async fn delete_volume(&self, name: &str, force: bool) -> Result<()> {
        let work = volumes::delete_volume(&self.0, name, force);
        self.call("volume.delete", Some(Capability::Volumes), name, work).await
    }
}
