use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::rig::{Rig, client, config};
use async_trait::async_trait;
use roadstead_core::memory::MemoryEngine;
use roadstead_core::{ConnectOptions, Discovered, Engine, Error, ErrorKind, Node, NodeUri, Registry, Result};
use roadstead_http::{NodeConfig, Server};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_added_kept_and_removed() {
    let rig = Rig::start().await;
    let reply = rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:?seed=2"})).await.is(201);
    assert_eq!(reply.header("location"), "/v1/nodes/bay");
    let node = rig.get("/v1/nodes/bay").await.is(200).json();
    assert_eq!((&node["state"], &node["source"]), (&json!("connected"), &json!("added")));
    assert_eq!(node["info"]["simulated"], true);
    rig.get(node["capabilities_path"].as_str().unwrap()).await.is(200);
    let names: Vec<_> = rig.get("/v1/nodes").await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["bay", "sea"]);
    rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await.problem(409, "already_exists");

    rig.running.shutdown().await.unwrap();
    let rig = Rig::on_directory(rig.directory).await;
    assert_eq!(rig.get("/v1/nodes/bay").await.is(200).json()["state"], "connected");
    rig.delete("/v1/nodes/bay").await.is(204);
    rig.get("/v1/nodes/bay").await.problem(404, "not_found");
    rig.running.shutdown().await.unwrap();
    let rig = Rig::on_directory(rig.directory).await;
    rig.get("/v1/nodes/bay").await.problem(404, "not_found");
}

/// An engine that can be away.
#[derive(Debug, Clone, Default)]
struct Tide {
    away: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
}

