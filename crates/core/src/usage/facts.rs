//! What a machine is: facts that change seldom. Sizes are in bytes.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a machine is. Members that are not told are absent or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct HostFacts {
    /// Its host name.
    pub hostname: String,
    /// The system's name for people, for example `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The system's short name, for example `debian`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_id: Option<String>,
    /// The system's version, for example `12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The kernel's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Processor architecture, for example `x86_64`.
    pub architecture: String,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Timestamp>,
    /// What it runs in: `kvm`, `xen`, `docker` …; absent where nothing tells of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtualization: Option<String>,
    /// Its processors: one for each thread of hardware.
    pub cpus: Vec<CpuFacts>,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its disks.
    pub disks: Vec<DiskFacts>,
    /// What is mounted.
    pub mounts: Vec<MountFacts>,
    /// Its network interfaces.
    pub nics: Vec<NicFacts>,
}

/// One thread of a processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CpuFacts {
    /// Its number.
    pub core: u32,
    /// Who made it.
    pub vendor: String,
    /// Its name.
    pub model: String,
    /// Its family, as its maker counts.
    pub family: String,
    /// Cores of the processor that it is in.
    pub cores: u32,
    /// Its clock, in megahertz; 0 when it is not told.
    pub mhz: f64,
    /// Its cache, in bytes.
    pub cache_bytes: u64,
    /// What it can do.
    pub flags: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DiskFacts {
    /// Its name below `/dev`.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether something turns in it.
    pub rotational: bool,
    /// Whether it can be taken out.
    pub removable: bool,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Its model, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its parts.
    pub partitions: Vec<PartitionFacts>,
}

/// A part of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PartitionFacts {
    /// Its name below `/dev`.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its unique id in the table of partitions, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Label of its file system, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Kind of its file system, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
}

/// What is mounted somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MountFacts {
    /// Where.
    pub mountpoint: String,
    /// What.
    pub device: String,
    /// Its kind, for example `ext4`.
    pub kind: String,
    /// How, for example `rw,relatime`.
    pub options: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NicFacts {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty where it has none.
    pub mac: String,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Bits per second, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_bits_per_second: Option<u64>,
    /// Words of the kernel: `up`, `broadcast`, `loopback`, `pointtopoint`, `multicast`.
    pub flags: Vec<String>,
    /// Its addresses with the lengths of their prefixes, for example `10.0.0.4/24`.
    pub addresses: Vec<String>,
}
