//! Containers as they are now: what the node lists, joined with the records of ours and with whether their main processes
//! run.
//!
//! A list is one `corex.list`, one question for all records and one for all flags, however many containers there are. Only
//! what these leave open is asked about one by one: a result that is there but not written down, a flag that is gone.
//!
//! A Redis that was started anew has what it had when it last wrote its memory down, an hour ago perhaps. So a record that says
//! that a container does not run is compared with the container once in every life of the Redis: it may run since.
//!
//! A container that does not answer hides no other one: in a list it is what is known of it, and nothing is written down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{ContainerState, Error, ErrorKind, Result, Timestamp};

use super::client::Flag;
use super::commands::corex::Container;
use super::ended;
use super::kept::Kept;
use super::record::{self, End, Record, Run};
use super::settle::{self, Fate};
use super::shared::Core0;
use super::silent;
use super::watching;

/// The name of a container that has none begins so.
const NAMELESS: &str = "corex-";
/// A run whose process nobody has seen after this was given up.
const STARTING: Duration = Duration::from_secs(60);
/// A result follows its flag within this.
const RESULT: Duration = Duration::from_secs(5);
/// So many are looked into at once.
const AT_ONCE: usize = 8;

/// Whom containers are looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// One who wants to know of this one.
    One,
    /// One who lists them all.
    All,
}

impl Look {
    /// What the container with this mark says; none where it does not answer and there are others.
    async fn ask<T>(self, core0: &Core0, mark: &str, question: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        match self {
            Look::One => question.await.map(Some),
            Look::All => silent::ask(core0, mark, question).await,
        }
    }
}

/// A container, and where it is on its way.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) container: Container,
    /// None when it is not of ours.
    pub(super) kept: Option<Kept>,
    pub(super) state: ContainerState,
    pub(super) run: Run,
    pub(super) end: Option<End>,
}

impl Found {
    pub(super) fn id(&self) -> String {
        self.container.id.to_string()
    }

    pub(super) fn name(&self) -> String {
        name(&self.container)
    }

    /// The job that is its main process, while it runs.
    pub(super) fn main_job(&self) -> Option<&str> {
        self.run.job.as_deref().filter(|_| self.state == ContainerState::Running)
    }

    /// The mark of one of ours that does not run.
    fn resting(&self) -> Option<&str> {
        let rests = matches!(self.state, ContainerState::Created | ContainerState::Stopped);
        self.kept.as_ref().map(|kept| kept.mark.as_str()).filter(|_| rests)
    }

    pub(super) fn must_run(&self) -> Result<()> {
        if self.state.has_processes() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("the container does not run: it is {}", self.state)))
    }
}

/// The name of a container without one.
pub(super) fn nameless(id: u64) -> String {
    format!("{NAMELESS}{id}")
}

/// Its name, or one that is made of its id.
pub(super) fn name(container: &Container) -> String {
    match container.arguments.name.as_str() {
        "" => nameless(container.id),
        name => name.to_owned(),
    }
}

/// All containers.
pub(super) async fn all(core0: &Arc<Core0>) -> Result<Vec<Found>> {
    join(core0, Look::All, core0.host.containers().list().await?).await
}

/// The container with this id or name.
pub(super) async fn one(core0: &Arc<Core0>, id: &str) -> Result<Found> {
    with(core0, Look::One, id).await
}

/// The container with this id or name, for one to whom what it does is no matter: where it does not answer, its state is
/// unknown or what was written down last.
pub(super) async fn even_silent(core0: &Arc<Core0>, id: &str) -> Result<Found> {
    with(core0, Look::All, id).await
}

async fn with(core0: &Arc<Core0>, look: Look, id: &str) -> Result<Found> {
    let container = look_up(core0, id).await?.ok_or_else(|| Error::not_found("container", id))?;
    let found = join(core0, look, vec![container]).await?.pop();
    found.ok_or_else(|| Error::not_found("container", id))
}

/// The container with this number.
pub(super) async fn again(core0: &Arc<Core0>, before: &Found) -> Result<Found> {
    same(before, one(core0, &before.id()).await?)
}

/// A container by its number. A node that was started anew counts from the beginning.
pub(super) fn same(before: &Found, now: Found) -> Result<Found> {
    let is_same = now.kept.as_ref().map(|kept| &kept.mark) == before.kept.as_ref().map(|kept| &kept.mark);
    if is_same { Ok(now) } else { Err(Error::not_found("container", &before.id())) }
}

