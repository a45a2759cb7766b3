//! What happened on the nodes, kept in the store for a bounded time: one sequence of all nodes, whichever server writes and reads.
//!
//! The server that watches a node writes what happens on it ([`watching`] follows the engine, [`writer`] writes), everybody reads
//! ([`reader`]). What may have been missed (a watch began, was taken over, or broke) is said by an event of its own, in the sequence.

mod filter;
mod position;
mod reader;
mod recent;
mod record;
mod shown;
mod watching;
mod writer;

use std::sync::Arc;

use roadstead_core::Result;
use roadstead_core::store::{Key, Prefix, Store};

pub(crate) use filter::EventFilter;
pub(crate) use position::{Position, Skip};
pub(crate) use reader::{Item, Missing, Reader};
pub(crate) use record::Cursor;
pub(crate) use shown::{JournalEvent, JournalNodeError, Resync, Told, told};
pub(crate) use watching::{Watching, follow_alerts};
pub(crate) use writer::{Bounds, Pause, Writer};

/// The journal of the store.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    place: record::Place,
    recent: recent::Recent,
}

impl Journal {
    /// Opens it, and makes it when there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn open(store: Arc<dyn Store>, head: Key, batches: Prefix) -> Result<Self> {
        let place = record::Place { head, batches };
        let (head, _) = writer::head(&*store, &place).await?;
        Ok(Journal { store, place, recent: recent::Recent::new(&head) })
    }

    /// Follows what is written. Never ends; without it nobody is told of anything.
    pub(crate) async fn follow(&self) {
        self.recent.follow(&*self.store, &self.place).await;
    }

    /// Who writes into it.
    pub(crate) fn writer(&self, bounds: Bounds, is_gone: impl Fn(&str) -> bool + Send + Sync + 'static) -> Writer {
        Writer::new(Arc::clone(&self.store), self.place.clone(), bounds, is_gone)
    }

    /// Where somebody is who has everything that is known here.
    pub(crate) fn end(&self) -> Cursor {
        self.recent.end()
    }

    /// Reads from a cursor on.
    pub(crate) fn read(self: &Arc<Self>, after: Cursor) -> Reader {
        Reader::new(Arc::clone(self), after)
    }
}

#[cfg(test)]
mod tests;
