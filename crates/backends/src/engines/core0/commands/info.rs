//! Facts about a node, or a container on it: `info.*`, section 12.2 of the reference.
//!
//! Members are the same in every generation, but for [`Nic`], where G1 tells neither speed nor state. Containers have no
//! [`Info::dmi`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use roadstead_core::{Result, Timestamp};

use super::Commands;
use super::reading::{Read, at_seconds, kibibytes, member, record, seconds, words};

/// `info.*`.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a>(pub(super) &'a Commands);

record! {
    /// One hardware thread.
    pub struct CpuThread {
        /// Its number.
        cpu: u32 = "cpu";
        /// The vendor's name for itself, for example `GenuineIntel`.
        vendor: String = "vendorId";
        /// The family that the vendor counts it to.
        family: String = "family";
        /// The model that the vendor counts it to.
        model: String = "model";
        /// The stepping.
        stepping: i64 = "stepping";
        /// The package that it is on.
        physical_id: String = "physicalId";
        /// The core that it belongs to.
        core_id: String = "coreId";
        /// 1.
        cores: u32 = "cores";
        /// The model in words.
        model_name: String = "modelName";
        /// Frequency in MHz.
        mhz: f64 = "mhz";
        /// Cache in bytes.
        cache_bytes: u64 = "cacheSize" in kibibytes;
        /// What it can do, for example `fpu`.
        flags: Vec<String> = "flags";
        /// Version of its microcode.
        microcode: String = "microcode";
    }
}

record! {
    /// Memory, in bytes.
    pub struct Memory {
        /// All there is.
        total_bytes: u64 = "total";
        /// What programs can have without swapping.
        available_bytes: u64 = "available";
        /// All but what is available.
        used_bytes: u64 = "used";
        /// The same in percent of all.
        used_percent: f64 = "usedPercent";
        /// What nothing uses.
        free_bytes: u64 = "free";
        /// Used lately.
        active_bytes: u64 = "active";
        /// Not used lately.
        inactive_bytes: u64 = "inactive";
        /// 0.
        wired_bytes: u64 = "wired";
        /// Buffers of block devices.
        buffers_bytes: u64 = "buffers";
        /// Cache of files.
        cached_bytes: u64 = "cached";
        /// On its way to a disk.
        writeback_bytes: u64 = "writeback";
        /// Waits to be written to a disk.
        dirty_bytes: u64 = "dirty";
        /// Buffers of FUSE for what is on its way to a disk.
        writeback_temporary_bytes: u64 = "writebacktmp";
        /// Shared, and of tmpfs.
        shared_bytes: u64 = "shared";
        /// The kernel's own structures.
        slab_bytes: u64 = "slab";
        /// Tables of pages.
        page_tables_bytes: u64 = "pagetables";
        /// Swapped out, and in memory as well.
        swap_cached_bytes: u64 = "swapcached";
    }
}

record! {
    /// A file system that is mounted.
    pub struct MountedPartition {
        /// The device.
        device: String = "device";
        /// Where it is mounted.
        mount_point: String = "mountpoint";
        /// Its kind, for example `btrfs`.
        filesystem: String = "fstype";
        /// How it is mounted, for example `rw`.
        options: Vec<String> = "opts" in comma_separated;
    }
}

record! {
    /// A network interface.
    pub struct Nic {
        /// Its name.
        name: String = "name";
        /// The largest packet, in bytes.
        mtu_bytes: u64 = "mtu";
        /// Its hardware address; empty when it has none.
        mac: String = "hardwareaddr";
        /// `up`, `loopback` …
        flags: Vec<String> = "flags";
        /// Its addresses with their prefix lengths, for example `10.0.0.5/24`.
        addresses: Vec<String> = "addrs" in addresses;
        /// Megabits a second; absent when unknown.
        speed_mbit: Option<u64> = "speed" in speed;
        /// Whether a cable, or what stands for it, is plugged in; absent on G1.
        carrier: Option<bool> = "carrier";
        /// Whether the kernel calls it up; absent on G1.
        operational: Option<bool> = "operstate";
    }
}

record! {
    /// The operating system.
    pub struct Os {
        /// Name of the machine, or of the container.
        hostname: String = "hostname";
        /// How long the machine has been running, to the second.
        uptime: Duration = "uptime" in seconds;
        /// Since when.
        booted_at: Option<Timestamp> = "bootTime" in at_seconds;
        /// How many processes there are.
        processes: u64 = "procs";
        /// `linux`.
        os: String = "os";
        /// The distribution.
        platform: String = "platform";
        /// Which distributions it belongs to.
        platform_family: String = "platformFamily";
        /// Version of the distribution.
        platform_version: String = "platformVersion";
        /// Version of the kernel.
        kernel_version: String = "kernelVersion";
        /// What virtualises it, or what it virtualises with.
        virtualization_system: String = "virtualizationSystem";
        /// `guest` or `host`.
        virtualization_role: String = "virtualizationRole";
        /// The machine's unique id.
        host_id: String = "hostid";
    }
}