async fn look_up(core0: &Core0, id: &str) -> Result<Option<Container>> {
    let containers = core0.host.containers();
    // As it is told, and in no other way.
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| number.to_string() == text).map(u64::from);
    let asked = async {
        if let Some(number) = number(id)
            && let Some(found) = containers.get(number).await?
        {
            return Ok(Some(found));
        }
        if let Some(found) = containers.get(id).await?.filter(|found| found.arguments.name == id) {
            return Ok(Some(found));
        }
        match id.strip_prefix(NAMELESS).and_then(number) {
            Some(number) => Ok(containers.get(number).await?.filter(|found| found.arguments.name.is_empty())),
            None => Ok(None),
        }
    };
    let asked: Result<Option<Container>> = asked.await;
    match asked {
        // An older node, which can be asked for all of them only.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let all = containers.list().await?;
            let by_id = all.iter().find(|container| container.id.to_string() == id);
            Ok(by_id.or_else(|| all.iter().find(|container| name(container) == id)).cloned())
        }
        answer => answer,
    }
}

async fn join(core0: &Arc<Core0>, look: Look, containers: Vec<Container>) -> Result<Vec<Found>> {
    let mut all: Vec<(Container, Option<Kept>)> = containers
        .into_iter()
        .map(|container| {
            let kept = Kept::read(&container.arguments);
            (container, kept)
        })
        .collect();
    let marks: Vec<&str> = all.iter().filter_map(|(_, kept)| Some(kept.as_ref()?.mark.as_str())).collect();
    let mut records = record::read(&core0.client.links, &marks).await?.into_iter();
    let mut records: Vec<Record> =
        all.iter().map(|(_, kept)| kept.as_ref().and_then(|_| records.next()).unwrap_or_default()).collect();
    let open = |record: &Record| record.end().is_none().then(|| record.run.as_ref()?.job.clone()).flatten();
    let jobs: Vec<String> = records.iter().filter_map(open).collect();
    let mut flags = core0.client.flags(&jobs).await?.into_iter();
    let flags: Vec<Option<Flag>> = records.iter().map(|record| open(record).and_then(|_| flags.next())).collect();
    let states = all
        .drain(..)
        .zip(records.drain(..))
        .zip(flags)
        .map(|(((container, kept), record), flag)| state(core0, look, container, kept, record, flag));
    let joined: Vec<Result<Found>> = stream::iter(states).buffered(AT_ONCE).collect().await;
    // One that went away meanwhile is none.
    let gone = |found: &Result<Found>| matches!(found, Err(error) if error.kind() == ErrorKind::NotFound);
    compare(core0, look, joined.into_iter().filter(|found| !gone(found)).collect::<Result<_>>()?).await
}

/// Compares those that do not run, to their records, with what runs in them, where that was not done since the Redis began.
async fn compare(core0: &Arc<Core0>, look: Look, all: Vec<Found>) -> Result<Vec<Found>> {
    if !all.iter().any(|found| found.resting().is_some()) {
        return Ok(all);
    }
    let links = &core0.client.links;
    let Some(compared) = record::compared(links).await? else { return Ok(all) };
    let known = &compared.marks;
    let looks = all.into_iter().map(|found| compare_one(core0, look, found, known));
    let looked: Vec<Result<(Found, Option<String>)>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let (all, marks): (Vec<_>, Vec<_>) = looked.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let marks: Vec<String> = marks.into_iter().flatten().collect();
    record::write_compared(links, &compared.life, &marks).await?;
    Ok(all)
}

/// Compares one; gives its mark, too, when that was done now.
async fn compare_one(
    core0: &Arc<Core0>,
    look: Look,
    mut found: Found,
    compared: &BTreeSet<String>,
) -> Result<(Found, Option<String>)> {
    let Some(mark) = found.resting().filter(|mark| !compared.contains(*mark)).map(str::to_owned) else {
        return Ok((found, None));
    };
    let (container, number) = (found.container.id, found.run.number);
    let question = since(core0, container, &mark, number);
    // One who asks about this one is not told what may be wrong.
    let Some((known, end)) = look.ask(core0, &mark, question).await? else { return Ok((found, None)) };
    if let Some(known) = known {
        // Nobody holds the container's lock here, and whoever has written meanwhile may know more.
        let links = &core0.client.links;
        let now = record::read(links, &[&mark]).await?.pop().unwrap_or_default();
        let end = now.end().cloned();
        let written = now.run.filter(|run| run.number > known.number || (run.number == known.number && end.is_some()));
        if written.is_none() {
            record::write_run(links, &mark, &known).await?;
        }
        found.end = written.as_ref().and(end);
        found.run = written.unwrap_or(known);
        found.state = if found.end.is_some() { ContainerState::Stopped } else { ContainerState::Running };
        if found.main_job().is_some() {
            watching::watch(core0, &mark, container, found.run.number);
        }
    } else if let Some(end) = end {
        settle::soon(core0, &mark, container, &end);
        found.run = Run { job: Some(settle::job_id(&mark, end.run)), ..Run::ended(end.run) };
        (found.end, found.state) = (Some(end), ContainerState::Stopped);
    }
    Ok((found, Some(mark)))
}

