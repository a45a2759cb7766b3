//! What the target is asked to make: the original's configuration and devices, changed where the target is another
//! place, and a line for each loss.
//!
//! The copy shall be what the original *is*, wherever that comes from: what a profile gave it there and gives not here
//! becomes its own, and a device that only the target's profile has is masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use roadstead_core::{CopyOptions, NotCarried, Result};
use serde_json::{Value, json};

use super::super::inspect::PROTECTED;
use super::super::instance::{Config, Devices};
use super::super::shared::Lxd;
use super::super::spec::{self, RawLxc};
use super::super::surroundings;
use super::super::update::{AUTOSTART, HELD, NOTHING};
use super::facts::{self, Facts, Server};
use super::original::{Original, is_root, is_volatile, pool_of};

/// Prefix of the keys that are labels.
const LABEL: &str = "user.";
/// A container with this label is being moved, and shall be the same container to its network and to cloud-init.
const MOVE: &str = "roadstead.move";
/// Where lines for LXC itself stand.
const RAW: &str = "raw.lxc";
/// The key of our own that tells which copy made a container.
pub(super) const MARK: &str = "user.roadstead.copy";

/// A request for a container, without `source`.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) body: Value,
    pub(super) lost: Vec<NotCarried>,
}

/// Drivers that send a file system as a whole to their equals. All others copy it by rsync, without `--hard-links`.
const SENDS_WHOLE: [&str; 3] = ["btrfs", "ceph", "zfs"];

struct Draft<'a> {
    original: &'a Original,
    config: Config,
    devices: Devices,
    profiles: Vec<String>,
    lost: Vec<NotCarried>,
}

/// For a copy on the server where the original is.
pub(super) async fn on_the_same_server(lxd: &Lxd, original: &Original, options: &CopyOptions) -> Result<Fitted> {
    let mut draft = Draft::of(original);
    draft.profiles.clone_from(&original.profiles);
    for (name, device) in &original.all_devices {
        // Two containers on one network cannot have one address.
        let mut changed = device.clone();
        changed.retain(|key, _| !is_address(key));
        if changed.len() < device.len() {
            draft.lose(format!("devices.{name}"), "two containers cannot have one address; the copy gets its own");
            draft.devices.insert(name.clone(), changed);
        }
    }
    draft.settle_addresses(lxd, &Devices::new(), false).await?;
    Ok(draft.finish(options, false))
}

/// For a copy on another server.
pub(super) async fn on_another_server(
    lxd: &Arc<Lxd>,
    original: &Original,
    source: &Server,
    facts: &Facts,
    options: &CopyOptions,
) -> Result<Fitted> {
    let (mut draft, given) = elsewhere(original, facts);
    // On one server no two containers have one address, whatever way the server is reached by.
    let elsewhere = source.certificate != facts.server.certificate;
    draft.settle_addresses(lxd, &given, elsewhere).await?;
    for (name, why) in facts::bad_devices(lxd, draft.devices.clone()).await? {
        draft.devices.remove(&name);
        draft.lose(format!("devices.{name}"), format!("the target does not take it: {why}"));
    }
    Ok(draft.finish(options, elsewhere))
}

fn elsewhere<'a>(original: &'a Original, facts: &Facts) -> (Draft<'a>, Devices) {
    let mut draft = Draft::of(original);
    let (config, devices) = draft.choose_profiles(facts);
    draft.fit_config(facts, &config);
    draft.fit_devices(facts, &devices);
    let pool = pool_of(&draft.devices).or_else(|| pool_of(&devices));
    let driver = pool.and_then(|pool| facts.pools.as_ref()?.get(pool));
    if driver.is_none_or(|driver| *driver != original.driver || !SENDS_WHOLE.contains(&driver.as_str())) {
        draft.lose("hard_links", "the servers copy file by file: a file with several names becomes several files");
    }
    (draft, devices)
}

