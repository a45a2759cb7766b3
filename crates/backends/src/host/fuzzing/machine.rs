//! The files of the whole machine.

use std::fmt::Write as _;

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{FOREIGN, followed, has, stands, stands_as_fraction};
use crate::host::files::machine::{CpuTicks, Disk, Memory, Nic, Stat, disks, load, nics};
use crate::host::machine::uptime;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "machine_stat",
        reads: "`/proc/stat`",
        parsers: &["host/files/machine::Stat::parse"],
        seeds: &[b"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4\ncpu12 9 8 7 6 5 4 3 2 1 0\nintr 5 0\nctxt 7\nbtime 1700000000\nprocesses 9\n"],
        here: &["/proc/stat"],
        oracle: stat,
    },
    Target {
        name: "machine_memory",
        reads: "`/proc/meminfo`",
        parsers: &["host/files/machine::Memory::parse"],
        seeds: &[b"MemTotal:       8152364 kB\nMemFree:          4 kB\nMemAvailable:     6 kB\nBuffers: 1 kB\nCached: 2 kB\nSwapCached: 3 kB\nActive: 4 kB\nInactive: 5 kB\nSwapTotal: 2 kB\nSwapFree: 1 kB\nShmem: 7 kB\nHugePages_Total: 3\n"],
        here: &["/proc/meminfo"],
        oracle: memory,
    },
    Target {
        name: "machine_load",
        reads: "`/proc/loadavg`, `/proc/uptime`",
        parsers: &["host/files/machine::load", "host/machine::uptime"],
        seeds: &[b"0.50 1.25 2.00 3/456 789\n", b"85013.27 161234.02\n"],
        here: &["/proc/loadavg", "/proc/uptime"],
        oracle: loads,
    },
    Target {
        name: "machine_disks",
        reads: "`/proc/diskstats`",
        parsers: &["host/files/machine::disks"],
        seeds: &[b"   7       0 loop0 1372 3 1015104 3305 6981 16 1852592 16418 0 2148 19984 4 0 76000 32 0 0\nbroken\n   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n"],
        here: &["/proc/diskstats"],
        oracle: all_disks,
    },
    Target {
        name: "net_dev",
        reads: "`/proc/net/dev`, of the machine and of processes",
        parsers: &["host/files/machine::nics"],
        seeds: &[b"Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:16287 82 1 2 0 0 0 0 900 80 3 4 0 0 0 0\n  eth0:1: 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n"],
        here: &["/proc/net/dev", "/proc/*/net/dev"],
        oracle: all_nics,
    },
];

fn stat(text: &[u8]) {
    if let Some(stat) = Stat::parse(text) {
        let of = |ticks: &CpuTicks| {
            let CpuTicks { user, nice, system, idle, io_wait, irq, soft_irq, steal } = *ticks;
            // The last ones are zero where an old kernel has none.
            [user, nice, system, idle].iter().all(|told| stands(text, *told))
                && [io_wait, irq, soft_irq, steal].iter().all(|told| *told == 0 || stands(text, *told))
        };
        assert!(of(&stat.all) && stat.each.iter().all(|(number, ticks)| of(ticks) && stands(text, (*number).into())));
        assert!(stat.boot_seconds.is_none_or(|seconds| has(text, b"btime") && stands(text, seconds)));
        assert_eq!(Stat::parse(&followed(text, FOREIGN)), Some(stat.clone()));
        let later = Stat { boot_seconds: Some(7), ..stat };
        assert_eq!(Stat::parse(&followed(text, b"btime 7\n")), Some(later));
    }
    let mut given = Given::new(text);
    let all = any_ticks(&mut given);
    let each = given.several(9, |given| (given.small(), any_ticks(given)));
    let boot_seconds = given.maybe(Given::number);
    let mut text = ticks("cpu ", &all);
    text.extend(each.iter().map(|(number, told)| ticks(&format!("cpu{number}"), told)));
    text += "intr 1 2 3\nctxt 4\n";
    text += &boot_seconds.map(|seconds| format!("btime {seconds}\n")).unwrap_or_default();
    text += "processes 5\nprocs_running 6\nsoftirq 7 8\n";
    assert_eq!(Stat::parse(text.as_bytes()), Some(Stat { all, each, boot_seconds }));
}

fn any_ticks(given: &mut Given<'_>) -> CpuTicks {
    CpuTicks {
        user: given.number(),
        nice: given.number(),
        system: given.number(),
        idle: given.number(),
        io_wait: given.number(),
        irq: given.number(),
        soft_irq: given.number(),
        steal: given.number(),
    }
}

fn ticks(name: &str, told: &CpuTicks) -> String {
    let CpuTicks { user, nice, system, idle, io_wait, irq, soft_irq, steal } = told;
    format!("{name} {user} {nice} {system} {idle} {io_wait} {irq} {soft_irq} {steal} 9 10\n")
}

