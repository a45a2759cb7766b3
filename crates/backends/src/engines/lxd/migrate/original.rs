//! What is copied: an instance and its snapshots, as the source tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roadstead_core::{NotCarried, Result};
use serde::Deserialize;

use super::super::request::Request;
use super::super::shared::Lxd;
use super::facts::Facts;

/// A configuration.
pub(super) type Config = BTreeMap<String, String>;
/// Devices by name.
pub(super) type Devices = BTreeMap<String, Config>;

/// Configuration keys that only newer servers know, with the word by which a server says so. They stand in snapshots,
/// where a server writes them itself.
const NEWER: &[(&str, &str)] =
    &[("volatile.uuid.generation", "instance_generation_id"), ("volatile.last_state.ready", "instance_ready_state")];

/// As it is written. Every member may be null or missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    name: Option<String>,
    architecture: Option<String>,
    description: Option<String>,
    status_code: Option<u16>,
    ephemeral: Option<bool>,
    config: Option<Config>,
    devices: Option<Devices>,
    profiles: Option<Vec<String>>,
    expanded_config: Option<Config>,
    expanded_devices: Option<Devices>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pool {
    driver: Option<String>,
}

/// A container.
#[derive(Clone, Debug, Default)]
pub(super) struct Original {
    pub(super) name: String,
    pub(super) architecture: String,
    pub(super) description: String,
    pub(super) running: bool,
    pub(super) ephemeral: bool,
    /// Its own configuration and devices.
    pub(super) config: Config,
    pub(super) devices: Devices,
    pub(super) profiles: Vec<String>,
    /// With what the profiles give.
    pub(super) all_config: Config,
    pub(super) all_devices: Devices,
    pub(super) snapshots: Vec<Snapshot>,
    /// Driver of the storage pool that it lies in; empty when we may not know.
    pub(super) driver: String,
}

/// A snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) name: String,
    config: Config,
    profiles: Vec<String>,
}

/// Something in the snapshots that the target would refuse them for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strange {
    /// A configuration key.
    Key(String),
    /// A profile.
    Profile(String),
}

impl Strange {
    pub(super) fn not_carried(&self) -> NotCarried {
        let (what, name) = match self {
            Strange::Key(key) => ("configuration key", key),
            Strange::Profile(profile) => ("profile", profile),
        };
        NotCarried::new("snapshots", format!("the target has no {what} {name}, which stands in snapshots"))
    }
}

impl Original {
    /// Reads it. `NotFound` when the source has no such container.
    pub(super) async fn read(lxd: &Arc<Lxd>, name: &str) -> Result<Self> {
        let written: Written = Request::get(&["instances", name]).json(&lxd.client).await?;
        let snapshots: Option<Vec<Written>> =
            Request::get(&["instances", name, "snapshots"]).query("recursion", "1").json(&lxd.client).await?;
        let mut original = Original::new(name, written, snapshots.unwrap_or_default());
        if let Some(pool) = pool_of(&original.all_devices) {
            let found = Request::get(&["storage-pools", pool]).json::<Pool>(&lxd.client).await;
            original.driver = found.ok().and_then(|pool| pool.driver).unwrap_or_default();
        }
        Ok(original)
    }

    fn new(name: &str, written: Written, snapshots: Vec<Written>) -> Self {
        let config = written.config.unwrap_or_default();
        let devices = written.devices.unwrap_or_default();
        Original {
            name: written.name.filter(|name| !name.is_empty()).unwrap_or_else(|| name.to_owned()),
            architecture: written.architecture.unwrap_or_default(),
            description: written.description.unwrap_or_default(),
            // Frozen ones have processes, too.
            running: matches!(written.status_code, Some(103 | 110)),
            ephemeral: written.ephemeral.unwrap_or(false),
            all_config: written.expanded_config.unwrap_or_else(|| config.clone()),
            all_devices: written.expanded_devices.unwrap_or_else(|| devices.clone()),
            config,
            devices,
            profiles: written.profiles.unwrap_or_default(),
            snapshots: snapshots.into_iter().filter_map(Snapshot::new).collect(),
            driver: String::new(),
        }
    }

    /// Whether something of the machine, or a volume, is mounted in it.
    pub(super) fn has_mounts(&self) -> bool {
        self.all_devices.values().any(|device| {
            let is = |key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
            is("type", "disk") && !is_root(device) && !is("source", "tmpfs:")
        })
    }

    /// What stands in the snapshots and `lxd` would refuse them for.
    pub(super) fn strange_to(&self, lxd: &Lxd, facts: &Facts) -> Vec<Strange> {
        let mut strange = BTreeSet::new();
        for snapshot in &self.snapshots {
            for (key, extension) in NEWER {
                if snapshot.config.contains_key(*key) && !lxd.has(extension) {
                    strange.insert(Strange::Key((*key).to_owned()));
                }
            }
            let unknown = snapshot.config.keys().filter(|key| facts.unknown_keys.contains(*key));
            strange.extend(unknown.cloned().map(Strange::Key));
            let missing = snapshot.profiles.iter().filter(|name| !facts.profiles.contains_key(*name));
            strange.extend(missing.cloned().map(Strange::Profile));
        }
        strange.into_iter().collect()
    }

    /// Every configuration key that stands in the container or a snapshot and that a profile could have, with a value.
    pub(super) fn every_key(&self) -> Config {
        let of_snapshots = self.snapshots.iter().flat_map(|snapshot| &snapshot.config);
        let all = of_snapshots.chain(&self.all_config).filter(|(key, _)| !is_volatile(key));
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Snapshot {
    fn new(written: Written) -> Option<Self> {
        let name = written.name?;
        // Some servers write `container/snapshot`.
        let name = name.rsplit('/').next().filter(|name| !name.is_empty())?.to_owned();
        Some(Snapshot {
            name,
            config: written.config.unwrap_or_default(),
            profiles: written.profiles.unwrap_or_default(),
        })
    }
}

/// Whether the server writes this key itself, about this machine.
pub(super) fn is_volatile(key: &str) -> bool {
    key.starts_with("volatile.")
}

/// Whether a device is the root file system.
pub(super) fn is_root(device: &Config) -> bool {
    let is = |key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
    is("type", "disk") && is("path", "/")
}

/// The storage pool of the root file system.
pub(super) fn pool_of(devices: &Devices) -> Option<&str> {
    devices.values().find(|device| is_root(device))?.get("pool").map(String::as_str)
}
