//! What happens when dockerd is killed, or hangs, in the middle of everything: each call ends in time and says
//! `unavailable`, the server stays, and all works again when the engine is back.
//!
//! The engine is an instance of these tests' own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roadstead_tests::engines::OwnEngine;
use roadstead_tests::{Answer, Server, ServerOptions};
use serde_json::{Value, json};

use crate::SOON;

const NODE: &str = "/v1/nodes/docker";

/// A server for the engine that will be killed and one that will not be touched.
fn serve(own: &OwnEngine) -> Server {
    ServerOptions::with(own.engine()).node("healthy", "memory:").argument("--request-timeout-seconds=10").start()
}

/// A container that writes a line every fifth of a second, past the program under test.
fn writer(own: &OwnEngine, name: &str) -> String {
    let engine = own.engine();
    let script = "trap 'exit 0' TERM; while :; do echo tick; sleep 0.2; done";
    let id = engine.create(&engine.name(name), &["sh", "-c", script]);
    let started = engine.ask("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(started.status, 204, "{}", started.text());
    id
}

/// The server is up, and the other node hears nothing of its sick neighbour.
async fn stays_up(server: &Server) {
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/v1/nodes/healthy/containers").await.status, 200);
    let all = server.get("/v1/containers").await.expect(200).json();
    assert_eq!(all["errors"][0]["node"], "docker", "{all}");
    assert_eq!(all["errors"][0]["code"], "unavailable", "{all}");
    let nodes = server.get("/v1/nodes").await.expect(200).json();
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(2), "{nodes}");
}

