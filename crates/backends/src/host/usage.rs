//! What a container uses now, read once; the sampler reads the same files again and again.

use std::io;
use std::time::Instant;

use roadstead_core::{ContainerStats, Timestamp};

use super::cgroup::Cgroup;
use super::groups::GroupFiles;
use super::kept::Buffer;
use super::rest::Times;

impl Cgroup {
    /// What it uses now.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub fn stats(&self) -> io::Result<ContainerStats> {
        let observed_at = Timestamp::now();
        Ok(GroupFiles::open(self, Times::HERE)?.read(Instant::now(), &mut Buffer::default())?.stats(observed_at))
    }
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
                "inactive_file 1\ntotal_inactive_file 1000\ntotal_swap 7\nhierarchical_memory_limit 9223372036854771712\n\
                 total_rss 1500\ntotal_cache 1200\n",
            ),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
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
            (
                "cpu.stat",
                "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_throttled 1\nthrottled_usec 250000\n",
            ),
            ("cpuset.cpus.effective", "0-2,4\n"),
            ("memory.current", "3000\n"),
            ("memory.stat", "inactive_file 1000\nanon 1500\nfile 1200\n"),
            ("memory.events", "oom 2\noom_kill 2\n"),
            ("memory.swap.current", "7\n"),
            ("memory.max", "max\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1\n7:0 rbytes=1 wbytes=0\n"),
        ] {
            write(name, text);
        }
        let unified = Some(directory.path().to_owned());
        let group = Cgroup { pid: std::process::id(), controllers: BTreeMap::new(), unified };
        let mut two = group.stats().unwrap();
        two.observed_at = one.observed_at;
        assert_eq!(one, two);
        assert_eq!((one.cpu.total_seconds, one.cpu.throttled_seconds, one.cpu.online_cpus), (1.5, Some(0.25), Some(4)));
        assert_eq!((one.memory.working_set_bytes, one.memory.limit_bytes), (Some(2000), None));
        assert_eq!(
            (one.memory.rss_bytes, one.memory.cache_bytes, one.memory.oom_kills),
            (Some(1500), Some(1200), Some(2))
        );
        assert_eq!(one.block_io.map(|io| (io.read_bytes, io.written_bytes)), Some((11, 20)));
        assert_eq!((one.pids.current, one.pids.limit, one.cpu.throttled_periods), (3, None, Some(1)));
        assert!(one.networks.is_empty(), "our own network is not the container's");
        // Only version 2 has this.
        write("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=2000000\n");
        let pressure = group.stats().unwrap().pressure.and_then(|pressure| pressure.cpu).unwrap();
        assert_eq!((pressure.some_percent, pressure.some_seconds, pressure.full_percent), (1.5, 2.0, None));
    }

    #[test]
    fn a_cgroup_that_is_gone_says_so() {
        let unified = Some("/nowhere".into());
        let cgroup = Cgroup { pid: 1, controllers: BTreeMap::new(), unified };
        assert_eq!(cgroup.stats().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
