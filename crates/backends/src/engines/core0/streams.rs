//! The output of commands while they run: one connection reads that of all of them.
//!
//! Source: section 8.1 of the protocol's reference. Nodes keep the last 1,000 entries of a command, for a minute after the last
//! one. Entries are read where they are and given out, and only then taken from the list, by the one reader here: should the
//! connection break in between, they are there once more, and known again. A list that is waited for (`BLPOP`) gives its entry
//! away with the answer that wakes whoever waits, and when the connection breaks then it is nowhere any more. So nobody waits
//! for a list: those that are due are looked at, all in one go, and the longer one has had nothing the longer it is left alone.
//!
//! One command's output does not hold up another's: what somebody does not read stays on the node until there is room for it,
//! and of a command that never stops writing only so much is read before it is the turn of others.
//!
//! A Redis that gets an older day's lists back has entries in them that were read since: they are known again, too, and not
//! told twice, for as far back as a node's lists go.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{pending, select_all};
use redis::Pipeline;
use roadstead_core::{Result, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::link::{Connection, Links};

/// So many entries wait for a slow reader of one command's output.
const QUEUE: usize = 1024;
/// How many entries of one command are read at once.
const AT_ONCE: usize = 16;
/// Its reader must have room for them, and for as many that come into their place while they are taken: a full list loses its
/// first ones.
const ROOM_AT_ONCE: usize = 2 * AT_ONCE;
/// A reader that had no room is served again when it has so much.
const ROOM: usize = QUEUE / 4;
/// So many entries of one command are kept by a node.
const KEPT: usize = 1000;
/// What is asked is answered within this; the pause after the connection broke.
const ANSWER: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);
/// The first pause after a look that brought nothing, and the longest: where many commands are read it is a moment for each, so
/// that a node is asked about a thousand lists in a second when nobody writes, however many there are.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
const EACH: Duration = Duration::from_millis(1);
/// So few are all looked at when one of them is: that costs no more.
const FEW: usize = 16;

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

#[derive(Debug, Default)]
struct Inner {
    readers: Mutex<BTreeMap<String, Reader>>,
    changed: tokio::sync::Notify,
}

#[derive(Debug)]
struct Reader {
    entries: mpsc::Sender<Entry>,
    to_the_end: bool,
    given: Given,
    /// When it is looked at next, and the pause before that.
    due: Instant,
    pause: Duration,
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
        Streams { links, inner: Arc::default(), started: OnceLock::new() }
    }

    /// Reads the output of the command `id` from now on, until its last entry; with `again` also of those runs that follow.
    /// The receiver ends after the last entry. Dropping it ends the reading.
    pub(super) fn read(&self, id: &str, again: bool) -> mpsc::Receiver<Entry> {
        let (entries, receiver) = mpsc::channel(QUEUE);
        let reader =
            Reader { entries, to_the_end: !again, given: Given::default(), due: Instant::now(), pause: FIRST_PAUSE };
        self.inner.readers().insert(id.to_owned(), reader);
        self.started.get_or_init(|| {
            let task = tokio::spawn(run(Arc::clone(&self.links), Arc::clone(&self.inner)));
            Stop(task.abort_handle())
        });
        self.inner.changed.notify_one();
        receiver
    }
}

