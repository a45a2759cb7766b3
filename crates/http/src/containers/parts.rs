//! One node's part of a list: from its mirror, or asked of its engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_core::mirror::{Item, ItemKey, Snapshot, View};
use roadstead_core::{Listing, NodeAnswer, Result, Timestamp, gather as gather_by};

use super::Question;
use crate::nodes::NodeSlot;
use crate::state::within;

/// A mirror that has to ask something first is waited for as long; then the engine is asked beside it.
const PATIENCE: Duration = Duration::from_millis(250);
/// The same, of a list that the mirror asks for anew.
const PATIENCE_FRESH: Duration = Duration::from_secs(2);

/// What one node has.
#[derive(Debug)]
pub(super) enum Part {
    /// As its mirror shows it.
    Mirrored(View),
    /// As its engine answered.
    Asked {
        node: String,
        /// In the order of lists.
        items: Vec<Arc<Item>>,
    },
}

impl Part {
    pub(super) fn view(&self) -> Option<View> {
        match self {
            Part::Mirrored(view) => Some(view.clone()),
            Part::Asked { .. } => None,
        }
    }

    pub(super) fn node(&self) -> &str {
        match self {
            Part::Mirrored(view) => view.snapshot.node(),
            Part::Asked { node, .. } => node,
        }
    }

    /// Its containers, those behind a place only when one is given.
    pub(super) fn items<'a>(&'a self, after: Option<&'a ItemKey>) -> Box<dyn Iterator<Item = &'a Arc<Item>> + 'a> {
        match self {
            Part::Mirrored(view) => of_snapshot(&view.snapshot, after),
            Part::Asked { items, .. } => {
                Box::new(items.iter().filter(move |item| after.is_none_or(|after| item.key() > after)))
            }
        }
    }
}

fn of_snapshot<'a>(snapshot: &'a Snapshot, after: Option<&'a ItemKey>) -> Box<dyn Iterator<Item = &'a Arc<Item>> + 'a> {
    match after {
        Some(after) => Box::new(snapshot.after(after)),
        None => Box::new(snapshot.iter()),
    }
}

/// How a mirror's part came about: it stands as it is since its last change.
pub(super) fn answer_of(snapshot: &Snapshot) -> NodeAnswer {
    NodeAnswer::new(snapshot.node(), Some(snapshot.changed_at()), Duration::ZERO)
}

/// One part, by the mirror if it can be, by the engine otherwise: whoever has it first once the mirror takes long.
async fn part(slot: &Arc<NodeSlot>, question: &Question) -> Result<Part> {
    let mirror = slot.mirror();
    let ask = async || {
        let node = slot.node(question.deadline).await?;
        let found = node.list_containers(&question.filter).await?;
        mirror.engine_answers();
        let mut items: Vec<_> = found.into_iter().map(|container| Arc::new(Item::new(container))).collect();
        items.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(Part::Asked { node: slot.name().to_owned(), items })
    };
    let mirrored = async {
        if question.fresh { mirror.refresh(question.deadline).await } else { mirror.read(question.deadline).await }
    };
    let mut mirrored = std::pin::pin!(mirrored);
    let patience = if question.fresh { PATIENCE_FRESH } else { PATIENCE };
    match tokio::time::timeout(patience, &mut mirrored).await {
        Ok(Ok(view)) => return Ok(Part::Mirrored(view)),
        Ok(Err(_)) => return ask().await,
        Err(_) => {}
    }
    tokio::select! {
        Ok(view) = mirrored => Ok(Part::Mirrored(view)),
        asked = ask() => asked,
    }
}

/// The parts of all nodes that have one by the deadline.
pub(super) async fn gather(slots: &[Arc<NodeSlot>], question: &Question) -> Listing<Part> {
    let questions = slots
        .iter()
        .map(|slot| (slot.name().to_owned(), async move { part(slot, question).await.map(|part| vec![part]) }));
    told(gather_by(questions, question.deadline).await)
}

/// The part of one node.
///
/// # Errors
/// What the node says, or `DeadlineExceeded`.
pub(super) async fn of_one(slot: &Arc<NodeSlot>, question: &Question) -> Result<Listing<Part>> {
    let begun = Instant::now();
    let part = within(question.deadline, part(slot, question)).await?;
    let mut listing = Listing::default();
    listing.items.push(part);
    listing.nodes.push(NodeAnswer::new(slot.name(), Some(Timestamp::now()), begun.elapsed()));
    Ok(told(listing))
}

/// Mirrors say themselves how their parts came about.
fn told(mut listing: Listing<Part>) -> Listing<Part> {
    let mut parts = listing.items.iter().peekable();
    for answer in listing.nodes.iter_mut().filter(|answer| answer.ok) {
        // Parts come in the order of the nodes, one of each that answered.
        if let Some(Part::Mirrored(view)) = parts.next_if(|part| part.node() == answer.node) {
            *answer = answer_of(&view.snapshot);
        }
    }
    listing
}
