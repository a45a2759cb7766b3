//! Clauses of freezing, renaming and updating.

use futures_util::StreamExt;
use tokio::time::timeout;

use super::check::{Check, During, Failure, equal, eventually, failed, next, refused};
use super::create::limits_hold;
use super::declare;
use super::scene::{MOMENT, Scene, all_logs, details, in_state};
use crate::capabilities::Capability;
use crate::container::{ContainerState, ContainerUpdate, Limits, LogOptions, RestartPolicy};
use crate::error::ErrorKind;

declare! {
    C60 "freeze: frozen, and runs again after unfreeze" [Create Freeze Logs] freeze;
    C61 "freeze: a frozen container is left alone" [Create Freeze] freeze_frozen;
    C62 "freeze: Conflict when it does not run" [Create Freeze] freeze_stopped;
    C63 "unfreeze: a running container is left alone" [Create Freeze] unfreeze_running;
    C64 "unfreeze: Conflict when it does not run" [Create Freeze] unfreeze_stopped;
    C70 "rename: found by the new name only, same id" [Create Rename] rename;
    C71 "rename: a name that is taken" [Create Rename] rename_taken;
    C80 "update: the new limits are in effect" [Create Update] update;
    C81 "update: the new restart policy is in effect" [Create Update RestartPolicy Logs] update_restart;
}

async fn freeze(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("ticking", "while true; do echo tick; sleep 0.05; done")).await?;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = container.logs(&follow).await.during("logs")?;
    next("the first output", &mut log).await?;
    container.freeze().await.during("freeze")?;
    in_state(&*container, ContainerState::Frozen).await?;
    // What was written before may still be on its way; then it has to be still.
    let still = async {
        while let Ok(record) = timeout(MOMENT, log.next()).await {
            match record {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::from(error)),
                None => return failed("the log of a frozen container ended"),
            }
        }
        Ok(())
    };
    match timeout(super::check::SOON, still).await {
        Ok(still) => still?,
        Err(_) => return failed("a frozen container goes on writing"),
    }
    container.unfreeze().await.during("unfreeze")?;
    in_state(&*container, ContainerState::Running).await?;
    match next("output after unfreezing", &mut log).await? {
        Some(_) => Ok(()),
        None => failed("the log ended"),
    }
}

async fn freeze_frozen(scene: &Scene) -> Check {
    let container = scene.running("twice").await?;
    container.freeze().await.during("freeze")?;
    let before = in_state(&*container, ContainerState::Frozen).await?;
    container.freeze().await.during("freeze again")?;
    equal("the start time", in_state(&*container, ContainerState::Frozen).await?.started_at, before.started_at)
}

async fn freeze_stopped(scene: &Scene) -> Check {
    let (created, stopped) = (scene.created("created").await?, scene.stopped("stopped").await?);
    refused("freeze a created container", created.freeze().await, ErrorKind::Conflict)?;
    refused("freeze a stopped container", stopped.freeze().await, ErrorKind::Conflict)?;
    in_state(&*created, ContainerState::Created).await?;
    in_state(&*stopped, ContainerState::Stopped).await.map(drop)
}

async fn unfreeze_running(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let before = details(&*container).await?;
    container.unfreeze().await.during("unfreeze")?;
    equal("the start time", in_state(&*container, ContainerState::Running).await?.started_at, before.started_at)
}

async fn unfreeze_stopped(scene: &Scene) -> Check {
    let (created, stopped) = (scene.created("created").await?, scene.stopped("stopped").await?);
    refused("unfreeze a created container", created.unfreeze().await, ErrorKind::Conflict)?;
    refused("unfreeze a stopped container", stopped.unfreeze().await, ErrorKind::Conflict)?;
    in_state(&*created, ContainerState::Created).await?;
    in_state(&*stopped, ContainerState::Stopped).await.map(drop)
}

async fn rename(scene: &Scene) -> Check {
    let spec = scene.spec("old");
    let old = spec.name.clone().unwrap_or_default();
    let new = scene.name("new");
    let container = scene.start(&spec).await?;
    let mut state = ContainerState::Running;
    if let Err(error) = container.rename(&new).await {
        // Some engines rename only what does not run.
        equal("the refusal", error.kind(), ErrorKind::Conflict)?;
        in_state(&*container, state).await?;
        container.stop(&crate::StopOptions::after_seconds(0)).await.during("stop")?;
        state = ContainerState::Stopped;
        container.rename(&new).await.during("rename")?;
    }
    let renamed = scene.node().container(&new);
    let found = in_state(&*renamed, state).await?;
    // To some engines the name is the id.
    let id = if container.id() == old { &new } else { container.id() };
    equal("the id", found.summary.id.as_str(), id)?;
    equal("the name", &found.summary.name, &new)?;
    refused("inspect by the old name", scene.node().container(&old).inspect().await, ErrorKind::NotFound).map(drop)
}

async fn rename_taken(scene: &Scene) -> Check {
    let (first, second) = (scene.created("first").await?, scene.created("second").await?);
    let (before, other) = (details(&*first).await?, details(&*second).await?);
    refused("rename", first.rename(&other.summary.name).await, ErrorKind::AlreadyExists)?;
    equal("the name", details(&*first).await?.summary.name, before.summary.name)?;
    equal("the other's id", details(&*scene.node().container(&other.summary.name)).await?.summary.id, other.summary.id)
}

async fn update(scene: &Scene) -> Check {
    let mut spec = scene.spec("updated");
    let mut change = Limits::default();
    if scene.has(Capability::LimitPids) {
        spec.limits.pids = Some(40);
    }
    if scene.has(Capability::LimitMemory) {
        spec.limits.memory_bytes = Some(64 * 1024 * 1024);
        change.memory_bytes = Some(128 * 1024 * 1024);
    } else if scene.has(Capability::LimitCpu) {
        change.cpus = Some(0.5);
    } else if scene.has(Capability::LimitPids) {
        change.pids = Some(50);
    } else {
        return Err(Failure::Gated("limit_memory, limit_cpu, limit_pids".to_owned()));
    }
    let container = scene.start(&spec).await?;
    container.update(&ContainerUpdate::limits(change.clone())).await.during("update")?;
    // Absent members stay as they are.
    let expected = Limits { pids: change.pids.or(spec.limits.pids), ..change };
    limits_hold(scene, &*container, &expected).await
}

async fn update_restart(scene: &Scene) -> Check {
    let mut spec = scene.script("once", "echo started; exit 0");
    if scene.has(Capability::LimitPids) {
        spec.limits.pids = Some(40);
    }
    let container = scene.create(&spec).await?;
    container.update(&ContainerUpdate::restart(RestartPolicy::Always)).await.during("update")?;
    let shown = details(&*container).await?.spec;
    equal("the restart policy", shown.restart, RestartPolicy::Always)?;
    equal("the limit that was not changed", shown.limits.pids, spec.limits.pids)?;
    container.start().await.during("start")?;
    eventually("the second start", || async {
        Ok((all_logs(&*container).await?.matches("started").count() >= 2).then_some(()))
    })
    .await?;
    container.update(&ContainerUpdate::restart(RestartPolicy::Never)).await.during("update back")?;
    equal("the restart policy", details(&*container).await?.spec.restart, RestartPolicy::Never)?;
    eventually("the last end", || async {
        Ok((details(&*container).await?.summary.state == ContainerState::Stopped).then_some(()))
    })
    .await
}
