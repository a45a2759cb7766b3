//! What a server writes down of a job that it works at. Changes that come while the store is busy go to it together; all of them under
//! the claim on the job, so that nothing is written any more when another server has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roadstead_core::store::Claim;
use roadstead_core::{Error, ErrorKind, Result, Timestamp};
use tokio::sync::watch;

use super::End;
use super::book::{BYTES, Book, Changed, Part, Piece, ROOM, STEPS, Stream, encode};
use super::record::{JobItem, JobRecord};

/// Output and counts may be so late: nobody waits for them.
const LATE: Duration = Duration::from_millis(200);
/// Between two attempts to write.
const PAUSE: Duration = Duration::from_millis(300);
/// Bytes of one piece of output.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces of output that are kept: a mebibyte, as of every job.
const PIECES: u64 = 64;
/// Longest line that is kept, in bytes.
const LINE_BYTES: usize = 8 * 1024;

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far writing has come.
#[derive(Clone, Debug)]
enum Written {
    /// Everything up to the change of this number.
    Upto(u64),
    /// Nothing more will be written.
    Over(Arc<Error>),
}

#[derive(Debug)]
struct Page {
    record: JobRecord,
    items: BTreeMap<usize, Vec<JobItem>>,
    /// The piece of output that is being filled, and its number.
    piece: Piece,
    piece_number: u64,
    piece_bytes: usize,
    /// Bytes of the pieces that are kept, by number.
    kept: BTreeMap<u64, u64>,
    /// Parts that are otherwise than in the store; `None` is to be deleted.
    dirty: BTreeMap<Part, Option<Bytes>>,
    /// Counts the changes.
    change: u64,
}

/// The writer's end of a job. Dropping it ends the writing.
#[derive(Debug)]
pub(super) struct Ledger {
    page: Arc<Mutex<Page>>,
    /// The change up to which somebody waits.
    wanted: watch::Sender<u64>,
    written: watch::Receiver<Written>,
}

impl Ledger {
    /// Goes on with a job as the store has it. The future must be run (spawned): it writes until the ledger is dropped.
    pub(super) async fn open(
        book: Book,
        record: JobRecord,
        claim: Claim,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let (pieces, _) = book.output(&record.id).await?;
        let next = pieces.last().map_or(1, |(_, piece)| piece.first + piece.lines.len() as u64);
        let bytes = |piece: &Piece| piece.lines.iter().map(|(_, line)| line.len() as u64).sum();
        let page = Arc::new(Mutex::new(Page {
            record,
            items: BTreeMap::new(),
            piece: Piece { first: next, lines: Vec::new() },
            piece_number: pieces.last().map_or(0, |(number, _)| number + 1),
            piece_bytes: 0,
            kept: pieces.iter().map(|(number, piece)| (*number, bytes(piece))).collect(),
            dirty: BTreeMap::new(),
            change: 0,
        }));
        let (wanted, asked) = watch::channel(0);
        let (tell, written) = watch::channel(Written::Upto(0));
        let writing = write(book, claim, Arc::clone(&page), asked, tell);
        Ok((Ledger { page, wanted, written }, writing))
    }

