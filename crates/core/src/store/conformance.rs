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

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use super::{
    Change, Entry, Guard, KEY_MAX, Key, LEASE_MAX, LEASE_MIN, LIST_MAX, LeaseId, ListEntries, Prefix, Revision,
    STEPS_MAX, Store, Transaction, VALUE_MAX, Watched,
};
use crate::conformance::check::{Check, During, Failure, ensure, equal, eventually, failed, refused};
use crate::error::{ErrorKind, Result};
use crate::stream::ItemStream;

/// How long a clause may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long something may take that has to come soon.
const SOON: Duration = Duration::from_secs(20);

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
    ($($number:ident $title:literal $test:ident;)+) => {
        const CLAUSES: &[StoreClause] = &[$(
            StoreClause { number: stringify!($number), title: $title, test: |scene| Box::pin($test(scene)) }
        ),+];
    };
}

declare! {
    K1 "the revision never goes back" revisions_grow;
    K2 "what was acknowledged stays" what_was_acknowledged_stays;
    K10 "what is there and what is not" what_is_there;
    K11 "lists are in order, at one revision, and say when there is more" lists_in_order;
    K12 "a list goes on behind a key" lists_go_on;
    K13 "a list of none or of too many is refused" lists_of_too_many;
    K14 "the revision that is reached" the_revision_reached;
    K20 "all or nothing" all_or_nothing;
    K21 "a guard that does not hold names its key" a_guard_names_its_key;
    K22 "of many at once one is done" one_of_many;
    K23 "deleting what is not there, and writing nothing" nothing_is_no_error;
    K24 "a lease that is over takes no entries" no_entries_without_a_lease;
    K25 "what no store takes is refused" too_much_is_refused;
    K30 "a watch tells each transaction once and whole" watches_tell_all;
    K31 "a watch says when something is missing" watches_say_what_they_miss;
    K32 "a watch waits for a revision that is not reached" watches_wait;
    K40 "what hangs on a lease goes with it" leases_take_along;
    K41 "leases of no life are refused" lives_of_leases;
    K42 "a lease that is renewed lives on" leases_are_renewed;
    K43 "a lease that is revoked is over" leases_are_revoked;
}

/// Every clause, in the order of their numbers.
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

/// The next transaction that a watch tells.
async fn next(watch: &mut ItemStream<Watched>) -> Check<(Vec<Change>, Revision)> {
    match timeout(SOON, watch.next()).await {
        Ok(Some(Ok(Watched::Changes { changes, revision }))) => Ok((changes, revision)),
        Ok(Some(Ok(Watched::Resync))) => failed("a watch says that something is missing"),
        Ok(Some(Err(error))) => Err(error).during("a watch"),
        Ok(None) => failed("a watch ended"),
        Err(_) => failed("a watch tells nothing"),
    }
}

async fn revisions_grow(scene: &Scene<'_>) -> Check {
    let first = scene.put("a", "1").await?;
    let second = scene.put("a", "2").await?;
    ensure(second > first, format!("{second:?} after {first:?}"))?;
    let again = (scene.open)().await.during("opening again")?;
    let reached = again.revision().await.during("the revision")?;
    ensure(reached >= second, format!("{reached:?} after {second:?} and another start"))
}

async fn what_was_acknowledged_stays(scene: &Scene<'_>) -> Check {
    let revision = scene.put("a", "1").await?;
    let again = (scene.open)().await.during("opening again")?;
    let entry = again.get(&scene.key("a")?).await.during("reading")?;
    let found = entry.map(|entry| (value_of(&entry), entry.revision));
    equal("after another start", found, Some(("1".to_owned(), revision)))
}

async fn what_is_there(scene: &Scene<'_>) -> Check {
    equal("nothing", scene.value("a").await?, None)?;
    let revision = scene.put("a", "").await?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("an empty value", entry, Some(Entry::new(scene.key("a")?, bytes::Bytes::new(), revision)))?;
    equal("what has it as a beginning", scene.value("a/b").await?, None)?;
    let bytes: Vec<u8> = (0..=255).collect();
    let put = Transaction::new().put(scene.key("a")?, bytes.clone());
    scene.store.commit(&put).await.during("writing")?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("bytes", entry.map(|entry| entry.value.to_vec()), Some(bytes))
}

