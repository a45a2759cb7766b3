//! The embedded store: one SQLite file, in which every acknowledged write is durable.
//!
//! One thread writes and another one reads, each with its own connection, so that no caller's thread waits for the disk. Commits that
//! come while the disk is busy are written together, each one still all or nothing, and are acknowledged when all of them are on the
//! disk. The file belongs to one process at a time.

mod database;
mod queue;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::store::{
    Entries, Entry, Key, LeaseId, ListEntries, Prefix, Revision, Store, Transaction, Watched, life,
};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use tokio::sync::watch;

use self::database::Database;
use self::queue::{Next, Queue};
use self::writer::{Command, Writer};

/// Transactions that are remembered for watches.
const REMEMBERED: u64 = 10_000;
/// How many transactions a watch takes at once.
const WATCHED_AT_ONCE: u64 = 256;

/// A store in a file. Clones are the same one.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    reads: Queue<Reading>,
    writes: Queue<Command>,
    reached: watch::Receiver<Revision>,
}

/// A question, asked of the connection that reads.
type Reading = Box<dyn FnOnce(&mut Database) + Send>;

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("revision", &*self.0.reached.borrow()).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file, and makes it, for nobody but its owner, when it is not there. An older schema is brought up to date.
    ///
    /// # Errors
    /// `Conflict` when another process has it, or its schema is that of a newer Roadstead; `Unexpected` when it is no such file or
    /// cannot be used.
    pub async fn open(path: &Path) -> Result<Self> {
        SqliteStore::remembering(path, REMEMBERED).await
    }

    /// The same, with so many transactions remembered for watches.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn remembering(path: &Path, transactions: u64) -> Result<Self> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let writing = Database::open(&path)?;
            let mut reading = Database::open_to_read(&path)?;
            let writer = Writer::new(writing, transactions)?;
            let reached = writer.reached();
            let reads = Queue::begin("roadstead-store-reads", move |jobs: &queue::Jobs<Reading>| {
                while let Next::Job(job) = jobs.next(None) {
                    job(&mut reading);
                }
            })?;
            let writes = Queue::begin("roadstead-store", move |jobs| writer.run(jobs))?;
            Ok(SqliteStore(Arc::new(Shared { reads, writes, reached })))
        });
        opened
            .await
            .map_err(|cause| Error::new(ErrorKind::Unexpected, "the store was not opened").with_source(cause))?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Database) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.reads.ask(|answer| Box::new(move |database: &mut Database| answer.give(read(database)))).await
    }

    async fn write<T: Send + 'static>(&self, command: impl FnOnce(queue::Answer<T>) -> Command) -> Result<T> {
        self.0.writes.ask(command).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let key = key.clone();
        self.read(move |database| database.get(&key)).await
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        options.validate()?;
        let options = options.clone();
        self.read(move |database| database.list(&options)).await
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        let transaction = transaction.clone();
        self.write(|answer| Command::Commit(transaction, answer)).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
        let watching = (self.clone(), prefix.clone(), self.0.reached.clone(), after);
        let items = stream::unfold(Some(watching), |watching| async move {
            let (store, prefix, mut reached, mut after) = watching?;
            loop {
                // Whoever is told that it is over learns it by the end of the stream.
                reached.wait_for(|reached| *reached > after).await.ok()?;
                let below = prefix.clone();
                let told = store.read(move |database| database.changes(&below, after, WATCHED_AT_ONCE)).await;
                match told {
                    Ok(None) => return Some((vec![Ok(Watched::Resync)], None)),
                    Ok(Some((items, until))) => {
                        after = until;
                        if !items.is_empty() {
                            let items = items.into_iter().map(Ok).collect();
                            return Some((items, Some((store, prefix, reached, after))));
                        }
                    }
                    Err(error) => return Some((vec![Err(error)], None)),
                }
            }
        });
        Ok(items.flat_map(stream::iter).boxed())
    }

    async fn lease(&self, asked: Duration) -> Result<LeaseId> {
        let life = life(asked)?;
        self.write(|answer| Command::Lease(life, answer)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.write(|answer| Command::Renew(lease, answer)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.write(|answer| Command::Revoke(lease, answer)).await
    }

    async fn revision(&self) -> Result<Revision> {
        self.read(|database| database.revision()).await
    }
}

#[cfg(test)]
mod tests;
