//! One container of a mirror: what a list shows of it, the same as JSON, and its place among the others.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;

use crate::container::ContainerSummary;

/// The place of a container in the list of its node: newest first, of equal age by id. What has no time comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemKey {
    /// Nanoseconds since 1970; zero when not told.
    created: Reverse<i128>,
    id: Arc<str>,
}

impl ItemKey {
    /// The place of a container with this id that was created so many nanoseconds after 1970, zero when that is not told.
    #[must_use]
    pub fn new(created_nanos: i128, id: &str) -> Self {
        ItemKey { created: Reverse(created_nanos), id: id.into() }
    }

    /// The place of this container.
    #[must_use]
    pub fn of(container: &ContainerSummary) -> Self {
        ItemKey::new(container.created_at.map_or(0, crate::Timestamp::unix_nanos), &container.id)
    }

    /// Nanoseconds after 1970 at which it was created; zero when not told.
    #[must_use]
    pub fn created_nanos(&self) -> i128 {
        self.created.0
    }

    /// Id of the container.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A container as a list shows it. It never changes: when the container does, another one takes its place.
#[derive(Debug)]
pub struct Item {
    summary: ContainerSummary,
    key: ItemKey,
    json: Bytes,
}

impl Item {
    /// Encodes it, which is done once per change.
    #[must_use]
    pub fn new(summary: ContainerSummary) -> Self {
        // Plain data with text for keys: there is nothing in it that could not be written.
        let json = serde_json::to_vec(&summary).unwrap_or_default().into();
        Item { key: ItemKey::of(&summary), summary, json }
    }

    /// What a list shows of it.
    #[must_use]
    pub fn summary(&self) -> &ContainerSummary {
        &self.summary
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Its place among the containers of its node.
    #[must_use]
    pub fn key(&self) -> &ItemKey {
        &self.key
    }

    pub(super) fn id(&self) -> &Arc<str> {
        &self.key.id
    }
}
