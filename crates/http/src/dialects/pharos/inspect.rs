//! Containers as documents of Docker's *inspect*, API 1.14, whatever engine they are on.
//!
//! All members of that version are there. What is told of a container is filled in; of the rest, paths of files that only Docker
//! itself has are empty, and settings that are not Roadstead's have the values that mean "not used".

use std::collections::BTreeMap;

use roadstead_core::{
    ContainerDetails, ContainerSpec, ContainerState, InterfaceAddress, Mount, MountKind, NetworkEndpoint, PortMapping,
    Protocol, RestartPolicy,
};
use serde_json::{Map, Value, json};

use super::answer::time;

/// Whether Docker would say of a container that it runs: one that is frozen, or between an end and the next start, does.
pub(super) fn runs(state: ContainerState) -> bool {
    state.has_processes() || state == ContainerState::Restarting
}

/// The document of a container. `host` is what its node is called.
pub(super) fn inspect(host: &str, id: &str, details: &ContainerDetails) -> Value {
    let (summary, spec) = (&details.summary, &details.spec);
    let mut words = spec.entrypoint.iter().chain(&spec.command).flatten();
    let path = words.next().map_or("", String::as_str);
    let arguments: Vec<&String> = words.collect();
    json!({
        "Args": arguments,
        "Config": config(details),
        "Created": time(summary.created_at),
        "Driver": "",
        "ExecDriver": "",
        "Host": host,
        "HostConfig": host_config(details),
        "HostnamePath": "",
        "HostsPath": "",
        "Id": summary.id,
        "Image": image_id(details),
        "MountLabel": "",
        "Name": format!("/{}", summary.name),
        "NetworkSettings": network_settings(details),
        "Path": path,
        "ProcessLabel": "",
        "ResolvConfPath": "",
        "State": state(details),
        "Volumes": volumes(spec, |mount| json!(mount.source.as_deref().unwrap_or_default())),
        "VolumesRW": volumes(spec, |mount| json!(!mount.read_only)),
        "_id": id,
    })
}

/// The image's id where it is told, without the name of its digest, as this version writes it.
fn image_id(details: &ContainerDetails) -> &str {
    let id = details.summary.image_id.as_deref().unwrap_or(&details.summary.image);
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn state(details: &ContainerDetails) -> Value {
    let state = details.summary.state;
    json!({
        "ExitCode": details.exit_code.unwrap_or(0),
        "FinishedAt": time(details.finished_at),
        "Paused": state == ContainerState::Frozen,
        "Pid": details.pid.unwrap_or(0),
        "Restarting": state == ContainerState::Restarting,
        "Running": runs(state),
        "StartedAt": time(details.started_at),
    })
}

fn config(details: &ContainerDetails) -> Value {
    let spec = &details.spec;
    let limits = &spec.limits;
    let environment: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let exposed: Map<String, Value> = ports(details).map(|port| (exposed(port), json!({}))).collect();
    // Docker counts swap together with memory; 0 means that nothing is limited.
    let memory_swap = limits.swap_bytes.map_or(0, |swap| limits.memory_bytes.unwrap_or(0).saturating_add(swap));
    json!({
        "AttachStderr": false,
        "AttachStdin": false,
        "AttachStdout": false,
        "Cmd": spec.command,
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "Cpuset": limits.cpu_set.as_deref().unwrap_or_default(),
        "Domainname": "",
        "Entrypoint": spec.entrypoint,
        "Env": environment,
        "ExposedPorts": exposed,
        "Hostname": spec.hostname.as_deref().unwrap_or_default(),
        "Image": details.summary.image,
        "Memory": limits.memory_bytes.unwrap_or(0),
        "MemorySwap": memory_swap,
        "NetworkDisabled": network_mode(details) == "none",
        "OnBuild": null,
        "OpenStdin": spec.stdin,
        "PortSpecs": null,
        "SecurityOpt": null,
        "StdinOnce": false,
        "Tty": spec.tty,
        "User": spec.user.as_deref().unwrap_or_default(),
        "Volumes": null,
        "WorkingDir": spec.working_directory.as_deref().unwrap_or_default(),
    })
}

fn host_config(details: &ContainerDetails) -> Value {
    let spec = &details.spec;
    let list = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let binds: Vec<String> = spec.mounts.iter().filter_map(bind).collect();
    let servers: Vec<String> = spec.dns.servers.iter().map(ToString::to_string).collect();
    let hosts: Vec<String> = spec.dns.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let (policy, retries) = match spec.restart {
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.unwrap_or(0)),
        _ => ("", 0),
    };
    json!({
        "Binds": list(&binds),
        "CapAdd": list(&spec.capabilities_add),
        "CapDrop": list(&spec.capabilities_drop),
        "ContainerIDFile": "",
        "Devices": [],
        "Dns": list(&servers),
        "DnsSearch": list(&spec.dns.search),
        "ExtraHosts": list(&hosts),
        "Links": null,
        "LxcConf": [],
        "NetworkMode": network_mode(details),
        "PortBindings": bindings(spec.ports.iter(), ""),
        "Privileged": spec.privileged,
        "PublishAllPorts": false,
        "RestartPolicy": {"MaximumRetryCount": retries, "Name": policy},
        "VolumesFrom": null,
    })
}

