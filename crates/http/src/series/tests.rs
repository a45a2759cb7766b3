//! Series give each number once, keep what was acknowledged, and forget only what they should, whoever writes and whatever the store
//! answers.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use roadstead_core::store::{Entries, Entry, LeaseId, ListEntries, MemoryStore, Revision, Transaction, Watched};
use roadstead_core::{Error, ErrorKind, ItemStream, Retry, Timestamp};

use super::record::{CHUNK_MAX, Chunk, Head};
use super::*;

const HOUR: Bounds = Bounds { age: Duration::from_secs(3600), count: 1_000_000 };
const PATIENCE: Duration = Duration::from_secs(60);

type Numbers = Series<(String, u64)>;

impl Document for (String, u64) {
    fn subjects(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.0.as_str())
    }
}

fn series(store: &Arc<dyn Store>, bounds: Bounds) -> Numbers {
    let (head, chunks) = (Key::new("series/head").unwrap(), Prefix::new("series/chunks/").unwrap());
    Series::new(Arc::clone(store), head, chunks, "number", bounds, PATIENCE)
}

fn of(name: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.into_iter().map(|number| (name.to_owned(), number)).collect()
}

async fn all(series: &Numbers) -> Vec<u64> {
    read(series, &Wanted::default()).await
}

async fn read(series: &Numbers, wanted: &Wanted<'_, (String, u64)>) -> Vec<u64> {
    let records = series.newest(wanted).await.unwrap();
    assert!(records.is_sorted_by(|a, b| a.id > b.id), "newest first, each once");
    records.into_iter().map(|record| record.what.1).collect()
}

fn backwards(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.rev().collect()
}

/// Puts chunks into the store as if they had been written so long ago, the oldest first; each holds `size` records.
async fn past(store: &Arc<dyn Store>, series: &Numbers, ages: &[u64], size: u64) {
    let place = &series.lane.place;
    let now = Timestamp::now().unix_nanos();
    let mut head: Head<(String, u64)> = Head::default();
    for age in ages {
        let at = Timestamp::from_unix_nanos(now - i128::from(*age) * 1_000_000_000).unwrap();
        let ids = head.next..head.next + size;
        let records = ids.map(|id| Record { id, at, by: 0, what: ("past".to_owned(), id) }).collect();
        let put = Transaction::new().put(place.key(head.next).unwrap(), place.encode(&Chunk { records }).unwrap());
        store.commit(&put).await.unwrap();
        head.next += size;
    }
    store.commit(&Transaction::new().put(place.head.clone(), place.encode(&head).unwrap())).await.unwrap();
}

async fn chunk_count(store: &Arc<dyn Store>) -> usize {
    store.list(&ListEntries::of(Prefix::new("series/chunks/").unwrap())).await.unwrap().entries.len()
}

/// A store that counts what it is asked, and does not always say what it has done.
#[derive(Debug, Default)]
struct Watcher {
    inner: MemoryStore,
    reads: AtomicUsize,
    /// What becomes of the next commits: whether each is done, though its answer is lost in any case.
    answers: Mutex<Vec<bool>>,
    /// Somebody else writes between that and the next commit.
    intrude: Mutex<Option<Numbers>>,
}

