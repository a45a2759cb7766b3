//! The list of containers, in one call.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use roadstead_core::{ContainerFilter, ContainerState, ContainerSummary, PortMapping, Protocol, Result, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::request::Request;

/// A container as the daemon lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: Option<String>,
    names: Option<Vec<String>>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    created: Option<i64>,
    state: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    ports: Option<Vec<ListedPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListedPort {
    #[serde(rename = "IP")]
    address: Option<String>,
    private_port: Option<u16>,
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: Option<String>,
}

/// N20 to N23.
pub(super) async fn list(client: &Client, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
    filter.validate()?;
    let listed: Vec<Listed> = Request::get("/containers/json")
        .flag("all", true)
        .query("filters", &filters(filter).to_string())
        .json(client)
        .await?;
    let mut containers: Vec<_> = listed
        .into_iter()
        .map(|container| summary(&client.name, container))
        // The daemon's own filters match substrings and more; and what has no id has just gone.
        .filter(|container| !container.id.is_empty() && filter.matches(container))
        .collect();
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    Ok(containers)
}

/// What of the filter the daemon can apply. It may let more through, never less.
fn filters(filter: &ContainerFilter) -> serde_json::Value {
    let mut filters = serde_json::Map::new();
    if !filter.labels.is_empty() {
        let labels: Vec<_> = filter
            .labels
            .iter()
            .map(|label| match &label.value {
                Some(value) => format!("{}={value}", label.key),
                None => label.key.clone(),
            })
            .collect();
        filters.insert("label".to_owned(), json!(labels));
    }
    // A quick way to a few of many: dockerd looks ids up, and tries the expression of a name on every container. It takes
    // beginnings of ids, too, and fails on what is none.
    let are_whole = |ids: &[String]| ids.iter().all(|id| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    if !filter.ids.is_empty() && are_whole(&filter.ids) {
        filters.insert("id".to_owned(), json!(filter.ids));
    }
    if !filter.names.is_empty() {
        // A regular expression, which dockerd tries with and without the leading slash. Names are letters, digits,
        // '_', '.' and '-'; of these only the dot has a meaning.
        let names: Vec<_> = filter.names.iter().map(|name| format!("^/?{}$", name.replace('.', "\\."))).collect();
        filters.insert("name".to_owned(), json!(names));
    }
    // Words for other states differ between engines, and an unknown one fails the whole call.
    let words: Option<Vec<_>> = filter
        .states
        .iter()
        .map(|state| match state {
            ContainerState::Running => Some("running"),
            ContainerState::Frozen => Some("paused"),
            _ => None,
        })
        .collect();
    if let Some(words) = words.filter(|words| !words.is_empty()) {
        filters.insert("status".to_owned(), json!(words));
    }
    serde_json::Value::Object(filters)
}

fn summary(node: &str, listed: Listed) -> ContainerSummary {
    let mut summary = ContainerSummary::default();
    summary.node = node.to_owned();
    summary.id = listed.id.unwrap_or_default();
    summary.name = name(listed.names.as_deref().unwrap_or_default());
    summary.image = listed.image.unwrap_or_default();
    summary.image_id = listed.image_id.filter(|id| !id.is_empty());
    summary.state = state(listed.state.as_deref().unwrap_or_default());
    summary.labels =
        listed.labels.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
    summary.created_at = listed.created.and_then(Timestamp::from_unix_seconds);
    let ports = listed.ports.into_iter().flatten().filter_map(|port| {
        Some(PortMapping {
            container_port: port.private_port?,
            host_port: Some(port.public_port.filter(|port| *port != 0)?),
            host_address: port.address.as_deref().and_then(|address| address.parse().ok()),
            protocol: protocol(port.protocol.as_deref().unwrap_or("tcp"))?,
        })
    });
    summary.ports = distinct(ports);
    summary
}

/// Sorted, each once: dockerd lists a port for all addresses of IPv4 and again for all of IPv6. Only where it has picked
/// another port for each, as 20.10 may, the two stay apart.
pub(super) fn distinct(ports: impl Iterator<Item = PortMapping>) -> Vec<PortMapping> {
    let mut ports: Vec<_> = ports.collect();
    let all_of = |port: &PortMapping, address: IpAddr| {
        let one = PortMapping { host_address: Some(address), ..port.clone() };
        (
            ports.contains(&one),
            ports.iter().any(|other| PortMapping { host_port: port.host_port, ..other.clone() } == one),
        )
    };
    let every: Vec<bool> = ports
        .iter()
        .map(|port| match port.host_address {
            // Where IPv6 is off, all of IPv4 is everything.
            Some(address) if address == Ipv4Addr::UNSPECIFIED => {
                let (same, any) = all_of(port, Ipv6Addr::UNSPECIFIED.into());
                same || !any
            }
            Some(address) if address == Ipv6Addr::UNSPECIFIED => all_of(port, Ipv4Addr::UNSPECIFIED.into()).0,
            _ => false,
        })
        .collect();
    for (port, every) in ports.iter_mut().zip(every) {
        port.host_address = port.host_address.filter(|_| !every);
    }
    ports.sort_by_key(|port| (port.container_port, port.host_port, port.host_address, port.protocol as u8));
    ports.dedup();
    ports
}

/// The container's own name: of several, those with a second slash are what linked containers call it.
fn name(names: &[String]) -> String {
    let own = names.iter().find(|name| !name.trim_start_matches('/').contains('/')).or(names.first());
    own.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default()
}

/// The daemon's word for a state. Podman has three more than dockerd.
pub(super) fn state(word: &str) -> ContainerState {
    match word {
        "created" | "configured" | "initialized" => ContainerState::Created,
        "running" => ContainerState::Running,
        "paused" => ContainerState::Frozen,
        "restarting" => ContainerState::Restarting,
        "removing" | "stopping" => ContainerState::Stopping,
        "exited" | "stopped" => ContainerState::Stopped,
        "dead" => ContainerState::Failed,
        _ => ContainerState::Unknown,
    }
}

pub(super) fn protocol(word: &str) -> Option<Protocol> {
    match word {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::LabelSelector;

    use super::*;

    fn parse(json: &str) -> Vec<ContainerSummary> {
        serde_json::from_str::<Vec<Listed>>(json).unwrap().into_iter().map(|item| summary("n", item)).collect()
    }

    #[test]
    fn recorded_lists_of_dockerd_and_podman_become_summaries() {
        let list = parse(
            r#"[{"Id":"497e","Names":["/db/web","/web"],"Image":"roadstead/busybox:latest","ImageID":"sha256:c1",
                 "Command":"sleep","Created":1795246536,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                 {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"},
                 {"IP":"127.0.0.1","PrivatePort":53,"PublicPort":53,"Type":"quic"}],
                 "Labels":{"a":"b"},"State":"running","Status":"Up 3 seconds (healthy)","HostConfig":{"NetworkMode":"default"}},
                {"Id":"243c","Names":["/d1"],"Image":"docker.io/roadstead/busybox:latest","Created":1795246575,"Ports":null,
                 "Labels":null,"State":"initialized","Name":"","Config":null},
                {"Id":"1","Names":null,"State":"levitating","Labels":{"a":null}}]"#,
        );
        let [web, podman, strange] = list.as_slice() else { panic!() };
        assert_eq!((web.name.as_str(), web.state, web.labels["a"].as_str()), ("web", ContainerState::Running, "b"));
        assert_eq!(web.ports.len(), 1);
        assert_eq!((web.ports[0].host_port, web.ports[0].host_address), (Some(8080), None));
        assert_eq!(web.created_at.unwrap().unix_seconds(), 1_795_246_536);
        assert_eq!((podman.state, podman.image_id.as_ref()), (ContainerState::Created, None));
        assert_eq!((strange.state, strange.name.as_str()), (ContainerState::Unknown, ""));
    }

    #[test]
    fn different_ports_for_ipv4_and_ipv6_are_told_apart() {
        let ports = |places: &[(&str, u16)]| {
            let mappings = places.iter().map(|(address, host_port)| PortMapping {
                container_port: 80,
                host_port: Some(*host_port),
                host_address: address.parse().ok(),
                protocol: Protocol::Tcp,
            });
            let shown = distinct(mappings).into_iter();
            shown.map(|port| (port.host_address.map(|address| address.to_string()), port.host_port)).collect::<Vec<_>>()
        };
        let at = |address: &str, port| (Some(address.to_owned()), Some(port));
        assert_eq!(ports(&[("0.0.0.0", 1), ("::", 1)]), [(None, Some(1))]);
        assert_eq!(ports(&[("0.0.0.0", 1)]), [(None, Some(1))]);
        assert_eq!(ports(&[("::", 1)]), [at("::", 1)]);
        assert_eq!(ports(&[("::", 2), ("0.0.0.0", 1)]), [at("0.0.0.0", 1), at("::", 2)]);
        assert_eq!(ports(&[("0.0.0.0", 1), ("0.0.0.0", 2), ("::", 2), ("::", 1)]), [(None, Some(1)), (None, Some(2))]);
        assert_eq!(ports(&[("127.0.0.1", 1), ("::", 2)]), [at("127.0.0.1", 1), at("::", 2)]);
        assert_eq!(ports(&[("", 1), ("0.0.0.0", 1)]), [(None, Some(1))]);
    }

    #[test]
    fn the_daemon_is_asked_for_no_less_than_what_passes() {
        let mut filter = ContainerFilter::all();
        assert_eq!(filters(&filter), json!({}));
        filter.names = vec!["a.b".to_owned()];
        filter.ids = vec!["a".repeat(64)];
        filter.labels = vec![LabelSelector::parse("x=1"), LabelSelector::parse("y")];
        filter.states = vec![ContainerState::Running, ContainerState::Frozen];
        assert_eq!(
            filters(&filter),
            json!({"id": ["a".repeat(64)], "name": ["^/?a\\.b$"], "label": ["x=1", "y"], "status": ["running", "paused"]})
        );
        filter.ids.push("a".to_owned());
        assert!(filters(&filter).get("id").is_none(), "the beginning of an id");
        filter.states.push(ContainerState::Restarting);
        assert!(filters(&filter).get("status").is_none(), "Podman refuses the word");
    }
}
