//! Long work of the server itself: kept, told, called off, and gone on with by the next server.

use std::time::Duration;

use crate::rig::Rig;
use reqwest::Method;
use roadstead_http::NodeConfig;
use serde_json::{Value, json};

/// Starts of containers on `slow` take an hour.
async fn rig() -> Rig {
    let rig = Rig::with(|config| {
        let uri = "memory:?fault=container.start:delay:3600000";
        config.nodes.insert("slow".to_owned(), NodeConfig::Uri(uri.to_owned()));
    })
    .await;
    rig.post("/v1/pools", json!({"name": "all", "nodes": ["sea", "slow"]})).await.is(201);
    for (node, name) in [("sea", "one"), ("sea", "two"), ("slow", "late"), ("slow", "later")] {
        let spec = json!({"image": "roadstead/busybox:latest", "name": name, "command": ["sleep", "600"]});
        rig.post(&format!("/v1/nodes/{node}/containers"), spec).await.is(201);
    }
    rig
}

fn outcomes(items: &Value) -> Vec<(&str, &str)> {
    let items = items["items"].as_array().unwrap().iter();
    items.map(|item| (item["name"].as_str().unwrap(), item["outcome"].as_str().unwrap())).collect()
}

/// Once so many items are done.
async fn until_done(rig: &Rig, job: &str, done: u64) -> Value {
    for _ in 0..200 {
        let told = rig.get(job).await.is(200).json();
        if told["work"]["counts"]["done"] == done {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{done} items are not done: {}", rig.get(job).await.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_over_many_is_a_job_that_outlives_its_server() {
    let rig = rig().await;
    let body = json!({"all": true, "per_node": 1, "timeout_seconds": 600});
    let request = rig.request(Method::POST, "/v1/pools/all/containers/start?wait=0").header("X-Request-Id", "r-7");
    let begun = rig.send(request.json(&body)).await.is(202);
    let job = begun.header("location").to_owned();
    assert_eq!(job, format!("/v1/jobs/{}", begun.json()["id"].as_str().unwrap()));
    let told = until_done(&rig, &job, 2).await;
    assert_eq!(told["command"], json!(["pool.act", "start", "all"]));
    assert_eq!((&told["state"], &told["node"]), (&json!("running"), &json!("")));
    assert_eq!(told["work"]["asked"], json!({"by": "admin", "request_id": "r-7"}));
    assert_eq!(told["work"]["counts"], json!({"total": 4, "not_begun": 1, "done": 2, "failed": 0, "unknown": 1}));
    let items = rig.get(&format!("{job}/items")).await.is(200).json();
    let mut found = outcomes(&items);
    found.sort_unstable();
    assert!(found[..2].iter().all(|(name, _)| name.starts_with("late")), "{found:?}");
    assert_eq!(found[2..], [("one", "done"), ("two", "done")]);
    let page = rig.get(&format!("{job}/items?limit=3&fields=name")).await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert!(page["next"].is_string());
    let listed = rig.get("/v1/jobs").await.is(200).json();
    assert!(listed["items"].as_array().unwrap().iter().any(|known| known["id"] == told["id"]), "{listed}");
    rig.post(&format!("{job}/stdin"), json!({})).await.problem(409, "conflict");

    // The next server goes on. Its engines are others, without any container.
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let mut config = crate::rig::config(&directory);
    config.nodes.insert("slow".to_owned(), NodeConfig::Uri("memory:".to_owned()));
    let rig = Rig::on(directory, config).await;
    let ended = rig.get(&format!("{job}?wait=20")).await.is(200).json();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("failed"), &json!(1)), "{ended}");
    assert_eq!(ended["work"]["attempts"], 2);
    assert_eq!(ended["work"]["counts"], json!({"total": 4, "not_begun": 0, "done": 2, "failed": 1, "unknown": 1}));
    assert_eq!(ended["work"]["asked"], told["work"]["asked"]);
    let items = rig.get(&format!("{job}/items")).await.is(200).json();
    let failed = items["items"].as_array().unwrap().iter().find(|item| item["outcome"] == "failed").unwrap();
    assert_eq!(failed["error"]["code"], "not_found", "{failed}");
    // Lines that were written down are not lost with the server.
    let output = rig.get(&format!("{job}/output?follow=false")).await.is(200);
    assert!(String::from_utf8_lossy(&output.body).contains("not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_off_begins_nothing_more() {
    let rig = rig().await;
    let body = json!({"filter": {"names": ["later", "late"]}, "per_node": 1, "timeout_seconds": 3});
    let begun = rig.post("/v1/pools/all/containers/start?wait=0", body).await.is(202);
    let job = begun.header("location").to_owned();
    for _ in 0..100 {
        if rig.get(&job).await.json()["work"]["counts"]["unknown"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.delete(&job).await.is(204);
    let ended = rig.get(&format!("{job}?wait=20")).await.is(200).json();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("killed"), &json!(137)), "{ended}");
    let items = rig.get(&format!("{job}/items")).await.json();
    let mut found: Vec<_> = outcomes(&items).into_iter().map(|(_, outcome)| outcome).collect();
    found.sort_unstable();
    assert_eq!(found, ["not_begun", "unknown"]);
    // Killing what has ended is fine, and changes nothing.
    rig.delete(&job).await.is(204);
    assert_eq!(rig.get(&job).await.json(), ended);
    rig.get("/v1/jobs/0123456789abcdef0123456789abcdef").await.problem(404, "not_found");
    rig.get("/v1/jobs/0123456789abcdef0123456789abcdef/items").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_has_a_line_for_each_and_can_be_gone_on_with() {
    let rig = rig().await;
    let body = json!({"filter": {"names": ["one", "two", "none"]}});
    let done = rig.post("/v1/pools/all/containers/start", body).await.is(200);
    let job = done.header("location").to_owned();
    let done = done.json();
    let mut found = outcomes(&done);
    found.sort_unstable();
    assert_eq!(found, [("one", "done"), ("two", "done")]);
    let lines =
        rig.send(rig.request(Method::GET, &format!("{job}/output")).header("Accept", "text/plain")).await.is(200);
    let text = String::from_utf8(lines.body).unwrap();
    let names: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(names.len(), 2, "{text}");
    let mut events = rig.events(&format!("{job}/output"), Some("1")).await;
    let second = events.next().await.unwrap();
    assert_eq!(second.id, "2");
    let ended = rig.get(&job).await.json();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("succeeded"), &json!(0)));
    assert_eq!(ended["output_bytes"], text.len());
}
