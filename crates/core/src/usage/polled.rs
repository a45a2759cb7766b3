//! Usage of engines that are asked container by container: all at once, a bounded number at a time, and with what was told before
//! kept, so that there are rates without a second wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;

use super::earlier::Earlier;
use super::{ContainerUsage, NodeUsage, ProcessOptions, Runs, UsageError, UsageOptions};
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;
use crate::process::Process;
use crate::stream::ItemStream;
use crate::time::Timestamp;

/// So many containers are asked about at once.
pub(super) const AT_ONCE: usize = 16;

/// From one item of a live usage to the next.
const INTERVAL: Duration = Duration::from_secs(2);

/// Remembers the last numbers of each container, so that the next ones have rates.
#[derive(Clone, Debug, Default)]
pub struct Polled(Arc<Mutex<Earlier>>);

/// Gives the node anew for each item of a stream that outlives the caller's borrow.
#[async_trait]
pub trait Asked: Send + Sync + 'static {
    /// The node that is asked.
    fn node(&self) -> &dyn Node;

    /// What is used now.
    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage>;
}

impl Polled {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Polled::default()
    }

    /// What the running containers of `node` use, by [`crate::Container::stats`] of each.
    ///
    /// # Errors
    /// Those of the list; `NotFound` and `Conflict` for a container that was asked for. What fails for one container is in the answer.
    pub async fn usage(&self, node: &dyn Node, options: &UsageOptions) -> Result<NodeUsage> {
        options.validate()?;
        let running = running(node, &options.containers).await?;
        let answers: Vec<_> = stream::iter(running)
            .map(|container| async move {
                let stats = node.container(&container.id).stats().await;
                (container, stats)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut usage = NodeUsage::at(node.name(), Timestamp::now());
        for (container, stats) in answers {
            match stats {
                Ok(stats) => usage.containers.push(ContainerUsage::new(container.id, container.name, stats)),
                // It has ended since it was listed.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => usage.errors.push(UsageError::new(container.id, &error)),
            }
        }
        usage.containers.sort_by(|a, b| a.id.cmp(&b.id));
        let mut earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.compare(&mut usage, options.containers.is_empty());
        Ok(usage)
    }

    /// Asks again and again (U20, U21). An item that cannot be had is an error of the stream, and ends it.
    ///
    /// # Errors
    /// As of [`running`] for the containers that are named, and those of [`crate::Container::inspect`].
    pub async fn watch(asked: impl Asked, mut options: UsageOptions) -> Result<ItemStream<NodeUsage>> {
        options.validate()?;
        if options.containers.is_empty() {
            let items = stream::unfold(Some((asked, options, Runs::default(), true)), Polled::next);
            return Ok(items.boxed());
        }
        let named = running(asked.node(), &options.containers).await?;
        let runs = Runs::of(asked.node(), named.into_iter().map(|container| container.id)).await?;
        options.containers = runs.ids();
        if options.containers.is_empty() {
            return Ok(stream::empty().boxed());
        }
        Ok(stream::unfold(Some((asked, options, runs, true)), Polled::next).boxed())
    }

    async fn next<A: Asked>(
        state: Option<(A, UsageOptions, Runs, bool)>,
    ) -> Option<(Result<NodeUsage>, Option<(A, UsageOptions, Runs, bool)>)> {
        let (asked, mut options, mut runs, is_first) = state?;
        if !is_first {
            tokio::time::sleep(INTERVAL).await;
        }
        if options.containers.is_empty() {
            let usage = asked.usage(&options).await;
            let state = usage.is_ok().then_some((asked, options, runs, false));
            return Some((usage, state));
        }
        loop {
            let error = match asked.usage(&options).await {
                Ok(mut usage) => {
                    runs.keep(asked.node(), runs.ids(), &mut usage).await;
                    options.containers = runs.ids();
                    let is_over = options.containers.is_empty();
                    return (!is_over).then_some((Ok(usage), Some((asked, options, runs, false))));
                }
                Err(error) => error,
            };
            // What has ended is not in the items from then on.
            if let Err(error) = runs.end(error) {
                return Some((Err(error), None));
            }
            options.containers = runs.ids();
            if options.containers.is_empty() {
                return None;
            }
        }
    }
}

/// The running containers of `node`, or those of them that are named.
///
/// # Errors
/// Those of the list; `NotFound` for a named container that is not there, `Conflict` for one that does not run.
pub async fn running(node: &dyn Node, named: &[String]) -> Result<Vec<ContainerSummary>> {
    let all = node.list_containers(&ContainerFilter::all()).await?;
    select(all, named)
}

/// Those of `all` that have processes, or the named ones of them.
///
/// # Errors
/// As of [`running`].
pub fn select(all: Vec<ContainerSummary>, named: &[String]) -> Result<Vec<ContainerSummary>> {
    let has_processes = |container: &ContainerSummary| container.state.has_processes();
    if named.is_empty() {
        return Ok(all.into_iter().filter(has_processes).collect());
    }
    let mut chosen: Vec<ContainerSummary> = Vec::with_capacity(named.len());
    for name in named {
        let found = find(&all, name)?;
        if !has_processes(found) {
            return Err(Error::new(ErrorKind::Conflict, "the container does not run").with_resource(name));
        }
        if chosen.iter().all(|container| container.id != found.id) {
            chosen.push(found.clone());
        }
    }
    Ok(chosen)
}

/// By id or name, or by the beginning of an id as engines take it.
fn find<'a>(all: &'a [ContainerSummary], name: &str) -> Result<&'a ContainerSummary> {
    if let Some(found) = all.iter().find(|container| container.id == name || container.name == name) {
        return Ok(found);
    }
    let mut beginning = all.iter().filter(|container| container.id != container.name && container.id.starts_with(name));
    match (beginning.next(), beginning.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => {
            Err(Error::invalid("containers", format!("{name:?} is the beginning of several ids")).with_resource(name))
        }
        _ => Err(Error::not_found("container", name)),
    }
}

