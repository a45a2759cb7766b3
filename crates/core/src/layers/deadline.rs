//! Every call has a deadline, and so has the silence of a stream that should not be silent.

use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::{Around, Call, first};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::operation::{Access, Pace};
use crate::stream::ItemStream;

/// Ends calls that take too long with `DeadlineExceeded`.
///
/// The advice is `Safe` for reads, and `Unknown` for writes, which may have happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadline {
    /// For calls that the engine answers soon (default 30 s).
    pub quick: Duration,
    /// For calls that move data or wait for processes, beyond what the caller granted (default 10 min).
    pub slow: Duration,
    /// On top of a deadline that the caller gave, so that the engine's own answer comes first (default 5 s).
    pub grace: Duration,
    /// The longest silence of a stream that moves data (default 10 min: an engine that unpacks a large layer says nothing
    /// meanwhile). Followed logs and events may be silent.
    pub idle: Duration,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline {
            quick: Duration::from_secs(30),
            slow: Duration::from_secs(600),
            grace: Duration::from_secs(5),
            idle: Duration::from_secs(600),
        }
    }
}

fn exceeded(call: &Call<'_>, limit: Duration) -> Error {
    let advice = if call.operation.access == Access::Read { Retry::Safe } else { Retry::Unknown };
    Error::new(ErrorKind::DeadlineExceeded, format!("no answer within {} s", limit.as_secs_f64())).with_retry(advice)
}

impl Around for Deadline {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        let limit = call.granted.saturating_add(match call.operation.pace {
            Pace::Quick => self.quick,
            Pace::Slow => self.slow,
            Pace::CallerDeadline => self.grace,
        });
        async move {
            match timeout(limit, first(&mut attempt)).await {
                Ok(result) => result,
                Err(_) => Err(exceeded(&call, limit)),
            }
        }
    }

    fn stream<T: Send + 'static>(&self, call: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        if call.live {
            return stream;
        }
        let idle = self.idle;
        let operation = call.operation;
        stream::unfold(Some(stream), move |state| async move {
            let mut stream = state?;
            match timeout(idle, stream.next()).await {
                Ok(Some(item)) => Some((item, Some(stream))),
                Ok(None) => None,
                Err(_) => Some((Err(exceeded(&Call::new(operation, "", ""), idle)), None)),
            }
        })
        .boxed()
    }
}
