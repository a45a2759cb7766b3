//! What an instance has that the common specification has no place for: keys of its configuration, lines of `raw.lxc`, and
//! devices, or keys of devices, that become nothing there.
//!
//! Everything counts that is not known to be covered, or to be a server's default, so that keys which servers come to have
//! tomorrow are told, too. What comes from profiles is in effect and counts like the rest.

use roadstead_core::EngineSetting;

use super::super::instance::{Config, Devices, Instance};
use super::{CONSOLE, ENVIRONMENT, HALT, INIT, RAW, RawLxc, limits, ports, privileges};

/// Keys that say what a server does anyway.
const DEFAULTS: &[(&str, &str)] = &[
    ("boot.autostart", "false"),
    ("limits.memory.enforce", "hard"),
    ("limits.memory.swap", "true"),
    ("migration.stateful", "false"),
    ("security.nesting", "false"),
    ("security.privileged", "false"),
];
/// What keys begin with that are labels, variables, facts about the image, and the server's own bookkeeping.
const COVERED: [&str; 4] = ["user.", ENVIRONMENT, "image.", "volatile."];
/// Labels that are documents for a program inside, which finds them on such a server only.
const DOCUMENTS: [&str; 4] = ["user.meta-data", "user.network-config", "user.user-data", "user.vendor-data"];
/// Keys whose values may hold a password.
const HIDDEN: [&str; 3] = ["cloud-init.", "raw.", "user."];
/// Lines of `raw.lxc` that the specification has a word for, or that are our own.
const COVERED_LINES: [&str; 9] = [
    INIT,
    HALT,
    "lxc.cap.drop",
    "lxc.cap.keep",
    "lxc.init.cwd",
    "lxc.init.gid",
    "lxc.init.uid",
    "lxc.log.level",
    "lxc.uts.name",
];
/// Keys of network interfaces that the specification covers, or that mean nothing elsewhere.
const NIC: [&str; 7] = ["type", "network", "parent", "nictype", "name", "ipv4.address", "ipv6.address"];
/// Keys of disks that become mounts. Their content is copied, so how it was mounted matters no more.
const DISK: [&str; 9] = ["type", "path", "source", "pool", "readonly", "shift", "recursive", "required", "propagation"];
/// Keys of the disk with the root file system that say where it lies.
const ROOT: [&str; 4] = ["type", "path", "pool", "source"];
/// Keys of published ports.
const PROXY: [&str; 4] = ["type", "listen", "connect", "bind"];

/// The settings, by name.
pub(in super::super) fn settings(instance: &Instance) -> Vec<EngineSetting> {
    let config = instance.effective();
    let mut found: Vec<_> = config
        .iter()
        .filter(|(key, value)| !covered(key, value, config))
        .map(|(key, value)| key_of(key, value))
        .collect();
    let raw = RawLxc::parse(config.get(RAW).map(String::as_str).unwrap_or_default());
    let lines: Vec<_> = raw.lines().filter(|(key, value)| !is_covered_line(key, value)).collect();
    if !lines.is_empty() {
        let lines: Vec<_> = lines.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        found.push(EngineSetting::new(format!("config.{RAW}"), lines.join("; ")));
    }
    found.extend(devices(instance.effective_devices()));
    if let Some(remark) = instance.description.as_deref().filter(|remark| !remark.is_empty()) {
        found.push(EngineSetting::new("description", remark));
    }
    // What they give is in effect and told above; that it comes from them, and changes with them, is lost.
    let profiles: Vec<_> = instance.profiles.iter().flatten().filter(|name| *name != "default").cloned().collect();
    if !profiles.is_empty() {
        found.push(EngineSetting::new("profiles", profiles.join(", ")));
    }
    if instance.ephemeral == Some(true) {
        found.push(EngineSetting::new("ephemeral", "true"));
    }
    found.sort();
    found
}

fn key_of(key: &str, value: &str) -> EngineSetting {
    let name = format!("config.{key}");
    if HIDDEN.iter().any(|prefix| key.starts_with(prefix)) {
        EngineSetting::hidden(name)
    } else {
        EngineSetting::new(name, value)
    }
}

fn covered(key: &str, value: &str, config: &Config) -> bool {
    let known = limits::read(config);
    match key {
        _ if value.is_empty() || key == RAW => true,
        _ if DOCUMENTS.contains(&key) => false,
        _ if COVERED.iter().any(|prefix| key.starts_with(prefix)) => true,
        _ if DEFAULTS.contains(&(key, value)) => true,
        limits::MEMORY => known.memory_bytes.is_some(),
        limits::PROCESSES => known.pids.is_some(),
        limits::ALLOWANCE => limits::cores(value).is_some(),
        // A number of cores is told unless the allowance takes its place.
        limits::CPU => known.cpu_set.is_some() || known.cpus == value.parse().ok(),
        privileges::PRIVILEGED => true,
        privileges::NESTING => privileges::is_privileged(config),
        _ => false,
    }
}

fn is_covered_line(key: &str, value: &str) -> bool {
    let is_address = || {
        let part = key.strip_prefix("lxc.net.").and_then(|rest| rest.split_once('.'));
        part.is_some_and(|(_, part)| matches!(part, "ipv4.address" | "ipv4.gateway"))
    };
    match key {
        "lxc.console.buffer.size" | "lxc.console.size" => value == CONSOLE,
        "lxc.rootfs.options" => value == "ro",
        "lxc.mount.entry" => value.split_ascii_whitespace().nth(2) == Some("tmpfs"),
        _ => COVERED_LINES.contains(&key) || is_address(),
    }
}

