//! The output of commands while they run: one connection waits for all of them.
//!
//! Source: section 8.1 of the protocol's reference. Nodes keep the last 1,000 entries of a command, for a minute after the last
//! one; each entry is taken from the list as it is read, by the one reader here, so that none is read twice and none is
//! passed over. A list of our own wakes the reader when there is another command to listen to.
//!
//! One command's output does not hold up another's: what somebody does not read stays on the node until there is room for it,
//! and a command that never stops writing is left after a while for those that wait.
//!
//! A Redis that gets an older day's lists back has entries in them that were read since: they are known again, and not told
//! twice, for as far back as a node's lists go.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use redis::Pipeline;
use roadstead_core::{Result, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;
use uuid::Uuid;

use super::link::{Connection, Links};

/// So many entries wait for a slow reader of one command's output.
const QUEUE: usize = 1024;
/// How many entries of one command are taken at once. Its reader must have room for them.
const AT_ONCE: usize = 16;
/// How often that is done before it is the turn of others.
const BATCHES: usize = 4;
/// A reader that had no room is served again when it has so much.
const ROOM: usize = QUEUE / 4;
/// So many entries of one command are kept by a node.
const KEPT: usize = 1000;
/// How long a wait blocks, and the pause after the connection broke.
const BLOCK_SECONDS: u32 = 5;
const AGAIN: Duration = Duration::from_millis(200);
/// From so many on, all are looked at in one go as long as that brings something from one in eight.
const SWEEP: usize = 16;

/// One entry of a command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The text, as it was written; invalid UTF-8 has been replaced by the node.
    pub text: String,
    /// 1 standard output, 2 standard error, 3 to 11 messages of that level, 20 to 23 and 30 a payload.
    pub level: u16,
    /// Whether it is the last one, and whether the command succeeded.
    pub end: Option<bool>,
    /// When it was written.
    pub time: Option<Timestamp>,
    /// Id of the command.
    pub job: String,
    /// The container it runs in; 0 for the node.
    pub container: u64,
}