/// Waits until the engine answers through the server again: it remembers for a moment that it was away.
async fn works_again(server: &Server) {
    let until = tokio::time::Instant::now() + SOON;
    loop {
        let answer = server.get(&format!("{NODE}/containers")).await;
        if answer.status == 200 {
            return;
        }
        answer.expect_problem(503, "unavailable");
        assert!(tokio::time::Instant::now() < until, "it stays away: {}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_unavailable(event: &roadstead_tests::sse::SseEvent) -> bool {
    event.event == "error" && event.json()["code"] == "unavailable" && event.json()["status"] == 503
}

/// A WebSocket handshake by hand; what comes after it is read until the connection ends.
fn attach(server: &Server, container: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET {NODE}/containers/{container}/attach HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        server.token()
    )
    .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dockerd_ends_everything_in_time() {
    let Some(own) = OwnEngine::docker("faults-kill") else { return };
    let container = writer(&own, "writer");
    let server = Arc::new(serve(&own));
    let place = format!("{NODE}/containers/{container}");

    // A job with somebody who follows its output, and somebody who waits for it.
    let spec = json!({"command": ["sh", "-c", "while :; do echo tock; sleep 0.2; done"]});
    let job = server.post_json(&format!("{place}/jobs"), &spec).await.expect(202);
    let job = job.header("location").expect("where it is").to_owned();
    let mut output = server.events(&format!("{job}/output"), None).await;
    output.find(SOON, |event| event.event == "output").await;
    let mut log = server.events(&format!("{place}/logs?follow=true"), None).await;
    log.find(SOON, |event| event.event == "log").await;
    let mut events = server.events(&format!("{NODE}/events"), None).await;
    let mut attached = attach(&server, &container);
    let mut begin = [0; 2];
    attached.read_exact(&mut begin).unwrap();
    // An event shows that the stream stands.
    let engine = own.engine();
    let _ = engine.create(&engine.name("seen"), &["true"]);
    events.find(SOON, |event| event.data.contains("created")).await;

    let over = Arc::new(AtomicBool::new(false));
    let lists = {
        let (server, over) = (Arc::clone(&server), Arc::clone(&over));
        tokio::spawn(async move {
            let mut answers: Vec<Answer> = Vec::new();
            while !over.load(Ordering::Acquire) {
                answers.push(server.get(&format!("{NODE}/containers")).await);
            }
            answers
        })
    };
    let waits = [
        (format!("{place}/wait"), json!({"timeout_seconds": 300})),
        (format!("{place}/wait"), json!({"timeout_seconds": 300, "condition": "deleted"})),
    ]
    .map(|(path, body)| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.post_json(&path, &body).await })
    });
    let job_wait = {
        let (server, path) = (Arc::clone(&server), format!("{job}?wait=300"));
        tokio::spawn(async move { server.get(&path).await })
    };
    // The list loop runs, and the waits stand at the engine: it knows no sign of that, but a list afterwards has
    // travelled the same way behind them.
    assert_eq!(server.get(&format!("{NODE}/containers")).await.status, 200);

    own.kill();

    let last = log.find(SOON, |event| event.event == "error" || event.event == "end").await;
    assert!(is_unavailable(&last), "log follow: {last:?}");
    let last = output.find(SOON, |event| event.event == "error" || event.event == "end").await;
    assert!(is_unavailable(&last), "job output: {last:?}");
    for wait in waits {
        let answer = tokio::time::timeout(SOON, wait).await.expect("a wait ends").unwrap();
        answer.expect_problem(503, "unavailable");
    }
    let waited = tokio::time::timeout(SOON, job_wait).await.expect("the wait for a job ends").unwrap();
    lost(&waited);
    lost(&server.get(&job).await);
    let rest = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        attached.read_to_end(&mut rest).map(|_| rest)
    });
    let rest = tokio::time::timeout(SOON, rest).await.expect("the attachment ends").unwrap().unwrap();
    assert!(
        String::from_utf8_lossy(&rest).contains("\"code\":\"unavailable\""),
        "attach: {:?}",
        String::from_utf8_lossy(&rest)
    );

    // Whatever begins now fails at once, and says why.
    for answer in [
        server.get(&place).await,
        server.get(&format!("{place}/logs")).await,
        server.post(&format!("{place}/start")).await,
        server.post_json(&format!("{place}/jobs"), &json!({"command": ["true"]})).await,
        server.post_json(&format!("{NODE}/containers"), &json!({"image": "roadstead/busybox:latest"})).await,
        server.get(&format!("{NODE}/images")).await,
    ] {
        answer.expect_problem(503, "unavailable");
    }
    stays_up(&server).await;

    // The event stream goes on trying for its own deadline, and then says so.
    let last = events.find(SOON, |event| event.event == "error" || event.event == "end").await;
    assert!(is_unavailable(&last), "events: {last:?}");

    over.store(true, Ordering::Release);
    let answers = tokio::time::timeout(SOON, lists).await.expect("the last list ends").unwrap();
    for answer in &answers {
        if answer.status != 200 {
            answer.expect_problem(503, "unavailable");
        }
    }
    assert_eq!(answers.first().map(|answer| answer.status), Some(200));
    assert_eq!(answers.last().map(|answer| answer.status), Some(503));

    own.start_again();
    works_again(&server).await;
    // Without --live-restore the containers ended with their daemon.
    assert_eq!(server.post(&format!("{place}/start")).await.status, 204);
    let job = server.post_json(&format!("{place}/jobs"), &json!({"command": ["echo", "back"]})).await.expect(202);
    let job = job.header("location").expect("where it is").to_owned();
    let status = server.get(&format!("{job}?wait=30")).await.expect(200).json();
    assert_eq!(status["state"], "succeeded", "{status}");
    let mut log = server.events(&format!("{place}/logs?follow=true&tail=0"), None).await;
    log.find(SOON, |event| event.event == "log").await;
    let mut events = server.events(&format!("{NODE}/events"), None).await;
    let made = server.post_json(&format!("{NODE}/containers"), &json!({"image": "roadstead/busybox:latest"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    events.find(SOON, |event| event.data.contains("created")).await;
}

/// `lost`, or the refusal to say how it ended.
fn lost(answer: &Answer) {
    if answer.status == 200 {
        let status = answer.json();
        assert_eq!(status["state"], "lost", "{status}");
        assert!(status["error"].is_string(), "it does not say why: {status}");
    } else {
        answer.expect_problem(503, "unavailable");
    }
}

/// An engine that is back before the stream gives up: the stream goes on and says that it may have missed something.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_outlives_a_restart_of_dockerd() {
    let Some(own) = OwnEngine::docker("faults-events") else { return };
    let server = serve(&own);
    let mut events = server.events("/v1/events", None).await;
    let engine = own.engine();
    let _ = engine.create(&engine.name("before"), &["true"]);
    events.find(SOON, |event| event.data.contains(&engine.name("before"))).await;
    own.kill();
    own.start_again();
    events.find(SOON, |event| event.json()["action"] == "resync").await;
    let _ = engine.create(&engine.name("after"), &["true"]);
    let event = events.find(SOON, |event| event.data.contains(&engine.name("after"))).await;
    assert_eq!(event.json()["action"], "created");
}

/// A dockerd that hangs: calls end by their deadline, the other node is not held back, and all goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_dockerd_holds_nobody_longer_than_the_deadline() {
    let Some(own) = OwnEngine::docker("faults-hang") else { return };
    let container = writer(&own, "writer");
    let server =
        ServerOptions::with(own.engine()).node("healthy", "memory:").argument("--request-timeout-seconds=2").start();
    assert_eq!(server.get(&format!("{NODE}/containers")).await.status, 200);
    let frozen = own.freeze();
    // What is in memory would be answered: the engine is to be asked.
    let answer = server.get(&format!("{NODE}/containers?fresh=true")).await;
    answer.expect_problem(504, "deadline_exceeded");
    let answer = server.get(&format!("{NODE}/containers/{container}?fresh=true")).await;
    answer.expect_problem(504, "deadline_exceeded");
    let all: Value = server.get("/v1/containers?fresh=true").await.expect(200).json();
    let codes: Vec<_> = all["errors"].as_array().expect("errors").iter().map(|error| &error["code"]).collect();
    // By then it may be known that nothing answers.
    assert!(codes == ["deadline_exceeded"] || codes == ["unavailable"], "{all}");
    assert_eq!(server.get("/v1/nodes/healthy/containers").await.status, 200);
    assert_eq!(server.get("/healthz").await.status, 200);
    drop(frozen);
    works_again(&server).await;
}
