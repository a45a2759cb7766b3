//! A pool: a named set of nodes that is addressed as one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::node::Node;
use crate::time::Timestamp;

/// What several nodes answered together: items, errors and how fresh each node's part is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Listing<T> {
    /// What the healthy nodes gave.
    pub items: Vec<T>,
    /// What went wrong, at most one per node.
    pub errors: Vec<NodeError>,
    /// Every node of the pool, in its order.
    pub nodes: Vec<NodeAnswer>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Listing { items: Vec::new(), errors: Vec::new(), nodes: Vec::new() }
    }
}

/// What went wrong on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeError {
    /// Name of the node.
    pub node: String,
    /// What kind of error.
    pub code: ErrorKind,
    /// One line for a person.
    pub detail: String,
    /// Whether asking again is wise.
    pub retry: Retry,
}

impl NodeError {
    /// What `error` says of `node`.
    #[must_use]
    pub fn new(node: &str, error: &Error) -> Self {
        NodeError { node: node.to_owned(), code: error.kind(), detail: error.to_string(), retry: error.retry() }
    }
}

/// How one node's part of a listing came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeAnswer {
    /// Name of the node.
    pub node: String,
    /// Whether it answered.
    pub ok: bool,
    /// When its part was read; absent when it did not answer.
    pub observed_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
}

impl NodeAnswer {
    /// An answer that took `duration`; `observed_at` is absent when there was none.
    #[must_use]
    pub fn new(node: &str, observed_at: Option<Timestamp>, duration: Duration) -> Self {
        NodeAnswer {
            node: node.to_owned(),
            ok: observed_at.is_some(),
            observed_at,
            duration_seconds: duration.as_secs_f64(),
        }
    }
}

/// A named set of nodes that is addressed as one.
///
/// * **P1**: one sick node never hides the healthy ones, nor their items.
/// * **P2**: the whole answers by its deadline; a node that has not answered by then is an error of the listing.
/// * **P3**: every node of the pool is in `nodes`, in the pool's order, and is in `errors` exactly when it is not `ok`.
#[async_trait]
pub trait Pool: Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Its members, in a stable order.
    fn nodes(&self) -> Vec<Arc<dyn Node>>;

    /// The member with this name.
    ///
    /// * **P4**: `NotFound` when there is none.
    fn node(&self, name: &str) -> Result<Arc<dyn Node>>;

    /// The containers of all members that pass `filter`, by `deadline`.
    ///
    /// * **P5**: holds each member's containers, each with its node's name.
    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>>;
}

/// The error of a member that is not there.
pub(crate) fn no_such_node(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no such node: {name}")).with_resource(name)
}
