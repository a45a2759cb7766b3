//! Output of commands while they run: one connection reads that of all of them.
//!
//! Source: section 8.1 of the protocol's reference. Nodes keep the last 1,000 entries of a command, for a minute after the last
//! one. Entries are read where they are and given out, and only then taken from the list, by the one reader here: should the
//! connection break in between, they are there once more, and known again. (Nodes write the time into every entry. One without
//! a time is like any other with the same words, so it may be told twice after a break, and is not lost.) A list that is waited
//! for (`BLPOP`) gives its entry away with the answer that wakes whoever waits, and when the connection breaks then it is nowhere
//! any more. So nobody waits for a list: those that are due are looked at, as [`Readers`] has them, and the longer one has had
//! nothing the longer it is left alone.
//!
//! One command's output does not hold up another's: what somebody does not read stays on the node until there is room for it,
//! of a command that never stops writing only so much is read before it is the turn of others, and a list that cannot be read is
//! one that has nothing. A connection that breaks over what it is to carry is asked for less, down to one entry.
//!
//! A Redis that gets an older day's lists back has entries in them that were read since: they are known again, too, and not
//! told twice, for as far back as a node's lists go.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value as Answer, from_redis_value};
use roadstead_core::{Error, ErrorKind, Result, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::failure;
use super::link::{Connection, Links};
use super::readers::{ENTRIES, Look, Readers};

/// What is asked is answered within this; the pause after the connection broke.
const ANSWER: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

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
    readers: Arc<Readers>,
    started: OnceLock<Stop>,
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
        Streams { links, readers: Arc::default(), started: OnceLock::new() }
    }

    /// Reads the output of the command `id` from now on, until its last entry; with `again` also of those runs that follow.
    /// The receiver ends after the last entry. Dropping it ends the reading.
    pub(super) fn read(&self, id: &str, again: bool) -> mpsc::Receiver<Entry> {
        let receiver = self.readers.add(id, !again);
        self.started.get_or_init(|| {
            let task = tokio::spawn(run(Arc::clone(&self.links), Arc::clone(&self.readers)));
            Stop(task.abort_handle())
        });
        receiver
    }

    /// Has the output of the command `id` looked at now.
    pub(super) fn hurry(&self, id: &str) {
        self.readers.hurry(id);
    }

    /// When the last look at the output of the command `id` found nothing.
    pub(super) fn had_nothing(&self, id: &str) -> Option<Instant> {
        self.readers.had_nothing(id)
    }
}

async fn run(links: Arc<Links>, readers: Arc<Readers>) {
    let mut connection: Option<Connection> = None;
    let mut entries = ENTRIES;
    loop {
        if readers.is_empty() {
            // Nobody's connection is held for nothing.
            connection = None;
            readers.changed().await;
            continue;
        }
        let looks = readers.due(entries);
        if looks.is_empty() {
            readers.wait().await;
            continue;
        }
        let read = match &mut connection {
            Some(connection) => round(connection, &readers, &looks).await.inspect_err(|_| {
                // It may have been too much for a slow link.
                entries = (entries / 4).max(1);
            }),
            None => match links.open().await {
                Ok(opened) => {
                    connection = Some(opened);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match read {
            Ok(found) => entries = (entries + found.div_ceil(4)).min(ENTRIES),
            Err(error) => {
                tracing::debug!(%error, entries, "the output of commands cannot be read; trying again");
                connection = None;
                sleep(AGAIN).await;
            }
        }
    }
}

/// Reads the first entries of each, gives them out, and takes them from the lists; how many there were.
async fn round(connection: &mut Connection, readers: &Readers, looks: &[Look]) -> Result<usize> {
    let mut pipeline = Pipeline::new();
    pipeline.ignore_errors();
    for look in looks {
        pipeline.cmd("LRANGE").arg(key(&look.id)).arg(0).arg(look.most - 1);
    }
    let answers: Vec<RedisResult<Answer>> = connection.ask(&pipeline, ANSWER).await?;
    let mut broke = None;
    let mut take = Pipeline::new();
    take.ignore_errors();
    let mut given = Vec::new();
    let mut found = 0;
    for (look, answer) in looks.iter().zip(answers) {
        let mut documents = match read::<Vec<Vec<u8>>>(look, answer) {
            Ok(documents) => documents.unwrap_or_default(),
            Err(error) => {
                broke = Some(error);
                continue;
            }
        };
        documents.truncate(look.most);
        readers.looked(look, documents.len());
        found += documents.len();
        documents.truncate(readers.give(&look.id, &documents));
        for _ in &documents {
            take.cmd("LPOP").arg(key(&look.id));
        }
        if !documents.is_empty() {
            given.push((look, documents));
        }
    }
    if !given.is_empty() {
        let answers: Vec<RedisResult<Answer>> = connection.ask(&take, ANSWER).await?;
        let mut answers = answers.into_iter();
        for (look, documents) in given {
            let mut taken = Vec::new();
            for answer in answers.by_ref().take(documents.len()) {
                match read::<Option<Vec<u8>>>(look, answer) {
                    Ok(Some(document)) => taken.extend(document),
                    // What cannot be taken from it is not asked for again at once.
                    Ok(None) => readers.looked(look, 0),
                    Err(error) => broke = Some(error),
                }
            }
            // A list that was full has lost its first ones meanwhile, and others were taken in their place.
            readers.give(&look.id, &without(taken, documents));
        }
    }
    broke.map_or(Ok(found), Err)
}

/// What was asked of one list; nothing where that list alone gives no answer, and an error where none is to be had on this
/// connection.
fn read<T: redis::FromRedisValue>(look: &Look, answer: RedisResult<Answer>) -> Result<Option<T>> {
    match answer.and_then(|answer| Ok(from_redis_value(answer)?)) {
        Ok(read) => Ok(Some(read)),
        Err(error) => {
            let error: Error = failure::of(&error);
            if !matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::PermissionDenied) {
                return Err(error);
            }
            tracing::debug!(id = look.id, %error, "the output of a command cannot be read");
            Ok(None)
        }
    }
}

/// Those of the first that are not among the second, each of which stands for one.
fn without(documents: Vec<Vec<u8>>, mut known: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut unknown = Vec::new();
    for document in documents {
        match known.iter().position(|known| *known == document) {
            Some(place) => drop(known.remove(place)),
            None => unknown.push(document),
        }
    }
    unknown
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
            assert_eq!(without(list(taken), list(seen)), list(unseen), "{taken}, {seen}");
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
