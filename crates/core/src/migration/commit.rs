//! The commit, and the steps after it: the copy becomes the container, and the source goes.

use super::facts::{self, Source, Target, handle};
use super::forward::{at_rest, delete_image, runs};
use super::mover::{Mover, is_definite};
use super::record::{CopyState, MoveRecord, MoveState, Stopped};
use super::spec::MoveWay;
use super::step::{Phase, Step};
use crate::container::{
    ContainerDetails, ContainerExit, ContainerState, ContainerUpdate, DeleteOptions, RestartPolicy, StopOptions,
    WaitFor,
};
use crate::error::{Error, ErrorKind, Result};

impl Mover {
    /// The one call that makes the copy the container.
    pub(super) async fn retire_source(&self, record: &mut MoveRecord) -> Result<()> {
        let own = self.own_source(record).await?;
        untouched(record, &own)?;
        self.incoming(record).await?;
        self.reached(Step::RetireSource, Phase::Within).await;
        if let Err(error) = handle(&*self.source, &own).rename(&record.retired_name()).await {
            // The answer may have been lost after the work was done.
            return match facts::source(record, &*self.source).await {
                Ok(Source::Retired(retired)) => untouched(record, &retired),
                _ => Err(error),
            };
        }
        // Somebody may have started it between the look and the rename; then it is the container after all.
        match facts::source(record, &*self.source).await? {
            Source::Retired(retired) => untouched(record, &retired),
            _ => Err(facts::source_gone(record)),
        }
    }

    /// The copy gets the restart policy, and the image that only copying needed goes where the engine lets it go.
    pub(super) async fn settle_target(&self, record: &mut MoveRecord) -> Result<()> {
        let copy = self.copy_there(record).await?;
        self.look_whether_it_ran(record, &copy).await?;
        let able = self.target.capabilities();
        if able.update {
            let wanted = record.restart != RestartPolicy::Never && able.restart_policy;
            let mut changes = ContainerUpdate::hold(false);
            changes.restart = (wanted && copy.spec.restart != record.restart).then_some(record.restart);
            handle(&*self.target, &copy).update(&changes).await?;
        }
        self.reached(Step::SettleTarget, Phase::Within).await;
        if record.plan.way == MoveWay::Portable
            && let Some(why) = delete_image(&*self.target, &record.image()).await?
        {
            record.note(format!("the image {} stays on the target: {why}", record.image()));
        }
        Ok(())
    }

