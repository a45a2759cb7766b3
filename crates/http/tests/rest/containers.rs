use crate::rig::Rig;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_lives_and_dies() {
    let rig = Rig::start().await;
    let spec = json!({ "image": "roadstead/busybox:latest", "name": "web", "command": ["sleep", "600"], "labels": {"a": "1"} });
    let reply = rig.post("/v1/nodes/sea/containers", spec).await.is(201);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/nodes/sea/containers/{id}");
    assert_eq!(reply.header("location"), place);
    let state = async || rig.get(&place).await.is(200).json()["state"].as_str().unwrap().to_owned();
    assert_eq!(state().await, "created");
    rig.act(&format!("{place}/start")).await.is(204);
    rig.act(&format!("{place}/start")).await.is(204);
    assert_eq!(state().await, "running");
    rig.act(&format!("{place}/freeze")).await.is(204);
    assert_eq!(state().await, "frozen");
    rig.act(&format!("{place}/unfreeze")).await.is(204);
    rig.post(&format!("{place}/rename"), json!({"name": "shop"})).await.is(204);
    assert_eq!(rig.get("/v1/nodes/sea/containers/shop").await.is(200).json()["id"], id);
    let changes =
        json!({"limits": {"memory_bytes": 67_108_864}, "restart": {"policy": "on_failure", "max_retries": 2}});
    rig.post(&format!("{place}/update"), changes.clone()).await.is(204);
    let spec = rig.get(&place).await.json()["spec"].clone();
    assert_eq!((&spec["limits"], &spec["restart"]), (&changes["limits"], &changes["restart"]));
    rig.post(&format!("{place}/update"), json!({"restart": {"policy": "never"}})).await.is(204);
    assert_eq!(rig.get(&place).await.json()["spec"]["restart"], json!(null));
    // The simulation starts nothing by itself, so there is nothing to be held; it is taken all the same.
    rig.post(&format!("{place}/update?hold=true"), json!({})).await.is(204);
    rig.post(&format!("{place}/update?hold=false"), json!({"limits": {"pids": 99}})).await.is(204);
    assert_eq!(rig.get(&place).await.json()["spec"]["limits"]["pids"], 99);
    let stats = rig.get(&format!("{place}/stats")).await.is(200).json();
    assert!(stats["memory"]["usage_bytes"].as_u64().unwrap() > 0);
    let processes = rig.get(&format!("{place}/processes")).await.is(200).json();
    assert_eq!(processes["items"][0]["cmdline"], json!(["sleep", "600"]));
    rig.post(&format!("{place}/restart"), json!({"timeout_seconds": 0})).await.is(204);
    rig.delete(&place).await.problem(409, "conflict");
    rig.post(&format!("{place}/kill"), json!({"signal": 9})).await.is(204);
    let exit = rig.post(&format!("{place}/wait"), json!({"timeout_seconds": 5})).await.is(200).json();
    assert_eq!(exit["exit_code"], 137);
    rig.act(&format!("{place}/stop")).await.is(204);
    let image = rig.post(&format!("{place}/commit"), json!({"image": "local/shop:1"})).await.is(201);
    assert_eq!(image.header("location"), "/v1/nodes/sea/image?reference=local/shop:1");
    rig.get(image.header("location")).await.is(200);
    rig.delete(&place).await.is(204);
    assert_eq!(rig.get(&place).await.problem(404, "not_found")["resource"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing() {
    let rig = Rig::start().await;
    let place = "/v1/nodes/sea/containers?dry_run=true";
    let spec = json!({"image": "not/there:1", "name": "web", "command": ["sleep", "600"], "init": true});
    let answer = rig.post(place, spec.clone()).await.is(200).json();
    for member in ["image", "name", "command", "init"] {
        assert_eq!(answer[member], spec[member], "{member}");
    }
    let bad = json!({"image": "a", "ports": [{"container_port": 80}]});
    assert_eq!(rig.post(place, bad).await.problem(501, "unsupported")["field"], "ports");
    let bad = json!({"image": "a", "working_directory": "b"});
    assert_eq!(rig.post(place, bad).await.problem(400, "invalid_input")["field"], "working_directory");
    let both = rig.post("/v1/nodes/sea/containers?dry_run=true&start=true", spec).await;
    assert_eq!(both.problem(400, "invalid_input")["field"], "start");
    assert_eq!(rig.get("/v1/nodes/sea/containers").await.is(200).json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_bounded() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let wait = format!("/v1/nodes/sea/containers/{id}/wait");
    rig.post(&wait, json!({"timeout_seconds": 1})).await.problem(504, "deadline_exceeded");
    assert_eq!(
        rig.post(&wait, json!({"timeout_seconds": 0})).await.problem(400, "invalid_input")["field"],
        "timeout_seconds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_paged_and_cut() {
    let rig = Rig::start().await;
    for name in ["c1", "c2", "c3", "c4", "c5"] {
        rig.container_with(name, json!({"command": ["sleep", "600"], "labels": {"n": name}})).await;
    }
    rig.act("/v1/nodes/sea/containers/c5/freeze").await.is(204);
    for base in ["/v1/containers", "/v1/nodes/sea/containers"] {
        let all = rig.get(base).await.is(200).json();
        assert_eq!(all["items"].as_array().unwrap().len(), 5);
        assert_eq!(all["errors"], json!([]));
        assert_eq!(all["nodes"][0]["node"], "sea");
        let item = &all["items"][0];
        for member in ["node", "id", "name", "image", "state", "labels", "created_at"] {
            assert!(!item[member].is_null(), "{member} is missing in {item}");
        }
        let names = async |query: &str| {
            let page = rig.get(&format!("{base}?{query}")).await.is(200).json();
            let mut names: Vec<_> = page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("state=frozen").await, "c5");
        assert_eq!(names("state=frozen&state=running").await, "c1 c2 c3 c4 c5");
        assert_eq!(names("name=c2&name=c3").await, "c2 c3");
        assert_eq!(names("label=n").await, "c1 c2 c3 c4 c5");
        assert_eq!(names("label=n%3Dc4").await, "c4");
        assert_eq!(names("label=n&label=n=c4&state=running").await, "c4");
        let fields = rig.get(&format!("{base}?fields=name,state&limit=1")).await.is(200).json();
        assert_eq!(fields["items"][0].as_object().unwrap().len(), 2);

        let mut seen = Vec::new();
        let mut query = "limit=2".to_owned();
        loop {
            let page = rig.get(&format!("{base}?{query}")).await.is(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => query = format!("limit=2&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 5);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "no item twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_is_not_sent_it_again() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    for path in ["/v1/containers".to_owned(), "/v1/openapi.json".to_owned(), format!("/v1/nodes/sea/containers/{id}")] {
        let first = rig.get(&path).await.is(200);
        let etag = first.header("etag").to_owned();
        assert!(etag.ends_with('"'), "{path}: {etag}");
        let again = rig.send(rig.request(Method::GET, &path).header("If-None-Match", &etag)).await.is(304);
        assert_eq!((again.body.len(), again.header("etag")), (0, etag.as_str()));
        let other = rig.send(rig.request(Method::GET, &path).header("If-None-Match", "\"other\"")).await.is(200);
        assert_eq!(other.header("etag"), etag);
        let zipped = rig.send(rig.request(Method::GET, &path).header("Accept-Encoding", "gzip")).await.is(200);
        if zipped.header("content-encoding") == "gzip" && !etag.starts_with("W/") {
            assert_ne!(zipped.header("etag"), etag, "other bytes, another strong validator");
        }
    }
    let etag = rig.get("/v1/containers").await.header("etag").to_owned();
    rig.act(&format!("/v1/nodes/sea/containers/{id}/freeze")).await.is(204);
    rig.send(rig.request(Method::GET, "/v1/containers").header("If-None-Match", &etag)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers() {
    let rig = Rig::start().await;
    let reply = rig.send(rig.request(Method::GET, "/v1/nodes").header("X-Request-Id", "abc-1")).await.is(200);
    assert_eq!(reply.header("x-request-id"), "abc-1");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert!(reply.header("access-control-allow-origin").is_empty());
    let odd = rig.send(rig.request(Method::GET, "/v1/nodes").header("X-Request-Id", "a b\"c")).await.is(200);
    assert_eq!(odd.header("x-request-id").len(), 36);
    let head = rig.send(rig.request(Method::HEAD, "/v1/nodes")).await.is(200);
    assert!(head.body.is_empty() && head.header("content-type") == "application/json");
}
