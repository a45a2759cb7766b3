//! A node of the package as a node of the library.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use pyo3::prelude::*;
use roadstead_core::usage::{
    HistoryOf, HistoryOptions, HostFacts, Metrics, NodeUsage, ProcessOptions, UsageHistory, UsageOptions,
};
use roadstead_core::{
    ByteStream, Capabilities, Container, ContainerFilter, ContainerSpec, ContainerSummary, CopyOptions, CopyProgress,
    CopyWay, CreatedContainer, Event, EventOptions, ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions,
    ItemStream, Job, JobSpec, JobStatus, Network, NetworkSpec, Networks, Node, NodeInfo, Pool, Process, PullOptions,
    RestoreOptions, Result, Volume, VolumeSpec, Volumes,
};
use serde_json::{Map, Value, json};

use crate::beyond;
use crate::container::{DrivenContainer, job_arguments};
use crate::hand::{Hand, Objects};
use crate::job::DrivenJob;
use crate::pool::DrivenPool;

#[derive(Debug)]
pub(crate) struct Driven {
    hand: Hand,
    name: String,
    uri: String,
    lasting_uri: Option<String>,
    capabilities: Capabilities,
}

impl Driven {
    pub(crate) fn new(py: Python<'_>, hand: Hand) -> PyResult<Self> {
        Ok(Driven {
            name: hand.attribute(py, "name")?,
            uri: hand.attribute(py, "uri")?,
            lasting_uri: hand.attribute(py, "lasting_uri")?,
            capabilities: hand.attribute(py, "capabilities")?,
            hand,
        })
    }

    async fn given(&self, name: &'static str) -> Result<Hand> {
        self.hand.ask(name, json!([]), json!({})).await
    }

    async fn done(&self, name: &'static str, positional: Value, keywords: Value) -> Result<()> {
        self.hand.ask(name, positional, keywords).await.map(drop)
    }
}

/// A filter as keyword arguments. Labels are a mapping: of two selectors for one key only one could be said.
pub(crate) fn filter_arguments(filter: &ContainerFilter) -> Map<String, Value> {
    let mut keywords = Map::new();
    for (name, value) in [("states", json!(filter.states)), ("ids", json!(filter.ids)), ("names", json!(filter.names))]
    {
        if value.as_array().is_some_and(|items| !items.is_empty()) {
            keywords.insert(name.to_owned(), value);
        }
    }
    if !filter.labels.is_empty() {
        let labels: Map<String, Value> =
            filter.labels.iter().map(|label| (label.key.clone(), json!(label.value))).collect();
        keywords.insert("labels".to_owned(), labels.into());
    }
    keywords
}

/// A specification as an image and keyword arguments.
fn spec_arguments(spec: &ContainerSpec) -> (Value, Value) {
    let mut fields = serde_json::to_value(spec).unwrap_or_default();
    let image = fields.as_object_mut().and_then(|fields| fields.remove("image")).unwrap_or_default();
    (json!([image]), fields)
}

/// A specification whose name is an argument of its own.
fn named_arguments(spec: impl serde::Serialize) -> (Value, Value) {
    let mut fields = serde_json::to_value(spec).unwrap_or_default();
    let name = fields.as_object_mut().and_then(|fields| fields.remove("name")).unwrap_or_default();
    (json!([name]), fields)
}

fn created(hand: &Hand) -> Result<CreatedContainer> {
    let members = json!({
        "id": hand.inner("id")?.data::<String>()?,
        "name": hand.inner("name")?.data::<String>()?,
        "warnings": hand.inner("warnings")?.data::<Vec<String>>()?,
    });
    serde_json::from_value(members).map_err(|error| beyond(&error.to_string()))
}

#[async_trait]
impl Node for Driven {
    fn name(&self) -> &str {
        &self.name
    }

    fn uri(&self) -> &str {
        &self.uri
    }

    fn lasting_uri(&self) -> Option<&str> {
        self.lasting_uri.as_deref()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.done("ping", json!([]), json!({})).await
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.given("info").await?.data()
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        let listed = self.hand.ask("containers", json!([]), filter_arguments(filter).into()).await?;
        // What a list shows of each, and what each says of itself, which is the same.
        listed.data()
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        let (positional, keywords) = spec_arguments(spec);
        created(&self.hand.ask("create_container", positional, keywords).await?)
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        let (positional, keywords) = spec_arguments(spec);
        self.done("check_container", positional, keywords).await
    }

    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer> {
        let objects = Objects::default().archive("archive", archive).await?;
        created(&self.hand.call("restore_container", json!([]), json!({ "name": options.name }), objects).await?)
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        let hand = Python::attach(|py| self.hand.at_once(py, "container", id)).expect("a handle asks nobody");
        Arc::new(DrivenContainer { hand, id: id.to_owned() })
    }

