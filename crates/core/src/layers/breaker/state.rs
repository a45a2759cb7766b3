//! What a breaker knows: how often in a row the node did not answer, and whether that is too often.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Timestamp;

/// Closed, suspect or open.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Failures to answer in a row.
    failures: u32,
    /// The first of these, and what the last one was.
    run: Option<(Timestamp, String)>,
    open: bool,
    /// Whether somebody probes: at most one does.
    pub(super) probing: bool,
    /// The last probe.
    probe: Option<Probe>,
}

#[derive(Debug)]
enum Probe {
    /// Under way since then.
    Asking(Instant),
    /// Failed; whether at once.
    Failed(bool),
}

/// What a probe changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The node answers again; since when it did not.
    Closed(Timestamp),
    /// The node was suspect without reason.
    Trusted,
    /// This was one failure too many; what it was.
    Opened(String),
    /// Still suspect, or still open.
    Unchanged,
}

impl State {
    /// Since when the node has not answered, and what its last failure was; `None` while calls pass.
    pub(super) fn open(&self) -> Option<(Timestamp, &str)> {
        let (since, why) = self.run.as_ref().filter(|_| self.open)?;
        Some((*since, why))
    }

    /// The node did not answer a call. One that does not count makes it suspect, and no more. Gives whether to begin probing.
    pub(super) fn failed(&mut self, why: &str, counts: bool, limit: u32) -> bool {
        if counts || self.failures == 0 {
            self.count(why, limit);
        }
        !std::mem::replace(&mut self.probing, true)
    }

    fn count(&mut self, why: &str, limit: u32) {
        let since = self.run.take().map_or_else(Timestamp::now, |(since, _)| since);
        self.run = Some((since, why.to_owned()));
        self.failures = self.failures.saturating_add(1);
        self.open |= self.failures >= limit.max(1);
    }

    /// The node answered a call.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.run = None;
        self.open = false;
    }

    /// A probe begins.
    pub(super) fn asks(&mut self) {
        // A node that left the last one without an answer is not looked at by callers: they would wait.
        if !matches!(self.probe, Some(Probe::Failed(false))) {
            self.probe = Some(Probe::Asking(Instant::now()));
        }
    }

    /// Whether a caller may wait a moment for a probe, and have one sent: the last one was refused at once, or the next one has
    /// not been under way for longer than that.
    pub(super) fn glimpse(&self, moment: Duration) -> bool {
        match &self.probe {
            Some(Probe::Failed(at_once)) => *at_once,
            Some(Probe::Asking(since)) => since.elapsed() < moment,
            None => false,
        }
    }

    /// A probe is over. After `Closed` and `Trusted` nobody probes any more.
    pub(super) fn probed(&mut self, answer: Result<(), String>, at_once: bool, limit: u32) -> After {
        self.probe = answer.is_err().then_some(Probe::Failed(at_once));
        match answer {
            Ok(()) => {
                let since = self.open().map(|(since, _)| since);
                self.answered();
                self.probing = false;
                since.map_or(After::Trusted, After::Closed)
            }
            Err(why) => {
                let was = self.open;
                self.count(&why, limit);
                if self.open && !was { After::Opened(why) } else { After::Unchanged }
            }
        }
    }
}
