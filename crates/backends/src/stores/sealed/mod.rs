//! A store around another one, in which values are sealed (XChaCha20-Poly1305): whoever has the file, a copy of it, or the cluster
//! reads names and sizes, but no value, and cannot put one in another's place. An older value in its own place is not noticed.

mod key;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::store::{
    Change, Entries, Entry, Key, LeaseId, ListEntries, Prefix, Revision, Store, Transaction, Watched, Write,
};
use roadstead_core::{ItemStream, Result};

pub use self::key::SealKeys;

/// Seals what it writes and opens what it reads.
#[derive(Debug)]
pub struct SealedStore {
    inner: Arc<dyn Store>,
    keys: Arc<SealKeys>,
}

impl SealedStore {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, keys: SealKeys) -> Self {
        SealedStore { inner, keys: Arc::new(keys) }
    }
}

fn open(keys: &SealKeys, mut entry: Entry) -> Result<Entry> {
    entry.value = Bytes::from(keys.open(entry.key.as_str(), &entry.value)?);
    Ok(entry)
}

fn open_change(keys: &SealKeys, change: Change) -> Result<Change> {
    match change {
        Change::Put(entry) => open(keys, entry).map(Change::Put),
        other => Ok(other),
    }
}

#[async_trait]
impl Store for SealedStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.inner.get(key).await?.map(|entry| open(&self.keys, entry)).transpose()
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        let mut listed = self.inner.list(options).await?;
        listed.entries = listed.entries.into_iter().map(|entry| open(&self.keys, entry)).collect::<Result<_>>()?;
        Ok(listed)
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        let mut sealed = Transaction::new().wrapped(key::ADDED);
        for guard in transaction.guards() {
            sealed = sealed.when(guard.clone());
        }
        for write in transaction.writes() {
            sealed = sealed.write(match write {
                Write::Put { key, value, lease } => {
                    Write::Put { key: key.clone(), value: self.keys.seal(key.as_str(), value)?.into(), lease: *lease }
                }
                other => other.clone(),
            });
        }
        self.inner.commit(&sealed).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
        let keys = Arc::clone(&self.keys);
        let watched = self.inner.watch(prefix, after).await?;
        let opened = watched.map(move |watched| match watched? {
            Watched::Changes { changes, revision } => {
                let changes = changes.into_iter().map(|change| open_change(&keys, change)).collect::<Result<_>>()?;
                Ok(Watched::Changes { changes, revision })
            }
            other => Ok(other),
        });
        Ok(opened.boxed())
    }

    async fn lease(&self, life: Duration) -> Result<LeaseId> {
        self.inner.lease(life).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.revoke(lease).await
    }

    async fn revision(&self) -> Result<Revision> {
        self.inner.revision().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::store::MemoryStore;
    use roadstead_core::store::conformance::{StoreFixture, clauses, run};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_keeps_every_clause() {
        let directory = tempfile::tempdir().unwrap();
        let keys = SealKeys::read_or_make(&directory.path().join("key")).unwrap();
        for inner in [MemoryStore::new(), MemoryStore::remembering(250)] {
            let keys = keys.clone();
            let fixture = StoreFixture::new(move || {
                let store: Arc<dyn Store> = Arc::new(SealedStore::new(Arc::new(inner.clone()), keys.clone()));
                Box::pin(async move { Ok(store) })
            });
            for clause in clauses() {
                assert_eq!(run(clause, &fixture).await, Ok(()), "{clause:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_store_within_has_no_value_and_a_foreign_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let sealed = |name: &str| {
            let keys = SealKeys::read_or_make(&directory.path().join(name)).unwrap();
            SealedStore::new(Arc::clone(&inner), keys)
        };
        let (ours, theirs) = (sealed("ours"), sealed("theirs"));
        let key = Key::new("a/token").unwrap();
        ours.commit(&Transaction::new().put(key.clone(), "hunter2")).await.unwrap();
        let stored = inner.get(&key).await.unwrap().unwrap();
        assert!(!stored.value.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(&ours.get(&key).await.unwrap().unwrap().value[..], b"hunter2");
        let error = theirs.get(&key).await.unwrap_err();
        assert!(error.to_string().contains("a/token") && error.to_string().contains("theirs"), "{error}");
        // Put in another's place it is refused, too: also by a watch.
        let other = Key::new("a/other").unwrap();
        let moved = inner.commit(&Transaction::new().put(other.clone(), stored.value)).await.unwrap();
        ours.get(&other).await.unwrap_err();
        let mut watch = ours.watch(&Prefix::default(), Revision(moved.0 - 1)).await.unwrap();
        watch.next().await.unwrap().unwrap_err();
    }
}
