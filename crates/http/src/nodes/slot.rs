//! One node of the server: a name and a URI, connected when it is needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::layers::{self, BreakerOptions, ConcurrencyLimit, Deadline, Trace, guard, wrap};
use roadstead_core::mirror::{Changes, Mirror};
use roadstead_core::{ConnectOptions, Error, ErrorKind, Node, NodeUri, Registry, Result, Retry};

use super::feed::Feed;
use super::stored::{Stored, StoredNode};
use super::{Bounds, NewNode, NodeSource, Place};

/// After a failed attempt to connect, requests are answered from memory for this long, doubled with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest time for which a failed attempt is remembered.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The same for an attempt that left us waiting: nobody answers there, not even with a refusal.
const BACKOFF_MAX_SILENT: Duration = Duration::from_secs(15);
/// An attempt that took this long left us waiting. Once one did, callers are not kept for the next ones.
const SILENT: Duration = Duration::from_millis(250);
/// How long a probe has to be answered, at most: see [`BreakerOptions::probe_deadline`].
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest silence of an engine in the middle of a stream that moves data.
const STREAM_IDLE: Duration = Duration::from_secs(600);
/// How many calls at once a node is given: those that it answers soon, and those that take their time.
const QUICK_CALLS: usize = 64;
const SLOW_CALLS: usize = 16;

/// What the nodes of a server have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) options: ConnectOptions,
    pub(super) bounds: Bounds,
    /// Where the changes of all mirrors are told.
    pub(super) changes: Arc<Changes>,
}

/// A name and a URI, connected when it is needed.
pub struct NodeSlot {
    /// Another one whenever a node is added, and the same at all servers.
    id: String,
    name: String,
    address: Mutex<Address>,
    source: NodeSource,
    labels: BTreeMap<String, String>,
    options: ConnectOptions,
    bounds: Bounds,
    registry: Arc<Registry>,
    /// What is wrong with it for as long as the server runs: the environment names an engine that makes no sense.
    problem: Option<String>,
    /// Where its address is meant, if it is one of the store and that means something else on every machine.
    place: Option<Place>,
    /// Work at moves to this node, as jobs. Other work of the server is in the store.
    keeper: JobKeeper,
    state: Mutex<Connection>,
    /// One attempt to connect at a time.
    connecting: tokio::sync::Mutex<()>,
    /// Where it is kept over restarts, if it is.
    stored: Option<Arc<Stored>>,
    /// Its containers in memory.
    mirror: Arc<Mirror>,
    /// Its events.
    feed: Arc<Feed>,
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
    /// Whether the attempt left us waiting.
    silent: bool,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeSlot {
    /// Whether it is the simulation that is served where no engine was found.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        self.source == NodeSource::Discovered && self.name == super::PLACEHOLDER
    }

    /// Not connected yet. `problem` is what is wrong with it for as long as the server runs; `stored` is where it is kept.
    pub(super) fn new(
        id: String,
        node: &NewNode,
        source: NodeSource,
        problem: Option<String>,
        place: Option<Place>,
        shared: &Shared,
        stored: Option<Arc<Stored>>,
    ) -> Self {
        let mut options = shared.options.clone();
        options.certificate.clone_from(&node.certificate);
        options.key.clone_from(&node.key);
        options.authority.clone_from(&node.authority);
        let mut limits = JobLimits::default();
        limits.keep = options.keep_jobs;
        NodeSlot {
            id,
            name: node.name.clone(),
            address: Mutex::new(Address::new(&node.uri)),
            source,
            labels: node.labels.clone(),
            options,
            bounds: shared.bounds,
            registry: Arc::clone(&shared.registry),
            problem,
            place,
            keeper: JobKeeper::new(node.name.clone(), limits),
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            stored,
            mirror: Mirror::new(&node.name, Arc::clone(&shared.changes)),
            feed: Arc::default(),
        }
    }

    /// Connects once, now, and gives the URI that it is to be known by from now on.
    ///
    /// # Errors
    /// What kept it from being connected.
    pub(super) async fn connect_first(&self) -> Result<Option<String>> {
        let address = lock(&self.address).uri.clone();
        let node = self.registry.connect(&self.name, &address, &self.options).await?;
        let lasting = node.lasting_uri().map(str::to_owned);
        if let Some(lasting) = &lasting {
            *lock(&self.address) = Address::new(lasting);
        }
        lock(&self.state).node = Some(self.layered(node));
        Ok(lasting)
    }

    /// Whether it is what is kept.
    pub(super) fn is(&self, node: &StoredNode) -> bool {
        let StoredNode { id, name, uri, certificate, key, authority, labels, place } = node;
        let options = &self.options;
        self.id == *id
            && self.name == *name
            && lock(&self.address).uri == *uri
            && self.labels == *labels
            && self.place == *place
            && (&options.certificate, &options.key, &options.authority) == (certificate, key, authority)
    }

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

