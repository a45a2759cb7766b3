//! What must be asked of a server before a container can be described to it.

use std::net::{IpAddr, Ipv4Addr};

use roadstead_core::{ContainerSpec, Error, ErrorKind, MountKind, Result};
use serde::Deserialize;

use super::instance::{Config, Devices};
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, Joined, Surroundings};
use super::storage;

/// The profile that instances get when none is asked for.
const PROFILE: &str = "default";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    managed: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<String>,
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lease {
    address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Profile {
    devices: Option<Devices>,
}

/// Asks for what `spec` needs with these profiles (without a list: the server's own), and no more.
pub(super) async fn ask(lxd: &Lxd, spec: &ContainerSpec, profiles: Option<&[String]>) -> Result<Surroundings> {
    let mut around = Surroundings::default();
    let fixed = !spec::has_own_init(spec);
    if fixed || !spec.networks.is_empty() {
        around.profile_nics = profile_devices(lxd, profiles).await?;
        around.profile_nics.retain(|_, keys| keys.get("type").is_some_and(|kind| kind == "nic"));
    }
    let volumes = spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    if volumes.clone().next().is_some() {
        around.pool = storage::default_pool(lxd).await?;
        around.anonymous = volumes
            .filter(|mount| mount.source.is_none())
            .map(|_| format!("anonymous-{:016x}", spec::chance()))
            .collect();
    }
    let nics = spec::interfaces(spec, &around.profile_nics)?;
    for network in nics.values().filter_map(|keys| keys.get("network")) {
        let missing = || Error::not_found("network", network);
        let found = if fixed { with_leases(lxd, network).await } else { joined(lxd, network).await };
        let joined = found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing(),
            _ => error,
        })?;
        if let Some(joined) = joined.filter(|_| fixed) {
            around.networks.insert(network.clone(), joined);
        }
    }
    Ok(around)
}

/// What is known of a network on which the server gives out addresses itself; nothing of others.
pub(super) async fn joined(lxd: &Lxd, network: &str) -> Result<Option<Joined>> {
    let found: Network = Request::get(&["networks", network]).json(&lxd.client).await?;
    if found.managed == Some(false) || found.kind.as_deref() != Some("bridge") {
        return Ok(None);
    }
    let config = found.config.unwrap_or_default();
    let gateway = config.get("ipv4.address").and_then(|address| Joined::gateway(address));
    Ok(gateway.map(|gateway| Joined { gateway: Some(gateway), taken: Vec::new() }))
}

/// The same, with the addresses that somebody has.
pub(super) async fn with_leases(lxd: &Lxd, network: &str) -> Result<Option<Joined>> {
    let Some(mut joined) = joined(lxd, network).await? else { return Ok(None) };
    joined.taken = leases(lxd, network).await?;
    Ok(Some(joined))
}

/// Addresses that somebody on the network has, or has been promised.
pub(super) async fn leases(lxd: &Lxd, network: &str) -> Result<Vec<Ipv4Addr>> {
    let leases: Vec<Lease> = Request::get(&["networks", network, "leases"]).json(&lxd.client).await?;
    let addresses = leases.into_iter().filter_map(|lease| lease.address?.parse::<IpAddr>().ok());
    Ok(addresses
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect())
}

/// The devices of these profiles, those of later ones in place of those of earlier ones.
async fn profile_devices(lxd: &Lxd, profiles: Option<&[String]>) -> Result<Devices> {
    let own = [PROFILE.to_owned()];
    let mut devices = Devices::new();
    for name in profiles.unwrap_or(&own) {
        let profile: Profile = Request::get(&["profiles", name]).json(&lxd.client).await.map_err(|error| {
            if error.kind() == ErrorKind::NotFound { Error::not_found("profile", name) } else { error }
        })?;
        devices.extend(profile.devices.unwrap_or_default());
    }
    Ok(devices)
}
