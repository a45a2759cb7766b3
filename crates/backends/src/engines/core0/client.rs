//! Pushing commands to a node, and waiting for what becomes of them.
//!
//! Source: sections 3, 5.3 and 6 of the protocol's reference. Results are read by rotating their list on itself, which takes
//! nothing away from anybody; that a command was accepted is told by its flag, and nothing is ever pushed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Pipeline;
use roadstead_core::{Error, ErrorKind, Result, Retry};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Scope;
use super::address::Address;
use super::command::Command;
use super::link::{Links, is_broken};
use super::outcome::Outcome;
use super::streams::Streams;

/// Where a node takes commands from.
const QUEUE: &str = "core:default";
/// A node accepts a command within this, or has dropped it.
const ACCEPTANCE: Duration = Duration::from_secs(10);
/// How long one connection is held by one wait: then others may have it.
const ROUND_SECONDS: u32 = 1;
/// How long a wait waits for a connection before it looks by itself, in ever longer steps.
const PATIENCE: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A list of jobs is answered within this, and is good for so long.
const LISTING: Duration = Duration::from_secs(30);
const LISTING_KEPT: Duration = Duration::from_secs(2);
/// After the connection broke, it is tried again in such steps.
const AGAIN: Duration = Duration::from_millis(200);
/// For so long a node may be away before it is given up to find out whether it accepted a command; that time does not count.
const OUTAGE: Duration = Duration::from_secs(60);
/// A result follows its command's end within this, or somebody has taken it.
const FOLLOWS: Duration = Duration::from_secs(3);

/// When jobs were listed, and their ids, or why they could not be; who asks meanwhile waits for the answer.
type Listing = Arc<tokio::sync::Mutex<Option<(Instant, Listed)>>>;
type Listed = Result<Arc<BTreeSet<String>>, Arc<Error>>;

/// One node's commands and results.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) links: Arc<Links>,
    streams: Streams,
    /// The oldest generation sets no flags.
    sets_flags: AtomicBool,
    /// The second one has commands of its own for what keys there are.
    own_words: AtomicBool,
    /// The jobs that were listed last, which many ask for at once. Each place has its own, since one that does not answer
    /// is to hold up no other.
    listings: Mutex<BTreeMap<Scope, Listing>>,
}

/// What is known of a command's flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// It runs.
    Running,
    /// It has ended less than five minutes ago.
    Ended,
    /// It was never accepted, or ended long ago.
    Unknown,
}

fn result_key(id: &str) -> String {
    format!("result:{id}")
}

fn flag_key(id: &str) -> String {
    format!("result:{id}:flag")
}

impl Client {
    pub(super) fn new(address: Address) -> Arc<Self> {
        let links = Arc::new(Links::new(address));
        let streams = Streams::new(Arc::clone(&links));
        Arc::new(Client {
            links,
            streams,
            sets_flags: AtomicBool::new(true),
            own_words: AtomicBool::new(false),
            listings: Mutex::default(),
        })
    }

    /// Finds out which generation the node is, by a command of no effect. Gives what it answered.
    pub(super) async fn greet(&self, deadline: Duration) -> Result<Outcome> {
        let command = Command::new("core.ping", ())?;
        // Until it is known whether there are flags, only the result counts.
        self.sets_flags.store(false, Ordering::Relaxed);
        let outcome = self.run(Scope::Host, &command, deadline).await?;
        // The second generation has both words, but EXISTS is about texts only there, and finds no list.
        let flags = self.finds("EXISTS", &command.id).await?;
        let own_words = !flags && self.finds("LKEYEXISTS", &command.id).await?;
        self.own_words.store(own_words, Ordering::Relaxed);
        // Where neither finds it there are no flags that could be asked for.
        self.sets_flags.store(flags || own_words, Ordering::Relaxed);
        Ok(outcome)
    }

    /// Whether the node's Redis finds the flag of a command by this word; not where it does not know the word.
    async fn finds(&self, word: &str, id: &str) -> Result<bool> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd(word).arg(flag_key(id));
        match self.links.read::<(i64,)>(&pipeline).await {
            Ok((found,)) => Ok(found > 0),
            Err(error) if matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::PermissionDenied) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs a command to its end; gives its result document whatever its state. In a container it is dispatched.
    ///
    /// Dropping the future leaves the command running.
    pub(super) async fn run(&self, scope: Scope, command: &Command, deadline: Duration) -> Result<Outcome> {
        command.validate()?;
        let until = Instant::now() + deadline;
        match scope {
            Scope::Host => self.run_document(&command.id, &command.document(), Until::at(until)).await,
            Scope::Container(container) => {
                let id = self.dispatch(container, command, Until::at(until)).await?;
                self.wait(&id, Until::at(until), Acceptance::Told).await.map_err(unanswered)
            }
        }
    }