    pub(super) fn record(&self) -> JobRecord {
        lock(&self.page).record.clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Page) -> T) -> T {
        let mut page = lock(&self.page);
        page.change += 1;
        let changed = change(&mut page);
        drop(page);
        // Whoever waits says so; the writer looks after a while otherwise.
        self.wanted.send_modify(|_| {});
        changed
    }

    /// Changes the head.
    pub(super) fn set(&self, set: impl FnOnce(&mut JobRecord)) {
        self.change(|page| set(&mut page.record));
    }

    /// The number of a node, which it gets now when it has none.
    pub(super) fn number_of(&self, node: &str) -> usize {
        self.change(|page| {
            let nodes = &mut page.record.nodes;
            nodes.iter().position(|known| known == node).unwrap_or_else(|| {
                nodes.push(node.to_owned());
                nodes.len() - 1
            })
        })
    }

    /// The items of a node as the store has them; they are counted already.
    pub(super) fn knows_items(&self, node: usize, items: &[JobItem]) {
        lock(&self.page).items.insert(node, items.to_vec());
    }

    /// A node has told its items.
    ///
    /// # Errors
    /// When they cannot be written, which would be a defect.
    pub(super) fn put_items(&self, node: usize, items: Vec<JobItem>) -> Result<()> {
        self.change(|page| {
            for item in &items {
                page.record.items.change(None, item.outcome);
            }
            let rooms = items.len().div_ceil(ROOM).max(1);
            page.items.insert(node, items);
            (0..rooms).try_for_each(|room| page.mark(node, room))
        })
    }

    /// One of them is otherwise now.
    ///
    /// # Errors
    /// When it cannot be written, which would be a defect.
    pub(super) fn put_item(&self, node: usize, index: usize, item: JobItem) -> Result<()> {
        self.change(|page| {
            let Some(known) = page.items.get_mut(&node).and_then(|items| items.get_mut(index)) else {
                return Err(Error::new(ErrorKind::Unexpected, "an item of a job is not known"));
            };
            let before = known.outcome;
            let now = item.outcome;
            *known = item;
            page.record.items.change(Some(before), now);
            page.mark(node, index / ROOM)
        })
    }

    /// The job has ended.
    ///
    /// # Errors
    /// When that cannot be written, which would be a defect.
    pub(super) fn end(&self, end: &End) -> Result<()> {
        let sign = encode(&end.state)?;
        self.change(|page| {
            page.record.state = end.state;
            page.record.exit_code = end.exit_code;
            page.record.ended_at = Some(Timestamp::now());
            page.record.task.forget_secrets();
            page.dirty.insert(Part::End, Some(sign));
        });
        Ok(())
    }

    /// Adds a line to the output.
    pub(super) fn say(&self, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line.get(..LINE_BYTES).unwrap_or(line)).into_owned();
        self.change(|page| page.say(stream, text));
    }

    /// Waits until all changes so far are in the store.
    ///
    /// # Errors
    /// `Cancelled` when another server works at the job, and what else keeps it from being written.
    pub(super) async fn flush(&self) -> Result<()> {
        let change = lock(&self.page).change;
        self.wanted.send_modify(|wanted| *wanted = change.max(*wanted));
        let mut written = self.written.clone();
        let done = written
            .wait_for(|written| match written {
                Written::Upto(done) => *done >= change,
                Written::Over(_) => true,
            })
            .await
            .map_err(|_| Error::new(ErrorKind::Cancelled, "nobody writes down the job any more"))?;
        match &*done {
            Written::Upto(_) => Ok(()),
            Written::Over(error) => Err(error.repeated()),
        }
    }
}

impl Page {
    fn mark(&mut self, node: usize, room: usize) -> Result<()> {
        let items = self.items.get(&node).map_or(&[][..], Vec::as_slice);
        let of_room: Vec<_> = items.iter().skip(room * ROOM).take(ROOM).collect();
        let value = encode(&of_room)?;
        self.dirty.insert(Part::Items(node, room), Some(value));
        Ok(())
    }

    fn say(&mut self, stream: Stream, text: String) {
        let bytes = text.len();
        if self.piece_bytes > 0 && self.piece_bytes + bytes > PIECE_BYTES {
            self.piece = Piece { first: self.piece.first + self.piece.lines.len() as u64, lines: Vec::new() };
            self.piece_number += 1;
            self.piece_bytes = 0;
        }
        self.piece.lines.push((stream, text));
        self.piece_bytes += bytes;
        self.record.output_bytes += bytes as u64;
        *self.kept.entry(self.piece_number).or_default() += bytes as u64;
        while self.kept.len() as u64 > PIECES
            && let Some((old, bytes)) = self.kept.pop_first()
        {
            self.dirty.insert(Part::Output(old), None);
            self.record.output_dropped_bytes += bytes;
        }
        // A line of text always has bytes.
        if let Ok(value) = encode(&self.piece) {
            self.dirty.insert(Part::Output(self.piece_number), Some(value));
        }
    }

    /// What is to be written next, within what one transaction takes, and the change up to which all is written then.
    fn take(&mut self) -> (JobRecord, Vec<Changed>, Option<u64>) {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while parts.len() < STEPS {
            let Some(next) = self.dirty.first_entry() else { break };
            bytes += next.get().as_ref().map_or(0, Bytes::len);
            if bytes > BYTES && !parts.is_empty() {
                break;
            }
            parts.push(next.remove_entry());
        }
        let whole = self.dirty.is_empty().then_some(self.change);
        (self.record.clone(), parts, whole)
    }
}

