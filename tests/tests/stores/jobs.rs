//! Jobs of servers that are killed: what they did is held against the history that the engine itself kept.

use std::collections::BTreeMap;
use std::time::Duration;

use roadstead_tests::engines::{self, TestEngine, image};
use roadstead_tests::etcd::shared;
use roadstead_tests::{Server, ServerOptions};
use serde_json::{Value, json};

use crate::servers::member_with;

/// Containers of a job.
const CONTAINERS: usize = 12;

fn rounds() -> u32 {
    if std::env::var_os("ROADSTEAD_SOAK").is_some() { 15 } else { 3 }
}

/// Containers that end as soon as they are asked to.
fn containers(engine: &TestEngine, label: &str) -> Vec<String> {
    (0..CONTAINERS)
        .map(|number| {
            let body = json!({
                "Image": image(),
                "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"],
                "Labels": {"of": label},
            });
            let name = format!("{label}-{number}");
            let made = engine.ask("POST", &format!("/containers/create?name={name}"), Some(&body)).expect(201).json();
            let id = made["Id"].as_str().expect("an id").to_owned();
            let _ = engine.ask("POST", &format!("/containers/{id}/start"), None).expect(204);
            id
        })
        .collect()
}

/// The clock of the engine, as seconds.
fn now(engine: &TestEngine) -> f64 {
    let info = engine.get("/info");
    let time: roadstead_core::Timestamp =
        serde_json::from_value(info["SystemTime"].clone()).expect("the engine has a clock");
    time.unix_nanos() as f64 / 1e9
}

/// How often each container was restarted, as the engine tells.
fn restarts(engine: &TestEngine, since: f64, until: f64) -> BTreeMap<String, usize> {
    let filters = "%7B%22event%22%3A%5B%22restart%22%5D%7D";
    let told =
        engine.ask("GET", &format!("/events?since={since:.9}&until={until:.9}&filters={filters}"), None).expect(200);
    let mut counts = BTreeMap::new();
    for line in told.text().lines().filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_str(line).expect("an event");
        *counts.entry(event["Actor"]["ID"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    counts
}

/// Begins to restart all of them; gives the job's path.
async fn begin(server: &Server, label: &str) -> String {
    let body = json!({"filter": {"labels": [format!("of={label}")]}, "per_node": 2, "timeout_seconds": 120});
    let begun = server.post_json("/v1/pools/all/containers/restart?wait=0", &body).await.expect(202);
    begun.header("location").expect("the place of the job").to_owned()
}

/// Held against the engine's history; gives how many were left undone or unknown.
async fn check(server: &Server, job: &str, engine: &TestEngine, ids: &[String], since: f64) -> usize {
    let ended = server.get(&format!("{job}?wait=100")).await.expect(200).json();
    assert!(["succeeded", "failed"].contains(&ended["state"].as_str().expect("a state")), "{ended}");
    assert_eq!(ended["work"]["counts"]["total"], CONTAINERS, "{ended}");
    let items = server.get(&format!("{job}/items?limit=1000")).await.expect(200).json();
    let items = items["items"].as_array().expect("items").clone();
    // What the engine was told and nobody heard of may end a moment later.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let counts = restarts(engine, since, now(engine));
    let mut left = 0;
    for item in &items {
        let count = counts.get(item["id"].as_str().expect("an id")).copied().unwrap_or_default();
        match item["outcome"].as_str().expect("an outcome") {
            "done" => assert_eq!(count, 1, "{item}"),
            "unknown" => assert!(count <= 1, "{count} restarts: {item}"),
            other => panic!("{other}: {ended} {item}"),
        }
        left += usize::from(item["outcome"] != "done");
    }
    assert_eq!(items.len(), ids.len());
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_runs_twice_when_a_server_dies_and_another_goes_on() {
    let (Some(engine), Some(uri)) = (engines::docker(), shared("jobs-of-two")) else { return };
    let _cleaner = engine.cleaner();
    let directory = tempfile::tempdir().expect("a directory");
    let start = |name: &str| member_with(&uri, directory.path(), name, ServerOptions::with(&engine));
    let there = start("there");
    let _ = there.post_json("/v1/pools", &json!({"name": "all", "nodes": ["docker"]})).await.expect(201);
    // One that is killed leaves its containers behind; the next has another label.
    let label = engine.name("two");
    let ids = containers(&engine, &label);
    let (mut taken_over, mut left) = (0, 0);
    for round in 0..rounds() {
        let mut here = start("here");
        let since = now(&engine);
        let job = begin(&here, &label).await;
        tokio::time::sleep(Duration::from_millis(150 + u64::from(round % 8) * 90)).await;
        here.kill();
        left += check(&there, &job, &engine, &ids, since).await;
        let ended = there.get(&job).await.expect(200).json();
        taken_over += usize::from(ended["work"]["attempts"] == 2);
    }
    assert!(taken_over > 0, "no server went on with what another one had begun");
    eprintln!("{} kills: {taken_over} jobs were taken over, {left} items of all are not known", rounds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_when_its_only_server_is_started_again() {
    let Some(engine) = engines::docker() else { return };
    let _cleaner = engine.cleaner();
    let state = tempfile::tempdir().expect("a directory");
    let start = || ServerOptions::with(&engine).start_in(state.path());
    let mut server = start();
    let _ = server.post_json("/v1/pools", &json!({"name": "all", "nodes": ["docker"]})).await.expect(201);
    let label = engine.name("one");
    let ids = containers(&engine, &label);
    for round in 0..rounds() {
        let since = now(&engine);
        let job = begin(&server, &label).await;
        tokio::time::sleep(Duration::from_millis(120 + u64::from(round % 8) * 90)).await;
        server.kill();
        server = start();
        let _ = check(&server, &job, &engine, &ids, since).await;
        let output = server.get(&format!("{job}/output")).await.expect(200).text();
        assert!(output.lines().count() >= CONTAINERS / 2, "{output}");
    }
    // What is called off begins nothing more, and says so.
    let job = begin(&server, &label).await;
    let _ = server.delete(&job).await.expect(204);
    let ended = server.get(&format!("{job}?wait=60")).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("killed"), &json!(137)), "{ended}");
    assert!(ended["work"]["counts"]["not_begun"].as_u64().expect("a count") > 0, "{ended}");
}
