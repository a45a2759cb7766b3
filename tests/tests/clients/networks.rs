//! Networks.

use std::sync::atomic::{AtomicU8, Ordering};

use roadstead_core::{ErrorKind, NetworkSpec, Subnet};

use crate::scene::Scene;

/// The first two thirds of a range that no other test uses at the same time.
fn range() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let number = std::process::id().wrapping_mul(2).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
    format!("172.{}.{}", 16 + number / 256 % 16, number % 256)
}

/// The tests' engines touch no packet filter.
const QUIET: [(&str, &str); 2] = [("ipv4.nat", "false"), ("ipv4.firewall", "false")];

fn spec(scene: &Scene, range: &str) -> NetworkSpec {
    let mut spec = NetworkSpec::new(scene.name("n"));
    spec.subnets = vec![Subnet::new(format!("{range}.0/24"))];
    spec.labels.insert("team".to_owned(), "sea".to_owned());
    spec.options = QUIET.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    spec
}

fn made_by_them(scene: &Scene, range: &str) -> String {
    let name = scene.name("n");
    let _ = scene.client(&[
        "network",
        "create",
        &name,
        &format!("ipv4.address={range}.1/24"),
        "ipv4.nat=false",
        "ipv4.firewall=false",
        "ipv6.address=none",
        "user.team=sea",
    ]);
    name
}

fn path(name: &str) -> String {
    format!("/1.0/networks/{name}")
}

pub(crate) async fn we_create(scene: &Scene) {
    let range = range();
    let spec = spec(scene, &range);
    scene.node().create_network(&spec).await.expect("we make a network");
    let network = scene.query(&path(&spec.name));
    assert_eq!((&network["managed"], &network["type"]), (&true.into(), &"bridge".into()));
    let config = &network["config"];
    assert_eq!(config["ipv4.address"], format!("{range}.1/24"));
    assert_eq!((&config["ipv4.nat"], &config["user.team"]), (&"false".into(), &"sea".into()));
    assert!(
        scene
            .client(&["network", "list", "--format", "csv"])
            .lines()
            .any(|line| line.starts_with(&format!("{},", spec.name)))
    );
}

pub(crate) async fn they_create(scene: &Scene) {
    let range = range();
    let name = made_by_them(scene, &range);
    let inspected = scene.node().inspect_network(&name).await.expect("we inspect it");
    assert_eq!(
        (inspected.name.as_str(), inspected.driver.as_str(), inspected.internal),
        (name.as_str(), "bridge", false)
    );
    let subnet = Subnet { cidr: format!("{range}.0/24"), gateway: format!("{range}.1").parse().ok() };
    assert_eq!(inspected.subnets, [subnet]);
    assert_eq!(inspected.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(inspected.options.get("ipv4.nat").map(String::as_str), Some("false"));
    let listed = scene.node().list_networks().await.expect("we list");
    assert_eq!(listed.iter().find(|network| network.name == name), Some(&inspected));
    let _ = scene.client(&["network", "set", &name, "user.team=land"]);
    let inspected = scene.node().inspect_network(&name).await.expect("we inspect it");
    assert_eq!(inspected.labels.get("team").map(String::as_str), Some("land"));
}

pub(crate) async fn we_delete(scene: &Scene) {
    let name = made_by_them(scene, &range());
    scene.node().delete_network(&name).await.expect("we delete it");
    assert!(!scene.finds(&path(&name)));
}

pub(crate) async fn they_delete(scene: &Scene) {
    let spec = spec(scene, &range());
    scene.node().create_network(&spec).await.expect("we make a network");
    let _ = scene.client(&["network", "delete", &spec.name]);
    let error = scene.node().inspect_network(&spec.name).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let listed = scene.node().list_networks().await.expect("we list");
    assert!(listed.iter().all(|network| network.name != spec.name));
}

/// The machine's own interfaces, and how a network is now.
pub(crate) async fn they_see_interfaces(scene: &Scene) {
    let name = made_by_them(scene, &range());
    let told = scene.query(&format!("{}/state", path(&name)));
    let details = scene.lxd().network_details(&name).await.expect("we are told");
    assert_eq!((details.kind.as_str(), details.managed), ("bridge", true));
    assert_eq!(details.labels.get("team").map(String::as_str), Some("sea"));
    let state = details.state.expect("a bridge has a state");
    assert_eq!(Some(state.hardware_address.as_str()), told["hwaddr"].as_str());
    assert_eq!((Some(state.mtu), state.up), (told["mtu"].as_u64(), told["state"] == "up"));
    // Others come and go meanwhile.
    let names = |list: &serde_json::Value| -> Vec<String> {
        let found = list.as_array().expect("a list").iter().map(|network| network["name"].as_str().unwrap_or_default());
        found.filter(|found| *found == name || *found == "lo").map(str::to_owned).collect()
    };
    let mut theirs = names(&scene.json(&["network", "list", "--format", "json"]));
    let listed = scene.lxd().all_networks().await.expect("we list");
    let mut ours: Vec<_> =
        listed.into_iter().map(|network| network.name).filter(|found| theirs.contains(found)).collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert!(theirs.contains(&name), "{theirs:?}");
}
