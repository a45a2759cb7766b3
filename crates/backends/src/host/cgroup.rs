//! The cgroup of a container: version 1, version 2, or both beside each other.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::files::mounts::mounts;
use super::files::pid::memberships;
use super::files::scan::{lines, whole};
use super::named::{GroupName, containers};

/// Ids shorter than this could be part of a path by chance.
const ID_MIN: usize = 12;

/// Where the kernel's files about one container are.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// The container's main process.
    pub(super) pid: u32,
    /// Directories of version 1, by controller.
    pub(super) controllers: BTreeMap<String, PathBuf>,
    /// The directory of version 2.
    pub(super) unified: Option<PathBuf>,
}

impl Cgroup {
    /// The cgroup of the container with this full id, whose main process an engine says is `pid`.
    ///
    /// `None` when that process is not here or is not in a cgroup of this container: the engine counts processes of
    /// another machine or of another namespace, or the container has just ended.
    #[must_use]
    pub fn of_container(pid: u32, id: &str) -> Option<Self> {
        if id.len() < ID_MIN {
            return None;
        }
        Cgroup::below(pid, |path| up_to(path, id))
    }

    /// The cgroup with this very name, or with this name and a number where the name was taken, of the container whose main
    /// process an engine says is `pid`. For engines that call cgroups after the containers' names.
    ///
    /// `None` as above.
    #[must_use]
    pub fn named(pid: u32, name: &str) -> Option<Self> {
        Cgroup::below(pid, |path| up_to_name(path, name))
    }

    /// The cgroup that has this name in the path of process `pid`'s; nothing when the process has ended. `proc` is where processes
    /// are.
    pub(super) fn of_group(proc: &Path, mounts: &Mounts, pid: u32, name: &GroupName) -> Option<Self> {
        Cgroup::among(proc, mounts, pid, |path| {
            containers(path).find(|(_, found)| found == name).map(|(own, _)| own.to_owned())
        })
    }

    /// The cgroup of process `pid`, of whose path `kept` says which part is the container's.
    fn below(pid: u32, kept: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Cgroup::among(Path::new("/proc"), &Mounts::here(), pid, kept)
    }

    fn among(proc: &Path, mounts: &Mounts, pid: u32, kept: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let text = std::fs::read(proc.join(format!("{pid}/cgroup"))).ok()?;
        let mut found = Cgroup { pid, controllers: BTreeMap::new(), unified: None };
        for (controllers, path) in memberships(&text) {
            // A process of the container may be in a cgroup below the container's own.
            let Some(path) = std::str::from_utf8(path).ok().and_then(&kept) else { continue };
            if controllers.is_empty() {
                found.unified = mounts.unified.as_ref().and_then(|mount| mount.directory(&path));
                continue;
            }
            for controller in String::from_utf8_lossy(controllers).split(',') {
                if let Some(directory) = mounts.controllers.get(controller).and_then(|mount| mount.directory(&path)) {
                    found.controllers.insert(controller.to_owned(), directory);
                }
            }
        }
        (found.unified.is_some() || !found.controllers.is_empty()).then_some(found)
    }

    /// The process ids of all processes in it, ascending.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let directory = self.listing().ok_or(io::ErrorKind::NotFound)?;
        let mut pids = Vec::new();
        collect_pids(directory, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The directory whose list of processes is read.
    fn listing(&self) -> Option<&PathBuf> {
        // Any hierarchy lists the same processes; the unified one may exist without being used.
        ["pids", "memory", "cpuacct", "freezer", "devices"]
            .iter()
            .find_map(|name| self.controllers.get(*name))
            .or(self.unified.as_ref())
            .or_else(|| self.controllers.values().next())
    }

    /// Which directory it is now, whatever its path; nothing when it is gone.
    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::of(self.listing()?)
    }

    /// Whether its directories are the same.
    pub(super) fn is_same(&self, other: &Cgroup) -> bool {
        self.controllers == other.controllers && self.unified == other.unified
    }

    /// Whether this process is in it now.
    #[must_use]
    pub fn contains(&self, pid: u32) -> bool {
        self.pids().is_ok_and(|pids| pids.binary_search(&pid).is_ok())
    }

    /// The directory of version 1 for this controller, or that of version 2.
    pub(super) fn directory(&self, controller: &str) -> Option<(Version, &Path)> {
        match self.controllers.get(controller) {
            Some(directory) => Some((Version::One, directory)),
            None => self.unified.as_deref().map(|directory| (Version::Two, directory)),
        }
    }
}

/// A directory of the kernel's, which one that is made anew under its path is not: engines remove that of a container at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    device: u64,
    inode: u64,
}

impl Origin {
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let found = std::fs::metadata(directory).ok()?;
        Some(Origin { device: found.dev(), inode: found.ino() })
    }

    /// Whether they are one; nothing is known of directories in different hierarchies.
    pub(super) fn is(self, other: Origin) -> Option<bool> {
        (self.device == other.device).then_some(self.inode == other.inode)
    }
}

/// Which of the kernel's two interfaces a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

