//! Creating a container from the full specification.

use std::collections::HashMap;

use bollard::models;
use roadstead_core::{
    ContainerSpec, CreatedContainer, Error, HealthCheck, Limits, Mount, MountKind, NetworkAttachment, Protocol,
    RestartPolicy, Result, Signal,
};
use serde::Deserialize;
use serde_json::json;

use super::check::{check, is_mode};
use super::client::Client;
use super::inspect;
use super::request::Request;

/// From this version on, a container may be created on several networks at once.
const MANY_NETWORKS: (usize, usize) = (1, 44);
/// What dockerd gives a container that asks for no time to stop. Podman's compatible socket would give it none at all.
const STOP_TIMEOUT_SECONDS: u32 = 10;

/// N30 to N40.
pub(super) async fn create(client: &Client, spec: &ContainerSpec) -> Result<CreatedContainer> {
    check(client, spec)?;
    networks_exist(client, &spec.networks).await?;

    let version = client.docker.client_version();
    let at_once = (version.major_version, version.minor_version) >= MANY_NETWORKS;
    let (first, later) = spec.networks.split_at(if at_once { spec.networks.len() } else { spec.networks.len().min(1) });
    let body = serde_json::to_value(body(spec, first)).map_err(|error| Error::invalid("spec", error))?;
    let mut request = Request::post("/containers/create").body(&body);
    if let Some(name) = &spec.name {
        request = request.query("name", name);
    }
    let created: Created = request.json(client).await.map_err(|error| match error.kind() {
        // The networks are there: what is not is the image.
        roadstead_core::ErrorKind::NotFound => error.with_resource(&spec.image),
        roadstead_core::ErrorKind::AlreadyExists => error.with_resource(spec.name.as_deref().unwrap_or_default()),
        _ => error,
    })?;
    let id = created.id.unwrap_or_default();
    for network in later {
        if let Err(error) = connect(client, &id, network).await {
            // Half a container is none: nobody may find one that lacks a network.
            let _ = Request::delete(&format!("/containers/{id}")).flag("force", true).bytes(client).await;
            return Err(error.with_resource(&network.network));
        }
    }
    let mut result = CreatedContainer::default();
    result.name = match &spec.name {
        Some(name) => name.clone(),
        // Only the engine knows; should the question fail, the id is a name, too.
        None => inspect::inspect(client, &id)
            .await
            .ok()
            .and_then(|inspected| inspected.name)
            .map_or_else(|| id.clone(), |name| name.trim_start_matches('/').to_owned()),
    };
    result.id = id;
    result.warnings = created.warnings.unwrap_or_default();
    Ok(result)
}

/// The daemon's answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Created {
    id: Option<String>,
    warnings: Option<Vec<String>>,
}

/// Older daemons notice a missing network only when the container is started.
async fn networks_exist(client: &Client, networks: &[NetworkAttachment]) -> Result<()> {
    for network in networks.iter().filter(|network| !is_mode(&network.network)) {
        Request::get(&format!("/networks/{}", network.network))
            .bytes(client)
            .await
            .map_err(|error| error.with_resource(&network.network))?;
    }
    Ok(())
}

async fn connect(client: &Client, id: &str, network: &NetworkAttachment) -> Result<()> {
    let body = json!({ "Container": id, "EndpointConfig": endpoint(network) });
    Request::post(&format!("/networks/{}/connect", network.network)).body(&body).done(client).await
}

fn endpoint(network: &NetworkAttachment) -> models::EndpointSettings {
    let address = network.address.map(|address| {
        let text = Some(address.to_string());
        let mut fixed = models::EndpointIpamConfig::default();
        if address.is_ipv4() {
            fixed.ipv4_address = text;
        } else {
            fixed.ipv6_address = text;
        }
        fixed
    });
    models::EndpointSettings {
        aliases: (!network.aliases.is_empty()).then(|| network.aliases.clone()),
        ipam_config: address,
        ..models::EndpointSettings::default()
    }
}

