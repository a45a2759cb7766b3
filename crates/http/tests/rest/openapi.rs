//! The document is what the server does.

use crate::rig::{Rig, tar};
use reqwest::Method;
use serde_json::{Value, json};

fn documented() -> Value {
    serde_json::to_value(roadstead_http::openapi()).unwrap()
}

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let made = format!("{:#}\n", documented());
    if std::env::var_os("ROADSTEAD_BLESS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is old: run this test with ROADSTEAD_BLESS=1");
}

#[test]
fn the_document_is_whole() {
    let document = documented();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = document.to_string();
    // Every reference leads somewhere.
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                assert!(
                    parameters.iter().any(|parameter| parameter["in"] == "path" && parameter["name"] == name),
                    "{method} {path} does not tell of {name}"
                );
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

/// What makes an operation succeed: path and query, and body.
fn sample(id: &str, container: &str, job: &str) -> Option<(&'static str, Option<Value>)> {
    let _ = job;
    let image = json!("roadstead/busybox:latest");
    Some(match id {
        "nodes_add" => ("", Some(json!({"name": "bay", "uri": "memory:"}))),
        "containers_create" => ("", Some(json!({"image": image, "name": "new"}))),
        "containers_rename" => ("", Some(json!({"name": "renamed"}))),
        "containers_update" => ("", Some(json!({"limits": {"pids": 10}}))),
        "containers_commit" => ("", Some(json!({"image": "local/x:1"}))),
        "containers_resize" | "jobs_resize" => ("", Some(json!({"columns": 80, "rows": 24}))),
        "jobs_run" | "jobs_run_on_node" => ("", Some(json!({"command": ["true"]}))),
        "images_pull" => ("", Some(json!({"reference": "registry.example/roadstead/hello:latest"}))),
        "images_tag" => ("", Some(json!({"reference": image, "new_reference": "local/y:1"}))),
        "migrations_plan" | "migrations_start" => (
            "",
            Some(json!({"source": {"node": "sea", "container": container}, "target": {"node": "lake"},
                                 "stop_timeout_seconds": 0})),
        ),
        "pools_create" => ("", Some(json!({"name": "p2", "nodes": ["sea"]}))),
        "pools_replace" => ("", Some(json!({"nodes": ["sea", "lake"]}))),
        "pools_create_container" => ("", Some(json!({"spec": {"image": image}}))),
        "pools_act" => ("", Some(json!({"all": true, "dry_run": true}))),
        "pools_drain" => ("", Some(json!({"dry_run": true}))),
        "networks_create" => ("", Some(json!({"name": "n2"}))),
        "snapshots_create" => ("", Some(json!({"name": "s2"}))),
        "volumes_create" => ("", Some(json!({"name": "v2"}))),
        // Nobody listens there.
        "webhooks_create" => ("", Some(json!({"url": "http://127.0.0.1:9/hook"}))),
        "containers_wait" => ("", Some(json!({"timeout_seconds": 1}))),
        "containers_stop" | "containers_restart" => ("", Some(json!({"timeout_seconds": 0}))),
        "files_get" | "files_put" => ("?path=/tmp", None),
        "images_inspect" | "images_delete" | "images_save" => ("?reference=roadstead/busybox:latest", None),
        "images_import" => ("?reference=local/z:1", None),
        "containers_delete" => ("?force=true", None),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_as_documented() {
    let rig = Rig::start().await;
    rig.post("/v1/nodes", json!({"name": "lake", "uri": "memory:"})).await.is(201);
    let document = documented();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            // Each operation finds a world of its own.
            let container =
                rig.container_with(&format!("c-{seen}"), json!({"command": ["cat"], "stdin": true, "tty": true})).await;
            let spec = json!({"command": ["cat"], "stdin": true, "tty": true});
            let job = rig.post(&format!("/v1/nodes/sea/containers/{container}/jobs"), spec).await.is(202).json();
            let job = job["id"].as_str().unwrap();
            let _ = rig.post("/v1/nodes/sea/networks", json!({"name": "n1"})).await;
            let _ = rig.post("/v1/nodes/sea/volumes", json!({"name": "v1"})).await;
            let snapshots = format!("/v1/nodes/sea/containers/{container}/snapshots");
            rig.post(&snapshots, json!({"name": "s1"})).await.is(201);
            let _ = rig.post("/v1/pools", json!({"name": "p1", "nodes": ["sea", "lake"]})).await;
            let (query, body) = sample(id, &container, job).unwrap_or(("", None));
            let migration = if path.contains("{migration}") {
                let (_, moves) = sample("migrations_start", &container, job).unwrap();
                let moved = rig.post("/v1/migrations?wait=20", moves.unwrap()).await.is(200).json();
                moved["id"].as_str().unwrap().to_owned()
            } else {
                String::new()
            };
            let webhook = if path.contains("{webhook}") {
                let (_, webhook) = sample("webhooks_create", &container, job).unwrap();
                rig.post("/v1/webhooks", webhook.unwrap()).await.is(201).json()["id"].as_str().unwrap().to_owned()
            } else {
                String::new()
            };
            let place = path
                .replace("{migration}", &migration)
                .replace("{webhook}", &webhook)
                .replace("{pool}", "p1")
                .replace("{verb}", "start")
                .replace("{node}", if id == "nodes_remove" { "bay" } else { "sea" })
                .replace("{container}", &container)
                .replace("{job}", job)
                .replace("{network}", "n1")
                .replace("{volume}", "v1")
                .replace("{snapshot}", "s1");
            if id == "nodes_remove" {
                let _ = rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await;
            } else if id == "nodes_add" {
                let _ = rig.delete("/v1/nodes/bay").await;
            }
            let verb: Method = method.to_uppercase().parse().unwrap();
            for (round, mut request) in [
                ("good", rig.request(verb.clone(), &format!("{place}{query}"))),
                ("bad", rig.request(verb.clone(), &format!("{place}?no_such_key=1"))),
            ] {
                if let Some(body) = &body {
                    request = request.json(body);
                } else if matches!(id, "files_put" | "images_import" | "images_load" | "containers_restore") {
                    request = request.body(tar("x", b"x"));
                }
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                assert!(
                    operation["responses"][status.to_string()].is_object(),
                    "{round} {method} {place}{query} answered {status}, which is not documented: {:?}",
                    response.text().await
                );
                assert_ne!(status, 500, "{round} {method} {place}");
                if round == "bad" {
                    assert_eq!(status, 400, "{method} {place} takes unknown query keys");
                    // What the server says that there is, is what the document says.
                    let problem: Value = response.json().await.unwrap();
                    let detail = problem["detail"].as_str().unwrap();
                    let told = detail.split_once("there are ").map_or("", |(_, keys)| keys);
                    let mut told: Vec<_> = told.split(", ").filter(|key| !key.is_empty()).collect();
                    let mut documented: Vec<_> = operation["parameters"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter(|parameter| parameter["in"] == "query")
                        .map(|parameter| parameter["name"].as_str().unwrap())
                        .collect();
                    told.sort_unstable();
                    documented.sort_unstable();
                    assert_eq!(documented, told, "query keys of {method} {path}");
                } else {
                    let excused = match id {
                        "containers_attach" => 426,
                        "containers_wait" => 504,
                        "containers_unfreeze" => 204,
                        // It is done.
                        "images_delete" | "migrations_cancel" => 409,
                        "images_load" | "containers_restore" => 400,
                        // The engine in memory has no machine.
                        "nodes_host" => 501,
                        _ => 200,
                    };
                    assert!(
                        status < 300 || status == excused,
                        "{method} {place}{query}: {status} {:?}",
                        response.text().await
                    );
                }
            }
            seen += 1;
        }
    }
    assert!(seen >= 65, "{seen} operations");
}
