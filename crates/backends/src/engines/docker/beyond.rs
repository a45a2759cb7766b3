//! What a container has that the common specification has no place for, read out of an inspection.
//!
//! Everything counts that is set and is not known to be covered by the specification or to be what plain containers have, so
//! that a setting which daemons come to have tomorrow is told, too, and not lost in silence.

use roadstead_core::EngineSetting;
use serde_json::{Map, Value};

use super::wire::{Config, HostConfig};

/// Members that never say anything about a container: of Windows, of the client's terminal, or what became mounts.
const SILENT: [&str; 4] = ["ConsoleSize", "ContainerIDFile", "Isolation", "VolumesFrom"];
/// Members whose value may hold a password or a whole document.
const HIDDEN: [&str; 2] = ["Annotations", "StorageOpt"];
/// What plain containers have, on one daemon or another.
const USUAL: &[(&str, &[&str])] = &[
    ("Cgroup", &["private"]),
    ("CgroupnsMode", &["host", "private"]),
    ("IpcMode", &["private", "shareable"]),
    ("PidMode", &["private"]),
    ("Runtime", &["runc", "crun", "oci", "io.containerd.runc.v2"]),
    ("UTSMode", &["private"]),
    ("UsernsMode", &["private"]),
];
/// Sizes of `/dev/shm` that nobody asked for: dockerd's and Podman's.
const SHM_SIZES: [i64; 2] = [67_108_864, 65_536_000];
/// Drivers of logs that write on the node, which is what every engine does somehow.
const LOCAL_LOGS: [&str; 6] = ["", "json-file", "local", "journald", "k8s-file", "passthrough"];
/// Options of a tmpfs that the specification covers, or that are always there.
const TMPFS: [&str; 8] = ["rw", "ro", "nosuid", "nodev", "noexec", "mode=1777", "rprivate", "tmpcopyup"];
/// What keys of annotations begin with that an engine writes for itself.
const OWN_ANNOTATIONS: [&str; 3] = ["io.container", "io.podman", "org.opencontainers.image"];

/// The settings, by name.
pub(super) fn settings(config: &Config, host: &HostConfig) -> Vec<EngineSetting> {
    let privileged = host.privileged.unwrap_or(false);
    let mut found = Vec::new();
    for (name, value) in &host.rest {
        if !is_empty(value) && !SILENT.contains(&name.as_str()) {
            found.extend(member(name, value, privileged));
        }
    }
    for name in ["MaskedPaths", "ReadonlyPaths"] {
        // None at all is what `systempaths=unconfined` becomes.
        let paths = host.rest.get(name).and_then(Value::as_array);
        if !privileged && paths.is_some_and(Vec::is_empty) {
            found.push(EngineSetting::new(format!("HostConfig.{name}"), "none"));
        }
    }
    let mode = host.network_mode.as_deref().unwrap_or_default();
    if mode.starts_with("container:") || mode.starts_with("ns:") {
        found.push(EngineSetting::new("HostConfig.NetworkMode", mode));
    }
    let unresolved = |line: &&String| line.split_once(':').is_none_or(|(_, address)| !is_address(address));
    let hosts: Vec<_> = host.extra_hosts.iter().flatten().filter(unresolved).map(String::as_str).collect();
    if !hosts.is_empty() {
        found.push(EngineSetting::new("HostConfig.ExtraHosts", hosts.join(", ")));
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let odd = |option: &&str| !option.is_empty() && !option.starts_with("size=") && !TMPFS.contains(option);
        let odd: Vec<_> = options.as_deref().unwrap_or_default().split(',').filter(odd).collect();
        if !odd.is_empty() {
            found.push(EngineSetting::new(format!("HostConfig.Tmpfs.{target}"), odd.join(",")));
        }
    }
    for (name, value) in &config.rest {
        if matches!(name.as_str(), "Domainname" | "MacAddress" | "NetworkDisabled") && !is_empty(value) {
            found.push(EngineSetting::new(format!("Config.{name}"), text(value)));
        }
    }
    found.sort();
    found
}

