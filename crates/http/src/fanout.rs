//! The same question to every node at once: by the deadline there is an answer, whatever single nodes do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_core::{Listing, Node, NodeAnswer, Result, Timestamp, gather};

use crate::nodes::NodeSlot;
use crate::state::within;

/// Asks every slot's node, connecting those that are not connected.
pub(crate) async fn ask<T, F: Future<Output = Result<Vec<T>>>>(
    slots: &[Arc<NodeSlot>],
    deadline: Duration,
    question: impl Fn(Arc<dyn Node>) -> F,
) -> Listing<T> {
    let questions = slots.iter().map(|slot| {
        let question = &question;
        (slot.name().to_owned(), async move { question(slot.node(deadline).await?).await })
    });
    gather(questions, deadline).await
}

/// Asks one slot's node. Unlike one of many, a single node that does not answer is an error of the whole.
///
/// # Errors
/// What the node says, or `DeadlineExceeded`.
pub(crate) async fn ask_one<T, F: Future<Output = Result<Vec<T>>>>(
    slot: &Arc<NodeSlot>,
    deadline: Duration,
    question: impl FnOnce(Arc<dyn Node>) -> F,
) -> Result<Listing<T>> {
    let begun = Instant::now();
    let items = within(deadline, async { question(slot.node(deadline).await?).await }).await?;
    let mut listing = Listing::default();
    listing.items = items;
    listing.nodes.push(NodeAnswer::new(slot.name(), Some(Timestamp::now()), begun.elapsed()));
    Ok(listing)
}
