//! Repeats what may be repeated.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{Around, Call};
use crate::error::{self, Error, ErrorKind, Result};
use crate::operation::{Access, Pace};
use crate::stream::ItemStream;

/// Repeats calls that failed in a passing way, with growing pauses.
///
/// A read is repeated when the engine was unavailable or the error says that it is safe; a write only when the error says
/// that it is safe, which means that nothing happened. A call whose argument was used up is never repeated, nor is a stream
/// once it has begun.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts in all (default 3).
    pub attempts: u32,
    /// First pause, doubled each time, with jitter down to a half (default 50 ms).
    pub pause: Duration,
    /// No attempt begins later than this after the first one (default 5 s).
    pub within: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 3, pause: Duration::from_millis(50), within: Duration::from_secs(5) }
    }
}

fn may_repeat(call: &Call<'_>, error: &Error) -> bool {
    // A wait has used up the time that the caller granted; repeating it would take longer than asked for.
    if call.operation.pace == Pace::CallerDeadline {
        return false;
    }
    match (call.operation.access, error.retry()) {
        (_, error::Retry::Safe) => true,
        (Access::Read, error::Retry::Unknown) => error.kind() == ErrorKind::Unavailable,
        _ => false,
    }
}

/// Between a half and all of `pause`, so that many callers do not come back at the same moment.
fn jitter(pause: Duration) -> Duration {
    // The standard library's hasher is seeded at random, which is random enough for this.
    let random = RandomState::new().hash_one(0_u8) >> 32;
    pause / 2 + pause.mul_f64(0.5 * random as f64 / f64::from(u32::MAX))
}

impl Around for Retry {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut pause = self.pause;
        let mut last = Error::new(ErrorKind::Unexpected, "a call had no attempt");
        for number in 1..=self.attempts.max(1) {
            let Some(future) = attempt() else { break };
            match future.await {
                Ok(value) => return Ok(value),
                Err(error) => last = error,
            }
            let rest = jitter(pause);
            if number == self.attempts || !may_repeat(&call, &last) || begun.elapsed() + rest > self.within {
                break;
            }
            tracing::debug!(operation = call.operation.name, node = call.node, number, error = %last, "repeating");
            sleep(rest).await;
            pause = pause.saturating_mul(2);
        }
        Err(last)
    }

    fn stream<T: Send + 'static>(&self, _: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        stream
    }
}
