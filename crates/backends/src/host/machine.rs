//! What the whole machine uses, read again and again.
//!
//! What changes slowly or costs much, file systems and sensors, is read once in a while only. Of file systems only kinds that are on
//! a disk of this machine are asked: what is behind a network may never answer.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use roadstead_core::usage::{
    CoreUsage, CpuTimes, DiskUsage, FilesystemUsage, MachineCpu, MachineMemory, MachineUsage, Rates, Sensor, SwapUsage,
};

use super::files::group::Pressure;
use super::files::machine::{CpuTicks, Disk, Memory, Stat, disks, load, nics};
use super::files::mounts::mounts;
use super::files::scan::{fields, fraction, whole};
use super::guests::Guests;
use super::kept::{Buffer, Comes, Kept};
use super::numbers::{network, pressures};

/// Slow things are read once in so many reads.
const SLOW_EVERY: u64 = 8;

/// Kinds of file systems that answer without a network.
const ON_DISK: &[&str] = &[
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "reiserfs", "squashfs",
    "vfat", "xfs", "zfs",
];

/// The machine's files, kept open.
#[derive(Debug)]
pub(super) struct Machine {
    stat: Option<Kept>,
    memory: Option<Kept>,
    load: Option<Kept>,
    uptime: Option<Kept>,
    disks: Option<Kept>,
    nics: Option<Kept>,
    pressure: [Option<Kept>; 3],
    slow: Slow,
    boot_id: Option<String>,
    guests: Guests,
    reads: u64,
    ticks_per_second: u64,
    before: Option<Before>,
}

/// What the next read is compared with.
#[derive(Debug)]
struct Before {
    at: Instant,
    cpu: MachineCpu,
    /// By name, what was read from each disk and written to it.
    disks: HashMap<String, (u64, u64)>,
    /// By name, what each interface received and sent.
    nics: HashMap<String, (u64, u64)>,
}

/// What is read seldom.
#[derive(Debug, Default)]
struct Slow {
    hostname: Option<String>,
    filesystems: Vec<FilesystemUsage>,
    sensors: Vec<Sensor>,
    /// Whole disks.
    whole: HashSet<String>,
    /// Those of them that are made of others.
    made_of_others: HashSet<String>,
}

impl Machine {
    /// This one.
    pub(super) fn new() -> Self {
        let open = |path: &str, comes| Kept::open(Path::new(path), comes).ok();
        Machine {
            stat: open("/proc/stat", Comes::InParts),
            memory: open("/proc/meminfo", Comes::InParts),
            load: open("/proc/loadavg", Comes::Whole),
            uptime: open("/proc/uptime", Comes::Whole),
            disks: open("/proc/diskstats", Comes::InParts),
            nics: open("/proc/net/dev", Comes::InShortLines),
            pressure: ["cpu", "memory", "io"].map(|what| open(&format!("/proc/pressure/{what}"), Comes::Whole)),
            slow: Slow::default(),
            boot_id: super::one_line("/proc/sys/kernel/random/boot_id"),
            guests: Guests::default(),
            reads: 0,
            ticks_per_second: procfs::ticks_per_second().max(1),
            before: None,
        }
    }

    /// What it uses now; what cannot be read is absent.
    pub(super) fn read(&mut self, processes: u64, buffer: &mut Buffer) -> MachineUsage {
        if self.reads.is_multiple_of(SLOW_EVERY) {
            self.slow = Slow::read();
            self.guests.look_again();
        }
        self.reads = self.reads.wrapping_add(1);
        let now = Instant::now();
        let mut usage = MachineUsage::default();
        usage.processes = processes;
        usage.boot_id.clone_from(&self.boot_id);
        usage.hostname.clone_from(&self.slow.hostname);
        usage.uptime_seconds = text(self.uptime.as_ref(), buffer).and_then(uptime).unwrap_or(0.0);
        if let Some(stat) = text(self.stat.as_ref(), buffer).and_then(Stat::parse) {
            usage.cpu = self.cpu(&stat);
        }
        usage.cpu.load = text(self.load.as_ref(), buffer).and_then(load);
        if let Some(memory) = text(self.memory.as_ref(), buffer).and_then(Memory::parse) {
            (usage.memory, usage.swap) = (self::memory(&memory), swap(&memory));
        }
        let all = text(self.disks.as_ref(), buffer).map(disks).unwrap_or_default();
        usage.disks = all.into_iter().filter(|disk| self.slow.whole.contains(&disk.name)).map(disk).collect();
        usage.nics = text(self.nics.as_ref(), buffer).map(nics).unwrap_or_default().into_iter().map(network).collect();
        self.guests.mark(Path::new("/sys/class/net"), &mut usage.nics);
        let mut pressure = [None; 3];
        for (pressure, file) in pressure.iter_mut().zip(&self.pressure) {
            *pressure = text(file.as_ref(), buffer).map(Pressure::parse);
        }
        usage.pressure = pressures(pressure);
        usage.filesystems.clone_from(&self.slow.filesystems);
        usage.sensors.clone_from(&self.slow.sensors);
        if let Some(before) = &self.before {
            self.compare(before, &mut usage, now.duration_since(before.at).as_secs_f64());
        }
        self.before = Some(Before {
            at: now,
            cpu: usage.cpu.clone(),
            disks: usage.disks.iter().map(|disk| (disk.name.clone(), (disk.read_bytes, disk.written_bytes))).collect(),
            nics: usage.nics.iter().map(|nic| (nic.name.clone(), (nic.received_bytes, nic.sent_bytes))).collect(),
        });
        usage
    }

