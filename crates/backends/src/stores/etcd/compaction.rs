//! Makes etcd forget what is old, where that is ours to do.
//!
//! Each store that is open looks at the revision at intervals, and has etcd forget what was before the one that it saw last. So at least
//! one interval is always kept, whether one server does this or several do: whoever comes second finds it done.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::failure::Next;
use super::members::{Care, Members};
use super::wire::{self, Plain};

/// Goes on until the store is closed or gone.
pub(super) fn begin(members: &Arc<Members>, interval: Duration) {
    let mut over = Box::pin(members.link().over());
    let members = Arc::downgrade(members);
    tokio::spawn(async move {
        let mut seen = None;
        while let Some(reached) = round(&members, seen).await {
            seen = reached.or(seen);
            if timeout(interval, &mut over).await.is_ok() {
                return;
            }
        }
    });
}

/// The revision that is reached, if etcd tells it; nothing at all when the store is gone.
async fn round(members: &Weak<Members>, seen: Option<u64>) -> Option<Option<u64>> {
    let members = members.upgrade()?;
    if let Some(revision) = seen {
        let request = json!({"revision": wire::number(revision)});
        let done = members.ask::<Plain>("/v3/kv/compaction", &request, Care::Repeats).await.answer;
        match done {
            Ok(_) => tracing::debug!(revision, "etcd forgets what was before"),
            Err(failure) if failure.next == Next::Compacted => {}
            Err(failure) => tracing::warn!(error = %failure.error, "etcd does not forget what is old"),
        }
    }
    Some(members.revision().await.ok())
}
