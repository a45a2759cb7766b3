//! Counters of the kernel as the numbers of the core: seconds in place of ticks, absent where it does not tell.

use roadstead_core::usage::NamespaceTraffic;
use roadstead_core::{
    BlockIoStats, ContainerStats, NetworkStats, Pressure as PressureOf, PressureStats, ProcessState, Timestamp,
};

use super::files::group::Pressure;
use super::files::machine::Nic;
use super::files::pid::Stat;
use super::groups::Counters;

/// The interface by which a machine, or a container, reaches itself.
const LOOPBACK: &str = "lo";

impl Counters {
    /// What its own network carried.
    pub(super) fn namespace(&self) -> Option<NamespaceTraffic> {
        let bytes = self.nics.as_ref()?.iter().map(|nic| (nic.received_bytes, nic.sent_bytes));
        Some(traffic(bytes))
    }

    /// As they were read at this moment.
    pub(super) fn stats(self, observed_at: Timestamp) -> ContainerStats {
        let mut stats = ContainerStats::at(observed_at);
        stats.cpu.total_seconds = seconds(self.cpu.total_ns);
        stats.cpu.user_seconds = self.cpu.user_ns.map(seconds);
        stats.cpu.system_seconds = self.cpu.system_ns.map(seconds);
        stats.cpu.throttled_seconds = self.cpu.throttled_ns.map(seconds);
        stats.cpu.throttled_periods = self.cpu.throttled_periods;
        stats.cpu.online_cpus = self.limits.processors;
        let usage = self.memory_bytes.unwrap_or(0);
        stats.memory.usage_bytes = usage;
        stats.memory.working_set_bytes = self.memory.inactive_file.map(|inactive| usage.saturating_sub(inactive));
        stats.memory.limit_bytes = self.memory.limit.or(self.limits.memory_bytes);
        stats.memory.swap_bytes = self.memory.swap;
        stats.memory.rss_bytes = self.memory.anonymous;
        stats.memory.cache_bytes = self.memory.cache;
        stats.memory.oom_kills = self.oom_kills;
        stats.block_io = self.io.map(|(read, written)| {
            let mut io = BlockIoStats::default();
            (io.read_bytes, io.written_bytes) = (read, written);
            io
        });
        let own = self.nics.into_iter().flatten().filter(|nic| nic.name != LOOPBACK);
        let mut networks: Vec<_> = own.map(network).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        stats.networks = networks;
        stats.pids.current = self.pids.unwrap_or(0);
        stats.pids.limit = self.limits.pids;
        stats.pressure = pressures(self.pressure);
        stats
    }
}

/// What interfaces carried, all together, by the bytes that each received and sent.
pub(super) fn traffic(bytes: impl Iterator<Item = (u64, u64)>) -> NamespaceTraffic {
    let (received, sent) =
        bytes.fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    NamespaceTraffic::new(received, sent)
}

/// Nanoseconds as seconds.
#[allow(
    clippy::cast_precision_loss,
    reason = "a double counts nanoseconds exactly for a hundred days, and then nearly"
)]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// An interface's counters.
pub(super) fn network(nic: Nic) -> NetworkStats {
    let mut network = NetworkStats::default();
    network.name = nic.name;
    network.received_bytes = nic.received_bytes;
    network.sent_bytes = nic.sent_bytes;
    network.received_packets = nic.received_packets;
    network.sent_packets = nic.sent_packets;
    network.receive_errors = nic.receive_errors;
    network.send_errors = nic.send_errors;
    network.receive_dropped = nic.receive_dropped;
    network.send_dropped = nic.send_dropped;
    network
}

/// Of processor, memory and devices; nothing where the kernel tells of none.
pub(super) fn pressures([cpu, memory, io]: [Option<Pressure>; 3]) -> Option<PressureStats> {
    #[allow(clippy::cast_precision_loss, reason = "a double counts microseconds exactly for centuries")]
    let one = |pressure: Option<Pressure>| {
        let pressure = pressure?;
        let (some_percent, some_us) = pressure.some?;
        let mut of = PressureOf::default();
        (of.some_percent, of.some_seconds) = (some_percent, some_us as f64 / 1e6);
        of.full_percent = pressure.full.map(|(percent, _)| percent);
        of.full_seconds = pressure.full.map(|(_, us)| us as f64 / 1e6);
        Some(of)
    };
    let mut stats = PressureStats::default();
    (stats.cpu, stats.memory, stats.io) = (one(cpu), one(memory), one(io));
    (stats != PressureStats::default()).then_some(stats)
}

/// What the kernel counts processor time of processes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) ticks_per_second: u64,
    pub(super) page_bytes: u64,
    /// When the machine was started, in seconds since 1970.
    pub(super) boot_seconds: Option<u64>,
}

impl Clock {
    pub(super) fn of_this_machine() -> Self {
        Clock {
            ticks_per_second: procfs::ticks_per_second().max(1),
            page_bytes: procfs::page_size(),
            boot_seconds: procfs::boot_time_secs().ok(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks of centuries fit")]
    pub(super) fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second as f64
    }

    fn moment(&self, ticks: u64) -> Option<Timestamp> {
        let since_boot = u128::from(ticks).checked_mul(1_000_000_000)? / u128::from(self.ticks_per_second);
        let nanos = u128::from(self.boot_seconds?).checked_mul(1_000_000_000)?.checked_add(since_boot)?;
        Timestamp::from_unix_nanos(i128::try_from(nanos).ok()?)
    }

    /// A process as its `stat` tells of it.
    pub(super) fn process(&self, stat: &Stat) -> roadstead_core::Process {
        let mut process = roadstead_core::Process::default();
        process.pid = stat.pid;
        process.ppid = stat.ppid;
        process.name = String::from_utf8_lossy(&stat.name).into_owned();
        process.state = ProcessState::from_letter(char::from(stat.state));
        process.cpu_seconds = self.seconds(stat.user_ticks.saturating_add(stat.system_ticks));
        process.cpu_user_seconds = Some(self.seconds(stat.user_ticks));
        process.cpu_system_seconds = Some(self.seconds(stat.system_ticks));
        process.rss_bytes = Some(stat.rss_pages.saturating_mul(self.page_bytes));
        process.vms_bytes = Some(stat.vms_bytes);
        process.started_at = self.moment(stat.start_ticks);
        process.threads = u32::try_from(stat.threads).ok();
        process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_carried_is_that_of_all_interfaces_and_the_loopback_is_none_of_the_containers() {
        let nic = |name: &str, received_bytes, sent_bytes| Nic {
            name: name.to_owned(),
            received_bytes,
            sent_bytes,
            ..Nic::default()
        };
        let own = Counters {
            nics: Some(vec![nic("lo", 5, 5), nic("eth1", 7, 1), nic("eth0", 100, 20)]),
            ..Counters::default()
        };
        assert_eq!(own.namespace(), Some(NamespaceTraffic::new(112, 26)));
        let names: Vec<_> = own.stats(Timestamp::now()).networks.into_iter().map(|network| network.name).collect();
        assert_eq!(names, ["eth0", "eth1"]);
        assert_eq!(Counters::default().namespace(), None);
        let full = traffic([(u64::MAX, 0), (1, 1)].into_iter());
        assert_eq!(full, NamespaceTraffic::new(u64::MAX, 1));
    }
}
