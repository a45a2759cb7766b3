//! What the members of a pool have, and what of it is used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Member, NodeAnswer, NodeError, gather};
use crate::container::{ContainerFilter, ContainerState};
use crate::error::Result;
use crate::node::Node;
use crate::usage::UsageOptions;

/// What one member has, and what of it is used. What its engine does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeCapacity {
    /// Name of the node.
    pub node: String,
    /// Its processor cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory that new containers can have: what the machine tells to be available, otherwise what its containers leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_free_bytes: Option<u64>,
    /// Its containers.
    pub containers: u64,
    /// Those that run.
    pub running: u64,
}

/// What all members have together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PoolTotals {
    /// Processor cores.
    pub cpus: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Memory that new containers can have.
    pub memory_free_bytes: u64,
    /// Containers.
    pub containers: u64,
    /// Containers that run.
    pub running: u64,
    /// The part of each member that answered.
    pub members: Vec<NodeCapacity>,
    /// What went wrong, at most one per node.
    pub errors: Vec<NodeError>,
    /// Every member.
    pub nodes: Vec<NodeAnswer>,
}

pub(super) async fn totals(members: &[Member], deadline: Duration) -> PoolTotals {
    let questions =
        members.iter().map(|member| (member.name().to_owned(), async { Ok(vec![capacity(&*member.node).await?]) }));
    let listing = gather(questions, deadline).await;
    let mut totals = PoolTotals { errors: listing.errors, nodes: listing.nodes, ..PoolTotals::default() };
    for part in &listing.items {
        totals.cpus = totals.cpus.saturating_add(part.cpus.unwrap_or_default().into());
        totals.memory_bytes = totals.memory_bytes.saturating_add(part.memory_bytes.unwrap_or_default());
        totals.memory_free_bytes = totals.memory_free_bytes.saturating_add(part.memory_free_bytes.unwrap_or_default());
        totals.containers = totals.containers.saturating_add(part.containers);
        totals.running = totals.running.saturating_add(part.running);
    }
    totals.members = listing.items;
    totals
}

/// What a node has and uses.
pub(super) async fn capacity(node: &dyn Node) -> Result<NodeCapacity> {
    let everything = ContainerFilter::all();
    let (info, containers) = futures_util::try_join!(node.info(), node.list_containers(&everything))?;
    let running = containers.iter().filter(|container| container.state == ContainerState::Running).count();
    Ok(NodeCapacity {
        node: node.name().to_owned(),
        cpus: info.cpus,
        memory_bytes: info.memory_bytes,
        memory_free_bytes: free_memory(node, info.memory_bytes).await,
        containers: containers.len() as u64,
        running: running as u64,
    })
}

/// What the machine tells to be available; where it does not, its memory less what its containers use. Nothing where neither is
/// known: an engine that has no numbers is no reason to know nothing else of it.
async fn free_memory(node: &dyn Node, total: Option<u64>) -> Option<u64> {
    if !node.capabilities().usage {
        return None;
    }
    let usage = node.usage(&UsageOptions::default()).await.ok()?;
    if let Some(machine) = usage.machine {
        return Some(machine.memory.available_bytes);
    }
    let used: u64 = usage.containers.iter().map(|container| container.stats.memory.usage_bytes).sum();
    total.map(|total| total.saturating_sub(used))
}
