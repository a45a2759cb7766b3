//! Start, stop, restart, kill and delete.
//!
//! A node's containers run from their creation on and have no main process. The one of a container of ours is a job in it, so
//! these verbs are about that job. Containers of others have none: they run until they are deleted.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerState, DeleteOptions, Error, ErrorKind, Result, Retry, Signal, StopOptions, Timestamp};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::command::Command;
use super::commands::cgroup::Subsystem;
use super::commands::corex::Container;
use super::found::{self, Found};
use super::kept::Kept;
use super::link::is_broken;
use super::outcome::Outcome;
use super::record::{self, Run};
use super::settle::Fate;
use super::shared::{Core0, whole};
use super::{Scope, create, ended, following, outliving, settle, watching};

/// Between stop signal and kill where nobody says.
const STOP_SECONDS: u32 = 10;
/// A container that is to go by force may take so long to end what is in it.
const RESISTS: Duration = Duration::from_secs(10);
/// A process that was killed is gone within this.
const KILLED: Duration = Duration::from_secs(20);
/// A process is there, or has failed to start, within this.
const BEGUN: Duration = Duration::from_secs(20);
/// Another program that starts the same container is done within this.
const CLAIMED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);
/// Between two questions about a main process that the node's Redis has forgotten.
const AGAIN: Duration = Duration::from_millis(200);

/// C20 to C23.
pub(super) async fn start(core0: &Arc<Core0>, id: &str) -> Result<()> {
    change(core0, id, Ok(()), |core0, found, kept| async move { begin(&core0, &found, &kept).await }).await
}

/// C30 to C32.
pub(super) async fn stop(core0: &Arc<Core0>, id: &str, options: &StopOptions) -> Result<()> {
    options.validate()?;
    let options = options.clone();
    let of_others = Err(foreign("stopping"));
    change(core0, id, of_others, |core0, found, kept| async move { end(&core0, &found, &kept, &options).await }).await
}

/// C40, C41.
pub(super) async fn restart(core0: &Arc<Core0>, id: &str, options: &StopOptions) -> Result<()> {
    options.validate()?;
    let options = options.clone();
    change(core0, id, Err(foreign("restarting")), |core0, found, kept| async move {
        end(&core0, &found, &kept, &options).await?;
        let began = async { begin(&core0, &found::again(&core0, &found).await?, &kept).await };
        began.await.map_err(|error| if found.state == ContainerState::Running { in_doubt(error) } else { error })
    })
    .await
}

/// C50, C51.
pub(super) async fn kill(core0: &Arc<Core0>, id: &str, signal: Signal) -> Result<()> {
    let found = found::one(core0, id).await?;
    found.must_run()?;
    let Some(kept) = found.kept.clone() else { return Err(foreign("sending signals to")) };
    let core0 = Arc::clone(core0);
    whole(async move {
        match found.main_job() {
            Some(job) => deliver(&core0, &found, &kept, job, signal).await,
            None => Err(Error::new(ErrorKind::Conflict, "the container has no main process")),
        }
    })
    .await
}

/// Sends the main process a signal, whose effect others may see. A node that has no such job may have told an older day's
/// state before, or is about to start it.
async fn deliver(core0: &Arc<Core0>, found: &Found, kept: &Kept, job: &str, signal: Signal) -> Result<()> {
    if send(core0, found, &kept.mark, job, signal).await? {
        return Ok(());
    }
    let _one_at_a_time = core0.lock(&kept.mark).await;
    if !runs(core0, found, kept).await? {
        return Err(Error::new(ErrorKind::Conflict, "the container does not run: its main process has ended"));
    }
    if send(core0, found, &kept.mark, job, signal).await? {
        return Ok(());
    }
    let words = "the main process is about to start, and takes no signals yet";
    Err(Error::new(ErrorKind::Conflict, words).with_retry(Retry::Safe))
}

