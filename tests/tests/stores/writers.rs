//! Several who write, one who watches and one who keeps a lease, while something happens to etcd: what was acknowledged stays, and
//! what is told is told once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::store::{Change, Entry, Key, ListEntries, Prefix, Revision, Store, Transaction, Watched};
use roadstead_core::{ErrorKind, Retry};
use tokio::task::JoinHandle;

use crate::{key, until};

/// Who replace an entry again and again, which the store may try twice, and who create new ones, which it may not.
const REPLACE: usize = 3;
const CREATE: usize = 3;
/// So long an entry stays whose lease nobody renews. Longer than any member stands still here: the etcd of Debian 12 lets a leader
/// that stood still for longer end, when it goes on, what others renewed meanwhile (<https://github.com/etcd-io/etcd/issues/15247>).
const LIFE: Duration = Duration::from_secs(120);

/// What goes on.
pub(crate) struct Work {
    store: Arc<dyn Store>,
    over: Arc<AtomicBool>,
    /// How many writes of each were acknowledged.
    acknowledged: Arc<Vec<AtomicU64>>,
    writers: Vec<JoinHandle<Written>>,
    watcher: JoinHandle<BTreeMap<String, u64>>,
    keeper: JoinHandle<()>,
}

/// What one wrote.
#[derive(Debug, Default)]
struct Written {
    last: u64,
    /// Of the created ones: those that may be there or not.
    doubtful: Vec<u64>,
}

fn is_unknown(error: &roadstead_core::Error) -> bool {
    error.retry() == Retry::Unknown
}

async fn look(store: &dyn Store, key: &Key) -> Option<Entry> {
    // Reading may be repeated whatever happens, but it must come back.
    store.get(key).await.expect("a look")
}

/// Replaces one entry, and each time writes another one beside it.
async fn replace(store: Arc<dyn Store>, name: String, acknowledged: impl Fn(u64), over: Arc<AtomicBool>) -> Written {
    let counter = key(&format!("counter/{name}"));
    let mut revision = store.commit(&Transaction::new().put(counter.clone(), "0")).await.expect("a first write");
    let (mut last, mut doubt) = (0, false);
    while !over.load(Ordering::Relaxed) {
        let next: u64 = last + 1;
        let beside = key(&format!("beside/{name}"));
        let write =
            Transaction::new().replace(counter.clone(), revision, next.to_string()).put(beside, next.to_string());
        match store.commit(&write).await {
            Ok(at) => {
                (last, revision, doubt) = (next, at, false);
                acknowledged(last);
            }
            // The one before may have been done after all, or be done even later.
            Err(error) if is_unknown(&error) || (doubt && error.kind() == ErrorKind::Conflict) => {
                let found = look(&*store, &counter).await.expect("the counter is there");
                let number: u64 = std::str::from_utf8(&found.value).unwrap().parse().unwrap();
                assert!(number == last || number == next, "{number} is there after {last}");
                (last, revision, doubt) = (number, found.revision, number == last);
            }
            Err(error) => panic!("a write of {name}: {error:?}"),
        }
    }
    Written { last, doubtful: Vec::new() }
}

/// Creates entries.
async fn create(store: Arc<dyn Store>, name: String, acknowledged: impl Fn(u64), over: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    while !over.load(Ordering::Relaxed) {
        let next = written.last + 1;
        let write = Transaction::new().create(key(&format!("created/{name}/{next:06}")), next.to_string());
        match store.commit(&write).await {
            Ok(_) => acknowledged(next),
            Err(error) if is_unknown(&error) => written.doubtful.push(next),
            Err(error) => panic!("a write of {name}: {error:?}"),
        }
        written.last = next;
    }
    written
}

