//! The clauses of [`Store`], each with its test, for stores to prove themselves with.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//!
//! use roadstead_core::store::conformance::{StoreFixture, clauses, run};
//! use roadstead_core::store::{MemoryStore, Store};
//!
//! let store = MemoryStore::new(); // or a store of your own
//! let fixture = StoreFixture::new(move || {
//!     let store: Arc<dyn Store> = Arc::new(store.clone());
//!     Box::pin(async move { Ok(store) })
//! });
//! for clause in clauses().filter(|clause| clause.number() < "K30") {
//!     run(clause, &fixture).await.unwrap();
//! }
//! # });
//! ```

mod commits;
mod entries;
mod leases;
mod watches;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{Change, Entry, Key, ListEntries, Prefix, Revision, STEPS_MAX, Store, Transaction, Watched};
use crate::conformance::check::{Check, During, Failure};
use crate::error::Result;
use crate::stream::ItemStream;

/// How long a clause may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Opens the store, again and again: each time a handle of its own, as after a restart.
pub type Open = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Store>>> + Send + Sync>;

/// The store that is tried.
pub struct StoreFixture {
    open: Open,
}

impl fmt::Debug for StoreFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFixture").finish_non_exhaustive()
    }
}

impl StoreFixture {
    /// The one that this opens. The clauses write below `conformance/` only.
    pub fn new(open: impl Fn() -> BoxFuture<'static, Result<Arc<dyn Store>>> + Send + Sync + 'static) -> Self {
        StoreFixture { open: Box::new(open) }
    }
}

/// One numbered clause.
pub struct StoreClause {
    number: &'static str,
    title: &'static str,
    test: for<'a> fn(&'a Scene<'a>) -> BoxFuture<'a, Check>,
}

impl StoreClause {
    /// Its number in the docs, for example `K20`.
    #[must_use]
    pub const fn number(&self) -> &'static str {
        self.number
    }

    /// What it promises, in a few words.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }
}

impl fmt::Debug for StoreClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.title)
    }
}

macro_rules! declare {
    ($($number:ident $title:literal $test:path;)+) => {
        const CLAUSES: &[StoreClause] = &[$(
            StoreClause { number: stringify!($number), title: $title, test: |scene| Box::pin($test(scene)) }
        ),+];
    };
}

declare! {
    K1 "the revision never goes back" entries::revisions_grow;
    K2 "what was acknowledged stays" entries::what_was_acknowledged_stays;
    K10 "what is there and what is not" entries::what_is_there;
    K11 "lists are in order, at one revision, and say when there is more" entries::lists_in_order;
    K12 "a list goes on behind a key" entries::lists_go_on;
    K13 "a list of none or of too many is refused" entries::lists_of_too_many;
    K14 "the revision that is reached" entries::the_revision_reached;
    K20 "all or nothing" commits::all_or_nothing;
    K21 "a guard that does not hold names its key" commits::a_guard_names_its_key;
    K22 "of many at once one is done" commits::one_of_many;
    K23 "deleting what is not there, and writing nothing" commits::nothing_is_no_error;
    K24 "a lease that is over takes no entries" commits::no_entries_without_a_lease;
    K25 "what no store takes is refused" commits::too_much_is_refused;
    K30 "a watch tells each transaction once and whole" watches::watches_tell_all;
    K31 "a watch says when something is missing" watches::watches_say_what_they_miss;
    K32 "a watch waits for a revision that is not reached" watches::watches_wait;
    K40 "what hangs on a lease goes with it" leases::leases_take_along;
    K41 "leases of no life are refused" leases::lives_of_leases;
    K42 "a lease that is renewed lives on" leases::leases_are_renewed;
    K43 "a lease that is revoked is over" leases::leases_are_revoked;
    K90 "a store that is closed answers nothing" entries::a_closed_store_answers_nothing;
}

/// The clause after which nothing can be deleted any more, and which writes nothing.
const CLOSING: &str = "K90";

/// Every clause, in the order of their numbers. The last one closes the store.
pub fn clauses() -> impl Iterator<Item = &'static StoreClause> {
    CLAUSES.iter()
}

