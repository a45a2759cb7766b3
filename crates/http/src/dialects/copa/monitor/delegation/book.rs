//! What delegation remembers, in the store, so that every server tells of it and the next one goes on: what the last look found, and the
//! moves that were begun.

use std::collections::BTreeSet;
use std::time::Duration;

use roadstead_core::migration::MoveState;
use roadstead_core::pool::PlannedMove;
use roadstead_core::store::{Claim, Table};
use roadstead_core::{Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::measured::ago;
use crate::dialects::Dialect;
use crate::records::Records;

/// So many moves are remembered.
const KEPT: usize = 100;
/// The last look.
const LOOK: &str = "last";

/// What delegation does by its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Does {
    /// Nothing: no criterion is chosen.
    #[default]
    Nothing,
    /// It says what it would move.
    Proposes,
    /// It moves.
    Performs,
}

/// A container that would be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposal {
    pub(super) container: String,
    pub(super) container_pool: String,
    pub(super) destination_pool: String,
    pub(super) reason: String,
}

impl Proposal {
    pub(super) fn of(planned: &PlannedMove) -> Self {
        Proposal {
            container: planned.plan.container.clone(),
            container_pool: planned.plan.source.clone(),
            destination_pool: planned.plan.target.clone(),
            reason: planned.reason.clone(),
        }
    }
}

/// A pool that bears too much, or cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) container_pool: String,
    pub(super) reason: String,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) does: Does,
    /// What would be moved, or is being.
    pub(super) proposals: Vec<Proposal>,
    /// Pools that bear too much and stay as they are.
    pub(super) strained: Vec<Told>,
    /// Pools that did not answer.
    pub(super) errors: Vec<Told>,
}

/// A look that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    /// When.
    pub(super) at: Timestamp,
    /// By which server.
    pub(super) server: String,
    #[serde(flatten)]
    pub(super) found: Found,
}

/// A move that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delegated {
    /// Of the migration.
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) what: Proposal,
    pub(super) begun_at: Timestamp,
    /// Where it stood when it was looked at last; none before it has begun.
    pub(super) state: Option<MoveState>,
    /// When it was seen to be over.
    pub(super) ended_at: Option<Timestamp>,
    /// Why it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Delegated {
    fn involves(&self, pool: &str) -> bool {
        self.what.container_pool == pool || self.what.destination_pool == pool
    }
}

/// The moves that were begun, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(pub(super) Vec<Delegated>);

impl Moves {
    /// The containers that were moved so lately that they stay.
    pub(super) fn resting(&self, rest: Duration) -> BTreeSet<String> {
        let since = ago(rest);
        let lately = |of: &&Delegated| of.ended_at.is_none_or(|ended| ended > since);
        self.0.iter().filter(lately).map(|of| of.what.container.clone()).collect()
    }

    /// Whether a pool is not looked at: a move off it or to it is under way, or is over for so short a time that what was measured before
    /// its end still counts.
    pub(super) fn is_unsettled(&self, pool: &str, settle: Duration) -> bool {
        let since = ago(settle);
        self.0.iter().any(|of| of.involves(pool) && of.ended_at.is_none_or(|ended| ended > since))
    }
}

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Book {
    looks: Table<Look>,
    moves: Table<Delegated>,
}

impl Book {
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn new(records: &Records) -> Result<Self> {
        Ok(Book {
            looks: records.of_dialect(Dialect::Copa, "looks", "look of the delegation")?,
            moves: records.of_dialect(Dialect::Copa, "delegated", "move of the delegation")?,
        })
    }

    /// What was found last, if anybody looked.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn look(&self) -> Result<Option<Look>> {
        Ok(self.looks.get(LOOK).await?.map(|kept| kept.value))
    }

    /// The moves that were begun. One that makes no sense hides no other.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn moves(&self) -> Result<Moves> {
        let (moves, _) = self.moves.all().await?;
        let mut moves: Vec<_> = moves.into_iter().filter_map(|(_, kept)| Some(kept.ok()?.value)).collect();
        moves.sort_by(|a, b| b.begun_at.cmp(&a.begun_at).then_with(|| a.id.cmp(&b.id)));
        Ok(Moves(moves))
    }

    /// Keeps what a look found, while the claim holds.
    ///
    /// # Errors
    /// `Conflict` when it does not, and those of the store.
    pub(super) async fn put_look(&self, claim: &Claim, look: &Look) -> Result<()> {
        self.looks.put_while(LOOK, claim.guard(), look).await.map(drop)
    }

    /// Keeps where a move stands, while the claim holds, and forgets the oldest ones.
    ///
    /// # Errors
    /// `Conflict` when it does not, and those of the store.
    pub(super) async fn put_move(&self, claim: &Claim, of: &Delegated) -> Result<()> {
        self.moves.put_while(&of.id, claim.guard(), of).await?;
        for old in self.moves().await?.0.iter().skip(KEPT).filter(|old| old.ended_at.is_some()) {
            self.moves.remove(&old.id).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(container: &str, begun: u64, ended: Option<u64>) -> Delegated {
        Delegated {
            id: format!("{container}-{begun}"),
            what: Proposal {
                container: container.to_owned(),
                container_pool: "from".to_owned(),
                destination_pool: "to".to_owned(),
                reason: String::new(),
            },
            begun_at: ago(Duration::from_secs(begun)),
            state: None,
            ended_at: ended.map(|ended| ago(Duration::from_secs(ended))),
            error: None,
        }
    }

    #[test]
    fn what_was_moved_rests_and_its_pools_settle() {
        let seconds = Duration::from_secs;
        let moves = Moves(vec![moved("new", 50, Some(40)), moved("old", 500, Some(400))]);
        assert_eq!(moves.resting(seconds(300)), ["new".to_owned()].into());
        assert_eq!(moves.resting(seconds(30)), BTreeSet::new());
        for pool in ["from", "to"] {
            assert!(moves.is_unsettled(pool, seconds(60)) && !moves.is_unsettled(pool, seconds(30)));
        }
        assert!(!moves.is_unsettled("other", seconds(60)));
        // One that is not over counts however long it takes.
        let open = Moves(vec![moved("slow", 5000, None)]);
        assert!(open.is_unsettled("from", seconds(30)) && open.resting(seconds(1)).contains("slow"));
    }
}
