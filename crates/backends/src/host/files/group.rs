//! The files of one control group, of both versions. Source: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel.

use super::scan::{fields, fraction, lines, number, pairs, whole};

/// What a group has used of the processors since it was made, in nanoseconds; absent what its version does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Cpu {
    pub(in crate::host) total_ns: u64,
    pub(in crate::host) user_ns: Option<u64>,
    pub(in crate::host) system_ns: Option<u64>,
    /// For how long its limit held it back.
    pub(in crate::host) throttled_ns: Option<u64>,
    /// In how many periods that was.
    pub(in crate::host) throttled_periods: Option<u64>,
}

impl Cpu {
    /// `cpu.stat` of version 2, in microseconds.
    pub(in crate::host) fn of_two(text: &[u8]) -> Option<Self> {
        let mut total = None;
        let mut cpu = Cpu::default();
        pairs(text, |name, value| {
            let ns = value.checked_mul(1000);
            match name {
                b"usage_usec" => total = ns,
                b"user_usec" => cpu.user_ns = ns,
                b"system_usec" => cpu.system_ns = ns,
                b"throttled_usec" => cpu.throttled_ns = ns,
                b"nr_throttled" => cpu.throttled_periods = Some(value),
                _ => {}
            }
        });
        Some(Cpu { total_ns: total?, ..cpu })
    }

    /// `cpuacct.usage` in nanoseconds, `cpuacct.stat` in ticks of so many nanoseconds, and `cpu.stat` of version 1: all time; that
    /// of users and of the kernel, of which the kernel has made the sum all; and what was held back. The last is absent where the
    /// controllers are mounted apart and the group is in one of them only.
    ///
    /// `cpuacct.usage_all` is in nanoseconds, but only of what the clock's ticks met: of a group that its limit lets run for less
    /// than a tick at a time it tells a part.
    pub(in crate::host) fn of_one(
        usage: &[u8],
        modes: Option<&[u8]>,
        stat: Option<&[u8]>,
        tick_ns: u64,
    ) -> Option<Self> {
        let mut cpu = Cpu { total_ns: whole(usage)?, ..Cpu::default() };
        pairs(modes.unwrap_or_default(), |name, ticks| match name {
            b"user" => cpu.user_ns = ticks.checked_mul(tick_ns),
            b"system" => cpu.system_ns = ticks.checked_mul(tick_ns),
            _ => {}
        });
        pairs(stat.unwrap_or_default(), |name, value| match name {
            b"throttled_time" => cpu.throttled_ns = Some(value),
            b"nr_throttled" => cpu.throttled_periods = Some(value),
            _ => {}
        });
        Some(cpu)
    }
}

/// What `memory.stat` tells, in bytes, of the group and all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Memory {
    /// Memory of processes that is backed by no file.
    pub(in crate::host) anonymous: Option<u64>,
    /// The page cache.
    pub(in crate::host) cache: Option<u64>,
    /// The part of it that can be dropped at once.
    pub(in crate::host) inactive_file: Option<u64>,
    pub(in crate::host) swap: Option<u64>,
    /// Of nested groups of version 1 the tightest limit.
    pub(in crate::host) limit: Option<u64>,
    /// Of the page cache, what is to be written to a disk.
    pub(in crate::host) dirty: Option<u64>,
    /// Of the page cache, what is being written.
    pub(in crate::host) writeback: Option<u64>,
}

impl Memory {
    pub(in crate::host) fn of_two(text: &[u8]) -> Self {
        let mut memory = Memory::default();
        pairs(text, |name, value| match name {
            b"anon" => memory.anonymous = Some(value),
            b"file" => memory.cache = Some(value),
            b"inactive_file" => memory.inactive_file = Some(value),
            b"file_dirty" => memory.dirty = Some(value),
            b"file_writeback" => memory.writeback = Some(value),
            _ => {}
        });
        memory
    }

