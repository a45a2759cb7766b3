//! Makes control groups as an engine would name them, with a process in each, and takes them away again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The directory that all groups are below.
pub const PARENT: &str = "roadstead-bench";

/// The argument with which a program that calls [`wake_up`] is a process that wakes up now and then.
pub const ARGUMENT: &str = "--wake-up";
const AWAKE_EVERY: Duration = Duration::from_millis(300);

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Processes that sleep, in no group of their own.
    Processes,
    /// Containers with a process that sleeps all the time.
    Asleep,
    /// Containers with a process that runs for a moment several times a second. Takes a program that knows [`ARGUMENT`].
    Awake,
}

/// Wakes up until it is ended, or for an hour.
pub fn wake_up() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_hours(1) {
        std::thread::sleep(AWAKE_EVERY);
    }
}

/// A container that is nothing but a process, and its group in every hierarchy. It ends when it is dropped.
#[derive(Debug)]
pub struct Group {
    child: Child,
    /// Its directories.
    pub directories: Vec<PathBuf>,
}

impl Group {
    /// Begins a process in a group of this name in each of these hierarchies.
    ///
    /// # Errors
    /// When the groups cannot be made, which takes root.
    pub fn begin(hierarchies: &[PathBuf], id: &str, command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let pid = child.id();
        let mut group = Group { child, directories: Vec::new() };
        for hierarchy in hierarchies {
            let directory = hierarchy.join(PARENT).join(id);
            fs::create_dir_all(&directory)?;
            group.directories.push(directory.clone());
            match fs::write(directory.join("cgroup.procs"), pid.to_string()) {
                // It ended by itself already.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => {}
                written => written?,
            }
        }
        Ok(group)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What fails here leaves a process that ends within the hour.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for directory in &self.directories {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// So many of a kind.
#[derive(Debug)]
pub struct Groups {
    /// Each of them.
    pub all: Vec<Group>,
}

impl Groups {
    /// Makes them.
    ///
    /// # Errors
    /// When the groups cannot be made, which takes root.
    pub fn make(kind: Kind, count: usize) -> io::Result<Self> {
        let hierarchies = if kind == Kind::Processes { Vec::new() } else { hierarchies()? };
        let one = |number| {
            let mut command = if kind == Kind::Awake {
                let mut own = Command::new(std::env::current_exe()?);
                own.arg(ARGUMENT);
                own
            } else {
                sleep("3600")
            };
            Group::begin(&hierarchies, &id(number), &mut command)
        };
        Ok(Groups { all: (0..count).map(one).collect::<io::Result<_>>()? })
    }

    /// Their directories, over all hierarchies.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().flat_map(|group| &group.directories).map(PathBuf::as_path)
    }

    /// Their processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.all.iter().map(Group::pid)
    }
}

/// A name as of a container's id.
#[must_use]
pub fn id(number: usize) -> String {
    format!("{:064x}", 0xbe0c_0000_usize + number)
}

/// A process that sleeps for so many seconds.
#[must_use]
pub fn sleep(seconds: &str) -> Command {
    let mut sleep = Command::new("sleep");
    sleep.arg(seconds);
    sleep
}

/// Where hierarchies of control groups are mounted, each once.
///
/// # Errors
/// When the mounts cannot be read.
pub fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else { continue };
        // A group of the hierarchy for processors by number cannot take a process before it was told which.
        let is_set = Path::new(point).join("cpuset.cpus").exists() && kind == "cgroup";
        if matches!(kind, "cgroup" | "cgroup2") && !is_set {
            found.push(PathBuf::from(point));
        }
    }
    Ok(found)
}

/// Takes away the directory that all groups were below, when none is left in it.
pub fn clear() {
    for hierarchy in hierarchies().unwrap_or_default() {
        let _ = fs::remove_dir(hierarchy.join(PARENT));
    }
}
