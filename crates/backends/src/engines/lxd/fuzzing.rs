//! Files of containers, and what a command inside prints of the kernel's: whoever made the image writes them.

use std::fmt::Write as _;

use roadstead_core::{Process, ProcessState, Result};

use super::exec::user::find;
use super::inside::find_user as by_number_first;
use super::processes::{parse, seconds};
use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{parts, stands};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "lxd_processes",
        reads: "`/proc/PID/stat`, `status` and `cmdline`, as a shell in a container prints them",
        parsers: &["engines/lxd/processes::parse", "engines/lxd/processes::stat"],
        seeds: &[
            b"btime 1700000000\nstat 5 (a) b) S 1 5 5 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 100 4096 2 0\nuid 7\t8\t7\t7\ncmd a b\x01\x01\nstat x\nuid\ncmd z\x01\n",
        ],
        here: &[],
        oracle: processes,
    },
    Target {
        name: "lxd_users",
        reads: "`/etc/passwd` and `/etc/group` of a container",
        parsers: &["engines/lxd/exec/user::find", "engines/lxd/inside::find_user"],
        seeds: &[
            b"web:staff\0root:x:0:0:root:/root:/bin/sh\n# odd line\nweb:x:33:34::/srv/web:/bin/false\n7:x:70:71::/seven:\n\0root:x:0:\nstaff:x:50:web\n",
            b"33\0web:x:33:34::/srv/web:/bin/false\n",
            b"nobody:5\0nobody:x:65534:65534::/:\n\0",
        ],
        here: &["/etc/passwd", "/etc/group"],
        oracle: users,
    },
];

/// As numbers and a home.
fn by_name_first(wanted: &str, users: &str, groups: &str) -> Result<(u32, u32, Option<String>)> {
    find(wanted, users, groups).map(|user| (user.uid, user.gid, user.home))
}

fn processes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = parse(&text);
    assert!(found.len() <= text.split('\n').count());
    for process in &found {
        let numbers = [Some(process.pid.into()), process.threads.map(u64::from), process.vms_bytes];
        assert!(numbers.into_iter().flatten().all(|number| stands(bytes, number)));
        assert!(process.ppid == 0 || stands(bytes, process.ppid.into()));
        assert!(text.contains(process.name.as_str()) && text.contains(process.user.as_str()));
        assert!(process.cmdline.iter().all(|word| text.contains(word.as_str())) && process.cpu_seconds >= 0.0);
    }
    assert_eq!(parse(&format!("{text}\nforeign line\n")), found);
    let mut given = Given::new(bytes);
    let boot = given.small();
    let made = given.several(5, |given| {
        let mut process = Process::default();
        (process.pid, process.ppid) = (given.small(), given.small());
        process.name = String::from_utf8_lossy(&given.bytes(15, |byte| matches!(byte, b' '..=b'~'))).into_owned();
        process.state = ProcessState::from_letter('S');
        process.user = given.small().to_string();
        process.threads = Some(given.small());
        process.vms_bytes = Some(given.number());
        process.cmdline = given.several(5, |given| {
            String::from_utf8_lossy(&given.bytes(20, |byte| matches!(byte, b' '..=b'~'))).into_owned()
        });
        (process, u64::from(given.small()), u64::from(given.small()), given.small(), given.small())
    });
    let (mut text, mut expected) = (format!("btime {boot}\n"), Vec::new());
    for (mut process, user, system, start, rss) in made {
        let (pid, name, ppid, threads) = (process.pid, &process.name, process.ppid, process.threads.unwrap());
        let vms = process.vms_bytes.unwrap();
        writeln!(text, "stat {pid} ({name}) S {ppid} 5 5 0 -1 0 0 0 0 0 {user} {system} -1 0 20 -19 {threads} 0 {start} {vms} {rss} 0 1 2").unwrap();
        writeln!(
            text,
            "uid 1\t{}\t2\t3\ncmd {}",
            process.user,
            process.cmdline.iter().map(|word| format!("{word}\u{1}")).collect::<String>()
        )
        .unwrap();
        process.cpu_seconds = seconds(user + system);
        process.cpu_user_seconds = Some(seconds(user));
        process.cpu_system_seconds = Some(seconds(system));
        process.rss_bytes = Some(u64::from(rss) * 4096);
        let nanos = i128::from(boot) * 1_000_000_000 + i128::from(start) * 10_000_000;
        process.started_at = roadstead_core::Timestamp::from_unix_nanos(nanos);
        expected.push(process);
    }
    assert_eq!(parse(&text), expected);
}

fn users(bytes: &[u8]) {
    let [wanted, users, groups] = parts(bytes).map(|part| String::from_utf8_lossy(part.unwrap_or_default()));
    if let Ok((uid, gid, home)) = by_name_first(&wanted, &users, &groups) {
        assert!(stands(bytes, uid.into()) && (gid == 0 || stands(bytes, gid.into())));
        assert!(home.is_none_or(|home| home.starts_with('/') && users.contains(&home)));
    }
    if let Ok((uid, gid)) = by_number_first(&wanted, &users, &groups) {
        assert!(stands(bytes, uid.into()) && (gid == 0 || stands(bytes, gid.into())));
    }
    let mut given = Given::new(bytes);
    let word = |given: &mut Given<'_>| given.word(9).replace(':', "_");
    let made = given.several(9, |given| (word(given), given.small(), given.small(), word(given)));
    let groups = given.several(5, |given| (word(given), given.small()));
    let users: String =
        made.iter().map(|(name, uid, gid, home)| format!("{name}:x:{uid}:{gid}:{name}:/{home}:/bin/sh\n")).collect();
    let listed: String = groups.iter().map(|(name, gid)| format!("{name}:x:{gid}:a,b\n")).collect();
    for (name, ..) in &made {
        // Of two of the same name the first counts.
        let (_, uid, gid, home) = made.iter().find(|(other, ..)| other == name).unwrap();
        let home = Some(format!("/{home}"));
        assert_eq!(by_name_first(name, &users, &listed).unwrap(), (*uid, *gid, home.clone()));
        assert_eq!(by_number_first(name, &users, &listed).unwrap(), (*uid, *gid));
        for (group, _) in &groups {
            let gid = groups.iter().find(|(other, _)| other == group).unwrap().1;
            let wanted = format!("{name}:{group}");
            assert_eq!(by_name_first(&wanted, &users, &listed).unwrap(), (*uid, gid, home.clone()));
            assert_eq!(by_number_first(&wanted, &users, &listed).unwrap(), (*uid, gid));
        }
    }
    // Numbers that nobody has are as good as any, and names have to be there.
    for number in made.iter().map(|(_, uid, ..)| *uid).chain([given.small()]) {
        let gid = made.iter().find(|(_, uid, ..)| *uid == number).map_or(0, |(_, _, gid, _)| *gid);
        let wanted = number.to_string();
        assert_eq!(by_name_first(&wanted, &users, &listed).map(|found| (found.0, found.1)).unwrap(), (number, gid));
        assert_eq!(by_number_first(&wanted, &users, &listed).unwrap(), (number, gid));
    }
    for wanted in ["nobody here", "root of all:7"] {
        assert!(by_name_first(wanted, &users, &listed).is_err() && by_number_first(wanted, &users, &listed).is_err());
    }
}
