//! The steps before the commit: the source is looked at, stopped, copied and compared.

use std::sync::PoisonError;

use super::archive::{Manifest, scan};
use super::facts::{self, Source, Target, handle};
use super::mover::Mover;
use super::planner::{movable, stays, steps_of};
use super::record::{MoveRecord, MoveState, Stopped};
use super::spec::MoveWay;
use super::step::{Phase, Step};
use crate::container::{
    ContainerDetails, ContainerState, ContainerUpdate, DeleteOptions, MountKind, RestartPolicy, StopOptions,
};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

impl Mover {
    /// The source under its own name.
    pub(super) async fn own_source(&self, record: &MoveRecord) -> Result<Box<ContainerDetails>> {
        match facts::source(record, &*self.source).await? {
            Source::Own(details) => Ok(details),
            _ => Err(facts::source_gone(record)),
        }
    }

    /// Looks whether the plan still fits, and what has to be put back if it comes to that.
    pub(super) async fn prepare(&self, record: &mut MoveRecord) -> Result<()> {
        self.alone(record).await?;
        let own = self.own_source(record).await?;
        let running = movable(&own)?;
        stays(&own, record.plan.keep_source)?;
        if let Target::Foreign = facts::target(record, &*self.target).await? {
            return Err(facts::taken(record));
        }
        self.reached(Step::Prepare, Phase::Within).await;
        record.source_created_at = own.summary.created_at;
        record.restart = own.spec.restart;
        record.ran = running;
        if running && !record.plan.running {
            record.plan.running = true;
            record.replan(steps_of(true, record.plan.keep_source));
        } else if record.plan.running && !running {
            // An engine that was killed may not have started it again yet; the plan says that it shall run.
            record.note("it did not run when the move began, and is started on the target as planned");
        }
        Ok(())
    }

    /// Two moves of one container, or onto one name, would take each other's steps for their own.
    async fn alone(&self, record: &MoveRecord) -> Result<()> {
        let plan = &record.plan;
        let clash = self.log.list().await?.into_iter().find(|other| {
            other.id() != record.id()
                && matches!(other.state, MoveState::Moving | MoveState::RollingBack)
                && ((other.plan.source == plan.source && other.plan.container == plan.container)
                    || (other.plan.target == plan.target && other.plan.name == plan.name))
        });
        match clash {
            None => Ok(()),
            Some(other) => Err(Error::new(
                ErrorKind::Conflict,
                format!("another move of this container or to this name is not finished: {}", other.id()),
            )
            .with_resource(plan.container.clone())),
        }
    }

    /// First the engine must leave it alone: a policy would start it again.
    pub(super) async fn stop_source(&self, record: &mut MoveRecord) -> Result<()> {
        let own = self.own_source(record).await?;
        let container = handle(&*self.source, &own);
        if self.source.capabilities().update {
            let mut changes = ContainerUpdate::hold(true);
            changes.restart = (own.spec.restart != RestartPolicy::Never).then_some(RestartPolicy::Never);
            container.update(&changes).await?;
        }
        self.reached(Step::StopSource, Phase::Within).await;
        if matches!(record.plan.way, MoveWay::Native { live: true, .. }) {
            // Its processes go along with the copy.
            return Ok(());
        }
        if !at_rest(own.summary.state) {
            let options = StopOptions { timeout_seconds: record.plan.stop_timeout_seconds };
            container.stop(&options).await?;
        }
        let stopped = self.own_source(record).await?;
        if !at_rest(stopped.summary.state) {
            return Err(runs(record, &stopped));
        }
        let stopped = Stopped::of(&stopped);
        if record.stopped.as_ref().is_some_and(|before| before.ran_since(&stopped)) {
            // It ran since it was copied.
            (record.copied, record.verified) = (false, false);
        }
        record.stopped = Some(stopped);
        Ok(())
    }