async fn lists_in_order(scene: &Scene<'_>) -> Check {
    for name in ["b", "a/2", "a", "c", "a-1"] {
        scene.put(name, name).await?;
    }
    // Byte by byte a minus is before a slash.
    let names: Vec<String> = scene.all().await?.into_iter().map(|(name, _)| name).collect();
    equal("all", names, ["a", "a-1", "a/2", "b", "c"])?;
    let mut below = ListEntries::of(Prefix::new(format!("{}a/", scene.prefix.as_str())).during("a prefix")?);
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("below a", (listed.entries.len(), listed.more), (1, false))?;
    below = ListEntries::of(scene.prefix.clone());
    below.limit = 4;
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("four of five", (listed.entries.len(), listed.more), (4, true))?;
    below.limit = 5;
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("five of five", (listed.entries.len(), listed.more), (5, false))?;
    let last = listed.entries.iter().map(|entry| entry.revision).max();
    ensure(last <= Some(listed.revision), format!("{last:?} at {:?}", listed.revision))?;
    // Two entries that are always written together are the same in every list.
    let write = async {
        for number in 0..50 {
            let put =
                Transaction::new().put(scene.key("b")?, number.to_string()).put(scene.key("c")?, number.to_string());
            scene.store.commit(&put).await.during("writing")?;
        }
        Ok(())
    };
    let read = async {
        for _ in 0..50 {
            let all = scene.all().await?;
            let [.., (_, b), (_, c)] = all.as_slice() else { return failed("not all are listed") };
            ensure(b == c || b == "b", format!("b is {b} and c is {c}"))?;
        }
        Ok(())
    };
    let (written, read) = tokio::join!(write, read);
    Check::and(written, read)
}

async fn lists_go_on(scene: &Scene<'_>) -> Check {
    for number in 0..7 {
        scene.put(&format!("k{number}"), "").await?;
    }
    let mut options = ListEntries::of(scene.prefix.clone());
    options.limit = 3;
    let mut pages = Vec::new();
    loop {
        let page = scene.store.list(&options).await.during("listing")?;
        pages.push(page.entries.len());
        options.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    equal("pages", pages, [3, 3, 1])?;
    options.after = Some(scene.key("k3a")?);
    let rest = scene.store.list(&options).await.during("listing")?;
    equal("behind what is not there", rest.entries.len(), 3)?;
    options.after = Some(Key::new("conformance").during("a key")?);
    let all = scene.store.list(&options).await.during("listing")?;
    equal("behind what is before the prefix", (all.entries.len(), all.more), (3, true))?;
    options.after = Some(Key::new("d").during("a key")?);
    let none = scene.store.list(&options).await.during("listing")?;
    equal("behind what is behind the prefix", (none.entries.len(), none.more), (0, false))
}

async fn lists_of_too_many(scene: &Scene<'_>) -> Check {
    for limit in [0, LIST_MAX + 1] {
        let mut options = ListEntries::of(scene.prefix.clone());
        options.limit = limit;
        let error = refused("a list", scene.store.list(&options).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("limit"), format!("{error} does not name limit"))?;
    }
    Ok(())
}

async fn the_revision_reached(scene: &Scene<'_>) -> Check {
    let before = scene.put("a", "1").await?;
    let reached = scene.store.revision().await.during("the revision")?;
    ensure(reached >= before, format!("{reached:?} after {before:?}"))
}

async fn all_or_nothing(scene: &Scene<'_>) -> Check {
    let both = Transaction::new().put(scene.key("a")?, "1").put(scene.key("b")?, "1");
    let revision = scene.store.commit(&both).await.during("writing")?;
    let listed = scene.store.list(&ListEntries::of(scene.prefix.clone())).await.during("listing")?;
    let revisions: Vec<_> = listed.entries.iter().map(|entry| entry.revision).collect();
    equal("revisions", revisions, [revision, revision])?;
    let other =
        Transaction::new().when(Guard::Absent(scene.key("b")?)).put(scene.key("a")?, "2").delete(scene.key("b")?);
    refused("a transaction", scene.store.commit(&other).await, ErrorKind::Conflict)?;
    equal("after it", scene.all().await?, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())])?;
    let mixed = Transaction::new().put(scene.key("c")?, "3").delete(scene.key("b")?).put(scene.key("a")?, "3");
    scene.store.commit(&mixed).await.during("writing")?;
    equal("after all", scene.all().await?, [("a".to_owned(), "3".to_owned()), ("c".to_owned(), "3".to_owned())])
}

