//! One verb over many containers: several at a time, an outcome for each, and an honest answer at the deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Its verb, as a word.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            ContainerAction::Start => "start",
            ContainerAction::Stop(_) => "stop",
            ContainerAction::Restart(_) => "restart",
            ContainerAction::Kill(_) => "kill",
            ContainerAction::Freeze => "freeze",
            ContainerAction::Unfreeze => "unfreeze",
            ContainerAction::Delete(_) => "delete",
        }
    }

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

    /// Whether a container that was found so, or is gone, is as this leaves it. Of a restart and of a signal that cannot be told.
    fn is_reached(&self, found: Option<ContainerState>) -> bool {
        match self {
            ContainerAction::Start | ContainerAction::Unfreeze => found == Some(ContainerState::Running),
            ContainerAction::Stop(_) => found == Some(ContainerState::Stopped),
            ContainerAction::Freeze => found == Some(ContainerState::Frozen),
            ContainerAction::Delete(_) => found.is_none(),
            ContainerAction::Restart(_) | ContainerAction::Kill(_) => false,
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
    /// A container for which nothing has begun.
    #[must_use]
    pub fn new(node: impl Into<String>, id: impl Into<String>, name: impl Into<String>, state: ContainerState) -> Self {
        let (node, id, name) = (node.into(), id.into(), name.into());
        ActedItem { node, id, name, state, outcome: ActionOutcome::NotBegun, error: None }
    }

    fn of(container: &ContainerSummary) -> Self {
        ActedItem::new(&container.node, &container.id, &container.name, container.state)
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

/// Writes down what a verb over many does, so that whoever goes on after an end in between knows what was begun. Each call is waited
/// for before the work goes on.
#[async_trait]
pub trait ActLog: Send + Sync {
    /// What was written down of a node before: its containers, each as far as it had come. `None` when it had not told them.
    async fn earlier(&self, node: &str) -> Result<Option<Vec<ActedItem>>>;

    /// A node told its containers. Nothing is done on it after an error, which becomes the node's.
    async fn listed(&self, node: &str, items: &[ActedItem]) -> Result<()>;

    /// From now on it is not known what becomes of this one of a node's containers: the next thing is that it is sent. After an error
    /// it is not sent, and stays not begun.
    async fn begins(&self, node: &str, index: usize, item: &ActedItem) -> Result<()>;

    /// What came of it.
    async fn ended(&self, node: &str, index: usize, item: &ActedItem);
}

/// For what ends with its answer: nobody goes on with it.
#[derive(Debug)]
struct NoLog;

#[async_trait]
impl ActLog for NoLog {
    async fn earlier(&self, _: &str) -> Result<Option<Vec<ActedItem>>> {
        Ok(None)
    }

    async fn listed(&self, _: &str, _: &[ActedItem]) -> Result<()> {
        Ok(())
    }

    async fn begins(&self, _: &str, _: usize, _: &ActedItem) -> Result<()> {
        Ok(())
    }

    async fn ended(&self, _: &str, _: usize, _: &ActedItem) {}
}

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
    act_logged(members, action, options, &NoLog).await
}

pub(super) async fn act_logged(
    members: Vec<Member>,
    action: &ContainerAction,
    options: &ManyOptions,
    log: &dyn ActLog,
) -> Result<Acted> {
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
                let on_node = OnNode { member, action, options, turns: &turns, part, log };
                if let Err(error) = on_node.run().await {
                    lock(part).error = Some(NodeError::new(member.name(), &error));
                }
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

/// The work on one node.
struct OnNode<'a> {
    member: &'a Member,
    action: &'a ContainerAction,
    options: &'a ManyOptions,
    turns: &'a Semaphore,
    part: &'a Mutex<Part>,
    log: &'a dyn ActLog,
}

impl OnNode<'_> {
    async fn run(&self) -> Result<()> {
        let name = self.member.name();
        let items = match self.log.earlier(name).await? {
            Some(items) => items,
            None => {
                let items = self.find().await?;
                if !self.options.dry_run {
                    self.log.listed(name, &items).await?;
                }
                items
            }
        };
        {
            let mut part = lock(self.part);
            part.listed_at = Some(Timestamp::now());
            part.items.clone_from(&items);
        }
        // What was refused before it began, and what is over, is not touched any more.
        let open = |item: &ActedItem| matches!(item.outcome, ActionOutcome::NotBegun | ActionOutcome::Unknown);
        let open = items.into_iter().enumerate().filter(|(_, item)| open(item));
        stream::iter(open).for_each_concurrent(self.options.per_node, |(index, item)| self.one(index, item)).await;
        Ok(())
    }

    /// The containers, each with what can be said of it before anything is done.
    async fn find(&self) -> Result<Vec<ActedItem>> {
        let node = &self.member.node;
        let containers = node.list_containers(&self.options.filter).await?;
        let mut items: Vec<_> = containers.iter().map(ActedItem::of).collect();
        let able = refuses_verbs(&**node)
            .and_then(|()| self.action.needs().map_or(Ok(()), |needed| node.capabilities().require(needed)));
        for item in &mut items {
            if let Err(error) = &able {
                item.outcome = ActionOutcome::Failed;
                item.error = Some(NodeError::new(self.member.name(), error));
            } else if self.options.dry_run {
                item.outcome = ActionOutcome::Planned;
            }
        }
        Ok(items)
    }

    async fn one(&self, index: usize, mut item: ActedItem) {
        // Never closed, so never refused; held to the end.
        let _turn = self.turns.acquire().await;
        let container = self.member.node.container(&item.id);
        if item.outcome == ActionOutcome::Unknown {
            // It was sent before; whatever became of that, it is not sent again.
            let found = match container.inspect().await {
                Ok(details) => Ok(Some(details.summary.state)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            if !found.is_ok_and(|found| self.action.is_reached(found)) {
                return;
            }
            item.error = None;
            item.outcome = ActionOutcome::Done;
        } else {
            let not_begun = item.clone();
            item.outcome = ActionOutcome::Unknown;
            item.error = Some(NodeError::new(&item.node, &unfinished()));
            // Told before it is written down, so that a deadline in between finds it; nobody is wrong then who says unknown.
            self.tell(index, &item);
            if let Err(error) = self.log.begins(self.member.name(), index, &item).await {
                let error = Some(NodeError::new(&item.node, &error));
                return self.tell(index, &ActedItem { error, ..not_begun });
            }
            let deleting = matches!(self.action, ContainerAction::Delete(_));
            let result = self.action.run(&*container).await;
            item.error = None;
            item.end(result, deleting);
        }
        self.tell(index, &item);
        self.log.ended(self.member.name(), index, &item).await;
    }

    fn tell(&self, index: usize, item: &ActedItem) {
        if let Some(told) = lock(self.part).items.get_mut(index) {
            told.clone_from(item);
        }
    }
}

fn unfinished() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "it had not ended when the time was over").with_retry(Retry::Unknown)
}
