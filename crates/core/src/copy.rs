//! Copying a whole container from one node to another by the engines' own means.
//!
//! [`crate::Node::copy_ways`] asks the node that shall get the container; [`crate::Node::copy_container`] does it. Where two
//! engines have no way in common, [`crate::migration`] carries a container as a file system and a portable configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::names;

/// How the bytes of a copy travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum CopyTransport {
    /// Both are one node.
    Local,
    /// The target fetches it from the source.
    Pull,
    /// The source sends it to the target.
    Push,
    /// It passes through this process.
    Relay,
}

impl CopyTransport {
    /// The word used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CopyTransport::Local => "local",
            CopyTransport::Pull => "pull",
            CopyTransport::Push => "push",
            CopyTransport::Relay => "relay",
        }
    }
}

/// Something that the copy will not have, or not have in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NotCarried {
    /// The member of the specification, for example `ports[0]` or `health_check`, or a word such as `snapshots`.
    pub field: String,
    /// Why, in one line for a person.
    pub reason: String,
}

impl NotCarried {
    /// `field` is not carried because of `reason`.
    #[must_use]
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        NotCarried { field: field.into(), reason: reason.into() }
    }
}

/// A way in which a node can take a container from another by the engines' own means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CopyWay {
    /// How the bytes travel.
    pub transport: CopyTransport,
    /// Whether it can take a running container with its processes.
    pub live: bool,
    /// Whether it can take the snapshots along.
    pub snapshots: bool,
    /// What of this container the copy will not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_carried: Vec<NotCarried>,
}

impl CopyWay {
    /// A way that is neither live nor takes snapshots, and carries everything else.
    #[must_use]
    pub fn new(transport: CopyTransport) -> Self {
        CopyWay { transport, live: false, snapshots: false, not_carried: Vec::new() }
    }
}

/// What is copied, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Id or name of the container on the source.
    pub container: String,
    /// Name of the copy.
    pub name: String,
    /// How the bytes travel: one of the ways that [`crate::Node::copy_ways`] gave.
    pub transport: CopyTransport,
    /// With its processes: they end on the source and go on in the copy.
    pub live: bool,
    /// With its snapshots.
    pub snapshots: bool,
    /// Labels that the copy bears in addition, from the first moment at which the engine shows it.
    pub labels: BTreeMap<String, String>,
}

impl CopyOptions {
    /// Copies `container` to `name`, cold and without snapshots.
    #[must_use]
    pub fn new(container: impl Into<String>, name: impl Into<String>, transport: CopyTransport) -> Self {
        CopyOptions {
            container: container.into(),
            name: name.into(),
            transport,
            live: false,
            snapshots: false,
            labels: BTreeMap::new(),
        }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::existing("container", &self.container)?;
        names::container_name("name", &self.name)?;
        for (key, value) in &self.labels {
            names::label_key("labels", key)?;
            names::no_nul(&format!("labels.{key}"), value)?;
        }
        Ok(())
    }
}

/// How far a copy is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CopyProgress {
    /// The engine's words.
    pub status: String,
    /// Bytes done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_bytes: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

impl CopyProgress {
    /// Words without numbers.
    #[must_use]
    pub fn new(status: impl Into<String>) -> Self {
        CopyProgress { status: status.into(), ..CopyProgress::default() }
    }
}
