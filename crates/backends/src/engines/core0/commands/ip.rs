//! Links, addresses, routes, bridges and bonds as the kernel has them: `ip.*`, section 12.6 of the reference. They exist in
//! containers, too.

use serde::Serialize;
use serde_json::json;

use roadstead_core::Result;

use super::Commands;
use super::job::json_text;
use super::reading::{Read, record};
use super::writing::plain;

/// `ip.*`.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a>(pub(super) &'a Commands);

record! {
    /// A network link.
    pub struct Link {
        /// Its name.
        name: String = "name";
        /// Its kind: `device`, `veth`, `bridge` …
        kind: String = "type";
        /// Its hardware address; empty when it has none.
        mac: String = "hwaddr";
        /// The bridge or bond that it belongs to; empty when there is none.
        master: String = "master";
        /// Whether it is up.
        up: bool = "up";
        /// The largest packet, in bytes.
        mtu_bytes: u64 = "mtu";
    }
}

record! {
    /// A route.
    #[derive(Serialize)]
    pub struct Route {
        /// The link that it leads through.
        #[serde(rename = "dev")]
        device: String = "dev";
        /// Where it leads: an address and a prefix length; everywhere when empty.
        #[serde(rename = "dst", skip_serializing_if = "plain")]
        destination: String = "dst";
        /// The next machine on the way; empty for what is connected.
        #[serde(rename = "gw", skip_serializing_if = "plain")]
        gateway: String = "gw";
    }
}

impl Route {
    /// To what is connected to this link.
    pub fn new(device: impl Into<String>, destination: impl Into<String>) -> Self {
        Route { device: device.into(), destination: destination.into(), gateway: String::new() }
    }
}

/// A bond to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Bond {
    /// Its name.
    pub bond: String,
    /// The links that it is made of.
    pub interfaces: Vec<String>,
    /// The largest packet, in bytes.
    #[serde(skip_serializing_if = "plain")]
    pub mtu: u32,
}

/// What a node says about a bond; the reference does not know its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BondEntry {
    /// As it is: JSON.
    pub json: String,
}

impl Read for BondEntry {
    fn read(value: &serde_json::Value) -> Option<Self> {
        json_text(value).map(|json| BondEntry { json })
    }
}

/// `ip.link.*`.
impl Ip<'_> {
    /// All links: `ip.link.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn links(&self) -> Result<Vec<Link>> {
        self.0.list("ip.link.list", ()).await
    }

    /// Brings a link up: `ip.link.up`.
    ///
    /// # Errors
    /// As every command; `NotFound`. The same for all that follow.
    pub async fn link_up(&self, name: &str) -> Result<()> {
        self.0.done("ip.link.up", json!({"name": name})).await
    }

    /// Takes a link down: `ip.link.down`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn link_down(&self, name: &str) -> Result<()> {
        self.0.done("ip.link.down", json!({"name": name})).await
    }

    /// Gives a link another name: `ip.link.name`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn rename_link(&self, name: &str, new: &str) -> Result<()> {
        self.0.done("ip.link.name", json!({"name": name, "new": new})).await
    }

    /// Sets the largest packet of a link, in bytes: `ip.link.mtu`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn set_mtu(&self, name: &str, mtu_bytes: u32) -> Result<()> {
        self.0.done("ip.link.mtu", json!({"name": name, "mtu": mtu_bytes})).await
    }
}

/// `ip.addr.*` and `ip.route.*`.
impl Ip<'_> {
    /// The addresses of a link, with their prefix lengths: `ip.addr.list`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn addresses(&self, link: &str) -> Result<Vec<String>> {
        self.0.list("ip.addr.list", json!({"name": link})).await
    }

    /// Gives a link an address, for example `10.0.0.5/24`: `ip.addr.add`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn add_address(&self, link: &str, cidr: &str) -> Result<()> {
        self.0.done("ip.addr.add", json!({"name": link, "ip": cidr})).await
    }

    /// Takes an address from a link: `ip.addr.del`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn delete_address(&self, link: &str, cidr: &str) -> Result<()> {
        self.0.done("ip.addr.del", json!({"name": link, "ip": cidr})).await
    }

    /// All routes: `ip.route.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn routes(&self) -> Result<Vec<Route>> {
        self.0.list("ip.route.list", ()).await
    }

    /// Adds a route: `ip.route.add`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn add_route(&self, route: &Route) -> Result<()> {
        self.0.done("ip.route.add", route).await
    }

    /// Deletes a route: `ip.route.del`.
    ///
    /// # Errors
    /// As [`Ip::link_up`]; `NotFound` when there is no such route, too.
    pub async fn delete_route(&self, route: &Route) -> Result<()> {
        self.0.done("ip.route.del", route).await
    }
}

/// `ip.bridge.*` and `ip.bond.*`.
impl Ip<'_> {
    /// Adds a bridge, with this hardware address if there is one: `ip.bridge.add`.
    ///
    /// # Errors
    /// As every command; `AlreadyExists`.
    pub async fn add_bridge(&self, name: &str, hwaddr: Option<&str>) -> Result<()> {
        let arguments = match hwaddr {
            Some(hwaddr) => json!({"name": name, "hwaddr": hwaddr}),
            None => json!({"name": name}),
        };
        self.0.done("ip.bridge.add", arguments).await
    }

    /// Deletes a bridge: `ip.bridge.del`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn delete_bridge(&self, name: &str) -> Result<()> {
        self.0.done("ip.bridge.del", json!({"name": name})).await
    }

    /// Connects a link to a bridge: `ip.bridge.addif`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn add_to_bridge(&self, bridge: &str, link: &str) -> Result<()> {
        self.0.done("ip.bridge.addif", json!({"name": bridge, "inf": link})).await
    }

    /// Takes a link from a bridge: `ip.bridge.delif`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn delete_from_bridge(&self, bridge: &str, link: &str) -> Result<()> {
        self.0.done("ip.bridge.delif", json!({"name": bridge, "inf": link})).await
    }

    /// Adds a bond: `ip.bond.add`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn add_bond(&self, bond: &Bond) -> Result<()> {
        self.0.done("ip.bond.add", bond).await
    }

    /// All bonds: `ip.bond.list`.
    ///
    /// # Errors
    /// As every command; `NotFound` when the kernel has no bonds at all.
    pub async fn bonds(&self) -> Result<Vec<BondEntry>> {
        self.0.list("ip.bond.list", ()).await
    }

    /// Deletes a bond: `ip.bond.del`.
    ///
    /// # Errors
    /// As [`Ip::link_up`].
    pub async fn delete_bond(&self, bond: &str) -> Result<()> {
        self.0.done("ip.bond.del", json!({"bond": bond})).await
    }
}
