//! What happens on a daemon, without gaps: a stream that connects again, goes on where it was, and says so when it
//! cannot be sure that nothing was missed.
//!
//! The daemon gives events to slow readers only for a moment and then leaves them out without a word; so a task reads
//! them as they come, and the caller reads from a queue. When the queue is full the caller gets a `resync` in place of
//! what did not fit.
//!
//! A stream that begins in the past begins with a `resync`, too, unless the daemon has an event from before that time.
//!
//! After a break the daemon is asked for the last event that was seen. Dockerd keeps its last 256 events until it ends:
//! if it still has that event it has all later ones, and nothing was missed. Otherwise a `resync` comes first.

#[cfg(test)]
mod tests;
mod wire;

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_core::{Error, ErrorKind, Event, EventOptions, ItemStream, Result, Timestamp};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::json_items::json_items;
use super::logs::unix;
use super::request::Request;
use super::watch;
use wire::Message;

/// So many events wait for a slow caller.
const QUEUE: usize = 4096;
/// So many events are remembered, to give none twice.
const REMEMBERED: usize = 4096;
/// Times of events are not quite in the order in which they come: a resumed stream begins so much earlier.
const OVERLAP: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Time for the daemon to give one event of the past.
const PROOF_DEADLINE: Duration = Duration::from_secs(5);

/// The events from `options.since` on, or from now on.
pub(super) async fn stream(client: &Arc<Client>, options: &EventOptions) -> Result<ItemStream<Event>> {
    // Even "from now on" names a time, by the daemon's clock: else events between this call and the moment in which
    // the daemon begins to listen would be lost.
    let since = match options.since {
        Some(since) => since,
        None => engine_time(client).await?,
    };
    let reaches_back = match options.since {
        Some(since) => reaches_back(client, since).await?,
        None => true,
    };
    let messages = connect(client, since).await?;
    let (queue, events) = mpsc::channel(QUEUE);
    if !reaches_back {
        // The queue is empty yet.
        let _ = queue.try_send(Ok(Event::resync(since, &client.name)));
    }
    let pump = Pump { client: Arc::clone(client), since, queue, seen: Seen::default(), last: None, lost: false };
    tokio::spawn(pump.run(messages));
    Ok(stream::unfold(events, |mut events| async move { events.recv().await.map(|event| (event, events)) })
        .fuse()
        .boxed())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    system_time: Option<String>,
}

/// The daemon's clock; ours where it is the same, or where the daemon does not tell.
async fn engine_time(client: &Client) -> Result<Timestamp> {
    if client.local {
        let now = Timestamp::now();
        watch::there(client).await?;
        return Ok(now);
    }
    let info: Info = Request::get("/info").json(client).await?;
    Ok(info.system_time.and_then(|time| time.parse().ok()).unwrap_or_else(Timestamp::now))
}

/// Asks for the events from `since` on.
async fn connect(client: &Arc<Client>, since: Timestamp) -> Result<ItemStream<Message>> {
    let body = Request::get("/events").query("since", &unix(since)).stream(client).await?;
    Ok(watch::watched(client, json_items(body)))
}

/// Whether the daemon still has what happened before `time`, and so all that came after it.
async fn reaches_back(client: &Client, time: Timestamp) -> Result<bool> {
    span(client, "1", time, |_| true).await
}

