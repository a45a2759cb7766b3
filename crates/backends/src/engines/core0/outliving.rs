//! Processes that outlive the one that a job is.
//!
//! A node tells the end of a job when its process has ended *and* nobody holds the process's output open any more (the waiting
//! for both stands in core0's `base/pm/systemprocess.go`). A child that was left behind holds it, so that the end would not be
//! told before the child's. Everywhere else a process that has ended has ended: what is left of a main process, and of a job
//! that was killed, is ended here, and then the node tells the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ErrorKind, Result, Signal, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use super::commands::Commands;
use super::commands::process::Process;
use super::ended;
use super::processes;
use super::record;
use super::settle::{self, Fate};
use super::shared::Core0;

/// All that comes of a job has this in its environment, with the job's id.
pub(super) const MARK: &str = "ROADSTEAD_JOB";
/// Between two looks for a process that was sent a signal.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A result follows the end of its process within this when nobody holds its output.
const RESULT: Duration = Duration::from_millis(300);
/// A process that lives on so long after a signal is not waited for any more.
const AFTER_SIGNAL: Duration = Duration::from_secs(60);
/// How often it is looked whether main processes live.
const LOOK: Duration = Duration::from_secs(3);
/// Starts of processes are told to a tick of the kernel, starts of jobs to the millisecond.
const SLACK: Duration = Duration::from_secs(2);
/// An environment is shorter: the kernel's own limit.
const ENVIRONMENT_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// So many are looked at, or ended, at once.
const AT_ONCE: usize = 8;

