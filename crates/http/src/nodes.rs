//! The nodes that the server serves, connected or not.
//!
//! A [`NodeSlot`] holds a name and a URI for as long as the server knows the node. Whoever needs the node asks the slot,
//! which connects when it must: a node that was away at the start works as soon as it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::layers::{self, ConcurrencyLimit, Deadline, Trace, wrap};
use roadstead_core::{ConnectOptions, Error, ErrorKind, Node, NodeUri, Registry, Result, Retry, names};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::state_dir::{StateDir, StoredNode};

/// After a failed attempt to connect, requests are answered from memory for this long, doubled with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest time for which a failed attempt is remembered.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The longest silence of an engine in the middle of a stream that moves data.
const STREAM_IDLE: Duration = Duration::from_secs(600);
/// How many calls at once a node is given: those that it answers soon, and those that take their time.
const QUICK_CALLS: usize = 64;
const SLOW_CALLS: usize = 16;

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
}

impl std::fmt::Debug for NewNode {
    /// The URI may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewNode").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A name and a URI, connected when it is needed.
pub struct NodeSlot {
    name: String,
    address: Mutex<Address>,
    source: NodeSource,
    options: ConnectOptions,
    bounds: Bounds,
    registry: Arc<Registry>,
    /// What is wrong with it for as long as the server runs: the environment names an engine that makes no sense.
    problem: Option<String>,
    /// Jobs of the server itself that concern this node: pulls.
    keeper: JobKeeper,
    state: Mutex<Connection>,
    /// One attempt to connect at a time.
    connecting: tokio::sync::Mutex<()>,
}

/// Where it is.
struct Address {
    /// With secrets.
    uri: String,
    /// Without.
    shown: String,
}

impl Address {
    fn new(uri: &str) -> Self {
        // What is no URI may hold anything, and is not shown.
        let shown = uri.parse::<NodeUri>().map_or_else(|_| "(none)".to_owned(), |uri| uri.to_string());
        Address { uri: uri.to_owned(), shown }
    }
}

impl std::fmt::Debug for NodeSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeSlot").field("name", &self.name).field("uri", &self.uri()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Connection {
    node: Option<Arc<dyn Node>>,
    failure: Option<Failure>,
}

