//! The networks of a daemon.

use std::collections::BTreeMap;

use async_trait::async_trait;
use roadstead_core::{Capability, Error, ErrorKind, Network, NetworkSpec, Networks, Result, Subnet, Timestamp, names};
use serde::Deserialize;
use serde_json::json;

use super::images::plain;
use super::node::DockerNode;
use super::request::Request;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: Option<String>,
    name: String,
    driver: Option<String>,
    internal: Option<bool>,
    created: Option<String>,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
    labels: Option<BTreeMap<String, Option<String>>>,
    options: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    config: Option<Vec<Range>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Range {
    subnet: Option<String>,
    gateway: Option<String>,
}

fn network(node: &str, inspected: Inspected) -> Network {
    let ranges = inspected.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let mut network = Network::default();
    network.node = node.to_owned();
    network.id = inspected.id.filter(|id| !id.is_empty()).unwrap_or_else(|| inspected.name.clone());
    network.name = inspected.name;
    network.driver = inspected.driver.unwrap_or_default();
    network.internal = inspected.internal.unwrap_or(false);
    network.subnets = ranges
        .into_iter()
        .filter_map(|range| {
            let mut subnet = Subnet::new(range.subnet.filter(|subnet| !subnet.is_empty())?);
            // Docker has been seen to write the prefix length behind the gateway of an IPv6 range.
            subnet.gateway =
                range.gateway.and_then(|gateway| gateway.split('/').next().and_then(|address| address.parse().ok()));
            Some(subnet)
        })
        .collect();
    network.labels = plain(inspected.labels);
    network.options = plain(inspected.options);
    network.created_at =
        inspected.created.and_then(|created| created.parse().ok()).filter(|created: &Timestamp| !created.is_never());
    network
}

#[derive(Deserialize)]
struct Created {
    #[serde(alias = "Id", alias = "ID")]
    id: String,
}

impl DockerNode {
    async fn network(&self, name: &str) -> Result<Network> {
        names::existing("name", name)?;
        let inspected: Inspected = Request::get(&format!("/networks/{name}")).json(&self.0).await?;
        let network = network(&self.0.name, inspected);
        // Engines take the first letters of an id, too, and a short name may be those of another network.
        if network.name == name || (name.len() >= 12 && network.id.starts_with(name)) {
            Ok(network)
        } else {
            Err(Error::not_found("network", name))
        }
    }

    async fn new_network(&self, spec: &NetworkSpec) -> Result<String> {
        spec.validate()?;
        let ranges: Vec<_> = spec
            .subnets
            .iter()
            .map(|subnet| match subnet.gateway {
                Some(gateway) => json!({ "Subnet": subnet.cidr, "Gateway": gateway }),
                None => json!({ "Subnet": subnet.cidr }),
            })
            .collect();
        let mut body = json!({
            "Name": spec.name,
            // Without it old daemons make a second network of the same name.
            "CheckDuplicate": true,
            "Internal": spec.internal,
            "Labels": spec.labels,
            "Options": spec.options,
            "EnableIPv6": spec.subnets.iter().any(|subnet| subnet.cidr.contains(':')),
        });
        if let Some(body) = body.as_object_mut() {
            if let Some(driver) = &spec.driver {
                body.insert("Driver".to_owned(), json!(driver));
            }
            if !ranges.is_empty() {
                body.insert("IPAM".to_owned(), json!({ "Driver": "default", "Config": ranges }));
            }
        }
        let created = Request::post("/networks/create").body(&body).json::<Created>(&self.0).await;
        created.map(|created| created.id).map_err(|error| {
            let message = error.message().to_owned();
            let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
            if says(&["already exists", "already used", "name already in use"]) && message.contains(&spec.name) {
                Error::new(ErrorKind::AlreadyExists, message).with_source(error)
            } else if says(&["overlaps", "already being used", "is already used"]) {
                // The name is free; the range, or the bridge, is not.
                Error::new(ErrorKind::Conflict, message).with_source(error)
            } else if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) {
                error
            } else if says(&["unsupported driver", "could not find plugin", "plugin \"", "no such plugin"]) {
                Error::invalid("driver", message).with_source(error)
            } else if says(&["subnet", "gateway", "CIDR", "address space", "not in the network"]) {
                Error::invalid("subnets", message).with_source(error)
            } else if says(&["option"]) {
                Error::invalid("options", message).with_source(error)
            } else {
                error
            }
        })
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        let network = self.network(name).await?;
        Request::delete(&format!("/networks/{}", network.name)).done(&self.0).await.map_err(|error| {
            // Docker says 403 of a network in use, Podman of old 500.
            let in_use = ["active endpoints", "being used", "in use", "associated containers"];
            if in_use.iter().any(|words| error.message().contains(words)) {
                Error::new(ErrorKind::Conflict, error.message().to_owned()).with_source(error)
            } else {
                error
            }
        })
    }
}

#[async_trait]
impl Networks for DockerNode {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        let named = self.0.call("node.list_networks", Capability::Networks, "")?;
        let listed: Vec<Inspected> = Request::get("/networks").json(&self.0).await.map_err(named)?;
        Ok(listed.into_iter().map(|inspected| network(&self.0.name, inspected)).collect())
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let named = self.0.call("node.inspect_network", Capability::Networks, name)?;
        self.network(name).await.map_err(named)
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let named = self.0.call("node.create_network", Capability::Networks, &spec.name)?;
        self.new_network(spec).await.map_err(named)
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        let named = self.0.call("node.delete_network", Capability::Networks, name)?;
        self.remove_network(name).await.map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let inspected = serde_json::from_value(json!({
            "Name": "n", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}, {"Subnet": ""}]},
            "Labels": null, "Created": "0001-01-01T00:00:00Z", "Scope": "unheard of",
        }))
        .unwrap();
        let network = network("node", inspected);
        assert_eq!(network.id, "n");
        assert_eq!(network.subnets.len(), 1);
        assert_eq!(network.subnets[0].gateway, Some("10.1.0.1".parse().unwrap()));
        assert_eq!(network.created_at, None);
        super::network("node", serde_json::from_value(json!({"Name": "n", "IPAM": null})).unwrap());
    }
}
