//! The common specification as configuration and devices of an instance, and back.
//!
//! What has a key of the server's own stands there, so that everybody sees and changes the same. What the server has no
//! key for stands in `raw.lxc`, where the library below it takes it. Only what neither has a word for is kept aside. Both
//! ways are pure functions; what must be asked of the server for them comes in as an argument.

mod beyond;
mod command;
mod kept;
mod limits;
mod mounts;
mod networks;
mod ports;
mod privileges;
mod raw;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use roadstead_core::{ContainerSpec, Error, MountKind, NetworkAttachment, PortMapping, Result, Signal};

use super::instance::{Config, Devices, Instance};
use super::labels;
pub(super) use beyond::settings;
pub(super) use kept::Kept;
pub(super) use limits::{read as read_limits, write as write_limits};
pub(super) use networks::Joined;
pub(super) use raw::RawLxc;

/// Key of the lines for the library below the server.
pub(super) const RAW: &str = "raw.lxc";
const CONSOLE: &str = "4MB";
/// What devices for mounts are called, with the number of the mount behind it.
pub(super) const MOUNT: &str = "mount";
const ENVIRONMENT: &str = "environment.";
const INIT: &str = "lxc.init.cmd";
const HALT: &str = "lxc.signal.halt";

/// A number by chance.
pub(super) fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What the server was asked beforehand.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The pool that volumes are in.
    pub(super) pool: String,
    /// The interfaces that the profiles give every instance.
    pub(super) profile_nics: Devices,
    /// The networks that are joined, by name.
    pub(super) networks: BTreeMap<String, Joined>,
    /// Names for the volumes without one, in the order of the mounts.
    pub(super) anonymous: Vec<String>,
}

/// What an instance is made of.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) devices: Devices,
    pub(super) warnings: Vec<String>,
}

/// The words of the main process; empty when the image's own is not replaced.
fn words(spec: &ContainerSpec) -> Vec<String> {
    spec.entrypoint.iter().chain(&spec.command).flatten().cloned().collect()
}

/// Whether the main process is the image's own, which then cares for its network itself.
pub(super) fn has_own_init(spec: &ContainerSpec) -> bool {
    words(spec).is_empty()
}

/// What stands in the place of networks for a container that is on none.
const NO_NETWORK: &str = "none";

/// The interfaces of the new instance: those asked for, otherwise the profiles'.
pub(super) fn interfaces(spec: &ContainerSpec, profile_nics: &Devices) -> Result<Devices> {
    if spec.networks.is_empty() {
        return Ok(profile_nics.clone());
    }
    let mut nics = Devices::new();
    if let Some(number) = spec.networks.iter().position(|attachment| attachment.network == NO_NETWORK) {
        if spec.networks.len() > 1 {
            let field = format!("networks[{number}].network");
            return Err(Error::invalid(field, format!("{NO_NETWORK:?} cannot be combined with other networks")));
        }
        return Ok(nics);
    }
    for (number, attachment) in spec.networks.iter().enumerate() {
        if spec.networks.iter().take(number).any(|other| other.network == attachment.network) {
            return Err(Error::invalid(format!("networks[{number}].network"), "is given twice"));
        }
        nics.insert(format!("eth{number}"), networks::device(number, attachment)?);
    }
    Ok(nics)
}

/// From a validated specification. `Unsupported` and `InvalidInput` for what cannot be.
pub(super) fn plan(spec: &ContainerSpec, around: &Surroundings) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut raw = RawLxc::default();
    let mut kept = Kept::of(spec);
    // Only on this level the library tells how the main process ended; nobody else keeps it.
    raw.push("lxc.log.level", "debug");
    // What is kept of the output of the main process; the library's own choice is 128 KiB.
    raw.push("lxc.console.buffer.size", CONSOLE);
    raw.push("lxc.console.size", CONSOLE);
    process(spec, &mut plan, &mut raw)?;
    plan.warnings.extend(privileges::write(spec, &mut plan.config, &mut raw)?);
    if spec.read_only_root {
        raw.push("lxc.rootfs.options", "ro");
    }
    plan.config.extend(limits::write(&spec.limits)?);
    plan.config.extend(labels::written(&spec.labels));
    let shown = labels(&plan.config, &kept);
    if let Some(own) = spec.labels.keys().find(|key| !shown.contains_key(*key)) {
        return Err(Error::invalid(format!("labels.{own}"), "labels under `roadstead.` are our own on this engine"));
    }
    mount(spec, around, &mut plan, &mut raw, &mut kept)?;
    publish(spec, &mut plan, &mut kept)?;
    connect(spec, around, &mut plan, &mut raw)?;
    kept.empty = plan.config.iter().filter(|(_, value)| value.is_empty()).map(|(key, _)| key.clone()).collect();
    plan.config.retain(|_, value| !value.is_empty());
    plan.config.insert(RAW.to_owned(), raw.to_string());
    plan.config.insert(kept::KEY.to_owned(), kept.json());
    Ok(plan)
}

