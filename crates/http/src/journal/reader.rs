//! Reads the journal from a cursor on: from memory what is new, from the store what is older, and says what is not there any more.

use std::sync::Arc;

use roadstead_core::store::ListEntries;
use roadstead_core::{Result, Timestamp};
use serde::Serialize;

use super::Journal;
use super::recent::{Found, Numbered};
use super::record::{BATCH_MAX, Batch, Cursor, Record};
use super::writer::{decode, head};

/// So many batches are read from the store at once.
const PAGE: usize = 16;
/// Clocks of servers that share a store may differ by so much.
const SKEW_NANOS: i128 = 60_000_000_000;

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    /// They are older than what is kept.
    Expired,
    /// The cursor is of another journal than the one that there is: the store was made anew or brought back from a copy.
    OtherJournal,
}

/// What a reader is given.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A record, and where the reader is once it has it.
    Record(Cursor, Arc<Batch>, usize),
    /// Records between the last one and the next one are missing.
    Resync(Cursor, Missing),
}

impl Item {
    /// Where the reader is behind it.
    pub(crate) fn cursor(&self) -> &Cursor {
        match self {
            Item::Record(cursor, ..) | Item::Resync(cursor, _) => cursor,
        }
    }

    /// The record, if it is one.
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Item::Record(_, batch, index) => batch.records.get(*index),
            Item::Resync(..) => None,
        }
    }
}

/// Somebody who reads.
#[derive(Debug)]
pub(crate) struct Reader {
    journal: Arc<Journal>,
    cursor: Cursor,
}

impl Reader {
    pub(super) fn new(journal: Arc<Journal>, cursor: Cursor) -> Self {
        Reader { journal, cursor }
    }

    /// Where it is.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// What comes next, at least one item; waits until there is one. Giving up waiting loses nothing.
    ///
    /// # Errors
    /// Those of the store; it can be asked again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Item>> {
        let mut changes = self.journal.recent.changes();
        loop {
            changes.borrow_and_update();
            let items = match self.journal.recent.behind(&self.cursor) {
                Found::Batches(batches) => self.items(&batches),
                Found::Nothing => Vec::new(),
                Found::Elsewhere => self.stored().await?,
                Found::Other => vec![self.restart(Missing::OtherJournal).await?],
            };
            if let Some(last) = items.last() {
                self.cursor = last.cursor().clone();
                return Ok(items);
            }
            // The sender lives as long as the journal, which is held here.
            let _ = changes.changed().await;
        }
    }

    /// The records behind the cursor.
    fn items(&self, batches: &[Numbered]) -> Vec<Item> {
        let mut items = Vec::new();
        for (first, batch) in batches {
            for (seq, index) in (*first..).zip(0..batch.records.len()) {
                if seq > self.cursor.seq {
                    let cursor = Cursor { epoch: self.cursor.epoch.clone(), seq };
                    items.push(Item::Record(cursor, Arc::clone(batch), index));
                }
            }
        }
        items
    }

    /// What is missing is told, and what is kept comes after it.
    async fn restart(&self, why: Missing) -> Result<Item> {
        let (head, _) = head(&*self.journal.store, &self.journal.place).await?;
        let cursor = Cursor { epoch: head.epoch, seq: head.oldest.saturating_sub(1) };
        Ok(Item::Resync(cursor, why))
    }

    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Numbered>> {
        let place = &self.journal.place;
        let mut options = ListEntries::of(place.batches.clone());
        options.after = Some(place.key(after)?);
        options.limit = limit;
        let page = self.journal.store.list(&options).await?;
        let mut found = Vec::new();
        for entry in &page.entries {
            let Some(first) = place.first(&entry.key) else { continue };
            match decode(entry) {
                Ok(batch) => found.push((first, Arc::new(batch))),
                Err(error) => {
                    // It is told as missing, by whoever finds that the next one does not go on where the last one ended.
                    tracing::error!(%error, "journal: a batch is left out");
                    if !found.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// What the store has behind the cursor; nothing when that comes only later.
    async fn stored(&self) -> Result<Vec<Item>> {
        let next = self.cursor.seq.saturating_add(1);
        // Mostly the next batch begins where the one before ended; otherwise the number is in the middle of one.
        let mut batches = self.page(self.cursor.seq, PAGE).await?;
        if batches.first().is_none_or(|(first, _)| *first != next) {
            batches = self.page(next.saturating_sub(BATCH_MAX as u64), BATCH_MAX).await?;
            batches.retain(|(first, batch)| first.saturating_add(batch.len()) > next);
        }
        match batches.first() {
            Some((first, _)) if *first <= next => return Ok(self.items(&batches)),
            Some((first, _)) => {
                let cursor = Cursor { epoch: self.cursor.epoch.clone(), seq: first.saturating_sub(1) };
                return Ok(vec![Item::Resync(cursor, Missing::Expired)]);
            }
            None => {}
        }
        let (head, _) = head(&*self.journal.store, &self.journal.place).await?;
        if head.epoch != self.cursor.epoch || next > head.next {
            // What nobody has written yet, nobody can have.
            return Ok(vec![self.restart(Missing::OtherJournal).await?]);
        }
        if next < head.oldest {
            return Ok(vec![self.restart(Missing::Expired).await?]);
        }
        Ok(Vec::new())
    }

    /// Goes back to before what was written at a time, and says whether that is further back than what is kept.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn rewind(&mut self, since: Timestamp) -> Result<bool> {
        let (head, _) = head(&*self.journal.store, &self.journal.place).await?;
        let wanted = since.unix_nanos().saturating_sub(SKEW_NANOS);
        let is_before = |(_, batch): &Numbered| batch.at.unix_nanos() < wanted;
        // All that is before `low` was written before; what is from `high` on was not.
        let (mut low, mut high) = (head.oldest, head.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.page(middle.saturating_sub(1), 1).await?.first() {
                Some(found) if found.0 < high && is_before(found) => low = found.0.saturating_add(found.1.len()),
                _ => high = middle,
            }
        }
        self.cursor = Cursor { epoch: head.epoch, seq: low.saturating_sub(1) };
        if low > head.oldest || head.oldest == 1 {
            return Ok(false);
        }
        let first = self.page(low.saturating_sub(1), 1).await?;
        Ok(first.first().is_none_or(|(_, batch)| batch.at > since))
    }
}
