//! The files of control groups of both versions.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{FOREIGN, followed, has, numbers, parts, plain, stands, stands_as_fraction};
use crate::host::cgroup::members;
use crate::host::files::group::{Cpu, Memory, Pressure, io_of_one, io_of_two, limit, oom_kills, processors};
use crate::host::files::scan::whole;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "group_cpu",
        reads: "`cpu.stat` of both versions, `cpuacct.usage`, `cpuacct.stat`",
        parsers: &["host/files/group::Cpu::of_two", "host/files/group::Cpu::of_one"],
        seeds: &[
            b"usage_usec 1269354\nuser_usec 855823\nsystem_usec 413530\nnr_periods 3\nnr_throttled 2\nthrottled_usec 7\nnr_bursts 0\nburst_usec 0\n",
            b"12000\n\0user 8\nsystem 4\n\0nr_periods 3\nnr_throttled 2\nthrottled_time 7000\n",
            b"12000\n\0user 5\n",
        ],
        here: &["/sys/fs/cgroup/*/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/cpu.stat", "/sys/fs/cgroup/cpuacct/cpuacct.stat"],
        oracle: cpu,
    },
    Target {
        name: "group_memory",
        reads: "`memory.stat` of both versions, `memory.events`, `memory.oom_control`",
        parsers: &["host/files/group::Memory::of_two", "host/files/group::Memory::of_one", "host/files/group::oom_kills"],
        seeds: &[
            b"anon 1056768\nfile 30\nkernel 401408\nslab_reclaimable 1\nshmem 0\ninactive_anon 1052672\nactive_anon 4096\ninactive_file 10\nactive_file 20\nworkingset_refault_anon 0\n",
            b"cache 1\nrss 2\nswap 0\nhierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 9223372036854771712\ntotal_cache 30\ntotal_rss 20\ntotal_swap 5\ntotal_inactive_file 10\n",
            b"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n",
            b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        ],
        here: &["/sys/fs/cgroup/*/memory.stat", "/sys/fs/cgroup/*/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory/*/memory.stat"],
        oracle: memory,
    },
    Target {
        name: "group_limits",
        reads: "files of one number or `max`, `cpuset.cpus.effective`, `cgroup.procs`",
        parsers: &["host/files/group::limit", "host/files/group::processors", "host/cgroup::members"],
        seeds: &[b"max\n", b"67108864\n", b"9223372036854771712\n", b"0-2,4\n", b"0\n", b"\n", b"12\n0\n1234\n"],
        here: &["/sys/fs/cgroup/*/memory.max", "/sys/fs/cgroup/*/cgroup.procs", "/sys/fs/cgroup/cpuset.cpus.effective", "/sys/fs/cgroup/cpuset/cpuset.effective_cpus", "/sys/devices/system/cpu/online"],
        oracle: limits,
    },
    Target {
        name: "group_io",
        reads: "`io.stat`, `blkio.throttle.io_service_bytes_recursive`",
        parsers: &["host/files/group::io_of_two", "host/files/group::io_of_one"],
        seeds: &[
            b"8:0 rbytes=10 wbytes=4 rios=1 wios=1 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=2 rios=0 wios=0 dbytes=0 dios=0\n",
            b"8:0 \n",
            b"8:0 Read 10\n8:0 Write 4\n8:0 Sync 9\n8:0 Async 5\n8:0 Discard 0\n8:0 Total 14\n7:1 Read 1\n7:1 Write 2\nTotal 17\n",
        ],
        here: &["/sys/fs/cgroup/io.stat", "/sys/fs/cgroup/*/io.stat", "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive"],
        oracle: io,
    },
    Target {
        name: "pressure",
        reads: "`*.pressure` of groups, `/proc/pressure/*`",
        parsers: &["host/files/group::Pressure::parse"],
        seeds: &[
            b"some avg10=0.19 avg60=2.90 avg300=9.65 total=26856815639\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            b"some avg10=100.00 avg60=99.99 avg300=9.65 total=1\n",
        ],
        here: &["/proc/pressure/*", "/sys/fs/cgroup/*/cpu.pressure"],
        oracle: pressure,
    },
];

/// A hundred ticks in a second.
const TICK_NS: u64 = 10_000_000;

