//! The record of a move: what is written down at every step, so that a crash of anything loses nothing.

use serde::{Deserialize, Serialize};

use super::archive::Content;
use super::spec::MovePlan;
use super::step::Step;
use crate::container::RestartPolicy;
use crate::error::{Error, ErrorKind, Retry};
use crate::names::NAME_MAX;
use crate::time::Timestamp;

/// The label that the copy bears: its value is the id of the move.
pub const MARK: &str = "roadstead.move";

/// The longest name that every engine takes: it becomes a host name.
const SHORT_NAME_MAX: usize = 63;

/// How the note of the first failure begins, when another follows.
const CAUSE: &str = "failed first";

/// Where a move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum MoveState {
    /// Nothing was done yet.
    Planned,
    /// On its way forward; applying it again goes on.
    Moving,
    /// On its way back; applying it again first finishes that.
    RollingBack,
    /// The container is on the target.
    Done,
    /// The container is on the source as it was; applying it again starts over.
    RolledBack,
    /// Somebody deleted or renamed the container during the move: it goes neither forward nor back. What is left, if anything, is
    /// in the notes.
    Lost,
}

impl MoveState {
    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, MoveState::Done | MoveState::RolledBack | MoveState::Lost)
    }
}

/// Why a move was interrupted or rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MoveFailure {
    /// In which step.
    pub step: Step,
    /// What kind of error.
    pub code: ErrorKind,
    /// One line for a person.
    pub detail: String,
    /// Whether trying again is wise.
    pub retry: Retry,
    /// When.
    pub at: Timestamp,
}

impl MoveFailure {
    pub(super) fn new(step: Step, error: &Error) -> Self {
        MoveFailure { step, code: error.kind(), detail: error.to_string(), retry: error.retry(), at: Timestamp::now() }
    }
}

/// A step as far as it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// When it began, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// What is known of the source at the moment at which it was stopped: see [`Stopped::ran_since`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Stopped {
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
}

impl Stopped {
    /// Whether somebody started it since, by what is known of it now. Engines may forget the end of a container that was
    /// renamed, but not that it was started.
    #[must_use]
    pub fn ran_since(&self, now: &Stopped) -> bool {
        let ended = self.finished_at.zip(now.finished_at);
        self.started_at != now.started_at || ended.is_some_and(|(before, now)| before != now)
    }
}

/// What is known of the copy since the commit: whether it may hold what the source does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum CopyState {
    /// It was never told to start, nor seen to have run.
    #[default]
    Untried,
    /// It was told to start, or seen to have run: nothing takes it away any more.
    Started,
    /// It cannot be started, or does not stay up: the source is to be the container again.
    Useless,
}

