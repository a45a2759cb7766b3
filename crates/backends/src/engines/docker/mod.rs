//! Docker, and Podman through its Docker-compatible socket.

mod attach;
mod beyond;
mod call;
mod capabilities;
mod check;
mod client;
pub mod config;
mod connect;
mod container;
mod create;
mod error;
mod events;
mod exec;
mod facts;
mod files;
mod frames;
mod hijack;
mod images;
mod inspect;
mod json_items;
mod lifecycle;
mod list;
mod logs;
mod networks;
mod node;
mod reference;
mod request;
mod ssh;
mod stats;
mod swarm;
mod system;
mod tls;
mod top;
mod transport;
mod usage;
mod volumes;
mod watch;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{ConnectOptions, Discovered, Engine, Node, NodeUri, Result};

pub use node::DockerNode;

/// Connects to Docker daemons and to Podman's compatible service.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DockerEngine {}

#[async_trait]
impl Engine for DockerEngine {
    fn schemes(&self) -> &'static [&'static str] {
        connect::SCHEMES
    }

    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        Ok(Arc::new(DockerNode::connect(name, uri, options).await?))
    }

    fn discover(&self) -> Vec<Discovered> {
        config::discover(&config::Environment::of_process())
    }
}
