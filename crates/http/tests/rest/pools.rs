//! Pools over nodes in memory.

use reqwest::Method;
use roadstead_http::NodeConfig;
use serde_json::{Value, json};

use crate::rig::Rig;

/// `sea` of the rig, and three nodes in the pool `fleet`: `bow` and `mid` with labels, and `stern` without.
async fn fleet() -> Rig {
    let rig = Rig::start().await;
    for (name, labels) in [
        ("bow", json!({"zone": "front", "deck": "1"})),
        ("mid", json!({"zone": "middle", "deck": "1"})),
        ("stern", json!({})),
    ] {
        rig.post("/v1/nodes", json!({"name": name, "uri": "memory:", "labels": labels})).await.is(201);
    }
    rig.post("/v1/pools", json!({"name": "fleet", "nodes": ["bow", "mid", "stern"]})).await.is(201);
    rig
}

async fn make(rig: &Rig, node: &str, name: &str, start: bool) -> String {
    let spec =
        json!({"image": "roadstead/busybox:latest", "name": name, "command": ["sleep", "600"], "labels": {"of": node}});
    let path = format!("/v1/nodes/{node}/containers?start={start}");
    rig.post(&path, spec).await.is(201).json()["id"].as_str().unwrap().to_owned()
}

async fn put(rig: &Rig, path: &str, body: Value) -> crate::rig::Reply {
    rig.send(rig.request(Method::PUT, path).json(&body)).await
}

