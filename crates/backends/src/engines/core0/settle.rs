//! What must be done when a main process has ended, and what can be found out when the records do not say.
//!
//! Everything in a container ends with its main process, as on other engines; the node itself would let it run on.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use tokio::time::sleep;

use super::commands::Commands;
use super::commands::job::Job;
use super::ended;
use super::kept;
use super::outcome::Outcome;
use super::outliving;
use super::record::{self, End, Run};
use super::shared::Core0;

/// Between the look for a job and the look for the result that it may have left.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// So many runs later than the one that is known are looked for.
const AHEAD: u64 = 16;

/// The job of this run.
pub(super) fn job_id(mark: &str, run: u64) -> String {
    format!("{mark}-{run}")
}

/// The job, if it is there.
pub(super) async fn listed(commands: &Commands, id: &str) -> Result<Option<Job>> {
    match commands.jobs().get(id).await {
        Ok(job) => Ok(Some(job)),
        Err(error) if error.message().contains("Process with id") => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound && error.message().contains(id) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What has become of a job, whatever its flag says: a Redis that was started anew may have lost it, or have that of an older
/// day.
#[derive(Debug)]
pub(super) enum Fate {
    /// The container has it.
    Runs,
    /// It has left its result.
    Ended(Box<Outcome>),
    /// There is neither the job nor a result.
    Lost,
}

/// Finds it out, asking the container first.
pub(super) async fn fate(core0: &Core0, container: u64, job: &str) -> Result<Fate> {
    if listed(&core0.inside(container), job).await?.is_some() {
        return Ok(Fate::Runs);
    }
    if let Some(outcome) = core0.client.peek(job).await? {
        return Ok(Fate::Ended(Box::new(outcome)));
    }
    sleep(LAST_LOOK).await;
    Ok(core0.client.peek(job).await?.map_or(Fate::Lost, |outcome| Fate::Ended(Box::new(outcome))))
}

/// Which run a container of ours is in, told by the jobs in it.
pub(super) async fn recover(core0: &Core0, container: u64, mark: &str) -> Result<Run> {
    let jobs = core0.inside(container).jobs().list().await?;
    let number = |job: &Job| job.command.id.strip_prefix(mark)?.strip_prefix('-')?.parse::<u64>().ok();
    let run = jobs.iter().filter_map(|job| Some((number(job)?, job))).max_by_key(|(number, _)| *number);
    Ok(match run {
        Some((number, job)) => {
            Run { number, job: Some(job.command.id.clone()), begun_at: job.started_at, confirmed: true }
        }
        None => Run { number: 1, job: None, begun_at: None, confirmed: true },
    })
}

/// How the last run after this one ended, as far as the node still has its result.
pub(super) async fn later(core0: &Core0, mark: &str, run: u64) -> Result<Option<End>> {
    // Records are what somebody has written.
    let runs = run.saturating_add(1)..=run.saturating_add(AHEAD);
    let ids: Vec<String> = runs.clone().map(|run| job_id(mark, run)).collect();
    let last = core0.client.peek_last(&ids).await?;
    Ok(last.and_then(|(place, outcome)| Some(ended::of(runs.clone().nth(place)?, &outcome, None))))
}

/// Writes an end down, unless whoever follows the main process does so.
pub(super) fn soon(core0: &Arc<Core0>, mark: &str, container: u64, end: &End) {
    if core0.followed.run(mark) == Some(end.run) {
        return;
    }
    let (core0, mark, end) = (Arc::clone(core0), mark.to_owned(), end.clone());
    tokio::spawn(async move {
        let _one_at_a_time = core0.lock(&mark).await;
        if let Err(error) = finish(&core0, &mark, container, &end).await {
            tracing::debug!(container, %error, "the end of a main process could not be written down");
        }
    });
}

/// Ends what is left in the container and writes the end down, unless the container is in a later run, which its record may not
/// know of. The caller holds the container's lock.
pub(super) async fn finish(core0: &Core0, mark: &str, container: u64, end: &End) -> Result<()> {
    let links = &core0.client.links;
    let record = record::read(links, &[mark]).await?.pop().unwrap_or_default();
    let is_known = match &record.run {
        Some(run) if run.number > end.run => return Ok(()),
        Some(run) if run.number == end.run && record.end().is_some() => return Ok(()),
        Some(run) => run.number == end.run,
        None => false,
    };
    // The Redis has lost it, unless the container is gone and its record with it.
    if !is_known && !is_there(core0, mark, container).await? {
        return Ok(());
    }
    let inside = core0.inside(container);
    // In this order: of a run that is not listed then, none of the processes that were there before can be.
    let left = others(&inside).await?;
    let known = recover(core0, container, mark).await?;
    if known.job.is_some() && known.number > end.run {
        return record::write_run(links, mark, &known).await;
    }
    outliving::end_all(&inside, left).await?;
    record::write_end(links, mark, end).await?;
    if is_known {
        return Ok(());
    }
    // Last, so that nobody takes a run for one that goes on.
    let ended = || Run { job: Some(job_id(mark, end.run)), ..Run::ended(end.run) };
    let known = Some(known).filter(|known| known.number == end.run && known.job.is_some()).unwrap_or_else(ended);
    record::write_run(links, mark, &known).await
}

/// Whether the container has this mark: a node that was started anew counts from the beginning.
async fn is_there(core0: &Core0, mark: &str, container: u64) -> Result<bool> {
    let all = core0.host.containers().list().await?;
    let ours = |arguments| kept::mark(arguments).as_deref() == Some(mark);
    Ok(all.iter().any(|listed| listed.id == container && ours(&listed.arguments)))
}

/// Ends every process in the container but its own agent.
pub(super) async fn clear(core0: &Core0, container: u64) -> Result<()> {
    let inside = core0.inside(container);
    outliving::end_all(&inside, others(&inside).await?).await
}

/// Every process in a container but its own agent.
async fn others(inside: &Commands) -> Result<Vec<u32>> {
    let all = inside.processes().list().await?;
    Ok(all.iter().map(|process| process.pid).filter(|pid| *pid > 1).collect())
}
