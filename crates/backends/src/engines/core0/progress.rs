//! What a command does, from its output while it runs to its result, whatever happens to the connection meanwhile.
//!
//! The end is told by the last entry of the output. Should that be lost, since nodes keep output for a minute and a Redis
//! that is started anew keeps none, the result is looked for every few seconds, too. A command of which neither the flag nor
//! the result nor the list of jobs knows anything is lost: it is never taken for ended.

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
/// The rest of the output follows a result within this.
const REST: Duration = Duration::from_secs(1);
/// A node that cannot be reached for so long has lost the command, for all that can be known.
const AWAY: Duration = Duration::from_secs(10);
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
    over: bool,
    /// What was written so far, as much as a result may repeat: standard output and standard error.
    written: [Tail; 2],
}

impl Progress {
    /// Follows a command of this program's own.
    pub(super) async fn begin(client: &Arc<Client>, scope: Scope, id: &str, again: bool) -> Self {
        let entries = client.streams().read(id, again).await;
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
            over: false,
            written: [Tail::default(), Tail::default()],
        }
    }

    /// The next step; none after the end. `Unavailable` when it is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.pending.pop_front() {
                return Ok(Some(step));
            }
            if self.over {
                return Ok(None);
            }
            let Some(entries) = &mut self.entries else {
                let outcome = self.client.result(&self.id, RESULT).await.map_err(|error| self.lost(error))?;
                self.end(outcome);
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
            Ok(()) => self.away_since = None,
            Err(error) if is_broken(&error) || error.kind() == ErrorKind::DeadlineExceeded => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= AWAY {
                    return Err(self.lost(error));
                }
            }
            Err(error) => return Err(self.lost(error)),
        }
        Ok(())
    }

    async fn look_once(&mut self) -> Result<()> {
        if let Some(outcome) = self.client.peek(&self.id).await? {
            self.drain(&outcome).await;
            self.end(outcome);
            return Ok(());
        }
        let flags = self.client.flags(std::slice::from_ref(&self.id)).await?;
        if flags.first() != Some(&Flag::Unknown) && self.believed < BELIEVED {
            self.believed += 1;
            return Ok(());
        }
        if self.is_listed().await? {
            self.believed = 0;
            return Ok(());
        }
        // It may have ended between the two looks.
        let outcome = match self.client.result(&self.id, LAST_LOOK).await {
            Ok(outcome) => outcome,
            Err(error) if is_broken(&error) => return Err(error),
            Err(error) => {
                let words = "the node does not know the job any more, nor how it ended";
                return Err(Error::new(ErrorKind::NotFound, words).with_retry(Retry::Unknown).with_source(error));
            }
        };
        self.drain(&outcome).await;
        self.end(outcome);
        Ok(())
    }

    async fn is_listed(&self) -> Result<bool> {
        match self.client.listed(self.scope).await {
            Ok(jobs) => Ok(jobs.contains(&self.id)),
            // The container is gone.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes what is left of the output; what is lost of it is taken from the result, which repeats the end.
    async fn drain(&mut self, outcome: &Outcome) {
        let until = Instant::now() + REST;
        while let Some(entries) = &mut self.entries {
            match timeout(until.saturating_duration_since(Instant::now()), entries.recv()).await {
                Ok(Some(entry)) => {
                    let ends = entry.end.is_some() && !self.again;
                    self.take(entry);
                    if ends {
                        self.entries = None;
                        return;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
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
        let boundaries = whole.char_indices().map(|(at, _)| at).chain([whole.len()]).rev();
        for at in boundaries {
            if let (Some(head), Some(rest)) = (whole.get(..at), whole.get(at..))
                && self.0.ends_with(head)
            {
                return rest;
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_repeats_the_end_of_what_was_written() {
        let mut tail = Tail::default();
        assert_eq!(tail.missing("one\n"), "one\n");
        tail.push("one\ntwö\n");
        assert_eq!(tail.missing("one\ntwö\n"), "");
        assert_eq!(tail.missing("twö\nthree\n"), "three\n");
        assert_eq!(tail.missing("four\n"), "four\n");
        assert_eq!(tail.missing(""), "");
        for _ in 0..100_000 {
            tail.push("ö line\n");
        }
        assert!(tail.0.len() <= 2 * Tail::MAX);
        assert_eq!(tail.missing("ö line\nlast\n"), "last\n");
    }
}
