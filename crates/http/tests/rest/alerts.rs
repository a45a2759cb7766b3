//! Rules of alerts become events.

use std::time::Duration;

use crate::rig::{Events, Rig, SentEvent};
use roadstead_http::Layer;
use serde_json::json;

async fn rig(rules: &str) -> Rig {
    let layer = Layer::parse(rules).unwrap();
    Rig::with(|config| config.alerts = layer.alerts.unwrap()).await
}

/// The next event that is an alert.
async fn alert(events: &mut Events) -> SentEvent {
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.data["action"].as_str().is_some_and(|action| action.starts_with("alert_")) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_container_is_told_until_it_stops() {
    let rig =
        rig("[[alerts]]\nname = \"busy\"\nwhen = \"cpu > 0% for 1s\"\nnodes = [\"sea\"]\nlabel = \"watched\"\n").await;
    let spec = |label: &str| json!({"command": ["sh", "-c", "while true; do true; done"], "labels": {label: ""}});
    let mut all = rig.events("/v1/events", None).await;
    let mut of_node = rig.events("/v1/nodes/sea/events", None).await;
    let other = rig.container_with("other", spec("unwatched")).await;
    let web = rig.container_with("web", spec("watched")).await;
    let firsts = [alert(&mut all).await, alert(&mut of_node).await];
    for event in &firsts {
        assert_eq!((&event.data["action"], &event.data["id"]), (&json!("alert_raised"), &json!(web)), "not {other}");
        assert_eq!((&event.data["node"], &event.data["name"]), (&json!("sea"), &json!("web")));
        assert_eq!(event.data["attributes"]["rule"], "busy");
        assert!(event.data["attributes"]["value"].as_str().unwrap().ends_with('%'));
    }
    rig.delete(&format!("/v1/nodes/sea/containers/{web}?force=true")).await.is(204);
    for events in [&mut all, &mut of_node] {
        let cleared = alert(events).await;
        assert_eq!((&cleared.data["action"], &cleared.data["id"]), (&json!("alert_cleared"), &json!(web)));
        assert_eq!(cleared.data["attributes"], json!({"rule": "busy"}), "what is not there uses nothing");
    }
    // They are kept, and a client that comes back goes on after the one that it has.
    for (path, first) in ["/v1/events", "/v1/nodes/sea/events"].iter().zip(&firsts) {
        let mut back = rig.events(path, Some(&first.id)).await;
        assert_eq!(alert(&mut back).await.data["action"], "alert_cleared", "{path}");
        let mut since = rig.events(&format!("{path}?since=2020-01-01T00:00:00Z"), None).await;
        assert_eq!(alert(&mut since).await.data["action"], "alert_raised", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_a_node_that_is_gone_are_told() {
    let rules = "[[alerts]]\nname = \"loop\"\nwhen = \"restarts > 1 in 60s\"\n[[alerts]]\nname = \"gone\"\nwhen = \"node gone for 1s\"\n";
    let rig = rig(rules).await;
    let mut all = rig.events("/v1/events", None).await;
    let web = rig.container("web").await;
    // The rules may not be watched yet when the first restarts are over.
    let told = loop {
        let restart = format!("/v1/nodes/sea/containers/{web}/restart");
        rig.post(&restart, json!({"timeout_seconds": 0})).await.is(204);
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(300), alert(&mut all)).await {
            break event.data;
        }
    };
    assert_eq!((&told["id"], &told["attributes"]), (&json!(web), &json!({"rule": "loop", "value": "2"})));
    rig.leave();
    let told = alert(&mut all).await.data;
    assert_eq!((&told["resource"], &told["id"]), (&json!("node"), &json!("sea")));
    assert_eq!((&told["action"], &told["attributes"]["rule"]), (&json!("alert_raised"), &json!("gone")));
    rig.come_back();
    // The restarts may be old by now, and the node that is here again has no value.
    let told = loop {
        let told = alert(&mut all).await.data;
        if told["attributes"]["rule"] == "gone" {
            break told;
        }
    };
    assert_eq!((&told["action"], &told["attributes"]), (&json!("alert_cleared"), &json!({"rule": "gone"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_raised_on_a_node_is_cleared_when_it_is_removed() {
    // The node is added later.
    let rules = "[[alerts]]\nname = \"busy\"\nwhen = \"cpu > 0% for 1s\"\nnodes = [\"bay\"]\n";
    let rig = rig(rules).await;
    rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await.is(201);
    let mut all = rig.events("/v1/events", None).await;
    let spec = json!({"image": "roadstead/busybox:latest", "command": ["sh", "-c", "while true; do true; done"]});
    let made = rig.post("/v1/nodes/bay/containers?start=true", spec).await.is(201).json();
    let raised = alert(&mut all).await.data;
    assert_eq!(
        (&raised["action"], &raised["node"], &raised["id"]),
        (&json!("alert_raised"), &json!("bay"), &made["id"])
    );
    rig.delete("/v1/nodes/bay").await.is(204);
    let cleared = alert(&mut all).await.data;
    assert_eq!((&cleared["action"], &cleared["id"]), (&json!("alert_cleared"), &made["id"]));
    assert_eq!((&cleared["node"], &cleared["attributes"]), (&json!("bay"), &json!({"rule": "busy"})));
}
