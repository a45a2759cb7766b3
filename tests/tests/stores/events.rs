//! Events of a node that servers with one store watch in turn.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_tests::etcd::shared;
use roadstead_tests::sse::SseEvent;
use roadstead_tests::{Server, ServerOptions};
use serde_json::json;

use crate::servers::{member, watched};
use crate::{SOON, until};

const ROUNDS: usize = 2;

/// Makes a container on the machine that is watched; gives its id.
async fn made(quay: &Server, name: &str) -> String {
    let spec = json!({"image": "roadstead/busybox:latest", "name": name});
    let made = quay.post_json("/v1/nodes/berth/containers", &spec).await.expect(201).json();
    made["id"].as_str().expect("an id").to_owned()
}

fn is_created(event: &SseEvent, id: &str) -> bool {
    event.event == "event" && event.json()["action"] == "created" && event.json()["id"] == id
}

fn is_marked(event: &SseEvent) -> bool {
    let event = event.json();
    event["node"] == "far" && event["attributes"]["reason"] == "watch_began"
}

/// Which of two watches the node, once one does.
async fn watcher(pair: &[Server]) -> usize {
    let mut found = None;
    until("one of both watches", async || {
        let servers = pair[0].get("/v1/servers").await.expect(200).json();
        let this = servers["items"].as_array().expect("items").iter().find(|server| server["this"] == true).cloned();
        let first = this.expect("itself")["id"].as_str().expect("an id").to_owned();
        let watched = watched(&pair[0]).await;
        if watched.len() == 2 {
            let by = watched.iter().find(|(_, nodes)| nodes.iter().any(|node| node == "far"));
            found = by.map(|(id, _)| usize::from(*id != first));
        }
        found.is_some()
    })
    .await;
    found.expect("it was found")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_whoever_watches_and_dies() {
    let Some(uri) = shared("events-once") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let quay = directory.path().join("quay");
    std::fs::create_dir(&quay).expect("a directory");
    // The engine that both watch.
    let quay = ServerOptions::default().node("berth", "memory:").start_in(&quay);
    let engine = format!("roadstead+http://:{}@{}/berth", quay.token(), quay.address());
    let names = ["here", "there"];
    let mut pair = names.map(|name| member(&uri, directory.path(), name));
    let _ = pair[0].post_json("/v1/nodes", &json!({"name": "far", "uri": engine})).await.expect(201);
    let (mut sure, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    let mut begin: Option<String> = None;
    let mut last: Option<String> = None;
    for round in 0..ROUNDS {
        let at = watcher(&pair).await;
        let mut told = pair[1 - at].events("/v1/events", last.as_deref()).await;
        // Its stream may not stand yet: whoever is too early is not told, and tries again.
        for attempt in 0.. {
            let id = made(&quay, &format!("before-{round}-{attempt}")).await;
            let wait = std::time::Duration::from_secs(2);
            let found = tokio::time::timeout(wait, told.find(SOON, |event| is_created(event, &id))).await;
            if let Ok(event) = found {
                begin = begin.or(event.id);
                sure.insert(id);
                break;
            }
            assert!(attempt < 10, "it is not told");
        }
        pair[at].kill();
        doubtful.insert(made(&quay, &format!("between-{round}")).await);
        told.find(SOON, is_marked).await;
        let id = made(&quay, &format!("after-{round}")).await;
        last = told.find(SOON, |event| is_created(event, &id)).await.id;
        sure.insert(id);
        pair[at] = member(&uri, directory.path(), names[at]);
    }
    let end = last.expect("an id");
    let mut all = Vec::new();
    for server in &pair {
        let mut told = server.events("/v1/events", begin.as_deref()).await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &SseEvent| event.id.as_deref() != Some(&end)) {
            // What cannot be followed now is told at the beginning, without an id.
            seen.extend(told.next(SOON).await.filter(|event| event.id.is_some()));
        }
        all.push(seen);
    }
    assert_eq!(all[0], all[1], "both tell the same");
    let seq = |id: &str| id.rsplit_once('.').expect("a cursor").1.parse::<usize>().expect("a number");
    let first = seq(&begin.expect("an id"));
    for (number, event) in all[0].iter().enumerate() {
        assert_eq!(seq(event.id.as_deref().unwrap_or_default()), first + 1 + number, "without a hole");
    }
    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    for event in all[0].iter().filter(|event| event.event == "event").map(SseEvent::json) {
        if event["action"] == "created" && event["node"] == "far" {
            *created.entry(event["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
    }
    // The first one is where this begins.
    let missing: Vec<_> = sure.iter().filter(|id| !created.contains_key(*id)).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(created.values().all(|count| *count == 1), "{created:?}");
    let told = doubtful.iter().filter(|id| created.contains_key(*id)).count();
    eprintln!(
        "of {} that were made while nobody watched {told} were told, and each time that some may be missing",
        doubtful.len()
    );
}
