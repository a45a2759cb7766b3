//! What happens on a server: a stream that connects again and says so when it may have missed something.
//!
//! Servers keep no events of the past, so every break means a `resync`. They leave slow readers behind; so a task reads
//! the events as they come, and the caller reads from a queue. When the queue is full the caller gets a `resync` in place
//! of what did not fit.
//!
//! Servers tell no end of a container that ends while its start is still being finished; so with each start it is looked
//! whether the container runs. They tell no exit codes either, which are read from the container's log.
//!
//! Servers send each event from a task of its own, and so a later one may come first. Events are held back for a moment
//! and given in the order of their times.

mod lives;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{
    Capability, Error, ErrorKind, Event, EventAction, EventOptions, ItemStream, ResourceKind, Result, Timestamp,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::ended;
use super::instance::Instance;
use super::request::Request;
use super::shared::Lxd;
use super::watch::{Heard, Watched};
use super::websocket::Message;
use lives::Lives;

/// So many events wait for a slow caller.
const QUEUE: usize = 4096;
/// How long an event is held back for earlier ones. What is out of order is so by less than a millisecond.
const HOLD: Duration = Duration::from_millis(50);
/// How often it is looked whether the server is there, when nothing happens.
const TICK: Duration = Duration::from_secs(5);
/// Without an answer by then, the event goes as it is.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The events from now on.
pub(super) async fn stream(lxd: &Arc<Lxd>, options: &EventOptions) -> Result<ItemStream<Event>> {
    if options.since.is_some() {
        lxd.capabilities.require(Capability::EventsSince)?;
    }
    let socket = connect(lxd).await?;
    let (queue, events) = mpsc::channel(QUEUE);
    let pump =
        Pump { lxd: Arc::clone(lxd), queue, held: Held::default(), lives: Lives::default(), last: None, lost: false };
    tokio::spawn(pump.run(socket));
    Ok(stream::unfold(events, |mut events| async move { events.recv().await.map(|event| (event, events)) })
        .fuse()
        .boxed())
}

/// When this returns, the server has begun to listen for us.
async fn connect(lxd: &Lxd) -> Result<Watched> {
    // The ends of commands are told by their operations only.
    let socket = lxd.client.websocket(Request::get(&["events"]).query("type", "lifecycle,operation")).await?;
    Ok(Watched::new(socket).registered().await)
}

/// Carries events from the server to the queue.
struct Pump {
    lxd: Arc<Lxd>,
    queue: mpsc::Sender<Result<Event>>,
    held: Held,
    lives: Lives,
    /// When the last event was, by the server's clock.
    last: Option<Timestamp>,
    /// Whether the caller must be told to read everything again.
    lost: bool,
}

impl Pump {
    async fn run(mut self, mut socket: Watched) {
        loop {
            let queue = self.queue.clone();
            tokio::select! {
                () = queue.closed() => break,
                () = self.carry(&mut socket) => {}
            }
            let again = tokio::select! {
                () = queue.closed() => return,
                again = self.again() => again,
            };
            match again {
                Ok(fresh) => {
                    socket = fresh;
                    self.lives.clear();
                    // At once: nothing else may happen for long.
                    let time = self.last.unwrap_or_else(Timestamp::now);
                    self.lost = queue.try_send(Ok(Event::resync(time, &self.lxd.name))).is_err();
                }
                Err(error) => {
                    // The caller reads what is queued and then this, however slow it is.
                    let _ = self.queue.send(Err(error)).await;
                    return;
                }
            }
        }
        socket.close().await;
    }

    /// Until the connection breaks.
    async fn carry(&mut self, socket: &mut Watched) {
        loop {
            let patience = self.held.next_due().map_or(TICK, |due| due.saturating_duration_since(Instant::now()));
            let heard = socket.next(patience).await;
            if let Heard::Message(message) = &heard {
                let text = match message {
                    Message::Text(text) => text.as_bytes(),
                    Message::Binary(bytes) => bytes,
                };
                if let Some(event) = wire::event(text, &self.lxd.name) {
                    self.hold(event).await;
                }
            }
            let broken = matches!(heard, Heard::Broken);
            let now = if broken { None } else { Some(Instant::now()) };
            for event in self.held.due(now) {
                for event in self.lives.told(event) {
                    self.give(event);
                }
            }
            if broken {
                return;
            }
        }
    }

