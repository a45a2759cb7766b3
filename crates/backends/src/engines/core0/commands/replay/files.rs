//! Whole files, which are several commands: what was opened is closed, whatever happens between.

use serde_json::{Value, json};

use roadstead_core::ErrorKind;

use super::super::HostCommands;
use super::node::Node;

pub(super) fn success(data: &Value) -> Value {
    json!({"id": "x", "state": "SUCCESS", "level": 20, "code": 0, "data": data.to_string(), "streams": ["", ""]})
}

fn failure(message: &str) -> Value {
    let data = Value::from(message).to_string();
    json!({"id": "x", "state": "ERROR", "level": 20, "code": 500, "data": data, "streams": ["", ""]})
}

fn commands(node: &Node) -> Vec<String> {
    node.pushed().iter().map(|document| document["command"].as_str().unwrap().replace("filesystem.", "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_files_are_closed_whatever_happens() {
    let node = Node::start().await;
    let host = HostCommands::new(node.client());
    let files = host.commands().filesystem();
    let (open, close) = (("filesystem.open", success(&json!("fd"))), ("filesystem.close", success(&Value::Null)));
    let read = |data: &str| ("filesystem.read", success(&json!(data)));

    node.script(&[open.clone(), read("YWJj"), read("AP8="), read(""), close.clone()]);
    assert_eq!(files.read_file("/x", 5).await.unwrap()[..], *b"abc\x00\xff");
    assert_eq!(commands(&node), ["open", "read", "read", "read", "close"]);

    node.script(&[open.clone(), read("YWJj"), close.clone()]);
    assert_eq!(files.read_file("/x", 2).await.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    assert_eq!(commands(&node), ["open", "read", "close"]);

    node.script(&[open.clone(), read("***"), close.clone()]);
    assert_eq!(files.read_file("/x", 2).await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(commands(&node), ["open", "read", "close"]);

    node.script(&[("filesystem.open", failure("open /x: no such file or directory"))]);
    assert_eq!(files.read_file("/x", 2).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(commands(&node), ["open"]);

    let write = ("filesystem.write", success(&Value::Null));
    node.script(&[open.clone(), write.clone(), write.clone(), close.clone()]);
    let content = vec![7; 512 * 1024 + 1];
    files.write_file("/x", &content, 0o600).await.unwrap();
    let pushed = node.pushed();
    assert_eq!((&pushed[0]["arguments"]["mode"], &pushed[0]["arguments"]["perm"]), (&json!("w"), &json!(0o600)));
    assert_eq!(pushed.len(), 4);

    node.script(&[open, ("filesystem.write", failure("write /x: no space left on device")), close]);
    assert_eq!(files.write_file("/x", b"x", 0).await.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    assert_eq!(commands(&node), ["open", "write", "close"]);
}