    fn cpu(&self, stat: &Stat) -> MachineCpu {
        let mut cpu = MachineCpu::default();
        cpu.times = self.times(&stat.all);
        let core = |(number, ticks): &(u32, CpuTicks)| {
            let mut core = CoreUsage::default();
            (core.core, core.times) = (*number, self.times(ticks));
            core
        };
        cpu.cores = stat.each.iter().map(core).collect();
        cpu
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks of centuries fit")]
    fn times(&self, ticks: &CpuTicks) -> CpuTimes {
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second as f64;
        let mut times = CpuTimes::default();
        times.user_seconds = seconds(ticks.user);
        times.nice_seconds = seconds(ticks.nice);
        times.system_seconds = seconds(ticks.system);
        times.idle_seconds = seconds(ticks.idle);
        times.io_wait_seconds = seconds(ticks.io_wait);
        times.irq_seconds = seconds(ticks.irq);
        times.soft_irq_seconds = seconds(ticks.soft_irq);
        times.steal_seconds = seconds(ticks.steal);
        times
    }

    #[allow(clippy::cast_precision_loss, reason = "there are never so many processors")]
    fn compare(&self, before: &Before, usage: &mut MachineUsage, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        usage.cpu.percent = busy(&before.cpu.times, &usage.cpu.times);
        for core in &mut usage.cpu.cores {
            let earlier = before.cpu.cores.iter().find(|earlier| earlier.core == core.core);
            core.percent = earlier.and_then(|earlier| busy(&earlier.times, &core.times));
        }
        let disks = usage.disks.iter().filter(|disk| !self.slow.made_of_others.contains(&disk.name));
        let (read, written) =
            grown(&before.disks, disks.map(|disk| (&disk.name, disk.read_bytes, disk.written_bytes)), seconds);
        let nics = usage.nics.iter().filter(|nic| nic.name != "lo");
        let (received, sent) =
            grown(&before.nics, nics.map(|nic| (&nic.name, nic.received_bytes, nic.sent_bytes)), seconds);
        let mut rates = Rates::default();
        rates.interval_seconds = seconds;
        rates.cpu_percent = usage.cpu.percent.unwrap_or(0.0) * usage.cpu.cores.len().max(1) as f64;
        (rates.read_bytes_per_second, rates.written_bytes_per_second) = (Some(read), Some(written));
        (rates.received_bytes_per_second, rates.sent_bytes_per_second) = (Some(received), Some(sent));
        usage.rates = Some(rates);
    }
}

/// How fast two counters of each that was there before grew, all together. One that is gone takes nothing from the others.
fn grown<'a>(
    before: &HashMap<String, (u64, u64)>,
    now: impl Iterator<Item = (&'a String, u64, u64)>,
    seconds: f64,
) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (name, first, second) in now {
        if let Some((first_before, second_before)) = before.get(name) {
            sums.0 += Rates::of_counters(*first_before, first, seconds);
            sums.1 += Rates::of_counters(*second_before, second, seconds);
        }
    }
    sums
}

fn text<'a>(file: Option<&Kept>, buffer: &'a mut Buffer) -> Option<&'a [u8]> {
    file?.read(buffer).ok()
}

/// `/proc/uptime`: seconds since boot, and what is not asked for.
pub(super) fn uptime(text: &[u8]) -> Option<f64> {
    fields(text).next().and_then(fraction)
}

/// The part of the time between, in percent, in which something was done; nothing where no time passed.
fn busy(earlier: &CpuTimes, later: &CpuTimes) -> Option<f64> {
    let idle = |times: &CpuTimes| times.idle_seconds + times.io_wait_seconds;
    let worked = |times: &CpuTimes| {
        times.user_seconds
            + times.nice_seconds
            + times.system_seconds
            + times.irq_seconds
            + times.soft_irq_seconds
            + times.steal_seconds
    };
    // The kernel may take idle time back.
    let idled = (idle(later) - idle(earlier)).max(0.0);
    let worked = (worked(later) - worked(earlier)).max(0.0);
    let all = idled + worked;
    (all > 0.0).then(|| worked / all * 100.0)
}

