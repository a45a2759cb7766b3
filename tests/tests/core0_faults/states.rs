//! What containers are said to be when the node's Redis, or a container's own agent, does not tell the truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roadstead_backends::engines::core0::Core0Node;
use roadstead_core::{ContainerFilter, ContainerState, DeleteOptions, ErrorKind, Node, StopOptions};
use roadstead_tests::engines::OwnEngine;
use serde_json::json;

use crate::world::{connect, container, direct, inside, mark, state};

/// A container's agent, stopped in place until this is dropped.
struct Frozen(Pid);

impl Frozen {
    async fn new(node: &Arc<dyn Node>, id: &str) -> Self {
        let node: &Core0Node = node.engine().downcast_ref().expect("a core0");
        let found = node.commands().containers().get(id.parse::<u64>().expect("a number")).await.expect("an answer");
        let pid = Pid::from_raw(i32::try_from(found.expect("it is there").pid).expect("a process"));
        kill(pid, Signal::SIGSTOP).expect("it runs");
        Frozen(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_answer_hides_no_other() {
    let Some(engine) = OwnEngine::core0("silent") else { return };
    let node = connect(engine.engine().uri()).await;
    let id = container(&node, "silent", "sleep 600").await;
    container(&node, "other", "sleep 600").await;
    let mark = mark(&node, &id).await;
    let frozen = Frozen::new(&node, &id).await;
    // The node's Redis has forgotten it, so that it would have to say itself what it does.
    let key = format!("roadstead:container:{mark}");
    redis::cmd("DEL").arg(&key).query_async::<()>(&mut direct(&engine).await).await.expect("it goes");
    for _ in 0..3 {
        let all = node.list_containers(&ContainerFilter::all()).await.expect("the others are listed");
        let states: BTreeMap<String, ContainerState> =
            all.into_iter().map(|container| (container.name, container.state)).collect();
        assert_eq!(states["silent"], ContainerState::Unknown);
        assert_eq!(states["other"], ContainerState::Running);
    }
    let there: bool = redis::cmd("EXISTS").arg(&key).query_async(&mut direct(&engine).await).await.expect("a number");
    assert!(!there, "what is not known is not written down");
    let error = node.container(&id).inspect().await.expect_err("it does not say");
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded), "{error:?}");
    drop(frozen);
    assert_eq!(state(&*node.container(&id)).await, (ContainerState::Running, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_answer_can_be_deleted_by_force() {
    let Some(engine) = OwnEngine::core0("silent-gone") else { return };
    let node = connect(engine.engine().uri()).await;
    let id = container(&node, "silent", "sleep 600").await;
    let key = format!("roadstead:container:{}", mark(&node, &id).await);
    let _frozen = Frozen::new(&node, &id).await;
    redis::cmd("DEL").arg(&key).query_async::<()>(&mut direct(&engine).await).await.expect("it goes");
    let silent = node.container(&id);
    silent.delete(&DeleteOptions::default()).await.expect_err("it may run");
    silent.delete(&DeleteOptions::force()).await.expect("whatever it does");
    assert!(node.list_containers(&ContainerFilter::all()).await.expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_nobody_confirmed_is_doubted_after_a_while() {
    let Some(engine) = OwnEngine::core0("unconfirmed") else { return };
    let node = connect(engine.engine().uri()).await;
    let id = container(&node, "starts", "echo run >>/runs; sleep 600").await;
    let starts = node.container(&id);
    starts.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    let mark = mark(&node, &id).await;
    let mut redis = direct(&engine).await;
    // Whoever began the second run died before it was seen, and the flag of its job is that of an older day.
    let (key, job) = (format!("roadstead:container:{mark}"), format!("{mark}-2"));
    let run = json!({"number": 2, "job": job, "begun_at": "2020-01-01T00:00:00Z", "confirmed": false});
    redis::cmd("SET").arg(&key).arg(run.to_string()).query_async::<()>(&mut redis).await.expect("it is written");
    let flag = format!("result:{job}:flag");
    redis::cmd("RPUSH").arg(flag).arg("").query_async::<()>(&mut redis).await.expect("it is written");
    assert_eq!(state(&*starts).await.0, ContainerState::Running, "as it is told");
    starts.start().await.expect("it starts");
    let ran = inside(&node, &id, "while [ $(wc -l </runs) -lt 2 ]; do sleep 0.1; done; wc -l </runs").await;
    assert_eq!(ran, "2");
    assert_eq!(state(&*starts).await.0, ContainerState::Running);
}
