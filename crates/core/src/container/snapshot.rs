//! Snapshots, which stay with the engine, and backups, which leave it: what they are and how they are made.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names;
use crate::time::Timestamp;

/// The state of a container at one moment, kept by the engine under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, unique among the snapshots of the container.
    pub name: String,
    /// When it was made, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Whether it holds the running processes, too.
    #[serde(default)]
    pub stateful: bool,
    /// How much room it takes, in bytes, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When the engine deletes it; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// How a snapshot is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Its name (required).
    pub name: String,
    /// Keeps the running processes, too (`snapshots_stateful`).
    pub stateful: bool,
    /// When the engine shall delete it (`snapshots_expire`); never when absent.
    pub expires_at: Option<Timestamp>,
}

impl SnapshotOptions {
    /// A snapshot of this name, without processes, for ever.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        SnapshotOptions { name: name.into(), ..SnapshotOptions::default() }
    }

    /// Checks the name, and that it does not expire before `now`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `name` or `expires_at`.
    pub fn validate(&self, now: Timestamp) -> Result<()> {
        names::snapshot_name("name", &self.name)?;
        if self.expires_at.is_some_and(|time| time <= now) {
            return Err(Error::invalid("expires_at", "is not in the future"));
        }
        Ok(())
    }
}

/// What goes into a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The container's snapshots, too (default true).
    pub snapshots: bool,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions { snapshots: true }
    }
}

impl BackupOptions {
    /// Leaves the snapshots out.
    #[must_use]
    pub fn without_snapshots() -> Self {
        BackupOptions { snapshots: false }
    }
}

/// How a container is made from a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Name of the new container; the one that it had when absent.
    pub name: Option<String>,
}

impl RestoreOptions {
    /// Gives the new container this name.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        RestoreOptions { name: Some(name.into()) }
    }

    /// Checks the name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `name`.
    pub fn validate(&self) -> Result<()> {
        self.name.as_deref().map_or(Ok(()), |name| names::container_name("name", name))
    }
}
