//! LXD and Incus, which speak one protocol. What a server can do is decided by the extensions of its API, never by its
//! name.

#![allow(clippy::unused_async)]

mod apart;
mod attach;
mod backups;
mod capabilities;
mod client;
mod cluster;
pub mod config;
mod connect;
mod console;
mod container;
mod create;
mod deaf;
mod ended;
mod error;
mod events;
mod exec;
mod export;
mod facts;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gateways;
mod images;
mod inside;
mod inspect;
mod instance;
mod labels;
mod lifecycle;
mod list;
mod logs;
mod migrate;
mod networks;
mod node;
mod operation;
mod processes;
mod profiles;
mod provision;
mod recorded;
mod request;
mod resources;
mod server;
mod sftp;
mod shared;
mod snapshots;
mod spec;
mod stats;
mod storage;
mod surroundings;
mod transport;
mod trust;
mod update;
mod usage;
mod volumes;
mod wait;
mod watch;
mod websocket;

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::{ConnectOptions, Discovered, Engine, Node, NodeUri, Result};

pub use cluster::ClusterMember;
pub use images::CopyImageOptions;
pub use networks::{NetworkDetails, NetworkState};
pub use node::LxdNode;
pub use profiles::{Profile, Project};
pub use provision::InstanceOptions;
pub use resources::{CpuFacts, DiskFacts, MemoryFacts, MetricSample, NicFacts, NodeResources, OsFacts};
pub use storage::{StoragePool, StoragePoolSpec};
pub use trust::{Joined, Proof, join};

/// Connects to LXD and Incus servers.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LxdEngine {}

#[async_trait]
impl Engine for LxdEngine {
    fn schemes(&self) -> &'static [&'static str] {
        connect::SCHEMES
    }

    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        Ok(Arc::new(LxdNode::connect(name, uri, options).await?))
    }

    fn discover(&self) -> Vec<Discovered> {
        config::discover(&config::Environment::of_process())
    }
}
