//! Appending: what comes while the store is busy goes to it together, and each transaction replaces the head as it was read.
//!
//! A transaction of which it is not known whether it was done is sent again as it was: it cannot be done twice, and when it can be done no
//! more, the record at its first number tells whose it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_core::store::{ListEntries, Revision, Store, Transaction};
use roadstead_core::{Error, ErrorKind, Result, Retry, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::index::Index;
use super::record::{CHUNK_AGE_NANOS, CHUNK_BYTES, CHUNK_MAX, Chunk, Head, Place, RECORD_BYTES, Record};
use super::{Bounds, Document, trim};

/// The most documents of one append.
pub(crate) const APPEND_MAX: usize = 500;
/// The most bytes of one append.
const APPEND_BYTES: usize = 256 * 1024;
/// What is written together has at most so many documents, and so many bytes: with the head and its chunks far below what a store takes.
const BATCH_MAX: usize = APPEND_MAX;
const BATCH_BYTES: usize = 2 * APPEND_BYTES;
/// Between two attempts of which the first was not answered, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After another server was faster, at most so long until the next attempt, doubled each time.
const JITTER_MIN: u64 = 4;
const JITTER_MAX: u64 = 128;

/// The number and the time of a document that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
}

/// An append that waits to be written.
#[derive(Debug)]
struct Pending<T> {
    documents: Vec<T>,
    bytes: usize,
    until: Instant,
    answer: oneshot::Sender<Result<Vec<Stamp>>>,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Pending<T>>,
    /// Whether somebody writes what waits.
    is_served: bool,
    /// The head as it was read or written last.
    head: Option<(Head<T>, Option<Revision>)>,
}

/// The one way on which a server writes into a series.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) store: Arc<dyn Store>,
    pub(super) place: Place,
    pub(super) bounds: Bounds,
    deadline: Duration,
    /// No record before this one is in the store; the next head says so.
    pub(super) oldest: AtomicU64,
    pub(super) index: Index,
    queue: Mutex<Queue<T>>,
}

impl<T: Document> Lane<T> {
    /// The head as it is, by which it is known, too, whether the index is still that of this series.
    pub(super) async fn head(&self) -> Result<(Head<T>, Option<Revision>)> {
        let before = self.index.seen();
        let (head, revision) = self.place.head(&*self.store).await?;
        self.index.check(before, &head);
        Ok((head, revision))
    }
}

impl<T> Lane<T> {
    pub(super) fn new(store: Arc<dyn Store>, place: Place, bounds: Bounds, deadline: Duration) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), is_served: false, head: None });
        Lane { store, place, bounds, deadline, oldest: AtomicU64::new(1), index: Index::default(), queue }
    }

    /// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that nobody writes any more, also when the writing ends by a panic.
struct Serving<T: Document> {
    lane: Arc<Lane<T>>,
    is_told: bool,
}

impl<T: Document> Drop for Serving<T> {
    fn drop(&mut self) {
        if !self.is_told {
            self.lane.queue().is_served = false;
        }
    }
}

/// What a batch came to.
enum Written {
    /// These numbers from the first on, at this time.
    Done(u64, Timestamp),
    /// It was not, for certain, because somebody else wrote: at once again.
    Refused,
}

pub(super) async fn append<T: Document>(lane: &Arc<Lane<T>>, documents: Vec<T>) -> Result<Vec<Stamp>> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    if documents.len() > APPEND_MAX {
        let words = format!("are {}, at most {APPEND_MAX} are taken at once", documents.len());
        return Err(Error::invalid("documents", words));
    }
    let mut bytes = 0;
    for document in &documents {
        let of_one = lane.place.encode(document)?.len();
        if of_one > RECORD_BYTES {
            return Err(Error::invalid("document", format!("has {of_one} bytes, at most {RECORD_BYTES} are allowed")));
        }
        bytes += of_one;
    }
    if bytes > APPEND_BYTES {
        return Err(Error::invalid(
            "documents",
            format!("have {bytes} bytes, at most {APPEND_BYTES} are taken at once"),
        ));
    }
    let (answer, answered) = oneshot::channel();
    let until = Instant::now() + lane.deadline;
    let begin = {
        let mut queue = lane.queue();
        queue.waiting.push_back(Pending { documents, bytes, until, answer });
        !std::mem::replace(&mut queue.is_served, true)
    };
    if begin {
        tokio::spawn(serve(Serving { lane: Arc::clone(lane), is_told: false }));
    }
    let lost = || Error::new(ErrorKind::Unexpected, "nobody tells whether it was written").with_retry(Retry::Unknown);
    answered.await.map_err(|_| lost())?
}

/// Writes what waits until nothing does.
async fn serve<T: Document>(mut serving: Serving<T>) {
    let lane = Arc::clone(&serving.lane);
    loop {
        let batch = {
            let mut queue = lane.queue();
            let batch = take(&mut queue.waiting);
            if batch.is_empty() {
                // Under the same lock as the look: whoever comes now begins anew.
                queue.is_served = false;
                serving.is_told = true;
                return;
            }
            batch
        };
        write(&lane, batch).await;
        let surplus = lane.queue().head.as_ref().is_some_and(|(head, _)| trim::is_too_much(&lane, head));
        if surplus && let Err(error) = trim::trim(&lane).await {
            tracing::warn!(%error, "measurements: what is too much is not deleted yet");
        }
    }
}

