//! What happens on the nodes, as server-sent events or lines of JSON, with resume.
//!
//! The events of one node come from its engine. The id of an event is where the stream stands: the time of its last event, and marks of
//! the last few. A client that comes back with it as `Last-Event-ID` gets the events from a little earlier on without those: engines
//! give events of nearly the same time in any order, so an event that is earlier than the last one may be new. No event is left out
//! that the engine still has; one of the seconds around the break may come twice. Where something may have been missed there is an
//! event with the action `resync`.
//!
//! The events of all nodes come from the journal, and their ids are cursors of it.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, get, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::{Error, Event, EventAction, EventOptions, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::extract::{Query, past};
use crate::journal::{
    Cursor, EventFilter, Item, JournalEvent, JournalNodeError, Missing, Position, Resync, Skip, Told, told,
};
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self as wire, Wire};

/// An answer over all nodes begins after this time even when a node's stream does not stand yet.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// With events from this time on; only new ones when absent.
    since: Option<Timestamp>,
}

/// Where alerts stand among the positions: no node has this name. They are the server's own, and by its clock.
const ALERTS: &str = "!";

fn is_alert(event: &Event) -> bool {
    matches!(event.action, EventAction::AlertRaised | EventAction::AlertCleared)
}

/// Where the streams of all nodes stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// The id of an event. A `resync` moves nothing: it is none of the engine's own, and its time may be of our clock.
    fn pass(&mut self, event: &Event) -> String {
        if is_alert(event) {
            self.0.entry(ALERTS.to_owned()).or_default().pass(event);
        } else if event.action != EventAction::Resync {
            self.0.entry(event.node.clone()).or_default().pass(event);
        }
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From where on alerts are given to a client that was here.
    fn alerts_since(&self) -> Option<Timestamp> {
        self.0.get(ALERTS).or_else(|| self.0.values().min_by_key(|position| position.nanos()))?.options().since
    }

    fn read(req: &HttpRequest) -> Result<Option<Positions>> {
        let Some(id) = wire::last_event_id(req)? else { return Ok(None) };
        let decoded = URL_SAFE_NO_PAD.decode(id).ok();
        match decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(positions) => Ok(Some(positions)),
            None => Err(Error::invalid("Last-Event-ID", "is not an id that this server gave")),
        }
    }
}

/// What happens on one node. A stream that is resumed gives each event at least once: those of the seconds before the break
/// may come again, and an event `resync` says that something may have been missed.
#[utoipa::path(tag = "events", operation_id = "events_of_node", params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has.")),
    responses((status = 200, description = "The events.", content((Event = "text/event-stream"), (Event = "application/x-ndjson")))))]
#[get("/nodes/{node}/events")]
pub(crate) async fn of_node(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<EventsQuery>,
) -> Answer {
    let form = Wire::negotiate(&req, &[Wire::Events, Wire::Lines])?;
    past("since", query.since)?;
    let cursor = Positions::read(&req)?;
    let resumed = cursor.as_ref().and_then(|positions| positions.0.get(node.as_str()).cloned());
    let options = match (&resumed, query.since) {
        (Some(position), _) => position.options(),
        (None, Some(since)) => EventOptions::since(since),
        (None, None) => EventOptions::default(),
    };
    let node = app.node(&node).await?;
    let alerts_since = cursor.as_ref().and_then(Positions::alerts_since).or(query.since);
    let alerts = app.alerts.follow(Some(node.name().to_owned()), alerts_since);
    let mut skip_alerts = Skip::after(cursor.as_ref().and_then(|positions| positions.0.get(ALERTS)));
    let events = node.events(&options).await?;
    // The stream ends with the engine's events.
    let events = events.map(Some).chain(stream::iter([None]));
    let events = stream::select(events, alerts.map(Ok).map(Some));
    let events = events.take_while(|event| std::future::ready(event.is_some())).filter_map(std::future::ready);
    // The client was here, but there is no event to go on after: what came meanwhile is not known.
    let missed = (cursor.is_some() && resumed.is_none()).then(|| Event::resync(Timestamp::now(), node.name()));
    let mut skip = Skip::after(resumed.as_ref());
    let mut positions = Positions::default();
    if let Some(position) = resumed {
        positions.0.insert(node.name().to_owned(), position);
    }
    if let Some(position) = cursor.as_ref().and_then(|positions| positions.0.get(ALERTS)) {
        positions.0.insert(ALERTS.to_owned(), position.clone());
    }
    let frames = stream::iter(missed.map(Ok)).chain(events).filter_map(move |event| {
        let frame = match event {
            Ok(event) if !if is_alert(&event) { &mut skip_alerts } else { &mut skip }.passes(&event) => None,
            Ok(event) => {
                let id = positions.pass(&event);
                Some(Ok(form.frame(&id, "event", &event)))
            }
            Err(error) => Some(Err(error)),
        };
        async move { frame }
    });
    Ok(wire::respond(&app, &req, form, frames.boxed()))
}

