//! Output that is under way when the connection breaks.

use roadstead_core::JobState;
use roadstead_tests::engines::OwnEngine;

use crate::between::{Between, How, Rule};
use crate::world::{SOON, connect, container, output, shell};

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
