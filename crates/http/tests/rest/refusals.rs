//! Bad input: the right problem, the field at fault, and nothing changed.

use crate::rig::{Rig, pieces};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_field() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let c = format!("/v1/nodes/sea/containers/{id}");
    let before = rig.get("/v1/containers").await.json()["items"].clone();
    let long = "x".repeat(300);
    let image = "roadstead/busybox:latest";
    let cases: Vec<(Method, String, serde_json::Value, u16, &str, &str)> = vec![
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "nam": "x"}),
            400,
            "invalid_input",
            "nam",
        ),
        (Method::POST, "/v1/nodes/sea/containers".into(), json!({"image": 1}), 400, "invalid_input", "image"),
        (Method::POST, "/v1/nodes/sea/containers".into(), json!({}), 400, "invalid_input", "image"),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "name": long}),
            400,
            "invalid_input",
            "name",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "name": "../x"}),
            400,
            "invalid_input",
            "name",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "limits": {"memory_bytes": 1}}),
            400,
            "invalid_input",
            "limits.memory_bytes",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "limits": {"memory": 1}}),
            400,
            "invalid_input",
            "limits.memory",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "mounts": [{"type": "bind", "source": "x", "target": "/x"}]}),
            400,
            "invalid_input",
            "mounts[0].source",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "stop_signal": "SIGNOPE"}),
            400,
            "invalid_input",
            "stop_signal",
        ),
        (Method::POST, "/v1/nodes/sea/containers".into(), json!({"image": "absent:1"}), 404, "not_found", ""),
        (
            Method::POST,
            "/v1/nodes/sea/containers".into(),
            json!({"image": image, "name": "web"}),
            409,
            "already_exists",
            "",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers?strat=true".into(),
            json!({"image": image}),
            400,
            "invalid_input",
            "strat",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/containers?start=yes".into(),
            json!({"image": image}),
            400,
            "invalid_input",
            "start",
        ),
        (Method::POST, "/v1/nodes/lake/containers".into(), json!({"image": image}), 404, "not_found", ""),
        (Method::POST, "/v1/nodes/a%2Fb/containers".into(), json!({"image": image}), 400, "invalid_input", "node"),
        (Method::GET, "/v1/nodes/sea/containers/a%2F..%2Fb".into(), json!(null), 400, "invalid_input", "container"),
        (Method::GET, "/v1/nodes/sea/containers/absent".into(), json!(null), 404, "not_found", ""),
        (Method::GET, format!("/v1/nodes/sea/containers/{long}"), json!(null), 400, "invalid_input", "container"),
        (Method::GET, "/v1/containers?state=bogus".into(), json!(null), 400, "invalid_input", "state"),
        (Method::GET, "/v1/containers?stat=running".into(), json!(null), 400, "invalid_input", "stat"),
        (Method::GET, "/v1/containers?limit=0".into(), json!(null), 400, "invalid_input", "limit"),
        (Method::GET, "/v1/containers?limit=1&limit=2".into(), json!(null), 400, "invalid_input", "limit"),
        (Method::GET, "/v1/containers?limit=-1".into(), json!(null), 400, "invalid_input", "limit"),
        (Method::GET, "/v1/containers?cursor=nonsense".into(), json!(null), 400, "invalid_input", "cursor"),
        (Method::GET, "/v1/containers?fields=id,nope".into(), json!(null), 400, "invalid_input", "fields"),
        (Method::GET, "/v1/containers?name=a%2Fb".into(), json!(null), 400, "invalid_input", "name"),
        (Method::GET, "/v1/containers?timeout_seconds=0".into(), json!(null), 400, "invalid_input", "timeout_seconds"),
        (Method::POST, format!("{c}/kill"), json!({"signal": "SIGNOPE"}), 400, "invalid_input", "signal"),
        (Method::POST, format!("{c}/kill"), json!({"signal": 0}), 400, "invalid_input", "signal"),
        (Method::POST, format!("{c}/stop"), json!({"timeout_seconds": 4000}), 400, "invalid_input", "timeout_seconds"),
        (Method::POST, format!("{c}/stop"), json!({"timeout": 1}), 400, "invalid_input", "timeout"),
        (Method::POST, format!("{c}/start"), json!({"now": true}), 400, "invalid_input", "now"),
        (Method::POST, format!("{c}/rename"), json!({"name": "-x"}), 400, "invalid_input", "name"),
        (Method::POST, format!("{c}/rename"), json!({}), 400, "invalid_input", "name"),
        (Method::POST, format!("{c}/update"), json!({"limits": {"cpus": 0}}), 400, "invalid_input", "limits.cpus"),
        (Method::POST, format!("{c}/update"), json!({"cpus": 1}), 400, "invalid_input", "cpus"),
        (Method::POST, format!("{c}/update"), json!({"hold": true}), 400, "invalid_input", "hold"),
        (Method::POST, format!("{c}/update?hold=maybe"), json!({}), 400, "invalid_input", "hold"),
        (Method::POST, format!("{c}/update?held=true"), json!({}), 400, "invalid_input", "held"),
        (Method::POST, format!("{c}/update"), json!({"restart": ["always"]}), 400, "invalid_input", "restart"),
        (
            Method::POST,
            format!("{c}/update"),
            json!({"restart": {"policy": "always", "max_retries": 1}}),
            400,
            "invalid_input",
            "restart",
        ),
        (Method::POST, format!("{c}/resize"), json!({"columns": 0, "rows": 1}), 400, "invalid_input", "columns"),
        (Method::POST, format!("{c}/resize"), json!({"columns": 70000, "rows": 1}), 400, "invalid_input", "columns"),
        (Method::POST, format!("{c}/commit"), json!({"image": "a b"}), 400, "invalid_input", "image"),
        (Method::POST, format!("{c}/unfreeze/now"), json!({}), 404, "not_found", ""),
        (Method::POST, format!("{c}/jobs"), json!({"command": []}), 400, "invalid_input", "command"),
        (Method::POST, format!("{c}/jobs"), json!({"command": "ls"}), 400, "invalid_input", "command"),
        (Method::POST, format!("{c}/jobs"), json!({"command": ["ls", 1]}), 400, "invalid_input", "command[1]"),
        (
            Method::POST,
            format!("{c}/jobs"),
            json!({"command": ["ls"], "working_directory": "x"}),
            400,
            "invalid_input",
            "working_directory",
        ),
        (Method::POST, format!("{c}/jobs?wait=9999"), json!({"command": ["ls"]}), 400, "invalid_input", "wait"),
        (Method::GET, "/v1/jobs/absent".into(), json!(null), 404, "not_found", ""),
        (Method::DELETE, "/v1/jobs/absent?signal=NOPE".into(), json!(null), 400, "invalid_input", "signal"),
        (Method::GET, format!("{c}/logs?tail=x"), json!(null), 400, "invalid_input", "tail"),
        (Method::GET, format!("{c}/logs?since=yesterday"), json!(null), 400, "invalid_input", "since"),
        (Method::GET, format!("{c}/logs?stdout=false&stderr=false"), json!(null), 400, "invalid_input", "stdout"),
        (Method::GET, format!("{c}/files"), json!(null), 400, "invalid_input", "path"),
        (Method::GET, format!("{c}/files?path=etc"), json!(null), 400, "invalid_input", "path"),
        (Method::GET, format!("{c}/files?path=/absent"), json!(null), 404, "not_found", ""),
        (Method::GET, "/v1/nodes/sea/image".into(), json!(null), 400, "invalid_input", "reference"),
        (Method::GET, "/v1/nodes/sea/image?reference=a%20b".into(), json!(null), 400, "invalid_input", "reference"),
        (Method::GET, "/v1/nodes/sea/image?reference=absent:1".into(), json!(null), 404, "not_found", ""),
        (
            Method::POST,
            "/v1/nodes/sea/images/pull".into(),
            json!({"reference": "a b"}),
            400,
            "invalid_input",
            "reference",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/images/pull".into(),
            json!({"reference": "a", "tag": "b"}),
            400,
            "invalid_input",
            "tag",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/images/tag".into(),
            json!({"reference": image, "new_reference": "x@sha256:00"}),
            400,
            "invalid_input",
            "new_reference",
        ),
        (
            Method::POST,
            "/v1/nodes/sea/networks".into(),
            json!({"name": "n1", "subnets": [{"cidr": "300.0.0.0/8"}]}),
            400,
            "invalid_input",
            "subnets[0].cidr",
        ),
        (Method::POST, "/v1/nodes/sea/volumes".into(), json!({"name": "a/b"}), 400, "invalid_input", "name"),
        (Method::POST, "/v1/nodes".into(), json!({"name": "n", "uri": "nope:"}), 400, "invalid_input", "uri"),
        (Method::POST, "/v1/nodes".into(), json!({"name": "n", "uri": "memory:?sed=1"}), 400, "invalid_input", "uri"),
        (Method::POST, "/v1/nodes".into(), json!({"name": "a b", "uri": "memory:"}), 400, "invalid_input", "name"),
        (
            Method::POST,
            "/v1/nodes".into(),
            json!({"name": "n", "uri": "memory:", "key": "/k"}),
            400,
            "invalid_input",
            "certificate",
        ),
        (Method::POST, "/v1/nodes".into(), json!({"name": "sea", "uri": "memory:"}), 409, "already_exists", ""),
        (Method::DELETE, "/v1/nodes/sea".into(), json!(null), 409, "conflict", ""),
        (Method::GET, "/v1/nodes/lake".into(), json!(null), 404, "not_found", ""),
        (Method::GET, "/v1/nodes/sea/events?since=x".into(), json!(null), 400, "invalid_input", "since"),
        (
            Method::GET,
            "/v1/nodes/sea/events?since=0001-01-01T00:00:00Z".into(),
            json!(null),
            400,
            "invalid_input",
            "since",
        ),
        (Method::GET, "/v1/events?since=9999-12-31T23:59:59Z".into(), json!(null), 400, "invalid_input", "since"),
        (Method::GET, "/v1/events?since=2999-12-31T23:59:59Z".into(), json!(null), 400, "invalid_input", "since"),
        (Method::GET, format!("{c}/logs?since=0001-01-01T00:00:00Z"), json!(null), 400, "invalid_input", "since"),
        (Method::GET, format!("{c}/logs?since=9999-12-31T23:59:59Z"), json!(null), 400, "invalid_input", "since"),
        (Method::GET, format!("{c}/logs?until=2999-12-31T23:59:59Z"), json!(null), 400, "invalid_input", "until"),
        (Method::GET, "/nothing".into(), json!(null), 404, "not_found", ""),
    ];
    assert!(cases.len() >= 60);
    for (method, path, body, status, code, field) in cases {
        let mut request = rig.request(method.clone(), &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let reply = rig.send(request).await;
        let shown = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, status, "{method} {path} {body}: {shown}");
        let problem = reply.problem(status, code);
        if !field.is_empty() {
            assert_eq!(problem["field"], field, "{method} {path} {body}: {problem}");
        }
    }
    assert_eq!(rig.get("/v1/containers").await.json()["items"], before, "nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_typed() {
    let rig = Rig::start().await;
    let path = "/v1/nodes/sea/containers";
    let text = rig.request(Method::POST, path).header("Content-Type", "text/plain").body("{}");
    rig.send(text).await.problem(415, "unsupported_media_type");
    rig.act(path).await.problem(415, "unsupported_media_type");
    let json = |body: String| rig.request(Method::POST, path).header("Content-Type", "application/json").body(body);
    for bad in ["{", "", "nonsense", "{\"image\": \"x\"} trailing", "\u{0}"] {
        assert_eq!(rig.send(json(bad.to_owned())).await.problem(400, "invalid_input")["field"], "body", "{bad:?}");
    }
    let deep = format!("{{\"image\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    rig.send(json(deep)).await.problem(400, "invalid_input");
    let large = format!("{{\"image\": \"{}\"}}", "x".repeat(1_100_000));
    rig.send(json(large.clone())).await.problem(413, "payload_too_large");
    let unannounced = rig
        .request(Method::POST, path)
        .header("Content-Type", "application/json")
        .body(pieces(large.as_bytes(), 50_000));
    rig.send(unannounced).await.problem(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_representations_are_told() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let reply = rig.send(rig.request(Method::PUT, "/v1/nodes")).await;
    assert_eq!(reply.header("allow"), "GET, HEAD, POST");
    reply.problem(405, "method_not_allowed");
    let reply = rig.send(rig.request(Method::PATCH, &format!("/v1/nodes/sea/containers/{id}"))).await;
    assert_eq!(reply.header("allow"), "GET, HEAD, DELETE");
    reply.problem(405, "method_not_allowed");
    rig.get(&format!("/v1/nodes/sea/containers/{id}/start")).await.problem(405, "method_not_allowed");
    let image = rig.request(Method::GET, &format!("/v1/nodes/sea/containers/{id}/logs")).header("Accept", "image/png");
    rig.send(image).await.problem(406, "not_acceptable");
    rig.get(&format!("/v1/nodes/sea/containers/{id}/attach")).await.problem(426, "upgrade_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_cannot_do_is_told() {
    let rig = Rig::with(|config| {
        let uri = "memory:?without=freeze,image_pull,node_jobs".to_owned();
        config.nodes.insert("sea".to_owned(), roadstead_http::NodeConfig::Uri(uri));
    })
    .await;
    let id = rig.container("web").await;
    assert_eq!(rig.get("/v1/nodes/sea/capabilities").await.is(200).json()["freeze"], false);
    let frozen = rig.act(&format!("/v1/nodes/sea/containers/{id}/freeze")).await.problem(501, "unsupported");
    assert_eq!(frozen["context"], json!({"capability": "freeze"}));
    rig.post("/v1/nodes/sea/images/pull", json!({"reference": "a:1"})).await.problem(501, "unsupported");
    rig.post("/v1/nodes/sea/jobs", json!({"command": ["ls"]})).await.problem(501, "unsupported");
}
