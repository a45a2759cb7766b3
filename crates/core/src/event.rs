//! What happens on a node, as it happens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Event {
    /// When, by the engine's clock.
    pub time: Timestamp,
    /// Name of the node.
    pub node: String,
    /// What it happened to.
    pub resource: ResourceKind,
    /// What happened.
    pub action: EventAction,
    /// Id of the resource; the node's name for events of the node itself.
    pub id: String,
    /// Name of the resource, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Exit code, for `ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The engine's own word for it.
    pub engine_action: String,
    /// What else the engine tells: labels, image, network …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event with the members that every event has.
    #[must_use]
    pub fn new(
        time: Timestamp,
        node: impl Into<String>,
        resource: ResourceKind,
        action: EventAction,
        id: impl Into<String>,
    ) -> Self {
        Event {
            time,
            node: node.into(),
            resource,
            action,
            id: id.into(),
            name: None,
            exit_code: None,
            engine_action: action.name().to_owned(),
            attributes: BTreeMap::new(),
        }
    }

    /// The event that says: something may have been missed, read the lists again.
    #[must_use]
    pub fn resync(time: Timestamp, node: &str) -> Self {
        Event::new(time, node, ResourceKind::Node, EventAction::Resync, node)
    }
}

/// What an event happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ResourceKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The node itself.
    Node,
    /// Something else.
    #[serde(other)]
    Other,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum EventAction {
    /// Made.
    Created,
    /// Started.
    Started,
    /// The main process ended.
    Ended,
    /// Stopped on request.
    Stopped,
    /// Restarted.
    Restarted,
    /// Frozen.
    Frozen,
    /// Unfrozen.
    Unfrozen,
    /// Renamed.
    Renamed,
    /// Limits or configuration changed.
    Updated,
    /// A snapshot was made of it; `attributes` name it as `snapshot`.
    SnapshotCreated,
    /// A snapshot of it was deleted; `attributes` name it as `snapshot`.
    SnapshotDeleted,
    /// Brought back to a snapshot; `attributes` name it as `snapshot`.
    Restored,
    /// Sent a signal.
    Killed,
    /// Ran out of memory.
    OutOfMemory,
    /// Health changed.
    Health,
    /// Deleted.
    Deleted,
    /// Pulled from a registry.
    Pulled,
    /// Imported or loaded.
    Imported,
    /// Given a name.
    Tagged,
    /// A container joined or left a network.
    Connected,
    /// A container left a network.
    Disconnected,
    /// A job was started in it.
    JobStarted,
    /// A job in it ended.
    JobEnded,
    /// A rule of alerts of the server holds; `attributes` name it as `rule`, and tell the `value` where one is known.
    AlertRaised,
    /// It does not hold any more.
    AlertCleared,
    /// Something may have been missed: read the lists again.
    Resync,
    /// Something else; see `engine_action`.
    #[serde(other)]
    Other,
}

impl EventAction {
    /// The word used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventAction::Created => "created",
            EventAction::Started => "started",
            EventAction::Ended => "ended",
            EventAction::Stopped => "stopped",
            EventAction::Restarted => "restarted",
            EventAction::Frozen => "frozen",
            EventAction::Unfrozen => "unfrozen",
            EventAction::Renamed => "renamed",
            EventAction::Updated => "updated",
            EventAction::SnapshotCreated => "snapshot_created",
            EventAction::SnapshotDeleted => "snapshot_deleted",
            EventAction::Restored => "restored",
            EventAction::Killed => "killed",
            EventAction::OutOfMemory => "out_of_memory",
            EventAction::Health => "health",
            EventAction::Deleted => "deleted",
            EventAction::Pulled => "pulled",
            EventAction::Imported => "imported",
            EventAction::Tagged => "tagged",
            EventAction::Connected => "connected",
            EventAction::Disconnected => "disconnected",
            EventAction::JobStarted => "job_started",
            EventAction::JobEnded => "job_ended",
            EventAction::AlertRaised => "alert_raised",
            EventAction::AlertCleared => "alert_cleared",
            EventAction::Resync => "resync",
            EventAction::Other => "other",
        }
    }
}
