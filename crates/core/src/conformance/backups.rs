//! Clauses of backups: a whole container as an archive, and a container made from one.

use super::check::{Check, During, drain_bytes, ensure, equal, refused};
use super::declare;
use super::scene::{Scene, details, in_state, put_files, read_file};
use super::tar::{self, File};
use crate::capabilities::Capability;
use crate::container::{
    BackupOptions, Container, ContainerFilter, ContainerState, DeleteOptions, RestoreOptions, SnapshotOptions,
};
use crate::error::ErrorKind;

declare! {
    B1 "backup: a running container is not changed" [Create Backups] of_a_running_container;
    B2 "backup: with snapshots or without" [Create Backups Snapshots] snapshots_or_not;
    B10 "restore: files, command, labels and limits" [Create Backups Files] restore;
    B11 "restore: by its own name, or by another" [Create Backups] restore_names;
    B12 "restore: a name that is taken" [Create Backups] restore_taken;
    B13 "restore: a broken archive" [Create Backups] restore_broken;
}

async fn backup(container: &dyn Container, options: &BackupOptions) -> Check<Vec<u8>> {
    let mut stream = container.backup(options).await.during("backup")?;
    drain_bytes("backup", &mut stream).await
}

async fn restored(scene: &Scene, archive: &[u8], options: &RestoreOptions) -> Check<std::sync::Arc<dyn Container>> {
    let made = scene.node().restore_container(tar::stream_of(archive), options).await.during("restore")?;
    let container = scene.node().container(&made.id);
    equal("the name given back", &details(&*container).await?.summary.name, &made.name)?;
    Ok(container)
}

async fn of_a_running_container(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let before = details(&*container).await?;
    let archive = backup(&*container, &BackupOptions::default()).await?;
    let after = in_state(&*container, ContainerState::Running).await?;
    equal("the start and the main process", (after.started_at, after.pid), (before.started_at, before.pid))?;
    let copy = restored(scene, &archive, &RestoreOptions::name(scene.name("copy"))).await?;
    let state = details(&*copy).await?.summary.state;
    ensure(!state.has_processes(), format!("the new container is {state}"))?;
    copy.start().await.during("start the new container")?;
    in_state(&*copy, ContainerState::Running).await?;
    in_state(&*container, ContainerState::Running).await.map(drop)
}

async fn snapshots_or_not(scene: &Scene) -> Check {
    let container = scene.created("origin").await?;
    for name in ["zero", "one"] {
        container.create_snapshot(&SnapshotOptions::new(name)).await.during("create a snapshot")?;
    }
    for (rest, options, expected) in
        [("with", BackupOptions::default(), &["zero", "one"][..]), ("without", BackupOptions::without_snapshots(), &[])]
    {
        let archive = backup(&*container, &options).await?;
        let copy = restored(scene, &archive, &RestoreOptions::name(scene.name(rest))).await?;
        let found = copy.snapshots().await.during("list the snapshots")?;
        let names: Vec<&str> = found.iter().map(|snapshot| snapshot.name.as_str()).collect();
        equal(&format!("the snapshots of the copy {rest} snapshots"), names, expected)?;
        for snapshot in found {
            copy.restore_snapshot(&snapshot.name).await.during("restore a snapshot of the copy")?;
        }
    }
    Ok(())
}

async fn restore(scene: &Scene) -> Check {
    let label = scene.label();
    let mut spec = scene.spec("origin").label(&label, "a value, with = and ü");
    if scene.has(Capability::LimitMemory) {
        spec.limits.memory_bytes = Some(64 << 20);
    }
    let container = scene.create(&spec).await?;
    let files = [File::new("plain", 0o640, (0..=255).collect::<Vec<u8>>()), File::new("program", 0o755, "#!/bin/sh\n")];
    put_files(&*container, "/etc", &files).await?;
    let archive = backup(&*container, &BackupOptions::default()).await?;
    // The new one stands alone.
    container.delete(&DeleteOptions::default()).await.during("delete")?;
    let copy = restored(scene, &archive, &RestoreOptions::default()).await?;
    for file in &files {
        equal("the file", read_file(&*copy, &format!("/etc/{}", file.path)).await?, [file.clone()])?;
    }
    let shown = details(&*copy).await?;
    ensure(!shown.summary.state.has_processes(), format!("the new container is {}", shown.summary.state))?;
    equal("the command", shown.spec.command, spec.command)?;
    equal("the label", shown.summary.labels.get(&label), spec.labels.get(&label))?;
    equal("the memory limit", shown.spec.limits.memory_bytes, spec.limits.memory_bytes)?;
    copy.start().await.during("start")?;
    in_state(&*copy, ContainerState::Running).await.map(drop)
}

async fn restore_names(scene: &Scene) -> Check {
    let spec = scene.spec("origin");
    let container = scene.create(&spec).await?;
    let archive = backup(&*container, &BackupOptions::default()).await?;
    let other = scene.name("other");
    let copy = restored(scene, &archive, &RestoreOptions::name(&other)).await?;
    equal("the name", &details(&*copy).await?.summary.name, &other)?;
    ensure(copy.id() != container.id(), "the copy has the id of the one that was backed up")?;
    container.delete(&DeleteOptions::default()).await.during("delete")?;
    let again = restored(scene, &archive, &RestoreOptions::default()).await?;
    equal("the name without another", Some(details(&*again).await?.summary.name), spec.name)
}

async fn restore_taken(scene: &Scene) -> Check {
    let container = scene.created("origin").await?;
    let other = scene.created("other").await?;
    let taken = details(&*other).await?.summary.name;
    let archive = backup(&*container, &BackupOptions::default()).await?;
    let before = (details(&*container).await?, details(&*other).await?);
    for options in [RestoreOptions::default(), RestoreOptions::name(taken)] {
        let again = scene.node().restore_container(tar::stream_of(&archive), &options).await;
        refused("restore", again, ErrorKind::AlreadyExists)?;
    }
    equal("the containers", (details(&*container).await?, details(&*other).await?), before)
}

async fn restore_broken(scene: &Scene) -> Check {
    let container = scene.created("origin").await?;
    let whole = backup(&*container, &BackupOptions::default()).await?;
    let name = scene.name("never");
    let cut = whole.get(..whole.len() / 2).unwrap_or_default();
    let foreign = tar::write(&[File::new("file", 0o644, "of no backup")]);
    for (what, archive) in [
        ("no archive", tar::broken()),
        ("nothing", tar::stream_of("")),
        ("a half", tar::stream_of(cut)),
        ("another archive", tar::stream_of(foreign)),
    ] {
        let restored = scene.node().restore_container(archive, &RestoreOptions::name(&name)).await;
        refused(what, restored, ErrorKind::InvalidInput)?;
        refused("inspect", scene.node().container(&name).inspect().await, ErrorKind::NotFound)?;
    }
    let filter = ContainerFilter { names: vec![name], ..ContainerFilter::default() };
    equal("what was made", scene.node().list_containers(&filter).await.during("list")?, Vec::new())
}
