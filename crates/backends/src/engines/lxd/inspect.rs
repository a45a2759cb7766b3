//! Everything that a server tells of a container.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::{AddressScope, ContainerDetails, ContainerInterface, InterfaceAddress, NetworkEndpoint, Result};
use tokio::time::{Instant as Clock, sleep};

use super::gateways::gateway;
use super::instance::{Address, Instance, Interface, Now};
use super::list::summary;
use super::request::Request;
use super::shared::Lxd;
use super::{ended, spec};

/// The key of what must not be deleted.
pub(super) const PROTECTED: &str = "security.protection.delete";

/// How long a server is asked again that says of a container that it runs, and knows no process of it: Incus does for a moment, half a
/// second after a start that came to nothing.
const WITHOUT_PROCESS: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// C10, C11.
pub(super) async fn inspect(lxd: &Arc<Lxd>, id: &str) -> Result<ContainerDetails> {
    let (instance, now) = look(lxd, id).await?;
    let mut details = ContainerDetails::default();
    details.summary = summary(&lxd.name, &instance);
    details.spec = spec::read(&instance);
    details.beyond_spec = spec::settings(&instance);
    details.started_at = instance.started_at();
    details.removed_at_end = instance.ephemeral.unwrap_or(false);
    details.protected = instance.effective().get(PROTECTED).is_some_and(|value| is_true(value));
    if let Some(now) = now {
        details.pid = now.pid();
        details.endpoints = endpoints(lxd, &instance, &now).await;
        details.interfaces = now.network.iter().flatten().map(|(name, told)| interface(name, told)).collect();
    } else if details.started_at.is_some() {
        let end = ended::stopped(lxd, id).await?;
        details.exit_code = end.map(|end| end.exit_code);
        details.finished_at = end.and_then(|end| end.at);
    }
    Ok(details)
}

/// The instance, and its state where it has processes.
async fn look(lxd: &Lxd, id: &str) -> Result<(Instance, Option<Now>)> {
    let end = Clock::now() + WITHOUT_PROCESS;
    loop {
        // One after the other: servers were seen not to start or stop a container for half a minute while both were asked for at once.
        let instance = Instance::read(lxd, id).await?;
        if !instance.state().has_processes() {
            return Ok((instance, None));
        }
        let now = Now::read(lxd, id).await?;
        let has_some = now.pid().is_some() || now.processes.is_some_and(|count| count > 0);
        if has_some || Clock::now() >= end {
            return Ok((instance, Some(now)));
        }
        sleep(PAUSE).await;
    }
}

/// Servers take several words for yes.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

/// `NotFound` when there is no such container.
pub(super) async fn exists(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    Request::get(&["instances", id]).bytes(&lxd.client).await.map(|_| ())
}

/// The networks that it is in, with its addresses there.
async fn endpoints(lxd: &Lxd, instance: &Instance, now: &Now) -> Vec<NetworkEndpoint> {
    let each = spec::joined(instance).into_iter().map(|(name, attachment)| async move {
        let mut endpoint = NetworkEndpoint::default();
        if let Some(interface) = now.network.as_ref().and_then(|interfaces| interfaces.get(&name)) {
            let global = interface.addresses.iter().flatten().filter(|address| {
                // Every interface has one of the link's own.
                address.scope.as_deref() != Some("link")
            });
            endpoint.addresses = global.filter_map(|address| address.address.as_deref()?.parse().ok()).collect();
            endpoint.mac_address = interface.hwaddr.clone().filter(|address| !address.is_empty());
        }
        // Who may not read the network is told less.
        endpoint.gateway = gateway(lxd, &attachment.network).await;
        endpoint.network = attachment.network;
        endpoint
    });
    join_all(each).await
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