fn memory(text: &[u8]) {
    let found = Memory::parse(text);
    if let Some(found) = found {
        let told = [found.total, found.free, found.buffers, found.cached, found.shared, found.active, found.inactive];
        for bytes in told.into_iter().chain(found.available).chain([found.swap_total, found.swap_free]) {
            assert!(bytes == 0 || bytes == u64::MAX || bytes.is_multiple_of(1024) && stands(text, bytes / 1024));
        }
        assert!(has(text, b"MemTotal"));
        let later = Memory::parse(&followed(text, b"MemFree:        7 kB\n"));
        assert_eq!(later, Some(Memory { free: 7168, ..found }));
    }
    assert_eq!(Memory::parse(&followed(text, FOREIGN)), found);
    let mut given = Given::new(text);
    let mut line = |name: &str| {
        let number = given.number();
        (format!("{name:16}{number:8} kB\n"), number.saturating_mul(1024))
    };
    let mut text = String::new();
    let mut told = |name: &str| {
        let (line, bytes) = line(name);
        text += &line;
        bytes
    };
    let made = Memory {
        total: told("MemTotal:"),
        free: told("MemFree:"),
        available: Some(told("MemAvailable:")),
        buffers: told("Buffers:"),
        cached: told("Cached:"),
        active: {
            told("SwapCached:");
            told("Active:")
        },
        inactive: told("Inactive:"),
        swap_total: {
            told("Active(anon):");
            told("SwapTotal:")
        },
        swap_free: told("SwapFree:"),
        shared: told("Shmem:"),
    };
    text += "HugePages_Total:       3\n";
    assert_eq!(Memory::parse(text.as_bytes()), Some(made).filter(|made| made.total > 0));
}

fn loads(text: &[u8]) {
    for told in load(text).into_iter().flatten().chain(uptime(text)) {
        assert!(told.is_finite() && told.is_sign_positive() && stands_as_fraction(text, told));
    }
    let mut given = Given::new(text);
    let told: [String; 3] = std::array::from_fn(|_| format!("{}.{:02}", given.small(), given.byte() % 100));
    let expected = told.each_ref().map(|told| told.parse::<f64>().unwrap());
    let text = format!("{} 3/456 789\n", told.join(" "));
    assert_eq!((load(text.as_bytes()), uptime(text.as_bytes())), (Some(expected), Some(expected[0])));
}

fn all_disks(text: &[u8]) {
    let found = disks(text);
    assert!(found.len() <= text.split(|byte| *byte == b'\n').count());
    for disk in &found {
        assert!(has(text, disk.name.as_bytes()));
        assert!([disk.reads, disk.writes, disk.busy_ms].into_iter().all(|told| stands(text, told)));
        let bytes = |told: u64| told == u64::MAX || told.is_multiple_of(512) && stands(text, told / 512);
        assert!(bytes(disk.read_bytes) && bytes(disk.written_bytes));
    }
    assert_eq!(disks(&followed(text, FOREIGN)), found);
    assert_eq!(disks(&followed(text, text)), [found.clone(), found].concat());
    let (mut lines, mut expected) = (String::new(), Vec::new());
    for (name, told) in
        Given::new(text).several(9, |given| (given.word(12), std::array::from_fn::<_, 5, _>(|_| given.number())))
    {
        let [reads, read, writes, written, busy_ms] = told;
        // Kernels of old have eleven numbers, newer ones fifteen or seventeen.
        let more = ["", " 12 13 14 15", " 12 13 14 15 16 17"][expected.len() % 3];
        writeln!(lines, "{:4} {:7} {name} {reads} 2 {read} 4 {writes} 6 {written} 8 9 {busy_ms} 11{more}", 8, 16)
            .unwrap();
        let (read_bytes, written_bytes) = (read.saturating_mul(512), written.saturating_mul(512));
        expected.push(Disk { name, reads, read_bytes, writes, written_bytes, busy_ms });
    }
    assert_eq!(disks(lines.as_bytes()), expected);
}

fn all_nics(text: &[u8]) {
    let found = nics(text);
    assert!(found.len() <= text.split(|byte| *byte == b'\n').count());
    for nic in &found {
        let told = [
            nic.received_bytes,
            nic.received_packets,
            nic.receive_errors,
            nic.receive_dropped,
            nic.sent_bytes,
            nic.sent_packets,
            nic.send_errors,
            nic.send_dropped,
        ];
        assert!(has(text, nic.name.as_bytes()) && told.into_iter().all(|told| stands(text, told)));
    }
    assert_eq!(nics(&followed(text, FOREIGN)), found);
    assert_eq!(nics(&followed(text, text)), [found.clone(), found].concat());
    let mut given = Given::new(text);
    let made = given.several(9, |given| Nic {
        name: given.word(15),
        received_bytes: given.number(),
        received_packets: given.number(),
        receive_errors: given.number(),
        receive_dropped: given.number(),
        sent_bytes: given.number(),
        sent_packets: given.number(),
        send_errors: given.number(),
        send_dropped: given.number(),
    });
    let mut text = "Inter-|   Receive    |  Transmit\n face |bytes    packets errs drop|bytes\n".to_owned();
    for nic in &made {
        let Nic { name, received_bytes, received_packets, receive_errors, receive_dropped, .. } = nic;
        let Nic { sent_bytes, sent_packets, send_errors, send_dropped, .. } = nic;
        writeln!(
            text,
            "{name:>6}:{received_bytes:8} {received_packets:7} {receive_errors:4} {receive_dropped:4}    1     2          3         4 \
            {sent_bytes:8} {sent_packets:7} {send_errors:4} {send_dropped:4}    5     6       7          8"
        )
        .unwrap();
    }
    assert_eq!(nics(text.as_bytes()), made);
}