words! {
    /// What is listened on.
    pub enum Network {
        /// TCP over IPv4.
        Tcp = "tcp",
        /// TCP over IPv6, or over both.
        Tcp6 = "tcp6",
        /// UDP over IPv4.
        Udp = "udp",
        /// UDP over IPv6, or over both.
        Udp6 = "udp6",
        /// A socket of the file system.
        Unix = "unix",
    }
}

record! {
    /// Something that a process listens on.
    pub struct ListeningPort {
        /// What kind.
        network: Network = "network";
        /// The port; 0 for unix sockets.
        port: u16 = "port";
        /// The address; empty for unix sockets.
        ip: String = "ip";
        /// Path of the unix socket; empty for others.
        unix: String = "unix";
        /// The process.
        pid: u32 = "pid";
    }
}

record! {
    /// The version of core0 or coreX.
    pub struct Version {
        /// The branch that it was built from.
        branch: String = "branch";
        /// The revision that it was built from.
        revision: String = "revision";
        /// Whether it was built with changes beyond that.
        dirty: bool = "dirty";
    }
}

record! {
    /// What the firmware tells about the hardware.
    pub struct Dmi {
        /// The program that was asked.
        aggregator: String = "tooling" in aggregator;
        /// Its parts.
        sections: Vec<DmiSection> = "sections";
    }
}

record! {
    /// One structure of the firmware's table.
    pub struct DmiSection {
        /// The line that names its handle.
        handle: String = "handleline";
        /// What it is, for example `BIOS`.
        kind: String = "typestr";
        /// The same as a number, 0 to 42.
        kind_number: u32 = "typenum";
        /// What it says.
        subsections: Vec<DmiSubsection> = "subsections";
    }
}

record! {
    /// What a structure says under one title.
    pub struct DmiSubsection {
        /// The title.
        title: String = "title";
        /// Properties by name.
        properties: BTreeMap<String, DmiProperty> = "properties";
    }
}

record! {
    /// One property.
    pub struct DmiProperty {
        /// Its value.
        value: String = "value";
        /// What it lists.
        items: Vec<String> = "items";
    }
}

/// A structure of the firmware's table to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmiKind {
    /// By its number, 0 to 42.
    Number(u8),
    /// By its name: bios, system, baseboard, chassis, processor, memory, cache, connector or slot.
    Name(String),
}

fn comma_separated(options: &Value) -> Option<Vec<String>> {
    let options = String::read(options)?;
    Some(options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect())
}

fn addresses(list: &Value) -> Option<Vec<String>> {
    let address = |entry: &Value| match entry {
        Value::String(address) => Some(address.clone()),
        entry => Some(member(entry, &["addr"], String::read)).filter(|address| !address.is_empty()),
    };
    Some(list.as_array()?.iter().filter_map(address).collect())
}

/// 0 and −1 mean that it is not known.
fn speed(value: &Value) -> Option<Option<u64>> {
    Some(u64::read(value).filter(|speed| *speed > 0))
}

fn aggregator(tooling: &Value) -> Option<String> {
    Some(member(tooling, &["aggregator"], String::read))
}

/// `info.*`.
impl Info<'_> {
    /// The hardware threads: `info.cpu`.
    ///
    /// # Errors
    /// As every command.
    pub async fn cpu(&self) -> Result<Vec<CpuThread>> {
        self.0.list("info.cpu", ()).await
    }

    /// The memory: `info.mem`.
    ///
    /// # Errors
    /// As every command.
    pub async fn memory(&self) -> Result<Memory> {
        self.0.call("info.mem", ()).await
    }

    /// What is mounted: `info.disk`.
    ///
    /// # Errors
    /// As every command.
    pub async fn disks(&self) -> Result<Vec<MountedPartition>> {
        self.0.list("info.disk", ()).await
    }

    /// The network interfaces: `info.nic`.
    ///
    /// # Errors
    /// As every command.
    pub async fn nics(&self) -> Result<Vec<Nic>> {
        self.0.list("info.nic", ()).await
    }

    /// The operating system: `info.os`.
    ///
    /// # Errors
    /// As every command.
    pub async fn os(&self) -> Result<Os> {
        self.0.call("info.os", ()).await
    }

    /// What is listened on: `info.port`. In a container it may be empty though something listens.
    ///
    /// # Errors
    /// As every command.
    pub async fn ports(&self) -> Result<Vec<ListeningPort>> {
        self.0.list("info.port", ()).await
    }

    /// The agent's version: `info.version`.
    ///
    /// # Errors
    /// As every command.
    pub async fn version(&self) -> Result<Version> {
        self.0.call("info.version", ()).await
    }

    /// What the firmware tells about the hardware, all of it when nothing is asked for: `info.dmi`.
    ///
    /// # Errors
    /// As every command; `Unsupported` in a container.
    pub async fn dmi(&self, kinds: &[DmiKind]) -> Result<Dmi> {
        let kind = |kind: &DmiKind| match kind {
            DmiKind::Number(number) => json!(number),
            DmiKind::Name(name) => json!(name),
        };
        let kinds: Vec<Value> = kinds.iter().map(kind).collect();
        self.0.call("info.dmi", json!({"types": kinds})).await
    }
}