fn memory(read: &Memory) -> MachineMemory {
    let mut memory = MachineMemory::default();
    // Kernels of old do not tell what is available; then it is about this.
    let available =
        read.available.unwrap_or_else(|| read.free.saturating_add(read.buffers).saturating_add(read.cached));
    memory.total_bytes = read.total;
    memory.used_bytes = read.total.saturating_sub(available);
    memory.available_bytes = available;
    memory.free_bytes = read.free;
    memory.buffers_bytes = read.buffers;
    memory.cached_bytes = read.cached;
    memory.shared_bytes = read.shared;
    memory.active_bytes = read.active;
    memory.inactive_bytes = read.inactive;
    memory
}

fn swap(read: &Memory) -> SwapUsage {
    let mut swap = SwapUsage::default();
    swap.total_bytes = read.swap_total;
    swap.used_bytes = read.swap_total.saturating_sub(read.swap_free);
    swap
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
fn disk(read: Disk) -> DiskUsage {
    let mut disk = DiskUsage::default();
    disk.name = read.name;
    disk.reads = read.reads;
    disk.writes = read.writes;
    disk.read_bytes = read.read_bytes;
    disk.written_bytes = read.written_bytes;
    disk.busy_seconds = read.busy_ms as f64 / 1e3;
    disk
}

impl Slow {
    fn read() -> Self {
        let mut slow = Slow {
            hostname: super::hostname(),
            filesystems: filesystems(),
            sensors: sensors(Path::new("/sys/class/hwmon")),
            ..Slow::default()
        };
        for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let size = std::fs::read(entry.path().join("size")).ok().and_then(|text| whole(&text));
            if size.is_none_or(|sectors| sectors == 0) {
                continue;
            }
            let has_parts =
                std::fs::read_dir(entry.path().join("slaves")).is_ok_and(|mut parts| parts.next().is_some());
            if has_parts || ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)) {
                slow.made_of_others.insert(name.clone());
            }
            slow.whole.insert(name);
        }
        slow
    }
}

/// Each file system once, where it is mounted first.
fn filesystems() -> Vec<FilesystemUsage> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for mount in self::mounts(&mounts) {
        // In a container the root may be laid over the directories of a disk here.
        let is_root = mount.kind == "overlay" && mount.point == Path::new("/");
        if !(is_root || ON_DISK.contains(&mount.kind.as_str())) || !seen.insert(mount.device) {
            continue;
        }
        let Ok(space) = nix::sys::statvfs::statvfs(&mount.point) else { continue };
        let block = space.fragment_size();
        let mut usage = FilesystemUsage::default();
        usage.mountpoint = mount.point.to_string_lossy().into_owned();
        usage.device = mount.source.unwrap_or_default();
        usage.kind = mount.kind;
        usage.total_bytes = space.blocks().saturating_mul(block);
        usage.used_bytes = space.blocks().saturating_sub(space.blocks_free()).saturating_mul(block);
        usage.available_bytes = space.blocks_available().saturating_mul(block);
        usage.inodes = space.files();
        usage.inodes_free = space.files_free();
        all.push(usage);
    }
    all
}

/// Thousandths of a degree.
#[allow(clippy::cast_precision_loss, reason = "degrees fit")]
pub(super) fn celsius(text: &str) -> Option<f64> {
    text.parse::<i64>().ok().map(|thousandths| thousandths as f64 / 1000.0)
}

