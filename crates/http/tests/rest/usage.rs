//! What nodes and containers use, and their processes: one answer, live, and what is refused.

use crate::rig::{Rig, SentEvent};
use reqwest::Method;
use serde_json::json;

/// What the next event is about.
fn ids(event: &SentEvent) -> Vec<&str> {
    event.data["containers"].as_array().unwrap().iter().map(|container| container["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_node_is_one_answer() {
    let rig = Rig::start().await;
    let (web, db) = (rig.container("web").await, rig.container("db").await);
    let waits = rig.post("/v1/nodes/sea/containers", json!({"image": "roadstead/busybox:latest"})).await.is(201).json();
    let usage = rig.get("/v1/nodes/sea/usage").await.is(200).json();
    assert_eq!(usage["node"], "sea");
    let mut found: Vec<_> = usage["containers"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    let mut there = vec![json!(web), json!(db)];
    for ids in [&mut found, &mut there] {
        ids.sort_by_key(ToString::to_string);
    }
    assert_eq!(found, there, "those that run and no others");
    let usage = rig.get(&format!("/v1/nodes/sea/usage?container=web&container={web}")).await.is(200).json();
    assert_eq!(usage["containers"].as_array().unwrap().len(), 1);
    let one = rig.get("/v1/nodes/sea/containers/web/usage").await.is(200).json();
    assert_eq!((&one["id"], &one["name"]), (&json!(web), &json!("web")));
    assert!(one["cpu"]["total_seconds"].is_number() && one["memory"]["usage_bytes"].as_u64().unwrap() > 0);
    assert!(one["rates"]["interval_seconds"].as_f64().unwrap() > 0.0, "{one}");
    let waits = waits["id"].as_str().unwrap();
    rig.get(&format!("/v1/nodes/sea/containers/{waits}/usage")).await.problem(409, "conflict");
    rig.get(&format!("/v1/nodes/sea/usage?container={waits}")).await.problem(409, "conflict");
    rig.get("/v1/nodes/sea/usage?container=nobody").await.problem(404, "not_found");
    rig.get("/v1/nodes/sea/host").await.problem(501, "unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_a_list() {
    let rig = Rig::start().await;
    let (web, db) = (rig.container("web").await, rig.container("db").await);
    let all = rig.get("/v1/nodes/sea/processes").await.is(200).json();
    let pids: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| one["pid"].as_u64().unwrap()).collect();
    assert!(pids.len() >= 2 && pids.is_sorted(), "{all}");
    let page = rig.get("/v1/nodes/sea/processes?limit=1&fields=pid,container").await.is(200).json();
    assert_eq!(page["items"][0].as_object().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let rest = rig.get(&format!("/v1/nodes/sea/processes?cursor={next}")).await.is(200).json();
    assert_eq!(rest["items"].as_array().unwrap().len(), pids.len() - 1);
    for path in [
        format!("/v1/nodes/sea/processes?container={web}"),
        format!("/v1/nodes/sea/containers/{web}/processes?open_files=true&connections"),
    ] {
        let of = rig.get(&path).await.is(200).json();
        let of = of["items"].as_array().unwrap();
        assert!(!of.is_empty() && of.iter().all(|process| process["container"] == json!(web)), "{of:?}");
    }
    rig.get(&format!("/v1/nodes/sea/containers/{db}/processes")).await.is(200);
    rig.get("/v1/nodes/sea/processes?container=nobody").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn use_goes_on_until_the_container_ends() {
    let rig = Rig::start().await;
    let web = rig.container("web").await;
    let mut node = rig.events("/v1/nodes/sea/usage", None).await;
    let mut one = rig.events("/v1/nodes/sea/containers/web/usage", None).await;
    let mut processes = rig.events("/v1/nodes/sea/processes?container=web", None).await;
    let (of_node, of_one, of_all) =
        (node.next().await.unwrap(), one.next().await.unwrap(), processes.next().await.unwrap());
    assert_eq!((of_node.event.as_str(), of_node.id.as_str(), ids(&of_node)), ("usage", "1", vec![web.as_str()]));
    assert_eq!((of_one.event.as_str(), &of_one.data["id"]), ("usage", &json!(web)));
    assert_eq!((of_all.event.as_str(), &of_all.data["items"][0]["container"]), ("usage", &json!(web)));
    let again = one.next().await.unwrap();
    assert_eq!(again.id, "2");
    assert!(again.data["observed_at"].as_str() > of_one.data["observed_at"].as_str());
    rig.delete(&format!("/v1/nodes/sea/containers/{web}?force=true")).await.is(204);
    for stream in [one, processes] {
        assert_eq!(stream.all().await.last().unwrap().event, "end");
    }
    while !ids(&node.next().await.unwrap()).is_empty() {}
    rig.leave();
    let last = node.all().await.pop().unwrap();
    assert_eq!((last.event.as_str(), &last.data["code"]), ("error", &json!("unavailable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name() {
    let rig = Rig::start().await;
    rig.container("web").await;
    for (path, field) in [
        ("usage?container=a/b", "container"),
        ("usage?containers=web", "containers"),
        ("usage?since=yesterday", "since"),
        ("usage?since=2999-01-01T00:00:00Z", "since"),
        ("usage?step=0", "step"),
        ("usage?step=-1", "step"),
        ("usage?step=NaN", "step"),
        ("usage?step=86401", "step"),
        ("containers/web/usage?step=x", "step"),
        ("containers/web/usage?container=web", "container"),
        ("processes?limit=0", "limit"),
        ("processes?fields=no", "fields"),
        ("processes?step=1&limit=1", "limit"),
        ("processes?step=1&open_files", "open_files"),
        ("processes?open_files=maybe", "open_files"),
        ("containers/web/processes?since=2026-01-01T00:00:00Z&connections", "connections"),
        ("containers/web/processes?limit=1", "limit"),
        ("host?x", "x"),
    ] {
        let problem = rig.get(&format!("/v1/nodes/sea/{path}")).await.problem(400, "invalid_input");
        assert_eq!(problem["field"], field, "{path}: {problem}");
    }
    for (path, field) in [
        ("usage?since=2026-01-01T00:00:00Z", "since"),
        ("containers/web/usage?step=1", "step"),
        ("processes?step=1", "step"),
        ("processes?limit=1", "limit"),
    ] {
        let request = rig.request(Method::GET, &format!("/v1/nodes/sea/{path}")).header("Accept", "text/event-stream");
        assert_eq!(rig.send(request).await.problem(400, "invalid_input")["field"], field, "{path}");
    }
    // The engine in memory keeps no history.
    for path in ["usage?step=1", "containers/web/usage?since=2026-01-01T00:00:00Z", "processes?step=1"] {
        let problem = rig.get(&format!("/v1/nodes/sea/{path}")).await.problem(501, "unsupported");
        assert_eq!(problem["context"], json!({"capability": "usage_history"}));
    }
    let request = rig.request(Method::GET, "/v1/nodes/sea/usage").header("Accept", "text/plain");
    rig.send(request).await.problem(406, "not_acceptable");
}