fn cpu(text: &[u8]) {
    let [usage, modes, stat] = parts(text);
    let usage = usage.unwrap_or_default();
    if let Some(two) = Cpu::of_two(usage) {
        assert_eq!(Cpu::of_two(usage), Some(two));
        assert_eq!(Cpu::of_two(&followed(usage, FOREIGN)), Some(two));
        let later = Cpu::of_two(&followed(usage, b"usage_usec 7"));
        assert_eq!(later, Some(Cpu { total_ns: 7000, ..two }));
        for ns in [Some(two.total_ns), two.user_ns, two.system_ns, two.throttled_ns].into_iter().flatten() {
            assert!(ns.is_multiple_of(1000) && stands(usage, ns / 1000));
        }
        assert!(two.throttled_periods.is_none_or(|periods| stands(usage, periods)));
    }
    if let Some(one) = Cpu::of_one(usage, modes, stat, TICK_NS) {
        assert!(stands(usage, one.total_ns));
        for ns in [one.user_ns, one.system_ns].into_iter().flatten() {
            assert!(ns.is_multiple_of(TICK_NS) && stands(modes.unwrap_or_default(), ns / TICK_NS));
        }
        for told in [one.throttled_ns, one.throttled_periods].into_iter().flatten() {
            assert!(stands(stat.unwrap_or_default(), told));
        }
        let more = modes.map(|modes| followed(modes, b"user 7"));
        let more = more.and_then(|modes| Cpu::of_one(usage, Some(&modes), stat, TICK_NS));
        assert_eq!(more, modes.map(|_| Cpu { user_ns: Some(7 * TICK_NS), ..one }));
    }
    let mut given = Given::new(text);
    let (total, user, system) = (given.number(), given.number(), given.number());
    let held = given.maybe(|given| (given.number(), given.number()));
    let mut two = format!("usage_usec {total}\nuser_usec {user}\nsystem_usec {system}\n");
    if let Some((periods, time)) = held {
        write!(two, "nr_periods {total}\nnr_throttled {periods}\nthrottled_usec {time}\nnr_bursts 0\nburst_usec 0\n")
            .unwrap();
    }
    let ns = |us: u64| us.checked_mul(1000);
    let expected = ns(total).map(|total_ns| Cpu {
        total_ns,
        user_ns: ns(user),
        system_ns: ns(system),
        throttled_ns: held.and_then(|held| ns(held.1)),
        throttled_periods: held.map(|held| held.0),
    });
    assert_eq!(Cpu::of_two(two.as_bytes()), expected);
    let modes = format!("user {user}\nsystem {system}\n");
    let stat = held.map(|(periods, time)| format!("nr_periods 9\nnr_throttled {periods}\nthrottled_time {time}\n"));
    let expected = Cpu {
        total_ns: total,
        user_ns: user.checked_mul(TICK_NS),
        system_ns: system.checked_mul(TICK_NS),
        throttled_ns: held.map(|held| held.1),
        throttled_periods: held.map(|held| held.0),
    };
    let usage = format!("{total}\n");
    let stat = stat.as_deref().map(str::as_bytes);
    assert_eq!(Cpu::of_one(usage.as_bytes(), Some(modes.as_bytes()), stat, TICK_NS), Some(expected));
}

fn memory(text: &[u8]) {
    for (read, word) in [(Memory::of_two as fn(&[u8]) -> Memory, "anon"), (Memory::of_one, "total_rss")] {
        let found = read(text);
        let told =
            [found.anonymous, found.cache, found.inactive_file, found.swap, found.limit, found.dirty, found.writeback];
        assert!(told.into_iter().flatten().all(|bytes| stands(text, bytes)));
        assert_eq!(read(&followed(text, FOREIGN)), found);
        assert_eq!(read(&followed(text, format!("{word} 7").as_bytes())), Memory { anonymous: Some(7), ..found });
    }
    if let Some(kills) = oom_kills(text) {
        assert!(stands(text, kills) && has(text, b"oom_kill"));
    }
    assert_eq!(oom_kills(&followed(text, FOREIGN)), oom_kills(text));
    let mut given = Given::new(text);
    let made = Memory {
        anonymous: Some(given.number()),
        cache: Some(given.number()),
        inactive_file: Some(given.number()),
        swap: Some(given.number()),
        limit: Some(given.number()),
        dirty: Some(given.number()),
        writeback: Some(given.number()),
    };
    let [anonymous, cache, inactive, swap, limit] =
        [made.anonymous, made.cache, made.inactive_file, made.swap, made.limit].map(Option::unwrap_or_default);
    let [dirty, writeback] = [made.dirty, made.writeback].map(Option::unwrap_or_default);
    let two = format!(
        "anon {anonymous}\nfile {cache}\nkernel 9\nfile_dirty {dirty}\nfile_writeback {writeback}\ninactive_anon 8\n\
        active_anon 7\ninactive_file {inactive}\n"
    );
    assert_eq!(Memory::of_two(two.as_bytes()), Memory { swap: None, limit: None, ..made });
    let one = format!(
        "cache 1\nrss 2\nswap 3\ninactive_file 4\nhierarchical_memory_limit {limit}\ntotal_cache {cache}\ntotal_rss {anonymous}\n\
        dirty 3\ntotal_rss_huge 5\ntotal_dirty {dirty}\ntotal_writeback {writeback}\ntotal_swap {swap}\ntotal_inactive_anon 6\ntotal_inactive_file {inactive}\n"
    );
    let limit = made.limit.filter(|limit| *limit < NO_LIMIT);
    assert_eq!(Memory::of_one(one.as_bytes()), Memory { limit, ..made });
    let events = format!("low 1\nhigh 2\nmax 3\noom 4\noom_kill {cache}\noom_group_kill 5\n");
    let control = format!("oom_kill_disable 0\nunder_oom 1\noom_kill {cache}\n");
    assert_eq!([events, control].map(|text| oom_kills(text.as_bytes())), [Some(cache); 2]);
}

