//! What the machine is.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt;

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{has, stands};
use crate::host::cgroup::Mounts;
use crate::host::facts::{by_maker, container, cpus, hexadecimal, mount, os_release};
use crate::host::files::mounts::{Mounted, mounts};
use crate::host::machine::celsius;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "cpuinfo",
        reads: "`/proc/cpuinfo`",
        parsers: &["host/facts::cpus"],
        seeds: &[
            b"processor\t: 1\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: Xeon: fast\ncpu MHz\t\t: 2100.5\ncache size\t: 2048 KB\ncpu cores\t: 2\nflags\t\t: fpu hypervisor\n\nprocessor\t: 2\n\n",
            b"processor\t: 0\nBogoMIPS\t: 50\nFeatures\t: fp\nCPU implementer\t: 0x41\n\nHardware\t: x\n",
        ],
        here: &["/proc/cpuinfo"],
        oracle: processors,
    },
    Target {
        name: "os_release",
        reads: "`/etc/os-release`",
        parsers: &["host/facts::os_release"],
        seeds: &[b"# a\nPRETTY_NAME=\"Debian \\\"12\\\"\"\nID=debian\nVERSION_ID='12'\nbroken\n"],
        here: &["/etc/os-release"],
        oracle: system,
    },
    Target {
        name: "sys_values",
        reads: "one value: `/sys/class/hwmon/*/temp*`, `/sys/class/net/*/flags`, `/sys/class/dmi/id/*`, `/proc/1/environ`",
        parsers: &["host/facts::container", "host/facts::hexadecimal", "host/machine::celsius"],
        seeds: &[b"41500", b"-5000", b"0x1003", b"qemu standard pc", b"A=b\0container=lxc\0PATH=/bin\0"],
        here: &["/sys/class/net/*/flags", "/sys/class/dmi/id/sys_vendor", "/sys/class/hwmon/*/temp1_input"],
        oracle: values,
    },
    Target {
        name: "mountinfo",
        reads: "`/proc/PID/mountinfo`, and where the control groups of both versions are by it",
        parsers: &["host/files/mounts::mounts", "host/facts::mount", "host/cgroup::Mounts::of"],
        seeds: &[
            b"36 35 98:0 /a\\040b /mnt/x\\040\\134y\\012 rw,noatime master:1 - ext3 /dev/sda\\0401 rw,errors=continue\nbroken line\n38 35 0:10 / /e rw shared:1 unbindable - tmpfs  rw\n",
            b"30 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n31 24 0:31 /docker/x /sys/fs/cgroup/systemd ro shared:9 - cgroup cgroup rw,xattr,name=systemd\n60 24 0:60 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
            b"29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        ],
        here: &["/proc/self/mountinfo"],
        oracle: places,
    },
];

fn processors(text: &[u8]) {
    let told = String::from_utf8_lossy(text);
    let found = cpus(&told);
    for cpu in &found {
        assert!(stands(text, cpu.core.into()) && cpu.mhz.is_finite() && cpu.mhz.is_sign_positive());
        assert!(cpu.cache_bytes == 0 || cpu.cache_bytes == u64::MAX || stands(text, cpu.cache_bytes / 1024));
        assert!(cpu.cores == 0 || stands(text, cpu.cores.into()));
        let words = [&cpu.vendor, &cpu.model, &cpu.family];
        assert!(words.into_iter().chain(&cpu.flags).all(|word| told.contains(word.as_str())));
    }
    assert_eq!(cpus(&format!("{told}\n\nHardware\t: x\n")), found);
    let mut given = Given::new(text);
    let (mut text, mut expected) = (String::new(), Vec::new());
    let made = given.several(5, |given| {
        let (core, cores, cache) = (given.small(), given.small(), given.number());
        let mhz = format!("{}.{:03}", given.small(), given.byte());
        (core, cores, cache, mhz, given.word(20), given.several(6, |given| given.word(9)))
    });
    for (core, cores, cache, mhz, model, flags) in made {
        writeln!(
            text,
            "processor\t: {core}\nvendor_id\t: {model}\ncpu family\t: 6\nmodel\t\t: 7\nmodel name\t: {model} @ 2: 3\nstepping\t: 1\n\
            cpu MHz\t\t: {mhz}\ncache size\t: {cache} KB\nphysical id\t: 0\ncpu cores\t: {cores}\napicid\t\t: 9\nflags\t\t: {}\n\
            bugs\t\t:\nclflush size\t: 64\npower management:\n",
            flags.join(" ")
        )
        .unwrap();
        expected.push((
            core,
            cores,
            cache.saturating_mul(1024),
            mhz.parse().unwrap(),
            format!("{model} @ 2: 3"),
            flags,
        ));
    }
    let found =
        cpus(&text).into_iter().map(|cpu| (cpu.core, cpu.cores, cpu.cache_bytes, cpu.mhz, cpu.model, cpu.flags));
    assert!(found.eq(expected), "{text}");
}

