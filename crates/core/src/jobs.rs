//! What engines lack to be core0's model of a job: ids, a kept and bounded result, output that can be read again,
//! waiting by many, a time limit.
//!
//! An engine that starts a process asks its [`JobKeeper`] for a [`JobSlot`], starts the process, and turns the slot
//! into a job with what it can do to the process ([`JobControl`]) and a stream of what the process does
//! ([`JobProgress`]). The keeper is memory only: a job does not outlive the program that started it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::job::{Job, JobSpec, JobState, JobStatus, OutputOptions};
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, OutputKind, TerminalSize};
use crate::time::Timestamp;

/// How long a killed process may take to be gone before its job is given up as lost.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// How long after the engine has said that a process is gone its end may be awaited.
const END_GRACE: Duration = Duration::from_secs(3);

/// What a process does, as the engine sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobProgress {
    /// Its process id on the node became known.
    Pid(u32),
    /// It wrote something.
    Output(OutputKind, Bytes),
    /// It ended; 128 + n when signal n ended it. Nothing may follow.
    Ended(i32),
}

/// What the engine can do to a running process.
#[async_trait]
pub trait JobControl: Debug + Send + Sync {
    /// Writes to standard input. Called only while it is open, one call at a time.
    async fn write_stdin(&self, data: Bytes) -> Result<()>;
    /// Closes standard input. Called once at most.
    async fn close_stdin(&self) -> Result<()>;
    /// Sets the size of the terminal. Called only when there is one.
    async fn resize(&self, size: TerminalSize) -> Result<()>;
    /// Sends a signal. `NotFound` or `Conflict` when the process is gone, which its end must then tell, too, soon.
    async fn kill(&self, signal: Signal) -> Result<()>;
}

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct JobLimits {
    /// How long a finished job is kept (default one hour).
    pub keep: Duration,
    /// How many jobs are kept in all; the oldest finished ones go first (default 10,000).
    pub max_jobs: usize,
    /// Bytes of output kept per job; the oldest go first (default 1 MiB).
    pub max_output_bytes: usize,
    /// Bytes of output kept in all; when a job is admitted beyond it, the oldest finished jobs lose theirs, but not their
    /// result (default 256 MiB).
    pub max_total_output_bytes: usize,
}

impl Default for JobLimits {
    fn default() -> Self {
        JobLimits {
            keep: Duration::from_secs(3600),
            max_jobs: 10_000,
            max_output_bytes: 1 << 20,
            max_total_output_bytes: 1 << 28,
        }
    }
}

/// A chunk costs about this much beyond its bytes; counted, so that many tiny writes stay bounded, too.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// The jobs of one node.
#[derive(Clone, Debug)]
pub struct JobKeeper {
    shared: Arc<Shared>,
}

/// Where ids and times come from.
#[derive(Clone)]
struct Origin {
    id: Arc<dyn Fn() -> String + Send + Sync>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origin")
    }
}

#[derive(Debug)]
struct Shared {
    node: String,
    limits: JobLimits,
    origin: Origin,
    /// Oldest first: the key is a running number.
    jobs: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_number: BTreeMap<u64, Arc<KeptJob>>,
    by_id: BTreeMap<String, u64>,
}

