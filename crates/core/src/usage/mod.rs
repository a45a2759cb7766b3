//! What a node, its containers and its processes use: now, since a time, and as it goes on.
//!
//! Numbers that only grow are told as they are, with the moment at which they were read; what they mean for a time is in [`Rates`],
//! which follow from the sample before, so that nobody waits for a second one.

mod earlier;
mod facts;
mod history;
mod machine;
mod polled;
mod rates;
mod runs;

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use facts::{CpuFacts, DiskFacts, HostFacts, MountFacts, NicFacts, PartitionFacts};
pub use history::{HistoryOf, HistoryOptions, Metric, Spread, UsageHistory, UsagePoint, UsageSeries};
pub use machine::{
    CoreUsage, CpuTimes, DiskUsage, FilesystemUsage, MachineCpu, MachineMemory, MachineUsage, Sensor, SwapUsage,
};
pub use polled::{Asked, Polled, processes, running, select};
pub use rates::Rates;
pub use runs::Runs;

use crate::error::{Error, Result};
use crate::names;
use crate::process::Process;
use crate::stats::ContainerStats;
use crate::stream::ItemStream;
use crate::time::Timestamp;

/// What the machine is, and what it and all that runs on it use.
///
/// Every call may be cancelled by dropping its future; none changes anything.
#[async_trait]
pub trait Metrics: Debug + Send + Sync {
    /// What the machine is: its processors, disks and interfaces, its system.
    ///
    /// * **U1**: names its host name, its processors and how much memory it has; the time of its start is in the past.
    async fn host(&self) -> Result<HostFacts>;

    /// What the machine, where that is told, and the running containers use, all in one answer.
    ///
    /// * **U10**: every running container is there, once, by id and name, and none that does not run.
    /// * **U11**: the numbers of a container are those of [`crate::Container::stats`]; its cpu seconds never go down from one answer to
    ///   the next.
    /// * **U12**: containers that come and go meanwhile never make it fail.
    /// * **U13**: only the containers that are asked for; `NotFound` for one that is not there, `Conflict` for one that does not run.
    /// * **U14**: where an earlier sample is known, there are rates; what is busy has a percentage above zero.
    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage>;

    /// The same each time that it is read anew, beginning with what is known now. The containers that are asked for are found by
    /// name when it begins, and it is about these from then on, each until it ends. Dropping the stream ends it.
    ///
    /// * **U20**: later items are observed later, and cpu seconds never go down.
    /// * **U21**: a container that was asked for and ended is not in the items from then on, not even when it was started again or
    ///   another has got its name in the meantime; when the last has ended, so does the stream. A new container and a new start are
    ///   told apart by the process, the times and the control group that the engine tells of; what it keeps to itself cannot be.
    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>>;

    /// What was used since a time, in steps, as far as it is kept: the newest at full resolution, what is older in longer steps.
    ///
    /// * **U30**: a container that runs has points, in the order of time, each with a least, a mean and a greatest value in that order.
    /// * **U31**: steps are as long as asked for, or longer where what is kept is; none begins before the time that was asked for by
    ///   more than a step.
    /// * **U32**: a container that is not there is `NotFound`.
    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory>;

    /// The processes of the node, or of some containers, by ascending pid, each with the container that it belongs to and as it is now.
    ///
    /// Where the machine is read again and again ([`NodeUsage::sampling`]), those of the whole node are the ones that the last reading
    /// found: what ended since is left out, and what began since is there from the next reading on. Those of containers that are asked
    /// for are the ones in them now; one that began since has no percentage yet.
    ///
    /// * **U40**: the main process of a running container is there, and names its container.
    /// * **U41**: of the containers that are asked for, and no others; `NotFound` for one that is not there, `Conflict` for one that
    ///   does not run.
    /// * **U42**: open files and connections are told when they are asked for and the engine can see them, and absent otherwise.
    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>>;
}

/// Whose use is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageOptions {
    /// Only these containers, by id or name, and not the machine; everything when empty.
    pub containers: Vec<String>,
}

