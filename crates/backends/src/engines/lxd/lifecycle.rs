//! The verbs that change what a container does.
//!
//! A server refuses to do what is done already, in the words in which it refuses what cannot be done; so the container is
//! looked at first, and again where the answer leaves open what the contract wants to know.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerState, DeleteOptions, Error, ErrorKind, Result, Signal, StopOptions, names};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::create::{change, instance_name};
use super::error::FILE_SERVER;
use super::instance::{Instance, Now, not_running};
use super::migrate::settle::settle;
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, Kept};
use super::{ended, processes, volumes};

pub(super) use super::wait::wait;

/// What the server needs beyond the time that the process was given.
const MARGIN: Duration = Duration::from_secs(60);
/// What other engines give a container that asks for no time to stop.
const STOP_DEFAULT_SECONDS: u32 = 10;
/// A server is busy with a container for some seconds after its end: cleaning up, it says.
const BUSY: Duration = Duration::from_secs(30);
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// What serves the files of a stopped container takes its socket away when it ends, some 15 seconds after the last use; and with it
/// that of the one which was started meanwhile, since nobody could reach the first any more. Whoever asks again before that end only
/// goes on with this, so it is waited for.
const FILE_SERVER_PAUSE: Duration = Duration::from_secs(20);
/// Three times.
const FILE_SERVER_BUSY: Duration = Duration::from_secs(60);
/// Containers with one of these keys may still be in the making by a move.
const MOVED: [&str; 2] = ["user.roadstead.copy", "user.roadstead.move"];
/// Another container that is made in this moment may have the address of this one for so long, until it looks.
const UNSETTLED: Duration = Duration::from_secs(10);
/// Picked ports that turn out to be taken are picked again so often.
const PICKS: usize = 5;
/// The exit code of what was killed.
const KILLED: i32 = 128 + 9;

/// Tries again while the server is busy with the container. It tells nobody when it is done with that.
pub(super) async fn patient<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let begun = Instant::now();
    loop {
        match call().await {
            Err(error) if error.message().contains(FILE_SERVER) && begun.elapsed() < FILE_SERVER_BUSY => {
                sleep(FILE_SERVER_PAUSE).await;
            }
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => sleep(BUSY_PAUSE).await,
            result => return result,
        }
    }
}

fn is_busy(error: &Error) -> bool {
    let message = error.message();
    // Of a container that has ended, Incus may say for a moment that it runs, though it has said already that it is stopped.
    error.kind() == ErrorKind::Conflict && message.contains("busy running")
        || message.contains("Cannot export a running instance")
}

/// Whether somebody else has the address of a container's interface.
pub(super) fn is_taken_address(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && error.message().contains("already defined")
}

/// Has the server change the state.
async fn put_state(lxd: &Lxd, id: &str, body: &Value, deadline: Duration) -> Result<()> {
    patient(|| async {
        Request::put(&["instances", id, "state"]).body(body).finish(&lxd.client, deadline).await.map(|_| ())
    })
    .await
}

/// C20 to C23.
pub(super) async fn start(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    let before = Instance::read(lxd, id).await?;
    match before.state() {
        ContainerState::Running => return Ok(()),
        ContainerState::Frozen => return Err(Error::new(ErrorKind::Conflict, "the container is frozen")),
        _ => {}
    }
    let mut picks = 0;
    let unsettled = Instant::now() + UNSETTLED;
    loop {
        let Err(error) = put_state(lxd, id, &json!({"action": "start", "timeout": -1}), MARGIN).await else {
            return Ok(());
        };
        let message = error.message();
        if message.contains("idmapping abilities are required") && unshift(lxd, id).await? {
            continue;
        }
        if message.contains("address already in use") && picks < PICKS {
            picks += 1;
            let devices = spec::pick_again(&Instance::read(lxd, id).await?)?;
            if !devices.is_empty() {
                change(lxd, id, &json!({"devices": devices})).await?;
                continue;
            }
        }
        if is_taken_address(&error) && Instant::now() < unsettled {
            sleep(BUSY_PAUSE).await;
            continue;
        }
        if error.kind() == ErrorKind::Conflict && Instance::read(lxd, id).await?.state() == ContainerState::Running {
            return Ok(());
        }
        return match ended::refused_command(lxd, id).await {
            Some(why) if message.contains("forkstart") || error.kind() == ErrorKind::Unexpected => {
                Err(Error::invalid("command", why).with_source(error))
            }
            _ if error.kind() == ErrorKind::Unexpected && ran_since(lxd, &before).await? => Ok(()),
            _ => Err(error),
        };
    }
}

