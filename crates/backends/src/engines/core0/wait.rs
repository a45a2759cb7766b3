//! Waiting for the end of a container.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerExit, ContainerState, Error, ErrorKind, Result, Retry, WaitFor};
use tokio::time::{sleep, timeout};

use super::found::{self, Found};
use super::shared::Core0;

/// Nodes tell of nothing that happens to containers: they are asked in such steps.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for one result; then it is looked again what there is.
const ROUND: Duration = Duration::from_secs(60);

/// C100 to C102.
pub(super) async fn wait(
    core0: &Arc<Core0>,
    id: &str,
    condition: WaitFor,
    deadline: Duration,
) -> Result<ContainerExit> {
    timeout(deadline, until(core0, id, condition)).await.unwrap_or_else(|_| {
        let words = format!("it has not ended within {} s", deadline.as_secs_f64());
        Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Safe))
    })
}

async fn until(core0: &Arc<Core0>, id: &str, condition: WaitFor) -> Result<ContainerExit> {
    let first = found::one(core0, id).await?;
    let run =
        if first.state == ContainerState::Running { first.run.number } else { first.run.number.saturating_add(1) };
    let mut found = first.clone();
    let mut last = exit(&first);
    loop {
        let ended = found.state == ContainerState::Stopped;
        match condition {
            WaitFor::Stopped if found.state != ContainerState::Running => return Ok(exit(&found)),
            WaitFor::NextEnd if found.run.number > run || (ended && found.run.number == run) => {
                return Ok(exit(&found));
            }
            _ => {}
        }
        if ended {
            last = exit(&found);
        }
        main_job_ended(core0, &found).await?;
        sleep(if found.main_job().is_some() { Duration::ZERO } else { PAUSE }).await;
        found = match found::again(core0, &first).await {
            Ok(found) => found,
            // What is gone has ended; how, was not told.
            Err(error) if error.kind() == ErrorKind::NotFound && condition != WaitFor::NextEnd => return Ok(last),
            Err(error) => return Err(error),
        };
    }
}

/// Waits for the end of the main process, for one round; at once when there is none. How it ended is looked up afterwards.
async fn main_job_ended(core0: &Core0, found: &Found) -> Result<()> {
    let (Some(job), Some(kept)) = (found.main_job(), &found.kept) else { return Ok(()) };
    tokio::select! {
        told = told(core0, job, &kept.mark, found.run.number) => told,
        // It is not there any more, whatever its flag says.
        () = core0.watched.over(&kept.mark, found.run.number) => Ok(()),
    }
}

/// Waits until the node tells of it.
async fn told(core0: &Core0, job: &str, mark: &str, run: u64) -> Result<()> {
    if core0.followed.run(mark) == Some(run) {
        // It is followed already: no further connection waits.
        let _ = timeout(ROUND, core0.followed.ended(mark, run)).await;
        return Ok(());
    }
    match core0.client.result(job, ROUND).await {
        // It will not tell, though it may run on: only its end is seen then, and nobody asks meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let _ = timeout(ROUND, core0.watched.over(mark, run)).await;
            Ok(())
        }
        Err(error) if error.kind() != ErrorKind::DeadlineExceeded => Err(error),
        _ => Ok(()),
    }
}

fn exit(found: &Found) -> ContainerExit {
    let end = found.end.clone().unwrap_or_default();
    let mut exit = ContainerExit::default();
    (exit.exit_code, exit.error) = (end.exit_code, end.error);
    exit
}
