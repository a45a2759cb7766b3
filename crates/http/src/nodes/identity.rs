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
        // Machines that were copied have one machine-id, and a container may have that of its host: it is another boot, or its files and its
        // network are others. What this makes of a server that is started again, its id makes good.
        let namespace = |name: &str| {
            let of = fs::metadata(format!("/proc/self/ns/{name}")).map(|of| (of.dev(), of.ino()));
            format!("{of:?}")
        };
        let boot = read("/proc/sys/kernel/random/boot_id");
        let parts = [read("/etc/machine-id"), host.clone(), boot, namespace("mnt"), namespace("net")];
        Place { server: server.to_owned(), machine: digest(&parts), host }
    }

    /// Whether both know the same sockets.
    pub(crate) fn is(&self, other: &Place) -> bool {
        self.is_server(other) || self.machine == other.machine
    }

    /// Whether both are one server.
    fn is_server(&self, other: &Place) -> bool {
        !self.server.is_empty() && self.server == other.server
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

/// Names of hosts that mean this machine.
const LOCAL: [&str; 3] = ["localhost", "localhost.localdomain", "ip6-localhost"];

/// Whether it is a name that a container is given for the machine it runs on, such as `host.example.internal`.
fn is_machine_of_container(host: &str) -> bool {
    host.starts_with("host.") && host.ends_with(".internal") && host.split('.').count() == 3
}

/// Whether the address means the same everywhere: it names a host, and not the machine itself or one beside it.
pub(super) fn is_remote(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<NodeUri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => !(address.is_loopback() || address.is_unspecified() || address.is_link_local()),
        Ok(IpAddr::V6(address)) => {
            !(address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local())
        }
        // Numbers in another way of writing them are left to the resolver, which takes `127.1` for loopback.
        Err(_) => {
            let is_number = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b".x".contains(&byte))
                && host.starts_with(|first: char| first.is_ascii_digit());
            !(is_number
                || LOCAL.contains(&host.as_str())
                || host.ends_with(".localhost")
                || is_machine_of_container(&host))
        }
    }
}

/// Which engine a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeIdentity {
    /// The one of its name in the store that was added with this id.
    Stored {
        /// Another one whenever a node is added.
        id: String,
    },
    /// An own one of a server.
    Own {
        /// Its place.
        place: Place,
        /// Its URI without secrets.
        uri: String,
    },
}

/// What a name means here, beside what is meant by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The same engine.
    Same,
    /// The engine that is meant is a node of no server any more.
    Gone,
    /// The engine that is meant is a node of other servers, or is reached by other servers only.
    Other,
}

impl NodeIdentity {
    pub(super) fn of(slot: &NodeSlot, here: &Place) -> Self {
        match slot.source() {
            NodeSource::Added => NodeIdentity::Stored { id: slot.id().to_owned() },
            _ => NodeIdentity::Own { place: here.clone(), uri: slot.uri() },
        }
    }

    /// What the node of its name, if there is one, is beside this one.
    pub(super) fn meaning(&self, here: &Place, slot: Option<&NodeSlot>) -> Meaning {
        let there = slot.map(|slot| NodeIdentity::of(slot, here));
        let meaning = self.beside(here, there.as_ref());
        match meaning {
            Meaning::Same if slot.is_some_and(NodeSlot::is_elsewhere) => Meaning::Other,
            _ => meaning,
        }
    }

    fn beside(&self, here: &Place, there: Option<&NodeIdentity>) -> Meaning {
        match (self, there) {
            (NodeIdentity::Stored { id }, Some(NodeIdentity::Stored { id: other })) if id == other => Meaning::Same,
            (NodeIdentity::Stored { .. }, None | Some(NodeIdentity::Stored { .. })) => Meaning::Gone,
            // An own one stands before it.
            (NodeIdentity::Stored { .. }, Some(NodeIdentity::Own { .. })) => Meaning::Other,
            (NodeIdentity::Own { place, uri }, Some(NodeIdentity::Own { uri: other, .. })) => {
                // What is in memory only is that of one process.
                let has_address =
                    uri.parse::<NodeUri>().is_ok_and(|uri| uri.host().is_some() || !uri.path().is_empty());
                let is_address = uri == other && has_address && (is_remote(uri) || place.is(here));
                if place.is_server(here) || is_address { Meaning::Same } else { Meaning::Other }
            }
            (NodeIdentity::Own { place, .. }, _) if place.is_server(here) => Meaning::Gone,
            (NodeIdentity::Own { .. }, _) => Meaning::Other,
        }
    }

