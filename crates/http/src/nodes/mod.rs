//! The nodes that the server serves, connected or not.
//!
//! A [`NodeSlot`] holds a name and a URI for as long as the server knows the node. Whoever needs the node asks the slot,
//! which connects when it must: a node that was away at the start works as soon as it is there.

mod away;
mod feed;
mod identity;
mod slot;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::mirror::Changes;
use roadstead_core::store::{Revision, TableChange};
use roadstead_core::{ConnectOptions, Error, ErrorKind, ItemStream, NodeUri, Registry, Result, names};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::precondition::IfMatch;
use crate::records::Records;
use slot::Shared;
use stored::Stored;

pub(crate) use away::away;
pub use identity::Place;
pub(crate) use identity::{Identities, Meaning, NodeIdentity};
pub use slot::NodeSlot;
pub use stored::StoredNode;

/// Between two attempts to follow the store, doubled each time.
const FOLLOW_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const FOLLOW_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The engine that serves when a machine has no other; it is never found by looking for engines.
const PLACEHOLDER: &str = "memory";

/// How long the calls on a node may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls that the engine answers soon.
    pub quick: Duration,
    /// Calls that move data or wait for processes.
    pub slow: Duration,
}

/// How the server came to know a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeSource {
    /// Found on this machine.
    Discovered,
    /// From the command line, the environment or the configuration file.
    Configured,
    /// Added over this API; kept over restarts.
    Added,
}

/// A node to add.
#[derive(Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Name: letters, digits, `_`, `.` and `-`, at most 63.
    pub name: String,
    /// URI; its scheme names the engine.
    pub uri: String,
    /// Client certificate chain: path of a PEM file on the server's machine.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub certificate: Option<PathBuf>,
    /// Client key: path of a PEM file on the server's machine.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<PathBuf>,
    /// Certificate authority of the engine: path of a PEM file on the server's machine.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub authority: Option<PathBuf>,
    /// Labels, by which pools choose their members and containers are placed.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl std::fmt::Debug for NewNode {
    /// The URI may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewNode").field("name", &self.name).finish_non_exhaustive()
    }
}

/// It is the engine that does not know this server, and not this server that does not know its caller.
fn not_let_in(error: Error) -> Error {
    if error.kind() != ErrorKind::Unauthenticated {
        return error;
    }
    let words = format!("the engine does not let this server in: {}", error.message());
    Error::new(ErrorKind::PermissionDenied, words).with_operation("node.connect").with_source(error)
}

/// Every node of the server, by name.
#[derive(Debug)]
pub struct Nodes {
    shared: Shared,
    /// Where this server is.
    here: Place,
    slots: RwLock<BTreeMap<String, Arc<NodeSlot>>>,
    /// Names of the store's nodes that are not served, since this server has an own node of that name.
    left_out: RwLock<BTreeSet<String>>,
    stored: Arc<Stored>,
    /// Whoever changes what is kept and what is served holds it, so that both change in one order.
    changing: Mutex<()>,
    /// The revision of the store at which its nodes were read.
    loaded: Revision,
    /// Counts additions and removals.
    changed: watch::Sender<u64>,
}

