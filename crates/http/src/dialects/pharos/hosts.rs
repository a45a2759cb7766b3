//! Hosts: what nodes are called here. A node is called by its name, but for one that was registered by an address that cannot be a
//! name; that address is kept as a label of the node.

use std::sync::Arc;

use roadstead_core::names;
use sha2::{Digest, Sha256};

use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::state::App;

/// The label of a node whose host is not its name.
pub(super) const LABEL: &str = "pharos.host";
/// So much of a host is left in the name that is made of it.
const KEPT: usize = 48;

/// What a node is called.
pub(super) fn host(slot: &NodeSlot) -> &str {
    slot.labels().get(LABEL).map_or_else(|| slot.name(), String::as_str)
}

/// The node that is called so.
pub(super) fn find(app: &App, wanted: &str) -> Option<Arc<NodeSlot>> {
    nodes(app).into_iter().find(|slot| host(slot) == wanted)
}

/// The name of a node that is registered as this host: the host itself where it can be one, and otherwise what is left of it with a
/// mark that no other host has.
pub(super) fn name(host: &str) -> String {
    if names::node_name("host", host).is_ok() {
        return host.to_owned();
    }
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let kept: String = host.chars().map(good).take(KEPT).collect();
    let mark: String = Sha256::digest(host.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("host-{}-{mark}", kept.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_name() {
        assert_eq!(name("ubuntu-dev"), "ubuntu-dev");
        assert_eq!(name("10.0.0.5"), "10.0.0.5");
        let long = format!("{}.example", "a".repeat(63));
        let made = ["fe80::1", "fe80:1", "[::1]:2375", "::", "db:2375", "-", &long].map(name);
        for made in &made {
            names::node_name("host", made).unwrap_or_else(|error| panic!("{made}: {error}"));
        }
        let different: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(different.len(), made.len());
        assert!(made[0].starts_with("host-fe80--1-"), "{}", made[0]);
    }
}
