//! A node of which somebody else tells a little: its name, what it is, and which containers it has.
//!
//! A manager of a cluster may know the containers of all machines and be able to do nothing to them. Whoever knows that much
//! implements [`Outline`]; [`outlined`] makes a node of it, which has no capability and refuses everything else.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::capabilities::{Capabilities, Capability};
use crate::container::{
    AttachOptions, BackupOptions, CommitOptions, Container, ContainerDetails, ContainerExit, ContainerFilter,
    ContainerSpec, ContainerSummary, ContainerUpdate, CopyInOptions, DeleteOptions, LogOptions, RestoreOptions,
    Snapshot, SnapshotOptions, StopOptions, WaitFor,
};
use crate::copy::{CopyOptions, CopyProgress, CopyWay};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::image::{ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions, PullOptions};
use crate::job::{Job, JobSpec, JobStatus};
use crate::names;
use crate::network::{Network, NetworkSpec, Networks};
use crate::node::{CreatedContainer, EventOptions, Node, NodeInfo};
use crate::pool::Pool;
use crate::process::Process;
use crate::signal::Signal;
use crate::stats::ContainerStats;
use crate::stream::{Attachment, ByteStream, ItemStream, LogRecord, TerminalSize};
use crate::usage::{HistoryOptions, HostFacts, Metrics, NodeUsage, ProcessOptions, UsageHistory, UsageOptions};
use crate::volume::{Volume, VolumeSpec, Volumes};

/// What is told of a node.
#[async_trait]
pub trait Outline: Debug + Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// URI, without secrets, of who tells this.
    fn uri(&self) -> &str;

    /// What it is. Also the answer to a ping.
    async fn info(&self) -> Result<NodeInfo>;

    /// Its containers that pass `filter`.
    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>>;
}

/// The node of which `outline` tells.
#[must_use]
pub fn outlined(outline: impl Outline) -> Arc<dyn Node> {
    Arc::new(OutlinedNode { outline: Arc::new(outline), capabilities: Capabilities::default() })
}

/// Refuses what is to be done to containers of a node of which is only told.
pub(super) fn refuses_verbs(node: &dyn Node) -> Result<()> {
    if node.engine().is::<OutlinedNode>() { verb("changing containers from here") } else { Ok(()) }
}

fn verb<T>(what: &str) -> Result<T> {
    Err(Error::unsupported(what))
}

fn lacks<T>(capability: Capability) -> Result<T> {
    verb(capability.text())
}

#[derive(Clone, Debug)]
struct OutlinedNode {
    outline: Arc<dyn Outline>,
    capabilities: Capabilities,
}

#[derive(Debug)]
struct OutlinedContainer {
    node: Arc<dyn Outline>,
    id: String,
}

#[async_trait]
impl Node for OutlinedNode {
    fn name(&self) -> &str {
        self.outline.name()
    }

    fn uri(&self) -> &str {
        self.outline.uri()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.outline.info().await.map(drop)
    }

    async fn info(&self) -> Result<NodeInfo> {
        self.outline.info().await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        filter.validate()?;
        self.outline.list_containers(filter).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(OutlinedContainer { node: Arc::clone(&self.outline), id: id.to_owned() })
    }

    async fn create_container(&self, _: &ContainerSpec) -> Result<CreatedContainer> {
        lacks(Capability::Create)
    }

    async fn check_container(&self, _: &ContainerSpec) -> Result<()> {
        lacks(Capability::Create)
    }

    async fn restore_container(&self, _: ByteStream, _: &RestoreOptions) -> Result<CreatedContainer> {
        lacks(Capability::Backups)
    }

    async fn copy_ways(&self, _: &dyn Node, _: &str) -> Result<Vec<CopyWay>> {
        lacks(Capability::Copy)
    }

    async fn copy_container(&self, _: &dyn Node, _: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        lacks(Capability::Copy)
    }

    async fn events(&self, _: &EventOptions) -> Result<ItemStream<Event>> {
        lacks(Capability::Events)
    }

    async fn run(&self, _: &JobSpec) -> Result<Arc<dyn Job>> {
        lacks(Capability::NodeJobs)
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        lacks(Capability::Jobs)
    }

    async fn job(&self, _: &str) -> Result<Arc<dyn Job>> {
        lacks(Capability::Jobs)
    }

    async fn pool(&self, _: &str) -> Result<Arc<dyn Pool>> {
        lacks(Capability::Pools)
    }
}

#[async_trait]
impl Metrics for OutlinedNode {
    async fn host(&self) -> Result<HostFacts> {
        lacks(Capability::Host)
    }

    async fn usage(&self, _: &UsageOptions) -> Result<NodeUsage> {
        lacks(Capability::Usage)
    }

    async fn watch_usage(&self, _: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        lacks(Capability::Usage)
    }

    async fn usage_history(&self, _: &HistoryOptions) -> Result<UsageHistory> {
        lacks(Capability::UsageHistory)
    }

    async fn list_processes(&self, _: &ProcessOptions) -> Result<Vec<Process>> {
        lacks(Capability::NodeProcesses)
    }
}

