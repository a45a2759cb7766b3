//! Copies a store into another, empty one: from a file to a cluster, or back.
//!
//! What hangs on a lease belongs to somebody who is alive, and stays behind. Everything else arrives with its key and its value; its
//! revision is that of the other store. As long as the copy is not complete the other store holds a mark, so that nobody takes a part
//! for the whole: servers refuse to begin with one ([`ensure_whole`]). Whoever finds it copies again, from the start.

use super::{Entry, Guard, Key, ListEntries, Prefix, Revision, STEPS_MAX, Store, Transaction, VALUE_MAX, WRAPPING_MAX};
use crate::error::{Error, ErrorKind, Result, Retry};

/// The key of the mark.
const MARK: &str = "store/copying";
/// Writes in one transaction, beside its guard.
const WRITES_MAX: usize = STEPS_MAX - 1;
/// Entries that are held at once: each may have a mebibyte.
const PAGE: usize = 128;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// So many entries.
    pub entries: u64,
    /// Their keys and values together.
    pub bytes: u64,
    /// Entries that hang on leases, which were not.
    pub leased: u64,
}

/// Copies all entries that hang on no lease from one store into another one, and compares them afterwards.
///
/// Nobody may write to either meanwhile: that is found out at the end, and is an error. Whatever fails leaves an unfinished copy,
/// which another call begins anew. So does dropping the future.
///
/// # Errors
/// `Conflict` when the other store is not empty (nothing is changed then), when `from` is an unfinished copy itself, or when somebody
/// writes meanwhile; otherwise those of the stores.
pub async fn copy(from: &dyn Store, to: &dyn Store) -> Result<Copied> {
    ensure_whole(from).await?;
    let mark = begin(to).await?;
    let mut copied = Copied::default();
    let mut pages = Pages::of(from);
    let mut some = Transaction::new();
    let mut bytes = 0;
    while let Some(entry) = pages.next().await? {
        if entry.lease.is_some() {
            copied.leased += 1;
            continue;
        }
        let size = entry.key.as_str().len() + entry.value.len();
        if some.writes().len() == WRITES_MAX || (bytes > 0 && bytes + size > VALUE_MAX) {
            to.commit(&while_marked(std::mem::take(&mut some), mark)?).await?;
            bytes = 0;
        }
        bytes += size;
        copied.entries += 1;
        copied.bytes += size as u64;
        some = some.put(entry.key, entry.value);
    }
    if !some.writes().is_empty() {
        to.commit(&while_marked(some, mark)?).await?;
    }
    compare(from, to).await?;
    end(to, mark).await?;
    Ok(copied)
}

/// Refuses a store into which another one was not copied completely.
///
/// # Errors
/// `Conflict` when it is such; otherwise those of the store.
pub async fn ensure_whole(store: &dyn Store) -> Result<()> {
    match store.get(&marked()?).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Conflict,
            "the store is an unfinished copy of another one: copy that again, into the same place",
        )
        .with_resource(MARK)),
    }
}

fn marked() -> Result<Key> {
    Key::new(MARK)
}

/// Only as long as it is we who copy.
fn while_marked(transaction: Transaction, mark: Revision) -> Result<Transaction> {
    // A value may be wrapped already, by a store around the one that is copied.
    Ok(transaction.wrapped(WRAPPING_MAX).when(Guard::Unchanged(marked()?, mark)))
}

/// Marks an empty store. One that is marked already is emptied: nothing in it is anybody's yet.
async fn begin(to: &dyn Store) -> Result<Revision> {
    let mark = match to.get(&marked()?).await? {
        Some(mark) => {
            // Whoever made it, and is still at it, fails from now on.
            let mark = to.commit(&Transaction::new().replace(marked()?, mark.revision, "")).await?;
            empty(to, mark).await?;
            mark
        }
        None => {
            ensure_empty(to).await?;
            to.commit(&Transaction::new().create(marked()?, "")).await?
        }
    };
    // Somebody may have begun to use it just before it was marked.
    if let Err(error) = ensure_empty(to).await {
        end(to, mark).await?;
        return Err(error);
    }
    Ok(mark)
}

/// Takes the mark away.
async fn end(to: &dyn Store, mark: Revision) -> Result<()> {
    match to.commit(&while_marked(Transaction::new().delete(marked()?), mark)?).await {
        // It may be gone, and then all is done.
        Err(error) if error.retry() == Retry::Unknown && ensure_whole(to).await.is_ok() => Ok(()),
        ended => ended.map(drop),
    }
}

async fn ensure_empty(to: &dyn Store) -> Result<()> {
    match (Pages { limit: 2, ..Pages::of(to) }).next().await? {
        None => Ok(()),
        Some(entry) => Err(Error::new(
            ErrorKind::Conflict,
            format!("the store to copy to is not empty: there is {}, for example", entry.key),
        )
        .with_resource(entry.key.as_str())),
    }
}

