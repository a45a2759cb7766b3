//! What changes of a container of ours: which run it is in, and how the last one ended.
//!
//! It is kept in the node's own Redis, which lives as long as the containers do, so that every program that asks sees the
//! same. Three small documents, each written whole: the run, the last signal, the end. The last two name the run that they
//! belong to, so nothing is read, changed and written back, and no transaction is needed, which the proxy could not carry.
//!
//! Which marks there are is kept in a set of its own. While a container is being made its record has a lifetime, and so goes
//! by itself when its maker does; [`sweep`](super::sweep) gives one to the records of containers that are gone.

use std::collections::BTreeSet;

use redis::Pipeline;
use roadstead_core::{Error, ErrorKind, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::link::Links;

/// A claim is let go of after this, should whoever made it be gone.
const CLAIM_SECONDS: u32 = 60;

/// What is not known to belong to a container goes after this: far more than making one takes, with all tries.
const LIFETIME_SECONDS: u32 = 3600;
/// How long it is known whose records have been compared with their containers.
const COMPARED_SECONDS: u32 = 24 * 3600;
/// The marks of all records.
const MARKS: &str = "roadstead:containers";

/// A run of the main process. Number 0: none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) number: u64,
    /// The job that is the main process; none where there is no command.
    pub(super) job: Option<String>,
    /// When it began, by the node's clock once it is confirmed.
    pub(super) begun_at: Option<Timestamp>,
    /// Whether the process was seen.
    pub(super) confirmed: bool,
}

impl Run {
    /// One of which nothing more is known.
    pub(super) fn ended(number: u64) -> Self {
        Run { number, confirmed: true, ..Run::default() }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct End {
    pub(super) run: u64,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
}

/// The last signal that the main process was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    pub(super) run: u64,
    pub(super) signal: u8,
}

/// All that is kept of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// None when the node's Redis has lost it.
    pub(super) run: Option<Run>,
    end: Option<End>,
    sent: Option<Sent>,
}

impl Record {
    /// The end of the present run.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref().filter(|end| self.run.as_ref().is_some_and(|run| run.number == end.run))
    }

    /// The last signal that the present run was sent.
    pub(super) fn signal(&self) -> Option<u8> {
        let run = self.run.as_ref()?.number;
        self.sent.filter(|sent| sent.run == run).map(|sent| sent.signal)
    }
}

fn key(mark: &str) -> String {
    format!("roadstead:container:{mark}")
}

fn end_key(mark: &str) -> String {
    format!("roadstead:container:{mark}:end")
}

fn signal_key(mark: &str) -> String {
    format!("roadstead:container:{mark}:signal")
}

fn keys(mark: &str) -> [String; 3] {
    [key(mark), end_key(mark), signal_key(mark)]
}

fn parse<T: DeserializeOwned>(document: Option<&Vec<u8>>) -> Option<T> {
    serde_json::from_slice(document?).ok()
}

/// The records of the containers with these marks, in one question.
pub(super) async fn read(links: &Links, marks: &[&str]) -> Result<Vec<Record>> {
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = Pipeline::new();
    // One by one in one go: the proxy of a node fails at a list with nulls in it, which MGET would give.
    for mark in marks {
        for key in keys(mark) {
            pipeline.cmd("GET").arg(key);
        }
    }
    let documents: Vec<Option<Vec<u8>>> = links.read(&pipeline).await?;
    let three = |three: &[Option<Vec<u8>>]| {
        let document = |place: usize| three.get(place).and_then(Option::as_ref);
        Record { run: parse(document(0)), end: parse(document(1)), sent: parse(document(2)) }
    };
    Ok(documents.chunks(3).map(three).collect())
}

fn text(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "a record cannot be written as JSON").with_source(error))
}

async fn write(links: &Links, mark: &str, key: String, document: &impl Serialize) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SET").arg(key).arg(text(document)?).ignore();
    // Should the Redis have lost the mark, or the container be gone just now: what has no mark nobody would sweep.
    pipeline.cmd("SADD").arg(MARKS).arg(mark).ignore();
    // Written twice it is the same.
    links.read::<()>(&pipeline).await
}

/// A container that nobody has started yet.
fn created() -> Run {
    Run { confirmed: true, ..Run::default() }
}

/// Writes the record of a container that is about to be made. It goes by itself unless [`made`] follows.
pub(super) async fn begin(links: &Links, mark: &str) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SETEX").arg(key(mark)).arg(LIFETIME_SECONDS).arg(text(&created())?).ignore();
    pipeline.cmd("SADD").arg(MARKS).arg(mark).ignore();
    links.ask::<()>(&pipeline).await
}

