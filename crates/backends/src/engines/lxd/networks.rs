//! The networks of a server: the ones it manages.
//!
//! Servers list the machine's own interfaces, too; containers attach to those, but nobody creates or deletes them here, so
//! that they are left to [`super::LxdNode::network_details`]. A managed bridge is an interface of the same name, which is
//! why a name has 15 characters at most. A network here has one range per address family, written as the bridge's own
//! address; that is the gateway.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use roadstead_core::{Error, ErrorKind, Network, NetworkSpec, Result, Subnet, names};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::labels;
use super::node::LxdNode;
use super::request::Request;
use super::shared::Lxd;

/// The longest name of a network interface.
const NAME_MAX: usize = 15;
/// How many random ranges are tried before none is said to be free.
const TRIES: usize = 20;

/// So often a network is tried to be made or deleted while others come and go.
const ATTEMPTS: u32 = 5;

/// A network; every member may be null or missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    pub(super) name: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) managed: Option<bool>,
    pub(super) description: Option<String>,
    pub(super) status: Option<String>,
    pub(super) config: Option<BTreeMap<String, Option<String>>>,
    pub(super) used_by: Option<Vec<String>>,
}

impl Wire {
    fn is_managed(&self) -> bool {
        self.managed.unwrap_or(false)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.config.as_ref()?.get(key)?.as_deref().filter(|value| !value.is_empty())
    }

    fn subnets(&self) -> Vec<Subnet> {
        ["ipv4.address", "ipv6.address"].iter().filter_map(|key| range(self.value(key)?)).collect()
    }

    /// Whether no packet gets out: the server's firewall forwards none, whatever addresses it has.
    fn is_internal(&self) -> bool {
        let mut families = ["ipv4", "ipv6"].iter().filter(|family| {
            let address = self.value(&format!("{family}.address"));
            address.is_some_and(|address| address != "none")
        });
        let closed = |family: &&str| self.value(&format!("{family}.routing")) == Some("false");
        families.next().is_some_and(|first| closed(first) && families.all(closed))
    }

    fn network(&self, node: &str) -> Network {
        let config = labels::split(self.config.clone());
        let mut network = Network::default();
        network.node = node.to_owned();
        network.id = self.name.clone().unwrap_or_default();
        network.name.clone_from(&network.id);
        network.driver = self.kind.clone().unwrap_or_default();
        network.internal = self.is_internal();
        network.subnets = self.subnets();
        network.labels = config.labels;
        network.options = config.options;
        network
    }
}

/// `10.1.2.1/24`: the range, and the gateway in it.
fn range(address: &str) -> Option<Subnet> {
    let (gateway, prefix) = address.split_once('/')?;
    let (gateway, prefix): (IpAddr, u8) = (gateway.parse().ok()?, prefix.parse().ok()?);
    let mut subnet = Subnet::new(format!("{}/{prefix}", first(gateway, prefix)?));
    subnet.gateway = Some(gateway);
    Some(subnet)
}

/// The first address of the range that `address` is in.
fn first(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix.into())?).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    })
}

/// The address for the bridge: the gateway that was asked for, or the first that a machine can have.
fn bridge_address(field: &str, subnet: &Subnet) -> Result<(&'static str, String)> {
    let refuse = |reason: &str| Error::invalid(field, format!("{}: {reason}", subnet.cidr));
    let (address, prefix) = subnet.cidr.split_once('/').ok_or_else(|| refuse("is no range"))?;
    let address: IpAddr = address.parse().map_err(|_| refuse("is no range"))?;
    let prefix: u8 = prefix.parse().map_err(|_| refuse("is no range"))?;
    let start = first(address, prefix).ok_or_else(|| refuse("is no range"))?;
    let second = match start {
        IpAddr::V4(start) => IpAddr::V4(Ipv4Addr::from(u32::from(start).saturating_add(1))),
        IpAddr::V6(start) => IpAddr::V6(Ipv6Addr::from(u128::from(start).saturating_add(1))),
    };
    let gateway = subnet.gateway.unwrap_or(second);
    if first(gateway, prefix) != Some(start) {
        return Err(refuse("the gateway is not in it"));
    }
    let key = if gateway.is_ipv4() { "ipv4.address" } else { "ipv6.address" };
    Ok((key, format!("{gateway}/{prefix}")))
}

