//! Mirrors of real engines, under random operations by several clients at once: with events lost, repeated and late, after one resync
//! the mirror is the engine's list; with all events, it becomes so by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roadstead_core::conformance::Unreliable;
use roadstead_core::mirror::{Changes, ItemKey, Mirror};
use roadstead_core::{
    ConnectOptions, ContainerFilter, ContainerSpec, ContainerSummary, DeleteOptions, ErrorKind, Node, Result, Signal,
    StopOptions, layers,
};
use roadstead_tests::engines::{self, TestEngine, image};
use roadstead_tests::left_out;

/// So many clients, each with containers of its own.
const CLIENTS: usize = 4;
const CONTAINERS: usize = 3;
/// So many operations between two looks at whether the mirror is right.
const ROUND: usize = 40;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Operations in all: `ROADSTEAD_SOAK=1` makes it ten thousand.
fn steps(few: usize) -> usize {
    if left_out::soak() { 10_000 } else { few }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 32).expect("32 bits") % bound
    }
}

/// Somebody who uses the engine. What is done passes by the mirror.
struct Client {
    node: Arc<dyn Node>,
    prefix: String,
    random: Random,
    /// Names of containers.
    has: Vec<String>,
    made: usize,
}

/// What an engine may answer to somebody who does not look before.
fn refused(result: Result<()>) {
    if let Err(error) = result {
        let kinds = [ErrorKind::Conflict, ErrorKind::NotFound, ErrorKind::InvalidInput, ErrorKind::Unavailable];
        // An engine that is kept busy says so now and then; what it then did or not, the list tells.
        let tolerated = kinds.contains(&error.kind()) || error.kind() == ErrorKind::Unexpected;
        assert!(tolerated, "{error:?}");
    }
}

impl Client {
    async fn step(&mut self) {
        let pick = self.random.below(100);
        if self.has.is_empty() || (pick < 10 && self.has.len() < CONTAINERS) {
            self.made += 1;
            let name = format!("{}{}", self.prefix, self.made);
            let spec = ContainerSpec::new(image()).name(&name).command(["sh", "-c", "sleep 600"]).label("made", &name);
            refused(self.node.create_container(&spec).await.map(drop));
            self.has.push(name);
            return;
        }
        let index = self.random.below(self.has.len());
        let name = self.has[index].clone();
        let container = self.node.container(&name);
        match pick {
            ..35 => refused(container.start().await),
            35..52 => refused(container.freeze().await),
            52..69 => refused(container.unfreeze().await),
            69..77 => refused(container.kill(Signal::KILL).await),
            77..85 => refused(container.stop(&StopOptions::after_seconds(0)).await),
            85..93 => {
                self.made += 1;
                let new = format!("{}{}", self.prefix, self.made);
                if container.rename(&new).await.is_ok() {
                    self.has[index] = new;
                }
            }
            _ => {
                self.has.swap_remove(index);
                refused(container.delete(&DeleteOptions::force()).await);
            }
        }
    }
}

/// A list, of what these tests made, in the order of a mirror: others use the engine, too.
fn ours(mut list: Vec<ContainerSummary>, prefix: &str) -> Vec<ContainerSummary> {
    list.retain(|container| container.name.starts_with(prefix));
    list.sort_by_key(ItemKey::of);
    list
}

async fn listed(node: &dyn Node, prefix: &str) -> Vec<ContainerSummary> {
    ours(node.list_containers(&ContainerFilter::all()).await.expect("a list"), prefix)
}

/// What the mirror shows, after one resync.
async fn resynced(mirror: &Mirror, prefix: &str) -> Vec<ContainerSummary> {
    mirror.wait_ready(PATIENCE).await.expect("it is kept");
    let view = mirror.refresh(PATIENCE).await.expect("the engine answers");
    ours(view.snapshot.iter().map(|item| item.summary().clone()).collect(), prefix)
}

fn shown(mirror: &Mirror, prefix: &str) -> Vec<ContainerSummary> {
    ours(mirror.snapshot().iter().map(|item| item.summary().clone()).collect(), prefix)
}

#[allow(clippy::print_stdout, reason = "the figures of a soak are what it is for")]
async fn random_operations(engine: Option<TestEngine>, few: usize) {
    let Some(engine) = engine else { return };
    let _cleaner = engine.cleaner();
    let registry = roadstead_backends::registry();
    let node = registry.connect(engine.kind(), engine.uri(), &ConnectOptions::default()).await.expect("it runs");
    let seed = std::env::var("ROADSTEAD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("ROADSTEAD_SEED={seed}");
    let mut weather = Unreliable::new(seed);
    (weather.lost, weather.twice, weather.late) = (25, 15, 30);
    weather.lateness = Duration::from_secs(3);
    weather.answers = Duration::from_millis(60);
    let changes = Changes::new();
    let (stormy, calm) = (Mirror::new("stormy", Arc::clone(&changes)), Mirror::new("calm", changes));
    let kept: Vec<_> = [
        (Arc::clone(&stormy), layers::wrap(Arc::clone(&node), Arc::new(weather))),
        (Arc::clone(&calm), Arc::clone(&node)),
    ]
    .into_iter()
    .map(|(mirror, node)| tokio::spawn(async move { mirror.keep(&node).await }))
    .collect();
    for mirror in [&stormy, &calm] {
        mirror.wait_ready(PATIENCE).await.expect("it is kept");
    }

    let prefix = engine.name("m");
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client {
            node: Arc::clone(&node),
            prefix: format!("{prefix}{number}-"),
            random: Random(seed ^ (number as u64 + 1) << 32),
            has: Vec::new(),
            made: 0,
        })
        .collect();
    let (done, steps, begun) = (AtomicUsize::new(0), steps(few), Instant::now());
    let (mut missed, mut looks) = (0, 0);
    while done.load(Ordering::Relaxed) < steps {
        join_all(clients.iter_mut().map(|client| async {
            for _ in 0..ROUND / CLIENTS {
                client.step().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        }))
        .await;
        // Engines go on a little after they have answered: a list that stands still is compared with.
        let until = Instant::now() + PATIENCE;
        loop {
            let before = listed(&*node, &prefix).await;
            let missing = shown(&stormy, &prefix) != before;
            let resynced = resynced(&stormy, &prefix).await;
            if listed(&*node, &prefix).await == before {
                assert_eq!(resynced, before, "after one resync");
                (missed, looks) = (missed + usize::from(missing), looks + 1);
                break;
            }
            assert!(Instant::now() < until, "the engine does not come to rest");
        }
        // And who is told of everything needs no resync.
        while shown(&calm, &prefix) != listed(&*node, &prefix).await {
            assert!(Instant::now() < until, "{:#?}\n{:#?}", shown(&calm, &prefix), listed(&*node, &prefix).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    println!("{steps} operations in {:?}; {missed} of {looks} times a resync was needed", begun.elapsed());
    for task in kept {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_docker_is_its_list() {
    random_operations(engines::docker(), 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_lxd_is_its_list() {
    random_operations(engines::lxd(), 240).await;
}
