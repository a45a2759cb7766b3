//! The reference engine: a node that is all in memory.
//!
//! It holds every clause of the traits that a simulation can hold, so that callers, layers and adapters can be tested
//! without any engine, with time that can be paused, ids that follow from a seed, and faults that are scripted
//! ([`Faults`]). Nothing on it is real, and [`crate::NodeInfo::simulated`] says so.
//!
//! Its URI is `memory:`; parameters are `seed=7`, `fault=…` (see [`Faults`]), `registry=REFERENCE,…` (what the
//! simulated registry has) and `without=CAPABILITY,…` (what the node shall not be able to do). Credentials, as in
//! `memory://user:password@host`, are taken and asked of nobody: they are there to test that nothing shows them.

mod archive;
mod backups;
mod clock;
mod container;
mod copy;
mod create;
mod events;
mod faults;
mod files;
mod ids;
mod images;
mod jobs;
mod lifecycle;
mod logs;
mod networks;
mod node;
mod process;
mod shell;
mod snapshots;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod usage;
mod volumes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use faults::{Fault, Faults};
pub use node::{MemoryNode, MemoryOptions};

use crate::capabilities::Capability;
use crate::error::{Error, Result};
use crate::jobs::JobLimits;
use crate::node::Node;
use crate::registry::{ConnectOptions, Discovered, Engine, NodeUri};

/// The image that every node in memory has.
pub const PRESET_IMAGE: &str = "roadstead/busybox:latest";

/// An image that the simulated registry has unless others are named.
pub const REGISTRY_IMAGE: &str = "registry.example/roadstead/hello:latest";

/// What the simulated registry has unless others are named. What is tried on an engine begins with `busybox`.
const REGISTRY: [&str; 2] = ["busybox:latest", REGISTRY_IMAGE];

/// A poisoned lock only says that another thread panicked; no code that may panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the scheme `memory`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use roadstead_core::{ConnectOptions, ContainerSpec, Registry, memory::{MemoryEngine, PRESET_IMAGE}};
///
/// let registry = Registry::new().with(MemoryEngine);
/// let node = registry.connect("sea", "memory:?seed=7", &ConnectOptions::default()).await?;
/// let made = node.create_container(&ContainerSpec::new(PRESET_IMAGE).command(["sleep", "60"])).await?;
/// node.container(&made.id).start().await?;
/// assert!(node.container(&made.id).inspect().await?.pid.is_some());
/// # Ok::<(), roadstead_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryEngine;

#[async_trait]
impl Engine for MemoryEngine {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        uri.allow_query(&["seed", "fault", "registry", "without"])?;
        if uri.host().is_some() != uri.user().is_some() || uri.port().is_some() || !uri.path().is_empty() {
            return Err(Error::invalid(
                "uri",
                "memory: has no path, and a host only as in memory://user:password@host",
            ));
        }
        let job_limits = JobLimits { keep: options.keep_jobs, ..JobLimits::default() };
        let mut memory = MemoryOptions { job_limits, uri: uri.to_string(), ..MemoryOptions::default() };
        for (key, value) in uri.query() {
            match key.as_str() {
                "seed" => {
                    memory.seed =
                        Some(value.parse().map_err(|_| Error::invalid("uri", "seed must be a number below 2^64"))?);
                }
                "registry" => memory.registry = value.split(',').map(str::to_owned).collect(),
                "without" => {
                    for name in value.split(',') {
                        let capability = Capability::ALL.iter().find(|capability| capability.name() == name);
                        let unknown = || Error::invalid("uri", format!("there is no capability {name:?}"));
                        memory.without.push(*capability.ok_or_else(unknown)?);
                    }
                }
                _ => memory.faults.clone_from(value),
            }
        }
        Ok(Arc::new(MemoryNode::new(name, memory)?))
    }

    fn discover(&self) -> Vec<Discovered> {
        Vec::new()
    }
}
