//! Lists and details from memory, and what changes in them.

use std::time::Duration;

use crate::rig::{Reply, Rig};
use reqwest::Method;
use serde_json::{Value, json};

const LISTS: [&str; 2] = ["/v1/containers", "/v1/nodes/sea/containers"];

/// Waits until lists come from memory.
async fn ready(rig: &Rig) {
    for attempt in 0.. {
        if !rig.get("/v1/containers").await.header("roadstead-observed-at").is_empty() {
            return;
        }
        assert!(attempt < 100, "the mirror is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn with_etag(rig: &Rig, path: &str, etag: &str) -> Reply {
    rig.send(rig.request(Method::GET, path).header("If-None-Match", etag)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_from_memory() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    ready(&rig).await;
    let calls = rig.calls();
    let mut bodies = Vec::new();
    for _ in 0..50 {
        for path in LISTS {
            bodies.push(rig.get(path).await.is(200).body);
        }
    }
    // Nothing but proofs that it still answers, and looks that follow an event.
    let asked: Vec<_> = rig.calls().split_off(calls.len());
    assert!(asked.iter().filter(|call| **call == "node.list_containers").count() <= 3, "{asked:?}");
    assert!(asked.len() < 20, "{asked:?}");
    let (first, of_node) = (&bodies[0], &bodies[1]);
    assert!(bodies.chunks(2).all(|pair| &pair[0] == first && &pair[1] == of_node), "the bytes stay the same");
    // It is what the engine says.
    for path in LISTS {
        let before = rig.calls().len();
        let fresh = rig.get(&format!("{path}?fresh=true")).await.is(200);
        assert!(rig.calls()[before..].contains(&"node.list_containers"));
        assert_eq!(fresh.json()["items"], rig.get(path).await.json()["items"]);
        assert_eq!(fresh.json()["items"][0]["id"], json!(id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_a_strong_validator_until_something_changes() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    ready(&rig).await;
    for path in ["/v1/containers", "/v1/nodes/sea/containers", "/v1/containers?state=running&fields=name&limit=1"] {
        let first = rig.get(path).await.is(200);
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
        assert_eq!(first.header("vary").to_ascii_lowercase(), "accept-encoding");
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let again = with_etag(&rig, path, &format!("\"x\", {etag}")).await.is(304);
        assert!(again.body.is_empty() && again.header("etag") == etag);
        assert!(again.header("roadstead-observed-at") > first.header("roadstead-observed-at"), "it was proven anew");
        let zipped = rig.send(rig.request(Method::GET, path).header("Accept-Encoding", "gzip")).await.is(200);
        assert_eq!(zipped.header("content-encoding"), "gzip");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut plain).unwrap();
        assert_eq!(plain, first.body);
        assert_ne!(zipped.header("etag"), etag, "other bytes");
        let request = rig.request(Method::GET, path).header("Accept-Encoding", "gzip");
        rig.send(request.header("If-None-Match", zipped.header("etag"))).await.is(304);
        with_etag(&rig, path, zipped.header("etag")).await.is(200);
        let head = rig.send(rig.request(Method::HEAD, path)).await.is(200);
        assert!(head.body.is_empty() && head.header("etag") == etag);
    }
    // After each write the next list is another one, with what was written.
    let mut etag = rig.get("/v1/containers").await.header("etag").to_owned();
    for (verb, state) in [("freeze", "frozen"), ("unfreeze", "running"), ("kill", "stopped"), ("start", "running")] {
        rig.act(&format!("/v1/nodes/sea/containers/{id}/{verb}")).await.is(204);
        if verb == "kill" {
            rig.act(&format!("/v1/nodes/sea/containers/{id}/wait")).await.is(200);
        }
        let next = with_etag(&rig, "/v1/containers", &etag).await.is(200);
        assert_eq!(next.json()["items"][0]["state"], state);
        etag = next.header("etag").to_owned();
        let details = rig.get(&format!("/v1/nodes/sea/containers/{id}")).await.is(200).json();
        assert_eq!(details["state"], state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn details_come_from_memory_until_something_concerns_them() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    ready(&rig).await;
    // What has just been started is kept for a moment only.
    tokio::time::sleep(Duration::from_millis(4000)).await;
    let place = format!("/v1/nodes/sea/containers/{id}");
    let inspected = |calls: &[&str]| calls.iter().filter(|call| **call == "container.inspect").count();
    let first = rig.get(&place).await.is(200);
    let asked = inspected(&rig.calls());
    for path in [&place, "/v1/nodes/sea/containers/web"] {
        for _ in 0..20 {
            assert_eq!(rig.get(path).await.is(200).body, first.body);
        }
    }
    assert_eq!(inspected(&rig.calls()), asked);
    with_etag(&rig, &place, first.header("etag")).await.is(304);
    rig.get(&format!("{place}?fresh=true")).await.is(200);
    assert_eq!(inspected(&rig.calls()), asked + 1);
    rig.post(&format!("{place}/update"), json!({"limits": {"pids": 77}})).await.is(204);
    assert_eq!(rig.get(&place).await.json()["spec"]["limits"]["pids"], 77);
    rig.post(&format!("{place}/rename"), json!({"name": "renamed"})).await.is(204);
    rig.get("/v1/nodes/sea/containers/web").await.problem(404, "not_found");
    assert_eq!(rig.get("/v1/nodes/sea/containers/renamed").await.json()["id"], id);
    rig.delete(&format!("{place}?force=true")).await.is(204);
    rig.get(&place).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_not_served_from_memory() {
    let rig = Rig::with(|config| {
        config.nodes.insert("lake".to_owned(), roadstead_http::NodeConfig::Uri("memory:".to_owned()));
    })
    .await;
    rig.container("web").await;
    ready(&rig).await;
    rig.leave();
    // A second is the longest that it may take until it is asked whether it is there.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let page = rig.get("/v1/containers").await.is(200);
    assert!(page.header("etag").starts_with("W/"), "made for this answer");
    assert!(page.header("roadstead-observed-at").is_empty());
    let page = page.json();
    assert_eq!((&page["items"], &page["errors"][0]["node"]), (&json!([]), &json!("sea")));
    assert!(page["revision"].is_null(), "there is nothing to watch from");
    assert_eq!((&page["nodes"][0]["ok"], &page["nodes"][1]["ok"]), (&json!(true), &json!(false)));
    rig.get("/v1/nodes/sea/containers").await.problem(503, "unavailable");
    rig.get("/v1/nodes/lake/containers").await.is(200);
    rig.come_back();
    assert_eq!(rig.get("/v1/containers").await.is(200).json()["items"][0]["name"], "web");
    ready(&rig).await;
}

/// The next change that is told, without those of nodes that become ready.
async fn change(changes: &mut crate::rig::Events) -> Value {
    loop {
        let sent = changes.next().await.expect("a change");
        assert_eq!(sent.data["change"], sent.event.as_str());
        assert_eq!(sent.data["revision"], sent.id.as_str());
        if sent.event != "node_here" && sent.event != "node_away" {
            return sent.data;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_watched_from_a_revision() {
    let rig = Rig::start().await;
    rig.container("before").await;
    ready(&rig).await;
    for (number, path) in LISTS.into_iter().enumerate() {
        let revision = rig.get(path).await.json()["revision"].as_str().unwrap().to_owned();
        let web = format!("web-{number}");
        let id = rig.container(&web).await;
        // What happened after the list comes first.
        let mut changes = rig.events(&format!("{path}?watch&revision={revision}"), None).await;
        let mut put = change(&mut changes).await;
        // What the list shows already may come again.
        while put["container"]["name"] == "before" {
            put = change(&mut changes).await;
        }
        while put["container"]["state"] != "running" {
            assert_eq!((&put["change"], &put["container"]["name"]), (&json!("put"), &json!(web)));
            put = change(&mut changes).await;
        }
        assert_eq!(put["node"], "sea");
        let listed = rig.get(&format!("{path}?name={web}")).await.json()["items"][0].clone();
        assert_eq!(put["container"], listed, "as a list shows it");
        // What happens now, within a bound that a machine with much to do keeps, too.
        rig.act(&format!("/v1/nodes/sea/containers/{id}/freeze")).await.is(204);
        let frozen = change(&mut changes).await;
        assert_eq!(frozen["container"]["state"], "frozen");
        drop(changes);
        rig.delete(&format!("/v1/nodes/sea/containers/{id}?force=true")).await.is(204);
        let last = frozen["revision"].as_str().unwrap();
        let mut resumed = rig.events(&format!("{path}?watch&revision={revision}"), Some(last)).await;
        let mut gone = change(&mut resumed).await;
        while gone["change"] == "put" {
            // It ends before it goes.
            assert_ne!(gone["container"]["state"], "frozen", "that was told");
            gone = change(&mut resumed).await;
        }
        assert_eq!((&gone["change"], &gone["id"], &gone["node"]), (&json!("deleted"), &json!(id), &json!("sea")));
        assert!(gone["container"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_can_be_narrowed_and_says_what_it_cannot_tell() {
    let rig = Rig::start().await;
    ready(&rig).await;
    let mut running = rig.events("/v1/containers?watch&state=running&label=a", None).await;
    let id = rig.container_with("web", json!({"command": ["sleep", "600"], "labels": {"a": "1"}})).await;
    let mut told = change(&mut running).await;
    while told["change"] != "put" {
        // Created, and not running yet.
        assert_eq!(told["id"], json!(id));
        told = change(&mut running).await;
    }
    rig.act(&format!("/v1/nodes/sea/containers/{id}/freeze")).await.is(204);
    let told = change(&mut running).await;
    assert_eq!((&told["change"], &told["id"]), (&json!("deleted"), &json!(id)), "it does not pass any more");
    // A revision of another process.
    let mut lost = rig.events("/v1/containers?watch&revision=00000000000000ff.1", None).await;
    let told = change(&mut lost).await;
    assert_eq!(told["change"], "resync");
    let revision = told["revision"].as_str().unwrap().to_owned();
    rig.act(&format!("/v1/nodes/sea/containers/{id}/unfreeze")).await.is(204);
    assert_eq!(change(&mut lost).await["change"], "put");
    rig.get(&format!("/v1/containers?watch&revision={revision}&limit=1")).await.problem(400, "invalid_input");
    for (path, field) in [
        ("/v1/containers?watch&revision=1", "revision"),
        ("/v1/containers?revision=00000000000000ff.1", "revision"),
        ("/v1/containers?watch&cursor=a", "cursor"),
        ("/v1/containers?watch&fresh", "fresh"),
        ("/v1/containers?watch=maybe", "watch"),
        ("/v1/nodes/sea/containers?watch&fields=id", "fields"),
        ("/v1/nodes/sea/containers?fresh=maybe", "fresh"),
        ("/v1/nodes/sea/containers/web?fresh=maybe", "fresh"),
    ] {
        assert_eq!(rig.get(path).await.problem(400, "invalid_input")["field"], field, "{path}");
    }
    rig.get("/v1/nodes/lake/containers?watch").await.problem(404, "not_found");
    let odd = rig.request(Method::GET, "/v1/containers?watch").header("Accept", "text/event-stream");
    assert_eq!(
        rig.send(odd.header("Last-Event-ID", "7")).await.problem(400, "invalid_input")["field"],
        "Last-Event-ID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_nodes_that_come_and_go() {
    let rig = Rig::start().await;
    ready(&rig).await;
    let request = rig.request(Method::GET, "/v1/containers?watch").header("Accept", "application/x-ndjson");
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await.is(201);
    rig.post("/v1/nodes/bay/containers", json!({"image": "roadstead/busybox:latest", "name": "web"})).await.is(201);
    rig.get("/v1/nodes/bay/containers").await.is(200);
    let mut text = String::new();
    let mut next = async |kind: &str| loop {
        let line = match text.find('\n') {
            Some(end) => text.drain(..=end).collect::<String>(),
            None => {
                let chunk = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.unwrap().unwrap();
                text.push_str(std::str::from_utf8(&chunk.expect("it goes on")).unwrap());
                continue;
            }
        };
        let change: Value = serde_json::from_str(&line).unwrap();
        if change["change"] == kind {
            return change;
        }
    };
    assert_eq!(next("put").await["container"]["name"], "web");
    rig.delete("/v1/nodes/bay").await.is(204);
    assert_eq!(next("deleted").await["node"], "bay", "its containers go with it");
    rig.leave();
    let away = next("node_away").await;
    assert_eq!((&away["node"], &away["error"]["code"]), (&json!("sea"), &json!("unavailable")));
    rig.come_back();
    assert_eq!(next("node_here").await["node"], "sea");
}