/// Everything that is known of one move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MoveRecord {
    /// The plan.
    pub plan: MovePlan,
    /// Where it stands.
    pub state: MoveState,
    /// The steps of the plan as far as they got.
    pub steps: Vec<StepRecord>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When something changed last.
    pub updated_at: Timestamp,
    /// Whether the source ran when the move began.
    pub ran: bool,
    /// The source's restart policy when the move began.
    pub restart: RestartPolicy,
    /// When the source was created: tells it from another container of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_created_at: Option<Timestamp>,
    /// Whether the source was told to stop, and was not seen at rest since: its engine may still be at it.
    #[serde(default)]
    pub stopping: bool,
    /// How the source was found once it was stopped; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Content that was read of the source, when the copy was made by a file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Whether the copy was made to its end.
    pub copied: bool,
    /// Whether it was found complete.
    pub verified: bool,
    /// What is known of it since the commit.
    #[serde(default)]
    pub copy: CopyState,
    /// Whether the source is as it was again: what is left of rolling back is the target's.
    #[serde(default)]
    pub restored: bool,
    /// Bytes of content read so far, for people.
    pub bytes: u64,
    /// Why it does not go on, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<MoveFailure>,
    /// What was left behind or went otherwise than planned, for a person.
    pub notes: Vec<String>,
    /// The request that it goes back to, for whoever keeps a log of what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl MoveRecord {
    /// The record of a plan that was not begun.
    #[must_use]
    pub fn new(plan: MovePlan) -> Self {
        let now = Timestamp::now();
        let steps =
            plan.steps.iter().map(|step| StepRecord { step: *step, started_at: None, finished_at: None }).collect();
        MoveRecord {
            ran: plan.running,
            plan,
            state: MoveState::Planned,
            steps,
            created_at: now,
            updated_at: now,
            restart: RestartPolicy::Never,
            source_created_at: None,
            stopping: false,
            stopped: None,
            content: None,
            copied: false,
            verified: false,
            copy: CopyState::Untried,
            restored: false,
            bytes: 0,
            failure: None,
            notes: Vec::new(),
            request_id: None,
        }
    }

    /// The id of the move.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.plan.id
    }

    /// The name that the source gets at the commit.
    #[must_use]
    pub fn retired_name(&self) -> String {
        retired_name(&self.plan.container, &self.plan.id)
    }

    /// The temporary image on the target.
    #[must_use]
    pub fn image(&self) -> String {
        format!("roadstead/move:{}", self.plan.id)
    }

    pub(super) fn is_done(&self, step: Step) -> bool {
        self.steps.iter().any(|record| record.step == step && record.finished_at.is_some())
    }

    /// Whether the copy needs no start any more. What has run and is not started again by its engine either has done its work: it
    /// is not done twice. And what was seen to stay up, by a try that then only could not delete the source, is its owner's.
    pub(super) fn has_worked(&self) -> bool {
        let was_up = self.failure.as_ref().is_some_and(|failure| failure.step == Step::DeleteSource);
        self.is_done(Step::StartTarget) && (was_up || !self.starts_by_itself())
    }

    /// Whether the engine starts the container again whatever its end was.
    pub(super) fn starts_by_itself(&self) -> bool {
        matches!(self.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped)
    }

    /// The step that was begun last and is not done; between two steps the next one.
    #[must_use]
    pub fn current(&self) -> Step {
        let open = self.steps.iter().rev().find(|record| record.started_at.is_some() && record.finished_at.is_none());
        let next = || self.steps.iter().find(|record| record.finished_at.is_none());
        open.or_else(next).map_or(Step::Finish, |record| record.step)
    }

    /// The commit was taken back, and with it whatever followed.
    pub(super) fn uncommit(&mut self) {
        for record in self.steps.iter_mut().filter(|record| record.step >= Step::RetireSource) {
            (record.started_at, record.finished_at) = (None, None);
        }
    }

    /// Goes on with what may hold what the source does not.
    pub(super) fn only_forward(&mut self) {
        (self.state, self.copy) = (MoveState::Moving, CopyState::Started);
        // The commit was made, whether that was written down or not.
        for step in self.plan.steps.clone().into_iter().filter(|step| *step <= Step::RetireSource) {
            if !self.is_done(step) {
                self.done(step);
            }
        }
    }

    /// What an earlier try knew of later steps is not known of this one.
    pub(super) fn begin(&mut self, step: Step) {
        for record in self.steps.iter_mut().filter(|record| record.step >= step) {
            record.started_at = (record.step == step).then(Timestamp::now);
            record.finished_at = None;
        }
    }

    pub(super) fn done(&mut self, step: Step) {
        if let Some(record) = self.steps.iter_mut().find(|record| record.step == step) {
            record.finished_at = Some(Timestamp::now());
        }
    }

    /// Forgets everything of an earlier try, so that the next one begins with what it finds.
    pub(super) fn start_over(&mut self) {
        *self = MoveRecord { created_at: self.created_at, ..MoveRecord::new(self.plan.clone()) };
    }

    /// Takes other steps into the plan, and keeps what is known of those that it had.
    pub(super) fn replan(&mut self, steps: Vec<Step>) {
        let known = std::mem::take(&mut self.steps);
        self.steps = steps
            .iter()
            .map(|step| {
                let found = known.iter().find(|record| record.step == *step).cloned();
                found.unwrap_or(StepRecord { step: *step, started_at: None, finished_at: None })
            })
            .collect();
        self.plan.steps = steps;
    }

    /// Keeps the newest reason; the one for which it goes back stays in the notes. On the way back the step is the one that it
    /// did not come beyond.
    pub(super) fn failed(&mut self, error: &Error) {
        let reached = self.failure.as_ref().filter(|_| self.state == MoveState::RollingBack).map(|first| first.step);
        let newest = MoveFailure::new(reached.unwrap_or_else(|| self.current()), error);
        if let Some(cause) = self.failure.replace(newest)
            && cause.detail != error.to_string()
            && !self.notes.iter().any(|note| note.starts_with(CAUSE))
        {
            self.note(format!("{CAUSE}: {}", cause.detail));
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// `NAME-moved-` and eight digits of the id; the name is cut where the whole would be too long for a host name.
fn retired_name(name: &str, id: &str) -> String {
    let end = format!("-moved-{}", id.get(..8).unwrap_or(id));
    let limit = if name.len() > SHORT_NAME_MAX { NAME_MAX } else { SHORT_NAME_MAX } - end.len();
    let short = name.get(..name.len().min(limit)).unwrap_or(name).trim_end_matches(['-', '.', '_']);
    format!("{short}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_names_are_names() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(retired_name("web", id), "web-moved-01234567");
        for length in [2, 47, 48, 49, 63, 64, 255] {
            let name = retired_name(&"x".repeat(length), id);
            crate::names::container_name("name", &name).unwrap();
            assert!(length > SHORT_NAME_MAX || name.len() <= SHORT_NAME_MAX, "{name}");
        }
        assert_eq!(retired_name(&format!("{}-{}", "x".repeat(47), "y".repeat(10)), id).len(), 47 + 15);
    }
}
