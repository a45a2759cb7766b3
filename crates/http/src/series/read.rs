//! Reading a series: newest first, and no further back than what is wanted.

use std::fmt;

use roadstead_core::store::{Entry, ListEntries};
use roadstead_core::{Result, Timestamp};

use super::append::Lane;
use super::record::{Chunk, Head, Record};
use super::{Bounds, Document};

/// So many chunks are read at once; of the first ones fewer, since the last records are what is asked for most.
const PAGE_MIN: usize = 1;
const PAGE_MAX: usize = 16;
/// Clocks of servers that share a store may differ by so much.
const SKEW_NANOS: i128 = 60_000_000_000;

/// What is wanted of a series; everything by default.
pub(crate) struct Wanted<'a, T> {
    /// Not before this time.
    pub(crate) since: Option<Timestamp>,
    /// Not after this time.
    pub(crate) until: Option<Timestamp>,
    /// Only what is about this.
    pub(crate) about: Option<&'a str>,
    /// Numbers behind this one only.
    pub(crate) above: u64,
    /// At most so many.
    pub(crate) limit: usize,
    /// Only what passes.
    pub(crate) filter: &'a (dyn Fn(&T) -> bool + Send + Sync),
}

impl<T> Default for Wanted<'_, T> {
    fn default() -> Self {
        Wanted { since: None, until: None, about: None, above: 0, limit: usize::MAX, filter: &|_| true }
    }
}

impl<T> fmt::Debug for Wanted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("since", &self.since)
            .field("until", &self.until)
            .field("about", &self.about)
            .field("above", &self.above)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What of a series still counts: what is too old or too much is not shown, though it is there until it is deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    /// The first number.
    pub(super) id: u64,
    /// The first moment, in nanoseconds.
    pub(super) nanos: i128,
}

impl Floor {
    pub(super) fn of<T>(head: &Head<T>, bounds: Bounds) -> Self {
        let age = i128::try_from(bounds.age.as_nanos()).unwrap_or(i128::MAX);
        Floor {
            id: head.next.saturating_sub(bounds.count).max(1),
            nanos: Timestamp::now().unix_nanos().saturating_sub(age),
        }
    }

    pub(super) fn holds<T>(self, record: &Record<T>) -> bool {
        record.id >= self.id && record.at.unix_nanos() >= self.nanos
    }
}

/// What was found, and what is known of how far it has to go on.
struct Finding<'a, T> {
    wanted: &'a Wanted<'a, T>,
    floor: Floor,
    /// The number from which on all is read.
    read: u64,
    found: Vec<Record<T>>,
}

impl<T: Document> Finding<'_, T> {
    /// Looks at records, oldest first. Whether older ones may be wanted.
    fn take(&mut self, records: Vec<Record<T>>) -> bool {
        let wanted = self.wanted;
        let since = wanted.since.map_or(self.floor.nanos, |since| since.unix_nanos().max(self.floor.nanos));
        let (mut newest, mut lowest) = (None, self.read);
        for record in records.into_iter().rev() {
            // What was in the head when that was read may be in a chunk by now.
            if record.id >= self.read {
                continue;
            }
            newest = newest.max(Some(record.at.unix_nanos()));
            lowest = lowest.min(record.id);
            let in_time = record.at.unix_nanos() >= since && wanted.until.is_none_or(|until| record.at <= until);
            let passes = |what: &T| wanted.about.is_none_or(|about| what.is_about(about)) && (wanted.filter)(what);
            if record.id > wanted.above && self.floor.holds(&record) && in_time && passes(&record.what) {
                if self.found.len() >= wanted.limit {
                    return false;
                }
                self.found.push(record);
            }
        }
        self.found.len() < wanted.limit
            && self.goes_on_below(lowest)
            && newest.is_none_or(|newest| newest >= since.saturating_sub(SKEW_NANOS))
    }

    /// Notes that all from a number on is read, or need not be. Whether what is before it may be wanted.
    fn goes_on_below(&mut self, number: u64) -> bool {
        self.read = self.read.min(number);
        self.read > self.floor.id.max(self.wanted.above.saturating_add(1))
    }
}

pub(super) async fn newest<T: Document>(lane: &Lane<T>, wanted: &Wanted<'_, T>) -> Result<Vec<Record<T>>> {
    if wanted.limit == 0 {
        return Ok(Vec::new());
    }
    let (head, _) = lane.head().await?;
    let border = head.open_first();
    let (oldest, mut before) = (head.oldest, border);
    let floor = Floor::of(&head, lane.bounds);
    let mut finding = Finding { wanted, floor, read: head.next, found: Vec::new() };
    let mut more = finding.take(head.open) && before > oldest;
    if more && let Some(until) = wanted.until {
        let latest = until.unix_nanos().saturating_add(SKEW_NANOS);
        before =
            divide(lane, oldest, before, |chunk| chunk.oldest().is_some_and(|oldest| oldest.unix_nanos() > latest))
                .await?;
    }
    let mut limit = PAGE_MIN;
    while more {
        if let Some(about) = wanted.about {
            let step = lane.index.step(about, before, PAGE_MAX);
            before = step.before;
            if before <= oldest || !finding.goes_on_below(before) {
                break;
            }
            limit = if step.run == 0 { limit } else { step.run.min(limit) };
        }
        let (chunks, rest) = chunks(lane, before, limit, border).await?;
        more = rest && !chunks.is_empty();
        for (first, _, chunk) in chunks {
            before = first;
            // One that makes no sense hides no other.
            if let Some(chunk) = chunk
                && !finding.take(chunk.records)
            {
                more = false;
                break;
            }
        }
        limit = PAGE_MAX;
    }
    Ok(finding.found)
}

/// A chunk by its first number; none in place of one that makes no sense.
pub(super) type Found<T> = (u64, Entry, Option<Chunk<T>>);

/// The newest chunks that begin before a number, and whether there are more. From the number `border` on there may be more soon, of what
/// was in the head when that was read.
pub(super) async fn chunks<T: Document>(
    lane: &Lane<T>,
    before: u64,
    limit: usize,
    border: u64,
) -> Result<(Vec<Found<T>>, bool)> {
    let mut options = ListEntries::of(lane.place.chunks.clone());
    options.after = Some(lane.place.key(before)?);
    options.limit = limit;
    let page = lane.store.list(&options).await?;
    let mut next = Some(before).filter(|before| *before <= border);
    let found = page.entries.into_iter().filter_map(|entry| {
        let first = lane.place.first(&entry.key)?;
        let chunk = lane.place.decode(&entry);
        match &chunk {
            Ok(chunk) => lane.index.enter(first, next, chunk),
            Err(error) => tracing::error!(%error, "measurements: a chunk is left out"),
        }
        next = Some(first).filter(|first| *first <= border);
        Some((first, entry, chunk.ok()))
    });
    Ok((found.collect(), page.more))
}

/// The number from which on all chunks are too new, of those between two numbers.
pub(super) async fn divide<T: Document>(
    lane: &Lane<T>,
    oldest: u64,
    before: u64,
    too_new: impl Fn(&Chunk<T>) -> bool + Send,
) -> Result<u64> {
    let (mut low, mut high) = (oldest.saturating_sub(1), before);
    while low < high {
        // Never the lower one, which would be asked for forever.
        let middle = low + (high - low).div_ceil(2);
        let (found, _) = chunks(lane, middle, 1, before).await?;
        match found.into_iter().next() {
            Some((first, _, Some(chunk))) if first >= low && too_new(&chunk) => high = first,
            _ => low = middle,
        }
    }
    Ok(high)
}