/// Waits until the job's own process is gone while the node still has the job. False as soon as it has it no more.
pub(super) async fn outlived(commands: &Commands, job: &str) -> Result<bool> {
    let mut first: Option<Process> = None;
    let mut pause = PAUSE;
    loop {
        let Some(listed) = settle::listed(commands, job).await? else { return Ok(false) };
        if let Some(pid) = listed.pid {
            let now = commands.processes().get(pid).await?;
            // Another process may have got the number.
            let same = |now: &Process| first.as_ref().is_none_or(|first| first.started_at == now.started_at);
            match now {
                Some(now) if same(&now) => first = Some(now),
                _ => {
                    sleep(RESULT).await;
                    return Ok(settle::listed(commands, job).await?.is_some());
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// After a job was sent a signal: should its process end and leave others behind, these are ended, so that the job can end.
pub(super) fn after_signal(commands: Commands, job: String) {
    tokio::spawn(async move {
        let ended = timeout(AFTER_SIGNAL, async {
            let since = settle::listed(&commands, &job).await?.and_then(|listed| listed.started_at);
            if outlived(&commands, &job).await? { end_marked(&commands, &job, since).await } else { Ok(()) }
        });
        if let Ok(Err(error)) = ended.await {
            tracing::debug!(job, %error, "what a job has left behind could not be ended");
        }
    });
}

/// Ends all that came of a job, told by the mark in the environment.
async fn end_marked(commands: &Commands, job: &str, since: Option<Timestamp>) -> Result<()> {
    let young = |process: &Process| match (since, process.started_at) {
        (Some(since), Some(at)) => at.saturating_add(SLACK) >= since,
        _ => true,
    };
    let listed = commands.processes().list().await?;
    let pids = listed.into_iter().filter(|process| process.pid > 1 && young(process)).map(|process| process.pid);
    let wanted = format!("{MARK}={job}").into_bytes();
    let ends = pids.map(|pid| {
        let (commands, wanted) = (commands.clone(), &wanted);
        async move {
            let path = format!("/proc/{pid}/environ");
            let environment = match commands.filesystem().read_file(&path, ENVIRONMENT_MAX_BYTES).await {
                Ok(environment) => environment,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_slice()) {
                return end(&commands, pid).await;
            }
            Ok(())
        }
    });
    stream::iter(ends).buffer_unordered(AT_ONCE).collect::<Vec<Result<()>>>().await.into_iter().collect()
}

/// Ends these processes. That one has ended by itself is no error.
pub(super) async fn end_all(commands: &Commands, pids: impl IntoIterator<Item = u32>) -> Result<()> {
    let ends = pids.into_iter().map(|pid| end(commands, pid));
    stream::iter(ends).buffer_unordered(AT_ONCE).collect::<Vec<Result<()>>>().await.into_iter().collect()
}

async fn end(commands: &Commands, pid: u32) -> Result<()> {
    match commands.processes().kill(pid, Signal::KILL).await {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.message().contains("no such process")
}

/// The main processes that are looked after, by the marks of their containers, with the run; and the node's processes as they
/// were listed last, which all of them ask for.
#[derive(Debug, Default)]
pub(super) struct Watched {
    runs: Mutex<BTreeMap<String, u64>>,
    listed: tokio::sync::Mutex<Option<(Instant, Arc<Vec<Process>>)>>,
}

impl Watched {
    /// False when it is looked after already.
    fn begin(&self, mark: &str, run: u64) -> bool {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.to_owned(), run) != Some(run)
    }

    fn has(&self, mark: &str, run: u64) -> bool {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(mark) == Some(&run)
    }

    fn end(&self, mark: &str, run: u64) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.get(mark) == Some(&run) {
            runs.remove(mark);
        }
    }

    pub(super) fn forget(&self, mark: &str) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(mark);
    }

    /// The node's processes, one list for all who ask within a look.
    async fn processes(&self, host: &Commands) -> Result<Arc<Vec<Process>>> {
        let mut listed = self.listed.lock().await;
        if let Some((at, processes)) = &*listed
            && at.elapsed() < LOOK
        {
            return Ok(Arc::clone(processes));
        }
        let at = Instant::now();
        let processes = Arc::new(host.processes().list().await?);
        *listed = Some((at, Arc::clone(&processes)));
        Ok(processes)
    }
}

/// Looks after a main process: once it has ended, all else in its container is ended. Nodes tell of nothing, so they are asked,
/// once every few seconds for all containers together.
pub(super) fn watch(core0: &Arc<Core0>, mark: &str, container: u64, run: u64) {
    if !core0.watched.begin(mark, run) {
        return;
    }
    let (weak, mark) = (Arc::downgrade(core0), mark.to_owned());
    tokio::spawn(async move {
        let watched = Watch { core0: weak, mark, container, run };
        if let Err(error) = watched.to_the_end().await {
            tracing::debug!(container, %error, "a main process is not looked after any more");
        }
        if let Some(core0) = watched.core0.upgrade() {
            core0.watched.end(&watched.mark, run);
        }
    });
}

struct Watch {
    /// The node itself is not held: a program that lets go of it ends this.
    core0: Weak<Core0>,
    mark: String,
    container: u64,
    run: u64,
}

/// A main process, as the node sees it and as it is seen in its container.
struct Main {
    outer: Process,
    inner: Process,
}

fn same(one: &Process, other: &Process) -> bool {
    (one.pid, one.started_at) == (other.pid, other.started_at)
}

impl Watch {
    async fn to_the_end(&self) -> Result<()> {
        let mut main: Option<Main> = None;
        loop {
            sleep(LOOK).await;
            let Some(core0) = self.core0.upgrade() else { return Ok(()) };
            if !core0.watched.has(&self.mark, self.run) {
                return Ok(());
            }
            match self.look(&core0, &mut main).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // A connection that is broken comes back.
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// False when there is nothing to look after any more.
    async fn look(&self, core0: &Arc<Core0>, main: &mut Option<Main>) -> Result<bool> {
        if let Some(main) = main {
            let listed = core0.watched.processes(core0.host.commands()).await?;
            if listed.iter().any(|process| same(process, &main.outer)) {
                return Ok(true);
            }
        }
        let inside = core0.inside(self.container);
        let Some(job) = settle::listed(&inside, &settle::job_id(&self.mark, self.run)).await? else {
            return self.gone(core0).await;
        };
        let Some(pid) = job.pid else { return Ok(true) };
        let lives = inside.processes().get(pid).await?;
        let lives = lives.filter(|lives| main.as_ref().is_none_or(|main| same(lives, &main.inner)));
        let Some(inner) = lives else { return self.ended(core0).await };
        let all = core0.host.containers().list().await?;
        let Some(container) = all.into_iter().find(|container| container.id == self.container) else {
            return Ok(false);
        };
        *main = processes::outer(core0, container.pid, pid).await?.map(|outer| Main { outer, inner });
        Ok(true)
    }

    /// The container does not have the job. Its result tells the rest; where there is none the run is lost, though a flag of an
    /// older day may say that it goes on.
    async fn gone(&self, core0: &Arc<Core0>) -> Result<bool> {
        let job = settle::job_id(&self.mark, self.run);
        let fate = settle::fate(core0, self.container, &job).await?;
        let _one_at_a_time = core0.lock(&self.mark).await;
        let record = record::read(&core0.client.links, &[&self.mark]).await?.pop().unwrap_or_default();
        let confirmed = record.run.as_ref().is_some_and(|run| run.number == self.run && run.confirmed);
        if !confirmed || record.end().is_some() {
            return Ok(false);
        }
        match fate {
            Fate::Runs => return Ok(true),
            Fate::Ended(outcome) => {
                let end = ended::of(self.run, &outcome, record.signal());
                settle::finish(core0, &self.mark, self.container, &end).await?;
            }
            Fate::Lost => settle::lose(core0, &self.mark, self.container, self.run).await?,
        }
        Ok(false)
    }

    /// The main process is gone: what is left in the container ends, unless the run has ended or the next one has begun.
    async fn ended(&self, core0: &Arc<Core0>) -> Result<bool> {
        sleep(RESULT).await;
        let _one_at_a_time = core0.lock(&self.mark).await;
        let record = record::read(&core0.client.links, &[&self.mark]).await?.pop().unwrap_or_default();
        let present = record.run.as_ref().is_some_and(|run| run.number == self.run) && record.end().is_none();
        let job = settle::job_id(&self.mark, self.run);
        if present && settle::listed(&core0.inside(self.container), &job).await?.is_some() {
            settle::clear(core0, self.container).await?;
        }
        Ok(false)
    }
}