fn take<T>(waiting: &mut VecDeque<Pending<T>>) -> Vec<Pending<T>> {
    let (mut batch, mut count, mut bytes) = (Vec::new(), 0, 0);
    while let Some(next) = waiting.front() {
        count += next.documents.len();
        bytes += next.bytes;
        if !batch.is_empty() && (count > BATCH_MAX || bytes > BATCH_BYTES) {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

/// Writes a batch and answers all whose it is.
async fn write<T: Document>(lane: &Lane<T>, mut batch: Vec<Pending<T>>) {
    let mut jitter = JITTER_MIN;
    loop {
        let now = Instant::now();
        let (rest, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| pending.until > now);
        batch = rest;
        for late in late {
            let words = format!("was not written within {} s", lane.deadline.as_secs_f64());
            // Whoever asked may have gone.
            let _ = late.answer.send(Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Safe)));
        }
        let Some(until) = batch.iter().map(|pending| pending.until).max() else { return };
        match attempt(lane, &batch, until).await {
            Ok(Written::Done(first, at)) => {
                let mut next = first..;
                for pending in batch {
                    let stamps = pending.documents.iter().zip(next.by_ref()).map(|(_, id)| Stamp { id, at }).collect();
                    let _ = pending.answer.send(Ok(stamps));
                }
                return;
            }
            Ok(Written::Refused) => {
                tokio::time::sleep(Duration::from_millis(some_of(jitter))).await;
                jitter = (jitter * 2).min(JITTER_MAX);
            }
            Err(error) => {
                lane.queue().head = None;
                for pending in batch {
                    let _ = pending.answer.send(Err(error.repeated()));
                }
                return;
            }
        }
    }
}

/// A number below this one.
fn some_of(bound: u64) -> u64 {
    some() % bound.max(1)
}

fn some() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

/// To the microsecond, so that a time which a client was told, and gives again, is the same one.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_unix_nanos(now.unix_nanos().div_euclid(1000) * 1000).unwrap_or(now)
}

async fn attempt<T: Document>(lane: &Lane<T>, batch: &[Pending<T>], until: Instant) -> Result<Written> {
    let known = lane.queue().head.take();
    let (head, revision) = match known {
        Some(known) => known,
        None => lane.place.head(&*lane.store).await?,
    };
    let (by, at, first) = (some(), now(), head.next);
    let documents = batch.iter().flat_map(|pending| &pending.documents);
    let (next, write) = planned(lane, head, revision, documents, by, at)?;
    let (mut unsure, mut pause) = (false, PAUSE_MIN);
    loop {
        let error = match lane.store.commit(&write).await {
            Ok(revision) => {
                lane.queue().head = Some((next, Some(revision)));
                return Ok(Written::Done(first, at));
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Conflict {
            return match unsure && is_ours(lane, first, by).await? {
                true => Ok(Written::Done(first, at)),
                false => Ok(Written::Refused),
            };
        }
        unsure |= error.retry() == Retry::Unknown;
        if !unsure || Instant::now() + pause > until {
            return Err(if unsure { error.with_retry(Retry::Unknown) } else { error });
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

/// The head after it, and the transaction that writes these documents.
fn planned<'a, T: Document>(
    lane: &Lane<T>,
    mut head: Head<T>,
    revision: Option<Revision>,
    documents: impl Iterator<Item = &'a T>,
    by: u64,
    at: Timestamp,
) -> Result<(Head<T>, Transaction)> {
    let place = &lane.place;
    let mut write = Transaction::new();
    let mut bytes = if head.open.is_empty() { 0 } else { place.encode(&head.open)?.len() };
    for document in documents {
        let record = Record { id: head.next, at, by, what: document.clone() };
        let of_record = place.encode(&record)?.len() + 1;
        let is_old = |first: &Record<T>| at.unix_nanos().saturating_sub(first.at.unix_nanos()) > CHUNK_AGE_NANOS;
        // Before the record is added, so that the last one is always in the head.
        if head.open.len() >= CHUNK_MAX
            || (bytes + of_record > CHUNK_BYTES && !head.open.is_empty())
            || head.open.first().is_some_and(is_old)
        {
            let first = head.open_first();
            let chunk = Chunk { records: std::mem::take(&mut head.open) };
            write = write.put(place.key(first)?, place.encode(&chunk)?);
            bytes = 0;
        }
        bytes += of_record;
        head.next = head.next.saturating_add(1);
        head.open.push(record);
    }
    head.oldest = head.oldest.max(lane.oldest.load(Ordering::Relaxed)).min(head.open_first());
    if revision.is_none() {
        head.era = by;
    }
    let value = place.encode(&head)?;
    write = match revision {
        Some(revision) => write.replace(place.head.clone(), revision, value),
        None => write.create(place.head.clone(), value),
    };
    Ok((head, write))
}

/// Whether a record that cannot be written any more was written by the transaction with this mark.
async fn is_ours<T: Document>(lane: &Lane<T>, first: u64, by: u64) -> Result<bool> {
    let unknown = |error: Error| error.with_retry(Retry::Unknown);
    let (head, _) = lane.place.head::<T>(&*lane.store).await.map_err(unknown)?;
    if head.next <= first {
        return Ok(false);
    }
    if let Some(record) = head.open.iter().find(|record| record.id == first) {
        return Ok(record.by == by);
    }
    let mut options = ListEntries::of(lane.place.chunks.clone());
    options.after = Some(lane.place.key(first.saturating_add(1))?);
    options.limit = 1;
    let page = lane.store.list(&options).await.map_err(unknown)?;
    let chunk: Option<Chunk<T>> =
        page.entries.first().map(|entry| lane.place.decode(entry)).transpose().map_err(unknown)?;
    let found = chunk.iter().flat_map(|chunk| &chunk.records).find(|record| record.id == first);
    // It was written by somebody, and is gone since.
    let gone =
        || Error::new(ErrorKind::Unavailable, "it is not known whether it was written").with_retry(Retry::Unknown);
    found.map(|record| record.by == by).ok_or_else(gone)
}
