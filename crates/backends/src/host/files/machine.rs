//! The files of the whole machine: `stat`, `meminfo`, `loadavg`, `diskstats`, `net/dev`. Source: proc(5) and
//! Documentation/admin-guide/iostats.rst of the kernel.

use super::scan::{fields, fraction, lines, number, pairs};

/// Ticks that one processor, or all together, spent since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct CpuTicks {
    pub(in crate::host) user: u64,
    pub(in crate::host) nice: u64,
    pub(in crate::host) system: u64,
    pub(in crate::host) idle: u64,
    pub(in crate::host) io_wait: u64,
    pub(in crate::host) irq: u64,
    pub(in crate::host) soft_irq: u64,
    /// What another machine on the same hardware took.
    pub(in crate::host) steal: u64,
}

/// `/proc/stat`: all processors together, each by its number, and when the machine was started, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Stat {
    pub(in crate::host) all: CpuTicks,
    pub(in crate::host) each: Vec<(u32, CpuTicks)>,
    pub(in crate::host) boot_seconds: Option<u64>,
}

impl Stat {
    /// Nothing when it does not tell of the processors.
    pub(in crate::host) fn parse(text: &[u8]) -> Option<Self> {
        let mut stat = Stat::default();
        let mut told = false;
        for line in lines(text) {
            let mut fields = fields(line);
            let Some(name) = fields.next() else { continue };
            if name == b"btime" {
                stat.boot_seconds = fields.next().and_then(number);
            } else if let Some(which) = name.strip_prefix(b"cpu") {
                let mut next = || fields.next().and_then(number);
                let ticks = CpuTicks {
                    user: next()?,
                    nice: next()?,
                    system: next()?,
                    idle: next()?,
                    io_wait: next().unwrap_or(0),
                    irq: next().unwrap_or(0),
                    soft_irq: next().unwrap_or(0),
                    steal: next().unwrap_or(0),
                };
                if which.is_empty() {
                    (stat.all, told) = (ticks, true);
                } else if let Some(number) = number(which).and_then(|number| u32::try_from(number).ok()) {
                    stat.each.push((number, ticks));
                }
            }
        }
        told.then_some(stat)
    }
}

/// `/proc/meminfo`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Memory {
    pub(in crate::host) total: u64,
    pub(in crate::host) free: u64,
    /// What a new program may have without swapping.
    pub(in crate::host) available: Option<u64>,
    pub(in crate::host) buffers: u64,
    pub(in crate::host) cached: u64,
    pub(in crate::host) shared: u64,
    pub(in crate::host) active: u64,
    pub(in crate::host) inactive: u64,
    pub(in crate::host) swap_total: u64,
    pub(in crate::host) swap_free: u64,
}

impl Memory {
    /// Nothing when it does not tell the total.
    pub(in crate::host) fn parse(text: &[u8]) -> Option<Self> {
        let mut memory = Memory::default();
        pairs(text, |name, kibibytes| {
            let bytes = kibibytes.saturating_mul(1024);
            match name {
                b"MemTotal" => memory.total = bytes,
                b"MemFree" => memory.free = bytes,
                b"MemAvailable" => memory.available = Some(bytes),
                b"Buffers" => memory.buffers = bytes,
                b"Cached" => memory.cached = bytes,
                b"Shmem" => memory.shared = bytes,
                b"Active" => memory.active = bytes,
                b"Inactive" => memory.inactive = bytes,
                b"SwapTotal" => memory.swap_total = bytes,
                b"SwapFree" => memory.swap_free = bytes,
                _ => {}
            }
        });
        (memory.total > 0).then_some(memory)
    }
}

/// `/proc/loadavg`: the load of one, five and fifteen minutes.
pub(in crate::host) fn load(text: &[u8]) -> Option<[f64; 3]> {
    let mut numbers = fields(text).map(fraction);
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// A line of `/proc/diskstats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Disk {
    pub(in crate::host) name: String,
    pub(in crate::host) reads: u64,
    pub(in crate::host) read_bytes: u64,
    pub(in crate::host) writes: u64,
    pub(in crate::host) written_bytes: u64,
    /// Milliseconds in which it had something to do.
    pub(in crate::host) busy_ms: u64,
}

/// The kernel counts in these, whatever the device has.
const SECTOR_BYTES: u64 = 512;

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn disks(text: &[u8]) -> Vec<Disk> {
    let disk = |line| {
        let mut fields = fields(line).skip(2);
        let name = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let mut next = |skipped: usize| fields.nth(skipped).and_then(number);
        Some(Disk {
            name,
            reads: next(0)?,
            read_bytes: next(1)?.saturating_mul(SECTOR_BYTES),
            writes: next(1)?,
            written_bytes: next(1)?.saturating_mul(SECTOR_BYTES),
            busy_ms: next(2)?,
        })
    };
    lines(text).filter_map(disk).collect()
}