fn body(spec: &ContainerSpec, networks: &[NetworkAttachment]) -> models::ContainerCreateBody {
    let endpoints: HashMap<_, _> = networks
        .iter()
        .filter(|network| !is_mode(&network.network))
        .map(|network| (network.network.clone(), endpoint(network)))
        .collect();
    models::ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        env: (!spec.env.is_empty()).then(|| spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        working_dir: spec.working_directory.clone(),
        user: spec.user.clone(),
        hostname: spec.hostname.clone(),
        labels: (!spec.labels.is_empty())
            .then(|| spec.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        // The process reads end of file when the one who attached closes the input.
        stdin_once: Some(spec.stdin),
        attach_stdin: Some(spec.stdin),
        stop_signal: spec.stop_signal.map(signal),
        stop_timeout: Some(spec.stop_timeout_seconds.unwrap_or(STOP_TIMEOUT_SECONDS).into()),
        healthcheck: spec.health_check.as_ref().map(health_check),
        exposed_ports: (!spec.ports.is_empty())
            .then(|| spec.ports.iter().map(|port| port_key(port.container_port, &port.protocol)).collect()),
        host_config: Some(host_config(spec, networks)),
        networking_config: (!endpoints.is_empty())
            .then_some(models::NetworkingConfig { endpoints_config: Some(endpoints) }),
        ..models::ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, networks: &[NetworkAttachment]) -> models::HostConfig {
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let mut host = models::HostConfig {
        privileged: Some(spec.privileged),
        readonly_rootfs: Some(spec.read_only_root),
        init: spec.init.then_some(true),
        cap_add: words(&spec.capabilities_add),
        cap_drop: words(&spec.capabilities_drop),
        dns: words(&spec.dns.servers.iter().map(ToString::to_string).collect::<Vec<_>>()),
        dns_search: words(&spec.dns.search),
        dns_options: words(&spec.dns.options),
        extra_hosts: words(
            &spec.dns.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        ),
        restart_policy: Some(restart_policy(spec.restart)),
        network_mode: networks.first().map(|network| network.network.clone()),
        mounts: Some(spec.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs).map(mount).collect())
            .filter(|mounts: &Vec<_>| !mounts.is_empty()),
        // Podman makes a tmpfs of the other list without any permission when no mode is given.
        tmpfs: Some(spec.mounts.iter().filter(|mount| mount.kind == MountKind::Tmpfs).map(tmpfs).collect())
            .filter(|mounts: &HashMap<_, _>| !mounts.is_empty()),
        ..models::HostConfig::default()
    };
    let mut ports: HashMap<String, Option<Vec<models::PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        ports.entry(port_key(port.container_port, &port.protocol)).or_default().get_or_insert_default().push(
            models::PortBinding {
                host_ip: port.host_address.map(|address| address.to_string()),
                host_port: Some(port.host_port.map(|port| port.to_string()).unwrap_or_default()),
            },
        );
    }
    host.port_bindings = (!ports.is_empty()).then_some(ports);
    let limits = &spec.limits;
    host.memory = limits.memory_bytes.map(whole);
    host.memory_swap = memory_and_swap(limits);
    host.nano_cpus = limits.cpus.map(nano_cpus);
    host.cpu_shares = limits.cpu_shares.map(i64::from);
    host.cpuset_cpus = limits.cpu_set.clone();
    host.pids_limit = limits.pids.map(i64::from);
    host
}

/// The validation has refused what does not fit.
pub(super) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The daemon counts memory and swap together.
pub(super) fn memory_and_swap(limits: &Limits) -> Option<i64> {
    Some(whole(limits.memory_bytes?.saturating_add(limits.swap_bytes?)))
}

#[allow(clippy::cast_possible_truncation, reason = "the validation allows 0.01 to 4096 cores")]
pub(super) fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

fn port_key(port: u16, protocol: &Protocol) -> String {
    let word = match protocol {
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        _ => "tcp",
    };
    format!("{port}/{word}")
}

/// A name where every engine knows it, otherwise the number.
fn signal(signal: Signal) -> String {
    if signal.number() <= 31 { signal.to_string() } else { signal.number().to_string() }
}

fn mount(mount: &Mount) -> models::Mount {
    models::Mount {
        target: Some(mount.target.clone()),
        source: mount.source.clone(),
        typ: Some(if mount.kind == MountKind::Bind { models::MountType::BIND } else { models::MountType::VOLUME }),
        read_only: Some(mount.read_only),
        ..models::Mount::default()
    }
}

fn tmpfs(mount: &Mount) -> (String, String) {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned(), "mode=1777".to_owned()];
    options.extend(mount.size_bytes.map(|bytes| format!("size={bytes}")));
    (mount.target.clone(), options.join(","))
}

