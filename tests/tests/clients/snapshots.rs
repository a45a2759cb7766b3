//! Snapshots of containers.

use roadstead_core::{ContainerState, SnapshotOptions};

use crate::scene::{Scene, SnapshotVerb};

async fn ours(scene: &Scene, name: &str) -> Vec<String> {
    let snapshots = scene.container(name).snapshots().await.expect("we list snapshots");
    snapshots.into_iter().map(|snapshot| snapshot.name).collect()
}

pub(crate) async fn we_list_theirs(scene: &Scene) {
    let name = scene.they_init("c");
    for snapshot in ["second", "first"] {
        scene.they_snapshot(SnapshotVerb::Create, &name, snapshot);
    }
    let snapshots = scene.container(&name).snapshots().await.expect("we list snapshots");
    let told = scene.query(&format!("/1.0/instances/{name}/snapshots?recursion=1"));
    // Oldest first, whatever they are called.
    assert_eq!(snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect::<Vec<_>>(), ["second", "first"]);
    for snapshot in &snapshots {
        let theirs = told.as_array().expect("a list").iter().find(|theirs| theirs["name"] == snapshot.name.as_str());
        let theirs = theirs.unwrap_or_else(|| panic!("{told}"));
        assert_eq!(snapshot.created_at, theirs["created_at"].as_str().and_then(|time| time.parse().ok()));
        assert!(snapshot.created_at.is_some() && !snapshot.stateful && snapshot.expires_at.is_none(), "{snapshot:?}");
    }
}

pub(crate) async fn we_create(scene: &Scene) {
    let container = scene.we_create("c").await;
    scene.we_write(container.id(), "file", "before").await;
    let made = container.create_snapshot(&SnapshotOptions::new("ours")).await.expect("we make a snapshot");
    assert_eq!(made.name, "ours");
    assert_eq!(scene.snapshots(container.id()), ["ours"]);
    scene.they_push(container.id(), "/file", "after", &[]);
    scene.they_snapshot(SnapshotVerb::Restore, container.id(), "ours");
    assert_eq!(scene.they_pull(container.id(), "/file"), "before");
}

pub(crate) async fn they_create(scene: &Scene) {
    let name = scene.they_launch("c");
    scene.they_snapshot(SnapshotVerb::Create, &name, "theirs");
    assert_eq!(ours(scene, &name).await, ["theirs"]);
    assert_eq!(scene.state(&name).await, Some(ContainerState::Running));
}

pub(crate) async fn we_restore(scene: &Scene) {
    let name = scene.they_launch("c");
    scene.they_push(&name, "/file", "before", &[]);
    scene.they_snapshot(SnapshotVerb::Create, &name, "theirs");
    scene.they_push(&name, "/file", "after", &[]);
    let _ = scene.client(&["config", "set", &name, "limits.processes=50"]);
    scene.container(&name).restore_snapshot("theirs").await.expect("we restore");
    assert_eq!(scene.status(&name), "Running");
    assert_eq!(scene.they_pull(&name, "/file"), "before");
    assert_eq!(scene.config(&name, "limits.processes"), "");
}

pub(crate) async fn they_restore(scene: &Scene) {
    let container = scene.we_create_as(&scene.spec("c").label("at", "first")).await;
    scene.we_write(container.id(), "file", "before").await;
    let _ = container.create_snapshot(&SnapshotOptions::new("ours")).await.expect("we make a snapshot");
    scene.we_write(container.id(), "file", "after").await;
    let _ = scene.client(&["config", "set", container.id(), "user.at=second"]);
    scene.they_snapshot(SnapshotVerb::Restore, container.id(), "ours");
    assert_eq!(scene.we_read(container.id(), "/file").await, "before");
    assert_eq!(scene.details(container.id()).await.summary.labels.get("at").map(String::as_str), Some("first"));
}

pub(crate) async fn we_delete(scene: &Scene) {
    let name = scene.they_init("c");
    scene.they_snapshot(SnapshotVerb::Create, &name, "a");
    scene.they_snapshot(SnapshotVerb::Create, &name, "b");
    scene.container(&name).delete_snapshot("a").await.expect("we delete a snapshot");
    assert_eq!(scene.snapshots(&name), ["b"]);
}

pub(crate) async fn they_delete(scene: &Scene) {
    let container = scene.we_create("c").await;
    for name in ["a", "b"] {
        let _ = container.create_snapshot(&SnapshotOptions::new(name)).await.expect("we make a snapshot");
    }
    scene.they_snapshot(SnapshotVerb::Delete, container.id(), "a");
    assert_eq!(ours(scene, container.id()).await, ["b"]);
}