impl UsageOptions {
    /// The use of one container.
    #[must_use]
    pub fn of(container: impl Into<String>) -> Self {
        UsageOptions { containers: vec![container.into()] }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` with the field `containers`.
    pub fn validate(&self) -> Result<()> {
        known("containers", &self.containers)
    }
}

/// Whose processes are asked for, and how much of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// Only those of these containers, by id or name; all of the node when empty.
    pub containers: Vec<String>,
    /// Their open files, too.
    pub open_files: bool,
    /// Their connections, too.
    pub connections: bool,
}

impl ProcessOptions {
    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` with the field `containers`.
    pub fn validate(&self) -> Result<()> {
        known("containers", &self.containers)
    }
}

/// So many may be named at once.
const NAMED_MAX: usize = 1000;

fn known(field: &str, containers: &[String]) -> Result<()> {
    if containers.len() > NAMED_MAX {
        return Err(Error::invalid(field, format!("at most {NAMED_MAX} may be named")));
    }
    containers.iter().try_for_each(|container| names::existing(field, container))
}

/// What a node and its running containers use at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeUsage {
    /// Name of the node.
    pub node: String,
    /// When it was read.
    pub observed_at: Timestamp,
    /// How it is read, where it is read again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// The whole machine; absent when the engine does not tell, or containers were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineUsage>,
    /// The running containers, by id.
    pub containers: Vec<ContainerUsage>,
    /// Containers of which it could not be told, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<UsageError>,
}

impl NodeUsage {
    /// Nothing yet, read at `observed_at`.
    #[must_use]
    pub fn at(node: impl Into<String>, observed_at: Timestamp) -> Self {
        NodeUsage {
            node: node.into(),
            observed_at,
            sampling: None,
            machine: None,
            containers: Vec::new(),
            errors: Vec::new(),
        }
    }
}

/// What one running container uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerUsage {
    /// The engine's id; where an engine knows names only, the name.
    pub id: String,
    /// Name without any leading slash.
    pub name: String,
    /// The counters.
    #[serde(flatten)]
    pub stats: ContainerStats,
    /// What they mean for the time since the sample before; absent at the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// What its network carried, where the kernel of the node is read; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceTraffic>,
}

/// What all interfaces of a network namespace carried since it began, the loopback included: the sums of `/proc/PID/net/dev` for the
/// main process of a container. A container that uses the machine's network has the machine's numbers here, and so has each such one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NamespaceTraffic {
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

impl NamespaceTraffic {
    /// So many bytes received and sent.
    #[must_use]
    pub const fn new(received_bytes: u64, sent_bytes: u64) -> Self {
        NamespaceTraffic { received_bytes, sent_bytes }
    }
}

impl ContainerUsage {
    /// Without rates.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, stats: ContainerStats) -> Self {
        ContainerUsage { id: id.into(), name: name.into(), stats, rates: None, namespace: None }
    }
}

/// A container of which something could not be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct UsageError {
    /// Its id.
    pub container: String,
    /// Kind of the error.
    pub code: crate::ErrorKind,
    /// Why, in a line.
    pub message: String,
}

impl UsageError {
    /// What `error` was about `container`.
    #[must_use]
    pub fn new(container: impl Into<String>, error: &Error) -> Self {
        UsageError { container: container.into(), code: error.kind(), message: error.to_string() }
    }
}

/// How numbers are read again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Sampling {
    /// From one sample to the next, in seconds, as it is now.
    pub interval_seconds: f64,
    /// As it was asked for.
    pub asked_interval_seconds: f64,
    /// Whether it is slower than asked for, because it would cost more than its budget.
    pub slowed: bool,
    /// How much of one core sampling may use, in percent.
    pub budget_percent: f64,
    /// How much of one core it used of late, in percent.
    pub cost_percent: f64,
    /// What the last sample cost, in seconds of processor time.
    pub sample_cost_seconds: f64,
    /// Memory that history takes, in bytes.
    pub history_bytes: u64,
}