    /// The sums over all below, which begin with `total_`.
    pub(in crate::host) fn of_one(text: &[u8]) -> Self {
        let mut memory = Memory::default();
        pairs(text, |name, value| match name {
            b"total_rss" => memory.anonymous = Some(value),
            b"total_cache" => memory.cache = Some(value),
            b"total_inactive_file" => memory.inactive_file = Some(value),
            b"total_swap" => memory.swap = Some(value),
            b"total_dirty" => memory.dirty = Some(value),
            b"total_writeback" => memory.writeback = Some(value),
            b"hierarchical_memory_limit" => memory.limit = Some(value).filter(|bytes| *bytes < NO_LIMIT),
            _ => {}
        });
        memory
    }
}

/// How often the kernel ended a process of the group for want of memory: `memory.events` (`oom_kill`) of version 2 and
/// `memory.oom_control` of version 1.
pub(in crate::host) fn oom_kills(text: &[u8]) -> Option<u64> {
    let mut kills = None;
    pairs(text, |name, value| {
        if name == b"oom_kill" {
            kills = Some(value);
        }
    });
    kills
}

/// A limit. Absent where there is none: `max`, or in version 1 a number that is all of the address space.
pub(in crate::host) fn limit(text: &[u8]) -> Option<u64> {
    whole(text).filter(|bytes| *bytes < NO_LIMIT)
}

/// The largest multiple of any page size that the kernel counts with.
const NO_LIMIT: u64 = (i64::MAX as u64) >> 16 << 16;

/// How many processors a list such as `0-2,4` has, as `cpuset.cpus.effective` tells.
pub(in crate::host) fn processors(set: &[u8]) -> Option<u32> {
    let mut count: u32 = 0;
    for range in set.trim_ascii().split(|byte| *byte == b',') {
        let mut ends = range.splitn(2, |byte| *byte == b'-').map(|end| u32::try_from(number(end)?).ok());
        let first = ends.next()??;
        let last = ends.next().unwrap_or(Some(first))?;
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Bytes that were read and written of all block devices together: `io.stat` of version 2. Nothing where no device is named yet.
pub(in crate::host) fn io_of_two(text: &[u8]) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for field in lines(text).flat_map(fields) {
        if let Some(bytes) = field.strip_prefix(b"rbytes=").and_then(number) {
            read = read.saturating_add(bytes);
        } else if let Some(bytes) = field.strip_prefix(b"wbytes=").and_then(number) {
            written = written.saturating_add(bytes);
        }
    }
    (read, written)
}

/// The same from `blkio.throttle.io_service_bytes_recursive` of version 1: a line for each device and kind. Nothing where no device
/// is named, since newer kernels count none before some group has a limit on the device.
pub(in crate::host) fn io_of_one(text: &[u8]) -> Option<(u64, u64)> {
    let (mut read, mut written, mut any) = (0_u64, 0_u64, false);
    for line in lines(text) {
        let mut fields = fields(line).skip(1);
        match (fields.next(), fields.next().and_then(number)) {
            (Some(b"Read"), Some(bytes)) => (read, any) = (read.saturating_add(bytes), true),
            (Some(b"Write"), Some(bytes)) => (written, any) = (written.saturating_add(bytes), true),
            _ => {}
        }
    }
    any.then_some((read, written))
}

/// How long somebody waited for something, by `*.pressure` of a group or `/proc/pressure`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::host) struct Pressure {
    /// Of some tasks: percent of the last ten seconds, and microseconds in all.
    pub(in crate::host) some: Option<(f64, u64)>,
    /// Of all tasks at once.
    pub(in crate::host) full: Option<(f64, u64)>,
}