/// A poisoned lock only says that another thread panicked; the data is still consistent, since no code that may panic
/// runs under the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JobKeeper {
    /// Keeps the jobs of the node called `node`.
    #[must_use]
    pub fn new(node: impl Into<String>, limits: JobLimits) -> Self {
        JobKeeper::with_origin(node, limits, || Uuid::new_v4().simple().to_string(), Timestamp::now)
    }

    /// Like [`JobKeeper::new`], with ids from `id`, which must be unique on the node, and the time from `now`: for
    /// engines whose clock is not this machine's.
    #[must_use]
    pub fn with_origin(
        node: impl Into<String>,
        limits: JobLimits,
        id: impl Fn() -> String + Send + Sync + 'static,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let origin = Origin { id: Arc::new(id), now: Arc::new(now) };
        JobKeeper { shared: Arc::new(Shared { node: node.into(), limits, origin, jobs: Mutex::default() }) }
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> JobLimits {
        self.shared.limits
    }

    /// Makes room for a job. Dropping the slot without starting it leaves nothing behind.
    ///
    /// # Errors
    /// `InvalidInput` for a bad spec, `ResourceExhausted` when as many jobs run as are kept at most.
    pub fn admit(&self, container: Option<&str>, spec: &JobSpec) -> Result<JobSlot> {
        spec.validate()?;
        let mut table = lock(&self.shared.jobs);
        self.shared.evict(&mut table, 1);
        if table.by_number.len() >= self.shared.limits.max_jobs {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("{} jobs run already, which is the limit", table.by_number.len()),
            ));
        }
        let status = JobStatus {
            id: (self.shared.origin.id)(),
            node: self.shared.node.clone(),
            container: container.map(str::to_owned),
            command: spec.command.clone(),
            state: JobState::Queued,
            started_at: (self.shared.origin.now)(),
            ended_at: None,
            exit_code: None,
            pid: None,
            tty: spec.tty,
            output_bytes: 0,
            output_dropped_bytes: 0,
            error: None,
            tags: spec.tags.clone(),
        };
        let job = Arc::new(KeptJob {
            id: status.id.clone(),
            origin: self.shared.origin.clone(),
            max_output_bytes: self.shared.limits.max_output_bytes,
            state: Arc::new(Mutex::new(State {
                status,
                chunks: VecDeque::new(),
                kept_bytes: 0,
                next_sequence: 1,
                signals: Vec::new(),
                timed_out: false,
                stdin_open: spec.stdin,
                control: None,
                ended: None,
                lost: None,
            })),
            stdin: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(0),
        });
        let number = table.next;
        table.next += 1;
        table.by_id.insert(job.id.clone(), number);
        table.by_number.insert(number, Arc::clone(&job));
        drop(table);
        Ok(JobSlot {
            keeper: self.clone(),
            number,
            job,
            begun: false,
            timeout: spec.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        })
    }

    /// The jobs of one container, or all, oldest first.
    #[must_use]
    pub fn list(&self, container: Option<&str>) -> Vec<JobStatus> {
        let mut table = lock(&self.shared.jobs);
        self.shared.evict(&mut table, 0);
        let mut jobs: Vec<JobStatus> = table
            .by_number
            .values()
            .map(|job| lock(&job.state).status.clone())
            .filter(|status| status.state != JobState::Queued)
            .filter(|status| container.is_none_or(|id| status.container.as_deref() == Some(id)))
            .collect();
        // Places are taken in another order than processes start when several are being started at once.
        jobs.sort_by_key(|status| status.started_at);
        jobs
    }

    /// The job with this id.
    ///
    /// # Errors
    /// `NotFound` when it is not known, or not kept any more.
    pub fn get(&self, id: &str) -> Result<Arc<dyn Job>> {
        let mut table = lock(&self.shared.jobs);
        self.shared.evict(&mut table, 0);
        let job = table.by_id.get(id).and_then(|number| table.by_number.get(number));
        match job {
            Some(job) => Ok(Arc::clone(job) as Arc<dyn Job>),
            None => Err(Error::not_found("job", id)),
        }
    }
}

