//! What the server must remember, in its store: opened, its values sealed, its schema brought up to date.
//!
//! Each kind of record is a table of its own; this room says which there are and where, so that no two of them meet.

mod import;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_backends::stores::StoreUri;
use roadstead_backends::stores::sealed::{SealKeys, SealedStore};
use roadstead_core::store::{Key, ListEntries, MemoryStore, Prefix, Store, Table, ensure_whole, entries};
use roadstead_core::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::dialects::Dialect;
use crate::dialects::pharos::Registered;
use crate::fleet::Fleet;
use crate::idempotency::Keys;
use crate::journal::Journal;
use crate::moves::StoreLog;
use crate::nodes::StoredNode;
use crate::pools::StoredPool;
use crate::series::{Bounds, Document, Series};
use crate::state_dir::StateDir;
use crate::webhooks::Register;
use crate::work::Book;

/// Version of what the records are. An older one is brought up to date at the start, a newer one is not touched.
const VERSION: u32 = 1;

/// Says of a store that it is a server's, with which version of records, and by being readable that the key is the right one.
#[derive(Debug, Serialize, Deserialize)]
struct Schema {
    version: u32,
}

/// Everything that the server must remember. Clones are the same.
#[derive(Clone, Debug)]
pub struct Records {
    store: Arc<dyn Store>,
}

impl Records {
    /// Opens the store that the configuration names, and makes what is not there yet. What older versions kept in files is taken in.
    ///
    /// # Errors
    /// When the store or the key file cannot be used, do not belong together, or are of a newer Roadstead.
    pub async fn open(config: &Config, state_dir: &StateDir) -> Result<Self> {
        let uri = store_uri(config, state_dir)?;
        let inner = uri.open().await?;
        ensure_whole(&*inner).await?;
        let is_new = is_empty(&*inner).await?;
        // A new key would open nothing of what is there.
        let keys = keys(&config.key_file, is_new).await?;
        let records = Records { store: Arc::new(SealedStore::new(inner, keys)) };
        records.settle(is_new, &config.key_file).await?;
        if !uri.is_shared() {
            // It has one server: who was alive in it is not any more.
            records.end_sessions().await?;
        }
        import::files(&records, state_dir).await?;
        Ok(records)
    }