/// What is mounted from the node, as Docker's command line would be told; temporary file systems are none of these.
fn bind(mount: &Mount) -> Option<String> {
    let source = mount.source.as_ref().filter(|_| mount.kind != MountKind::Tmpfs)?;
    let mode = if mount.read_only { ":ro" } else { "" };
    Some(format!("{source}:{}{mode}", mount.target))
}

fn volumes(spec: &ContainerSpec, of: impl Fn(&Mount) -> Value) -> Value {
    let mounted = spec.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs);
    mounted.map(|mount| (mount.target.clone(), of(mount))).collect::<Map<_, _>>().into()
}

/// The first network.
fn network_mode(details: &ContainerDetails) -> &str {
    let wanted = details.spec.networks.first().map(|network| network.network.as_str());
    wanted.or_else(|| details.endpoints.first().map(|endpoint| endpoint.network.as_str())).unwrap_or_default()
}

/// The first network that it has an address on.
fn network_settings(details: &ContainerDetails) -> Value {
    let addressed = |endpoint: &&NetworkEndpoint| !endpoint.addresses.is_empty();
    let endpoint = details.endpoints.iter().find(addressed).or_else(|| details.endpoints.first());
    let address = endpoint.and_then(|endpoint| {
        let first_of_four = endpoint.addresses.iter().find(|address| address.is_ipv4());
        first_of_four.or_else(|| endpoint.addresses.first())
    });
    let known = details.interfaces.iter().flat_map(|interface| &interface.addresses);
    let prefix = |known: &InterfaceAddress| (Some(&known.address) == address).then_some(known.prefix);
    json!({
        "Bridge": "",
        "Gateway": endpoint.and_then(|endpoint| endpoint.gateway).map(|gateway| gateway.to_string()).unwrap_or_default(),
        "IPAddress": address.map(ToString::to_string).unwrap_or_default(),
        "IPPrefixLen": known.filter_map(prefix).next().unwrap_or(0),
        "MacAddress": endpoint.and_then(|endpoint| endpoint.mac_address.as_deref()).unwrap_or_default(),
        "PortMapping": null,
        "Ports": bindings(details.summary.ports.iter(), "0.0.0.0"),
    })
}

/// Those that are asked for, and those that are published now.
fn ports(details: &ContainerDetails) -> impl Iterator<Item = &PortMapping> {
    details.spec.ports.iter().chain(&details.summary.ports)
}

fn exposed(port: &PortMapping) -> String {
    let protocol = match port.protocol {
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        _ => "tcp",
    };
    format!("{}/{protocol}", port.container_port)
}