    /// Pushes a command and waits until the node has accepted it. Gives the id under which its result will be.
    ///
    /// When the connection breaks meanwhile, it is found out afterwards whether the node has accepted it: what runs must not be
    /// unknown to whoever started it. An error of the advice `unknown` says that it may run, now or later.
    pub(super) async fn push(&self, scope: Scope, command: &Command) -> Result<String> {
        command.validate()?;
        match scope {
            Scope::Host => {
                let mut pipeline = Pipeline::new();
                pipeline.cmd("RPUSH").arg(QUEUE).arg(command.document().to_string());
                let acceptance = match self.links.ask::<(i64,)>(&pipeline).await {
                    Ok(_) => Acceptance::Open,
                    Err(error) if is_broken(&error) && error.retry() == Retry::Unknown => Acceptance::Doubtful,
                    Err(error) => return Err(error),
                };
                self.accepted(&command.id, acceptance).await?;
                Ok(command.id.clone())
            }
            Scope::Container(container) => {
                let until = Until { at: Instant::now() + ACCEPTANCE * 2, outage: Some(OUTAGE) };
                self.dispatch(container, command, until).await
            }
        }
    }

    async fn dispatch(&self, container: u64, command: &Command, until: Until) -> Result<String> {
        let outer = Command::new("corex.dispatch", json!({"container": container, "command": command.document()}))?;
        // As the reference client writes it: what the command is to have stands in the inner document.
        let document = json!({"id": outer.id, "command": outer.command, "arguments": outer.arguments});
        self.run_document(&outer.id, &document, until).await?.value()
    }

    /// Pushes a document and waits for its result, without which nothing is known of what it asks for.
    async fn run_document(&self, id: &str, document: &Value, until: Until) -> Result<Outcome> {
        self.push_and_wait(id, document, until).await.map_err(unanswered)
    }

