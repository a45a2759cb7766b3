//! What the kernel itself takes to fill its files, and what a thread has used of the processors.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The files of a group that a sampler reads, of either version.
const FILES: [&str; 15] = [
    "cpuacct.usage",
    "cpuacct.stat",
    "cpu.stat",
    "memory.usage_in_bytes",
    "memory.current",
    "memory.stat",
    "memory.oom_control",
    "memory.events",
    "memory.swap.current",
    "blkio.throttle.io_service_bytes_recursive",
    "io.stat",
    "pids.current",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// The kernel brings the time of a thread up to date every few milliseconds only.
const PASSES: u32 = 20;

/// Files that are open.
#[derive(Debug, Default)]
pub struct Open(Vec<File>);

impl Open {
    /// Those of a group.
    pub fn group(&mut self, directory: &Path) {
        let unified = directory.starts_with("/sys/fs/cgroup/unified");
        // Beside version 1, processor time is read there.
        let files = FILES.iter().filter(|name| !(unified && **name == "cpu.stat"));
        self.0.extend(files.filter_map(|name| File::open(directory.join(name)).ok()));
    }

    /// What a process has used.
    pub fn process(&mut self, pid: u32) {
        self.0.extend(File::open(format!("/proc/{pid}/stat")).ok());
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has the kernel fill all of them, and looks at nothing; gives the processor time of it, the mean of several times.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&self) -> io::Result<Duration> {
        let mut buffer = vec![0; 64 * 1024];
        let before = thread_time("/proc/thread-self")?;
        for _ in 0..PASSES {
            for file in &self.0 {
                // A kernel may have a file and refuse to fill it.
                let _ = file.read_at(&mut buffer, 0);
            }
        }
        Ok(thread_time("/proc/thread-self")?.saturating_sub(before) / PASSES)
    }
}

/// The processor time of a task, by its directory below `/proc`.
///
/// # Errors
/// When it has ended, or the kernel does not count so finely.
pub fn thread_time(task: &str) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("{task}/schedstat"))?;
    let nanos = text.split_whitespace().next().and_then(|number| number.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The directory of this process's thread with this name, cut to fifteen bytes as the kernel does.
///
/// # Errors
/// When there is none.
pub fn thread(name: &str) -> io::Result<String> {
    let short = name.get(..name.len().min(15)).unwrap_or(name);
    for entry in fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|found| found.trim_end() == short) {
            return Ok(path.to_string_lossy().into_owned());
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