/// The main process, and what it sees.
fn process(spec: &ContainerSpec, plan: &mut Plan, raw: &mut RawLxc) -> Result<()> {
    // These would be trimmed in the file that the main process gets them from, or forgotten.
    let lost = |value: &str| value.is_empty() || value.trim() != value;
    let trimmed: Vec<_> = spec.env.iter().filter(|(_, value)| lost(value)).collect();
    for (name, value) in &spec.env {
        if value.contains(['\n', '\r']) {
            return Err(Error::invalid(format!("env.{name}"), "this engine takes no line ends in variables"));
        }
        plan.config.insert(format!("{ENVIRONMENT}{name}"), value.clone());
    }
    let words = words(spec);
    let given = !words.is_empty();
    if given {
        let exports: Vec<_> = trimmed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        raw.push(INIT, command::line(&words, &exports));
        if spec.init {
            return Err(Error::unsupported_field("init", "an init process before the command"));
        }
    }
    if let Some(directory) = &spec.working_directory {
        if directory.contains(['\n', '\r']) || directory.trim() != directory.as_str() {
            return Err(Error::invalid("working_directory", "this engine takes no such white space in it"));
        }
        raw.push("lxc.init.cwd", directory);
    }
    if let Some((user, group)) = spec.user.as_deref().and_then(numbers) {
        set_user(raw, user, group);
    }
    if let Some(hostname) = &spec.hostname {
        raw.push("lxc.uts.name", hostname);
    }
    // The image's own init knows SIGPWR; a command knows what stops commands everywhere else.
    if let Some(signal) = spec.stop_signal.or(given.then_some(Signal::TERM)) {
        raw.push(HALT, signal.number().to_string());
    }
    Ok(())
}

/// User and group when the text needs no look into the image. A user without a group has group 0.
pub(super) fn numbers(user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, "0"));
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// Makes the main process this user's and group's.
pub(super) fn set_user(raw: &mut RawLxc, user: u32, group: u32) {
    raw.set("lxc.init.uid", user.to_string());
    raw.set("lxc.init.gid", group.to_string());
}

fn mount(
    spec: &ContainerSpec,
    around: &Surroundings,
    plan: &mut Plan,
    raw: &mut RawLxc,
    kept: &mut Kept,
) -> Result<()> {
    if let Some(number) = mounts::hiding(&spec.mounts) {
        return Err(Error::unsupported_field(
            format!("mounts[{number}]"),
            "a temporary file system that something else is mounted within",
        ));
    }
    let mut anonymous = around.anonymous.iter();
    for (number, mount) in spec.mounts.iter().enumerate() {
        if mount.target.split('/').all(|part| matches!(part, "" | ".")) {
            return Err(Error::invalid(format!("mounts[{number}].target"), "is the root, which is the image's"));
        }
        let volume = if mount.kind == MountKind::Volume && mount.source.is_none() { anonymous.next() } else { None };
        match mounts::device(mount, volume.map(String::as_str), &around.pool, spec.privileged) {
            Some(keys) => {
                plan.devices.insert(format!("{MOUNT}{number}"), keys);
            }
            None => mounts::write_tmpfs(mount, raw),
        }
        kept.anonymous.extend(volume.cloned());
    }
    Ok(())
}

fn publish(spec: &ContainerSpec, plan: &mut Plan, kept: &mut Kept) -> Result<()> {
    let mut taken: Vec<u16> = spec.ports.iter().filter_map(|port| port.host_port).collect();
    for (number, port) in spec.ports.iter().enumerate() {
        let name = format!("port{number}");
        let host_port = port.host_port.unwrap_or_else(|| {
            kept.picked.push(name.clone());
            let picked = ports::pick(&taken);
            taken.push(picked);
            picked
        });
        plan.devices.insert(name, ports::device(number, port, host_port)?);
    }
    Ok(())
}

/// See [`networks::settle_address`].
pub(super) fn settle_address(
    before: &str,
    keep: bool,
    keys: &mut Config,
    joined: &Joined,
    raw: &mut RawLxc,
) -> Option<std::net::Ipv4Addr> {
    networks::settle_address(before, keep, keys, joined, u32::try_from(chance() >> 32).unwrap_or_default(), raw)
}

