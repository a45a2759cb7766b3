//! Clusters, which only this engine has: one of a single member, on a server of the test's own.

use roadstead_core::{ContainerFilter, ContainerSpec, ErrorKind, Node, PoolExt};
use roadstead_tests::engines::{OwnEngine, image};

use crate::product::Product;
use crate::scene::Scene;

async fn clustered(scene: &Scene, purpose: &str) -> Option<(OwnEngine, Scene)> {
    let instance = format!("clients-{purpose}");
    let own = if scene.product() == Product::Incus { OwnEngine::incus(&instance) } else { OwnEngine::lxd(&instance) }?;
    let alone = scene.on(own.engine()).await;
    assert!(alone.lxd().cluster_members().await.expect("we are told").is_empty());
    let error = alone.lxd().cluster("flotilla").await.expect_err("it is in none");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = alone.lxd().pool("flotilla").await.expect_err("it is in none");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let _ = alone.client(&["cluster", "enable", "one"]);
    // The members of a cluster share a certificate, which takes the place of the server's own.
    let directory = own.engine().client_directory();
    let server = own.engine().socket().with_file_name("cluster.crt");
    let _ = std::fs::copy(server, directory.join("server.crt")).expect("the certificate of the cluster");
    let there = scene.on(own.engine()).await;
    Some((own, there))
}

pub(crate) async fn they_make_one(scene: &Scene) {
    let Some((_own, there)) = clustered(scene, "clustered").await else { return };
    let told = there.query("/1.0/cluster/members/one");
    let members = there.lxd().cluster_members().await.expect("we are told");
    let [member] = members.as_slice() else { panic!("{members:?}") };
    assert_eq!((member.name.as_str(), Some(member.status.as_str())), ("one", told["status"].as_str()));
    assert_eq!(Some(member.url.as_str()), told["url"].as_str());
    let name = there.they_init("c");
    let _ = there.client(&["cluster", "set", "one", "user.zone", "a"]);
    let pool = there.lxd().pool("flotilla").await.expect("a pool");
    let [member] = &pool.members()[..] else { panic!("{pool:?}") };
    assert_eq!((member.labels.get("zone").map(String::as_str), member.cordon.as_deref()), (Some("a"), None));
    let pool = there.lxd().cluster("flotilla").await.expect("a pool");
    let nodes = pool.nodes();
    assert_eq!(nodes.iter().map(|node| node.name()).collect::<Vec<_>>(), ["one"]);
    let listed = nodes[0].list_containers(&ContainerFilter::all()).await.expect("we list");
    assert_eq!(listed.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), [name.as_str()]);
}

pub(crate) async fn we_work_on_a_member(scene: &Scene) {
    let Some((_own, there)) = clustered(scene, "member").await else { return };
    let pool = there.lxd().cluster("flotilla").await.expect("a pool");
    let node = pool.nodes().first().cloned().expect("a member");
    let made = node.create_container(&ContainerSpec::new(image()).name(there.name("c"))).await.expect("we create");
    assert_eq!(there.listed(&made.id).expect("it is listed")["location"], "one");
}