/// A line of `net/dev`, of the machine or of a process's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Nic {
    pub(in crate::host) name: String,
    pub(in crate::host) received_bytes: u64,
    pub(in crate::host) received_packets: u64,
    pub(in crate::host) receive_errors: u64,
    pub(in crate::host) receive_dropped: u64,
    pub(in crate::host) sent_bytes: u64,
    pub(in crate::host) sent_packets: u64,
    pub(in crate::host) send_errors: u64,
    pub(in crate::host) send_dropped: u64,
}

/// All of them. The number may follow the colon without a blank.
pub(in crate::host) fn nics(text: &[u8]) -> Vec<Nic> {
    let nic = |line: &[u8]| {
        // A name may have a colon in it; what follows has none.
        let colon = line.iter().rposition(|byte| *byte == b':')?;
        let name = String::from_utf8(line.get(..colon)?.trim_ascii().to_vec()).ok()?;
        let mut numbers = fields(line.get(colon + 1..)?).map(number);
        let mut next = |skipped: usize| numbers.nth(skipped)?;
        Some(Nic {
            name,
            received_bytes: next(0)?,
            received_packets: next(0)?,
            receive_errors: next(0)?,
            receive_dropped: next(0)?,
            sent_bytes: next(4)?,
            sent_packets: next(0)?,
            send_errors: next(0)?,
            send_dropped: next(0)?,
        })
    };
    lines(text).filter_map(nic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_old_and_new_kernels() {
        let stat =
            Stat::parse(b"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4\ncpu12 9 8 7 6 5\nintr 5 0\nbtime 1700000000\n")
                .unwrap();
        assert_eq!((stat.all.user, stat.all.idle, stat.all.steal), (1, 4, 8));
        let each: Vec<_> = stat.each.iter().map(|(number, ticks)| (*number, ticks.io_wait)).collect();
        assert_eq!((each, stat.boot_seconds), (vec![(0, 0), (12, 5)], Some(1_700_000_000)));
        assert_eq!(Stat::parse(b"cpu 1 2 3\n"), None);
        assert_eq!(Stat::parse(b"cpu0 1 2 3 4\n"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let memory =
            Memory::parse(b"MemTotal: 10 kB\nMemFree: 4 kB\nMemAvailable: 6 kB\nHugePages_Total: 3\nSwapTotal: 2 kB\n");
        let memory = memory.unwrap();
        assert_eq!((memory.total, memory.free, memory.available, memory.swap_total), (10240, 4096, Some(6144), 2048));
        assert_eq!(Memory::parse(b"MemFree: 4 kB\n"), None);
        assert_eq!(load(b"0.50 1.25 2.00 3/456 789\n"), Some([0.5, 1.25, 2.0]));
        assert_eq!(load(b"0.50 x 2.00\n"), None);
    }

    #[test]
    fn disks_and_nics() {
        let disks = disks(b"   7       0 loop0 1372 3 1015104 3305 6981 16 1852592 16418 0 2148 19984 4 0 76000 32\nbroken\n 8 0 sda 1\n");
        let loop0 = Disk {
            name: "loop0".to_owned(),
            reads: 1372,
            read_bytes: 1_015_104 * 512,
            writes: 6981,
            written_bytes: 1_852_592 * 512,
            busy_ms: 2148,
        };
        assert_eq!(disks, [loop0]);
        let header = b"Inter-|   Receive    |  Transmit\n face |bytes    packets errs drop|bytes\n";
        let lines =
            b"    lo:16287 82 1 2 0 0 0 0 900 80 3 4 0 0 0 0\n  eth0:1: 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n";
        let nics = nics(&[&header[..], lines].concat());
        let told: Vec<_> =
            nics.iter().map(|nic| (nic.name.as_str(), nic.received_bytes, nic.sent_bytes, nic.send_dropped)).collect();
        assert_eq!(told, [("lo", 16287, 900, 4), ("eth0:1", 5, 13, 16)]);
    }

    #[test]
    fn this_very_machine() {
        let read = |name: &str| std::fs::read(format!("/proc/{name}")).unwrap();
        let stat = Stat::parse(&read("stat")).unwrap();
        assert!(stat.all.idle > 0 && !stat.each.is_empty() && stat.boot_seconds.is_some());
        assert!(Memory::parse(&read("meminfo")).unwrap().available.is_some());
        assert!(load(&read("loadavg")).is_some());
        assert!(nics(&read("net/dev")).iter().any(|nic| nic.name == "lo"));
    }
}
