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
use self::queue::{Jobs, Next, Queue};
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
    /// None in a store that only reads.
    writes: Option<Queue<Command>>,
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
            let mut reading = Database::open_beside(&path)?;
            let writer = Writer::new(writing, transactions)?;
            let reached = writer.reached();
            let reads = Queue::begin("roadstead-store-reads", move |jobs| answer(jobs, &mut reading))?;
            let writes = Queue::begin("roadstead-store", move |jobs| writer.run(jobs))?;
            Ok(SqliteStore(Arc::new(Shared { reads, writes: Some(writes), reached })))
        });
        opened
            .await
            .map_err(|cause| Error::new(ErrorKind::Unexpected, "the store was not opened").with_source(cause))?
    }

    /// Opens the file to look into it, also while another process has it; `None` when there is no such file. Nothing is made or
    /// changed: writes are `Unsupported`, an older schema is refused, and watches tell nothing new.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn read_only(path: &Path) -> Result<Option<Self>> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let Some(mut reading) = Database::open_to_read(&path)? else { return Ok(None) };
            let (_, reached) = watch::channel(reading.revision()?);
            let reads = Queue::begin("roadstead-store-reads", move |jobs| answer(jobs, &mut reading))?;
            Ok(Some(SqliteStore(Arc::new(Shared { reads, writes: None, reached }))))
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
        let read_only = || Error::unsupported("writing to a store that was opened to be read");
        self.0.writes.as_ref().ok_or_else(read_only)?.ask(command).await
    }
}

fn answer(jobs: &Jobs<Reading>, database: &mut Database) {
    while let Next::Job(job) = jobs.next(None) {
        job(database);
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
        self.revision().await?;
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

    async fn close(&self) -> Result<()> {
        let shared = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || {
            // The one that writes has the lock on the file: last, so that the file is not used any more when another may.
            shared.reads.close();
            if let Some(writes) = &shared.writes {
                writes.close();
            }
        });
        closed.await.map_err(|cause| Error::new(ErrorKind::Unexpected, "the store was not closed").with_source(cause))
    }
}

#[cfg(test)]
mod tests;
