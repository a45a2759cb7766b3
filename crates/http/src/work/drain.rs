//! A drain as a job: each move is an item with its plan, and a move like all others, which is kept and goes on by itself. A move that
//! was begun is waited for and not begun again.

use std::time::Duration;

use actix_web::web::Data;
use futures_util::StreamExt;
use futures_util::stream;
use roadstead_core::migration::{MovePlan, MoveState};
use roadstead_core::pool::{ActionOutcome, DrainPlan};
use roadstead_core::{Error, ErrorKind, NodeError, Result, Retry};
use serde::Serialize;

use super::book::Stream;
use super::record::{Asked, Drain, JobItem, Task, short};
use super::{Desk, End, StoredJob, Works};
use crate::actions::line;
use crate::state::App;

/// A move has deadlines of its own; it is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// What came of the move of one container: a line of the job's output.
#[derive(Debug, Serialize)]
struct Drained<'a> {
    /// The container's name.
    container: &'a str,
    /// Its id on the node that is drained.
    container_id: &'a str,
    /// Where it goes.
    target: &'a str,
    /// Path of the move, once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    migration_path: Option<String>,
    /// Where the move stands; absent when it did not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<MoveState>,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a NodeError>,
}

/// Keeps a drain as a job, and begins to work at it.
///
/// # Errors
/// `NotFound` when the node is none of the server's any more, and as for [`Works::begin`].
pub(crate) async fn start(
    app: &Data<App>,
    pool: &str,
    plan: &DrainPlan,
    concurrency: usize,
    asked: Asked,
) -> Result<StoredJob> {
    let _ = app.nodes.get(&plan.node)?;
    let plans: Vec<_> = plan.moves.iter().map(|planned| planned.plan.clone()).collect();
    let items: Vec<_> = plans.iter().map(item).collect();
    let (pool, node) = (pool.to_owned(), plan.node.clone());
    let task = Task::Drain(Drain { pool, node, concurrency, stays: plan.stays.len() });
    Works::begin_with(app, task, asked, &plans, &items).await
}

fn item(plan: &MovePlan) -> JobItem {
    JobItem {
        node: plan.source.clone(),
        id: plan.container_id.clone(),
        name: plan.container.clone(),
        state: None,
        outcome: ActionOutcome::NotBegun,
        error: None,
        target: Some(plan.target.clone()),
        migration: Some(plan.id.clone()),
    }
}

pub(super) async fn run(desk: &Desk, drain: &Drain) -> Result<End> {
    let id = desk.ledger.record().id;
    let plans = desk.book.plans(&id).await?;
    let items = desk.book.items_of(&id, 0).await?.unwrap_or_default();
    desk.ledger.knows_items(0, &items);
    let open = items
        .into_iter()
        .zip(plans)
        .enumerate()
        .filter(|(_, (item, _))| matches!(item.outcome, ActionOutcome::NotBegun | ActionOutcome::Unknown));
    stream::iter(open)
        .for_each_concurrent(drain.concurrency, |(index, (item, plan))| one(desk, index, item, plan))
        .await;
    let counts = desk.ledger.record().items;
    let signal = *desk.cancelled.borrow();
    Ok(match signal {
        _ if counts.done == counts.total => End::with(i32::from(drain.stays > 0)),
        Some(signal) => End::killed(signal),
        None => End::with(1),
    })
}

/// Moves one container, to the end.
async fn one(desk: &Desk, index: usize, mut item: JobItem, plan: MovePlan) {
    let mut state = None;
    let result = begin(desk, index, &mut item, &plan).await;
    let result = match result {
        Ok(()) => follow(desk, &plan.id, &mut state).await,
        Err(error) => Err(error),
    };
    item.error = result.as_ref().err().map(|error| short(NodeError::new(&plan.source, error)));
    item.outcome = match (&result, state) {
        (Ok(()), _) => ActionOutcome::Done,
        (Err(_), Some(MoveState::RolledBack)) => ActionOutcome::Failed,
        (Err(error), None) if error.kind() == ErrorKind::Cancelled => ActionOutcome::NotBegun,
        (Err(error), None) if error.retry() != Retry::Unknown => ActionOutcome::Failed,
        (Err(_), _) => ActionOutcome::Unknown,
    };
    let drained = Drained {
        container: &plan.container,
        container_id: &plan.container_id,
        target: &plan.target,
        migration_path: state.map(|_| format!("/v1/migrations/{}", plan.id)),
        state,
        error: item.error.as_ref(),
    };
    desk.ledger.say(Stream::Stdout, &line(&drained));
    if let Err(error) = desk.ledger.put_item(0, index, item) {
        tracing::error!(%error, "the end of a move is not written down in its drain");
    }
}

/// Begins the move, unless that was done before: its record tells.
async fn begin(desk: &Desk, index: usize, item: &mut JobItem, plan: &MovePlan) -> Result<()> {
    if item.outcome == ActionOutcome::Unknown && desk.app.moves.is_kept(&plan.id).await? {
        return Ok(());
    }
    desk.may_begin()?;
    item.outcome = ActionOutcome::Unknown;
    desk.ledger.put_item(0, index, item.clone())?;
    desk.ledger.flush().await?;
    desk.may_begin()?;
    desk.app.moves.begin(&desk.app, plan.clone(), desk.request_id()).await.map(drop)
}

/// Waits until the move is over, and calls it off when the drain is.
async fn follow(desk: &Desk, id: &str, state: &mut Option<MoveState>) -> Result<()> {
    let mut called_off = false;
    loop {
        let (record, active) = desk.app.moves.get(id).await?;
        *state = Some(record.state);
        let failure = || match &record.failure {
            Some(failure) => Error::new(failure.code, failure.detail.clone()).with_retry(failure.retry),
            None => Error::new(ErrorKind::Cancelled, "the move was called off"),
        };
        match record.state {
            MoveState::Done => return Ok(()),
            // Nobody goes on with what is lost, or waits for a person.
            ended if ended.is_final() => return Err(failure()),
            _ if record.failure.is_some() && active.is_none() && !desk.app.moves.goes_on(id).await? => {
                return Err(failure());
            }
            _ => {}
        }
        let changed = async {
            match active {
                // It ends with the work on the move here; otherwise another server works at it.
                Some(active) => drop(active.job.wait(Duration::from_secs(60)).await),
                None => tokio::time::sleep(LOOK).await,
            }
        };
        tokio::select! {
            () = changed => {}
            _ = desk.signal(), if !called_off => {
                called_off = true;
                // One that has its commit behind it refuses, and is done in a moment.
                let _ = desk.app.moves.cancel(&desk.app, id, desk.request_id()).await;
            }
        }
    }
}
