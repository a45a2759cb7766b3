//! Storage pools, which only this engine has.

use roadstead_backends::engines::lxd::StoragePoolSpec;
use roadstead_core::ErrorKind;

use crate::scene::Scene;

fn path(name: &str) -> String {
    format!("/1.0/storage-pools/{name}")
}

pub(crate) async fn we_create(scene: &Scene) {
    let name = scene.name("p");
    let mut spec = StoragePoolSpec::new(&name, "dir");
    spec.description = "ours".to_owned();
    spec.labels.insert("team".to_owned(), "sea".to_owned());
    scene.lxd().create_storage_pool(&spec).await.expect("we make a pool");
    let pool = scene.query(&path(&name));
    assert_eq!(
        (&pool["driver"], &pool["description"], &pool["config"]["user.team"]),
        (&"dir".into(), &"ours".into(), &"sea".into())
    );
    // And it is what it says: they use it.
    let volume = scene.name("v");
    let _ = scene.client(&["storage", "volume", "create", &name, &volume]);
    let _ = scene.client(&["storage", "volume", "delete", &name, &volume]);
}

pub(crate) async fn they_create(scene: &Scene) {
    let name = scene.name("p");
    let _ = scene.client(&["storage", "create", &name, "dir", "user.team=sea"]);
    let volume = scene.name("v");
    let _ = scene.client(&["storage", "volume", "create", &name, &volume]);
    let pool = scene.lxd().storage_pool(&name).await.expect("we inspect it");
    assert_eq!((pool.name.as_str(), pool.driver.as_str()), (name.as_str(), "dir"));
    assert_eq!(pool.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(pool.used_by.len(), 1, "{:?}", pool.used_by);
    let space = scene.query(&format!("{}/resources", path(&name)))["space"].clone();
    assert_eq!(pool.total_bytes, space["total"].as_u64());
    let mut listed = scene.lxd().storage_pools().await.expect("we list");
    listed.retain(|pool| pool.name == name);
    assert_eq!(listed.len(), 1);
    let error = scene.lxd().delete_storage_pool(&name).await.expect_err("their volume is in it");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let _ = scene.client(&["storage", "volume", "delete", &name, &volume]);
}

pub(crate) async fn we_delete(scene: &Scene) {
    let name = scene.name("p");
    let _ = scene.client(&["storage", "create", &name, "dir"]);
    scene.lxd().delete_storage_pool(&name).await.expect("we delete it");
    assert!(!scene.finds(&path(&name)));
}

pub(crate) async fn they_delete(scene: &Scene) {
    let name = scene.name("p");
    scene.lxd().create_storage_pool(&StoragePoolSpec::new(&name, "dir")).await.expect("we make a pool");
    let _ = scene.client(&["storage", "delete", &name]);
    let error = scene.lxd().storage_pool(&name).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
