//! ZeroTier networks of a node: `zerotier.*`, section 12.8 of the reference. What the tool prints is read as it is; older versions
//! of it print less.

use std::time::Duration;

use serde_json::json;

use roadstead_core::Result;

use super::Commands;
use super::reading::record;

/// `zerotier.*`.
#[derive(Clone, Copy, Debug)]
pub struct ZeroTier<'a>(pub(super) &'a Commands);

record! {
    /// ZeroTier itself.
    pub struct ZeroTierInfo {
        /// Its address in all networks.
        address: String = "address";
        /// Its public identity.
        public_identity: String = "publicIdentity";
        /// Whether it reaches the others.
        online: bool = "online";
        /// Its version.
        version: String = "version";
    }
}

record! {
    /// A network that was joined.
    pub struct ZeroTierNetwork {
        /// Its id, 16 digits.
        id: String = "nwid" | "id";
        /// Its name.
        name: String = "name";
        /// Hardware address of our interface.
        mac: String = "mac";
        /// Whether we were let in: `OK`, `ACCESS_DENIED`, `REQUESTING_CONFIGURATION` …
        status: String = "status";
        /// `PUBLIC` or `PRIVATE`.
        kind: String = "type";
        /// Whether addresses come by DHCP.
        dhcp: bool = "dhcp";
        /// Whether we connect it with another network.
        bridge: bool = "bridge";
        /// Whether all members can be called at once.
        broadcast: bool = "broadcastEnabled";
        /// Error of our interface; 0 for none.
        port_error: i64 = "portError";
        /// Version of its configuration.
        revision: u64 = "netconfRevision";
        /// Our addresses, with their prefix lengths.
        addresses: Vec<String> = "assignedAddresses";
        /// Routes that it asks for.
        routes: Vec<ZeroTierRoute> = "routes";
        /// Name of our interface.
        device: String = "portDeviceName";
        /// Whether it may give addresses and routes.
        allow_managed: bool = "allowManaged";
        /// Whether it may give those of the internet.
        allow_global: bool = "allowGlobal";
        /// Whether it may give the route to everywhere.
        allow_default: bool = "allowDefault";
        /// The largest packet, in bytes.
        mtu_bytes: u64 = "mtu";
    }
}

record! {
    /// A route of a network.
    pub struct ZeroTierRoute {
        /// Where it leads.
        target: String = "target";
        /// The next machine on the way; empty for none.
        via: String = "via";
        /// Flags, as a number.
        flags: u64 = "flags";
        /// The lower, the better.
        metric: u64 = "metric";
    }
}

/// Joining may take as long as the tool needs to be started.
const JOINING: Duration = Duration::from_secs(60);

/// `zerotier.*`.
impl ZeroTier<'_> {
    /// Joins a network: `zerotier.join`.
    ///
    /// # Errors
    /// As every command; `Unexpected` with the tool's words.
    pub async fn join(&self, network: &str) -> Result<()> {
        self.0.done_for(JOINING, "zerotier.join", json!({"network": network})).await
    }

    /// Leaves a network: `zerotier.leave`.
    ///
    /// # Errors
    /// As [`ZeroTier::join`].
    pub async fn leave(&self, network: &str) -> Result<()> {
        self.0.done_for(JOINING, "zerotier.leave", json!({"network": network})).await
    }

    /// The networks that were joined: `zerotier.list`.
    ///
    /// # Errors
    /// As [`ZeroTier::join`].
    pub async fn networks(&self) -> Result<Vec<ZeroTierNetwork>> {
        self.0.list("zerotier.list", ()).await
    }

    /// ZeroTier itself: `zerotier.info`.
    ///
    /// # Errors
    /// As [`ZeroTier::join`].
    pub async fn info(&self) -> Result<ZeroTierInfo> {
        self.0.call("zerotier.info", ()).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::reading::Read;
    use super::*;

    #[test]
    fn what_the_tool_prints() {
        let network = ZeroTierNetwork::read(&json!({"id": "8056c2e21c000001", "nwid": "8056c2e21c000001", "mtu": 2800,
            "assignedAddresses": ["10.1.2.3/24"], "routes": [{"target": "10.1.2.0/24", "via": null, "flags": 0}]}))
        .unwrap();
        assert_eq!((network.id.as_str(), network.mtu_bytes), ("8056c2e21c000001", 2800));
        assert_eq!(network.routes[0].via, "");
        assert_eq!(ZeroTierInfo::read(&Value::Null), None);
    }
}
