//! A job: anything that runs over time and ends.
//!
//! The model is core0's: an id, a state, a start time, live output, a kept result, a kill. Engines that lack parts of
//! it get them from [`crate::jobs`].

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names;
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, TerminalSize};
use crate::time::Timestamp;

/// A command to run as a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct JobSpec {
    /// The program and its arguments (required). No shell is involved unless it is the program.
    pub command: Vec<String>,
    /// Environment variables, added to the container's.
    pub env: BTreeMap<String, String>,
    /// Directory in which it starts; the container's own when absent.
    pub working_directory: Option<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; the container's own when absent.
    pub user: Option<String>,
    /// Whether it has a terminal; stdout and stderr are one then.
    pub tty: bool,
    /// First size of the terminal.
    pub terminal_size: Option<TerminalSize>,
    /// Whether it has standard input; otherwise it reads end of file.
    pub stdin: bool,
    /// All kernel capabilities.
    pub privileged: bool,
    /// Seconds after which it is killed and its state is `timed_out`; none when absent.
    pub timeout_seconds: Option<u32>,
    /// Words of the caller's own, copied to the status.
    pub tags: Vec<String>,
}

impl JobSpec {
    /// Runs this command, everything else by default.
    #[must_use]
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(command: I) -> Self {
        JobSpec { command: command.into_iter().map(Into::into).collect(), ..JobSpec::default() }
    }

    /// Gives it standard input.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Gives it a terminal of this size.
    #[must_use]
    pub fn with_terminal(mut self, size: TerminalSize) -> Self {
        self.tty = true;
        self.terminal_size = Some(size);
        self
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(Error::invalid("command", "must name a program"));
        }
        for (index, word) in self.command.iter().enumerate() {
            names::no_nul(&format!("command[{index}]"), word)?;
        }
        for (key, value) in &self.env {
            names::env_name("env", key)?;
            names::no_nul(&format!("env.{key}"), value)?;
        }
        if let Some(directory) = &self.working_directory {
            names::absolute_path("working_directory", directory)?;
        }
        if let Some(user) = &self.user {
            names::user("user", user)?;
        }
        if let Some(size) = self.terminal_size {
            if !self.tty {
                return Err(Error::invalid("terminal_size", "needs tty"));
            }
            size.validate().map_err(|error| {
                Error::invalid(format!("terminal_size.{}", error.field().unwrap_or_default()), "must be at least 1")
            })?;
        }
        if self.timeout_seconds == Some(0) {
            return Err(Error::invalid("timeout_seconds", "must be at least 1"));
        }
        for (index, tag) in self.tags.iter().enumerate() {
            names::one_word(&format!("tags[{index}]"), tag)?;
        }
        Ok(())
    }
}

/// Where a job is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum JobState {
    /// Accepted, not started.
    Queued,
    /// Runs.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended with another exit code, or could not be run.
    Failed,
    /// Ended by a signal that was sent through [`Job::kill`].
    Killed,
    /// Killed because its time was up.
    TimedOut,
    /// The engine went away while it ran: how it ended is not known.
    Lost,
}

impl JobState {
    /// Whether it will not change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }

    /// The word used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Killed => "killed",
            JobState::TimedOut => "timed_out",
            JobState::Lost => "lost",
        }
    }
}

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct JobStatus {
    /// Id, unique on the node.
    pub id: String,
    /// Name of the node.
    pub node: String,
    /// Id of the container it runs in; absent when it runs on the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// State.
    pub state: JobState,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Exit code, once it has ended; 128 + n when signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Process id on the node, while it runs and where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Bytes of output so far.
    pub output_bytes: u64,
    /// Bytes of output that are not kept any more, since the kept output is bounded; the oldest go first.
    pub output_dropped_bytes: u64,
    /// Why it could not be run or was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Words of the caller's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl JobStatus {
    /// A job that is accepted and not started yet, everything else by default.
    #[must_use]
    pub fn new(id: impl Into<String>, node: impl Into<String>, command: Vec<String>, started_at: Timestamp) -> Self {
        JobStatus {
            id: id.into(),
            node: node.into(),
            container: None,
            command,
            state: JobState::Queued,
            started_at,
            ended_at: None,
            exit_code: None,
            pid: None,
            tty: false,
            output_bytes: 0,
            output_dropped_bytes: 0,
            error: None,
            tags: Vec::new(),
        }
    }
}

