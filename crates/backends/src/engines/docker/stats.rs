//! Resource use of a container: from the kernel where the daemon is on this machine, otherwise from the daemon.

use std::collections::BTreeMap;
use std::io;

use roadstead_core::{BlockIoStats, ContainerStats, Error, ErrorKind, NetworkStats, Result, Timestamp};
use serde::Deserialize;

use super::client::Client;
use super::inspect::{self, not_running};
use super::request::Request;
use super::wire::Inspected;
use crate::host::Cgroup;

/// From this version on the daemon need not wait for a second sample.
const ONE_SHOT: (usize, usize) = (1, 41);
/// Limits from here on mean "none".
const UNLIMITED: u64 = 1 << 62;

/// C160, C161.
pub(super) async fn stats(client: &Client, id: &str) -> Result<ContainerStats> {
    let inspected = inspect::inspect(client, id).await?;
    inspected.must_have_processes()?;
    if let Some(cgroup) = cgroup(client, &inspected) {
        return cgroup.stats().map_err(ended);
    }
    let version = client.docker.client_version();
    let mut request = Request::get(&format!("/containers/{id}/stats")).flag("stream", false);
    if (version.major_version, version.minor_version) >= ONE_SHOT {
        request = request.flag("one-shot", true);
    }
    let body = request.bytes(client).await?;
    // Podman has nothing to say of a container that has just ended.
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(not_running());
    }
    let sample: Sample = serde_json::from_slice(&body).map_err(|cause| {
        Error::new(ErrorKind::Unexpected, format!("the engine's statistics make no sense: {cause}")).with_source(cause)
    })?;
    numbers(&sample).ok_or_else(not_running)
}

/// The container's cgroup, when it is on this machine.
pub(super) fn cgroup(client: &Client, inspected: &Inspected) -> Option<Cgroup> {
    if !client.local {
        return None;
    }
    Cgroup::of_container(inspected.pid()?, inspected.id.as_deref()?)
}

