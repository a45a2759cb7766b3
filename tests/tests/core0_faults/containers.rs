//! The connection breaks in the middle of what is done to containers: nothing is done twice, half, or told wrongly.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{
    ContainerFilter, ContainerSpec, ContainerState, DeleteOptions, ErrorKind, Node, Retry, StopOptions,
};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::between::{Between, How, Rule};
use crate::world::{SOON, connect, container, direct, state};

/// From the moment when the node has told that it has done this.
fn after(name: &'static str, how: How, times: usize) -> Rule {
    Rule { how, word: "", after: Some(name), every: 1, times }
}

fn sleeps(name: Option<&str>) -> ContainerSpec {
    let mut spec = ContainerSpec::new(flist()).command(["sleep", "600"]);
    spec.name = name.map(str::to_owned);
    spec.limits.memory_bytes = Some(64 << 20);
    spec
}

async fn ids(node: &Arc<dyn Node>) -> Vec<String> {
    let all = node.list_containers(&ContainerFilter::all()).await.expect("a list");
    all.into_iter().map(|container| container.id).collect()
}

/// The seconds that each record of a container has left.
pub(crate) async fn records(engine: &OwnEngine) -> Vec<i64> {
    let mut redis = direct(engine).await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("roadstead:container:*").query_async(&mut redis).await.expect("keys");
    let mut left = Vec::new();
    for key in keys.iter().filter(|key| !key.contains(":claim:")) {
        left.push(redis::cmd("TTL").arg(key).query_async(&mut redis).await.expect("a time"));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_made_once_though_the_node_is_away_right_after() {
    let Some(engine) = OwnEngine::core0("cut-create") else { return };
    let beside = connect(engine.engine().uri()).await;
    for how in [How::Refuse, How::Swallow] {
        for name in [None, Some("named")] {
            let between = Between::start(&engine).await;
            let node = connect(&between.uri).await;
            between.breaks(after("corex.create", how, 6));
            let created = node.create_container(&sleeps(name)).await;
            assert_eq!(between.mend(), 6, "{how:?} {name:?}: it was away");
            let created = created.unwrap_or_else(|error| panic!("{how:?} {name:?}: {error:?}"));
            assert_eq!(ids(&beside).await, [created.id.as_str()], "{how:?} {name:?}");
            assert_eq!(records(&engine).await, [-1], "it stays");
            beside.container(&created.id).delete(&DeleteOptions::default()).await.expect("deleted");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_made_is_not_said_to_be_safe_to_repeat() {
    let Some(engine) = OwnEngine::core0("cut-long") else { return };
    let between = Between::start(&engine).await;
    let node = connect(&between.uri).await;
    between.breaks(after("corex.create", How::Refuse, usize::MAX));
    let error = node.create_container(&sleeps(Some("made"))).await.expect_err("it is away");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown), "{error:?}");
    between.mend();
    let all = ids(&node).await;
    assert_eq!(all.len(), 1, "it was made, and it is not known whether it is to be");
    let left = records(&engine).await;
    assert!(left.len() == 1 && left[0] != -2, "it has its record: {left:?}");
    assert_eq!(state(&*node.container(&all[0])).await.0, ContainerState::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_deleted_though_the_node_is_away_right_after() {
    let Some(engine) = OwnEngine::core0("cut-delete") else { return };
    let between = Between::start(&engine).await;
    let node = connect(&between.uri).await;
    for how in [How::Refuse, How::Swallow] {
        let id = node.create_container(&sleeps(None)).await.expect("it is created").id;
        between.breaks(after("corex.terminate", how, 12));
        node.container(&id)
            .delete(&DeleteOptions::default())
            .await
            .unwrap_or_else(|error| panic!("{how:?}: {error:?}"));
        assert!(between.mend() > 0, "{how:?}: it was away");
        assert!(ids(&node).await.is_empty());
    }
    // Its record, which nobody could remove, is given a lifetime by the next one who looks.
    let _sweeps = connect(engine.engine().uri()).await;
    let passing = async {
        while records(&engine).await.contains(&-1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, passing).await.expect("soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_claim_was_not_answered_can_be_repeated() {
    let Some(engine) = OwnEngine::core0("cut-claim") else { return };
    let between = Between::start(&engine).await;
    let node = connect(&between.uri).await;
    let id = container(&node, "starts", "sleep 600").await;
    let starts = node.container(&id);
    starts.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    between.breaks(Rule { how: How::Swallow, word: "SETNX", after: None, every: 1, times: 2 });
    let error = starts.start().await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(between.mend(), 2);
    starts.start().await.expect("its own claim holds it up no more");
    assert_eq!(state(&*starts).await, (ContainerState::Running, None));
    starts.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    // Nor when that it begins was written down, and nobody said so.
    between.breaks(Rule { how: How::Swallow, word: r#"{"number":3"#, after: None, every: 1, times: 1 });
    starts.start().await.expect("it is written once more");
    assert_eq!(between.mend(), 1);
    assert_eq!(state(&*starts).await, (ContainerState::Running, None));
}
