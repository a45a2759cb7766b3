//! What a command does, from its output while it runs to its result, whatever happens to the connection meanwhile.
//!
//! The end is told by the last entry of the output. Should that be lost, since nodes keep output for a minute and a Redis
//! that is started anew keeps none, the result is looked for every few seconds, too. A command of which neither the flag nor
//! the result nor the list of jobs knows anything is lost: it is never taken for ended. A node that cannot be reached for
//! less than a minute says nothing of the command, which may run, and is followed again afterwards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::Scope;
use super::client::{Client, Flag};
use super::link::is_broken;
use super::outcome::Outcome;
use super::streams::Entry;

/// How often it is looked whether there is a result, though no output says so.
const LOOK: Duration = Duration::from_secs(3);
/// The result follows the last entry within this.
const RESULT: Duration = Duration::from_secs(15);
/// The rest of the output follows a result, each entry within this, where the node has nothing more; and all of it within this of
/// waiting, after which a node has it no more either.
const REST: Duration = Duration::from_secs(1);
const WHOLE_REST: Duration = Duration::from_secs(60);
/// A node that cannot be reached for so long is gone, for all that can be known, and the command with it (J20).
const AWAY: Duration = Duration::from_secs(60);
/// So many looks in a row that say that it runs are believed; then the node is asked whether it knows it: a node whose agent
/// died has forgotten its jobs, but its Redis has not.
const BELIEVED: u32 = 5;
/// Between the look for a job and the look for the result that it may have left.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A step of a command.
#[derive(Debug)]
pub(super) enum Step {
    /// It wrote something.
    Entry(Entry),
    /// It ended; nothing follows.
    Ended(Box<Outcome>),
}

/// A command that was pushed with `stream`.
#[derive(Debug)]
pub(super) struct Progress {
    client: Arc<Client>,
    scope: Scope,
    id: String,
    /// Gone after the last entry.
    entries: Option<Receiver<Entry>>,
    /// Whether it may run more than once, so that a last entry is not the end.
    again: bool,
    looks: Interval,
    away_since: Option<Instant>,
    believed: u32,
    pending: VecDeque<Step>,
    /// The result, which came before the end of the output.
    ending: Option<Ending>,
    over: bool,
    /// What was written so far, as much as a result may repeat: standard output and standard error.
    written: [Tail; 2],
}

/// A result that waits for the rest of the output.
#[derive(Debug)]
struct Ending {
    outcome: Outcome,
    /// For how long it may still wait, and since when nothing came.
    left: Duration,
    quiet_since: Instant,
}

impl Progress {
    /// Follows a command of this program's own.
    pub(super) fn begin(client: &Arc<Client>, scope: Scope, id: &str, again: bool) -> Self {
        let entries = client.streams().read(id, again);
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Progress {
            client: Arc::clone(client),
            scope,
            id: id.to_owned(),
            entries: Some(entries),
            again,
            looks,
            away_since: None,
            believed: 0,
            pending: VecDeque::new(),
            ending: None,
            over: false,
            written: [Tail::default(), Tail::default()],
        }
    }

