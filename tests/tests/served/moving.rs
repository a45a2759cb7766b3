//! Containers move to and from nodes of another server, as files and portable configuration.

use std::sync::Arc;

use futures_util::TryStreamExt;
use roadstead_core::migration::{self, MemoryLog, MoveRecord, MoveSpec, MoveState, MoveWay, Mover};
use roadstead_core::{JobSpec, JobState, Node};
use roadstead_tests::served::Served;

use crate::{SOON, connect, sleeper};

async fn moved(from: &Arc<dyn Node>, to: &Arc<dyn Node>) {
    let plan = migration::plan(from, to, &MoveSpec::new("web")).await.unwrap();
    assert!(matches!(plan.way, MoveWay::Portable), "{:?}", plan.way);
    let mover = Mover::new(Arc::clone(from), Arc::clone(to), Arc::new(MemoryLog::default()));
    let record = mover.apply(MoveRecord::new(plan)).await.unwrap();
    assert_eq!(record.state, MoveState::Done);
    assert!(from.container("web").inspect().await.is_err());
    let bytes: Vec<_> = to.container("web").copy_out("/kept").await.unwrap().try_collect().await.unwrap();
    assert!(bytes.concat().windows(8).any(|window| window == b"precious"), "its files are there");
    let job = to.container("web").run(&JobSpec::new(["true"])).await.unwrap();
    assert_eq!(job.wait(SOON).await.unwrap().state, JobState::Succeeded, "it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_moves_to_another_server_within_it_and_back() {
    let server = Served::start(&[("one", "memory:"), ("two", "memory:")]).await.unwrap();
    let here = connect("here", "memory:").await.unwrap();
    let one = connect("far-one", &server.uri(server.port(), "one")).await.unwrap();
    let two = connect("far-two", &server.uri(server.port(), "two")).await.unwrap();
    let mut spec = sleeper("web").label("kept", "yes");
    // Nothing in it listens to signals.
    spec.stop_timeout_seconds = Some(0);
    here.create_container(&spec).await.unwrap();
    let web = here.container("web");
    web.start().await.unwrap();
    let job = web.run(&JobSpec::new(["sh", "-c", "echo precious > /kept"])).await.unwrap();
    assert_eq!(job.wait(SOON).await.unwrap().state, JobState::Succeeded);
    moved(&here, &one).await;
    moved(&one, &two).await;
    moved(&two, &here).await;
    assert_eq!(here.container("web").inspect().await.unwrap().summary.labels["kept"], "yes");
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_dropped_is_given_up() {
    use futures_util::StreamExt;
    use roadstead_core::PullOptions;
    use roadstead_core::memory::REGISTRY_IMAGE;
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let node = connect("far", &server.uri(server.port(), "")).await.unwrap();
    let mut pull = node.pull_image(&PullOptions::new(REGISTRY_IMAGE)).await.unwrap();
    pull.next().await.unwrap().unwrap();
    drop(pull);
    // Its job ends, one way or the other, and is known by then.
    let jobs = node.jobs().await.unwrap();
    let job = node.job(&jobs[0].id).await.unwrap();
    let status = job.wait(SOON).await.unwrap();
    assert_eq!(status.command, ["image.pull", REGISTRY_IMAGE]);
    assert!(matches!(status.state, JobState::Killed | JobState::Succeeded), "{status:?}");
    server.end().await.unwrap();
}