/// Which part of a job's output is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputOptions {
    /// Only chunks after this number; from the first kept one when 0.
    pub after: u64,
    /// Goes on until the job ends; otherwise ends with what is there.
    pub follow: bool,
}

impl OutputOptions {
    /// Everything that is there.
    #[must_use]
    pub const fn kept() -> Self {
        OutputOptions { after: 0, follow: false }
    }

    /// Everything until the job ends.
    #[must_use]
    pub const fn follow() -> Self {
        OutputOptions { after: 0, follow: true }
    }

    /// Only what comes after chunk number `sequence`.
    #[must_use]
    pub const fn after(mut self, sequence: u64) -> Self {
        self.after = sequence;
        self
    }
}

/// Something that runs over time and ends.
///
/// * **J10**: after its end the status, exit code and output stay readable for as long as the capabilities say.
/// * **J11**: the state is `succeeded` with exit code 0 and `failed` with any other.
/// * **J12**: a command that does not exist ends as `failed` with an exit code of 126 or 127, or is refused with
///   `InvalidInput`.
/// * **J13**: environment, working directory and user (`users`) are those that were asked for.
/// * **J14**: many jobs at once keep their own exit codes and outputs.
/// * **J15**: when its time is up it is killed, and its state is `timed_out`.
/// * **J16**: one that was ended by SIGKILL, or by its time, ends though a child that it left has its output open.
///
/// Every call may be cancelled by dropping its future; the job goes on.
#[async_trait]
pub trait Job: Debug + Send + Sync {
    /// Its id.
    fn id(&self) -> &str;

    /// What is known of it now.
    ///
    /// * **J20**: a job whose engine went away is `lost`, not `running`.
    async fn status(&self) -> Result<JobStatus>;

    /// Its output, in order.
    ///
    /// * **J30**: stdout and stderr are apart, unless it has a terminal.
    /// * **J31**: with `follow`, output arrives while it runs, and the stream ends when the job has ended.
    /// * **J32**: `after` continues without gap or repetition.
    /// * **J33**: output is bytes: any byte passes unchanged (`output_bytes`).
    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>>;

    /// Writes to its standard input, in order.
    ///
    /// * **J40**: what is written reaches the process; after [`Job::close_stdin`] it reads end of file.
    /// * **J41**: `Conflict` when it has no standard input, or it is closed, or the job has ended.
    async fn write_stdin(&self, data: Bytes) -> Result<()>;

    /// Closes its standard input. Closing twice is `Ok`.
    async fn close_stdin(&self) -> Result<()>;

    /// Sets the size of its terminal.
    ///
    /// * **J50**: the terminal has the new size.
    /// * **J51**: `Conflict` when it has no terminal.
    async fn resize(&self, size: TerminalSize) -> Result<()>;

    /// Sends it a signal.
    ///
    /// The signal goes to the job's own process, as kill(1) does it: children that it started are its to end.
    ///
    /// * **J60**: the process gets the signal; when it ends by it the state is `killed` and the exit code 128 + n.
    /// * **J61**: killing a finished job is `Ok` and changes nothing.
    /// * **J62**: other jobs and the container's main process are not touched.
    async fn kill(&self, signal: Signal) -> Result<()>;

    /// Waits until it has ended, at most `deadline`.
    ///
    /// * **J70**: gives the final status; a finished job is answered at once, and a lost one with the error that lost it.
    /// * **J71**: `DeadlineExceeded` when the time is over; the job goes on.
    /// * **J72**: any number of callers may wait at once, and each gets the result.
    async fn wait(&self, deadline: Duration) -> Result<JobStatus>;
}
