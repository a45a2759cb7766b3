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

/// Ends what is left in the container and writes the end down. The caller holds the container's lock.
pub(super) async fn finish(core0: &Core0, mark: &str, container: u64, end: &End) -> Result<()> {
    let links = &core0.client.links;
    let record = record::read(links, &[mark]).await?.pop().unwrap_or_default();
    let Some(run) = &record.run else { return finish_forgotten(core0, mark, container, end).await };
    if run.number != end.run || record.end().is_some() {
        return Ok(());
    }
    clear(core0, container).await?;
    record::write_end(links, mark, end).await
}

/// The same when there is no record: the Redis has lost it, unless the container is gone and its record with it.
async fn finish_forgotten(core0: &Core0, mark: &str, container: u64, end: &End) -> Result<()> {
    let all = core0.host.containers().list().await?;
    // A node that was started anew counts from the beginning.
    let ours = |arguments| kept::mark(arguments).as_deref() == Some(mark);
    if !all.iter().any(|listed| listed.id == container && ours(&listed.arguments)) {
        return Ok(());
    }
    let known = recover(core0, container, mark).await?;
    if known.number > end.run {
        return Ok(());
    }
    clear(core0, container).await?;
    record::write_end(&core0.client.links, mark, end).await?;
    // Last, so that nobody takes a run for one that goes on.
    let known = Some(known).filter(|known| known.number == end.run).unwrap_or_default();
    record::write_run(&core0.client.links, mark, &Run { number: end.run, confirmed: true, ..known }).await
}

/// Writes down that a run is lost, unless the container is in a later one that its record does not know of. The caller holds
/// the container's lock.
pub(super) async fn lose(core0: &Core0, mark: &str, container: u64, run: u64) -> Result<()> {
    let known = recover(core0, container, mark).await?;
    if known.job.is_some() && known.number > run {
        return record::write_run(&core0.client.links, mark, &known).await;
    }
    finish(core0, mark, container, &ended::unknown(run)).await
}

/// Ends every process in the container but its own agent.
pub(super) async fn clear(core0: &Core0, container: u64) -> Result<()> {
    let inside = core0.inside(container);
    let left = inside.processes().list().await?;
    let pids: Vec<u32> = left.iter().map(|process| process.pid).filter(|pid| *pid > 1).collect();
    outliving::end_all(&inside, pids).await
}
