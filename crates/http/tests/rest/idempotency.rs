//! A request that comes again with the same key is answered as it was.

use reqwest::Method;
use roadstead_core::ErrorKind;
use roadstead_core::memory::Fault;
use serde_json::{Value, json};

use crate::audit::{changing, filled};
use crate::rig::{Reply, Rig};

impl Rig {
    async fn keyed(&self, method: Method, path: &str, key: &str, body: &Value) -> Reply {
        let mut request = self.request(method, path).header("Idempotency-Key", key);
        if !body.is_null() {
            request = request.json(body);
        }
        self.send(request).await
    }
}

fn spec(name: &str) -> Value {
    json!({"image": "roadstead/busybox:latest", "name": name})
}

const CONTAINERS: &str = "/v1/nodes/sea/containers";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_answered_again_and_not_done_again() {
    let rig = Rig::start().await;
    let first = rig.keyed(Method::POST, CONTAINERS, "k1", &spec("one")).await.is(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    for key in ["k1", "\"k1\""] {
        let request = rig.request(Method::POST, CONTAINERS).header("Idempotency-Key", key).json(&spec("one"));
        let again = rig.send(request.header("X-Request-Id", "again")).await.is(201);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!((&again.body, again.header("location")), (&first.body, first.header("location")));
        assert_eq!(again.header("content-type"), "application/json");
        assert_eq!(again.header("x-request-id"), "again");
    }
    assert_eq!(rig.calls().iter().filter(|call| **call == "node.create_container").count(), 1);
    assert!(rig.records("again").await.iter().all(|record| record["replayed"] == true));
    // Another body, path, query or method is another request.
    for (method, path, body) in [
        (Method::POST, CONTAINERS, spec("two")),
        (Method::POST, "/v1/nodes/sea/containers?dry_run=true", spec("one")),
        (Method::POST, "/v1/nodes/sea/networks", spec("one")),
        (Method::DELETE, CONTAINERS, Value::Null),
    ] {
        let reply = rig.keyed(method.clone(), path, "k1", &body).await;
        match method {
            Method::DELETE => drop(reply.problem(405, "method_not_allowed")),
            _ => assert_eq!(reply.problem(422, "idempotency_key_reused")["field"], "Idempotency-Key"),
        }
    }
    rig.keyed(Method::POST, CONTAINERS, "k2", &spec("one")).await.problem(409, "already_exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_not_made_again_because_its_start_failed() {
    let rig = Rig::start().await;
    rig.fault("container.start", &Fault::Refuse(ErrorKind::ResourceExhausted), 100);
    let path = format!("{CONTAINERS}?start=true");
    for replayed in ["", "true"] {
        let reply = rig.keyed(Method::POST, &path, "k1", &json!({"image": "roadstead/busybox:latest"})).await;
        assert_eq!(reply.header("idempotency-replayed"), replayed);
        let id = rig.get("/v1/containers?fresh=true").await.is(200).json()["items"][0]["id"].clone();
        let problem = reply.problem(429, "resource_exhausted");
        assert_eq!((&problem["retry"], &problem["resource"]), (&json!("unknown"), &id), "{problem}");
    }
    assert_eq!(rig.calls().iter().filter(|call| **call == "node.create_container").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_does_it() {
    let rig = Rig::start().await;
    let body = json!({"image": "roadstead/busybox:latest"});
    let calls = (0..40).map(|_| rig.keyed(Method::POST, CONTAINERS, "many", &body));
    let mut made = 0;
    for reply in futures_util::future::join_all(calls).await {
        if reply.status == 201 {
            made += usize::from(reply.header("idempotency-replayed").is_empty());
        } else {
            assert_eq!(reply.header("retry-after"), "1");
            assert_eq!(reply.problem(409, "conflict")["context"]["idempotency"], "in_progress");
        }
    }
    assert_eq!(made, 1);
    let page = rig.get(CONTAINERS).await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_answers_the_same() {
    let rig = Rig::start().await;
    let pool = json!({"name": "p"});
    let made = rig.keyed(Method::POST, "/v1/pools", "k", &pool).await.is(201);
    let refused = rig.keyed(Method::POST, "/v1/pools", "l", &pool).await.problem(409, "already_exists");
    rig.delete("/v1/pools/p").await.is(204);
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let rig = Rig::on_directory(directory).await;
    let again = rig.keyed(Method::POST, "/v1/pools", "k", &pool).await.is(201);
    assert_eq!((&again.body, again.header("etag")), (&made.body, made.header("etag")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    // A problem has the id of the request that it answers now.
    let reply = rig.keyed(Method::POST, "/v1/pools", "l", &pool).await;
    assert_eq!(reply.header("idempotency-replayed"), "true");
    let problem = reply.problem(409, "already_exists");
    assert_eq!(problem["detail"], refused["detail"]);
    assert_ne!(problem["request_id"], refused["request_id"]);
    rig.get("/v1/pools/p").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_done_may_be_tried_again_and_what_is_unknown_may_not() {
    let rig = Rig::start().await;
    rig.container("web").await;
    // The in-memory engine cannot do everything; what is certainly not done gives the key free.
    let lacking = json!({"image": "roadstead/busybox:latest", "name": "x", "start": true});
    rig.keyed(Method::POST, CONTAINERS, "k", &lacking).await.problem(400, "invalid_input");
    let reply = rig.keyed(Method::POST, CONTAINERS, "k", &lacking).await;
    assert_eq!(reply.header("idempotency-replayed"), "true", "the request is at fault, and will be");
    rig.leave();
    let path = "/v1/nodes/sea/containers/web/stop";
    let away = rig.keyed(Method::POST, path, "s", &Value::Null).await;
    let (status, is_safe) = (away.status, away.json()["retry"] == "safe");
    assert_eq!(status, 503);
    rig.come_back();
    let again = rig.keyed(Method::POST, path, "s", &Value::Null).await;
    assert_eq!(again.header("idempotency-replayed") == "true", !is_safe, "{}", again.status);
    // A deadline says nothing of what was done: the same is answered again.
    let wait = json!({"timeout_seconds": 1});
    rig.post("/v1/nodes/sea/containers/web/start", Value::Null).await.is(204);
    let path = "/v1/nodes/sea/containers/web/wait";
    let late = rig.keyed(Method::POST, path, "w", &wait).await.problem(504, "deadline_exceeded");
    let reply = rig.keyed(Method::POST, path, "w", &wait).await;
    assert_eq!(reply.header("idempotency-replayed") == "true", late["retry"] == "unknown", "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_not_kept() {
    let rig = Rig::start().await;
    // The specification comes back as it was understood.
    let mut large = spec("large");
    large["env"] = (0..30).map(|number| (format!("V{number}"), json!("x".repeat(10_000)))).collect();
    let path = "/v1/nodes/sea/containers?dry_run=true";
    let first = rig.keyed(Method::POST, path, "k", &large).await.is(200);
    assert!(first.body.len() > 256 * 1024);
    let problem = rig.keyed(Method::POST, path, "k", &large).await.problem(409, "conflict");
    assert_eq!((&problem["context"]["idempotency"], &problem["context"]["status"]), (&json!("done"), &json!("200")));
    assert_eq!(problem["retry"], "never");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_finds_the_answer() {
    let rig = Rig::start().await;
    rig.container("web").await;
    let path = "/v1/nodes/sea/containers/web/wait";
    let body = json!({"timeout_seconds": 20});
    let left =
        rig.request(Method::POST, path).header("Idempotency-Key", "k").header("X-Request-Id", "left").json(&body);
    left.timeout(std::time::Duration::from_millis(500)).send().await.unwrap_err();
    rig.post("/v1/nodes/sea/containers/web/kill", Value::Null).await.is(204);
    let answered = loop {
        let reply = rig.keyed(Method::POST, path, "k", &body).await;
        if reply.status != 409 {
            break reply.is(200);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(answered.header("idempotency-replayed"), "true");
    assert_eq!(answered.json()["exit_code"], 137);
    assert_eq!(rig.records("left").await[0]["outcome"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_and_streams_are_refused() {
    let rig = Rig::start().await;
    for key in ["", "a b", "\"a", &"k".repeat(256)] {
        let problem = rig.keyed(Method::POST, "/v1/pools", key, &json!({"name": "p"})).await;
        assert_eq!(problem.problem(400, "invalid_input")["field"], "Idempotency-Key", "{key}");
    }
    rig.get("/v1/pools/p").await.problem(404, "not_found");
    let mut streams = 0;
    for (id, method, path, operation) in changing() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        let content = operation["requestBody"]["content"].as_object();
        let streamed = id == "containers_attach"
            || content.is_some_and(|content| content.keys().any(|kind| kind != "application/json"));
        assert_eq!(takes, !streamed, "{id}");
        if streamed {
            streams += 1;
            let reply = rig.keyed(method, &filled(&path), "k", &Value::Null).await;
            assert_eq!(reply.problem(400, "invalid_input")["field"], "Idempotency-Key", "{id}");
        }
    }
    assert!(streams >= 5, "{streams}");
}
