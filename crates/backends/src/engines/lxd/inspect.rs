//! Everything that a server tells of a container.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::join_all;
use roadstead_core::{AddressScope, ContainerDetails, ContainerInterface, InterfaceAddress, NetworkEndpoint, Result};

use super::gateways::gateway;
use super::instance::{Address, Instance, Interface, Now};
use super::list::summary;
use super::request::Request;
use super::shared::Lxd;
use super::{ended, spec};

/// The key of what must not be deleted.
pub(super) const PROTECTED: &str = "security.protection.delete";

/// C10, C11.
pub(super) async fn inspect(lxd: &Arc<Lxd>, id: &str) -> Result<ContainerDetails> {
    let mut now = pin!(Now::read(lxd, id));
    // The state takes the server several times as long as all the rest, so it is asked for at once.
    let (instance, mut state) = tokio::select! {
        biased;
        instance = Instance::read(lxd, id) => (instance?, None),
        state = &mut now => (Instance::read(lxd, id).await?, Some(state)),
    };
    let mut details = ContainerDetails::default();
    details.summary = summary(&lxd.name, &instance);
    details.spec = spec::read(&instance);
    details.beyond_spec = spec::settings(&instance);
    details.started_at = instance.started_at();
    details.removed_at_end = instance.ephemeral.unwrap_or(false);
    details.protected = instance.effective().get(PROTECTED).is_some_and(|value| is_true(value));
    if details.summary.state.has_processes() {
        let joined = joined(lxd, &instance);
        let (now, joined) = match state.take() {
            // Of before it started.
            Some(Ok(state)) if state.pid().is_none() => tokio::join!(Now::read(lxd, id), joined),
            Some(state) => (state, joined.await),
            None => tokio::join!(now, joined),
        };
        let now = now?;
        details.pid = now.pid();
        details.endpoints = joined.into_iter().map(|(name, endpoint)| with_addresses(endpoint, &name, &now)).collect();
        details.interfaces = now.network.iter().flatten().map(|(name, told)| interface(name, told)).collect();
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

/// The networks that it is in, without its addresses there, by the names of its interfaces.
async fn joined(lxd: &Lxd, instance: &Instance) -> Vec<(String, NetworkEndpoint)> {
    let each = spec::joined(instance).into_iter().map(|(name, attachment)| async move {
        let mut endpoint = NetworkEndpoint::default();
        // Who may not read the network is told less.
        endpoint.gateway = gateway(lxd, &attachment.network).await;
        endpoint.network = attachment.network;
        (name, endpoint)
    });
    join_all(each).await
}

fn with_addresses(mut endpoint: NetworkEndpoint, name: &str, now: &Now) -> NetworkEndpoint {
    if let Some(interface) = now.network.as_ref().and_then(|interfaces| interfaces.get(name)) {
        let global = interface.addresses.iter().flatten().filter(|address| {
            // Every interface has one of the link's own.
            address.scope.as_deref() != Some("link")
        });
        endpoint.addresses = global.filter_map(|address| address.address.as_deref()?.parse().ok()).collect();
        endpoint.mac_address = interface.hwaddr.clone().filter(|address| !address.is_empty());
    }
    endpoint
}

/// An interface as the state tells of it.
fn interface(name: &str, told: &Interface) -> ContainerInterface {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut interface = ContainerInterface::default();
    name.clone_into(&mut interface.name);
    interface.host_name = some(&told.host_name);
    interface.mac_address = some(&told.hwaddr);
    interface.mtu = told.mtu.and_then(|mtu| u32::try_from(mtu).ok()).filter(|mtu| *mtu > 0);
    interface.up = told.state.as_deref() == Some("up");
    interface.loopback = told.kind.as_deref() == Some("loopback");
    interface.addresses = told.addresses.iter().flatten().filter_map(address).collect();
    interface
}

/// Nothing where it cannot be read.
fn address(told: &Address) -> Option<InterfaceAddress> {
    let mut address =
        InterfaceAddress::new(told.address.as_deref()?.parse().ok()?, told.netmask.as_deref()?.parse().ok()?);
    address.scope = match told.scope.as_deref() {
        Some("global") => AddressScope::Global,
        Some("link") => AddressScope::Link,
        Some("local") => AddressScope::Local,
        None | Some("") => address.scope,
        Some(_) => AddressScope::Other,
    };
    Some(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn interfaces_are_those_of_the_state() {
        let state = r#"{"eth0": {"addresses": [
            {"family": "inet", "address": "10.1.2.3", "netmask": "24", "scope": "global"},
            {"family": "inet6", "address": "fe80::1", "netmask": "64", "scope": "link"},
            {"family": "inet", "address": "10.1.2.4", "netmask": null, "scope": "global"},
            {"family": "inet", "address": "10.1.2.5", "netmask": "24", "scope": "site"}],
            "hwaddr": "00:16:3e:00:00:01", "host_name": "veth1", "mtu": 1500, "state": "up", "type": "broadcast"},
            "lo": {"addresses": [{"family": "inet", "address": "127.0.0.1", "netmask": "8", "scope": "local"}],
            "hwaddr": "", "host_name": "", "mtu": 65536, "state": "down", "type": "loopback"}}"#;
        let told: BTreeMap<String, Interface> = serde_json::from_str(state).unwrap();
        let found: Vec<ContainerInterface> = told.iter().map(|(name, told)| interface(name, told)).collect();
        let told = serde_json::to_value(&found).unwrap();
        assert_eq!(
            told,
            serde_json::json!([
                {"name": "eth0", "host_name": "veth1", "mac_address": "00:16:3e:00:00:01", "mtu": 1500, "up": true,
                 "loopback": false, "addresses": [
                    {"address": "10.1.2.3", "prefix": 24, "scope": "global"},
                    {"address": "fe80::1", "prefix": 64, "scope": "link"},
                    {"address": "10.1.2.5", "prefix": 24, "scope": "other"}]},
                {"name": "lo", "mtu": 65536, "up": false, "loopback": true,
                 "addresses": [{"address": "127.0.0.1", "prefix": 8, "scope": "local"}]}
            ])
        );
    }
}
