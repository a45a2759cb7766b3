//! What nodes give of the kernel's files, byte for byte.

use std::time::Duration;

use roadstead_core::ProcessState;

use super::processes::{Status, split};
use super::stats::running;
use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{plain, stands};

pub(crate) const TARGETS: &[Target] = &[Target {
    name: "core0_processes",
    reads: "`/proc/PID/status`, `cmdline` and `schedstat` of a core0 node",
    parsers: &[
        "engines/core0/processes::Status::parse",
        "engines/core0/processes::split",
        "engines/core0/stats::running",
    ],
    seeds: &[
        b"Name:\tsh\nState:\tS (sleeping)\nPid:\t7\nUid:\t1000\t1001\t1002\t1003\nThreads:\t3\nNSpid:\t7\t1\n",
        b"sh\0-c\0sleep 1\0",
        b"1500000 20 3\n",
    ],
    here: &["/proc/*/status", "/proc/*/cmdline", "/proc/*/schedstat"],
    oracle: processes,
}];

fn processes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let status = Status::parse(&text);
    assert!(text.contains(&status.user));
    assert!([status.threads, status.inner_pid].into_iter().flatten().all(|number| stands(bytes, number.into())));
    assert_eq!(Status::parse(&format!("{text}\nforeign line\n")), status);
    let words = split(bytes);
    let trimmed = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    assert_eq!((words.join("\0"), words.is_empty()), (String::from_utf8_lossy(trimmed).into_owned(), bytes.is_empty()));
    let nanos = text.split_whitespace().next().and_then(|word| plain(word.as_bytes()));
    assert!(nanos.is_none_or(|nanos| running(&text) == Duration::from_nanos(nanos)));
    let mut given = Given::new(bytes);
    let expected = Status {
        state: ProcessState::Zombie,
        user: given.small().to_string(),
        threads: Some(given.small()),
        inner_pid: given.maybe(Given::small),
    };
    let name = given.word(15);
    let inner = expected.inner_pid.map(|pid| format!("NSpid:\t12\t{pid}\n")).unwrap_or_default();
    let (user, threads) = (&expected.user, expected.threads.unwrap());
    let text = format!(
        "Name:\t{name}\nState:\tZ (zombie)\nUid:\t{user}\t1\t2\t3\nGid:\t4\t5\t6\t7\n{inner}Threads:\t{threads}\n"
    );
    assert_eq!(Status::parse(&text), expected);
    let words = given.several(9, |given| given.bytes(20, |byte| byte != 0));
    let text: Vec<u8> = words.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
    let told: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    assert_eq!(split(&text), told);
    let nanos = given.number();
    assert_eq!(running(&format!("{nanos} 20 3\n")), Duration::from_nanos(nanos));
}