/// The configuration that a specification asks for.
fn config(spec: &NetworkSpec) -> Result<BTreeMap<String, String>> {
    let mut config = BTreeMap::new();
    for (index, subnet) in spec.subnets.iter().enumerate() {
        let (key, address) = bridge_address(&format!("subnets[{index}]"), subnet)?;
        if config.insert(key.to_owned(), address).is_some() {
            let words = "a network of this engine has one range of each address family";
            return Err(Error::invalid(format!("subnets[{index}]"), words));
        }
    }
    if !spec.subnets.is_empty() {
        // Only what was asked for; the server would pick a range for the other family.
        for key in ["ipv4.address", "ipv6.address"] {
            config.entry(key.to_owned()).or_insert_with(|| "none".to_owned());
        }
    }
    if spec.internal {
        for key in ["ipv4.nat", "ipv4.routing", "ipv6.nat", "ipv6.routing"] {
            config.insert(key.to_owned(), "false".to_owned());
        }
    }
    for (key, value) in &spec.options {
        let field = format!("options.{key}");
        if key.starts_with(labels::PREFIX) {
            return Err(Error::invalid(field, "is a label of this engine"));
        }
        if config.insert(key.clone(), value.clone()).is_some() {
            return Err(Error::invalid(field, "contradicts subnets or internal"));
        }
    }
    config.extend(labels::written(&spec.labels));
    Ok(config)
}

/// A name that a bridge can have.
fn check_name(spec: &NetworkSpec) -> Result<()> {
    let bridge = spec.driver.as_deref().is_none_or(|driver| driver == "bridge");
    if bridge && spec.name.len() > NAME_MAX {
        let words = format!("a bridge is a network interface, whose name has at most {NAME_MAX} characters");
        return Err(Error::invalid("name", words));
    }
    if bridge && spec.name.len() < 2 {
        return Err(Error::invalid("name", "must have at least two characters"));
    }
    Ok(())
}

/// All that the server tells of, the machine's own interfaces included.
pub(super) async fn all(lxd: &Lxd) -> Result<Vec<Wire>> {
    Request::get(&["networks"]).query("recursion", "1").json(&lxd.client).await
}

/// W1.
pub(super) async fn list_networks(lxd: &Arc<Lxd>) -> Result<Vec<Network>> {
    Ok(all(lxd)
        .await?
        .iter()
        .filter(|network| network.is_managed())
        .map(|network| network.network(&lxd.name))
        .collect())
}

async fn find(lxd: &Lxd, name: &str) -> Result<Wire> {
    names::existing("name", name)?;
    let found: Wire = Request::get(&["networks", name]).json(&lxd.client).await?;
    if found.is_managed() { Ok(found) } else { Err(Error::not_found("network", name)) }
}

/// W2.
pub(super) async fn inspect_network(lxd: &Arc<Lxd>, name: &str) -> Result<Network> {
    Ok(find(lxd, name).await?.network(&lxd.name))
}

/// W3, W4.
pub(super) async fn create_network(lxd: &Arc<Lxd>, spec: &NetworkSpec) -> Result<String> {
    spec.validate()?;
    check_name(spec)?;
    lxd.gateways.forget(&spec.name);
    let config = config(spec)?;
    let create = async |config: &BTreeMap<String, String>| {
        let kind = spec.driver.as_deref().unwrap_or("bridge");
        let body = json!({"name": spec.name, "type": kind, "config": config});
        undisturbed(|| Request::post(&["networks"]).body(&body).done(&lxd.client)).await
    };
    let created = match create(&config).await {
        // A server that cannot tell which ranges are free says so; then we look.
        Err(error) if error.message().contains("find an unused") && spec.subnets.is_empty() => {
            let mut config = config;
            let range = free_range(&all(lxd).await?).ok_or(error)?;
            config.insert("ipv4.address".to_owned(), range);
            config.insert("ipv6.address".to_owned(), "none".to_owned());
            create(&config).await
        }
        result => result,
    };
    created.map(|()| spec.name.clone()).map_err(about_the_spec)
}

/// Makes or deletes a network, again when that failed because somebody else's interface went away meanwhile: Incus looks at
/// every interface of the machine, one after the other. It takes back what it has done until then.
async fn undisturbed<F: Future<Output = Result<()>>>(work: impl Fn() -> F) -> Result<()> {
    let mut attempt = 1;
    loop {
        match work().await {
            Err(error) if attempt < ATTEMPTS && is_disturbed(&error) => attempt += 1,
            result => return result,
        }
    }
}

fn is_disturbed(error: &Error) -> bool {
    let message = error.message();
    message.contains("link show") && message.contains("does not exist")
}

