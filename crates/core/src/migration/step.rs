//! The steps of a move, in their order, and the points at which it may be cut.

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// One step of a move. Each is idempotent, and begins by looking at the real state of both sides.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub enum Step {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Step {
            /// Every step, in order.
            pub const ALL: &'static [Step] = &[$(Step::$variant),+];

            /// The word used in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Step::$variant => $name,)+ }
            }
        }
    };
}

steps! {
    /// Looks whether the plan still fits, and writes the record down.
    Prepare = "prepare";
    /// Makes the source's engine leave it alone, and stops it.
    StopSource = "stop_source";
    /// Makes the copy: under its final name, marked, never restarted by its engine, not running.
    Copy = "copy";
    /// Compares the copy with the source.
    Verify = "verify";
    /// Renames the source. This one call is the commit: before it the source is the container, afterwards the copy is.
    RetireSource = "retire_source";
    /// Gives the copy its restart policy, and deletes what only the copying needed.
    SettleTarget = "settle_target";
    /// Starts the copy, if the source ran.
    StartTarget = "start_target";
    /// Deletes the source.
    DeleteSource = "delete_source";
    /// Writes down that it is done.
    Finish = "finish";
}

impl Step {
    /// Whether the commit has not been made when this step begins.
    #[must_use]
    pub fn is_before_commit(self) -> bool {
        self <= Step::RetireSource
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where in a step a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Phase {
    /// Nothing of it is done.
    Before,
    /// Between two calls of it, or in the middle of a stream.
    Within,
    /// All of it is done, and not written down yet.
    After,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: &'static [Phase] = &[Phase::Before, Phase::Within, Phase::After];
}

/// A point that a move passes: where it may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point {
    /// The step.
    pub step: Step,
    /// Where in it.
    pub phase: Phase,
}

impl Point {
    /// Every point of a move, in order.
    pub fn all() -> impl Iterator<Item = Point> {
        Step::ALL.iter().flat_map(|step| Phase::ALL.iter().map(|phase| Point { step: *step, phase: *phase }))
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Before => "before",
            Phase::Within => "within",
            Phase::After => "after",
        };
        write!(f, "{phase} {}", self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_json_agree_and_the_commit_divides_the_steps() {
        for step in Step::ALL {
            assert_eq!(serde_json::to_value(step).unwrap(), step.name());
        }
        let before = Step::ALL.iter().filter(|step| step.is_before_commit()).count();
        assert_eq!(Step::ALL.get(before - 1), Some(&Step::RetireSource));
        assert_eq!(Point::all().count(), Step::ALL.len() * Phase::ALL.len());
    }
}
