//! What everything about one connected server rests on.

use std::collections::BTreeSet;
use std::sync::Arc;

use roadstead_core::Capabilities;
use roadstead_core::jobs::JobKeeper;

use super::client::Client;
use super::console::Consoles;
use super::gateways::Gateways;
use crate::host::Members;

/// One connected server.
#[derive(Debug)]
pub(super) struct Lxd {
    /// Name of the node.
    pub(super) name: String,
    /// URI without secrets.
    pub(super) uri: String,
    /// Whether it was connected by what is good once only: trust on first use, a token, a trust password.
    pub(super) joined: bool,
    /// The way to the server.
    pub(super) client: Client,
    /// What the server can do.
    pub(super) capabilities: Capabilities,
    /// What the server says that its API has: words that only become more from version to version.
    pub(super) extensions: BTreeSet<String>,
    /// The jobs of this node.
    pub(super) jobs: JobKeeper,
    /// What its containers use.
    pub(super) members: Arc<Members>,
    /// What is known of its containers' consoles.
    pub(super) consoles: Arc<Consoles>,
    /// The gateways of its networks.
    pub(super) gateways: Gateways,
    /// Whether the server seems to be on this machine. What reads kernel files for a container makes sure, per process,
    /// that the process is the container's ([`crate::host`]).
    pub(super) local: bool,
    /// The member of a cluster that the node is; the whole server when absent.
    pub(super) member: Option<String>,
}

impl Lxd {
    /// Whether the server's API has this extension.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.extensions.contains(extension)
    }
}
