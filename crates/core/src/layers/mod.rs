//! Layers around a node: deadline, concurrency limit, retry, breaker, trace.
//!
//! A layer is an [`Around`]: it sees every call as an [`Operation`] and a future to run, and every stream that a call
//! gave. One generic wrapper carries it through all methods of all traits, so that no layer can forget a method; what
//! comes out of a wrapped node (containers, jobs) is wrapped, too.
//!
//! ```
//! use roadstead_core::layers::{self, Deadline, wrap};
//! use std::{sync::Arc, time::Duration};
//!
//! fn careful(node: Arc<dyn roadstead_core::Node>) -> Arc<dyn roadstead_core::Node> {
//!     let mut deadline = Deadline::default();
//!     deadline.quick = Duration::from_secs(5);
//!     wrap(node, deadline)
//! }
//!
//! fn usual(node: Arc<dyn roadstead_core::Node>) -> Arc<dyn roadstead_core::Node> {
//!     layers::standard(node)
//! }
//! ```

mod breaker;
mod container;
mod deadline;
mod job;
mod limit;
mod node;
mod pool;
mod retry;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use breaker::{Breaker, BreakerOptions, guard};
pub use deadline::Deadline;
pub use limit::ConcurrencyLimit;
pub use retry::Retry;
pub use trace::Trace;

use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;
use crate::operation::Operation;
use crate::stream::ItemStream;

/// One call on its way through the layers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is asked for.
    pub operation: &'static Operation,
    /// Name of the node.
    pub node: &'a str,
    /// The container, job, image … that it is about; empty when it is about the node.
    pub resource: &'a str,
    /// Time that the caller granted: the deadline of a wait, the timeout of a stop.
    pub granted: Duration,
    /// Whether the stream that it gives may rightly be silent for any time: a followed log, events.
    pub live: bool,
}

impl<'a> Call<'a> {
    fn new(operation: &'static Operation, node: &'a str, resource: &'a str) -> Self {
        Call { operation, node, resource, granted: Duration::ZERO, live: false }
    }

    fn granted(mut self, granted: Duration) -> Self {
        self.granted = granted;
        self
    }

    fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }
}

/// A layer: what happens around every call and every stream.
pub trait Around: Debug + Send + Sync + 'static {
    /// Runs the call. `attempt` gives the future to await; asked again it gives another one, or `None` when an
    /// argument was used up by the first.
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a;

    /// Takes the stream that a call gave, and gives the stream that the caller gets.
    fn stream<T: Send + 'static>(&self, call: Call<'_>, stream: ItemStream<T>) -> ItemStream<T>;
}

/// Runs the first attempt, for layers that make no other.
pub(crate) async fn first<'a, T>(attempt: &mut (impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send)) -> Result<T> {
    match attempt() {
        Some(future) => future.await,
        None => Err(Error::new(ErrorKind::Unexpected, "a call had no attempt")),
    }
}

/// `node` with `layer` around all of its calls.
#[must_use]
pub fn wrap<A: Around>(node: Arc<dyn Node>, layer: A) -> Arc<dyn Node> {
    Arc::new(node::LayeredNode::new(node, Arc::new(layer)))
}

/// The layers that a server uses, from the outside: trace, breaker, retry, concurrency limit, deadline.
#[must_use]
pub fn standard(engine: Arc<dyn Node>) -> Arc<dyn Node> {
    let node = wrap(Arc::clone(&engine), Deadline::default());
    let node = wrap(node, ConcurrencyLimit::default());
    let node = wrap(node, Retry::default());
    let node = guard(node, engine, BreakerOptions::default());
    wrap(node, Trace::default())
}
