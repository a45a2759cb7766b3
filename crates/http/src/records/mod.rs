//! What the server must remember, in its store: opened, its values sealed, its schema brought up to date.
//!
//! Each kind of record is a table of its own; this room says which there are and where, so that no two of them meet.

mod import;

use std::path::Path;
use std::sync::Arc;

use roadstead_backends::stores::sealed::{SealKeys, SealedStore};
use roadstead_backends::stores::sqlite::SqliteStore;
use roadstead_core::migration::MoveRecord;
use roadstead_core::store::{ListEntries, MemoryStore, Prefix, Revision, Store, Table};
use roadstead_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::nodes::StoredNode;
use crate::pools::StoredPool;
use crate::state_dir::StateDir;

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
        let inner: Arc<dyn Store> = Arc::new(SqliteStore::open(&state_dir.store_path()).await?);
        let is_new = inner.list(&ListEntries::of(Prefix::default())).await?.entries.is_empty();
        // A new key would open nothing of what is there.
        let keys = keys(&config.key_file, is_new).await?;
        let records = Records { store: Arc::new(SealedStore::new(inner, keys)) };
        records.settle(is_new, &config.key_file).await?;
        import::files(&records, state_dir).await?;
        Ok(records)
    }

    /// What is there, to be looked at while a server may be running; nothing is made or changed.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn peek(config: &Config, state_dir: &StateDir) -> Result<Self> {
        let seen = Records::of(Arc::new(MemoryStore::new()));
        if let Some(inner) = SqliteStore::read_only(&state_dir.store_path()).await?
            && inner.revision().await? > Revision::default()
        {
            let keys = keys(&config.key_file, false).await?;
            let records = Records { store: Arc::new(SealedStore::new(Arc::new(inner), keys)) };
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

    /// In a store that is ours and open.
    pub(crate) fn of(store: Arc<dyn Store>) -> Self {
        Records { store }
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
    pub(crate) fn moves(&self) -> Result<Table<MoveRecord>> {
        self.table("moves/", "migration")
    }

    /// The pools, by name.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn pools(&self) -> Result<Table<StoredPool>> {
        self.table("pools/", "pool")
    }

    /// Gives the store up: nothing is read or written any more.
    ///
    /// # Errors
    /// When that fails, which leaves the store as it is.
    pub(crate) async fn close(&self) -> Result<()> {
        self.store.close().await
    }
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
