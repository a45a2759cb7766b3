//! Makes etcd forget what is old, where that is ours to do.
//!
//! Each store that is open looks at the revision at intervals, and has etcd forget what was before the one that it saw last. So at least
//! one interval is always kept, whether one server does this or several do: whoever comes second finds it done.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::failure::Next;
use super::members::{Care, Members};
use super::wire::{self, Plain};

/// Goes on as long as the store is there.
pub(super) fn begin(members: &Arc<Members>, interval: Duration) {
    let members = Arc::downgrade(members);
    tokio::spawn(async move {
        let mut seen = None;
        while let Some(reached) = round(&members, seen).await {
            seen = reached.or(seen);
            sleep(interval).await;
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
