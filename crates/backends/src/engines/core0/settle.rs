//! What must be done when a main process has ended, and what can be found out when the records do not say.
//!
//! Everything in a container ends with its main process, as on other engines; the node itself would let it run on.

use std::sync::Arc;

use roadstead_core::{ErrorKind, Result};

use super::commands::Commands;
use super::commands::job::Job;
use super::kept::Kept;
use super::outliving;
use super::record::{self, End, Run};
use super::shared::Core0;

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

/// Whether the container knows this job.
pub(super) async fn runs(core0: &Core0, container: u64, id: &str) -> Result<bool> {
    Ok(listed(&core0.inside(container), id).await?.is_some())
}

/// Which run a container of ours is in, told by the jobs in it.
pub(super) async fn recover(core0: &Core0, container: u64, kept: &Kept) -> Result<Run> {
    let jobs = core0.inside(container).jobs().list().await?;
    let number = |job: &Job| job.command.id.strip_prefix(&kept.mark)?.strip_prefix('-')?.parse::<u64>().ok();
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
    let present = record.run.as_ref().is_some_and(|run| run.number == end.run);
    if !present || record.end().is_some() {
        return Ok(());
    }
    clear(core0, container).await?;
    record::write_end(links, mark, end).await
}

/// Ends every process in the container but its own agent.
pub(super) async fn clear(core0: &Core0, container: u64) -> Result<()> {
    let inside = core0.inside(container);
    let left = inside.processes().list().await?;
    let pids: Vec<u32> = left.iter().map(|process| process.pid).filter(|pid| *pid > 1).collect();
    outliving::end_all(&inside, pids).await
}
