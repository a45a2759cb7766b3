//! A server of a newer version: members and words that are not known cost nothing but themselves.

use futures_util::StreamExt;
use roadstead_core::{
    ContainerFilter, ContainerState, ContainerUpdate, ErrorKind, EventAction, EventOptions, JobState, LogOptions,
    OutputKind, Retry,
};
use serde_json::json;

use crate::fake::{Fake, Say};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_passed_over() {
    let fake = Fake::start(|first| {
        let path = first.split(' ').nth(1).unwrap();
        let summary = json!({
            "node": "far", "id": "1", "name": "web", "image": "i", "state": "ascending", "labels": {}, "created_at": null,
            "aura": "blue", "ports": [{"container_port": 80, "protocol": "quic"}]
        });
        let time = "2026-11-21T06:50:42Z";
        if path.contains("/events") {
            let event = json!({"time": time, "node": "far", "resource": "aura", "action": "shone", "id": "1", "engine_action": "x", "hue": 1});
            let text = format!("event: event\ndata: {event}\n\nevent: novelty\ndata: {{}}\n\nevent: end\ndata: {{}}\n\n");
            return Say::body("text/event-stream", text.as_bytes());
        }
        if path.contains("/logs") {
            let record = json!({"sequence": 1, "stream": "hologram", "text": "x", "time": time, "hue": 1});
            return Say::body("text/event-stream", format!("data: {record}\n\nevent: end\ndata: {{}}\n\n").as_bytes());
        }
        match path.trim_start_matches("/v1/nodes/far") {
            "" => Say::Json(200, json!({
                "name": "far", "state": "radiant", "uri": "x", "aura": 1,
                "info": {"name": "far", "engine": "novel", "engine_version": "9", "local": true, "simulated": false, "aura": {}}
            })),
            "/containers" => {
                Say::Json(200, json!({"items": [summary], "errors": [], "nodes": [], "aura": 1, "next": "more"}))
            }
            "/containers?cursor=more" => Say::Json(200, json!({"items": []})),
            "/containers/web" => {
                let mut full = summary;
                full["spec"] = json!({"image": "i", "aura": 1, "limits": {"pids": 4}});
                Say::Json(200, full)
            }
            "/jobs" => Say::Json(200, json!({"items": [{
                "id": "j", "node": "far", "command": ["x"], "state": "dreaming", "started_at": time, "tty": false,
                "output_bytes": 0, "output_dropped_bytes": 0, "aura": []
            }]})),
            "/containers/web/start" => Say::Json(
                418,
                json!({"code": "teapot", "detail": "short and stout", "retry": "whenever", "context": {"spout": 1}}),
            ),
            _ => Say::Json(204, json!(null)),
        }
    })
    .await;
    let node = fake.node().await;
    let info = node.info().await.unwrap();
    assert_eq!((info.name.as_str(), info.engine.as_str(), info.local), ("near", "novel", false));
    let found = node.list_containers(&ContainerFilter::all()).await.unwrap();
    assert_eq!((found.len(), found[0].node.as_str(), found[0].state), (1, "near", ContainerState::Unknown));
    let web = node.container("web");
    let details = web.inspect().await.unwrap();
    assert_eq!(details.spec.limits.pids, Some(4));
    assert_eq!(details.beyond_spec[0].name, "spec.aura");
    assert_eq!(node.jobs().await.unwrap()[0].state, JobState::Running);
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((event.action, event.node.as_str()), (EventAction::Other, "near"));
    let record = web.logs(&LogOptions::default()).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!((record.kind, &record.data[..]), (OutputKind::Console, &b"x"[..]));
    let error = web.start().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unexpected, Retry::Unknown));
    assert_eq!(error.message(), "short and stout");
    web.update(&ContainerUpdate::hold(true)).await.unwrap();
    assert_eq!(fake.seen().last().unwrap(), "POST /v1/nodes/far/containers/web/update?hold=true HTTP/1.1");
}