/// Writes that the container has been made; what others wrote of it meanwhile stays.
pub(super) async fn made(links: &Links, mark: &str) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SETNX").arg(key(mark)).arg(text(&created())?).ignore();
    pipeline.cmd("PERSIST").arg(key(mark)).ignore();
    links.ask::<()>(&pipeline).await
}

/// Writes which run it is in.
pub(super) async fn write_run(links: &Links, mark: &str, run: &Run) -> Result<()> {
    write(links, mark, key(mark), run).await
}

/// Writes how a run ended.
pub(super) async fn write_end(links: &Links, mark: &str, end: &End) -> Result<()> {
    write(links, mark, end_key(mark), end).await
}

/// Writes that a signal is about to be sent.
pub(super) async fn write_signal(links: &Links, mark: &str, run: u64, signal: u8) -> Result<()> {
    write(links, mark, signal_key(mark), &Sent { run, signal }).await
}

/// Claims the run with this number for this program; false when another one has. The caller holds the container's lock, so
/// that a claim of its own is one whose answer was lost, and asking twice does no harm. Who asks in vain does not keep the
/// claim of a program alive that may be gone.
pub(super) async fn claim(links: &Links, mark: &str, run: u64, program: &str) -> Result<bool> {
    let key = format!("roadstead:container:{mark}:claim:{run}");
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SETNX").arg(&key).arg(program).ignore();
    pipeline.cmd("TTL").arg(&key);
    pipeline.cmd("GET").arg(&key);
    let (seconds, claimed): (i64, Option<String>) = links.read(&pipeline).await?;
    let is_ours = claimed.as_deref() == Some(program);
    // One without an end is that of a program which broke off here.
    if is_ours || seconds == -1 {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("EXPIRE").arg(&key).arg(CLAIM_SECONDS).ignore();
        links.read::<()>(&pipeline).await?;
    }
    Ok(is_ours)
}

/// Whose records have been compared with their containers since the Redis was started.
pub(super) struct Compared {
    /// Each start of a Redis has a name of its own.
    pub(super) life: String,
    pub(super) marks: BTreeSet<String>,
}

fn compared_key(life: &str) -> String {
    format!("roadstead:compared:{life}")
}

/// Those; none where the Redis does not tell one life of its from another.
pub(super) async fn compared(links: &Links) -> Result<Option<Compared>> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO").arg("server");
    let told = match links.read::<(String,)>(&pipeline).await {
        Ok((told,)) => told,
        Err(error) if matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::PermissionDenied) => return Ok(None),
        Err(error) => return Err(error),
    };
    let life = told.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::trim);
    let Some(life) = life.filter(|life| !life.is_empty()) else { return Ok(None) };
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SMEMBERS").arg(compared_key(life));
    let (marks,) = links.read::<(BTreeSet<String>,)>(&pipeline).await?;
    Ok(Some(Compared { life: life.to_owned(), marks }))
}

/// Adds to those. They are forgotten after a while, and compared again.
pub(super) async fn write_compared(links: &Links, life: &str, marks: &[String]) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SADD").arg(compared_key(life)).arg(marks).ignore();
    pipeline.cmd("EXPIRE").arg(compared_key(life)).arg(COMPARED_SECONDS).ignore();
    links.ask::<()>(&pipeline).await
}

/// Takes these from those.
pub(super) async fn forget_compared(links: &Links, life: &str, marks: &[&String]) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SREM").arg(compared_key(life)).arg(marks).ignore();
    links.ask::<()>(&pipeline).await
}

/// Removes all that is kept of a container.
pub(super) async fn remove(links: &Links, mark: &str) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("DEL").arg(&keys(mark)).ignore();
    pipeline.cmd("SREM").arg(MARKS).arg(mark).ignore();
    links.ask::<()>(&pipeline).await
}

/// Forgets a mark whose record has gone by itself.
pub(super) async fn forget(links: &Links, mark: &str) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SREM").arg(MARKS).arg(mark).ignore();
    links.ask::<()>(&pipeline).await
}

/// The marks of all records, and of those that have gone by themselves since.
pub(super) async fn marks(links: &Links) -> Result<Vec<String>> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SMEMBERS").arg(MARKS);
    links.read::<(Vec<String>,)>(&pipeline).await.map(|(marks,)| marks)
}

