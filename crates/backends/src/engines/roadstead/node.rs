//! A node of another server: the handle, and which request each call is.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{
    ByteStream, Capabilities, Capability, ConnectOptions, Container, ContainerFilter, ContainerSpec, ContainerSummary,
    CopyOptions, CopyProgress, CopyWay, CreatedContainer, Error, ErrorKind, Event, EventOptions, ImageDetails,
    ImageProgress, ImageSummary, Images, ImportOptions, ItemStream, Job, JobSpec, JobStatus, Network, NetworkSpec,
    Networks, Node, NodeInfo, NodeUri, Pool, PullOptions, RestoreOptions, Result, Volume, VolumeSpec, Volumes, names,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::container::RemoteContainer;
use super::request::{Request, SLOW_DEADLINE};
use super::shared::Remote;
use super::{connect, events, images, job, lists, problem, wire};

/// A query that is longer than this may be refused: then the list is narrowed here alone.
const FILTERS_MAX: usize = 50;

/// A node of another Roadstead server.
#[derive(Clone, Debug)]
pub struct RoadsteadNode(pub(super) Arc<Remote>);

impl RoadsteadNode {
    pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        Ok(RoadsteadNode(Arc::new(connect::connect(name, uri, options).await?)))
    }

    /// Name that the node has on its server.
    #[must_use]
    pub fn name_there(&self) -> &str {
        &self.0.there
    }

    /// Refuses what the node lacks (N3), does the work, and names operation, node and resource in its error.
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

    /// What creating would refuse is refused here where this can know it.
    fn check(&self, spec: &ContainerSpec) -> Result<Value> {
        spec.require(&self.0.capabilities)?;
        spec.validate()?;
        Ok(json!(spec))
    }
}

/// A node as its server tells of it.
#[derive(Deserialize)]
struct View {
    #[serde(default)]
    info: Option<NodeInfo>,
    #[serde(default)]
    error: Option<Value>,
}

async fn info(remote: &Remote) -> Result<NodeInfo> {
    let view: View = Request::get(&remote.path(&[])).json(remote).await?;
    match (view.info, view.error) {
        (Some(mut info), _) => {
            info.name.clone_from(&remote.name);
            // The files of its kernel are elsewhere.
            info.local = false;
            Ok(info)
        }
        (None, Some(error)) => Err(problem::from_document(503, &error)),
        (None, None) => Err(Error::new(ErrorKind::Unexpected, "the server tells nothing of the node")),
    }
}

async fn list_containers(remote: &Remote, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
    filter.validate()?;
    let narrow = |mut request: Request| {
        if filter.states.len() + filter.names.len() + filter.labels.len() > FILTERS_MAX {
            return request;
        }
        for state in &filter.states {
            request = request.query("state", state.name());
        }
        for name in &filter.names {
            request = request.query("name", name);
        }
        for label in &filter.labels {
            request = match &label.value {
                Some(value) => request.query("label", &format!("{}={value}", label.key)),
                None => request.query("label", &label.key),
            };
        }
        request
    };
    let mut found: Vec<ContainerSummary> = lists::items(remote, &["containers"], narrow).await?;
    found.retain(|container| filter.matches(container));
    Ok(found)
}

#[async_trait]
impl Node for RoadsteadNode {
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
        self.call("node.ping", None, "", async { info(&self.0).await.map(drop) }).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.call("node.info", None, "", info(&self.0)).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        self.call("node.list_containers", None, "", list_containers(&self.0, filter)).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        let work = async {
            let body = self.check(spec)?;
            Request::post(&self.0.path(&["containers"])).body(&body).json(&self.0).await
        };
        self.call("node.create_container", Some(Capability::Create), "", work).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        let work = async {
            let body = self.check(spec)?;
            // A check changes nothing, whatever became of it.
            let request = Request::post(&self.0.path(&["containers"])).query("dry_run", "true").body(&body);
            request.done(&self.0).await.map_err(crate::broken::nothing_changed)
        };
        self.call("node.check_container", Some(Capability::Create), "", work).await
    }

    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer> {
        let work = async {
            options.validate()?;
            let request = Request::post(&self.0.path(&["containers", "restore"]));
            request.query_some("name", options.name.as_deref()).archive(archive).json(&self.0).await
        };
        self.call("node.restore_container", Some(Capability::Backups), "", work).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(RemoteContainer::new(Arc::clone(&self.0), id))
    }

    async fn copy_ways(&self, _source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        self.call("node.copy_ways", Some(Capability::Copy), container, async { Ok(Vec::new()) }).await
    }

    async fn copy_container(&self, _source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        let work = async { Err(Error::unsupported(Capability::Copy.text())) };
        self.call("node.copy_container", Some(Capability::Copy), &options.container, work).await
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        self.call("node.events", Some(Capability::Events), "", events::stream(&self.0, options)).await
    }

    async fn run(&self, spec: &JobSpec) -> Result<Arc<dyn Job>> {
        let path = self.0.path(&["jobs"]);
        self.call("node.run", Some(Capability::NodeJobs), "", job::run(&self.0, &path, spec)).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.call("node.jobs", None, "", job::list(&self.0, &["jobs"])).await
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        self.call("node.job", None, id, job::find(&self.0, id)).await
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        // The members would be nodes that the other server does not serve by themselves.
        let refused = async { Err(Error::unsupported(Capability::Pools.text())) };
        self.call("node.pool", Some(Capability::Pools), name, refused).await
    }
}

#[async_trait]
impl Images for RoadsteadNode {
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

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[async_trait]
impl Networks for RoadsteadNode {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        let work = lists::items(&self.0, &["networks"], |request| request);
        self.call("network.list", Some(Capability::Networks), "", work).await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let work = async {
            names::existing("name", name)?;
            wire::item(&self.0, Request::get(&self.0.path(&["networks", name])).json(&self.0).await?)
        };
        self.call("network.inspect", Some(Capability::Networks), name, work).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let work = async {
            spec.validate()?;
            let body = json!(spec);
            Request::post(&self.0.path(&["networks"])).body(&body).json(&self.0).await.map(|made: Created| made.id)
        };
        self.call("network.create", Some(Capability::Networks), &spec.name, work).await
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        let work = async {
            names::existing("name", name)?;
            Request::delete(&self.0.path(&["networks", name])).done(&self.0).await
        };
        self.call("network.delete", Some(Capability::Networks), name, work).await
    }
}

#[async_trait]
impl Volumes for RoadsteadNode {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let work = lists::items(&self.0, &["volumes"], |request| request);
        self.call("volume.list", Some(Capability::Volumes), "", work).await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let work = async {
            names::existing("name", name)?;
            wire::item(&self.0, Request::get(&self.0.path(&["volumes", name])).json(&self.0).await?)
        };
        self.call("volume.inspect", Some(Capability::Volumes), name, work).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let work = async {
            spec.validate()?;
            let request = Request::post(&self.0.path(&["volumes"])).body(&json!(spec)).within(SLOW_DEADLINE);
            wire::item(&self.0, request.json(&self.0).await?)
        };
        self.call("volume.create", Some(Capability::Volumes), &spec.name, work).await
    }

    async fn delete_volume(&self, name: &str, force: bool) -> Result<()> {
        let work = async {
            names::existing("name", name)?;
            Request::delete(&self.0.path(&["volumes", name])).flag("force", force).done(&self.0).await
        };
        self.call("volume.delete", Some(Capability::Volumes), name, work).await
    }
}
