//! Processes of a node, or of a container on it: `process.*`, section 12.3 of the reference. All generations have them.

use std::time::Duration;

use serde_json::json;

use roadstead_core::{Error, Result, Signal, Timestamp};

use super::Commands;
use super::reading::{at_milliseconds, record, seconds};

/// `process.*`.
#[derive(Clone, Copy, Debug)]
pub struct Processes<'a>(pub(super) &'a Commands);

record! {
    /// A process.
    pub struct Process {
        /// Its id.
        pid: u32 = "pid";
        /// The id of the process that started it.
        parent_pid: u32 = "ppid";
        /// Its program and arguments, separated by blanks.
        command_line: String = "cmdline";
        /// Its name.
        name: String = "name";
        /// When it was started.
        started_at: Option<Timestamp> = "createtime" in at_milliseconds;
        /// Processor time that it has used.
        cpu: CpuTimes = "cpu";
        /// Memory that it really uses, in bytes.
        rss_bytes: u64 = "rss";
        /// Its address space, in bytes.
        vms_bytes: u64 = "vms";
        /// Memory that was swapped out, in bytes.
        swap_bytes: u64 = "swap";
        /// Its limits.
        limits: Vec<ResourceLimit> = "rlimit";
        /// How many files it has open.
        open_files: u64 = "ofd";
    }
}

record! {
    /// Processor time.
    pub struct CpuTimes {
        /// In its own code.
        user: Duration = "user" in seconds;
        /// In the kernel.
        system: Duration = "system" in seconds;
        /// Idle.
        idle: Duration = "idle" in seconds;
        /// With low priority.
        nice: Duration = "nice" in seconds;
        /// Waiting for input and output.
        io_wait: Duration = "iowait" in seconds;
        /// In interrupts.
        irq: Duration = "irq" in seconds;
        /// In soft interrupts.
        soft_irq: Duration = "softirq" in seconds;
        /// Taken by other machines on the same processor.
        steal: Duration = "steal" in seconds;
        /// The same, by its older name.
        stolen: Duration = "stolen" in seconds;
        /// In machines with low priority.
        guest_nice: Duration = "guestnice" in seconds;
    }
}

record! {
    /// A limit of a process.
    pub struct ResourceLimit {
        /// What is limited, by its Linux number: 7 is the number of open files.
        resource: u32 = "resource";
        /// What it may have now. Nodes write 2147483647 for no limit, and for all limits above.
        soft: u64 = "soft";
        /// What it may set itself.
        hard: u64 = "hard";
    }
}

/// `process.*`.
impl Processes<'_> {
    /// All processes: `process.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<Process>> {
        self.0.list("process.list", ()).await
    }

    /// The process with this id; absent when there is none.
    ///
    /// # Errors
    /// As every command.
    pub async fn get(&self, pid: u32) -> Result<Option<Process>> {
        let list: Vec<Process> = self.0.list("process.list", json!({"pid": pid})).await?;
        Ok(list.into_iter().next())
    }

    /// Sends a signal to a process: `process.kill`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for process 1 and 0; `NotFound` when there is no such process.
    pub async fn kill(&self, pid: u32, signal: Signal) -> Result<()> {
        self.signal(pid, signal.number()).await
    }

    /// Whether a process exists: signal 0.
    ///
    /// # Errors
    /// As [`Processes::kill`].
    pub async fn probe(&self, pid: u32) -> Result<()> {
        self.signal(pid, 0).await
    }

    async fn signal(&self, pid: u32, signal: u8) -> Result<()> {
        if pid <= 1 {
            return Err(Error::invalid("pid", "must be above 1"));
        }
        self.0.done("process.kill", json!({"pid": pid, "signal": signal})).await
    }
}
