//! The firewall of a node and the ports that it forwards: `nft.*` and `socat.*`, section 12.6 of the reference. Before G3 ports
//! were forwarded by processes of socat, which is where the name comes from.

use serde::Serialize;
use serde_json::json;

use roadstead_core::Result;

use super::Commands;
use super::writing::plain;

/// `nft.*` and `socat.*`.
#[derive(Clone, Copy, Debug)]
pub struct Firewall<'a>(pub(super) &'a Commands);

/// A port that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct OpenPort {
    /// Its number.
    pub port: u16,
    /// On which interface; on all when empty.
    #[serde(skip_serializing_if = "plain")]
    pub interface: String,
    /// For which addresses, for example `10.0.0.0/8`; for all when empty.
    #[serde(skip_serializing_if = "plain")]
    pub subnet: String,
}

impl OpenPort {
    /// A port, for all and everywhere.
    #[must_use]
    pub fn new(port: u16) -> Self {
        OpenPort { port, ..OpenPort::default() }
    }
}

/// `nft.*` and `socat.*`.
impl Firewall<'_> {
    /// Opens a port: `nft.open_port`.
    ///
    /// # Errors
    /// As every command; `AlreadyExists` when it is open.
    pub async fn open(&self, port: &OpenPort) -> Result<()> {
        self.0.done("nft.open_port", port).await
    }

    /// Closes a port: `nft.drop_port`.
    ///
    /// # Errors
    /// As every command.
    pub async fn close(&self, port: &OpenPort) -> Result<()> {
        self.0.done("nft.drop_port", port).await
    }

    /// Whether a port is open: `nft.rule_exists`.
    ///
    /// # Errors
    /// As every command.
    pub async fn is_open(&self, port: &OpenPort) -> Result<bool> {
        self.0.ask("nft.rule_exists", port).await
    }

    /// All rules of the firewall, in its own words: `nft.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn rules(&self) -> Result<Vec<String>> {
        self.0.list("nft.list", ()).await
    }

    /// All rules that forward ports, in the firewall's own words: `socat.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn forwards(&self) -> Result<Vec<String>> {
        self.0.list("socat.list", ()).await
    }

    /// So many free ports from 1024 upwards, kept free for two minutes: `socat.reserve`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for none.
    pub async fn reserve(&self, number: u16) -> Result<Vec<u16>> {
        self.0.list("socat.reserve", json!({"number": number})).await
    }
}
