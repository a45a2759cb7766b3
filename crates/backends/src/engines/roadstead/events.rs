//! What happens on the node, without gaps: a stream that connects again, goes on where it was, and says so when it cannot be
//! sure that nothing was missed.
//!
//! The caller reads straight from the server's answer, so one who is slow holds nothing up but itself. After a break the
//! server is asked for what happened from a little before the last event on. When that event comes again, everything since
//! then does, too; when it does not, a `resync` comes first. Engines that tell nothing of the past give a `resync` at once.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{
    Capability, Error, ErrorKind, Event, EventAction, EventOptions, ItemStream, Result, Retry, Timestamp,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::frames::{self, Said};
use super::request::Request;
use super::shared::Remote;
use super::wire;

/// So many events are remembered, to give none twice.
const REMEMBERED: usize = 4096;
/// Times of events are not quite in the order in which they come: a resumed stream begins so much earlier.
const OVERLAP: Duration = Duration::from_secs(2);
/// The last event comes again within this time, or not at all.
const PROOF_DEADLINE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// N50, N51.
pub(super) async fn stream(remote: &Arc<Remote>, options: &EventOptions) -> Result<ItemStream<Event>> {
    if options.since.is_some() {
        remote.capabilities.require(Capability::EventsSince)?;
    }
    let said = connect(remote, options.since).await?;
    let follower = Follower {
        remote: Arc::clone(remote),
        said,
        since: options.since,
        seen: Seen::default(),
        last: None,
        proof: Proof::Given,
        resumed: false,
        waiting: VecDeque::new(),
        over: false,
    };
    Ok(stream::unfold(follower, Follower::next).fuse().boxed())
}

async fn connect(remote: &Remote, since: Option<Timestamp>) -> Result<ItemStream<Said>> {
    let since = since.map(|time| time.to_string());
    frames::open(remote, Request::get(&remote.path(&["events"])).query_some("since", since.as_deref())).await
}

/// Whether nothing was missed at the last break.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Given,
    /// The last event must come again by then.
    Wanted(Instant),
}

struct Follower {
    remote: Arc<Remote>,
    said: ItemStream<Said>,
    /// Where the stream began.
    since: Option<Timestamp>,
    seen: Seen,
    /// The last event that was given: time and key.
    last: Option<(Timestamp, u64)>,
    proof: Proof,
    /// Whether it has connected again.
    resumed: bool,
    /// What is given before anything more is read.
    waiting: VecDeque<Event>,
    over: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            let said = match self.proof {
                Proof::Given => self.said.next().await,
                Proof::Wanted(until) => match timeout_at(until, self.said.next()).await {
                    Ok(said) => said,
                    Err(_) => {
                        self.missed();
                        continue;
                    }
                },
            };
            match said {
                Some(Ok(Said::Data(data))) => self.take(&data),
                // That its engine is away may pass, as it may that the server is.
                Some(Ok(Said::Failed(error))) if error.kind() != ErrorKind::Unavailable => {
                    self.over = true;
                    return Some((Err(error), self));
                }
                _ => {
                    if let Err(error) = self.again().await {
                        self.over = true;
                        return Some((Err(error), self));
                    }
                }
            }
        }
    }

    fn take(&mut self, data: &str) {
        let event = match wire::event(&self.remote, data) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(node = self.remote.name, %error, "an event that is not understood");
                return self.missed();
            }
        };
        if event.action == EventAction::Resync {
            self.proof = Proof::Given;
            self.waiting.push_back(event);
            return;
        }
        let key = self.seen.key(&event);
        if let Proof::Wanted(_) = self.proof
            && self.last.is_some_and(|(_, last)| last == key)
        {
            self.proof = Proof::Given;
            return;
        }
        // Two that are alike are two, unless the stream was taken up again.
        if !self.seen.insert(key) && self.resumed {
            return;
        }
        // Alerts are the server's own: their times are of its clock, and not of the engine's.
        let is_alert = matches!(event.action, EventAction::AlertRaised | EventAction::AlertCleared);
        if let Proof::Wanted(_) = self.proof
            && !is_alert
            && self.last.is_some_and(|(last, _)| event.time > last)
        {
            // It is past the place where the last one should have been.
            self.missed();
        }
        if !event.time.is_never() && !is_alert {
            self.last = Some((event.time, key));
        }
        self.waiting.push_back(event);
    }

    /// Something may have been missed: said once for each break.
    fn missed(&mut self) {
        self.proof = Proof::Given;
        let time = self.last.map(|(time, _)| time).or(self.since).unwrap_or_else(Timestamp::now);
        self.waiting.push_back(Event::resync(time, &self.remote.name));
    }

    /// Connects again, within the reconnect deadline.
    async fn again(&mut self) -> Result<()> {
        // None: later than any clock shows.
        let deadline = Instant::now().checked_add(self.remote.reconnect_deadline);
        let past = self.remote.capabilities.has(Capability::EventsSince);
        let since = match self.last {
            Some((time, _)) if past => Some(self.since.map_or(before(time), |since| since.max(before(time)))),
            None if past => self.since,
            _ => None,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            let attempt = connect(&self.remote, since);
            let result = match deadline {
                Some(deadline) => timeout_at(deadline, attempt)
                    .await
                    .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the server does not answer"))),
                None => attempt.await,
            };
            let error = match result {
                Ok(said) => {
                    self.said = said;
                    self.resumed = true;
                    match (past, self.last) {
                        (true, Some(_)) => self.proof = Proof::Wanted(Instant::now() + PROOF_DEADLINE),
                        _ => self.missed(),
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
            if !passing {
                return Err(self.named(error));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
                let seconds = self.remote.reconnect_deadline.as_secs();
                let words = format!("the server was away for {seconds} s: {}", error.message());
                let away = Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe).with_source(error);
                return Err(self.named(away));
            }
        }
    }

    fn named(&self, error: Error) -> Error {
        error.with_operation("node.events").with_node(&self.remote.name)
    }
}

fn before(time: Timestamp) -> Timestamp {
    let nanos = i128::try_from(OVERLAP.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_unix_nanos(time.unix_nanos().saturating_sub(nanos).max(0)).unwrap_or(time)
}

/// The events of late, so that none is given twice.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    keys: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// What tells one event from every other.
    fn key(&self, event: &Event) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (event.time, event.resource, event.action, &event.id, &event.engine_action).hash(&mut hasher);
        (event.exit_code, &event.attributes).hash(&mut hasher);
        hasher.finish()
    }

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
