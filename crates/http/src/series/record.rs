//! What a series is in the store: a head with the newest records, and chunks of older ones.

use roadstead_core::store::{Entry, Key, Prefix, Revision, Store, read_document, write_document};
use roadstead_core::{Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most records of a chunk.
pub(super) const CHUNK_MAX: usize = 100;
/// The most bytes of a chunk, and of the records in a head.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// The most bytes of a record.
pub(super) const RECORD_BYTES: usize = 16 * 1024;
/// Records become a chunk when the first of them is so old.
pub(super) const CHUNK_AGE_NANOS: i128 = 60_000_000_000;

/// A document with its number and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record<T> {
    /// Its number. Those of a series rise, and none is given twice.
    pub(crate) id: u64,
    /// When it was written, by the clock of the server that wrote it.
    pub(crate) at: Timestamp,
    /// Another one for each transaction: by it a writer knows whether it was its own that was written.
    pub(super) by: u64,
    /// The document.
    pub(crate) what: T,
}

/// Which numbers there are, and the newest records. Whoever writes replaces it, so that no two get the same numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head<T> {
    /// The number of the next record.
    pub(super) next: u64,
    /// Another one for each series that was begun.
    #[serde(default)]
    pub(super) era: u64,
    /// No record before this one is kept.
    pub(super) oldest: u64,
    /// The newest records, oldest first.
    pub(super) open: Vec<Record<T>>,
}

impl<T> Default for Head<T> {
    fn default() -> Self {
        Head { next: 1, era: 0, oldest: 1, open: Vec::new() }
    }
}

impl<T> Head<T> {
    /// The number before which the records are in chunks.
    pub(super) fn open_first(&self) -> u64 {
        self.open.first().map_or(self.next, |record| record.id)
    }
}

/// Records that nobody adds to any more, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk<T> {
    pub(super) records: Vec<Record<T>>,
}

impl<T> Chunk<T> {
    /// The time of its newest record.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.records.iter().map(|record| record.at).max()
    }

    /// The time of its oldest record.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.records.iter().map(|record| record.at).min()
    }
}

/// Where a series stands in the store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) head: Key,
    pub(super) chunks: Prefix,
    /// What a part of it is called in errors.
    pub(super) noun: &'static str,
}

impl Place {
    /// The key of the chunk that begins with this number. A list gives keys from the smallest on, and the newest chunks are wanted first,
    /// so the greatest number has the smallest key.
    pub(super) fn key(&self, first: u64) -> Result<Key> {
        self.chunks.key(&format!("{:016x}", u64::MAX - first))
    }

    /// The number that a chunk begins with.
    pub(super) fn first(&self, key: &Key) -> Option<u64> {
        u64::from_str_radix(key.behind(&self.chunks)?, 16).ok().map(|inverted| u64::MAX - inverted)
    }

    /// The head as the store has it; none when nothing was ever written.
    pub(super) async fn head<T: DeserializeOwned>(&self, store: &dyn Store) -> Result<(Head<T>, Option<Revision>)> {
        match store.get(&self.head).await? {
            Some(entry) => Ok((self.decode(&entry)?, Some(entry.revision))),
            None => Ok((Head::default(), None)),
        }
    }

    pub(super) fn decode<D: DeserializeOwned>(&self, entry: &Entry) -> Result<D> {
        read_document(self.noun, entry)
    }

    pub(super) fn encode<D: Serialize>(&self, document: &D) -> Result<Vec<u8>> {
        write_document(self.noun, document)
    }
}
