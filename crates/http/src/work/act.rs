//! A verb over many containers as a job: each container is an item, which is written down before the verb is sent and after it was
//! answered.

use async_trait::async_trait;
use roadstead_core::pool::{ActLog, ActedItem, ActionOutcome, ManyOptions};
use roadstead_core::{PoolExt, Result, Timestamp};

use super::book::Stream;
use super::record::{Act, JobItem, short};
use super::{Desk, End};
use crate::actions::line;

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
        let meant = desk.ledger.record().meant;
        let pool = pool.resolve_of(&desk.app.nodes, left() / 2, |node| meant.contains_key(node)).await?;
        let mut options = ManyOptions::of(act.filter.clone());
        options.concurrency = act.concurrency;
        options.per_node = act.per_node;
        options.deadline = left();
        pool.act_logged(&act.action, &options, desk).await
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