/// C90 to C92.
pub(super) async fn delete(core0: &Arc<Core0>, id: &str, options: &DeleteOptions) -> Result<()> {
    let force = options.force;
    let found = look(core0, id, force).await?;
    let core0 = Arc::clone(core0);
    whole(async move {
        let mark = found.kept.as_ref().map(|kept| kept.mark.clone()).unwrap_or_default();
        let _one_at_a_time = core0.lock(&mark).await;
        let found = match found.kept {
            Some(_) => found::same(&found, look(&core0, &found.id(), force).await?)?,
            None => found,
        };
        if !force && found.state.has_processes() {
            let words = "the container runs: stop it first, or delete it by force";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        terminate(&core0, &found.container, force).await?;
        if let Some(kept) = &found.kept
            && let Err(error) = clear_away(&core0, kept).await
        {
            // It is gone, whatever is left of it: the next sweep finds that, and nothing is limited by an empty group.
            tracing::warn!(container = found.container.id, %error, "what a container left could not be removed");
        }
        core0.forget(&found.container, &mark);
        Ok(())
    })
    .await
}

/// A container that is to go. By force it goes although it does not say whether it runs.
async fn look(core0: &Arc<Core0>, id: &str, force: bool) -> Result<Found> {
    if force { found::even_silent(core0, id).await } else { found::one(core0, id).await }
}

/// Ends a container with all that is in it. A node asks its agent to end everything and waits for that, for ever if need be; by
/// force the agent itself is killed after a while, and with it whatever is left.
async fn terminate(core0: &Core0, container: &Container, force: bool) -> Result<()> {
    let containers = core0.host.containers();
    let kills = async {
        if !force {
            return pending::<Infallible>().await;
        }
        sleep(RESISTS).await;
        let killed = async {
            let all = containers.list().await?;
            // A node that was started anew counts from the beginning.
            match all.iter().find(|now| now.id == container.id && now.pid == container.pid && now.pid > 1) {
                Some(now) => core0.host.commands().processes().kill(now.pid, Signal::KILL).await,
                None => Ok(()),
            }
        };
        if let Err(error) = killed.await {
            tracing::debug!(container = container.id, %error, "a container that resists could not be killed");
        }
        pending().await
    };
    // Neither stands still while the other goes on: they share connections, and what one holds of them the other may wait for.
    tokio::select! {
        told = containers.terminate(container.id) => told,
        never = kills => match never {},
    }
}

/// Removes what is kept of a container that is gone: its record last, without which nobody would find its group.
async fn clear_away(core0: &Core0, kept: &Kept) -> Result<()> {
    if kept.spec.limits.memory_bytes.is_some() {
        core0.host.cgroups().remove(&Subsystem::Memory, &create::group(&kept.mark)).await?;
    }
    record::remove(&core0.client.links, &kept.mark).await
}

/// Makes a change of a container of ours, one at a time, whether or not the caller waits for it.
async fn change<F, W>(core0: &Arc<Core0>, id: &str, of_others: Result<()>, work: F) -> Result<()>
where
    F: FnOnce(Arc<Core0>, Found, Kept) -> W + Send + 'static,
    W: Future<Output = Result<()>> + Send,
{
    let found = found::one(core0, id).await?;
    let Some(kept) = found.kept.clone() else { return of_others };
    let core0 = Arc::clone(core0);
    whole(async move {
        let _one_at_a_time = core0.lock(&kept.mark).await;
        let found = found::again(&core0, &found).await?;
        work(core0, found, kept).await
    })
    .await
}

fn foreign(what: &str) -> Error {
    Error::unsupported(format!("{what} a container that was not made here: it runs until it is deleted by force"))
}

/// Starts the main process. The caller holds the container's lock.
async fn begin(core0: &Arc<Core0>, found: &Found, kept: &Kept) -> Result<()> {
    let stale;
    let found = if found.state == ContainerState::Running {
        if runs(core0, found, kept).await? {
            return Ok(());
        }
        stale = found::again(core0, found).await?;
        &stale
    } else {
        found
    };
    if found.state == ContainerState::Running {
        return Ok(());
    }
    let (links, mark) = (&core0.client.links, kept.mark.as_str());
    if !found.run.confirmed && found.end.is_none() {
        return claimed(core0, found, found.run.number).await;
    }
    // The record of a Redis that got an older day's data back may not know of a run that goes on.
    let known = settle::recover(core0, found.container.id, mark).await?;
    if known.job.is_some() && known.number > found.run.number {
        return record::write_run(links, mark, &known).await;
    }
    let mut number = found.run.number;
    loop {
        number = number.saturating_add(1);
        if !record::claim(links, mark, number, &core0.program).await? {
            return claimed(core0, found, number).await;
        }
        // Nor of one whose result is there still, which would be taken for the next one's.
        if !core0.client.knows(&settle::job_id(mark, number)).await? {
            break;
        }
    }
    let words = kept.words();
    let begun_at = Some(Timestamp::now());
    let Some((name, args)) = words.split_first() else {
        return record::write_run(links, mark, &Run { number, job: None, begun_at, confirmed: true }).await;
    };
    let mut arguments = json!({"name": name, "args": args});
    if let (Some(directory), Some(members)) = (&kept.spec.working_directory, arguments.as_object_mut()) {
        members.insert("dir".to_owned(), json!(directory));
    }
    let mut command = Command::new("core.system", arguments)?;
    command.id = settle::job_id(mark, number);
    command.stream = true;
    let run = Run { number, job: Some(command.id.clone()), begun_at, confirmed: false };
    record::write_run(links, mark, &run).await?;
    let container = found.container.id;
    if let Err(error) = core0.client.push(Scope::Container(container), &command).await {
        // What may have started is found out later; what has not started leaves everything as it was.
        if error.retry() != Retry::Unknown {
            record::write_run(links, mark, &Run { number, job: None, begun_at: None, confirmed: true }).await?;
            record::write_end(links, mark, &ended::failed(number, &error)).await?;
        }
        return Err(error);
    }
    following::follow(core0, mark, container, number);
    watching::watch(core0, mark, container, number);
    let begun_at = begun(core0, container, &command.id, number, mark).await.map_err(in_doubt)?;
    record::write_run(links, mark, &Run { begun_at, confirmed: true, ..run }).await.map_err(in_doubt)
}

/// An error of something that came after a change: that it changed nothing itself does not make the whole safe to repeat.
fn in_doubt(error: Error) -> Error {
    if error.retry() == Retry::Safe { error.with_retry(Retry::Unknown) } else { error }
}

/// Whether what is said to run does. A Redis that got an older day's data back says so of what has ended: that is written down
/// then. The caller holds the container's lock.
async fn runs(core0: &Arc<Core0>, found: &Found, kept: &Kept) -> Result<bool> {
    // One that is about to start may not be there yet.
    let Some(job) = found.main_job().filter(|_| !found::starts(&found.run)) else { return Ok(true) };
    let (container, run) = (found.container.id, found.run.number);
    let end = match settle::fate(core0, container, job).await? {
        Fate::Runs => return Ok(true),
        Fate::Ended(outcome) => ended::of(run, &outcome, None),
        Fate::Lost => ended::unknown(run),
    };
    settle::finish(core0, &kept.mark, container, &end).await?;
    Ok(false)
}

/// Another program starts the run with this number: its success is ours, and so is its failure.
async fn claimed(core0: &Arc<Core0>, found: &Found, number: u64) -> Result<()> {
    let until = Instant::now() + CLAIMED;
    while Instant::now() < until {
        let now = found::again(core0, found).await?;
        let failed = now.end.as_ref().filter(|end| end.run == number).and_then(|end| end.error.clone());
        match (now.run.number.cmp(&number), failed) {
            (Ordering::Equal, Some(error)) => return Err(Error::invalid("command", error)),
            (Ordering::Equal, None) if now.run.confirmed || now.end.is_some() => return Ok(()),
            (Ordering::Greater, _) => return Ok(()),
            _ => sleep(PAUSE * 20).await,
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the container is being started by another program").with_retry(Retry::Safe))
}

/// Waits until the process is there; gives when it began. One that could not be started is `InvalidInput`.
async fn begun(core0: &Core0, container: u64, job: &str, run: u64, mark: &str) -> Result<Option<Timestamp>> {
    let until = Instant::now() + BEGUN;
    loop {
        let listed = settle::listed(&core0.inside(container), job).await?;
        if let Some(found) = listed
            && found.pid.is_some()
        {
            return Ok(found.started_at);
        }
        if let Some(outcome) = core0.client.peek(job).await? {
            if ended::began(&outcome) {
                return Ok(outcome.started_at);
            }
            record::write_end(&core0.client.links, mark, &ended::of(run, &outcome, None)).await?;
            return Err(Error::invalid("command", outcome.message()));
        }
        if Instant::now() >= until {
            let words = "the node has taken the command, but does not say whether it runs";
            return Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Unknown));
        }
        sleep(PAUSE).await;
    }
}

/// Ends the main process, and all others. The caller holds the container's lock.
async fn end(core0: &Arc<Core0>, found: &Found, kept: &Kept, options: &StopOptions) -> Result<()> {
    if found.state != ContainerState::Running {
        return Ok(());
    }
    let container = found.container.id;
    let Some(job) = found.main_job() else {
        let run = found.run.number;
        let ended = record::End { run, finished_at: Some(Timestamp::now()), exit_code: Some(0), error: None };
        return settle::finish(core0, &kept.mark, container, &ended).await.map_err(in_doubt);
    };
    let seconds = options.timeout_seconds.or(kept.spec.stop_timeout_seconds).unwrap_or(STOP_SECONDS);
    let mut signal = kept.spec.stop_signal.unwrap_or(Signal::TERM);
    let mut patience = Duration::from_secs(seconds.into());
    if seconds == 0 {
        (signal, patience) = (Signal::KILL, KILLED);
    }
    let mut is_signalled = send(core0, found, &kept.mark, job, signal).await?;
    loop {
        if !is_signalled && !runs(core0, found, kept).await.map_err(in_doubt)? {
            // There may be a later run, which the record did not know of.
            let now = found::again(core0, found).await.map_err(in_doubt)?;
            return Box::pin(end(core0, &now, kept, options)).await.map_err(in_doubt);
        }
        match outcome(core0, container, job, patience).await {
            Ok(outcome) => {
                let run = found.run.number;
                let ended = outcome
                    .map_or_else(|| ended::unknown(run), |outcome| ended::of(run, &outcome, Some(signal.number())));
                return settle::finish(core0, &kept.mark, container, &ended).await.map_err(in_doubt);
            }
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded && signal != Signal::KILL => {
                (signal, patience) = (Signal::KILL, KILLED);
            }
            Err(error) => return Err(in_doubt(error)),
        }
        is_signalled = send(core0, found, &kept.mark, job, signal).await.map_err(in_doubt)?;
    }
}

/// The result of the main process; none when it has ended and nobody knows how. It has its time also when the node's Redis
/// dies meanwhile and forgets it: only what the container does not have any more has ended.
async fn outcome(core0: &Core0, container: u64, job: &str, patience: Duration) -> Result<Option<Outcome>> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match result(core0, container, job, left).await {
            Err(error) if error.kind() == ErrorKind::NotFound || is_broken(&error) => {}
            told => return told.map(Some),
        }
        let goes_on = match settle::fate(core0, container, job).await {
            Ok(Fate::Runs) => Error::new(ErrorKind::DeadlineExceeded, "the main process runs on"),
            Ok(Fate::Ended(outcome)) => return Ok(Some(*outcome)),
            Ok(Fate::Lost) => return Ok(None),
            // That nobody says does not mean that its time is up.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => error,
            Err(error) => return Err(error),
        };
        if Instant::now() >= until {
            return Err(goes_on);
        }
        sleep(AGAIN).await;
    }
}

/// The result of the main process, as the node tells it. Children that it leaves behind, and that the node would wait for, are
/// ended.
async fn result(core0: &Core0, container: u64, job: &str, patience: Duration) -> Result<Outcome> {
    let inside = core0.inside(container);
    let clears = async {
        match outliving::outlived(&inside, job).await {
            Ok(true) => settle::clear(core0, container).await?,
            Ok(false) => {}
            Err(error) => tracing::debug!(container, %error, "what a main process has left behind is not known"),
        }
        pending::<Result<Infallible>>().await
    };
    // Neither stands still while the other goes on, as in `terminate`.
    tokio::select! {
        biased;
        result = core0.client.result(job, patience) => result,
        failed = clears => {
            let Err(error) = failed;
            Err(error)
        }
    }
}

/// Sends the main process a signal. That it has ended meanwhile is no error: false then.
async fn send(core0: &Core0, found: &Found, mark: &str, job: &str, signal: Signal) -> Result<bool> {
    record::write_signal(&core0.client.links, mark, found.run.number, signal.number()).await?;
    core0.inside(found.container.id).jobs().kill(job, Some(signal)).await
}