/// What the kernel says of a container that ends while it is looked at.
pub(super) fn ended(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        not_running()
    } else {
        Error::new(ErrorKind::Unexpected, format!("the kernel's files cannot be read: {error}")).with_source(error)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    read: Option<String>,
    cpu_stats: Cpu,
    memory_stats: Memory,
    blkio_stats: BlockIo,
    pids_stats: Pids,
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    online_cpus: Option<u32>,
    throttling_data: Throttling,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Option<u64>,
    usage_in_kernelmode: Option<u64>,
    usage_in_usermode: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Throttling {
    throttled_time: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: Option<u64>,
    limit: Option<u64>,
    stats: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlockIo {
    io_service_bytes_recursive: Option<Vec<BlockIoEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlockIoEntry {
    op: Option<String>,
    value: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: Option<u64>,
    limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    rx_packets: Option<u64>,
    tx_packets: Option<u64>,
    rx_errors: Option<u64>,
    tx_errors: Option<u64>,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a double counts nanoseconds exactly for a hundred days, and then nearly"
)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn block_io(entries: &[BlockIoEntry]) -> BlockIoStats {
    let mut all = BlockIoStats::default();
    for entry in entries {
        let bytes = entry.value.unwrap_or(0);
        // Written with a capital by version 1 only.
        match entry.op.as_deref() {
            Some("Read" | "read") => all.read_bytes = all.read_bytes.saturating_add(bytes),
            Some("Write" | "write") => all.written_bytes = all.written_bytes.saturating_add(bytes),
            _ => {}
        }
    }
    all
}

/// `None` when the sample says that nothing runs: the daemon then gives the year 1 and zeros.
fn numbers(sample: &Sample) -> Option<ContainerStats> {
    let read: Timestamp = sample.read.as_deref()?.parse().ok()?;
    if read.is_never() {
        return None;
    }
    let mut stats = ContainerStats::at(read);
    let usage = &sample.cpu_stats.cpu_usage;
    stats.cpu.total_seconds = seconds(usage.total_usage.unwrap_or(0));
    stats.cpu.user_seconds = usage.usage_in_usermode.map(seconds);
    stats.cpu.system_seconds = usage.usage_in_kernelmode.map(seconds);
    stats.cpu.online_cpus = sample.cpu_stats.online_cpus.filter(|count| *count > 0);
    stats.cpu.throttled_seconds = sample.cpu_stats.throttling_data.throttled_time.map(seconds);

    let memory = &sample.memory_stats;
    stats.memory.usage_bytes = memory.usage.unwrap_or(0);
    let member = |names: &[&str]| {
        let members = memory.stats.as_ref()?;
        names.iter().find_map(|name| members.get(*name).and_then(serde_json::Value::as_u64))
    };
    // The first name is that of cgroups version 1, the second that of version 2.
    stats.memory.working_set_bytes = member(&["total_inactive_file", "inactive_file"])
        .map(|inactive| stats.memory.usage_bytes.saturating_sub(inactive));
    stats.memory.swap_bytes = member(&["total_swap", "swap"]);
    stats.memory.limit_bytes = memory.limit.filter(|limit| (1..UNLIMITED).contains(limit));

    stats.block_io = sample.blkio_stats.io_service_bytes_recursive.as_deref().map(block_io);
    stats.pids.current = sample.pids_stats.current.unwrap_or(0);
    stats.pids.limit = sample.pids_stats.limit.filter(|limit| (1..UNLIMITED).contains(limit));
    stats.networks = sample
        .networks
        .iter()
        .flatten()
        .map(|(name, network)| {
            let mut counts = NetworkStats::default();
            counts.name = name.clone();
            counts.received_bytes = network.rx_bytes.unwrap_or(0);
            counts.sent_bytes = network.tx_bytes.unwrap_or(0);
            counts.received_packets = network.rx_packets.unwrap_or(0);
            counts.sent_packets = network.tx_packets.unwrap_or(0);
            counts.receive_errors = network.rx_errors.unwrap_or(0);
            counts.send_errors = network.tx_errors.unwrap_or(0);
            counts
        })
        .collect();
    Some(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<ContainerStats> {
        numbers(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_recorded_sample_of_dockerd() {
        let stats = read(
            r#"{"read":"2026-11-21T07:35:40.317079094Z","preread":"0001-01-01T00:00:00Z","pids_stats":{"current":2,"limit":50},
            "blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"Read","value":5},{"op":"write","value":6}]},
            "cpu_stats":{"cpu_usage":{"total_usage":51870454,"percpu_usage":[1,2],"usage_in_kernelmode":20000000,
            "usage_in_usermode":20000000},"system_cpu_usage":5822720000000,"online_cpus":2,"throttling_data":{"throttled_time":0}},
            "memory_stats":{"usage":1609728,"stats":{"total_inactive_file":143360,"inactive_file":1,"total_rss":102400},
            "limit":33554432},"networks":{"eth0":{"rx_bytes":736,"rx_packets":8}}}"#,
        )
        .unwrap();
        assert!((stats.cpu.total_seconds - 0.051_870_454).abs() < 1e-12);
        assert_eq!(stats.memory.working_set_bytes, Some(1_609_728 - 143_360));
        assert_eq!((stats.pids.current, stats.pids.limit), (2, Some(50)));
        assert_eq!(stats.block_io.map(|io| (io.read_bytes, io.written_bytes)), Some((5, 6)));
        assert_eq!((stats.networks[0].name.as_str(), stats.networks[0].received_bytes), ("eth0", 736));
    }

    #[test]
    fn what_is_not_counted_is_absent() {
        let read = |blkio: &str| read(&format!(r#"{{"read":"2026-11-21T07:35:40Z","blkio_stats":{blkio}}}"#)).unwrap();
        assert_eq!(read("{}").block_io, None);
        assert_eq!(read(r#"{"io_service_bytes_recursive":null}"#).block_io, None);
        assert_eq!(read(r#"{"io_service_bytes_recursive":[]}"#).block_io, Some(BlockIoStats::default()));
    }

    #[test]
    fn zeros_of_the_year_one_are_a_container_that_does_not_run() {
        assert!(
            read(
                r#"{"read":"0001-01-01T00:00:00Z","pids_stats":{},"blkio_stats":{"io_service_bytes_recursive":null}}"#
            )
            .is_none()
        );
        assert!(read("{}").is_none());
    }
}