/// Whether the main process was started after that look, and ended. What ends within milliseconds, Incus may take away while
/// it still works on the start, which then fails over a file that is gone.
async fn ran_since(lxd: &Lxd, before: &Instance) -> Result<bool> {
    let now = Instance::read(lxd, &before.name).await?;
    let Some(started) = now.started_at().filter(|at| before.started_at().is_none_or(|earlier| earlier < *at)) else {
        return Ok(false);
    };
    // A start that came to nothing leaves the log of an earlier one. And what a server takes back, because a device could not be
    // started after the process, it kills.
    let end = ended::read(lxd, &before.name).await?.filter(|end| end.is_known() && end.exit_code != KILLED);
    Ok(end.and_then(|end| end.at).is_some_and(|at| at >= started))
}

/// Mounts directories of the node as they are, where the kernel cannot give their owners other numbers; whether there were
/// any.
async fn unshift(lxd: &Lxd, id: &str) -> Result<bool> {
    let mut devices = Instance::read(lxd, id).await?.devices;
    devices.retain(|_, keys| keys.get("type").is_some_and(|kind| kind == "disk") && keys.remove("shift").is_some());
    if devices.is_empty() {
        return Ok(false);
    }
    change(lxd, id, &json!({"devices": devices})).await.map(|()| true)
}

/// C30 to C32.
pub(super) async fn stop(lxd: &Arc<Lxd>, id: &str, options: &StopOptions) -> Result<()> {
    options.validate()?;
    let instance = Instance::read(lxd, id).await?;
    if !instance.state().has_processes() {
        return Ok(());
    }
    let seconds = options
        .timeout_seconds
        .or(Kept::read(instance.effective()).stop_timeout_seconds)
        .unwrap_or(STOP_DEFAULT_SECONDS);
    if seconds > 0 {
        let deadline = Duration::from_secs(seconds.into()).saturating_add(MARGIN);
        match put_state(lxd, id, &json!({"action": "stop", "timeout": seconds, "force": false}), deadline).await {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) => return Err(error),
            // It says so in many words that the time was over; what counts is whether it runs.
            Err(_) => {}
        }
        if !Instance::read(lxd, id).await?.state().has_processes() {
            return Ok(());
        }
    }
    force(lxd, id).await
}

/// Ends it at once.
async fn force(lxd: &Lxd, id: &str) -> Result<()> {
    match put_state(lxd, id, &json!({"action": "stop", "timeout": -1, "force": true}), MARGIN).await {
        // It ended by itself just now.
        Err(error)
            if error.kind() == ErrorKind::Conflict && !Instance::read(lxd, id).await?.state().has_processes() =>
        {
            Ok(())
        }
        result => result,
    }
}

/// C40, C41. The server's own restart refuses a container that does not run.
pub(super) async fn restart(lxd: &Arc<Lxd>, id: &str, options: &StopOptions) -> Result<()> {
    stop(lxd, id, options).await?;
    start(lxd, id).await
}

/// C50, C51. The server has no call for it; what is here can be sent a signal.
pub(super) async fn kill(lxd: &Arc<Lxd>, id: &str, signal: Signal) -> Result<()> {
    Instance::read(lxd, id).await?.must_have_processes()?;
    let pid = Now::read(lxd, id).await?.pid().ok_or_else(not_running)?;
    if processes::cgroup(lxd, pid, id).is_none() {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the container's main process is not to be seen on this machine",
        ));
    }
    processes::send(pid, signal)
}

