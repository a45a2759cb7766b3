//! A job as it is kept: its state, its output, and the verbs on it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::keeper::Origin;
use super::reader::Reader;
use super::{JobControl, KILL_GRACE, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Job, JobState, JobStatus, OutputOptions};
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, OutputKind, TerminalSize};

/// How long after the engine has said that a process is gone its end may be awaited.
const END_GRACE: Duration = Duration::from_secs(3);

/// A chunk costs about this much beyond its bytes; counted, so that many tiny writes stay bounded, too.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// A job of the keeper.
#[derive(Debug)]
pub(super) struct KeptJob {
    pub(super) id: String,
    origin: Origin,
    max_output_bytes: usize,
    pub(super) state: Arc<Mutex<State>>,
    /// One writer at a time, so that pieces of input do not mix.
    stdin: tokio::sync::Mutex<()>,
    /// Counts the changes; readers wait on it.
    changed: watch::Sender<u64>,
}

/// What changes of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) status: JobStatus,
    pub(super) chunks: VecDeque<OutputChunk>,
    pub(super) kept_bytes: usize,
    pub(super) next_sequence: u64,
    /// Signals that were sent, which tell `killed` from `failed`.
    signals: Vec<Signal>,
    timed_out: bool,
    /// Whether it was killed for that, for all that is known.
    was_killed: bool,
    stdin_open: bool,
    /// Gone once the job has ended.
    control: Option<Arc<dyn JobControl>>,
    pub(super) ended: Option<Instant>,
    /// Why it was lost: kind and words.
    pub(super) lost: Option<(ErrorKind, String)>,
}

impl State {
    /// Lets go of the kept output, and counts it as dropped.
    pub(super) fn drop_output(&mut self) {
        let dropped: u64 = self.chunks.iter().map(|chunk| chunk.data.len() as u64).sum();
        self.status.output_dropped_bytes += dropped;
        self.chunks = VecDeque::new();
        self.kept_bytes = 0;
    }
}

impl KeptJob {
    /// A job whose process is about to be started.
    pub(super) fn queued(status: JobStatus, stdin_open: bool, origin: Origin, max_output_bytes: usize) -> Self {
        KeptJob {
            id: status.id.clone(),
            origin,
            max_output_bytes,
            state: Arc::new(Mutex::new(State {
                status,
                chunks: VecDeque::new(),
                kept_bytes: 0,
                next_sequence: 1,
                signals: Vec::new(),
                timed_out: false,
                was_killed: false,
                stdin_open,
                control: None,
                ended: None,
                lost: None,
            })),
            stdin: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(0),
        }
    }

