//! What this machine is: from `/proc`, `/sys` and the system's own description.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use roadstead_core::usage::{CpuFacts, DiskFacts, HostFacts, MountFacts, NicFacts, PartitionFacts};
use roadstead_core::{Error, ErrorKind, Result, Timestamp};

use super::files::scan::{fraction, whole};
use super::files::{self, machine::Memory};

/// `/sys/block` counts in these.
const SECTOR_BYTES: u64 = 512;

/// What this machine is.
///
/// # Errors
/// `Unexpected` when it does not even tell its processors and its memory.
pub async fn facts() -> Result<HostFacts> {
    let read = tokio::task::spawn_blocking(read).await;
    let facts =
        read.map_err(|cause| Error::new(ErrorKind::Unexpected, "the machine was not read").with_source(cause))?;
    if facts.cpus.is_empty() || facts.memory_bytes == 0 {
        return Err(Error::new(ErrorKind::Unexpected, "this machine does not tell its processors and its memory"));
    }
    Ok(facts)
}

fn read() -> HostFacts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut facts = HostFacts::default();
    facts.hostname = super::hostname().unwrap_or_default();
    let os = [text("/etc/os-release"), text("/usr/lib/os-release")].into_iter().find(|text| !text.is_empty());
    let os = os_release(&os.unwrap_or_default());
    facts.os = os.get("PRETTY_NAME").or_else(|| os.get("NAME")).cloned();
    facts.os_id = os.get("ID").cloned();
    facts.os_version = os.get("VERSION_ID").cloned();
    facts.kernel = super::kernel_version();
    std::env::consts::ARCH.clone_into(&mut facts.architecture);
    let boot = procfs::boot_time_secs().ok().and_then(|seconds| i64::try_from(seconds).ok());
    facts.booted_at = boot.and_then(Timestamp::from_unix_seconds);
    facts.cpus = cpus(&text("/proc/cpuinfo"));
    facts.virtualization = virtualization(&facts.cpus);
    facts.memory_bytes = Memory::parse(text("/proc/meminfo").as_bytes()).map_or(0, |memory| memory.total);
    facts.disks = disks(Path::new("/sys/block"));
    facts.mounts = mounts();
    facts.nics = nics(Path::new("/sys/class/net"));
    facts
}

/// `NAME="value"` lines.
pub(super) fn os_release(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        let quoted = |mark: char| value.strip_prefix(mark).and_then(|value| value.strip_suffix(mark));
        let value = match quoted('"') {
            Some(value) => unescaped(value),
            None => quoted('\'').unwrap_or(value).to_owned(),
        };
        (!name.starts_with('#')).then(|| (name.to_owned(), value))
    };
    text.lines().filter_map(pair).collect()
}

/// Within double quotes a shell takes a backslash for itself before some signs.
fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut signs = value.chars().peekable();
    while let Some(sign) = signs.next() {
        let next = if sign == '\\' { signs.next_if(|next| matches!(next, '"' | '$' | '\\' | '`')) } else { None };
        text.push(next.unwrap_or(sign));
    }
    text
}

/// The blocks of `/proc/cpuinfo`. Processors other than those of PCs tell other things, and at least their numbers.
pub(super) fn cpus(text: &str) -> Vec<CpuFacts> {
    let block = |block: &str| {
        let members: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let told = |names: &[&str]| {
            let value = names.iter().find_map(|name| members.get(name)).copied();
            value.unwrap_or_default().to_owned()
        };
        let mut cpu = CpuFacts::default();
        cpu.core = members.get("processor")?.parse().ok()?;
        cpu.vendor = told(&["vendor_id", "CPU implementer"]);
        cpu.model = told(&["model name", "CPU part", "cpu model"]);
        cpu.family = told(&["cpu family", "CPU architecture"]);
        cpu.cores = told(&["cpu cores"]).parse().unwrap_or(0);
        cpu.mhz = fraction(told(&["cpu MHz"]).as_bytes()).unwrap_or(0.0);
        let kibibytes = told(&["cache size"]).split(' ').next().and_then(|number| number.parse::<u64>().ok());
        cpu.cache_bytes = kibibytes.unwrap_or(0).saturating_mul(1024);
        cpu.flags = told(&["flags", "Features"]).split_whitespace().map(str::to_owned).collect();
        Some(cpu)
    };
    text.split("\n\n").filter_map(block).collect()
}

