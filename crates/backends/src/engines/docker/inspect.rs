//! The inspection of a container, and the specification that can be read out of it.

use std::collections::BTreeMap;

use roadstead_core::{
    ContainerDetails, ContainerState, ContainerSummary, Dns, Error, Health, HealthCheck, Limits, Mount, MountKind,
    NetworkAttachment, NetworkEndpoint, PortMapping, RestartPolicy, Result, Timestamp,
};

use super::beyond;
use super::check::is_mode;
use super::client::Client;
use super::list::{distinct, protocol, state};
use super::request::Request;
use super::wire::{Config, Endpoint, HostConfig, Inspected, MountPoint, Ports, State};

/// Asks the daemon.
pub(super) async fn inspect(client: &Client, id: &str) -> Result<Inspected> {
    Request::get(&format!("/containers/{id}/json")).json(client).await
}

/// C10, C11.
pub(super) async fn details(client: &Client, id: &str) -> Result<ContainerDetails> {
    Ok(describe(&client.name, inspect(client, id).await?))
}

impl Inspected {
    /// Its state in our words.
    pub(super) fn state(&self) -> ContainerState {
        state(self.state.as_ref().and_then(|state| state.status.as_deref()).unwrap_or_default())
    }

    /// The main process's id on the node, while there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.state.as_ref().and_then(State::pid)
    }

    /// `Conflict` unless processes exist in it.
    pub(super) fn must_have_processes(&self) -> Result<()> {
        if self.state().has_processes() { Ok(()) } else { Err(not_running()) }
    }
}

/// The container does not run.
pub(super) fn not_running() -> Error {
    Error::new(roadstead_core::ErrorKind::Conflict, "the container does not run")
}

fn describe(node: &str, inspected: Inspected) -> ContainerDetails {
    let now = inspected.state();
    let running = now.has_processes();
    let pid = inspected.pid();
    let state = inspected.state.unwrap_or_default();
    let config = inspected.config.unwrap_or_default();
    let host = inspected.host_config.unwrap_or_default();
    let network = inspected.network_settings.unwrap_or_default();

    let mut summary = ContainerSummary::default();
    summary.node = node.to_owned();
    summary.id = inspected.id.unwrap_or_default();
    summary.name = inspected.name.unwrap_or_default().trim_start_matches('/').to_owned();
    summary.image = config.image.clone().unwrap_or_default();
    summary.image_id = inspected.image.filter(|id| !id.is_empty());
    summary.state = now;
    summary.labels = labels(&config);
    summary.created_at = time(inspected.created.as_deref());
    if running {
        summary.ports = ports(network.ports.as_ref());
        summary.ports.retain(|port| port.host_port.is_some());
    }

    let mut details = ContainerDetails::default();
    let networks = network.networks.unwrap_or_default();
    details.spec = {
        let mut spec = roadstead_core::ContainerSpec::new(summary.image.clone());
        spec.name = Some(summary.name.clone()).filter(|name| !name.is_empty());
        spec.entrypoint = config.entrypoint.clone().filter(|words| !words.is_empty());
        spec.command = config.cmd.clone().filter(|words| !words.is_empty());
        spec.env = config
            .env
            .iter()
            .flatten()
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        spec.working_directory = filled(config.working_dir.as_deref());
        spec.user = filled(config.user.as_deref());
        spec.hostname = filled(config.hostname.as_deref());
        spec.labels = summary.labels.clone();
        spec.mounts = mounts(inspected.mounts.as_deref().unwrap_or_default(), &host);
        spec.ports = ports(host.port_bindings.as_ref());
        spec.networks = attachments(&networks, &summary.id);
        // Podman lists no networks of a container that has none of its own.
        if let Some(mode) = host.network_mode.as_deref().filter(|mode| spec.networks.is_empty() && is_mode(mode)) {
            spec.networks.push(NetworkAttachment::new(mode));
        }
        spec.dns = dns(&host);
        spec.restart = restart(&host);
        spec.limits = limits(&host);
        spec.capabilities_add = kernel_capabilities(host.cap_add.as_deref());
        spec.capabilities_drop = kernel_capabilities(host.cap_drop.as_deref());
        spec.privileged = host.privileged.unwrap_or(false);
        spec.read_only_root = host.readonly_rootfs.unwrap_or(false);
        // Podman's answer has no word for it, but the program is its init.
        spec.init = host.init.unwrap_or(false)
            || inspected.path.as_deref().is_some_and(|path| path == "/run/podman-init" || path == "/dev/init");
        spec.tty = config.tty.unwrap_or(false);
        spec.stdin = config.open_stdin.unwrap_or(false);
        spec.stop_signal = config.stop_signal.as_deref().and_then(|signal| signal.parse().ok());
        spec.stop_timeout_seconds = config.stop_timeout.and_then(|seconds| u32::try_from(seconds).ok());
        spec.health_check = health_check(&config);
        spec
    };
    details.removed_at_end = host.auto_remove.unwrap_or(false);
    details.beyond_spec = beyond::settings(&config, &host);
    details.endpoints = networks.into_iter().filter_map(|(name, endpoint)| endpoint_of(name, endpoint)).collect();
    details.started_at = time(state.started_at.as_deref());
    details.finished_at = time(state.finished_at.as_deref());
    let ended = matches!(now, ContainerState::Stopped | ContainerState::Restarting | ContainerState::Failed);
    details.exit_code = state.exit_code.and_then(|code| i32::try_from(code).ok()).filter(|_| ended);
    details.pid = pid;
    details.restart_count = inspected.restart_count.and_then(|count| u64::try_from(count).ok());
    details.oom_killed = state.oom_killed;
    details.health = state.health.and_then(|health| match health.status.as_deref() {
        Some("starting") => Some(Health::Starting),
        Some("healthy") => Some(Health::Healthy),
        Some("unhealthy") => Some(Health::Unhealthy),
        _ => None,
    });
    details.error = filled(state.error.as_deref());
    details.summary = summary;
    details
}