/// Gives the interface of `keys` another address than its original has; none when nobody here gave it that one.
pub(super) fn move_address(keys: &mut Config, joined: &Joined, raw: &mut RawLxc) -> Option<std::net::Ipv4Addr> {
    networks::move_address(keys, joined, u32::try_from(chance() >> 32).unwrap_or_default(), raw)
}

/// Gives every port that was picked another one; the devices that change.
pub(super) fn pick_again(instance: &Instance) -> Result<Devices> {
    let kept = Kept::read(&instance.config);
    let mut changed = Devices::new();
    for name in kept.picked {
        let Some(keys) = instance.devices.get(&name) else { continue };
        let single = Devices::from([(name.clone(), keys.clone())]);
        if let Some(port) = ports::read(&single).first() {
            let before: Vec<u16> = port.host_port.into_iter().collect();
            changed.insert(name, ports::device(0, port, ports::pick(&before))?);
        }
    }
    Ok(changed)
}

fn connect(spec: &ContainerSpec, around: &Surroundings, plan: &mut Plan, raw: &mut RawLxc) -> Result<()> {
    let mut nics = interfaces(spec, &around.profile_nics)?;
    if !has_own_init(spec) {
        for (number, keys) in nics.values_mut().enumerate() {
            let network = keys.get("network").cloned().unwrap_or_default();
            if let Some(joined) = around.networks.get(&network) {
                let chance = u32::try_from(chance() >> 32).unwrap_or_default();
                networks::fix(number, keys, joined, chance, raw);
            }
        }
    }
    // What the profiles give and nobody asked for is masked.
    for name in around.profile_nics.keys().filter(|name| !nics.contains_key(*name)) {
        plan.devices.insert(name.clone(), Config::from([("type".to_owned(), "none".to_owned())]));
    }
    plan.devices.extend(nics);
    Ok(())
}

/// The labels of a configuration.
pub(super) fn labels(config: &Config, kept: &Kept) -> BTreeMap<String, String> {
    let all = kept.empty().chain(pairs(config)).map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    labels::split(Some(all.collect())).labels
}