fn list<'a>(items: &'a Value, member: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[member].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_come_change_and_go_and_are_kept_over_restarts() {
    let rig = fleet().await;
    let made = rig
        .post("/v1/pools", json!({"name": "decks", "nodes": ["sea", "later"], "select": {"labels": ["deck=1"]}}))
        .await;
    assert_eq!(made.header("location"), "/v1/pools/decks");
    let made = made.is(201).json();
    assert_eq!(made["members"], json!(["bow", "later", "mid", "sea"]));
    assert_eq!(made["select"], json!({"labels": ["deck=1"]}));
    assert_eq!(list(&rig.get("/v1/pools").await.is(200).json()["items"], "name"), ["decks", "fleet"]);
    rig.post("/v1/pools", json!({"name": "decks"})).await.problem(409, "already_exists");

    let changed = put(&rig, "/v1/pools/decks", json!({"select": {"labels": ["zone"], "schemes": ["memory"]}})).await;
    assert_eq!(changed.is(200).json()["members"], json!(["bow", "mid"]));
    // Who comes with the labels is a member from then on.
    rig.post("/v1/nodes", json!({"name": "top", "uri": "memory:", "labels": {"zone": "up"}})).await.is(201);
    assert_eq!(rig.get("/v1/pools/decks").await.is(200).json()["members"], json!(["bow", "mid", "top"]));
    rig.post("/v1/pools/decks/nodes/top/cordon", json!({"reason": "it is wet"})).await.is(204);

    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let config = crate::rig::config(&directory);
    let rig = Rig::on(directory, config).await;
    assert_eq!(rig.get("/v1/pools/decks").await.is(200).json()["members"], json!(["bow", "mid", "top"]));
    let members = rig.get("/v1/pools/decks/nodes").await.is(200).json();
    let top = members["items"].as_array().unwrap().iter().find(|member| member["name"] == "top").unwrap();
    assert_eq!((&top["cordon"]["reason"], &top["labels"]["zone"]), (&json!("it is wet"), &json!("up")));
    assert_eq!(top["info"]["engine"], "memory");
    rig.delete("/v1/pools/decks").await.is(204);
    rig.get("/v1/pools/decks").await.problem(404, "not_found");
    rig.delete("/v1/pools/decks").await.problem(404, "not_found");
    rig.get("/v1/nodes/bow").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_names_the_field_and_changes_nothing() {
    let rig = fleet().await;
    let web = make(&rig, "bow", "web", true).await;
    for (method, path, body, field) in [
        (Method::POST, "/v1/pools", json!({"name": "a b"}), "name"),
        (Method::POST, "/v1/pools", json!({"name": "p", "nodes": ["/"]}), "nodes"),
        (Method::POST, "/v1/pools", json!({"name": "p", "nodes": ["a", "a"]}), "nodes"),
        (Method::POST, "/v1/pools", json!({"name": "p", "select": {}}), "select"),
        (Method::POST, "/v1/pools", json!({"name": "p", "select": {"labels": [""]}}), "select.labels"),
        (Method::POST, "/v1/pools", json!({"name": "p", "select": {"schemes": ["a b"]}}), "select.schemes"),
        (Method::POST, "/v1/pools", json!({"name": "p", "select": {"label": "x"}}), "select.label"),
        (Method::POST, "/v1/pools", json!({"name": "p", "members": []}), "members"),
        (Method::POST, "/v1/nodes", json!({"name": "n", "uri": "memory:", "labels": {"": "x"}}), "labels"),
        (Method::PUT, "/v1/pools/fleet", json!({"name": "fleet"}), "name"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({}), "filter"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"filter": {}}), "filter"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"filter": {"names": ["/"]}}), "filter.names"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"filter": {"labels": [""]}}), "filter.labels"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"filter": {"states": ["odd"]}}), "filter.states"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"all": true, "filter": {"names": ["web"]}}), "all"),
        (Method::POST, "/v1/pools/fleet/containers/delete", json!({"all": true, "signal": "TERM"}), "signal"),
        (Method::POST, "/v1/pools/fleet/containers/start", json!({"all": true, "force": true}), "force"),
        (Method::POST, "/v1/pools/fleet/containers/start", json!({"all": true, "concurrency": 0}), "concurrency"),
        (
            Method::POST,
            "/v1/pools/fleet/containers/start",
            json!({"all": true, "timeout_seconds": 3601}),
            "timeout_seconds",
        ),
        (
            Method::POST,
            "/v1/pools/fleet/containers/stop",
            json!({"all": true, "stop_timeout_seconds": 3601}),
            "stop_timeout_seconds",
        ),
        (Method::POST, "/v1/pools/fleet/containers/explode", json!({"all": true}), "verb"),
        (Method::POST, "/v1/pools/fleet/containers", json!({"spec": {"image": ""}}), "spec.image"),
        (
            Method::POST,
            "/v1/pools/fleet/containers",
            json!({"spec": {"image": "a"}, "placement": {"strategy": "odd"}}),
            "placement.strategy",
        ),
        (
            Method::POST,
            "/v1/pools/fleet/containers",
            json!({"spec": {"image": "a"}, "placement": {"labels": [""]}}),
            "placement.labels",
        ),
        (Method::POST, "/v1/pools/fleet/containers", json!({"spec": {"image": "a"}, "where": "bow"}), "where"),
        (Method::POST, "/v1/pools/fleet/nodes/bow/cordon", json!({"reason": ""}), "reason"),
        (Method::POST, "/v1/pools/fleet/nodes/bow/drain", json!({"concurrency": 17}), "concurrency"),
        (Method::POST, "/v1/pools/fleet/nodes/bow/drain", json!({"reason": "a\nb"}), "reason"),
        (Method::POST, "/v1/pools/fleet/nodes/bow/drain", json!({"wya": "auto"}), "wya"),
    ] {
        let problem = rig.send(rig.request(method, path).json(&body)).await.problem(400, "invalid_input");
        assert_eq!(problem["field"], field, "{path} {body}: {problem}");
    }
    for path in ["/v1/pools/fleet/totals?timeout_seconds=0", "/v1/pools/fleet/nodes?timeout_seconds=301"] {
        assert_eq!(rig.get(path).await.problem(400, "invalid_input")["field"], "timeout_seconds");
    }
    for path in ["/v1/pools/none/containers", "/v1/pools/none/totals", "/v1/pools/none/nodes", "/v1/pools/none"] {
        rig.get(path).await.problem(404, "not_found");
    }
    for verb in ["cordon", "uncordon", "drain"] {
        rig.post(&format!("/v1/pools/fleet/nodes/sea/{verb}"), json!({})).await.problem(404, "not_found");
    }
    assert_eq!(list(&rig.get("/v1/pools").await.json()["items"], "name"), ["fleet"]);
    assert_eq!(rig.get(&format!("/v1/nodes/bow/containers/{web}")).await.is(200).json()["state"], "running");
    let members = rig.get("/v1/pools/fleet/nodes").await.json();
    assert!(members["items"].as_array().unwrap().iter().all(|member| member["cordon"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_over_many_tells_of_each() {
    let rig = fleet().await;
    for (node, name) in [("bow", "one"), ("mid", "two"), ("mid", "other"), ("sea", "one")] {
        make(&rig, node, name, false).await;
    }
    // Of a pool that has a member which is not there.
    put(&rig, "/v1/pools/fleet", json!({"nodes": ["bow", "mid", "stern", "gone"]})).await.is(200);
    let body = |more: Value| {
        let mut body = json!({"filter": {"names": ["one", "two"]}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let planned = rig.post("/v1/pools/fleet/containers/start", body(json!({"dry_run": true}))).await.is(200).json();
    assert_eq!(list(&planned["items"], "outcome"), ["planned", "planned"]);
    let done = rig.post("/v1/pools/fleet/containers/start", body(json!({}))).await.is(200).json();
    let told: Vec<_> = done["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| ["node", "name", "state", "outcome"].map(|member| item[member].as_str().unwrap()))
        .collect();
    assert_eq!(told, [["bow", "one", "created", "done"], ["mid", "two", "created", "done"]]);
    assert_eq!((&done["errors"][0]["node"], &done["errors"][0]["code"]), (&json!("gone"), &json!("unavailable")));
    assert_eq!(list(&done["nodes"], "node"), ["bow", "gone", "mid", "stern"]);
    let listed = rig.get("/v1/pools/fleet/containers?state=running").await.is(200).json();
    assert_eq!(list(&listed["items"], "name"), ["one", "two"], "the one of the node that is no member was left alone");
    assert_eq!(listed["errors"].as_array().unwrap().len(), 1);
    let totals = rig.get("/v1/pools/fleet/totals").await.is(200).json();
    assert_eq!((&totals["containers"], &totals["running"]), (&json!(3), &json!(2)));
    assert_eq!(list(&totals["members"], "node"), ["bow", "mid", "stern"]);
    let again = rig.post("/v1/pools/fleet/containers/delete", body(json!({}))).await.is(200).json();
    assert_eq!(list(&again["items"], "outcome"), ["failed", "failed"]);
    assert_eq!(again["items"][0]["error"]["code"], "conflict");
    let forced = rig.post("/v1/pools/fleet/containers/delete", body(json!({"force": true}))).await.is(200).json();
    assert_eq!(list(&forced["items"], "outcome"), ["done", "done"]);
    assert_eq!(list(&rig.get("/v1/pools/fleet/containers").await.json()["items"], "name"), ["other"]);
    for verb in ["stop", "restart", "freeze", "unfreeze", "kill"] {
        let done = rig.post(&format!("/v1/pools/fleet/containers/{verb}"), json!({"all": true})).await.is(200).json();
        assert_eq!(list(&done["items"], "name"), ["other"], "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_over_many_answers_by_its_deadline() {
    let rig = Rig::with(|config| {
        let uri = "memory:?fault=container.start:delay:3600000";
        config.nodes.insert("slow".to_owned(), NodeConfig::Uri(uri.to_owned()));
    })
    .await;
    rig.post("/v1/pools", json!({"name": "all", "nodes": ["sea", "slow"]})).await.is(201);
    make(&rig, "sea", "one", false).await;
    make(&rig, "slow", "two", false).await;
    let body = json!({"all": true, "timeout_seconds": 1});
    let done = rig.post("/v1/pools/all/containers/start", body).await.is(200).json();
    assert_eq!(list(&done["items"], "outcome"), ["done", "unknown"]);
    assert_eq!(done["items"][1]["error"]["retry"], "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_placed_and_told_why() {
    let rig = fleet().await;
    make(&rig, "stern", "ballast", false).await;
    let body = |name: &str, placement: Value| json!({"spec": {"image": "roadstead/busybox:latest", "name": name, "command": ["sleep", "600"]}, "placement": placement});
    let dry = "/v1/pools/fleet/containers?dry_run=true";
    let spread = rig.post(dry, body("new", json!({}))).await.is(200).json();
    assert_eq!((&spread["node"], list(&spread["candidates"], "node")), (&json!("bow"), vec!["bow", "mid", "stern"]));
    let packed = rig.post(dry, body("new", json!({"strategy": "pack"}))).await.is(200).json();
    assert_eq!(packed["node"], "stern");
    let labelled = json!({"strategy": "pack", "labels": ["zone=middle"]});
    let made = rig.post("/v1/pools/fleet/containers?start=true", body("new", labelled.clone())).await;
    let location = made.header("location").to_owned();
    let made = made.is(201).json();
    assert_eq!(location, format!("/v1/nodes/mid/containers/{}", made["container"]["id"].as_str().unwrap()));
    assert_eq!(rig.get(&location).await.is(200).json()["state"], "running");
    let reasons = &made["decision"]["candidates"];
    assert_eq!(reasons[1]["reason"], "has no label zone=middle");

    let taken = rig.post("/v1/pools/fleet/containers", body("new", labelled.clone())).await.problem(409, "conflict");
    assert!(taken["detail"].as_str().unwrap().contains("mid: has a container new already"), "{taken}");
    rig.post("/v1/pools/fleet/nodes/mid/cordon", json!({"reason": "it lists"})).await.is(204);
    let cordoned =
        rig.post("/v1/pools/fleet/containers", body("newer", labelled.clone())).await.problem(409, "conflict");
    assert!(cordoned["detail"].as_str().unwrap().contains("mid: takes no new containers: it lists"), "{cordoned}");
    rig.act("/v1/pools/fleet/nodes/mid/uncordon").await.is(204);
    rig.post("/v1/pools/fleet/containers", body("newer", labelled)).await.is(201);
    let both = rig.post("/v1/pools/fleet/containers?dry_run=true&start=true", body("x1", json!({}))).await;
    assert_eq!(both.problem(400, "invalid_input")["field"], "start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_emptied() {
    let rig = fleet().await;
    make(&rig, "bow", "runs", true).await;
    make(&rig, "bow", "rests", false).await;
    let frozen = make(&rig, "bow", "frozen", true).await;
    rig.act(&format!("/v1/nodes/bow/containers/{frozen}/freeze")).await.is(204);
    let drain = "/v1/pools/fleet/nodes/bow/drain";
    let planned = rig.post(drain, json!({"dry_run": true})).await.is(200).json();
    assert!(planned["job_path"].is_null());
    let mut goes = list(
        &json!(
            planned["plan"]["moves"]
                .as_array()
                .unwrap()
                .iter()
                .map(|planned| planned["plan"].clone())
                .collect::<Vec<_>>()
        ),
        "container",
    )
    .iter()
    .map(|name| (*name).to_owned())
    .collect::<Vec<_>>();
    goes.sort();
    assert_eq!(goes, ["rests", "runs"]);
    assert_eq!(list(&planned["plan"]["stays"], "name"), ["frozen"]);
    assert_eq!(list(&rig.get("/v1/nodes/bow/containers").await.json()["items"], "name").len(), 3);
    let members = rig.get("/v1/pools/fleet/nodes").await.json();
    assert!(members["items"][0]["cordon"].is_null(), "a dry run changes nothing");

    let done = rig.post(&format!("{drain}?wait=20"), json!({"reason": "to the yard", "stop_timeout_seconds": 0})).await;
    let location = done.header("location").to_owned();
    let done = done.is(200).json();
    assert_eq!(done["job_path"], location.as_str());
    let job = rig.get(&location).await.is(200).json();
    assert_eq!(job["exit_code"], 1, "one stays: {job}");
    let output = rig.get(&format!("{location}/output?follow=false")).await.is(200);
    let output = String::from_utf8(output.body).unwrap();
    assert!(output.contains("\\\"state\\\":\\\"done\\\"") || output.contains("\"state\":\"done\""), "{output}");
    assert_eq!(list(&rig.get("/v1/nodes/bow/containers").await.json()["items"], "name"), ["frozen"]);
    let there = rig.get("/v1/pools/fleet/containers").await.json();
    let mut there = list(&there["items"], "name");
    there.sort_unstable();
    assert_eq!(there, ["frozen", "rests", "runs"]);
    let runs = rig.get("/v1/pools/fleet/containers?name=runs").await.json();
    assert_eq!(runs["items"][0]["state"], "running");
    let members = rig.get("/v1/pools/fleet/nodes").await.json();
    assert_eq!(members["items"][0]["cordon"]["reason"], "to the yard");
    assert_eq!(rig.get("/v1/migrations").await.json()["items"].as_array().unwrap().len(), 2);

    rig.act(&format!("/v1/nodes/bow/containers/{frozen}/unfreeze")).await.is(204);
    let rest = rig.post(&format!("{drain}?wait=20"), json!({"stop_timeout_seconds": 0})).await.is(200).json();
    assert_eq!(rig.get(rest["job_path"].as_str().unwrap()).await.json()["exit_code"], 0);
    assert!(rig.get("/v1/nodes/bow/containers").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_called_off_leaves_every_container_runnable_somewhere() {
    let rig = fleet().await;
    for name in ["c1", "c2", "c3", "c4", "c5"] {
        make(&rig, "bow", name, true).await;
    }
    let started = rig
        .post("/v1/pools/fleet/nodes/bow/drain", json!({"concurrency": 1, "stop_timeout_seconds": 0}))
        .await
        .is(202)
        .json();
    let job = started["job_path"].as_str().unwrap();
    rig.delete(job).await.is(204);
    let ended = rig.get(&format!("{job}?wait=20")).await.is(200).json();
    assert_ne!(ended["exit_code"], 0, "{ended}");
    let there = rig.get("/v1/pools/fleet/containers").await.json();
    let mut there = list(&there["items"], "name");
    there.sort_unstable();
    assert_eq!(there, ["c1", "c2", "c3", "c4", "c5"]);
    let states = rig.get("/v1/pools/fleet/containers").await.json();
    assert_eq!(list(&states["items"], "state"), ["running"; 5]);
    assert!(rig.get("/v1/migrations").await.json()["items"].as_array().unwrap().len() < 5, "some had not begun");
}