    /// Keeps an event until those before it have come, with what the server does not say of ends.
    async fn hold(&mut self, mut event: Event) {
        let looks = match (event.resource, event.action) {
            (ResourceKind::Container, EventAction::Ended) => {
                event.exit_code = self.exit_code(&event.id).await;
                false
            }
            (ResourceKind::Container, EventAction::Started | EventAction::Restarted) => true,
            _ => false,
        };
        let end = if looks && self.has_ended(&event.id).await {
            Some(lives::end(&event, self.exit_code(&event.id).await))
        } else {
            None
        };
        let due = Instant::now() + HOLD;
        self.held.push(event, due);
        if let Some(end) = end {
            self.held.push(end, due);
        }
    }

    /// Whether a container that was started runs no more.
    async fn has_ended(&self, id: &str) -> bool {
        match timeout(LOOK_DEADLINE, Instance::read(&self.lxd, id)).await {
            Ok(Ok(instance)) => !instance.state().has_processes(),
            _ => false,
        }
    }

    /// Events do not tell it, but the container's log does, until the container is deleted or started again.
    async fn exit_code(&self, id: &str) -> Option<i32> {
        match timeout(LOOK_DEADLINE, ended::read(&self.lxd, id)).await {
            Ok(Ok(end)) => end.map(|end| end.exit_code),
            _ => None,
        }
    }

    /// Queues an event, and before it the word that some are missing, if they are.
    fn give(&mut self, event: Event) {
        self.last = Some(event.time);
        if self.lost {
            if self.queue.capacity() < 2 {
                return;
            }
            self.lost = self.queue.try_send(Ok(Event::resync(event.time, &self.lxd.name))).is_err();
        }
        self.lost |= self.queue.try_send(Ok(event)).is_err();
    }

    /// Connects again, within the reconnect deadline.
    async fn again(&mut self) -> Result<Watched> {
        let deadline = self.lxd.client.reconnect_deadline();
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match connect(&self.lxd).await {
                Ok(socket) => return Ok(socket),
                Err(error) => error,
            };
            if begun.elapsed().saturating_add(pause) > deadline {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the engine was away for {} s: {}", begun.elapsed().as_secs(), error.message()),
                )
                .with_operation("node.events")
                .with_node(&self.lxd.name)
                .with_source(error));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Events that wait for earlier ones.
#[derive(Debug, Default)]
struct Held {
    /// By time, and for equal times in the order in which they came; with the moment at which each is given.
    events: BTreeMap<(Timestamp, u64), (Instant, Event)>,
    next: u64,
}

impl Held {
    fn push(&mut self, event: Event, due: Instant) {
        self.events.insert((event.time, self.next), (due, event));
        self.next += 1;
    }

    fn next_due(&self) -> Option<Instant> {
        self.events.values().map(|(due, _)| *due).min()
    }

    /// What is due by `now`, with all that was before it; without `now` everything.
    fn due(&mut self, now: Option<Instant>) -> Vec<Event> {
        let Some(last) = self
            .events
            .iter()
            .rev()
            .find(|(_, (due, _))| now.is_none_or(|now| *due <= now))
            .map(|((time, number), _)| (*time, number + 1))
        else {
            return Vec::new();
        };
        let later = self.events.split_off(&last);
        std::mem::replace(&mut self.events, later).into_values().map(|(_, event)| event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seconds: i64) -> Event {
        let time = Timestamp::from_unix_seconds(seconds).unwrap();
        Event::new(time, "n", ResourceKind::Container, EventAction::Other, "c")
    }

    #[test]
    fn events_are_given_in_the_order_of_their_times() {
        let mut held = Held::default();
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        held.push(event(2), at(50));
        held.push(event(1), at(51));
        held.push(event(3), at(60));
        assert!(held.due(Some(now)).is_empty());
        assert_eq!(held.next_due(), Some(at(50)));
        assert_eq!(held.due(Some(at(50))), [event(1), event(2)]);
        assert_eq!(held.next_due(), Some(at(60)));
        held.push(event(3), at(70));
        assert_eq!(held.due(None).len(), 2);
        assert_eq!(held.next_due(), None);
    }
}
