//! Containers that are made in one moment: each has an address of its own, though all of them looked for a free one before
//! any had taken it.

use std::collections::BTreeSet;
use std::sync::Arc;

use roadstead_core::{
    ContainerSpec, CreatedContainer, DeleteOptions, ErrorKind, NetworkAttachment, NetworkSpec, Node, Retry, Subnet,
};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::image;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::connect;

on_lxd_and_incus! {
    containers_made_at_once_have_addresses_of_their_own
}

/// In a network of 13 free addresses some of so many find the same one.
const AT_ONCE: usize = 8;
const ATTEMPTS: usize = 3;

async fn containers_made_at_once_have_addresses_of_their_own(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it answers");
    let chance = Uuid::new_v4();
    let [a, b, c, ..] = *chance.as_bytes();
    let mut network = NetworkSpec::new(format!("at-once-{:02x}{:02x}", b, c));
    let cidr = format!("10.{}.{b}.{}/28", 150 + a % 50, c & 0xf0);
    network.subnets = vec![Subnet { cidr, gateway: None }];
    node.create_network(&network).await.expect("a small network");
    let mut makers = JoinSet::new();
    for number in 0..AT_ONCE {
        let mut spec = ContainerSpec::new(image()).name(engine.name(&format!("at-once-{number}")));
        spec.command = Some(["sleep", "100000"].map(str::to_owned).to_vec());
        spec.networks = vec![NetworkAttachment::new(&network.name)];
        let node = Arc::clone(&node);
        makers.spawn(async move {
            let made = create(&*node, &spec).await;
            node.container(&made.id).start().await.expect("it starts");
            made.id
        });
    }
    let made = makers.join_all().await;
    let mut addresses = BTreeSet::new();
    for id in &made {
        let instance = engine.get(&format!("/1.0/instances/{id}"))["metadata"].clone();
        let devices = instance["devices"].as_object().expect("devices").values();
        let address = devices.filter_map(|keys| keys["ipv4.address"].as_str()).next().expect("a fixed address");
        addresses.insert(address.to_owned());
    }
    for id in &made {
        node.container(id).delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
    node.delete_network(&network.name).await.expect("nobody uses it");
    assert_eq!(addresses.len(), AT_ONCE, "{addresses:?}");
}

/// Incus may lose what serves a container's files while it is made, which is said to be safe to repeat.
async fn create(node: &dyn Node, spec: &ContainerSpec) -> CreatedContainer {
    for _ in 1..ATTEMPTS {
        match node.create_container(spec).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && error.retry() == Retry::Safe => {}
            made => return made.expect("it is made"),
        }
    }
    node.create_container(spec).await.expect("it is made")
}
