//! Making a plan: everything that can be known to fail, or to be lost, before anything is done.

use std::sync::Arc;

use uuid::Uuid;

use super::draft::{Identity, draft, takes_name};
use super::layout::Layout;
use super::spec::{CopiedMount, MovePlan, MoveSpec, MoveWay};
use super::step::Step;
use crate::capabilities::Capability;
use crate::container::{ContainerDetails, ContainerState, RestartPolicy};
use crate::copy::{CopyTransport, CopyWay, NotCarried};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// What will be done to move a container from `source` to `target`, and what cannot be carried. Nothing is changed.
///
/// # Errors
/// `InvalidInput` for a bad specification or when both are one node, `NotFound` without such a container,
/// `AlreadyExists` when its name is taken on the target, `Conflict` for one that is neither running nor stopped,
/// `Unsupported` when an engine lacks what the move needs.
pub async fn plan(source: &Arc<dyn Node>, target: &Arc<dyn Node>, spec: &MoveSpec) -> Result<MovePlan> {
    spec.validate()?;
    if source.name() == target.name() {
        return Err(Error::invalid("target", "is the node that has the container"));
    }
    let details = source.container(&spec.container).inspect().await?;
    let running = movable(&details)?;
    stays(&details, spec.keep_source)?;
    let name = spec.new_name.clone().unwrap_or_else(|| details.summary.name.clone());
    match target.container(&name).inspect().await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("the container name {name} is taken on the target"),
            )
            .with_node(target.name())
            .with_resource(name));
        }
    }
    require(&**source, &[Capability::Rename, Capability::Create])?;
    require(&**target, &[Capability::Create])?;
    let (way, mut found) = choose(source, target, spec, &details).await?;
    if details.spec.restart != RestartPolicy::Never && !source.capabilities().update {
        found.warnings.push(format!(
            "{} cannot change the restart policy: it may start the container by itself if its engine is started again during the move",
            source.name()
        ));
    }
    let can_check = source.capabilities().export && target.capabilities().export;
    let check = spec.check.unwrap_or(can_check);
    if check && way != MoveWay::Portable {
        require(&**source, &[Capability::Export])?;
    }
    if check {
        require(&**target, &[Capability::Export])?;
    }
    if check && way == MoveWay::Portable && !found.copied_mounts.is_empty() {
        let places: Vec<&str> = found.copied_mounts.iter().map(|mount| mount.target.as_str()).collect();
        found.warnings.push(format!(
            "what others write into {} during the move makes it go back: leave them still, or leave the comparison out (check)",
            places.join(", ")
        ));
    }
    Ok(MovePlan {
        id: Uuid::new_v4().simple().to_string(),
        source: source.name().to_owned(),
        target: target.name().to_owned(),
        container: details.summary.name.clone(),
        container_id: details.summary.id.clone(),
        name,
        running,
        way,
        check,
        keep_source: spec.keep_source,
        stop_timeout_seconds: spec.stop_timeout_seconds,
        steps: steps_of(running, spec.keep_source),
        not_carried: found.not_carried,
        copied_mounts: found.copied_mounts,
        warnings: found.warnings,
    })
}

/// The steps of a move.
pub(super) fn steps_of(running: bool, keep_source: bool) -> Vec<Step> {
    let needed = |step: &Step| match step {
        Step::StartTarget => running,
        Step::DeleteSource => !keep_source,
        _ => true,
    };
    Step::ALL.iter().copied().filter(needed).collect()
}

/// Whether it runs; `Conflict` when it is in no state to be moved from.
pub(super) fn movable(details: &ContainerDetails) -> Result<bool> {
    match details.summary.state {
        ContainerState::Running | ContainerState::Restarting => Ok(true),
        ContainerState::Created | ContainerState::Stopped => Ok(false),
        state => Err(Error::new(
            ErrorKind::Conflict,
            format!("the container {} is {state}: only one that runs or is stopped can be moved", details.summary.name),
        )
        .with_resource(details.summary.id.clone())),
    }
}

/// `Conflict` for a container that its engine deletes when the move stops it, or does not delete when the move is done.
pub(super) fn stays(details: &ContainerDetails, keep_source: bool) -> Result<()> {
    let why = if details.removed_at_end {
        "is deleted by its engine as soon as it ends, and a move has to stop it"
    } else if details.protected && !keep_source {
        "is protected from being deleted by its engine: take the protection away, or keep the source"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Conflict, format!("the container {} {why}", details.summary.name))
        .with_resource(details.summary.id.clone()))
}

