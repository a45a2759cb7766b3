//! What is left of containers that went without a word to us: ended by other tools, or with the node's agent.
//!
//! Nobody deletes their records: they are given a lifetime, which is taken back should the container turn out to live. How
//! long records stay is asked before which containers there are, so that one that is not listed was gone, or not made yet:
//! and what is being made has a lifetime from the beginning. Only when its records are gone is a container's control group
//! removed. Only marks that are in the node's own Redis count, since groups may be those of another node on the machine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roadstead_core::Result;
use tokio::time::Instant;

use super::commands::cgroup::Subsystem;
use super::record::{self, Stay};
use super::shared::Core0;
use super::{create, kept};

/// Not more often than this.
const EVERY: Duration = Duration::from_secs(300);

/// When the node was swept last.
#[derive(Debug, Default)]
pub(super) struct Swept(Mutex<Option<Instant>>);

impl Swept {
    /// Whether it is time again; if so, it is taken for done.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// Sweeps when it is time to. Nobody waits for it.
pub(super) fn soon(core0: &Arc<Core0>) {
    if !core0.swept.is_due() {
        return;
    }
    let core0 = Arc::clone(core0);
    tokio::spawn(async move {
        if let Err(error) = sweep(&core0).await {
            tracing::debug!(node = core0.name, %error, "what containers left behind could not be looked for");
        }
    });
}

/// Lets go of what this program keeps of containers that are not there any more.
pub(super) async fn forget_gone(core0: &Core0) -> Result<()> {
    let known = core0.known();
    core0.forget_gone(&known, &core0.host.containers().list().await?);
    Ok(())
}

async fn sweep(core0: &Core0) -> Result<()> {
    forget_gone(core0).await?;
    let links = &core0.client.links;
    let marks = record::marks(links).await?;
    if marks.is_empty() {
        return Ok(());
    }
    let stays = record::stays(links, &marks).await?;
    let compared = record::compared(links).await?;
    let all = core0.host.containers().list().await?;
    let living: BTreeSet<String> = all.iter().filter_map(|container| kept::mark(&container.arguments)).collect();
    let (mut kept, mut gone, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
    for (mark, stay) in marks.iter().map(String::as_str).zip(stays) {
        match (living.contains(mark), stay) {
            (true, Stay::Passing | Stay::Mixed) => kept.push(mark),
            (false, Stay::Kept | Stay::Mixed) => gone.push(mark),
            (false, Stay::Gone) => forgotten.push(mark),
            (true, Stay::Gone | Stay::Kept) | (false, Stay::Passing) => {}
        }
    }
    record::settle(links, &kept, &gone).await?;
    if let Some(compared) = compared {
        let gone: Vec<&String> = compared.marks.difference(&living).collect();
        record::forget_compared(links, &compared.life, &gone).await?;
    }
    for mark in forgotten {
        if core0.capabilities.limit_memory
            && let Err(error) = core0.host.cgroups().remove(&Subsystem::Memory, &create::group(mark)).await
        {
            // Its mark stays, so that it is tried again; the others are looked at all the same.
            tracing::debug!(node = core0.name, mark, %error, "the group of a container that is gone could not be removed");
            continue;
        }
        record::forget(links, mark).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_not_time_all_the_time() {
        let swept = Swept::default();
        assert!(swept.is_due() && !swept.is_due());
        tokio::time::advance(EVERY).await;
        assert!(swept.is_due() && !swept.is_due());
    }
}