impl Entry {
    /// Reads an entry; nothing for what is none.
    #[must_use]
    pub fn parse(document: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_str(&String::from_utf8_lossy(document)).ok()?;
        let message = value.get("message")?;
        let meta = message.get("meta").and_then(Value::as_u64).unwrap_or(1 << 16);
        let end = match meta & 6 {
            0 => None,
            bits => Some(bits & 2 != 0),
        };
        let nanoseconds = message.get("epoch").and_then(Value::as_i64);
        Some(Entry {
            text: message.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            level: u16::try_from(meta >> 16).unwrap_or(u16::MAX),
            end,
            time: nanoseconds.and_then(|since| Timestamp::from_unix_nanos(since.into())),
            job: value.get("command").and_then(Value::as_str).unwrap_or_default().to_owned(),
            container: value.get("core").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}

/// Whose output is read.
#[derive(Debug)]
pub(super) struct Streams {
    links: Arc<Links>,
    inner: Arc<Inner>,
    started: OnceLock<Stop>,
}

#[derive(Debug)]
struct Inner {
    /// A list that nobody else knows.
    wake: String,
    readers: Mutex<BTreeMap<String, Reader>>,
    changed: tokio::sync::Notify,
}

#[derive(Debug)]
struct Reader {
    entries: mpsc::Sender<Entry>,
    to_the_end: bool,
    given: Given,
}

/// The entries that were given out last.
#[derive(Debug, Default)]
struct Given {
    hashes: RandomState,
    all: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Given {
    /// Whether it is not among them, as it is from now on.
    fn is_new(&mut self, document: &[u8]) -> bool {
        let hash = self.hashes.hash_one(document);
        if !self.all.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

/// Ends the task with the client.
#[derive(Debug)]
struct Stop(tokio::task::AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn key(id: &str) -> String {
    format!("stream:{id}")
}

impl Streams {
    pub(super) fn new(links: Arc<Links>) -> Self {
        let inner = Inner {
            wake: format!("roadstead:wake:{}", Uuid::new_v4().simple()),
            readers: Mutex::default(),
            changed: tokio::sync::Notify::new(),
        };
        Streams { links, inner: Arc::new(inner), started: OnceLock::new() }
    }

    /// Reads the output of the command `id` from now on, until its last entry; with `again` also of those runs that follow.
    /// The receiver ends after the last entry. Dropping it ends the reading.
    pub(super) async fn read(&self, id: &str, again: bool) -> mpsc::Receiver<Entry> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let reader = Reader { entries: sender, to_the_end: !again, given: Given::default() };
        let first = {
            let mut readers = self.inner.readers();
            readers.insert(id.to_owned(), reader);
            readers.len() == 1
        };
        self.started.get_or_init(|| {
            let task = tokio::spawn(run(Arc::clone(&self.links), Arc::clone(&self.inner)));
            Stop(task.abort_handle())
        });
        self.inner.changed.notify_one();
        if !first {
            // It waits for others: it is told that there is one more.
            self.inner.wake(&self.links).await;
        }
        receiver
    }
}

async fn run(links: Arc<Links>, inner: Arc<Inner>) {
    let mut connection: Option<Connection> = None;
    let mut turn = 0_usize;
    loop {
        if inner.is_empty() {
            // Nobody's connection is held for nothing.
            connection = None;
            inner.changed.notified().await;
            continue;
        }
        let read = match &mut connection {
            Some(connection) => round(connection, &links, &inner, turn).await,
            None => match links.open().await {
                Ok(opened) => {
                    connection = Some(opened);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        turn = turn.wrapping_add(1);
        if let Err(error) = read {
            tracing::debug!(%error, "the output of commands cannot be read; trying again");
            connection = None;
            sleep(AGAIN).await;
        }
    }
}

/// Waits until there is something that somebody has room for, and gives it out.
async fn round(connection: &mut Connection, links: &Links, inner: &Inner, turn: usize) -> Result<()> {
    for _ in 0..BATCHES * AT_ONCE {
        let ids = inner.with_room();
        if ids.len() < SWEEP || sweep(connection, inner, &ids).await? * 8 < ids.len() {
            break;
        }
    }
    let ids = inner.with_room();
    let mut pipeline = Pipeline::new();
    pipeline.cmd("BLPOP").arg(&inner.wake);
    // Another one is first every time: the first that has something is served.
    for number in 0..ids.len() {
        if let Some(id) = ids.get((number + turn) % ids.len()) {
            pipeline.arg(key(id));
        }
    }
    pipeline.arg(BLOCK_SECONDS);
    let blocks = Duration::from_secs(u64::from(BLOCK_SECONDS) + 30);
    let (found,): (Option<(String, Vec<u8>)>,) = {
        // It is not given up in the middle: what it takes would be lost.
        let ask = connection.ask(&pipeline, blocks);
        tokio::pin!(ask);
        tokio::select! {
            biased;
            found = &mut ask => found?,
            () = inner.room() => {
                inner.wake(links).await;
                ask.await?
            }
        }
    };
    let Some((list, document)) = found else { return Ok(()) };
    let Some(id) = list.strip_prefix("stream:") else { return Ok(()) };
    let mut goes_on = inner.give(id, &document);
    for _ in 0..BATCHES {
        if !goes_on || !inner.has_room(id) {
            break;
        }
        let mut pipeline = Pipeline::new();
        for _ in 0..AT_ONCE {
            pipeline.cmd("LPOP").arg(&list);
        }
        let documents: Vec<Option<Vec<u8>>> = connection.ask(&pipeline, blocks).await?;
        for document in &documents {
            match document {
                Some(document) => goes_on &= inner.give(id, document),
                None => goes_on = false,
            }
        }
    }
    Ok(())
}

/// Takes one entry of each, without waiting; gives how many there were.
async fn sweep(connection: &mut Connection, inner: &Inner, ids: &[String]) -> Result<usize> {
    let mut pipeline = Pipeline::new();
    for id in ids {
        pipeline.cmd("LPOP").arg(key(id));
    }
    let documents: Vec<Option<Vec<u8>>> = connection.ask(&pipeline, Duration::from_secs(30)).await?;
    let mut found = 0;
    for (id, document) in ids.iter().zip(documents) {
        if let Some(document) = document {
            found += 1;
            inner.give(id, &document);
        }
    }
    Ok(found)
}

impl Reader {
    fn has_room(&self) -> bool {
        self.entries.capacity() >= AT_ONCE
    }
}

impl Inner {
    fn readers(&self) -> MutexGuard<'_, BTreeMap<String, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        let mut readers = self.readers();
        readers.retain(|_, reader| !reader.entries.is_closed());
        readers.is_empty()
    }

    /// Those whose output can be read: what is taken from the node must go somewhere.
    fn with_room(&self) -> Vec<String> {
        let mut readers = self.readers();
        readers.retain(|_, reader| !reader.entries.is_closed());
        readers.iter().filter(|(_, reader)| reader.has_room()).map(|(id, _)| id.clone()).collect()
    }

    fn has_room(&self, id: &str) -> bool {
        self.readers().get(id).is_some_and(Reader::has_room)
    }

    /// Waits until one that had no room has some, or is gone; for ever when all have.
    async fn room(&self) {
        let full: Vec<mpsc::Sender<Entry>> =
            self.readers().values().filter(|reader| !reader.has_room()).map(|reader| reader.entries.clone()).collect();
        if full.is_empty() {
            return std::future::pending().await;
        }
        let waits = full.iter().map(|entries| Box::pin(async { drop(entries.reserve_many(ROOM).await) }));
        select_all(waits).await;
    }

    /// Ends the wait for output. The list is forgotten by itself.
    async fn wake(&self, links: &Links) {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("RPUSH").arg(&self.wake).arg("").ignore();
        pipeline.cmd("EXPIRE").arg(&self.wake).arg(60).ignore();
        if let Err(error) = links.ask::<()>(&pipeline).await {
            // It looks by itself before long.
            tracing::debug!(%error, "the reader of output could not be woken");
        }
    }

    /// Gives an entry to whom it belongs, who has room for it; whether more may follow.
    fn give(&self, id: &str, document: &[u8]) -> bool {
        let mut readers = self.readers();
        let Some(reader) = readers.get_mut(id) else { return false };
        let Some(entry) = Entry::parse(document) else { return true };
        // No two entries were written in one nanosecond; of those that do not say when nothing is known.
        if entry.time.is_some() && !reader.given.is_new(document) {
            return true;
        }
        let last = entry.end.is_some() && reader.to_the_end;
        // Nobody else fills it, so that it fails only when nobody is there any more.
        let gone = reader.entries.try_send(entry).is_err();
        if last || gone {
            readers.remove(id);
        }
        !(last || gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_by_their_bits() {
        let entry = |meta: u32| {
            let text = format!(
                r#"{{"core":4,"command":"j","message":{{"message":"one\n","epoch":1509000000123456789,"meta":{meta}}}}}"#
            );
            Entry::parse(text.as_bytes()).unwrap()
        };
        let first = entry(65537);
        assert_eq!((first.level, first.end, first.container, first.job.as_str()), (1, None, 4, "j"));
        assert_eq!(first.time.unwrap().to_string(), "2017-10-26T06:40:00.123456789Z");
        assert_eq!((entry(131_073).level, entry(65_539).end, entry(131_077).end), (2, Some(true), Some(false)));
        assert_eq!((entry(1_310_723).level, entry(1_310_723).end), (20, Some(true)));
        for nonsense in ["", "{}", "[]", r#"{"message":1}"#, "\u{fffd}"] {
            if let Some(entry) = Entry::parse(nonsense.as_bytes()) {
                assert_eq!(entry.text, "");
            }
        }
    }
}