fn member(name: &str, value: &Value, privileged: bool) -> Option<EngineSetting> {
    let full = format!("HostConfig.{name}");
    let usual = USUAL
        .iter()
        .find(|(known, _)| *known == name)
        .is_some_and(|(_, words)| value.as_str().is_some_and(|word| words.contains(&word)));
    let shown = match name {
        _ if usual => return None,
        "ShmSize" if value.as_i64().is_some_and(|size| SHM_SIZES.contains(&size)) => return None,
        "MemorySwappiness" if value.as_i64() == Some(-1) => return None,
        // All devices, which the specification has a word for.
        "Devices" if privileged => return None,
        "LogConfig" => return logs(full, value),
        "MaskedPaths" | "ReadonlyPaths" => return None,
        "Ulimits" => list(value, ulimit),
        "Devices" => list(value, device),
        "SecurityOpt" => list(value, |option| security(option, privileged)),
        "Annotations" => {
            let own = |key: &String| OWN_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix));
            let keys: Vec<_> = value.as_object().into_iter().flatten().map(|(key, _)| key).collect();
            if keys.iter().all(|key| own(key)) {
                return None;
            }
            String::new()
        }
        _ => text(value),
    };
    if HIDDEN.contains(&name) {
        return Some(EngineSetting::hidden(full));
    }
    (!shown.is_empty()).then(|| EngineSetting::new(full, shown))
}

/// The driver, and the options by their names only: there are tokens among their values.
fn logs(name: String, value: &Value) -> Option<EngineSetting> {
    let driver = value.get("Type").and_then(Value::as_str).unwrap_or_default();
    let options: Vec<_> =
        value.get("Config").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    if options.is_empty() && LOCAL_LOGS.contains(&driver) {
        return None;
    }
    let shown = if options.is_empty() { driver.to_owned() } else { format!("{driver} ({})", options.join(", ")) };
    Some(EngineSetting::new(name, shown))
}

/// Podman shows limits of its own as if they had been asked for, the lower equal to the upper one.
fn ulimit(value: &Value) -> Option<String> {
    let name = value.get("Name")?.as_str()?;
    let (soft, hard) = (value.get("Soft")?, value.get("Hard")?);
    let short = name.strip_prefix("RLIMIT_");
    if short.is_some_and(|short| matches!(short, "NOFILE" | "NPROC")) && soft == hard {
        return None;
    }
    Some(format!("{}={soft}:{hard}", short.unwrap_or(name).to_ascii_lowercase()))
}

fn device(value: &Value) -> Option<String> {
    let get = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(format!("{}:{}:{}", get("PathOnHost"), get("PathInContainer"), get("CgroupPermissions")))
}

/// A profile of system calls is a whole document.
fn security(value: &Value, privileged: bool) -> Option<String> {
    let option = value.as_str()?;
    if privileged && matches!(option, "label=disable" | "label:disable") {
        return None;
    }
    let is_document = option.contains('{');
    Some(if is_document { option.split(['=', ':']).next()?.to_owned() } else { option.to_owned() })
}

fn list(value: &Value, line: impl Fn(&Value) -> Option<String>) -> String {
    let lines: Vec<_> = value.as_array().into_iter().flatten().filter_map(line).collect();
    lines.join(", ")
}

/// What says nothing: null, false, zero, and what holds nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            list(value, |item| Some(item.as_str()?.to_owned()))
        }
        Value::Object(members) if members.values().all(Value::is_string) => flat(members),
        other => other.to_string(),
    }
}

fn flat(members: &Map<String, Value>) -> String {
    let pairs: Vec<_> =
        members.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(", ")
}