/// The processes of the running containers of `node`, or of those that are named, by [`crate::Container::processes`] of each.
///
/// # Errors
/// As of [`running`], and the first that is not about a container which has ended meanwhile.
pub async fn processes(node: &dyn Node, options: &ProcessOptions) -> Result<Vec<Process>> {
    options.validate()?;
    let running = running(node, &options.containers).await?;
    let answers: Vec<_> = stream::iter(running)
        .map(|container| async move { (node.container(&container.id).processes().await, container.id) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut all = Vec::new();
    for (answer, id) in answers {
        match answer {
            Ok(processes) => all.extend(processes.into_iter().map(|mut process| {
                process.container = Some(id.clone());
                process
            })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ContainerState;

    fn container(id: &str, name: &str, state: ContainerState) -> ContainerSummary {
        ContainerSummary { id: id.to_owned(), name: name.to_owned(), state, ..ContainerSummary::default() }
    }

    #[test]
    fn the_named_ones_are_found_as_engines_find_them() {
        let all = || {
            vec![
                container("abc1", "web", ContainerState::Running),
                container("abd2", "db", ContainerState::Stopped),
                container("lx", "lx", ContainerState::Frozen),
            ]
        };
        let ids = |named: &[&str]| {
            let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
            select(all(), &named).map(|found| found.into_iter().map(|container| container.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&[]).unwrap(), ["abc1", "lx"]);
        assert_eq!(ids(&["lx", "web", "abc", "abc1"]).unwrap(), ["lx", "abc1"]);
        let kinds = [ids(&["db"]), ids(&["nope"]), ids(&["ab"]), ids(&["l"])].map(|found| found.unwrap_err().kind());
        assert_eq!(kinds, [ErrorKind::Conflict, ErrorKind::NotFound, ErrorKind::InvalidInput, ErrorKind::NotFound]);
    }
}
