//! Clauses of snapshots: made, listed, restored, deleted.

use std::time::Duration;

use super::check::{Check, During, ensure, equal, refused};
use super::declare;
use super::scene::{Scene, details, exec, in_state, put_files, read_file};
use super::tar::File;
use crate::capabilities::Capability;
use crate::container::{Container, ContainerState, ContainerUpdate, DeleteOptions, Limits, Snapshot, SnapshotOptions};
use crate::error::ErrorKind;
use crate::time::Timestamp;

declare! {
    S1 "snapshots: each listed, oldest first" [Create Snapshots] list;
    S10 "create: given as it is listed, the container is not changed" [Create Snapshots] create;
    S11 "create: a name that is taken" [Create Snapshots] create_taken;
    S12 "create: the time of its end is shown" [Create Snapshots SnapshotsExpire] create_expiring;
    S20 "restore: files are as they were" [Create Snapshots Files] restore_files;
    S21 "restore: limits are as they were" [Create Snapshots Update] restore_limits;
    S22 "restore: what ran runs afterwards" [Create Snapshots] restore_state;
    S23 "restore: a snapshot that is not there" [Create Snapshots] restore_missing;
    S30 "delete: not listed, not restored" [Create Snapshots] delete;
    S31 "delete: a snapshot that is not there" [Create Snapshots] delete_missing;
    S32 "delete of a container: its snapshots go along" [Create Snapshots] delete_all;
}

async fn make(container: &dyn Container, name: &str) -> Check<Snapshot> {
    container.create_snapshot(&SnapshotOptions::new(name)).await.during("create a snapshot")
}

async fn listed(container: &dyn Container) -> Check<Vec<Snapshot>> {
    container.snapshots().await.during("list the snapshots")
}

async fn names(container: &dyn Container) -> Check<Vec<String>> {
    Ok(listed(container).await?.into_iter().map(|snapshot| snapshot.name).collect())
}

async fn list(scene: &Scene) -> Check {
    let (container, other) = (scene.created("one").await?, scene.created("other").await?);
    equal("the snapshots of a new container", names(&*container).await?, Vec::<String>::new())?;
    // Not in the order of the alphabet.
    for name in ["zero", "one", "two.2"] {
        make(&*container, name).await?;
    }
    let found = listed(&*container).await?;
    equal("the snapshots", names(&*container).await?, ["zero", "one", "two.2"])?;
    let times: Vec<_> = found.iter().map(|snapshot| snapshot.created_at).collect();
    ensure(times.iter().all(Option::is_some) && times.is_sorted(), format!("the times are {times:?}"))?;
    ensure(found.iter().all(|snapshot| !snapshot.stateful && snapshot.expires_at.is_none()), format!("{found:?}"))?;
    equal("the snapshots of another container", names(&*other).await?, Vec::<String>::new())
}

async fn create(scene: &Scene) -> Check {
    for container in [scene.running("running").await?, scene.created("created").await?] {
        let before = details(&*container).await?;
        let made = make(&*container, "made").await?;
        equal("the name", made.name.as_str(), "made")?;
        equal("the snapshots", listed(&*container).await?, [made])?;
        let after = details(&*container).await?;
        equal("the state", after.summary.state, before.summary.state)?;
        equal("the start and the main process", (after.started_at, after.pid), (before.started_at, before.pid))?;
        equal("the configuration", after.spec, before.spec)?;
    }
    Ok(())
}

async fn create_taken(scene: &Scene) -> Check {
    let container = scene.created("one").await?;
    make(&*container, "taken").await?;
    let before = listed(&*container).await?;
    let again = container.create_snapshot(&SnapshotOptions::new("taken")).await;
    refused("create again", again, ErrorKind::AlreadyExists)?;
    equal("the snapshots", listed(&*container).await?, before)?;
    // Names belong to one container.
    make(&*scene.created("other").await?, "taken").await.map(drop)
}

async fn create_expiring(scene: &Scene) -> Check {
    let container = scene.created("one").await?;
    // Whole seconds: what engines keep.
    let later =
        Timestamp::from_unix_seconds(Timestamp::now().saturating_add(Duration::from_secs(86_400)).unix_seconds());
    let options = SnapshotOptions { expires_at: later, ..SnapshotOptions::new("short") };
    let made = container.create_snapshot(&options).await.during("create")?;
    equal("the time of its end", made.expires_at, later)?;
    make(&*container, "long").await?;
    let shown: Vec<_> = listed(&*container).await?.into_iter().map(|snapshot| snapshot.expires_at).collect();
    equal("the times of their ends", shown, [later, None])
}

