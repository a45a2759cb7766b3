//! Arguments of the verbs on containers.

use serde::{Deserialize, Serialize};

use super::spec::{Limits, RestartPolicy};
use crate::error::{Error, Result};
use crate::names;
use crate::time::Timestamp;

/// How a container is stopped or restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StopOptions {
    /// Seconds between the stop signal and the kill; 0 kills at once, absent takes the container's own or the engine's
    /// default (usually 10). At most 3600.
    pub timeout_seconds: Option<u32>,
}

impl StopOptions {
    /// The longest time that a stop may be given.
    pub const TIMEOUT_MAX_SECONDS: u32 = 3600;

    /// Kills after this many seconds.
    #[must_use]
    pub fn after_seconds(seconds: u32) -> Self {
        StopOptions { timeout_seconds: Some(seconds) }
    }

    /// Checks the range.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `timeout_seconds`.
    pub fn validate(&self) -> Result<()> {
        if self.timeout_seconds.is_some_and(|seconds| seconds > Self::TIMEOUT_MAX_SECONDS) {
            return Err(Error::invalid("timeout_seconds", "must be from 0 to 3600"));
        }
        Ok(())
    }
}

/// What is changed of an existing container; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerUpdate {
    /// Resource limits; absent members stay as they are.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What the engine does when the main process ends; stays as it is when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// Whether the engine leaves it alone when the engine itself is started, whatever it is configured to do: a move holds
    /// what is not the one runnable copy, and lets go of what is. Holding twice, and letting go of what is not held, change
    /// nothing; so does either on an engine that starts nothing but by the restart policy. Not part of the JSON form.
    #[serde(skip)]
    pub hold: Option<bool>,
}

impl ContainerUpdate {
    /// Changes these limits.
    #[must_use]
    pub fn limits(limits: Limits) -> Self {
        ContainerUpdate { limits, ..ContainerUpdate::default() }
    }

    /// Changes the restart policy.
    #[must_use]
    pub fn restart(policy: RestartPolicy) -> Self {
        ContainerUpdate { restart: Some(policy), ..ContainerUpdate::default() }
    }

    /// Holds it, or lets it go.
    #[must_use]
    pub fn hold(hold: bool) -> Self {
        ContainerUpdate { hold: Some(hold), ..ContainerUpdate::default() }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.restart.is_none() && self.hold.is_none()
    }

    /// Checks the ranges of the limits.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the member, for example `limits.memory_bytes`.
    pub fn validate(&self) -> Result<()> {
        self.limits.validate("limits")
    }
}

/// How a container is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Kills it first when it runs.
    pub force: bool,
    /// Deletes its anonymous volumes, too.
    pub volumes: bool,
}

impl DeleteOptions {
    /// Kills and deletes, anonymous volumes too.
    #[must_use]
    pub fn force() -> Self {
        DeleteOptions { force: true, volumes: true }
    }
}

/// What a container is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum WaitFor {
    /// It does not run; at once when it does not run already.
    #[default]
    Stopped,
    /// It ends the next time.
    NextEnd,
    /// It is deleted.
    Deleted,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerExit {
    /// Exit code; 128 + n when signal n ended it; absent when the engine does not tell (`exit_codes`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the engine says went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ContainerExit {
    /// An end with this exit code.
    #[must_use]
    pub fn new(exit_code: i32) -> Self {
        ContainerExit { exit_code: Some(exit_code), error: None }
    }

    /// An end of which the engine does not tell the exit code.
    #[must_use]
    pub fn untold() -> Self {
        ContainerExit::default()
    }
}

/// Which part of the log is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Standard output (default true).
    pub stdout: bool,
    /// Standard error (default true).
    pub stderr: bool,
    /// Goes on with what is written from now on, until the container ends (default false).
    pub follow: bool,
    /// Only so many of the last lines; all when absent.
    pub tail: Option<u64>,
    /// Only what was written at or after this time (`log_times`).
    pub since: Option<Timestamp>,
    /// Only what was written before this time (`log_times`).
    pub until: Option<Timestamp>,
    /// Each record carries its time (`log_times`, default false).
    pub timestamps: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            stdout: true,
            stderr: true,
            follow: false,
            tail: None,
            since: None,
            until: None,
            timestamps: false,
        }
    }
}

impl LogOptions {
    /// Whether it needs records to have times (`log_times`).
    #[must_use]
    pub fn needs_times(&self) -> bool {
        self.timestamps || self.since.is_some() || self.until.is_some()
    }

    /// Refuses options that would show nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `stdout` or `until`.
    pub fn validate(&self) -> Result<()> {
        if !self.stdout && !self.stderr {
            return Err(Error::invalid("stdout", "at least one of stdout and stderr must be asked for"));
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && until < since
        {
            return Err(Error::invalid("until", "is earlier than since"));
        }
        Ok(())
    }
}

/// What of a container's main process is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachOptions {
    /// Standard input; the container must have been created with `stdin` (default false).
    pub stdin: bool,
    /// Standard output (default true).
    pub stdout: bool,
    /// Standard error (default true).
    pub stderr: bool,
    /// Begins with the kept output (default false).
    pub logs: bool,
}

impl Default for AttachOptions {
    fn default() -> Self {
        AttachOptions { stdin: false, stdout: true, stderr: true, logs: false }
    }
}

/// How a container's file system becomes an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CommitOptions {
    /// Reference of the new image, for example `local/web:v2` (required).
    pub image: String,
    /// A remark kept with the image.
    pub message: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// Freezes the container while its files are read (default true when absent).
    pub freeze: Option<bool>,
}

impl CommitOptions {
    /// Commits as `image`.
    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        CommitOptions { image: image.into(), ..CommitOptions::default() }
    }

    /// Checks the reference.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `image`, `message` or `author`.
    pub fn validate(&self) -> Result<()> {
        names::image_reference("image", &self.image)?;
        if self.image.contains('@') {
            return Err(Error::invalid("image", "a new image is named by repository and tag, not by digest"));
        }
        for (field, value) in [("message", &self.message), ("author", &self.author)] {
            names::no_nul(field, value.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// How files are copied into a container. Owners, groups and modes are the archive's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyInOptions {
    /// Refuses to put a directory in place of a file or the other way round (default false).
    pub no_overwrite_dir_with_file: bool,
}
