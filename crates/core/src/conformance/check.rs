//! How a test says what it expects: errors with words, no panics, and polls with a deadline instead of sleeps.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, ErrorKind, Result};
use crate::stream::ItemStream;

/// What a test gives.
pub(crate) type Check<T = ()> = std::result::Result<T, Failure>;

/// Why a test did not pass.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot be tried here.
    Gated(String),
    /// The clause is broken.
    Failed(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let causes = format!("{error:?}").lines().skip(1).map(|line| format!("\n{line}")).collect::<String>();
        Failure::Failed(format!("{error}{causes}"))
    }
}

/// How long a poll waits at most.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn failed<T>(reason: impl Into<String>) -> Check<T> {
    Err(Failure::Failed(reason.into()))
}

/// Says what was being done when an error came.
pub(crate) trait During<T> {
    fn during(self, what: &str) -> Check<T>;
}

impl<T, E: Into<Failure>> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Check<T> {
        self.map_err(|error| match error.into() {
            Failure::Failed(reason) => Failure::Failed(format!("{what}: {reason}")),
            gated @ Failure::Gated(_) => gated,
        })
    }
}

/// Fails with `what` unless `condition` holds.
pub(crate) fn ensure(condition: bool, what: impl Into<String>) -> Check {
    if condition { Ok(()) } else { failed(what) }
}

/// The image that was asked for; engines may put the registry in front that they took it to be from.
pub(super) fn same_image(what: &str, shown: &str, asked: &str) -> Check {
    if shown == asked || shown.strip_suffix(asked).is_some_and(|front| front.ends_with('/')) {
        Ok(())
    } else {
        failed(format!("{what} is {shown:?}, expected {asked:?}"))
    }
}

/// Fails unless what was found is what was expected.
#[allow(clippy::needless_pass_by_value, reason = "a check ends here; callers read better without references")]
pub(crate) fn equal<A: PartialEq<B> + Debug, B: Debug>(what: &str, found: A, expected: B) -> Check {
    if found == expected { Ok(()) } else { failed(format!("{what} is {found:?}, expected {expected:?}")) }
}

/// Fails unless `result` is an error of one of `kinds`; gives the error.
pub(super) fn refused_as<T>(what: &str, result: Result<T>, kinds: &[ErrorKind]) -> Check<Error> {
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => failed(format!("{what}: expected {kinds:?}, got {error:?}")),
        Ok(_) => failed(format!("{what}: expected {kinds:?}, but it was done")),
    }
}

/// Fails unless `result` is an error of `kind`; gives the error.
pub(crate) fn refused<T>(what: &str, result: Result<T>, kind: ErrorKind) -> Check<Error> {
    refused_as(what, result, &[kind])
}

/// Asks again until there is an answer; fails with `what` when there is none soon.
pub(crate) async fn eventually<T, F: Future<Output = Check<Option<T>>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Check<T> {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return failed(format!("{what}: not within {} s", SOON.as_secs()));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The next item of a stream that has to give one soon; none at its end.
pub(crate) async fn next<T>(what: &str, stream: &mut ItemStream<T>) -> Check<Option<T>> {
    match timeout(SOON, stream.next()).await {
        Ok(item) => item.transpose().during(what),
        Err(_) => failed(format!("{what}: nothing came within {} s", SOON.as_secs())),
    }
}

/// Everything up to the end of a stream, which has to come soon.
pub(super) async fn drain<T>(what: &str, stream: &mut ItemStream<T>) -> Check<Vec<T>> {
    let mut items = Vec::new();
    while let Some(item) = next(what, stream).await? {
        items.push(item);
    }
    Ok(items)
}

/// The bytes of a stream of pieces.
pub(super) async fn drain_bytes(what: &str, stream: &mut ItemStream<bytes::Bytes>) -> Check<Vec<u8>> {
    Ok(drain(what, stream).await?.concat())
}

/// Bytes as text, for comparisons that read well.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
