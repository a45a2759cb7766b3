//! What happens on the nodes, as server-sent events or lines of JSON, with resume.
//!
//! The id of an event is where each node's stream stands: the time of its last event, and marks of the last few. A client
//! that comes back with it as `Last-Event-ID` gets the events from a little earlier on without those: engines give events
//! of nearly the same time in any order, so an event that is earlier than the last one may be new. No event is left out
//! that the engine still has; one of the seconds around the break may come twice. Where something may have been missed
//! there is an event with the action `resync`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, get, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::{Error, ErrorKind, Event, EventAction, EventOptions, ItemStream, NodeError, Result, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::extract::{Query, past};
use crate::nodes::NodeSlot;
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self as wire, Wire};

/// How long a node that stays away is left alone before it is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// An answer over all nodes begins after this time even when a node's stream does not stand yet.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// With events from this time on; only new ones when absent.
    since: Option<Timestamp>,
}

/// How far before the last event a stream is taken up again.
const OVERLAP: Duration = Duration::from_secs(2);
/// How many events are known again.
const MARKS: usize = 8;

/// Where one node's stream stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Time of the last event, in nanoseconds. Of the last and not of the latest: when a clock is set back, this repeats
    /// events, where the other would lose them.
    t: i64,
    /// Marks of the last events.
    m: VecDeque<u32>,
}

impl Position {
    fn pass(&mut self, event: &Event) {
        // An engine that does not tell the time does not move the position to the beginning of time.
        if !event.time.is_never() {
            self.t = i64::try_from(event.time.unix_nanos()).unwrap_or(i64::MAX);
        }
        self.m.push_back(mark(event));
        while self.m.len() > MARKS {
            self.m.pop_front();
        }
    }

    fn options(&self) -> EventOptions {
        let from = i128::from(self.t).saturating_sub(i128::try_from(OVERLAP.as_nanos()).unwrap_or(0)).max(0);
        Timestamp::from_unix_nanos(from).map_or_else(EventOptions::default, EventOptions::since)
    }
}

/// What an event is known again by (FNV-1a): the same in every process and version.
fn mark(event: &Event) -> u32 {
    let time = event.time.unix_nanos().to_le_bytes();
    let parts: [&[u8]; 4] =
        [&time, event.id.as_bytes(), event.action.name().as_bytes(), event.engine_action.as_bytes()];
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        // 0xff is in no UTF-8, so it keeps the parts apart.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
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
        self.0.get(ALERTS).or_else(|| self.0.values().min_by_key(|position| position.t))?.options().since
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

/// Leaves out what is known to have been given already.
#[derive(Clone, Debug, Default)]
struct Skip(VecDeque<u32>);

impl Skip {
    fn after(position: Option<&Position>) -> Skip {
        Skip(position.map(|position| position.m.clone()).unwrap_or_default())
    }

    fn passes(&mut self, event: &Event) -> bool {
        if self.0.is_empty() || event.action == EventAction::Resync {
            return true;
        }
        let mark = mark(event);
        match self.0.iter().position(|given| *given == mark) {
            Some(index) => {
                self.0.remove(index);
                false
            }
            None => true,
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

/// What happens on all nodes, those added later included. A node that does not answer gives an event `node_error` and is
/// tried again; the others go on. A stream that is resumed gives each event at least once, as that of one node does.
#[utoipa::path(tag = "events", operation_id = "events_all", params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has.")),
    responses((status = 200, description = "The events.", content((Event = "text/event-stream"), (Event = "application/x-ndjson")))))]
#[get("/events")]
pub(crate) async fn all(app: web::Data<App>, req: HttpRequest, Query(query): Query<EventsQuery>) -> Answer {
    let form = Wire::negotiate(&req, &[Wire::Events, Wire::Lines])?;
    past("since", query.since)?;
    let cursor = Positions::read(&req)?;
    // Bounded: a client that does not read holds the nodes' streams back.
    let (sender, receiver) = mpsc::channel(64);
    let (opening, mut opened) = mpsc::channel(1);
    let alerts_since = cursor.as_ref().and_then(Positions::alerts_since).or(query.since);
    let mut alerts = app.alerts.follow(None, alerts_since);
    let mut skip_alerts = Skip::after(cursor.as_ref().and_then(|positions| positions.0.get(ALERTS)));
    let said = sender.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = said.closed() => return,
                alert = alerts.next() => match alert {
                    Some(alert) if !skip_alerts.passes(&alert) => {}
                    Some(alert) => if said.send(Said::Event(alert)).await.is_err() { return },
                    None => return,
                },
            }
        }
    });
    tokio::spawn(watch_nodes(Arc::clone(&app), cursor.clone(), query.since, sender, opening));
    // What happens after the answer has begun is in it: each node's stream stands by then, or the node is slow or away.
    let _ = tokio::time::timeout(OPEN_WITHIN, opened.recv()).await;
    let mut positions = cursor.unwrap_or_default();
    let frames = stream::unfold(receiver, |mut receiver| async {
        let said = receiver.recv().await?;
        Some((said, receiver))
    })
    .map(move |said| -> Result<Bytes> {
        Ok(match said {
            Said::Event(event) => {
                let id = positions.pass(&event);
                form.frame(&id, "event", &event)
            }
            Said::Error(error) => match form {
                Wire::Events => form.frame("", "node_error", &error),
                _ => form.frame("", "", &serde_json::json!({ "node_error": error })),
            },
        })
    });
    Ok(wire::respond(&app, &req, form, frames.boxed()))
}

