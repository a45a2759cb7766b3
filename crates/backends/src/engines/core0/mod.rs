//! Zero-OS core0, the agent that is process 1 of a node, and coreX, which is process 1 of each container on it.
//!
//! They are spoken to through the node's Redis: a command is pushed to a list, and its result appears in another one.

mod address;
mod client;
mod command;
pub mod commands;
mod connect;
mod container;
mod create;
mod ended;
mod facts;
mod failure;
mod files;
mod following;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod image;
mod inspect;
mod jobs;
mod kept;
mod lifecycle;
mod link;
mod logs;
mod machine;
mod node;
mod outcome;
mod outliving;
mod pool;
mod ports;
mod processes;
mod progress;
mod readers;
mod record;
mod settle;
mod shared;
mod silent;
mod started;
mod stats;
mod streams;
mod sweep;
mod usage;
mod wait;
mod watching;

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{ConnectOptions, Discovered, Engine, Node, NodeUri, Result};

pub use command::Command;
pub use commands::{Commands, HostCommands};
pub use node::Core0Node;
pub use outcome::{Outcome, OutcomeState};
pub use pool::resource_pool;
pub use started::Core0Job;
pub use streams::Entry;

/// Connects to Zero-OS nodes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Core0Engine {}

#[async_trait]
impl Engine for Core0Engine {
    fn schemes(&self) -> &'static [&'static str] {
        connect::SCHEMES
    }

    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        Ok(Arc::new(Core0Node::connect(name, uri, options).await?))
    }

    fn discover(&self) -> Vec<Discovered> {
        connect::discover()
    }
}

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// On the node itself.
    Host,
    /// In the container with this id.
    Container(u64),
}
