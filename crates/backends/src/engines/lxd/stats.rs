//! Resource use as numbers: from the kernel where the server is on this machine, otherwise from the server.

use std::sync::Arc;

use roadstead_core::{ContainerStats, Limits, NetworkStats, Result, Timestamp};

use super::instance::{Instance, Now, not_running};
use super::processes::{cgroup, ended};
use super::shared::Lxd;
use super::spec;

/// C160, C161.
pub(super) async fn stats(lxd: &Arc<Lxd>, id: &str) -> Result<ContainerStats> {
    let instance = Instance::read(lxd, id).await?;
    instance.must_have_processes()?;
    let now = Now::read(lxd, id).await?;
    let pid = now.pid().ok_or_else(not_running)?;
    let mut stats = match cgroup(lxd, pid, id) {
        Some(cgroup) => cgroup.stats().map_err(ended)?,
        None => numbers(&now, &spec::read_limits(instance.effective())),
    };
    if let Some(memory) = &now.memory {
        stats.memory.peak_bytes = known(memory.usage_peak);
        stats.memory.swap_peak_bytes = known(memory.swap_usage_peak);
    }
    Ok(stats)
}

fn known(number: Option<i64>) -> Option<u64> {
    // Below zero it says that it does not know.
    number.and_then(|number| u64::try_from(number).ok())
}

fn count(number: Option<i64>) -> u64 {
    known(number).unwrap_or(0)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a double counts nanoseconds exactly for a hundred days, and then nearly"
)]
fn numbers(now: &Now, limits: &Limits) -> ContainerStats {
    let mut stats = ContainerStats::at(Timestamp::now());
    stats.cpu.total_seconds = count(now.cpu.as_ref().and_then(|cpu| cpu.usage)) as f64 / 1e9;
    if let Some(memory) = &now.memory {
        stats.memory.usage_bytes = count(memory.usage);
        stats.memory.swap_bytes = memory.swap_usage.and_then(|bytes| u64::try_from(bytes).ok());
    }
    stats.memory.limit_bytes = limits.memory_bytes;
    stats.pids.current = count(now.processes);
    stats.pids.limit = limits.pids.map(u64::from);
    let interfaces = now.network.iter().flatten();
    let real = interfaces.filter(|(_, interface)| interface.kind.as_deref() != Some("loopback"));
    stats.networks = real
        .map(|(name, interface)| {
            let counters = interface.counters.clone().unwrap_or_default();
            let mut network = NetworkStats::default();
            network.name.clone_from(name);
            network.received_bytes = count(Some(counters.bytes_received));
            network.sent_bytes = count(Some(counters.bytes_sent));
            network.received_packets = count(Some(counters.packets_received));
            network.sent_packets = count(Some(counters.packets_sent));
            network.receive_errors = count(Some(counters.errors_received));
            network.send_errors = count(Some(counters.errors_sent));
            network
        })
        .collect();
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_state() {
        let now: Now = serde_json::from_str(
            r#"{"cpu":{"usage":21626857},"disk":{},"memory":{"swap_usage":0,"usage":692224,"usage_peak":1953792},
            "network":{"lo":{"addresses":[],"counters":{"bytes_received":5},"type":"loopback"},
            "eth0":{"counters":{"bytes_received":272,"packets_sent":7},"type":"broadcast"}},"pid":20480,"processes":1}"#,
        )
        .unwrap();
        let mut limits = Limits::default();
        limits.pids = Some(9);
        let stats = numbers(&now, &limits);
        assert!((stats.cpu.total_seconds - 0.021_626_857).abs() < 1e-12);
        assert_eq!((stats.memory.usage_bytes, stats.memory.swap_bytes), (692_224, Some(0)));
        assert_eq!((stats.pids.current, stats.pids.limit), (1, Some(9)));
        let [eth0] = stats.networks.as_slice() else { panic!("{:?}", stats.networks) };
        assert_eq!((eth0.received_bytes, eth0.sent_packets), (272, 7));
        let none: Now = serde_json::from_str(r#"{"processes":-1,"memory":null}"#).unwrap();
        assert_eq!(numbers(&none, &limits).pids.current, 0);
    }
}
