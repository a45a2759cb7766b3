//! A verb over many containers as a job: each container is an item, which is written down before the verb is sent and after it was
//! answered.

use std::collections::BTreeSet;

use async_trait::async_trait;
use roadstead_core::pool::{ActLog, ActedItem, ActionOutcome, ManyOptions};
use roadstead_core::{Error, ErrorKind, NodeError, PoolExt, Result, Timestamp};

use super::book::Stream;
use super::record::{Act, JobItem, short};
use super::{Desk, End};
use crate::actions::line;
use crate::nodes::Meaning;

/// The most nodes of which it is kept how they answered, and the most of these that did not: it has to fit into one entry of the store.
const ANSWERS_MAX: usize = 2000;
const ERRORS_MAX: usize = 300;

#[async_trait]
impl ActLog for Desk {
    async fn earlier(&self, node: &str) -> Result<Option<Vec<ActedItem>>> {
        let number = self.ledger.number_of(node);
        let Some(items) = self.book.items_of(&self.ledger.record().id, number).await? else { return Ok(None) };
        self.ledger.knows_items(number, &items);
        Ok(Some(items.into_iter().map(ActedItem::from).collect()))
    }

    async fn listed(&self, node: &str, items: &[ActedItem]) -> Result<()> {
        self.ledger.put_items(self.ledger.number_of(node), items.iter().map(JobItem::from).collect())?;
        self.ledger.flush().await
    }

    async fn begins(&self, node: &str, index: usize, item: &ActedItem) -> Result<()> {
        self.may_begin()?;
        self.ledger.put_item(self.ledger.number_of(node), index, item.into())?;
        self.ledger.flush().await?;
        // Writing may have taken a while.
        self.may_begin().inspect_err(|_| {
            let not_begun = JobItem { outcome: ActionOutcome::NotBegun, error: None, ..JobItem::from(item) };
            let _ = self.ledger.put_item(self.ledger.number_of(node), index, not_begun);
        })
    }

    async fn ended(&self, node: &str, index: usize, item: &ActedItem) {
        let told = self.ledger.put_item(self.ledger.number_of(node), index, item.into());
        if let Err(error) = told {
            tracing::error!(%error, "the end of an item is not written down");
        }
        self.ledger.say(Stream::Stdout, &line(item));
    }
}

pub(super) async fn run(desk: &Desk, act: &Act) -> Result<End> {
    let left = || act.until.since(Timestamp::now());
    let work = async {
        // Half of the time at most goes for connecting: a member that takes longer does not answer.
        let pool = desk.app.pools.get(&act.pool).await?;
        let nodes = &desk.app.nodes;
        let known: Option<BTreeSet<&str>> = desk.meant.as_ref().map(|meant| {
            nodes.meanings(meant).filter(|(_, meaning)| *meaning == Meaning::Same).map(|(name, _)| name).collect()
        });
        let is_known = |node: &str| {
            // One that is not reached from here is asked for what keeps it away.
            known.as_ref().is_none_or(|known| known.contains(node))
                || nodes.get(node).is_ok_and(|slot| slot.is_elsewhere())
        };
        let pool = pool.resolve_of(nodes, left() / 2, is_known).await?;
        let mut options = ManyOptions::of(act.filter.clone());
        options.concurrency = act.concurrency;
        options.per_node = act.per_node;
        options.deadline = left();
        let mut acted = pool.act_logged(&act.action, &options, desk).await?;
        // Who belonged to it, and is no such engine here.
        for (node, meaning) in desk.meant.iter().flat_map(|meant| nodes.meanings(meant)) {
            let told = acted.errors.iter().any(|error| error.node == node);
            let error = match meaning {
                Meaning::Same => continue,
                _ if told => continue,
                Meaning::Gone => Error::not_found("node", node),
                Meaning::Other => {
                    let words = "it is one of another server, which does not work at the job any more";
                    Error::new(ErrorKind::Unavailable, words).with_node(node)
                }
            };
            acted.errors.push(NodeError::new(node, &error));
        }
        Ok::<_, Error>(acted)
    };
    let acted = match work.await {
        Ok(acted) => acted,
        Err(error) => return Ok(End::with(desk.fail(error))),
    };
    let all_done = acted.errors.is_empty() && acted.items.iter().all(|item| item.outcome == ActionOutcome::Done);
    let late = act.until <= Timestamp::now();
    // Of very many nodes, only so many fit into the record.
    for error in acted.errors.iter().skip(ERRORS_MAX) {
        desk.ledger.say(Stream::Stderr, &line(error));
    }
    desk.ledger.set(|record| {
        record.answers = acted.nodes.into_iter().take(ANSWERS_MAX).collect();
        record.errors = acted.errors.into_iter().take(ERRORS_MAX).map(short).collect();
    });
    let signal = *desk.cancelled.borrow();
    Ok(match signal {
        _ if all_done => End::with(0),
        Some(signal) => End::killed(signal),
        None if late => End::timed_out(),
        None => End::with(1),
    })
}