    /// The server whose own one it is.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            NodeIdentity::Stored { .. } => None,
            NodeIdentity::Own { place, .. } => Some(&place.server),
        }
    }
}

/// The engines of some work, by the names of their nodes.
pub(crate) type Identities = BTreeMap<String, NodeIdentity>;

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
        let socket = "tide+unix:///run/tide.sock";
        // What is meant by a server on a machine, at another one.
        let meaning = |meant: &NodeIdentity, server: &str, machine: &str, uri: &str| {
            meant.beside(&place(server, machine), Some(&own(server, machine, uri)))
        };
        let meant = own("a", "m", socket);
        assert_eq!(meaning(&meant, "a", "other", "tide+unix:///elsewhere"), Meaning::Same, "configured otherwise");
        assert_eq!(meaning(&meant, "b", "m", socket), Meaning::Same, "two servers of one machine");
        assert_eq!(meaning(&meant, "b", "n", socket), Meaning::Other);
        assert_eq!(meaning(&meant, "b", "m", "tide+unix:///other.sock"), Meaning::Other);
        for (uri, at_another) in [
            ("tide+https://sea.example:2376", Meaning::Same),
            ("tide+https://192.0.2.7:2376", Meaning::Same),
            ("tide+tcp://127.0.0.1:2375", Meaning::Other),
            ("tide+tcp://127.1:2375", Meaning::Other),
            ("tide+tcp://LOCALHOST.:2375", Meaning::Other),
            ("tide+tcp://host.tide.internal:2375", Meaning::Other),
            ("tide+https://[::1]:8443", Meaning::Other),
            ("tide+https://[::ffff:127.0.0.1]:8443", Meaning::Other),
            ("tide+https://[fe80::1]:8443", Meaning::Other),
        ] {
            assert_eq!(meaning(&own("a", "m", uri), "b", "n", uri), at_another, "{uri}");
            assert_eq!(meaning(&own("a", "m", uri), "b", "m", uri), Meaning::Same, "{uri}");
        }
        assert_eq!(meaning(&own("a", "m", "memory:"), "b", "m", "memory:"), Meaning::Other, "each has its own memory");
        assert_eq!(meaning(&own("", "m", "memory:"), "", "m", "memory:"), Meaning::Other, "no id is none");
        assert_eq!(meant.beside(&place("a", "m"), None), Meaning::Gone, "it is not configured any more");
        assert_eq!(meant.beside(&place("b", "m"), None), Meaning::Other);
    }

    #[test]
    fn a_node_of_the_store_is_the_one_that_was_added() {
        let stored = |id: &str| NodeIdentity::Stored { id: id.to_owned() };
        let here = place("a", "m");
        assert_eq!(stored("1").beside(&here, Some(&stored("1"))), Meaning::Same);
        assert_eq!(stored("1").beside(&here, Some(&stored("2"))), Meaning::Gone, "it was added anew");
        assert_eq!(stored("1").beside(&here, None), Meaning::Gone);
        assert_eq!(stored("1").beside(&here, Some(&own("a", "m", "memory:"))), Meaning::Other);
        assert_eq!(own("a", "m", "memory:").beside(&here, Some(&stored("1"))), Meaning::Gone);
    }

    #[test]
    fn a_process_is_where_it_is() {
        let here = Place::here("a");
        assert_eq!(here.machine.len(), 64);
        assert!(here.is(&Place::here("b")) && here.is(&place("a", "")) && !here.is(&place("b", "")));
    }
}