/// A bridge address in a range of 254 addresses that no network of the server has, by chance.
fn free_range(networks: &[Wire]) -> Option<String> {
    use std::hash::{BuildHasher, RandomState};
    let taken: Vec<(IpAddr, u8)> = networks
        .iter()
        .flat_map(Wire::subnets)
        .filter_map(|subnet| {
            let (address, prefix) = subnet.cidr.split_once('/')?;
            Some((address.parse().ok()?, prefix.parse().ok()?))
        })
        .collect();
    (0..TRIES).find_map(|attempt| {
        let [a, b, ..] = RandomState::new().hash_one(attempt).to_be_bytes();
        let gateway = Ipv4Addr::new(10, a, b, 1);
        let overlaps = taken.iter().any(|(other, prefix)| {
            let widest = (*prefix).min(24);
            first(*other, widest) == first(gateway.into(), widest)
        });
        (!overlaps).then(|| format!("{gateway}/24"))
    })
}

/// What a server tells of a network or interface beside the common nouns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkDetails {
    /// Its name.
    pub name: String,
    /// What it is, for example `bridge` or `physical`.
    pub kind: String,
    /// Whether the server made it; the others are the machine's own interfaces.
    pub managed: bool,
    /// A remark.
    pub description: String,
    /// The server's word for its state, for example `Created`; empty for what it does not manage.
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The server's own configuration keys, for example `ipv4.address`.
    pub options: BTreeMap<String, String>,
    /// Which instances and profiles refer to it, as paths of the server's API.
    pub used_by: Vec<String>,
    /// How it is now; only told by [`LxdNode::network_details`].
    pub state: Option<NetworkState>,
}

/// How a network is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkState {
    /// Whether it is up.
    pub up: bool,
    /// Hardware address.
    pub hardware_address: String,
    /// Longest packet in bytes.
    pub mtu: u64,
    /// Addresses with prefix lengths, for example `10.1.2.1/24`.
    pub addresses: Vec<String>,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    addresses: Option<Vec<Address>>,
    counters: Option<Counters>,
    hwaddr: Option<String>,
    mtu: Option<u64>,
    state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    address: Option<String>,
    netmask: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counters {
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
}

impl State {
    fn state(self) -> NetworkState {
        let counters = self.counters.unwrap_or_default();
        NetworkState {
            up: self.state.as_deref() == Some("up"),
            hardware_address: self.hwaddr.unwrap_or_default(),
            mtu: self.mtu.unwrap_or(0),
            addresses: self
                .addresses
                .unwrap_or_default()
                .into_iter()
                .filter_map(|found| Some(format!("{}/{}", found.address?, found.netmask?)))
                .collect(),
            received_bytes: counters.bytes_received.unwrap_or(0),
            sent_bytes: counters.bytes_sent.unwrap_or(0),
        }
    }
}

impl Wire {
    fn details(self) -> NetworkDetails {
        let config = labels::split(self.config);
        NetworkDetails {
            name: self.name.unwrap_or_default(),
            kind: self.kind.unwrap_or_default(),
            managed: self.managed.unwrap_or(false),
            description: self.description.unwrap_or_default(),
            status: self.status.unwrap_or_default(),
            labels: config.labels,
            options: config.options,
            used_by: self.used_by.unwrap_or_default(),
            state: None,
        }
    }
}

/// What only this engine tells of networks.
impl LxdNode {
    /// All networks, the machine's own interfaces included.
    ///
    /// # Errors
    /// As every call on the node.
    pub async fn all_networks(&self) -> Result<Vec<NetworkDetails>> {
        let work = async { Ok(all(&self.0).await?.into_iter().map(Wire::details).collect()) };
        self.call("lxd.all_networks", None, "", work).await
    }

    /// The network or interface of this name, with how it is now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn network_details(&self, name: &str) -> Result<NetworkDetails> {
        let work = async {
            names::existing("name", name)?;
            let found: Wire = Request::get(&["networks", name]).json(&self.0.client).await?;
            let mut details = found.details();
            details.state = match Request::get(&["networks", name, "state"]).json::<State>(&self.0.client).await {
                Ok(state) => Some(state.state()),
                // Some kinds of network are no interface, and have none.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => None,
                Err(error) => return Err(error),
            };
            Ok(details)
        };
        self.call("lxd.network_details", None, name, work).await
    }
}