async fn run(links: Arc<Links>, inner: Arc<Inner>) {
    let mut connection: Option<Connection> = None;
    loop {
        if inner.is_empty() {
            // Nobody's connection is held for nothing.
            connection = None;
            inner.changed.notified().await;
            continue;
        }
        let ids = inner.due();
        if ids.is_empty() {
            inner.wait().await;
            continue;
        }
        let read = match &mut connection {
            Some(connection) => round(connection, &inner, &ids).await,
            None => match links.open().await {
                Ok(opened) => {
                    connection = Some(opened);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = read {
            tracing::debug!(%error, "the output of commands cannot be read; trying again");
            connection = None;
            sleep(AGAIN).await;
        }
    }
}

/// Reads the first entries of each, gives them out, and takes them from the lists.
async fn round(connection: &mut Connection, inner: &Inner, ids: &[String]) -> Result<()> {
    let mut look = Pipeline::new();
    for id in ids {
        look.cmd("LRANGE").arg(key(id)).arg(0).arg(AT_ONCE - 1);
    }
    let found: Vec<Vec<Vec<u8>>> = connection.ask(&look, ANSWER).await?;
    let mut take = Pipeline::new();
    let mut given = Vec::new();
    for (id, mut documents) in ids.iter().zip(found) {
        inner.looked(id, documents.len());
        documents.truncate(inner.give(id, &documents));
        for _ in &documents {
            take.cmd("LPOP").arg(key(id));
        }
        if !documents.is_empty() {
            given.push((id, documents));
        }
    }
    if given.is_empty() {
        return Ok(());
    }
    let taken: Vec<Option<Vec<u8>>> = connection.ask(&take, ANSWER).await?;
    let mut taken = taken.into_iter();
    for (id, documents) in given {
        let own = taken.by_ref().take(documents.len()).flatten();
        // A list that was full has lost its first ones meanwhile, and others were taken in their place.
        let unseen = without(own, documents);
        inner.give(id, &unseen);
    }
    Ok(())
}

/// Those of the first that are not among the second, each of which stands for one.
fn without(documents: impl Iterator<Item = Vec<u8>>, mut known: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut unknown = Vec::new();
    for document in documents {
        match known.iter().position(|known| *known == document) {
            Some(place) => drop(known.remove(place)),
            None => unknown.push(document),
        }
    }
    unknown
}

impl Reader {
    fn has_room(&self) -> bool {
        self.entries.capacity() >= ROOM_AT_ONCE
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

    /// Those that are looked at now, when one of them is due: what is read must go somewhere, so they have room.
    fn due(&self) -> Vec<String> {
        let now = Instant::now();
        let mut readers = self.readers();
        for reader in readers.values_mut().filter(|reader| !reader.has_room()) {
            // As soon as it has room there is something for it.
            (reader.due, reader.pause) = (now, FIRST_PAUSE);
        }
        let few = readers.len() <= FEW;
        let with_room = || readers.iter().filter(|(_, reader)| reader.has_room());
        if !with_room().any(|(_, reader)| reader.due <= now) {
            return Vec::new();
        }
        // Those that would be due soon come along, so that there are few questions.
        let comes = |reader: &Reader| few || reader.due <= now + reader.pause / 4;
        with_room().filter(|(_, reader)| comes(reader)).map(|(id, _)| id.clone()).collect()
    }

    /// Notes that so many entries were found.
    fn looked(&self, id: &str, found: usize) {
        let mut readers = self.readers();
        let many = u32::try_from(readers.len()).unwrap_or(u32::MAX);
        let Some(reader) = readers.get_mut(id) else { return };
        let longest = LONGEST_PAUSE.max(EACH.saturating_mul(many));
        reader.pause = if found == 0 { (reader.pause * 2).min(longest) } else { FIRST_PAUSE };
        // Where as many were found as were asked for there are more.
        reader.due = Instant::now() + if found < AT_ONCE { reader.pause } else { Duration::ZERO };
    }

    /// Waits until there may be one to look at.
    async fn wait(&self) {
        let next = self.readers().values().filter(|reader| reader.has_room()).map(|reader| reader.due).min();
        let due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.changed.notified() => {}
            () = self.room() => {}
        }
    }

    /// Waits until one that had no room has some, or is gone; for ever when all have.
    async fn room(&self) {
        let full: Vec<mpsc::Sender<Entry>> =
            self.readers().values().filter(|reader| !reader.has_room()).map(|reader| reader.entries.clone()).collect();
        if full.is_empty() {
            return pending().await;
        }
        let waits = full.iter().map(|entries| Box::pin(async { drop(entries.reserve_many(ROOM).await) }));
        select_all(waits).await;
    }

    /// Gives entries to whom they belong, who has room for them; how many of them have been dealt with.
    fn give(&self, id: &str, documents: &[Vec<u8>]) -> usize {
        let mut readers = self.readers();
        for (before, document) in documents.iter().enumerate() {
            let Some(reader) = readers.get_mut(id) else { return before };
            let Some(entry) = Entry::parse(document) else { continue };
            // No two entries were written in one nanosecond; of those that do not say when nothing is known.
            if entry.time.is_some() && !reader.given.is_new(document) {
                continue;
            }
            let last = entry.end.is_some() && reader.to_the_end;
            // Nobody else fills it, so that it fails only when nobody is there any more.
            let gone = reader.entries.try_send(entry).is_err();
            if last || gone {
                readers.remove(id);
                return if gone { before } else { before + 1 };
            }
        }
        documents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_unseen_is_known_by_what_was_seen() {
        let list = |words: &str| words.split_whitespace().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        for (taken, seen, unseen) in
            [("a b", "a b", ""), ("c d", "a b", "c d"), ("b c", "a b", "c"), ("a a a", "a a", "a"), ("", "a", "")]
        {
            assert_eq!(without(list(taken).into_iter(), list(seen)), list(unseen), "{taken}, {seen}");
        }
    }

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
