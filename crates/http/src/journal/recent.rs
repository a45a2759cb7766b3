//! The last batches of the journal in memory, fed by a watch of the store, so that those who follow it do not ask the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use roadstead_core::store::{Change, Revision, Store, Watched};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use tokio::sync::watch;

use super::record::{Batch, Cursor, Head, Place};
use super::writer::{Pause, decode, head};

/// So many records are in memory.
const RECORDS_MAX: u64 = 2000;

/// A batch and the number of its first record.
pub(super) type Numbered = (u64, Arc<Batch>);

#[derive(Debug)]
struct Ring {
    epoch: String,
    /// The number of the first record that is here.
    first: u64,
    /// The number of the next record.
    next: u64,
    batches: VecDeque<Numbered>,
}

/// The last batches.
#[derive(Debug)]
pub(super) struct Recent {
    ring: Mutex<Ring>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

/// What is here behind a number.
pub(super) enum Found {
    /// These, the first of which holds that number.
    Batches(Vec<Numbered>),
    /// It comes next, as far as is known here.
    Nothing,
    /// It is older than what is in memory, or newer than what is known here.
    Elsewhere,
    /// It is a number of another journal.
    Other,
}

impl Recent {
    pub(super) fn new(head: &Head) -> Self {
        let ring = Ring { epoch: head.epoch.clone(), first: head.next, next: head.next, batches: VecDeque::new() };
        Recent { ring: Mutex::new(ring), changed: watch::Sender::new(0) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A poisoned lock only says that another thread panicked; a ring that misses something is read past.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where somebody is who has everything that is known here.
    pub(super) fn end(&self) -> Cursor {
        let ring = self.ring();
        Cursor { epoch: ring.epoch.clone(), seq: ring.next.saturating_sub(1) }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What is here from the next of what the cursor has on.
    pub(super) fn behind(&self, cursor: &Cursor) -> Found {
        let ring = self.ring();
        let next = cursor.seq.saturating_add(1);
        if ring.epoch != cursor.epoch {
            return Found::Other;
        }
        if next == ring.next {
            return Found::Nothing;
        }
        if next < ring.first || next > ring.next {
            return Found::Elsewhere;
        }
        let wanted = ring.batches.iter().filter(|(first, batch)| first.saturating_add(batch.len()) > next);
        Found::Batches(wanted.cloned().collect())
    }

    /// Takes a batch in; an error when it does not go on where this ends.
    fn push(&self, first: u64, batch: Batch) -> Result<()> {
        {
            let mut ring = self.ring();
            let end = first.saturating_add(batch.len());
            if end <= ring.next {
                // It was known already, when what was watched began a little earlier.
                return Ok(());
            }
            if first != ring.next {
                return Err(Error::new(ErrorKind::Unexpected, "the journal does not go on where it ended"));
            }
            ring.next = end;
            ring.batches.push_back((first, Arc::new(batch)));
            while ring.next.saturating_sub(ring.first) > RECORDS_MAX
                && let Some((first, batch)) = ring.batches.pop_front()
            {
                ring.first = first.saturating_add(batch.len());
            }
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// What is between is read from the store by those who want it.
    fn skip_to(&self, head: &Head) {
        {
            let mut ring = self.ring();
            if ring.epoch == head.epoch && ring.next == head.next {
                return;
            }
            *ring = Ring { epoch: head.epoch.clone(), first: head.next, next: head.next, batches: VecDeque::new() };
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Follows the store for as long as the server runs. Never ends.
    pub(super) async fn follow(&self, store: &dyn Store, place: &Place) {
        let mut pause = Pause::new();
        loop {
            let begun = async {
                let after: Revision = store.revision().await?;
                let (head, _) = head(store, place).await?;
                let watched = store.watch(&place.batches, after).await?;
                self.skip_to(&head);
                Ok::<_, Error>(watched)
            };
            let ended = match begun.await {
                Ok(watched) => {
                    pause = Pause::new();
                    self.take_in(watched, place).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => tracing::debug!("journal: changes are missing, it is read anew"),
                Err(error) => tracing::warn!(%error, "journal: the store is not followed"),
            }
            pause.wait().await;
        }
    }

    async fn take_in(&self, mut watched: ItemStream<Watched>, place: &Place) -> Result<()> {
        while let Some(watched) = watched.next().await {
            let Watched::Changes { changes, .. } = watched? else { return Ok(()) };
            for change in changes {
                if let Change::Put(entry) = change
                    && let Some(first) = place.first(&entry.key)
                {
                    self.push(first, decode(&entry)?)?;
                }
            }
        }
        Ok(())
    }
}
