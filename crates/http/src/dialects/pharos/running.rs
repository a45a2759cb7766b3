//! Containers of all nodes: which there are, and everything that is told of one, from memory where that is up to date.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::mirror::{Details, Item};
use roadstead_core::{ContainerSummary, Error, ErrorKind, Result};

use crate::containers;
use crate::nodes::NodeSlot;
use crate::state::App;

/// How long details in memory may take to be proven; then the engine is asked.
const PROOF: Duration = Duration::from_millis(250);

/// The containers of a node.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) slot: Arc<NodeSlot>,
    pub(super) containers: Vec<ContainerSummary>,
    /// Why these are what was known last, when the node does not answer.
    pub(super) away: Option<Error>,
}

/// The containers of these nodes, all asked at once and none waited for longer than is allowed.
pub(super) async fn listed(app: &App, slots: Vec<Arc<NodeSlot>>) -> Vec<Listed> {
    let deadline = app.deadline();
    join_all(slots.into_iter().map(|slot| async move {
        let summary = |item: &Arc<Item>| item.summary().clone();
        match containers::items(&slot, deadline, false).await {
            Ok(items) => Listed { slot, containers: items.iter().map(summary).collect(), away: None },
            Err(error) => {
                let containers = slot.mirror().snapshot().iter().map(summary).collect();
                Listed { slot, containers, away: Some(error) }
            }
        }
    }))
    .await
}

/// Everything that is told of a container.
///
/// # Errors
/// `NotFound` when it is gone, and those of the engine.
pub(super) async fn details(app: &App, slot: &Arc<NodeSlot>, id: &str) -> Result<Arc<Details>> {
    let ask = async { slot.node(app.deadline()).await?.container(id).inspect().await };
    slot.mirror().details(id, PROOF, ask).await
}

/// Whether an error says that a node does not answer, and not what it answers.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}
