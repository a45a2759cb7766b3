//! What every call on one connected server shares: the connection, the project, the operations that are awaited.

use std::sync::Arc;
use std::time::Duration;

use super::operation::Hub;
use super::transport::Transport;

/// One connected server. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    node: String,
    project: Option<String>,
    reconnect_deadline: Duration,
    operations: Hub,
}

impl Client {
    /// `project` is added to every request that names none.
    pub(super) fn new(transport: Transport, node: &str, project: Option<&str>, reconnect_deadline: Duration) -> Self {
        Client(Arc::new(Inner {
            transport,
            node: node.to_owned(),
            project: project.map(str::to_owned),
            reconnect_deadline,
            operations: Hub::default(),
        }))
    }

    /// The same way to the same server, for a node of another name.
    pub(super) fn named(&self, node: &str) -> Self {
        Client::new(self.0.transport.clone(), node, self.project(), self.reconnect_deadline())
    }

    /// The way to the server.
    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// Name of the node, for errors.
    pub(super) fn node(&self) -> &str {
        &self.0.node
    }

    /// The project that is worked in; none is the server's default.
    pub(super) fn project(&self) -> Option<&str> {
        self.0.project.as_deref()
    }

    /// How long a broken stream of events tries to connect again.
    pub(super) fn reconnect_deadline(&self) -> Duration {
        self.0.reconnect_deadline
    }

    /// Where news of background operations arrive.
    pub(super) fn operations(&self) -> &Hub {
        &self.0.operations
    }
}