/// How long the documents of a record stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// There are none.
    Gone,
    /// All for ever.
    Kept,
    /// Those with a lifetime go by themselves; there are none without.
    Passing,
    /// Some have a lifetime, and some have none.
    Mixed,
}

impl Stay {
    /// Of the seconds that are left to each: -1 for ever, -2 not there.
    fn of(seconds: &[i64]) -> Self {
        let (kept, passing) = (seconds.contains(&-1), seconds.iter().any(|left| *left >= 0));
        match (kept, passing) {
            (false, false) => Stay::Gone,
            (true, false) => Stay::Kept,
            (false, true) => Stay::Passing,
            (true, true) => Stay::Mixed,
        }
    }
}

/// How long the records with these marks stay.
pub(super) async fn stays(links: &Links, marks: &[String]) -> Result<Vec<Stay>> {
    let mut pipeline = Pipeline::new();
    for key in marks.iter().flat_map(|mark| keys(mark)) {
        pipeline.cmd("TTL").arg(key);
    }
    let seconds: Vec<i64> = links.read(&pipeline).await?;
    Ok(seconds.chunks(3).map(Stay::of).collect())
}

/// Has the records of `kept` stay, and those of `gone` go after their lifetime, where it has not begun yet.
pub(super) async fn settle(links: &Links, kept: &[&str], gone: &[&str]) -> Result<()> {
    if kept.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut pipeline = Pipeline::new();
    for key in kept.iter().flat_map(|mark| keys(mark)) {
        pipeline.cmd("PERSIST").arg(key).ignore();
    }
    for key in gone.iter().flat_map(|mark| keys(mark)) {
        pipeline.cmd("EXPIRE").arg(key).arg(LIFETIME_SECONDS).ignore();
    }
    links.ask::<()>(&pipeline).await
}

#[cfg(test)]
mod tests {
    use super::super::commands::replay::node::Node;
    use super::*;

    #[test]
    fn ends_and_signals_count_for_their_own_run_only() {
        let run = |number| Some(Run { number, ..Run::default() });
        let end = Some(End { run: 1, exit_code: Some(3), ..End::default() });
        let record = Record { run: run(1), end, sent: Some(Sent { run: 1, signal: 9 }) };
        assert_eq!((record.end().unwrap().exit_code, record.signal()), (Some(3), Some(9)));
        let next = Record { run: run(2), ..record.clone() };
        assert_eq!((next.end(), next.signal()), (None, None));
        assert_eq!(Record { run: None, ..record }.end(), None);
    }

    #[tokio::test]
    async fn a_claim_lasts_as_long_as_its_program_gave_it() {
        let node = Node::start().await;
        let links = &node.client().links;
        let key = "roadstead:container:m:claim:1";
        assert!(claim(links, "m", 1, "one").await.unwrap());
        assert!(claim(links, "m", 1, "one").await.unwrap(), "its answer may have been lost");
        let seconds = || async { node.ask::<i64>(&["TTL", key]).await };
        let _: i64 = node.ask(&["EXPIRE", key, "7"]).await;
        assert!(!claim(links, "m", 1, "other").await.unwrap());
        assert!((0..=7).contains(&seconds().await), "who asks in vain does not keep it alive");
        let _: i64 = node.ask(&["PERSIST", key]).await;
        assert!(!claim(links, "m", 1, "other").await.unwrap());
        assert!((8..=60).contains(&seconds().await), "that of a program which broke off in between ends, too");
        let _: i64 = node.ask(&["DEL", key]).await;
        assert!(claim(links, "m", 1, "other").await.unwrap());
        assert!(claim(links, "m", 2, "one").await.unwrap(), "each run has its own");
    }

    #[test]
    fn documents_stay_or_pass() {
        for (seconds, stay) in [
            ([-2, -2, -2], Stay::Gone),
            ([-1, -2, -1], Stay::Kept),
            ([0, -2, -2], Stay::Passing),
            ([60, -1, -2], Stay::Mixed),
        ] {
            assert_eq!(Stay::of(&seconds), stay);
        }
    }

    #[test]
    fn what_is_not_ours_is_no_record() {
        assert_eq!(parse::<Run>(Some(&b"nonsense".to_vec())), None);
        assert_eq!(parse::<Run>(Some(&br#"{"number":2,"new":1}"#.to_vec())).unwrap().number, 2);
        assert_eq!(parse::<Run>(None), None);
    }
}