pub(super) fn restart_policy(policy: RestartPolicy) -> models::RestartPolicy {
    let (name, count) = match policy {
        RestartPolicy::Always => (models::RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (models::RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure { max_retries } => {
            (models::RestartPolicyNameEnum::ON_FAILURE, max_retries.map(i64::from))
        }
        _ => (models::RestartPolicyNameEnum::NO, None),
    };
    models::RestartPolicy { name: Some(name), maximum_retry_count: count }
}

fn health_check(check: &HealthCheck) -> models::HealthConfig {
    #[allow(clippy::cast_possible_truncation, reason = "the validation allows a day at most")]
    let nanos = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1e9).round() as i64);
    models::HealthConfig {
        test: Some(std::iter::once("CMD".to_owned()).chain(check.command.iter().cloned()).collect()),
        interval: nanos(check.interval_seconds),
        timeout: nanos(check.timeout_seconds),
        start_period: nanos(check.start_period_seconds),
        retries: check.retries.map(i64::from),
        start_interval: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn full() -> ContainerSpec {
        serde_json::from_value(json!({
            "image": "a:1", "entrypoint": ["/e"], "command": ["c"], "env": {"K": "V=W"}, "working_directory": "/w",
            "user": "1:2", "hostname": "h", "labels": {"l": "v"},
            "mounts": [{"type": "bind", "source": "/s", "target": "/b", "read_only": true},
                       {"type": "volume", "target": "/v"},
                       {"type": "tmpfs", "target": "/t", "size_bytes": 4096, "read_only": true}],
            "ports": [{"container_port": 80, "host_port": 8080, "host_address": "127.0.0.1"},
                      {"container_port": 80}, {"container_port": 53, "protocol": "udp"}],
            "networks": [{"network": "n1", "aliases": ["x"], "address": "10.1.2.3"}, {"network": "n2"}],
            "dns": {"servers": ["1.1.1.1"], "search": ["s"], "options": ["ndots:1"], "hosts": {"k": "::1"}},
            "restart": {"policy": "on_failure", "max_retries": 2},
            "limits": {"memory_bytes": 8388608, "swap_bytes": 1, "cpus": 1.5, "cpu_shares": 3, "cpu_set": "0", "pids": 9},
            "capabilities_add": ["NET_ADMIN"], "capabilities_drop": ["ALL"], "privileged": true,
            "read_only_root": true, "init": true, "tty": true, "stdin": true, "stop_signal": "SIGRTMIN+3",
            "stop_timeout_seconds": 4,
            "health_check": {"command": ["true"], "interval_seconds": 0.5, "retries": 2}
        }))
        .unwrap()
    }

    #[test]
    fn every_member_of_the_specification_reaches_the_daemon() {
        let spec = full();
        spec.validate().unwrap();
        let value = serde_json::to_value(body(&spec, &spec.networks)).unwrap();
        let host = &value["HostConfig"];
        assert_eq!(value["Image"], "a:1");
        assert_eq!(value["Entrypoint"], json!(["/e"]));
        assert_eq!(value["Env"], json!(["K=V=W"]));
        assert_eq!((&value["StopSignal"], &value["StopTimeout"]), (&json!("37"), &json!(4)));
        assert_eq!(value["Healthcheck"], json!({"Test": ["CMD", "true"], "Interval": 500_000_000, "Retries": 2}));
        assert_eq!(value["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
        assert_eq!(
            host["PortBindings"]["80/tcp"],
            json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": ""}])
        );
        assert_eq!(host["Tmpfs"], json!({"/t": "ro,mode=1777,size=4096"}));
        assert_eq!(
            host["Mounts"],
            json!([{"Target": "/b", "Source": "/s", "Type": "bind", "ReadOnly": true},
                   {"Target": "/v", "Type": "volume", "ReadOnly": false}])
        );
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(8_388_608), &json!(8_388_609)));
        assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(1_500_000_000), &json!(9)));
        assert_eq!(host["ExtraHosts"], json!(["k:::1"]));
        assert_eq!(host["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 2}));
        assert_eq!(
            (&host["Init"], &host["Privileged"], &host["ReadonlyRootfs"]),
            (&json!(true), &json!(true), &json!(true))
        );
        assert_eq!(host["NetworkMode"], "n1");
        let endpoint = &value["NetworkingConfig"]["EndpointsConfig"]["n1"];
        assert_eq!(endpoint, &json!({"IPAMConfig": {"IPv4Address": "10.1.2.3"}, "Aliases": ["x"]}));
    }

    #[test]
    fn what_is_left_out_is_the_engines_choice() {
        let value = serde_json::to_value(body(&ContainerSpec::new("a"), &[])).unwrap();
        let host = value["HostConfig"].as_object().unwrap();
        for absent in ["Memory", "MemorySwap", "Init", "NetworkMode", "PortBindings", "Mounts", "Tmpfs", "Dns"] {
            assert!(!host.contains_key(absent), "{absent}");
        }
        assert_eq!(value["StopTimeout"], 10, "Podman would take an absent one for none");
    }

    #[test]
    fn an_address_is_of_its_family() {
        let mut network = NetworkAttachment::new("n");
        network.address = Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        let v6 = endpoint(&network);
        assert!(v6.ipam_config.unwrap().ipv6_address.is_some());
    }
}