async fn empty(to: &dyn Store, mark: Revision) -> Result<()> {
    loop {
        let page = to.list(&ListEntries::of(Prefix::default())).await?;
        let keys: Vec<Key> =
            page.entries.into_iter().map(|entry| entry.key).filter(|key| key.as_str() != MARK).collect();
        for some in keys.chunks(WRITES_MAX) {
            let delete = some.iter().cloned().fold(Transaction::new(), Transaction::delete);
            to.commit(&while_marked(delete, mark)?).await?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Reads both once more, from one end to the other.
async fn compare(from: &dyn Store, to: &dyn Store) -> Result<()> {
    let (mut there, mut here) = (Pages::of(from), Pages::of(to));
    loop {
        let mut wanted = there.next().await?;
        while wanted.as_ref().is_some_and(|entry| entry.lease.is_some()) {
            wanted = there.next().await?;
        }
        let key = match (wanted, here.next().await?) {
            (None, None) => return Ok(()),
            (Some(wanted), Some(found)) if wanted.key == found.key && wanted.value == found.value => continue,
            (Some(wanted), Some(found)) => wanted.key.min(found.key),
            (Some(entry), None) | (None, Some(entry)) => entry.key,
        };
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{key} is not the same in both stores: somebody writes to one of them; stop that, and copy again"),
        )
        .with_resource(key.as_str()));
    }
}

/// All entries of a store in the order of their keys, without the mark.
struct Pages<'a> {
    store: &'a dyn Store,
    limit: usize,
    after: Option<Key>,
    ready: std::vec::IntoIter<Entry>,
    more: bool,
}