fn filled(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse::<Timestamp>().ok()).filter(|time| !time.is_never())
}

fn labels(config: &Config) -> BTreeMap<String, String> {
    let labels = config.labels.iter().flatten();
    labels.map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())).collect()
}

/// `80/tcp` with its places on the node.
fn ports(ports: Option<&Ports>) -> Vec<PortMapping> {
    let mappings = ports.into_iter().flatten().flat_map(|(port, places)| {
        let (number, word) = port.split_once('/').unwrap_or((port, "tcp"));
        let parsed = number.parse::<u16>().ok().zip(protocol(word));
        places.iter().flatten().filter_map(move |place| {
            let (container_port, protocol) = parsed?;
            Some(PortMapping {
                container_port,
                host_port: place.host_port.as_deref().and_then(|port| port.parse().ok()).filter(|port| *port != 0),
                host_address: place.host_ip.as_deref().and_then(|address| address.parse().ok()),
                protocol,
            })
        })
    });
    distinct(mappings)
}

fn mounts(points: &[MountPoint], host: &HostConfig) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = points
        .iter()
        .filter_map(|point| {
            let target = filled(point.destination.as_deref())?;
            let (kind, source) = match point.kind.as_deref() {
                Some("bind") => (MountKind::Bind, filled(point.source.as_deref())),
                Some("volume") => (MountKind::Volume, filled(point.name.as_deref())),
                Some("tmpfs") => (MountKind::Tmpfs, None),
                _ => (MountKind::Unknown, filled(point.source.as_deref())),
            };
            Some(Mount { kind, source, target, read_only: point.rw == Some(false), size_bytes: None })
        })
        .collect();
    for (target, options) in host.tmpfs.iter().flatten() {
        let options = options.as_deref().unwrap_or_default();
        let read_only = options.split(',').any(|option| option == "ro");
        let size_bytes = options.split(',').find_map(|option| option.strip_prefix("size=")).and_then(bytes);
        mounts.retain(|mount| mount.target != *target);
        mounts.push(Mount { kind: MountKind::Tmpfs, source: None, target: target.clone(), read_only, size_bytes });
    }
    for asked in host.mounts.iter().flatten() {
        let size = asked.tmpfs_options.as_ref().and_then(|options| options.size_bytes);
        let same = |mount: &&mut Mount| mount.kind == MountKind::Tmpfs && asked.target.as_ref() == Some(&mount.target);
        if let (Some(size), Some(mount)) = (size, mounts.iter_mut().find(same)) {
            mount.size_bytes = u64::try_from(size).ok().filter(|size| *size > 0);
        }
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    mounts
}

