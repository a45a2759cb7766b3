//! What is done to a container as a whole: start to delete, and waiting for its end.
//!
//! The daemon is told first and asked afterwards, only where its answer leaves open what the contract wants to know.

use std::time::Duration;

use bollard::models;
use roadstead_core::{
    Capability, ContainerExit, ContainerState, ContainerUpdate, DeleteOptions, Error, ErrorKind, RestartPolicy, Result,
    Signal, StopOptions, WaitFor, names,
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::create::{memory_and_swap, nano_cpus, restart_policy, whole};
use super::error;
use super::inspect::{self, not_running};
use super::request::{Request, WRITE_DEADLINE};

/// What the daemon needs beyond the time that the process was given.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// What dockerd gives a container that asks for no time to stop.
const STOP_DEFAULT: Duration = Duration::from_secs(10);
/// How long the end of a killed container is waited for.
const KILL_MARGIN: Duration = Duration::from_secs(2);
/// How long somebody else's deletion of the same container is waited for.
const DELETION: Duration = Duration::from_secs(10);
/// What the daemon says who changes the limits of a container that it thinks is running, while its processes have gone.
const JUST_ENDED: &str = "cannot update a deleted process";
/// It has noticed within this, also where a policy starts the container again and again.
const UPDATE_MARGIN: Duration = Duration::from_secs(10);
const UPDATE_PAUSE: Duration = Duration::from_millis(50);

fn post(id: &str, verb: &str) -> Request {
    Request::post(&format!("/containers/{id}/{verb}"))
}

/// C20 to C23. The daemon answers 304 for a running container, and refuses a frozen one.
pub(super) async fn start(client: &Client, id: &str) -> Result<()> {
    post(id, "start").done(client).await
}

/// C30 to C32. The daemon answers 304 (Podman: 204) for one that does not run.
pub(super) async fn stop(client: &Client, id: &str, options: &StopOptions) -> Result<()> {
    end(client, id, "stop", options).await
}

/// C40, C41.
pub(super) async fn restart(client: &Client, id: &str, options: &StopOptions) -> Result<()> {
    end(client, id, "restart", options).await
}

async fn end(client: &Client, id: &str, verb: &str, options: &StopOptions) -> Result<()> {
    options.validate()?;
    let time = match options.timeout_seconds {
        Some(seconds) => Duration::from_secs(seconds.into()),
        // The call lasts as long as the container's own time, which only the daemon knows.
        None => inspect::inspect(client, id)
            .await?
            .config
            .and_then(|config| config.stop_timeout)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(STOP_DEFAULT, Duration::from_secs),
    };
    let seconds = options.timeout_seconds.map(|seconds| seconds.to_string());
    let send =
        || post(id, verb).within(time.saturating_add(STOP_MARGIN)).query_some("t", seconds.as_deref()).done(client);
    match send().await {
        // Dockerd ends a frozen container, Podman refuses to.
        Err(error)
            if error.kind() == ErrorKind::Conflict
                && inspect::inspect(client, id).await?.state() == ContainerState::Frozen =>
        {
            unfreeze(client, id).await?;
            send().await
        }
        result => result,
    }
}

/// C50, C51.
pub(super) async fn kill(client: &Client, id: &str, signal: Signal) -> Result<()> {
    post(id, "kill").query("signal", &signal.number().to_string()).done(client).await
}

/// C60 to C62.
pub(super) async fn freeze(client: &Client, id: &str) -> Result<()> {
    reach(client, id, "pause", ContainerState::Frozen).await
}

/// C63, C64.
pub(super) async fn unfreeze(client: &Client, id: &str) -> Result<()> {
    reach(client, id, "unpause", ContainerState::Running).await
}

/// The daemon refuses to do what is done already, in the same words as what cannot be done.
async fn reach(client: &Client, id: &str, verb: &str, wanted: ContainerState) -> Result<()> {
    let Err(error) = post(id, verb).done(client).await else { return Ok(()) };
    if error.kind() != ErrorKind::Conflict {
        return Err(error);
    }
    let state = inspect::inspect(client, id).await?.state();
    if state == wanted {
        Ok(())
    } else if state.has_processes() {
        Err(error)
    } else {
        Err(not_running())
    }
}

/// C70, C71.
pub(super) async fn rename(client: &Client, id: &str, name: &str) -> Result<()> {
    names::container_name("name", name)?;
    post(id, "rename").query("name", name).done(client).await
}

/// C80, C81.
pub(super) async fn update(client: &Client, id: &str, changes: &ContainerUpdate) -> Result<()> {
    let limits = &changes.limits;
    limits.require("limits", &client.capabilities)?;
    if changes.restart.is_some_and(|policy| policy != RestartPolicy::Never) {
        client.capabilities.require(Capability::RestartPolicy)?;
    }
    changes.validate()?;
    let now = inspect::inspect(client, id).await?;
    // It starts nothing but by the policy: there is nothing to hold.
    if limits.is_empty() && changes.restart.is_none() {
        return Ok(());
    }
    let mut memory_swap = memory_and_swap(limits);
    if let (Some(memory), None) = (limits.memory_bytes, limits.swap_bytes) {
        // Swap stays as it is, but the daemon counts memory and swap together: the sum moves with the memory.
        let host = now.host_config.unwrap_or_default();
        memory_swap = match (host.memory.unwrap_or(0), host.memory_swap.unwrap_or(0)) {
            (old, both) if old > 0 && both >= old => Some(whole(memory).saturating_add(both - old)),
            (_, -1) => Some(-1),
            _ => None,
        };
    }
    let body = models::ContainerUpdateBody {
        memory: limits.memory_bytes.map(whole),
        memory_swap,
        nano_cpus: limits.cpus.map(nano_cpus),
        cpu_shares: limits.cpu_shares.map(i64::from),
        cpuset_cpus: limits.cpu_set.clone(),
        pids_limit: limits.pids.map(i64::from),
        restart_policy: changes.restart.map(restart_policy),
        ..models::ContainerUpdateBody::default()
    };
    let body = serde_json::to_value(body).map_err(|error| Error::invalid("limits", error))?;
    let end = Instant::now() + UPDATE_MARGIN;
    loop {
        match post(id, "update").body(&body).done(client).await {
            // It has just ended, which the daemon is about to notice: it puts everything back, and then takes it.
            Err(error) if error.message().contains(JUST_ENDED) && Instant::now() < end => sleep(UPDATE_PAUSE).await,
            done => return done,
        }
    }
}

/// C90 to C92.
pub(super) async fn delete(client: &Client, id: &str, options: &DeleteOptions) -> Result<()> {
    if options.force {
        // Dockerd would do it by itself, but Podman first gives the processes the container's time to stop.
        match kill(client, id, Signal::KILL).await {
            // Until it has noticed the end, too, it would still do so. Whatever comes of it, the deletion tells.
            Ok(()) => drop(wait(client, id, WaitFor::Stopped, KILL_MARGIN).await),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let path = format!("/containers/{id}");
    match Request::delete(&path).flag("force", options.force).flag("v", options.volumes).done(client).await {
        Ok(()) => Ok(()),
        // Somebody else deletes it at this moment. Once it is gone, it is deleted.
        Err(error) if error.kind() == ErrorKind::Conflict && error.message().contains("already in progress") => {
            let gone = async {
                loop {
                    match inspect::inspect(client, id).await {
                        Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
            };
            tokio::time::timeout(DELETION, gone).await.unwrap_or(Err(error))
        }
        Err(error) => Err(error),
    }
}

/// The daemon's answer to a wait.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Waited {
    status_code: Option<i64>,
    error: Option<WaitError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WaitError {
    message: Option<String>,
}

/// C100 to C102.
pub(super) async fn wait(client: &Client, id: &str, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
    client.capabilities.require(Capability::Wait)?;
    let condition = match condition {
        WaitFor::NextEnd => "next-exit",
        WaitFor::Deleted => "removed",
        _ => "not-running",
    };
    // Dockerd sends the head of its answer at once, Podman only with the end: the deadline is over all of it. The
    // request's own bound only has to be the later one.
    let answer = post(id, "wait")
        .query("condition", condition)
        .within(deadline.saturating_add(WRITE_DEADLINE))
        .json::<Waited>(client);
    let waited = match tokio::time::timeout(deadline, answer).await {
        Ok(waited) => waited.map_err(error::nothing_changed)?,
        Err(_) => {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("it has not ended within {} s", deadline.as_secs_f64()),
            )
            .with_retry(roadstead_core::Retry::Safe));
        }
    };
    // Podman says -1 for a container that never ran.
    let code = waited.status_code.filter(|code| *code >= 0).and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
    let mut exit = ContainerExit::new(code);
    exit.error = waited.error.and_then(|error| error.message).filter(|message| !message.is_empty());
    Ok(exit)
}
