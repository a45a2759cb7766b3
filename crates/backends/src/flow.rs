//! Streams from engines that must not stand still.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use tokio::time::timeout;

/// An archive on its way from an engine may pause so long.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(120);

/// `items`, which end with `DeadlineExceeded` when nothing comes for so long: for what must not pause by itself.
pub(crate) fn flowing<T: Send + 'static>(
    limit: Duration,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> ItemStream<T> {
    stream::unfold(Some(items.boxed()), move |state| async move {
        let mut items = state?;
        match timeout(limit, items.next()).await {
            Ok(Some(Ok(item))) => Some((Ok(item), Some(items))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => {
                let error = Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("nothing came from the engine for {} s", limit.as_secs()),
                );
                Some((Err(error), None))
            }
        }
    })
    .fuse()
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_is_an_error() {
        let items = stream::iter([Ok(1), Ok(2)]).chain(stream::pending());
        let seen: Vec<_> = flowing(PAUSE_MAX, items).collect().await;
        assert_eq!(seen[..2].iter().map(|item| *item.as_ref().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(seen[2].as_ref().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(seen.len(), 3);
    }
}
