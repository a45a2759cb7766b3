//! Clauses of networks.

use uuid::Uuid;

use super::check::{Check, During, ensure, equal, failed, refused};
use super::declare;
use super::scene::{Scene, details};
use crate::container::NetworkAttachment;
use crate::error::ErrorKind;
use crate::network::{NetworkSpec, Subnet};

declare! {
    W1 "list: every network with its labels" [Networks] list;
    W2 "inspect: by name and by id" [Networks] inspect;
    W3 "create: driver, ranges and labels" [Networks] create;
    W4 "create: a name that is taken" [Networks] create_taken;
    W5 "delete: afterwards it is not found" [Networks] delete;
    W6 "delete: Conflict while a running container is on it" [Networks Create] delete_used;
}

async fn list(scene: &Scene) -> Check {
    let mut spec = NetworkSpec::new(scene.network_name("listed"));
    spec.labels.insert(scene.label(), "value".to_owned());
    let id = scene.node().create_network(&spec).await.during("create")?;
    let all = scene.node().list_networks().await.during("list")?;
    let Some(found) = all.iter().find(|network| network.name == spec.name) else {
        return failed("the network is not listed");
    };
    equal("the id", &found.id, &id)?;
    equal("the node", found.node.as_str(), scene.node().name())?;
    equal("the label", found.labels.get(&scene.label()).map(String::as_str), Some("value"))
}

async fn inspect(scene: &Scene) -> Check {
    let spec = NetworkSpec::new(scene.network_name("found"));
    let id = scene.node().create_network(&spec).await.during("create")?;
    let by_name = scene.node().inspect_network(&spec.name).await.during("inspect by name")?;
    let by_id = scene.node().inspect_network(&id).await.during("inspect by id")?;
    equal("the name", &by_name.name, &spec.name)?;
    equal("the id", &by_name.id, &id)?;
    equal("the network by id", by_id, by_name)?;
    let missing = scene.node().inspect_network(&scene.network_name("missing")).await;
    refused("inspect", missing, ErrorKind::NotFound).map(drop)
}

async fn create(scene: &Scene) -> Check {
    let mut plain = NetworkSpec::new(scene.network_name("plain"));
    plain.labels.insert(scene.label(), "plain".to_owned());
    scene.node().create_network(&plain).await.during("create")?;
    let found = scene.node().inspect_network(&plain.name).await.during("inspect")?;
    ensure(!found.driver.is_empty(), "the network has no driver")?;
    equal("the label", found.labels, plain.labels.clone())?;
    // Ranges must not overlap on one machine, whoever uses it: one of many small ones, by chance.
    let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
    let first = format!("10.{}.{b}.{}", 200 + a % 50, c & 0xf0);
    let gateway = format!("10.{}.{b}.{}", 200 + a % 50, (c & 0xf0) + 5);
    let mut full = NetworkSpec::new(scene.network_name("full"));
    full.driver = Some(found.driver.clone());
    full.internal = true;
    full.subnets = vec![Subnet { cidr: format!("{first}/28"), gateway: gateway.parse().ok() }];
    scene.node().create_network(&full).await.during("create with a range")?;
    let shown = scene.node().inspect_network(&full.name).await.during("inspect")?;
    equal("the driver", shown.driver, found.driver)?;
    equal("internal", shown.internal, true)?;
    equal("the ranges", shown.subnets, full.subnets)
}

async fn create_taken(scene: &Scene) -> Check {
    let spec = NetworkSpec::new(scene.network_name("taken"));
    scene.node().create_network(&spec).await.during("create")?;
    let before = scene.node().inspect_network(&spec.name).await.during("inspect")?;
    refused("create again", scene.node().create_network(&spec).await, ErrorKind::AlreadyExists)?;
    equal("the network", scene.node().inspect_network(&spec.name).await.during("inspect")?, before)?;
    let all = scene.node().list_networks().await.during("list")?;
    equal("the networks of this name", all.iter().filter(|network| network.name == spec.name).count(), 1)
}

async fn delete(scene: &Scene) -> Check {
    let spec = NetworkSpec::new(scene.network_name("short"));
    scene.node().create_network(&spec).await.during("create")?;
    scene.node().delete_network(&spec.name).await.during("delete")?;
    refused("inspect", scene.node().inspect_network(&spec.name).await, ErrorKind::NotFound)?;
    refused("delete again", scene.node().delete_network(&spec.name).await, ErrorKind::NotFound).map(drop)
}

async fn delete_used(scene: &Scene) -> Check {
    let network = NetworkSpec::new(scene.network_name("used"));
    scene.node().create_network(&network).await.during("create")?;
    let mut spec = scene.spec("user");
    spec.networks = vec![NetworkAttachment::new(&network.name)];
    let container = scene.start(&spec).await?;
    refused("delete", scene.node().delete_network(&network.name).await, ErrorKind::Conflict)?;
    scene.node().inspect_network(&network.name).await.during("inspect")?;
    let endpoints = details(&*container).await?.endpoints;
    ensure(endpoints.iter().any(|endpoint| endpoint.network == network.name), "the container has left the network")
}
