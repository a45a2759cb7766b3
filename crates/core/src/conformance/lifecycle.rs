//! Clauses of the life of a container: inspect, start, stop, restart, kill, wait, delete.

use std::time::Duration;

use super::check::{Check, During, ensure, equal, eventually, refused, same_image};
use super::declare;
use super::scene::{MOMENT, Scene, details, ended, in_state, waiting_script};
use crate::capabilities::Capability;
use crate::container::{
    Container, ContainerDetails, ContainerFilter, ContainerState, DeleteOptions, RestartPolicy, StopOptions, WaitFor,
};
use crate::error::ErrorKind;
use crate::signal::Signal;

declare! {
    C10 "found by full id and by name, with equal result" [Create] found_by_id_and_name;
    C11 "inspect shows the configuration" [Create] configuration_is_shown;
    C20 "start: a created or stopped container runs" [Create] start;
    C21 "start: a running container is left alone" [Create] start_running;
    C22 "start: a frozen container is Conflict" [Create Freeze] start_frozen;
    C23 "start: a command that does not exist" [Create] start_nonsense;
    C30 "stop: stopped, exit code known" [Create Logs] stop;
    C31 "stop: what does not run is left alone" [Create] stop_stopped;
    C32 "stop: timeout 0 ends what ignores the signal" [Create Logs] stop_at_once;
    C33 "stop: a child that holds the output holds nothing up" [Create Logs] stop_with_child;
    C34 "a main process that ends leaves nothing running" [Create Wait] ends_with_child;
    C40 "restart: runs with a later start time" [Create Restart] restart_running;
    C41 "restart: a stopped container runs" [Create Restart] restart_stopped;
    C50 "kill: the process gets the signal" [Create Kill Logs] kill;
    C51 "kill: Conflict when it does not run" [Create Kill] kill_stopped;
    C90 "delete: not found and not listed" [Create] delete;
    C91 "delete: Conflict when it runs" [Create] delete_running;
    C92 "delete: force" [Create] delete_by_force;
    C100 "wait: the exit code" [Create Wait ExitCodes] wait;
    C101 "wait: one that has ended is answered at once" [Create Wait] wait_for_the_past;
    C102 "wait: DeadlineExceeded" [Create Wait] wait_too_long;
}

async fn found_by_id_and_name(scene: &Scene) -> Check {
    let spec = scene.spec("both");
    let container = scene.start(&spec).await?;
    let by_id = details(&*container).await?;
    let by_name = details(&*scene.node().container(spec.name.as_deref().unwrap_or_default())).await?;
    equal("the id", by_id.summary.id.as_str(), container.id())?;
    equal("the name", Some(&by_id.summary.name), spec.name.as_ref())?;
    equal("the container by name", by_name, by_id)
}

async fn configuration_is_shown(scene: &Scene) -> Check {
    let mut spec = scene.script("full", "echo $CF_VALUE").label(scene.label(), "x");
    spec.env.insert("CF_VALUE".to_owned(), "a b".to_owned());
    spec.working_directory = Some("/bin".to_owned());
    spec.user = scene.has(Capability::Users).then(|| "nobody".to_owned());
    spec.hostname = Some("cf-host".to_owned());
    spec.tty = scene.has(Capability::Attach);
    spec.stdin = scene.has(Capability::Attach);
    spec.stop_signal = Some(Signal::HUP);
    spec.stop_timeout_seconds = Some(7);
    spec.read_only_root = scene.has(Capability::Privileges);
    if scene.has(Capability::RestartPolicy) {
        spec.restart = RestartPolicy::OnFailure { max_retries: Some(3) };
    }
    if scene.has(Capability::LimitMemory) {
        spec.limits.memory_bytes = Some(32 * 1024 * 1024);
    }
    let shown = details(&*scene.create(&spec).await?).await?.spec;
    same_image("image", &shown.image, &spec.image)?;
    equal("name", &shown.name, &spec.name)?;
    equal("command", &shown.command, &spec.command)?;
    equal("env.CF_VALUE", shown.env.get("CF_VALUE"), spec.env.get("CF_VALUE").as_ref().copied())?;
    equal("working_directory", &shown.working_directory, &spec.working_directory)?;
    equal("user", &shown.user, &spec.user)?;
    equal("hostname", &shown.hostname, &spec.hostname)?;
    for (key, value) in &spec.labels {
        equal("the label", shown.labels.get(key), Some(value))?;
    }
    equal("tty and stdin", (shown.tty, shown.stdin), (spec.tty, spec.stdin))?;
    equal("stop_signal", shown.stop_signal, spec.stop_signal)?;
    equal("stop_timeout_seconds", shown.stop_timeout_seconds, spec.stop_timeout_seconds)?;
    equal("read_only_root", shown.read_only_root, spec.read_only_root)?;
    equal("restart", shown.restart, spec.restart)?;
    equal("limits.memory_bytes", shown.limits.memory_bytes, spec.limits.memory_bytes)
}