    /// The next step; none after the end. `Unavailable` when it is lost; who knows better may ask again.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.pending.pop_front() {
                return Ok(Some(step));
            }
            if self.over {
                return Ok(None);
            }
            if self.ending.is_some() {
                self.rest().await;
                continue;
            }
            let Some(entries) = &mut self.entries else {
                match self.client.result(&self.id, RESULT).await {
                    Ok(outcome) => self.end(outcome),
                    Err(error) if may_pass(&error) => {
                        // A node that has told the last words and not the result may have died between the two.
                        self.believed = BELIEVED;
                        self.look().await?;
                    }
                    Err(error) => return Err(self.lost(error)),
                }
                continue;
            };
            tokio::select! {
                biased;
                entry = entries.recv() => match entry {
                    Some(entry) => {
                        let ends = entry.end.is_some() && !self.again;
                        self.take(entry);
                        if ends {
                            self.entries = None;
                        }
                    }
                    None => self.entries = None,
                },
                _ = self.looks.tick() => self.look().await?,
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        if let Some(tail) = self.written.get_mut(usize::from(entry.level).wrapping_sub(1)) {
            tail.push(&entry.text);
        }
        if !entry.text.is_empty() {
            self.pending.push_back(Step::Entry(entry));
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = true;
        self.entries = None;
        self.pending.push_back(Step::Ended(Box::new(outcome)));
    }

    async fn look(&mut self) -> Result<()> {
        match self.look_once().await {
            Err(error) if may_pass(&error) => {
                tracing::debug!(id = self.id, %error, "nothing can be known of a command now");
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < AWAY { Ok(()) } else { Err(self.lost(error)) }
            }
            looked => {
                self.away_since = None;
                looked.map_err(|error| self.lost(error))
            }
        }
    }

    async fn look_once(&mut self) -> Result<()> {
        if let Some(outcome) = self.client.peek(&self.id).await? {
            self.begin_to_end(outcome);
            return Ok(());
        }
        let flag = self.client.flags(std::slice::from_ref(&self.id)).await?.first().copied();
        if flag != Some(Flag::Unknown) && self.believed < BELIEVED {
            self.believed += 1;
            return Ok(());
        }
        let listed = self.is_listed().await;
        let is_silent = listed.is_err() && flag == Some(Flag::Running) && self.node_answers().await;
        match listed {
            Ok(true) => {
                self.believed = 0;
                return Ok(());
            }
            Ok(false) => {}
            Err(error) if is_silent => {
                tracing::debug!(id = self.id, %error, "a container does not answer");
                self.believed = 0;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // It may have ended between the two looks.
        let outcome = match self.client.result(&self.id, LAST_LOOK).await {
            Ok(outcome) => outcome,
            Err(error) if is_broken(&error) => return Err(error),
            Err(error) => {
                let words = match flag {
                    Some(Flag::Ended) => "it has ended, but its result is not there: another client has taken it",
                    _ => "the node does not know the job any more, nor how it ended",
                };
                return Err(Error::new(ErrorKind::NotFound, words).with_retry(Retry::Unknown).with_source(error));
            }
        };
        self.begin_to_end(outcome);
        Ok(())
    }

    async fn is_listed(&self) -> Result<bool> {
        match self.client.listed(self.scope).await {
            Ok(jobs) => Ok(jobs.contains(&self.id)),
            // The container is gone, or nobody can say.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(false),
            // That the list cannot be had says nothing of the job.
            Err(error) => {
                let words = format!("the node does not tell its jobs: {}", error.message());
                Err(Error::new(ErrorKind::Unavailable, words).with_source(error))
            }
        }
    }

    /// Whether the node answers where one of its containers does not, which is no reason to give the command up.
    async fn node_answers(&self) -> bool {
        self.scope != Scope::Host && self.client.listed(Scope::Host).await.is_ok()
    }

    /// The command has ended: its output is looked at now, whenever that was to be.
    fn begin_to_end(&mut self, outcome: Outcome) {
        self.client.streams().hurry(&self.id);
        self.ending = Some(Ending { outcome, left: WHOLE_REST, quiet_since: Instant::now() });
    }

    /// Takes one more entry of what is left of the output, or the end; what is lost of it is taken from the result, which repeats
    /// the end.
    async fn rest(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        if let Some(entries) = &mut self.entries {
            let begun = Instant::now();
            let received = timeout(REST.min(ending.left), entries.recv()).await;
            ending.left = ending.left.saturating_sub(begun.elapsed());
            match received {
                Ok(Some(entry)) => {
                    ending.quiet_since = Instant::now();
                    let ends = entry.end.is_some() && !self.again;
                    self.take(entry);
                    if ends && let Some(Ending { outcome, .. }) = self.ending.take() {
                        self.end(outcome);
                    }
                    return;
                }
                Ok(None) => {}
                Err(_) => {
                    // Nothing came, which says nothing unless the node was asked meanwhile.
                    let asked = self.client.streams().had_nothing(&self.id);
                    if !ending.left.is_zero() && asked.is_none_or(|asked| asked < ending.quiet_since) {
                        self.client.streams().hurry(&self.id);
                        return;
                    }
                }
            }
        }
        let Some(Ending { outcome, .. }) = self.ending.take() else { return };
        self.repeat(&outcome);
        self.end(outcome);
    }

    /// What of the end that the result repeats was not told.
    fn repeat(&mut self, outcome: &Outcome) {
        if self.again {
            return;
        }
        let Some((stdout, stderr)) = &outcome.streams else { return };
        for (level, (tail, whole)) in (1..).zip(self.written.iter().zip([stdout, stderr])) {
            let rest = tail.missing(whole);
            if !rest.is_empty() {
                self.pending.push_back(Step::Entry(Entry {
                    text: rest.to_owned(),
                    level,
                    end: None,
                    time: None,
                    job: self.id.clone(),
                    container: outcome.container,
                }));
            }
        }
    }

    fn lost(&self, error: Error) -> Error {
        let words = format!("the job is lost: {}", error.message());
        Error::new(ErrorKind::Unavailable, words)
            .with_retry(Retry::Unknown)
            .with_context("job", self.id.clone())
            .with_source(error)
    }
}

/// Whether an error says nothing of the command, but only that the node cannot be asked now.
fn may_pass(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::DeadlineExceeded
            | ErrorKind::ResourceExhausted
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Cancelled
    )
}

/// The end of what was written, up to a bound.
#[derive(Debug, Default)]
struct Tail(String);

impl Tail {
    const MAX: usize = 256 * 1024;

    fn push(&mut self, text: &str) {
        self.0.push_str(text);
        if self.0.len() > 2 * Self::MAX {
            let mut from = self.0.len() - Self::MAX;
            while !self.0.is_char_boundary(from) {
                from += 1;
            }
            self.0.drain(..from);
        }
    }

    /// What of `whole` was not written yet: `whole` is the end of everything.
    fn missing<'a>(&self, whole: &'a str) -> &'a str {
        // What it begins with may be further back than is known here.
        if self.0.len() >= Self::MAX
            && let Some(at) = whole.rfind(&self.0)
        {
            return whole.get(at + self.0.len()..).unwrap_or(whole);
        }
        // Both begin with whole characters, so what they have in common ends with one.
        whole.get(overlap(self.0.as_bytes(), whole.as_bytes())..).unwrap_or(whole)
    }
}

