//! From a specification to a container.
//!
//! That nothing has happened is true of a question that did not reach the node, but not any more of what it was asked for once
//! there is a container. So from then on the node is asked again while it is away, what is not to be is taken away, and where
//! that fails it is said that something may be left.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use roadstead_core::{Capability, ContainerSpec, CreatedContainer, Error, ErrorKind, Result, Retry, names};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::commands::cgroup::Subsystem;
use super::commands::corex::{ContainerArguments, NicState};
use super::kept::{self, Kept};
use super::shared::{Core0, whole};
use super::{found, image, record};

/// How often a container is made whose ports turn out to be in use, where the caller leaves them open.
const TRIES: u32 = 3;
/// For so long a node may be away after it has made a container; it is asked again in such steps.
const OUTAGE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

/// The control group of a container of ours.
pub(super) fn group(mark: &str) -> String {
    format!("roadstead-{mark}")
}

/// N41, N42.
pub(super) fn check(core0: &Core0, spec: &ContainerSpec) -> Result<()> {
    spec.require(&core0.capabilities)?;
    for (field, asked) in [("read_only_root", spec.read_only_root), ("tty", spec.tty), ("stdin", spec.stdin)] {
        if asked {
            let capability = if field == "read_only_root" { Capability::Privileges } else { Capability::Attach };
            core0.capabilities.require_for(field, capability)?;
        }
    }
    spec.validate()?;
    if spec.init {
        return Err(Error::unsupported_field("init", "an init process of its own"));
    }
    if spec.dns != roadstead_core::Dns::default() {
        return Err(Error::unsupported_field("dns", "name resolution of its own"));
    }
    if let Some(name) = &spec.name {
        check_name(name)?;
    }
    // Which ports are free makes no difference to what can be written down.
    let picked: Vec<u16> = (1..).take(kept::open_ports(spec)).collect();
    kept::write(&Kept::new(String::new(), spec), &spec.labels, &picked).map(drop)
}

/// N30 to N36.
pub(super) async fn create_container(core0: &Arc<Core0>, spec: &ContainerSpec) -> Result<CreatedContainer> {
    check(core0, spec)?;
    let (core0, spec) = (Arc::clone(core0), spec.clone());
    whole(async move {
        let claim = spec.name.as_deref().map(|name| Claim::new(&core0, name)).transpose()?;
        let created = create(&core0, &spec).await;
        drop(claim);
        created
    })
    .await
}

fn check_name(name: &str) -> Result<()> {
    names::container_name("name", name)?;
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid("name", "must not be a number, which is what this engine's ids are"));
    }
    Ok(())
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("a container called {name} exists")).with_resource(name)
}

/// A name that is about to be taken: nodes themselves let it be taken twice.
struct Claim<'a>(&'a Core0, String);

impl<'a> Claim<'a> {
    fn new(core0: &'a Core0, name: &str) -> Result<Self> {
        let mut claimed = core0.claimed_names.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.iter().any(|claimed| claimed == name) {
            return Err(taken(name));
        }
        claimed.push(name.to_owned());
        Ok(Claim(core0, name.to_owned()))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.claimed_names.lock().unwrap_or_else(PoisonError::into_inner).retain(|claimed| *claimed != self.1);
    }
}

async fn create(core0: &Arc<Core0>, spec: &ContainerSpec) -> Result<CreatedContainer> {
    let kept = Kept::new(Uuid::new_v4().simple().to_string(), spec);
    let mut arguments = prepare(core0, spec, &kept).await.map_err(undone)?;
    let links = &core0.client.links;
    // Before the container, so that whoever sees it finds its record; and before its group, which goes with the record.
    record::begin(links, &kept.mark).await.map_err(undone)?;
    let made = async {
        if let Some(bytes) = spec.limits.memory_bytes {
            let group = group(&kept.mark);
            core0.host.cgroups().ensure(&Subsystem::Memory, &group).await?;
            core0.host.cgroups().set_memory(&group, bytes, 0).await?;
            arguments.cgroups.push((Subsystem::Memory.to_string(), group));
        }
        make(core0, spec, &kept, arguments).await
    };
    match made.await {
        Ok(id) => {
            if let Err(error) = record::made(links, &kept.mark).await {
                // The next sweep sees that it lives, and keeps its record.
                tracing::debug!(id, %error, "the record of a container could not be confirmed");
            }
            let mut created = CreatedContainer::default();
            created.id = id.to_string();
            created.name = spec.name.clone().unwrap_or_else(|| found::nameless(id));
            Ok(created)
        }
        Err(error) => {
            // A container that may be there after all keeps its record and its group.
            if error.retry() != Retry::Unknown {
                let _ = record::remove(links, &kept.mark).await;
                if spec.limits.memory_bytes.is_some() {
                    let _ = core0.host.cgroups().remove(&Subsystem::Memory, &group(&kept.mark)).await;
                }
            }
            Err(error)
        }
    }
}

