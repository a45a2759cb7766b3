//! Append-only series of documents in the store: what is measured, kept for a bounded time, read newest first.
//!
//! Each kind of document is a series of its own. A document gets a number that rises and is never given twice, and the time of the server
//! that wrote it, also when several servers write at once: all of them replace the series' head, and only the one that replaces it as it
//! was gets the numbers. The newest documents are in the head itself, so that the last one is one read; when there are a hundred of them,
//! or they are a minute old, they become a chunk that nobody adds to any more. Chunks lie in the store with the newest first, which of them
//! hold a subject is remembered once they were read, and what is too old or too much is not shown from then on, and goes chunk by chunk.

mod append;
mod index;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod trim;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::Result;
use roadstead_core::store::{Key, Prefix, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::append::{APPEND_MAX, Stamp};
pub(crate) use self::read::Wanted;
pub(crate) use self::record::Record;

use self::append::Lane;
use self::record::Place;

/// How much of a series is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) age: Duration,
    pub(crate) count: u64,
}

/// A document of a series. It is written by one server and read by others, perhaps of another version.
pub(crate) trait Document: Clone + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What it is about: under each of these it is found without reading what is about others.
    fn subjects(&self) -> impl Iterator<Item = &str>;

    /// Whether it is about this.
    fn is_about(&self, subject: &str) -> bool {
        self.subjects().any(|of| of == subject)
    }
}

/// The documents of one kind. Clones are the same series.
#[derive(Clone, Debug)]
pub(crate) struct Series<T: Document> {
    lane: Arc<Lane<T>>,
}

impl<T: Document> Series<T> {
    /// The series whose head is at this key, with its chunks below the prefix. What one document is called in errors is `noun`. An append
    /// is not tried for longer than `deadline`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        head: Key,
        chunks: Prefix,
        noun: &'static str,
        bounds: Bounds,
        deadline: Duration,
    ) -> Self {
        Series { lane: Arc::new(Lane::new(store, Place { head, chunks, noun }, bounds, deadline)) }
    }

    /// Adds documents, all of them or none, and tells the number and the time of each. They are on the disk when this returns; they may
    /// be, too, when its future is dropped before.
    ///
    /// # Errors
    /// `InvalidInput` when they are more or larger than one append takes, `DeadlineExceeded` when others were always faster, and those of
    /// the store; the retry advice says whether they may have been written.
    pub(crate) async fn append(&self, documents: Vec<T>) -> Result<Vec<Stamp>> {
        append::append(&self.lane, documents).await
    }

    /// What is wanted, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn newest(&self, wanted: &Wanted<'_, T>) -> Result<Vec<Record<T>>> {
        read::newest(&self.lane, wanted).await
    }

    /// Removes what is about a subject of all that is there now, and tells how much that was.
    ///
    /// # Errors
    /// Those of the store; it can be done again.
    pub(crate) async fn forget(&self, subject: &str) -> Result<u64> {
        trim::forget(&self.lane, subject).await
    }

    /// Deletes what is too old or too much, again and again. Never ends.
    pub(crate) async fn keep_trimmed(&self) {
        trim::keep_trimmed(&self.lane).await;
    }
}
