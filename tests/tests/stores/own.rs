//! Servers of one fleet that each have an own node of one name: nobody takes another's engine for his.

use std::collections::BTreeSet;
use std::path::Path;

use roadstead_tests::etcd::shared;
use roadstead_tests::{Server, ServerOptions};
use serde_json::{Value, json};

use crate::servers::{member_with, watched};
use crate::until;

/// A server of a fleet that has an own node `sea`, with these faults, and says what it leaves to others.
fn with_sea(uri: &str, directory: &Path, name: &str, faults: &str) -> Server {
    let mut sea = "memory:?registry=roadstead/late:1".to_owned();
    if !faults.is_empty() {
        sea.push_str(&format!("&fault={faults}:delay:3600000"));
    }
    let options = ServerOptions::default().node("sea", &sea).node("lake", "memory:");
    member_with(uri, directory, name, options.environment("ROADSTEAD_LOG", "info,roadstead_http=debug"))
}

async fn container(server: &Server, name: &str) {
    let spec = json!({"image": "roadstead/busybox:latest", "name": name, "command": ["sleep", "600"]});
    let _ = server.post_json("/v1/nodes/sea/containers", &spec).await.expect(201);
}

async fn state(server: &Server, name: &str) -> Value {
    server.get(&format!("/v1/nodes/sea/containers/{name}")).await.expect(200).json()["state"].clone()
}

/// Waits until this server is the only one, and has had several looks at what the other has left.
async fn alone(server: &Server) {
    until("the other server is known to be dead", async || watched(server).await.len() == 1).await;
    let since = server.log().len();
    until("what is left is looked at", async || {
        let log = server.log();
        log.get(since..).is_some_and(|log| log.matches("is that of a server whose node").count() >= 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_not_gone_on_with_on_another_engine_of_the_same_name() {
    let Some(uri) = shared("own-jobs") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let start = |name: &str, faults: &str| with_sea(&uri, directory.path(), name, faults);
    let mut here = start("here", "container.start");
    let there = start("there", "");
    for server in [&here, &there] {
        container(server, "web").await;
    }
    let _ = here.post_json("/v1/pools", &json!({"name": "all", "nodes": ["sea"]})).await.expect(201);
    let body = json!({"all": true, "timeout_seconds": 3000});
    let begun = here.post_json("/v1/pools/all/containers/start?wait=0", &body).await.expect(202);
    let acted = begun.header("location").expect("a job").to_owned();
    until("the start is under way", async || {
        there.get(&acted).await.expect(200).json()["work"]["counts"]["unknown"] == 1
    })
    .await;
    here.kill();
    alone(&there).await;
    let told = there.get(&acted).await.expect(200).json();
    assert_eq!((&told["state"], &told["work"]["attempts"]), (&json!("running"), &json!(1)), "{told}");
    assert_eq!(state(&there, "web").await, "created");
    // Its own work on its own engine of that name is another matter.
    let body = json!({"all": true});
    let own = there.post_json("/v1/pools/all/containers/start?wait=30", &body).await.expect(200).json();
    assert_eq!(own["items"][0]["outcome"], "done", "{own}");
    assert_eq!(state(&there, "web").await, "running");

    // Called off, it ends as far as it came.
    let _ = there.delete(&acted).await.expect(204);
    let ended = there.get(&format!("{acted}?wait=60")).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["work"]["counts"]["unknown"]), (&json!("killed"), &json!(1)), "{ended}");
    let failure = &ended["work"]["failure"];
    assert!(failure["detail"].as_str().expect("text").contains("node sea"), "{ended}");

    // Of many nodes, another server does what it can, and tells of the others.
    let mut here = start("here", "container.stop");
    container(&here, "web").await;
    let _ = here.post("/v1/nodes/sea/containers/web/start").await.expect(204);
    let _ = here.post_json("/v1/nodes", &json!({"name": "bay", "uri": "memory:"})).await.expect(201);
    let _ = here.post_json("/v1/pools", &json!({"name": "mixed", "nodes": ["bay", "sea"]})).await.expect(201);
    let begun = here.post_json("/v1/pools/mixed/containers/stop?wait=0", &json!({"all": true})).await.expect(202);
    let mixed = begun.header("location").expect("a job").to_owned();
    until("the stop is under way", async || {
        there.get(&mixed).await.expect(200).json()["work"]["counts"]["unknown"] == 1
    })
    .await;
    here.kill();
    let ended = there.get(&format!("{mixed}?wait=60")).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["work"]["attempts"]), (&json!("failed"), &json!(2)), "{ended}");
    assert_eq!(ended["work"]["counts"]["unknown"], 1, "{ended}");
    assert_eq!(state(&there, "web").await, "running");

    // Its server goes on with what it has left.
    let mut here = start("here", "image.pull");
    let pull = json!({"reference": "roadstead/late:1"});
    let begun = here.post_json("/v1/nodes/sea/images/pull?wait=0", &pull).await.expect(202);
    let pulled = begun.header("location").expect("a job").to_owned();
    until("the pull is under way", async || there.get(&pulled).await.expect(200).json()["state"] == "running").await;
    here.kill();
    alone(&there).await;
    assert_eq!(there.get(&pulled).await.expect(200).json()["state"], "running");
    let _here = start("here", "");
    let ended = there.get(&format!("{pulled}?wait=60")).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["work"]["attempts"]), (&json!("succeeded"), &json!(2)), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_called_off_at_a_server_that_does_not_work_at_it() {
    let Some(uri) = shared("own-moves") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let start = |name: &str, faults: &str| with_sea(&uri, directory.path(), name, faults);
    let mut here = start("here", "container.export");
    let there = start("there", "");
    container(&here, "web").await;
    let _ = here.post("/v1/nodes/sea/containers/web/start").await.expect(204);
    let request = json!({
        "source": {"node": "sea", "container": "web"}, "target": {"node": "lake"}, "way": "portable"
    });
    let begin = async |server: &Server| {
        let begun = server.post_json("/v1/migrations", &request).await.expect(202);
        let path = begun.header("location").expect("a migration").to_owned();
        until("the source is stopped", async || state(server, "web").await != "running").await;
        path
    };
    let path = begin(&here).await;
    let _ = there.post(&format!("{path}/apply")).await.expect(409);
    let off = there.post(&format!("{path}/cancel?wait=60")).await.expect(200).json();
    assert_eq!((&off["state"], &off["failure"]["code"]), (&json!("rolled_back"), &json!("cancelled")), "{off}");
    assert_eq!(state(&here, "web").await, "running");
    assert_eq!(there.post(&format!("{path}/cancel")).await.expect(200).json()["state"], "rolled_back");

    // A later attempt is another one, which that wish is not for.
    let _ = here.post(&format!("{path}/apply")).await.expect(202);
    until("the source is stopped", async || state(&here, "web").await != "running").await;
    here.kill();
    alone_with_move(&there).await;
    for verb in ["apply", "cancel"] {
        let problem = there.post(&format!("{path}/{verb}")).await.expect(409).json();
        assert_eq!(problem["node"], "lake", "{problem}");
    }
    let left = there.get(&path).await.expect(200).json();
    assert_eq!(left["state"], "moving", "{left}");
    // Its own engine is another one by now, without the container.
    let here = start("here", "");
    until("the move comes to an end", async || there.get(&path).await.expect(200).json()["state"] != "moving").await;
    let lost = here.get(&path).await.expect(200).json();
    assert_eq!(lost["state"], "lost", "{lost}");

    // What nobody can end any more is forgotten where it is asked for.
    drop(here);
    let mut here = start("here", "container.export");
    container(&here, "late").await;
    let _ = here.post("/v1/nodes/sea/containers/late/start").await.expect(204);
    let late = json!({"source": {"node": "sea", "container": "late"}, "target": {"node": "lake"}, "way": "portable"});
    let begun = here.post_json("/v1/migrations", &late).await.expect(202);
    let path = begun.header("location").expect("a migration").to_owned();
    until("the source is stopped", async || state(&here, "late").await != "running").await;
    let _ = there.delete(&path).await.expect(409);
    here.kill();
    until("the other server is known to be dead", async || watched(&there).await.len() == 1).await;
    let _ = there.delete(&path).await.expect(204);
    let _ = there.get(&path).await.expect(404);
}

