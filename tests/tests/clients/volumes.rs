//! Volumes of the default storage pool.

use roadstead_core::{ErrorKind, VolumeSpec};

use crate::scene::Scene;

fn spec(scene: &Scene) -> VolumeSpec {
    let mut spec = VolumeSpec::new(scene.name("v"));
    spec.labels.insert("team".to_owned(), "sea".to_owned());
    spec
}

fn path(name: &str) -> String {
    format!("/1.0/storage-pools/default/volumes/custom/{name}")
}

fn made_by_them(scene: &Scene) -> String {
    let name = scene.name("v");
    let _ = scene.client(&["storage", "volume", "create", "default", &name, "user.team=sea"]);
    name
}

pub(crate) async fn we_create(scene: &Scene) {
    let made = scene.node().create_volume(&spec(scene)).await.expect("we make a volume");
    let volume = scene.query(&path(&made.name));
    assert_eq!((&volume["type"], &volume["config"]["user.team"]), (&"custom".into(), &"sea".into()));
    // And it is what it says: they mount it.
    let name = scene.they_init("c");
    let _ = scene.client(&["storage", "volume", "attach", "default", &made.name, &name, "data", "/data"]);
    let _ = scene.client(&["start", &name]);
    assert!(scene.they_run(&name, "cat /proc/mounts").contains(" /data "));
}

pub(crate) async fn they_create(scene: &Scene) {
    let name = made_by_them(scene);
    let inspected = scene.node().inspect_volume(&name).await.expect("we inspect it");
    assert_eq!((inspected.name.as_str(), inspected.driver.as_str()), (name.as_str(), "dir"));
    assert_eq!(inspected.labels.get("team").map(String::as_str), Some("sea"));
    let listed = scene.node().list_volumes().await.expect("we list");
    assert_eq!(listed.iter().find(|volume| volume.name == name), Some(&inspected));
    let _ = scene.client(&["storage", "volume", "set", "default", &name, "user.team=land"]);
    let inspected = scene.node().inspect_volume(&name).await.expect("we inspect it");
    assert_eq!(inspected.labels.get("team").map(String::as_str), Some("land"));
}

pub(crate) async fn we_delete(scene: &Scene) {
    let name = made_by_them(scene);
    scene.node().delete_volume(&name, false).await.expect("we delete it");
    assert!(!scene.finds(&path(&name)));
}

pub(crate) async fn they_delete(scene: &Scene) {
    let made = scene.node().create_volume(&spec(scene)).await.expect("we make a volume");
    let _ = scene.client(&["storage", "volume", "delete", "default", &made.name]);
    let error = scene.node().inspect_volume(&made.name).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let listed = scene.node().list_volumes().await.expect("we list");
    assert!(listed.iter().all(|volume| volume.name != made.name));
}