#[derive(Clone)]
struct Failure {
    message: String,
    at: Instant,
    backoff: Duration,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeSlot {
    /// Name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI without secrets, as it is connected the next time.
    #[must_use]
    pub fn uri(&self) -> String {
        lock(&self.address).shown.clone()
    }

    /// How the server came to know it.
    #[must_use]
    pub fn source(&self) -> NodeSource {
        self.source
    }

    /// Jobs of the server itself that concern this node.
    #[must_use]
    pub fn keeper(&self) -> &JobKeeper {
        &self.keeper
    }

    /// The node, if it is connected now.
    #[must_use]
    pub fn connected(&self) -> Option<Arc<dyn Node>> {
        lock(&self.state).node.clone()
    }

    /// The node; connects within `deadline` when it is not connected.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be connected, or could not a moment ago.
    pub async fn node(self: &Arc<Self>, deadline: Duration) -> Result<Arc<dyn Node>> {
        if let Some(settled) = self.settled() {
            return settled;
        }
        let slot = Arc::clone(self);
        // The attempt goes on when this caller gives up, so that impatient callers do not keep a slow node away.
        let attempt = tokio::spawn(async move { slot.attempt().await });
        match tokio::time::timeout(deadline, attempt).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Error::new(ErrorKind::Unexpected, format!("connecting failed: {error}"))),
            Err(_) => Err(self.unavailable("it is being connected, which takes long")),
        }
    }

    /// What is known without trying: connected, or failed a moment ago.
    fn settled(&self) -> Option<Result<Arc<dyn Node>>> {
        if let Some(problem) = &self.problem {
            return Some(Err(self.unavailable(problem)));
        }
        let state = lock(&self.state);
        if let Some(node) = &state.node {
            return Some(Ok(Arc::clone(node)));
        }
        let failure = state.failure.as_ref().filter(|failure| failure.at.elapsed() < failure.backoff)?;
        Some(Err(self.unavailable(&failure.message)))
    }

    async fn attempt(&self) -> Result<Arc<dyn Node>> {
        let _one_at_a_time = self.connecting.lock().await;
        // Whoever held the lock before may have settled it.
        if let Some(settled) = self.settled() {
            return settled;
        }
        let address = lock(&self.address).uri.clone();
        match self.registry.connect(&self.name, &address, &self.options).await {
            Ok(node) => {
                if let Some(lasting) = node.lasting_uri() {
                    // Whoever answers the next time is not trusted for answering.
                    *lock(&self.address) = Address::new(lasting);
                }
                let node = self.layered(node);
                tracing::info!(node = self.name, uri = self.uri(), "connected");
                *lock(&self.state) = Connection { node: Some(Arc::clone(&node)), failure: None };
                Ok(node)
            }
            Err(error) => {
                tracing::warn!(node = self.name, uri = self.uri(), %error, "not connected");
                let mut state = lock(&self.state);
                let backoff = state
                    .failure
                    .as_ref()
                    .map_or(BACKOFF_MIN, |failure| failure.backoff.saturating_mul(2).min(BACKOFF_MAX));
                let message = error.message().to_owned();
                state.failure = Some(Failure { message: message.clone(), at: Instant::now(), backoff });
                Err(self.unavailable(&message))
            }
        }
    }

    /// Deadlines, a bound of calls at once, repetition of what is safe, and traces: for every call, in one place.
    fn layered(&self, node: Arc<dyn Node>) -> Arc<dyn Node> {
        let mut deadline = Deadline::default();
        deadline.quick = self.bounds.quick;
        deadline.slow = self.bounds.slow;
        // A pull is quiet while the engine unpacks.
        deadline.idle = STREAM_IDLE;
        let node = wrap(node, deadline);
        let node = wrap(node, ConcurrencyLimit::new(QUICK_CALLS, SLOW_CALLS, self.bounds.quick));
        let node = wrap(node, layers::Retry::default());
        wrap(node, Trace::default())
    }

    /// Whatever kept us from connecting: for who asks for the node, it is not available, and nothing was done.
    fn unavailable(&self, why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("not connected: {why}"))
            .with_operation("node.connect")
            .with_node(self.name.clone())
            .with_retry(Retry::Safe)
    }
}

/// It is the engine that does not know this server, and not this server that does not know its caller.
fn not_let_in(error: Error) -> Error {
    if error.kind() != ErrorKind::Unauthenticated {
        return error;
    }
    let words = format!("the engine does not let this server in: {}", error.message());
    Error::new(ErrorKind::Unavailable, words).with_operation("node.connect").with_retry(Retry::Never).with_source(error)
}

/// Every node of the server, by name.
#[derive(Debug)]
pub struct Nodes {
    registry: Arc<Registry>,
    options: ConnectOptions,
    bounds: Bounds,
    state_dir: StateDir,
    slots: RwLock<BTreeMap<String, Arc<NodeSlot>>>,
    stored: tokio::sync::Mutex<BTreeMap<String, StoredNode>>,
    /// Counts additions and removals.
    changed: watch::Sender<u64>,
}