/// Whether one of the events of the past between two times satisfies `wanted`.
async fn span(client: &Client, since: &str, until: Timestamp, wanted: impl Fn(&Event) -> bool) -> Result<bool> {
    let body = Request::get("/events")
        .query("since", since)
        .query("until", &unix(until))
        .within(PROOF_DEADLINE)
        .stream(client)
        .await?;
    let found = async {
        let mut messages = std::pin::pin!(json_items::<Message>(body));
        while let Some(message) = messages.try_next().await? {
            if message.into_event(&client.name).is_some_and(|event| wanted(&event)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // An engine that does not end the span by itself has not shown the event either.
    timeout(PROOF_DEADLINE, found).await.unwrap_or(Ok(false))
}

/// Carries events from the daemon to the queue.
struct Pump {
    client: Arc<Client>,
    /// Where the stream began.
    since: Timestamp,
    queue: mpsc::Sender<Result<Event>>,
    seen: Seen,
    /// The last event that came, by time.
    last: Option<Last>,
    /// Whether the caller must be told to read everything again.
    lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    time: Timestamp,
    key: u64,
}

impl Pump {
    async fn run(mut self, mut messages: ItemStream<Message>) {
        loop {
            let queue = self.queue.clone();
            tokio::select! {
                () = queue.closed() => return,
                () = self.carry(&mut messages) => {}
            }
            let again = tokio::select! {
                () = queue.closed() => return,
                again = self.again() => again,
            };
            match again {
                Ok(fresh) => messages = fresh,
                Err(error) => {
                    // The caller reads what is queued and then this, however slow it is.
                    let _ = self.queue.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Until the connection breaks.
    async fn carry(&mut self, messages: &mut ItemStream<Message>) {
        while let Some(Ok(message)) = messages.next().await {
            let Some(event) = message.into_event(&self.client.name) else { continue };
            let key = key(&event);
            if event.time < self.since || !self.seen.insert(key) {
                continue;
            }
            if self.last.is_none_or(|last| last.time <= event.time) {
                self.last = Some(Last { time: event.time, key });
            }
            self.give(event);
        }
    }

    /// Queues an event, and before it the word that some are missing, if they are.
    fn give(&mut self, event: Event) {
        if self.lost {
            if self.queue.capacity() < 2 {
                return;
            }
            self.lost = self.queue.try_send(Ok(Event::resync(event.time, &self.client.name))).is_err();
        }
        self.lost |= self.queue.try_send(Ok(event)).is_err();
    }

    /// Connects again, within the reconnect deadline.
    async fn again(&mut self) -> Result<ItemStream<Message>> {
        // None: later than any clock shows.
        let deadline = Instant::now().checked_add(self.client.reconnect_deadline);
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match timeout(self.client.reconnect_deadline, self.attempt()).await {
                Ok(Ok(messages)) => return Ok(messages),
                Ok(Err(error)) => error,
                Err(_) => Error::new(ErrorKind::Unavailable, "the engine does not answer"),
            };
            if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "the engine was away for {} s: {}",
                        self.client.reconnect_deadline.as_secs(),
                        error.message()
                    ),
                )
                .with_operation("node.events")
                .with_node(&self.client.name)
                .with_source(error));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&mut self) -> Result<ItemStream<Message>> {
        watch::there(&self.client).await?;
        let complete = match self.last {
            Some(last) => self.still_has(last).await?,
            None => false,
        };
        let since = match self.last {
            Some(last) => before(last.time, OVERLAP).max(self.since),
            None => self.since,
        };
        let messages = connect(&self.client, since).await?;
        if !complete {
            // At once: nothing else may happen for long.
            let time = self.last.map_or(self.since, |last| last.time);
            let told = self.queue.try_send(Ok(Event::resync(time, &self.client.name)));
            self.lost = told.is_err();
        }
        Ok(messages)
    }

    /// Whether the daemon still has this event, and so all that came after it.
    async fn still_has(&self, last: Last) -> Result<bool> {
        // A span of a millisecond to each side: some engines read times as floating-point numbers.
        let margin = Duration::from_millis(1);
        let since = unix(before(last.time, margin));
        span(&self.client, &since, last.time.saturating_add(margin), |event| key(event) == last.key).await
    }
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    let nanos = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_unix_nanos(time.unix_nanos().saturating_sub(nanos)).unwrap_or(time)
}

/// What tells one event from every other.
fn key(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.time, event.resource, &event.id, &event.engine_action).hash(&mut hasher);
    event.attributes.hash(&mut hasher);
    hasher.finish()
}

/// The events of late, so that none is given twice.
#[derive(Debug, Default)]
struct Seen {
    keys: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// `false` when it was there already.
    fn insert(&mut self, key: u64) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.keys.remove(&old);
        }
        true
    }
}
