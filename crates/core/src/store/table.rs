//! Tables: entries below one prefix that are all documents of one kind, as JSON.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Entry, Guard, Key, Prefix, Revision, Store, Transaction, Watched};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::ItemStream;

/// Documents of one kind by name. Clones are the same table.
pub struct Table<T> {
    store: Arc<dyn Store>,
    prefix: Prefix,
    /// What one is called in errors.
    noun: &'static str,
    of: PhantomData<fn() -> T>,
}

/// A document as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept<T> {
    /// The document.
    pub value: T,
    /// Of the transaction that wrote it last.
    pub revision: Revision,
}

/// What a watched table tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableChange<T> {
    /// A document was written; an error when what was written is none.
    Put(String, Result<Kept<T>>),
    /// It is gone.
    Deleted(String),
    /// Changes are missing: read all of them anew. The stream ends after it.
    Resync,
}

/// The bytes of a document that is called `noun` in errors.
///
/// # Errors
/// `Unexpected` when it has none, which would be a defect.
pub fn write_document<T: Serialize + ?Sized>(noun: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("the {noun} cannot be written: {error}")))
}

/// The document that an entry holds.
///
/// # Errors
/// `Unexpected` with the key as its resource when it makes no sense.
pub fn read_document<T: DeserializeOwned>(noun: &str, entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        // What serde says may repeat a value, which may be a secret.
        let words = format!("the {noun} at {} makes no sense at byte {}", entry.key, error.column());
        Error::new(ErrorKind::Unexpected, words).with_resource(entry.key.as_str())
    })
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Table { store: Arc::clone(&self.store), prefix: self.prefix.clone(), noun: self.noun, of: PhantomData }
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The documents below `prefix`, of which one is called `noun` in errors.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: Prefix, noun: &'static str) -> Self {
        Table { store, prefix, noun, of: PhantomData }
    }

    /// The key of a name.
    ///
    /// # Errors
    /// `InvalidInput` that names the noun when it cannot be one.
    pub fn key(&self, name: &str) -> Result<Key> {
        self.prefix.key(name).map_err(|error| Error::invalid(self.noun, error.message().to_owned()))
    }

    /// The bytes of a document, for transactions over several tables.
    ///
    /// # Errors
    /// `Unexpected` when it has none, which would be a defect.
    pub fn encode(&self, value: &T) -> Result<Vec<u8>> {
        write_document(self.noun, value)
    }

    fn decode(&self, entry: &Entry) -> Result<Kept<T>> {
        Ok(Kept { value: read_document(self.noun, entry)?, revision: entry.revision })
    }

    fn name(&self, key: &Key) -> String {
        key.behind(&self.prefix).unwrap_or_default().to_owned()
    }

    /// The document of this name, if there is one.
    ///
    /// # Errors
    /// Those of the store; `Unexpected` when it makes no sense.
    pub async fn get(&self, name: &str) -> Result<Option<Kept<T>>> {
        let entry = self.store.get(&self.key(name)?).await?;
        entry.map(|entry| self.decode(&entry)).transpose()
    }

    /// All of them in the order of their names, each with an error where it makes no sense; and the revision after which a watch
    /// tells what this does not hold. While others write, each is as it was at that revision or later.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn all(&self) -> Result<(Vec<(String, Result<Kept<T>>)>, Revision)> {
        let (entries, revision) = super::entries(&*self.store, &self.prefix).await?;
        let all = entries.iter().map(|entry| (self.name(&entry.key), self.decode(entry))).collect();
        Ok((all, revision))
    }

    /// Writes one that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists` with the name as its resource, and those of the store.
    pub async fn create(&self, name: &str, value: &T) -> Result<Revision> {
        let create = Transaction::new().create(self.key(name)?, self.encode(value)?);
        self.store.commit(&create).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => {
                Error::new(ErrorKind::AlreadyExists, format!("there is a {} {name} already", self.noun))
                    .with_resource(name)
            }
            _ => error,
        })
    }

    /// Writes one, in place of what is there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn put(&self, name: &str, value: &T) -> Result<Revision> {
        self.store.commit(&Transaction::new().put(self.key(name)?, self.encode(value)?)).await
    }

    /// Writes one, in place of what is there, only while this holds: a claim, say.
    ///
    /// # Errors
    /// `Conflict` with the guard's key as its resource when it does not hold, and those of the store.
    pub async fn put_while(&self, name: &str, guard: Guard, value: &T) -> Result<Revision> {
        let put = Transaction::new().when(guard).put(self.key(name)?, self.encode(value)?);
        self.store.commit(&put).await
    }

    /// Writes one in place of that of this revision.
    ///
    /// # Errors
    /// `Conflict` when it was changed meanwhile, and those of the store.
    pub async fn replace(&self, name: &str, before: Revision, value: &T) -> Result<Revision> {
        self.store.commit(&Transaction::new().replace(self.key(name)?, before, self.encode(value)?)).await
    }

    /// Deletes one; one that is not there is `Ok`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        // Guarded by what is there, so that a cluster may try it again when it does not know whether it was done.
        while let Some(entry) = self.store.get(&key).await? {
            match self.remove_unchanged(name, entry.revision).await {
                // Somebody has changed it in between.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                removed => return removed,
            }
        }
        Ok(())
    }

    /// Deletes that of this revision.
    ///
    /// # Errors
    /// `Conflict` when it was changed meanwhile, and those of the store.
    pub async fn remove_unchanged(&self, name: &str, before: Revision) -> Result<()> {
        let key = self.key(name)?;
        let remove = Transaction::new().when(Guard::Unchanged(key.clone(), before)).delete(key);
        self.store.commit(&remove).await.map(drop)
    }

    /// What is changed after this revision, one document after the other.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn watch(&self, after: Revision) -> Result<ItemStream<TableChange<T>>>
    where
        T: Send + 'static,
    {
        let watched = self.store.watch(&self.prefix, after).await?;
        let table = self.clone();
        let told = watched.flat_map(move |watched| {
            let changes = match watched {
                Ok(Watched::Changes { changes, .. }) => changes.iter().map(|change| Ok(table.told(change))).collect(),
                Ok(Watched::Resync) => vec![Ok(TableChange::Resync)],
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(changes)
        });
        Ok(told.boxed())
    }

    fn told(&self, change: &Change) -> TableChange<T> {
        match change {
            Change::Put(entry) => TableChange::Put(self.name(&entry.key), self.decode(entry)),
            Change::Deleted(key) => TableChange::Deleted(self.name(key)),
        }
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use super::*;
    use crate::store::{LIST_MAX, MemoryStore};

    fn table(store: &MemoryStore) -> Table<u32> {
        Table::new(Arc::new(store.clone()), Prefix::new("numbers/").unwrap(), "number")
    }

    #[tokio::test]
    async fn documents_are_written_changed_and_told() {
        let store = MemoryStore::new();
        let numbers = table(&store);
        let (none, from) = numbers.all().await.unwrap();
        assert!(none.is_empty());
        let first = numbers.create("one", &1).await.unwrap();
        let taken = numbers.create("one", &2).await.unwrap_err();
        assert_eq!((taken.kind(), taken.resource()), (ErrorKind::AlreadyExists, Some("one")));
        let second = numbers.replace("one", first, &3).await.unwrap();
        assert_eq!(numbers.replace("one", first, &4).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(numbers.get("one").await.unwrap(), Some(Kept { value: 3, revision: second }));
        assert_eq!(numbers.remove_unchanged("one", first).await.unwrap_err().kind(), ErrorKind::Conflict);
        let held = |revision| Guard::Unchanged(numbers.key("one").unwrap(), revision);
        let lost = numbers.put_while("two", held(first), &5).await.unwrap_err();
        assert_eq!((lost.kind(), lost.resource()), (ErrorKind::Conflict, Some("numbers/one")));
        numbers.put_while("two", held(second), &5).await.unwrap();
        numbers.remove_unchanged("one", second).await.unwrap();
        numbers.remove("one").await.unwrap();
        assert_eq!(numbers.get("one").await.unwrap(), None);
        let mut watch = numbers.watch(from).await.unwrap();
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(match watch.next().await.unwrap().unwrap() {
                TableChange::Put(name, kept) => format!("{name}={}", kept.unwrap().value),
                TableChange::Deleted(name) => format!("-{name}"),
                TableChange::Resync => "?".to_owned(),
            });
        }
        assert_eq!(told, ["one=1", "one=3", "two=5", "-one"]);
        assert_eq!(numbers.key("no name").unwrap_err().field(), Some("number"));
    }

    #[tokio::test]
    async fn one_that_makes_no_sense_hides_no_other_and_is_not_repeated() {
        let store = MemoryStore::new();
        let numbers = table(&store);
        for number in 0..LIST_MAX + 5 {
            numbers.put(&format!("{number:05}"), &u32::try_from(number).unwrap()).await.unwrap();
        }
        let bad = Transaction::new().put(numbers.key("00007").unwrap(), "\"hunter2\"");
        store.commit(&bad).await.unwrap();
        let (all, _) = numbers.all().await.unwrap();
        assert_eq!(all.len(), LIST_MAX + 5);
        let failed: Vec<_> = all.iter().filter_map(|(name, kept)| Some((name, kept.as_ref().err()?))).collect();
        assert_eq!((failed.len(), failed[0].0.as_str()), (1, "00007"));
        let error = failed[0].1.to_string();
        assert!(error.contains("numbers/00007") && !error.contains("hunter2"), "{error}");
    }
}
