//! The log of a container in each of its three forms.

use roadstead_tests::{ServerOptions, TestEngine};
use serde_json::Value;

use super::on;
use crate::SOON;

async fn three_forms_of_a_log(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let script = "for n in 1 2 3; do echo out $n; done; echo wrong >&2; printf '\\377\\n'; printf 'no line end'";
    let id = engine.create(&engine.name("logs"), &["sh", "-c", script]);
    assert_eq!(engine.ask("POST", &format!("/containers/{id}/start"), None).status, 204);
    assert_eq!(engine.ask("POST", &format!("/containers/{id}/wait"), None).status, 200);
    let path = on(engine, &format!("/containers/{id}/logs"));

    // dockerd keeps lines as JSON, and so no bytes that are no text; Podman's tail joins a last line without end to the
    // one before it.
    let exact = engine.kind() != "docker";
    let odd: &[u8] = if exact { b"\xff" } else { "\u{fffd}".as_bytes() };

    // As bytes, exactly.
    let plain = server.get(&format!("{path}?stderr=false")).await.expect(200);
    assert!(plain.header("content-type").is_some_and(|media| media.starts_with("text/plain")));
    assert_eq!(plain.body, [b"out 1\nout 2\nout 3\n", odd, b"\nno line end"].concat());
    assert_eq!(server.get(&format!("{path}?stdout=false")).await.expect(200).body, b"wrong\n");
    let tail = server.get(&format!("{path}?stderr=false&tail=2")).await.expect(200).text();
    assert!(tail.contains("no line end") && !tail.contains("out 2"), "{tail:?}");
    assert_eq!(server.get(&format!("{path}?tail=0")).await.expect(200).body, b"");

    // As lines of JSON, each with its stream and time.
    let request = server.request("GET", &format!("{path}?timestamps=true")).header("accept", "application/x-ndjson");
    let lines = server.send(request).await.expect(200);
    assert!(lines.header("content-type").is_some_and(|media| media.starts_with("application/x-ndjson")));
    let items: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert!(items.iter().all(|item| item["time"].as_str().is_some_and(|time| time.ends_with('Z'))), "{items:?}");
    let of = |stream: &str| -> String {
        items.iter().filter(|item| item["stream"] == stream).filter_map(|item| item["text"].as_str()).collect()
    };
    assert_eq!(of("stderr"), "wrong\n");
    assert!(of("stdout").starts_with("out 1\nout 2\nout 3\n"), "{items:?}");
    assert!(
        !exact || items.iter().any(|item| item["base64"] == "/wo="),
        "bytes that are no text come as base64: {items:?}"
    );

    // As events, which end with `end`.
    let events = server.events(&path, None).await.rest(SOON).await;
    assert_eq!(events.last().map(|event| event.event.as_str()), Some("end"), "{events:?}");
    let texts: String = events
        .iter()
        .filter(|event| event.event == "log" && event.json()["stream"] == "stdout")
        .filter_map(|event| event.json()["text"].as_str().map(str::to_owned))
        .collect();
    assert!(texts.starts_with("out 1\nout 2\nout 3\n") && texts.ends_with("no line end"), "{events:?}");

    // Since a later time there is nothing.
    let soon = roadstead_core::Timestamp::now().saturating_add(std::time::Duration::from_secs(3600));
    assert_eq!(server.get(&format!("{path}?since={soon}")).await.expect(200).body, b"");
    server
        .get(&format!("{path}?since=2100-01-01T00:00:00Z"))
        .await
        .problem(400, "invalid_input", Some("since"))
        .unwrap();

    let refused = server.send(server.request("GET", &path).header("accept", "image/png")).await;
    refused.expect_problem(406, "not_acceptable");
}

/// A follower hears what is written after it came, and the end.
async fn a_follower_hears_the_end(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let id = engine.create(
        &engine.name("follow"),
        &["sh", "-c", "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.1; done"],
    );
    assert_eq!(engine.ask("POST", &format!("/containers/{id}/start"), None).status, 204);
    let path = on(engine, &format!("/containers/{id}"));
    let mut log = server.events(&format!("{path}/logs?follow=true"), None).await;
    log.find(SOON, |event| event.data.contains("hello")).await;
    // Of a container that was created without one, Podman takes the stop time to be 0.
    let stop = server.post_json(&format!("{path}/stop"), &serde_json::json!({"timeout_seconds": 30})).await;
    assert_eq!(stop.status, 204, "{}", stop.text());
    let rest = log.rest(SOON).await;
    assert!(rest.iter().any(|event| event.data.contains("bye")), "{rest:?}");
    assert_eq!(rest.last().map(|event| event.event.as_str()), Some("end"), "{rest:?}");
}

crate::on_both_engines! { three_forms_of_a_log a_follower_hears_the_end }
