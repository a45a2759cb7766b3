//! Streams that notice when the engine is gone although the connection has not been closed: the machine lost its
//! power, a cable was pulled, the daemon hangs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use tokio::time::timeout;

use super::client::Client;

/// After so much silence the engine is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(20);
/// Time for its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// `items`, which end with `Unavailable` when nothing comes and the engine does not answer a ping either.
pub(super) fn watched<T: Send + 'static>(
    client: &Arc<Client>,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> ItemStream<T> {
    let client = Arc::clone(client);
    stream::unfold(Some(items.boxed()), move |state| {
        let client = Arc::clone(&client);
        async move {
            let mut items = state?;
            loop {
                match timeout(SILENCE, items.next()).await {
                    Ok(Some(Ok(item))) => return Some((Ok(item), Some(items))),
                    Ok(Some(Err(error))) => return Some((Err(error), None)),
                    Ok(None) => return None,
                    Err(_) => {
                        if let Err(error) = there(&client).await {
                            return Some((Err(error), None));
                        }
                    }
                }
            }
        }
    })
    .fuse()
    .boxed()
}

/// `items`, and an error at their end when the engine is gone then: raw connections end the same way whether the
/// process or the engine has ended.
pub(super) fn ending_honestly<T: Send + 'static>(
    client: &Arc<Client>,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> ItemStream<T> {
    let client = Arc::clone(client);
    let end = stream::once(async move { there(&client).await.err() }).filter_map(|error| async { error.map(Err) });
    items.chain(end).fuse().boxed()
}

/// Whether the engine answers.
pub(super) async fn there(client: &Client) -> Result<()> {
    match timeout(ANSWER, client.docker.ping()).await {
        Ok(answer) => answer.map(|_| ()).map_err(|error| client.failed(error)),
        Err(_) => {
            Err(Error::new(ErrorKind::Unavailable, "the engine does not answer any more").with_node(&client.name))
        }
    }
}
