//! What there is to tell of nodes, their machines and their containers.

use std::collections::{BTreeMap, HashSet};

use roadstead_core::NodeUsage;
use roadstead_core::usage::ContainerUsage;

use super::families as of;
use super::machine::{self, beginning};
use super::text::{Family, Number, Sample};

/// What a node answered.
#[derive(Debug)]
pub(super) enum Answered {
    /// Nothing.
    Away,
    /// That it cannot tell what is used.
    Cannot,
    /// What is used.
    Used(Box<NodeUsage>),
}

/// Those that told what is used.
pub(super) fn used<'a>(nodes: &'a [(&'a str, Answered)]) -> impl Iterator<Item = (&'a str, &'a NodeUsage)> {
    nodes.iter().filter_map(|(node, answered)| match answered {
        Answered::Used(usage) => Some((*node, &**usage)),
        Answered::Away | Answered::Cannot => None,
    })
}

/// What there is to tell of all nodes. A machine is told of once, beside the first of its nodes that answered.
/// `machines` are their names, by those of the nodes that are on them.
pub(super) fn samples(nodes: &[(&str, Answered)], machines: &BTreeMap<&str, String>, most: usize) -> Vec<Sample> {
    let mut told = HashSet::new();
    let mut samples = Vec::new();
    for (node, answered) in nodes {
        match answered {
            Answered::Away => samples.push(Sample::new(&of::UP, &[("node", *node)], 0_u64)),
            Answered::Cannot => samples.extend(of_node(node, None, None, most)),
            Answered::Used(usage) => {
                let machine = machines.get(node).map(|name| Machine { name, is_first: told.insert(name) });
                samples.extend(of_node(node, Some(usage), machine, most));
            }
        }
    }
    samples
}

/// The machine of a node.
#[derive(Clone, Copy, Debug)]
struct Machine<'a> {
    name: &'a str,
    /// Whether it is not told of yet.
    is_first: bool,
}

/// What there is to tell of a node: at most `most` series. Of what is too much, containers are left out as a whole.
fn of_node(node: &str, usage: Option<&NodeUsage>, on: Option<Machine<'_>>, most: usize) -> Vec<Sample> {
    let labels = [("node", node)];
    let mut samples = vec![Sample::new(&of::UP, &labels, 1_u64)];
    let mut left_out = 0;
    if let Some(usage) = usage {
        samples.push(Sample::new(&of::FAILED, &labels, usage.errors.len() as u64));
        samples.extend(on.map(|on| Sample::new(&of::ON, &[("node", node), ("machine", on.name)], 1_u64)));
        let mut take = |found: Vec<Sample>| {
            if samples.len() + found.len() < most {
                samples.extend(found);
            } else {
                left_out += found.len() as u64;
            }
        };
        if let (Some(on), Some(machine)) = (on.filter(|on| on.is_first), &usage.machine) {
            machine::samples(on.name, machine, usage.sampling.as_ref()).into_iter().for_each(&mut take);
        }
        let mut seen = HashSet::new();
        for container in &usage.containers {
            let id = beginning(&container.id, 12);
            // The same labels twice would make the whole answer worthless.
            if seen.insert((id, container.name.as_str())) {
                take(of_container(node, id, container));
            }
        }
    }
    samples.push(Sample::new(&of::LEFT_OUT, &labels, left_out));
    samples
}

fn of_container(node: &str, id: &str, container: &ContainerUsage) -> Vec<Sample> {
    let labels = [("node", node), ("container", id), ("name", container.name.as_str())];
    let stats = &container.stats;
    let whole = |value: Option<u64>| value.map(Number::Whole);
    let real = |value: Option<f64>| value.map(Number::Real);
    let io = stats.block_io.as_ref();
    let sum = |of: fn(&roadstead_core::NetworkStats) -> u64| {
        let all = stats.networks.iter().map(of).fold(0_u64, u64::saturating_add);
        (!stats.networks.is_empty()).then_some(Number::Whole(all))
    };
    let told: [(&'static Family, Option<Number>); 29] = [
        (&of::C_CPU, real(Some(stats.cpu.total_seconds))),
        (&of::C_CPU_USER, real(stats.cpu.user_seconds)),
        (&of::C_CPU_SYSTEM, real(stats.cpu.system_seconds)),
        (&of::C_CPUS, whole(stats.cpu.online_cpus.map(u64::from))),
        (&of::C_THROTTLED, real(stats.cpu.throttled_seconds)),
        (&of::C_THROTTLED_PERIODS, whole(stats.cpu.throttled_periods)),
        (&of::C_MEMORY, whole(Some(stats.memory.usage_bytes))),
        (&of::C_WORKING_SET, whole(stats.memory.working_set_bytes)),
        (&of::C_MEMORY_LIMIT, whole(stats.memory.limit_bytes)),
        (&of::C_SWAP, whole(stats.memory.swap_bytes)),
        (&of::C_RSS, whole(stats.memory.rss_bytes)),
        (&of::C_CACHE, whole(stats.memory.cache_bytes)),
        (&of::C_PEAK, whole(stats.memory.peak_bytes)),
        (&of::C_SWAP_PEAK, whole(stats.memory.swap_peak_bytes)),
        (&of::C_OOM, whole(stats.memory.oom_kills)),
        (&of::C_READ, whole(io.map(|io| io.read_bytes))),
        (&of::C_WRITTEN, whole(io.map(|io| io.written_bytes))),
        (&of::C_RECEIVED, sum(|network| network.received_bytes)),
        (&of::C_SENT, sum(|network| network.sent_bytes)),
        (&of::C_NAMESPACE_RECEIVED, whole(container.namespace.map(|namespace| namespace.received_bytes))),
        (&of::C_NAMESPACE_SENT, whole(container.namespace.map(|namespace| namespace.sent_bytes))),
        (&of::C_PACKETS_RECEIVED, sum(|network| network.received_packets)),
        (&of::C_PACKETS_SENT, sum(|network| network.sent_packets)),
        (&of::C_RECEIVE_ERRORS, sum(|network| network.receive_errors)),
        (&of::C_SEND_ERRORS, sum(|network| network.send_errors)),
        (&of::C_RECEIVE_DROPPED, sum(|network| network.receive_dropped)),
        (&of::C_SEND_DROPPED, sum(|network| network.send_dropped)),
        (&of::C_PIDS, whole(Some(stats.pids.current))),
        (&of::C_PIDS_LIMIT, whole(stats.pids.limit)),
    ];
    let mut samples: Vec<Sample> =
        told.into_iter().filter_map(|(family, value)| Some(Sample::new(family, &labels, value?))).collect();
    samples.extend(machine::waits([&of::C_WAITING, &of::C_STALLED], &labels, stats.pressure.as_ref()));
    samples
}
