//! Writes the journal: what is said within a moment becomes one batch, and what is too old or too much goes.
//!
//! A batch and the head are written by one transaction, which is done only when the head is as it was read (so of servers that write at
//! once each gets numbers of its own) and when the claims hold under which the nodes are watched. A transaction of which it is not known
//! whether it was done is sent again as it was: it cannot be done twice, and when it can be done no more, the batch at its place tells
//! whose it is.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::store::{Entry, Guard, ListEntries, Revision, Store, Transaction, read_document, write_document};
use roadstead_core::{ErrorKind, Event, Result, Retry, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::record::{BATCH_BYTES, BATCH_MAX, Batch, Head, Place, Record, What};
use crate::fleet::Hold;

/// What is said within this time is written together.
const WINDOW: Duration = Duration::from_millis(50);
/// Between two attempts, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What is too old is looked for so often.
const SWEEP: Duration = Duration::from_secs(60);
/// So many batches go at once.
const TRIM: usize = 32;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) age: Duration,
    pub(crate) count: u64,
}

/// Something to be written down.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) record: Record,
    /// By what right this server says so; without it the node is gone from the store and nobody's any more.
    pub(crate) hold: Option<Hold>,
}

impl Said {
    fn guard(&self) -> Option<Guard> {
        match &self.hold {
            Some(Hold::Claimed(claim)) => Some(claim.guard()),
            Some(Hold::Own) | None => None,
        }
    }

    fn holds(&self) -> bool {
        self.hold.as_ref().is_none_or(Hold::holds)
    }
}

/// How an attempt to write a batch ended.
enum Attempt {
    Written(Head, Revision),
    /// For certain not written: this key is not as it was.
    Refused(String),
    /// It may have been written and was deleted since: nobody can tell.
    Lost,
}

/// The one who writes at this server.
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    place: Place,
    bounds: Bounds,
    /// Whether a node is not known any more.
    is_gone: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// As it was read or written last.
    head: Option<(Head, Revision)>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// The head, which is made when there is none.
///
/// # Errors
/// Those of the store; `Unexpected` when what is there is none.
pub(super) async fn head(store: &dyn Store, place: &Place) -> Result<(Head, Revision)> {
    loop {
        if let Some(entry) = store.get(&place.head).await? {
            return Ok((decode(&entry)?, entry.revision));
        }
        let new = encode(&Head::new())?;
        match store.commit(&Transaction::new().create(place.head.clone(), new)).await {
            // Another one made it, or we did: it is read.
            Err(error) if error.kind() == ErrorKind::Conflict || error.retry() == Retry::Unknown => {}
            made => drop(made?),
        }
    }
}

/// What its entries are called in errors.
const NOUN: &str = "part of the journal";

pub(super) fn decode<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T> {
    read_document(NOUN, entry)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    write_document(NOUN, value)
}

/// Waits longer each time.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Self {
        Pause(PAUSE_MIN)
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = self.0.saturating_mul(2).min(PAUSE_MAX);
    }
}

