//! Which nodes this server watches: each node of the store is watched by exactly one of the servers that are alive.
//!
//! Every server computes for each node the same order of all servers (rendezvous hashing, so that few nodes change hands when one comes
//! or goes), claims those for which it is the first, and gives back the others. The claim decides, not the order: two servers may see
//! different ones for a moment, and still one has it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_core::Result;
use roadstead_core::store::Claim;

use super::Fleet;
use crate::etag::fingerprint;
use crate::nodes::{NodeSource, Nodes};

/// Below which the claims are.
const NODES: &str = "nodes/";
/// What another one has is asked for again after so long.
const AGAIN: Duration = Duration::from_millis(500);
/// Without any sign of a change, it is looked at so often.
const SELDOM: Duration = Duration::from_secs(5);

/// The nodes that are watched here.
#[derive(Debug, Default)]
pub(crate) struct Duty {
    claims: Mutex<BTreeMap<String, Claim>>,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first server for a node: the one whose hash together with the node's name is the greatest.
fn first<'a>(node: &str, servers: &'a [String]) -> Option<&'a str> {
    servers.iter().map(String::as_str).max_by_key(|server| fingerprint(format!("{server} {node}").as_bytes()))
}

fn name(node: &str) -> String {
    format!("{NODES}{node}")
}

impl Duty {
    /// Whether this server watches the node, for certain. Nodes of this machine and of the configuration are each server's own.
    #[cfg_attr(not(test), expect(dead_code, reason = "what is watched comes next"))]
    pub(crate) fn watches(&self, node: &str) -> bool {
        lock(&self.claims).get(node).is_some_and(Claim::holds)
    }

    /// Which node is watched by which server.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn watchers(fleet: &Fleet) -> Result<BTreeMap<String, String>> {
        fleet.claimed(NODES).await
    }

    /// Claims and gives back for as long as the server runs. Never ends.
    pub(crate) async fn follow(&self, fleet: &Fleet, nodes: &Nodes) {
        let (mut nodes_change, mut sessions) = (nodes.changes(), fleet.sessions());
        let mut servers_change = std::pin::pin!(fleet.changed());
        loop {
            nodes_change.borrow_and_update();
            sessions.borrow_and_update();
            let settled = match self.settle(fleet, nodes).await {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::warn!(%error, "fleet: which nodes are watched here is not settled");
                    false
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if settled { SELDOM } else { AGAIN }) => {}
                () = &mut servers_change => servers_change.set(fleet.changed()),
                changed = nodes_change.changed() => if changed.is_err() { return },
                changed = sessions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look at all; whether everything is as it is to be.
    async fn settle(&self, fleet: &Fleet, nodes: &Nodes) -> Result<bool> {
        // With the session went what was claimed in it.
        lock(&self.claims).retain(|_, claim| claim.holds());
        let servers: Vec<_> = fleet.servers().await?.into_iter().map(|server| server.id).collect();
        let of_store = nodes.all().into_iter().filter(|slot| slot.source() == NodeSource::Added);
        let ours: Vec<_> = of_store
            .map(|slot| slot.name().to_owned())
            .filter(|node| first(node, &servers) == Some(fleet.id()))
            .collect();
        // What the store has decides, and not what is known here: the answer to a claim, or to giving one back, may have been lost.
        let claimed = Duty::watchers(fleet).await?;
        let mine = |node: &String| claimed.get(node).is_some_and(|server| server == fleet.id());
        lock(&self.claims).retain(|node, _| ours.contains(node) && mine(node));
        for node in claimed.keys().filter(|node| mine(node) && !ours.contains(node)) {
            if let Some(claim) = fleet.held(&name(node)).await? {
                claim.release().await?;
            }
        }
        let mut settled = true;
        for node in ours {
            if lock(&self.claims).contains_key(&node) {
                continue;
            }
            let claim = if mine(&node) { fleet.held(&name(&node)).await? } else { fleet.claim(&name(&node)).await? };
            match claim {
                Some(claim) => {
                    lock(&self.claims).insert(node, claim);
                }
                None => settled = false,
            }
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests;
