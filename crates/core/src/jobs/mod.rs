//! What engines lack to be core0's model of a job: ids, a kept and bounded result, output that can be read again,
//! waiting by many, a time limit.
//!
//! An engine that starts a process asks its [`JobKeeper`] for a [`JobSlot`], starts the process, and turns the slot
//! into a job with what it can do to the process ([`JobControl`]) and a stream of what the process does
//! ([`JobProgress`]). The keeper is memory only: a job does not outlive the program that started it.

mod feed;
mod keeper;
mod kept;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use keeper::{JobKeeper, JobSlot};

use crate::error::Result;
use crate::signal::Signal;
use crate::stream::{OutputKind, TerminalSize};

/// How long a killed process may take to be gone before its job is given up as lost.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// What a process does, as the engine sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobProgress {
    /// Its process id on the node became known.
    Pid(u32),
    /// It wrote something.
    Output(OutputKind, Bytes),
    /// It ended; 128 + n when signal n ended it. Nothing may follow.
    Ended(i32),
    /// The engine killed it by itself, since the time that it had been given was up; with the exit code. Nothing may follow.
    TimedOut(i32),
    /// It ended without success, and its exit code was not told. Nothing may follow.
    Failed,
}

/// What the engine can do to a running process.
#[async_trait]
pub trait JobControl: Debug + Send + Sync {
    /// Writes to standard input. Called only while it is open, one call at a time.
    async fn write_stdin(&self, data: Bytes) -> Result<()>;
    /// Closes standard input. Called once at most.
    async fn close_stdin(&self) -> Result<()>;
    /// Sets the size of the terminal. Called only when there is one.
    async fn resize(&self, size: TerminalSize) -> Result<()>;
    /// Sends a signal. `NotFound` or `Conflict` when the process is gone, which its end must then tell, too, soon.
    async fn kill(&self, signal: Signal) -> Result<()>;
}

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct JobLimits {
    /// How long a finished job is kept (default one hour).
    pub keep: Duration,
    /// How many jobs are kept in all; the oldest finished ones go first (default 10,000).
    pub max_jobs: usize,
    /// Bytes of output kept per job; the oldest go first (default 1 MiB).
    pub max_output_bytes: usize,
    /// Bytes of output kept in all; when a job is admitted beyond it, the oldest finished jobs lose theirs, but not their
    /// result (default 256 MiB).
    pub max_total_output_bytes: usize,
}

impl Default for JobLimits {
    fn default() -> Self {
        JobLimits {
            keep: Duration::from_secs(3600),
            max_jobs: 10_000,
            max_output_bytes: 1 << 20,
            max_total_output_bytes: 1 << 28,
        }
    }
}

/// A poisoned lock only says that another thread panicked; the data is still consistent, since no code that may panic
/// runs under the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
