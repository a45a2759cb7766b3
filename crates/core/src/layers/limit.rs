//! At most so many calls at once on one node: an engine that is slow must not be given ever more to do.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Around, Call, first};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::operation::{self, Operation, Pace};
use crate::stream::ItemStream;

/// Lets a number of calls through at once; others wait for their turn, for a bounded time.
///
/// Waits with a deadline of the caller's own (`container.wait`, `job.wait`) and open streams do not count: they cost the
/// engine nothing, and would shut out everything else. Calls that the engine answers soon, calls that take their time, and
/// uploads, which last as long as the uploader likes, have turns of their own each: none shuts out the others.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    quick: Semaphore,
    slow: Semaphore,
    uploads: Semaphore,
    patience: Duration,
}

fn turns(calls: usize) -> Semaphore {
    Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS))
}

/// Whether it takes in a body, whose sender says how long that lasts.
fn is_upload(operation: &Operation) -> bool {
    [
        &operation::CONTAINER_COPY_IN,
        &operation::NODE_RESTORE_CONTAINER,
        &operation::IMAGE_IMPORT,
        &operation::IMAGE_LOAD,
    ]
    .iter()
    .any(|upload| upload.name == operation.name)
}

impl ConcurrencyLimit {
    /// At most `quick` calls of [`Pace::Quick`] at once, `slow` ones of [`Pace::Slow`], and as many uploads as slow ones
    /// (each at least 1); a call waits `patience` at most, then fails with `ResourceExhausted`.
    #[must_use]
    pub fn new(quick: usize, slow: usize, patience: Duration) -> Self {
        ConcurrencyLimit { quick: turns(quick), slow: turns(slow), uploads: turns(slow), patience }
    }
}

impl Default for ConcurrencyLimit {
    /// 64 quick calls, 16 slow ones, 16 uploads, 30 s.
    fn default() -> Self {
        ConcurrencyLimit::new(64, 16, Duration::from_secs(30))
    }
}

impl Around for ConcurrencyLimit {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let turns = match call.operation.pace {
            Pace::CallerDeadline => return first(&mut attempt).await,
            Pace::Slow if is_upload(call.operation) => &self.uploads,
            Pace::Slow => &self.slow,
            Pace::Quick => &self.quick,
        };
        match timeout(self.patience, turns.acquire()).await {
            // The semaphore is never closed, so the inner result says nothing; the permit is held to the end.
            Ok(_turn) => first(&mut attempt).await,
            Err(_) => Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("too many calls at once; no turn within {} s", self.patience.as_secs_f64()),
            )
            .with_retry(Retry::Safe)),
        }
    }

    fn stream<T: Send + 'static>(&self, _: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        stream
    }
}
