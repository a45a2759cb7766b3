//! What core0 keeps of containers goes with them, also when nobody here deletes them, and of those that live or are being made
//! nothing goes. Every test has a core0 of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use roadstead_backends::engines::core0::Core0Node;
use roadstead_core::{
    ConnectOptions, ContainerFilter, ContainerSpec, ContainerState, DeleteOptions, Node, StopOptions, WaitFor,
};
use roadstead_tests::engines::{OwnEngine, flist};

const SOON: Duration = Duration::from_secs(60);
const MARKS: &str = "roadstead:containers";

async fn connect(uri: &str) -> Arc<dyn Node> {
    roadstead_backends::registry().connect("own", uri, &ConnectOptions::default()).await.expect("the node answers")
}

async fn direct(engine: &OwnEngine) -> MultiplexedConnection {
    let url = format!("redis+unix://{}", engine.engine().socket().display());
    let client = redis::Client::open(url).expect("a Redis");
    client.get_multiplexed_async_connection().await.expect("it answers")
}

async fn ask<T: redis::FromRedisValue>(redis: &mut MultiplexedConnection, words: &[&str]) -> T {
    let (name, arguments) = words.split_first().expect("a command");
    redis::cmd(name).arg(arguments).query_async(redis).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// The keys of records that begin with `prefix`, and the seconds that each has left.
async fn records(redis: &mut MultiplexedConnection, mark: &str) -> Vec<(String, i64)> {
    let keys: Vec<String> = ask(redis, &["KEYS", &format!("roadstead:container:{mark}*")]).await;
    let mut all = Vec::new();
    for key in keys.into_iter().filter(|key| !key.contains(":claim:")) {
        let left = ask(redis, &["TTL", &key]).await;
        all.push((key, left));
    }
    all.sort();
    all
}

/// The marks of all containers that are known of.
async fn marks(redis: &mut MultiplexedConnection) -> Vec<String> {
    let mut marks: Vec<String> = ask(redis, &["SMEMBERS", MARKS]).await;
    marks.sort();
    marks
}

async fn until<F: Future<Output = bool>>(what: &str, mut happened: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !happened().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn typed(node: &dyn Node) -> &Core0Node {
    node.engine().downcast_ref().expect("a core0")
}

/// Creates a container with a limit, and thus a control group, starts and stops it; gives its id and mark.
async fn stopped(node: &Arc<dyn Node>, redis: &mut MultiplexedConnection, name: &str) -> (String, String) {
    let before = marks(redis).await;
    let mut spec = ContainerSpec::new(flist()).name(name).command(["sleep", "300"]);
    spec.limits.memory_bytes = Some(64 << 20);
    let id = node.create_container(&spec).await.expect("it is created").id;
    let mark = marks(redis).await.into_iter().find(|mark| !before.contains(mark)).expect("its mark");
    assert_eq!(records(redis, &mark).await.iter().map(|(_, left)| *left).collect::<Vec<_>>(), [-1], "it stays");
    let container = node.container(&id);
    container.start().await.expect("it starts");
    container.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    container.wait(WaitFor::Stopped, SOON).await.expect("it has stopped");
    (id, mark)
}

async fn groups(node: &dyn Node) -> Vec<String> {
    let all = typed(node).commands().cgroups().list().await.expect("groups");
    all.get("memory").cloned().unwrap_or_default()
}

async fn state(node: &Arc<dyn Node>, id: &str) -> ContainerState {
    node.container(id).inspect().await.expect("it is there").summary.state
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_without_us_leaves_nothing() {
    let Some(engine) = OwnEngine::core0("records") else { return };
    for uri in [engine.engine().uri().to_owned(), engine.verb("tls-uri") + "?trust=unverified"] {
        let node = connect(&uri).await;
        let mut redis = direct(&engine).await;
        let (lost, lost_mark) = stopped(&node, &mut redis, "lost").await;
        let (living, living_mark) = stopped(&node, &mut redis, "living").await;
        let (deleted, deleted_mark) = stopped(&node, &mut redis, "deleted").await;
        let group = |mark: &str| format!("roadstead-{mark}");
        assert!(groups(&*node).await.contains(&group(&lost_mark)));

        // What we delete is gone at once.
        node.container(&deleted).delete(&DeleteOptions::default()).await.expect("deleted");
        assert_eq!(records(&mut redis, &deleted_mark).await, []);
        assert!(!marks(&mut redis).await.contains(&deleted_mark));

        // Another tool ends one; and another program of ours has one in the making.
        typed(&*node).commands().containers().terminate(lost.parse().expect("a number")).await.expect("terminated");
        let making = format!("{:032x}", 7);
        let _: String = ask(&mut redis, &["SETEX", &format!("roadstead:container:{making}"), "900", "{}"]).await;
        let _: i64 = ask(&mut redis, &["SADD", MARKS, &making]).await;

        let before = records(&mut redis, &lost_mark).await;
        assert!(before.len() >= 2 && before.iter().all(|(_, left)| *left == -1), "{before:?}");
        let _sweeps = connect(&uri).await;
        until("the lifetime of a record", async || {
            let mut redis = redis.clone();
            records(&mut redis, &lost_mark).await.iter().all(|(_, left)| (1..=3600).contains(left))
        })
        .await;
        assert_eq!(records(&mut redis, &lost_mark).await.len(), before.len(), "it may still turn out to live");
        let kept = records(&mut redis, &living_mark).await;
        assert!(kept.len() >= 2 && kept.iter().all(|(_, left)| *left == -1), "{kept:?}");
        let left: i64 = ask(&mut redis, &["TTL", &format!("roadstead:container:{making}")]).await;
        assert!((1..=900).contains(&left), "what is being made is left alone: {left}");
        assert!(groups(&*node).await.contains(&group(&lost_mark)), "a group stays as long as the record");

        // The lifetime of one is over; that of the living one was begun by mistake.
        for (key, _) in before {
            let _: i64 = ask(&mut redis, &["PEXPIRE", &key, "1"]).await;
        }
        for (key, _) in &kept {
            let _: i64 = ask(&mut redis, &["EXPIRE", key, "1000"]).await;
        }
        until("the end of a record", async || records(&mut redis.clone(), &lost_mark).await.is_empty()).await;
        let _sweeps = connect(&uri).await;
        until("the end of a mark", async || !marks(&mut redis.clone()).await.contains(&lost_mark)).await;
        let kept = records(&mut redis, &living_mark).await;
        assert!(kept.iter().all(|(_, left)| *left == -1), "it lives: {kept:?}");
        let groups = groups(&*node).await;
        assert!(!groups.contains(&group(&lost_mark)) && groups.contains(&group(&living_mark)), "{groups:?}");
        assert!(marks(&mut redis).await.contains(&making));
        assert_eq!(state(&node, &living).await, ContainerState::Stopped);
        node.container(&living).delete(&DeleteOptions::default()).await.expect("deleted");
        let _: i64 = ask(&mut redis, &["DEL", &format!("roadstead:container:{making}"), MARKS]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_takes_its_records_along() {
    let Some(engine) = OwnEngine::core0("records-agent") else { return };
    let node = connect(engine.engine().uri()).await;
    let mut redis = direct(&engine).await;
    let (_, first) = stopped(&node, &mut redis, "first").await;
    engine.kill();
    engine.start_again();
    let (id, second) = stopped(&node, &mut redis, "second").await;
    let other = connect(engine.engine().uri()).await;
    until("the lifetime of a record", async || {
        records(&mut redis.clone(), &first).await.iter().all(|(_, left)| (1..=3600).contains(left))
    })
    .await;
    assert!(records(&mut redis, &second).await.iter().all(|(_, left)| *left == -1));
    assert_eq!(state(&other, &id).await, ContainerState::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_by_others_take_nothing_from_what_is_made() {
    let Some(engine) = OwnEngine::core0("records-race") else { return };
    let uri = engine.engine().uri().to_owned();
    let node = connect(&uri).await;
    let making = tokio::spawn(async move {
        let mut ids = Vec::new();
        for number in 0..12 {
            let spec = ContainerSpec::new(flist()).name(format!("made-{number}")).command(["sleep", "300"]);
            ids.push(node.create_container(&spec).await.expect("it is created").id);
        }
        (node, ids)
    });
    // Each that connects sweeps.
    let mut others = Vec::new();
    while !making.is_finished() {
        let other = connect(&uri).await;
        other.list_containers(&ContainerFilter::all()).await.expect("a list");
        others.push(other);
    }
    let (node, ids) = making.await.expect("all are made");
    assert!(others.len() >= 3, "only {} swept", others.len());
    let mut redis = direct(&engine).await;
    let marks = marks(&mut redis).await;
    assert_eq!(marks.len(), ids.len());
    for mark in marks {
        let all = records(&mut redis, &mark).await;
        assert_eq!(all.iter().map(|(_, left)| *left).collect::<Vec<_>>(), [-1], "{all:?}");
    }
    for id in ids {
        assert_eq!(state(&node, &id).await, ContainerState::Created, "as only its record tells");
    }
}