#[async_trait]
impl Engine for Tide {
    fn schemes(&self) -> &'static [&'static str] {
        &["tide"]
    }

    async fn connect(&self, name: &str, _: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unauthenticated, "the tide is out"));
        }
        MemoryEngine.connect(name, &"memory:".parse()?, options).await
    }

    fn discover(&self) -> Vec<Discovered> {
        vec![
            Discovered::new("flats", "tide://me:hunter2@here", "/run/tide.sock"),
            Discovered::broken("reef", "there is no context \"reef\"", "TIDE_CONTEXT"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_hides_nothing_and_comes_back_by_itself() {
    let tide = Tide::default();
    tide.away.store(true, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.nodes.insert("flats".to_owned(), NodeConfig::Uri("tide://me:hunter2@here".to_owned()));
    let running = Server::start(config, Registry::new().with(MemoryEngine).with(tide.clone())).await.unwrap();
    let rig = Rig { directory, running, client: client() };
    rig.container("web").await;
    let node = rig.get("/v1/nodes/flats").await.is(200);
    assert!(!String::from_utf8_lossy(&node.body).contains("hunter2"));
    assert_eq!((&node.json()["state"], &node.json()["error"]["code"]), (&json!("unavailable"), &json!("unavailable")));
    let page = rig.get("/v1/containers").await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["errors"][0]["node"], "flats");
    assert_eq!(page["nodes"][0]["ok"], false);
    let problem = rig.get("/v1/nodes/flats/containers").await.problem(503, "unavailable");
    assert_eq!((&problem["node"], &problem["retry"]), (&json!("flats"), &json!("safe")));
    rig.get("/v1/nodes/flats/capabilities").await.problem(503, "unavailable");

    let before = tide.attempts.load(Ordering::SeqCst);
    for _ in 0..50 {
        rig.get("/v1/containers").await.is(200);
    }
    assert!(tide.attempts.load(Ordering::SeqCst) - before < 10, "requests do not each cost an attempt");

    tide.away.store(false, Ordering::SeqCst);
    for attempt in 0.. {
        if rig.get("/v1/nodes/flats/containers").await.status == 200 {
            break;
        }
        assert!(attempt < 60, "it never came back");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(rig.get("/v1/containers").await.is(200).json()["errors"], json!([]));
    // A node that cannot be connected is not added.
    tide.away.store(true, Ordering::SeqCst);
    let reply = rig.post("/v1/nodes", json!({"name": "more", "uri": "tide://me:hunter2@here"})).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("hunter2"));
    assert!(reply.status >= 400);
    rig.get("/v1/nodes/more").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_are_discovered_and_otherwise_simulated() {
    let directory = tempfile::tempdir().unwrap();
    let mut alone = config(&directory);
    alone.nodes.clear();
    let running = Server::start(alone.clone(), Registry::new().with(MemoryEngine).with(Tide::default())).await.unwrap();
    let rig = Rig { directory, running, client: client() };
    let nodes = rig.get("/v1/nodes").await.json();
    assert_eq!((&nodes["items"][0]["name"], &nodes["items"][0]["source"]), (&json!("flats"), &json!("discovered")));
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
    assert_eq!((&nodes["items"][1]["name"], &nodes["items"][1]["state"]), (&json!("reef"), &json!("unavailable")));
    assert!(nodes["items"][1]["error"]["detail"].as_str().unwrap().contains("there is no context"));
    rig.delete("/v1/nodes/flats").await.problem(409, "conflict");
    rig.running.shutdown().await.unwrap();
    let running = Server::start(alone, Registry::new().with(MemoryEngine)).await.unwrap();
    let rig = Rig { running, ..rig };
    let nodes = rig.get("/v1/nodes").await.json();
    assert_eq!((&nodes["items"][0]["name"], &nodes["items"][0]["info"]["simulated"]), (&json!("memory"), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_does_not_hold_the_list_back() {
    let rig = Rig::with(|config| {
        let uri = "memory:?fault=node.list_containers:delay:60000".to_owned();
        config.nodes.insert("slow".to_owned(), NodeConfig::Uri(uri));
    })
    .await;
    rig.container("web").await;
    let page = rig.get("/v1/containers?timeout_seconds=1").await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!((&page["errors"][0]["node"], &page["errors"][0]["code"]), (&json!("slow"), &json!("deadline_exceeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_goes_away_and_returns_works_again() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let mut events = rig.events("/v1/events", None).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let job =
        rig.post(&format!("/v1/nodes/sea/containers/{id}/jobs"), json!({"command": ["sleep", "600"]})).await.is(202);
    let output = rig.events(&format!("{}/output", job.header("location")), None).await;
    rig.leave();
    assert_eq!(output.all().await.last().unwrap().event, "error");
    rig.get("/v1/nodes/sea/containers").await.problem(503, "unavailable");
    assert_eq!(rig.get("/v1/containers").await.is(200).json()["errors"][0]["code"], "unavailable");
    assert_eq!(rig.get("/v1/nodes/sea").await.is(200).json()["state"], "unavailable");
    rig.come_back();
    assert_eq!(rig.get(job.header("location")).await.is(200).json()["state"], "lost");
    rig.get("/v1/nodes/sea/containers").await.is(200);
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.data["action"] == "resync" {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_watches_the_nodes_of_its_store_also_after_it_was_killed() {
    let rig = Rig::start().await;
    rig.post("/v1/nodes", json!({"name": "pond", "uri": "memory:"})).await.is(201);
    let watches = async |rig: &Rig| {
        for _ in 0..400 {
            let servers = rig.get("/v1/servers").await.is(200).json();
            let item = &servers["items"][0];
            assert_eq!((servers["items"].as_array().unwrap().len(), &item["this"]), (1, &json!(true)), "{servers}");
            assert_eq!(item["urls"], json!([rig.url("")]));
            if item["watches"] == json!(["pond"]) {
                return item["id"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nobody watches it");
    };
    let first = watches(&rig).await;
    // As it is on the disk of one that is killed: with its session.
    let (state, key) = (rig.directory.path().join("state"), rig.directory.path().join("store.key"));
    let killed = tempfile::tempdir().unwrap();
    std::fs::create_dir(killed.path().join("state")).unwrap();
    for entry in std::fs::read_dir(&state).unwrap() {
        let entry = entry.unwrap();
        // The audit log is a directory, and says nothing of who is alive.
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), killed.path().join("state").join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(key, killed.path().join("store.key")).unwrap();
    let next = {
        let config = config(&killed);
        Rig::on(killed, config)
    }
    .await;
    assert_ne!(watches(&next).await, first);
}
