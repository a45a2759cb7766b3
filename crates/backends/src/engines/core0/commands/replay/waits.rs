//! What else a client does in the captures: it waits for results that others asked for, and reads output.

use std::time::Duration;

use serde_json::Value;

use super::super::super::{Entry, Outcome};
use super::Replay;

/// Replays what a capture has of it, and tells in words what that was.
pub(super) async fn waits(replay: &Replay, whole: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for list in ["messages", "lrange"] {
        if let Some(entries) = texts(&whole[list]) {
            told.push(stream(replay, &entries).await);
        }
    }
    if let Some(entries) = texts(&whole["tail"]) {
        // The list of a subscription has entries of many jobs, the last of each marked as such.
        let read: Vec<Entry> = entries.iter().map(|text| Entry::parse(text.as_bytes()).unwrap()).collect();
        assert!(read.iter().any(|entry| entry.end == Some(true)));
        told.push(format!("{} log records are read", read.len()));
    }
    // A result whose command is not part of the capture.
    let consumed = &whole["blpop"][1];
    let lone = [&whole["result"], consumed].into_iter().filter_map(Value::as_str);
    let shared = texts(&whole["replies"]).unwrap_or_default();
    if whole["start"].is_null() && whole["push"].is_null() && whole["first"].is_null() {
        for text in lone {
            told.push(result(replay, text, 1).await);
        }
    }
    if let Some(text) = shared.first() {
        told.push(result(replay, text, shared.len()).await);
    }
    if let Some(received) = whole["received"].as_str().filter(|text| text.starts_with('{')) {
        let outcome = Outcome::parse(received.as_bytes()).unwrap();
        assert!(!outcome.error().message().is_empty());
        told.push(format!(
            "not sent: the node's own socket is not used; its answer is understood: {}",
            outcome.error()
        ));
    }
    if let Some(words) = super::proxy::without_a_token(whole).await {
        told.push(words);
    }
    told
}

fn texts(list: &Value) -> Option<Vec<String>> {
    Some(list.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// So many wait for one result, all get it, and it is still there afterwards.
async fn result(replay: &Replay, text: &str, waiting: usize) -> String {
    let told: Value = serde_json::from_str(text).unwrap();
    let id = told["id"].as_str().unwrap();
    let key = format!("result:{id}");
    replay.node.put(&format!("{key}:flag"), &[String::new()]).await;
    replay.node.put(&key, &[text.to_owned()]).await;
    let all = (0..waiting).map(|_| replay.client.result(id, Duration::from_secs(10)));
    for outcome in futures_util::future::join_all(all).await {
        super::same_outcome(&outcome.unwrap(), &told);
    }
    let left: i64 = replay.node.ask(&["LLEN", &key]).await;
    assert_eq!(left, 1, "a result was taken away");
    format!("{waiting} waited for a result, and it is still there")
}

/// The output of a job, to its last entry.
async fn stream(replay: &Replay, entries: &[String]) -> String {
    let told: Vec<Value> = entries.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let id = told[0]["command"].as_str().unwrap();
    replay.node.put(&format!("stream:{id}"), entries).await;
    let mut receiver = replay.client.streams().read(id, false);
    let mut read = Vec::new();
    while let Some(entry) = receiver.recv().await {
        read.push(entry);
    }
    assert_eq!(read.len(), told.len());
    for (entry, told) in read.iter().zip(&told) {
        let meta = told["message"]["meta"].as_u64().unwrap();
        assert_eq!((u64::from(entry.level), entry.job.as_str()), (meta >> 16, id));
        assert_eq!(entry.text, told["message"]["message"].as_str().unwrap());
        assert_eq!(entry.time.unwrap().unix_nanos(), i128::from(told["message"]["epoch"].as_i64().unwrap()));
        assert_eq!(entry.end, (meta & 6 != 0).then_some(meta & 2 != 0));
        assert_eq!(entry.container, told["core"].as_u64().unwrap());
    }
    format!("{} entries of output, to the end", read.len())
}
