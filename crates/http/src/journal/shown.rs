//! How what is in the journal is shown to clients and to webhooks.

use roadstead_core::{Event, NodeError};
use serde::Serialize;

use super::reader::Missing;
use super::record::{Cursor, Record, What};

/// An event of the journal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct JournalEvent {
    #[serde(flatten)]
    pub(crate) event: Event,
    /// Which server watches the node, when it is one of that server's machine or configuration: another server that shares the store
    /// may have one of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Where a client is that has it.
    cursor: String,
}

/// A node that cannot be followed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct JournalNodeError {
    #[serde(flatten)]
    error: NodeError,
    /// As of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Where a client is that has it; absent when it is told because it is so at the beginning of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl JournalNodeError {
    /// One that is told at the beginning of an answer.
    pub(crate) fn new(error: NodeError) -> Self {
        JournalNodeError { error, server: None, cursor: None }
    }
}

/// Events are missing: what is known of the nodes from events is to be read anew.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Resync {
    /// Why.
    pub(crate) reason: Missing,
    /// Where a client is that has read all anew before what comes next.
    pub(crate) cursor: String,
}

/// A record as it is shown.
#[derive(Debug)]
pub(crate) enum Told {
    Event(JournalEvent),
    NodeError(JournalNodeError),
}

pub(crate) fn told(record: &Record, cursor: &Cursor) -> Told {
    let (server, cursor) = (record.server.clone(), cursor.to_string());
    match &record.what {
        What::Event(event) => Told::Event(JournalEvent { event: event.clone(), server, cursor }),
        What::NodeError(error) => {
            Told::NodeError(JournalNodeError { error: error.clone(), server, cursor: Some(cursor) })
        }
    }
}
