//! Event streams over one node and over all: what happens after the answer has begun is in it, and a reader that comes
//! back misses nothing.

use roadstead_tests::{ServerOptions, TestEngine, engines};

use crate::SOON;

async fn a_stream_begins_with_its_answer(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    for path in [format!("/v1/nodes/{}/events", engine.kind()), "/v1/events".to_owned()] {
        for round in 0..5 {
            let mut events = server.events(&path, None).await;
            let id = engine.create(&engine.name(&format!("at-once-{}-{round}", path.len())), &["true"]);
            let event = events.find(SOON, |event| event.data.contains(&id)).await.json();
            assert_eq!((&event["action"], &event["resource"]), (&"created".into(), &"container".into()), "{event}");
            assert_eq!((event["node"].as_str(), event["id"].as_str()), (Some(engine.kind()), Some(id.as_str())));
        }
    }
}

async fn a_reader_comes_back(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    for path in [format!("/v1/nodes/{}/events", engine.kind()), "/v1/events".to_owned()] {
        let name = |rest: &str| engine.name(&format!("{rest}{}", path.len()));
        let mut first = server.events(&path, None).await;
        let before = engine.create(&name("before"), &["true"]);
        let last = first.find(SOON, |event| event.data.contains(&before)).await;
        drop(first);
        let meanwhile = engine.create(&name("meanwhile"), &["true"]);
        let mut second = server.events(&path, last.id.as_deref()).await;
        let after = engine.create(&name("after"), &["true"]);
        let mut seen = Vec::new();
        loop {
            let event = second.next(SOON).await.expect("the stream goes on").json();
            // Other tests have their containers on the same engine.
            let id = event["id"].as_str().expect("an id").to_owned();
            if event["action"] == "created" && [&before, &meanwhile, &after].contains(&&id) {
                seen.push(id);
            }
            if seen.last() == Some(&after) {
                break;
            }
        }
        // What was given may come again, when much happened within its two seconds; nothing may be missing.
        seen.retain(|id| *id != before);
        assert_eq!(seen, [meanwhile, after], "{path}");
    }
}

/// Events of two engines come in one stream, each with its node.
#[tokio::test(flavor = "multi_thread")]
async fn one_stream_over_two_engines() {
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let _cleaners = (docker.cleaner(), podman.cleaner());
    let server = ServerOptions::with(&docker).node("podman", podman.uri()).start();
    let mut events = server.events("/v1/events", None).await;
    for engine in [&docker, &podman] {
        let id = engine.create(&engine.name("two"), &["true"]);
        let event = events.find(SOON, |event| event.data.contains(&id)).await;
        assert_eq!(event.json()["node"], engine.kind());
    }
}

crate::on_both_engines! { a_stream_begins_with_its_answer a_reader_comes_back }