    async fn push_and_wait(&self, id: &str, document: &Value, until: Until) -> Result<Outcome> {
        let mut push = Pipeline::new();
        push.cmd("RPUSH").arg(QUEUE).arg(document.to_string());
        let pushed = match self.links.lease(PATIENCE).await? {
            Some(lease) => {
                // One way there and back: the wait travels with the command.
                push.cmd("BRPOPLPUSH").arg(result_key(id)).arg(result_key(id)).arg(ROUND_SECONDS);
                lease.ask::<(i64, Option<Vec<u8>>)>(&push, Duration::from_secs(ROUND_SECONDS.into())).await
            }
            None => self.links.ask::<(i64,)>(&push).await.map(|(length,)| (length, None)),
        };
        match pushed {
            Ok((_, result)) => match result.map_or(Ok(None), |result| own(id, &result)) {
                Ok(Some(outcome)) => Ok(outcome),
                Ok(None) => self.wait(id, until, Acceptance::Open).await,
                Err(error) => Err(error.with_retry(Retry::Unknown)),
            },
            // Whether it was pushed, its flag or its result tells.
            Err(error) if is_broken(&error) && error.retry() == Retry::Unknown => {
                self.wait(id, until, Acceptance::Doubtful).await
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the flag of a command that was pushed.
    async fn accepted(&self, id: &str, acceptance: Acceptance) -> Result<()> {
        let mut until = Until { at: Instant::now() + ACCEPTANCE, outage: Some(OUTAGE) };
        let mut broke = acceptance == Acceptance::Doubtful;
        let flags = self.sets_flags.load(Ordering::Relaxed);
        if !flags && !broke {
            return Ok(());
        }
        let mut away = broke.then(Instant::now);
        let mut pause = FIRST_PAUSE;
        loop {
            let found = if flags {
                self.flag(id, &mut pause).await
            } else {
                sleep(AGAIN).await;
                self.known(id).await
            };
            match found {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    until.goes_on(away.take());
                    if Instant::now() < until.at {
                        continue;
                    }
                    // A Redis that was started anew may have forgotten the flag, but the node does not forget the job.
                    return match broke {
                        true if self.known(id).await.unwrap_or(false) => Ok(()),
                        true => Err(interrupted(id)),
                        false => Err(dropped(id)),
                    };
                }
                Err(error) if is_broken(&error) => {
                    broke = true;
                    if until.is_up(&mut away) {
                        return Err(interrupted(id).with_source(error));
                    }
                    sleep(AGAIN).await;
                }
                Err(error) => return Err(error.with_retry(Retry::Unknown)),
            }
        }
    }

    /// One look for a flag, which takes up to a second.
    async fn flag(&self, id: &str, pause: &mut Duration) -> Result<bool> {
        let key = flag_key(id);
        let mut pipeline = Pipeline::new();
        let found: (Option<Vec<u8>>,) = match self.links.lease(PATIENCE).await? {
            Some(lease) => {
                pipeline.cmd("BRPOPLPUSH").arg(&key).arg(&key).arg(ROUND_SECONDS);
                lease.ask(&pipeline, Duration::from_secs(ROUND_SECONDS.into())).await?
            }
            None => {
                pipeline.cmd("RPOPLPUSH").arg(&key).arg(&key);
                sleep(*pause).await;
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                self.links.ask(&pipeline).await?
            }
        };
        Ok(found.0.is_some())
    }

    /// Whether the node runs a command of its own, or has run it, by other means than its flag.
    async fn known(&self, id: &str) -> Result<bool> {
        Ok(self.peek(id).await?.is_some() || self.listed(Scope::Host).await?.contains(id))
    }

    /// Waits for the result of a command that was pushed, by this program or another one.
    pub(super) async fn result(&self, id: &str, deadline: Duration) -> Result<Outcome> {
        self.wait(id, Until::at(Instant::now() + deadline), Acceptance::Told).await
    }

    /// The result, if it is there.
    pub(super) async fn peek(&self, id: &str) -> Result<Option<Outcome>> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("RPOPLPUSH").arg(result_key(id)).arg(result_key(id));
        let (found,): (Option<Vec<u8>>,) = self.links.read(&pipeline).await?;
        found.map_or(Ok(None), |document| own(id, &document))
    }

    /// Of these the last one that has a result, with its place.
    pub(super) async fn peek_last(&self, ids: &[String]) -> Result<Option<(usize, Outcome)>> {
        let mut pipeline = Pipeline::new();
        for id in ids {
            pipeline.cmd("RPOPLPUSH").arg(result_key(id)).arg(result_key(id));
        }
        let found: Vec<Option<Vec<u8>>> = self.links.read(&pipeline).await?;
        for (place, (id, document)) in ids.iter().zip(found).enumerate().rev() {
            if let Some(outcome) = document.map_or(Ok(None), |document| own(id, &document))? {
                return Ok(Some((place, outcome)));
            }
        }
        Ok(None)
    }

    /// Whether there is, or was within five minutes, a command with this id.
    pub(super) async fn knows(&self, id: &str) -> Result<bool> {
        if self.peek(id).await?.is_some() {
            return Ok(true);
        }
        let flags = self.flags(&[id.to_owned()]).await?;
        Ok(self.sets_flags.load(Ordering::Relaxed) && flags.first().is_some_and(|flag| *flag != Flag::Unknown))
    }

    /// Whether the node's Redis answers.
    pub(super) async fn reach(&self) -> Result<()> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("PING").ignore();
        self.links.read::<()>(&pipeline).await
    }

    /// What the flags of these commands say; all running where the node sets none.
    pub(super) async fn flags(&self, ids: &[String]) -> Result<Vec<Flag>> {
        if ids.is_empty() || !self.sets_flags.load(Ordering::Relaxed) {
            return Ok(vec![Flag::Running; ids.len()]);
        }
        let own_words = self.own_words.load(Ordering::Relaxed);
        let mut pipeline = Pipeline::new();
        for id in ids {
            if own_words {
                // What is not there has no end either, for this word.
                pipeline.cmd("LKEYEXISTS").arg(flag_key(id));
                pipeline.cmd("LTTL").arg(flag_key(id));
            } else {
                pipeline.cmd("TTL").arg(flag_key(id));
            }
        }
        let told: Vec<i64> = self.links.read(&pipeline).await?;
        let flag = |answers: &[i64]| match answers {
            [0, _] => Flag::Unknown,
            [.., -1] => Flag::Running,
            [.., seconds] if *seconds >= 0 => Flag::Ended,
            _ => Flag::Unknown,
        };
        Ok(told.chunks(if own_words { 2 } else { 1 }).map(flag).collect())
    }

    /// The ids of the jobs that a node, or a container, knows, as they were two seconds ago or less. That they could not be told
    /// holds for as long, so that of many who ask not each waits for its own silence, one after another.
    pub(super) async fn listed(&self, scope: Scope) -> Result<Arc<BTreeSet<String>>> {
        let listing = self.listing(scope);
        let mut listing = listing.lock().await;
        if let Some((at, listed)) = &*listing
            && at.elapsed() < LISTING_KEPT
        {
            return told(listed);
        }
        let asked = Instant::now();
        let listed = self.list(scope).await.map(Arc::new).map_err(Arc::new);
        // A list is as old as its question; a silence is known at its end.
        let at = if listed.is_ok() { asked } else { Instant::now() };
        let answer = told(&listed);
        *listing = Some((at, listed));
        answer
    }

