//! The journal has each event once, in one order, whoever writes and whatever the store answers.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_core::store::{
    Claim, Entries, Entry, Key, LeaseId, ListEntries, MemoryStore, Prefix, Revision, Session, Transaction, Watched,
};
use roadstead_core::{Error, ErrorKind, Event, EventAction, ItemStream, ResourceKind, Retry, Timestamp};
use tokio::sync::mpsc;

use super::record::{BATCH_MAX, Head, Record, What};
use super::writer::{Said, head};
use super::*;
use crate::fleet::Hold;

const BOUNDS: Bounds = Bounds { age: Duration::from_secs(3600), count: 1000 };
const PATIENCE: Duration = Duration::from_secs(60);

fn event(node: &str, id: &str) -> Event {
    Event::new(Timestamp::now(), node, ResourceKind::Container, EventAction::Created, id)
}

fn said(node: &str, id: &str, hold: &Hold) -> Said {
    Said { record: Record { what: What::Event(event(node, id)), server: None }, hold: Some(hold.clone()) }
}

/// What is said of an item: `seq:id`, or why some is missing.
fn words(items: &[Item]) -> Vec<String> {
    let word = |item: &Item| match (item, item.record().map(|record| &record.what)) {
        (Item::Record(cursor, ..), Some(What::Event(event))) => format!("{}:{}", cursor.seq, event.id),
        (item, what) => format!("{item:?} {what:?}"),
    };
    items.iter().map(word).collect()
}

async fn read(reader: &mut Reader, count: usize) -> Vec<Item> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(tokio::time::timeout(PATIENCE, reader.next()).await.expect("it is told").unwrap());
    }
    all
}

async fn open(store: &Arc<dyn Store>) -> Arc<Journal> {
    let journal = Arc::new(opened(store).await);
    let followed = Arc::clone(&journal);
    tokio::spawn(async move { followed.follow().await });
    journal
}

fn at(journal: &Journal, seq: u64) -> Cursor {
    Cursor { seq, ..journal.end() }
}

fn place() -> record::Place {
    record::Place { head: Key::new("meta/events").unwrap(), batches: Prefix::new("events/").unwrap() }
}

async fn opened(store: &Arc<dyn Store>) -> Journal {
    let record::Place { head, batches } = place();
    Journal::open(Arc::clone(store), head, batches).await.unwrap()
}

async fn kept(store: &dyn Store) -> Head {
    head(store, &place()).await.unwrap().0
}

/// A store that does not always say what it has done.
#[derive(Debug)]
struct Doubtful {
    inner: MemoryStore,
    /// What becomes of the next commits of batches: whether each is done, though its answer is lost in any case.
    answers: Mutex<Vec<bool>>,
    /// Somebody else writes between that and the next commit.
    intrude: Mutex<Option<Transaction>>,
}

