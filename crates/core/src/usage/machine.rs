//! What a whole machine uses. Sizes are in bytes, times in seconds, counters since its start.

use serde::{Deserialize, Serialize};

use super::Rates;
use crate::stats::{NetworkStats, PressureStats};

/// What a machine uses at one moment. Members that are not told are absent or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MachineUsage {
    /// Which start of which machine this is, in the kernel's words (`boot_id`): the same for all nodes on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Seconds since its start.
    pub uptime_seconds: f64,
    /// Processors.
    pub cpu: MachineCpu,
    /// Memory.
    pub memory: MachineMemory,
    /// Swap.
    pub swap: SwapUsage,
    /// Block devices.
    pub disks: Vec<DiskUsage>,
    /// File systems that have space.
    pub filesystems: Vec<FilesystemUsage>,
    /// Network interfaces.
    pub nics: Vec<NetworkStats>,
    /// How many processes there were when this was read.
    pub processes: u64,
    /// How long tasks waited for something, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureStats>,
    /// Temperatures, where there are sensors.
    pub sensors: Vec<Sensor>,
    /// What was used since the sample before: all disks that are no part of another and all interfaces but the loopback together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// The processors of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MachineCpu {
    /// All together, since the sample before, in percent of all of them: 100 is every core busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// All together.
    pub times: CpuTimes,
    /// Each.
    pub cores: Vec<CoreUsage>,
    /// The load of one, five and fifteen minutes: tasks that run or wait for a disk, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
}

/// One processor core.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CoreUsage {
    /// Its number.
    pub core: u32,
    /// Since the sample before, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Its times.
    pub times: CpuTimes,
}

/// What processors did since the machine's start, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CpuTimes {
    /// Programs of users.
    pub user_seconds: f64,
    /// Those of lower priority.
    pub nice_seconds: f64,
    /// The kernel.
    pub system_seconds: f64,
    /// Nothing.
    pub idle_seconds: f64,
    /// Nothing, while a disk was waited for.
    pub io_wait_seconds: f64,
    /// Interrupts.
    pub irq_seconds: f64,
    /// What interrupts left to do.
    pub soft_irq_seconds: f64,
    /// What another machine on the same hardware took.
    pub steal_seconds: f64,
}

/// Memory of a machine, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MachineMemory {
    /// All.
    pub total_bytes: u64,
    /// What is not available.
    pub used_bytes: u64,
    /// What a new program may have without swapping.
    pub available_bytes: u64,
    /// What holds nothing.
    pub free_bytes: u64,
    /// Of block devices.
    pub buffers_bytes: u64,
    /// Of files.
    pub cached_bytes: u64,
    /// In temporary file systems and shared between processes.
    pub shared_bytes: u64,
    /// Used of late.
    pub active_bytes: u64,
    /// Not used of late.
    pub inactive_bytes: u64,
}

/// Swap of a machine, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SwapUsage {
    /// All.
    pub total_bytes: u64,
    /// What is used.
    pub used_bytes: u64,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DiskUsage {
    /// Its name below `/dev`.
    pub name: String,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Seconds in which it had something to do.
    pub busy_seconds: f64,
}

/// A file system that is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct FilesystemUsage {
    /// Where.
    pub mountpoint: String,
    /// What.
    pub device: String,
    /// Its kind, for example `ext4`.
    pub kind: String,
    /// All, in bytes.
    pub total_bytes: u64,
    /// What is used.
    pub used_bytes: u64,
    /// What users other than root may still use.
    pub available_bytes: u64,
    /// Files that it can hold; 0 where it has no such limit.
    pub inodes: u64,
    /// Files that it can still take.
    pub inodes_free: u64,
}

/// A sensor of temperature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Sensor {
    /// What it is in; of several with one name, with its device behind that.
    pub chip: String,
    /// Which one of it.
    pub label: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// From where on it is critical, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_celsius: Option<f64>,
}