/// The largest number of whole pages of 64 KiB: what the kernel writes for no limit is this or more, with pages of any size.
const NO_LIMIT: u64 = 9_223_372_036_854_710_272;

fn limits(text: &[u8]) {
    let trimmed = text.trim_ascii();
    assert_eq!(whole(text), plain(trimmed));
    assert_eq!(limit(text), plain(trimmed).filter(|limit| *limit < NO_LIMIT));
    if let Some(count) = processors(text) {
        let mut ends = trimmed.split(|byte| *byte == b',').map(|range| {
            let ends: Vec<_> = range.split(|byte| *byte == b'-').map(|end| plain(end).unwrap()).collect();
            ends[ends.len() - 1] + 1 - ends[0]
        });
        assert!(count > 0 && ends.try_fold(0_u64, u64::checked_add) == Some(count.into()));
    }
    let told: HashSet<_> = numbers(text).collect();
    assert!(members(text).all(|pid| pid > 0 && told.contains(&pid.into())));
    let mut given = Given::new(text);
    let number = given.number();
    assert_eq!(whole(format!("{number}\n").as_bytes()), Some(number));
    assert_eq!(limit(format!("{number}\n").as_bytes()), Some(number).filter(|number| *number < NO_LIMIT));
    let (mut ranges, mut next, mut count) = (Vec::new(), u32::from(given.byte()), 0);
    for (gap, more) in given.several(20, |given| (given.byte(), given.byte())) {
        let last = next + u32::from(more);
        ranges.push(if more == 0 { format!("{next}") } else { format!("{next}-{last}") });
        count += last - next + 1;
        next = last + 2 + u32::from(gap);
    }
    assert_eq!(processors(format!("{}\n", ranges.join(",")).as_bytes()), Some(count).filter(|count| *count > 0));
    let pids = given.several(20, Given::small);
    let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
    assert!(members(text.as_bytes()).eq(pids.into_iter().filter(|pid| *pid > 0)));
}

fn io(text: &[u8]) {
    let both = |read: fn(&[u8]) -> Option<(u64, u64)>| {
        let (once, more) = (read(text), read(&followed(text, text)));
        assert_eq!(more, once.map(|(read, written)| (read.saturating_mul(2), written.saturating_mul(2))));
        assert_eq!(read(&followed(text, FOREIGN)), once);
        // Each is a sum of numbers that stand there.
        let largest = numbers(text).fold(0_u64, u64::saturating_add);
        assert!(once.is_none_or(|once| once.0 <= largest && once.1 <= largest));
    };
    both(|text| Some(io_of_two(text)));
    both(io_of_one);
    let mut given = Given::new(text);
    let devices = given.several(6, |given| (given.byte(), given.byte(), given.number(), given.number()));
    let (mut two, mut one) = (String::new(), String::new());
    for (major, minor, read, written) in &devices {
        writeln!(two, "{major}:{minor} rbytes={read} wbytes={written} rios=3 wios=4 dbytes=5 dios=6").unwrap();
        for (kind, bytes) in
            [("Read", *read), ("Write", *written), ("Sync", 7), ("Async", 8), ("Discard", 9), ("Total", 10)]
        {
            writeln!(one, "{major}:{minor} {kind} {bytes}").unwrap();
        }
    }
    one += "Total 11\n";
    let sum = |of: fn(&(u8, u8, u64, u64)) -> u64| devices.iter().map(of).fold(0_u64, u64::saturating_add);
    let expected = (sum(|device| device.2), sum(|device| device.3));
    // Version 1 names no device that nobody counts.
    let told = Some(expected).filter(|_| !devices.is_empty());
    assert_eq!((io_of_two(two.as_bytes()), io_of_one(one.as_bytes())), (expected, told));
}

fn pressure(text: &[u8]) {
    let found = Pressure::parse(text);
    for (percent, total) in [found.some, found.full].into_iter().flatten() {
        assert!(
            has(text, b"avg10=") && has(text, b"total=") && stands(text, total) && stands_as_fraction(text, percent)
        );
    }
    assert_eq!(Pressure::parse(&followed(text, FOREIGN)), found);
    let later = Pressure::parse(&followed(text, b"some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n"));
    assert_eq!(later, Pressure { some: Some((1.5, 7)), ..found });
    let mut given = Given::new(text);
    let mut made = |word: &str| {
        let (whole, cents, total) = (given.byte(), given.byte() % 100, given.number());
        let percent = format!("{whole}.{cents:02}");
        (
            format!("{word} avg10={percent} avg60=1.00 avg300=2.00 total={total}\n"),
            Some((percent.parse().unwrap(), total)),
        )
    };
    let ((some, some_told), (full, full_told)) = (made("some"), made("full"));
    let read = Pressure::parse(format!("{some}{full}").as_bytes());
    assert_eq!(read, Pressure { some: some_told, full: full_told });
    assert_eq!(Pressure::parse(some.as_bytes()), Pressure { some: some_told, full: None });
}