/// What the machine runs in, as far as anything tells.
fn virtualization(cpus: &[CpuFacts]) -> Option<String> {
    // Who started process 1 in a container says so to it, and some leave a file.
    let environment = fs::read("/proc/1/environ").unwrap_or_default();
    if let Some(told) = container(&environment) {
        return Some(told.to_owned());
    }
    for (path, name) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if Path::new(path).exists() {
            return Some(name.to_owned());
        }
    }
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_lowercase();
    let kind = line("/sys/hypervisor/type");
    if !kind.is_empty() {
        return Some(kind);
    }
    let maker =
        ["sys_vendor", "product_name", "bios_vendor"].map(|name| line(&format!("/sys/class/dmi/id/{name}"))).join(" ");
    let known = by_maker(&maker).map(str::to_owned);
    let is_virtual = cpus.iter().any(|cpu| cpu.flags.iter().any(|flag| flag == "hypervisor"));
    known.or_else(|| is_virtual.then(|| "vm".to_owned()))
}

/// What an environment, `environ`, says of the container that it is in.
pub(super) fn container(text: &[u8]) -> Option<&str> {
    let told = text.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"container="))?;
    std::str::from_utf8(told).ok().filter(|told| !told.is_empty())
}

/// The names that virtual hardware goes by.
pub(super) fn by_maker(maker: &str) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        ("kvm", "kvm"),
        ("openstack", "kvm"),
        ("google compute", "kvm"),
        ("amazon ec2", "amazon"),
        ("qemu", "qemu"),
        ("vmware", "vmware"),
        ("virtualbox", "oracle"),
        ("innotek", "oracle"),
        ("xen", "xen"),
        ("bochs", "bochs"),
        ("parallels", "parallels"),
        ("bhyve", "bhyve"),
        ("microsoft corporation virtual", "microsoft"),
    ];
    KNOWN.iter().find(|(word, _)| maker.contains(word)).map(|(_, name)| *name)
}

fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn count(path: &Path) -> Option<u64> {
    whole(&fs::read(path).ok()?)
}

/// Directories below, by name.
fn below(root: &Path) -> BTreeMap<String, std::path::PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

/// What has a size.
fn disks(root: &Path) -> Vec<DiskFacts> {
    let size = |directory: &Path| count(&directory.join("size")).unwrap_or(0).saturating_mul(SECTOR_BYTES);
    let mut all = Vec::new();
    for (name, directory) in below(root) {
        let is = |file: &str| count(&directory.join(file)).is_some_and(|value| value != 0);
        let mut disk = DiskFacts::default();
        disk.size_bytes = size(&directory);
        if disk.size_bytes == 0 {
            continue;
        }
        disk.rotational = is("queue/rotational");
        disk.removable = is("removable");
        disk.read_only = is("ro");
        disk.model = line(&directory.join("device/model"));
        for (part, directory) in
            below(&directory).into_iter().filter(|(_, directory)| directory.join("partition").exists())
        {
            let mut partition = PartitionFacts::default();
            (partition.name, partition.size_bytes) = (part, size(&directory));
            disk.partitions.push(partition);
        }
        disk.name = name;
        all.push(disk);
    }
    all
}

fn mounts() -> Vec<MountFacts> {
    files::mounts::mounts(&fs::read("/proc/self/mountinfo").unwrap_or_default()).map(mount).collect()
}

pub(super) fn mount(mut info: files::mounts::Mounted) -> MountFacts {
    let mut mount = MountFacts::default();
    mount.mountpoint = info.point.to_string_lossy().into_owned();
    mount.device = info.source.unwrap_or_default();
    mount.kind = info.kind;
    info.options.sort_unstable();
    mount.options = info.options.join(",");
    mount
}

fn nics(root: &Path) -> Vec<NicFacts> {
    const FLAGS: &[(u64, &str)] =
        &[(0x1, "up"), (0x2, "broadcast"), (0x8, "loopback"), (0x10, "pointtopoint"), (0x1000, "multicast")];
    let addresses = addresses();
    let mut all = Vec::new();
    for (name, directory) in below(root) {
        let Some(mtu) = count(&directory.join("mtu")) else { continue };
        let mut nic = NicFacts::default();
        nic.mac = line(&directory.join("address")).filter(|mac| mac != "00:00:00:00:00:00").unwrap_or_default();
        nic.mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
        let flags = line(&directory.join("flags")).and_then(|text| hexadecimal(&text)).unwrap_or(0);
        nic.up = flags & 1 != 0;
        nic.flags = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
        // Megabits; virtual ones say less than nothing.
        nic.speed_bits_per_second = count(&directory.join("speed")).map(|megabits| megabits.saturating_mul(1_000_000));
        nic.addresses = addresses.get(&name).cloned().unwrap_or_default();
        nic.name = name;
        all.push(nic);
    }
    all
}