/// How many of the first items of `next` are the last ones of `written`, at most; in a number of steps that grows with their
/// lengths only (the algorithm of Knuth, Morris and Pratt).
fn overlap<T: PartialEq>(written: &[T], next: &[T]) -> usize {
    let most = written.len().min(next.len());
    let next = next.get(..most).unwrap_or(next);
    let written = written.get(written.len() - most..).unwrap_or(written);
    // For each length of a beginning of `next`, less one: how much of its end is a shorter beginning.
    let mut borders: Vec<usize> = Vec::with_capacity(most);
    let longer = |borders: &[usize], mut length: usize, item: &T| loop {
        if next.get(length) == Some(item) {
            return length + 1;
        }
        let Some(before) = length.checked_sub(1) else { return 0 };
        length = borders.get(before).copied().unwrap_or(0);
    };
    let mut length = 0;
    for (number, item) in next.iter().enumerate() {
        length = if number == 0 { 0 } else { longer(&borders, length, item) };
        borders.push(length);
    }
    written.iter().fold(0, |length, item| longer(&borders, length, item))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::super::address::Address;
    use super::super::commands::replay::narrow::{Link, Narrow};
    use super::super::commands::replay::node::Node;
    use super::*;

    thread_local! {
        static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    /// An item that counts how often it is compared.
    struct Counted(u8);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0 == other.0
        }
    }

    #[test]
    fn half_a_mebibyte_of_the_same_takes_no_more_steps_than_its_length() {
        let items = |text: &str| text.bytes().map(Counted).collect::<Vec<_>>();
        const LENGTH: usize = 2 * Tail::MAX;
        let same = "a".repeat(LENGTH);
        let other = "a".repeat(LENGTH / 2) + "b" + &"a".repeat(LENGTH / 2);
        let pairs = [(&same, &same, LENGTH), (&same, &other, LENGTH / 2), (&other, &same, LENGTH / 2)];
        for (written, next, common) in pairs {
            COMPARISONS.set(0);
            assert_eq!(overlap(&items(written), &items(next)), common);
            assert!(COMPARISONS.get() <= 4 * LENGTH, "{} comparisons", COMPARISONS.get());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_away_has_lost_nothing_for_a_minute() {
        let uri = "core0+unix:///nowhere/redis.sock".parse().unwrap();
        let address = Address::read(&uri, &roadstead_core::ConnectOptions::default()).unwrap();
        for ended in [false, true] {
            let mut progress = Progress::begin(&Client::new(address.clone()), Scope::Host, "a", false);
            if ended {
                progress.entries = None;
            }
            let begun = Instant::now();
            let lost = timeout(AWAY * 3, progress.next()).await.expect("it is not waited for ever").unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::Unavailable);
            assert!(begun.elapsed() >= AWAY, "it is not known to have ended");
        }
    }

    #[tokio::test]
    async fn a_container_that_does_not_answer_is_not_its_node() {
        let node = Node::start().await;
        node.put("result:a:flag", &[String::new()]).await;
        let answer = |state: &str, data: &str| json!({"id": "x", "state": state, "level": 20, "code": 500, "data": data, "streams": ["", ""]});
        let silent = answer("ERROR", r#""failed to dispatch command to container, check system logs for errors""#);
        let (jobs, failure) = (answer("SUCCESS", "[]"), answer("ERROR", r#""no""#));
        for (scope, answers, is_away) in [
            (Scope::Container(1), vec![("corex.dispatch", silent.clone()), ("job.list", jobs)], false),
            (Scope::Container(1), vec![("corex.dispatch", silent), ("job.list", failure.clone())], true),
            (Scope::Host, vec![("job.list", failure)], true),
        ] {
            node.script(&answers);
            let mut progress = Progress::begin(&node.client(), scope, "a", false);
            progress.believed = BELIEVED;
            progress.look().await.expect("nobody says that it is lost");
            assert_eq!(progress.away_since.is_some(), is_away, "{scope:?}: {answers:?}");
            assert_eq!(node.pushed().len(), answers.len());
        }
    }

    #[tokio::test]
    async fn the_rest_of_a_long_output_is_waited_for_on_a_slow_link() {
        const LINES: usize = 1000;
        let node = Node::start().await;
        // So slow that it takes longer than is waited for one entry.
        let link = Link::to(&node, Narrow { delay: REST / 4, most: usize::MAX }).await;
        let entry = |number: usize| json!({"core": 0, "command": "a", "message": {"message": format!("{number}\n"), "epoch": number, "meta": 65_537}});
        let entries: Vec<String> = (1..=LINES).map(|number| entry(number).to_string()).collect();
        let result = json!({"id": "a", "command": "core.system", "state": "SUCCESS", "level": 0, "streams": ["", ""]});
        // The last entry is lost; the result repeats nothing.
        node.put("stream:a", &entries).await;
        node.put("result:a", &[result.to_string()]).await;
        let mut progress = Progress::begin(&link.client(), Scope::Host, "a", false);
        progress.look().await.expect("it has ended");
        let mut told = 0;
        while let Step::Entry(entry) = progress.next().await.expect("a step").expect("the end first") {
            told += 1;
            assert_eq!(entry.text, format!("{told}\n"));
        }
        assert_eq!(told, LINES, "all that was there");
        assert!(progress.next().await.expect("nothing more").is_none());
    }

    #[tokio::test]
    async fn an_output_that_cannot_be_read_holds_up_no_end() {
        let node = Node::start().await;
        let result =
            json!({"id": "a", "command": "core.system", "state": "SUCCESS", "level": 0, "streams": ["one\n", ""]});
        let _: String = node.ask(&["SET", "stream:a", "no list"]).await;
        node.put("result:a", &[result.to_string()]).await;
        let mut progress = Progress::begin(&node.client(), Scope::Host, "a", false);
        progress.look().await.expect("it has ended");
        let told = timeout(WHOLE_REST, progress.next()).await.expect("it is not waited for long").expect("a step");
        assert!(matches!(told, Some(Step::Entry(entry)) if entry.text == "one\n"), "what the result repeats");
        assert!(matches!(progress.next().await.expect("a step"), Some(Step::Ended(_))));
    }

    #[test]
    fn the_longest_overlap_of_all_short_words() {
        let words: Vec<String> =
            (0..7).flat_map(|length| (0..1 << length).map(move |bits: u32| word(bits, length))).collect();
        for (written, next) in words.iter().flat_map(|written| words.iter().map(move |next| (written, next))) {
            let slow = (0..=next.len()).rev().find(|length| written.ends_with(&next[..*length])).unwrap();
            assert_eq!(overlap(written.as_bytes(), next.as_bytes()), slow, "{written} {next}");
        }
    }

    fn word(bits: u32, length: u32) -> String {
        (0..length).map(|place| if bits >> place & 1 == 0 { 'a' } else { 'b' }).collect()
    }

    #[test]
    fn a_result_repeats_the_end_of_what_was_written() {
        let mut tail = Tail::default();
        assert_eq!(tail.missing("one\n"), "one\n");
        tail.push("one\ntwö\n");
        assert_eq!(tail.missing("one\ntwö\n"), "");
        assert_eq!(tail.missing("twö\nthree\n"), "three\n");
        assert_eq!(tail.missing("four\n"), "four\n");
        assert_eq!(tail.missing(""), "");
        // Of what is repeated the longest beginning counts.
        let mut again = Tail::default();
        again.push("ab\nab\nab\n");
        assert_eq!(again.missing("ab\nab\nabc\n"), "abc\n");
        assert_eq!(again.missing("ab\nab\nab\nab\n"), "ab\n");
        // It may repeat more than is known here of what was written.
        let numbers: Vec<String> = (0..100_000).map(|number| format!("ö line {number}\n")).collect();
        let mut long = Tail::default();
        numbers.iter().for_each(|line| long.push(line));
        assert!(long.0.len() < numbers.concat().len());
        assert_eq!(long.missing(&(numbers.concat() + "last\n")), "last\n");
        for _ in 0..100_000 {
            tail.push("ö line\n");
        }
        assert!(tail.0.len() <= 2 * Tail::MAX);
        assert_eq!(tail.missing("ö line\nlast\n"), "last\n");
    }
}
