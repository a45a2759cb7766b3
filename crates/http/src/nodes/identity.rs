//! Which engine a name means: servers that share a store may each have an own node of one name.
//!
//! A node of the store is the same one for all. A node of the configuration, or one that was found, is that of its server; another
//! server's node of the same name is the same engine only when both reach it at the same address, and an address that means something
//! else on every machine (a socket file, loopback) counts on one machine only. Work that was begun on a node is gone on with only where
//! the name means the same engine.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use roadstead_core::NodeUri;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{NodeSlot, NodeSource};

/// Where an address that only one machine knows is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Id of the server's state directory: the same server after each start.
    pub(crate) server: String,
    /// Digest of what tells machines, and containers on one, apart.
    pub(crate) machine: String,
    /// Its host name, for people.
    pub(crate) host: String,
}

impl Place {
    /// This process, as a server with this state directory.
    #[must_use]
    pub fn here(server: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let host = read("/proc/sys/kernel/hostname");
        // Machines that were copied have one machine-id, and a container may have that of its host: its files and its network are others.
        let namespace = |name: &str| {
            let of = fs::metadata(format!("/proc/self/ns/{name}")).map(|of| (of.dev(), of.ino()));
            format!("{of:?}")
        };
        let parts = [read("/etc/machine-id"), host.clone(), namespace("mnt"), namespace("net")];
        Place { server: server.to_owned(), machine: digest(&parts), host }
    }

    /// Whether both know the same sockets.
    pub(crate) fn is(&self, other: &Place) -> bool {
        (!self.server.is_empty() && self.server == other.server) || self.machine == other.machine
    }
}

fn digest(parts: &[String]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the address means the same everywhere: it names a host, and not the machine itself.
pub(super) fn is_remote(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<NodeUri>() else { return false };
    uri.host().is_some_and(|host| {
        let local = match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
        };
        !local
    })
}

/// Which engine a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeIdentity {
    /// The one of its name in the store.
    Stored,
    /// An own one of a server.
    Own {
        /// Its place.
        place: Place,
        /// Its URI without secrets.
        uri: String,
    },
}

impl NodeIdentity {
    pub(super) fn of(slot: &NodeSlot, here: &Place) -> Self {
        match slot.source() {
            NodeSource::Added => NodeIdentity::Stored,
            _ => NodeIdentity::Own { place: here.clone(), uri: slot.uri() },
        }
    }

    /// Whether both are one engine.
    fn is(&self, other: &NodeIdentity) -> bool {
        match (self, other) {
            (NodeIdentity::Stored, NodeIdentity::Stored) => true,
            (NodeIdentity::Own { place, uri }, NodeIdentity::Own { place: there, uri: other }) => {
                let is_same_server = !place.server.is_empty() && place.server == there.server;
                // What is in memory only is that of one process.
                let has_address =
                    uri.parse::<NodeUri>().is_ok_and(|uri| uri.host().is_some() || !uri.path().is_empty());
                is_same_server || (uri == other && has_address && (is_remote(uri) || place.is(there)))
            }
            _ => false,
        }
    }
}

/// The engines of some work, by the names of their nodes.
pub(crate) type Identities = BTreeMap<String, NodeIdentity>;

/// Whether the nodes of a server are those that are meant; the first that is not is named otherwise. A node of the store that there is none
/// of any more is nobody else's, either.
pub(super) fn first_other<'a>(
    meant: &'a Identities,
    here: &Place,
    slot: impl Fn(&str) -> Option<std::sync::Arc<NodeSlot>>,
) -> Option<&'a str> {
    meant.iter().find_map(|(name, meant)| {
        let is_meant = match slot(name) {
            Some(slot) => meant.is(&NodeIdentity::of(&slot, here)) && !slot.is_elsewhere(),
            None => *meant == NodeIdentity::Stored,
        };
        (!is_meant).then_some(name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(server: &str, machine: &str) -> Place {
        Place { server: server.to_owned(), machine: machine.to_owned(), host: String::new() }
    }

    fn own(server: &str, machine: &str, uri: &str) -> NodeIdentity {
        NodeIdentity::Own { place: place(server, machine), uri: uri.to_owned() }
    }

    #[test]
    fn own_nodes_are_one_engine_by_their_server_or_their_address() {
        let socket = "docker+unix:///run/docker.sock";
        let here = own("a", "m", socket);
        assert!(
            here.is(&own("a", "other", "docker+unix:///elsewhere")),
            "the server has moved, or is configured otherwise"
        );
        assert!(here.is(&own("b", "m", socket)), "two servers of one machine");
        assert!(!here.is(&own("b", "n", socket)) && !here.is(&own("b", "m", "docker+unix:///other.sock")));
        assert!(!here.is(&NodeIdentity::Stored) && NodeIdentity::Stored.is(&NodeIdentity::Stored));
        for (uri, is_one) in [
            ("docker+https://sea.example:2376", true),
            ("docker+tcp://127.0.0.1:2375", false),
            ("docker+tcp://localhost:2375", false),
            ("lxd+https://[::1]:8443", false),
        ] {
            assert_eq!(own("a", "m", uri).is(&own("b", "n", uri)), is_one, "{uri}");
            assert!(own("a", "m", uri).is(&own("b", "m", uri)), "{uri}");
        }
        assert!(!own("a", "m", "memory:").is(&own("b", "m", "memory:")), "each has its own memory");
        assert!(!own("", "m", "memory:").is(&own("", "m", "memory:")), "no id is none");
    }

    #[test]
    fn a_process_is_where_it_is() {
        let here = Place::here("a");
        assert_eq!(here.machine.len(), 64);
        assert!(here.is(&Place::here("b")) && here.is(&place("a", "")) && !here.is(&place("b", "")));
    }
}
