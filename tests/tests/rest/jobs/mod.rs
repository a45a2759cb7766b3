//! Jobs on real containers: output while they run, input, terminals, ends of every kind, and results that stay.

mod api;

use std::time::Duration;

use roadstead_tests::sse::{SseEvent, SseReader};
use roadstead_tests::{Answer, Server, ServerOptions, TestEngine, engines, left_out};
use serde_json::{Value, json};

use crate::SOON;

/// Starts a job, and gives its path.
async fn start(server: &Server, engine: &TestEngine, container: &str, spec: &Value) -> String {
    let answer = server.post_json(&jobs_of(engine, container), spec).await.expect(202);
    let location = answer.header("location").expect("where the job is").to_owned();
    let job = answer.json();
    assert_eq!(location, format!("/v1/jobs/{}", job["id"].as_str().expect("an id")));
    assert_eq!(job["node"], engine.kind());
    assert_eq!(job["command"], spec["command"]);
    location
}

/// Says the size of its terminal once that is 31 rows by 93 columns, and after a line of input once it is 41 by 101.
/// Engines set the first size when the process runs already, and Podman sets every size a moment after its answer.
const TERMINAL_SCRIPT: &str = "size() { until [ \"$(stty size)\" = \"$1\" ]; do sleep 0.05; done; stty size; }; \
                               size '31 93'; read answer; size '41 101'";

/// Podman 4.3 under load now and then answers that a terminal has its new size, and loses it; then it is told again.
const RESIZE_AGAIN: Duration = Duration::from_secs(3);

fn jobs_of(engine: &TestEngine, container: &str) -> String {
    format!("/v1/nodes/{}/containers/{container}/jobs", engine.kind())
}

async fn wait(server: &Server, job: &str) -> Value {
    let status = server.get(&format!("{job}?wait=30")).await.expect(200).json();
    assert!(status["ended_at"].is_string(), "it has not ended: {status}");
    status
}

async fn output(server: &Server, job: &str, last: Option<&str>) -> SseReader {
    server.events(&format!("{job}/output"), last).await
}

async fn input(server: &Server, job: &str, text: &str) {
    let answer = server.send_bytes("POST", &format!("{job}/stdin"), "application/octet-stream", text.into()).await;
    assert!(matches!(answer.status, 200 | 204), "{} {}", answer.status, answer.text());
}

async fn close_input(server: &Server, job: &str) -> Answer {
    server.send_bytes("POST", &format!("{job}/stdin?close=true"), "application/octet-stream", Vec::new()).await
}

fn text(event: &SseEvent) -> String {
    event.json()["text"].as_str().unwrap_or_default().to_owned()
}

/// Reads on until the output so far holds `wanted`.
async fn until(reader: &mut SseReader, so_far: &mut String, wanted: &str) -> SseEvent {
    loop {
        let event = reader.next(SOON).await.unwrap_or_else(|| panic!("ended without {wanted:?}: {so_far:?}"));
        assert!(!matches!(event.event.as_str(), "end" | "error"), "{event:?} before {wanted:?}: {so_far:?}");
        so_far.push_str(&text(&event));
        if so_far.contains(wanted) {
            return event;
        }
    }
}

