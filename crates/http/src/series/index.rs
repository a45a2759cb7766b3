//! What the chunks are about, in memory: whoever asks for one subject reads the chunks that hold it, and no other.
//!
//! A chunk is entered when it is read for the first time since the server's start, and covers its numbers, and those up to the next chunk.
//! Nobody adds to a chunk, and none appears between two others; what is removed of one leaves an entry that says too much, which costs a
//! read and hides nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Document;
use super::record::{Chunk, Head};

/// What is known of the numbers from a chunk's first one on.
#[derive(Debug)]
struct Covered {
    /// Up to this number, without it.
    until: u64,
    /// Hashes, in their order: two subjects of one hash cost a read.
    subjects: Box<[u64]>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    chunks: Mutex<BTreeMap<u64, Covered>>,
    seen: Mutex<Seen>,
}

/// Which series it is about, and how far that had come at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    era: u64,
    next: u64,
}

/// How the search for a subject goes on below a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// No chunk from this number up to where it was asked from holds the subject.
    pub(super) before: u64,
    /// So many chunks before that number are known to hold it, one after the other.
    pub(super) run: usize,
}

fn hash(subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

impl Index {
    /// A poisoned lock only says that another thread panicked; entries are replaced as a whole.
    fn chunks(&self) -> MutexGuard<'_, BTreeMap<u64, Covered>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the series has come for certain, before its head is read.
    pub(super) fn seen(&self) -> Seen {
        *self.last_seen()
    }

    /// Forgets everything where a head is that of another series than was known before it was read, or is not as far as that was:
    /// somebody has put back an older store, or has removed what was there, while this server ran. (By what became known while it was
    /// read nothing can be said: others may have read a later one.)
    pub(super) fn check<T>(&self, before: Seen, head: &Head<T>) {
        let now = Seen { era: head.era, next: head.next };
        let is_another = now.era != before.era || now.next < before.next;
        let mut seen = self.last_seen();
        if is_another {
            self.chunks().clear();
            *seen = now;
        } else if seen.era == now.era {
            seen.next = seen.next.max(now.next);
        }
    }

    /// Remembers what a chunk is about, which is the last one before the number `next`, where that is known for good.
    pub(super) fn enter<T: Document>(&self, first: u64, next: Option<u64>, chunk: &Chunk<T>) {
        let mut chunks = self.chunks();
        // Behind the last chunk there may be another one soon, with numbers that were in the head.
        let until = match next.filter(|next| chunks.contains_key(next)) {
            Some(next) => next,
            None => chunk.records.last().map_or(first, |last| last.id.saturating_add(1)),
        };
        if let Some(known) = chunks.get_mut(&first) {
            known.until = known.until.max(until);
            return;
        }
        let mut subjects: Vec<_> = chunk.records.iter().flat_map(|record| record.what.subjects()).map(hash).collect();
        subjects.sort_unstable();
        subjects.dedup();
        chunks.insert(first, Covered { until, subjects: subjects.into() });
    }

    /// Where a search for a subject has to go on that has come down to `before`; at most `most` chunks are counted.
    pub(super) fn step(&self, subject: &str, mut before: u64, most: usize) -> Step {
        let (chunks, subject) = (self.chunks(), hash(subject));
        let mut known = chunks.range(..before).rev().peekable();
        while let Some((first, _)) =
            known.next_if(|(_, of)| of.until >= before && of.subjects.binary_search(&subject).is_err())
        {
            before = *first;
        }
        let (mut end, mut run) = (before, 0);
        while run < most
            && let Some((first, _)) =
                known.next_if(|(_, of)| of.until >= end && of.subjects.binary_search(&subject).is_ok())
        {
            end = *first;
            run += 1;
        }
        Step { before, run }
    }

    /// No chunk before this one is kept.
    pub(super) fn trim(&self, first_kept: u64) {
        let mut chunks = self.chunks();
        *chunks = chunks.split_off(&first_kept);
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::Timestamp;

    use super::super::record::Record;
    use super::*;

    fn chunk(first: u64, subjects: &[&str]) -> Chunk<(String, u64)> {
        let records = subjects.iter().zip(first..).map(|(subject, id)| Record {
            id,
            at: Timestamp::now(),
            by: 0,
            what: ((*subject).to_owned(), id),
        });
        Chunk { records: records.collect() }
    }

    #[test]
    fn only_a_head_that_fell_behind_what_was_known_before_it_was_read_clears_it() {
        let index = Index::default();
        let head = |era, next| Head::<(String, u64)> { era, next, ..Head::default() };
        let is_kept = || index.step("b", 3, 0).before == 1;
        let enter = || index.enter(1, None, &chunk(1, &["a", "a"]));
        index.check(index.seen(), &head(7, 100));
        enter();
        // Two read at once, and the one that read first comes last.
        let (early, late) = (index.seen(), index.seen());
        index.check(late, &head(7, 200));
        index.check(early, &head(7, 150));
        assert!(is_kept());
        assert_eq!(index.seen(), Seen { era: 7, next: 200 });
        index.check(index.seen(), &head(7, 199));
        assert!(!is_kept(), "it fell behind");
        enter();
        index.check(index.seen(), &head(8, 500));
        assert!(!is_kept(), "it is another one");
        assert_eq!(index.seen(), Seen { era: 8, next: 500 });
    }

    #[test]
    fn only_what_is_known_is_passed_over() {
        let index = Index::default();
        let step = |subject, before| {
            let Step { before, run } = index.step(subject, before, 3);
            (before, run)
        };
        assert_eq!(step("a", 50), (50, 0), "nothing is known");
        // Newest first, as they are read; before the second of them nothing was read yet.
        for (first, next, subjects) in
            [(32, 40, ["a", "b"]), (30, 32, ["a", "a"]), (9, 12, ["b", "c"]), (5, 9, ["b", "b"]), (1, 5, ["a", "b"])]
        {
            index.enter(first, Some(next), &chunk(first, &subjects));
        }
        for (subject, before, expected) in [
            ("a", 35, (35, 0)),
            ("a", 34, (34, 2)),
            ("b", 34, (34, 1)),
            ("b", 32, (30, 0)),
            ("c", 34, (30, 0)),
            ("a", 11, (5, 1)),
            ("b", 11, (11, 3)),
            ("c", 11, (11, 1)),
            ("c", 9, (1, 0)),
            ("d", 10, (1, 0)),
        ] {
            assert_eq!(step(subject, before), expected, "{subject} below {before}");
        }
        // Nothing is between these two, though numbers are.
        index.enter(9, None, &chunk(9, &["b", "c"]));
        assert_eq!(step("d", 34), (30, 0));
        index.enter(9, Some(30), &chunk(9, &["b", "c"]));
        assert_eq!(step("d", 34), (1, 0));
        index.trim(30);
        assert_eq!((step("d", 34), step("b", 11)), ((30, 0), (11, 0)));
    }
}
