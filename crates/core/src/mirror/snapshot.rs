//! The containers of a node at one moment.

use std::sync::Arc;

use super::changes::Moment;
use super::item::{Item, ItemKey};
use super::sorted::Sorted;
use crate::time::Timestamp;

/// The containers of a node at one moment. It never changes, and costs nothing to keep but what has changed since.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) node: Arc<str>,
    pub(super) moment: Moment,
    pub(super) changed_at: Timestamp,
    pub(super) items: Sorted,
}

impl Snapshot {
    /// Name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The moment after the last change of this node's containers: what to watch from to learn of the next one. Two snapshots of
    /// one node with the same moment are the same.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// When it became as it is, by this process's clock.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at
    }

    /// How many containers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.len() == 0
    }

    /// All of them, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.iter()
    }

    /// Those behind a place, newest first.
    pub fn after<'a>(&'a self, key: &ItemKey) -> impl Iterator<Item = &'a Arc<Item>> + use<'a> {
        self.items.after(key)
    }
}
