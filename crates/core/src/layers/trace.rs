//! Every call is a tracing span, and every error says what failed where.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Around, Call, first};
use crate::error::Result;
use crate::stream::ItemStream;

/// Makes a span `roadstead.` + operation of every call, with `node`, `resource`, `outcome` (`ok`, `error`), `kind` (of the
/// error) and `duration_seconds`; and names operation, node and resource in errors that do not name them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Trace {}

impl Around for Trace {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let span = call.operation.span(call.node, call.resource);
        let begun = Instant::now();
        let result = first(&mut attempt).instrument(span.clone()).await;
        span.record("duration_seconds", begun.elapsed().as_secs_f64());
        match &result {
            Ok(_) => span.record("outcome", "ok"),
            Err(error) => span.record("outcome", "error").record("kind", error.kind().row().code),
        };
        result.map_err(|error| {
            let error = error.with_operation(call.operation.name).with_node(call.node);
            if call.resource.is_empty() { error } else { error.with_resource(call.resource) }
        })
    }

    fn stream<T: Send + 'static>(&self, call: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        let operation = call.operation.name;
        let node = call.node.to_owned();
        stream.map(move |item| item.map_err(|error| error.with_operation(operation).with_node(node.as_str()))).boxed()
    }
}
