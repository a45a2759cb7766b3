//! A resource pool of Zero-OS: nodes that are addressed as one.

use std::sync::Arc;

use roadstead_core::{Error, Member, Node, Result, StaticPool};

use super::Core0Node;

/// The resource pool `name` of these nodes. Nodes know nothing of each other: which of them belong together is known to whoever
/// runs them, as an orchestrator does. What is promised of all of its members is what a Zero-OS node can do, so it takes no other.
///
/// # Errors
/// `InvalidInput` for a node of another engine.
pub fn resource_pool(name: &str, nodes: impl IntoIterator<Item = Arc<dyn Node>>) -> Result<StaticPool> {
    let members = nodes.into_iter().map(|node| {
        if node.engine().is::<Core0Node>() {
            Ok(Member::new(node))
        } else {
            Err(Error::invalid("nodes", format!("{} is no Zero-OS node", node.name())))
        }
    });
    Ok(StaticPool::of(name, members.collect::<Result<Vec<_>>>()?))
}