#[async_trait]
impl Store for Watcher {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        let entries = self.inner.list(options).await?;
        self.reads.fetch_add(entries.entries.len(), Ordering::Relaxed);
        Ok(entries)
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        let Some(is_done) = self.answers.lock().unwrap().pop() else { return self.inner.commit(transaction).await };
        if is_done {
            self.inner.commit(transaction).await?;
        }
        let intruder = self.intrude.lock().unwrap().take();
        if let Some(intruder) = intruder {
            intruder.append(of("intruder", [999])).await?;
        }
        Err(Error::new(ErrorKind::Unavailable, "the answer is lost").with_retry(Retry::Unknown))
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
        self.inner.watch(prefix, after).await
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

#[tokio::test]
async fn what_is_appended_is_read_newest_first_with_numbers_that_rise() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = series(&store, HOUR);
    assert_eq!(all(&one).await, [0_u64; 0]);
    let mut stamps = Vec::new();
    for (size, expected) in [(1_usize, 1_u64), (0, 2), (250, 2), (3, 252), (APPEND_MAX, 255)] {
        let next = stamps.len() as u64 + 1;
        let given = one.append(of("a", next..next + size as u64)).await.unwrap();
        assert_eq!(given.len(), size);
        assert!(given.first().is_none_or(|first| first.id == expected));
        stamps.extend(given);
    }
    let whole = one.newest(&Wanted::default()).await.unwrap();
    let told: Vec<_> = whole.iter().rev().map(|record| Stamp { id: record.id, at: record.at }).collect();
    assert_eq!(told, stamps);
    assert!(whole.iter().all(|record| record.what.1 == record.id));
    // Another server, which has nothing in memory.
    let other = series(&store, HOUR);
    assert_eq!(all(&other).await, backwards(1..=754));
    for (above, limit) in [(0, 1), (0, 100), (0, 101), (700, 1000), (753, 10), (754, 10), (u64::MAX, 1), (10, 0)] {
        let wanted = Wanted { above, limit, ..Wanted::default() };
        let expected: Vec<_> = (1..=754).rev().filter(|id| *id > above).take(limit).collect();
        assert_eq!(read(&other, &wanted).await, expected, "{above} {limit}");
    }
}

#[tokio::test]
async fn the_last_ones_cost_one_read_or_two() {
    let watcher = Arc::new(Watcher::default());
    let store = Arc::clone(&watcher) as Arc<dyn Store>;
    let one = series(&store, HOUR);
    for number in 1..=1001 {
        one.append(of("a", [number])).await.unwrap();
    }
    let entries = store.list(&ListEntries::of(Prefix::default())).await.unwrap().entries;
    assert_eq!(entries.len(), 11, "ten chunks and a head");
    for (limit, most) in [(1, 1), (2, 2), (CHUNK_MAX, 2)] {
        watcher.reads.store(0, Ordering::Relaxed);
        let newest = read(&one, &Wanted { limit, ..Wanted::default() }).await;
        assert_eq!(newest, (1..=1001).rev().take(limit).collect::<Vec<_>>());
        let reads = watcher.reads.load(Ordering::Relaxed);
        assert!(reads <= most, "{reads} entries were read for the last {limit}");
    }
}

#[tokio::test]
async fn what_is_about_one_subject_is_found_without_reading_what_is_about_others() {
    let watcher = Arc::new(Watcher::default());
    let store = Arc::clone(&watcher) as Arc<dyn Store>;
    let (one, other) = (series(&store, HOUR), series(&store, HOUR));
    let about = |number: u64| if number % 1000 == 7 { "seldom" } else { "often" };
    for batch in 0..54 {
        // Two servers, which know of each other's chunks what they have read.
        let writer = if batch % 2 == 0 { &one } else { &other };
        let numbers = batch * 80 + 1..=batch * 80 + 80;
        writer.append(numbers.map(|number| (about(number).to_owned(), number)).collect()).await.unwrap();
        if batch == 24 {
            assert_eq!(read(&other, &Wanted { about: Some("seldom"), ..Wanted::default() }).await, [1007, 7]);
        }
    }
    let reads = || watcher.reads.swap(0, Ordering::Relaxed);
    for (subject, limit, most) in
        [("seldom", usize::MAX, 6), ("seldom", 1, 3), ("never", 1, 2), ("often", 1, 2), ("often", 150, 20)]
    {
        let wanted = Wanted { about: Some(subject), limit, ..Wanted::default() };
        let expected: Vec<_> = (1..=4320).rev().filter(|number| about(*number) == subject).take(limit).collect();
        assert_eq!(read(&other, &wanted).await, expected, "{subject}");
        let cold = reads();
        assert_eq!(read(&other, &wanted).await, expected, "{subject}");
        let warm = reads();
        assert!(warm <= most, "{subject}: {warm} entries were read, and {cold} before");
    }
    // Also what is removed; and what is written afterwards is found.
    assert_eq!(other.forget("never").await.unwrap(), 0);
    let looking = reads();
    assert!(looking <= 3, "{looking} entries were read");
    assert_eq!(other.forget("seldom").await.unwrap(), 5);
    let removing = reads();
    assert!(removing <= 12, "{removing} entries were read");
    one.append(of("seldom", [5000])).await.unwrap();
    one.append(of("often", 5001..5301)).await.unwrap();
    assert_eq!(read(&other, &Wanted { about: Some("seldom"), ..Wanted::default() }).await, [5000]);
}