impl<'a> Draft<'a> {
    fn of(original: &'a Original) -> Self {
        let own = original.config.iter().filter(|(key, _)| !is_volatile(key));
        Draft {
            original,
            config: own.map(|(key, value)| (key.clone(), value.clone())).collect(),
            devices: original.devices.clone(),
            profiles: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn lose(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.lost.push(NotCarried::new(field, reason));
    }

    /// An address that stands in `raw.lxc`, too, for want of a program that asks for one, becomes one of the network that
    /// the copy is on: the same, where it may be kept and is free.
    async fn settle_addresses(&mut self, lxd: &Lxd, given: &Devices, keep: bool) -> Result<()> {
        let original = self.original;
        let mut raw = RawLxc::parse(self.config.get(RAW).map(String::as_str).unwrap_or_default());
        let mut changed = false;
        for (name, device) in &original.all_devices {
            let Some(before) = device.get("ipv4.address") else { continue };
            let Some(mut keys) = self.devices.get(name).or_else(|| given.get(name)).cloned() else { continue };
            let Some(network) = keys.get("network").cloned() else { continue };
            let Some(joined) = surroundings::with_leases(lxd, &network).await? else { continue };
            let Some(address) = spec::settle_address(before, keep, &mut keys, &joined, &mut raw) else { continue };
            let told = self.lost.iter().any(|lost| lost.reason.contains("address"));
            if address.to_string() != *before && !told {
                self.lose(format!("devices.{name}"), "its address is not free there; the copy gets another one");
            }
            self.devices.insert(name.clone(), keys);
            changed = true;
        }
        if changed {
            self.config.insert(RAW.to_owned(), raw.to_string());
        }
        Ok(())
    }

    /// The profiles that the target has, too; and what they give there.
    fn choose_profiles(&mut self, facts: &Facts) -> (Config, Devices) {
        let (mut config, mut devices) = (Config::new(), Devices::new());
        for name in &self.original.profiles {
            if let Some(profile) = facts.profiles.get(name) {
                self.profiles.push(name.clone());
                config.extend(profile.config.clone());
                devices.extend(profile.devices.clone());
            } else {
                let reason = format!("the target has no profile {name}; what it gives stands in the copy itself");
                self.lose(format!("profiles.{name}"), reason);
            }
        }
        (config, devices)
    }

    fn fit_config(&mut self, facts: &Facts, given: &Config) {
        for (key, value) in self.original.all_config.iter().filter(|(key, _)| !is_volatile(key)) {
            if given.get(key) != Some(value) {
                self.config.insert(key.clone(), value.clone());
            }
        }
        for key in &facts.unknown_keys {
            if self.config.remove(key).is_some() {
                self.lose(format!("config.{key}"), "the target does not know this key");
            }
        }
        for key in given.keys().filter(|key| !self.original.all_config.contains_key(*key)) {
            let reason = "a profile of the target sets it for the copy, too";
            self.lost.push(NotCarried::new(format!("config.{key}"), reason));
        }
    }

    fn fit_devices(&mut self, facts: &Facts, given: &Devices) {
        for (name, device) in &self.original.all_devices {
            let from_profile = !self.original.devices.contains_key(name);
            let theirs = given.get(name);
            let fitted = match device.get("type").map(String::as_str) {
                Some("disk") if is_root(device) => {
                    self.root(name, device, facts, given, theirs.filter(|_| from_profile))
                }
                Some("nic") => self.nic(device, facts, theirs),
                _ => Some(device.clone()),
            };
            match fitted {
                Some(fitted) if theirs == Some(&fitted) => self.devices.remove(name),
                Some(fitted) => self.devices.insert(name.clone(), fitted),
                None if theirs.is_some() => self.devices.insert(name.clone(), masked()),
                None => self.devices.remove(name),
            };
        }
        if !self.original.all_devices.values().any(is_root) {
            return;
        }
        for name in given.keys().filter(|name| !self.original.all_devices.contains_key(*name)) {
            self.devices.insert(name.clone(), masked());
        }
    }

    /// The root file system, in a pool that the target has. `theirs` goes before the original's where both come from
    /// profiles: whoever runs the target has said there where containers lie.
    fn root(
        &mut self,
        name: &str,
        device: &Config,
        facts: &Facts,
        given: &Devices,
        theirs: Option<&Config>,
    ) -> Option<Config> {
        let mut fitted = device.clone();
        if let Some(pool) = theirs.filter(|theirs| is_root(theirs)).and_then(|theirs| theirs.get("pool")) {
            fitted.insert("pool".to_owned(), pool.clone());
            return Some(fitted);
        }
        let wanted = device.get("pool").cloned().unwrap_or_default();
        if facts.pools.as_ref().is_none_or(|pools| pools.contains_key(&wanted)) {
            return Some(fitted);
        }
        let usual = pool_of(given).or_else(|| facts.default_profile().and_then(|profile| pool_of(&profile.devices)));
        let first = || facts.pools.iter().flatten().map(|(name, _)| name.as_str()).next();
        let pool = usual.or_else(first)?.to_owned();
        let reason = format!("the target has no storage pool {wanted}; the copy lies in {pool}");
        self.lose(format!("devices.{name}.pool"), reason);
        fitted.insert("pool".to_owned(), pool);
        Some(fitted)
    }

    /// A network interface, on a network that the target has.
    fn nic(&mut self, device: &Config, facts: &Facts, theirs: Option<&Config>) -> Option<Config> {
        let Some((key, wanted)) = attached(device) else { return Some(device.clone()) };
        if facts.attaches(key, wanted) {
            return Some(device.clone());
        }
        let is_nic = |device: &&Config| device.get("type").map(String::as_str) == Some("nic");
        let usual = || facts.default_profile()?.devices.values().find(is_nic);
        let Some(usual) = theirs.filter(is_nic).or_else(usual) else {
            self.lose(format!("networks.{wanted}"), "the target has no such network, and none that is usual");
            return None;
        };
        let stays = |key: &str| !is_address(key) && !matches!(key, "network" | "parent" | "nictype" | "type");
        let mut fitted = usual.clone();
        // Speed limits, the name inside and filters are the original's.
        let own = device.iter().filter(|(own, _)| stays(own) && *own != key);
        fitted.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        let instead = attached(usual).map_or("a network of its own", |(_, network)| network);
        let address = if device.keys().any(|key| is_address(key)) { ", with another address" } else { "" };
        let reason = format!("the target has no network {wanted}; the copy is attached to {instead}{address}");
        self.lose(format!("networks.{wanted}"), reason);
        Some(fitted)
    }

    fn finish(mut self, options: &CopyOptions, elsewhere: bool) -> Fitted {
        for (key, value) in &options.labels {
            self.config.insert(format!("{LABEL}{key}"), value.clone());
        }
        let autostart = self.config.insert(AUTOSTART.to_owned(), "false".to_owned());
        let volatile = &self.original.config;
        let moved = options.labels.contains_key(MOVE);
        if moved {
            // Let go of when the move has been committed. What was held already knows what was before.
            self.config.entry(HELD.to_owned()).or_insert_with(|| autostart.unwrap_or_else(|| NOTHING.to_owned()));
        }
        if self.config.remove(PROTECTED).is_some() {
            self.lose(format!("config.{PROTECTED}"), "a copy that is not completed could not be deleted");
        }
        let moved = moved && elsewhere;
        let stays = |key: &str| {
            key == "volatile.base_image"
                || moved && (key.ends_with(".hwaddr") || key == "volatile.cloud-init.instance-id")
        };
        let kept = volatile.iter().filter(|(key, _)| is_volatile(key) && stays(key));
        self.config.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
        self.lost.sort_by(|a, b| a.field.cmp(&b.field));
        let body = json!({
            "name": options.name,
            "type": "container",
            "architecture": self.original.architecture,
            "description": self.original.description,
            "ephemeral": self.original.ephemeral,
            "config": self.config,
            "devices": self.devices,
            "profiles": self.profiles,
        });
        Fitted { body, lost: self.lost }
    }
}

/// A device that takes away what a profile gives.
fn masked() -> Config {
    BTreeMap::from([("type".to_owned(), "none".to_owned())])
}

/// The network that an interface is attached to, and the option that says it.
fn attached(device: &Config) -> Option<(&'static str, &str)> {
    let named = |key: &'static str| device.get(key).map(|network| (key, network.as_str()));
    named("network").or_else(|| named("parent"))
}

/// Options that hold an address, which belongs to one network and one container.
fn is_address(key: &str) -> bool {
    matches!(key, "ipv4.address" | "ipv6.address" | "hwaddr")
}
