//! Snapshots and backups of containers.

use crate::rig::{Rig, tar, untar};
use reqwest::Method;
use serde_json::json;

/// Puts the file `/tmp/file` into a container.
async fn put(rig: &Rig, place: &str, content: &[u8]) {
    let put = rig.request(Method::PUT, &format!("{place}/files?path=/tmp")).body(tar("file", content));
    rig.send(put).await.is(204);
}

async fn file(rig: &Rig, place: &str) -> Vec<u8> {
    untar(&rig.get(&format!("{place}/files?path=/tmp/file")).await.is(200).body, "file").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_goes_back_to_a_snapshot() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let place = format!("/v1/nodes/sea/containers/{id}");
    let all = format!("{place}/snapshots");
    assert_eq!(rig.get(&all).await.is(200).json(), json!({"items": []}));
    put(&rig, &place, b"before").await;
    let made = rig.post(&all, json!({"name": "one", "expires_at": "2999-01-01T00:00:00Z"})).await.is(201);
    assert_eq!(made.header("location"), format!("{all}/one"));
    let shown = rig.get(made.header("location")).await.is(200).json();
    assert_eq!(shown, made.json());
    assert_eq!((&shown["name"], &shown["stateful"]), (&json!("one"), &json!(false)));
    assert_eq!(shown["expires_at"], "2999-01-01T00:00:00Z");
    rig.post(&all, json!({"name": "one"})).await.problem(409, "already_exists");
    put(&rig, &place, b"after").await;
    rig.post(&all, json!({"name": "two"})).await.is(201);
    let items = rig.get(&all).await.is(200).json()["items"].clone();
    let names: Vec<_> = items.as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["one", "two"]);
    rig.act(&format!("{all}/one/restore")).await.is(204);
    assert_eq!(file(&rig, &place).await, b"before");
    rig.act(&format!("{all}/two/restore")).await.is(204);
    assert_eq!(file(&rig, &place).await, b"after");
    rig.delete(&format!("{all}/one")).await.is(204);
    for gone in [
        rig.delete(&format!("{all}/one")).await,
        rig.get(&format!("{all}/one")).await,
        rig.act(&format!("{all}/one/restore")).await,
    ] {
        assert_eq!(gone.problem(404, "not_found")["resource"], "one");
    }
    rig.get("/v1/nodes/sea/containers/absent/snapshots").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_made_again_from_its_backup() {
    let rig = Rig::start().await;
    let spec = json!({"command": ["sleep", "600"], "labels": {"a": "1"}, "limits": {"pids": 20}});
    let id = rig.container_with("web", spec).await;
    let place = format!("/v1/nodes/sea/containers/{id}");
    put(&rig, &place, b"kept").await;
    rig.post(&format!("{place}/snapshots"), json!({"name": "one"})).await.is(201);
    let backup = rig.get(&format!("{place}/backup")).await.is(200);
    assert_eq!(backup.header("content-type"), "application/x-tar");
    let without = rig.get(&format!("{place}/backup?snapshots=false")).await.is(200);
    let restore = async |query: &str, body: &[u8]| {
        let url = format!("/v1/nodes/sea/containers/restore{query}");
        rig.send(rig.request(Method::POST, &url).body(body.to_vec())).await
    };
    restore("", &backup.body).await.problem(409, "already_exists");
    for (name, archive, snapshots) in [("full", &backup.body, 1), ("bare", &without.body, 0)] {
        let made = restore(&format!("?name={name}"), archive).await.is(201);
        let copy = made.header("location").to_owned();
        assert_eq!(made.json()["name"], name);
        let shown = rig.get(&copy).await.is(200).json();
        assert_eq!((&shown["name"], &shown["labels"]["a"]), (&json!(name), &json!("1")));
        assert_eq!((&shown["spec"]["limits"]["pids"], &shown["state"]), (&json!(20), &json!("stopped")));
        assert_eq!(file(&rig, &copy).await, b"kept");
        let kept = rig.get(&format!("{copy}/snapshots")).await.is(200).json();
        assert_eq!(kept["items"].as_array().unwrap().len(), snapshots, "{name}: {kept}");
    }
    // A container may be called like the route.
    rig.post("/v1/nodes/sea/containers", json!({"image": "roadstead/busybox:latest", "name": "restore"})).await.is(201);
    assert_eq!(rig.get("/v1/nodes/sea/containers/restore").await.is(200).json()["name"], "restore");
    rig.delete("/v1/nodes/sea/containers/restore").await.is(204);

    let before = rig.get("/v1/nodes/sea/containers").await.is(200).json()["items"].clone();
    for body in [&b"no archive"[..], b"", &tar("file", b"of no backup"), &backup.body[..backup.body.len() / 2]] {
        assert_eq!(restore("?name=never", body).await.problem(400, "invalid_input")["field"], "archive");
    }
    assert_eq!(restore("?name=a%2Fb", &backup.body).await.problem(400, "invalid_input")["field"], "name");
    assert_eq!(rig.get("/v1/nodes/sea/containers").await.is(200).json()["items"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_snapshots_name_the_field() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let all = format!("/v1/nodes/sea/containers/{id}/snapshots");
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "a/b"}), "name"),
        (json!({"name": "x".repeat(300)}), "name"),
        (json!({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "x", "expires_at": "soon"}), "expires_at"),
        (json!({"name": "x", "stateful": 1}), "stateful"),
        (json!({"name": "x", "expires": "2999-01-01T00:00:00Z"}), "expires"),
        (json!(["x"]), "body"),
    ] {
        let problem = rig.post(&all, body.clone()).await.problem(400, "invalid_input");
        assert_eq!(problem["field"], field, "{body}");
    }
    // Nothing is simulated that could not be brought back.
    rig.post(&all, json!({"name": "x", "stateful": true})).await.problem(501, "unsupported");
    assert_eq!(rig.get(&all).await.is(200).json()["items"], json!([]));
    for request in [rig.delete(&format!("{all}/a%20b")).await, rig.get(&format!("{all}/a%20b")).await] {
        assert_eq!(request.problem(400, "invalid_input")["field"], "snapshot");
    }
    assert_eq!(
        rig.get(&format!("/v1/nodes/sea/containers/{id}/backup?snapshots=perhaps")).await.problem(400, "invalid_input")
            ["field"],
        "snapshots"
    );
}