/// A size as mount(8) writes it: `1048576`, `64m`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        None => (lower.as_str(), 0),
        Some(digits) if lower.ends_with('k') => (digits, 10),
        Some(digits) if lower.ends_with('m') => (digits, 20),
        Some(digits) => (digits, 30),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn attachments(networks: &BTreeMap<String, Option<Endpoint>>, id: &str) -> Vec<NetworkAttachment> {
    networks
        .iter()
        .map(|(name, endpoint)| {
            let mut attachment = NetworkAttachment::new(name.clone());
            let Some(endpoint) = endpoint else { return attachment };
            // The daemon adds the beginning of the id by itself.
            attachment.aliases = endpoint
                .aliases
                .iter()
                .flatten()
                .filter(|alias| alias.len() < 12 || !id.starts_with(alias.as_str()))
                .cloned()
                .collect();
            let fixed = endpoint.ipam_config.as_ref();
            attachment.address = fixed
                .and_then(|fixed| filled(fixed.ipv4_address.as_deref()).or(filled(fixed.ipv6_address.as_deref())))
                .and_then(|address| address.parse().ok());
            attachment
        })
        .collect()
}

fn endpoint_of(network: String, endpoint: Option<Endpoint>) -> Option<NetworkEndpoint> {
    let endpoint = endpoint?;
    let mut found = NetworkEndpoint::default();
    found.network = network;
    found.addresses = [&endpoint.ip_address, &endpoint.global_ipv6_address]
        .into_iter()
        .flatten()
        .filter_map(|address| address.parse().ok())
        .collect();
    found.mac_address = filled(endpoint.mac_address.as_deref());
    found.gateway =
        [&endpoint.gateway, &endpoint.ipv6_gateway].into_iter().flatten().find_map(|address| address.parse().ok());
    Some(found)
}

fn dns(host: &HostConfig) -> Dns {
    let mut dns = Dns::default();
    dns.servers = host.dns.iter().flatten().filter_map(|server| server.parse().ok()).collect();
    dns.search = host.dns_search.clone().unwrap_or_default();
    dns.options = host.dns_options.clone().unwrap_or_default();
    dns.hosts = host
        .extra_hosts
        .iter()
        .flatten()
        .filter_map(|line| {
            let (name, address) = line.split_once(':')?;
            Some((name.to_owned(), address.trim_start_matches('[').trim_end_matches(']').parse().ok()?))
        })
        .collect();
    dns
}

fn restart(host: &HostConfig) -> RestartPolicy {
    let Some(policy) = &host.restart_policy else { return RestartPolicy::Never };
    match policy.name.as_deref() {
        Some("always") => RestartPolicy::Always,
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        Some("on-failure") => RestartPolicy::OnFailure {
            max_retries: policy
                .maximum_retry_count
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| *count > 0),
        },
        _ => RestartPolicy::Never,
    }
}

#[allow(clippy::cast_precision_loss, reason = "billionths of a core, and microseconds of a period, are far below 2^53")]
fn limits(host: &HostConfig) -> Limits {
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    let mut limits = Limits::default();
    limits.memory_bytes = positive(host.memory);
    // The daemon counts memory and swap together.
    limits.swap_bytes =
        limits.memory_bytes.and_then(|memory| positive(host.memory_swap).and_then(|both| both.checked_sub(memory)));
    limits.cpus = match (positive(host.nano_cpus), positive(host.cpu_quota)) {
        (Some(nano), _) => Some(nano as f64 / 1e9),
        (None, Some(quota)) => Some(quota as f64 / positive(host.cpu_period).unwrap_or(100_000) as f64),
        (None, None) => None,
    };
    limits.cpu_shares = positive(host.cpu_shares).and_then(|shares| u32::try_from(shares).ok());
    limits.cpu_set = filled(host.cpuset_cpus.as_deref());
    limits.pids = positive(host.pids_limit).and_then(|pids| u32::try_from(pids).ok());
    limits
}

fn kernel_capabilities(names: Option<&[String]>) -> Vec<String> {
    names.unwrap_or_default().iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()).collect()
}

