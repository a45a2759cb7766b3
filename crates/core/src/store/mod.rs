//! What a server must remember, behind one small trait: keys with values, changed together or not at all, watched from a revision.
//!
//! The trait is what an embedded database and a cluster such as etcd can both keep: one number that grows with each transaction, the
//! revision, tells which change came before which, and every guard, list and watch speaks of it. The in-memory store is the reference;
//! every store proves itself with the clauses of [`conformance`].

#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod key;
#[cfg(feature = "memory")]
mod memory;
mod session;
mod table;
mod transaction;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::copy::{Copied, copy, ensure_whole};
pub use self::key::{Key, Prefix};
#[cfg(feature = "memory")]
pub use self::memory::MemoryStore;
pub use self::session::{Claim, Session};
pub use self::table::{Kept, Table, TableChange, read_document, write_document};
pub use self::transaction::{Guard, Transaction, WRAPPING_MAX, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::ItemStream;

/// The most bytes of a key.
pub const KEY_MAX: usize = 512;
/// The most bytes of a value, and of all keys and values of a transaction together: etcd takes one and a half mebibytes at once.
pub const VALUE_MAX: usize = 1024 * 1024;
/// The most guards and writes of a transaction, together: what etcd takes by default.
pub const STEPS_MAX: usize = 128;
/// The most entries that one answer of a list has.
pub const LIST_MAX: usize = 1000;
/// The shortest life of a lease.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest life of a lease.
pub const LEASE_MAX: Duration = Duration::from_hours(1);

/// A moment in the life of a store: how many transactions changed something until then, or a number that grows like that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A lease, which is what entries of somebody who is alive hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A key with its value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value. It may be a secret, so it is not shown.
    pub value: Bytes,
    /// Of the transaction that wrote it last.
    pub revision: Revision,
    /// The lease that it hangs on.
    pub lease: Option<LeaseId>,
}

impl Entry {
    /// One that hangs on no lease.
    #[must_use]
    pub fn new(key: Key, value: Bytes, revision: Revision) -> Self {
        Entry { key, value, revision, lease: None }
    }
}

impl Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("bytes", &self.value.len())
            .field("revision", &self.revision)
            .field("lease", &self.lease)
            .finish()
    }
}

/// What a list is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListEntries {
    /// Entries whose keys begin so.
    pub prefix: Prefix,
    /// Behind this key only.
    pub after: Option<Key>,
    /// At most so many; [`LIST_MAX`] and no more.
    pub limit: usize,
}

impl ListEntries {
    /// The first ones whose keys begin so.
    #[must_use]
    pub fn of(prefix: Prefix) -> Self {
        ListEntries { prefix, after: None, limit: LIST_MAX }
    }

    /// What every store refuses: K13.
    ///
    /// # Errors
    /// As said there.
    pub fn validate(&self) -> Result<()> {
        if (1..=LIST_MAX).contains(&self.limit) {
            return Ok(());
        }
        Err(Error::invalid("limit", format!("must be between 1 and {LIST_MAX}, and is {}", self.limit)))
    }
}

/// An answer of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entries {
    /// In the order of their keys, byte by byte.
    pub entries: Vec<Entry>,
    /// Whether there are more behind them.
    pub more: bool,
    /// All of them are as they were at this one.
    pub revision: Revision,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It was written.
    Put(Entry),
    /// It is gone: deleted, or its lease is over.
    Deleted(Key),
}

impl Change {
    /// The key of which it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Deleted(key) => key,
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watched {
    /// What one transaction changed below the prefix.
    Changes {
        /// In the order of their keys.
        changes: Vec<Change>,
        /// Of the transaction.
        revision: Revision,
    },
    /// Changes are missing, because the store has forgotten them: whoever watches lists anew. The stream ends after it.
    Resync,
}

/// Keeps entries. Handles are cheap to clone behind an `Arc`, and may be used by many at once.
///
/// Every method answers with `Unavailable` when the store cannot be reached, and with `DeadlineExceeded` after its own deadline; of
/// a [`commit`](Store::commit) the error says by its retry advice whether it may have been done. Dropping a future may leave a commit
/// done or not done, never half done; of everything else it leaves nothing.
///
/// * **K1**: the revision grows with each transaction that writes, and never goes back, also over a restart.
/// * **K2**: what was acknowledged stays, also when the process or the machine ends just after.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// The entry with this key.
    ///
    /// * **K10**: `None` when there is none. What was committed before the call is seen.
    async fn get(&self, key: &Key) -> Result<Option<Entry>>;