    async fn list(&self, scope: Scope) -> Result<BTreeSet<String>> {
        let jobs: Vec<Value> = self.run(scope, &Command::new("job.list", ())?, LISTING).await?.value()?;
        let id = |job: &Value| Some(job.get("cmd")?.get("id")?.as_str()?.to_owned());
        Ok(jobs.iter().filter_map(id).collect())
    }

    /// The place for a list, when those that are old and that nobody waits for have been let go of.
    fn listing(&self, scope: Scope) -> Listing {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |listing: &Listing| match listing.try_lock() {
            Ok(listed) => listed.as_ref().is_some_and(|(at, _)| at.elapsed() < LISTING_KEPT),
            Err(_) => true,
        };
        listings.retain(|_, listing| Arc::strong_count(listing) > 1 || is_good(listing));
        Arc::clone(listings.entry(scope).or_default())
    }

    /// The output of a command that was pushed with `stream`, which must be this program's own: what is read is taken away.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Whatever error it gives, the command was or may have been pushed: the advice is always `unknown`.
    async fn wait(&self, id: &str, mut until: Until, mut acceptance: Acceptance) -> Result<Outcome> {
        let begun = Instant::now();
        let mut accepts = Until { at: begun + ACCEPTANCE, outage: until.outage };
        let mut pause = FIRST_PAUSE;
        // The first rounds come and go fast; what takes longer leaves the connections to others.
        let mut rounds = 0;
        let mut away: Option<Instant> = None;
        let mut ended: Option<Instant> = None;
        loop {
            match self.look(id, &mut rounds, &mut pause, until.at).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {
                    let was_away = away.take();
                    accepts.goes_on(was_away);
                    until.goes_on(was_away);
                }
                Err(error) if is_broken(&error) => {
                    ended = None;
                    let gives_up = until.is_up(&mut away);
                    if acceptance == Acceptance::Doubtful && (gives_up || accepts.is_up(&mut away)) {
                        return Err(interrupted(id).with_source(error));
                    }
                    if gives_up {
                        // Nothing is known of what became of it.
                        return Err(error.with_retry(Retry::Unknown));
                    }
                    sleep(AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error.with_retry(Retry::Unknown)),
            }
            let flag = match self.flags(&[id.to_owned()]).await {
                Ok(flags) => flags.first().copied(),
                Err(error) if is_broken(&error) => None,
                Err(error) => return Err(error.with_retry(Retry::Unknown)),
            };
            ended = if flag == Some(Flag::Ended) { ended.or_else(|| Some(Instant::now())) } else { None };
            let gone = match flag {
                Some(Flag::Ended) if ended.is_some_and(|ended| ended.elapsed() >= FOLLOWS) => Some(taken(id)),
                // The result comes with the flag.
                Some(Flag::Unknown) if acceptance == Acceptance::Told => Some(forgotten(id)),
                Some(Flag::Unknown) if Instant::now() >= accepts.at => Some(match acceptance {
                    Acceptance::Doubtful => interrupted(id),
                    _ => dropped(id),
                }),
                _ => None,
            };
            if matches!(flag, Some(Flag::Running | Flag::Ended)) {
                acceptance = Acceptance::Told;
            }
            match gone {
                None if Instant::now() < until.at => {}
                None => {
                    let words = format!("no result of {id} within {} s", begun.elapsed().as_secs());
                    return Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Unknown));
                }
                Some(gone) => match self.peek(id).await {
                    Ok(last_look) => return last_look.ok_or(gone),
                    Err(error) if is_broken(&error) => {}
                    Err(error) => return Err(error.with_retry(Retry::Unknown)),
                },
            }
        }
    }

    /// One look for a result, which takes up to a second.
    async fn look(&self, id: &str, rounds: &mut u32, pause: &mut Duration, until: Instant) -> Result<Option<Outcome>> {
        let key = result_key(id);
        let mut pipeline = Pipeline::new();
        let left = until.saturating_duration_since(Instant::now());
        if *rounds < 2 && left >= Duration::from_secs(ROUND_SECONDS.into()) {
            *rounds += 1;
            if let Some(lease) = self.links.lease(PATIENCE).await? {
                pipeline.cmd("BRPOPLPUSH").arg(&key).arg(&key).arg(ROUND_SECONDS);
                let blocks = Duration::from_secs(ROUND_SECONDS.into());
                let (found,) = lease.ask::<(Option<Vec<u8>>,)>(&pipeline, blocks).await?;
                return found.map_or(Ok(None), |document| own(id, &document));
            }
        }
        pipeline.cmd("RPOPLPUSH").arg(&key).arg(&key);
        let (found,): (Option<Vec<u8>>,) = self.links.ask(&pipeline).await?;
        let found = found.map_or(Ok(None), |document| own(id, &document))?;
        if found.is_none() {
            sleep((*pause).min(left)).await;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
        }
        Ok(found)
    }
}