    /// Makes the copy, unless it is there and complete. One that is there and not known to be complete is made anew.
    pub(super) async fn copy(&self, record: &mut MoveRecord) -> Result<()> {
        match facts::target(record, &*self.target).await? {
            Target::Absent => {}
            Target::Foreign => return Err(facts::taken(record)),
            Target::Copy(copy) if record.copied && !copy.summary.state.has_processes() => {
                self.reached(Step::Copy, Phase::Within).await;
                return Ok(());
            }
            Target::Copy(copy) => handle(&*self.target, &copy).delete(&DeleteOptions::force()).await?,
        }
        (record.copied, record.verified) = (false, false);
        match record.plan.way.clone() {
            MoveWay::Portable => self.copy_portable(record).await?,
            MoveWay::Native { transports, live, snapshots } => {
                self.copy_native(record, &transports, live, snapshots).await?;
            }
        }
        record.copied = true;
        Ok(())
    }

    /// The copy bears our mark, does not run, and holds what the source holds.
    pub(super) async fn verify(&self, record: &mut MoveRecord) -> Result<()> {
        let copy = self.incoming(record).await?;
        self.reached(Step::Verify, Phase::Within).await;
        if record.plan.check {
            let apart = temporary(&copy);
            let there = scan(handle(&*self.target, &copy).export().await?, Manifest::without(&apart)).await?;
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (here, wanted) = match (&record.content, read) {
                (Some(content), read) => (read, content.clone()),
                (None, _) => {
                    let own = self.own_source(record).await?;
                    let here = scan(handle(&*self.source, &own).export().await?, Manifest::without(&apart)).await?;
                    let content = here.content();
                    (Some(here), content)
                }
            };
            let found = there.content();
            if found != wanted {
                let what = match here {
                    Some(here) => here.differences(&there).join("; "),
                    None => format!("{} entries, {} bytes", found.entries, found.bytes),
                };
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    format!(
                        "the copy is not what the source is ({} entries, {} bytes): {what}",
                        wanted.entries, wanted.bytes
                    ),
                )
                .with_retry(crate::Retry::Never)
                .with_node(self.target.name()));
            }
            record.content = Some(wanted);
        }
        record.verified = true;
        Ok(())
    }

    /// The copy, which must be there and at rest.
    pub(super) async fn incoming(&self, record: &MoveRecord) -> Result<Box<ContainerDetails>> {
        let live = matches!(record.plan.way, MoveWay::Native { live: true, .. });
        match facts::target(record, &*self.target).await? {
            Target::Copy(copy) if live || !copy.summary.state.has_processes() => Ok(copy),
            Target::Copy(_) => Err(Error::new(
                ErrorKind::Conflict,
                format!("the copy {} was started before the move was finished", record.plan.name),
            )
            .with_resource(record.plan.name.clone())),
            Target::Foreign => Err(facts::taken(record)),
            Target::Absent => Err(Error::new(
                ErrorKind::Conflict,
                format!("the copy {} was deleted before the move was finished", record.plan.name),
            )
            .with_resource(record.plan.name.clone())),
        }
    }
}

/// Whether nothing runs, and nothing will by itself.
pub(super) fn at_rest(state: ContainerState) -> bool {
    matches!(state, ContainerState::Created | ContainerState::Stopped)
}

/// Somebody started the source meanwhile.
pub(super) fn runs(record: &MoveRecord, details: &ContainerDetails) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("the container {} is {}: it was started during the move", record.plan.container, details.summary.state),
    )
    .with_resource(record.plan.container.clone())
}

/// Where temporary file systems are: their content is nobody's.
pub(super) fn temporary(details: &ContainerDetails) -> Vec<String> {
    let mounts = details.spec.mounts.iter();
    mounts.filter(|mount| mount.kind == MountKind::Tmpfs).map(|mount| mount.target.clone()).collect()
}

/// Takes an image away if it is there. Gives why it stays, where the engine needs it.
pub(super) async fn delete_image(node: &dyn Node, reference: &str) -> Result<Option<String>> {
    if !node.capabilities().images {
        return Ok(None);
    }
    match node.delete_image(reference, false).await {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(Some(error.message().to_owned())),
        Err(error) => Err(error),
    }
}