impl Nodes {
    /// No nodes yet, but those that were added over REST before.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load(registry: Registry, options: ConnectOptions, bounds: Bounds, state_dir: StateDir) -> Result<Self> {
        let stored: BTreeMap<_, _> =
            state_dir.read_nodes()?.into_iter().map(|node| (node.name.clone(), node)).collect();
        let nodes = Nodes {
            registry: Arc::new(registry),
            options,
            bounds,
            state_dir,
            slots: RwLock::default(),
            stored: tokio::sync::Mutex::new(BTreeMap::new()),
            changed: watch::Sender::new(0),
        };
        for node in stored.values() {
            nodes.insert(nodes.slot(
                &NewNode {
                    name: node.name.clone(),
                    uri: node.uri.clone(),
                    certificate: node.certificate.clone(),
                    key: node.key.clone(),
                    authority: node.authority.clone(),
                },
                NodeSource::Added,
                None,
            ));
        }
        Ok(Nodes { stored: tokio::sync::Mutex::new(stored), ..nodes })
    }

    /// The engines that can be connected to.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Checks a node without connecting: name, URI and scheme.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    pub fn check(&self, node: &NewNode) -> Result<()> {
        names::node_name("name", &node.name)?;
        let uri: NodeUri = node.uri.parse()?;
        self.registry.engine(uri.scheme())?;
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
        self.take_in(self.slot(node, source, None));
    }

    /// Serves a node that the environment names but that makes no sense, so that it is seen what is wrong.
    pub fn serve_broken(&self, name: &str, problem: String) {
        let node = NewNode { name: name.to_owned(), ..NewNode::default() };
        self.take_in(self.slot(&node, NodeSource::Discovered, Some(problem)));
    }

    fn take_in(&self, slot: Arc<NodeSlot>) {
        match self.get(&slot.name) {
            Ok(old) if old.source != NodeSource::Added => {
                tracing::warn!(node = old.name, uri = slot.uri(), "another node has this name already; left out");
            }
            Ok(old) => {
                tracing::warn!(
                    node = old.name,
                    uri = old.uri(),
                    "a configured node has the name of an added one, which is left out"
                );
                self.insert(slot);
            }
            Err(_) => self.insert(slot),
        }
    }

    /// Adds a node for good: it is connected, and on the disk, when this returns.
    ///
    /// # Errors
    /// `InvalidInput`, `AlreadyExists`, or what kept it from being connected; nothing is added then.
    pub async fn add(&self, mut node: NewNode) -> Result<Arc<NodeSlot>> {
        self.check(&node)?;
        self.free(&node.name)?;
        let slot = self.slot(&node, NodeSource::Added, None);
        // Nothing is held meanwhile: a machine that does not answer must not keep other nodes from coming and going.
        let connected = self.registry.connect(&node.name, &node.uri, &slot.options).await.map_err(not_let_in)?;
        if let Some(lasting) = connected.lasting_uri() {
            lasting.clone_into(&mut node.uri);
            *lock(&slot.address) = Address::new(lasting);
        }
        lock(&slot.state).node = Some(slot.layered(connected));
        // Held to the end, and asked once more: of two that add the same name, one gets it.
        let mut stored = self.stored.lock().await;
        self.free(&node.name)?;
        let mut next = stored.clone();
        next.insert(
            node.name.clone(),
            StoredNode {
                name: node.name,
                uri: node.uri,
                certificate: node.certificate,
                key: node.key,
                authority: node.authority,
            },
        );
        self.write(&next).await?;
        *stored = next;
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

    /// Forgets a node that was added over REST. What runs on it goes on.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` for a node that would come back with the next start.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let mut stored = self.stored.lock().await;
        let slot = self.get(name)?;
        if slot.source != NodeSource::Added {
            let whence = match slot.source {
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
        let mut next = stored.clone();
        next.remove(name);
        self.write(&next).await?;
        *stored = next;
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.announce();
        Ok(())
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

    fn insert(&self, slot: Arc<NodeSlot>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(slot.name.clone(), slot);
        self.announce();
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn slot(&self, node: &NewNode, source: NodeSource, problem: Option<String>) -> Arc<NodeSlot> {
        let mut options = self.options.clone();
        options.certificate.clone_from(&node.certificate);
        options.key.clone_from(&node.key);
        options.authority.clone_from(&node.authority);
        let mut limits = JobLimits::default();
        limits.keep = options.keep_jobs;
        Arc::new(NodeSlot {
            name: node.name.clone(),
            address: Mutex::new(Address::new(&node.uri)),
            source,
            options,
            bounds: self.bounds,
            registry: Arc::clone(&self.registry),
            problem,
            keeper: JobKeeper::new(node.name.clone(), limits),
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
        })
    }

    /// Gives up the state directory: nothing is written to it any more.
    pub(crate) fn close(&self) {
        self.state_dir.release();
    }

    async fn write(&self, nodes: &BTreeMap<String, StoredNode>) -> Result<()> {
        let state_dir = self.state_dir.clone();
        let nodes = nodes.values().cloned().collect();
        match tokio::task::spawn_blocking(move || state_dir.write_nodes(nodes)).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(ErrorKind::Unexpected, format!("nodes were not written: {error}"))),
        }
    }
}