/// C60 to C62.
pub(super) async fn freeze(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    reach(lxd, id, "freeze", ContainerState::Frozen).await
}

/// C63, C64.
pub(super) async fn unfreeze(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    reach(lxd, id, "unfreeze", ContainerState::Running).await
}

async fn reach(lxd: &Lxd, id: &str, action: &str, wanted: ContainerState) -> Result<()> {
    let instance = Instance::read(lxd, id).await?;
    instance.must_have_processes()?;
    if instance.state() == wanted {
        return Ok(());
    }
    match put_state(lxd, id, &json!({"action": action, "timeout": -1}), MARGIN).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
        Err(error) => {
            let now = Instance::read(lxd, id).await?;
            now.must_have_processes()?;
            if now.state() == wanted { Ok(()) } else { Err(error) }
        }
    }
}

/// C70, C71. The name is the id, so that changes with it; and a server renames only what does not run.
pub(super) async fn rename(lxd: &Arc<Lxd>, id: &str, name: &str) -> Result<()> {
    names::container_name("name", name)?;
    instance_name("name", name)?;
    let instance = Instance::read(lxd, id).await?;
    if Instance::read(lxd, name).await.is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("the name {name} is taken")));
    }
    if instance.state().has_processes() {
        return Err(Error::new(
            ErrorKind::Conflict,
            "the container runs, and this engine renames only what does not run",
        ));
    }
    patient(|| Request::post(&["instances", id]).body(&json!({"name": name})).done(&lxd.client)).await
}

/// C90 to C92.
pub(super) async fn delete(lxd: &Arc<Lxd>, id: &str, options: &DeleteOptions) -> Result<()> {
    let mut instance = Instance::read(lxd, id).await?;
    if options.force && MOVED.iter().any(|key| instance.config.contains_key(*key)) {
        settle(lxd, id).await?;
        // What a migration cannot finish it takes away itself.
        instance = match Instance::read(lxd, id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            instance => instance?,
        };
    }
    if instance.state().has_processes() {
        if !options.force {
            return Err(Error::new(ErrorKind::Conflict, "the container runs; it can be deleted by force"));
        }
        force(lxd, id).await?;
    }
    remove(lxd, id, options.force).await?;
    if options.volumes {
        for (pool, volume) in anonymous_volumes(&instance) {
            volumes::delete_unused(lxd, &pool, &volume).await?;
        }
    }
    Ok(())
}

/// Deletes what has ended. Of a container that ended soon after its start Incus says that it is stopped, and for a moment
/// refuses all the same to delete what runs.
async fn remove(lxd: &Lxd, id: &str, by_force: bool) -> Result<()> {
    let end = Instant::now() + BUSY;
    loop {
        let refused = match patient(|| Request::delete(&["instances", id]).done(&lxd.client)).await {
            Err(error) if error.message().contains("is running") && Instant::now() < end => error,
            result => return result,
        };
        match Instance::read(lxd, id).await {
            Ok(instance) if !instance.state().has_processes() => sleep(BUSY_PAUSE).await,
            // For a moment Incus says so of the state, too. The log begins anew with every start, so its end is of this one.
            Ok(_) if !by_force && ended::read(lxd, id).await?.is_some() => sleep(BUSY_PAUSE).await,
            // Somebody started it between the looks.
            Ok(_) if !by_force => return Err(refused),
            Ok(_) => force(lxd, id).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The volumes that were made for this container alone, with their pools: what its own devices refer to and its record calls
/// anonymous. Either alone may be a copy's, or what somebody else has put there.
fn anonymous_volumes(instance: &Instance) -> Vec<(String, String)> {
    let anonymous = Kept::read(&instance.config).anonymous;
    let disks =
        instance.devices.values().filter_map(|keys| Some((keys.get("pool")?.clone(), keys.get("source")?.clone())));
    disks.filter(|(_, volume)| anonymous.contains(volume)).collect()
}
