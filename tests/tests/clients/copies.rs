//! Containers that become others: copies, backups, and images made of them.

use roadstead_core::{
    BackupOptions, CommitOptions, ContainerSpec, ContainerState, CopyOptions, CopyTransport, RestoreOptions,
};

use crate::scene::{Scene, SnapshotVerb, finish, stream_of, whole};

/// What the original has, made by them.
fn original(scene: &Scene) -> String {
    let name = scene.they_init_with("o", &["-c", "user.team=sea", "-c", "limits.processes=40"]);
    scene.they_push(&name, "/file", "content", &[]);
    name
}

fn has_what_the_original_has(scene: &Scene, name: &str) {
    assert_eq!(scene.status(name), "Stopped");
    assert_eq!((scene.config(name, "user.team"), scene.config(name, "limits.processes")), ("sea".into(), "40".into()));
    assert_eq!(scene.they_pull(name, "/file"), "content");
}

async fn we_see_what_the_original_has(scene: &Scene, name: &str) {
    let details = scene.details(name).await;
    assert_eq!(scene.state(name).await, Some(ContainerState::Created));
    assert_eq!(details.summary.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(details.spec.limits.pids, Some(40));
    assert_eq!(scene.we_read(name, "/file").await, "content");
}

pub(crate) async fn ways_for_theirs(scene: &Scene) {
    let name = original(scene);
    let ways = scene.node().copy_ways(scene.node(), &name).await.expect("we ask for ways");
    assert!(ways.iter().any(|way| way.transport == CopyTransport::Local), "{ways:?}");
}

/// On one server, and from another one.
pub(crate) async fn we_copy(scene: &Scene) {
    let name = original(scene);
    scene.they_snapshot(SnapshotVerb::Create, &name, "before");
    let mut options = CopyOptions::new(&name, scene.name("copy"), CopyTransport::Local);
    options.labels.insert("mark".to_owned(), "ours".to_owned());
    options.snapshots = true;
    finish(scene.node().copy_container(scene.node(), &options).await.expect("we copy")).await;
    has_what_the_original_has(scene, &options.name);
    has_what_the_original_has(scene, &name);
    assert_eq!(scene.config(&options.name, "user.mark"), "ours");
    assert_eq!(scene.snapshots(&options.name), ["before"]);

    let Some(another) = scene.product().another("copy") else { return };
    let there = scene.on(another.engine()).await;
    let ways = there.node().copy_ways(scene.node(), &name).await.expect("we ask for ways");
    let way = ways.first().expect("there is a way between two servers of one product");
    let options = CopyOptions::new(&name, there.name("copy"), way.transport);
    finish(there.node().copy_container(scene.node(), &options).await.expect("we copy")).await;
    has_what_the_original_has(&there, &options.name);
}

pub(crate) async fn they_copy(scene: &Scene) {
    let (name, copy) = (original(scene), scene.name("copy"));
    let _ = scene.client(&["copy", "--quiet", &name, &copy]);
    we_see_what_the_original_has(scene, &copy).await;
}

/// From what their client exports.
pub(crate) async fn we_restore(scene: &Scene) {
    let (name, copy) = (original(scene), scene.name("copy"));
    scene.they_snapshot(SnapshotVerb::Create, &name, "before");
    let file = scene.file("export.tar.gz");
    let _ = scene.client(&["export", "--quiet", &name, &file.display().to_string()]);
    let bytes = std::fs::read(&file).expect("they exported it");
    let options = RestoreOptions::name(&copy);
    let made = scene.node().restore_container(stream_of(bytes), &options).await.expect("we restore");
    assert_eq!(made.id, copy);
    has_what_the_original_has(scene, &copy);
    assert_eq!(scene.snapshots(&copy), ["before"]);
}

/// What we backed up, their client imports.
pub(crate) async fn they_import(scene: &Scene) {
    let (name, copy) = (original(scene), scene.name("copy"));
    scene.they_snapshot(SnapshotVerb::Create, &name, "before");
    let backup = scene.container(&name).backup(&BackupOptions::default()).await.expect("we back up");
    let file = scene.file("backup");
    std::fs::write(&file, whole(backup).await).expect("a file");
    let _ = scene.client(&["import", "--quiet", &file.display().to_string(), &copy]);
    assert_eq!(scene.snapshots(&copy), ["before"]);
    we_see_what_the_original_has(scene, &copy).await;
}

pub(crate) async fn we_commit(scene: &Scene) {
    let (name, alias) = (original(scene), scene.name("i"));
    let id = scene.container(&name).commit(&CommitOptions::new(&alias)).await.expect("we commit");
    assert_eq!(crate::images::fingerprint(scene, &alias), Some(id));
    let made = scene.name("made");
    let _ = scene.client(&["init", "--quiet", &alias, &made]);
    assert_eq!(scene.they_pull(&made, "/file"), "content");
}

pub(crate) async fn they_publish(scene: &Scene) {
    let (name, alias) = (original(scene), scene.name("i"));
    let _ = scene.client(&["publish", "--quiet", &name, "--alias", &alias]);
    let image = scene.node().inspect_image(&alias).await.expect("we inspect the image");
    assert_eq!(Some(image.summary.id), crate::images::fingerprint(scene, &alias));
    let container = scene.we_create_as(&ContainerSpec::new(&alias).name(scene.name("made"))).await;
    assert_eq!(scene.we_read(container.id(), "/file").await, "content");
}
