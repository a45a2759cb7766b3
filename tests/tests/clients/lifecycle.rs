//! What containers do: each verb by one side, its effect by the other.

use std::time::Duration;

use roadstead_core::{ContainerState, ContainerUpdate, DeleteOptions, ErrorKind, Limits, Signal, StopOptions, WaitFor};

use crate::scene::{Scene, soon};

/// The main process, as their client tells it.
fn pid(scene: &Scene, name: &str) -> Option<u32> {
    let pid = scene.listed(name)?["state"]["pid"].as_u64()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

pub(crate) async fn we_start(scene: &Scene) {
    let container = scene.we_create("c").await;
    assert_eq!(scene.status(container.id()), "Stopped");
    container.start().await.expect("we start it");
    assert_eq!(scene.status(container.id()), "Running");
    assert_eq!(scene.they_run(container.id(), "echo here"), "here\n");
}

pub(crate) async fn they_start(scene: &Scene) {
    let name = scene.they_init("c");
    assert_eq!(scene.state(&name).await, Some(ContainerState::Created));
    let _ = scene.client(&["start", &name]);
    assert_eq!(scene.state(&name).await, Some(ContainerState::Running));
    let details = scene.details(&name).await;
    assert!(details.started_at.is_some());
    assert_eq!(details.pid, pid(scene, &name));
}

pub(crate) async fn we_stop(scene: &Scene) {
    let container = scene.we_run("c").await;
    container.stop(&StopOptions::after_seconds(10)).await.expect("we stop it");
    assert_eq!(scene.status(container.id()), "Stopped");
    container.start().await.expect("we start it");
    container.stop(&StopOptions::after_seconds(0)).await.expect("we stop it by force");
    assert_eq!(scene.status(container.id()), "Stopped");
}

pub(crate) async fn they_stop(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.client(&["stop", &name, "--timeout", "10"]);
    assert_eq!(scene.state(&name).await, Some(ContainerState::Stopped));
    let _ = scene.client(&["start", &name]);
    let _ = scene.client(&["stop", &name, "--force"]);
    assert_eq!(scene.state(&name).await, Some(ContainerState::Stopped));
    assert_eq!(scene.details(&name).await.pid, None);
}

pub(crate) async fn we_restart(scene: &Scene) {
    let container = scene.we_run("c").await;
    let before = pid(scene, container.id());
    container.restart(&StopOptions::after_seconds(0)).await.expect("we restart it");
    let after = pid(scene, container.id());
    assert!(before.is_some() && after.is_some() && before != after, "{before:?} {after:?}");
}

pub(crate) async fn they_restart(scene: &Scene) {
    let name = scene.they_launch("c");
    let before = scene.details(&name).await;
    let _ = scene.client(&["restart", &name, "--force"]);
    let after = scene.details(&name).await;
    assert_eq!(after.summary.state, ContainerState::Running);
    assert!(after.started_at > before.started_at, "{before:?} {after:?}");
    assert_ne!(after.pid, before.pid);
}

/// The main process of the test image ends at SIGINT, and at nothing that it has no handler for.
pub(crate) async fn we_kill(scene: &Scene) {
    let container = scene.we_run("c").await;
    container.kill(Signal::USR1).await.expect("we send a signal");
    assert_eq!(scene.status(container.id()), "Running");
    container.kill(Signal::INT).await.expect("we send another");
    soon("their client sees the end", async || (scene.status(container.id()) == "Stopped").then_some(())).await;
}

pub(crate) async fn they_kill(scene: &Scene) {
    let name = scene.they_launch("c");
    // Their client may not live to see its command succeed.
    let _ = scene.succeeds(&["exec", &name, "--", "kill", "-INT", "1"]);
    // While its monitor ends, Incus may tell list and inspection different things.
    soon("we see the end", async || {
        let stopped = Some(ContainerState::Stopped);
        let (listed, inspected) = scene.states(&name).await;
        (listed == stopped && inspected == stopped).then_some(())
    })
    .await;
}

pub(crate) async fn we_freeze(scene: &Scene) {
    let container = scene.we_run("c").await;
    container.freeze().await.expect("we freeze it");
    assert_eq!(scene.status(container.id()), "Frozen");
}

pub(crate) async fn they_freeze(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.client(&["pause", &name]);
    assert_eq!(scene.state(&name).await, Some(ContainerState::Frozen));
}

pub(crate) async fn we_unfreeze(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.client(&["pause", &name]);
    scene.container(&name).unfreeze().await.expect("we unfreeze what they froze");
    assert_eq!(scene.status(&name), "Running");
}

pub(crate) async fn they_unfreeze(scene: &Scene) {
    let container = scene.we_run("c").await;
    container.freeze().await.expect("we freeze it");
    scene.they_resume(container.id());
    assert_eq!(scene.state(container.id()).await, Some(ContainerState::Running));
}

pub(crate) async fn we_rename(scene: &Scene) {
    let (container, name) = (scene.we_create("old").await, scene.name("new"));
    container.rename(&name).await.expect("we rename it");
    assert_eq!((scene.status(&name).as_str(), scene.status(container.id()).as_str()), ("Stopped", "gone"));
}

pub(crate) async fn they_rename(scene: &Scene) {
    let (old, name) = (scene.they_init("old"), scene.name("new"));
    let _ = scene.client(&["rename", &old, &name]);
    assert_eq!((scene.state(&name).await, scene.state(&old).await), (Some(ContainerState::Created), None));
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.memory_bytes = Some(128 << 20);
    limits.pids = Some(50);
    limits.cpus = Some(0.5);
    limits
}

pub(crate) async fn we_update(scene: &Scene) {
    let container = scene.we_run("c").await;
    container.update(&ContainerUpdate::limits(limits())).await.expect("we update it");
    let keys =
        ["limits.memory", "limits.processes", "limits.cpu.allowance"].map(|key| scene.config(container.id(), key));
    assert_eq!(keys, ["134217728", "50", "50ms/100ms"]);
    let group = scene.they_run(
        container.id(),
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true",
    );
    assert!(group.is_empty() || group.contains("134217728"), "{group}");
}

pub(crate) async fn they_update(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.client(&[
        "config",
        "set",
        &name,
        "limits.memory=128MiB",
        "limits.processes=50",
        "limits.cpu.allowance=50ms/100ms",
    ]);
    assert_eq!(scene.details(&name).await.spec.limits, limits());
    let _ = scene.client(&["config", "unset", &name, "limits.processes"]);
    assert_eq!(scene.details(&name).await.spec.limits.pids, None);
}

pub(crate) async fn we_delete(scene: &Scene) {
    let container = scene.we_create("stopped").await;
    container.delete(&DeleteOptions::default()).await.expect("we delete it");
    assert_eq!(scene.status(container.id()), "gone");
    let name = scene.they_launch("runs");
    scene.container(&name).delete(&DeleteOptions::force()).await.expect("we delete what they made");
    assert_eq!(scene.status(&name), "gone");
}

pub(crate) async fn they_delete(scene: &Scene) {
    let container = scene.we_run("c").await;
    let _ = scene.client(&["delete", container.id(), "--force"]);
    assert_eq!(scene.state(container.id()).await, None);
    let error = container.start().await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub(crate) async fn they_end_what_we_wait_for(scene: &Scene) {
    let name = scene.they_launch("c");
    let container = scene.container(&name);
    let stopped = container.wait(WaitFor::Stopped, Duration::from_secs(30));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.client(&["stop", &name, "--force"])
    };
    let (stopped, _) = tokio::join!(stopped, stop);
    stopped.expect("we are told of the end");
    let deleted = container.wait(WaitFor::Deleted, Duration::from_secs(30));
    let delete = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.client(&["delete", &name])
    };
    let (deleted, _) = tokio::join!(deleted, delete);
    deleted.expect("we are told of the deletion");
}
