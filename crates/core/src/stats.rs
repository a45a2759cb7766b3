//! Resource use of a container as numbers. Counters only grow while the container runs; rates are the reader's.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Resource use at one moment. Members that the engine cannot tell are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerStats {
    /// When it was read.
    pub observed_at: Timestamp,
    /// Processor.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Block devices, all together; absent when the engine does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIoStats>,
    /// Network interfaces of the container, as far as the engine tells.
    pub networks: Vec<NetworkStats>,
    /// Processes and threads.
    pub pids: PidsStats,
    /// How long its tasks waited for something, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureStats>,
}

impl ContainerStats {
    /// All zero or absent, read at `observed_at`.
    #[must_use]
    pub fn at(observed_at: Timestamp) -> Self {
        ContainerStats {
            observed_at,
            cpu: CpuStats::default(),
            memory: MemoryStats::default(),
            block_io: None,
            networks: Vec::new(),
            pids: PidsStats::default(),
            pressure: None,
        }
    }
}

/// Processor time since the container's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CpuStats {
    /// Seconds of processor time, user and kernel together.
    pub total_seconds: f64,
    /// Seconds in user mode.
    pub user_seconds: Option<f64>,
    /// Seconds in kernel mode.
    pub system_seconds: Option<f64>,
    /// Number of cores that the container may use.
    pub online_cpus: Option<u32>,
    /// Seconds in which it was held back by its limit.
    pub throttled_seconds: Option<f64>,
    /// In how many periods that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
}

/// Memory now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MemoryStats {
    /// Bytes that the kernel counts for the container, page cache included.
    pub usage_bytes: u64,
    /// Bytes without the page cache that can be dropped at once: what `docker stats` shows.
    pub working_set_bytes: Option<u64>,
    /// Bytes of the limit; absent when there is none.
    pub limit_bytes: Option<u64>,
    /// Bytes of swap.
    pub swap_bytes: Option<u64>,
    /// Bytes of processes that no file backs: what is called rss of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Bytes of the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// The most bytes that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// The most bytes of swap that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_peak_bytes: Option<u64>,
    /// How often the kernel ended one of its processes for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
}

/// Block devices since the container's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BlockIoStats {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// One network interface since the container's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NetworkStats {
    /// Name of the interface.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Errors on receiving.
    pub receive_errors: u64,
    /// Errors on sending.
    pub send_errors: u64,
    /// Packets that were dropped on receiving.
    #[serde(default)]
    pub receive_dropped: u64,
    /// Packets that were dropped on sending.
    #[serde(default)]
    pub send_dropped: u64,
    /// Of a machine's interface: whether it is the near end of one that a container or a virtual machine has. Such an interface
    /// comes and goes with these, under a new name each time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_guest: bool,
}

/// Processes and threads now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PidsStats {
    /// Number of processes and threads.
    pub current: u64,
    /// The limit; absent when there is none.
    pub limit: Option<u64>,
}

/// How long tasks waited for something (PSI of the kernel). What it does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PressureStats {
    /// For a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Pressure>,
    /// For memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Pressure>,
    /// For block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Pressure>,
}

/// How long tasks waited for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Pressure {
    /// Of the last ten seconds, in percent, how long some task waited.
    pub some_percent: f64,
    /// Seconds in all in which some task waited.
    pub some_seconds: f64,
    /// The percentage for all tasks at once, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_percent: Option<f64>,
    /// The seconds for all tasks at once, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_seconds: Option<f64>,
}
