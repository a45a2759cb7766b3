//! The steps before the commit: the source is looked at, stopped, copied and compared.

use std::time::Duration;

use tokio::time::timeout;

use super::facts::{self, Source, Target, handle};
use super::mover::Mover;
use super::planner::{movable, stays, steps_of};
use super::record::{CopyState, MoveRecord, MoveState, Stopped};
use super::spec::MoveWay;
use super::step::{Phase, Step};
use crate::container::{
    ContainerDetails, ContainerState, ContainerUpdate, DeleteOptions, MountKind, RestartPolicy, StopOptions,
};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// What engines give a container that asks for no time to stop.
const STOP_DEFAULT_SECONDS: u32 = 10;
/// What an engine needs to end a container beyond the time that the container was granted; engines with limits of their own
/// answer before it is over.
const STOP_GRACE: Duration = Duration::from_secs(180);

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
        let own = self.own_source(record).await?;
        self.alone(record, &own).await?;
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

    /// Two moves of one container, or onto one name, would take each other's steps for their own. Another container that got
    /// the name of one that was deleted during its move is not that one.
    async fn alone(&self, record: &MoveRecord, own: &ContainerDetails) -> Result<()> {
        let plan = &record.plan;
        let clash = self.log.list().await?.into_iter().find(|other| {
            other.id() != record.id()
                && matches!(other.state, MoveState::Moving | MoveState::RollingBack)
                && ((other.plan.source == plan.source
                    && other.plan.container == plan.container
                    && !facts::is_another(other, own))
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
            if self.canceller.is_cancelled() {
                return Err(called_off());
            }
            // Before it is sent: whoever goes on from the record cannot see that an engine is at it.
            record.stopping = true;
            self.save(record).await?;
            self.end_source(record, &own).await?;
        }
        let stopped = self.own_source(record).await?;
        if !at_rest(stopped.summary.state) {
            return Err(runs(record, &stopped));
        }
        record.stopping = false;
        let stopped = Stopped::of(&stopped);
        if record.stopped.as_ref().is_some_and(|before| before.ran_since(&stopped)) {
            // It ran since it was copied.
            (record.copied, record.verified) = (false, false);
        }
        record.stopped = Some(stopped);
        Ok(())
    }

    /// Tells the source to stop, and waits for its end as long as it has been granted, and some more for its engine.
    pub(super) async fn end_source(&self, record: &MoveRecord, own: &ContainerDetails) -> Result<()> {
        let options = StopOptions { timeout_seconds: record.plan.stop_timeout_seconds };
        let granted = options.timeout_seconds.or(own.spec.stop_timeout_seconds).unwrap_or(STOP_DEFAULT_SECONDS);
        let limit = Duration::from_secs(granted.into()).saturating_add(STOP_GRACE);
        let late = |_| {
            let why = format!("the container {} has not ended within {} s", record.plan.container, limit.as_secs());
            Err(Error::new(ErrorKind::DeadlineExceeded, why).with_resource(record.plan.container.clone()))
        };
        timeout(limit, handle(&*self.source, own).stop(&options)).await.unwrap_or_else(late)
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
            Target::Copy(copy) if record.copy == CopyState::Started => return Err(started(record, &copy)),
            Target::Copy(copy) => handle(&*self.target, &copy).delete(&DeleteOptions::force()).await?,
        }
        (record.copied, record.verified, record.content) = (false, false, None);
        match record.plan.way.clone() {
            MoveWay::Portable => self.copy_portable(record).await?,
            MoveWay::Native { transports, live, snapshots } => {
                self.copy_native(record, &transports, live, snapshots).await?;
            }
        }
        record.copied = true;
        Ok(())
    }

    /// The copy bears our mark, does not run, and holds what the source holds now.
    pub(super) async fn verify(&self, record: &mut MoveRecord) -> Result<()> {
        let copy = self.incoming(record).await?;
        self.reached(Step::Verify, Phase::Within).await;
        if record.plan.check {
            self.compare(record, &copy).await?;
        }
        record.verified = true;
        Ok(())
    }

    /// The copy, which must be there and at rest.
    pub(super) async fn incoming(&self, record: &MoveRecord) -> Result<Box<ContainerDetails>> {
        let live = matches!(record.plan.way, MoveWay::Native { live: true, .. });
        match facts::target(record, &*self.target).await? {
            Target::Copy(copy) if live || !copy.summary.state.has_processes() => Ok(copy),
            Target::Copy(copy) => Err(started(record, &copy)),
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

/// The end of a move that its caller does not want any more.
pub(super) fn called_off() -> Error {
    Error::new(ErrorKind::Cancelled, "the move was called off")
}

/// Somebody started the copy meanwhile.
fn started(record: &MoveRecord, copy: &ContainerDetails) -> Error {
    Error::new(ErrorKind::Conflict, format!("the copy {} was started before the move was finished", copy.summary.name))
        .with_resource(record.plan.name.clone())
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