#[async_trait]
impl Images for OutlinedNode {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        lacks(Capability::Images)
    }

    async fn inspect_image(&self, _: &str) -> Result<ImageDetails> {
        lacks(Capability::Images)
    }

    async fn pull_image(&self, _: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        lacks(Capability::ImagePull)
    }

    async fn import_image(&self, _: ByteStream, _: &ImportOptions) -> Result<String> {
        lacks(Capability::ImageImport)
    }

    async fn load_images(&self, _: ByteStream) -> Result<Vec<String>> {
        lacks(Capability::ImageArchive)
    }

    async fn save_images(&self, _: &[String]) -> Result<ByteStream> {
        lacks(Capability::ImageArchive)
    }

    async fn tag_image(&self, _: &str, _: &str) -> Result<()> {
        lacks(Capability::Images)
    }

    async fn delete_image(&self, _: &str, _: bool) -> Result<()> {
        lacks(Capability::Images)
    }
}

#[async_trait]
impl Networks for OutlinedNode {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        lacks(Capability::Networks)
    }

    async fn inspect_network(&self, _: &str) -> Result<Network> {
        lacks(Capability::Networks)
    }

    async fn create_network(&self, _: &NetworkSpec) -> Result<String> {
        lacks(Capability::Networks)
    }

    async fn delete_network(&self, _: &str) -> Result<()> {
        lacks(Capability::Networks)
    }
}

#[async_trait]
impl Volumes for OutlinedNode {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        lacks(Capability::Volumes)
    }

    async fn inspect_volume(&self, _: &str) -> Result<Volume> {
        lacks(Capability::Volumes)
    }

    async fn create_volume(&self, _: &VolumeSpec) -> Result<Volume> {
        lacks(Capability::Volumes)
    }

    async fn delete_volume(&self, _: &str, _: bool) -> Result<()> {
        lacks(Capability::Volumes)
    }
}

#[async_trait]
impl Container for OutlinedContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        names::existing("container", &self.id)?;
        let listed = self.node.list_containers(&ContainerFilter::all()).await?;
        let found = listed.into_iter().find(|container| container.id == self.id || container.name == self.id);
        let summary = found.ok_or_else(|| Error::not_found("container", &self.id))?;
        Ok(ContainerDetails { summary, ..ContainerDetails::default() })
    }

    async fn start(&self) -> Result<()> {
        verb("starting containers from here")
    }

    async fn stop(&self, _: &StopOptions) -> Result<()> {
        verb("stopping containers from here")
    }

    async fn restart(&self, _: &StopOptions) -> Result<()> {
        lacks(Capability::Restart)
    }

    async fn kill(&self, _: Signal) -> Result<()> {
        lacks(Capability::Kill)
    }

    async fn freeze(&self) -> Result<()> {
        lacks(Capability::Freeze)
    }

    async fn unfreeze(&self) -> Result<()> {
        lacks(Capability::Freeze)
    }

    async fn rename(&self, _: &str) -> Result<()> {
        lacks(Capability::Rename)
    }

    async fn update(&self, _: &ContainerUpdate) -> Result<()> {
        lacks(Capability::Update)
    }

    async fn delete(&self, _: &DeleteOptions) -> Result<()> {
        lacks(Capability::Create)
    }

    async fn wait(&self, _: WaitFor, _: Duration) -> Result<ContainerExit> {
        lacks(Capability::Wait)
    }

    async fn commit(&self, _: &CommitOptions) -> Result<String> {
        lacks(Capability::Commit)
    }

    async fn export(&self) -> Result<ByteStream> {
        lacks(Capability::Export)
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        lacks(Capability::Snapshots)
    }

    async fn create_snapshot(&self, _: &SnapshotOptions) -> Result<Snapshot> {
        lacks(Capability::Snapshots)
    }

    async fn restore_snapshot(&self, _: &str) -> Result<()> {
        lacks(Capability::Snapshots)
    }

    async fn delete_snapshot(&self, _: &str) -> Result<()> {
        lacks(Capability::Snapshots)
    }

    async fn backup(&self, _: &BackupOptions) -> Result<ByteStream> {
        lacks(Capability::Backups)
    }

    async fn copy_out(&self, _: &str) -> Result<ByteStream> {
        lacks(Capability::Files)
    }

    async fn copy_in(&self, _: &str, _: ByteStream, _: &CopyInOptions) -> Result<()> {
        lacks(Capability::Files)
    }

    async fn logs(&self, _: &LogOptions) -> Result<ItemStream<LogRecord>> {
        lacks(Capability::Logs)
    }

    async fn attach(&self, _: &AttachOptions) -> Result<Attachment> {
        lacks(Capability::Attach)
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        lacks(Capability::Attach)
    }

    async fn stats(&self) -> Result<ContainerStats> {
        lacks(Capability::Stats)
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        lacks(Capability::Processes)
    }

    async fn run(&self, _: &JobSpec) -> Result<Arc<dyn Job>> {
        lacks(Capability::Jobs)
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        lacks(Capability::Jobs)
    }
}