async fn a_guard_names_its_key(scene: &Scene<'_>) -> Check {
    let (a, b, c) = (scene.key("a")?, scene.key("b")?, scene.key("c")?);
    let first = scene.put("a", "1").await?;
    let write = |guards: Vec<Guard>| guards.into_iter().fold(Transaction::new().put(c.clone(), "1"), Transaction::when);
    let unchanged = |key: &Key, revision| Guard::Unchanged(key.clone(), revision);
    let absent = |key: &Key| Guard::Absent(key.clone());
    for (guards, key) in [
        (vec![absent(&a)], &a),
        (vec![unchanged(&b, first)], &b),
        (vec![unchanged(&a, Revision(first.0 + 1))], &a),
        (vec![unchanged(&a, first), absent(&b), absent(&a), unchanged(&b, first)], &a),
        (vec![unchanged(&a, first), unchanged(&b, first), absent(&a)], &b),
    ] {
        let error = refused("a commit", scene.store.commit(&write(guards)).await, ErrorKind::Conflict)?;
        equal("its resource", error.resource(), Some(key.as_str()))?;
    }
    equal("what was written", scene.value("c").await?, None)?;
    let good = write(vec![unchanged(&a, first), absent(&b), absent(&c)]);
    scene.store.commit(&good).await.during("a commit whose guards hold")?;
    equal("what was written", scene.value("c").await?.as_deref(), Some("1"))
}

async fn one_of_many(scene: &Scene<'_>) -> Check {
    let key = scene.key("counter")?;
    let mut before = scene.put("counter", "0").await?;
    for round in 0..5 {
        let tries = (0..16).map(|number| {
            let transaction = Transaction::new().replace(key.clone(), before, format!("{round}-{number}"));
            async move { scene.store.commit(&transaction).await }
        });
        let mut done = Vec::new();
        for tried in join_all(tries).await {
            match tried {
                Ok(revision) => done.push(revision),
                Err(error) => ensure(error.kind() == ErrorKind::Conflict, format!("{error:?}"))?,
            }
        }
        let [revision] = done.as_slice() else { return failed(format!("{} of 16 were done", done.len())) };
        before = *revision;
    }
    Ok(())
}

async fn nothing_is_no_error(scene: &Scene<'_>) -> Check {
    let key = scene.key("a")?;
    scene.store.commit(&Transaction::new().delete(key.clone())).await.during("deleting what is not there")?;
    scene.store.commit(&Transaction::new()).await.during("nothing at all")?;
    let looks = Transaction::new().when(Guard::Absent(key.clone()));
    scene.store.commit(&looks).await.during("looking")?;
    scene.put("a", "1").await?;
    refused("looking", scene.store.commit(&looks).await, ErrorKind::Conflict).map(|_| ())
}

async fn no_entries_without_a_lease(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MAX).await.during("a lease")?;
    scene.store.revoke(lease).await.during("revoking")?;
    for lease in [lease, LeaseId(u64::from(u32::MAX))] {
        let put = Transaction::new().put(scene.key("a")?, "1").put_with(scene.key("b")?, "1", lease);
        let error = refused("a commit", scene.store.commit(&put).await, ErrorKind::NotFound)?;
        equal("its resource", error.resource(), Some("lease"))?;
    }
    equal("what was written", scene.all().await?.len(), 0)
}

