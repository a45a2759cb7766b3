//! Applying a record: which steps are left, what an error means at each, and when it is written down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::archive::Manifest;
use super::commit::untouched;
use super::facts::{self, Source, Target};
use super::forward::called_off;
use super::log::MoveLog;
use super::observer::{Canceller, Observer, Unobserved};
use super::record::{CopyState, MoveFailure, MoveRecord, MoveState};
use super::step::{Phase, Point, Step};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::layers::{Deadline, wrap};
use crate::node::Node;
use crate::time::Timestamp;

/// The steps before the commit, which may be called off: all but a stop that has begun at any moment.
const REVOCABLE: [Step; 4] = [Step::Prepare, Step::StopSource, Step::Copy, Step::Verify];

/// The commit, and what follows from it.
const REST: [Step; 5] = [Step::RetireSource, Step::SettleTarget, Step::StartTarget, Step::DeleteSource, Step::Finish];

/// Moves containers between two nodes. One record must not be applied twice at the same time.
///
/// Every call on the nodes has a deadline: 60 s for what an engine answers soon, 6 h for a whole copy, 10 min for the silence
/// of a stream; layers that the nodes came with may be stricter. Dropping a future of it is like the death of the process:
/// apply the record of the log again.
#[derive(Debug)]
pub struct Mover {
    pub(super) source: Arc<dyn Node>,
    pub(super) target: Arc<dyn Node>,
    pub(super) log: Arc<dyn MoveLog>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) canceller: Canceller,
    pub(super) grace: Duration,
    /// What the copying of this run read, to name differences by their paths.
    pub(super) read: Mutex<Option<Manifest>>,
}

/// What rolling back came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The container is on the source as it was.
    Done,
    /// The copy runs, or is all that there is: there is no way back.
    Forward,
    /// Neither side has the container: there is nothing left to do.
    Lost,
}

fn bounded(node: Arc<dyn Node>) -> Arc<dyn Node> {
    let (quick, slow) = (Duration::from_secs(60), Duration::from_secs(6 * 60 * 60));
    wrap(node, Deadline { quick, slow, ..Deadline::default() })
}

impl Mover {
    /// Moves from `source` to `target`, and keeps records in `log`.
    #[must_use]
    pub fn new(source: Arc<dyn Node>, target: Arc<dyn Node>, log: Arc<dyn MoveLog>) -> Self {
        Mover {
            source: bounded(source),
            target: bounded(target),
            log,
            observer: Arc::new(Unobserved),
            canceller: Canceller::default(),
            grace: Duration::from_secs(2),
            read: Mutex::default(),
        }
    }