    /// By which it is told from another one of its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where its address is meant, if it is kept with that.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether it is one of the store that only servers of another machine reach, or nobody: what is kept of it makes no sense.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.source == NodeSource::Added && self.problem.is_some()
    }

    /// Its labels, by which pools choose their members and containers are placed.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Jobs of the server itself that concern this node.
    #[must_use]
    pub fn keeper(&self) -> &JobKeeper {
        &self.keeper
    }

    /// Its containers in memory: ready while [`crate::mirrors`] keeps it, and its engine answers.
    #[must_use]
    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// Its events, for those in this process who follow it.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The node, if it is connected now.
    #[must_use]
    pub fn connected(&self) -> Option<Arc<dyn Node>> {
        lock(&self.state).node.clone()
    }

    /// The node; connects within `deadline` when it is not connected. A node that was tried before, and did not even refuse,
    /// is tried again in the background: nobody waits for it.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be connected, or could not a moment ago.
    pub async fn node(self: &Arc<Self>, deadline: Duration) -> Result<Arc<dyn Node>> {
        if let Some(settled) = self.settled() {
            return settled;
        }
        let silent = self.silent();
        if let (Some(error), Err(_)) = (&silent, self.connecting.try_lock()) {
            return Err(self.unavailable(error));
        }
        let slot = Arc::clone(self);
        // The attempt goes on when this caller gives up, so that impatient callers do not keep a slow node away.
        let attempt = tokio::spawn(async move { slot.attempt().await });
        if let Some(error) = silent {
            return Err(self.unavailable(&error));
        }
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

    /// Why it is not connected, if the last attempt left us waiting.
    fn silent(&self) -> Option<String> {
        lock(&self.state).failure.as_ref().filter(|failure| failure.silent).map(|failure| failure.message.clone())
    }

    async fn attempt(&self) -> Result<Arc<dyn Node>> {
        let _one_at_a_time = self.connecting.lock().await;
        // Whoever held the lock before may have settled it.
        if let Some(settled) = self.settled() {
            return settled;
        }
        let address = lock(&self.address).uri.clone();
        let begun = Instant::now();
        match self.registry.connect(&self.name, &address, &self.options).await {
            Ok(node) => {
                if let Some(lasting) = node.lasting_uri() {
                    // Whoever answers the next time is not trusted for answering.
                    *lock(&self.address) = Address::new(lasting);
                    self.store(&address, lasting).await;
                }
                let node = self.layered(node);
                tracing::info!(node = self.name, uri = self.uri(), "connected");
                *lock(&self.state) = Connection { node: Some(Arc::clone(&node)), failure: None };
                Ok(node)
            }
            Err(error) => {
                let mut state = lock(&self.state);
                // Its mirror tries again and again: only news are worth a line.
                if state.failure.as_ref().is_some_and(|failure| failure.message == error.message()) {
                    tracing::debug!(node = self.name, uri = self.uri(), %error, "not connected");
                } else {
                    tracing::warn!(node = self.name, uri = self.uri(), %error, "not connected");
                }
                let silent = begun.elapsed() >= SILENT;
                let longest = if silent { BACKOFF_MAX_SILENT } else { BACKOFF_MAX };
                let backoff = state
                    .failure
                    .as_ref()
                    .map_or(BACKOFF_MIN, |failure| failure.backoff.saturating_mul(2).min(longest));
                let message = error.message().to_owned();
                state.failure = Some(Failure { message: message.clone(), at: Instant::now(), backoff, silent });
                Err(self.unavailable(&message))
            }
        }
    }

    /// Keeps the URI that it is to be known by over restarts. A version before this one may have kept another.
    async fn store(&self, was: &str, lasting: &str) {
        let Some(stored) = &self.stored else { return };
        if let Err(error) = stored.keep_uri(&self.name, was, lasting).await {
            tracing::warn!(node = self.name, %error, "whom it trusts is not kept");
        }
    }

    /// Deadlines, a bound of calls at once, repetition of what is safe, a breaker, traces, and marks for the mirror: for every call, in
    /// one place.
    fn layered(&self, engine: Arc<dyn Node>) -> Arc<dyn Node> {
        let mut deadline = Deadline::default();
        deadline.quick = self.bounds.quick;
        deadline.slow = self.bounds.slow;
        // A pull is quiet while the engine unpacks.
        deadline.idle = STREAM_IDLE;
        let node = wrap(Arc::clone(&engine), deadline);
        let node = wrap(node, ConcurrencyLimit::new(QUICK_CALLS, SLOW_CALLS, self.bounds.quick));
        let node = wrap(node, layers::Retry::default());
        let mut breaker = BreakerOptions::default();
        breaker.probe_deadline = PROBE_DEADLINE.min(self.bounds.quick);
        let node = guard(node, engine, breaker);
        // The outermost, so that whoever changes something through here, or is told of something, is shown it afterwards.
        self.mirror.writes(wrap(node, Trace::default()))
    }

    /// Whatever kept us from connecting: for who asks for the node, it is not available, and nothing was done.
    fn unavailable(&self, why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("not connected: {why}"))
            .with_operation("node.connect")
            .with_node(self.name.clone())
            .with_retry(Retry::Safe)
    }
}