async fn streams_resumes_and_keeps(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let container = engine.run(&engine.name("jobs"));
    let server = ServerOptions::with(engine).start();
    let script = "echo one; echo wrong >&2; read word; echo got $word; read word; echo got $word; exit 3";
    let job = start(&server, engine, &container, &json!({"command": ["sh", "-c", script], "stdin": true})).await;

    // The job cannot go on before it is told to: what arrives now arrives while it runs.
    let mut first = output(&server, &job, None).await;
    let mut seen = String::new();
    let mut streams = std::collections::BTreeMap::new();
    while !(seen.contains("one\n") && seen.contains("wrong\n")) {
        let event = first.next(SOON).await.expect("output before the end");
        streams.insert(text(&event), event.json()["stream"].clone());
        seen.push_str(&text(&event));
    }
    assert_eq!(streams["one\n"], "stdout");
    assert_eq!(streams["wrong\n"], "stderr");
    let status = server.get(&job).await.expect(200).json();
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["container"].as_str().map(str::len), Some(64), "{status}");
    assert!(status["started_at"].is_string() && status["exit_code"].is_null(), "{status}");

    input(&server, &job, "two\n").await;
    let event = until(&mut first, &mut seen, "got two\n").await;
    // A reader that goes away and comes back after this event misses nothing and sees nothing twice.
    drop(first);
    let last = event.id.expect("output events have ids");
    let mut second = output(&server, &job, Some(&last)).await;
    input(&server, &job, "three\n").await;
    let rest = second.rest(SOON).await;
    let after: String = rest.iter().filter(|event| event.event == "output").map(text).collect();
    assert_eq!(after, "got three\n", "{rest:?}");
    assert_eq!(rest.last().map(|event| event.event.as_str()), Some("end"), "{rest:?}");

    let status = wait(&server, &job).await;
    assert_eq!((&status["state"], &status["exit_code"]), (&json!("failed"), &json!(3)), "{status}");

    // Afterwards everything is still there, as often as it is asked for.
    for _ in 0..2 {
        let again = output(&server, &job, None).await.rest(SOON).await;
        let pieces: Vec<&SseEvent> = again.iter().filter(|event| event.event == "output").collect();
        let stdout: String =
            pieces.iter().filter(|event| event.json()["stream"] == "stdout").map(|event| text(event)).collect();
        assert_eq!(stdout, "one\ngot two\ngot three\n");
        let numbers: Vec<u64> =
            pieces.iter().map(|event| event.json()["sequence"].as_u64().expect("a number")).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no gap, no repetition");
        assert_eq!(server.get(&job).await.expect(200).json()["exit_code"], 3);
    }
    let refused = server.send_bytes("POST", &format!("{job}/stdin"), "application/octet-stream", "x".into()).await;
    refused.expect_problem(409, "conflict");
    let kept = server.get(&format!("/v1/nodes/{}/capabilities", engine.kind())).await.expect(200).json();
    assert!(kept["jobs_kept_seconds"].as_u64() >= Some(600), "results go before ten minutes are over: {kept}");
}

async fn ends_of_every_kind(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let container = engine.run(&engine.name("ends"));
    let server = ServerOptions::with(engine).start();

    // Until it has said so, the shell may not have its trap or its pid yet.
    let ready = |command: &str| json!({"command": ["sh", "-c", format!("echo ready; {command}")]});
    for (signal, exit_code) in [("SIGTERM", 143), ("SIGKILL", 137)] {
        let job = start(&server, engine, &container, &ready("exec sleep 1000")).await;
        let mut reader = output(&server, &job, None).await;
        until(&mut reader, &mut String::new(), "ready\n").await;
        let killed = server.delete(&format!("{job}?signal={signal}")).await;
        assert!(matches!(killed.status, 200 | 202 | 204), "{} {}", killed.status, killed.text());
        let status = wait(&server, &job).await;
        assert_eq!((&status["state"], &status["exit_code"]), (&json!("killed"), &json!(exit_code)), "{status}");
        assert_eq!(reader.rest(SOON).await.last().map(|event| event.event.as_str()), Some("end"));
        // Once more changes nothing.
        let again = server.delete(&format!("{job}?signal={signal}")).await;
        assert!(matches!(again.status, 200 | 202 | 204), "{} {}", again.status, again.text());
        assert_eq!(server.get(&job).await.expect(200).json(), status);
    }

    // The caller's own signal, by number, for which the process has a handler.
    let job = start(
        &server,
        engine,
        &container,
        &ready("trap 'echo caught; exit 0' USR1; echo set; while :; do sleep 0.1; done"),
    )
    .await;
    let mut reader = output(&server, &job, None).await;
    until(&mut reader, &mut String::new(), "set\n").await;
    let _ = server.delete(&format!("{job}?signal=10")).await;
    until(&mut reader, &mut String::new(), "caught\n").await;
    assert_eq!(wait(&server, &job).await["state"], "succeeded");

    let succeeded = start(&server, engine, &container, &json!({"command": ["true"], "tags": ["mine"]})).await;
    let status = wait(&server, &succeeded).await;
    assert_eq!((&status["state"], &status["exit_code"]), (&json!("succeeded"), &json!(0)), "{status}");
    assert_eq!(status["tags"], json!(["mine"]));

    let timed = start(&server, engine, &container, &json!({"command": ["sleep", "1000"], "timeout_seconds": 1})).await;
    assert_eq!(wait(&server, &timed).await["state"], "timed_out");

    let absent = server.post_json(&jobs_of(engine, &container), &json!({"command": ["/no/such/program"]})).await;
    if absent.status == 202 {
        let status = wait(&server, absent.header("location").expect("where")).await;
        assert_eq!(status["state"], "failed");
        assert!(matches!(status["exit_code"].as_i64(), Some(126 | 127)), "{status}");
    } else {
        absent.expect_problem(400, "invalid_input");
    }

    // The container's main process was not touched by any of this.
    let details = engine.get(&format!("/containers/{container}/json"));
    assert_eq!(details["State"]["Running"], true);

    // Jobs are listed by container, and by no other.
    let other = engine.run(&engine.name("other"));
    let its = start(&server, engine, &other, &json!({"command": ["true"]})).await;
    let list = server.get(&jobs_of(engine, &container)).await.expect(200).json();
    let listed: Vec<&str> =
        list["items"].as_array().expect("items").iter().filter_map(|job| job["id"].as_str()).collect();
    assert!(listed.contains(&succeeded.trim_start_matches("/v1/jobs/")), "{list}");
    assert!(!listed.contains(&its.trim_start_matches("/v1/jobs/")), "{list}");
    let list = server.get(&jobs_of(engine, &other)).await.expect(200).json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
}