    /// What is there, to be looked at while a server may be running; nothing is made or changed.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn peek(config: &Config, state_dir: &StateDir) -> Result<Self> {
        let seen = Records::of(Arc::new(MemoryStore::new()));
        if let Some(inner) = store_uri(config, state_dir)?.open_to_read().await?
            && !is_empty(&*inner).await?
        {
            ensure_whole(&*inner).await?;
            let keys = keys(&config.key_file, false).await?;
            let records = Records { store: Arc::new(SealedStore::new(inner, keys)) };
            records.settle(false, &config.key_file).await?;
            for node in records.kept_nodes().await? {
                seen.nodes()?.put(&node.name, &node).await?;
            }
            records.close().await?;
        }
        for node in import::nodes(state_dir)? {
            seen.nodes()?.put(&node.name, &node).await?;
        }
        Ok(seen)
    }

    /// Ends the sessions that are in the store.
    async fn end_sessions(&self) -> Result<()> {
        let mut leases = BTreeSet::new();
        for prefix in ["servers/", "claims/"] {
            let (entries, _) = entries(&*self.store, &Prefix::new(prefix)?).await?;
            leases.extend(entries.iter().filter_map(|entry| entry.lease));
        }
        for lease in leases {
            match self.store.revoke(lease).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                ended => ended?,
            }
        }
        Ok(())
    }

    /// In a store that is ours and open.
    pub(crate) fn of(store: Arc<dyn Store>) -> Self {
        Records { store }
    }

    /// The store itself.
    #[cfg(test)]
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Looks whose store it is, and makes it ours when it is new.
    async fn settle(&self, is_new: bool, key_file: &Path) -> Result<()> {
        let schema: Table<Schema> = self.table("meta/", "schema")?;
        if is_new {
            // Of several servers that start at once on a new store, one writes it.
            match schema.create("schema", &Schema { version: VERSION }).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                written => return written.map(drop),
            }
        }
        let found = schema.get("schema").await.map_err(|error| match error.kind() {
            ErrorKind::Unexpected => Error::new(
                ErrorKind::Conflict,
                format!(
                    "the store and the key file {} do not belong together: {}",
                    key_file.display(),
                    error.message()
                ),
            )
            .with_field("key_file"),
            _ => error,
        })?;
        match found.map(|found| found.value.version) {
            Some(VERSION) => Ok(()),
            Some(version) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the store has records of version {version}; this Roadstead knows version {VERSION} and does not touch them"
                ),
            )),
            None => Err(Error::new(ErrorKind::Conflict, "the store holds entries, but none of Roadstead's")),
        }
    }

    fn table<T: Serialize + serde::de::DeserializeOwned>(&self, prefix: &str, noun: &'static str) -> Result<Table<T>> {
        Ok(Table::new(Arc::clone(&self.store), Prefix::new(prefix)?, noun))
    }

    /// The nodes that were added over the API, by name.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn nodes(&self) -> Result<Table<StoredNode>> {
        self.table("nodes/", "node")
    }

    /// What is kept of the nodes that were added over the API, secrets included.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn kept_nodes(&self) -> Result<Vec<StoredNode>> {
        let (nodes, _) = self.nodes()?.all().await?;
        nodes.into_iter().map(|(_, node)| node.map(|node| node.value)).collect()
    }

    /// The records of moves, by id.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn moves(&self) -> Result<StoreLog> {
        let table = self.table("moves/", "migration")?;
        Ok(StoreLog::new(Arc::clone(&self.store), table, Prefix::new("move-parts/")?))
    }

    /// The jobs of the server.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn jobs(&self) -> Result<Book> {
        let (parts, drafts) = (Prefix::new("job-parts/")?, Prefix::new("job-drafts/")?);
        Ok(Book::new(Arc::clone(&self.store), self.table("jobs/", "job")?, parts, drafts))
    }

    /// Joins the servers that share the store, as one with this state directory that listens at these URLs.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn join(&self, state_id: &str, urls: Vec<String>) -> Result<Fleet> {
        Fleet::join(Arc::clone(&self.store), self.table("servers/", "server")?, state_id, urls).await
    }

    /// The journal of what happened on the nodes.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn journal(&self) -> Result<Journal> {
        Journal::open(Arc::clone(&self.store), Key::new("meta/events")?, Prefix::new("events/")?).await
    }

    /// The webhooks, by id.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn webhooks(&self) -> Result<Register> {
        let (webhooks, deliveries) = (self.table("webhooks/", "webhook")?, self.table("deliveries/", "delivery")?);
        Ok(Register::new(Arc::clone(&self.store), webhooks, deliveries))
    }

    /// What callers of the dialect pharos said of nodes when they registered them, by the names of these.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn pharos(&self) -> Result<Table<Registered>> {
        self.table("pharos/nodes/", "registration")
    }

    /// The pools, by name.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn pools(&self) -> Result<Table<StoredPool>> {
        self.table("pools/", "pool")
    }

    /// What is measured of this kind, of which one document is called `noun` in errors, within the bounds of the configuration.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn measurements<T: Document>(
        &self,
        kind: &str,
        noun: &'static str,
        config: &Config,
    ) -> Result<Series<T>> {
        let below = Prefix::new("measurements/")?;
        let chunks = Prefix::new(format!("{}{kind}/chunks/", below.as_str()))?;
        let bounds = Bounds {
            age: Duration::from_secs(config.keep_measurements_seconds.into()),
            count: config.keep_measurements_count.into(),
        };
        let deadline = Duration::from_secs(config.request_timeout_seconds.into());
        let head = below.key(&format!("{kind}/head"))?;
        Ok(Series::new(Arc::clone(&self.store), head, chunks, noun, bounds, deadline))
    }

    /// What a dialect remembers of this kind, of which one is called `noun` in errors.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn of_dialect<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        dialect: Dialect,
        kind: &str,
        noun: &'static str,
    ) -> Result<Table<T>> {
        self.table(&format!("dialects/{dialect}/{kind}/"), noun)
    }

    /// The keys of requests that may come again, and what was answered.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn keys(&self) -> Result<Keys> {
        let keys = self.table("idempotency/keys/", "key")?;
        Ok(Keys::new(Arc::clone(&self.store), keys, Prefix::new("idempotency/marks/")?))
    }

    /// Gives the store up: nothing is read or written any more.
    ///
    /// # Errors
    /// When that fails, which leaves the store as it is.
    pub(crate) async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

/// For the members of records that are secrets: the store seals them, and nothing else is to write them.
pub(crate) fn kept_secret<S: serde::Serializer>(
    secret: &Secret,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// That of the configuration, or the file in the state directory.
fn store_uri(config: &Config, state_dir: &StateDir) -> Result<StoreUri> {
    match &config.store {
        Some(store) => store.uri(),
        None => Ok(StoreUri::Sqlite(state_dir.store_path())),
    }
}

async fn is_empty(store: &dyn Store) -> Result<bool> {
    let mut first = ListEntries::of(Prefix::default());
    first.limit = 1;
    Ok(store.list(&first).await?.entries.is_empty())
}

async fn keys(path: &Path, may_be_made: bool) -> Result<SealKeys> {
    let path = path.to_owned();
    let read = move || match may_be_made {
        true => SealKeys::read_or_make(&path),
        false => SealKeys::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(
                ErrorKind::Conflict,
                format!(
                    "{}, and what is in the store cannot be read without the key: bring the file back from a copy",
                    error.message()
                ),
            )
            .with_field("key_file"),
            _ => error,
        }),
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|cause| Error::new(ErrorKind::Unexpected, "the key file was not read").with_source(cause))?
}

#[cfg(test)]
mod tests;
