//! From a specification to a container.

use std::sync::{Arc, PoisonError};

use roadstead_core::{Capability, ContainerSpec, CreatedContainer, Error, ErrorKind, Result, names};
use uuid::Uuid;

use super::commands::cgroup::Subsystem;
use super::commands::corex::{ContainerArguments, NicState};
use super::kept::{self, Kept};
use super::shared::{Core0, whole};
use super::{found, image, record};

/// How often a container is made whose ports turn out to be in use, where the caller leaves them open.
const TRIES: u32 = 3;

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
    if let Some(name) = &spec.name {
        first_of(core0, name, None).await?;
    }
    image::must_exist(core0, &spec.image).await?;
    let kept = Kept::new(Uuid::new_v4().simple().to_string(), spec);
    let picked = pick_ports(core0, kept::open_ports(spec)).await?;
    let mut arguments = kept::write(&kept, &spec.labels, &picked)?;
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
    let links = &core0.client.links;
    // Before the container, so that whoever sees it finds its record; and before its group, which goes with the record.
    record::begin(links, &kept.mark).await?;
    let made = async {
        if let Some(bytes) = spec.limits.memory_bytes {
            let group = group(&kept.mark);
            core0.host.cgroups().ensure(&Subsystem::Memory, &group).await?;
            core0.host.cgroups().set_memory(&group, bytes, 0).await?;
            arguments.cgroups.push((Subsystem::Memory.to_string(), group));
        }
        let mut tries = 1;
        let id = loop {
            let made = core0.host.containers().create(&arguments).await;
            let id = made.map_err(|error| image::refused(error, &spec.image))?;
            if is_connected(core0, id, &arguments).await? {
                break id;
            }
            core0.host.containers().terminate(id).await?;
            let open = kept::open_ports(spec);
            if open == 0 || tries == TRIES {
                let words = "the node could not connect the container: a port of the node may be in use";
                return Err(Error::new(ErrorKind::Conflict, words).with_retry(roadstead_core::Retry::Never));
            }
            // A port that looked free was not.
            tries += 1;
            arguments.port = kept::write(&kept, &spec.labels, &pick_ports(core0, open).await?)?.port;
        };
        if let Some(name) = &spec.name
            && let Err(error) = first_of(core0, name, Some(id)).await
        {
            core0.host.containers().terminate(id).await?;
            return Err(error);
        }
        Ok(id)
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
            if error.retry() != roadstead_core::Retry::Unknown {
                let _ = record::remove(links, &kept.mark).await;
                if spec.limits.memory_bytes.is_some() {
                    let _ = core0.host.cgroups().remove(&Subsystem::Memory, &group(&kept.mark)).await;
                }
            }
            Err(error)
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