/// Counts what is told, which must come in its order, each once.
async fn watch(store: Arc<dyn Store>, after: Revision, over: Arc<AtomicBool>) -> BTreeMap<String, u64> {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = after;
    let mut watch = store.watch(&Prefix::default(), after).await.expect("a watch");
    loop {
        let Ok(item) = tokio::time::timeout(Duration::from_millis(500), watch.next()).await else {
            if over.load(Ordering::Relaxed) {
                return told;
            }
            continue;
        };
        let Some(Ok(Watched::Changes { changes, revision })) = item else { panic!("the watch says {item:?}") };
        assert!(revision > last, "{revision:?} after {last:?}");
        last = revision;
        for change in &changes {
            let Change::Put(entry) = change else {
                // The end of the lease, which is told after everything else.
                assert!(change.key().as_str() == "kept" && over.load(Ordering::Relaxed), "nobody deletes: {change:?}");
                continue;
            };
            let (kind, name) = entry.key.as_str().split_once('/').unwrap_or_default();
            let number: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            if kind == "counter" && number > 0 {
                assert_eq!(changes.len(), 2, "half of a transaction: {changes:?}");
                let before = told.insert(name.to_owned(), number).unwrap_or(0);
                assert_eq!(number, before + 1, "{name}");
            } else if kind == "created" {
                *told.entry(name.split_once('/').unwrap().0.to_owned()).or_default() += 1;
            }
        }
    }
}

/// Keeps an entry there by renewing its lease.
async fn keep(store: Arc<dyn Store>, over: Arc<AtomicBool>) {
    let lease = store.lease(LIFE).await.expect("a lease");
    store.commit(&Transaction::new().put_with(key("kept"), "1", lease)).await.expect("a write");
    while !over.load(Ordering::Relaxed) {
        store.renew(lease).await.expect("it is renewed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(look(&*store, &key("kept")).await.is_some(), "it is gone though its lease was renewed");
    store.revoke(lease).await.expect("it is revoked");
}

impl Work {
    /// Begins.
    pub(crate) async fn begin(store: Arc<dyn Store>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let begun = store.revision().await.expect("the revision");
        let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..REPLACE + CREATE).map(|_| AtomicU64::new(0)).collect());
        let writers = (0..REPLACE + CREATE).map(|number| {
            let (store, over, all) = (Arc::clone(&store), Arc::clone(&over), Arc::clone(&acknowledged));
            let acknowledged = move |count| all[number].store(count, Ordering::Relaxed);
            tokio::spawn(async move {
                let name = format!("w{number}");
                if number < REPLACE {
                    replace(store, name, acknowledged, over).await
                } else {
                    create(store, name, acknowledged, over).await
                }
            })
        });
        let writers = writers.collect();
        let watcher = tokio::spawn(watch(Arc::clone(&store), begun, Arc::clone(&over)));
        let keeper = tokio::spawn(keep(Arc::clone(&store), Arc::clone(&over)));
        Work { store, over, acknowledged, writers, watcher, keeper }
    }

    /// Waits until each has written so many more times.
    pub(crate) async fn goes_on(&self, more: u64) {
        let counts = || self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let before = counts();
        until("everybody goes on", async || {
            assert!(!self.writers.iter().any(JoinHandle::is_finished), "a writer gave up");
            assert!(!self.watcher.is_finished() && !self.keeper.is_finished(), "the watch or the lease is over");
            counts().iter().zip(&before).all(|(now, before)| *now >= before + more)
        })
        .await;
    }

    /// Ends it, and holds what is there and what was told against what was acknowledged.
    pub(crate) async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut written = Vec::new();
        for writer in self.writers {
            written.push(writer.await.expect("a writer"));
        }
        let told = self.watcher.await.expect("the watch");
        self.keeper.await.expect("the lease");
        for (number, written) in written.iter().enumerate() {
            let name = format!("w{number}");
            let told = told.get(&name).copied().unwrap_or(0);
            if number < REPLACE {
                for kind in ["counter", "beside"] {
                    let found = look(&*self.store, &key(&format!("{kind}/{name}"))).await.expect("it is there");
                    assert_eq!(found.value, written.last.to_string(), "{kind} of {name}");
                }
                assert_eq!(told, written.last, "{name}");
                continue;
            }
            let mut there = Vec::new();
            let mut options = ListEntries::of(Prefix::new(format!("created/{name}/")).unwrap());
            loop {
                let page = self.store.list(&options).await.expect("a list");
                there.extend(
                    page.entries.iter().map(|entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap()),
                );
                options.after = page.entries.last().map(|entry| entry.key.clone());
                if !page.more {
                    break;
                }
            }
            assert_eq!(told, u64::try_from(there.len()).unwrap(), "{name}");
            let lost: Vec<_> =
                (1..=written.last).filter(|one| !there.contains(one) && !written.doubtful.contains(one)).collect();
            assert!(lost.is_empty(), "{name} lost {lost:?}");
        }
    }
}
