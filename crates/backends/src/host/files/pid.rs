//! The files of one process: `stat`, `status`, `io`. Source: proc(5).

use super::scan::{fields, lines, number, pairs};

/// What `stat` tells. Times are in clock ticks, sizes in bytes or pages as said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Stat {
    pub(in crate::host) pid: u32,
    /// The name, at most fifteen bytes, of any kind: brackets and line ends, too.
    pub(in crate::host) name: Vec<u8>,
    /// A letter: `R`, `S`, `D`, `Z`, `T` …
    pub(in crate::host) state: u8,
    pub(in crate::host) ppid: u32,
    pub(in crate::host) user_ticks: u64,
    pub(in crate::host) system_ticks: u64,
    pub(in crate::host) threads: u64,
    /// Since boot.
    pub(in crate::host) start_ticks: u64,
    pub(in crate::host) vms_bytes: u64,
    pub(in crate::host) rss_pages: u64,
}

impl Stat {
    /// Nothing when it is no such file, or was cut off.
    pub(in crate::host) fn parse(text: &[u8]) -> Option<Self> {
        // The name may have brackets and blanks in it, but nothing after it has.
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = small(text.get(..open)?.trim_ascii())?;
        let name = text.get(open + 1..close)?.to_vec();
        let mut rest = fields(text.get(close + 1..)?);
        let state = *rest.next()?.first()?;
        let ppid = small(rest.next()?)?;
        // From here on by the numbers of proc(5), of which ppid is 4.
        let mut at = |skipped: usize| rest.nth(skipped).and_then(number);
        let user_ticks = at(9)?; // 14
        let system_ticks = at(0)?; // 15
        let threads = at(4)?; // 20
        let start_ticks = at(1)?; // 22
        let vms_bytes = at(0)?; // 23
        let rss_pages = at(0)?; // 24
        // Without another one after it, digits of it may be missing.
        rest.next()?;
        Some(Stat { pid, name, state, ppid, user_ticks, system_ticks, threads, start_ticks, vms_bytes, rss_pages })
    }
}

fn small(field: &[u8]) -> Option<u32> {
    u32::try_from(number(field)?).ok()
}

/// What `status` tells besides. Absent for kernel threads and in older kernels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Status {
    /// The effective user.
    pub(in crate::host) uid: Option<u32>,
    /// What is resident. Exact, while newer kernels tell it in `stat` as near as their counters of each processor are.
    pub(in crate::host) rss_bytes: Option<u64>,
    pub(in crate::host) swap_bytes: Option<u64>,
}

impl Status {
    pub(in crate::host) fn parse(text: &[u8]) -> Self {
        let mut status = Status::default();
        let bytes = |kibibytes| fields(kibibytes).next().and_then(number).and_then(|number| number.checked_mul(1024));
        for line in lines(text) {
            if let Some(ids) = line.strip_prefix(b"Uid:") {
                status.uid = fields(ids).nth(1).and_then(small);
            } else if let Some(resident) = line.strip_prefix(b"VmRSS:") {
                status.rss_bytes = bytes(resident);
            } else if let Some(swap) = line.strip_prefix(b"VmSwap:") {
                status.swap_bytes = bytes(swap);
            }
        }
        status
    }
}

/// Bytes that really went to and came from block devices, since the process began: `io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Io {
    pub(in crate::host) read_bytes: u64,
    pub(in crate::host) written_bytes: u64,
}

impl Io {
    /// Nothing when it does not say; another user's process does not.
    pub(in crate::host) fn parse(text: &[u8]) -> Option<Self> {
        let (mut read, mut written) = (None, None);
        pairs(text, |name, value| match name {
            b"read_bytes" => read = Some(value),
            b"write_bytes" => written = Some(value),
            _ => {}
        });
        Some(Io { read_bytes: read?, written_bytes: written? })
    }
}

/// The groups that a process is in, by `cgroup`: the controllers of each hierarchy, none for version 2, and the path in it.
pub(in crate::host) fn memberships(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(text).filter_map(|line| {
        // The hierarchy's number, its controllers, the path, which may have colons.
        let mut parts = line.splitn(3, |byte| *byte == b':');
        Some((parts.nth(1)?, parts.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"7269 (a) (b\n c)) R 7258 7258 20324 0 -1 4194304 121 0 0 0 31 12 0 0 20 0 3 0 6292392 3133440 414 \
        18446744073709551615 94113491099648 94113491119529 140722795735728 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn names_may_have_anything_in_them() {
        let stat = Stat::parse(STAT).unwrap();
        assert_eq!((stat.pid, stat.name.as_slice(), stat.state, stat.ppid), (7269, &b"a) (b\n c)"[..], b'R', 7258));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.threads), (31, 12, 3));
        assert_eq!((stat.start_ticks, stat.vms_bytes, stat.rss_pages), (6_292_392, 3_133_440, 414));
    }

    #[test]
    fn what_was_cut_off_is_nothing() {
        let last = STAT.windows(4).position(|window| window == b"414 ").unwrap();
        for length in 0..=last + 4 {
            assert_eq!(Stat::parse(&STAT[..length]), None, "{length}");
        }
        for nonsense in [&b")("[..], b"1 (x", b"x (y) R 1", b"1 (y) R x"] {
            assert_eq!(Stat::parse(nonsense), None);
        }
    }

    #[test]
    fn this_very_process() {
        let read = |name: &str| std::fs::read(format!("/proc/self/{name}")).unwrap();
        let stat = Stat::parse(&read("stat")).unwrap();
        assert_eq!(stat.pid, std::process::id());
        assert!(stat.threads > 0 && stat.rss_pages > 0 && stat.vms_bytes > 0 && stat.start_ticks > 0);
        assert!(Status::parse(&read("status")).uid.is_some());
        assert!(Io::parse(&read("io")).is_some());
    }

    #[test]
    fn users_and_swap() {
        let status =
            Status::parse(b"Name:\tUid: 9 9\nUid:\t1000\t1001\t1002\t1003\nVmRSS:\t 8 kB\nVmSwap:\t      12 kB\n");
        assert_eq!(status, Status { uid: Some(1001), rss_bytes: Some(8192), swap_bytes: Some(12288) });
        assert_eq!(Status::parse(b"VmSwap: 18446744073709551615 kB\nUid: 1\n"), Status::default());
        assert_eq!(
            Io::parse(b"rchar: 1\nread_bytes: 2\nwrite_bytes: 3\n"),
            Some(Io { read_bytes: 2, written_bytes: 3 })
        );
        assert_eq!(Io::parse(b"read_bytes: 2\n"), None);
    }
}
