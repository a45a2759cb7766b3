use crate::rig::Rig;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_in_three_forms() {
    let rig = Rig::start().await;
    let command = json!({"command": ["sh", "-c", "echo a; echo b >&2; echo c"]});
    let id = rig.container_with("log", command).await;
    let logs = format!("/v1/nodes/sea/containers/{id}/logs");
    rig.act(&format!("/v1/nodes/sea/containers/{id}/wait")).await.is(200);
    let plain = rig.get(&format!("{logs}?stderr=false")).await.is(200);
    assert_eq!(plain.body, b"a\nc\n");
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(rig.get(&format!("{logs}?tail=1")).await.body, b"c\n");
    let stamped = String::from_utf8(rig.get(&format!("{logs}?timestamps&tail=1")).await.body).unwrap();
    assert!(stamped.ends_with("Z c\n"), "{stamped:?}");
    let lines = rig.send(rig.request(Method::GET, &logs).header("Accept", "application/x-ndjson")).await.is(200);
    assert_eq!(String::from_utf8(lines.body).unwrap().lines().count(), 3);
    let events = rig.events(&format!("{logs}?follow=true"), None).await.all().await;
    let ids: Vec<_> = events.iter().map(|event| (event.id.as_str(), event.event.as_str())).collect();
    assert_eq!(ids, [("1", "log"), ("2", "log"), ("3", "log"), ("", "end")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_arrives_while_it_is_written() {
    let rig = Rig::start().await;
    let id = rig.container_with("log", json!({"command": ["sh", "-c", "echo a; sleep 600"]})).await;
    let mut events = rig.events(&format!("/v1/nodes/sea/containers/{id}/logs?follow=true"), None).await;
    assert_eq!(events.next().await.unwrap().data["text"], "a\n");
    rig.delete(&format!("/v1/nodes/sea/containers/{id}?force=true")).await.is(204);
    assert_eq!(events.next().await.unwrap().event, "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_says_so() {
    let rig = Rig::start().await;
    let id = rig.container_with("log", json!({"command": ["sh", "-c", "echo a; sleep 600"]})).await;
    let logs = format!("/v1/nodes/sea/containers/{id}/logs?follow=true");
    let mut events = rig.events(&logs, None).await;
    assert_eq!(events.next().await.unwrap().data["text"], "a\n");
    let mut plain = rig.request(Method::GET, &logs).send().await.unwrap();
    assert_eq!(plain.chunk().await.unwrap().unwrap(), "a\n");
    rig.leave();
    let last = events.next().await.unwrap();
    assert_eq!((last.event.as_str(), &last.data["code"]), ("error", &json!("unavailable")));
    assert!(plain.chunk().await.is_err(), "plain bytes have no other way to say it than to break off");
}