    /// Entries by the beginning of their keys.
    ///
    /// * **K11**: in the order of their keys, all as they were at one revision, which is told; at most `limit`, with `more` when
    ///   there are others behind.
    /// * **K12**: `after` leaves out that key and those before it, whether or not it is there.
    /// * **K13**: `InvalidInput` that names `limit` when it is zero or more than [`LIST_MAX`].
    async fn list(&self, options: &ListEntries) -> Result<Entries>;

    /// Does all writes, when all guards hold; gives the revision.
    ///
    /// * **K20**: all or nothing, also when it is cut off. Nobody sees a part.
    /// * **K21**: when a guard does not hold, nothing is changed: `Conflict` with the key of the first such guard as its resource.
    /// * **K22**: of several commits at once with the same guard on an entry that they write, one is done.
    /// * **K23**: deleting what is not there is no error. A transaction that writes nothing only looks whether its guards hold.
    /// * **K24**: a write with a lease that is over or was never given changes nothing: `NotFound` with `lease` as its resource.
    async fn commit(&self, transaction: &Transaction) -> Result<Revision>;

    /// What is changed below `prefix` by transactions after `after`.
    ///
    /// * **K30**: each transaction in its order, once, with all of its changes below the prefix in one item; an entry that a transaction
    ///   deletes without being there is no change. With the revision of a list, list and watch together miss nothing.
    /// * **K31**: [`Watched::Resync`] when some of it is forgotten, now or later because it is taken too slowly.
    /// * **K32**: a revision that is not reached yet is waited for.
    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>>;

    /// A new lease, which is over when it was not renewed for `life`.
    ///
    /// * **K40**: entries that hang on it are deleted when it is over, and watches say so. Until then they stay.
    /// * **K41**: `InvalidInput` that names `life` when it is not between [`LEASE_MIN`] and [`LEASE_MAX`]. The store may give a longer
    ///   one, and rounds up to whole seconds.
    async fn lease(&self, life: Duration) -> Result<LeaseId>;

    /// Lets a lease live for its whole life from now on.
    ///
    /// * **K42**: `NotFound` with `lease` as its resource when it is over.
    async fn renew(&self, lease: LeaseId) -> Result<()>;

    /// Ends a lease with all entries that hang on it.
    ///
    /// * **K43**: `NotFound` with `lease` as its resource when it is over already.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// The revision that the store has reached.
    ///
    /// * **K14**: at least that of every commit that was acknowledged before the call.
    async fn revision(&self) -> Result<Revision>;

    /// Gives up what the store holds: files, locks, connections. What was acknowledged is there for the next one that opens it.
    ///
    /// * **K90**: every later call fails with `Unavailable`, and watches end; closing again is `Ok`.
    async fn close(&self) -> Result<()>;
}

/// The error of a store that was closed: K90. For stores.
#[must_use]
pub fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is closed")
}

/// All entries whose keys begin so, page by page, and the revision after which a watch tells what this does not hold. While others
/// write, each is as it was at that revision or later.
///
/// # Errors
/// Those of the store.
pub async fn entries(store: &dyn Store, prefix: &Prefix) -> Result<(Vec<Entry>, Revision)> {
    let mut options = ListEntries::of(prefix.clone());
    let mut all = Vec::new();
    let mut first = None;
    loop {
        let page = store.list(&options).await?;
        let first = *first.get_or_insert(page.revision);
        options.after = page.entries.last().map(|entry| entry.key.clone());
        all.extend(page.entries);
        if !page.more || options.after.is_none() {
            return Ok((all, first));
        }
    }
}

/// The error of a guard that does not hold: K21. For stores.
#[must_use]
pub fn changed(key: &Key) -> Error {
    Error::new(ErrorKind::Conflict, format!("{key} was changed meanwhile")).with_resource(key.as_str())
}

/// The error of a lease that is over: K24, K42 and K43. For stores.
#[must_use]
pub fn no_lease() -> Error {
    Error::new(ErrorKind::NotFound, "the lease is over").with_resource("lease")
}

/// The life that a lease gets, in whole seconds: K41. For stores.
///
/// # Errors
/// As said there.
pub fn life(asked: Duration) -> Result<Duration> {
    if !(LEASE_MIN..=LEASE_MAX).contains(&asked) {
        let (least, most) = (LEASE_MIN.as_secs(), LEASE_MAX.as_secs());
        return Err(Error::invalid("life", format!("must be between {least} and {most} seconds")));
    }
    Ok(Duration::from_secs(asked.as_secs() + u64::from(asked.subsec_nanos() > 0)))
}
