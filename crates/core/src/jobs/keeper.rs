//! The jobs of a node: room for new ones, and which are kept how long.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::Stream;
use tokio::time::Instant;
use uuid::Uuid;

use super::feed::Feed;
use super::kept::KeptJob;
use super::{JobControl, JobLimits, JobProgress, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Job, JobSpec, JobState, JobStatus};
use crate::time::Timestamp;

/// The jobs of one node.
#[derive(Clone, Debug)]
pub struct JobKeeper {
    shared: Arc<Shared>,
}

/// Where ids and times come from.
#[derive(Clone)]
pub(super) struct Origin {
    id: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
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
        let (origin, bytes) = (self.shared.origin.clone(), self.shared.limits.max_output_bytes);
        let job = Arc::new(KeptJob::queued(status, spec.stdin, origin, bytes));
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
    /// ends when the job has ended. When it is dropped before, or `progress` ends before it told an end, the
    /// job is `lost`.
    pub fn started(
        mut self,
        control: Arc<dyn JobControl>,
        progress: impl Stream<Item = Result<JobProgress>> + Send + 'static,
    ) -> (Arc<dyn Job>, impl Future<Output = ()> + Send + 'static) {
        let job = Arc::clone(&self.job);
        self.begun = true;
        job.begin(control);
        let feed = Feed::new(Arc::clone(&job));
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
