//! Cases of HTTP itself: identity, methods, media types, sizes.

use std::io::Write;
use std::process::{Command, Stdio};

use roadstead_tests::{Request, ServerOptions};
use serde_json::json;

use super::{Case, Scene};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = identity(scene);
    cases.extend(protocol(scene));
    cases.extend(sizes(scene));
    cases
}

fn identity(scene: &Scene) -> Vec<Case> {
    let list = |name| {
        Case::new(name, "GET", &scene.containers).anonymous().gives(401, "unauthenticated").has("www-authenticate")
    };
    let bearer = |name, value: &str| list(name).with("Authorization", value);
    vec![
        list("identity: none"),
        bearer("identity: wrong token", &format!("Bearer {}", "0".repeat(64))),
        bearer("identity: empty token", "Bearer "),
        bearer("identity: no scheme", "0000"),
        bearer("identity: two words", "Bearer a b"),
        bearer("identity: Basic", "Basic cm9vdDpyb290"),
        bearer("identity: Basic garbage", "Basic %%%"),
        bearer("identity: a long token", &format!("Bearer {}", "x".repeat(8_000))),
        Case::new("identity: token in the query", "GET", format!("{}?token=x", scene.containers))
            .anonymous()
            .gives(401, "unauthenticated"),
        Case::new("identity: none, create", "POST", &scene.containers)
            .anonymous()
            .json(&json!({"image": scene.image}))
            .gives(401, "unauthenticated"),
        Case::new("identity: none, delete", "DELETE", scene.of(&scene.running, "?force=true"))
            .anonymous()
            .gives(401, "unauthenticated"),
        Case::new("identity: none, unknown route", "GET", "/v1/nope").anonymous().gives(401, "unauthenticated"),
        Case::new("identity: none, events", "GET", "/v1/events").anonymous().gives(401, "unauthenticated"),
    ]
}

fn protocol(scene: &Scene) -> Vec<Case> {
    let wrong =
        |name, method, target: &str| Case::new(name, method, target).gives(405, "method_not_allowed").has("allow");
    let create = |name| Case::new(name, "POST", &scene.containers);
    let body = json!({"image": scene.image}).to_string();
    vec![
        wrong("method: PATCH on the list", "PATCH", &scene.containers),
        wrong("method: DELETE on the list", "DELETE", &scene.containers),
        wrong("method: GET on a verb", "GET", &scene.of(&scene.running, "/stop")),
        wrong("method: PUT on a job list", "PUT", &scene.of(&scene.running, "/jobs")),
        wrong("method: POST on events", "POST", "/v1/events"),
        wrong("method: made up", "EXPLODE", &scene.containers),
        Case::new("route: unknown below v1", "GET", "/v1/nope").not_found(),
        Case::new("route: unknown", "GET", "/nope").not_found(),
        Case::new("route: another version", "GET", "/v9/nodes").not_found(),
        create("media: text").typed("text/plain", body.clone()).gives(415, "unsupported_media_type"),
        create("media: none").body(body.clone()).gives(415, "unsupported_media_type"),
        create("media: a form")
            .typed("application/x-www-form-urlencoded", "image=x")
            .gives(415, "unsupported_media_type"),
        create("media: nearly JSON").typed("application/jsonx", body).gives(415, "unsupported_media_type"),
        create("coding: compressed JSON")
            .with("Content-Encoding", "gzip")
            .typed("application/json", gzip(b"{\"image\":\"roadstead/absent\"}"))
            .gives(415, "unsupported_media_type"),
        create("coding: unknown")
            .with("Content-Encoding", "rot13")
            .typed("application/json", "{}")
            .gives(415, "unsupported_media_type"),
    ]
}

fn sizes(scene: &Scene) -> Vec<Case> {
    let padded = |length: usize| json!({"image": scene.image, "labels": {"padding": "x".repeat(length)}}).to_string();
    let create = |name| Case::new(name, "POST", &scene.containers);
    let mut chunked = Vec::new();
    for _ in 0..40 {
        chunked.extend_from_slice(b"40000\r\n");
        chunked.extend_from_slice(&vec![b' '; 0x40000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    vec![
        create("size: JSON of 10 MB").typed("application/json", padded(10_000_000)).gives(413, "payload_too_large"),
        create("size: JSON of 10 MB in chunks")
            .with("Transfer-Encoding", "chunked")
            .typed("application/json", chunked)
            .gives(413, "payload_too_large"),
        create("size: announced beyond all memory")
            .with("Content-Length", "99999999999999")
            .typed("application/json", "{}")
            .gives(413, "payload_too_large"),
        // Small on the wire: what must not happen is that it is unpacked into memory.
        create("size: compressed JSON of 100 MB")
            .with("Content-Encoding", "gzip")
            .typed("application/json", gzip(&vec![b' '; 100_000_000]))
            .gives(415, "unsupported_media_type"),
        Case::new("size: job of 10 MB", "POST", scene.of(&scene.running, "/jobs"))
            .json(&json!({"command": ["true"], "tags": ["x".repeat(10_000_000)]}))
            .gives(413, "payload_too_large"),
        Case::new("size: URI of 10 kB", "GET", format!("{}?name={}", scene.containers, "x".repeat(10_000))),
    ]
}

/// What is not even HTTP is refused by status alone, and costs nobody else anything.
#[test]
fn what_is_no_http_is_refused() {
    let server = ServerOptions::default().node("memory", "memory:").start();
    let long = "x".repeat(1_000_000);
    for (name, request) in [
        ("control character in a header", server.raw("GET", "/v1/nodes").header("X-Any", "a\u{7f}b\u{1}")),
        ("space in a header name", server.raw("GET", "/v1/nodes").header("X Any", "a")),
        ("header of a megabyte", server.raw("GET", "/v1/nodes").header("X-Any", &long)),
        ("URI of a megabyte", server.raw("GET", format!("/v1/nodes?name={long}"))),
        ("no path", server.raw("GET", "")),
        ("space in the path", server.raw("GET", "/v1/no des")),
        ("two lengths", server.raw("POST", "/v1/nodes").header("Content-Length", "1").header("Content-Length", "2")),
        ("negative length", server.raw("POST", "/v1/nodes").header("Content-Length", "-1")),
        (
            "length and chunks",
            server.raw("POST", "/v1/nodes").header("Content-Length", "4").header("Transfer-Encoding", "chunked"),
        ),
    ] {
        // Closing without an answer is an answer, too.
        if let Ok(answer) = request.send_tcp(server.address()) {
            assert!((400..500).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        }
        let healthy = Request::new("GET", "/healthz").send_tcp(server.address()).expect("the server is still there");
        assert_eq!(healthy.status, 200, "{name}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is everywhere");
    let mut input = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).expect("gzip takes it"));
        child.wait_with_output().expect("gzip ends").stdout
    })
}