fn devices(devices: &Devices) -> Vec<EngineSetting> {
    let mut found = Vec::new();
    for (name, keys) in devices {
        let kind = keys.get("type").map(String::as_str).unwrap_or_default();
        let path = keys.get("path").map(String::as_str).unwrap_or_default();
        let known: &[&str] = match kind {
            "none" => continue,
            "nic" => &NIC,
            "disk" if path == "/" => &ROOT,
            "disk" if !path.is_empty() => &DISK,
            "proxy" if ports::mapping(keys).is_some() => &PROXY,
            _ => {
                let all: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                found.push(EngineSetting::new(format!("devices.{name}"), all.join(" ")));
                continue;
            }
        };
        let beyond = keys.iter().filter(|(key, value)| !value.is_empty() && !known.contains(&key.as_str()));
        found.extend(beyond.map(|(key, value)| EngineSetting::new(format!("devices.{name}.{key}"), value)));
    }
    found
}

#[cfg(test)]
mod tests {
    use roadstead_core::ContainerSpec;
    use serde_json::json;

    use super::super::{Surroundings, plan};
    use super::*;

    fn read(instance: serde_json::Value) -> Vec<(String, Option<String>)> {
        let instance: Instance = serde_json::from_value(instance).unwrap();
        settings(&instance).into_iter().map(|setting| (setting.name, setting.value)).collect()
    }

    #[test]
    fn what_the_specification_became_is_covered() {
        let spec: ContainerSpec = serde_json::from_value(json!({
            "image": "a", "command": ["a b"], "env": {"K": " v"}, "user": "1:2", "hostname": "h", "labels": {"l": "v"},
            "working_directory": "/w", "privileged": true, "read_only_root": true, "stop_signal": "HUP",
            "mounts": [{"type": "tmpfs", "target": "/t"}, {"type": "bind", "source": "/s", "target": "/b"},
                       {"type": "volume", "source": "vol", "target": "/v", "read_only": true}],
            "ports": [{"container_port": 80}], "networks": [{"network": "n", "address": "10.1.2.3"}],
            "capabilities_add": ["CHOWN"], "capabilities_drop": ["ALL"],
            "limits": {"memory_bytes": 8388608, "cpus": 1.5, "cpu_set": "0", "pids": 9}
        }))
        .unwrap();
        let plan = plan(&spec, &Surroundings::default()).unwrap();
        let root = json!({"type": "disk", "path": "/", "pool": "default"});
        let mut all = json!({"name": "x", "config": plan.config, "devices": plan.devices, "ephemeral": false});
        all["devices"]["root"] = root;
        all["config"]["volatile.uuid"] = "x".into();
        all["config"]["image.os"] = "x".into();
        assert_eq!(read(all), []);
        assert_eq!(read(json!({"name": "x", "profiles": ["default"]})), []);
    }

    #[test]
    fn what_has_no_place_is_named() {
        let found = read(
            json!({"name": "x", "description": "mine", "ephemeral": true, "profiles": ["default", "web"], "config": {
            "limits.kernel.nofile": "64", "limits.cpu.priority": "3", "limits.memory.swap": "false", "limits.memory": "50%",
            "limits.cpu": "2", "limits.cpu.allowance": "10ms/100ms", "security.nesting": "true", "boot.autostart": "true",
            "raw.idmap": "both 1 1", "cloud-init.user-data": "secret", "user.user-data": "secret", "user.label": "v",
            "raw.lxc": "lxc.apparmor.profile = unconfined\nlxc.mount.entry = /a b none bind 0 0\nlxc.init.cwd = /"},
            "devices": {"root": {"type": "disk", "path": "/", "pool": "p", "size": "5GiB"},
                "fuse": {"type": "unix-char", "path": "/dev/fuse"}, "masked": {"type": "none"},
                "eth0": {"type": "nic", "network": "n", "limits.max": "1Mbit"},
                "up": {"type": "proxy", "listen": "unix:/a", "connect": "unix:/b"}}}),
        );
        let shown = |text: &str| Some(text.to_owned());
        let expected = [
            ("config.boot.autostart", shown("true")),
            ("config.cloud-init.user-data", None),
            ("config.limits.cpu", shown("2")),
            ("config.limits.cpu.priority", shown("3")),
            ("config.limits.kernel.nofile", shown("64")),
            ("config.limits.memory", shown("50%")),
            ("config.limits.memory.swap", shown("false")),
            ("config.raw.idmap", None),
            ("config.raw.lxc", shown("lxc.apparmor.profile = unconfined; lxc.mount.entry = /a b none bind 0 0")),
            ("config.security.nesting", shown("true")),
            ("config.user.user-data", None),
            ("description", shown("mine")),
            ("devices.eth0.limits.max", shown("1Mbit")),
            ("devices.fuse", shown("path=/dev/fuse type=unix-char")),
            ("devices.root.size", shown("5GiB")),
            ("devices.up", shown("connect=unix:/b listen=unix:/a type=proxy")),
            ("ephemeral", shown("true")),
            ("profiles", shown("web")),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
