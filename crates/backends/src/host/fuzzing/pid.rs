//! The files of one process.

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{FOREIGN, followed, has, stands};
use crate::host::files::pid::{Io, Stat, Status};
use crate::host::numbers::Clock;
use crate::host::process::cmdline;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "pid_stat",
        reads: "`/proc/PID/stat`",
        parsers: &["host/files/pid::Stat::parse"],
        seeds: &[STAT, b"1 (x) S 1 1 1 0 -1 0 0 0 0 0 10 0 0 0 20 0 1 0 7 4096 1 0\n"],
        here: &["/proc/*/stat"],
        oracle: stat,
    },
    Target {
        name: "pid_status",
        reads: "`/proc/PID/status`, `/proc/PID/io`",
        parsers: &["host/files/pid::Status::parse", "host/files/pid::Io::parse"],
        seeds: &[
            b"Name:\tUid: 9 9\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t7\nUid:\t1000\t1001\t1002\t1003\nGid:\t0\t0\t0\t0\nVmRSS:\t    1024 kB\nVmSwap:\t      12 kB\nThreads:\t1\n",
            b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n",
        ],
        here: &["/proc/*/status", "/proc/*/io"],
        oracle: status,
    },
    Target {
        name: "pid_cmdline",
        reads: "`/proc/PID/cmdline`",
        parsers: &["host/process::cmdline"],
        seeds: &[b"a\0\0b c\0", b"nginx: worker\0\0\0", b""],
        here: &["/proc/*/cmdline"],
        oracle: words,
    },
];

const STAT: &[u8] = b"7269 (a) (b\n c)) R 7258 7258 20324 0 -1 4194304 121 0 0 0 31 12 0 0 20 0 3 0 6292392 3133440 414 \
    18446744073709551615 94113491099648 94113491119529 140722795735728 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

fn stat(text: &[u8]) {
    if let Some(stat) = Stat::parse(text) {
        let found = [
            stat.pid.into(),
            stat.ppid.into(),
            stat.user_ticks,
            stat.system_ticks,
            stat.threads,
            stat.start_ticks,
            stat.vms_bytes,
            stat.rss_pages,
        ];
        assert!(found.into_iter().all(|number| stands(text, number)));
        assert!(has(text, &stat.name) && has(text, &[stat.state]));
        assert_eq!(Stat::parse(&followed(text, b"")), Some(stat.clone()));
        for boot_seconds in [None, Some(1_700_000_000), Some(u64::MAX)] {
            let clock = Clock { ticks_per_second: 100, page_bytes: 4096, boot_seconds };
            let process = clock.process(&stat);
            assert!(process.cpu_seconds >= 0.0 && process.rss_bytes >= Some(stat.rss_pages));
            assert_eq!((process.pid, process.ppid), (stat.pid, stat.ppid));
        }
    }
    let made = any_stat(&mut Given::new(text));
    let text = written(&made);
    assert_eq!(Stat::parse(&text).as_ref(), Some(&made));
    for length in 0..text.len() {
        let cut = Stat::parse(&text[..length]);
        assert!(cut.is_none_or(|cut| cut == made), "cut at {length}");
    }
}

/// Any process; names have at most fifteen bytes of any kind but zero.
fn any_stat(given: &mut Given<'_>) -> Stat {
    Stat {
        pid: given.small(),
        name: given.bytes(15, |byte| byte != 0),
        state: given.one_of(b"RSDZTtXI"),
        ppid: given.small(),
        user_ticks: given.number(),
        system_ticks: given.number(),
        threads: given.small().into(),
        start_ticks: given.number(),
        vms_bytes: given.number(),
        rss_pages: given.number(),
    }
}

/// As the kernel writes it.
fn written(stat: &Stat) -> Vec<u8> {
    let Stat { pid, name, state, ppid, user_ticks, system_ticks, threads, start_ticks, vms_bytes, rss_pages } = stat;
    let state = char::from(*state);
    let after = format!(
        ") {state} {ppid} 5 6 0 -1 4194560 9 10 11 12 {user_ticks} {system_ticks} -15 16 20 -19 {threads} 0 {start_ticks} {vms_bytes} \
        {rss_pages} 18446744073709551615 1 1 0 0 0 0 671173123 4096 1260 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    );
    [format!("{pid} (").as_bytes(), name, after.as_bytes()].concat()
}

fn status(text: &[u8]) {
    let found = Status::parse(text);
    assert!(found.uid.is_none_or(|uid| has(text, b"Uid:") && stands(text, uid.into())));
    for bytes in [found.rss_bytes, found.swap_bytes].into_iter().flatten() {
        assert!(bytes.is_multiple_of(1024) && stands(text, bytes / 1024));
    }
    assert_eq!(Status::parse(&followed(text, FOREIGN)), found);
    let later = Status::parse(&followed(text, b"Uid:\t1\t2\t3\t4\n"));
    assert_eq!(later, Status { uid: Some(2), ..found });
    let io = Io::parse(text);
    if let Some(io) = io {
        assert!(stands(text, io.read_bytes) && stands(text, io.written_bytes));
        let later = Io::parse(&followed(text, b"read_bytes: 7\n"));
        assert_eq!(later, Some(Io { read_bytes: 7, ..io }));
    }
    assert_eq!(Io::parse(&followed(text, FOREIGN)), io);
    let mut given = Given::new(text);
    let (uid, swap, resident) = (given.small(), given.maybe(Given::number), given.number());
    // The kernel writes a line's end and a backslash in a name as `\n` and `\\`.
    let name = given.bytes(15, |byte| !matches!(byte, 0 | b'\n' | b'\\'));
    let swap_line = swap.map(|kibibytes| format!("VmSwap:\t{kibibytes:8} kB\n")).unwrap_or_default();
    let after = format!(
        "\nUmask:\t0022\nState:\tS (sleeping)\nUid:\t1\t{uid}\t3\t4\nGid:\t5\t6\t7\t8\nVmRSS:\t{resident:8} kB\n{swap_line}Threads:\t10\n"
    );
    let text = [b"Name:\t", name.as_slice(), after.as_bytes()].concat();
    let bytes = |kibibytes: u64| kibibytes.checked_mul(1024);
    let expected = Status { uid: Some(uid), rss_bytes: bytes(resident), swap_bytes: swap.and_then(bytes) };
    assert_eq!(Status::parse(&text), expected);
    let io = Io { read_bytes: given.number(), written_bytes: given.number() };
    let Io { read_bytes, written_bytes } = io;
    let text = format!(
        "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: {read_bytes}\nwrite_bytes: {written_bytes}\ncancelled_write_bytes: 5\n"
    );
    assert_eq!(Io::parse(text.as_bytes()), Some(io));
}

fn words(text: &[u8]) {
    let found = cmdline(text);
    let joined = found.join("\0");
    let trimmed = &text[..text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    assert_eq!(joined, String::from_utf8_lossy(trimmed));
    assert_eq!(found.is_empty(), trimmed.is_empty());
    let mut made = Given::new(text).several(20, |given| given.bytes(30, |byte| byte != 0));
    // Empty words at the end cannot be told from zeros that a program left there.
    while made.pop_if(|last| last.is_empty()).is_some() {}
    let text: Vec<u8> = made.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
    let told: Vec<_> = made.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    assert_eq!(cmdline(&text), told);
}
