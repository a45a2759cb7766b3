//! What a caller asks for, and the plan that comes of it.

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::container::StopOptions;
use crate::copy::{CopyTransport, NotCarried};
use crate::error::Result;
use crate::names;

/// Which way a move shall take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum WayChoice {
    /// The engines' own means where they have some, the best first; otherwise as a file system and a portable configuration.
    #[default]
    Auto,
    /// The target's engine fetches it from the source's.
    Pull,
    /// The source's engine sends it to the target's.
    Push,
    /// The engines' own means, through this process.
    Relay,
    /// As a file system and a portable configuration, whatever the engines are.
    Portable,
}

impl WayChoice {
    /// Whether a way of the engines by `transport` is allowed.
    #[must_use]
    pub fn allows(self, transport: CopyTransport) -> bool {
        match self {
            WayChoice::Auto => true,
            WayChoice::Pull => transport == CopyTransport::Pull,
            WayChoice::Push => transport == CopyTransport::Push,
            WayChoice::Relay => transport == CopyTransport::Relay,
            WayChoice::Portable => false,
        }
    }
}

/// What shall be moved, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MoveSpec {
    /// Id or name of the container on the source (required).
    pub container: String,
    /// Name on the target; the same when absent.
    pub new_name: Option<String>,
    /// Which way it takes (default `auto`).
    pub way: WayChoice,
    /// With its snapshots, where the way can take them (default true).
    pub snapshots: bool,
    /// With its running processes; refused where no way can (default false: stopped, moved, started).
    pub live: bool,
    /// Whether the content of the copy is compared with the source's, file by file, by checksum (default: where both
    /// engines can export). Engines do not: by their own means a file that changed within a second of a snapshot, and kept its size, may arrive as it was.
    pub check: Option<bool>,
    /// Leaves the source, stopped and renamed, instead of deleting it (default false).
    pub keep_source: bool,
    /// Seconds between the stop signal and the kill; the container's own or the engine's when absent.
    pub stop_timeout_seconds: Option<u32>,
}

impl Default for MoveSpec {
    fn default() -> Self {
        MoveSpec {
            container: String::new(),
            new_name: None,
            way: WayChoice::Auto,
            snapshots: true,
            live: false,
            check: None,
            keep_source: false,
            stop_timeout_seconds: None,
        }
    }
}

impl MoveSpec {
    /// Moves `container`, everything else by default.
    #[must_use]
    pub fn new(container: impl Into<String>) -> Self {
        MoveSpec { container: container.into(), ..MoveSpec::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::existing("container", &self.container)?;
        if let Some(name) = &self.new_name {
            names::container_name("new_name", name)?;
        }
        if let Some(seconds) = self.stop_timeout_seconds {
            StopOptions::after_seconds(seconds)
                .validate()
                .map_err(|_| crate::Error::invalid("stop_timeout_seconds", "must be from 0 to 3600"))?;
        }
        Ok(())
    }
}

/// The way that a move takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum MoveWay {
    /// By the engines' own means.
    Native {
        /// How the bytes travel, best first; the next is taken where one does not connect.
        transports: Vec<CopyTransport>,
        /// With the running processes.
        live: bool,
        /// With the snapshots.
        snapshots: bool,
    },
    /// As a file system and a portable configuration.
    Portable,
}

/// A mount whose content becomes a part of the copy's own file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CopiedMount {
    /// Where it is mounted.
    pub target: String,
    /// What is mounted: a path of the source node, or the name of a volume.
    pub source: Option<String>,
}

/// What a move will do and what it cannot do, before anything is done. Plain data: it may be shown, kept and applied later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MovePlan {
    /// Id of the move: 32 hexadecimal digits.
    pub id: String,
    /// Name of the node that has the container.
    pub source: String,
    /// Name of the node that gets it.
    pub target: String,
    /// Name of the container on the source.
    pub container: String,
    /// Its id on the source.
    pub container_id: String,
    /// Its name on the target.
    pub name: String,
    /// Whether it runs, and shall run afterwards. One that is started before the move begins shall run, too.
    pub running: bool,
    /// The way.
    pub way: MoveWay,
    /// Whether the content is compared file by file.
    pub check: bool,
    /// Whether the source stays, stopped and renamed.
    pub keep_source: bool,
    /// Seconds between the stop signal and the kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u32>,
    /// What will be done, in order.
    pub steps: Vec<Step>,
    /// What the copy will not have, item by item.
    pub not_carried: Vec<NotCarried>,
    /// Mounts whose content becomes a part of the copy's own file system.
    pub copied_mounts: Vec<CopiedMount>,
    /// What a person should know.
    pub warnings: Vec<String>,
}
