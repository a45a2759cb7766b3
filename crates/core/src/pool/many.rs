//! One verb over many containers: several at a time, an outcome for each, and an honest answer at the deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::outline::refuses_verbs;
use super::{Listing, Member, NodeAnswer, NodeError, until};
use crate::capabilities::Capability;
use crate::container::{Container, ContainerFilter, ContainerState, ContainerSummary, DeleteOptions, StopOptions};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::signal::Signal;
use crate::time::Timestamp;

/// What is done to each container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerAction {
    /// Starts it.
    Start,
    /// Asks it to end, and kills it when it does not.
    Stop(StopOptions),
    /// Stops and starts it.
    Restart(StopOptions),
    /// Sends a signal to its main process.
    Kill(Signal),
    /// Freezes its processes.
    Freeze,
    /// Lets them go on.
    Unfreeze,
    /// Deletes it.
    Delete(DeleteOptions),
}

impl ContainerAction {
    /// What a node needs for it beyond what every node can do.
    #[must_use]
    pub const fn needs(&self) -> Option<Capability> {
        match self {
            ContainerAction::Start | ContainerAction::Stop(_) => None,
            ContainerAction::Restart(_) => Some(Capability::Restart),
            ContainerAction::Kill(_) => Some(Capability::Kill),
            ContainerAction::Freeze | ContainerAction::Unfreeze => Some(Capability::Freeze),
            ContainerAction::Delete(_) => Some(Capability::Create),
        }
    }

    async fn run(&self, container: &dyn Container) -> Result<()> {
        match self {
            ContainerAction::Start => container.start().await,
            ContainerAction::Stop(options) => container.stop(options).await,
            ContainerAction::Restart(options) => container.restart(options).await,
            ContainerAction::Kill(signal) => container.kill(*signal).await,
            ContainerAction::Freeze => container.freeze().await,
            ContainerAction::Unfreeze => container.unfreeze().await,
            ContainerAction::Delete(options) => container.delete(options).await,
        }
    }
}

/// Which containers, how many at once, and by when.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ManyOptions {
    /// Which containers.
    pub filter: ContainerFilter,
    /// How many at once in the whole pool, from 1 to 1000 (default 16).
    pub concurrency: usize,
    /// How many of them at once on one node (default 4).
    pub per_node: usize,
    /// By when the whole answers (default 60 s).
    pub deadline: Duration,
    /// Only says what would be done.
    pub dry_run: bool,
}

impl Default for ManyOptions {
    fn default() -> Self {
        ManyOptions {
            filter: ContainerFilter::all(),
            concurrency: 16,
            per_node: 4,
            deadline: Duration::from_secs(60),
            dry_run: false,
        }
    }
}

