//! The runs of containers that a live usage is of: each from its start to its end, and not what takes its name or is started later.

use std::collections::HashMap;

use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};

use super::polled::AT_ONCE;
use super::{NodeUsage, UsageError};
use crate::container::ContainerDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;
use crate::time::Timestamp;

/// Which run of each container is meant, by the container's id. Those that have ended are left out.
#[derive(Clone, Debug, Default)]
pub struct Runs(HashMap<String, Run>);

/// What tells one run from the next, as far as the engine tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    pid: Option<u32>,
}

impl Runs {
    /// The runs that these containers are in now. One that has ended since its id was told is left out.
    ///
    /// # Errors
    /// Those of [`crate::Container::inspect`].
    pub async fn of(node: &dyn Node, ids: impl IntoIterator<Item = String> + Send) -> Result<Self> {
        let ids: Vec<_> = ids.into_iter().collect();
        let told = stream::iter(ids)
            .map(|id| async move {
                match node.container(&id).inspect().await {
                    Ok(details) => Ok(Run::of(&details).map(|run| (id, run))),
                    Err(error) if has_ended(error.kind()) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(AT_ONCE);
        let runs = told.try_filter_map(|run| std::future::ready(Ok(run))).try_collect().await?;
        Ok(Runs(runs))
    }

    /// The ids of those that go on, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.0.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Leaves out the container of whose end an error tells.
    ///
    /// # Errors
    /// Any other error, as it is.
    pub fn end(&mut self, error: Error) -> Result<()> {
        let known = error.resource().is_some_and(|id| self.0.contains_key(id));
        if !known || !has_ended(error.kind()) {
            return Err(error);
        }
        self.0.retain(|id, _| Some(id.as_str()) != error.resource());
        Ok(())
    }

    /// Leaves out this container, of which it is known otherwise that it ended.
    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Asks whether these containers are still in their runs, leaves out those that are not, and takes what is not of a run out of
    /// `usage`. To be asked after the usage was read: what is in its run then was in it before. A container of which it cannot be
    /// found out is among the errors of the usage.
    pub async fn keep(&mut self, node: &dyn Node, asked: Vec<String>, usage: &mut NodeUsage) {
        let told: Vec<_> = stream::iter(asked)
            .map(|id| async move { (node.container(&id).inspect().await, id) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (details, id) in told {
            let goes_on = match details {
                Ok(details) => {
                    let now = Run::of(&details);
                    now.is_some_and(|now| self.0.get(&id).is_some_and(|run| run.may_be(&now)))
                }
                Err(error) if has_ended(error.kind()) => false,
                Err(error) => {
                    usage.containers.retain(|container| container.id != id);
                    if usage.errors.iter().all(|known| known.container != id) {
                        usage.errors.push(UsageError::new(id, &error));
                    }
                    continue;
                }
            };
            if !goes_on {
                self.0.remove(&id);
            }
        }
        usage.containers.retain(|container| self.0.contains_key(&container.id));
        usage.errors.retain(|error| self.0.contains_key(&error.container));
    }
}

impl Run {
    /// Nothing when it does not run.
    fn of(details: &ContainerDetails) -> Option<Self> {
        let run = Run { created_at: details.summary.created_at, started_at: details.started_at, pid: details.pid };
        details.summary.state.has_processes().then_some(run)
    }

    /// Whether `later` is the same run. What is told of one of them only says nothing.
    fn may_be(&self, later: &Run) -> bool {
        fn is_same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<bool> {
            Some(one? == other?)
        }
        // Engines write down the time of a start when its process runs already, so a process counts for more.
        let started = is_same(self.pid, later.pid).or_else(|| is_same(self.started_at, later.started_at));
        is_same(self.created_at, later.created_at) != Some(false) && started != Some(false)
    }
}

fn has_ended(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_from_the_next() {
        let at = |second: i128| Timestamp::from_unix_nanos(second * 1_000_000_000);
        let run = |created, started, pid| Run { created_at: created, started_at: started, pid };
        let first = run(at(1), at(2), Some(7));
        for (later, is_same) in [
            (run(at(1), at(2), Some(7)), true),
            (run(at(1), at(3), Some(7)), true),
            (run(at(1), None, None), true),
            (run(None, at(2), None), true),
            (run(at(1), at(3), None), false),
            (run(at(1), at(2), Some(8)), false),
            (run(at(4), at(2), Some(7)), false),
        ] {
            assert_eq!(first.may_be(&later), is_same, "{later:?}");
        }
    }
}
