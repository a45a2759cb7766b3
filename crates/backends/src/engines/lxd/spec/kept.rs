//! What of a specification has no key of its own in a configuration: kept as JSON under `user.roadstead.spec`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use roadstead_core::{ContainerSpec, Signal};
use serde::{Deserialize, Serialize};

use super::super::instance::Config;

/// The key. Everything under `user.roadstead.` but the label of a move is our own bookkeeping, and no label.
pub(super) const KEY: &str = "user.roadstead.spec";

/// Members that a later version adds or drops change nothing for this one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct Kept {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) tty: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stdin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_signal: Option<Signal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) stop_timeout_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) capabilities_add: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns_servers: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns_search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns_options: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) dns_hosts: BTreeMap<String, IpAddr>,
    /// Devices whose port on the node was picked by us, so that another may be picked when it is taken at the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) picked: Vec<String>,
    /// Volumes that nobody named, which go with the container when that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) anonymous: Vec<String>,
    /// Keys of the configuration whose value is empty: a server forgets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) empty: Vec<String>,
}

impl Kept {
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        Kept {
            image: spec.image.clone(),
            entrypoint: spec.entrypoint.clone(),
            command: spec.command.clone(),
            user: spec.user.clone(),
            tty: spec.tty,
            stdin: spec.stdin,
            stop_signal: spec.stop_signal,
            stop_timeout_seconds: spec.stop_timeout_seconds,
            capabilities_add: spec.capabilities_add.clone(),
            dns_servers: spec.dns.servers.clone(),
            dns_search: spec.dns.search.clone(),
            dns_options: spec.dns.options.clone(),
            dns_hosts: spec.dns.hosts.clone(),
            picked: Vec::new(),
            anonymous: Vec::new(),
            empty: Vec::new(),
        }
    }

    /// Nothing, when nothing is kept or it cannot be read.
    pub(in super::super) fn read(config: &Config) -> Self {
        config.get(KEY).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// The keys that the server would forget.
    pub(super) fn empty(&self) -> impl Iterator<Item = (&str, &str)> {
        self.empty.iter().map(|key| (key.as_str(), ""))
    }

    pub(super) fn json(&self) -> String {
        // Nothing in it can fail to be written: keys are text, and numbers are whole.
        serde_json::to_string(self).unwrap_or_default()
    }
}