async fn input_and_terminals(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let container = engine.run(&engine.name("input"));
    let server = ServerOptions::with(engine).start();

    // What goes in comes out, and the end of the input is an end for the process.
    let job = start(&server, engine, &container, &json!({"command": ["cat"], "stdin": true})).await;
    let lines: Vec<String> = (0..200).map(|number| format!("line {number} {}\n", "x".repeat(500))).collect();
    for part in lines.chunks(50) {
        input(&server, &job, &part.concat()).await;
    }
    let closed = close_input(&server, &job).await;
    assert!(matches!(closed.status, 200 | 204), "{} {}", closed.status, closed.text());
    let status = wait(&server, &job).await;
    assert_eq!(status["state"], "succeeded", "{status}");
    let all: String = output(&server, &job, None)
        .await
        .rest(SOON)
        .await
        .iter()
        .filter(|event| event.event == "output")
        .map(text)
        .collect();
    assert_eq!(all.len(), lines.concat().len());
    assert_eq!(all, lines.concat());

    // Without input it reads end of file at once.
    let job = start(&server, engine, &container, &json!({"command": ["cat"]})).await;
    assert_eq!(wait(&server, &job).await["state"], "succeeded");
    let job = start(&server, engine, &container, &json!({"command": ["sleep", "1000"]})).await;
    let refused = server.send_bytes("POST", &format!("{job}/stdin"), "application/octet-stream", "x".into()).await;
    refused.expect_problem(409, "conflict");
    let refused = server.post_json(&format!("{job}/resize"), &json!({"columns": 80, "rows": 24})).await;
    refused.expect_problem(409, "conflict");
    let _ = server.delete(&format!("{job}?signal=SIGKILL")).await;

    // A terminal has the size it was given, and then the one it is given.
    let spec = json!({
        "command": ["sh", "-c", TERMINAL_SCRIPT],
        "tty": true, "stdin": true, "terminal_size": {"columns": 93, "rows": 31},
    });
    let job = start(&server, engine, &container, &spec).await;
    let mut reader = output(&server, &job, None).await;
    let mut seen = String::new();
    let event = until(&mut reader, &mut seen, "31 93\r\n").await;
    assert_eq!(event.json()["stream"], "console");
    let answer = server.post_json(&format!("{job}/resize"), &json!({"columns": 101, "rows": 41})).await;
    assert!(matches!(answer.status, 200 | 204), "{} {}", answer.status, answer.text());
    input(&server, &job, "\n").await;
    let again = async {
        loop {
            tokio::time::sleep(RESIZE_AGAIN).await;
            let _ = server.post_json(&format!("{job}/resize"), &json!({"columns": 101, "rows": 41})).await;
        }
    };
    tokio::select! {
        _ = until(&mut reader, &mut seen, "41 101") => {}
        () = again => {}
    }
    assert_eq!(wait(&server, &job).await["state"], "succeeded");

    // Any byte passes: what is no text comes as base64.
    let job = start(&server, engine, &container, &json!({"command": ["printf", "\\377\\000\\001"]})).await;
    wait(&server, &job).await;
    let pieces = output(&server, &job, None).await.rest(SOON).await;
    assert_eq!(pieces[0].json()["base64"], "/wAB", "{pieces:?}");
}

/// Behind `ROADSTEAD_SOAK=1`: the result is really there ten minutes after the end.
async fn stays_ten_minutes(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let container = engine.run(&engine.name("stays"));
    let server = ServerOptions::with(engine).start();
    let job = start(&server, engine, &container, &json!({"command": ["sh", "-c", "echo kept; exit 7"]})).await;
    let status = wait(&server, &job).await;
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(server.get(&job).await.expect(200).json(), status);
    let all = output(&server, &job, None).await.rest(SOON).await;
    assert_eq!(text(&all[0]), "kept\n");
}

crate::on_both_engines! { streams_resumes_and_keeps ends_of_every_kind input_and_terminals }

#[tokio::test(flavor = "multi_thread")]
async fn results_stay_ten_minutes() {
    if left_out::soak()
        && let Some(engine) = engines::docker()
    {
        stays_ten_minutes(&engine).await;
    }
}
