//! Migrations between two nodes in memory, one of which outlives the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use roadstead_backends::stores::sealed::{SealKeys, SealedStore};
use roadstead_backends::stores::sqlite::SqliteStore;
use roadstead_core::memory::{MemoryNode, MemoryOptions};
use roadstead_core::store::{Prefix, Table};
use roadstead_core::{ConnectOptions, Discovered, Engine, Error, ErrorKind, Node, NodeUri, Registry, Result};
use roadstead_http::{NodeConfig, Server};
use serde_json::{Value, json};

use crate::rig::{Rig, client, config};

/// Nodes in memory that are the same for every server, as real engines are.
#[derive(Clone, Debug, Default)]
struct Lasting {
    nodes: Arc<Mutex<BTreeMap<String, Arc<MemoryNode>>>>,
    /// Those to which no connection can be made.
    away: Arc<Mutex<BTreeSet<String>>>,
}

impl Lasting {
    fn node(&self, name: &str) -> Arc<MemoryNode> {
        let mut nodes = self.nodes.lock().unwrap();
        let made = || Arc::new(MemoryNode::new(name, MemoryOptions::default()).unwrap());
        Arc::clone(nodes.entry(name.to_owned()).or_insert_with(made))
    }
}

#[async_trait]
impl Engine for Lasting {
    fn schemes(&self) -> &'static [&'static str] {
        &["lasting"]
    }

    async fn connect(&self, name: &str, _: &NodeUri, _: &ConnectOptions) -> Result<Arc<dyn Node>> {
        if self.away.lock().unwrap().contains(name) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody listens"));
        }
        Ok(self.node(name))
    }

    fn discover(&self) -> Vec<Discovered> {
        Vec::new()
    }
}

async fn start_in(nodes: &Lasting, directory: tempfile::TempDir) -> Rig {
    let mut config = config(&directory);
    for name in ["sea", "lake"] {
        config.nodes.insert(name.to_owned(), NodeConfig::Uri("lasting:".to_owned()));
    }
    let running = Server::start(config, Registry::new().with(nodes.clone())).await.unwrap();
    Rig { directory, running, client: client() }
}

async fn start(nodes: &Lasting) -> Rig {
    start_in(nodes, tempfile::tempdir().unwrap()).await
}

/// The records of moves of a server that has ended.
async fn records(directory: &tempfile::TempDir) -> Table<Value> {
    table(directory, "moves/").await
}

/// A table of a server that has ended.
async fn table(directory: &tempfile::TempDir, prefix: &str) -> Table<Value> {
    let store = SqliteStore::open(&directory.path().join("state/roadstead.db")).await.unwrap();
    let keys = SealKeys::read(&directory.path().join("store.key")).unwrap();
    let store = Arc::new(SealedStore::new(Arc::new(store), keys));
    Table::new(store, Prefix::new(prefix).unwrap(), "record")
}

