//! Output that is under way when the connection breaks, or comes after a long outage.

use std::time::Duration;

use roadstead_core::JobState;
use roadstead_tests::engines::OwnEngine;

use crate::between::{Between, How, Rule};
use crate::world::{SOON, connect, container, inside, output, said, shell, tls};

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_where_the_connection_breaks() {
    let Some(engine) = OwnEngine::core0("cut-output") else { return };
    let between = Between::start(&engine).await;
    let node = connect(&between.uri).await;
    let host = container(&node, "host", "sleep 600").await;
    between.breaks(Rule { how: How::Swallow, word: "stream:", after: None, every: 3, times: 20 });
    let script = "n=0; while [ $n -lt 40 ]; do n=$((n + 1)); echo line $n; sleep 0.1; done";
    let on_node = node.run(&shell(script)).await.expect("it starts");
    let inside = node.container(&host).run(&shell(script)).await.expect("it starts");
    let written: String = (1..=40).map(|number| format!("line {number}\n")).collect();
    for job in [on_node, inside] {
        assert_eq!(job.wait(SOON).await.expect("it ends").state, JobState::Succeeded);
        assert_eq!(output(&*job).await, written);
    }
    assert!(between.mend() > 3, "it broke in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_go_on_after_more_than_a_minute_without_the_redis() {
    let Some(engine) = OwnEngine::core0("long-logs") else { return };
    let node = connect(&tls(&engine)).await;
    let script = "echo first; while [ ! -e /go ]; do sleep 0.2; done; echo later; sleep 600";
    let id = container(&node, "talks", script).await;
    let talks = node.container(&id);
    said(&*talks, "first").await;
    let _ = engine.verb("stop-redis");
    // An outage is nothing but time, here more than that after which a job is given up.
    tokio::time::sleep(Duration::from_secs(75)).await;
    let _ = engine.verb("start-redis");
    node.ping().await.expect("it answers again");
    inside(&node, &id, "touch /go").await;
    said(&*talks, "later").await;
}