    /// Its process has been started.
    pub(super) fn begin(&self, control: Arc<dyn JobControl>) {
        let mut state = lock(&self.state);
        state.status.state = JobState::Running;
        state.status.started_at = (self.origin.now)();
        state.control = Some(control);
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn append(&self, kind: OutputKind, data: &Bytes) {
        if data.is_empty() {
            return;
        }
        self.change(|state| {
            // Copied: the piece may be a window into a much larger buffer, which would be kept alive.
            let chunk = OutputChunk::new(state.next_sequence, kind, Bytes::copy_from_slice(data));
            state.next_sequence += 1;
            state.status.output_bytes += data.len() as u64;
            state.kept_bytes += data.len() + CHUNK_OVERHEAD_BYTES;
            state.chunks.push_back(chunk);
            // The newest chunk stays even if it alone is over the bound.
            while state.kept_bytes > self.max_output_bytes && state.chunks.len() > 1 {
                if let Some(old) = state.chunks.pop_front() {
                    state.kept_bytes -= old.data.len() + CHUNK_OVERHEAD_BYTES;
                    state.status.output_dropped_bytes += old.data.len() as u64;
                }
            }
        });
    }

    /// Without an exit code where none was told; then it is no success.
    pub(super) fn end(&self, exit_code: Option<i32>, timed_out: bool) {
        self.finish(|state| {
            state.status.exit_code = exit_code;
            let ended_it = |signal: &Signal| match exit_code {
                Some(code) => code == 128 + i32::from(signal.number()),
                // No process can do anything else about it.
                None => *signal == Signal::KILL,
            };
            let killed = state.signals.iter().any(ended_it);
            state.status.state = if state.timed_out || timed_out {
                JobState::TimedOut
            } else if killed {
                JobState::Killed
            } else if exit_code == Some(0) {
                JobState::Succeeded
            } else {
                JobState::Failed
            };
        });
    }

    #[allow(clippy::needless_pass_by_value, reason = "the error ends here")]
    pub(super) fn lose(&self, error: Error) {
        self.finish(|state| {
            state.status.state = JobState::Lost;
            state.status.error = Some(error.to_string());
            state.lost = Some((error.kind(), error.to_string()));
        });
    }

    /// Does nothing when the job has ended already.
    fn finish(&self, finish: impl FnOnce(&mut State)) {
        self.change(|state| {
            if state.ended.is_none() {
                finish(state);
                state.status.ended_at = Some((self.origin.now)());
                state.status.pid = None;
                state.ended = Some(Instant::now());
                state.control = None;
                state.stdin_open = false;
            }
        });
    }

    /// The time limit has passed: kills. `false` when that was done before already. An engine that cannot be reached is told
    /// again the next time: it has said nothing about the job.
    pub(super) async fn time_is_up(&self) -> bool {
        let control = {
            let mut state = lock(&self.state);
            state.timed_out = true;
            if std::mem::replace(&mut state.was_killed, true) {
                return false;
            }
            state.control.clone()
        };
        if let Some(control) = control {
            // Whether it worked shows in the end that follows, or does not.
            let killed = timeout(KILL_GRACE, control.kill(Signal::KILL)).await;
            if matches!(&killed, Ok(Err(error)) if error.kind() == ErrorKind::Unavailable) {
                lock(&self.state).was_killed = false;
            }
        }
        true
    }

    fn control(&self) -> Result<Arc<dyn JobControl>> {
        lock(&self.state).control.clone().ok_or_else(|| self.conflict("has ended"))
    }

    fn conflict(&self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("job {} {why}", self.id)).with_resource(self.id.clone())
    }

    fn snapshot(&self) -> JobStatus {
        lock(&self.state).status.clone()
    }
}

#[async_trait]
impl Job for KeptJob {
    fn id(&self) -> &str {
        &self.id
    }

    async fn status(&self) -> Result<JobStatus> {
        Ok(self.snapshot())
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        let reader = Reader::new(Arc::clone(&self.state), self.changed.subscribe(), options);
        Ok(stream::unfold(reader, Reader::next).fuse().boxed())
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let _one_at_a_time = self.stdin.lock().await;
        let control = self.control()?;
        if !lock(&self.state).stdin_open {
            return Err(self.conflict("has no open standard input"));
        }
        control.write_stdin(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        let _one_at_a_time = self.stdin.lock().await;
        let control = {
            let mut state = lock(&self.state);
            if !std::mem::replace(&mut state.stdin_open, false) {
                return Ok(());
            }
            state.control.clone()
        };
        match control {
            Some(control) => control.close_stdin().await,
            None => Ok(()),
        }
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        size.validate()?;
        if !self.snapshot().tty {
            return Err(self.conflict("has no terminal"));
        }
        self.control()?.resize(size).await
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        // Noted first: the end may be told before the call returns.
        let control = {
            let mut state = lock(&self.state);
            let Some(control) = state.control.clone() else { return Ok(()) };
            state.signals.push(signal);
            control
        };
        match control.kill(signal).await {
            Ok(()) => Ok(()),
            Err(error) => {
                {
                    let mut state = lock(&self.state);
                    if let Some(index) = state.signals.iter().rposition(|sent| *sent == signal) {
                        state.signals.remove(index);
                    }
                }
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) {
                    // Only its end proves that it is gone, and may be on its way still.
                    let mut changes = self.changed.subscribe();
                    let _ = timeout(END_GRACE, changes.wait_for(|_| lock(&self.state).ended.is_some())).await;
                }
                if lock(&self.state).ended.is_some() { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        let mut changes = self.changed.subscribe();
        let ended = changes.wait_for(|_| lock(&self.state).ended.is_some());
        match timeout(deadline, ended).await {
            Ok(_) => {}
            Err(_) => {
                return Err(Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("job {} has not ended within {} s", self.id, deadline.as_secs_f64()),
                )
                .with_resource(self.id.clone()));
            }
        }
        let state = lock(&self.state);
        match &state.lost {
            None => Ok(state.status.clone()),
            Some((kind, message)) => Err(Error::new(*kind, message.clone()).with_resource(self.id.clone())),
        }
    }
}