/// Temperatures, by `tempN_input` in thousandths of a degree.
fn sensors(root: &Path) -> Vec<Sensor> {
    let line = |path: &Path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let degrees = |path: &Path| celsius(&line(path)?);
    let chip = |entry: std::fs::DirEntry| {
        let directory = entry.path();
        let device = std::fs::canonicalize(directory.join("device")).ok();
        // What has no device is told by its own number.
        let device = device.as_deref().and_then(Path::file_name).map_or(entry.file_name(), ToOwned::to_owned);
        let name = line(&directory.join("name")).unwrap_or_default();
        (name, device.to_string_lossy().into_owned(), directory)
    };
    let mut chips: Vec<_> = std::fs::read_dir(root).into_iter().flatten().flatten().map(chip).collect();
    chips.sort();
    let mut all = Vec::new();
    for (name, device, directory) in &chips {
        let is_one_of_many = chips.iter().filter(|(other, ..)| other == name).count() > 1;
        let name = if is_one_of_many { format!("{name} {device}") } else { name.clone() };
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(which) = file.strip_suffix("_input").filter(|which| which.starts_with("temp")) else { continue };
            let Some(celsius) = degrees(&entry.path()) else { continue };
            let mut sensor = Sensor::default();
            sensor.chip.clone_from(&name);
            sensor.label = line(&directory.join(format!("{which}_label"))).unwrap_or_else(|| which.to_owned());
            sensor.celsius = celsius;
            sensor.critical_celsius = degrees(&directory.join(format!("{which}_crit")));
            all.push(sensor);
        }
    }
    all.sort_by(|a, b| (&a.chip, &a.label).cmp(&(&b.chip, &b.label)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_takes_nothing_from_the_others() {
        let before: HashMap<_, _> = [("eth0", (100_000, 7)), ("veth1", (200, 9)), ("eth1", (50, 50))]
            .map(|(name, both)| (name.to_owned(), both))
            .into();
        let now = [("eth0".to_owned(), 100_300, 7), ("eth1".to_owned(), 20, 60), ("veth2".to_owned(), 999, 999)];
        let now = now.iter().map(|(name, first, second)| (name, *first, *second));
        // What went down began anew, and what is new has no time before.
        assert_eq!(grown(&before, now, 2.0), (160.0, 5.0));
    }

    #[test]
    fn this_machine_tells_of_itself() {
        let (mut machine, mut buffer) = (Machine::new(), Buffer::default());
        let first = machine.read(7, &mut buffer);
        assert!(first.uptime_seconds > 0.0 && first.memory.total_bytes > 0 && !first.cpu.cores.is_empty());
        assert!(first.memory.used_bytes <= first.memory.total_bytes && first.rates.is_none() && first.processes == 7);
        assert_eq!(first.hostname, crate::host::hostname());
        assert!(first.boot_id.is_some_and(|id| id.len() == 36));
        let second = machine.read(7, &mut buffer);
        assert!(second.rates.unwrap().interval_seconds > 0.0);
        assert!(second.uptime_seconds >= first.uptime_seconds);
        let busy = second.cpu.percent.unwrap_or(0.0);
        assert!((0.0..=100.0).contains(&busy), "{busy}");
    }

    #[test]
    fn processors_are_busy_for_what_they_did_not_idle() {
        let times = |user_seconds, idle_seconds| {
            let mut times = CpuTimes::default();
            (times.user_seconds, times.idle_seconds) = (user_seconds, idle_seconds);
            times
        };
        assert_eq!(busy(&times(1.0, 1.0), &times(2.0, 4.0)), Some(25.0));
        assert_eq!(busy(&times(1.0, 1.0), &times(1.0, 1.0)), None);
        assert_eq!(busy(&times(1.0, 1.0), &times(2.0, 0.5)), Some(100.0));
    }

    #[test]
    fn sensors_tell_degrees() {
        let root = tempfile::tempdir().unwrap();
        let chip = root.path().join("hwmon0");
        std::fs::create_dir(&chip).unwrap();
        for (name, text) in [
            ("name", "coretemp\n"),
            ("temp1_input", "41500\n"),
            ("temp1_label", "Core 0\n"),
            ("temp1_crit", "100000\n"),
            ("temp2_input", "-5000\n"),
            ("temp3_input", "none\n"),
            ("fan1_input", "900\n"),
        ] {
            std::fs::write(chip.join(name), text).unwrap();
        }
        let found = sensors(root.path());
        let told: Vec<_> =
            found.iter().map(|sensor| (sensor.label.as_str(), sensor.celsius, sensor.critical_celsius)).collect();
        assert_eq!(told, [("Core 0", 41.5, Some(100.0)), ("temp2", -5.0, None)]);
        // Of several with one name each is told from the others.
        for (number, device) in [(1, Some("nvme7")), (2, None)] {
            let directory = root.path().join(format!("hwmon{number}"));
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("name"), "nvme\n").unwrap();
            std::fs::write(directory.join("temp1_input"), format!("{number}000\n")).unwrap();
            if let Some(device) = device {
                std::fs::create_dir_all(root.path().join("devices").join(device)).unwrap();
                std::os::unix::fs::symlink(format!("../devices/{device}"), directory.join("device")).unwrap();
            }
        }
        let found = sensors(root.path());
        let mut told: Vec<_> = found.iter().map(|sensor| (sensor.chip.as_str(), sensor.celsius)).collect();
        told.dedup_by_key(|(chip, _)| chip.to_owned());
        assert_eq!(told, [("coretemp", 41.5), ("nvme hwmon2", 2.0), ("nvme nvme7", 1.0)]);
    }
}