/// `0x1003`.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// The addresses of each interface, with the lengths of their prefixes.
fn addresses() -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let (Some(address), mask) = (one.address, one.netmask) else { continue };
        let told = if let Some(four) = address.as_sockaddr_in() {
            let bits = mask.and_then(|mask| mask.as_sockaddr_in().map(|mask| u32::from(mask.ip()).count_ones()));
            format!("{}/{}", four.ip(), bits.unwrap_or(32))
        } else if let Some(six) = address.as_sockaddr_in6() {
            let bits = mask.and_then(|mask| mask.as_sockaddr_in6().map(|mask| u128::from(mask.ip()).count_ones()));
            format!("{}/{}", six.ip(), bits.unwrap_or(128))
        } else {
            continue;
        };
        all.entry(one.interface_name).or_default().push(told);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_told() {
        let facts = facts().await.unwrap();
        assert!(!facts.hostname.is_empty() && facts.memory_bytes > 0 && facts.booted_at < Some(Timestamp::now()));
        let cores: Vec<_> = facts.cpus.iter().map(|cpu| cpu.core).collect();
        assert!(cores.contains(&0) && cores.is_sorted());
        assert!(facts.mounts.iter().any(|mount| mount.mountpoint == "/"));
        let loopback = facts.nics.iter().find(|nic| nic.name == "lo").unwrap();
        assert!(loopback.flags.contains(&"loopback".to_owned()) && loopback.mac.is_empty());
        assert!(!loopback.up || loopback.addresses.contains(&"127.0.0.1/8".to_owned()));
    }

    #[test]
    fn processors_of_many_kinds() {
        let pc = "processor\t: 1\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: Xeon: fast\ncpu MHz\t\t: 2100.5\n\
            cache size\t: 2048 KB\ncpu cores\t: 2\nflags\t\t: fpu hypervisor\n\n";
        let found = cpus(pc);
        assert_eq!((found[0].core, found[0].cache_bytes, found[0].model.as_str()), (1, 2 << 20, "Xeon: fast"));
        assert!((found[0].mhz - 2100.5).abs() < 1e-9 && found[0].flags == ["fpu", "hypervisor"]);
        let arm = cpus("processor\t: 0\nBogoMIPS\t: 50\nFeatures\t: fp\nCPU implementer\t: 0x41\n\nHardware\t: x\n");
        assert_eq!((arm.len(), arm[0].vendor.as_str(), arm[0].cores), (1, "0x41", 0));
    }

    #[test]
    fn systems_describe_themselves() {
        let os = os_release("# a\nPRETTY_NAME=\"Debian \\\"12\\\"\"\nID=debian\nVERSION_ID='12'\nbroken\n");
        let told = ["PRETTY_NAME", "ID", "VERSION_ID"].map(|name| os.get(name).map(String::as_str));
        assert_eq!(told, [Some("Debian \"12\""), Some("debian"), Some("12")]);
        let os = os_release("NAME=\"\\$a \\\\ \\`b \\c\"\nID='\\\"'\n");
        assert_eq!(["NAME", "ID"].map(|name| os[name].as_str()), ["$a \\ `b \\c", "\\\""]);
        assert_eq!((by_maker("qemu standard pc"), by_maker("dell inc.")), (Some("qemu"), None));
    }

    #[test]
    fn disks_and_their_parts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in [
            ("sda/size", "2048\n"),
            ("sda/queue/rotational", "1\n"),
            ("sda/removable", "0\n"),
            ("sda/device/model", "QEMU DISK  \n"),
            ("sda/sda1/size", "1024\n"),
            ("sda/sda1/partition", "1\n"),
            ("loop0/size", "0\n"),
        ] {
            write(path, text);
        }
        let found = disks(root.path());
        let [disk] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((disk.size_bytes, disk.rotational, disk.removable), (1 << 20, true, false));
        assert_eq!(disk.model.as_deref(), Some("QEMU DISK"));
        assert_eq!((disk.partitions[0].name.as_str(), disk.partitions[0].size_bytes), ("sda1", 512 << 10));
    }
}
