//! The events of one node and of all.

use crate::rig::{Events, Rig, SentEvent, config};
use reqwest::Method;
use serde_json::json;

/// The next one that is not the word that something may have been missed.
async fn event(events: &mut Events) -> SentEvent {
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.data["action"] != "resync" {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_and_are_resumed_without_gap() {
    let rig = Rig::start().await;
    for path in ["/v1/nodes/sea/events", "/v1/events"] {
        let mut events = rig.events(path, None).await;
        // The stream of all nodes is opened in the background.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let id = rig.container("web").await;
        // What happened to others shortly before may come, too.
        let created = loop {
            let event = event(&mut events).await;
            if event.data["id"] == json!(id) {
                break event;
            }
        };
        assert_eq!((&created.data["action"], &created.data["id"]), (&json!("created"), &json!(id)), "{path}");
        let started = event(&mut events).await;
        assert_eq!(started.data["action"], "started");
        drop(events);
        rig.delete(&format!("/v1/nodes/sea/containers/{id}?force=true")).await.is(204);
        let mut resumed = rig.events(path, Some(&created.id)).await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|action| action != "deleted") {
            let event = resumed.next().await.unwrap();
            // What happened to others shortly before may come, too.
            if event.data["id"] == json!(id) {
                seen.push(event.data["action"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(seen[0], "started", "{path}: {seen:?}");
        assert_eq!(seen.iter().filter(|action| *action == "created").count(), 0, "{path}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sick_node_does_not_hide_the_events_of_others() {
    let rig = Rig::with(|config| {
        let uri = "memory:?fault=node.events:refuse:unavailable".to_owned();
        config.nodes.insert("pit".to_owned(), roadstead_http::NodeConfig::Uri(uri));
    })
    .await;
    let mut events = rig.events("/v1/events", None).await;
    let error = events.next().await.unwrap();
    assert_eq!((error.event.as_str(), &error.data["node"]), ("node_error", &json!("pit")));
    let web = rig.container("web").await;
    while events.next().await.unwrap().data["id"] != json!(web) {}
    // A node that is added while the stream is open is in it, too.
    rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await.is(201);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let spec = json!({"image": "roadstead/busybox:latest"});
    rig.post("/v1/nodes/bay/containers", spec).await.is(201);
    loop {
        if events.next().await.unwrap().data["node"] == "bay" {
            break;
        }
    }
}

async fn again(rig: Rig) -> Rig {
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    let config = config(&directory);
    Rig::on(directory, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_all_nodes_is_resumed_over_a_restart() {
    let rig = Rig::start().await;
    let mut events = rig.events("/v1/events", None).await;
    let web = rig.container("web").await;
    let created = event(&mut events).await;
    assert_eq!((&created.data["id"], &created.data["cursor"]), (&json!(web), &json!(created.id)));
    assert!(created.data["server"].is_string(), "a node of the configuration is the server's own: {}", created.data);
    let db = rig.container("db").await;
    while event(&mut events).await.data["id"] != json!(db) {}
    let rig = again(rig).await;
    // What was written before the restart comes, then the word that something may have been missed, then what happens.
    let mut events = rig.events("/v1/events", Some(&created.id)).await;
    rig.container("later").await;
    let (mut seen, mut seqs) = (Vec::new(), Vec::new());
    let seq = |id: &str| id.rsplit_once('.').unwrap().1.parse::<u64>().unwrap();
    // By their names: an engine in memory gives the same ids after each start.
    while seen.last().is_none_or(|last| last != "created later") {
        let event = events.next().await.unwrap();
        seqs.push(seq(&event.id));
        let word = |member: &str| event.data[member].as_str().unwrap().to_owned();
        match word("action").as_str() {
            "resync" => seen.push(event.data["attributes"]["reason"].as_str().unwrap().to_owned()),
            action => seen.push(format!("{action} {}", word("name"))),
        }
    }
    let wanted = ["started web", "created db", "watch_began", "created later"];
    let found: Vec<_> =
        wanted.iter().filter_map(|wanted| seen.iter().position(|seen| seen.as_str() == *wanted)).collect();
    assert!(found.len() == wanted.len() && found.is_sorted(), "{seen:?}");
    assert!(!seen.iter().any(|seen| seen == "created web"), "it was known already: {seen:?}");
    let first = seq(&created.id) + 1;
    assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>(), "without a hole");
    // The same by query, for lines of JSON, which have no ids.
    let lines = rig.request(Method::GET, &format!("/v1/events?cursor={}&action=created", created.id));
    let mut lines = lines.header("Accept", "application/x-ndjson").send().await.unwrap();
    let mut text = String::new();
    while !text.contains("later") || !text.ends_with('\n') {
        text.push_str(std::str::from_utf8(&lines.chunk().await.unwrap().unwrap()).unwrap());
    }
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["action"] == "created" || line["action"] == "resync"), "{text}");
    assert_eq!(lines.iter().filter(|line| line["action"] == "created").count(), 2, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_says_nothing_here_is_told() {
    let rig = Rig::start().await;
    let mut all = rig.events("/v1/events", None).await;
    let web = rig.container("web").await;
    while all.next().await.unwrap().data["id"] != json!(web) {}
    for (query, last) in [("", Some("0123456789abcdef.7")), ("?cursor=0123456789abcdef.7", None)] {
        let mut events = rig.events(&format!("/v1/events{query}"), last).await;
        let first = events.next().await.unwrap();
        assert_eq!((first.event.as_str(), &first.data["reason"]), ("resync", &json!("other_journal")), "{query}");
        assert_eq!(first.data["cursor"], json!(first.id));
        // What is kept comes after it.
        while events.next().await.unwrap().data["id"] != json!(web) {}
        // And a client that has read all anew goes on from there.
        let mut events = rig.events("/v1/events", Some(&first.id)).await;
        assert_ne!(events.next().await.unwrap().event, "resync");
    }
    for (path, last, field) in [
        ("/v1/events", "never seen", "Last-Event-ID"),
        ("/v1/events?cursor=x.1", "", "cursor"),
        ("/v1/events?node=a%20b", "", "node"),
        ("/v1/events?action=explode", "", "action"),
        ("/v1/events?resource=ship", "", "resource"),
    ] {
        let request = rig.request(Method::GET, path).header("Last-Event-ID", last);
        assert_eq!(rig.send(request).await.problem(400, "invalid_input")["field"], field, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_of_all_nodes_is_chosen() {
    let rig = Rig::with(|config| {
        config.nodes.insert("lake".to_owned(), roadstead_http::NodeConfig::Uri("memory:".to_owned()));
    })
    .await;
    let mut all = rig.events("/v1/events", None).await;
    let mut chosen =
        rig.events("/v1/events?node=sea&node=bay&action=started&action=deleted&resource=container", None).await;
    let spec = json!({"image": "roadstead/busybox:latest", "name": "other", "command": ["sleep", "600"]});
    let other = rig.post("/v1/nodes/lake/containers?start=true", spec).await.is(201).json()["id"].clone();
    let web = rig.container("web").await;
    rig.delete(&format!("/v1/nodes/sea/containers/{web}?force=true")).await.is(204);
    assert_eq!(event(&mut chosen).await.data["action"], "started");
    let deleted = event(&mut chosen).await;
    assert_eq!((&deleted.data["action"], &deleted.data["id"]), (&json!("deleted"), &json!(web)));
    while event(&mut all).await.data["id"] != other {}
    // From a time on: what was before it does not come.
    let since = event(&mut rig.events("/v1/events?since=2020-01-01T00:00:00Z&node=sea", None).await).await;
    assert_eq!((&since.data["action"], &since.data["id"]), (&json!("created"), &json!(web)));
    let time = deleted.data["time"].as_str().unwrap();
    let since = event(&mut rig.events(&format!("/v1/events?since={time}&node=sea"), None).await).await;
    assert_eq!((&since.data["action"], &since.data["id"]), (&json!("deleted"), &json!(web)));
}