impl Shared {
    /// Lets go of finished jobs whose time is over, and of the oldest finished ones until `room` more fit in.
    fn evict(&self, table: &mut Table, room: usize) {
        let mut surplus = (table.by_number.len() + room).saturating_sub(self.limits.max_jobs);
        let now = Instant::now();
        let gone: Vec<u64> = table
            .by_number
            .iter()
            .filter(|(_, job)| {
                let Some(ended) = lock(&job.state).ended else { return false };
                let over = now.duration_since(ended) >= self.limits.keep;
                let crowded = surplus > 0;
                if over || crowded {
                    surplus = surplus.saturating_sub(1);
                }
                over || crowded
            })
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.forget(table, number);
        }
        let mut kept: usize = table.by_number.values().map(|job| lock(&job.state).kept_bytes).sum();
        for job in table.by_number.values() {
            if kept <= self.limits.max_total_output_bytes {
                break;
            }
            let mut state = lock(&job.state);
            if state.ended.is_some() {
                kept -= state.kept_bytes;
                state.drop_output();
            }
        }
    }

    fn forget(&self, table: &mut Table, number: u64) {
        if let Some(job) = table.by_number.remove(&number) {
            table.by_id.remove(&job.id);
        }
    }
}

/// Room for a job whose process is about to be started.
#[derive(Debug)]
pub struct JobSlot {
    keeper: JobKeeper,
    number: u64,
    job: Arc<KeptJob>,
    begun: bool,
    timeout: Option<Duration>,
}

impl JobSlot {
    /// The id that the job will have.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.job.id
    }

    /// The process has been started. Gives the job, and the future that must be run (spawned) to feed it; the future
    /// ends when the job has ended. When it is dropped before, or `progress` ends without [`JobProgress::Ended`], the
    /// job is `lost`.
    pub fn started(
        mut self,
        control: Arc<dyn JobControl>,
        progress: impl Stream<Item = Result<JobProgress>> + Send + 'static,
    ) -> (Arc<dyn Job>, impl Future<Output = ()> + Send + 'static) {
        let job = Arc::clone(&self.job);
        self.begun = true;
        {
            let mut state = lock(&job.state);
            state.status.state = JobState::Running;
            state.status.started_at = (job.origin.now)();
            state.control = Some(control);
        }
        let feed = Feed { job: Arc::clone(&job) };
        let timeout = self.timeout;
        (job as Arc<dyn Job>, feed.run(progress, timeout))
    }
}

impl Drop for JobSlot {
    fn drop(&mut self) {
        if !self.begun {
            let mut table = lock(&self.keeper.shared.jobs);
            self.keeper.shared.forget(&mut table, self.number);
        }
    }
}

/// Carries what the process does into the job, and marks the job as lost when it is dropped too early.
struct Feed {
    job: Arc<KeptJob>,
}

impl Feed {
    async fn run(self, progress: impl Stream<Item = Result<JobProgress>> + Send, limit: Option<Duration>) {
        let mut progress = std::pin::pin!(progress);
        let started = Instant::now();
        // Beyond any real limit the timer would overflow; such a job has none.
        let mut deadline = limit.and_then(|limit| started.checked_add(limit));
        loop {
            let next = match deadline {
                None => progress.next().await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        next = progress.next() => next,
                        () = sleep_until(at) => {
                            if self.job.time_is_up().await {
                                deadline = Instant::now().checked_add(KILL_GRACE);
                                continue;
                            }
                            self.job.lose(Error::new(ErrorKind::DeadlineExceeded, "its time was up and it could not be killed"));
                            return;
                        }
                    }
                }
            };
            match next {
                Some(Ok(JobProgress::Pid(pid))) => self.job.change(|state| state.status.pid = Some(pid)),
                Some(Ok(JobProgress::Output(kind, data))) => self.job.append(kind, &data),
                Some(Ok(JobProgress::Ended(exit_code))) => {
                    self.job.end(exit_code);
                    return;
                }
                Some(Err(error)) => {
                    self.job.lose(error);
                    return;
                }
                None => {
                    self.job.lose(Error::new(ErrorKind::Unavailable, "the engine stopped telling about the job"));
                    return;
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.job.lose(Error::new(ErrorKind::Cancelled, "the program that watched the job ended"));
    }
}

#[derive(Debug)]
struct KeptJob {
    id: String,
    origin: Origin,
    max_output_bytes: usize,
    state: Arc<Mutex<State>>,
    /// One writer at a time, so that pieces of input do not mix.
    stdin: tokio::sync::Mutex<()>,
    /// Counts the changes; readers wait on it.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    status: JobStatus,
    chunks: VecDeque<OutputChunk>,
    kept_bytes: usize,
    next_sequence: u64,
    /// Signals that were sent, which tell `killed` from `failed`.
    signals: Vec<Signal>,
    timed_out: bool,
    stdin_open: bool,
    /// Gone once the job has ended.
    control: Option<Arc<dyn JobControl>>,
    ended: Option<Instant>,
    /// Why it was lost: kind and words.
    lost: Option<(ErrorKind, String)>,
}

impl State {
    /// Lets go of the kept output, and counts it as dropped.
    fn drop_output(&mut self) {
        let dropped: u64 = self.chunks.iter().map(|chunk| chunk.data.len() as u64).sum();
        self.status.output_dropped_bytes += dropped;
        self.chunks = VecDeque::new();
        self.kept_bytes = 0;
    }
}

impl KeptJob {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn append(&self, kind: OutputKind, data: &Bytes) {
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