    /// Starts the copy, and looks whether it stays up for a moment: then the source may go.
    pub(super) async fn start_target(&self, record: &mut MoveRecord) -> Result<()> {
        let mut copy = self.copy_there(record).await?;
        let interrupted = record.copy == CopyState::Started;
        self.look_whether_it_ran(record, &copy).await?;
        let container = handle(&*self.target, &copy);
        if copy.summary.state.has_processes() {
            self.reached(Step::StartTarget, Phase::Within).await;
            // It was started before, and its engine may have been killed since: dockerd, when it comes back, tells that a
            // container runs and ends it then, for good if its policy is `unless_stopped`.
            let Some(exit) = self.ends_soon(&copy).await? else { return Ok(()) };
            // What has done its work, and is not to be started again for it, did that by itself; but not if something was
            // killed in between, since many a service ends well when it is told to.
            let done = !interrupted
                && exit.exit_code == Some(0)
                && matches!(record.restart, RestartPolicy::Never | RestartPolicy::OnFailure { .. });
            if done {
                return Ok(());
            }
            // Its engine may have started it again by now, which is not to be counted twice.
            copy = self.copy_there(record).await?;
        }
        // One that was started already and has ended since has done so by itself.
        let first = !facts::has_run(&copy);
        // Before it is sent: from then on the copy may hold what the source does not, whoever looks for it.
        record.copy = CopyState::Started;
        self.save(record).await?;
        if let Err(error) = container.start().await {
            if first && is_definite(&error) {
                record.copy = CopyState::Useless;
            }
            return Err(error);
        }
        self.reached(Step::StartTarget, Phase::Within).await;
        match self.ends_soon(&copy).await? {
            None => Ok(()),
            // It ran before: it may have done its work, or had.
            Some(exit) if !first && exit.exit_code == Some(0) => Ok(()),
            Some(exit) => {
                if first {
                    // Together: whoever goes on from here gives the name back.
                    (record.copy, record.state) = (CopyState::Useless, MoveState::RollingBack);
                    self.save(record).await?;
                    self.silence(&copy).await?;
                }
                let code = exit.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the copy {} ended{code} as soon as it was started", record.plan.name),
                )
                .with_resource(record.plan.name.clone())
                .with_node(self.target.name()))
            }
        }
    }

    /// Somebody may have started it, and what it did then is nowhere else.
    async fn look_whether_it_ran(&self, record: &mut MoveRecord, copy: &ContainerDetails) -> Result<()> {
        if record.copy != CopyState::Started && facts::has_run(copy) {
            record.copy = CopyState::Started;
            self.save(record).await?;
        }
        Ok(())
    }

    /// Its owner may have gone on with the source, and given it its name back, as long as the copy was not started. Then the copy
    /// does not join it. A source that is away is not waited for.
    pub(super) async fn left_to_the_copy(&self, record: &mut MoveRecord) -> Result<()> {
        let starts = record.plan.steps.contains(&Step::StartTarget);
        if record.has_worked() || (!starts && record.is_done(Step::SettleTarget)) {
            return Ok(());
        }
        let Target::Copy(copy) = facts::target(record, &*self.target).await? else { return Ok(()) };
        self.look_whether_it_ran(record, &copy).await?;
        let (source, taken_up) = match facts::source(record, &*self.source).await {
            Ok(Source::Own(own)) => {
                let taken_up = record.copy != CopyState::Started || !at_rest(own.summary.state);
                (own, taken_up)
            }
            Ok(Source::Retired(retired)) => {
                let taken_up = match record.copy {
                    CopyState::Started => !at_rest(retired.summary.state),
                    _ => untouched(record, &retired).is_err(),
                };
                (retired, taken_up)
            }
            _ => return Ok(()),
        };
        if !taken_up {
            return Ok(());
        }
        let why = format!(
            "the container {} was renamed back or started on the source, where it is {} and {}, before its copy was started",
            record.plan.container, source.summary.name, source.summary.state
        );
        Err(Error::new(ErrorKind::Conflict, why).with_resource(record.plan.container.clone()))
    }

    /// Whether a copy that was given up runs, and stays up as long as it must. One that its engine starts again and again, because
    /// it could not be silenced, does not.
    pub(super) async fn stays_up(&self, copy: &ContainerDetails) -> Result<bool> {
        Ok(match copy.summary.state {
            state if at_rest(state) => false,
            ContainerState::Restarting | ContainerState::Failed => false,
            _ => self.ends_soon(copy).await?.is_none(),
        })
    }

    /// A copy that is given up is not started again by its engine, and does not run.
    pub(super) async fn silence(&self, copy: &ContainerDetails) -> Result<()> {
        match self.hold_and_stop(copy).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            silenced => silenced,
        }
    }

    async fn hold_and_stop(&self, copy: &ContainerDetails) -> Result<()> {
        let container = handle(&*self.target, copy);
        if self.target.capabilities().update {
            let mut changes = ContainerUpdate::hold(true);
            changes.restart = self.target.capabilities().restart_policy.then_some(RestartPolicy::Never);
            match container.update(&changes).await {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
                    ) =>
                {
                    return Err(error);
                }
                // What its engine refuses to change, for want of space perhaps, it may still end; and it is deleted in a moment.
                _ => {}
            }
        }
        // Its engine may have started it in between.
        if !at_rest(container.inspect().await?.summary.state) {
            container.stop(&StopOptions::after_seconds(0)).await?;
        }
        Ok(())
    }

    /// How it ended within the time that a copy must run; none when it runs on, or that cannot be told. One that its engine
    /// started again has ended, too, though some engines do not say of it that it stopped.
    async fn ends_soon(&self, before: &ContainerDetails) -> Result<Option<ContainerExit>> {
        if self.grace.is_zero() || !self.target.capabilities().wait {
            return Ok(None);
        }
        let container = handle(&*self.target, before);
        match container.wait(WaitFor::Stopped, self.grace).await {
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {}
            ended => return ended.map(Some),
        }
        let now = container.inspect().await?;
        let counted = before.restart_count.zip(now.restart_count).is_some_and(|(before, now)| now > before);
        let again = counted || now.summary.state == ContainerState::Restarting;
        Ok(again.then(|| now.exit_code.map_or_else(ContainerExit::untold, ContainerExit::new)))
    }

    /// The source goes, with the volumes that nobody else can name.
    pub(super) async fn delete_source(&self, record: &mut MoveRecord) -> Result<()> {
        // Never before the copy was seen once more.
        if let Err(error) = self.copy_there(record).await {
            if record.is_done(Step::StartTarget) && record.starts_by_itself() && !is_definite(&error) {
                // Its engine may have been killed, and it with it.
                record.begin(Step::StartTarget);
            }
            return Err(error);
        }
        self.reached(Step::DeleteSource, Phase::Within).await;
        let Source::Retired(retired) = facts::source(record, &*self.source).await? else { return Ok(()) };
        let options = DeleteOptions { force: false, volumes: true };
        match handle(&*self.source, &retired).delete(&options).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn copy_there(&self, record: &MoveRecord) -> Result<Box<ContainerDetails>> {
        match facts::target(record, &*self.target).await? {
            Target::Copy(copy) => Ok(copy),
            Target::Foreign => Err(facts::taken(record)),
            Target::Absent => Err(Error::not_found("container", &record.plan.name).with_node(self.target.name())),
        }
    }
}

/// `Conflict` when the source ran since it was stopped: the copy is then not what it is.
pub(super) fn untouched(record: &MoveRecord, details: &ContainerDetails) -> Result<()> {
    let ran = record.stopped.as_ref().is_some_and(|stopped| stopped.ran_since(&Stopped::of(details)));
    if !ran && at_rest(details.summary.state) { Ok(()) } else { Err(runs(record, details)) }
}
