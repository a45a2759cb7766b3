//! What a container uses, from its cgroup's files and its network namespace.

use std::io;
use std::path::Path;

use procfs::process::Process as ProcessFiles;
use roadstead_core::{BlockIoStats, ContainerStats, CpuStats, MemoryStats, NetworkStats, PidsStats, Timestamp};

use super::cgroup::{Cgroup, Version, gone};

/// Limits from here on mean "none": version 1 writes the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

impl Cgroup {
    /// What it uses now.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub fn stats(&self) -> io::Result<ContainerStats> {
        let mut stats = ContainerStats::at(Timestamp::now());
        stats.cpu = self.cpu()?;
        stats.memory = self.memory()?;
        stats.block_io = self.block_io();
        stats.networks = self.networks();
        stats.pids = self.pids_stats();
        Ok(stats)
    }

    fn files(&self, controller: &str) -> io::Result<(Version, &Path)> {
        self.directory(controller).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn cpu(&self) -> io::Result<CpuStats> {
        let mut cpu = CpuStats::default();
        let (version, directory) = self.files("cpuacct")?;
        match version {
            Version::One => {
                cpu.total_seconds = seconds(number(directory, "cpuacct.usage")?, 1e9);
                let stat = text(directory, "cpuacct.stat").unwrap_or_default();
                let ticks = ticks_per_second();
                cpu.user_seconds = member(&stat, "user").map(|value| seconds(value, ticks));
                cpu.system_seconds = member(&stat, "system").map(|value| seconds(value, ticks));
                if let Some((Version::One, directory)) = self.directory("cpu") {
                    let stat = text(directory, "cpu.stat").unwrap_or_default();
                    cpu.throttled_seconds = member(&stat, "throttled_time").map(|value| seconds(value, 1e9));
                }
            }
            Version::Two => {
                let stat = text(directory, "cpu.stat")?;
                cpu.total_seconds = seconds(member(&stat, "usage_usec").unwrap_or(0), 1e6);
                cpu.user_seconds = member(&stat, "user_usec").map(|value| seconds(value, 1e6));
                cpu.system_seconds = member(&stat, "system_usec").map(|value| seconds(value, 1e6));
                cpu.throttled_seconds = member(&stat, "throttled_usec").map(|value| seconds(value, 1e6));
            }
        }
        let set = self.directory("cpuset").and_then(|(version, directory)| match version {
            Version::One => text(directory, "cpuset.effective_cpus").or_else(|_| text(directory, "cpuset.cpus")).ok(),
            Version::Two => text(directory, "cpuset.cpus.effective").ok(),
        });
        cpu.online_cpus = set
            .and_then(|set| cpu_set_size(set.trim()))
            .or_else(|| std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()));
        Ok(cpu)
    }

    fn memory(&self) -> io::Result<MemoryStats> {
        let mut memory = MemoryStats::default();
        let (version, directory) = self.files("memory")?;
        match version {
            Version::One => {
                memory.usage_bytes = number(directory, "memory.usage_in_bytes")?;
                let stat = text(directory, "memory.stat").unwrap_or_default();
                memory.working_set_bytes =
                    member(&stat, "total_inactive_file").map(|inactive| memory.usage_bytes.saturating_sub(inactive));
                memory.swap_bytes = member(&stat, "total_swap");
                // Of nested cgroups the tightest limit counts.
                memory.limit_bytes = member(&stat, "hierarchical_memory_limit").filter(|bytes| *bytes < UNLIMITED);
            }
            Version::Two => {
                memory.usage_bytes = number(directory, "memory.current")?;
                let stat = text(directory, "memory.stat").unwrap_or_default();
                memory.working_set_bytes =
                    member(&stat, "inactive_file").map(|inactive| memory.usage_bytes.saturating_sub(inactive));
                memory.swap_bytes = number(directory, "memory.swap.current").ok();
                memory.limit_bytes = number(directory, "memory.max").ok();
            }
        }
        Ok(memory)
    }

    /// None where the kernel does not count it.
    fn block_io(&self) -> Option<BlockIoStats> {
        let (version, directory) = self.directory("blkio")?;
        match version {
            Version::One => ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"]
                .iter()
                .find_map(|name| text(directory, name).ok())
                .map(|text| block_io_one(&text)),
            Version::Two => text(directory, "io.stat").map(|text| block_io_two(&text)).ok(),
        }
    }

    fn pids_stats(&self) -> PidsStats {
        let Some((_, directory)) = self.directory("pids") else { return PidsStats::default() };
        let mut pids = PidsStats::default();
        pids.current = number(directory, "pids.current").unwrap_or(0);
        // The word `max` is no number, and no limit.
        pids.limit = number(directory, "pids.max").ok();
        pids
    }

    /// None when it uses the machine's own network.
    fn networks(&self) -> Vec<NetworkStats> {
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        if namespace("self") == namespace(&self.pid.to_string()) {
            return Vec::new();
        }
        let devices = i32::try_from(self.pid)
            .ok()
            .and_then(|pid| ProcessFiles::new(pid).and_then(|process| process.dev_status()).ok())
            .unwrap_or_default();
        let mut networks: Vec<_> = devices
            .into_values()
            .filter(|device| device.name != "lo")
            .map(|device| {
                let mut network = NetworkStats::default();
                network.name = device.name;
                network.received_bytes = device.recv_bytes;
                network.sent_bytes = device.sent_bytes;
                network.received_packets = device.recv_packets;
                network.sent_packets = device.sent_packets;
                network.receive_errors = device.recv_errs;
                network.send_errors = device.sent_errs;
                network
            })
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a double counts nanoseconds exactly for a hundred days, and then nearly"
)]
fn seconds(count: u64, per_second: f64) -> f64 {
    count as f64 / per_second
}

