//! A drain as work of the server: a job of the drained node, whose output has a line for each container.
//!
//! The moves are moves like all others: each is kept, and goes on with the next server when this one ends. Moves that had not begun
//! then are not made: a drain is done again by asking for it again, and does what is left. This is the one place where a drain is
//! run, and where a durable job would take its place.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use futures_util::stream::{self, StreamExt};
use roadstead_core::jobs::JobProgress;
use roadstead_core::migration::MoveState;
use roadstead_core::pool::{DrainPlan, PlannedMove};
use roadstead_core::{Error, ErrorKind, Job, JobSpec, NodeError, OutputKind, Result};
use serde::Serialize;
use tokio::sync::watch;

use crate::actions::{Kill, line};
use crate::state::App;

/// A move has deadlines of its own; this is longer than any.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// What came of the move of one container: a line of the job's output.
#[derive(Debug, Serialize)]
struct Drained {
    /// The container's name.
    container: String,
    /// Its id on the node that is drained.
    container_id: String,
    /// Where it goes.
    target: String,
    /// Path of the move, once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    migration_path: Option<String>,
    /// Where the move stands; absent when it did not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<MoveState>,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NodeError>,
}

/// Carries a plan out, `concurrency` moves at a time. The job ends with 0 when every move is done and nothing stays.
///
/// # Errors
/// `NotFound` when the node is none of the server's any more, and when there are too many jobs.
pub(crate) fn start(
    app: &Data<App>,
    plan: DrainPlan,
    concurrency: usize,
    request_id: Option<String>,
) -> Result<Arc<dyn Job>> {
    let slot = app.nodes.get(&plan.node)?;
    let place = slot.keeper().admit(None, &JobSpec::new(["pool.drain", &plan.node]))?;
    let (off, called_off) = watch::channel(false);
    let left = plan.stays.len();
    let app = app.clone();
    let moves = stream::iter(plan.moves)
        .map(move |planned| one(app.clone(), planned, called_off.clone(), request_id.clone()))
        .buffer_unordered(concurrency);
    let progress = stream::unfold((moves.boxed(), left, false), |(mut moves, left, over)| async move {
        if over {
            return None;
        }
        Some(match moves.next().await {
            Some(drained) => {
                let left = if drained.state == Some(MoveState::Done) { left } else { left.saturating_add(1) };
                (Ok(JobProgress::Output(OutputKind::Stdout, line(&drained))), (moves, left, false))
            }
            None => (Ok(JobProgress::Ended(i32::from(left > 0))), (moves, left, true)),
        })
    });
    // Killing lets no further move begin, and calls off those that are under way.
    let kill = Kill(move |_| {
        off.send_replace(true);
    });
    let (job, feed) = place.started(Arc::new(kill), progress);
    tokio::spawn(feed);
    Ok(job)
}

/// Until the drain is called off. A job that nobody can kill any more is not.
async fn off(called_off: &mut watch::Receiver<bool>) {
    if called_off.wait_for(|off| *off).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Moves one container, to the end.
async fn one(
    app: Data<App>,
    planned: PlannedMove,
    mut called_off: watch::Receiver<bool>,
    request_id: Option<String>,
) -> Drained {
    let plan = planned.plan;
    let id = plan.id.clone();
    let mut drained = Drained {
        container: plan.container.clone(),
        container_id: plan.container_id.clone(),
        target: plan.target.clone(),
        migration_path: None,
        state: None,
        error: None,
    };
    let source = plan.source.clone();
    let work = async {
        if *called_off.borrow() {
            return Err(Error::new(ErrorKind::Cancelled, "the drain was called off before"));
        }
        let job = app.moves.begin(&app, plan, request_id.clone()).await?;
        drained.migration_path = Some(format!("/v1/migrations/{id}"));
        let ended = tokio::select! {
            ended = job.wait(LONG) => ended,
            () = off(&mut called_off) => {
                // One that has its commit behind it refuses, and is done in a moment.
                let _ = app.moves.cancel(&app, &id, request_id.clone()).await;
                job.wait(LONG).await
            }
        };
        ended?;
        let (record, _) = app.moves.get(&id).await?;
        drained.state = Some(record.state);
        match record.failure {
            Some(failure) if record.state != MoveState::Done => {
                Err(Error::new(failure.code, failure.detail).with_retry(failure.retry))
            }
            _ => Ok(()),
        }
    };
    let result = work.await;
    drained.error = result.err().map(|error| NodeError::new(&source, &error));
    drained
}