fn pairs(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    config.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// The image as it was asked for; where nobody of us asked, the fingerprint of what it was made of.
pub(super) fn image(config: &Config, kept: &Kept) -> String {
    if kept.image.is_empty() { base_image(config).unwrap_or_default() } else { kept.image.clone() }
}

/// The fingerprint of the image that it was made of.
pub(super) fn base_image(config: &Config) -> Option<String> {
    config.get("volatile.base_image").filter(|fingerprint| !fingerprint.is_empty()).cloned()
}

/// The ports that are published while it runs.
pub(super) fn published(instance: &Instance) -> Vec<PortMapping> {
    ports::read(instance.effective_devices())
}

/// The networks that it is on, with the name of the interface of each.
pub(super) fn joined(instance: &Instance) -> Vec<(String, NetworkAttachment)> {
    let nics =
        instance.effective_devices().iter().filter(|(_, keys)| keys.get("type").is_some_and(|kind| kind == "nic"));
    nics.filter_map(|(device, keys)| {
        let single = Devices::from([(device.clone(), keys.clone())]);
        let attachment = networks::read(&single).pop()?;
        Some((keys.get("name").filter(|name| !name.is_empty()).unwrap_or(device).clone(), attachment))
    })
    .collect()
}

/// Whether it has any network interface, however that came about.
fn has_interfaces(instance: &Instance, raw: &RawLxc) -> bool {
    let is_nic = |keys: &Config| keys.get("type").is_some_and(|kind| matches!(kind.as_str(), "nic" | "infiniband"));
    instance.effective_devices().values().any(is_nic) || raw.keys().any(|key| key.starts_with("lxc.net."))
}

/// The specification that an instance has, whoever made it.
pub(super) fn read(instance: &Instance) -> ContainerSpec {
    let config = instance.effective();
    let kept = Kept::read(config);
    let raw = RawLxc::parse(config.get(RAW).map(String::as_str).unwrap_or_default());
    let mut spec = ContainerSpec::new(image(config, &kept));
    spec.name = Some(instance.name.clone()).filter(|name| !name.is_empty());
    spec.entrypoint.clone_from(&kept.entrypoint);
    spec.command.clone_from(&kept.command);
    // What is in effect counts, should somebody have changed it.
    let line = raw.get(INIT).map(command::words).unwrap_or_default();
    if line != words(&spec) {
        spec.entrypoint = None;
        spec.command = Some(line).filter(|line| !line.is_empty());
    }
    spec.env = kept
        .empty()
        .chain(pairs(config))
        .filter_map(|(key, value)| Some((key.strip_prefix(ENVIRONMENT)?.to_owned(), value.to_owned())))
        .collect();
    spec.working_directory = raw.get("lxc.init.cwd").map(str::to_owned);
    let user = raw.get("lxc.init.uid").map(|user| match raw.get("lxc.init.gid") {
        Some(group) => format!("{user}:{group}"),
        None => user.to_owned(),
    });
    spec.user = match (&kept.user, user) {
        // The same user in other words.
        (Some(asked), Some(user)) if numbers(asked).is_none() || numbers(asked) == numbers(&user) => {
            Some(asked.clone())
        }
        (_, user) => user,
    };
    // An instance is called by its name, unless it was given another one.
    spec.hostname = raw.get("lxc.uts.name").map(str::to_owned).or_else(|| spec.name.clone());
    spec.labels = labels(config, &kept);
    spec.mounts = mounts::read(instance.effective_devices(), &raw);
    spec.ports = published(instance);
    spec.networks = joined(instance).into_iter().map(|(_, attachment)| attachment).collect();
    if !instance.effective_devices().is_empty() && !has_interfaces(instance, &raw) {
        spec.networks.push(NetworkAttachment::new(NO_NETWORK));
    }
    spec.dns.servers = kept.dns_servers;
    spec.dns.search = kept.dns_search;
    spec.dns.options = kept.dns_options;
    spec.dns.hosts = kept.dns_hosts;
    spec.limits = limits::read(config);
    privileges::read(config, &raw, &mut spec);
    if spec.capabilities_add.is_empty() {
        spec.capabilities_add = kept.capabilities_add;
    }
    spec.read_only_root =
        raw.get("lxc.rootfs.options").is_some_and(|options| options.split(',').any(|word| word == "ro"));
    spec.tty = kept.tty;
    spec.stdin = kept.stdin;
    let halt = raw.get(HALT).and_then(|signal| signal.parse::<Signal>().ok());
    spec.stop_signal = if kept.stop_signal.is_none() && halt == Some(Signal::TERM) { None } else { halt };
    spec.stop_timeout_seconds = kept.stop_timeout_seconds;
    spec
}

#[cfg(test)]
mod tests {
    use roadstead_core::ErrorKind;
    use serde_json::json;

    use super::*;

    fn full() -> ContainerSpec {
        serde_json::from_value(json!({
            "image": "a:1", "name": "c1", "entrypoint": ["/e"], "command": ["two words", ""], "env": {"K": "V=W ", "L": "x", "M": ""},
            "working_directory": "/w", "user": "nobody", "hostname": "h", "labels": {"l": "v", "e": "", "roadstead.move": "1"},
            "mounts": [{"type": "bind", "source": "/s", "target": "/b", "read_only": true},
                       {"type": "tmpfs", "target": "/t", "size_bytes": 4096},
                       {"type": "volume", "source": "vol", "target": "/v"}],
            "ports": [{"container_port": 80, "host_port": 8080, "host_address": "127.0.0.1"}],
            "networks": [{"network": "n1", "address": "10.1.2.3"}],
            "dns": {"servers": ["1.1.1.1"], "search": ["s"], "options": ["ndots:1"], "hosts": {"k": "::1"}},
            "limits": {"memory_bytes": 8388608, "cpus": 1.5, "cpu_set": "0", "pids": 9},
            "capabilities_drop": ["CHOWN"], "read_only_root": true, "tty": true, "stdin": true, "stop_signal": "SIGRTMIN+3",
            "stop_timeout_seconds": 4
        }))
        .unwrap()
    }

    fn instance(plan: &Plan) -> Instance {
        let mut instance = Instance::default();
        "c1".clone_into(&mut instance.name);
        instance.config = plan.config.clone();
        instance.devices = plan.devices.clone();
        instance
    }

    fn around() -> Surroundings {
        let joined = Joined { gateway: Joined::gateway("10.1.2.1/24"), taken: Vec::new() };
        Surroundings {
            pool: "default".to_owned(),
            profile_nics: Devices::from([("eth9".to_owned(), Config::from([("type".to_owned(), "nic".to_owned())]))]),
            networks: [("n1".to_owned(), joined)].into(),
            anonymous: vec!["made-up".to_owned()],
        }
    }

    #[test]
    fn every_member_comes_back() {
        let asked = full();
        asked.validate().unwrap();
        let mut plan = plan(&asked, &around()).unwrap();
        assert_eq!(plan.devices["eth9"]["type"], "none", "the profile's interface is masked");
        // As creating does, once the image has told the number.
        let mut raw = RawLxc::parse(&plan.config[RAW]);
        set_user(&mut raw, 65534, 65534);
        plan.config.insert(RAW.to_owned(), raw.to_string());
        assert_eq!(read(&instance(&plan)), asked);
        assert!(plan.warnings.is_empty());
    }

    #[test]
    fn the_users_number_changes_nothing_in_what_is_shown() {
        let mut plan = plan(&full(), &around()).unwrap();
        let mut raw = RawLxc::parse(&plan.config[RAW]);
        set_user(&mut raw, 65534, 65534);
        plan.config.insert(RAW.to_owned(), raw.to_string());
        assert_eq!(read(&instance(&plan)).user.as_deref(), Some("nobody"));
        let mut other = ContainerSpec::new("a");
        other.user = Some("1:2".to_owned());
        let mut plan = super::plan(&other, &around()).unwrap();
        assert_eq!(read(&instance(&plan)).user.as_deref(), Some("1:2"));
        plan.config.insert(RAW.to_owned(), "lxc.init.uid = 7\nlxc.init.cmd = /bin/x  y\n".to_owned());
        let shown = read(&instance(&plan));
        assert_eq!(
            (shown.user.as_deref(), shown.command),
            (Some("7"), Some(vec!["/bin/x".to_owned(), "y".to_owned()]))
        );
    }

    #[test]
    fn what_was_picked_is_picked_again() {
        let mut asked = ContainerSpec::new("a");
        asked.ports =
            serde_json::from_value(json!([{"container_port": 80}, {"container_port": 81, "host_port": 5}])).unwrap();
        asked.mounts = serde_json::from_value(json!([{"type": "volume", "target": "/v"}])).unwrap();
        let plan = plan(&asked, &around()).unwrap();
        let instance = instance(&plan);
        let again = pick_again(&instance).unwrap();
        assert_eq!(again.keys().collect::<Vec<_>>(), ["port0"]);
        assert_ne!(again["port0"]["listen"], plan.devices["port0"]["listen"]);
        assert_eq!(Kept::read(&plan.config).anonymous, ["made-up"]);
        assert_eq!(plan.devices["mount0"]["source"], "made-up");
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        let refused = |change: fn(&mut ContainerSpec)| {
            let mut spec = ContainerSpec::new("a").command(["x"]);
            change(&mut spec);
            let error = plan(&spec, &around()).unwrap_err();
            (error.kind(), error.field().map(str::to_owned))
        };
        assert_eq!(refused(|spec| spec.init = true), (ErrorKind::Unsupported, Some("init".to_owned())));
        let hides = |spec: &mut ContainerSpec| {
            let mounts = json!([{"type": "volume", "target": "/t/v"}, {"type": "tmpfs", "target": "/t"}]);
            spec.mounts = serde_json::from_value(mounts).unwrap();
        };
        assert_eq!(refused(hides), (ErrorKind::Unsupported, Some("mounts[1]".to_owned())));
        let field = |name: &str| (ErrorKind::InvalidInput, Some(name.to_owned()));
        assert_eq!(refused(|spec| drop(spec.env.insert("A".to_owned(), "a\nb".to_owned()))), field("env.A"));
        assert_eq!(
            refused(|spec| drop(spec.labels.insert("roadstead.x".to_owned(), String::new()))),
            field("labels.roadstead.x")
        );
    }

    #[test]
    fn instances_of_others_are_read() {
        let config = json!({"name": "sys", "type": "container", "status": "Stopped",
            "config": {"user.a": "b", "user.roadstead.spec": "{nonsense", "volatile.base_image": "00ff", "limits.cpu": "2"},
            "devices": {"eth0": {"type": "nic", "nictype": "bridged", "parent": "br0"}, "root": {"type": "disk", "path": "/"}}});
        let instance: Instance = serde_json::from_value(config).unwrap();
        let spec = read(&instance);
        assert_eq!((spec.image.as_str(), spec.command, spec.labels.len()), ("00ff", None, 1));
        assert_eq!((spec.networks[0].network.as_str(), spec.limits.cpus), ("br0", Some(2.0)));
        assert!(spec.mounts.is_empty() && spec.stop_signal.is_none());
    }
}