/// What a node's stream says.
#[derive(Debug)]
enum Said {
    Event(Event),
    Error(NodeError),
}

/// Follows every node until the client is gone; nodes come and go meanwhile.
///
/// `opening` is closed once every stream of the beginning stands or has failed.
async fn watch_nodes(
    app: Arc<App>,
    cursor: Option<Positions>,
    since: Option<Timestamp>,
    sender: mpsc::Sender<Said>,
    opening: mpsc::Sender<()>,
) {
    let mut opening = Some(opening);
    let mut changes = app.nodes.changes();
    let mut tasks: BTreeMap<String, (Arc<NodeSlot>, tokio::task::JoinHandle<()>)> = BTreeMap::new();
    let mut first = true;
    loop {
        changes.borrow_and_update();
        let slots = app.nodes.all();
        // A node that was removed and added again is another slot.
        tasks.retain(|_, (old, task)| {
            let stays = slots.iter().any(|slot| Arc::ptr_eq(slot, old));
            if !stays {
                task.abort();
            }
            stays
        });
        for slot in slots {
            if !tasks.contains_key(slot.name()) {
                let position = cursor.as_ref().filter(|_| first).and_then(|cursor| cursor.0.get(slot.name()).cloned());
                let since = if first { since } else { None };
                // The client was here, but there is no event of this node to go on after.
                let missed = first && cursor.is_some() && position.is_none();
                let beginning = Beginning { position, since, missed };
                let follow = follow(Arc::clone(&slot), app.deadline(), beginning, sender.clone(), opening.clone());
                tasks.insert(slot.name().to_owned(), (slot, tokio::spawn(follow)));
            }
        }
        first = false;
        opening = None;
        tokio::select! {
            () = sender.closed() => break,
            () = app.ending() => break,
            changed = changes.changed() => if changed.is_err() { break },
        }
    }
    for (_, task) in tasks.values() {
        task.abort();
    }
}

/// Where a node's stream begins.
#[derive(Debug)]
struct Beginning {
    position: Option<Position>,
    since: Option<Timestamp>,
    /// Whether events may have been missed before.
    missed: bool,
}

/// Follows one node, again and again.
async fn follow(
    slot: Arc<NodeSlot>,
    deadline: Duration,
    Beginning { mut position, since, mut missed }: Beginning,
    sender: mpsc::Sender<Said>,
    mut opening: Option<mpsc::Sender<()>>,
) {
    let mut pause = RETRY_MIN;
    let mut failed = false;
    loop {
        let options = match (&position, since) {
            (Some(position), _) => position.options(),
            (None, Some(since)) => EventOptions::since(since),
            (None, None) => EventOptions::default(),
        };
        let opened: Result<ItemStream<Event>> = crate::state::within(deadline, async {
            let node = slot.node(deadline).await?;
            node.events(&options).await
        })
        .await;
        drop(opening.take());
        let error = match opened {
            Ok(mut events) => {
                failed = false;
                if std::mem::take(&mut missed)
                    && sender.send(Said::Event(Event::resync(Timestamp::now(), slot.name()))).await.is_err()
                {
                    return;
                }
                pause = RETRY_MIN;
                let mut skip = Skip::after(position.as_ref());
                loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            if !skip.passes(&event) {
                                continue;
                            }
                            if event.action != EventAction::Resync {
                                position.get_or_insert_default().pass(&event);
                            }
                            if sender.send(Said::Event(event)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break error,
                        None => break Error::new(ErrorKind::Unavailable, "the engine ended its events"),
                    }
                }
            }
            Err(error) => error,
        };
        // Said once, not with every attempt.
        if !failed && sender.send(Said::Error(NodeError::new(slot.name(), &error))).await.is_err() {
            return;
        }
        (failed, missed) = (true, true);
        if error.kind() == ErrorKind::Unsupported {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(RETRY_MAX);
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
