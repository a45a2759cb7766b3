//! What the target has: its addresses, profiles, networks and storage pools, and which configuration keys it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roadstead_core::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::super::instance::{Config, Devices, config, devices};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::original::Original;

/// What the server says when it meets a key that it does not know; the key follows.
const UNKNOWN_KEY: &str = "Unknown configuration key: ";
/// What it says of a device that it does not take; the name in quotation marks follows.
const BAD_DEVICE: &str = "Device validation failed for ";
/// A profile that every project has, and that cannot be deleted.
const DEFAULT: &str = "default";

/// How other servers find and know a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// `host:port` of its https, the likeliest first.
    pub(super) addresses: Vec<String>,
    /// Its certificate (PEM).
    pub(super) certificate: String,
    architectures: Vec<String>,
}

/// What a target has.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) server: Server,
    pub(super) profiles: BTreeMap<String, Profile>,
    /// Bridges and other networks by name, and whether the server manages them; none when we may not know.
    pub(super) networks: Option<BTreeMap<String, bool>>,
    /// Drivers of the storage pools by name; none when we may not know.
    pub(super) pools: Option<BTreeMap<String, String>>,
    /// Of the keys of the original, those that this server does not know.
    pub(super) unknown_keys: BTreeSet<String>,
}

/// A profile.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    pub(super) config: Config,
    pub(super) devices: Devices,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Root {
    environment: Option<Environment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Environment {
    addresses: Option<Vec<String>>,
    certificate: Option<String>,
    architectures: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
    #[serde(deserialize_with = "config")]
    config: Config,
    #[serde(deserialize_with = "devices")]
    devices: Devices,
    driver: Option<String>,
    managed: Option<bool>,
}

impl Facts {
    /// Asks `lxd` for everything that matters to `original`.
    pub(super) async fn read(lxd: &Arc<Lxd>, original: &Original) -> Result<Self> {
        let (server, profiles, networks, pools, unknown_keys) = tokio::try_join!(
            Server::read(lxd),
            list(lxd, "profiles"),
            list(lxd, "networks"),
            list(lxd, "storage-pools"),
            unknown_keys(lxd, original.every_key()),
        )?;
        let networks = networks.map(|list| {
            list.into_iter().filter_map(|named| Some((named.name?, named.managed.unwrap_or(false)))).collect()
        });
        let pools = pools.map(|list| {
            list.into_iter().filter_map(|named| Some((named.name?, named.driver.unwrap_or_default()))).collect()
        });
        let profiles = profiles.unwrap_or_default().into_iter().filter_map(|named| {
            let profile = Profile { config: named.config, devices: named.devices };
            Some((named.name?, profile))
        });
        Ok(Facts { server, profiles: profiles.collect(), networks, pools, unknown_keys })
    }

    /// Whether containers of this architecture run there.
    pub(super) fn runs(&self, architecture: &str) -> bool {
        let known = &self.server.architectures;
        known.is_empty() || architecture.is_empty() || known.iter().any(|known| known == architecture)
    }

    /// Whether an interface can be attached to this network by this option: `network` takes managed ones only, `parent`
    /// any that the machine has.
    pub(super) fn attaches(&self, option: &str, network: &str) -> bool {
        let Some(networks) = &self.networks else { return true };
        networks.get(network).is_some_and(|managed| *managed || option == "parent")
    }

    /// The profile of new containers.
    pub(super) fn default_profile(&self) -> Option<&Profile> {
        self.profiles.get(DEFAULT)
    }
}

impl Server {
    /// Asks `lxd` for its addresses and its certificate.
    pub(super) async fn read(lxd: &Arc<Lxd>) -> Result<Self> {
        let root: Root = Request::get(&[]).json(&lxd.client).await?;
        let environment = root.environment.unwrap_or_default();
        let mut addresses: Vec<String> = own_address(&lxd.uri).into_iter().collect();
        for address in environment.addresses.unwrap_or_default() {
            // Nobody else knows through which of its interfaces a link-local address is reached.
            if !address.starts_with("[fe80:") && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(Server {
            addresses,
            certificate: environment.certificate.unwrap_or_default(),
            architectures: environment.architectures.unwrap_or_default(),
        })
    }
}

/// `host:port` by which we came ourselves, where it was https.
fn own_address(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next().filter(|authority| !authority.is_empty())?;
    if !scheme.ends_with("+https") {
        return None;
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.to_owned() } else { format!("{authority}:8443") })
}

/// Everything of a kind; none when we may not know.
async fn list(lxd: &Lxd, kind: &str) -> Result<Option<Vec<Named>>> {
    match Request::get(&[kind]).query("recursion", "1").json::<Vec<Named>>(&lxd.client).await {
        Ok(list) => Ok(Some(list)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which of these keys the server does not know.
async fn unknown_keys(lxd: &Lxd, mut config: Config) -> Result<BTreeSet<String>> {
    let named = |words: &str| words.split(UNKNOWN_KEY).nth(1).map(|key| key.trim().to_owned());
    let mut unknown = BTreeSet::new();
    while let Some(words) = refused(lxd, &config, &Devices::new()).await? {
        if let Some(key) = named(&words).filter(|key| config.remove(key).is_some()) {
            unknown.insert(key);
            continue;
        }
        // It is a value that is refused, and the server tells of one thing at a time, in any order.
        for (key, value) in config {
            let alone = Config::from([(key.clone(), value)]);
            if refused(lxd, &alone, &Devices::new()).await?.as_deref().and_then(named).is_some() {
                unknown.insert(key);
            }
        }
        break;
    }
    Ok(unknown)
}

/// Which of these devices the server does not take, and why.
pub(super) async fn bad_devices(lxd: &Lxd, mut devices: Devices) -> Result<Vec<(String, String)>> {
    let mut bad = Vec::new();
    while !devices.is_empty() {
        let Some(words) = refused(lxd, &Config::new(), &devices).await? else { break };
        let Some(rest) = words.split(BAD_DEVICE).nth(1) else { break };
        let Some((name, why)) = rest.trim_start_matches('"').split_once('"') else { break };
        if devices.remove(name).is_none() {
            break;
        }
        bad.push((name.to_owned(), why.trim_start_matches([':', ' ']).to_owned()));
    }
    Ok(bad)
}

/// Why the server refuses this configuration, if it does. Nothing is made: a profile is asked for by a name that is
/// taken for certain, and the server looks at what stands in it before it looks at the name.
async fn refused(lxd: &Lxd, config: &Config, devices: &Devices) -> Result<Option<String>> {
    let body = json!({"name": DEFAULT, "config": config, "devices": devices});
    match Request::post(&["profiles"]).body(&body).bytes(&lxd.client).await {
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
        // All is well with it but the name; or we may not ask.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Ok(Some(error.message().to_owned())),
        Ok(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::own_address;

    #[test]
    fn the_address_we_came_by() {
        for (uri, address) in [
            ("lxd+unix:///var/lib/lxd/unix.socket", None),
            ("lxd+https://a.example", Some("a.example:8443")),
            ("incus+https://10.0.0.1:443/?project=p", Some("10.0.0.1:443")),
            ("lxd+https://[2001:db8::1]", Some("[2001:db8::1]:8443")),
            ("lxd+https://[2001:db8::1]:1", Some("[2001:db8::1]:1")),
        ] {
            assert_eq!(own_address(uri).as_deref(), address, "{uri}");
        }
    }
}