fn is_address(text: &str) -> bool {
    text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value, host: Value) -> Vec<(String, Option<String>)> {
        let (config, host) = (serde_json::from_value(config).unwrap(), serde_json::from_value(host).unwrap());
        settings(&config, &host).into_iter().map(|setting| (setting.name, setting.value)).collect()
    }

    /// As dockerd 20.10 and Podman 4.3 tell of a container that nothing was asked for.
    #[test]
    fn plain_containers_have_nothing() {
        let dockerd = json!({"AutoRemove": false, "Binds": null, "BlkioWeight": 0, "CapAdd": null, "Cgroup": "",
            "CgroupnsMode": "host", "ConsoleSize": [0, 0], "ContainerIDFile": "", "IpcMode": "private", "Isolation": "",
            "LogConfig": {"Config": {}, "Type": "json-file"}, "MaskedPaths": ["/proc/asound"], "MemorySwappiness": null,
            "NetworkMode": "default", "OomScoreAdj": 0, "PidMode": "", "PidsLimit": null, "PublishAllPorts": false,
            "ReadonlyPaths": ["/proc/bus"], "Runtime": "runc", "SecurityOpt": null, "ShmSize": 67_108_864, "UTSMode": "",
            "Ulimits": null, "Memory": 5, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}});
        let podman = json!({"Binds": [], "CgroupnsMode": "", "IpcMode": "shareable", "Runtime": "oci",
            "LogConfig": {"Config": null, "Type": "json-file"}, "NetworkMode": "bridge", "PidMode": "private",
            "PidsLimit": 2048, "SecurityOpt": [], "ShmSize": 65_536_000, "UTSMode": "private", "MemorySwappiness": 0,
            "Ulimits": [{"Name": "RLIMIT_NOFILE", "Soft": 20000, "Hard": 20000}],
            "Annotations": {"io.container.manager": "libpod"}});
        for host in [dockerd, podman] {
            assert_eq!(read(json!({"Domainname": "", "OnBuild": null, "AttachStdout": true}), host), []);
        }
    }

    #[test]
    fn what_was_asked_for_is_named_and_no_secret_shown() {
        let host = json!({"Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}, {"Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0}],
            "Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/f", "CgroupPermissions": "rwm"}],
            "Sysctls": {"net.core.somaxconn": "1"}, "SecurityOpt": ["no-new-privileges", "seccomp={\"a\":1}"],
            "ShmSize": 4096, "ExtraHosts": ["a:1.2.3.4", "gate:host-gateway"], "CgroupParent": "/p", "IpcMode": "host",
            "PidMode": "container:x", "UTSMode": "host", "GroupAdd": ["audio", "7"], "OomScoreAdj": -5,
            "LogConfig": {"Type": "splunk", "Config": {"splunk-token": "secret"}}, "NetworkMode": "container:y",
            "Tmpfs": {"/t": "rw,mode=0700,size=5"}, "NewThing": {"deep": [1]}, "StorageOpt": {"size": "1G"}, "MaskedPaths": []});
        let shown = |text: &str| Some(text.to_owned());
        let named = |name: &str, value| (name.to_owned(), value);
        assert_eq!(
            read(json!({"Domainname": "example.org"}), host),
            [
                named("Config.Domainname", shown("example.org")),
                named("HostConfig.CgroupParent", shown("/p")),
                named("HostConfig.Devices", shown("/dev/fuse:/dev/f:rwm")),
                named("HostConfig.ExtraHosts", shown("gate:host-gateway")),
                named("HostConfig.GroupAdd", shown("audio, 7")),
                named("HostConfig.IpcMode", shown("host")),
                named("HostConfig.LogConfig", shown("splunk (splunk-token)")),
                named("HostConfig.MaskedPaths", shown("none")),
                named("HostConfig.NetworkMode", shown("container:y")),
                named("HostConfig.NewThing", shown("{\"deep\":[1]}")),
                named("HostConfig.OomScoreAdj", shown("-5")),
                named("HostConfig.PidMode", shown("container:x")),
                named("HostConfig.SecurityOpt", shown("no-new-privileges, seccomp")),
                named("HostConfig.ShmSize", shown("4096")),
                named("HostConfig.StorageOpt", None),
                named("HostConfig.Sysctls", shown("net.core.somaxconn=1")),
                named("HostConfig.Tmpfs./t", shown("mode=0700")),
                named("HostConfig.UTSMode", shown("host")),
                named("HostConfig.Ulimits", shown("nofile=64:128, core=0:0")),
            ]
        );
    }

    #[test]
    fn a_privileged_container_has_all_devices_anyway() {
        let host =
            json!({"Privileged": true, "Devices": [{"PathOnHost": "/dev/fuse"}], "SecurityOpt": ["label=disable"]});
        assert_eq!(read(json!({}), host), []);
    }
}