impl Writer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        place: Place,
        bounds: Bounds,
        is_gone: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Writer { store, place, bounds, is_gone: Box::new(is_gone), head: None }
    }

    /// Writes what is said until nobody says anything any more.
    pub(crate) async fn run(mut self, mut said: mpsc::Receiver<Said>) {
        let mut sweep = tokio::time::interval(SWEEP.min(self.bounds.age));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What did not fit into the batch before.
        let mut left: Vec<Said> = Vec::new();
        loop {
            if left.is_empty() {
                tokio::select! {
                    first = said.recv() => match first {
                        Some(first) => left.push(first),
                        None => return,
                    },
                    _ = sweep.tick() => {
                        self.trim().await;
                        continue;
                    }
                }
            }
            let over = Instant::now() + WINDOW;
            while left.len() < BATCH_MAX {
                match tokio::time::timeout_at(over, said.recv()).await {
                    Ok(Some(more)) => left.push(more),
                    Ok(None) | Err(_) => break,
                }
            }
            let rest = split(&mut left);
            self.write(std::mem::replace(&mut left, rest)).await;
            if self.head.as_ref().is_some_and(|(head, _)| head.count() > self.bounds.count) {
                self.trim().await;
            }
        }
    }

    /// Writes a batch, however long that takes; what another server has to say by now is left out.
    pub(super) async fn write(&mut self, mut said: Vec<Said>) {
        let mut pause = Pause::new();
        loop {
            said.retain(|said| said.holds() || self.is_last_word(said));
            if said.is_empty() {
                return;
            }
            match self.attempt(&said).await {
                Ok(Attempt::Written(head, revision)) => {
                    self.head = Some((head, revision));
                    return;
                }
                Ok(Attempt::Refused(key)) => {
                    self.head = None;
                    let lost = |said: &Said| said.guard().is_some_and(|guard| guard.key().as_str() == key);
                    for last in said.iter_mut().filter(|said| lost(said)) {
                        if last.record.is_cleared() && (self.is_gone)(last.record.node()) {
                            last.hold = None;
                        }
                    }
                    said.retain(|said| !lost(said));
                }
                Ok(Attempt::Lost) => {
                    self.head = None;
                    said.iter_mut().for_each(|said| {
                        said.record.what = What::Event(marker(said.record.node(), Why::Unwritten));
                    });
                    said.dedup_by(|a, b| a.record.node() == b.record.node());
                }
                Err(error) => {
                    self.head = None;
                    tracing::warn!(%error, "journal: events are not written yet");
                    pause.wait().await;
                }
            }
        }
    }

    /// That the alerts of a node that was removed are over, nobody else will say.
    fn is_last_word(&self, said: &Said) -> bool {
        said.record.is_cleared() && (self.is_gone)(said.record.node())
    }

    async fn head(&mut self) -> Result<(Head, Revision)> {
        match &self.head {
            Some(head) => Ok(head.clone()),
            None => head(&*self.store, &self.place).await,
        }
    }

    async fn attempt(&mut self, said: &[Said]) -> Result<Attempt> {
        let (head, revision) = self.head().await?;
        let batch = Batch {
            id: uuid::Uuid::new_v4().simple().to_string(),
            at: Timestamp::now(),
            records: said.iter().map(|said| said.record.clone()).collect(),
        };
        let next = Head { next: head.next.saturating_add(batch.len()), ..head.clone() };
        let mut write = Transaction::new()
            .replace(self.place.head.clone(), revision, encode(&next)?)
            .put(self.place.key(head.next)?, encode(&batch)?);
        let mut guards: Vec<Guard> = Vec::new();
        for guard in said.iter().filter_map(Said::guard) {
            if !guards.contains(&guard) {
                guards.push(guard);
            }
        }
        for guard in guards {
            write = write.when(guard);
        }
        let (mut unsure, mut pause) = (false, Pause::new());
        loop {
            let error = match self.store.commit(&write).await {
                Ok(revision) => return Ok(Attempt::Written(next, revision)),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Conflict {
                let key = error.resource().unwrap_or_default().to_owned();
                return if unsure { self.look(head.next, &batch.id, key).await } else { Ok(Attempt::Refused(key)) };
            }
            unsure |= error.retry() == Retry::Unknown;
            if !unsure {
                return Err(error);
            }
            tracing::warn!(%error, "journal: it is not known whether events were written");
            pause.wait().await;
        }
    }

    /// Whether a batch was written that cannot be written any more.
    async fn look(&self, first: u64, id: &str, key: String) -> Result<Attempt> {
        let mut pause = Pause::new();
        loop {
            match self.found(first, id, &key).await {
                Ok(attempt) => return Ok(attempt),
                Err(error) => tracing::warn!(%error, "journal: what was written is not known yet"),
            }
            pause.wait().await;
        }
    }

    async fn found(&self, first: u64, id: &str, key: &str) -> Result<Attempt> {
        if let Some(entry) = self.store.get(&self.place.key(first)?).await? {
            if decode::<Batch>(&entry)?.id == id {
                let (head, revision) = head(&*self.store, &self.place).await?;
                return Ok(Attempt::Written(head, revision));
            }
            return Ok(Attempt::Refused(key.to_owned()));
        }
        let (head, _) = head(&*self.store, &self.place).await?;
        // Numbers that were given and are not there any more.
        Ok(if head.oldest > first { Attempt::Lost } else { Attempt::Refused(key.to_owned()) })
    }

    /// Deletes what is too old or too much. What cannot be done now is done at the next look.
    pub(super) async fn trim(&mut self) {
        loop {
            match self.trim_some().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.head = None;
                    if error.kind() != ErrorKind::Conflict {
                        return tracing::warn!(%error, "journal: what is too old is not deleted yet");
                    }
                }
            }
        }
    }

    /// Whether there may be more.
    async fn trim_some(&mut self) -> Result<bool> {
        let (head, revision) = self.head().await?;
        // Some more than need be, so that it is not done with each batch.
        let slack = self.bounds.count / 16;
        let most = if head.count() > self.bounds.count { self.bounds.count - slack } else { self.bounds.count };
        let surplus = head.next.saturating_sub(most);
        let age = i128::try_from(self.bounds.age.as_nanos()).unwrap_or(i128::MAX);
        let too_old = Timestamp::now().unix_nanos().saturating_sub(age);
        let mut options = ListEntries::of(self.place.batches.clone());
        options.limit = TRIM;
        let page = self.store.list(&options).await?;
        let mut oldest = head.oldest;
        let mut trim = Transaction::new();
        for entry in &page.entries {
            let Some(first) = self.place.first(&entry.key) else { continue };
            // One that makes no sense is in nobody's way once it is deleted.
            let batch = decode::<Batch>(entry).ok();
            let end = batch.as_ref().map_or(first, |batch| first.saturating_add(batch.len()));
            let goes = first < surplus || batch.is_none_or(|batch| batch.at.unix_nanos() < too_old);
            if !goes || end > head.next {
                break;
            }
            oldest = oldest.max(end);
            trim = trim.delete(entry.key.clone());
        }
        let deletes = trim.writes().len();
        if deletes == 0 {
            return Ok(false);
        }
        let next = Head { oldest, ..head };
        let done = self.store.commit(&trim.replace(self.place.head.clone(), revision, encode(&next)?)).await?;
        self.head = Some((next, done));
        Ok(page.more && deletes == page.entries.len())
    }
}

/// Leaves as many as one batch may have, and gives the others.
fn split(said: &mut Vec<Said>) -> Vec<Said> {
    let mut bytes = 0;
    let fits = said.iter().take(BATCH_MAX).take_while(|said| {
        bytes += serde_json::to_vec(&said.record).map_or(0, |json| json.len());
        bytes <= BATCH_BYTES
    });
    let count = fits.count().max(1);
    said.split_off(count.min(said.len()))
}

/// Why something may have been missed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// A server has begun to watch the node: for the first time, after its own start, or after another one.
    WatchBegan,
    /// The engine's events broke off, and are followed again.
    StreamBroke,
    /// What was to be written here may not be there.
    Unwritten,
}

/// The event that says that something may have been missed, and why.
pub(super) fn marker(node: &str, why: Why) -> Event {
    let mut event = Event::resync(Timestamp::now(), node);
    let why = match why {
        Why::WatchBegan => "watch_began",
        Why::StreamBroke => "stream_broke",
        Why::Unwritten => "unwritten",
    };
    event.attributes.insert("reason".to_owned(), why.to_owned());
    event
}
