//! Changes to what is as the caller knows it, and to nothing else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::audit::{changing, filled};
use crate::rig::{Reply, Rig};

impl Rig {
    async fn matching(&self, method: Method, path: &str, tag: &str, body: &Value) -> Reply {
        let mut request = self.request(method, path).header("If-Match", tag);
        if !body.is_null() {
            request = request.json(body);
        }
        self.send(request).await
    }

    async fn etag(&self, path: &str) -> String {
        let tag = self.get(path).await.is(200).header("etag").to_owned();
        assert!(tag.starts_with('"'), "{tag} is strong");
        tag
    }
}

fn failed(reply: Reply) {
    assert_eq!(reply.problem(412, "precondition_failed")["field"], "If-Match");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_know_the_same_pool_one_changes_it() {
    let rig = Rig::start().await;
    rig.post("/v1/pools", json!({"name": "p"})).await.is(201);
    let tag = rig.etag("/v1/pools/p").await;
    // All say the same, so that only the revision tells.
    let body = json!({"nodes": ["sea"]});
    let calls = (0..24).map(|_| rig.matching(Method::PUT, "/v1/pools/p", &tag, &body));
    let mut statuses: Vec<_> = futures_util::future::join_all(calls).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 23]].concat());
    failed(rig.matching(Method::DELETE, "/v1/pools/p", &tag, &Value::Null).await);
    let calls = (0..8).map(|_| rig.act("/v1/pools/p/nodes/sea/cordon"));
    assert!(futures_util::future::join_all(calls).await.iter().all(|reply| reply.status == 204), "without it all do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_changed_as_it_is_known() {
    let rig = Rig::start().await;
    let made = rig.post("/v1/pools", json!({"name": "p", "nodes": ["sea"]})).await.is(201);
    assert_eq!(made.header("etag"), rig.etag("/v1/pools/p").await);
    let mut tag = made.header("etag").to_owned();
    let body = json!({"nodes": ["sea", "lake"]});
    for (method, path, body) in [
        (Method::PUT, "/v1/pools/p", &body),
        (Method::POST, "/v1/pools/p/nodes/sea/cordon", &Value::Null),
        (Method::POST, "/v1/pools/p/nodes/sea/uncordon", &Value::Null),
    ] {
        for wrong in ["\"0-x\"", "\"x\"", &format!("W/{tag}")] {
            failed(rig.matching(method.clone(), path, wrong, body).await);
        }
        let several = format!("\"x\", {tag}");
        assert!(rig.matching(method.clone(), path, &several, body).await.status < 300, "{path}");
        failed(rig.matching(method.clone(), path, &tag, body).await);
        assert!(rig.matching(method, path, "*", body).await.status < 300, "{path}");
        tag = rig.etag("/v1/pools/p").await;
    }
    failed(rig.matching(Method::POST, "/v1/pools/p/nodes/sea/drain", "\"0-x\"", &json!({"dry_run": true})).await);
    rig.matching(Method::DELETE, "/v1/pools/p", &tag, &Value::Null).await.is(204);
    rig.matching(Method::DELETE, "/v1/pools/p", "*", &Value::Null).await.problem(404, "not_found");
    // Something is made where there is nothing.
    let make = || rig.request(Method::POST, "/v1/pools").json(&json!({"name": "q"})).header("If-None-Match", "*");
    rig.send(make()).await.is(201);
    assert_eq!(rig.send(make()).await.problem(412, "precondition_failed")["field"], "If-None-Match");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_forgotten_as_it_is_known() {
    let rig = Rig::start().await;
    rig.post("/v1/nodes", json!({"name": "lake", "uri": "memory:"})).await.is(201);
    let tag = rig.etag("/v1/nodes/lake").await;
    rig.delete("/v1/nodes/lake").await.is(204);
    rig.post("/v1/nodes", json!({"name": "lake", "uri": "memory:"})).await.is(201);
    failed(rig.matching(Method::DELETE, "/v1/nodes/lake", &tag, &Value::Null).await);
    let now = rig.etag("/v1/nodes/lake").await;
    rig.matching(Method::DELETE, "/v1/nodes/lake", &now, &Value::Null).await.is(204);
    rig.get("/v1/nodes/lake").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_changed_as_it_is_known() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let path = format!("/v1/nodes/sea/containers/{id}");
    for (method, verb, body) in [
        (Method::POST, "/freeze", Value::Null),
        (Method::POST, "/unfreeze", Value::Null),
        (Method::POST, "/update", json!({"limits": {"pids": 10}})),
        (Method::POST, "/rename", json!({"name": "other"})),
        (Method::POST, "/stop", json!({"timeout_seconds": 0})),
        (Method::POST, "/start", Value::Null),
        (Method::DELETE, "?force=true", Value::Null),
    ] {
        let tag = rig.etag(&path).await;
        let place = format!("{path}{verb}");
        let before = rig.calls().len();
        failed(rig.matching(method.clone(), &place, "\"x\"", &body).await);
        failed(rig.matching(method.clone(), &place, &format!("W/{tag}"), &body).await);
        let asked: Vec<_> = rig.calls().split_off(before);
        assert!(asked.iter().all(|call| !call.contains(&verb[1..4])), "{asked:?}");
        rig.matching(method.clone(), &place, &tag, &body).await.is(204);
        if method == Method::POST {
            failed(rig.matching(method, &place, &tag, &body).await);
        }
    }
    rig.matching(Method::POST, &format!("{path}/start"), "*", &Value::Null).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_looked_at_or_refused() {
    let rig = Rig::start().await;
    rig.container("no-container").await;
    rig.post("/v1/pools", json!({"name": "no-pool", "nodes": ["sea"]})).await.is(201);
    rig.post("/v1/nodes", json!({"name": "lake", "uri": "memory:"})).await.is(201);
    let (mut looked, mut refused) = (0, 0);
    for (id, method, path, operation) in changing() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        let place = if id == "nodes_remove" { "/v1/nodes/lake".to_owned() } else { filled(&path) };
        let body = match id.as_str() {
            "containers_rename" => json!({"name": "x"}),
            "containers_update" => json!({"limits": {"pids": 10}}),
            "containers_commit" => json!({"image": "local/x:1"}),
            "pools_replace" => json!({"nodes": []}),
            _ => Value::Null,
        };
        let reply = rig.matching(method.clone(), &place, "\"0-x\"", &body).await;
        if takes("If-Match") {
            failed(reply);
            looked += 1;
        } else {
            assert_eq!(reply.problem(400, "invalid_input")["field"], "If-Match", "{id}");
            refused += 1;
        }
        if !takes("If-None-Match") {
            let reply = rig.send(rig.request(method, &place).header("If-None-Match", "*")).await;
            assert_eq!(reply.problem(400, "invalid_input")["field"], "If-None-Match", "{id}");
        }
    }
    assert!(looked >= 15 && refused >= 15, "{looked} {refused}");
    rig.matching(Method::DELETE, "/v1/pools/no-pool", "x", &Value::Null).await.problem(400, "invalid_input");
}