/// Where each port of the container is published. `all` stands for every address of the node.
fn bindings<'a>(ports: impl Iterator<Item = &'a PortMapping>, all: &str) -> Value {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in ports {
        let address = port.host_address.map_or_else(|| all.to_owned(), |address| address.to_string());
        let number = port.host_port.map(|port| port.to_string()).unwrap_or_default();
        bindings.entry(exposed(port)).or_default().push(json!({"HostIp": address, "HostPort": number}));
    }
    json!(bindings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members of the sample that clients were written against, by level.
    const SAMPLE: &str = include_str!("sample-inspect.json");

    fn details() -> ContainerDetails {
        // As /v1 shows a container.
        serde_json::from_value(json!({
            "node": "sea", "id": "4f74b38bebe8", "name": "web", "image": "registry", "image_id": "sha256:8e9a",
            "state": "running", "labels": {}, "created_at": "2014-11-06T05:44:45.492745708Z",
            "ports": [{"container_port": 5000, "host_port": 5000}],
            "spec": {
                "image": "registry", "entrypoint": ["/bin/sh"], "command": ["-c", "exec docker-registry"],
                "env": {"A": "b=c"}, "hostname": "web", "tty": true,
                "mounts": [
                    {"type": "bind", "source": "/tmp/registry", "target": "/tmp/registry"},
                    {"type": "volume", "source": "data", "target": "/data", "read_only": true},
                    {"type": "tmpfs", "target": "/run"}],
                "ports": [{"container_port": 5000, "host_port": 5000}, {"container_port": 53, "protocol": "udp"}],
                "networks": [{"network": "bridge"}],
                "dns": {"servers": ["10.0.0.1"], "hosts": {"db": "10.0.0.9"}},
                "restart": {"policy": "on_failure", "max_retries": 3},
                "limits": {"memory_bytes": 8_388_608, "swap_bytes": 1024, "cpu_shares": 5, "cpu_set": "0-1"},
                "capabilities_add": ["NET_ADMIN"], "privileged": false, "read_only_root": false, "init": false, "stdin": false
            },
            "started_at": "2014-11-06T05:44:45.724142141Z", "pid": 5465,
            "endpoints": [
                {"network": "none", "addresses": []},
                {"network": "bridge", "addresses": ["fd00::2", "172.17.0.2"], "mac_address": "02:42:ac:11:00:02", "gateway": "172.17.42.1"}],
            "interfaces": [{"name": "eth0", "up": true, "loopback": false,
                "addresses": [{"address": "172.17.0.2", "prefix": 16, "scope": "global"}]}]
        }))
        .unwrap()
    }

    fn members(value: &Value, at: &str, all: &mut Vec<String>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            all.push(format!("{at}{name}"));
            // What is below these is named by ports and paths.
            if !["Ports", "PortBindings", "ExposedPorts", "Volumes", "VolumesRW"].contains(&name.as_str()) {
                members(inner, &format!("{at}{name}."), all);
            }
        }
    }

    #[test]
    fn all_members_of_the_sample_are_there_and_no_others() {
        let sample: Value = serde_json::from_str(SAMPLE).unwrap();
        for details in [details(), ContainerDetails::default()] {
            let (mut wanted, mut told) = (Vec::new(), Vec::new());
            members(&sample, "", &mut wanted);
            members(&inspect("ubuntu-dev", "1", &details), "", &mut told);
            assert_eq!(told, wanted);
        }
    }

    #[test]
    fn what_is_known_is_told() {
        let told = inspect("ubuntu-dev", "5450", &details());
        let at = |path: &str| told.pointer(path).unwrap_or_else(|| panic!("{path}")).clone();
        for (path, value) in [
            ("/Id", json!("4f74b38bebe8")),
            ("/Name", json!("/web")),
            ("/Host", json!("ubuntu-dev")),
            ("/_id", json!("5450")),
            ("/Path", json!("/bin/sh")),
            ("/Args", json!(["-c", "exec docker-registry"])),
            ("/Image", json!("8e9a")),
            ("/Config/Image", json!("registry")),
            ("/Config/Env", json!(["A=b=c"])),
            ("/Config/ExposedPorts", json!({"5000/tcp": {}, "53/udp": {}})),
            ("/Config/MemorySwap", json!(8_389_632)),
            ("/HostConfig/Binds", json!(["/tmp/registry:/tmp/registry", "data:/data:ro"])),
            ("/HostConfig/CapAdd", json!(["NET_ADMIN"])),
            ("/HostConfig/CapDrop", Value::Null),
            ("/HostConfig/ExtraHosts", json!(["db:10.0.0.9"])),
            ("/HostConfig/RestartPolicy", json!({"MaximumRetryCount": 3, "Name": "on-failure"})),
            ("/HostConfig/PortBindings/53~1udp", json!([{"HostIp": "", "HostPort": ""}])),
            ("/NetworkSettings/Ports", json!({"5000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5000"}]})),
            ("/NetworkSettings/IPAddress", json!("172.17.0.2")),
            ("/NetworkSettings/IPPrefixLen", json!(16)),
            ("/NetworkSettings/Gateway", json!("172.17.42.1")),
            ("/State/Pid", json!(5465)),
            ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
            ("/Volumes", json!({"/tmp/registry": "/tmp/registry", "/data": "data"})),
            ("/VolumesRW", json!({"/tmp/registry": true, "/data": false})),
        ] {
            assert_eq!(at(path), value, "{path}");
        }
    }

    #[test]
    fn states_are_those_that_docker_would_tell() {
        for (state, told) in [
            (ContainerState::Created, [false, false, false]),
            (ContainerState::Running, [true, false, false]),
            (ContainerState::Frozen, [true, true, false]),
            (ContainerState::Restarting, [true, false, true]),
            (ContainerState::Stopping, [true, false, false]),
            (ContainerState::Stopped, [false, false, false]),
            (ContainerState::Failed, [false, false, false]),
            (ContainerState::Unknown, [false, false, false]),
        ] {
            let mut details = ContainerDetails::default();
            details.summary.state = state;
            let shown = inspect("h", "i", &details)["State"].clone();
            assert_eq!(
                ["Running", "Paused", "Restarting"].map(|member| shown[member].as_bool().unwrap()),
                told,
                "{state}"
            );
        }
    }
}