#[allow(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn request(container: &str, more: Value) -> Value {
    let mut request = json!({"source": {"node": "sea", "container": container}, "target": {"node": "lake"},
                             "stop_timeout_seconds": 0});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn state_of(rig: &Rig, path: &str, wanted: &str) -> Value {
    for _ in 0..400 {
        let migration = rig.get(path).await.is(200).json();
        if migration["state"] == wanted && migration["active"] == false {
            return migration;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {wanted}: {}", rig.get(path).await.json());
}

/// Begins to move `web` from `sea` and gives the path of the migration, which stays in the middle of this call on the target.
async fn begin_and_stay(rig: &Rig, nodes: &Lasting, target: &str, operation: &'static str) -> String {
    let faults = nodes.node(target);
    let slow = roadstead_core::memory::Fault::Delay(Duration::from_secs(600));
    faults.faults().script(operation, slow, 1).unwrap();
    let body = request("web", json!({"way": "portable", "target": {"node": target}}));
    let path = rig.post("/v1/migrations", body).await.is(202).header("location").to_owned();
    for _ in 0..400 {
        if faults.faults().calls().contains(&operation) {
            return path;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never at {operation}: {}", rig.get(&path).await.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_planned_moved_listed_and_forgotten() {
    let rig = start(&Lasting::default()).await;
    rig.container("web").await;
    let plan = rig.post("/v1/migrations/plan", request("web", json!({"way": "portable"}))).await.is(200).json();
    assert_eq!((&plan["way"]["kind"], &plan["running"]), (&json!("portable"), &json!(true)));
    assert_eq!(plan["not_carried"][0]["field"], "image");
    assert_eq!(rig.get("/v1/migrations").await.is(200).json()["items"], json!([]), "a plan is no migration");
    let reply = rig.post("/v1/migrations?wait=20", request("web", json!({"target": {"node": "lake", "name": "web2"}})));
    let reply = reply.await.is(200);
    let moved = reply.json();
    assert_eq!((&moved["state"], &moved["active"]), (&json!("done"), &json!(false)), "{moved}");
    assert!(moved["steps"].as_array().unwrap().iter().all(|step| step["finished_at"].is_string()));
    rig.get("/v1/nodes/sea/containers/web").await.problem(404, "not_found");
    assert_eq!(rig.get("/v1/nodes/lake/containers/web2").await.is(200).json()["state"], "running");
    let path = reply.header("location").to_owned();
    assert_eq!(path, format!("/v1/migrations/{}", moved["id"].as_str().unwrap()));
    let job = &rig.get("/v1/nodes/lake/jobs").await.is(200).json()["items"][0];
    assert_eq!(job["command"], json!(["container.move", "web", "sea", "lake"]));
    let output = rig.events(&format!("/v1/jobs/{}/output", job["id"].as_str().unwrap()), None).await.all().await;
    let lines: String = output.iter().filter_map(|event| event.data["text"].as_str()).collect();
    for step in ["prepare", "retire_source", "finish"] {
        assert!(lines.contains(step), "{step} in {lines}");
    }
    let page = rig.get("/v1/migrations?fields=id,state").await.is(200).json();
    assert_eq!(page["items"], json!([{"id": moved["id"], "state": "done"}]));
    rig.act(&format!("{path}/cancel")).await.problem(409, "conflict");
    assert_eq!(rig.act(&format!("{path}/apply?wait=10")).await.is(200).json()["state"], "done");
    rig.delete(&path).await.is(204);
    rig.get(&path).await.problem(404, "not_found");
    rig.delete(&path).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_called_off_and_made_after_all() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let slow = roadstead_core::memory::Fault::Delay(Duration::from_secs(600));
    nodes.node("lake").faults().script("image.import", slow, 1).unwrap();
    let reply = rig.post("/v1/migrations", request("web", json!({"way": "portable"}))).await.is(202);
    let path = reply.header("location").to_owned();
    let job = rig.get(&path).await.is(200).json();
    assert_eq!(job["active"], true, "{job}");
    rig.get(job["job_path"].as_str().unwrap()).await.is(200);
    rig.act(&format!("{path}/apply")).await.problem(409, "conflict");
    rig.delete(&path).await.problem(409, "conflict");
    let second = rig.post("/v1/migrations?wait=10", request("web", json!({"way": "portable"}))).await.is(200).json();
    assert_eq!((&second["state"], &second["failure"]["code"]), (&json!("rolled_back"), &json!("conflict")), "{second}");
    let off = rig.act(&format!("{path}/cancel?wait=10")).await.is(200).json();
    assert_eq!((&off["state"], &off["failure"]["code"]), (&json!("rolled_back"), &json!("cancelled")), "{off}");
    assert_eq!(rig.get("/v1/nodes/sea/containers/web").await.is(200).json()["state"], "running");
    rig.get("/v1/nodes/lake/containers/web").await.problem(404, "not_found");
    assert_eq!(rig.act(&format!("{path}/cancel?wait=10")).await.is(200).json()["state"], "rolled_back");
    assert_eq!(rig.act(&format!("{path}/apply?wait=10")).await.is(200).json()["state"], "done");
    assert_eq!(rig.get("/v1/nodes/lake/containers/web").await.is(200).json()["state"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_container_is_deleted_comes_to_an_end() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "image.import").await;
    rig.delete("/v1/nodes/sea/containers/web?force=true").await.is(204);
    let lost = rig.act(&format!("{path}/cancel?wait=10")).await.is(200).json();
    assert_eq!((&lost["state"], &lost["failure"]["code"]), (&json!("lost"), &json!("not_found")), "{lost}");
    for verb in ["cancel", "apply"] {
        let again = rig.act(&format!("{path}/{verb}?wait=10")).await.is(200).json();
        assert_eq!((&again["state"], &again["failure"]), (&lost["state"], &lost["failure"]), "{verb}");
    }
    rig.container("web").await;
    let moved = rig.post("/v1/migrations?wait=20", request("web", json!({"way": "portable"}))).await.is(200).json();
    assert_eq!(moved["state"], "done", "{moved}");
    rig.delete(&path).await.is(204);
    rig.get(&path).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_finishes_what_the_last_one_left() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "image.import").await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let (kept, _) = records(&directory).await.all().await.unwrap();
    assert_eq!(kept.len(), 1);
    let rig = start_in(&nodes, directory).await;
    let done = state_of(&rig, &path, "done").await;
    assert_eq!(done["ran"], true);
    assert_eq!(rig.get("/v1/nodes/lake/containers/web").await.is(200).json()["state"], "running");
    rig.get("/v1/nodes/sea/containers/web").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_runs_again_though_the_target_stays_away() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "image.import").await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let stopped = nodes.node("sea").container("web").inspect().await.unwrap();
    assert!(!stopped.summary.state.has_processes(), "the move had stopped it");
    nodes.away.lock().unwrap().insert("lake".to_owned());
    let rig = start_in(&nodes, directory).await;
    let back = state_of(&rig, &path, "rolling_back").await;
    assert_eq!(back["failure"]["code"], "unavailable", "{back}");
    assert_eq!(rig.get("/v1/nodes/sea/containers/web").await.is(200).json()["state"], "running");
    rig.act(&format!("{path}/cancel")).await.problem(503, "unavailable");
    nodes.away.lock().unwrap().clear();
    state_of(&rig, &path, "rolled_back").await;
    rig.get("/v1/nodes/lake/containers/web").await.problem(404, "not_found");
    assert_eq!(rig.act(&format!("{path}/apply?wait=20")).await.is(200).json()["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_runs_though_the_source_stays_away() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "container.start").await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    nodes.away.lock().unwrap().insert("sea".to_owned());
    let rig = start_in(&nodes, directory).await;
    for _ in 0..400 {
        if rig.get("/v1/nodes/lake/containers/web").await.is(200).json()["state"] == "running" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rig.get("/v1/nodes/lake/containers/web").await.is(200).json()["state"], "running");
    nodes.away.lock().unwrap().clear();
    state_of(&rig, &path, "done").await;
    rig.get("/v1/nodes/sea/containers/web").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_by_itself_after_an_outage_and_not_after_a_refusal() {
    for (code, ends) in [(ErrorKind::Unavailable, "done"), (ErrorKind::Conflict, "moving")] {
        let nodes = Lasting::default();
        let rig = start(&nodes).await;
        rig.container("web").await;
        // After the commit, and more often than the layers try again.
        let refuses = roadstead_core::memory::Fault::Refuse(code);
        nodes.node("sea").faults().script("container.delete", refuses, 4).unwrap();
        let body = request("web", json!({"way": "portable"}));
        let reply = rig.post("/v1/migrations?wait=20", body).await.is(200);
        let path = reply.header("location").to_owned();
        assert_eq!(reply.json()["state"], "moving", "{}", reply.json());
        let ended = state_of(&rig, &path, ends).await;
        if ends == "moving" {
            assert_eq!(ended["failure"]["code"], "conflict", "{ended}");
            nodes.node("sea").faults().clear();
            assert_eq!(rig.act(&format!("{path}/apply?wait=20")).await.is(200).json()["state"], "done");
        }
        rig.get("/v1/nodes/sea/containers/web").await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_has_done_nothing_is_called_off_while_a_node_is_away() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "image.import").await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    // As it is written down before the first step.
    let records = records(&directory).await;
    let (mut kept, _) = records.all().await.unwrap();
    let (id, record) = kept.remove(0);
    let mut record = record.unwrap().value;
    record["state"] = json!("planned");
    for step in record["steps"].as_array_mut().unwrap() {
        *step = json!({"step": step["step"]});
    }
    records.put(&id, &record).await.unwrap();
    drop(records);
    nodes.away.lock().unwrap().insert("lake".to_owned());
    let rig = start_in(&nodes, directory).await;
    assert_eq!(rig.act(&format!("{path}/cancel")).await.is(200).json()["state"], "rolled_back");
    rig.delete(&path).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_called_off_is_brought_back_by_the_next_server_though_others_live() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    let path = begin_and_stay(&rig, &nodes, "lake", "image.import").await;
    // It stays on its way back: the source is not started.
    let slow = roadstead_core::memory::Fault::Delay(Duration::from_secs(600));
    nodes.node("sea").faults().script("container.start", slow, 1).unwrap();
    rig.act(&format!("{path}/cancel")).await.is(202);
    let starts = || nodes.node("sea").faults().calls().iter().filter(|call| **call == "container.start").count();
    let begun = starts();
    for _ in 0..400 {
        if starts() > begun || rig.get(&path).await.is(200).json()["state"] == "rolling_back" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let stopped = nodes.node("sea").container("web").inspect().await.unwrap();
    assert!(!stopped.summary.state.has_processes(), "it was on its way back");
    // Another server lives: what was left for a person is not taken up because this one starts.
    let servers = table(&directory, "servers/").await;
    let other = json!({"id": "other", "urls": [], "version": "0", "started_at": "2026-01-01T00:00:00Z"});
    servers.put("other", &other).await.unwrap();
    drop(servers);
    let rig = start_in(&nodes, directory).await;
    state_of(&rig, &path, "rolled_back").await;
    assert_eq!(rig.get("/v1/nodes/sea/containers/web").await.is(200).json()["state"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_forgotten_when_its_node_is_no_more() {
    let nodes = Lasting::default();
    let rig = start(&nodes).await;
    rig.container("web").await;
    rig.post("/v1/nodes", json!({"name": "pond", "uri": "lasting:"})).await.is(201);
    let path = begin_and_stay(&rig, &nodes, "pond", "image.import").await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    nodes.away.lock().unwrap().insert("pond".to_owned());
    let rig = start_in(&nodes, directory).await;
    // As far as it comes without that node.
    state_of(&rig, &path, "rolling_back").await;
    rig.delete(&path).await.problem(409, "conflict");
    rig.delete("/v1/nodes/pond").await.is(204);
    // An attempt may have begun in between.
    state_of(&rig, &path, "rolling_back").await;
    for verb in ["apply", "cancel"] {
        let problem = rig.act(&format!("{path}/{verb}")).await.problem(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains("pond"), "{problem}");
    }
    rig.delete(&path).await.is(204);
    rig.get(&path).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused_by_field_and_leaves_nothing() {
    let rig = start(&Lasting::default()).await;
    rig.container("web").await;
    let same = json!({"source": {"node": "sea", "container": "web"}, "target": {"node": "sea"}});
    for (body, field) in [
        (same, "target.node"),
        (request("web", json!({"wya": "auto"})), "wya"),
        (request("web", json!({"way": "swim"})), "way"),
        (request("a b", json!({})), "source.container"),
        (request("web", json!({"target": {"node": "lake", "name": "a b"}})), "target.name"),
        (request("web", json!({"target": {"node": "lake", "more": 1}})), "target.more"),
        (request("web", json!({"stop_timeout_seconds": 9999})), "stop_timeout_seconds"),
        (json!({"source": {"node": "sea", "container": "web"}}), "target"),
        (json!([]), "body"),
    ] {
        for path in ["/v1/migrations", "/v1/migrations/plan"] {
            let problem = rig.post(path, body.clone()).await.problem(400, "invalid_input");
            assert_eq!(problem["field"], field, "{body}");
        }
    }
    let nowhere = json!({"source": {"node": "sea", "container": "web"}, "target": {"node": "pond"}});
    rig.post("/v1/migrations", nowhere).await.problem(404, "not_found");
    rig.post("/v1/migrations", request("absent", json!({}))).await.problem(404, "not_found");
    rig.post("/v1/migrations", request("web", json!({"live": true}))).await.problem(501, "unsupported");
    rig.post("/v1/migrations?wait=x", request("web", json!({}))).await.problem(400, "invalid_input");
    rig.get("/v1/migrations?nope=1").await.problem(400, "invalid_input");
    for id in ["absent", "..%2F..%2Fadmin.token", &"0".repeat(32)] {
        for (method, rest) in
            [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/apply"), (Method::POST, "/cancel")]
        {
            let answer = rig.send(rig.request(method, &format!("/v1/migrations/{id}{rest}"))).await;
            assert_eq!(answer.status, 404, "{id}{rest}");
        }
    }
    assert_eq!(rig.get("/v1/migrations").await.is(200).json()["items"], json!([]));
    assert_eq!(rig.get("/v1/nodes/sea/containers/web").await.is(200).json()["state"], "running");
}