async fn start(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        container.start().await.during("start")?;
        let now = in_state(&*container, ContainerState::Running).await?;
        ensure(now.started_at.is_some(), "a running container has no start time")?;
    }
    Ok(())
}

/// What must not change when nothing changes.
fn essence(details: &ContainerDetails) -> impl PartialEq + std::fmt::Debug + use<> {
    (details.summary.state, details.started_at, details.finished_at, details.exit_code, details.pid)
}

async fn start_running(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let before = details(&*container).await?;
    container.start().await.during("start")?;
    equal("the container", essence(&details(&*container).await?), essence(&before))
}

async fn start_frozen(scene: &Scene) -> Check {
    let container = scene.running("frozen").await?;
    container.freeze().await.during("freeze")?;
    let before = in_state(&*container, ContainerState::Frozen).await?;
    refused("start", container.start().await, ErrorKind::Conflict)?;
    equal("the container", essence(&details(&*container).await?), essence(&before))
}

async fn start_nonsense(scene: &Scene) -> Check {
    for (number, command) in ["no-such-command", "/no/such/command"].into_iter().enumerate() {
        let container = scene.create(&scene.spec(&format!("nonsense{number}")).command([command])).await?;
        refused(command, container.start().await, ErrorKind::InvalidInput)?;
        let state = details(&*container).await?.summary.state;
        ensure(!state.has_processes(), format!("the container is {state}"))?;
    }
    Ok(())
}

async fn stop(scene: &Scene) -> Check {
    let container = scene.ready("polite", "trap 'exit 7' TERM").await?;
    container.stop(&StopOptions::after_seconds(15)).await.during("stop")?;
    let now = in_state(&*container, ContainerState::Stopped).await?;
    scene.exited("the main process", now.exit_code, 7)?;
    ensure(now.finished_at.is_some(), "a stopped container has no time of its end")
}

async fn stop_stopped(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        let before = details(&*container).await?;
        container.stop(&StopOptions::default()).await.during("stop")?;
        equal("the container", essence(&details(&*container).await?), essence(&before))?;
    }
    Ok(())
}

async fn stop_at_once(scene: &Scene) -> Check {
    let container = scene.ready("stubborn", "trap '' TERM").await?;
    let begin = tokio::time::Instant::now();
    container.stop(&StopOptions::after_seconds(0)).await.during("stop")?;
    ensure(begin.elapsed() < Duration::from_secs(9), "the usual time to stop was granted")?;
    let now = in_state(&*container, ContainerState::Stopped).await?;
    scene.exited("the main process", now.exit_code, 137)
}

/// Begins a child that signals to its parent do not reach. It has the parent's output open as long as it lives.
const CHILD: &str = "sleep 300 &";

async fn stop_with_child(scene: &Scene) -> Check {
    let mut spec = scene.script("parent", &waiting_script(&format!("trap 'exit 7' TERM; {CHILD} true")));
    spec.stop_timeout_seconds = None;
    let container = scene.start(&spec).await?;
    scene.logged(&*container, "ready").await?;
    container.stop(&StopOptions::after_seconds(15)).await.during("stop")?;
    let now = in_state(&*container, ContainerState::Stopped).await?;
    scene.exited("the main process", now.exit_code, 7)?;
    // It runs again, without what was left.
    container.start().await.during("start")?;
    container.stop(&StopOptions::after_seconds(0)).await.during("stop at once")?;
    in_state(&*container, ContainerState::Stopped).await.map(drop)
}

async fn ends_with_child(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("parent", &format!("{CHILD} sleep 1; exit 3"))).await?;
    let exit = container.wait(WaitFor::Stopped, super::check::SOON).await.during("wait")?;
    scene.exited("the main process", exit.exit_code, 3)?;
    in_state(&*container, ContainerState::Stopped).await.map(drop)
}

