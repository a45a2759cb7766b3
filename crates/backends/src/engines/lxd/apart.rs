//! What a copy of a container must not share with its original: addresses, and that it ran.
//!
//! Servers give a copy everything that the original had. Two containers with one hardware address or one fixed address do
//! not both work: Incus refuses to start the second, LXD starts it. And a server starts with itself what ran when it ended.

use std::collections::BTreeMap;

use roadstead_core::Result;
use serde_json::{Value, json};

use super::instance::{Config, Devices, Instance};
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, RawLxc};
use super::surroundings;

/// What remembers that an instance ran.
const POWER: &str = "volatile.last_state.power";

/// Sets the container apart from whichever it is a copy of, if that is still there. Gives what differs now, in words.
pub(super) async fn set_apart(lxd: &Lxd, name: &str) -> Result<Vec<String>> {
    let instances: Vec<Instance> = Request::get(&["instances"]).query("recursion", "1").json(&lxd.client).await?;
    let (own, others): (Vec<Instance>, Vec<Instance>) = instances.into_iter().partition(|one| one.name == name);
    let Some(own) = own.first() else { return Ok(Vec::new()) };
    let (mut devices, mut written) = (Devices::new(), None);
    let mut told = Vec::new();
    for (device, keys, address) in shared(own, &others) {
        let network = keys.get("network").map(String::as_str).unwrap_or_default();
        let before = written.as_ref().or_else(|| own.config.get("raw.lxc"));
        let mut raw = RawLxc::parse(before.map(String::as_str).unwrap_or_default());
        let Some(around) = surroundings::with_leases(lxd, network).await? else { continue };
        let mut keys = keys.clone();
        // What stands in the device only, somebody else put there: it stays, and starting it says what is wrong.
        if let Some(new) = spec::move_address(&mut keys, &around, &mut raw) {
            told.push(format!("its address on {network} is {new}: {address} is the original's"));
            written = Some(raw.to_string());
            devices.insert(device.clone(), keys);
        }
    }
    let change = async |patch: Value| Request::patch(&["instances", name]).body(&patch).done(&lxd.client).await;
    // Before the fixed addresses: Incus changes no card whose hardware address another one has.
    let config = forgotten(own, &others);
    if !config.is_empty() {
        change(json!({"config": config})).await?;
    }
    if let Some(raw) = written {
        change(json!({"config": {"raw.lxc": raw}, "devices": devices})).await?;
    }
    Ok(told)
}

/// The configuration that makes a copy forget that it ran, and hardware addresses that another instance has.
fn forgotten(own: &Instance, others: &[Instance]) -> BTreeMap<String, String> {
    let is_address = |key: &str| key.starts_with("volatile.") && key.ends_with(".hwaddr");
    let taken = |address: &String| {
        others.iter().any(|other| other.config.iter().any(|(key, value)| is_address(key) && value == address))
    };
    let addresses = own.config.iter().filter(|(key, value)| is_address(key) && !value.is_empty() && taken(value));
    let mut config: BTreeMap<String, String> = addresses.map(|(key, _)| (key.clone(), String::new())).collect();
    if own.config.get(POWER).is_some_and(|power| power != "STOPPED") {
        config.insert(POWER.to_owned(), "STOPPED".to_owned());
    }
    config
}

/// Its own devices with a fixed address that another instance on the same network has.
fn shared<'a>(own: &'a Instance, others: &'a [Instance]) -> impl Iterator<Item = (&'a String, &'a Config, &'a str)> {
    own.devices.iter().filter_map(move |(device, keys)| {
        let place = place(keys)?;
        let taken = others.iter().flat_map(|other| other.effective_devices().values()).filter_map(self::place);
        taken.into_iter().any(|other| other == place).then_some((device, keys, place.1))
    })
}

/// Network and fixed address of a network card.
fn place(keys: &Config) -> Option<(&str, &str)> {
    let get = |key: &str| keys.get(key).map(String::as_str).filter(|value| !value.is_empty());
    (get("type") == Some("nic")).then_some((get("network")?, get("ipv4.address")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> Vec<Instance> {
        let nic = |address: &str| json!({"type": "nic", "network": "n", "ipv4.address": address});
        serde_json::from_value(json!([
            {"name": "a", "config": {"volatile.eth0.hwaddr": "00:16:3e:00:00:01"}, "devices": {"eth0": nic("10.0.0.2")}},
            {"name": "b", "config": {"volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile.eth1.hwaddr": "00:16:3e:00:00:02",
                                     "volatile.last_state.power": "RUNNING"},
             "devices": {"eth0": nic("10.0.0.2"), "eth1": nic("10.0.0.3"), "root": {"type": "disk"}}},
            {"name": "c"},
        ]))
        .unwrap()
    }

    #[test]
    fn a_copy_forgets_what_the_other_still_has() {
        let mut others = instances();
        let own = others.remove(1);
        let config: Vec<_> = forgotten(&own, &others).into_iter().collect();
        let expected = [("volatile.eth0.hwaddr", ""), (POWER, "STOPPED")];
        assert_eq!(config, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let shared: Vec<_> = shared(&own, &others).map(|(device, _, address)| (device.as_str(), address)).collect();
        assert_eq!(shared, [("eth0", "10.0.0.2")]);
    }

    #[test]
    fn what_is_alone_changes_nothing() {
        let mut others = instances();
        let own = others.remove(2);
        assert!(forgotten(&own, &others).is_empty());
        assert_eq!(shared(&own, &others).count(), 0);
    }
}