/// As [`alone`] for moves, which are looked at ever more seldom.
async fn alone_with_move(server: &Server) {
    until("the other server is known to be dead", async || watched(server).await.len() == 1).await;
    until("what is left is looked at", async || server.log().contains("the move is that of a server whose node")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_watched_by_a_server_that_reaches_it() {
    let Some(uri) = shared("own-nodes") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let names: BTreeSet<_> = (0..8).map(|number| format!("n{number}")).collect();
    let own = names.iter().fold(ServerOptions::default(), |options, name| options.node(name, "memory:"));
    let here = member_with(&uri, directory.path(), "here", ServerOptions::default());
    let there = member_with(&uri, directory.path(), "there", own);
    for name in &names {
        let _ = here.post_json("/v1/nodes", &json!({"name": name, "uri": "memory:"})).await.expect(201);
    }
    until("one of them watches all", async || {
        let servers = there.get("/v1/servers").await.expect(200).json();
        let items = servers["items"].as_array().expect("items");
        let names: Vec<_> = names.iter().collect();
        items.iter().any(|server| server["watches"] == json!(names) && server["unreached_nodes"].is_null())
            && items.iter().any(|server| server["watches"] == json!([]) && server["unreached_nodes"] == json!(names))
    })
    .await;
    // An own one stays when that of the store goes.
    let _ = here.delete("/v1/nodes/n0").await.expect(204);
    until("it is not missed any more", async || {
        let servers = here.get("/v1/servers").await.expect(200).json();
        servers["items"].as_array().expect("items").iter().all(|server| {
            let unreached = server["unreached_nodes"].as_array().cloned().unwrap_or_default();
            !unreached.contains(&json!("n0"))
        })
    })
    .await;
    assert_eq!(there.get("/v1/nodes/n0").await.expect(200).json()["source"], "configured");
}
