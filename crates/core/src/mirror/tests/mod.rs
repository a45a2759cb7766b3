//! The clauses of a mirror, on the reference engine with its faults.

#[cfg(feature = "conformance")]
mod random;
mod reads;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::memory::{Faults, MemoryNode, MemoryOptions, PRESET_IMAGE};
use crate::{ContainerFilter, ContainerSpec, ContainerState, DeleteOptions, EventOptions};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const FORCE: DeleteOptions = DeleteOptions { force: true, volumes: false };

struct Rig {
    engine: Arc<MemoryNode>,
    /// As clients have it: the mirror learns of what is done through it.
    node: Arc<dyn Node>,
    mirror: Arc<Mirror>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn engine() -> Arc<MemoryNode> {
    // Its clock goes with tokio's, which runs ahead of the system's when it is paused.
    let base_time = Timestamp::from_unix_seconds(1_000_000_000);
    Arc::new(MemoryNode::new("sea", MemoryOptions { seed: Some(7), base_time, ..MemoryOptions::default() }).unwrap())
}

fn keep(mirror: &Arc<Mirror>, node: Arc<dyn Node>) -> tokio::task::JoinHandle<()> {
    let mirror = Arc::clone(mirror);
    tokio::spawn(async move { mirror.keep(&node).await })
}

impl Rig {
    /// A mirror that is ready.
    async fn new() -> Rig {
        let rig = Rig::on(engine(), |node| node);
        rig.mirror.wait_ready(PATIENCE).await.unwrap();
        rig
    }

    /// A mirror that is kept through what `between` makes of the engine.
    fn on(engine: Arc<MemoryNode>, between: impl FnOnce(Arc<dyn Node>) -> Arc<dyn Node>) -> Rig {
        let mirror = Mirror::new("sea", Changes::new());
        let plain: Arc<dyn Node> = Arc::clone(&engine) as Arc<dyn Node>;
        let task = keep(&mirror, mirror.writes(between(Arc::clone(&plain))));
        Rig { node: mirror.writes(plain), engine, mirror, task }
    }

    fn faults(&self) -> &Faults {
        self.engine.faults()
    }

    /// As somebody does of whom the mirror knows nothing.
    async fn create(&self, name: &str) -> String {
        create(&*self.engine, name).await
    }

    async fn start(&self, id: &str) {
        self.engine.container(id).start().await.unwrap();
    }

    async fn freeze(&self, id: &str) {
        self.engine.container(id).freeze().await.unwrap();
    }

    async fn delete(&self, id: &str) {
        self.engine.container(id).delete(&FORCE).await.unwrap();
    }

    async fn read(&self) -> Vec<ContainerSummary> {
        shown(&self.mirror.read(PATIENCE).await.unwrap().snapshot)
    }

    /// The list as the engine gives it, in the order of a mirror.
    async fn listed(&self) -> Vec<ContainerSummary> {
        listed(&*self.engine).await
    }

    fn count(&self, operation: &str) -> usize {
        self.faults().calls().iter().filter(|call| **call == operation).count()
    }
}

async fn create(node: &dyn Node, name: &str) -> String {
    let spec = ContainerSpec::new(PRESET_IMAGE).name(name).command(["sleep", "1000000"]);
    node.create_container(&spec).await.unwrap().id
}

async fn listed(node: &dyn Node) -> Vec<ContainerSummary> {
    let mut list = node.list_containers(&ContainerFilter::all()).await.unwrap();
    list.sort_by_key(ItemKey::of);
    list
}

fn shown(snapshot: &Snapshot) -> Vec<ContainerSummary> {
    snapshot.iter().map(|item| item.summary().clone()).collect()
}

/// What `M4` and the like promise has a test, and every test says what it proves.
#[test]
fn every_clause_has_a_test() {
    let numbers = |source: &str, before: &str, after: &str| {
        let mut numbers: Vec<u32> = source
            .match_indices(before)
            .filter_map(|(at, _)| source[at + before.len()..].split_once(after)?.0.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let promised = numbers(include_str!("../mod.rs"), "* **M", "**");
    let tests = [include_str!("reads.rs"), include_str!("watches.rs"), include_str!("random.rs")]
        .concat()
        .replace(", M", ":\n/// M");
    let tried = numbers(&tests, "/// M", ":");
    assert_eq!(tried, promised);
    assert_eq!(promised, (1..=10).collect::<Vec<_>>());
}