/// Tries one clause, and deletes what that wrote.
///
/// # Errors
/// How the store breaks it.
pub async fn run(clause: &StoreClause, fixture: &StoreFixture) -> std::result::Result<(), String> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let tried = async {
        let prefix = format!("conformance/{}-{}-{run}/", clause.number, std::process::id());
        let store = (fixture.open)().await.during("opening")?;
        let scene = Scene { open: &fixture.open, store, prefix: Prefix::new(prefix).during("the prefix")? };
        let outcome = (clause.test)(&scene).await;
        if clause.number == CLOSING {
            return outcome;
        }
        let cleaned = scene.clean().await.during("deleting what was written");
        outcome.and(cleaned)
    };
    match timeout(DEADLINE, tried).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Failed(reason) | Failure::Gated(reason))) => Err(reason),
        Err(_) => Err(format!("did not end within {} s", DEADLINE.as_secs())),
    }
}

/// A part of the store that is one test's own.
struct Scene<'a> {
    open: &'a Open,
    store: Arc<dyn Store>,
    prefix: Prefix,
}

impl Scene<'_> {
    fn key(&self, name: &str) -> Check<Key> {
        self.prefix.key(name).during("a key")
    }

    async fn put(&self, name: &str, value: &str) -> Check<Revision> {
        let put = Transaction::new().put(self.key(name)?, value.to_owned());
        self.store.commit(&put).await.during("writing")
    }

    async fn value(&self, name: &str) -> Check<Option<String>> {
        let found = self.store.get(&self.key(name)?).await.during("reading")?;
        Ok(found.map(|entry| value_of(&entry)))
    }

    /// Names and values of all.
    async fn all(&self) -> Check<Vec<(String, String)>> {
        let all = self.store.list(&ListEntries::of(self.prefix.clone())).await.during("listing")?;
        Ok(all.entries.iter().map(|entry| (self.name(&entry.key), value_of(entry))).collect())
    }

    fn name(&self, key: &Key) -> String {
        key.behind(&self.prefix).unwrap_or("elsewhere").to_owned()
    }

    /// Names with values of what was put, and names of what was deleted.
    fn told(&self, changes: &[Change]) -> Vec<String> {
        let told = |change: &Change| match change {
            Change::Put(entry) => format!("{}={}", self.name(&entry.key), value_of(entry)),
            Change::Deleted(key) => format!("-{}", self.name(key)),
        };
        changes.iter().map(told).collect()
    }

    async fn watch(&self, after: Revision) -> Check<ItemStream<Watched>> {
        self.store.watch(&self.prefix, after).await.during("watching")
    }

    async fn clean(&self) -> Result<()> {
        loop {
            let left = self.store.list(&ListEntries::of(self.prefix.clone())).await?;
            for some in left.entries.chunks(STEPS_MAX) {
                let delete = |all: Transaction, entry: &Entry| all.delete(entry.key.clone());
                self.store.commit(&some.iter().fold(Transaction::new(), delete)).await?;
            }
            if !left.more {
                return Ok(());
            }
        }
    }
}

fn value_of(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn every_clause_has_one_test_and_every_test_its_clause() {
        let sources = [include_str!("../mod.rs"), include_str!("../transaction.rs")];
        let mut stated: Vec<&str> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.trim().strip_prefix("/// * **")?.split_once("**:"))
            .map(|(number, _)| number)
            .collect();
        stated.sort_unstable();
        let mut tested: Vec<&str> = clauses().map(StoreClause::number).collect();
        tested.sort_unstable();
        assert_eq!(stated, tested);
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_in_memory_keeps_them_all() {
        for store in [MemoryStore::new(), MemoryStore::remembering(250)] {
            let fixture = StoreFixture::new(move || {
                let store: Arc<dyn Store> = Arc::new(store.clone());
                Box::pin(async move { Ok(store) })
            });
            for clause in clauses() {
                assert_eq!(run(clause, &fixture).await, Ok(()), "{clause:?}");
            }
        }
    }
}
