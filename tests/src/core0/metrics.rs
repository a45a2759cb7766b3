//! What a node measures of itself when `monitor` is called, which a job does for each domain every 30 seconds.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::sys::statvfs::statvfs;

use super::engine::{Statistic, Tag};
use super::proc_files::TICKS;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;
const SECTOR: f64 = 512.0;

/// Measures; the shares of processors are since the last time.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By processor: ticks at work, and all of them.
    processors: Mutex<HashMap<String, (f64, f64)>>,
}

fn of(operation: &str, key: &str, value: f64, tags: &[(&str, &str)]) -> Statistic {
    let tag = |(key, value): &(&str, &str)| Tag { key: (*key).to_owned(), value: (*value).to_owned() };
    let mut tags: Vec<Tag> = tags.iter().map(tag).collect();
    tags.push(Tag { key: "type".to_owned(), value: "phys".to_owned() });
    Statistic { operation: operation.to_owned(), key: key.to_owned(), value, tags }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn numbers<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<f64> {
    fields.map(|field| field.parse().unwrap_or_default()).collect()
}

impl Metrics {
    /// One sample of a domain.
    pub(crate) fn sample(&self, domain: &str) -> Vec<Statistic> {
        match domain {
            "cpu" => self.processors(),
            "memory" => memory(),
            "disk" => disks(),
            "network" => network(),
            _ => Vec::new(),
        }
    }

    fn processors(&self) -> Vec<Statistic> {
        let mut found = Vec::new();
        let mut before = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        for line in read("/proc/stat").lines() {
            let mut fields = line.split_whitespace();
            let name = fields.next().unwrap_or_default();
            let values = numbers(fields);
            match (name, values.as_slice()) {
                ("ctxt", [count, ..]) => found.push(of("D", "machine.CPU.contextswitch", *count, &[])),
                ("intr", [count, ..]) => found.push(of("D", "machine.CPU.interrupts", *count, &[])),
                (name, [user, nice, system, idle, ..]) if name.len() > 3 && name.starts_with("cpu") => {
                    let id = &name[3..];
                    let all: f64 = values.iter().take(8).sum();
                    let working = all - idle - values.get(4).copied().unwrap_or_default();
                    let seconds = (user + nice + system) / TICKS;
                    found.push(of("D", "machine.CPU.utilisation", seconds, &[("id", id)]));
                    let last = before.insert(id.to_owned(), (working, all));
                    let (was_working, was_all) = last.unwrap_or_default();
                    let percent = if all > was_all { (working - was_working) / (all - was_all) * 100.0 } else { 0.0 };
                    found.push(of("A", "machine.CPU.percent", percent, &[("id", id)]));
                }
                _ => {}
            }
        }
        let load = read("/proc/loadavg");
        let threads =
            load.split('/').nth(1).and_then(|rest| rest.split(' ').next()).and_then(|count| count.parse().ok());
        found.push(of("A", "machine.process.threads", threads.unwrap_or_default(), &[]));
        found
    }
}

fn memory() -> Vec<Statistic> {
    let text = read("/proc/meminfo");
    let mib = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<f64>().ok());
        kib.unwrap_or_default() / KIB
    };
    vec![
        of("A", "machine.memory.ram.available", mib("MemAvailable"), &[]),
        of("A", "machine.memory.swap.left", mib("SwapFree"), &[]),
        of("A", "machine.memory.swap.used", mib("SwapTotal") - mib("SwapFree"), &[]),
    ]
}

fn disks() -> Vec<Statistic> {
    let mut found = Vec::new();
    for line in read("/proc/diskstats").lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(name) = fields.get(2).filter(|name| Path::new("/sys/block").join(name).exists()) else { continue };
        let values = numbers(fields.iter().skip(3).copied());
        let [reads, _, sectors_read, _, writes, _, sectors_written, ..] = values.as_slice() else { continue };
        if *reads + *writes == 0.0 {
            continue;
        }
        let tags = [("id", *name)];
        found.push(of("D", "disk.iops.read", *reads, &tags));
        found.push(of("D", "disk.iops.write", *writes, &tags));
        found.push(of("D", "disk.throughput.read", sectors_read * SECTOR / KIB, &tags));
        found.push(of("D", "disk.throughput.write", sectors_written * SECTOR / KIB, &tags));
    }
    let mut seen = Vec::new();
    for line in read("/proc/self/mounts").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, target, kind, ..] = fields.as_slice() else { continue };
        let Some(name) = device.strip_prefix("/dev/").filter(|name| !seen.contains(name)) else { continue };
        let Ok(space) = statvfs(*target) else { continue };
        seen.push(name);
        let tags = [("fs", *kind), ("id", name)];
        let block = space.fragment_size() as f64;
        found.push(of("A", "disk.size.total", space.blocks() as f64 * block, &tags));
        found.push(of("A", "disk.size.free", space.blocks_free() as f64 * block, &tags));
    }
    found
}

fn network() -> Vec<Statistic> {
    let mut found = Vec::new();
    for line in read("/proc/net/dev").lines() {
        let Some((name, values)) = line.split_once(':') else { continue };
        let name = name.trim();
        let directory = Path::new("/sys/class/net").join(name);
        let kind = if directory.join("bridge").exists() {
            "bridge"
        } else if directory.join("device").exists() {
            "device"
        } else {
            continue;
        };
        let values = numbers(values.split_whitespace());
        let [received, packets_received, _, _, _, _, _, _, sent, packets_sent, ..] = values.as_slice() else {
            continue;
        };
        let tags = [("id", name), ("kind", kind)];
        found.push(of("D", "network.packets.rx", *packets_received, &tags));
        found.push(of("D", "network.packets.tx", *packets_sent, &tags));
        found.push(of("D", "network.throughput.incoming", received / MIB, &tags));
        found.push(of("D", "network.throughput.outgoing", sent / MIB, &tags));
    }
    found
}
