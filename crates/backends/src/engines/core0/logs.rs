//! What main processes wrote: of those that this program follows, all that is kept of it; of others, what the node still has.
//!
//! A node keeps the last thousand entries of a command for a minute after the last one, and the end of the output in the
//! result for five. Whoever started a main process takes its entries out of the node's list, so nobody else does: they are
//! read without being taken, and what comes is asked for as a copy (`core.subscribe`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use redis::Pipeline;
use roadstead_core::{Error, ItemStream, LogOptions, LogRecord, Result, Timestamp};
use tokio::time::timeout;

use super::Scope;
use super::following::{chosen, lines, tail};
use super::found::{self, Found};
use super::progress::{Progress, Step};
use super::shared::Core0;
use super::streams::Entry;

/// The last words of a process come within this after its end.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// C140 to C144.
pub(super) async fn logs(core0: &Arc<Core0>, id: &str, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
    options.validate()?;
    let found = found::one(core0, id).await?;
    let Some(kept) = &found.kept else {
        return Err(Error::unsupported("logs of a container that was not made here: it has no main process"));
    };
    if let Some(log) = core0.followed.log(&kept.mark) {
        if found.main_job().is_none() {
            // That it has ended may be known before its last words have come.
            let _ = timeout(LAST_WORDS, core0.followed.ended(&kept.mark, found.run.number)).await;
        }
        return Ok(log.read(options));
    }
    let Some(job) = found.run.job.clone() else { return Ok(stream::empty().boxed()) };
    let entries = left(core0, &found, &job).await?;
    let last = entries.iter().filter_map(|entry| entry.time).max();
    let kept: Vec<LogRecord> = entries.iter().flat_map(lines).filter_map(|line| chosen(&line, options)).collect();
    let kept = stream::iter(tail(kept, options.tail)).map(Ok);
    if !options.follow || found.main_job().is_none() {
        return Ok(kept.boxed());
    }
    Ok(kept.chain(live(core0, &found, &job, last, options).await?).boxed())
}

/// What the node still has of a job's output.
async fn left(core0: &Core0, found: &Found, job: &str) -> Result<Vec<Entry>> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("LRANGE").arg(format!("stream:{job}")).arg(0).arg(-1);
    let (documents,): (Vec<Vec<u8>>,) = core0.client.links.read(&pipeline).await?;
    let entries: Vec<Entry> = documents.iter().filter_map(|document| Entry::parse(document)).collect();
    if !entries.is_empty() || found.main_job().is_some() {
        return Ok(entries);
    }
    let Some(outcome) = core0.client.peek(job).await? else { return Ok(Vec::new()) };
    let (stdout, stderr) = outcome.streams.clone().unwrap_or_default();
    let entry = |(level, text)| Entry {
        text,
        level,
        end: None,
        time: outcome.started_at,
        job: job.to_owned(),
        container: found.container.id,
    };
    Ok([(1, stdout), (2, stderr)].map(entry).into_iter().collect())
}

/// A copy of what comes, without what was there before.
async fn live(
    core0: &Arc<Core0>,
    found: &Found,
    job: &str,
    last: Option<Timestamp>,
    options: &LogOptions,
) -> Result<ItemStream<LogRecord>> {
    let scope = Scope::Container(found.container.id);
    let command = core0.inside(found.container.id).agent().subscribe(job)?;
    let id = core0.client.push(scope, &command).await?;
    let progress = Progress::begin(&core0.client, scope, &id, false);
    let state = (progress, VecDeque::new(), options.clone());
    let records = stream::try_unfold(state, move |(mut progress, mut waiting, options)| async move {
        loop {
            if let Some(record) = waiting.pop_front() {
                return Ok(Some((record, (progress, waiting, options))));
            }
            match progress.next().await? {
                Some(Step::Entry(entry)) if last.is_none_or(|last| entry.time.is_none_or(|time| time > last)) => {
                    waiting.extend(lines(&entry).iter().filter_map(|line| chosen(line, &options)));
                }
                Some(Step::Entry(_)) => {}
                Some(Step::Ended(_)) | None => return Ok(None),
            }
        }
    });
    Ok(records.boxed())
}