#[tokio::test]
async fn a_store_that_was_put_back_or_emptied_hides_nothing() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (warm, other) = (series(&store, HOUR), series(&store, HOUR));
    let about = |subject| Wanted { about: Some(subject), ..Wanted::default() };
    let all = || async { store.list(&ListEntries::of(Prefix::default())).await.unwrap().entries };
    warm.append(of("first", 0..250)).await.unwrap();
    let early = all().await;
    warm.append(of("first", 250..500)).await.unwrap();
    assert_eq!((read(&warm, &about("first")).await.len(), read(&warm, &about("second")).await.len()), (500, 0));
    // As it was before, and then otherwise.
    let mut back = Transaction::new();
    for entry in all().await {
        back = back.delete(entry.key);
    }
    store.commit(&back).await.unwrap();
    let mut back = Transaction::new();
    for entry in early {
        back = back.put(entry.key, entry.value);
    }
    store.commit(&back).await.unwrap();
    assert_eq!(read(&warm, &about("first")).await.len(), 250);
    other.append(of("second", 0..250)).await.unwrap();
    assert_eq!(read(&warm, &about("second")).await.len(), 250);
    // Nothing, and then more than there was.
    let mut empty = Transaction::new();
    for entry in all().await {
        empty = empty.delete(entry.key);
    }
    store.commit(&empty).await.unwrap();
    let third = series(&store, HOUR);
    third.append(of("third", 0..450)).await.unwrap();
    third.append(of("third", 450..900)).await.unwrap();
    assert_eq!((read(&warm, &about("third")).await.len(), read(&warm, &about("first")).await.len()), (900, 0));
    assert_eq!(warm.forget("third").await.unwrap(), 900);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_changes_nothing() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = series(&store, HOUR);
    let long = |length: usize| ("x".repeat(length), 1);
    for (documents, field) in [
        (of("a", 0..APPEND_MAX as u64 + 1), "documents"),
        (vec![long(20_000)], "document"),
        (vec![long(15_000); 20], "documents"),
    ] {
        let refused = one.append(documents).await.unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (ErrorKind::InvalidInput, Some(field)));
    }
    assert!(store.list(&ListEntries::of(Prefix::default())).await.unwrap().entries.is_empty());
    // The most that is taken, again and again: no value is near what a store takes.
    for _ in 0..3 {
        let (first, second) = tokio::join!(one.append(vec![long(15_000); 17]), one.append(vec![long(15_000); 17]));
        assert_eq!(first.unwrap().len() + second.unwrap().len(), 34);
    }
    for entry in store.list(&ListEntries::of(Prefix::default())).await.unwrap().entries {
        assert!(entry.value.len() < 128 * 1024, "{entry:?}");
    }
    assert_eq!(all(&one).await.len(), 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_write_at_once_get_numbers_of_their_own() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut writers = Vec::new();
    for server in 0..4_u64 {
        let one = series(&store, HOUR);
        for client in 0..5 {
            let one = one.clone();
            writers.push(tokio::spawn(async move {
                let mut stamps = Vec::new();
                for turn in 0..10 {
                    let number = server * 1000 + client * 100 + turn;
                    let given = one.append(of("a", [number; 3])).await.unwrap();
                    stamps.extend(given.into_iter().map(|stamp| (stamp.id, number)));
                }
                stamps
            }));
        }
    }
    let mut given = BTreeSet::new();
    for writer in writers {
        for stamp in writer.await.unwrap() {
            assert!(given.insert(stamp), "{stamp:?} was given twice");
        }
    }
    let kept = series(&store, HOUR).newest(&Wanted::default()).await.unwrap();
    let kept: BTreeSet<_> = kept.into_iter().map(|record| (record.id, record.what.1)).collect();
    assert_eq!(kept, given);
    assert_eq!(given.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=600).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_writes_nothing_twice() {
    // Whether each attempt was done, and whether somebody else wrote after the first.
    for (answers, intrudes) in [
        (vec![true], false),
        (vec![false], false),
        (vec![true], true),
        (vec![false], true),
        (vec![true, false, false], false),
        (vec![true, true], true),
    ] {
        let watcher = Arc::new(Watcher::default());
        let store = Arc::clone(&watcher) as Arc<dyn Store>;
        let (one, other) = (series(&store, HOUR), series(&store, HOUR));
        one.append(of("a", [1])).await.unwrap();
        let told = format!("{answers:?} {intrudes}");
        *watcher.answers.lock().unwrap() = answers.into_iter().rev().collect();
        if intrudes {
            *watcher.intrude.lock().unwrap() = Some(series(&(Arc::new(watcher.inner.clone()) as _), HOUR));
        }
        let stamps = one.append(of("a", [2, 3])).await.unwrap();
        let records = other.newest(&Wanted::default()).await.unwrap();
        let ours: Vec<_> = records.iter().filter(|record| record.what.0 == "a").map(|record| record.what.1).collect();
        assert_eq!(ours, [3, 2, 1], "{told}");
        for (stamp, number) in stamps.iter().zip([2, 3]) {
            let record = records.iter().find(|record| record.id == stamp.id).unwrap();
            assert_eq!((record.what.1, record.at), (number, stamp.at), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_tells_is_given_up() {
    let watcher = Arc::new(Watcher::default());
    *watcher.answers.lock().unwrap() = vec![false; 10_000];
    let store = Arc::clone(&watcher) as Arc<dyn Store>;
    let one = series(&store, HOUR);
    let error = one.append(of("a", [1])).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Unknown);
    watcher.answers.lock().unwrap().clear();
    one.append(of("a", [2])).await.unwrap();
    assert_eq!(all(&one).await, [2]);
    watcher.inner.close().await.unwrap();
    assert_eq!(one.append(of("a", [3])).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_time_range_is_found_without_reading_all() {
    let watcher = Arc::new(Watcher::default());
    let store = Arc::clone(&watcher) as Arc<dyn Store>;
    let one = series(&store, HOUR);
    // A chunk of two each ten seconds, the last one now.
    let ages: Vec<_> = (0..300).rev().map(|chunk| chunk * 10).collect();
    past(&store, &one, &ages, 2).await;
    let now = Timestamp::now().unix_nanos();
    let ago = |seconds: i128| Timestamp::from_unix_nanos(now - seconds * 1_000_000_000);
    for (since, until, most) in
        [(Some(95), None, 40), (None, Some(2905), 40), (Some(1505), Some(1495), 40), (Some(5), Some(1), 40)]
    {
        let wanted = Wanted { since: since.and_then(ago), until: until.and_then(ago), ..Wanted::default() };
        watcher.reads.store(0, Ordering::Relaxed);
        let found = read(&one, &wanted).await;
        let passes = |id: &u64| {
            let age = i128::from(ages[((id - 1) / 2) as usize]);
            since.is_none_or(|since| age < since) && until.is_none_or(|until| age > until)
        };
        assert_eq!(found, (1..=600).rev().filter(passes).collect::<Vec<_>>(), "{since:?} {until:?}");
        let reads = watcher.reads.load(Ordering::Relaxed);
        assert!(reads <= most, "{reads} entries were read from {since:?} to {until:?}");
    }
    let none = Wanted { since: ago(10), until: ago(20), ..Wanted::default() };
    assert!(read(&one, &none).await.is_empty());
}

#[tokio::test]
async fn what_is_too_old_is_not_shown_and_goes() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = series(&store, HOUR);
    past(&store, &one, &[9000, 7200, 3700, 3500, 1800, 10], 10).await;
    assert_eq!(all(&one).await, backwards(31..=60));
    trim::trim(&one.lane).await.unwrap();
    assert_eq!(chunk_count(&store).await, 3);
    assert_eq!(all(&one).await, backwards(31..=60));
    one.append(of("a", [61])).await.unwrap();
    let (head, _) = one.lane.place.head::<(String, u64)>(&*store).await.unwrap();
    assert_eq!((head.oldest, head.next), (31, 62));
    // All of it, the head included; numbers go on.
    let short = series(&store, Bounds { age: Duration::from_nanos(1), ..HOUR });
    assert!(all(&short).await.is_empty());
    trim::trim(&short.lane).await.unwrap();
    assert_eq!(chunk_count(&store).await, 0);
    assert_eq!(all(&one).await, [0_u64; 0]);
    assert_eq!(one.append(of("a", [62])).await.unwrap()[0].id, 62);
    assert_eq!(all(&one).await, [62]);
}

#[tokio::test]
async fn what_is_too_much_is_not_shown_and_goes_while_others_come() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = series(&store, Bounds { count: 150, ..HOUR });
    for number in 1..=1234 {
        one.append(of("a", [number])).await.unwrap();
        if number % 100 == 0 {
            assert_eq!(all(&one).await, backwards((number + 1).saturating_sub(150).max(1)..=number));
        }
    }
    assert!(chunk_count(&store).await <= 5, "{} chunks are left", chunk_count(&store).await);
    trim::trim(&one.lane).await.unwrap();
    assert_eq!(chunk_count(&store).await, 2);
    assert_eq!(all(&one).await, backwards(1085..=1234));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_gone_and_nothing_else_is_while_others_write() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, other) = (series(&store, HOUR), series(&store, HOUR));
    assert_eq!(one.forget("gone").await.unwrap(), 0);
    for number in 0..400 {
        one.append(of(if number % 3 == 0 { "gone" } else { "stays" }, [number])).await.unwrap();
    }
    one.append(of("gone", 400..550)).await.unwrap();
    let writes = tokio::spawn(async move {
        for number in 550..750 {
            other.append(of("stays", [number])).await.unwrap();
        }
    });
    let (first, second) = (one.clone(), series(&store, HOUR));
    let (first, second) = tokio::join!(first.forget("gone"), second.forget("gone"));
    writes.await.unwrap();
    assert_eq!(first.unwrap() + second.unwrap(), 134 + 150, "each is removed once");
    let expected: Vec<_> = (0..750).rev().filter(|n| (*n < 400 && n % 3 != 0) || *n >= 550).collect();
    assert_eq!(all(&one).await, expected);
    assert_eq!(one.append(of("gone", [0])).await.unwrap()[0].id, 751, "no number is given twice");
    assert_eq!(read(&one, &Wanted { about: Some("gone"), ..Wanted::default() }).await, [0]);
}

#[tokio::test]
async fn a_chunk_that_makes_no_sense_hides_no_other() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = series(&store, HOUR);
    past(&store, &one, &[30, 20, 10], 5).await;
    let place = &one.lane.place;
    store.commit(&Transaction::new().put(place.key(6).unwrap(), "nonsense")).await.unwrap();
    assert_eq!(all(&one).await, [15, 14, 13, 12, 11, 5, 4, 3, 2, 1]);
    assert_eq!(read(&one, &Wanted { about: Some("past"), ..Wanted::default() }).await.len(), 10);
    assert_eq!(one.forget("past").await.unwrap(), 10);
}
