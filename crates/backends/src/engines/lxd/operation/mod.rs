//! Background operations: what the server answers with when something takes time.
//!
//! Their news come through one websocket per node, which is opened when the first operation is about to be started and
//! kept a little longer than the last one. A server forgets an operation five seconds after its end, and tells of each
//! change once; so the websocket stands before the request is sent, and whoever waits has a queue of its own from then
//! on. After a break, or when the queue ran over, the operation itself is asked for, once. Nothing is polled.

mod hub;
mod state;

use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::Client;
use super::error;
use super::request::Request;
pub(super) use hub::Hub;
use hub::{News, Subscription};
pub(super) use state::OperationState;

/// No operation is cancelled before it is so old: LXD 5.0 dies when one is cancelled before the goroutine that runs it has begun
/// (a nil function is called in `Operation.Start`; seen on a loaded machine, in moves whose target went away at once).
const BEGUN: Duration = Duration::from_millis(250);

/// A background operation that was started by us.
#[derive(Debug)]
pub(super) struct Operation {
    client: Client,
    state: OperationState,
    /// From when on it has begun to run, and may be cancelled.
    begun: Instant,
    news: Subscription,
    cancel_when_dropped: bool,
}

impl Operation {
    /// `news` must have been subscribed to before the operation was asked for.
    pub(super) fn new(client: Client, state: OperationState, news: Subscription) -> Self {
        let now = Instant::now();
        let begun = if state.only_waits { now } else { now + BEGUN };
        Operation { client, state, begun, news, cancel_when_dropped: false }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.state.id
    }

    /// From when on it has begun to run, and may be cancelled.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// What is known of it by now.
    pub(super) fn state(&self) -> &OperationState {
        &self.state
    }

    /// Cancels it when this handle goes before the operation has ended.
    pub(super) fn cancel_when_dropped(&mut self) {
        self.cancel_when_dropped = true;
    }

    /// Waits for its end, at most `deadline`; then it is cancelled, if it can be. A failure is an error.
    pub(super) async fn wait(&mut self, deadline: Duration) -> Result<OperationState> {
        let end = async {
            while !self.state.is_final() {
                self.changed().await?;
            }
            Ok(())
        };
        match timeout(deadline, end).await {
            Ok(result) => result?,
            Err(_) => {
                let cancelled = self.state.may_cancel && self.cancel().await.is_ok();
                let words = if cancelled { "it was cancelled" } else { "it goes on" };
                return Err(self.name(Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("the engine's operation did not end within {} s; {words}", deadline.as_secs_f64()),
                )));
            }
        }
        self.state.clone().into_result().map_err(|error| self.name(error))
    }

    /// Waits for a change and gives the new state; of an operation that has ended, at once the end. No deadline.
    pub(super) async fn changed(&mut self) -> Result<&OperationState> {
        while !self.state.is_final() {
            match self.news.recv().await {
                Ok(News::State(state)) if state.id == self.state.id => {
                    // Servers send each message from a task of its own: an older one may come later.
                    self.state = (*state).clone();
                    break;
                }
                Ok(News::State(_)) => {}
                Ok(News::Again) | Err(RecvError::Lagged(_)) => {
                    self.look().await?;
                    break;
                }
                Ok(News::Gone(kind, message)) => {
                    return Err(self.name(Error::new(kind, message).with_retry(Retry::Unknown)));
                }
                Err(RecvError::Closed) => {
                    self.news = self.client.operations().subscribe(&self.client).await.map_err(unknown)?;
                    self.look().await?;
                    break;
                }
            }
        }
        Ok(&self.state)
    }

    /// Asks for the operation itself.
    async fn look(&mut self) -> Result<()> {
        match Request::get(&["operations", &self.state.id]).json(&self.client).await.map(OperationState::parse) {
            Ok(Some(state)) => {
                self.state = state;
                Ok(())
            }
            Ok(None) => Err(self.name(Error::new(ErrorKind::Unexpected, "the engine's answer is no operation"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.name(
                Error::new(
                    ErrorKind::Unavailable,
                    "the engine's operation ended while the connection was broken; how it ended is not known",
                )
                .with_retry(Retry::Unknown),
            )),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Asks the server to give it up. `Ok` when it has ended already; `Conflict` when it cannot be cancelled.
    pub(super) async fn cancel(&self) -> Result<()> {
        cancel(&self.client, &self.state.id, self.begun).await
    }

    fn name(&self, error: Error) -> Error {
        error.with_node(self.client.node()).with_context("engine_operation", self.state.id.clone())
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.cancel_when_dropped
            && !self.state.is_final()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (client, id, begun) = (self.client.clone(), self.state.id.clone(), self.begun);
            runtime.spawn(async move {
                if let Err(error) = cancel(&client, &id, begun).await {
                    tracing::debug!(%error, operation = id, "could not be cancelled");
                }
            });
        }
    }
}

/// Gives up the operation `id`, which has `begun` by then. `Ok` when it has ended already; `Conflict` when it cannot be cancelled.
pub(super) async fn cancel(client: &Client, id: &str, begun: Instant) -> Result<()> {
    sleep_until(begun).await;
    match Request::delete(&["operations", id]).bytes(client).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            Err(Error::new(ErrorKind::Conflict, error.message().to_owned()).with_node(client.node()))
        }
        Err(error) => Err(error),
    }
}

/// The operation was started: whatever is not known now may have been done.
fn unknown(error: Error) -> Error {
    match error::nothing_changed(error) {
        error if error.retry() == Retry::Safe => error.with_retry(Retry::Unknown),
        error => error,
    }
}

#[cfg(test)]
mod tests;