fn system(text: &[u8]) {
    let told = String::from_utf8_lossy(text);
    for (name, value) in os_release(&told) {
        assert!(has(told.as_bytes(), format!("{name}=").as_bytes()) && !name.starts_with('#'));
        assert!(told.len() > name.len() + value.len());
    }
    let mut given = Given::new(text);
    // Without signs that a shell would take for its own, a value may stand by itself or in single quotes.
    let (plain, single) = (given.word(12), given.word(12).replace('\'', "_"));
    let plain = plain.replace('\'', "_");
    let double = String::from_utf8_lossy(&given.bytes(20, |byte| matches!(byte, b' '..=b'~'))).into_owned();
    let escaped: String =
        double.chars().flat_map(|sign| "\"$\\`".contains(sign).then_some('\\').into_iter().chain([sign])).collect();
    let text = format!("# NAME=x\nID={plain}\n\nVERSION_ID='{single}'\nPRETTY_NAME=\"{escaped}\"\n");
    let found: Vec<_> = os_release(&text).into_iter().collect();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    assert_eq!(found, [pair("ID", plain), pair("PRETTY_NAME", double), pair("VERSION_ID", single)]);
}

fn values(text: &[u8]) {
    if let Some(told) = container(text) {
        assert!(!told.is_empty() && has(text, format!("container={told}").as_bytes()));
    }
    let told = String::from_utf8_lossy(text);
    if celsius(&told).is_some() {
        assert!(stands(text, told.trim_start_matches(['-', '+']).parse().unwrap()));
    }
    if let Some(flags) = hexadecimal(&told) {
        assert_eq!(hexadecimal(&format!("{flags:#x}")), Some(flags));
    }
    if let Some(name) = by_maker(&told) {
        assert!(!name.is_empty());
    }
    let mut given = Given::new(text);
    let (flags, thousandths, word) = (given.number(), i64::from(given.small()) - (1 << 31), given.word(9));
    assert_eq!(hexadecimal(&format!("{flags:#x}")), Some(flags));
    assert_eq!(celsius(&thousandths.to_string()), Some(thousandths as f64 / 1000.0));
    let before = given.several(5, |given| format!("{}=x\0", given.word(9))).concat();
    let after = if given.flag() { "\0PATH=/bin\0" } else { "\0" };
    let told = given.flag().then_some(word.as_str());
    let variable = told.map(|word| format!("container={word}")).unwrap_or_default();
    assert_eq!(container(format!("{before}{variable}{after}").as_bytes()), told);
}

fn places(text: &[u8]) {
    let found: Vec<_> = mounts(text).collect();
    assert!(found.len() <= text.split(|byte| *byte == b'\n').count());
    for info in &found {
        assert!(info.source.as_ref().is_none_or(|source| source != "none" && !source.is_empty()));
        // What is found is found again when the kernel writes it.
        assert!(mounts(&written(info)).eq([info.clone()]), "{info:?}");
        let told = mount(info.clone());
        assert_eq!((told.kind, told.device), (info.kind.clone(), info.source.clone().unwrap_or_default()));
        assert_eq!(told.mountpoint, info.point.to_string_lossy());
    }
    let all = Mounts::of(text);
    let first = found.iter().find(|info| info.kind == "cgroup2");
    assert_eq!(all.unified.as_ref().map(|mount| &mount.point), first.map(|info| &info.point));
    for (name, mount) in &all.controllers {
        let theirs = |info: &&Mounted| info.kind == "cgroup" && info.super_options.contains(name);
        let first = found.iter().find(theirs).unwrap();
        assert_eq!((&first.point, &first.root), (&mount.point, &mount.root));
        assert!(!matches!(name.as_str(), "rw" | "ro"));
    }
    let mut given = Given::new(text);
    let path = |given: &mut Given<'_>| [b"/".as_slice(), &given.bytes(12, |byte| byte != 0)].concat();
    let made = given.several(8, |given| {
        let option = |given: &mut Given<'_>| {
            given.one_of(&["rw", "ro", "nosuid", "cpu", "memory", "name=systemd", "a=b c"]).to_owned()
        };
        let mut options = given.several(4, option);
        options.push("relatime".to_owned());
        Mounted {
            device: format!("{}:{}", given.byte(), given.byte()),
            root: String::from_utf8_lossy(&path(given)).into_owned(),
            point: OsString::from_vec(path(given)).into(),
            super_options: options.clone(),
            options,
            kind: given.one_of(&["cgroup", "cgroup2", "ext4", "fuse.x"]).to_owned(),
            source: given.maybe(|given| given.word(9)),
        }
    });
    let text: Vec<u8> = made.iter().flat_map(written).collect();
    assert!(mounts(&text).eq(made), "{}", String::from_utf8_lossy(&text));
}

fn written(info: &Mounted) -> Vec<u8> {
    let point = info.point.as_os_str().as_encoded_bytes();
    let list = |options: &[String]| {
        options.iter().map(|option| escaped(option.as_bytes(), b" \t\n\\,")).collect::<Vec<_>>().join(&b","[..])
    };
    let source = info.source.as_deref().unwrap_or("none");
    let fields = [
        b"36 35".to_vec(),
        escaped(info.device.as_bytes(), MANGLED),
        escaped(info.root.as_bytes(), MANGLED),
        escaped(point, MANGLED),
        list(&info.options),
        b"shared:1 master:2 -".to_vec(),
        escaped(info.kind.as_bytes(), MANGLED),
        escaped(source.as_bytes(), MANGLED),
        list(&info.super_options),
    ];
    [fields.join(&b" "[..]), b"\n".to_vec()].concat()
}

const MANGLED: &[u8] = b" \t\n\\";

/// As the kernel writes signs that part fields.
fn escaped(field: &[u8], signs: &[u8]) -> Vec<u8> {
    let one = |byte: &u8| if signs.contains(byte) { format!("\\{byte:03o}").into_bytes() } else { vec![*byte] };
    field.iter().flat_map(one).collect()
}
