//! Containers that do not answer, on a node that does: whoever lists all of them waits for none for long, and asks those that
//! were silent not again with every list.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use tokio::time::{Instant, timeout};

use super::Scope;
use super::shared::Core0;

/// A container that does not answer within this is passed over.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long it is not asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// Those that did not answer lately, by their marks, and since when.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<BTreeMap<String, Instant>>);

impl Silent {
    fn is_silent(&self, mark: &str) -> bool {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, since| since.elapsed() < SILENCE);
        silent.contains_key(mark)
    }

    fn note(&self, mark: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.to_owned(), Instant::now());
    }
}

/// What the container with this mark answers to a question that is asked of it for the sake of a list; none when it does not
/// answer, or did not lately.
pub(super) async fn ask<T>(core0: &Core0, mark: &str, question: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if core0.silent.is_silent(mark) {
        return Ok(None);
    }
    let untold = match timeout(PATIENCE, question).await {
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => Some(error),
        Ok(answer) => return answer.map(Some),
        Err(_) => None,
    };
    // Where the node itself does not answer it may be that the container would.
    let is_silent = matches!(timeout(PATIENCE, core0.client.listed(Scope::Host)).await, Ok(Ok(_)));
    tracing::debug!(mark, is_silent, ?untold, "a container does not answer, and is passed over");
    if is_silent {
        core0.silent.note(mark);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_core::jobs::{JobKeeper, JobLimits};
    use roadstead_core::{Capabilities, Error};
    use serde_json::json;

    use super::super::commands::replay::node::Node;
    use super::*;

    fn core0(node: &Node) -> Arc<Core0> {
        let jobs = JobKeeper::new("n", JobLimits::default());
        Core0::new("n", String::new(), node.client(), Capabilities::default(), jobs)
    }

    async fn says_nothing() -> Result<u32> {
        Err(Error::new(ErrorKind::DeadlineExceeded, "no answer"))
    }

    async fn says(number: u32) -> Result<u32> {
        Ok(number)
    }

    #[tokio::test]
    async fn who_was_silent_is_not_asked_for_a_while() {
        let node = Node::start().await;
        let core0 = core0(&node);
        node.script(&[("job.list", json!({"id": "x", "state": "SUCCESS", "level": 20, "code": 0, "data": "[]"}))]);
        assert_eq!(ask(&core0, "one", says_nothing()).await.unwrap(), None);
        assert_eq!(ask(&core0, "one", says(1)).await.unwrap(), None, "it is not asked again");
        assert_eq!(ask(&core0, "other", says(2)).await.unwrap(), Some(2));
        tokio::time::pause();
        tokio::time::advance(SILENCE).await;
        assert_eq!(ask(&core0, "one", says(1)).await.unwrap(), Some(1));
        let refused = async { Err::<u32, Error>(Error::not_found("container", "1")) };
        assert_eq!(ask(&core0, "one", refused).await.unwrap_err().kind(), ErrorKind::NotFound, "that is an answer");
    }

    #[tokio::test]
    async fn a_node_that_is_silent_says_nothing_of_its_containers() {
        let node = Node::start().await;
        let core0 = core0(&node);
        node.script(&[("job.list", json!({"id": "x", "state": "ERROR", "level": 20, "code": 500, "data": "\"no\""}))]);
        assert_eq!(ask(&core0, "one", says_nothing()).await.unwrap(), None);
        assert_eq!(ask(&core0, "one", says(1)).await.unwrap(), Some(1));
    }
}