async fn restart_running(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let before = details(&*container).await?;
    container.restart(&StopOptions::after_seconds(0)).await.during("restart")?;
    let after = in_state(&*container, ContainerState::Running).await?;
    ensure(
        after.started_at > before.started_at,
        format!("started at {:?}, and before the restart at {:?}", after.started_at, before.started_at),
    )
}

async fn restart_stopped(scene: &Scene) -> Check {
    let container = scene.stopped("stopped").await?;
    container.restart(&StopOptions::after_seconds(0)).await.during("restart")?;
    in_state(&*container, ContainerState::Running).await.map(drop)
}

async fn kill(scene: &Scene) -> Check {
    let container = scene.ready("trapping", "trap 'echo got one' USR1; trap 'exit 5' USR2").await?;
    container.kill("USR1".parse()?).await.during("kill by name")?;
    scene.logged(&*container, "got one").await?;
    in_state(&*container, ContainerState::Running).await?;
    container.kill("12".parse()?).await.during("kill by number")?;
    scene.exited("the trapping process", ended(&*container).await?, 5)?;
    let container = scene.running("killed").await?;
    container.kill(Signal::KILL).await.during("kill")?;
    scene.exited("the killed process", ended(&*container).await?, 137)
}

async fn kill_stopped(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        let before = details(&*container).await?;
        refused("kill", container.kill(Signal::KILL).await, ErrorKind::Conflict)?;
        equal("the container", essence(&details(&*container).await?), essence(&before))?;
    }
    Ok(())
}

/// Fails when the container is found or listed.
async fn is_gone(scene: &Scene, container: &dyn Container) -> Check {
    refused("inspect", container.inspect().await, ErrorKind::NotFound)?;
    let all = scene.node().list_containers(&ContainerFilter::all()).await.during("list")?;
    ensure(!all.iter().any(|item| item.id == container.id()), "it is still listed")
}

async fn delete(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        container.delete(&DeleteOptions::default()).await.during("delete")?;
        is_gone(scene, &*container).await?;
        refused("delete again", container.delete(&DeleteOptions::default()).await, ErrorKind::NotFound)?;
    }
    Ok(())
}

async fn delete_running(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let mut states = vec![ContainerState::Running];
    if scene.has(Capability::Freeze) {
        states.push(ContainerState::Frozen);
    }
    for state in states {
        if state == ContainerState::Frozen {
            container.freeze().await.during("freeze")?;
        }
        let before = in_state(&*container, state).await?;
        refused("delete", container.delete(&DeleteOptions::default()).await, ErrorKind::Conflict)?;
        equal("the container", essence(&details(&*container).await?), essence(&before))?;
    }
    Ok(())
}

async fn delete_by_force(scene: &Scene) -> Check {
    let running = scene.running("running").await?;
    running.delete(&DeleteOptions::force()).await.during("delete")?;
    is_gone(scene, &*running).await?;
    if scene.has(Capability::Freeze) {
        let frozen = scene.running("frozen").await?;
        frozen.freeze().await.during("freeze")?;
        frozen.delete(&DeleteOptions::force()).await.during("delete a frozen container")?;
        is_gone(scene, &*frozen).await?;
    }
    Ok(())
}

async fn wait(scene: &Scene) -> Check {
    for (rest, condition) in [("stopped", WaitFor::Stopped), ("next", WaitFor::NextEnd)] {
        let container = scene.start(&scene.script(rest, "sleep 1; exit 42")).await?;
        let exit = container.wait(condition, super::check::SOON).await.during("wait")?;
        equal("the exit code", exit.exit_code, Some(42))?;
        in_state(&*container, ContainerState::Stopped).await?;
    }
    Ok(())
}

async fn wait_for_the_past(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("short", "exit 43")).await?;
    eventually("the end", || async {
        Ok((details(&*container).await?.summary.state == ContainerState::Stopped).then_some(()))
    })
    .await?;
    let exit = container.wait(WaitFor::Stopped, Duration::from_secs(5)).await.during("wait")?;
    scene.exited("what has ended", exit.exit_code, 43)
}

async fn wait_too_long(scene: &Scene) -> Check {
    let container = scene.running("long").await?;
    let before = details(&*container).await?;
    refused("wait", container.wait(WaitFor::Stopped, MOMENT).await, ErrorKind::DeadlineExceeded)?;
    equal("the container", essence(&details(&*container).await?), essence(&before))
}