impl Pressure {
    pub(in crate::host) fn parse(text: &[u8]) -> Self {
        let mut pressure = Pressure::default();
        for line in lines(text) {
            let mut fields = fields(line);
            let kind = fields.next();
            let (mut percent, mut total) = (None, None);
            for field in fields {
                if let Some(value) = field.strip_prefix(b"avg10=") {
                    percent = fraction(value);
                } else if let Some(value) = field.strip_prefix(b"total=") {
                    total = number(value);
                }
            }
            let both = percent.zip(total);
            match kind {
                Some(b"some") => pressure.some = both,
                Some(b"full") => pressure.full = both,
                _ => {}
            }
        }
        pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_both_versions() {
        let two =
            Cpu::of_two(b"usage_usec 12\nuser_usec 8\nsystem_usec 4\nnr_periods 3\nnr_throttled 2\nthrottled_usec 7\n");
        let expected = Cpu {
            total_ns: 12_000,
            user_ns: Some(8000),
            system_ns: Some(4000),
            throttled_ns: Some(7000),
            throttled_periods: Some(2),
        };
        assert_eq!(two, Some(expected));
        assert_eq!(Cpu::of_two(b"user_usec 8\n"), None);
        assert_eq!(Cpu::of_two(b"usage_usec 18446744073709551615\n"), None);
        let modes = b"user 4\nsystem 2\n";
        let held = b"nr_periods 3\nnr_throttled 2\nthrottled_time 7000\n";
        let one = Cpu::of_one(b"12000\n", Some(modes), Some(held), 2000);
        assert_eq!(one, Some(expected));
        assert_eq!(Cpu::of_one(b"1\n", Some(modes), None, 2000).unwrap().throttled_ns, None);
        assert_eq!(Cpu::of_one(b"x\n", Some(modes), None, 2000), None);
        for nonsense in [&b""[..], b"user\n", b"user x\n", b"user 18446744073709551615\n", b"usage 1\n"] {
            assert_eq!(Cpu::of_one(b"1\n", Some(nonsense), None, 2000).unwrap().user_ns, None);
        }
    }

    #[test]
    fn sets_of_processors_are_counted() {
        assert_eq!((processors(b"0-2,4\n"), processors(b"0\n")), (Some(4), Some(1)));
        for set in ["", "a", "3-1", "0-4294967295", "1-2-3"] {
            assert_eq!(processors(set.as_bytes()), None, "{set}");
        }
    }

    #[test]
    fn memory_of_both_versions() {
        let one = Memory::of_one(b"cache 1\nrss 2\ntotal_cache 30\ntotal_rss 20\ntotal_inactive_file 10\ntotal_swap 5\ndirty 1\ntotal_dirty 4096\ntotal_writeback 0\nhierarchical_memory_limit 9223372036854771712\n");
        let expected = Memory {
            anonymous: Some(20),
            cache: Some(30),
            inactive_file: Some(10),
            swap: Some(5),
            dirty: Some(4096),
            writeback: Some(0),
            limit: None,
        };
        assert_eq!(one, expected);
        assert_eq!(
            Memory::of_two(b"anon 20\nfile 30\nfile_dirty 4096\nfile_writeback 0\ninactive_file 10\n"),
            Memory { swap: None, ..expected }
        );
        assert_eq!((oom_kills(b"low 0\noom 2\noom_kill 1\n"), oom_kills(b"under_oom 0\n")), (Some(1), None));
        let limits =
            [limit(b"max\n"), limit(b"9223372036854771712\n"), limit(b"9223372036854710272\n"), limit(b"67108864\n")];
        assert_eq!(limits, [None, None, None, Some(64 << 20)]);
    }

    #[test]
    fn devices_of_both_versions() {
        assert_eq!(
            io_of_two(b"8:0 rbytes=10 wbytes=4 rios=1 wios=1 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=2\n"),
            (11, 6)
        );
        assert_eq!(io_of_two(b"8:0 \n"), (0, 0));
        let one = b"8:0 Read 10\n8:0 Write 4\n8:0 Sync 9\n7:1 Read 1\n7:1 Write 2\nTotal 17\n";
        assert_eq!((io_of_one(one), io_of_one(b"Total 0\n")), (Some((11, 6)), None));
    }

    #[test]
    fn pressure_is_as_it_is_told() {
        let told = b"some avg10=0.19 avg60=2.90 avg300=9.65 total=26856815639\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let both = Pressure { some: Some((0.19, 26_856_815_639)), full: Some((0.0, 0)) };
        assert_eq!(Pressure::parse(told), both);
        assert_eq!(Pressure::parse(b"some avg10=x total=1\nother\n"), Pressure::default());
    }
}