/// A later run than this one that goes on in the container, or the end of one.
async fn since(core0: &Core0, container: u64, mark: &str, run: u64) -> Result<(Option<Run>, Option<End>)> {
    let known = settle::recover(core0, container, mark).await?;
    if known.job.is_some() && known.number > run {
        return Ok((Some(known), None));
    }
    Ok((None, settle::later(core0, mark, run).await?))
}

async fn state(
    core0: &Arc<Core0>,
    look: Look,
    container: Container,
    kept: Option<Kept>,
    record: Record,
    flag: Option<Flag>,
) -> Result<Found> {
    let (end, signal) = (record.end().cloned(), record.signal());
    let mut found = Found { container, kept, state: ContainerState::Running, run: Run::default(), end };
    let Some(kept) = &found.kept else { return Ok(found) };
    let Some(run) = record.run else { return recovered(core0, look, found).await };
    found.run = run;
    found.state = match (&found.run, &found.end, flag) {
        (Run { number: 0, .. }, _, _) => ContainerState::Created,
        (_, Some(_), _) => ContainerState::Stopped,
        (Run { job: None, .. }, None, _) => ContainerState::Running,
        (run, None, Some(Flag::Unknown)) if starts(run) => match run.number {
            1 => ContainerState::Created,
            _ => ContainerState::Stopped,
        },
        (_, None, Some(Flag::Running)) => ContainerState::Running,
        (Run { number, job: Some(job), .. }, None, flag) => {
            let result = match flag {
                Some(Flag::Ended) => core0.client.result(job, RESULT).await.map(Some),
                _ => core0.client.peek(job).await,
            };
            let known = match result {
                Ok(Some(outcome)) => Some(ended::of(*number, &outcome, signal)),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                // A flag that is gone says that it ended long ago, or that the node's Redis was started anew.
                _ => match look.ask(core0, &kept.mark, settle::fate(core0, found.container.id, job)).await? {
                    None | Some(Fate::Runs) => None,
                    Some(Fate::Ended(outcome)) => Some(ended::of(*number, &outcome, signal)),
                    Some(Fate::Lost) => Some(ended::unknown(*number)),
                },
            };
            match known {
                None => ContainerState::Running,
                Some(end) => {
                    settle::soon(core0, &kept.mark, found.container.id, &end);
                    found.end = Some(end);
                    ContainerState::Stopped
                }
            }
        }
    };
    if let Some(kept) = found.kept.as_ref().filter(|_| found.main_job().is_some()) {
        watching::watch(core0, &kept.mark, found.container.id, found.run.number);
    }
    Ok(found)
}

/// Whether it is about to start, as far as is known.
pub(super) fn starts(run: &Run) -> bool {
    let begun = run.begun_at.map_or(Duration::MAX, |begun| Timestamp::now().since(begun));
    !run.confirmed && begun < STARTING
}

/// What can be known without a record: whether the main process is there, or has left its result.
async fn recovered(core0: &Arc<Core0>, look: Look, mut found: Found) -> Result<Found> {
    let Some(kept) = &found.kept else { return Ok(found) };
    let links = &core0.client.links;
    let told = look.ask(core0, &kept.mark, settle::recover(core0, found.container.id, &kept.mark)).await?;
    let Some(mut run) = told else {
        found.state = ContainerState::Unknown;
        return Ok(found);
    };
    if run.job.is_none() && !kept.words().is_empty() {
        let end = settle::later(core0, &kept.mark, 0).await?.unwrap_or_else(|| ended::unknown(run.number));
        run.number = end.run;
        record::write_end(links, &kept.mark, &end).await?;
        (found.state, found.end) = (ContainerState::Stopped, Some(end));
    }
    // Last, so that nobody takes a run for one that goes on.
    record::write_run(links, &kept.mark, &run).await?;
    found.run = run;
    Ok(found)
}
