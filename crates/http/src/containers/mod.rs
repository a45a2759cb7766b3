//! Lists of containers: from memory where that is as good as asking, and from the engines where it is not.
//!
//! What comes from mirrors alone is encoded once per change and sent with a strong validator; the same bytes go to everybody until
//! something changes. As soon as one node has to be asked, the answer is made for the one who asked.

mod body;
mod kept;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use roadstead_core::mirror::{Item, ItemKey, View};
use roadstead_core::{ContainerFilter, Error, Result};

pub(crate) use self::kept::Bodies;
use self::parts::Part;
use crate::nodes::NodeSlot;
use crate::page::Paging;
use crate::problem::Answer;
use crate::state::App;

/// What a list is asked for.
#[derive(Debug)]
pub(crate) struct Question {
    /// Which containers.
    pub(crate) filter: ContainerFilter,
    /// Which of these, and what of each.
    pub(crate) paging: Paging,
    /// When there must be an answer.
    pub(crate) deadline: Duration,
    /// Whether the engines are to be asked.
    pub(crate) fresh: bool,
    /// Behind which place the page begins.
    pub(crate) after: Option<Place>,
}

/// A place in a list over nodes.
#[derive(Debug)]
pub(crate) struct Place {
    node: String,
    key: ItemKey,
}

/// So that numbers that are sorted as text, ascending, are newest first.
const LATEST: i128 = i128::MAX / 2;

impl Place {
    /// The place behind which a page begins that is asked for so.
    ///
    /// # Errors
    /// `InvalidInput` that names `cursor`.
    pub(crate) fn read(paging: &Paging) -> Result<Option<Place>> {
        let Some(key) = paging.after()? else { return Ok(None) };
        let read = || {
            let [node, newest, id] = <[String; 3]>::try_from(key).ok()?;
            let created = LATEST.checked_sub(newest.parse().ok()?)?;
            Some(Place { node, key: ItemKey::new(created, &id) })
        };
        read().map(Some).ok_or_else(|| Error::invalid("cursor", "is not one that this server gave"))
    }

    fn cursor(node: &str, key: &ItemKey) -> String {
        let newest = format!("{:039}", LATEST.saturating_sub(key.created_nanos()));
        crate::page::cursor(&[node.to_owned(), newest, key.id().to_owned()])
    }
}

/// The list of these nodes. A node that does not answer is an error of the list.
pub(crate) async fn of_all(app: &App, req: &HttpRequest, slots: &[Arc<NodeSlot>], question: &Question) -> Answer {
    let now = app.nodes.container_changes().now();
    if let Some(views) = current(slots, question) {
        return kept::answer(app, req, question, &views, now).await;
    }
    let listing = parts::gather(slots, question).await;
    if listing.errors.is_empty()
        && let Some(views) = listing.items.iter().map(Part::view).collect::<Option<Vec<_>>>()
    {
        return kept::answer(app, req, question, &views, now).await;
    }
    body::answer_once(question, &listing)
}

/// The list of one node. That it does not answer is the answer.
pub(crate) async fn of_one(app: &App, req: &HttpRequest, slot: &Arc<NodeSlot>, question: &Question) -> Answer {
    let slots = std::slice::from_ref(slot);
    let now = app.nodes.container_changes().now();
    if let Some(views) = current(slots, question) {
        return kept::answer(app, req, question, &views, now).await;
    }
    let listing = parts::of_one(slot, question).await?;
    match listing.items.iter().map(Part::view).collect::<Option<Vec<_>>>() {
        Some(views) => kept::answer(app, req, question, &views, now).await,
        None => body::answer_once(question, &listing),
    }
}

/// All containers of one node, in the order of lists, for whoever translates them; asked of the engine where `fresh` says so.
///
/// # Errors
/// What the node says, or `DeadlineExceeded`.
pub(crate) async fn items(slot: &Arc<NodeSlot>, deadline: Duration, fresh: bool) -> Result<Vec<Arc<Item>>> {
    let filter = ContainerFilter::all();
    let question = Question { filter, paging: Paging::default(), deadline, fresh, after: None };
    let listing = parts::of_one(slot, &question).await?;
    Ok(listing.items.iter().flat_map(|part| part.items(None)).cloned().collect())
}

/// What is in memory, if it is good for all nodes at this moment.
fn current(slots: &[Arc<NodeSlot>], question: &Question) -> Option<Vec<View>> {
    if question.fresh {
        return None;
    }
    slots.iter().map(|slot| slot.mirror().current()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::{ContainerSummary, Timestamp};

    #[test]
    fn a_cursor_leads_to_the_place_that_it_was_made_of() {
        for created in [0, 1, 1_700_000_000_000_000_001, -5] {
            let key = ItemKey::new(created, "web");
            let paging = Paging { cursor: Some(Place::cursor("sea", &key)), ..Paging::default() };
            let place = Place::read(&paging).unwrap().unwrap();
            assert_eq!((place.node.as_str(), &place.key), ("sea", &key));
        }
        let mut container = ContainerSummary::default();
        container.id = "web".to_owned();
        container.created_at = Timestamp::from_unix_nanos(7);
        assert_eq!(ItemKey::of(&container), ItemKey::new(7, "web"));
        for key in [vec!["sea"], vec!["sea", "x", "web"], vec!["sea", "1", "web", "more"]] {
            let key: Vec<String> = key.into_iter().map(str::to_owned).collect();
            let paging = Paging { cursor: Some(crate::page::cursor(&key)), ..Paging::default() };
            assert_eq!(Place::read(&paging).unwrap_err().field(), Some("cursor"));
        }
    }
}
