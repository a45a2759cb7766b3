//! What the machine of a node is, by the agent's own commands (U1).

use roadstead_core::Result;
use roadstead_core::usage::{CpuFacts, DiskFacts, HostFacts, MountFacts, NicFacts, PartitionFacts};

use super::commands::disk::Device;
use super::commands::info::{CpuThread, MountedPartition, Nic, Os};
use super::shared::Core0;

/// Asks everything at once. The agent does not tell the architecture of its machine; it is built for one only.
pub(super) async fn facts(core0: &Core0) -> Result<HostFacts> {
    let commands = core0.host.commands();
    let (info, disks) = (commands.info(), core0.host.disks());
    let (os, cpus, memory, mounts, nics, disks) =
        tokio::try_join!(info.os(), info.cpu(), info.memory(), info.disks(), info.nics(), disks.list())?;
    let mut facts = system(os);
    facts.cpus = cpus.into_iter().map(thread).collect();
    facts.memory_bytes = memory.total_bytes;
    facts.disks = disks.iter().filter(|device| device.kind == "disk").map(disk).collect();
    facts.mounts = mounts.into_iter().map(mount).collect();
    facts.nics = nics.into_iter().map(nic).collect();
    Ok(facts)
}

fn known(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn system(os: Os) -> HostFacts {
    let mut facts = HostFacts::default();
    facts.hostname = os.hostname;
    facts.os = known(&format!("{} {}", os.platform, os.platform_version)).or_else(|| known(&os.os));
    facts.os_id = known(&os.platform);
    facts.os_version = known(&os.platform_version);
    facts.kernel = known(&os.kernel_version);
    // Zero-OS exists for this one.
    "x86_64".clone_into(&mut facts.architecture);
    facts.booted_at = os.booted_at;
    // A host of others is in nothing itself.
    facts.virtualization = known(&os.virtualization_system).filter(|_| os.virtualization_role == "guest");
    facts
}

fn thread(thread: CpuThread) -> CpuFacts {
    let mut facts = CpuFacts::default();
    facts.core = thread.cpu;
    facts.vendor = thread.vendor;
    facts.model = thread.model_name;
    facts.family = thread.family;
    facts.cores = thread.cores;
    facts.mhz = thread.mhz;
    facts.cache_bytes = thread.cache_bytes;
    facts.flags = thread.flags;
    facts
}

fn disk(device: &Device) -> DiskFacts {
    let mut facts = DiskFacts::default();
    facts.name.clone_from(&device.name);
    facts.size_bytes = device.size_bytes;
    facts.rotational = device.rotational.unwrap_or(false);
    facts.removable = device.removable;
    facts.read_only = device.read_only;
    facts.model = known(&device.model);
    facts.partitions = device.children.iter().filter(|child| child.kind == "part").map(partition).collect();
    facts
}

fn partition(device: &Device) -> PartitionFacts {
    let mut facts = PartitionFacts::default();
    facts.name.clone_from(&device.name);
    facts.size_bytes = device.size_bytes;
    facts.uuid = known(&device.partition_uuid);
    facts.label = known(&device.label);
    facts.filesystem = known(&device.filesystem);
    facts
}

fn mount(mounted: MountedPartition) -> MountFacts {
    let mut facts = MountFacts::default();
    facts.mountpoint = mounted.mount_point;
    facts.device = mounted.device;
    facts.kind = mounted.filesystem;
    facts.options = mounted.options.join(",");
    facts
}

fn nic(nic: Nic) -> NicFacts {
    let mut facts = NicFacts::default();
    facts.name = nic.name;
    facts.mac = nic.mac;
    facts.mtu = u32::try_from(nic.mtu_bytes).unwrap_or(u32::MAX);
    facts.up = nic.flags.iter().any(|flag| flag == "up");
    facts.speed_bits_per_second = nic.speed_mbit.and_then(|speed| speed.checked_mul(1_000_000));
    facts.flags = nic.flags;
    facts.addresses = nic.addresses;
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_is_in_and_what_it_holds_are_told_apart() {
        let told = |role: &str| {
            let mut os = Os::default();
            (os.virtualization_system, os.virtualization_role) = ("kvm".to_owned(), role.to_owned());
            system(os).virtualization
        };
        assert_eq!((told("guest").as_deref(), told("host"), told("")), (Some("kvm"), None, None));
    }

    #[test]
    fn a_disk_and_its_parts() {
        let mut part = Device::default();
        (part.name, part.kind, part.size_bytes) = ("sda1".to_owned(), "part".to_owned(), 5);
        part.partition_uuid = "7c".to_owned();
        let mut device = Device::default();
        (device.name, device.kind, device.rotational) = ("sda".to_owned(), "disk".to_owned(), Some(true));
        device.children = vec![part, Device::default()];
        let facts = disk(&device);
        assert_eq!(
            (facts.name.as_str(), facts.rotational, facts.model, facts.partitions.len()),
            ("sda", true, None, 1)
        );
        let part = &facts.partitions[0];
        assert_eq!((part.uuid.as_deref(), part.label.as_deref(), part.size_bytes), (Some("7c"), None, 5));
    }
}
