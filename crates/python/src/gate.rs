//! What is closed is closed for whoever has it: a layer around each node that ends its calls and streams with its connection.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use roadstead_core::layers::{Around, Call, wrap};
use roadstead_core::{Error, ErrorKind, ItemStream, Node, Result};

use crate::session::{Session, closed};

/// Ends what goes on when the connection is closed, and refuses what comes afterwards.
#[derive(Debug)]
struct Gate(Arc<Session>);

/// The node, until its connection is closed.
pub(crate) fn gated(node: Arc<dyn Node>, session: &Arc<Session>) -> Arc<dyn Node> {
    wrap(node, Gate(Arc::clone(session)))
}

impl Around for Gate {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        self.0.check()?;
        let none = || Error::new(ErrorKind::Unexpected, "a call had no attempt");
        let work = attempt().ok_or_else(none)?;
        tokio::select! {
            biased;
            result = work => result,
            () = self.0.until_closed() => Err(closed()),
        }
    }

    fn stream<T: Send + 'static>(&self, _: Call<'_>, items: ItemStream<T>) -> ItemStream<T> {
        let next = |open: Option<(ItemStream<T>, Arc<Session>)>| async move {
            let (mut items, session) = open?;
            tokio::select! {
                biased;
                item = items.next() => item.map(|item| (item, Some((items, session)))),
                () = session.until_closed() => Some((Err(closed()), None)),
            }
        };
        stream::unfold(Some((items, Arc::clone(&self.0))), next).boxed()
    }
}
