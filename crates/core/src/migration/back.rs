//! Rolling back: the container is on the source as it was, and nothing of the copy is left.

use super::facts::{self, Source, Target, handle};
use super::forward::{at_rest, delete_image};
use super::mover::{Back, Mover};
use super::record::{CopyState, MoveRecord, MoveState};
use super::spec::MoveWay;
use super::step::Step;
use crate::container::{ContainerUpdate, DeleteOptions};
use crate::error::{Error, ErrorKind, Result};

impl Mover {
    /// Undoes what was begun. Why it does not come to that, if so, is written down.
    pub(super) async fn back(&self, record: &mut MoveRecord) -> Result<Back> {
        record.state = MoveState::RollingBack;
        self.save(record).await?;
        match self.undo(record).await {
            Err(error) => self.hindered(record, error).await.map(|()| Back::Lost),
            undone => undone,
        }
    }

    /// Writes down what hinders a move. One whose container neither side has any more is over, and this is `Ok`.
    pub(super) async fn hindered(&self, record: &mut MoveRecord, error: Error) -> Result<()> {
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
            && record.is_done(Step::Prepare)
            && facts::is_lost(record, &*self.source, &*self.target).await.unwrap_or(false)
        {
            return self.lose(record).await;
        }
        record.failed(&error);
        self.save(record).await?;
        Err(error)
    }

    /// Ends a move of which nothing is left. What is on the target without having been found complete stays for a person to
    /// look at: it may be the last that there is.
    async fn lose(&self, record: &mut MoveRecord) -> Result<()> {
        if let Ok(Target::Copy(copy)) = facts::target(record, &*self.target).await {
            let complete = if record.verified { "was found complete" } else { "may not be complete" };
            record.note(format!("the copy {} stays on the target, not started, and {complete}", copy.summary.name));
        }
        // The source may be on a node that is away: then this is not said.
        if let Ok(Source::Retired(retired)) = facts::source(record, &*self.source).await {
            record.note(format!(
                "the copy was deleted, or renamed, after it had been started; the source is {} now, and stopped",
                retired.summary.name
            ));
        }
        if record.plan.way == MoveWay::Portable
            && let Some(why) =
                delete_image(&*self.target, &record.image()).await.unwrap_or_else(|error| Some(error.to_string()))
        {
            record.note(format!("the image {} stays on the target: {why}", record.image()));
        }
        let policy = serde_json::to_string(&record.restart).unwrap_or_default();
        record.note(format!(
            "should it be found, under another name: it {} before, and its restart policy was {policy}; under its own name, \
             applying the move or calling it off goes on",
            if record.ran { "ran" } else { "did not run" }
        ));
        record.failed(&facts::lost(record));
        record.state = MoveState::Lost;
        self.save(record).await
    }

    /// The source comes first: it must not be down for a target that is away.
    async fn undo(&self, record: &mut MoveRecord) -> Result<Back> {
        if record.is_done(Step::Prepare) {
            if !self.restore_name(record).await? {
                return Ok(Back::Forward);
            }
            // Once only: what its owner does with it afterwards is not undone for a target that stays away.
            if !record.restored {
                if let Err(error) = self.restore_source(record).await {
                    // The copy may be what is in its way: on one server two containers cannot have one address.
                    self.clear_target(record).await.map_err(|_| error)?;
                    self.restore_source(record).await?;
                }
                record.restored = true;
                record.uncommit();
                self.save(record).await?;
            }
        }
        self.clear_target(record).await?;
        record.state = MoveState::RolledBack;
        self.save(record).await?;
        Ok(Back::Done)
    }

    /// Takes the commit back, if it was made; not when the copy runs already, or is all that there is.
    async fn restore_name(&self, record: &MoveRecord) -> Result<bool> {
        let retired = match facts::source(record, &*self.source).await? {
            Source::Own(_) => {
                // Whoever gave the source its name back may have done so with the copy, too.
                let started = record.copy == CopyState::Started;
                return Ok(!(started && matches!(facts::target(record, &*self.target).await?, Target::Copy(_))));
            }
            Source::Retired(retired) => retired,
            Source::Gone => {
                return match facts::target(record, &*self.target).await? {
                    Target::Copy(_) if record.is_done(Step::RetireSource) => Ok(false),
                    _ => Err(facts::source_gone(record)),
                };
            }
        };
        // What has run may hold what the source does not, wherever it is now.
        let found = facts::target(record, &*self.target).await?;
        let ran = match &found {
            // It could not be started, or did not stay up: whoever had it stay up since did so on purpose.
            Target::Copy(copy) if record.copy == CopyState::Useless => self.stays_up(copy).await?,
            Target::Copy(copy) => record.copy == CopyState::Started || facts::has_run(copy),
            _ => record.copy == CopyState::Started || facts::went_on_elsewhere(record, &*self.target).await?,
        };
        if ran {
            return Ok(false);
        }
        if let Target::Copy(copy) = &found {
            // It may have its policy by now, and may stay for a while when its node goes away.
            self.silence(copy).await?;
        }
        handle(&*self.source, &retired).rename(&record.plan.container).await?;
        Ok(true)
    }

    /// The source is let go and runs as before. A stop that its engine may still be at is finished first, while the container
    /// is held: started before, it would be down again a moment later.
    async fn restore_source(&self, record: &mut MoveRecord) -> Result<()> {
        let mut own = self.own_source(record).await?;
        if record.stopping {
            if !at_rest(own.summary.state) {
                match self.end_source(record, &own).await {
                    // An engine that says why it does not stop it is not at it any more.
                    Err(error) if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {}
                    ended => ended?,
                }
                own = self.own_source(record).await?;
            }
            record.stopping = false;
            self.save(record).await?;
        }
        let container = handle(&*self.source, &own);
        if self.source.capabilities().update {
            let mut changes = ContainerUpdate::hold(false);
            changes.restart = (own.spec.restart != record.restart).then_some(record.restart);
            container.update(&changes).await?;
        }
        if record.ran && !own.summary.state.has_processes() {
            container.start().await?;
        }
        Ok(())
    }

    /// Deletes the copy and the temporary image, and nothing that does not bear our mark.
    pub(super) async fn clear_target(&self, record: &MoveRecord) -> Result<()> {
        if let Target::Copy(copy) = facts::target(record, &*self.target).await? {
            // A rename that was on its way when this process was interrupted may have come through only now.
            self.own_source(record).await?;
            match handle(&*self.target, &copy).delete(&DeleteOptions::force()).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if record.plan.way == MoveWay::Portable {
            delete_image(&*self.target, &record.image()).await?;
        }
        Ok(())
    }
}