    async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        let source = driven(source)?;
        let objects = Objects::default().hand("source", source).text("container", container);
        self.hand.call("copy_ways", json!([]), json!({}), objects).await?.data()
    }

    async fn copy_container(&self, source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        let CopyOptions { container, name, transport, live, snapshots, labels, .. } = options;
        let keywords = json!({
            "container": container, "name": name, "transport": transport, "live": live, "snapshots": snapshots, "labels": labels,
        });
        let objects = Objects::default().hand("source", driven(source)?);
        Ok(self.hand.call("copy_container", json!([]), keywords, objects).await?.stream())
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        let keywords = json!({ "since": options.since.map(|at| json!({ "moment": at })) });
        Ok(self.hand.ask("events", json!([]), keywords).await?.stream())
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        let (positional, keywords) = job_arguments(job)?;
        Ok(Arc::new(DrivenJob::new(self.hand.ask("run", positional, keywords).await?)?))
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.given("jobs").await?.data()
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        Ok(Arc::new(DrivenJob::new(self.hand.ask("job", json!([id]), json!({})).await?)?))
    }

    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>> {
        Ok(Arc::new(DrivenPool::new(self.hand.ask("pool", json!([name]), json!({})).await?)?))
    }
}

/// The object of a node that is one of the package's, too.
fn driven(node: &dyn Node) -> Result<Hand> {
    node.engine().downcast_ref::<Driven>().map(|node| node.hand.clone()).ok_or_else(|| beyond("nodes of others"))
}

#[async_trait]
impl Images for Driven {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.given("images").await?.data()
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        self.hand.ask("inspect_image", json!([reference]), json!({})).await?.data()
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        let keywords = json!({
            "platform": options.platform,
            "username": options.credentials.as_ref().map(|credentials| credentials.username.clone()),
            "password": options.credentials.as_ref().map(|credentials| credentials.password.expose().to_owned()),
        });
        Ok(self.hand.ask("pull_image", json!([options.reference]), keywords).await?.stream())
    }

    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String> {
        let objects = Objects::default().archive("archive", archive).await?.text("reference", &options.reference);
        let keywords = json!({ "command": options.command, "message": options.message });
        self.hand.call("import_image", json!([]), keywords, objects).await?.data()
    }

    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>> {
        let objects = Objects::default().archive("archive", archive).await?;
        self.hand.call("load_images", json!([]), json!({}), objects).await?.data()
    }

    async fn save_images(&self, references: &[String]) -> Result<ByteStream> {
        Ok(self.hand.ask("save_images", json!([references]), json!({})).await?.archive())
    }

    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()> {
        self.done("tag_image", json!([reference, new_reference]), json!({})).await
    }

    async fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        self.done("delete_image", json!([reference]), json!({ "force": force })).await
    }
}

#[async_trait]
impl Networks for Driven {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.given("networks").await?.data()
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.hand.ask("inspect_network", json!([name]), json!({})).await?.data()
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let (positional, keywords) = named_arguments(spec);
        self.hand.ask("create_network", positional, keywords).await?.data()
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        self.done("delete_network", json!([name]), json!({})).await
    }
}

#[async_trait]
impl Volumes for Driven {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.given("volumes").await?.data()
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.hand.ask("inspect_volume", json!([name]), json!({})).await?.data()
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let (positional, keywords) = named_arguments(spec);
        self.hand.ask("create_volume", positional, keywords).await?.data()
    }

    async fn delete_volume(&self, name: &str, force: bool) -> Result<()> {
        self.done("delete_volume", json!([name]), json!({ "force": force })).await
    }
}

#[async_trait]
impl Metrics for Driven {
    async fn host(&self) -> Result<HostFacts> {
        self.given("host").await?.data()
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        self.hand.ask("usage", json!([]), json!({ "containers": options.containers })).await?.data()
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let watched = self.hand.ask("watch_usage", json!([]), json!({ "containers": options.containers })).await?;
        Ok(watched.stream().boxed())
    }

    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory> {
        let mut keywords = json!({
            "since": options.since.map(|at| json!({ "moment": at })),
            "step_seconds": options.step.map(|step| step.as_secs_f64()),
        });
        if let Some(keywords) = keywords.as_object_mut() {
            match &options.of {
                HistoryOf::Containers(of) => drop(keywords.insert("containers".to_owned(), json!(of))),
                HistoryOf::Processes(of) => drop(keywords.insert("processes".to_owned(), json!(of))),
                _ => {}
            }
        }
        self.hand.ask("usage_history", json!([]), keywords).await?.data()
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        let ProcessOptions { containers, open_files, connections, .. } = options;
        let keywords = json!({ "containers": containers, "open_files": open_files, "connections": connections });
        self.hand.ask("processes", json!([]), keywords).await?.data()
    }
}
