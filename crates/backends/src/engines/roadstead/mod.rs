//! Nodes of another Roadstead server, through its REST API: everything that the node can do there it can do here, by the same
//! traits. So a fleet is watched and worked with without opening any engine's socket to the network.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use roadstead_core::ConnectOptions;
//!
//! // Without TLS only this machine is reached: the token would be read on the way.
//! let registry = roadstead_backends::registry();
//! let refused = registry.connect("far", "roadstead+http://far.example:7070", &ConnectOptions::default()).await;
//! assert_eq!(refused.unwrap_err().field(), Some("uri"));
//! # })
//! ```

mod address;
mod attach;
mod capabilities;
mod connect;
mod container;
mod events;
mod following;
mod frames;
mod images;
mod job;
mod known;
mod lists;
mod node;
mod problem;
mod request;
mod shared;
mod transport;
mod usage;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{ConnectOptions, Discovered, Engine, Node, NodeUri, Result};

pub use node::RoadsteadNode;

/// The URI by which to connect to a node of a server, made of the server's address (`https://HOST[:PORT]`, or `http://` for this machine; the
/// query says whom to trust, as in the URI of a node), its token, and the node's name. It holds the token.
///
/// # Errors
/// `InvalidInput` that names `url`.
pub fn node_uri(url: &str, token: Option<&str>, node: &str) -> Result<String> {
    address::node_uri(url, token, node)
}

/// The names of the nodes of the server at `uri`, which is as for connecting to one of them; a node that it names makes no difference.
///
/// It may be cancelled by dropping its future.
///
/// # Errors
/// `InvalidInput` for a URI that makes no sense, `Unavailable` when nobody answers, `Unauthenticated` when the token is not taken.
pub async fn node_names(uri: &NodeUri, options: &ConnectOptions) -> Result<Vec<String>> {
    connect::node_names(uri, options).await.map_err(|error| error.with_operation("server.nodes"))
}

/// Connects to nodes of other Roadstead servers.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RoadsteadEngine {}

#[async_trait]
impl Engine for RoadsteadEngine {
    fn schemes(&self) -> &'static [&'static str] {
        address::SCHEMES
    }

    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        Ok(Arc::new(RoadsteadNode::connect(name, uri, options).await?))
    }

    /// A server on this machine serves what is found here anyhow.
    fn discover(&self) -> Vec<Discovered> {
        Vec::new()
    }
}
