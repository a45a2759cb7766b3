//! What every handler has at hand: the nodes, the bounds, and the way to tell that the server is ending.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use roadstead_core::{Container, Error, ErrorKind, Node, Result, names};
use tokio::sync::watch;

use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::auth::Token;
use crate::config::Config;
use crate::containers::Bodies;
use crate::dialects::{Dialect, DialectConfig, Dialects};
use crate::fleet::{Duty, Fleet};
use crate::idempotency::Keys;
use crate::journal::{Journal, Watching};
use crate::metrics::Names;
use crate::moves::Moves;
use crate::nodes::Nodes;
use crate::pools::Pools;
use crate::records::Records;
use crate::state_dir::StateDir;
use crate::webhooks::Webhooks;
use crate::work::Works;

/// The state of the server, shared by all workers.
#[derive(Debug)]
pub(crate) struct App {
    /// The configuration in effect.
    pub config: Config,
    /// Every node.
    pub nodes: Nodes,
    /// What is remembered.
    pub(crate) records: Records,
    /// This server among those that share the store.
    pub(crate) fleet: Fleet,
    /// Which nodes it watches.
    pub(crate) duty: Duty,
    /// What happened on the nodes.
    pub(crate) journal: Arc<Journal>,
    /// The nodes whose events are written into it here.
    pub(crate) watching: Arc<Watching>,
    /// Who is told of events without asking.
    pub(crate) webhooks: Arc<Webhooks>,
    /// Held as long as the server runs.
    pub(crate) state_dir: StateDir,
    /// Moves of containers between nodes.
    pub(crate) moves: Moves,
    /// Long work of the server itself.
    pub(crate) works: Works,
    /// What was changed, and by whom.
    pub(crate) audit: Audit,
    /// Answers that may be asked for again.
    pub(crate) keys: Keys,
    /// Named sets of nodes.
    pub(crate) pools: Pools,
    /// Alerts that were raised and cleared.
    pub(crate) alerts: Arc<Alerts>,
    /// Lists of containers as they were sent last.
    pub(crate) bodies: Bodies,
    /// What the dialects keep.
    pub(crate) dialects: Dialects,
    /// How machines are called in the metrics.
    pub(crate) machines: Mutex<Names>,
    /// What a caller must show.
    pub(crate) token: Token,
    /// Becomes true when the server is to end.
    pub(crate) ending: watch::Receiver<bool>,
}

impl App {
    /// Time for one answer of an engine.
    #[must_use]
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.config.request_timeout_seconds.into())
    }

    /// Time for an archive to be taken in.
    #[must_use]
    pub(crate) fn archive_deadline(&self) -> Duration {
        Duration::from_secs(self.config.archive_timeout_seconds.into())
    }

    /// How a dialect is switched on, if it is.
    #[must_use]
    pub(crate) fn dialect(&self, name: Dialect) -> Option<&DialectConfig> {
        self.config.dialects.iter().find(|dialect| dialect.name == name)
    }

    /// The node with this name, connected.
    ///
    /// # Errors
    /// `InvalidInput`, `NotFound`, or `Unavailable`.
    pub(crate) async fn node(&self, name: &str) -> Result<Arc<dyn Node>> {
        self.nodes.get(name)?.node(self.deadline()).await
    }

    /// A handle on a container of a node.
    ///
    /// # Errors
    /// As [`App::node`].
    pub(crate) async fn container(&self, node: &str, id: &str) -> Result<Arc<dyn Container>> {
        names::existing("container", id)?;
        Ok(self.node(node).await?.container(id))
    }

    /// Becomes ready when the server is to end.
    pub(crate) fn ending(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ending = self.ending.clone();
        async move {
            // An error says that the server is gone, which is an end, too.
            let _ = ending.wait_for(|ending| *ending).await;
        }
    }
}

/// Waits for `call` no longer than `deadline`.
///
/// # Errors
/// What the call says, or `DeadlineExceeded`.
pub(crate) async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    answered("the engine", deadline, call).await
}

/// The same for calls that the store answers.
///
/// # Errors
/// What the call says, or `DeadlineExceeded`.
pub(crate) async fn stored_within<T>(deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    answered("the store", deadline, call).await
}

async fn answered<T>(who: &str, deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{who} did not answer within {} s", deadline.as_secs_f64()),
        )),
    }
}
