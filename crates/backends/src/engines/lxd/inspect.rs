//! Everything that a server tells of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use roadstead_core::{ContainerDetails, NetworkEndpoint, Result};

use super::instance::{Instance, Interface, Now};
use super::list::summary;
use super::request::Request;
use super::shared::Lxd;
use super::{ended, spec, surroundings};

/// The key of what must not be deleted.
pub(super) const PROTECTED: &str = "security.protection.delete";

/// C10, C11.
pub(super) async fn inspect(lxd: &Arc<Lxd>, id: &str) -> Result<ContainerDetails> {
    let instance = Instance::read(lxd, id).await?;
    let mut details = ContainerDetails::default();
    details.summary = summary(&lxd.name, &instance);
    details.spec = spec::read(&instance);
    details.beyond_spec = spec::settings(&instance);
    details.started_at = instance.started_at();
    details.removed_at_end = instance.ephemeral.unwrap_or(false);
    details.protected = instance.effective().get(PROTECTED).is_some_and(|value| is_true(value));
    if details.summary.state.has_processes() {
        let now = Now::read(lxd, id).await?;
        details.pid = now.pid();
        details.endpoints = endpoints(lxd, &instance, now.network.as_ref()).await;
    } else if details.started_at.is_some() {
        let end = ended::stopped(lxd, id).await?;
        details.exit_code = end.map(|end| end.exit_code);
        details.finished_at = end.and_then(|end| end.at);
    }
    Ok(details)
}

/// Servers take several words for yes.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

/// `NotFound` when there is no such container.
pub(super) async fn exists(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    Request::get(&["instances", id]).bytes(&lxd.client).await.map(|_| ())
}

async fn endpoints(
    lxd: &Lxd,
    instance: &Instance,
    interfaces: Option<&BTreeMap<String, Interface>>,
) -> Vec<NetworkEndpoint> {
    let mut endpoints = Vec::new();
    for (name, attachment) in spec::joined(instance) {
        let mut endpoint = NetworkEndpoint::default();
        if let Some(interface) = interfaces.and_then(|interfaces| interfaces.get(&name)) {
            let global = interface.addresses.iter().flatten().filter(|address| {
                // Every interface has one of the link's own.
                address.scope.as_deref() != Some("link")
            });
            endpoint.addresses = global.filter_map(|address| address.address.as_deref()?.parse().ok()).collect();
            endpoint.mac_address = interface.hwaddr.clone().filter(|address| !address.is_empty());
        }
        // Who may not read the network is told less.
        let joined = surroundings::joined(lxd, &attachment.network).await.ok().flatten();
        endpoint.gateway = joined.and_then(|joined| joined.gateway).map(|(address, _)| address.into());
        endpoint.network = attachment.network;
        endpoints.push(endpoint);
    }
    endpoints
}
