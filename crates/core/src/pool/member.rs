//! A node as a member of a pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::node::Node;

/// A node, and what the pool knows of it beside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// The node.
    pub node: Arc<dyn Node>,
    /// Its labels, by which containers are placed.
    pub labels: BTreeMap<String, String>,
    /// Why no new container is placed on it; absent where they are.
    pub cordon: Option<String>,
}

impl Member {
    /// A member without labels, on which containers are placed.
    #[must_use]
    pub fn new(node: Arc<dyn Node>) -> Self {
        Member { node, labels: BTreeMap::new(), cordon: None }
    }

    /// Sets its labels.
    #[must_use]
    pub fn labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }

    /// Keeps new containers away from it, for this reason.
    #[must_use]
    pub fn cordoned(mut self, reason: impl Into<String>) -> Self {
        self.cordon = Some(reason.into());
        self
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.name()
    }
}
