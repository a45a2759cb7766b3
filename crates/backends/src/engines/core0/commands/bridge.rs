//! Bridges of a node: `bridge.*`, section 12.6 of the reference. A node has two of its own, `core0` for containers and `kvm0`
//! for virtual machines.

use serde::Serialize;
use serde_json::json;

use roadstead_core::{Error, ErrorKind, Result};

use super::Commands;
use super::reading::words;
use super::writing::plain;

/// `bridge.*`.
#[derive(Clone, Copy, Debug)]
pub struct Bridges<'a>(pub(super) &'a Commands);

words! {
    /// How what is connected to a bridge gets its address.
    pub enum BridgeMode {
        /// Not by the node.
        None = "none",
        /// The bridge has an address itself.
        Static = "static",
        /// The bridge has one, and gives them by DHCP.
        Dnsmasq = "dnsmasq",
    }
}

/// A bridge to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BridgeArguments {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// Its hardware address; the node chooses one when empty.
    #[serde(skip_serializing_if = "plain")]
    pub hwaddr: String,
    /// Its network.
    pub network: BridgeNetwork,
}

impl BridgeArguments {
    /// A bridge without a network of its own.
    pub fn new(name: impl Into<String>) -> Self {
        BridgeArguments { name: name.into(), ..BridgeArguments::default() }
    }
}

/// The network of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BridgeNetwork {
    /// How addresses are given; not at all by default.
    #[serde(skip_serializing_if = "plain")]
    pub mode: BridgeMode,
    /// Whether the node hides what is connected behind its own address.
    #[serde(skip_serializing_if = "plain")]
    pub nat: bool,
    /// Which addresses.
    #[serde(skip_serializing_if = "plain")]
    pub settings: BridgeSettings,
}

/// The addresses of a bridge's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BridgeSettings {
    /// The bridge's own address and prefix length, for example `192.168.58.1/24`.
    #[serde(skip_serializing_if = "plain")]
    pub cidr: String,
    /// The first address that DHCP gives.
    #[serde(skip_serializing_if = "plain")]
    pub start: String,
    /// The last one.
    #[serde(skip_serializing_if = "plain")]
    pub end: String,
}

/// A machine that always gets the same address from DHCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BridgeHost {
    /// The bridge.
    pub bridge: String,
    /// The address that it gets.
    pub ip: String,
    /// Its hardware address.
    pub mac: String,
}

/// `bridge.*`.
impl Bridges<'_> {
    /// Creates a bridge: `bridge.create`.
    ///
    /// # Errors
    /// As every command; `AlreadyExists`, also when its addresses overlap with those of another; `InvalidInput`.
    pub async fn create(&self, arguments: &BridgeArguments) -> Result<()> {
        self.0.done("bridge.create", arguments).await
    }

    /// The names of all bridges: `bridge.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<String>> {
        self.0.list("bridge.list", ()).await
    }

    /// Deletes a bridge: `bridge.delete`.
    ///
    /// # Errors
    /// As every command; `NotFound`, also for a link that is no bridge.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.0.done("bridge.delete", json!({"name": name})).await
    }

    /// Gives a machine the same address always: `bridge.host-add`, which older nodes call `bridge.add_host`.
    ///
    /// # Errors
    /// As every command; [`BridgeMode::Dnsmasq`] is needed.
    pub async fn add_host(&self, host: &BridgeHost) -> Result<()> {
        match self.0.done("bridge.host-add", host).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => self.0.done("bridge.add_host", host).await,
            other => other,
        }
    }

    /// Connects a link of the node to a bridge: `bridge.nic-add`.
    ///
    /// # Errors
    /// As every command; `NotFound`; `InvalidInput` when it is no bridge.
    pub async fn add_nic(&self, bridge: &str, nic: &str) -> Result<()> {
        self.0.done("bridge.nic-add", json!({"name": bridge, "nic": nic})).await
    }

    /// Takes a link from its bridge: `bridge.nic-remove`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn remove_nic(&self, nic: &str) -> Result<()> {
        self.0.done("bridge.nic-remove", json!({"nic": nic})).await
    }

    /// The links that are connected to a bridge: `bridge.nic-list`.
    ///
    /// # Errors
    /// As [`Bridges::add_nic`].
    pub async fn nics(&self, bridge: &str) -> Result<Vec<String>> {
        if bridge.is_empty() {
            return Err(Error::invalid("name", "must name a bridge"));
        }
        self.0.list("bridge.nic-list", json!({"name": bridge})).await
    }
}