fn collect_pids(directory: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    let text = std::fs::read(directory.join("cgroup.procs"));
    match text {
        Ok(text) => pids.extend(members(&text)),
        // A cgroup of threads has no list of processes; its processes are in the one above.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => {}
        Err(error) => return Err(gone(error)),
    }
    for entry in std::fs::read_dir(directory).map_err(gone)? {
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // One below that has just been removed has no processes.
            let _ = collect_pids(&entry.path(), pids);
        }
    }
    Ok(())
}

/// What `cgroup.procs` lists. A process of another namespace is a zero.
pub(super) fn members(text: &[u8]) -> impl Iterator<Item = u32> {
    lines(text).filter_map(|line| u32::try_from(whole(line)?).ok()).filter(|pid| *pid > 0)
}

/// The kernel says "no such device" when a cgroup vanishes under an open file.
fn gone(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) { io::ErrorKind::NotFound.into() } else { error }
}

/// `path` up to the part that names the container: `docker-ID.scope`, `libpod-ID`, `ID` …
pub(super) fn up_to(path: &str, id: &str) -> Option<String> {
    let mut kept = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        kept.push('/');
        kept.push_str(part);
        // Podman's monitor of the container has a cgroup of its own, with the id in its name, too.
        if part.contains(id) && !part.contains("conmon") {
            return Some(kept);
        }
    }
    None
}

/// `path` up to the part that is `name`, or `name-1` and so on.
pub(super) fn up_to_name(path: &str, name: &str) -> Option<String> {
    let mut kept = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        kept.push('/');
        kept.push_str(part);
        let number = part.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        if part == name || number.is_some_and(|number| number.parse::<u32>().is_ok()) {
            return Some(kept);
        }
    }
    None
}

/// Where the hierarchies are mounted. They do not move while the machine runs.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) controllers: BTreeMap<String, Mount>,
    pub(super) unified: Option<Mount>,
}

#[derive(Debug)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// Which part of the hierarchy is seen there; not all of it inside a container.
    pub(super) root: String,
}

impl Mount {
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        let directory = self.point.join(below.trim_start_matches('/'));
        directory.is_dir().then_some(directory)
    }
}

impl Mounts {
    pub(super) fn here() -> Arc<Mounts> {
        static HERE: OnceLock<Arc<Mounts>> = OnceLock::new();
        let read = || Arc::new(Mounts::of(&std::fs::read("/proc/self/mountinfo").unwrap_or_default()));
        Arc::clone(HERE.get_or_init(read))
    }

    /// By `mountinfo`.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut all = Mounts::default();
        for info in mounts(text) {
            let mount = || Mount { point: info.point.clone(), root: info.root.clone() };
            match info.kind.as_str() {
                "cgroup2" if all.unified.is_none() => all.unified = Some(mount()),
                "cgroup" => {
                    // A hierarchy without controllers is called `name=systemd` here and in `/proc/PID/cgroup`.
                    for name in info.super_options.iter().filter(|name| !matches!(name.as_str(), "rw" | "ro")) {
                        all.controllers.entry(name.clone()).or_insert_with(mount);
                    }
                }
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc";

    #[test]
    fn the_containers_part_of_a_path_is_found() {
        for (path, kept) in [
            (format!("/docker/{ID}"), Some(format!("/docker/{ID}"))),
            (format!("/system.slice/docker-{ID}.scope/init.scope"), Some(format!("/system.slice/docker-{ID}.scope"))),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some(format!("/machine.slice/libpod-{ID}.scope"))),
            (format!("/machine.slice/libpod-conmon-{ID}.scope"), None),
            ("/user.slice".to_owned(), None),
        ] {
            assert_eq!(up_to(&path, ID), kept, "{path}");
        }
    }

    #[test]
    fn a_name_is_not_taken_for_the_beginning_of_another() {
        for (path, kept) in [
            ("/lxc.payload.a", Some("/lxc.payload.a")),
            ("/lxc.payload.a-2/init.scope", Some("/lxc.payload.a-2")),
            ("/x/lxc.payload.a/y", Some("/x/lxc.payload.a")),
            ("/lxc.payload.ab", None),
            ("/lxc.payload.a1", None),
            ("/lxc.payload.a-b", None),
            ("/lxc.monitor.a", None),
        ] {
            assert_eq!(up_to_name(path, "lxc.payload.a").as_deref(), kept, "{path}");
        }
    }

    #[test]
    fn a_process_elsewhere_is_not_taken_for_the_containers() {
        assert!(Cgroup::of_container(std::process::id(), ID).is_none());
        assert!(Cgroup::of_container(u32::MAX, ID).is_none());
        assert!(Cgroup::of_container(1, "").is_none());
    }

    #[test]
    fn processes_below_the_containers_cgroup_count() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("init.scope");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(directory.path().join("cgroup.procs"), "12\n0\n").unwrap();
        std::fs::write(below.join("cgroup.procs"), "7\n12\n").unwrap();
        let cgroup = Cgroup { pid: 7, controllers: BTreeMap::new(), unified: Some(directory.path().to_owned()) };
        assert_eq!(cgroup.pids().unwrap(), [7, 12]);
        assert!(cgroup.contains(7) && !cgroup.contains(8));
        drop(directory);
        assert_eq!(cgroup.pids().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
