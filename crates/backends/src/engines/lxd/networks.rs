//! Networks of a server.

use std::sync::Arc;

use roadstead_core::{Error, Network, NetworkSpec, Result};

use super::shared::Lxd;

/// W1.
pub(super) async fn list_networks(_lxd: &Arc<Lxd>) -> Result<Vec<Network>> {
    Err(Error::unsupported("this yet"))
}

/// W2.
pub(super) async fn inspect_network(_lxd: &Arc<Lxd>, _name: &str) -> Result<Network> {
    Err(Error::unsupported("this yet"))
}

/// W3, W4.
pub(super) async fn create_network(_lxd: &Arc<Lxd>, _spec: &NetworkSpec) -> Result<String> {
    Err(Error::unsupported("this yet"))
}

/// W5, W6.
pub(super) async fn delete_network(_lxd: &Arc<Lxd>, _name: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