/// What is looked at before anything is made; gives what the node is to make.
async fn prepare(core0: &Core0, spec: &ContainerSpec, kept: &Kept) -> Result<ContainerArguments> {
    if let Some(name) = &spec.name {
        first_of(core0, name, None).await?;
    }
    image::must_exist(core0, &spec.image).await?;
    let picked = pick_ports(core0, kept::open_ports(spec)).await?;
    let arguments = kept::write(kept, &spec.labels, &picked)?;
    let known = match kept::bridges(&arguments).next() {
        Some(_) => core0.host.bridges().list().await?,
        None => Vec::new(),
    };
    if let Some(missing) = kept::bridges(&arguments).find(|bridge| !known.iter().any(|known| known == bridge)) {
        return Err(Error::not_found("network", missing));
    }
    for source in arguments.mount.keys() {
        if !core0.host.commands().filesystem().exists(source).await? {
            let words = format!("no such path on the node: {source}");
            return Err(Error::invalid("mounts.source", words));
        }
    }
    Ok(arguments)
}

/// The container itself. Errors of another advice than `unknown` leave none behind.
async fn make(core0: &Core0, spec: &ContainerSpec, kept: &Kept, mut arguments: ContainerArguments) -> Result<u64> {
    let open = kept::open_ports(spec);
    let mut tries = 1;
    loop {
        let made = core0.host.containers().create(&arguments).await;
        let id = made.map_err(|error| image::refused(error, &spec.image))?;
        let until = Instant::now() + OUTAGE;
        let good = is_good(core0, id, &arguments, spec.name.as_deref(), until).await;
        if matches!(good, Ok(true)) {
            return Ok(id);
        }
        take_away(core0, id, until).await?;
        good.map_err(undone)?;
        if open == 0 || tries == TRIES {
            let words = "the node could not connect the container: a port of the node may be in use";
            return Err(Error::new(ErrorKind::Conflict, words).with_retry(Retry::Never));
        }
        // A port that looked free was not.
        tries += 1;
        let picked = pick_ports(core0, open).await.map_err(undone)?;
        arguments.port = kept::write(kept, &spec.labels, &picked)?.port;
    }
}

/// An error after which nothing is left: that a question was not answered leaves no doubt about what was not done.
fn undone(error: Error) -> Error {
    if error.retry() == Retry::Unknown { error.with_retry(Retry::Safe) } else { error }
}

fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

/// Asks what changes nothing, again and again until then while the node is away.
async fn told<T, F: Future<Output = Result<T>>>(until: Instant, mut ask: impl FnMut() -> F) -> Result<T> {
    loop {
        match ask().await {
            Err(error) if is_away(&error) && Instant::now() < until => {
                tracing::debug!(%error, "what became of a container is not known; asking again");
                sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// Whether a container that was made is what was asked for; not when it is not connected. That its name is another one's is
/// an error.
async fn is_good(
    core0: &Core0,
    id: u64,
    asked: &ContainerArguments,
    name: Option<&str>,
    until: Instant,
) -> Result<bool> {
    if !told(until, || is_connected(core0, id, asked)).await? {
        return Ok(false);
    }
    if let Some(name) = name {
        told(until, || first_of(core0, name, Some(id))).await?;
    }
    Ok(true)
}

/// Takes a container away that is not to be. When that fails it may be there still, as the advice `unknown` says.
async fn take_away(core0: &Core0, id: u64, until: Instant) -> Result<()> {
    loop {
        match core0.host.containers().terminate(id).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // It has not got there: it is not sent twice.
            Err(error) if is_away(&error) && error.retry() == Retry::Safe && Instant::now() < until => {
                sleep(AGAIN).await;
            }
            Err(error) => {
                let words = format!("container {id} was made, and may be left: {}", error.message());
                return Err(Error::new(error.kind(), words).with_retry(Retry::Unknown).with_source(error));
            }
        }
    }
}

/// Whether interfaces and ports are as asked for: a node makes a container without those that fail.
async fn is_connected(core0: &Core0, id: u64, asked: &ContainerArguments) -> Result<bool> {
    match core0.host.containers().get(id).await {
        Ok(Some(made)) => {
            let failed = made.arguments.nics.iter().any(|nic| nic.state == NicState::Error);
            let complete = made.arguments.port.len() >= asked.port.len();
            Ok(!failed && complete)
        }
        // Gone already; whoever looks next is told so.
        Ok(None) => Ok(true),
        // An older node, which does not tell.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(true),
        Err(error) => Err(error),
    }
}

/// N31: refuses a name that another container has; of two that took it at once, the second.
async fn first_of(core0: &Core0, name: &str, own: Option<u64>) -> Result<()> {
    let all = core0.host.containers().list().await?;
    let mut others = all.iter().filter(|other| found::name(other) == name && own.is_none_or(|own| other.id < own));
    if others.next().is_some() { Err(taken(name)) } else { Ok(()) }
}

/// Ports of the node that nobody uses.
async fn pick_ports(core0: &Core0, count: usize) -> Result<Vec<u16>> {
    match u16::try_from(count) {
        Ok(0) => Ok(Vec::new()),
        Ok(count) => core0.host.firewall().reserve(count).await,
        Err(_) => Err(Error::invalid("ports", "are too many")),
    }
}