fn health_check(config: &Config) -> Option<HealthCheck> {
    let check = config.healthcheck.as_ref()?;
    let test = check.test.as_deref()?;
    let command = match test.split_first() {
        Some((kind, words)) if kind == "CMD" && !words.is_empty() => words.to_vec(),
        Some((kind, [line, ..])) if kind == "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        _ => return None,
    };
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a day are below 2^53")]
    let seconds = |nanos: Option<i64>| nanos.filter(|nanos| *nanos > 0).map(|nanos| nanos as f64 / 1e9);
    let mut found = HealthCheck::new(command);
    found.interval_seconds = seconds(check.interval);
    found.timeout_seconds = seconds(check.timeout);
    found.start_period_seconds = seconds(check.start_period);
    found.retries = check.retries.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fixture: &str) -> ContainerDetails {
        describe("n", serde_json::from_str(fixture).unwrap())
    }

    #[test]
    fn a_recorded_inspection_of_dockerd() {
        let details = read(include_str!("fixtures/inspect-dockerd-20.10.json"));
        let spec = &details.spec;
        assert_eq!((details.summary.name.as_str(), details.summary.state), ("d1-t1", ContainerState::Running));
        assert_eq!(details.summary.ports, spec.ports);
        assert_eq!((details.pid, details.exit_code, details.finished_at), (Some(17391), None, None));
        assert_eq!(details.health, Some(Health::Healthy));
        assert_eq!((spec.user.as_deref(), spec.hostname.as_deref()), (Some("1000"), Some("hh")));
        assert_eq!(spec.limits.memory_bytes, Some(33_554_432));
        assert_eq!(spec.limits.swap_bytes, Some(10_000_000));
        assert_eq!((spec.limits.cpus, spec.limits.pids), (Some(0.5), Some(50)));
        let mounts: Vec<_> =
            spec.mounts.iter().map(|m| (m.target.as_str(), m.kind, m.read_only, m.size_bytes)).collect();
        assert_eq!(
            mounts,
            [
                ("/b1", MountKind::Bind, true, None),
                ("/t2", MountKind::Tmpfs, false, Some(1_048_576)),
                ("/tt", MountKind::Tmpfs, false, Some(1_048_576)),
                ("/v1", MountKind::Volume, false, None),
            ]
        );
        assert_eq!(spec.mounts[3].source.as_deref(), Some("d1vol"));
        assert_eq!(spec.restart, RestartPolicy::OnFailure { max_retries: Some(3) });
        assert_eq!(spec.dns.hosts["foo"].to_string(), "1.2.3.4");
        assert_eq!((spec.stop_signal.unwrap().number(), spec.stop_timeout_seconds), (10, Some(3)));
        assert_eq!(spec.health_check.as_ref().unwrap().interval_seconds, Some(1.0));
        assert_eq!((spec.capabilities_add[0].as_str(), spec.capabilities_drop[0].as_str()), ("NET_ADMIN", "CHOWN"));
        assert_eq!(details.endpoints[0].addresses[0].to_string(), "10.117.0.2");
    }

    #[test]
    fn a_recorded_inspection_of_podman_before_the_start() {
        let details = read(include_str!("fixtures/inspect-podman-4.3.json"));
        let spec = &details.spec;
        assert_eq!((details.summary.state, details.pid, details.started_at), (ContainerState::Created, None, None));
        assert!(details.summary.ports.is_empty(), "nothing is published before the start");
        assert_eq!(spec.ports[0].host_port, Some(27999));
        assert_eq!((details.health, spec.stop_signal.unwrap().number()), (None, 10));
        assert_eq!((spec.limits.cpus, spec.entrypoint.as_ref()), (Some(0.5), None));
        assert!(spec.networks[0].aliases.is_empty());
        assert_eq!(spec.mounts.len(), 4);
    }

    #[test]
    fn nothing_told_is_no_error() {
        assert_eq!(read("{}").summary.state, ContainerState::Unknown);
        let nulls = r#"{"State":null,"Config":{"Labels":{"a":null},"Healthcheck":{"Test":[]}},"Mounts":null,
            "NetworkSettings":{"Ports":{"80/tcp":null,"x":[]},"Networks":{"none":null}}}"#;
        let details = read(nulls);
        assert_eq!(details.spec.networks[0].network, "none");
        assert!(details.spec.health_check.is_none() && details.endpoints.is_empty());
    }

    #[test]
    fn sizes_as_mount_writes_them() {
        for (text, size) in [("10", Some(10)), ("64k", Some(65536)), ("1G", Some(1 << 30)), ("50%", None), ("", None)] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