pub(super) fn require(node: &dyn Node, needed: &[Capability]) -> Result<()> {
    needed.iter().try_for_each(|capability| {
        node.capabilities().require(*capability).map_err(|error| error.with_node(node.name()))
    })
}

/// What the way brings with it.
#[derive(Default)]
struct Found {
    not_carried: Vec<NotCarried>,
    copied_mounts: Vec<CopiedMount>,
    warnings: Vec<String>,
}

async fn choose(
    source: &Arc<dyn Node>,
    target: &Arc<dyn Node>,
    spec: &MoveSpec,
    details: &ContainerDetails,
) -> Result<(MoveWay, Found)> {
    let ways = native(source, target, spec, details).await?;
    let name = spec.new_name.as_deref().unwrap_or(&details.summary.name);
    if let Some(first) = ways.first() {
        takes_name(&**target, name).await?;
        let snapshots = spec.snapshots && first.snapshots;
        let mut found = Found { not_carried: first.not_carried.clone(), ..Found::default() };
        if !snapshots {
            found.not_carried.extend(snapshots_stay(source, details).await?);
        }
        let transports = ways.iter().map(|way| way.transport).collect();
        return Ok((MoveWay::Native { transports, live: spec.live, snapshots }, found));
    }
    if spec.live {
        return Err(Error::unsupported("moving a container with its running processes between these nodes"));
    }
    if !matches!(spec.way, super::spec::WayChoice::Auto | super::spec::WayChoice::Portable) {
        return Err(Error::unsupported("this way between these nodes"));
    }
    let mut found = portable(source, target, details, name).await?;
    found.not_carried.extend(snapshots_stay(source, details).await?);
    Ok((MoveWay::Portable, found))
}

/// What is said of snapshots that are not taken along, if there are any.
async fn snapshots_stay(source: &Arc<dyn Node>, details: &ContainerDetails) -> Result<Option<NotCarried>> {
    if !source.capabilities().snapshots {
        return Ok(None);
    }
    let count = source.container(&details.summary.name).snapshots().await?.len();
    let reason = format!("{count} of them are not taken along, and are deleted with the source");
    Ok((count > 0).then(|| NotCarried::new("snapshots", reason)))
}

/// The ways of the engines that the caller allows, best first.
async fn native(
    source: &Arc<dyn Node>,
    target: &Arc<dyn Node>,
    spec: &MoveSpec,
    details: &ContainerDetails,
) -> Result<Vec<CopyWay>> {
    let any = [CopyTransport::Local, CopyTransport::Pull, CopyTransport::Push, CopyTransport::Relay];
    if !target.capabilities().copy || !any.into_iter().any(|transport| spec.way.allows(transport)) {
        return Ok(Vec::new());
    }
    let mut ways = target.copy_ways(&**source, &details.summary.name).await?;
    ways.retain(|way| spec.way.allows(way.transport) && (way.live || !spec.live));
    Ok(ways)
}

async fn portable(
    source: &Arc<dyn Node>,
    target: &Arc<dyn Node>,
    details: &ContainerDetails,
    name: &str,
) -> Result<Found> {
    require(&**source, &[Capability::Export])?;
    require(&**target, &[Capability::ImageImport, Capability::Images])?;
    let layout = Layout::of(&**source, details).await?;
    let identity = Identity::planned(name, details.spec.restart);
    let copy = draft(&**target, details, &layout, source.capabilities(), identity).await?;
    let mut found = Found { not_carried: copy.not_carried, copied_mounts: copy.copied_mounts, warnings: copy.warnings };
    if !found.copied_mounts.is_empty() {
        require(&**source, &[Capability::Files])?;
        if !source.capabilities().file_owners {
            let unknown = |mount: &CopiedMount| {
                let reason =
                    format!("the source does not tell who owns what is mounted at {}: root does", mount.target);
                NotCarried::new("mounts.owners", reason)
            };
            found.not_carried.extend(found.copied_mounts.iter().map(unknown));
        }
    }
    let own = "engines make /etc/hosts, /etc/hostname, /etc/resolv.conf and /etc/mtab themselves, and what somebody has \
               written there may be lost";
    found.not_carried.push(NotCarried::new("files.made_by_engines", own));
    if !source.capabilities().file_attributes {
        let reason = "the source tells no extended attributes of files but their kernel capabilities";
        found.not_carried.push(NotCarried::new("files.attributes", reason));
    }
    let (here, there) = (source.info().await?.architecture, target.info().await?.architecture);
    if let (Some(here), Some(there)) = (here, there)
        && here != there
    {
        found.warnings.push(format!("the source is {here}, the target {there}: programs may not run"));
    }
    Ok(found)
}