/// What happens on all nodes, those added later included, as it is kept in the store: one sequence for all servers that share it.
///
/// A stream that is resumed goes on after the event that the client has, also after a restart and at another server that shares the
/// store. When events in between are not kept any more, or the cursor is of another store, an event `resync` says so, and what is kept
/// comes after it. A node that cannot be followed gives an event `node_error` and is tried again; the others go on.
#[utoipa::path(tag = "events", operation_id = "events_all", params(AllEventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has.")),
    responses((status = 200, description = "The events.", content((JournalEvent = "text/event-stream"), (JournalEvent = "application/x-ndjson")))))]
#[get("/events")]
pub(crate) async fn all(app: web::Data<App>, req: HttpRequest, Query(query): Query<AllEventsQuery>) -> Answer {
    let form = Wire::negotiate(&req, &[Wire::Events, Wire::Lines])?;
    past("since", query.since)?;
    let filter = EventFilter { nodes: query.node, actions: query.action, resources: query.resource };
    filter.check(["node", "action", "resource"])?;
    // Where it was is later than where it began.
    let last = wire::last_event_id(&req)?.map(|id| id.parse::<Cursor>()).transpose();
    let last = last.map_err(|_| Error::invalid("Last-Event-ID", "is not an id that this server gave"))?;
    let cursor = last.or(query.cursor.map(|cursor| cursor.parse()).transpose()?);
    // What happens after the answer has begun is in it: each node's stream stands by then, or the node is slow or away.
    let _ = tokio::time::timeout(OPEN_WITHIN, app.watching.settled(&app.nodes)).await;
    let now = app.journal.end();
    let mut reader = app.journal.read(cursor.clone().unwrap_or_else(|| now.clone()));
    let (mut since, mut begin) = (None, Vec::new());
    if let (None, Some(time)) = (cursor, query.since) {
        since = Some(time);
        if reader.rewind(time).await? {
            begin.push(Item::Resync(reader.cursor().clone(), Missing::Expired));
        }
    }
    // What has begun already, and is not told again.
    let failing = app.watching.failing().into_iter().filter(|error| filter.wants_node(&error.node));
    let failing: Vec<_> = failing.map(|error| Ok(frame_error(form, "", &JournalNodeError::new(error)))).collect();
    let items =
        stream::iter((!begin.is_empty()).then_some(Ok(begin))).chain(stream::unfold(reader, |mut reader| async {
            let items = reader.next().await;
            Some((items, reader))
        }));
    // After the first error the stream is over: the client comes back.
    let frames = items
        .flat_map(|items| match items {
            Ok(items) => stream::iter(items.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
        .filter_map(move |item| {
            let frame = item.map(|item| frame(form, &item, &filter, since.map(|since| (since, now.seq)))).transpose();
            async move { frame }
        });
    Ok(wire::respond(&app, &req, form, stream::iter(failing).chain(frames).boxed()))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AllEventsQuery {
    /// With events from this time on, as far as they are kept; only new ones when absent.
    since: Option<Timestamp>,
    /// After the event with this `cursor`. `Last-Event-ID` goes before it.
    cursor: Option<String>,
    /// Those of these nodes only; may be repeated.
    node: Vec<String>,
    /// Those with these actions only; may be repeated. What says that something may have been missed comes in any case.
    action: Vec<String>,
    /// Those of these kinds of resources only; may be repeated.
    resource: Vec<String>,
}

/// One item for a client, if it wants it. Of what was there before the answer began only what is from a time on is wanted.
fn frame(form: Wire, item: &Item, filter: &EventFilter, since: Option<(Timestamp, u64)>) -> Option<Bytes> {
    let cursor = item.cursor();
    let Some(record) = item.record() else {
        let Item::Resync(_, reason) = item else { return None };
        let resync = Resync { reason: *reason, cursor: cursor.to_string() };
        return Some(match form {
            Wire::Events => form.frame(&cursor.to_string(), "resync", &resync),
            _ => form.frame("", "", &serde_json::json!({ "resync": resync })),
        });
    };
    if !filter.wants(record) {
        return None;
    }
    match told(record, cursor) {
        Told::Event(event) => {
            let is_old = |(since, now): (Timestamp, u64)| {
                cursor.seq <= now && event.event.time < since && event.event.action != EventAction::Resync
            };
            let is_wanted = !since.is_some_and(is_old);
            is_wanted.then(|| form.frame(&cursor.to_string(), "event", &event))
        }
        Told::NodeError(error) => Some(frame_error(form, &cursor.to_string(), &error)),
    }
}

fn frame_error(form: Wire, id: &str, error: &JournalNodeError) -> Bytes {
    match form {
        Wire::Events => form.frame(id, "node_error", error),
        _ => form.frame("", "", &serde_json::json!({ "node_error": error })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::ResourceKind;

    const SECOND: i64 = 1_000_000_000;

    fn event(t: i64, id: &str) -> Event {
        let time = Timestamp::from_unix_nanos(t.into()).unwrap();
        Event::new(time, "n", ResourceKind::Container, EventAction::Created, id)
    }

    /// Gives the first `given` events, comes back, and gives what an engine that keeps all of them has from then on.
    fn resumed(events: &[Event], given: usize) -> Vec<&str> {
        let mut positions = Positions::default();
        let mut id = String::new();
        for event in &events[..given] {
            id = positions.pass(event);
        }
        let read: Positions = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&id).unwrap()).unwrap();
        assert_eq!(read, positions);
        let position = read.0.get("n");
        let since = position.unwrap().options().since.unwrap();
        let mut skip = Skip::after(position);
        events.iter().filter(|event| event.time >= since && skip.passes(event)).map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn a_stream_is_gone_on_with_without_gap_or_repetition() {
        let t = 1_000 * SECOND;
        let events = [event(t, "a"), event(t, "b"), event(t, "b"), event(t + 9 * SECOND, "c")];
        let ids = ["a", "b", "b", "c"];
        for given in 1..=events.len() {
            assert_eq!(resumed(&events, given), ids[given..]);
        }
    }

    #[test]
    fn an_event_that_comes_after_a_later_one_is_not_lost() {
        let t = 100_000 * SECOND;
        let events = [event(t, "a"), event(t + SECOND, "late"), event(t + SECOND / 2, "early"), event(t + 2, "more")];
        for given in 1..=events.len() {
            assert_eq!(resumed(&events, given), ["a", "late", "early", "more"][given..], "{given}");
        }
        // A clock that was set back by an hour: everything since then is there.
        let back = [event(t, "a"), event(t - 3600 * SECOND, "b"), event(t - 3599 * SECOND, "c")];
        assert!(resumed(&back, 2).contains(&"c"));
        // A time that is not told.
        let untimed = [event(t, "a"), event(0, "b"), event(t + 1, "c")];
        assert_eq!(resumed(&untimed, 2), ["c"]);
    }

    #[test]
    fn a_resync_moves_no_position() {
        let mut positions = Positions::default();
        positions.pass(&event(5, "a"));
        let before = positions.clone();
        positions.pass(&Event::resync(Timestamp::now(), "n"));
        assert_eq!(positions, before);
    }
}
