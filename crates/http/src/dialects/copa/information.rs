//! What one container uses, in the shape of the state that LXD tells.

use std::collections::BTreeMap;
use std::net::IpAddr;

use roadstead_core::{AddressScope, ContainerDetails, ContainerInterface, ContainerStats};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::container::Known;
use super::verbs::of_container;
use crate::state::{App, within};

/// What COPA says of an engine that does not tell how much processor time a container used.
const NO_CPU: &str = "'ContainerState' object has no attribute 'cpu'";

/// The state of a container.
pub(super) struct Information {
    state: Map<String, Value>,
    /// Nanoseconds, where the engine tells.
    cpu: Option<u64>,
}

impl Information {
    /// Without `cpu` and with a warning, where that is not told.
    pub(super) fn lenient(mut self) -> Value {
        match self.cpu {
            Some(nanos) => self.state.insert("cpu".to_owned(), json!({ "usage": nanos })),
            None => self.state.insert("warning".to_owned(), NO_CPU.into()),
        };
        Value::Object(self.state)
    }

    /// An error where it is not told.
    pub(super) fn strict(self) -> Result<Value, Refusal> {
        if self.cpu.is_none() { Err(Refusal::new(NO_CPU)) } else { Ok(self.lenient()) }
    }
}

/// Reads it.
pub(super) async fn told(app: &App, known: &Known) -> Result<Information, Refusal> {
    let container = known.handle(app).await?;
    let read = async {
        let details = container.inspect().await?;
        let stats = match details.summary.state.has_processes() {
            true => Some(container.stats().await?),
            false => None,
        };
        Ok((details, stats))
    };
    let (details, stats) = within(app.deadline(), read).await.map_err(of_container)?;
    Ok(shape(&details, stats.as_ref()))
}

fn shape(details: &ContainerDetails, stats: Option<&ContainerStats>) -> Information {
    let memory = stats.map(|stats| &stats.memory);
    let bytes = |value: Option<u64>| value.unwrap_or(0);
    let state = json!({
        "disk": {},
        "memory": {
            "usage": bytes(memory.map(|memory| memory.usage_bytes)),
            "usage_peak": bytes(memory.and_then(|memory| memory.peak_bytes)),
            "swap_usage": bytes(memory.and_then(|memory| memory.swap_bytes)),
            "swap_usage_peak": bytes(memory.and_then(|memory| memory.swap_peak_bytes)),
        },
        "network": stats.map_or(Value::Null, |stats| network(details, stats)),
    });
    let cpu = match stats {
        // Whatever runs has used some: where it is nothing, it is not told.
        Some(stats) if stats.cpu.total_seconds > 0.0 => Some(nanos(stats.cpu.total_seconds)),
        Some(_) => None,
        None => Some(0),
    };
    let Value::Object(state) = state else { return Information { state: Map::new(), cpu } };
    Information { state, cpu }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a container, never negative")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// An address; the netmask is the length of its prefix, empty where that is not told.
fn address(address: IpAddr, netmask: &str, scope: &str) -> Value {
    let family = if address.is_ipv4() { "inet" } else { "inet6" };
    json!({ "family": family, "address": address.to_string(), "netmask": netmask, "scope": scope })
}

fn network(details: &ContainerDetails, stats: &ContainerStats) -> Value {
    let counters: BTreeMap<_, _> = stats.networks.iter().map(|network| (network.name.as_str(), network)).collect();
    let told = |name: &str| {
        let network = counters.get(name);
        json!({
            "bytes_received": network.map_or(0, |network| network.received_bytes),
            "bytes_sent": network.map_or(0, |network| network.sent_bytes),
            "packets_received": network.map_or(0, |network| network.received_packets),
            "packets_sent": network.map_or(0, |network| network.sent_packets),
        })
    };
    let interface = |interface: &ContainerInterface| {
        let addresses = interface.addresses.iter().map(|address| {
            let scope = match address.scope {
                AddressScope::Link => "link",
                AddressScope::Local => "local",
                _ => "global",
            };
            self::address(address.address, &address.prefix.to_string(), scope)
        });
        let value = json!({
            "addresses": addresses.collect::<Vec<_>>(),
            "counters": told(&interface.name),
            "hwaddr": interface.mac_address.as_deref().unwrap_or_default(),
            "host_name": interface.host_name.as_deref().unwrap_or_default(),
            "mtu": interface.mtu.unwrap_or_default(),
            "state": if interface.up { "up" } else { "down" },
            "type": if interface.loopback { "loopback" } else { "broadcast" },
        });
        (interface.name.clone(), value)
    };
    if !details.interfaces.is_empty() {
        return Value::Object(details.interfaces.iter().map(interface).collect());
    }
    let mut interfaces = Map::new();
    // Which interface is on which network is not told: both are in the order in which they were made.
    let endpoints = details.endpoints.iter().map(Some).chain(std::iter::repeat(None));
    for (network, endpoint) in stats.networks.iter().filter(|network| network.name != "lo").zip(endpoints) {
        let addresses = endpoint.iter().flat_map(|endpoint| &endpoint.addresses);
        let addresses = addresses.map(|address| self::address(*address, "", "global"));
        let value = json!({
            "addresses": addresses.collect::<Vec<_>>(),
            "counters": told(&network.name),
            "hwaddr": endpoint.and_then(|endpoint| endpoint.mac_address.clone()).unwrap_or_default(),
            "host_name": "",
            "mtu": 0,
            "state": "up",
            "type": "broadcast",
        });
        interfaces.insert(network.name.clone(), value);
    }
    Value::Object(interfaces)
}
