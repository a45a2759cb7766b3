//! Which samples there are of a node and of a container. Units have no prefixes, and what only grows is a counter.

use roadstead_core::NodeUsage;
use roadstead_core::usage::{ContainerUsage, MachineUsage};

use super::text::{Family, Kind, Number, Sample};

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $($unit:literal)? : $help:literal;)+) => {
        $(static $constant: Family =
            Family { name: concat!("roadstead_", $name), kind: Kind::$kind, unit: unit(&[$($unit)?]), help: $help };)+

        /// All of them.
        #[cfg(test)]
        static ALL: &[&Family] = &[$(&$constant),+];
    };
}

const fn unit(given: &[&'static str]) -> Option<&'static str> {
    match given {
        [unit] => Some(unit),
        _ => None,
    }
}

families! {
    UP Gauge "node_up": "Whether the node answered.";
    LEFT_OUT Gauge "node_series_left_out": "Series of the node that are not told, since there are too many.";
    FAILED Gauge "node_container_errors": "Containers of the node of which it could not be told what they use.";
    UPTIME Gauge "node_uptime_seconds" "seconds": "Time since the machine was started.";
    CPU Counter "node_cpu_seconds" "seconds": "What the processors of the machine did.";
    LOAD Gauge "node_load": "Tasks that run or wait for a disk, on average over some minutes.";
    PROCESSES Gauge "node_processes": "Processes of the machine.";
    MEMORY Gauge "node_memory_size_bytes" "bytes": "Memory of the machine.";
    MEMORY_USED Gauge "node_memory_used_bytes" "bytes": "Memory that is not available.";
    SWAP Gauge "node_swap_size_bytes" "bytes": "Swap of the machine.";
    SWAP_USED Gauge "node_swap_used_bytes" "bytes": "Swap that is used.";
    DISK_READ Counter "node_disk_read_bytes" "bytes": "Read from a disk.";
    DISK_WRITTEN Counter "node_disk_written_bytes" "bytes": "Written to a disk.";
    FILES Gauge "node_filesystem_size_bytes" "bytes": "Size of a file system.";
    FILES_AVAILABLE Gauge "node_filesystem_available_bytes" "bytes": "What users other than root may still use of it.";
    NIC_RECEIVED Counter "node_network_received_bytes" "bytes": "Received by an interface.";
    NIC_SENT Counter "node_network_sent_bytes" "bytes": "Sent by an interface.";
    TEMPERATURE Gauge "node_temperature_celsius" "celsius": "What a sensor shows.";
    C_CPU Counter "container_cpu_seconds" "seconds": "Processor time.";
    C_CPU_USER Counter "container_cpu_user_seconds" "seconds": "Processor time of programs.";
    C_CPU_SYSTEM Counter "container_cpu_system_seconds" "seconds": "Processor time of the kernel.";
    C_THROTTLED Counter "container_cpu_throttled_seconds" "seconds": "Time in which the limit held it back.";
    C_MEMORY Gauge "container_memory_usage_bytes" "bytes": "Memory, page cache included.";
    C_WORKING_SET Gauge "container_memory_working_set_bytes" "bytes": "Memory without the page cache that can be dropped at once.";
    C_MEMORY_LIMIT Gauge "container_memory_limit_bytes" "bytes": "Limit of memory.";
    C_SWAP Gauge "container_memory_swap_bytes" "bytes": "Swap.";
    C_RSS Gauge "container_memory_rss_bytes" "bytes": "Memory that no file backs.";
    C_CACHE Gauge "container_memory_cache_bytes" "bytes": "Page cache.";
    C_OOM Counter "container_oom_kills": "Processes that the kernel ended for want of memory.";
    C_READ Counter "container_block_read_bytes" "bytes": "Read from block devices.";
    C_WRITTEN Counter "container_block_written_bytes" "bytes": "Written to block devices.";
    C_RECEIVED Counter "container_network_received_bytes" "bytes": "Received by all interfaces.";
    C_SENT Counter "container_network_sent_bytes" "bytes": "Sent by all interfaces.";
    C_PIDS Gauge "container_pids": "Processes and threads.";
    C_PIDS_LIMIT Gauge "container_pids_limit": "Limit of processes and threads.";
    C_WAITING Counter "container_pressure_waiting_seconds" "seconds": "Time in which some task waited for a resource.";
}

/// That a node did not answer.
pub(super) fn away(node: &str) -> Sample {
    Sample::new(&UP, &[("node", node)], 0_u64)
}

/// What there is to tell of a node: at most `most` series. Of what is too much, containers are left out as a whole.
pub(super) fn of_node(node: &str, usage: Option<&NodeUsage>, most: usize) -> Vec<Sample> {
    let labels = [("node", node)];
    let mut samples = vec![Sample::new(&UP, &labels, 1_u64)];
    let mut left_out = 0;
    if let Some(usage) = usage {
        samples.push(Sample::new(&FAILED, &labels, usage.errors.len() as u64));
        let mut take = |found: Vec<Sample>| {
            if samples.len() + found.len() < most {
                samples.extend(found);
            } else {
                left_out += found.len() as u64;
            }
        };
        for part in usage.machine.as_ref().map(|machine| of_machine(node, machine)).into_iter().flatten() {
            take(part);
        }
        let mut seen = std::collections::HashSet::new();
        for container in &usage.containers {
            let id: String = container.id.chars().take(12).collect();
            // The same labels twice would make the whole answer worthless.
            if seen.insert((id.clone(), container.name.as_str())) {
                take(of_container(node, &id, container));
            }
        }
    }
    samples.push(Sample::new(&LEFT_OUT, &labels, left_out));
    samples
}

/// The machine, in parts that are told or left out as a whole.
fn of_machine(node: &str, machine: &MachineUsage) -> Vec<Vec<Sample>> {
    let node = ("node", node);
    let gauge = |family: &'static Family, value: Number| Sample::new(family, &[node], value);
    let times = &machine.cpu.times;
    let mut whole = vec![
        gauge(&UPTIME, machine.uptime_seconds.into()),
        gauge(&PROCESSES, machine.processes.into()),
        gauge(&MEMORY, machine.memory.total_bytes.into()),
        gauge(&MEMORY_USED, machine.memory.used_bytes.into()),
        gauge(&SWAP, machine.swap.total_bytes.into()),
        gauge(&SWAP_USED, machine.swap.used_bytes.into()),
    ];
    let modes = [
        ("user", times.user_seconds),
        ("nice", times.nice_seconds),
        ("system", times.system_seconds),
        ("idle", times.idle_seconds),
        ("io_wait", times.io_wait_seconds),
        ("irq", times.irq_seconds),
        ("soft_irq", times.soft_irq_seconds),
        ("steal", times.steal_seconds),
    ];
    whole.extend(modes.map(|(mode, seconds)| Sample::new(&CPU, &[node, ("mode", mode)], seconds)));
    if let Some(load) = machine.cpu.load {
        let loads = ["1", "5", "15"].into_iter().zip(load);
        whole.extend(loads.map(|(minutes, load)| Sample::new(&LOAD, &[node, ("minutes", minutes)], load)));
    }
    whole.extend(machine.sensors.iter().map(|sensor| {
        Sample::new(&TEMPERATURE, &[node, ("chip", &sensor.chip), ("sensor", &sensor.label)], sensor.celsius)
    }));
    let mut parts = vec![whole];
    parts.extend(machine.disks.iter().map(|disk| {
        let labels = [node, ("device", disk.name.as_str())];
        vec![Sample::new(&DISK_READ, &labels, disk.read_bytes), Sample::new(&DISK_WRITTEN, &labels, disk.written_bytes)]
    }));
    parts.extend(machine.filesystems.iter().map(|files| {
        let labels = [node, ("device", files.device.as_str()), ("mountpoint", files.mountpoint.as_str())];
        vec![
            Sample::new(&FILES, &labels, files.total_bytes),
            Sample::new(&FILES_AVAILABLE, &labels, files.available_bytes),
        ]
    }));
    parts.extend(machine.nics.iter().map(|nic| {
        let labels = [node, ("interface", nic.name.as_str())];
        vec![Sample::new(&NIC_RECEIVED, &labels, nic.received_bytes), Sample::new(&NIC_SENT, &labels, nic.sent_bytes)]
    }));
    parts
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
    let told: [(&'static Family, Option<Number>); 17] = [
        (&C_CPU, real(Some(stats.cpu.total_seconds))),
        (&C_CPU_USER, real(stats.cpu.user_seconds)),
        (&C_CPU_SYSTEM, real(stats.cpu.system_seconds)),
        (&C_THROTTLED, real(stats.cpu.throttled_seconds)),
        (&C_MEMORY, whole(Some(stats.memory.usage_bytes))),
        (&C_WORKING_SET, whole(stats.memory.working_set_bytes)),
        (&C_MEMORY_LIMIT, whole(stats.memory.limit_bytes)),
        (&C_SWAP, whole(stats.memory.swap_bytes)),
        (&C_RSS, whole(stats.memory.rss_bytes)),
        (&C_CACHE, whole(stats.memory.cache_bytes)),
        (&C_OOM, whole(stats.memory.oom_kills)),
        (&C_READ, whole(io.map(|io| io.read_bytes))),
        (&C_WRITTEN, whole(io.map(|io| io.written_bytes))),
        (&C_RECEIVED, sum(|network| network.received_bytes)),
        (&C_SENT, sum(|network| network.sent_bytes)),
        (&C_PIDS, whole(Some(stats.pids.current))),
        (&C_PIDS_LIMIT, whole(stats.pids.limit)),
    ];
    let mut samples: Vec<Sample> =
        told.into_iter().filter_map(|(family, value)| Some(Sample::new(family, &labels, value?))).collect();
    let pressure = stats.pressure.unwrap_or_default();
    for (resource, pressure) in [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)] {
        let [node, id, name] = labels;
        let labels = [node, id, name, ("resource", resource)];
        samples.extend(pressure.map(|pressure| Sample::new(&C_WAITING, &labels, pressure.some_seconds)));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::super::text::write;
    use super::*;
    use roadstead_core::{ContainerStats, Timestamp};

    #[test]
    fn names_tell_their_units() {
        for family in ALL {
            assert!(!family.name.ends_with("_total") && family.help.ends_with('.'), "{family:?}");
            assert!(family.unit.is_none_or(|unit| family.name.ends_with(&format!("_{unit}"))), "{family:?}");
        }
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let now = Timestamp::now();
        let mut usage = NodeUsage::at("sea", now);
        for number in 0..10 {
            let stats = ContainerStats::at(now);
            usage.containers.push(ContainerUsage::new(format!("{number:020}"), format!("c{number}"), stats));
        }
        // Ids that begin alike are told apart by their names, and those that cannot be are told once.
        usage.containers.push(ContainerUsage::new("0".repeat(20), "c0", ContainerStats::at(now)));
        let text = write(of_node("sea", Some(&usage), 1000));
        assert_eq!(text.matches("roadstead_container_pids{").count(), 10, "{text}");
        assert!(text.contains("roadstead_node_series_left_out{node=\"sea\"} 0\n"));
        // Three of each: cpu, memory, pids.
        let text = write(of_node("sea", Some(&usage), 10));
        assert_eq!(text.matches("roadstead_container_pids{").count(), 2, "{text}");
        assert!(text.contains("roadstead_node_series_left_out{node=\"sea\"} 24\n"), "{text}");
        assert!(
            text.contains("roadstead_container_pids{node=\"sea\",container=\"000000000000\",name=\"c0\"} 0\n"),
            "{text}"
        );
    }
}
