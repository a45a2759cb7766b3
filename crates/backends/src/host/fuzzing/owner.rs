//! Whose a process is: its control group, the containers that this names, and its user.

use std::path::Path;

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{has, stands};
use crate::host::cgroup::{up_to, up_to_name};
use crate::host::files::pid::memberships;
use crate::host::named::{GroupName, containers, is_of_container, is_within};
use crate::host::process::{Users, inside, map};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "pid_cgroup",
        reads: "`/proc/PID/cgroup`, and which containers the paths in it name",
        parsers: &["host/files/pid::memberships"],
        seeds: &[
            b"0::/system.slice/docker-497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc.scope/init.scope\n",
            b"12:cpu,cpuacct:/docker/497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc\n1:name=systemd:/docker/a:b\n0::/system.slice/containerd.service\n",
            b"0::/machine.slice/libpod-497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc.scope/container\n",
            b"0::/machine.slice/libpod-conmon-497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc.scope\n",
            b"3:memory:/lxc.payload.web-1/docker/497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc\n0::/../x//y\n",
        ],
        here: &["/proc/*/cgroup"],
        oracle: groups,
    },
    Target {
        name: "users",
        reads: "`/etc/passwd`, `/proc/PID/uid_map`",
        parsers: &["host/process::Users::parse", "host/process::map"],
        seeds: &[
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nbroken\nnobody:x:x:1::/:\n",
            b"         0     100000   65536\n     70000          5       1\n",
            b"         0          0 4294967295\n",
        ],
        here: &["/etc/passwd", "/proc/self/uid_map"],
        oracle: users,
    },
];

fn groups(text: &[u8]) {
    let mut count = 0;
    for (controllers, path) in memberships(text) {
        count += 1;
        let line = [b":", controllers, b":", path].concat();
        assert!(has(text, &line) && !controllers.contains(&b':') && !path.contains(&b'\n'));
        match std::str::from_utf8(path) {
            Ok(told) => assert_eq!(is_of_container(path), named(told) > 0),
            Err(_) => assert!(!is_of_container(path)),
        }
    }
    assert!(count <= text.split(|byte| *byte == b'\n').count());
    if let Ok(path) = std::str::from_utf8(text) {
        named(path);
    }
    let mut given = Given::new(text);
    let made = given.several(13, |given| {
        let controllers =
            given.several(3, |given| given.one_of(&["cpu", "cpuacct", "memory", "name=systemd"])).join(",");
        (controllers, any_path(given))
    });
    let lines = made.iter().enumerate().map(|(number, (controllers, path))| format!("{number}:{controllers}:{path}\n"));
    let text: String = lines.collect();
    let expected = made.iter().map(|(controllers, path)| (controllers.as_bytes(), path.as_bytes()));
    assert!(memberships(text.as_bytes()).eq(expected));
    for (_, path) in &made {
        named(path);
    }
    known(&mut given);
}

/// A path of words that are like those of engines.
fn any_path(given: &mut Given<'_>) -> String {
    let parts = given.several(6, |given| {
        let id = format!("{:064x}", given.number());
        let word = given.word(6).replace('/', "_");
        match given.byte() % 8 {
            0 => id,
            1 => format!("docker-{id}.scope"),
            2 => format!("libpod-{id}"),
            3 => format!("libpod-conmon-{id}.scope"),
            4 => format!("lxc.payload.{word}"),
            5 => format!("lxc.monitor.{word}"),
            6 => format!("lxc.payload.{word}-{}", given.byte()),
            _ => word,
        }
    });
    format!("/{}", parts.join("/"))
}

/// How many containers a path names, each with a part of the path that is its own.
fn named(path: &str) -> usize {
    let mut before = 0;
    let mut count = 0;
    for (own, name) in containers(path) {
        assert!(own.len() > before && is_within(path, own), "from the outermost on: {path} {own}");
        (before, count) = (own.len(), count + 1);
        let last = own.rsplit('/').next().unwrap();
        let plain = |path: &str| path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        // The part that names it comes first here, and may be one above.
        let first = match &name {
            GroupName::Id(id) => {
                assert!(
                    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && last.contains(id.as_str())
                );
                assert!(!last.contains("conmon") && !name.may_be(id));
                up_to(path, id)
            }
            GroupName::Name(name_of) => {
                assert!(last == name_of && last.starts_with("lxc.payload.") && name.may_be(name_of));
                up_to_name(path, name_of)
            }
        };
        assert!(first.is_some_and(|first| is_within(&plain(own), &plain(&first))), "{path} {own}");
    }
    count
}

/// Containers of every engine, which have to be found whatever is around them.
fn known(given: &mut Given<'_>) {
    let id = format!("{:064x}", given.number());
    let name = format!("lxc.payload.{}", given.word(12).replace('/', "_"));
    let number = given.byte();
    let around = |given: &mut Given<'_>| {
        given.maybe(|given| format!("/{}", given.word(9).replace('/', "_"))).unwrap_or_default()
    };
    let (above, below) = (around(given), around(given));
    let of_id = [id.clone(), format!("docker-{id}.scope"), format!("libpod-{id}"), format!("libpod-{id}.scope")];
    let group = given.one_of(&of_id);
    let path = format!("{above}/{group}{below}");
    let own = format!("{above}/{group}");
    assert_eq!(containers(&path).collect::<Vec<_>>(), [(own.as_str(), GroupName::Id(id.clone()))]);
    assert_eq!(up_to(&path, &id), Some(own));
    let path = format!("{above}/{name}-{number}{below}");
    let own = format!("{above}/{name}-{number}");
    let [(found, group)] = containers(&path).collect::<Vec<_>>().try_into().unwrap();
    assert!(found == own && group.may_be(&name) && group.may_be(&format!("{name}-{number}")));
    assert!(!group.may_be(&format!("{name}-")) && !group.may_be(&name[..name.len() - 1]));
    assert_eq!(up_to_name(&path, &name), Some(own));
}

fn users(text: &[u8]) {
    let told = String::from_utf8_lossy(text);
    let found = Users::parse(&told);
    for (uid, name) in &found.names {
        let is_theirs = |line: &str| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'));
        assert!(told.lines().any(is_theirs) && stands(text, (*uid).into()));
    }
    for (first, here, count) in map(&told) {
        assert!(first != here && [first, here, count].into_iter().all(|number| stands(text, number.into())));
    }
    let mut given = Given::new(text);
    let made = given.several(20, |given| (given.small() % 50, given.word(9).replace(':', "_")));
    let lines = made.iter().map(|(uid, name)| format!("{name}:x:{uid}:{uid}:{name} of here:/home/{name}:/bin/sh\n"));
    let mut found = Users::parse(&lines.collect::<String>());
    for uid in 0..50 {
        let first = made.iter().find(|(number, _)| *number == uid).map_or(uid.to_string(), |(_, name)| name.clone());
        assert_eq!(found.name(Path::new("/nowhere"), uid), first);
    }
    // Ranges that do not overlap on this side.
    let mut next = 0_u32;
    let ranges = given.several(5, |given| {
        let (first, here) = (given.small(), next + u32::from(given.byte()));
        let count = u32::from(given.byte()) + 1;
        next = here + count;
        (first, here, count)
    });
    let text: String = ranges.iter().map(|(first, here, count)| format!("{first:10} {here:10} {count:10}\n")).collect();
    let found = map(&text);
    for (first, here, count) in ranges.into_iter().filter(|(first, here, _)| first != here) {
        for step in [0, count / 2, count - 1] {
            assert_eq!(inside(&found, here + step), first.checked_add(step));
        }
    }
    assert_eq!(inside(&found, next), None);
}
