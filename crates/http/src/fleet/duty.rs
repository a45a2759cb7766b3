//! Which nodes this server watches: each node of the store is watched by exactly one of the servers that are alive.
//!
//! Every server computes for each node the same order of the servers that reach it (rendezvous hashing, so that few nodes change hands when
//! one comes or goes), claims those for which it is the first, and gives back the others. The claim decides, not the order: two servers may
//! see different ones for a moment, and still one has it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use roadstead_core::store::{Claim, Guard, Revision, TableChange};
use roadstead_core::{ItemStream, Result};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{Fleet, ServerRecord};
use crate::nodes::{NodeSlot, NodeSource, Nodes};

/// Below which the claims are.
const NODES: &str = "nodes/";
/// What another one has is asked for again after so long.
const AGAIN: Duration = Duration::from_millis(500);
/// Without any sign of a change, it is looked at so often.
const SELDOM: Duration = Duration::from_secs(5);

/// By what right a node is watched here.
#[derive(Clone, Debug)]
pub(crate) enum Hold {
    /// It is one of this machine or of the configuration: this server's own.
    Own,
    /// It is one of the store, and nobody else has this.
    Claimed(Claim),
}

impl Hold {
    /// Whether it is still so for certain.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Hold::Own => true,
            Hold::Claimed(claim) => claim.holds(),
        }
    }

    /// Whether it is the same right, and not a later one to the same node.
    pub(crate) fn is(&self, other: &Hold) -> bool {
        match (self, other) {
            (Hold::Own, Hold::Own) => true,
            (Hold::Claimed(one), Hold::Claimed(other)) => one.guard() == other.guard(),
            _ => false,
        }
    }
}

/// What is told of the nodes that are watched here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settled {
    /// The count of changes of the nodes that were looked at last.
    pub(crate) generation: Option<u64>,
    /// What is claimed.
    claims: Vec<Guard>,
}

/// The nodes that are watched here.
#[derive(Debug, Default)]
pub(crate) struct Duty {
    claims: Mutex<BTreeMap<String, Claim>>,
    settled: watch::Sender<Settled>,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first server for a node: of those that reach it the one whose hash together with the node's name is the greatest. All servers, of
/// whatever version, have to find the same one.
fn first<'a>(node: &str, servers: &'a [ServerRecord]) -> Option<&'a str> {
    let reach = servers.iter().filter(|server| !server.unreached_nodes.contains(node));
    reach.map(|server| server.id.as_str()).max_by_key(|server| Sha256::digest(format!("{server} {node}")))
}

/// Ready once servers have come or gone, or that cannot be told any more, and then there is no watch. Takes all that is told at once.
async fn changed(watch: &mut Option<ItemStream<TableChange<ServerRecord>>>) {
    let Some(changes) = watch else { return std::future::pending().await };
    let mut change = changes.next().await;
    while let Some(Ok(TableChange::Put(..) | TableChange::Deleted(_))) = change {
        match changes.next().now_or_never() {
            Some(next) => change = next,
            None => return,
        }
    }
    // First: this may be dropped while it sleeps, and what has ended is not asked again.
    *watch = None;
    // It may break again at once.
    tokio::time::sleep(AGAIN).await;
}

fn name(node: &str) -> String {
    format!("{NODES}{node}")
}

impl Duty {
    /// By what right this server watches the node, for certain; none when another one does, or nobody yet. Nodes of this machine and
    /// of the configuration are each server's own.
    pub(crate) fn hold(&self, slot: &NodeSlot) -> Option<Hold> {
        if slot.source() != NodeSource::Added {
            return Some(Hold::Own);
        }
        lock(&self.claims).get(slot.name()).filter(|claim| claim.holds()).cloned().map(Hold::Claimed)
    }

    /// Tells when other nodes are watched here, and when those that there are have been looked at.
    pub(crate) fn changes(&self) -> watch::Receiver<Settled> {
        self.settled.subscribe()
    }

    fn tell(&self, generation: Option<u64>) {
        let claims = lock(&self.claims).values().map(Claim::guard).collect();
        self.settled.send_if_modified(|told| {
            let now = Settled { generation: generation.or(told.generation), claims };
            let is_other = *told != now;
            *told = now;
            is_other
        });
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
        let mut servers_change = None;
        loop {
            let generation = *nodes_change.borrow_and_update();
            sessions.borrow_and_update();
            let settled = match self.settle(fleet, nodes).await {
                Ok((settled, revision)) => {
                    self.tell(Some(generation));
                    if servers_change.is_none() {
                        // From what was settled on, so that nothing is missed. Without it, it is looked at again all the same.
                        servers_change = fleet.watch(revision).await.ok();
                    }
                    settled && servers_change.is_some()
                }
                Err(error) => {
                    tracing::warn!(%error, "fleet: which nodes are watched here is not settled");
                    false
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if settled { SELDOM } else { AGAIN }) => {}
                () = changed(&mut servers_change) => {}
                changed = nodes_change.changed() => if changed.is_err() { return },
                changed = sessions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look at all: whether everything is as it is to be, and the revision at which the servers were known.
    async fn settle(&self, fleet: &Fleet, nodes: &Nodes) -> Result<(bool, Revision)> {
        // With the session went what was claimed in it.
        lock(&self.claims).retain(|_, claim| claim.holds());
        self.tell(None);
        let unreached = nodes.unreached();
        let (mut servers, mut revision) = fleet.servers_at().await?;
        // What the store has counts: a session may have begun with what was so before.
        if servers.iter().any(|server| server.id == fleet.id() && server.unreached_nodes != unreached) {
            fleet.does_not_reach(unreached).await?;
            (servers, revision) = fleet.servers_at().await?;
        }
        let of_store = nodes.all().into_iter().filter(|slot| slot.source() == NodeSource::Added);
        let ours: Vec<_> = of_store
            .map(|slot| slot.name().to_owned())
            .filter(|node| first(node, &servers) == Some(fleet.id()))
            .collect();
        // What the store has decides, and not what is known here: the answer to a claim, or to giving one back, may have been lost.
        let claimed = Duty::watchers(fleet).await?;
        let mine = |node: &String| claimed.get(node).is_some_and(|server| server == fleet.id());
        lock(&self.claims).retain(|node, _| ours.contains(node) && mine(node));
        // Before they are given back.
        self.tell(None);
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
            match fleet.claim(&name(&node)).await? {
                Some(claim) => {
                    lock(&self.claims).insert(node, claim);
                }
                None => settled = false,
            }
        }
        Ok((settled, revision))
    }
}

#[cfg(test)]
mod tests;