async fn write(
    book: Book,
    claim: Claim,
    page: Arc<Mutex<Page>>,
    mut asked: watch::Receiver<u64>,
    tell: watch::Sender<Written>,
) {
    let mut done = 0;
    loop {
        if asked.changed().await.is_err() {
            return;
        }
        // What nobody waits for may gather for a moment.
        if *asked.borrow_and_update() <= done {
            let waited_for = asked.wait_for(|wanted| *wanted > done);
            if let Ok(Err(_)) = tokio::time::timeout(LATE, waited_for).await {
                return;
            }
        }
        while lock(&page).change > done {
            let (record, parts, whole) = lock(&page).take();
            while let Err(error) = book.write(&record, parts.clone(), &claim).await {
                // What the store does not take it would not take the next time.
                if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::InvalidInput) || !claim.holds() {
                    tell.send_replace(Written::Over(Arc::new(error)));
                    return;
                }
                tracing::warn!(job = record.id, %error, "what was done is not written down yet");
                tokio::time::sleep(PAUSE).await;
            }
            if let Some(whole) = whole {
                done = whole;
                tell.send_replace(Written::Upto(done));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::Identities;
    use crate::work::record::{Asked, Pull, Task};
    use roadstead_core::PullOptions;
    use roadstead_core::store::{Key, MemoryStore, Prefix, Session, Store, Table};

    async fn book() -> (Arc<dyn Store>, Book) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let heads = Table::new(Arc::clone(&store), Prefix::new("jobs/").unwrap(), "job");
        (Arc::clone(&store), Book::new(store, heads, Prefix::new("parts/").unwrap(), Prefix::new("drafts/").unwrap()))
    }

    async fn claim(store: &Arc<dyn Store>) -> Claim {
        let (session, renewal) = Session::begin(Arc::clone(store), Duration::from_secs(5)).await.unwrap();
        tokio::spawn(renewal);
        session.claim(&Key::new("claims/job").unwrap(), "here").await.unwrap().unwrap()
    }

    async fn kept(book: &Book) -> JobRecord {
        let task = Task::Pull(Pull::new("sea", PullOptions::new("a")));
        let record = JobRecord::new(task, Asked::default());
        book.create(&record, &Identities::new(), &[], &[]).await.unwrap();
        record
    }

    async fn open(book: &Book, record: &JobRecord, claim: &Claim) -> Ledger {
        let record = book.get(&record.id).await.unwrap().unwrap();
        let (ledger, writing) = Ledger::open(book.clone(), record, claim.clone()).await.unwrap();
        tokio::spawn(writing);
        ledger
    }

    fn line(number: u64) -> Vec<u8> {
        format!("{number:0>1000}\n").into_bytes()
    }

    #[tokio::test]
    async fn output_is_bounded_numbered_and_gone_on_with() {
        let (store, book) = book().await;
        let (claim, record) = (claim(&store).await, kept(&book).await);
        let lines = 3000;
        let ledger = open(&book, &record, &claim).await;
        for number in 1..=lines / 2 {
            ledger.say(Stream::Stdout, &line(number));
        }
        ledger.flush().await.unwrap();
        drop(ledger);
        let ledger = open(&book, &record, &claim).await;
        for number in lines / 2 + 1..=lines {
            ledger.say(Stream::Stdout, &line(number));
        }
        ledger.flush().await.unwrap();
        let (pieces, _) = book.output(&record.id).await.unwrap();
        assert!(pieces.len() as u64 <= PIECES);
        let told: Vec<_> = pieces
            .iter()
            .flat_map(|(_, piece)| (piece.first..).zip(piece.lines.iter().map(|(_, line)| line)))
            .collect();
        assert!(told.iter().all(|(number, told)| told.as_bytes() == line(*number)), "each has its number");
        assert!(told.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "none is missing in between");
        assert_eq!(told.last().unwrap().0, lines);
        let record = book.get(&record.id).await.unwrap().unwrap();
        let held: u64 = told.iter().map(|(_, line)| line.len() as u64).sum();
        assert_eq!(record.output_bytes, lines * 1001);
        assert_eq!(record.output_bytes - record.output_dropped_bytes, held);
    }

    #[tokio::test]
    async fn items_are_counted_and_the_first_ones_of_a_node_may_be_none() {
        let (store, book) = book().await;
        let (claim, record) = (claim(&store).await, kept(&book).await);
        let ledger = open(&book, &record, &claim).await;
        let item = |number: usize| JobItem {
            node: "sea".to_owned(),
            id: number.to_string(),
            name: number.to_string(),
            state: None,
            outcome: roadstead_core::pool::ActionOutcome::NotBegun,
            error: None,
            target: None,
            migration: None,
        };
        let (none, many) = (ledger.number_of("none"), ledger.number_of("sea"));
        ledger.put_items(none, Vec::new()).unwrap();
        ledger.put_items(many, (0..ROOM * 2 + 1).map(item).collect()).unwrap();
        let done = JobItem { outcome: roadstead_core::pool::ActionOutcome::Done, ..item(ROOM) };
        ledger.put_item(many, ROOM, done.clone()).unwrap();
        assert!(ledger.put_item(many, ROOM * 2 + 1, done.clone()).is_err() && ledger.put_item(7, 0, done).is_err());
        ledger.flush().await.unwrap();
        assert_eq!(book.items_of(&record.id, none).await.unwrap(), Some(Vec::new()), "it has told that it has none");
        assert_eq!(book.items_of(&record.id, 2).await.unwrap(), None, "it has told nothing");
        let items = book.items_of(&record.id, many).await.unwrap().unwrap();
        assert_eq!(
            items.iter().map(|item| item.id.clone()).collect::<Vec<_>>(),
            (0..=ROOM * 2).map(|n| n.to_string()).collect::<Vec<_>>()
        );
        let record = book.get(&record.id).await.unwrap().unwrap();
        assert_eq!((record.items.total, record.items.done, record.items.not_begun), (129, 1, 128));
        book.remove(&record.id).await.unwrap();
        assert!(book.items(&record.id).await.unwrap().is_empty() && book.get(&record.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nothing_is_written_when_another_one_has_the_job() {
        let (store, book) = book().await;
        let (first, record) = (claim(&store).await, kept(&book).await);
        let ledger = open(&book, &record, &first).await;
        first.clone().release().await.unwrap();
        let other = claim(&store).await;
        ledger.set(|record| record.attempts = 7);
        assert_eq!(ledger.flush().await.unwrap_err().kind(), ErrorKind::Cancelled);
        ledger.say(Stream::Stdout, b"more\n");
        assert_eq!(ledger.flush().await.unwrap_err().kind(), ErrorKind::Cancelled, "it stays so");
        assert_eq!(book.get(&record.id).await.unwrap().unwrap().attempts, 0);
        let ledger = open(&book, &record, &other).await;
        ledger.end(&End::with(0)).unwrap();
        ledger.flush().await.unwrap();
        assert_eq!(book.get(&record.id).await.unwrap().unwrap().exit_code, Some(0));
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_ends_the_job_and_keeps_no_secret() {
        let (store, book) = book().await;
        let (claim, record) = (claim(&store).await, kept(&book).await);
        let ledger = open(&book, &record, &claim).await;
        ledger.set(|record| record.nodes = vec!["n".repeat(1000); 2000]);
        let error = ledger.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        book.abandon(&record.id, &error, &claim).await.unwrap();
        let record = book.get(&record.id).await.unwrap().unwrap();
        assert_eq!((record.state, record.failure.unwrap().code), (roadstead_core::JobState::Failed, error.kind()));
        assert!(record.ended_at.is_some() && record.exit_code.is_some_and(|code| code != 0));
    }

    #[tokio::test]
    async fn a_job_that_is_not_kept_as_a_whole_is_forgotten_and_cannot_be_kept_later() {
        let (store, book) = book().await;
        let task = Task::Pull(Pull::new("sea", PullOptions::new("a")));
        let item = JobItem {
            node: "n".repeat(63),
            id: "i".repeat(64),
            name: "m".repeat(200),
            state: None,
            outcome: roadstead_core::pool::ActionOutcome::NotBegun,
            error: None,
            target: None,
            migration: None,
        };
        let items = vec![item; ROOM * (STEPS + 1)];
        let whole = JobRecord::new(task, Asked::default());
        book.create(&whole, &Identities::new(), &[], &items).await.unwrap();
        let now = Timestamp::now();
        let in_an_hour = Timestamp::from_unix_nanos(now.unix_nanos() + 3_600_000_000_000).unwrap();
        book.forget_drafts(in_an_hour).await.unwrap();
        assert_eq!(book.items(&whole.id).await.unwrap().len(), items.len(), "what is whole is no draft");
        // As when a server dies on the way: its parts and the sign that they are a draft are there.
        book.heads().remove(&whole.id).await.unwrap();
        let draft = Key::new(format!("drafts/{}", whole.id)).unwrap();
        let put = roadstead_core::store::Transaction::new().put(draft.clone(), encode(&now).unwrap());
        store.commit(&put).await.unwrap();
        book.forget_drafts(now).await.unwrap();
        assert_eq!(book.items(&whole.id).await.unwrap().len(), items.len(), "it is not old");
        book.forget_drafts(in_an_hour).await.unwrap();
        assert!(book.items(&whole.id).await.unwrap().is_empty() && store.get(&draft).await.unwrap().is_none());
    }
}