impl<'a> Pages<'a> {
    fn of(store: &'a dyn Store) -> Self {
        Pages { store, limit: PAGE, after: None, ready: Vec::new().into_iter(), more: true }
    }

    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            match self.ready.next() {
                Some(entry) if entry.key.as_str() == MARK => {}
                Some(entry) => return Ok(Some(entry)),
                None if !self.more => return Ok(None),
                None => {
                    let mut options = ListEntries::of(Prefix::default());
                    (options.after, options.limit) = (self.after.take(), self.limit);
                    let page = self.store.list(&options).await?;
                    self.after = page.entries.last().map(|entry| entry.key.clone());
                    self.more = page.more && self.after.is_some();
                    self.ready = page.entries.into_iter();
                }
            }
        }
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use std::fmt;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;

    use super::super::{Entries, LeaseId, MemoryStore, Watched};
    use super::*;
    use crate::stream::ItemStream;

    /// A store to which something happens before one of its calls.
    struct Disturbed {
        store: MemoryStore,
        calls: AtomicUsize,
        happens: Box<dyn Fn(usize) -> Happens + Send + Sync>,
    }

    enum Happens {
        Nothing,
        Failure,
        Write(&'static str),
    }

    impl Disturbed {
        fn new(store: &MemoryStore, happens: impl Fn(usize) -> Happens + Send + Sync + 'static) -> Self {
            Disturbed { store: store.clone(), calls: AtomicUsize::new(0), happens: Box::new(happens) }
        }

        async fn before(&self) -> Result<&MemoryStore> {
            match (self.happens)(self.calls.fetch_add(1, Ordering::Relaxed)) {
                Happens::Nothing => {}
                Happens::Failure => return Err(Error::new(ErrorKind::Unavailable, "cut")),
                Happens::Write(name) => drop(self.store.commit(&Transaction::new().put(key(name), "new")).await?),
            }
            Ok(&self.store)
        }
    }

    impl fmt::Debug for Disturbed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Disturbed")
        }
    }

    #[async_trait]
    impl Store for Disturbed {
        async fn get(&self, key: &Key) -> Result<Option<Entry>> {
            self.before().await?.get(key).await
        }
        async fn list(&self, options: &ListEntries) -> Result<Entries> {
            self.before().await?.list(options).await
        }
        async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
            self.before().await?.commit(transaction).await
        }
        async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
            self.before().await?.watch(prefix, after).await
        }
        async fn lease(&self, life: Duration) -> Result<LeaseId> {
            self.before().await?.lease(life).await
        }
        async fn renew(&self, lease: LeaseId) -> Result<()> {
            self.before().await?.renew(lease).await
        }
        async fn revoke(&self, lease: LeaseId) -> Result<()> {
            self.before().await?.revoke(lease).await
        }
        async fn revision(&self) -> Result<Revision> {
            self.before().await?.revision().await
        }
        async fn close(&self) -> Result<()> {
            self.before().await?.close().await
        }
    }

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    async fn all(store: &dyn Store) -> Vec<(String, Vec<u8>)> {
        let mut pages = Pages::of(store);
        let mut all = Vec::new();
        while let Some(entry) = pages.next().await.unwrap() {
            all.push((entry.key.as_str().to_owned(), entry.value.to_vec()));
        }
        all
    }

    /// One with as much as fits in an entry, with many small ones, and with some on a lease.
    async fn source() -> MemoryStore {
        let store = MemoryStore::new();
        for number in 0..300 {
            let some = Transaction::new().put(key(&format!("a/{number}")), number.to_string());
            store.commit(&some).await.unwrap();
        }
        for name in ["large/1", "large/2"] {
            let large = vec![7; VALUE_MAX + WRAPPING_MAX - name.len()];
            store.commit(&Transaction::new().wrapped(WRAPPING_MAX).put(key(name), large)).await.unwrap();
        }
        let lease = store.lease(Duration::from_secs(60)).await.unwrap();
        let leased = Transaction::new().put_with(key("b/1"), "", lease).put_with(key("z"), "", lease);
        store.commit(&leased.put(key("y"), "")).await.unwrap();
        store
    }

    #[tokio::test]
    async fn everything_but_what_hangs_on_leases_is_copied() {
        let (from, to) = (source().await, MemoryStore::new());
        let copied = copy(&from, &to).await.unwrap();
        assert_eq!((copied.entries, copied.leased), (303, 2));
        let mut wanted = all(&from).await;
        wanted.retain(|(name, _)| name != "b/1" && name != "z");
        assert!(all(&to).await == wanted);
        let bytes: usize = wanted.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert_eq!(copied.bytes, bytes as u64);
        ensure_whole(&to).await.unwrap();
        assert_eq!(to.get(&key(MARK)).await.unwrap(), None);
        // Nothing makes nothing.
        assert_eq!(copy(&MemoryStore::new(), &MemoryStore::new()).await.unwrap(), Copied::default());
    }

    #[tokio::test]
    async fn a_store_that_is_not_empty_is_not_touched() {
        let (from, to) = (source().await, MemoryStore::new());
        let revision = to.commit(&Transaction::new().put(key("here"), "1")).await.unwrap();
        let error = copy(&from, &to).await.unwrap_err();
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Conflict, Some("here")));
        assert_eq!(to.revision().await.unwrap(), revision);
    }

    #[tokio::test]
    async fn wherever_it_is_cut_the_copy_says_so_and_is_begun_anew() {
        let from = source().await;
        let mut wanted = all(&from).await;
        wanted.retain(|(name, _)| name != "b/1" && name != "z");
        let cut = |at| move |call| if call == at { Happens::Failure } else { Happens::Nothing };
        let mut unfinished = 0;
        for at in 0.. {
            let to = MemoryStore::new();
            let (cut_to, whole) = (Disturbed::new(&to, cut(at)), MemoryStore::new());
            let Err(error) = copy(&from, &cut_to).await else { break };
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            if let Err(error) = ensure_whole(&to).await {
                unfinished += 1;
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(copy(&to, &whole).await.unwrap_err().kind(), ErrorKind::Conflict, "a part was copied on");
                assert_eq!(whole.revision().await.unwrap(), Revision(0));
            } else {
                assert!(all(&to).await.is_empty(), "a part looks like the whole");
            }
            copy(&from, &to).await.unwrap();
            assert!(all(&to).await == wanted);
            ensure_whole(&to).await.unwrap();
        }
        assert!(unfinished > 5, "it was cut {unfinished} times only");
    }

    #[tokio::test]
    async fn writing_meanwhile_is_found_out() {
        for name in ["0", "a/1", "zz"] {
            let mut found = 0;
            for at in 0.. {
                let write = move |call| if call == at { Happens::Write(name) } else { Happens::Nothing };
                let (from, to) = (Disturbed::new(&source().await, write), MemoryStore::new());
                let copied = copy(&from, &to).await;
                if from.calls.load(Ordering::Relaxed) <= at {
                    break;
                }
                match copied {
                    Err(error) => {
                        found += 1;
                        assert_eq!((error.kind(), error.resource()), (ErrorKind::Conflict, Some(name)));
                        assert!(ensure_whole(&to).await.is_err());
                    }
                    // It came before that place was read for the first time, or after it was for the last.
                    Ok(_) => ensure_whole(&to).await.unwrap(),
                }
            }
            assert!(found > 0, "{name}");
        }
    }

    #[tokio::test]
    async fn of_two_copies_at_once_one_is_done() {
        let (from, to) = (source().await, MemoryStore::new());
        let again = to.clone();
        let first = Disturbed::new(&to, move |call| {
            // Somebody else begins anew while this one is at it.
            if call == 4 { Happens::Write(MARK) } else { Happens::Nothing }
        });
        let error = copy(&from, &first).await.unwrap_err();
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Conflict, Some(MARK)));
        copy(&from, &again).await.unwrap();
    }
}