    fn end(&self, exit_code: i32) {
        self.finish(|state| {
            state.status.exit_code = Some(exit_code);
            let killed = state.signals.iter().any(|signal| exit_code == 128 + i32::from(signal.number()));
            state.status.state = if state.timed_out {
                JobState::TimedOut
            } else if killed {
                JobState::Killed
            } else if exit_code == 0 {
                JobState::Succeeded
            } else {
                JobState::Failed
            };
        });
    }

    #[allow(clippy::needless_pass_by_value, reason = "the error ends here")]
    fn lose(&self, error: Error) {
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

    /// The time limit has passed: kills. `false` when that was done before already.
    async fn time_is_up(&self) -> bool {
        let control = {
            let mut state = lock(&self.state);
            if std::mem::replace(&mut state.timed_out, true) {
                return false;
            }
            state.control.clone()
        };
        if let Some(control) = control {
            // Whether it worked shows in the end that follows, or does not.
            let _ = timeout(KILL_GRACE, control.kill(Signal::KILL)).await;
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

/// Gives a job's output to one caller. It holds what is kept of the output, not the process.
struct Reader {
    state: Arc<Mutex<State>>,
    changes: watch::Receiver<u64>,
    after: u64,
    follow: bool,
    batch: VecDeque<OutputChunk>,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<OutputChunk>, Reader)> {
        loop {
            if let Some(chunk) = self.batch.pop_front() {
                self.after = chunk.sequence;
                return Some((Ok(chunk), self));
            }
            if self.over {
                return None;
            }
            self.changes.borrow_and_update();
            {
                let state = lock(&self.state);
                // Chunks are numbered without gaps, so the first wanted one is found by counting.
                let first = state.chunks.front().map_or(state.next_sequence, |chunk| chunk.sequence);
                let skip = usize::try_from(self.after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
                // A bounded batch: a slow reader holds no more than this.
                self.batch.extend(state.chunks.iter().skip(skip).take(256).cloned());
                if self.batch.is_empty() {
                    if let Some((kind, message)) = state.lost.clone() {
                        self.over = true;
                        drop(state);
                        return Some((Err(Error::new(kind, message)), self));
                    }
                    self.over = state.ended.is_some() || !self.follow;
                }
            }
            if self.batch.is_empty() && !self.over && self.changes.changed().await.is_err() {
                // The job is not kept any more, so it had ended.
                self.over = true;
            }
        }
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
        let reader = Reader {
            state: Arc::clone(&self.state),
            changes: self.changed.subscribe(),
            after: options.after,
            follow: options.follow,
            batch: VecDeque::new(),
            over: false,
        };
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

#[cfg(test)]
mod tests;
