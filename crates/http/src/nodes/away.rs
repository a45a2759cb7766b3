//! A node that is away, for what has to go on without it.
//!
//! The members of a pool are nodes, whether they are there or not. And a move that was interrupted must not wait for both of its nodes: a source that was stopped runs again as soon as it answers,
//! whether the target is there or not, and a copy that has become the container is started for a source that is away. What
//! needs the other one then fails as on an engine that does not answer, and is done when it is there again.

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use roadstead_core::layers::{Around, Call, wrap};
use roadstead_core::memory::{MemoryNode, MemoryOptions};
use roadstead_core::{Error, ErrorKind, ItemStream, Node, Result, Retry};

/// Fails every call for the reason for which the node could not be connected.
#[derive(Debug)]
struct Away {
    why: String,
}

impl Away {
    fn error(&self, call: Call<'_>) -> Error {
        Error::new(ErrorKind::Unavailable, self.why.clone())
            .with_operation(call.operation.name)
            .with_node(call.node)
            .with_retry(Retry::Safe)
    }
}

impl Around for Away {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        _: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        std::future::ready(Err(self.error(call)))
    }

    fn stream<T: Send + 'static>(&self, call: Call<'_>, _: ItemStream<T>) -> ItemStream<T> {
        let error = self.error(call);
        futures_util::stream::once(async { Err(error) }).boxed()
    }
}

/// The node `name`, which could not be connected.
///
/// # Errors
/// When the name cannot be one.
pub(crate) fn away(name: &str, why: &Error) -> Result<Arc<dyn Node>> {
    // Nothing reaches what the layer is around: it lends its form only.
    let nobody = Arc::new(MemoryNode::new(name, MemoryOptions::default())?);
    Ok(wrap(nobody, Away { why: why.message().to_owned() }))
}
