//! What threads have used of the processors.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time of the thread that asks.
#[must_use]
pub fn own_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
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