/// What the server finds wrong with a specification.
fn about_the_spec(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::AlreadyExists) {
        error
    } else if says(&["unknown driver", "unknown network type"]) {
        Error::invalid("driver", error.message()).with_source(error)
    } else if says(&["address already in use", "overlap", "conflict"]) {
        Error::new(ErrorKind::Conflict, error.message().to_owned()).with_source(error)
    } else if says(&["ipv4.address", "ipv6.address"]) {
        Error::invalid("subnets", error.message()).with_source(error)
    } else if says(&["invalid option", "invalid value"]) {
        Error::invalid("options", error.message()).with_source(error)
    } else if says(&["network interface", "name"]) && error.kind() == ErrorKind::InvalidInput {
        Error::invalid("name", error.message()).with_source(error)
    } else {
        error
    }
}

/// W5, W6.
pub(super) async fn delete_network(lxd: &Arc<Lxd>, name: &str) -> Result<()> {
    find(lxd, name).await?;
    let deleted = undisturbed(|| Request::delete(&["networks", name]).done(&lxd.client)).await;
    lxd.gateways.forget(name);
    deleted.map_err(in_use)
}

/// Servers call what is used by an instance or a profile wrong input.
pub(super) fn in_use(error: Error) -> Error {
    if error.kind() != ErrorKind::Conflict && error.message().to_lowercase().contains("in use") {
        return Error::new(ErrorKind::Conflict, error.message().to_owned()).with_source(error);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(value: serde_json::Value) -> Wire {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let network = wire(json!({
            "name": "n", "type": "bridge", "managed": true, "used_by": null, "unheard": "of",
            "config": {"ipv4.address": "10.1.2.5/28", "ipv6.address": "none", "ipv4.routing": "false", "user.a": "b",
                       "volatile.x": "y", "z": null},
        }))
        .network("node");
        assert_eq!(network.subnets[0].cidr, "10.1.2.0/28");
        assert_eq!(network.subnets[0].gateway, Some("10.1.2.5".parse().unwrap()));
        assert!(network.internal);
        assert_eq!(network.labels["a"], "b");
        assert!(!network.options.contains_key("user.a") && !network.options.contains_key("volatile.x"));
        let bare = wire(json!({"name": "eth0", "config": null})).network("node");
        assert_eq!((bare.subnets.len(), bare.internal, bare.driver.as_str()), (0, false, ""));
    }

    #[test]
    fn a_specification_becomes_configuration() {
        let mut spec = NetworkSpec::new("n");
        assert_eq!(config(&spec).unwrap(), BTreeMap::new());
        spec.subnets = vec![Subnet::new("10.1.2.16/28"), Subnet::new("fd00:1::/64")];
        spec.labels.insert("a".to_owned(), "b".to_owned());
        spec.options.insert("bridge.mtu".to_owned(), "1400".to_owned());
        let written = config(&spec).unwrap();
        assert_eq!(written["ipv4.address"], "10.1.2.17/28");
        assert_eq!(written["ipv6.address"], "fd00:1::1/64");
        assert_eq!((written["user.a"].as_str(), written["bridge.mtu"].as_str()), ("b", "1400"));
        spec.subnets.truncate(1);
        assert_eq!(config(&spec).unwrap()["ipv6.address"], "none");
        spec.subnets[0].gateway = "10.1.2.33".parse().ok();
        assert_eq!(config(&spec).unwrap_err().field(), Some("subnets[0]"));
        spec.subnets = vec![Subnet::new("10.1.2.0/24"), Subnet::new("10.1.3.0/24")];
        assert_eq!(config(&spec).unwrap_err().field(), Some("subnets[1]"));
        spec.subnets.clear();
        for key in ["user.x", "ipv4.nat"] {
            spec.internal = true;
            spec.options = BTreeMap::from([(key.to_owned(), "true".to_owned())]);
            assert_eq!(config(&spec).unwrap_err().field(), Some(format!("options.{key}").as_str()));
        }
        assert!(check_name(&NetworkSpec::new("a-name-of-16-xxx")).is_err());
    }

    #[test]
    fn a_free_range_overlaps_no_other() {
        let most: Vec<Wire> = (0..=255)
            .filter(|a| *a != 7)
            .map(|a| wire(json!({"config": {"ipv4.address": format!("10.{a}.0.1/16")}})))
            .collect();
        for _ in 0..50 {
            assert!(free_range(&most).is_none_or(|range| range.starts_with("10.7.")));
        }
        assert_eq!(free_range(&[wire(json!({"config": {"ipv4.address": "10.0.0.1/8"}}))]), None);
        assert!(free_range(&[]).is_some());
    }
}