async fn restore_files(scene: &Scene) -> Check {
    let file = |path: &str, data: &str| File::new(path, 0o640, data);
    for (container, runs) in [(scene.created("created").await?, false), (scene.running("running").await?, true)] {
        put_files(&*container, "/etc", &[file("changed", "before"), file("deleted", "kept")]).await?;
        make(&*container, "before").await?;
        put_files(&*container, "/etc", &[file("changed", "after, and longer"), file("new", "new")]).await?;
        if runs && scene.has(Capability::Jobs) {
            let gone = exec(&*container, "rm /etc/deleted").await?;
            equal("the exit code of rm", gone.status.exit_code, Some(0))?;
        }
        make(&*container, "after").await?;
        container.restore_snapshot("before").await.during("restore")?;
        equal("the changed file", read_file(&*container, "/etc/changed").await?, [file("changed", "before")])?;
        equal("the deleted file", read_file(&*container, "/etc/deleted").await?, [file("deleted", "kept")])?;
        refused("the new file", container.copy_out("/etc/new").await.map(drop), ErrorKind::NotFound)?;
        ensure(names(&*container).await?.contains(&"before".to_owned()), "the snapshot is gone")?;
    }
    Ok(())
}

async fn restore_limits(scene: &Scene) -> Check {
    let mut spec = scene.spec("limited");
    let mut change = Limits::default();
    if scene.has(Capability::LimitMemory) {
        spec.limits.memory_bytes = Some(64 << 20);
        change.memory_bytes = Some(128 << 20);
    } else if scene.has(Capability::LimitPids) {
        spec.limits.pids = Some(40);
        change.pids = Some(50);
    } else {
        return Err(super::check::Failure::Gated("limit_memory, limit_pids".to_owned()));
    }
    let container = scene.create(&spec).await?;
    make(&*container, "before").await?;
    container.update(&ContainerUpdate::limits(change.clone())).await.during("update")?;
    let limits = details(&*container).await?.spec.limits;
    equal("the limits after the change", (limits.memory_bytes, limits.pids), (change.memory_bytes, change.pids))?;
    container.restore_snapshot("before").await.during("restore")?;
    let limits = details(&*container).await?.spec.limits;
    equal("the limits", (limits.memory_bytes, limits.pids), (spec.limits.memory_bytes, spec.limits.pids))
}

async fn restore_state(scene: &Scene) -> Check {
    let running = scene.running("running").await?;
    make(&*running, "before").await?;
    let before = in_state(&*running, ContainerState::Running).await?;
    running.restore_snapshot("before").await.during("restore")?;
    let after = in_state(&*running, ContainerState::Running).await?;
    ensure(after.started_at > before.started_at, "the main process was not started anew")?;
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        make(&*container, "before").await?;
        container.restore_snapshot("before").await.during("restore")?;
        let state = details(&*container).await?.summary.state;
        ensure(!state.has_processes(), format!("the container is {state}"))?;
        container.start().await.during("start")?;
        in_state(&*container, ContainerState::Running).await?;
    }
    Ok(())
}

async fn restore_missing(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    make(&*container, "there").await?;
    let before = details(&*container).await?;
    refused("restore", container.restore_snapshot("not-there").await, ErrorKind::NotFound)?;
    let after = details(&*container).await?;
    equal("the state", (after.summary.state, after.started_at), (before.summary.state, before.started_at))?;
    equal("the snapshots", names(&*container).await?, ["there"])
}

async fn delete(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    for name in ["first", "second"] {
        make(&*container, name).await?;
    }
    let before = details(&*container).await?;
    container.delete_snapshot("first").await.during("delete")?;
    equal("the snapshots", names(&*container).await?, ["second"])?;
    refused("restore", container.restore_snapshot("first").await, ErrorKind::NotFound)?;
    let after = details(&*container).await?;
    equal("the state", (after.summary.state, after.started_at), (before.summary.state, before.started_at))?;
    // Its name is free again.
    make(&*container, "first").await?;
    equal("the snapshots", names(&*container).await?, ["second", "first"])
}

async fn delete_missing(scene: &Scene) -> Check {
    let container = scene.created("one").await?;
    make(&*container, "there").await?;
    refused("delete", container.delete_snapshot("not-there").await, ErrorKind::NotFound)?;
    container.delete_snapshot("there").await.during("delete")?;
    refused("delete again", container.delete_snapshot("there").await, ErrorKind::NotFound).map(drop)
}

async fn delete_all(scene: &Scene) -> Check {
    let spec = scene.spec("again");
    let container = scene.create(&spec).await?;
    make(&*container, "old").await?;
    container.delete(&DeleteOptions::default()).await.during("delete the container")?;
    refused("list the snapshots", container.snapshots().await, ErrorKind::NotFound)?;
    let container = scene.create(&spec).await?;
    equal("the snapshots of a new container of this name", names(&*container).await?, Vec::<String>::new())
}
