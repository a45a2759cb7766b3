//! What there is to tell of a machine, once however many nodes are on it.

use std::collections::BTreeSet;

use roadstead_core::usage::{CpuTimes, MachineUsage, Sampling};
use roadstead_core::{Pressure, PressureStats};

use super::families as of;
use super::text::{Family, Number, Sample};

/// The first letters.
pub(super) fn beginning(text: &str, letters: usize) -> &str {
    text.char_indices().nth(letters).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The machine, in parts that are told or left out as a whole.
pub(super) fn samples(name: &str, machine: &MachineUsage, sampling: Option<&Sampling>) -> Vec<Vec<Sample>> {
    let name = ("machine", name);
    let mut parts = vec![whole(name, machine)];
    parts.extend(sampling.map(|sampling| looks(name, sampling)));
    parts.extend(machine.cpu.cores.iter().map(|core| {
        let number = core.core.to_string();
        times(&of::CORE, &[name, ("core", &number)], &core.times)
    }));
    parts.extend(machine.disks.iter().map(|disk| {
        let told = [
            (&of::DISK_READ, Number::Whole(disk.read_bytes)),
            (&of::DISK_WRITTEN, Number::Whole(disk.written_bytes)),
            (&of::DISK_READS, Number::Whole(disk.reads)),
            (&of::DISK_WRITES, Number::Whole(disk.writes)),
            (&of::DISK_BUSY, Number::Real(disk.busy_seconds)),
        ];
        all(&[name, ("device", &disk.name)], told)
    }));
    parts.extend(machine.filesystems.iter().map(|files| {
        let told = [
            (&of::FILES, files.total_bytes),
            (&of::FILES_USED, files.used_bytes),
            (&of::FILES_AVAILABLE, files.available_bytes),
            (&of::INODES, files.inodes),
            (&of::INODES_FREE, files.inodes_free),
        ];
        all(&[name, ("device", &files.device), ("mountpoint", &files.mountpoint)], told)
    }));
    // The near ends of containers have another name at each start, which would be series without end.
    parts.extend(machine.nics.iter().filter(|nic| !nic.of_guest).map(|nic| {
        let told = [
            (&of::NIC_RECEIVED, nic.received_bytes),
            (&of::NIC_SENT, nic.sent_bytes),
            (&of::NIC_PACKETS_RECEIVED, nic.received_packets),
            (&of::NIC_PACKETS_SENT, nic.sent_packets),
            (&of::NIC_RECEIVE_ERRORS, nic.receive_errors),
            (&of::NIC_SEND_ERRORS, nic.send_errors),
            (&of::NIC_RECEIVE_DROPPED, nic.receive_dropped),
            (&of::NIC_SEND_DROPPED, nic.send_dropped),
        ];
        all(&[name, ("interface", &nic.name)], told)
    }));
    parts.extend(machine.sensors.iter().map(|sensor| {
        let labels = [name, ("chip", sensor.chip.as_str()), ("sensor", sensor.label.as_str())];
        let mut told = vec![Sample::new(&of::TEMPERATURE, &labels, sensor.celsius)];
        told.extend(sensor.critical_celsius.map(|celsius| Sample::new(&of::TEMPERATURE_CRITICAL, &labels, celsius)));
        told
    }));
    // The same labels twice would make the whole answer worthless.
    let mut seen = BTreeSet::new();
    parts.retain(|part| part.first().is_none_or(|first| seen.insert((first.family.name, first.labels.clone()))));
    parts
}

fn all<N: Into<Number>, const COUNT: usize>(
    labels: &[(&str, &str)],
    told: [(&'static Family, N); COUNT],
) -> Vec<Sample> {
    told.into_iter().map(|(family, value)| Sample::new(family, labels, value)).collect()
}

/// What there is one of.
fn whole(name: (&str, &str), machine: &MachineUsage) -> Vec<Sample> {
    let (memory, swap) = (&machine.memory, &machine.swap);
    let mut whole = all(
        &[name],
        [
            (&of::PROCESSES, machine.processes),
            (&of::MEMORY, memory.total_bytes),
            (&of::MEMORY_USED, memory.used_bytes),
            (&of::MEMORY_AVAILABLE, memory.available_bytes),
            (&of::MEMORY_FREE, memory.free_bytes),
            (&of::MEMORY_BUFFERS, memory.buffers_bytes),
            (&of::MEMORY_CACHED, memory.cached_bytes),
            (&of::MEMORY_SHARED, memory.shared_bytes),
            (&of::MEMORY_ACTIVE, memory.active_bytes),
            (&of::MEMORY_INACTIVE, memory.inactive_bytes),
            (&of::SWAP, swap.total_bytes),
            (&of::SWAP_USED, swap.used_bytes),
        ],
    );
    whole.push(Sample::new(&of::UPTIME, &[name], machine.uptime_seconds));
    whole.extend(times(&of::CPU, &[name], &machine.cpu.times));
    if let Some(load) = machine.cpu.load {
        let loads = ["1", "5", "15"].into_iter().zip(load);
        whole.extend(loads.map(|(minutes, load)| Sample::new(&of::LOAD, &[name, ("minutes", minutes)], load)));
    }
    whole.extend(waits([&of::WAITING, &of::STALLED], &[name], machine.pressure.as_ref()));
    whole
}

/// What processors did, by what it was.
fn times(family: &'static Family, labels: &[(&str, &str)], times: &CpuTimes) -> Vec<Sample> {
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
    let one = |(mode, seconds)| Sample::new(family, &[labels, &[("mode", mode)]].concat(), seconds);
    modes.into_iter().map(one).collect()
}

/// How long some task, and how long all tasks waited, by what for.
pub(super) fn waits(
    [some, all]: [&'static Family; 2],
    labels: &[(&str, &str)],
    pressure: Option<&PressureStats>,
) -> Vec<Sample> {
    let PressureStats { cpu, memory, io, .. } = pressure.copied().unwrap_or_default();
    let mut samples = Vec::new();
    for (resource, pressure) in [("cpu", cpu), ("memory", memory), ("io", io)] {
        let Some(Pressure { some_seconds, full_seconds, .. }) = pressure else { continue };
        let labels = [labels, &[("resource", resource)]].concat();
        samples.push(Sample::new(some, &labels, some_seconds));
        samples.extend(full_seconds.map(|seconds| Sample::new(all, &labels, seconds)));
    }
    samples
}

/// The sampler's own figures.
fn looks(name: (&str, &str), sampling: &Sampling) -> Vec<Sample> {
    let told = [
        (&of::INTERVAL, Number::Real(sampling.interval_seconds)),
        (&of::INTERVAL_ASKED, Number::Real(sampling.asked_interval_seconds)),
        (&of::SLOWED, Number::Whole(sampling.slowed.into())),
        (&of::BUDGET, Number::Real(sampling.budget_percent / 100.0)),
        (&of::COST, Number::Real(sampling.cost_percent / 100.0)),
        (&of::LOOK_COST, Number::Real(sampling.sample_cost_seconds)),
        (&of::HISTORY, Number::Whole(sampling.history_bytes)),
    ];
    all(&[name], told)
}