impl Nodes {
    /// No nodes yet, but those that were added over REST before.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn load(
        registry: Registry,
        options: ConnectOptions,
        bounds: Bounds,
        records: &Records,
        here: Place,
    ) -> Result<Self> {
        let stored = Stored::new(records.nodes()?);
        let (added, loaded) = stored.all().await?;
        let nodes = Nodes {
            shared: Shared { registry: Arc::new(registry), options, bounds, changes: Changes::new() },
            here,
            slots: RwLock::default(),
            left_out: RwLock::default(),
            stored: Arc::new(stored),
            changing: Mutex::default(),
            loaded,
            changed: watch::Sender::new(0),
        };
        for (name, node) in added {
            nodes.insert(nodes.slot_of(&name, node));
        }
        Ok(nodes)
    }

    /// The changes of the containers of all nodes.
    #[must_use]
    pub(crate) fn container_changes(&self) -> &Arc<Changes> {
        &self.shared.changes
    }

    /// The engines that can be connected to.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Checks a node without connecting: name, URI and scheme.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    pub fn check(&self, node: &NewNode) -> Result<()> {
        names::node_name("name", &node.name)?;
        for (key, value) in &node.labels {
            names::label_key("labels", key)?;
            names::no_nul("labels", value)?;
        }
        let uri: NodeUri = node.uri.parse()?;
        self.shared.registry.engine(uri.scheme())?;
        if node.certificate.is_some() != node.key.is_some() {
            let missing = if node.key.is_none() { "key" } else { "certificate" };
            return Err(Error::invalid(missing, "certificate and key belong together"));
        }
        for (field, path) in [("certificate", &node.certificate), ("key", &node.key), ("authority", &node.authority)] {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                return Err(Error::invalid(field, "must be an absolute path"));
            }
        }
        Ok(())
    }

    /// Serves a node of this machine or of the configuration. A name that is taken stays with the first; only a node
    /// that was added over REST gives way, since the configuration is what a person can see and edit.
    pub fn serve(&self, node: &NewNode, source: NodeSource) {
        self.take_in(self.slot(node, source, None, None));
    }

    /// Serves a node that the environment names but that makes no sense, so that it is seen what is wrong.
    pub fn serve_broken(&self, name: &str, problem: String) {
        let node = NewNode { name: name.to_owned(), ..NewNode::default() };
        self.take_in(self.slot(&node, NodeSource::Discovered, Some(problem), None));
    }

    /// Serves a simulation in memory, since there is no other engine: the API can be tried.
    pub fn serve_placeholder(&self) {
        let node = NewNode { name: PLACEHOLDER.to_owned(), uri: format!("{PLACEHOLDER}:"), ..NewNode::default() };
        self.serve(&node, NodeSource::Discovered);
    }

    fn take_in(&self, slot: Arc<NodeSlot>) {
        match self.get(slot.name()) {
            Ok(old) if old.source() != NodeSource::Added => {
                tracing::warn!(node = old.name(), uri = slot.uri(), "another node has this name already; left out");
            }
            Ok(old) => {
                tracing::warn!(
                    node = old.name(),
                    uri = old.uri(),
                    "a configured node has the name of an added one, which is left out"
                );
                self.leave_out(old.name(), true);
                self.insert(slot);
            }
            Err(_) => self.insert(slot),
        }
    }

    /// Adds a node for good: it is connected, and in the store, when this returns.
    ///
    /// # Errors
    /// `InvalidInput`, `AlreadyExists`, or what kept it from being connected; nothing is added then.
    pub async fn add(&self, mut node: NewNode) -> Result<Arc<NodeSlot>> {
        self.check(&node)?;
        self.free(&node.name)?;
        let slot = self.slot(&node, NodeSource::Added, None, Some(&self.here));
        // Nothing is held meanwhile: a machine that does not answer must not keep other nodes from coming and going.
        if let Some(lasting) = slot.connect_first().await.map_err(not_let_in)? {
            node.uri = lasting;
        }
        // Held to the end, and asked once more: of two that add the same name, one gets it.
        let _changing = self.changing.lock().await;
        self.free(&node.name)?;
        let node = StoredNode { place: slot.place().cloned(), id: slot.id().to_owned(), ..node.into() };
        self.stored.insert(&node).await?;
        self.insert(Arc::clone(&slot));
        Ok(slot)
    }

    /// Keeps a node for good without connecting to it, in place of one that was added before under its name. Whether anybody answers at
    /// its address, whoever needs it finds out.
    ///
    /// # Errors
    /// `InvalidInput`, `Conflict` for the name of a node that was not added, and those of the store; nothing is changed then.
    pub(crate) async fn enrol(&self, node: NewNode) -> Result<Arc<NodeSlot>> {
        self.check(&node)?;
        let slot = self.slot(&node, NodeSource::Added, None, Some(&self.here));
        let _changing = self.changing.lock().await;
        if self.get(&node.name).is_ok_and(|old| old.source() != NodeSource::Added) {
            let words = format!("node {} is this server's own: it was found here or is configured", node.name);
            return Err(Error::new(ErrorKind::Conflict, words).with_operation("node.add").with_node(node.name));
        }
        let node = StoredNode { place: slot.place().cloned(), id: slot.id().to_owned(), ..node.into() };
        self.stored.put(&node).await?;
        self.insert(Arc::clone(&slot));
        Ok(slot)
    }

    /// Refuses a name that is taken.
    fn free(&self, name: &str) -> Result<()> {
        if self.get(name).is_err() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::AlreadyExists, format!("there is a node {name} already"))
            .with_operation("node.add")
            .with_resource(name))
    }

    /// The revision that the store has a node at that was added over REST; none of any other.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn revision(&self, slot: &NodeSlot) -> Result<Option<Revision>> {
        match slot.source() {
            NodeSource::Added => self.stored.revision(slot.name()).await,
            _ => Ok(None),
        }
    }

    /// Forgets a node that was added over REST, and is as `if_match` says. What runs on it goes on.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, or `Conflict` for a node that would come back with the next start.
    pub(crate) async fn remove(&self, name: &str, if_match: &IfMatch) -> Result<()> {
        let _changing = self.changing.lock().await;
        let slot = self.get(name)?;
        if slot.source() != NodeSource::Added {
            let whence = match slot.source() {
                NodeSource::Discovered => "was found on this machine",
                _ => "comes from the configuration",
            };
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("node {name} {whence} and would be back with the next start; only nodes added over the API can be removed"),
            )
            .with_operation("node.remove")
            .with_node(name));
        }
        self.unstore(name, if_match).await?;
        self.withdraw(name);
        Ok(())
    }

    async fn unstore(&self, name: &str, if_match: &IfMatch) -> Result<()> {
        if !if_match.is_given() {
            return self.stored.remove(name).await;
        }
        loop {
            let kept = self.stored.revision(name).await?.ok_or_else(|| Error::not_found("node", name))?;
            if_match.require_revision(&format!("the node {name}"), kept)?;
            match self.stored.remove_unchanged(name, kept).await {
                // Another server has changed it in between.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                removed => return removed,
            }
        }
    }

    fn withdraw(&self, name: &str) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.announce();
    }

    /// Serves what other servers add to the store and forgets what they remove, until the store is closed.
    pub(crate) async fn follow(&self) {
        let mut pause = FOLLOW_PAUSE_MIN;
        let mut after = self.loaded;
        loop {
            let followed = match self.stored.watch(after).await {
                Ok(mut changes) => {
                    pause = FOLLOW_PAUSE_MIN;
                    self.follow_changes(&mut changes).await
                }
                Err(error) => Err(error),
            };
            match followed {
                Ok(()) => tracing::debug!("nodes: changes are missing, all are read anew"),
                Err(error) => tracing::warn!(%error, "nodes: the store is not followed"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(FOLLOW_PAUSE_MAX);
            match self.reread().await {
                Ok(read) => after = read,
                Err(error) => tracing::warn!(%error, "nodes: the store is not read"),
            }
        }
    }

    /// Until changes are missing or the watch ends.
    async fn follow_changes(&self, changes: &mut ItemStream<TableChange<StoredNode>>) -> Result<()> {
        while let Some(change) = changes.next().await {
            match change? {
                TableChange::Put(name, Err(error)) => {
                    let _changing = self.changing.lock().await;
                    self.apply(&name, Some(Err(error)));
                }
                TableChange::Put(name, Ok(_)) | TableChange::Deleted(name) => {
                    let _changing = self.changing.lock().await;
                    // As it is now: what is told may be over, by a change that was made here meanwhile.
                    self.apply(&name, self.stored.get(&name).await?.map(Ok));
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes what is served what is kept.
    async fn reread(&self) -> Result<Revision> {
        let _changing = self.changing.lock().await;
        let (kept, seen) = self.stored.all().await?;
        let kept: BTreeMap<_, _> = kept.into_iter().collect();
        let gone = self.all().into_iter().filter(|slot| !kept.contains_key(slot.name()));
        for slot in gone {
            self.apply(slot.name(), None);
        }
        for (name, node) in kept {
            self.apply(&name, Some(node));
        }
        Ok(seen)
    }

    /// What is kept by this name now. Nodes of this machine and of the configuration stay as they are.
    fn apply(&self, name: &str, kept: Option<Result<StoredNode>>) {
        let slot = self.get(name).ok();
        let is_own = slot.as_ref().is_some_and(|slot| slot.source() != NodeSource::Added);
        match (slot, kept) {
            (_, Some(_)) if is_own => self.leave_out(name, true),
            (_, None) if is_own => self.leave_out(name, false),
            (Some(slot), Some(Ok(node))) if slot.is(&node) => {}
            (_, Some(node)) => self.insert(self.slot_of(name, node)),
            (Some(_), None) => self.withdraw(name),
            (None, None) => {}
        }
    }

    /// The node with this name.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be a name, `NotFound` when there is none.
    pub fn get(&self, name: &str) -> Result<Arc<NodeSlot>> {
        names::node_name("node", name)?;
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(name).cloned().ok_or_else(|| Error::not_found("node", name))
    }

    /// Every node, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<NodeSlot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Tells of nodes that are added or removed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether there is a node of this name in the store beside an own one.
    fn leave_out(&self, name: &str, is_there: bool) {
        let mut left_out = self.left_out.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = if is_there { left_out.insert(name.to_owned()) } else { left_out.remove(name) };
        drop(left_out);
        if is_other {
            self.announce();
        }
    }

    /// The nodes of the store that this server does not reach.
    pub(crate) fn unreached(&self) -> BTreeSet<String> {
        let mut unreached = self.left_out.read().unwrap_or_else(PoisonError::into_inner).clone();
        let elsewhere = self.all().into_iter().filter(|slot| slot.is_elsewhere());
        unreached.extend(elsewhere.map(|slot| slot.name().to_owned()));
        unreached
    }

    fn insert(&self, slot: Arc<NodeSlot>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(slot.name().to_owned(), slot);
        self.announce();
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// One that is kept in the store. An address that only another machine knows is not taken for the same one here, and what makes no
    /// sense is shown, since a node that silently is not there would be missed by nobody.
    fn slot_of(&self, name: &str, node: Result<StoredNode>) -> Arc<NodeSlot> {
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                tracing::error!(node = name, %error, "nodes: what is kept of one makes no sense");
                let node = NewNode { name: name.to_owned(), ..NewNode::default() };
                return self.slot(&node, NodeSource::Added, Some(error.message().to_owned()), None);
            }
        };
        let (id, place) = (node.id.clone(), node.place.clone());
        let elsewhere = place.as_ref().filter(|place| !place.is(&self.here)).map(|place| {
            format!(
                "its address is one of the machine {}, where it was added: only a server there reaches it \
                 (remove it and add it again where that is this machine)",
                place.host
            )
        });
        self.slot_with(id, &node.into(), NodeSource::Added, elsewhere, place.as_ref())
    }

    fn slot(
        &self,
        node: &NewNode,
        source: NodeSource,
        problem: Option<String>,
        place: Option<&Place>,
    ) -> Arc<NodeSlot> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.slot_with(id, node, source, problem, place)
    }

    fn slot_with(
        &self,
        id: String,
        node: &NewNode,
        source: NodeSource,
        problem: Option<String>,
        place: Option<&Place>,
    ) -> Arc<NodeSlot> {
        let stored = (source == NodeSource::Added).then(|| Arc::clone(&self.stored));
        let place = place.filter(|_| !identity::is_remote(&node.uri)).cloned();
        Arc::new(NodeSlot::new(id, node, source, problem, place, &self.shared, stored))
    }

    /// Which engines these names mean here; names of no node are left out.
    pub(crate) fn identities<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Identities {
        let slots = names.into_iter().filter_map(|name| self.get(name).ok());
        slots.map(|slot| (slot.name().to_owned(), NodeIdentity::of(&slot, &self.here))).collect()
    }

    /// What each name means here beside what is meant by it.
    pub(crate) fn meanings<'a>(&self, meant: &'a Identities) -> impl Iterator<Item = (&'a str, Meaning)> {
        meant.iter().map(|(name, meant)| {
            let slot = self.get(name).ok();
            (name.as_str(), meant.meaning(&self.here, slot.as_deref()))
        })
    }

    /// The first name with this meaning, or none.
    pub(crate) fn first<'a>(&self, meant: &'a Identities, meaning: Meaning) -> Option<&'a str> {
        self.meanings(meant).find_map(|(name, of)| (of == meaning).then_some(name))
    }

    /// The first name of a node that seems to be gone here, though the store has it: this server does not know yet.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn not_known_yet<'a>(&self, meant: &'a Identities) -> Result<Option<&'a str>> {
        let gone: Vec<_> = self.meanings(meant).filter(|(_, of)| *of == Meaning::Gone).map(|(name, _)| name).collect();
        for name in gone {
            let kept = self.stored.get(name).await?;
            let is_kept = |id: &str| kept.as_ref().is_some_and(|kept| kept.id == id);
            if matches!(meant.get(name), Some(NodeIdentity::Stored { id }) if is_kept(id)) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Those with this meaning.
    pub(crate) fn of_these(&self, mut meant: Identities, meaning: Meaning) -> Identities {
        let others: Vec<_> =
            self.meanings(&meant).filter(|(_, of)| *of != meaning).map(|(name, _)| name.to_owned()).collect();
        meant.retain(|name, _| !others.contains(name));
        meant
    }

    /// Id of this server's state directory.
    pub(crate) fn server(&self) -> &str {
        &self.here.server
    }
}

#[cfg(test)]
mod tests;