/// What a list says, to one of those who asked for it.
fn told(listed: &Listed) -> Result<Arc<BTreeSet<String>>> {
    listed.as_ref().map(Arc::clone).map_err(|error| {
        Error::new(error.kind(), error.message().to_owned()).with_retry(error.retry()).with_source(Arc::clone(error))
    })
}

/// The result of this command; nothing when the document is that of another one, which says nothing about this one.
fn own(id: &str, document: &[u8]) -> Result<Option<Outcome>> {
    let outcome = Outcome::parse(document)?;
    if outcome.id == id {
        return Ok(Some(outcome));
    }
    tracing::debug!(id, found = ?outcome.id, "there is another command's result in the place of this one's");
    Ok(None)
}

/// How long something is waited for.
#[derive(Clone, Copy, Debug)]
struct Until {
    at: Instant,
    /// For how long the node may be away at a time, if that does not count.
    outage: Option<Duration>,
}

impl Until {
    /// Whatever happens.
    fn at(at: Instant) -> Self {
        Until { at, outage: None }
    }

    /// The node answers; it may have been away before.
    fn goes_on(&mut self, away: Option<Instant>) {
        if let Some(since) = away
            && self.outage.is_some()
        {
            self.at += since.elapsed();
        }
    }

    /// The node is away: whether it is not worth while any more.
    fn is_up(&self, away: &mut Option<Instant>) -> bool {
        let since = *away.get_or_insert_with(Instant::now);
        match self.outage {
            Some(outage) => since.elapsed() >= outage,
            None => Instant::now() + AGAIN >= self.at,
        }
    }
}

/// What is known of whether the node has taken a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    /// It has.
    Told,
    /// It was pushed.
    Open,
    /// The connection broke while it was pushed.
    Doubtful,
}

/// What a caller must know who would do the same in another way.
const LATER: &str = "; should it be in the node's queue (core:default) still, it runs as soon as the node takes it";

/// The node saw it and took no notice, or is not there.
fn dropped(id: &str) -> Error {
    let words = format!(
        "the node did not accept the command within {} s: it is down, or it dropped it, as it does with an id that it \
         knows and with what it cannot read{LATER}",
        ACCEPTANCE.as_secs()
    );
    Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Unknown).with_context("dropped", id)
}

fn interrupted(id: &str) -> Error {
    let words =
        format!("the connection broke while the command was pushed, and the node has not accepted it so far{LATER}");
    Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Unknown).with_context("job", id)
}

fn forgotten(id: &str) -> Error {
    let words = "the node does not know the command any more: it has been restarted, or the result is too old";
    Error::new(ErrorKind::NotFound, words).with_retry(Retry::Unknown).with_context("job", id)
}

/// A question whose answer the node has lost is not answered: that the answer is not found does not say so of what it is about.
fn unanswered(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::new(ErrorKind::Unavailable, error.message().to_owned()).with_retry(Retry::Unknown).with_source(error)
}

/// Results are there for everybody for five minutes; there are clients that take them away nevertheless.
fn taken(id: &str) -> Error {
    let words = "the command has ended, but its result is not there: another client has taken it";
    Error::new(ErrorKind::NotFound, words).with_retry(Retry::Unknown).with_context("job", id)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::super::commands::replay::node::Node;
    use super::*;

    #[tokio::test]
    async fn many_who_ask_for_a_list_that_cannot_be_had_do_not_wait_for_one_another() {
        let node = Node::start().await;
        let client = node.client();
        let answer =
            |state: &str, data: &str| json!({"id": "x", "state": state, "level": 20, "code": 500, "data": data});
        node.script(&[("job.list", answer("ERROR", r#""no""#)), ("job.list", answer("SUCCESS", "[]"))]);
        for told in join_all((0..100).map(|_| client.listed(Scope::Host))).await {
            let error = told.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unexpected, "no"));
        }
        assert_eq!(node.pushed().len(), 1, "it is asked once for all of them");
        tokio::time::pause();
        tokio::time::advance(LISTING_KEPT).await;
        tokio::time::resume();
        assert!(client.listed(Scope::Host).await.unwrap().is_empty(), "and again after a while");
    }
}
