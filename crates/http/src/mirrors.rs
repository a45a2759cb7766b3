//! Keeps the mirror of every node, as nodes come and go, until the server ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use async_trait::async_trait;
use roadstead_core::mirror::Source;
use roadstead_core::{Event, ItemStream, Node, Result};

use crate::nodes::NodeSlot;
use crate::state::App;

/// Answers that nobody asks for any more are let go of so often.
const SWEEP: Duration = Duration::from_secs(60);

/// A slot, which connects when it must.
struct Connecting {
    slot: Arc<NodeSlot>,
    deadline: Duration,
}

#[async_trait]
impl Source for Connecting {
    async fn node(&self) -> Result<Arc<dyn Node>> {
        self.slot.node(self.deadline).await
    }

    async fn follow(&self, node: &Arc<dyn Node>) -> Result<ItemStream<Event>> {
        self.slot.feed().listen(node, None).await
    }
}

/// A mirror that is kept until this is dropped.
struct Kept {
    slot: Arc<NodeSlot>,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    fn begin(slot: &Arc<NodeSlot>, deadline: Duration) -> Self {
        let source = Connecting { slot: Arc::clone(slot), deadline };
        let mirror = Arc::clone(slot.mirror());
        let task = tokio::spawn(async move { mirror.keep(&source).await });
        Kept { slot: Arc::clone(slot), task }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to keep the mirrors of all nodes.
pub(crate) fn keep(app: &web::Data<App>) {
    tokio::spawn(keep_all(app.clone().into_inner()));
}

async fn keep_all(app: Arc<App>) {
    let mut changes = app.nodes.changes();
    let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        changes.borrow_and_update();
        let slots = app.nodes.all();
        kept.retain(|_, old| {
            // A node that was removed and added again is another slot.
            let stays = slots.iter().any(|slot| Arc::ptr_eq(slot, &old.slot));
            if !stays {
                old.task.abort();
                old.slot.mirror().close();
            }
            stays
        });
        for slot in slots {
            kept.entry(slot.name().to_owned()).or_insert_with(|| Kept::begin(&slot, app.deadline()));
        }
        tokio::select! {
            () = app.ending() => return,
            changed = changes.changed() => if changed.is_err() { return },
            _ = sweep.tick() => app.bodies.sweep(),
        }
    }
}
