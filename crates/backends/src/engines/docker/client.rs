//! What every call on one connected daemon shares: the connection, its bounds in time, the node's name.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::jobs::JobKeeper;
use roadstead_core::{Capabilities, Error};

use super::error;
use super::transport::Transport;
use crate::host::Members;

/// One connected daemon.
#[derive(Debug)]
pub(super) struct Client {
    /// The client library's handle.
    pub(super) docker: bollard::Docker,
    /// The way to the daemon that the library uses, for requests of our own.
    pub(super) transport: Transport,
    /// Name of the node.
    pub(super) name: String,
    /// URI without secrets.
    pub(super) uri: String,
    /// What the daemon can do.
    pub(super) capabilities: Capabilities,
    /// How many cores the daemon counts, where it refuses limits of more.
    pub(super) cores: Option<u32>,
    /// The jobs of this node.
    pub(super) jobs: JobKeeper,
    /// What its containers use.
    pub(super) members: Arc<Members>,
    /// Whether the daemon seems to be on this machine. What reads kernel files for a container makes sure, per process,
    /// that the process is the container's ([`crate::host`]).
    pub(super) local: bool,
    /// How long an event stream tries to connect again.
    pub(super) reconnect_deadline: Duration,
    /// Creating a volume that exists is no error for the daemon: our own creators take turns.
    pub(super) volume_create: tokio::sync::Mutex<()>,
}

impl Client {
    /// An error of the client library in our words, with the node's name.
    pub(super) fn failed(&self, error: bollard::errors::Error) -> Error {
        error::translate(error).with_node(&self.name)
    }
}
