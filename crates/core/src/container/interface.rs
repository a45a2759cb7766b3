//! The network interfaces that a container sees, as its engine tells of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A network interface inside a container. Members that the engine does not tell are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerInterface {
    /// Its name in the container.
    pub name: String,
    /// The name that its other end has on the node, where it is a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Hardware address; absent where it has none, as the loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// The largest packet, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it is up.
    pub up: bool,
    /// Whether it leads back to the container itself.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// How many of its bits say which network it is in.
    pub prefix: u8,
    /// How far it reaches.
    pub scope: AddressScope,
}

impl InterfaceAddress {
    /// An address whose scope follows from itself: where an engine tells no other.
    #[must_use]
    pub const fn new(address: IpAddr, prefix: u8) -> Self {
        InterfaceAddress { address, prefix, scope: AddressScope::of(address) }
    }
}

/// How far an address reaches, in the kernel's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum AddressScope {
    /// Beyond the link.
    Global,
    /// The link alone: `169.254.0.0/16` and `fe80::/10`.
    Link,
    /// The container itself: `127.0.0.0/8` and `::1`.
    Local,
    /// Something else.
    #[default]
    #[serde(other)]
    Other,
}

impl AddressScope {
    /// That of an address by itself.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        let (local, link) = match address {
            IpAddr::V4(address) => (address.is_loopback(), address.is_link_local()),
            IpAddr::V6(address) => (address.is_loopback(), address.is_unicast_link_local()),
        };
        match (local, link) {
            (true, _) => AddressScope::Local,
            (_, true) => AddressScope::Link,
            _ => AddressScope::Global,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_of_an_address_follows_from_itself() {
        for (address, scope) in [
            ("127.0.0.1", AddressScope::Local),
            ("::1", AddressScope::Local),
            ("169.254.3.4", AddressScope::Link),
            ("fe80::1", AddressScope::Link),
            ("10.0.0.1", AddressScope::Global),
            ("fd00::1", AddressScope::Global),
        ] {
            assert_eq!(InterfaceAddress::new(address.parse().unwrap(), 8).scope, scope, "{address}");
        }
    }

    #[test]
    fn a_word_that_is_newer_is_another_scope() {
        let read: InterfaceAddress =
            serde_json::from_str(r#"{"address":"10.0.0.1","prefix":24,"scope":"site"}"#).unwrap();
        assert_eq!(read.scope, AddressScope::Other);
    }
}