async fn too_much_is_refused(scene: &Scene<'_>) -> Check {
    let mut many = Transaction::new();
    for number in 0..=STEPS_MAX {
        many = many.put(scene.key(&format!("k{number}"))?, "1");
    }
    let twice = Transaction::new().put(scene.key("a")?, "1").delete(scene.key("a")?);
    let large = Transaction::new().put(scene.key("a")?, vec![0; VALUE_MAX]);
    for transaction in [many, twice, large] {
        let error = refused("a commit", scene.store.commit(&transaction).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("transaction"), format!("{error} does not name the transaction"))?;
    }
    equal("what was written", scene.all().await?.len(), 0)?;
    // As large as it may be.
    let mut most = Transaction::new();
    for number in 0..STEPS_MAX {
        let name = format!("k{number}");
        let key = scene.key(&format!("{name}{}", "x".repeat(KEY_MAX - scene.prefix.as_str().len() - name.len())))?;
        let bytes = (VALUE_MAX / STEPS_MAX) - key.as_str().len();
        most = most.put(key, vec![b'v'; bytes]);
    }
    scene.store.commit(&most).await.during("as much as there may be")?;
    equal("what was written", scene.all().await?.len(), STEPS_MAX)
}

async fn watches_tell_all(scene: &Scene<'_>) -> Check {
    scene.put("a", "0").await?;
    let listed = scene.store.list(&ListEntries::of(scene.prefix.clone())).await.during("listing")?;
    let begun = scene.put("a", "1").await?;
    let mut watch = scene.watch(listed.revision).await?;
    let both = Transaction::new().put(scene.key("c")?, "2").put(scene.key("b")?, "2").delete(scene.key("nothing")?);
    let second = scene.store.commit(&both).await.during("writing")?;
    // Elsewhere, which is not told.
    let elsewhere = Key::new(format!("{}-else", scene.prefix.as_str().trim_end_matches('/'))).during("a key")?;
    scene.store.commit(&Transaction::new().put(elsewhere.clone(), "x")).await.during("writing")?;
    scene.store.commit(&Transaction::new().delete(elsewhere)).await.during("deleting")?;
    let third = scene
        .store
        .commit(&Transaction::new().delete(scene.key("b")?).put(scene.key("a")?, "3"))
        .await
        .during("writing")?;
    for (revision, told) in [(begun, vec!["a=1"]), (second, vec!["b=2", "c=2"]), (third, vec!["a=3", "-b"])] {
        let (changes, at) = next(&mut watch).await?;
        equal(
            "a transaction",
            (at, scene.told(&changes)),
            (revision, told.iter().map(|one| (*one).to_owned()).collect()),
        )?;
        for change in &changes {
            if let Change::Put(entry) = change {
                equal("the revision of an entry", entry.revision, revision)?;
            }
        }
    }
    // Many, by many, each in its order.
    let begin = scene.store.revision().await.during("the revision")?;
    let mut watch = scene.watch(begin).await?;
    let writes = (0..8).map(|writer| async move {
        for number in 0..25 {
            scene.put(&format!("w{writer}"), &number.to_string()).await?;
        }
        Ok::<(), Failure>(())
    });
    let written = async { join_all(writes).await.into_iter().collect::<Check>() };
    let read = async {
        let (mut last, mut seen) = (begin, vec![0; 8]);
        while seen.iter().sum::<i32>() < 200 {
            let (changes, revision) = next(&mut watch).await?;
            ensure(revision > last, format!("{revision:?} after {last:?}"))?;
            last = revision;
            for told in scene.told(&changes) {
                let (writer, number) = told.trim_start_matches('w').split_once('=').unwrap_or(("0", ""));
                let at = seen.get_mut(writer.parse::<usize>().unwrap_or(0));
                let Some(at) = at else { return failed(format!("an unknown writer: {told}")) };
                equal("what a writer wrote next", number, at.to_string())?;
                *at += 1;
            }
        }
        Ok(())
    };
    let (written, read) = tokio::join!(written, read);
    Check::and(written, read)
}

