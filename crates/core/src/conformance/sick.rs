//! A node that is not well: it refuses everything, or answers nothing at all. For the clauses of pools.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use crate::capabilities::Capabilities;
use crate::container::{Container, ContainerFilter, ContainerSpec, ContainerSummary, RestoreOptions};
use crate::copy::{CopyOptions, CopyProgress, CopyWay};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::image::{ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions, PullOptions};
use crate::job::{Job, JobSpec, JobStatus};
use crate::network::{Network, NetworkSpec, Networks};
use crate::node::{CreatedContainer, EventOptions, Node, NodeInfo};
use crate::pool::Pool;
use crate::process::Process;
use crate::stream::{ByteStream, ItemStream};
use crate::usage::{HistoryOptions, HostFacts, Metrics, NodeUsage, ProcessOptions, UsageHistory, UsageOptions};
use crate::volume::{Volume, VolumeSpec, Volumes};

/// What ails the node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ailment {
    /// Every call fails at once.
    Refuses,
    /// No call ever ends.
    Silent,
}

/// A sick node beside a well one, which makes its handles.
#[derive(Debug)]
pub(super) struct Sick {
    name: &'static str,
    ailment: Ailment,
    well: Arc<dyn Node>,
}

impl Sick {
    pub(super) fn node(name: &'static str, ailment: Ailment, well: &Arc<dyn Node>) -> Arc<dyn Node> {
        Arc::new(Sick { name, ailment, well: Arc::clone(well) })
    }

    async fn ail<T>(&self) -> Result<T> {
        match self.ailment {
            Ailment::Refuses => Err(Error::new(ErrorKind::Unavailable, "this node is sick").with_node(self.name)),
            Ailment::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Node for Sick {
    fn name(&self) -> &str {
        self.name
    }
    fn uri(&self) -> &str {
        "sick:"
    }
    fn capabilities(&self) -> &Capabilities {
        self.well.capabilities()
    }
    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }
    async fn ping(&self) -> Result<()> {
        self.ail().await
    }
    async fn info(&self) -> Result<NodeInfo> {
        self.ail().await
    }
    async fn list_containers(&self, _: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        self.ail().await
    }
    async fn create_container(&self, _: &ContainerSpec) -> Result<CreatedContainer> {
        self.ail().await
    }
    async fn check_container(&self, _: &ContainerSpec) -> Result<()> {
        self.ail().await
    }
    async fn restore_container(&self, _: ByteStream, _: &RestoreOptions) -> Result<CreatedContainer> {
        self.ail().await
    }
    fn container(&self, id: &str) -> Arc<dyn Container> {
        self.well.container(id)
    }
    async fn copy_ways(&self, _: &dyn Node, _: &str) -> Result<Vec<CopyWay>> {
        self.ail().await
    }
    async fn copy_container(&self, _: &dyn Node, _: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        self.ail().await
    }
    async fn events(&self, _: &EventOptions) -> Result<ItemStream<Event>> {
        self.ail().await
    }
    async fn run(&self, _: &JobSpec) -> Result<Arc<dyn Job>> {
        self.ail().await
    }
    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.ail().await
    }
    async fn job(&self, _: &str) -> Result<Arc<dyn Job>> {
        self.ail().await
    }
    async fn pool(&self, _: &str) -> Result<Arc<dyn Pool>> {
        self.ail().await
    }
}

#[async_trait]
impl Metrics for Sick {
    async fn host(&self) -> Result<HostFacts> {
        self.ail().await
    }
    async fn usage(&self, _: &UsageOptions) -> Result<NodeUsage> {
        self.ail().await
    }
    async fn watch_usage(&self, _: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        self.ail().await
    }
    async fn usage_history(&self, _: &HistoryOptions) -> Result<UsageHistory> {
        self.ail().await
    }
    async fn list_processes(&self, _: &ProcessOptions) -> Result<Vec<Process>> {
        self.ail().await
    }
}

#[async_trait]
impl Images for Sick {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.ail().await
    }
    async fn inspect_image(&self, _: &str) -> Result<ImageDetails> {
        self.ail().await
    }
    async fn pull_image(&self, _: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        self.ail().await
    }
    async fn import_image(&self, _: ByteStream, _: &ImportOptions) -> Result<String> {
        self.ail().await
    }
    async fn load_images(&self, _: ByteStream) -> Result<Vec<String>> {
        self.ail().await
    }
    async fn save_images(&self, _: &[String]) -> Result<ByteStream> {
        self.ail().await
    }
    async fn tag_image(&self, _: &str, _: &str) -> Result<()> {
        self.ail().await
    }
    async fn delete_image(&self, _: &str, _: bool) -> Result<()> {
        self.ail().await
    }
}

#[async_trait]
impl Networks for Sick {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.ail().await
    }
    async fn inspect_network(&self, _: &str) -> Result<Network> {
        self.ail().await
    }
    async fn create_network(&self, _: &NetworkSpec) -> Result<String> {
        self.ail().await
    }
    async fn delete_network(&self, _: &str) -> Result<()> {
        self.ail().await
    }
}

#[async_trait]
impl Volumes for Sick {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.ail().await
    }
    async fn inspect_volume(&self, _: &str) -> Result<Volume> {
        self.ail().await
    }
    async fn create_volume(&self, _: &VolumeSpec) -> Result<Volume> {
        self.ail().await
    }
    async fn delete_volume(&self, _: &str, _: bool) -> Result<()> {
        self.ail().await
    }
}