#[allow(clippy::cast_precision_loss, reason = "it is about 100")]
fn ticks_per_second() -> f64 {
    procfs::ticks_per_second() as f64
}

fn text(directory: &Path, name: &str) -> io::Result<String> {
    std::fs::read_to_string(directory.join(name)).map_err(gone)
}

fn number(directory: &Path, name: &str) -> io::Result<u64> {
    text(directory, name)?.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The number after `key` in a file of `key number` lines.
fn member(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// How many cores `0-2,4` are.
fn cpu_set_size(set: &str) -> Option<u32> {
    let mut size: u32 = 0;
    for range in set.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        size = size.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(size)
}

/// Lines such as `254:0 Read 4096`, and a total at the end.
fn block_io_one(text: &str) -> BlockIoStats {
    let mut all = BlockIoStats::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(_), Some(operation), Some(bytes)) = (words.next(), words.next(), words.next()) else { continue };
        let bytes: u64 = bytes.parse().unwrap_or(0);
        match operation {
            "Read" => all.read_bytes = all.read_bytes.saturating_add(bytes),
            "Write" => all.written_bytes = all.written_bytes.saturating_add(bytes),
            _ => {}
        }
    }
    all
}

/// Lines such as `254:0 rbytes=4096 wbytes=0 rios=1 …`.
fn block_io_two(text: &str) -> BlockIoStats {
    let mut all = BlockIoStats::default();
    for (key, value) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        let bytes: u64 = value.parse().unwrap_or(0);
        match key {
            "rbytes" => all.read_bytes = all.read_bytes.saturating_add(bytes),
            "wbytes" => all.written_bytes = all.written_bytes.saturating_add(bytes),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn both_versions_give_the_same_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        for (name, text) in [
            ("cpuacct.usage", "1500000000\n"),
            ("cpuacct.stat", "user 100\nsystem 50\n"),
            ("cpuset.effective_cpus", "0-2,4\n"),
            ("memory.usage_in_bytes", "3000\n"),
            (
                "memory.stat",
                "inactive_file 1\ntotal_inactive_file 1000\ntotal_swap 7\nhierarchical_memory_limit 9223372036854771712\n",
            ),
            ("blkio.throttle.io_service_bytes", "254:0 Read 10\n254:0 Write 20\n7:0 Read 1\nTotal 31\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            ("cpu.stat", "nr_throttled 1\nthrottled_time 250000000\n"),
        ] {
            write(name, text);
        }
        let names = ["cpuacct", "cpu", "cpuset", "memory", "blkio", "pids"];
        let controllers: BTreeMap<_, _> =
            names.iter().map(|name| ((*name).to_owned(), directory.path().to_owned())).collect();
        let one = Cgroup { pid: std::process::id(), controllers, unified: None }.stats().unwrap();
        for (name, text) in [
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nthrottled_usec 250000\n"),
            ("cpuset.cpus.effective", "0-2,4\n"),
            ("memory.current", "3000\n"),
            ("memory.stat", "inactive_file 1000\n"),
            ("memory.swap.current", "7\n"),
            ("memory.max", "max\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1\n7:0 rbytes=1 wbytes=0\n"),
        ] {
            write(name, text);
        }
        let unified = Some(directory.path().to_owned());
        let mut two = Cgroup { pid: std::process::id(), controllers: BTreeMap::new(), unified }.stats().unwrap();
        two.observed_at = one.observed_at;
        assert_eq!(one, two);
        assert_eq!((one.cpu.total_seconds, one.cpu.throttled_seconds, one.cpu.online_cpus), (1.5, Some(0.25), Some(4)));
        assert_eq!((one.memory.working_set_bytes, one.memory.limit_bytes), (Some(2000), None));
        assert_eq!(one.block_io.map(|io| (io.read_bytes, io.written_bytes)), Some((11, 20)));
        assert_eq!((one.pids.current, one.pids.limit), (3, None));
        assert!(one.networks.is_empty(), "our own network is not the container's");
    }

    #[test]
    fn a_cgroup_that_is_gone_says_so() {
        let unified = Some("/nowhere".into());
        let cgroup = Cgroup { pid: 1, controllers: BTreeMap::new(), unified };
        assert_eq!(cgroup.stats().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn strange_sets_of_cores_are_not_counted() {
        for set in ["", "a", "3-1", "0-4294967295"] {
            assert_eq!(cpu_set_size(set), None, "{set}");
        }
    }
}
