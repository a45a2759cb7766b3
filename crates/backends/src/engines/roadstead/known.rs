//! What is known here of a job on a server: its last status, and the output that was read. A job whose server stays away is
//! lost for those who hold it; what they have read of it stays readable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, JobState, JobStatus, OutputChunk, Result, Retry, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::request::{READ_DEADLINE, Request};
use super::shared::Remote;
use super::wire;

/// Bytes of output that are kept here; the oldest go first. A server keeps as much.
const KEPT_MAX: usize = 1 << 20;
/// What a piece costs beyond its bytes.
const PIECE_OVERHEAD: usize = 64;

/// A job on a server.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) remote: Arc<Remote>,
    pub(super) id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    status: JobStatus,
    kept: VecDeque<OutputChunk>,
    kept_bytes: usize,
    /// Since when the server has not answered.
    away: Option<Instant>,
    /// Why it was given up here.
    lost: Option<(ErrorKind, String)>,
}

impl Known {
    pub(super) fn new(remote: &Arc<Remote>, status: JobStatus) -> Self {
        Known {
            remote: Arc::clone(remote),
            id: status.id.clone(),
            state: Mutex::new(State { status, kept: VecDeque::new(), kept_bytes: 0, away: None, lost: None }),
        }
    }

    /// A poisoned lock only says that another thread panicked; no code that may panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The final status, when it is known.
    pub(super) fn ended(&self) -> Option<JobStatus> {
        Some(self.lock().status.clone()).filter(|status| status.state.is_final())
    }

    /// Why it was given up here, when it was.
    pub(super) fn lost(&self) -> Option<Error> {
        self.lock().lost.clone().map(|(kind, words)| Error::new(kind, words).with_resource(self.id.clone()))
    }

    /// The server's word, after at most `wait` if it still runs by then. `Err` when there is none.
    pub(super) async fn ask(&self, wait: Duration) -> Result<JobStatus> {
        let request = Request::get(&["jobs", &self.id]);
        let request = if wait.is_zero() {
            request
        } else {
            // Whole seconds, rounded up: who waits looks at the clock itself.
            let seconds = wait.as_millis().div_ceil(1000);
            request.query("wait", &seconds.to_string()).within(wait.saturating_add(READ_DEADLINE))
        };
        let status = wire::job(&self.remote, request.json::<Value>(&self.remote).await?)?;
        let mut state = self.lock();
        state.away = None;
        // What was given up stays given up: an end does not change any more.
        if !state.status.state.is_final() {
            state.status = status;
        }
        Ok(state.status.clone())
    }

    /// The server answered.
    pub(super) fn is_there(&self) {
        self.lock().away = None;
    }

    /// Takes note of an error of a question. `Ok` gives it back when it may pass: the server can be asked again.
    pub(super) fn note(&self, error: Error) -> Result<Error> {
        let mut state = self.lock();
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {
                let away = *state.away.get_or_insert_with(Instant::now);
                if away.elapsed() < self.remote.reconnect_deadline {
                    return Ok(error);
                }
                let seconds = self.remote.reconnect_deadline.as_secs();
                let words = format!("the server was away for {seconds} s: {}", error.message());
                state.give_up(ErrorKind::Unavailable, &words);
                Err(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe).with_resource(self.id.clone()))
            }
            // A server that ended has forgotten its jobs.
            ErrorKind::NotFound if !state.status.state.is_final() => {
                let words = "the server does not know the job any more";
                state.give_up(ErrorKind::Unavailable, words);
                Err(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Never).with_resource(self.id.clone()))
            }
            _ => Err(error),
        }
    }

    /// Keeps what was read.
    pub(super) fn keep(&self, chunk: &OutputChunk) {
        let mut state = self.lock();
        if state.kept.back().is_some_and(|last| last.sequence >= chunk.sequence) {
            return;
        }
        state.kept_bytes += chunk.data.len() + PIECE_OVERHEAD;
        state.kept.push_back(chunk.clone());
        while state.kept_bytes > KEPT_MAX && state.kept.len() > 1 {
            if let Some(old) = state.kept.pop_front() {
                state.kept_bytes -= old.data.len() + PIECE_OVERHEAD;
            }
        }
    }

    /// What was read and comes after the piece `after`.
    pub(super) fn kept(&self, after: u64) -> Vec<OutputChunk> {
        self.lock().kept.iter().filter(|chunk| chunk.sequence > after).cloned().collect()
    }
}

impl State {
    fn give_up(&mut self, kind: ErrorKind, words: &str) {
        if self.status.state.is_final() {
            return;
        }
        self.status.state = JobState::Lost;
        self.status.ended_at = Some(Timestamp::now());
        self.status.pid = None;
        self.status.error = Some(words.to_owned());
        self.lost = Some((kind, words.to_owned()));
    }
}
