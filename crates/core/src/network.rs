//! Networks of a node.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names;
use crate::time::Timestamp;

/// A network as the engine tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Network {
    /// Name of the node.
    pub node: String,
    /// The engine's id; the name where there is none.
    pub id: String,
    /// Name.
    pub name: String,
    /// Driver, for example `bridge`.
    pub driver: String,
    /// Whether it has no way out.
    pub internal: bool,
    /// Its address ranges.
    pub subnets: Vec<Subnet>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// When it was made, if told.
    pub created_at: Option<Timestamp>,
}

/// An address range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subnet {
    /// Address and prefix length, for example `172.30.0.0/24`.
    pub cidr: String,
    /// Gateway; the engine picks one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gateway: Option<IpAddr>,
}

impl Subnet {
    /// A range whose gateway the engine picks.
    #[must_use]
    pub fn new(cidr: impl Into<String>) -> Self {
        Subnet { cidr: cidr.into(), gateway: None }
    }

    fn validate(&self, field: &str) -> Result<()> {
        let refuse =
            || Error::invalid(format!("{field}.cidr"), format!("{:?} is not a range such as 172.30.0.0/24", self.cidr));
        let (address, prefix) = self.cidr.split_once('/').ok_or_else(refuse)?;
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        if prefix > if address.is_ipv4() { 32 } else { 128 } {
            return Err(refuse());
        }
        if self.gateway.is_some_and(|gateway| gateway.is_ipv4() != address.is_ipv4()) {
            return Err(Error::invalid(format!("{field}.gateway"), "is of another address family than the range"));
        }
        Ok(())
    }
}

/// What a new network shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NetworkSpec {
    /// Name (required).
    pub name: String,
    /// Driver; the engine's bridge when absent.
    pub driver: Option<String>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Address ranges; the engine picks one when empty.
    pub subnets: Vec<Subnet>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// A network of this name, everything else by default.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        NetworkSpec { name: name.into(), ..NetworkSpec::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::network_name("name", &self.name)?;
        if let Some(driver) = &self.driver {
            names::one_word("driver", driver)?;
        }
        for (index, subnet) in self.subnets.iter().enumerate() {
            subnet.validate(&format!("subnets[{index}]"))?;
        }
        for key in self.labels.keys() {
            names::label_key("labels", key)?;
        }
        Ok(())
    }
}

/// The networks of a node.
#[async_trait]
pub trait Networks: Debug + Send + Sync {
    /// All networks, in one engine call.
    ///
    /// * **W1**: holds every network that was created, with its labels.
    async fn list_networks(&self) -> Result<Vec<Network>>;

    /// The network with this name or id.
    ///
    /// * **W2**: finds it by name and by id; `NotFound` otherwise.
    async fn inspect_network(&self, name: &str) -> Result<Network>;

    /// Creates a network, and gives its id.
    ///
    /// * **W3**: it has the driver, ranges and labels that were asked for.
    /// * **W4**: a name that is taken is `AlreadyExists`; nothing changes.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<String>;

    /// Deletes a network.
    ///
    /// * **W5**: afterwards it is not found; deleting it again is `NotFound`.
    /// * **W6**: `Conflict` while a running container is on it; nothing changes.
    async fn delete_network(&self, name: &str) -> Result<()>;
}
