//! Results and flags that are not as they should be, and connections that break before the flag is seen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, Retry};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::super::client::Client;
use super::super::super::progress::{Progress, Step};
use super::super::super::{Command, Scope};
use super::node::{Node, PATIENCE};

fn result(id: &str, data: &str) -> String {
    json!({"id": id, "command": "bash", "state": "SUCCESS", "code": 0, "data": data, "streams": ["", ""]}).to_string()
}

async fn ended(node: &Node, id: &str) {
    let flag = format!("result:{id}:flag");
    node.put(&flag, &[String::new()]).await;
    let _: i64 = node.ask(&["EXPIRE", &flag, "300"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_another_command_is_not_believed() {
    let node = Node::start().await;
    let client = node.client();
    node.put("result:a:flag", &[String::new()]).await;
    for foreign in [result("b", "foreign"), result("", "foreign"), result("A", "foreign"), "{}".to_owned()] {
        node.put("result:a", &[foreign]).await;
        assert_eq!(client.peek("a").await.unwrap(), None);
        let error = client.result("a", Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error:?}");
    }
    // It hides nothing, on whichever side of the list it stands.
    for both in [[result("b", "foreign"), result("a", "own")], [result("a", "own"), result("b", "foreign")]] {
        node.put("result:a", &both).await;
        assert_eq!(client.result("a", PATIENCE).await.unwrap().data, "own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_taken_away_is_said_to_be() {
    let node = Node::start().await;
    let client = node.client();
    ended(&node, "a").await;
    let error = client.result("a", PATIENCE).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Unknown));
    assert!(error.message().contains("another client has taken it"), "{error}");

    let last = json!({"core": 0, "command": "b", "message": {"message": "", "epoch": 1, "meta": 65_539}});
    ended(&node, "b").await;
    node.put("stream:b", &[last.to_string()]).await;
    let mut progress = Progress::begin(&client, Scope::Host, "b", false);
    let error = timeout(PATIENCE, progress.next()).await.unwrap().unwrap_err();
    assert!(error.message().contains("another client has taken it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_follows_late_is_a_result() {
    let node = Node::start().await;
    let others = numbers(&node).await;
    let client = node.client();
    ended(&node, "a").await;
    let mut progress = Progress::begin(&client, Scope::Host, "a", false);
    let reader = tokio::spawn(async move { progress.next().await });
    until_one(&node, &others, "lrange", |_| true).await;
    let _: i64 = node.ask(&["RPUSH", "result:a", &result("a", "own")]).await;
    match timeout(PATIENCE, reader).await.unwrap().unwrap().unwrap() {
        Some(Step::Ended(outcome)) => assert_eq!(outcome.data, "own"),
        other => panic!("{other:?}"),
    }
}

/// A push by a client of its own.
fn push(client: &Arc<Client>, id: &str) -> JoinHandle<Result<String>> {
    let mut command = Command::script("true").unwrap();
    command.id = id.to_owned();
    let client = Arc::clone(client);
    tokio::spawn(async move { client.push(Scope::Host, &command).await })
}

/// The connections, each a line.
async fn connections(node: &Node) -> Vec<String> {
    let list: String = node.ask(&["CLIENT", "LIST"]).await;
    list.lines().map(str::to_owned).collect()
}

fn number(connection: &str) -> String {
    connection.split([' ', '=']).nth(1).unwrap().to_owned()
}

/// Whether its command waits for something: one of the letters, of which others say what kind of connection it is.
fn blocked(connection: &str) -> bool {
    connection.split(' ').any(|field| field.strip_prefix("flags=").is_some_and(|flags| flags.contains('b')))
}

/// Waits until a connection that is none of `others` is blocked in a command; gives its number.
async fn until_one_waits(node: &Node, others: &BTreeSet<String>, command: &str) -> String {
    until_one(node, others, command, blocked).await
}

/// Waits until the last command of a connection that is none of `others` is this one, and `is` so.
async fn until_one(node: &Node, others: &BTreeSet<String>, command: &str, is: impl Fn(&str) -> bool) -> String {
    let waits = async {
        loop {
            for connection in connections(node).await {
                if is(&connection)
                    && connection.contains(&format!(" cmd={command} "))
                    && !others.contains(&number(&connection))
                {
                    return number(&connection);
                }
            }
        }
    };
    timeout(PATIENCE, waits).await.expect("there is none")
}

async fn numbers(node: &Node) -> BTreeSet<String> {
    connections(node).await.iter().map(|connection| number(connection)).collect()
}

async fn cut(node: &Node, connection: &str) {
    let _: i64 = node.ask(&["CLIENT", "KILL", "ID", connection]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_before_the_flag_loses_no_job() {
    let node = Node::start().await;
    let mut others = numbers(&node).await;
    let client = node.client();
    let pushed = push(&client, "a");
    for _ in 0..3 {
        let waiting = until_one_waits(&node, &others, "brpoplpush").await;
        cut(&node, &waiting).await;
        others.insert(waiting);
    }
    until_one_waits(&node, &others, "brpoplpush").await;
    node.put("result:a:flag", &[String::new()]).await;
    assert_eq!(timeout(PATIENCE, pushed).await.unwrap().unwrap().unwrap(), "a");
    assert_eq!(node.pushed().len(), 1, "nothing is pushed twice");
}

/// Breaks the connection while a command is pushed on it, before the Redis has carried it out.
async fn push_and_break(node: &Node, id: &str) -> JoinHandle<Result<String>> {
    let others = numbers(node).await;
    let client = node.client();
    let _: String = node.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let pushed = push(&client, id);
    let waiting = timeout(PATIENCE, async {
        loop {
            let all = connections(node).await;
            if let Some(found) = all.iter().find(|line| blocked(line) && !others.contains(&number(line))) {
                return number(found);
            }
        }
    });
    let waiting = waiting.await.expect("nothing is pushed");
    cut(node, &waiting).await;
    let _: String = node.ask(&["CLIENT", "UNPAUSE"]).await;
    pushed
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_push_on_a_broken_connection_came_through_is_found_out() {
    let node = Node::start().await;
    let pushed = push_and_break(&node, "a").await;
    node.put("result:a:flag", &[String::new()]).await;
    assert_eq!(timeout(PATIENCE, pushed).await.unwrap().unwrap().unwrap(), "a");

    let pushed = push_and_break(&node, "b").await;
    let error: Error = timeout(PATIENCE * 2, pushed).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown));
    assert!(error.message().contains("core:default"), "what is in the queue may run later: {error}");
    assert!(node.pushed().iter().all(|document| document["command"] == "job.list"), "nothing is pushed twice");
}
