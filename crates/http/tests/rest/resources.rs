//! Images, networks and volumes.

use crate::rig::{Rig, tar};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_as_jobs() {
    let rig = Rig::start().await;
    let reference = roadstead_core::memory::REGISTRY_IMAGE;
    let reply = rig.post("/v1/nodes/sea/images/pull?wait=10", json!({"reference": reference})).await.is(200);
    let job = reply.json();
    assert_eq!((&job["state"], &job["node"]), (&json!("succeeded"), &json!("sea")));
    let output = rig.events(&format!("{}/output", reply.header("location")), None).await.all().await;
    let progress: serde_json::Value = serde_json::from_str(output[0].data["text"].as_str().unwrap().trim()).unwrap();
    assert!(progress["status"].is_string());
    rig.get(&format!("/v1/nodes/sea/image?reference={reference}")).await.is(200);
    assert_eq!(
        rig.get("/v1/nodes/sea/jobs").await.is(200).json()["items"][0]["command"],
        json!(["image.pull", reference])
    );

    let failed =
        rig.post("/v1/nodes/sea/images/pull?wait=10", json!({"reference": "absent.example/x:1"})).await.is(200);
    assert_eq!((&failed.json()["state"], &failed.json()["exit_code"]), (&json!("failed"), &json!(1)));
    let output = rig.events(&format!("{}/output", failed.header("location")), None).await.all().await;
    let words: String = output.iter().filter_map(|event| event.data["text"].as_str()).collect();
    assert!(words.contains("not_found") || words.contains("permission_denied"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_imported_saved_loaded_tagged_and_deleted() {
    let rig = Rig::start().await;
    let import = "/v1/nodes/sea/images/import?reference=local/root:1&command=cat&command=/hello";
    let reply = rig.send(rig.request(Method::POST, import).body(tar("hello", b"hi"))).await.is(201);
    assert_eq!(reply.header("location"), "/v1/nodes/sea/image?reference=local/root:1");
    let image = rig.get(reply.header("location")).await.is(200).json();
    assert_eq!(image["command"], json!(["cat", "/hello"]));
    let tag = json!({"reference": "local/root:1", "new_reference": "localhost:5000/a/b:2"});
    rig.post("/v1/nodes/sea/images/tag", tag).await.is(204);
    assert_eq!(rig.get("/v1/nodes/sea/image?reference=localhost:5000/a/b:2").await.is(200).json()["id"], image["id"]);
    let saved = rig.get("/v1/nodes/sea/images/save?reference=local/root:1").await.is(200);
    rig.delete("/v1/nodes/sea/image?reference=local%2Froot%3A1").await.is(204);
    rig.get("/v1/nodes/sea/image?reference=local/root:1").await.problem(404, "not_found");
    let loaded = rig.send(rig.request(Method::POST, "/v1/nodes/sea/images/load").body(saved.body)).await.is(200);
    assert!(!loaded.json()["references"].as_array().unwrap().is_empty());
    rig.get("/v1/nodes/sea/image?reference=local/root:1").await.is(200);
    let page = rig.get("/v1/nodes/sea/images?fields=references").await.is(200).json();
    assert!(page["items"].as_array().unwrap().iter().all(|item| item.as_object().unwrap().len() == 1));
    rig.send(rig.request(Method::POST, import).body("no tar")).await.problem(400, "invalid_input");
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_and_volumes_come_and_go() {
    let rig = Rig::start().await;
    for (kind, spec) in [
        ("networks", json!({"name": "n1", "labels": {"a": "1"}, "subnets": [{"cidr": "172.30.0.0/24"}]})),
        ("volumes", json!({"name": "v1", "labels": {"a": "1"}})),
    ] {
        let base = format!("/v1/nodes/sea/{kind}");
        let name = spec["name"].as_str().unwrap();
        let reply = rig.post(&base, spec.clone()).await.is(201);
        assert_eq!(reply.header("location"), format!("{base}/{name}"));
        rig.post(&base, spec.clone()).await.problem(409, "already_exists");
        assert_eq!(rig.get(&format!("{base}/{name}")).await.is(200).json()["labels"]["a"], "1");
        let items = rig.get(&base).await.is(200).json()["items"].clone();
        assert!(items.as_array().unwrap().iter().any(|item| item["name"] == name));
        rig.delete(&format!("{base}/{name}")).await.is(204);
        rig.delete(&format!("{base}/{name}")).await.problem(404, "not_found");
    }
}
