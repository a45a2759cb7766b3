//! What changes in lists of containers, as server-sent events or lines of JSON, from a revision on.
//!
//! The id of an event is the revision after it, so a client that comes back with it as `Last-Event-ID` is told what came
//! later. A client that is slow, or comes back late, is told how each container is now and not all that it was meanwhile; what
//! can no longer be told is an event `resync`, and the client reads the list again.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_web::HttpRequest;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::mirror::{Change, Moment, Told, Watch};
use roadstead_core::{ContainerFilter, ContainerSummary, Error, NodeError, Result};
use serde::Serialize;

use crate::nodes::NodeSlot;
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self as wire, Wire};

/// What kind of change it is; the name of the event, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    /// A container is there, or is another way than before; see `container`.
    Put,
    /// A container is gone, or does not pass the filter: it may be one that was never told of. See `id`.
    Deleted,
    /// What happens on a node cannot be followed now; see `error`. It is told when it can be again.
    NodeAway,
    /// A node can be followed again.
    NodeHere,
    /// Changes may have been missed: read the list again, and apply what comes after this.
    Resync,
}

impl ChangeKind {
    const fn name(self) -> &'static str {
        match self {
            ChangeKind::Put => "put",
            ChangeKind::Deleted => "deleted",
            ChangeKind::NodeAway => "node_away",
            ChangeKind::NodeHere => "node_here",
            ChangeKind::Resync => "resync",
        }
    }
}

/// A change of the list of containers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ContainerChange {
    /// What kind of change it is.
    change: ChangeKind,
    /// The revision after it.
    revision: String,
    /// Name of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Id of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Why a node cannot be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NodeError>,
    /// The container as a list shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerSummary>,
}

impl ContainerChange {
    fn new(change: ChangeKind, moment: Moment) -> Self {
        ContainerChange { change, revision: moment.to_string(), node: None, id: None, error: None, container: None }
    }

    fn on(self, node: &str) -> Self {
        ContainerChange { node: Some(node.to_owned()), ..self }
    }
}

struct Following {
    watch: Watch,
    filter: ContainerFilter,
    form: Wire,
    /// Nodes that cannot be followed at the beginning.
    away: VecDeque<(String, Error)>,
    begun: Moment,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        let frame = match self.away.pop_front() {
            Some((node, error)) => self.away(&node, &error, self.begun),
            None => {
                let told = self.watch.next().await;
                self.told(&told)
            }
        };
        Some((Ok(frame), self))
    }

    fn away(&self, node: &str, error: &Error, moment: Moment) -> Bytes {
        let mut change = ContainerChange::new(ChangeKind::NodeAway, moment).on(node);
        change.error = Some(NodeError::new(node, error));
        self.frame(&change)
    }

    fn told(&self, told: &Told) -> Bytes {
        match &told.change {
            Change::Put(item) if self.filter.matches(item.summary()) => {
                let change = ContainerChange::new(ChangeKind::Put, told.moment).on(&item.summary().node);
                let mut json = serde_json::to_vec(&change).unwrap_or_default();
                // The container is JSON already, and becomes the last member.
                json.pop();
                json.extend_from_slice(b",\"container\":");
                json.extend_from_slice(item.json());
                json.push(b'}');
                self.form.frame_json(&change.revision, ChangeKind::Put.name(), &json)
            }
            Change::Put(item) => self.deleted(&item.summary().node, &item.summary().id, told.moment),
            Change::Deleted { node, id } => self.deleted(node, id, told.moment),
            Change::Away { node, reason } => self.away(node, &unfollowed(node, reason), told.moment),
            Change::Here { node } => self.frame(&ContainerChange::new(ChangeKind::NodeHere, told.moment).on(node)),
            // What is not known here may have changed anything.
            _ => self.frame(&ContainerChange::new(ChangeKind::Resync, told.moment)),
        }
    }

    fn deleted(&self, node: &str, id: &str, moment: Moment) -> Bytes {
        let mut change = ContainerChange::new(ChangeKind::Deleted, moment).on(node);
        change.id = Some(id.to_owned());
        self.frame(&change)
    }

    fn frame(&self, change: &ContainerChange) -> Bytes {
        self.form.frame(&change.revision, change.change.name(), change)
    }
}

fn unfollowed(node: &str, reason: &str) -> Error {
    Error::new(roadstead_core::ErrorKind::Unavailable, reason.to_owned())
        .with_node(node)
        .with_retry(roadstead_core::Retry::Safe)
}

/// Answers with what changes from `from` on, or from where the client was.
pub(super) fn watch(
    app: &App,
    req: &HttpRequest,
    slot: Option<&Arc<NodeSlot>>,
    filter: ContainerFilter,
    from: Option<Moment>,
) -> Answer {
    let form = Wire::negotiate(req, &[Wire::Events, Wire::Lines])?;
    // Where it was is later than where it began.
    let last = wire::last_event_id(req)?.map(|id| id.parse()).transpose();
    let last = last.map_err(|_: Error| Error::invalid("Last-Event-ID", "is not an id that this server gave"))?;
    let changes = app.nodes.container_changes();
    let begun = changes.now();
    let watch = changes.watch(last.or(from), slot.map(|slot| slot.name()));
    let slots = slot.map_or_else(|| app.nodes.all(), |slot| vec![Arc::clone(slot)]);
    let away = slots.iter().filter_map(|slot| Some((slot.name().to_owned(), slot.mirror().ready().err()?)));
    let following = Following { watch, filter, form, away: away.collect(), begun: last.or(from).unwrap_or(begun) };
    Ok(wire::respond(app, req, form, stream::unfold(following, Following::next).boxed()))
}
