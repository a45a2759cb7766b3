//! Whatever changes something is written down, before and after.

use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::{Rig, Served};

impl Rig {
    /// The records of a request.
    pub(crate) async fn records(&self, request: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/audit?request_id={request}")).await.is(200).json();
        page["items"].as_array().unwrap().clone()
    }
}

/// Every operation of the document that changes something, by method and path.
pub(crate) fn changing() -> Vec<(String, Method, String, Value)> {
    let document = serde_json::to_value(roadstead_http::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            if method != "get" || id == "containers_attach" {
                let method = method.to_uppercase().parse().unwrap();
                all.push((id.to_owned(), method, path.clone(), operation.clone()));
            }
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

/// A path with something in the place of each parameter.
pub(crate) fn filled(path: &str) -> String {
    path.replace("{verb}", "start").replace("{node}", "sea").replace('{', "no-").replace('}', "")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_that_changes_something_is_recorded() {
    let rig = Rig::start().await;
    for (id, method, path, _) in changing() {
        let request = rig.request(method.clone(), &filled(&path)).header("X-Request-Id", &id);
        let answered = rig.send(request).await;
        let records = rig.records(&id).await;
        assert_eq!(records.len(), 1, "{method} {path}: {records:?}");
        let record = &records[0];
        assert_eq!((&record["operation"], &record["route"]), (&json!(id), &json!(path)));
        assert_eq!((&record["method"], &record["status"]), (&json!(method.as_str()), &json!(answered.status)));
        let outcome = if answered.status < 400 { "succeeded" } else { "failed" };
        let is_unknown = answered.status >= 400 && answered.json()["retry"] == "unknown";
        assert_eq!(record["outcome"], if is_unknown { "unknown" } else { outcome }, "{record}");
        assert_eq!((&record["identity"], &record["decision"]), (&json!("admin"), &json!("allowed")));
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        for name in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
            assert!(record["target"][name].is_string(), "{name} is missing in {record}");
        }
    }
    // Another way to write a path, and a method that no route has.
    for (method, path) in [(Method::GET, "/v1/nodes/sea/containers/x/attac%68"), (Method::PATCH, "/v1/nodes/sea")] {
        rig.send(rig.request(method, path).header("X-Request-Id", "odd")).await;
    }
    assert_eq!(rig.records("odd").await.len(), 2);
    // What only reads is not.
    rig.send(rig.request(Method::GET, "/v1/nodes").header("X-Request-Id", "read")).await.is(200);
    assert!(rig.records("read").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_tells_what_is_needed_and_no_secret() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let path = format!("/v1/nodes/sea/containers/{id}?force=true&hunter2");
    rig.send(rig.request(Method::DELETE, &path).header("X-Request-Id", "d1")).await.problem(400, "invalid_input");
    let spec = json!({"image": "roadstead/busybox:latest", "env": {"TOKEN": "hunter2"}});
    let make = rig.request(Method::POST, "/v1/nodes/sea/containers?start=true").json(&spec);
    let made = rig.send(make.header("X-Request-Id", "d2")).await.is(201).json();
    let failed = &rig.records("d1").await[0];
    assert_eq!(
        (&failed["target"], &failed["parameters"]),
        (&json!({"node": "sea", "container": id}), &json!(["force"]))
    );
    assert_eq!((&failed["problem"], &failed["outcome"]), (&json!("invalid_input"), &json!("failed")));
    let done = &rig.records("d2").await[0];
    let location = format!("/v1/nodes/sea/containers/{}", made["id"].as_str().unwrap());
    assert_eq!((&done["location"], &done["parameters"]), (&json!(location), &json!(["start"])));
    // What a query names is part of what it is done to.
    let gone = rig.request(Method::DELETE, "/v1/nodes/sea/image?reference=roadstead%2Fnone%3A1&force=true");
    rig.send(gone.header("X-Request-Id", "d3")).await.problem(404, "not_found");
    let record = &rig.records("d3").await[0];
    assert_eq!(record["target"], json!({"node": "sea", "reference": "roadstead/none:1"}));
    let files = std::fs::read_dir(rig.directory.path().join("state/audit")).unwrap();
    for file in files {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("\"d2\"") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_pages_and_filters() {
    let rig = Rig::start().await;
    for number in 0..7 {
        rig.post("/v1/pools", json!({"name": format!("p{number}")})).await.is(201);
        rig.delete("/v1/pools/none").await.problem(404, "not_found");
    }
    let whole = rig.get("/v1/audit").await.is(200).json();
    let whole: Vec<_> = whole["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect();
    assert!(whole.len() == 14 && whole.is_sorted());
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rig.get(&format!("/v1/audit?limit=4{cursor}")).await.is(200).json();
        paged.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, whole);
    for (query, wanted) in [
        ("operation=pools_create", 7),
        ("operation=pools_delete&outcome=failed", 7),
        ("outcome=unknown", 0),
        ("since=2020-01-01T00:00:00Z", 14),
        ("until=2020-01-01T00:00:00Z", 0),
        ("node=sea", 0),
        ("fields=id,at&outcome=succeeded", 7),
    ] {
        let page = rig.get(&format!("/v1/audit?{query}")).await.is(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), wanted, "{query}");
    }
    for (query, field) in
        [("limit=0", "limit"), ("cursor=x", "cursor"), ("outcome=fine", "outcome"), ("fields=x", "fields")]
    {
        let refused = rig.get(&format!("/v1/audit?{query}")).await.problem(400, "invalid_input");
        assert_eq!(refused["field"], field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_an_identity_are_counted() {
    let rig = Rig::start().await;
    for _ in 0..200 {
        for path in ["/v1/pools", "/healthz", "/v1/nodes/sea/containers/x/start"] {
            rig.send(rig.client.post(rig.url(path)).bearer_auth("no")).await.problem(401, "unauthenticated");
        }
    }
    let page = rig.get("/v1/audit").await.is(200).json();
    let items = page["items"].as_array().unwrap();
    assert!((1..=4).contains(&items.len()), "{items:?}");
    assert!(items.iter().all(|item| item["outcome"] == "refused" && item["decision"] == "refused"));
    assert_eq!(items[0]["operation"], "pools_create");
    assert_eq!(items.iter().map(|item| item["count"].as_u64().unwrap()).sum::<u64>(), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_that_cannot_be_written_down() {
    let rig = Rig::with(|config| config.audit_max_bytes = 64 * 1024).await;
    // The next files cannot be made, whatever number they begin with.
    let blocked: Vec<_> =
        (2..200).map(|number| rig.directory.path().join(format!("state/audit/{number:020}.jsonl"))).collect();
    blocked.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let mut made = 0;
    let refused = loop {
        let reply = rig.post("/v1/pools", json!({"name": format!("p{made}")})).await;
        if reply.status != 201 {
            break reply;
        }
        made += 1;
        assert!(made < 100, "the file does not become full");
    };
    let refused_as = refused.header("retry-after").to_owned();
    let problem = refused.problem(503, "unavailable");
    assert_eq!((&problem["retry"], refused_as.as_str()), (&json!("safe"), "1"), "{problem}");
    rig.get(&format!("/v1/pools/p{made}")).await.problem(404, "not_found");
    rig.get("/v1/containers").await.is(200);
    blocked.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    rig.post("/v1/pools", json!({"name": format!("p{made}")})).await.is(201);
    let page = rig.get("/v1/audit?outcome=succeeded").await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), made + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_at_a_move_goes_back_to_its_request() {
    let rig = Rig::start().await;
    rig.post("/v1/nodes", json!({"name": "lake", "uri": "memory:"})).await.is(201);
    let id = rig.container("web").await;
    let body =
        json!({"source": {"node": "sea", "container": id}, "target": {"node": "lake"}, "stop_timeout_seconds": 0});
    let moved = rig.request(Method::POST, "/v1/migrations?wait=20").json(&body).header("X-Request-Id", "m1");
    let moved = rig.send(moved).await.is(200).json();
    let records = rig.records("m1").await;
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[1]["operation"], "move.apply");
    assert_eq!((&records[1]["identity"], &records[1]["outcome"]), (&json!("server"), &json!("succeeded")));
    let target = json!({"migration": moved["id"], "container": "web", "source": "sea", "target": "lake"});
    assert_eq!(records[1]["target"], target);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_had_begun_is_told_as_begun_and_is_not_done_again() {
    let mut served = Served::start();
    let made = json!({"image": "roadstead/busybox:latest", "name": "web", "command": ["sleep", "600"]});
    served.send(Method::POST, "/v1/nodes/sea/containers?start=true", None, &made).await.is(201);
    // It waits for the end of what does not end.
    let path = "/v1/nodes/sea/containers/web/wait";
    let waiting = {
        let request = served.request(Method::POST, path, Some("k1"), &json!({"timeout_seconds": 600}));
        tokio::spawn(request.header("X-Request-Id", "w1").send())
    };
    served.until("/v1/audit?request_id=w1", |page| page["items"][0]["outcome"] == "begun").await;
    // By now its key stands in the store: what comes again is written to the disk first, too.
    let reply = served.send(Method::POST, path, Some("k1"), &json!({"timeout_seconds": 600})).await;
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(reply.problem(409, "conflict")["context"]["idempotency"], "in_progress");
    served.kill();
    waiting.await.unwrap().unwrap_err();
    served.again();
    let page = served.get("/v1/audit?request_id=w1").await.is(200).json();
    assert_eq!(page["items"][0]["outcome"], "begun", "{page}");
    assert!(page["items"][0]["status"].is_null());
    for _ in 0..2 {
        let reply = served.send(Method::POST, path, Some("k1"), &json!({"timeout_seconds": 600})).await;
        let problem = reply.problem(409, "conflict");
        assert_eq!((&problem["retry"], &problem["context"]["idempotency"]), (&json!("unknown"), &json!("unknown")));
    }
}