impl ManyOptions {
    /// The containers that pass `filter`, everything else by default.
    #[must_use]
    pub fn of(filter: ContainerFilter) -> Self {
        ManyOptions { filter, ..ManyOptions::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    pub fn validate(&self) -> Result<()> {
        self.filter.validate()?;
        for (field, value) in [("concurrency", self.concurrency), ("per_node", self.per_node)] {
            if !(1..=1000).contains(&value) {
                return Err(Error::invalid(field, "must be from 1 to 1000"));
            }
        }
        Ok(())
    }
}

/// What came of it for one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ActionOutcome {
    /// A dry run: it would be tried.
    Planned,
    /// It was done.
    Done,
    /// It was refused, and changed nothing.
    Failed,
    /// It was sent, and whether it happened is not known.
    Unknown,
    /// It had not begun when the time was over.
    NotBegun,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ActedItem {
    /// Name of the node.
    pub node: String,
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// In which state it was found.
    pub state: ContainerState,
    /// What came of it.
    pub outcome: ActionOutcome,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeError>,
}

impl ActedItem {
    fn new(container: &ContainerSummary) -> Self {
        ActedItem {
            node: container.node.clone(),
            id: container.id.clone(),
            name: container.name.clone(),
            state: container.state,
            outcome: ActionOutcome::NotBegun,
            error: None,
        }
    }

    fn end(&mut self, result: Result<()>, deleting: bool) {
        match result {
            Ok(()) => self.outcome = ActionOutcome::Done,
            // What is gone is deleted, whoever did it.
            Err(error) if deleting && error.kind() == ErrorKind::NotFound => self.outcome = ActionOutcome::Done,
            Err(error) => {
                let unknown = error.retry() == Retry::Unknown;
                self.outcome = if unknown { ActionOutcome::Unknown } else { ActionOutcome::Failed };
                self.error = Some(NodeError::new(&self.node, &error));
            }
        }
    }
}

/// What came of a verb over many.
pub type Acted = Listing<ActedItem>;

/// One node's part, filled while it works: what is in it at the deadline is told.
#[derive(Debug, Default)]
struct Part {
    items: Vec<ActedItem>,
    error: Option<NodeError>,
    listed_at: Option<Timestamp>,
    took: Option<Duration>,
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn act(members: Vec<Member>, action: &ContainerAction, options: &ManyOptions) -> Result<Acted> {
    options.validate()?;
    let begun = Instant::now();
    let over = sleep_until(until(options.deadline));
    tokio::pin!(over);
    let turns = Semaphore::new(options.concurrency);
    let parts: Vec<_> = members.iter().map(|_| Arc::new(Mutex::new(Part::default()))).collect();
    {
        let mut working: FuturesUnordered<_> = members
            .iter()
            .zip(&parts)
            .map(|(member, part)| async {
                on_node(member, action, options, &turns, part).await;
                lock(part).took = Some(begun.elapsed());
            })
            .collect();
        loop {
            tokio::select! {
                biased;
                next = working.next() => if next.is_none() { break },
                () = &mut over => break,
            }
        }
    }

    let mut acted = Listing::default();
    for (member, part) in members.iter().zip(&parts) {
        let part = std::mem::take(&mut *lock(part));
        let took = part.took.unwrap_or_else(|| begun.elapsed());
        acted.nodes.push(NodeAnswer::new(member.name(), part.listed_at, took));
        acted.items.extend(part.items);
        let late = || NodeError::new(member.name(), &late(options.deadline));
        acted.errors.extend(part.error.or_else(|| part.listed_at.is_none().then(late)));
    }
    Ok(acted)
}

fn late(deadline: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, format!("no answer within {} s", deadline.as_secs_f64()))
        .with_retry(Retry::Safe)
}

async fn on_node(
    member: &Member,
    action: &ContainerAction,
    options: &ManyOptions,
    turns: &Semaphore,
    part: &Mutex<Part>,
) {
    let containers = match member.node.list_containers(&options.filter).await {
        Ok(containers) => containers,
        Err(error) => {
            lock(part).error = Some(NodeError::new(member.name(), &error));
            return;
        }
    };
    {
        let mut part = lock(part);
        part.listed_at = Some(Timestamp::now());
        part.items = containers.iter().map(ActedItem::new).collect();
        let refused = refuses_verbs(&*member.node)
            .and_then(|()| action.needs().map_or(Ok(()), |needed| member.node.capabilities().require(needed)));
        if let Err(error) = refused {
            for item in &mut part.items {
                item.outcome = ActionOutcome::Failed;
                item.error = Some(NodeError::new(member.name(), &error));
            }
            return;
        }
        if options.dry_run {
            for item in &mut part.items {
                item.outcome = ActionOutcome::Planned;
            }
            return;
        }
    }
    let deleting = matches!(action, ContainerAction::Delete(_));
    let one = |(index, container): (usize, ContainerSummary)| async move {
        // Never closed, so never refused; held to the end.
        let _turn = turns.acquire().await;
        // From here on nobody knows until it has ended.
        if let Some(item) = lock(part).items.get_mut(index) {
            item.outcome = ActionOutcome::Unknown;
            item.error = Some(NodeError::new(&item.node, &unfinished()));
        }
        let result = action.run(&*member.node.container(&container.id)).await;
        if let Some(item) = lock(part).items.get_mut(index) {
            item.error = None;
            item.end(result, deleting);
        }
    };
    stream::iter(containers.into_iter().enumerate()).for_each_concurrent(options.per_node, one).await;
}

fn unfinished() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "it had not ended when the time was over").with_retry(Retry::Unknown)
}