async fn watches_say_what_they_miss(scene: &Scene<'_>) -> Check {
    let begun = scene.put("a", "0").await?;
    let mut watch = scene.watch(begun).await?;
    // Nothing that is remembered may be missing, and what is not must be said: either all of it is told, or that it is not.
    const MANY: usize = 300;
    for number in 0..MANY {
        scene.put("a", &number.to_string()).await?;
    }
    let mut told = 0;
    while told < MANY {
        match timeout(SOON, watch.next()).await {
            Ok(Some(Ok(Watched::Changes { changes, .. }))) => {
                equal("a change", scene.told(&changes), [format!("a={told}")])?;
                told += 1;
            }
            Ok(Some(Ok(Watched::Resync))) => {
                let after = timeout(SOON, watch.next()).await;
                return ensure(matches!(after, Ok(None)), "a watch goes on after it said that something is missing");
            }
            Ok(other) => return failed(format!("{other:?} after {told} of {MANY} changes")),
            Err(_) => return failed(format!("only {told} of {MANY} changes are told")),
        }
    }
    Ok(())
}

async fn watches_wait(scene: &Scene<'_>) -> Check {
    let begun = scene.put("a", "0").await?;
    let mut watch = scene.watch(Revision(begun.0 + 2)).await?;
    let mut last = begun;
    while last <= Revision(begun.0 + 2) {
        last = scene.put("a", &last.0.to_string()).await?;
    }
    let (_, revision) = next(&mut watch).await?;
    equal("the first that is told", revision, last)
}

async fn leases_take_along(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MIN).await.during("a lease")?;
    let put = Transaction::new().put_with(scene.key("a")?, "1", lease).put_with(scene.key("b")?, "1", lease);
    let put = put.put(scene.key("stays")?, "1");
    let revision = scene.store.commit(&put).await.during("writing")?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("its lease", entry.and_then(|entry| entry.lease), Some(lease))?;
    // What is written without it does not hang on it any more.
    scene.put("b", "2").await?;
    let mut watch = scene.watch(revision).await?;
    let (changes, _) = next(&mut watch).await?;
    equal("what was written", scene.told(&changes), ["b=2"])?;
    let (changes, _) = next(&mut watch).await?;
    equal("what is gone", scene.told(&changes), ["-a"])?;
    equal("what stays", scene.all().await?, [("b".to_owned(), "2".to_owned()), ("stays".to_owned(), "1".to_owned())])
}

async fn lives_of_leases(scene: &Scene<'_>) -> Check {
    for life in [Duration::ZERO, LEASE_MIN - Duration::from_millis(1), LEASE_MAX + Duration::from_millis(1)] {
        let error = refused("a lease", scene.store.lease(life).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("life"), format!("{error} does not name life"))?;
    }
    Ok(())
}

async fn leases_are_renewed(scene: &Scene<'_>) -> Check {
    let (lives, ends) = (
        scene.store.lease(Duration::from_secs(2)).await.during("a lease")?,
        scene.store.lease(Duration::from_secs(2)).await.during("a lease")?,
    );
    let put = Transaction::new().put_with(scene.key("lives")?, "1", lives).put_with(scene.key("ends")?, "1", ends);
    scene.store.commit(&put).await.during("writing")?;
    eventually("the one that is not renewed goes", || async {
        scene.store.renew(lives).await.during("renewing")?;
        Ok((scene.value("ends").await?.is_none()).then_some(()))
    })
    .await?;
    equal("the one that is renewed", scene.value("lives").await?.as_deref(), Some("1"))?;
    let error = refused("renewing one that is over", scene.store.renew(ends).await, ErrorKind::NotFound)?;
    equal("its resource", error.resource(), Some("lease"))?;
    scene.store.revoke(lives).await.during("revoking")
}

async fn leases_are_revoked(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MAX).await.during("a lease")?;
    scene.store.commit(&Transaction::new().put_with(scene.key("a")?, "1", lease)).await.during("writing")?;
    scene.store.revoke(lease).await.during("revoking")?;
    equal("what hung on it", scene.value("a").await?, None)?;
    let error = refused("revoking it again", scene.store.revoke(lease).await, ErrorKind::NotFound)?;
    equal("its resource", error.resource(), Some("lease"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn every_clause_has_one_test_and_every_test_its_clause() {
        let sources = [include_str!("mod.rs"), include_str!("transaction.rs")];
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
