//! What is copied: an instance and its snapshots, as the source tells of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use roadstead_core::{NotCarried, Result};
use serde::Deserialize;

use super::super::instance::{Config, Devices, config, devices};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::facts::{self, Facts};

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
    #[serde(deserialize_with = "config")]
    config: Config,
    #[serde(deserialize_with = "devices")]
    devices: Devices,
    profiles: Option<Vec<String>>,
    #[serde(deserialize_with = "config")]
    expanded_config: Config,
    #[serde(deserialize_with = "devices")]
    expanded_devices: Devices,
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
    devices: Devices,
    profiles: Vec<String>,
}

/// Something in the snapshots that the target would refuse them for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strange {
    /// A configuration key.
    Key(String),
    /// A profile.
    Profile(String),
    /// A device of one snapshot.
    Device {
        /// The snapshot.
        snapshot: String,
        /// The device.
        device: String,
    },
}

impl Strange {
    pub(super) fn not_carried(&self) -> NotCarried {
        let reason = match self {
            Strange::Key(key) => format!("the target has no configuration key {key}, which stands in snapshots"),
            Strange::Profile(name) => format!("the target has no profile {name}, which stands in snapshots"),
            Strange::Device { snapshot, device } => {
                format!("the target does not take the device {device} of {snapshot}")
            }
        };
        NotCarried::new("snapshots", reason)
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
        let all_config =
            if written.expanded_config.is_empty() { written.config.clone() } else { written.expanded_config };
        let all_devices =
            if written.expanded_devices.is_empty() { written.devices.clone() } else { written.expanded_devices };
        Original {
            name: written.name.filter(|name| !name.is_empty()).unwrap_or_else(|| name.to_owned()),
            architecture: written.architecture.unwrap_or_default(),
            description: written.description.unwrap_or_default(),
            // Frozen ones have processes, too.
            running: matches!(written.status_code, Some(103 | 110)),
            ephemeral: written.ephemeral.unwrap_or(false),
            all_config,
            all_devices,
            config: written.config,
            devices: written.devices,
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
    pub(super) async fn strange_to(&self, lxd: &Lxd, facts: &Facts) -> Result<Vec<Strange>> {
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
            for (device, _) in facts::bad_devices(lxd, snapshot.devices.clone()).await? {
                strange.insert(Strange::Device { snapshot: snapshot.name.clone(), device });
            }
        }
        Ok(strange.into_iter().collect())
    }

    /// Every configuration key that stands in the container or a snapshot and that a profile could have, with a value.
    pub(super) fn every_key(&self) -> Config {
        let of_snapshots = self.snapshots.iter().flat_map(|snapshot| &snapshot.config);
        let all = of_snapshots.chain(&self.all_config);
        // Every container may have these, and no profile.
        let all = all.filter(|(key, _)| !is_volatile(key) && !key.starts_with("image."));
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
            config: written.config,
            devices: written.devices,
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