#[async_trait]
impl Store for Doubtful {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        self.inner.list(options).await
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        let of_batch = transaction.writes().iter().any(|write| write.key().as_str().starts_with("events/"));
        let answer = if of_batch { self.answers.lock().unwrap().pop() } else { None };
        let Some(is_done) = answer else { return self.inner.commit(transaction).await };
        if is_done {
            self.inner.commit(transaction).await?;
        }
        let intruder = self.intrude.lock().unwrap().take();
        if let Some(intruder) = intruder {
            self.inner.commit(&intruder).await?;
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

#[tokio::test(start_paused = true)]
async fn two_that_write_at_once_leave_no_hole_and_nothing_twice() {
    const EACH: usize = 300;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (here, there) = (open(&store).await, open(&store).await);
    let mut senders = Vec::new();
    for (journal, name) in [(&here, "here"), (&there, "there")] {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(journal.writer(BOUNDS, |_| false).run(receiver));
        senders.push(tokio::spawn(async move {
            for number in 0..EACH {
                sender.send(said(name, &format!("{name}-{number:03}"), &Hold::Own)).await.unwrap();
                if number % 7 == 0 {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                }
            }
        }));
    }
    let mut told = Vec::new();
    for journal in [&here, &there] {
        let items = read(&mut journal.read(at(journal, 0)), 2 * EACH).await;
        let seqs: Vec<_> = items.iter().map(|item| item.cursor().seq).collect();
        assert_eq!(seqs, (1..=2 * EACH as u64).collect::<Vec<_>>());
        told.push(words(&items));
    }
    assert_eq!(told[0], told[1], "both servers tell the same");
    for name in ["here", "there"] {
        let ids: Vec<_> = told[0].iter().filter_map(|word| Some(word.split_once(':')?.1)).collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| id.starts_with(name)).collect();
        let all: Vec<_> = (0..EACH).map(|number| format!("{name}-{number:03}")).collect();
        assert_eq!(ids, all, "each once, in its order");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_neither_a_loss_nor_a_double() {
    // Each list is what becomes of the attempts, the last one first.
    for answers in [vec![true], vec![false], vec![true, false], vec![false, false, false], vec![true, false, false]] {
        for intrudes in [false, true] {
            let inner = MemoryStore::new();
            let store =
                Arc::new(Doubtful { inner: inner.clone(), answers: Mutex::default(), intrude: Mutex::default() });
            let shared: Arc<dyn Store> = store.clone();
            let journal = open(&shared).await;
            let mut writer = journal.writer(BOUNDS, |_| false);
            writer.write(vec![said("n", "first", &Hold::Own)]).await;
            *store.answers.lock().unwrap() = answers.clone();
            if intrudes {
                // Whoever comes between finds the head as it is then: here as it is when nothing was done.
                let (head, revision) = head(&inner, &journal.place).await.unwrap();
                let batch = record::Batch {
                    id: "another".to_owned(),
                    at: Timestamp::now(),
                    records: vec![Record { what: What::Event(event("m", "between")), server: None }],
                };
                let next = Head { next: head.next + 1, ..head.clone() };
                if answers.last() == Some(&false) {
                    let write = Transaction::new()
                        .replace(journal.place.head.clone(), revision, serde_json::to_vec(&next).unwrap())
                        .put(journal.place.key(head.next).unwrap(), serde_json::to_vec(&batch).unwrap());
                    *store.intrude.lock().unwrap() = Some(write);
                }
            }
            writer.write(vec![said("n", "doubtful", &Hold::Own)]).await;
            writer.write(vec![said("n", "last", &Hold::Own)]).await;
            let next = kept(&inner).await.next;
            let items = read(&mut journal.read(at(&journal, 0)), usize::try_from(next - 1).unwrap()).await;
            let ids: Vec<_> = words(&items).iter().map(|word| word.split_once(':').unwrap().1.to_owned()).collect();
            let between = intrudes && answers.last() == Some(&false);
            let expected: &[&str] =
                if between { &["first", "between", "doubtful", "last"] } else { &["first", "doubtful", "last"] };
            assert_eq!(ids, expected, "{answers:?} {intrudes}");
        }
    }
}

async fn claim(store: &MemoryStore, name: &str) -> (Session, Claim) {
    let (session, renewal) = Session::begin(Arc::new(store.clone()), Duration::from_secs(5)).await.unwrap();
    tokio::spawn(renewal);
    let claim = session.claim(&Key::new(format!("claims/nodes/{name}")).unwrap(), "me").await.unwrap().unwrap();
    (session, claim)
}

#[tokio::test(start_paused = true)]
async fn whose_claim_is_gone_writes_nothing_of_that_node() {
    let store = MemoryStore::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let journal = open(&shared).await;
    let (session, lost) = claim(&store, "lost").await;
    let (_other, held) = claim(&store, "held").await;
    let mut writer = journal.writer(BOUNDS, |node| node == "removed");
    // It is over, and who had it does not know.
    store.revoke(session.lease()).await.unwrap();
    assert!(lost.holds());
    let (lost, held) = (Hold::Claimed(lost), Hold::Claimed(held));
    writer.write(vec![said("lost", "a", &lost), said("held", "b", &held), said("own", "c", &Hold::Own)]).await;
    let mut cleared = said("removed", "d", &lost);
    if let What::Event(event) = &mut cleared.record.what {
        event.action = EventAction::AlertCleared;
    }
    writer.write(vec![said("removed", "e", &lost), cleared]).await;
    let items = read(&mut journal.read(at(&journal, 0)), 3).await;
    assert_eq!(words(&items), ["1:b", "2:c", "3:d"], "the last word on a node that is removed is nobody else's");
    assert_eq!(kept(&store).await.next, 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_or_too_old_goes_and_whoever_is_late_is_told() {
    let store = MemoryStore::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let journal = open(&shared).await;
    let bounds = Bounds { age: Duration::from_secs(3600), count: 320 };
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(journal.writer(bounds, |_| false).run(receiver));
    let mut reader = journal.read(at(&journal, 0));
    for number in 1..=1000 {
        sender.send(said("n", &number.to_string(), &Hold::Own)).await.unwrap();
        if number == 1 {
            assert_eq!(words(&read(&mut reader, 1).await), ["1:1"]);
        }
    }
    let mut last = journal.read(at(&journal, 0));
    while last.next().await.unwrap().last().unwrap().cursor().seq < 1000 {}
    // Deleted right after the batch that is too much was written.
    let trimmed = async {
        loop {
            let head = kept(&store).await;
            if head.count() <= bounds.count {
                break head;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let head = tokio::time::timeout(PATIENCE, trimmed).await.expect("what is too much goes");
    assert!(head.oldest > 600 && head.count() >= bounds.count / 2, "{head:?}");
    let batches = store.list(&ListEntries::of(journal.place.batches.clone())).await.unwrap();
    assert_eq!(journal.place.first(&batches.entries[0].key), Some(head.oldest), "no more is kept than is told");

    // One that has been away, with nothing in memory here.
    let journal = open(&shared).await;
    for from in [0, 1, head.oldest - 2] {
        let mut late = journal.read(at(&journal, from));
        let mut items = read(&mut late, 1).await;
        assert!(matches!(&items[0], Item::Resync(cursor, Missing::Expired) if cursor.seq == head.oldest - 1));
        while items.last().unwrap().cursor().seq < 1000 {
            items.extend(late.next().await.unwrap());
        }
        let seqs: Vec<_> = items.iter().map(|item| item.cursor().seq).collect();
        assert_eq!(seqs, (head.oldest - 1..=1000).collect::<Vec<_>>());
    }
    // In the middle of a batch.
    for from in [head.oldest - 1, head.oldest, 990, 999] {
        let items = read(&mut journal.read(at(&journal, from)), 1).await;
        assert_eq!((items[0].cursor().seq, items[0].record().is_some()), (from + 1, true));
    }

    // By age: nothing of an hour ago is kept, and nothing is left.
    let bounds = Bounds { age: Duration::from_nanos(1), ..bounds };
    journal.writer(bounds, |_| false).trim().await;
    let head = kept(&store).await;
    assert_eq!((head.oldest, head.next, head.count()), (1001, 1001, 0));
    let revision = store.revision().await.unwrap();
    journal.writer(bounds, |_| false).trim().await;
    assert_eq!(store.revision().await.unwrap(), revision, "at rest nothing is written");
    let items = read(&mut journal.read(at(&journal, 7)), 1).await;
    assert!(matches!(&items[0], Item::Resync(cursor, Missing::Expired) if cursor.seq == 1000));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_journal_or_of_the_future_is_told() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = open(&store).await;
    let mut writer = journal.writer(BOUNDS, |_| false);
    writer.write(vec![said("n", "a", &Hold::Own), said("n", "b", &Hold::Own)]).await;
    for cursor in [Cursor { epoch: "0123456789abcdef".to_owned(), seq: 1 }, at(&journal, 3), at(&journal, u64::MAX)] {
        let mut reader = journal.read(cursor.clone());
        let items = read(&mut reader, 3).await;
        let told = matches!(&items[0], Item::Resync(_, Missing::OtherJournal));
        assert!(told, "{cursor}: {items:?}");
        assert_eq!(words(&items[1..]), ["1:a", "2:b"]);
    }
    // What another server has written, and is not told here yet, is no future.
    let unaware = Arc::new(opened(&store).await);
    writer.write(vec![said("n", "c", &Hold::Own)]).await;
    let mut reader = unaware.read(at(&unaware, 3));
    let waits = tokio::time::timeout(Duration::from_secs(1), reader.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    let followed = Arc::clone(&unaware);
    tokio::spawn(async move { followed.follow().await });
    writer.write(vec![said("n", "d", &Hold::Own)]).await;
    assert_eq!(words(&read(&mut reader, 1).await), ["4:d"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_gone_back_to_a_time() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = open(&store).await;
    // One batch each minute, of an hour; each by the clock of the server.
    let begun = Timestamp::now().unix_nanos() - 3_600_000_000_000;
    let minute = |number: u64| Timestamp::from_unix_nanos(begun + i128::from(number) * 60_000_000_000).unwrap();
    let place = &journal.place;
    let mut head = kept(&*store).await;
    for number in 0..60 {
        let records = vec![Record { what: What::Event(event("n", &number.to_string())), server: None }; 3];
        let batch = record::Batch { id: number.to_string(), at: minute(number), records };
        let next = Head { next: head.next + 3, ..head.clone() };
        let write = Transaction::new()
            .put(place.key(head.next).unwrap(), serde_json::to_vec(&batch).unwrap())
            .put(place.head.clone(), serde_json::to_vec(&next).unwrap());
        store.commit(&write).await.unwrap();
        head = next;
    }
    for (since, first) in [(0, 1), (1, 1), (30, 29 * 3 + 1), (59, 58 * 3 + 1)] {
        let mut reader = journal.read(at(&journal, 180));
        assert!(!reader.rewind(minute(since)).await.unwrap(), "nothing was deleted");
        // A minute earlier: the clocks of servers differ.
        assert_eq!(reader.cursor().seq + 1, first, "{since}");
    }
    let bounds = Bounds { age: Duration::from_secs(30 * 60), ..BOUNDS };
    journal.writer(bounds, |_| false).trim().await;
    let mut reader = journal.read(at(&journal, 180));
    assert!(reader.rewind(minute(5)).await.unwrap(), "what was then is not kept");
    assert!(!reader.rewind(minute(45)).await.unwrap());
}

#[test]
fn a_batch_holds_no_more_than_its_readers_look_for() {
    // What is kept by one version is read by the next.
    assert_eq!(BATCH_MAX, 100);
}
