//! Reads bytes as everything that a core0 node can send: a result, an entry of a stream, and the payload of every command.
//!
//! Shared by the property test here and by the fuzz target.

use std::collections::BTreeMap;

use roadstead_backends::engines::core0::commands::{
    agent, aggregator, bridge, btrfs, cgroup, config, corex, diagnostics, disk, filesystem, info, ip, job, kvm, logger,
    process, zerotier,
};
use roadstead_backends::engines::core0::{Entry, Outcome};
use serde::de::DeserializeOwned;

/// Reads `document` as everything. Errors are as good as values; what must not happen is a panic.
pub(crate) fn read(document: &[u8]) {
    if let Some(entry) = Entry::parse(document) {
        let _ = format!("{entry:?}");
    }
    if let Ok(outcome) = Outcome::parse(document) {
        look_at(&outcome);
    }
    // As the payload of a success, however it is written there.
    let text = String::from_utf8_lossy(document);
    let result = serde_json::json!({"state": "SUCCESS", "level": 20, "data": text});
    if let Ok(outcome) = Outcome::parse(result.to_string().as_bytes()) {
        look_at(&outcome);
    }
}

fn look_at(outcome: &Outcome) {
    let _ = (outcome.check(), outcome.message());
    if outcome.exit_code() == Some(0) {
        assert!(outcome.succeeded() && matches!(outcome.code, None | Some(0)), "nothing odd is a success: {outcome:?}");
    }
    let _ = format!("{outcome:?} {:?} {}", outcome.error(), outcome.error());
    macro_rules! read_as {
        ($($type:ty),+ $(,)?) => { $(one::<$type>(outcome); one::<Vec<$type>>(outcome);)+ };
    }
    read_as!(
        (), u64, f64, bool, String, BTreeMap<String, Vec<String>>,
        agent::Usage,
        aggregator::Aggregate, aggregator::Domain, aggregator::Metric,
        bridge::BridgeMode,
        btrfs::Allocation, btrfs::BtrfsDevice, btrfs::BtrfsFilesystem, btrfs::BtrfsInfo, btrfs::Profile, btrfs::Subvolume,
        cgroup::Cpuset, cgroup::MemoryLimits, cgroup::Subsystem,
        config::Config,
        corex::Container, corex::ContainerArguments, corex::Nic, corex::NicConfig, corex::NicState, corex::NicType,
        diagnostics::MemoryStatistics,
        disk::Device, disk::FreeSpace, disk::Mount, disk::SmartHealth, disk::SmartInfo,
        filesystem::Entry,
        info::CpuThread, info::Dmi, info::DmiProperty, info::DmiSection, info::DmiSubsection, info::ListeningPort,
        info::Memory, info::MountedPartition, info::Network, info::Nic, info::Os, info::Version,
        ip::Link, ip::Route,
        job::Job, job::RunningCommand,
        kvm::BlockStatistics, kvm::BusType, kvm::Machine, kvm::MachineArguments, kvm::MachineMount, kvm::MachineNic,
        kvm::MachineNicType, kvm::MachineState, kvm::MachineStatistics, kvm::Media, kvm::MediaType, kvm::NicStatistics,
        kvm::VcpuStatistics,
        logger::Severity,
        process::CpuTimes, process::Process, process::ResourceLimit,
        zerotier::ZeroTierInfo, zerotier::ZeroTierNetwork, zerotier::ZeroTierRoute,
    );
}

fn one<T: DeserializeOwned + std::fmt::Debug>(outcome: &Outcome) {
    if let Ok(value) = outcome.value::<T>() {
        drop(format!("{value:?}"));
    }
}