    /// Has the move watched.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Has the move called off by `canceller`.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Self {
        self.canceller = canceller;
        self
    }

    /// How long a copy must run before it counts as started (default 2 s; zero asks the engine only).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Moves the container, from wherever the record stands; one that is rolling back is rolled back first, and then starts
    /// over. Gives the record of the finished move.
    ///
    /// # Errors
    /// What made it stop. The record in the log says where it stands: rolled back, or on its way with a node that is away
    /// (`Unavailable`), in which case applying it again goes on. `Cancelled` when it was called off, `NotFound` when it is lost:
    /// neither side has the container any more.
    pub async fn apply(&self, mut record: MoveRecord) -> Result<MoveRecord> {
        self.belongs(&record)?;
        self.look_again(&mut record).await?;
        match record.state {
            MoveState::Done => return Ok(record),
            MoveState::RollingBack => match self.back(&mut record).await? {
                Back::Done => {}
                Back::Forward => record.only_forward(),
                Back::Lost => return Err(facts::lost(&record)),
            },
            _ => {}
        }
        if record.state == MoveState::RolledBack {
            record.start_over();
        }
        let committed = match self.committed(&mut record).await {
            Ok(committed) => committed,
            Err(error) => {
                if self.canceller.is_cancelled() {
                    going_back(&mut record);
                }
                self.hindered(&mut record, error).await?;
                return Err(facts::lost(&record));
            }
        };
        if committed && let Err(error) = self.left_to_the_copy(&mut record).await {
            return self.stopped(record, error).await;
        }
        match self.forward(&mut record, committed).await {
            Ok(()) => Ok(record),
            Err(error) => self.stopped(record, error).await,
        }
    }

    /// Brings the container back to the source as it was: what was begun is undone.
    ///
    /// # Errors
    /// `Conflict` after the commit, when only [`Mover::apply`] helps; `NotFound` when the move is lost: neither side has the
    /// container any more; otherwise what made it stop, after which it may be called again.
    pub async fn roll_back(&self, mut record: MoveRecord) -> Result<MoveRecord> {
        self.belongs(&record)?;
        self.look_again(&mut record).await?;
        let late =
            || Error::new(ErrorKind::Conflict, format!("the container {} is on the target already", record.plan.name));
        match record.state {
            MoveState::RolledBack => return Ok(record),
            MoveState::Done => return Err(late()),
            MoveState::Moving => match self.committed(&mut record.clone()).await {
                Ok(true) => return Err(late()),
                Ok(false) => {}
                Err(error) => {
                    going_back(&mut record);
                    self.hindered(&mut record, error).await?;
                    return Err(facts::lost(&record));
                }
            },
            _ => {}
        }
        match self.back(&mut record).await? {
            Back::Done => Ok(record),
            Back::Lost => Err(facts::lost(&record)),
            Back::Forward => {
                record.only_forward();
                self.save(&mut record).await?;
                Err(Error::new(
                    ErrorKind::Conflict,
                    "the copy on the target runs already, or is all that there is: apply the move to finish it",
                ))
            }
        }
    }

    /// What was lost may be there again: somebody has given it its name back, or an engine did not know it for a moment. Then it
    /// is rolled back.
    async fn look_again(&self, record: &mut MoveRecord) -> Result<()> {
        if record.state != MoveState::Lost {
            return Ok(());
        }
        if facts::is_lost(record, &*self.source, &*self.target).await? {
            return Err(facts::lost(record));
        }
        record.state = MoveState::RollingBack;
        Ok(())
    }

    fn belongs(&self, record: &MoveRecord) -> Result<()> {
        for (field, planned, given) in
            [("source", &record.plan.source, self.source.name()), ("target", &record.plan.target, self.target.name())]
        {
            if planned != given {
                return Err(Error::invalid(field, format!("the move was planned for the node {planned}, not {given}")));
            }
        }
        Ok(())
    }

    /// Whether the commit was made. One that cannot count, because the copy is not there or was not found complete, is
    /// taken back.
    async fn committed(&self, record: &mut MoveRecord) -> Result<bool> {
        if !record.is_done(Step::Prepare) {
            return Ok(false);
        }
        if record.is_done(Step::RetireSource) {
            return Ok(true);
        }
        // Cut between the commit and its being written down, or before it.
        let found = facts::source(record, &*self.source).await?;
        let Source::Retired(retired) = found else {
            if matches!(found, Source::Own(_)) {
                return Ok(false);
            }
            // Our own rename would be seen until we delete what it made. Somebody else took it, to another place perhaps.
            return Err(facts::source_gone(record));
        };
        if record.verified
            && let Target::Copy(copy) = facts::target(record, &*self.target).await?
            && (facts::has_run(&copy) || untouched(record, &retired).is_ok())
        {
            return Ok(true);
        }
        facts::handle(&*self.source, &retired).rename(&record.plan.container).await?;
        Ok(false)
    }

    async fn forward(&self, record: &mut MoveRecord, committed: bool) -> Result<()> {
        let worked = record.has_worked();
        record.state = MoveState::Moving;
        record.failure = None;
        self.save(record).await?;
        if committed {
            // Cut after it had come through, and before it was written down.
            for step in REVOCABLE.into_iter().chain([Step::RetireSource]) {
                if !record.is_done(step) {
                    record.done(step);
                }
            }
        } else {
            for step in REVOCABLE {
                // The state and the policy of the source before the move are known from its first look only.
                if step == Step::Prepare && record.is_done(Step::Prepare) {
                    continue;
                }
                tokio::select! {
                    biased;
                    // An engine goes on with a stop whether anybody waits for it or not: going back before its end would
                    // start a container that goes down a moment later.
                    () = self.canceller.cancelled(), if step != Step::StopSource => return Err(called_off()),
                    done = self.step(record, step) => done?,
                }
            }
            // The last moment: engines that answer at once leave no other.
            if self.canceller.is_cancelled() {
                return Err(called_off());
            }
        }
        for step in REST {
            let done = match step {
                Step::RetireSource => committed,
                Step::SettleTarget | Step::StartTarget => worked,
                _ => false,
            };
            if !done {
                self.step(record, step).await?;
            }
        }
        Ok(())
    }

    async fn step(&self, record: &mut MoveRecord, step: Step) -> Result<()> {
        if !record.plan.steps.contains(&step) {
            return Ok(());
        }
        record.begin(step);
        self.observer.changed(record);
        self.reached(step, Phase::Before).await;
        match step {
            Step::Prepare => self.prepare(record).await,
            Step::StopSource => self.stop_source(record).await,
            Step::Copy => self.copy(record).await,
            Step::Verify => self.verify(record).await,
            Step::RetireSource => self.retire_source(record).await,
            Step::SettleTarget => self.settle_target(record).await,
            Step::StartTarget => self.start_target(record).await,
            Step::DeleteSource => self.delete_source(record).await,
            Step::Finish => {
                self.reached(step, Phase::Within).await;
                record.state = MoveState::Done;
                Ok(())
            }
        }?;
        self.reached(step, Phase::After).await;
        record.done(step);
        self.save(record).await
    }

    /// What an error means: before the commit the move goes back at once, after it only when the copy cannot work.
    async fn stopped(&self, mut record: MoveRecord, error: Error) -> Result<MoveRecord> {
        let step = record.current();
        record.failure = Some(MoveFailure::new(step, &error));
        let unable = match record.copy {
            CopyState::Untried => matches!(step, Step::SettleTarget | Step::StartTarget) && is_definite(&error),
            state => state == CopyState::Useless,
        };
        if record.is_done(Step::RetireSource) && !unable {
            return match self.hindered(&mut record, error).await {
                Ok(()) => Err(facts::lost(&record)),
                Err(error) => Err(error.with_context("move", "goes on when it is applied again")),
            };
        }
        match self.back(&mut record).await {
            Ok(Back::Done) => Err(error.with_context("move", "rolled back")),
            Ok(Back::Lost) => Err(error.with_context("move", "lost: neither side has the container any more")),
            Ok(Back::Forward) => {
                record.only_forward();
                self.save(&mut record).await?;
                Err(error.with_context("move", "goes on when it is applied again"))
            }
            Err(why) => Err(error.with_context("move", format!("is not rolled back yet: {why}"))),
        }
    }

    pub(super) async fn reached(&self, step: Step, phase: Phase) {
        self.observer.reached(Point { step, phase }).await;
    }

    pub(super) async fn save(&self, record: &mut MoveRecord) -> Result<()> {
        record.updated_at = Timestamp::now();
        self.log.save(record).await?;
        self.observer.changed(record);
        Ok(())
    }
}

/// Written down before it is known whether the commit was made, so that whoever goes on remembers that it was called off.
fn going_back(record: &mut MoveRecord) {
    if record.state == MoveState::Moving && !record.is_done(Step::RetireSource) {
        record.state = MoveState::RollingBack;
    }
}

/// Whether the engine has refused, so that trying again brings the same answer.
pub(super) fn is_definite(error: &Error) -> bool {
    error.retry() == Retry::Never && !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}
