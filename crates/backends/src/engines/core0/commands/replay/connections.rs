//! Connections that die while nobody looks.

use std::collections::BTreeSet;
use std::time::Duration;

use roadstead_core::{ErrorKind, Retry};
use serde_json::{Value, json};

use super::super::super::client::Client;
use super::super::super::{Command, Scope};
use super::files::success;
use super::node::Node;
use super::transcripts::Exchange;

async fn connections(node: &Node) -> BTreeSet<String> {
    let list: String = node.ask(&["CLIENT", "LIST"]).await;
    let id = |line: &str| Some(line.strip_prefix("id=")?.split_whitespace().next()?.to_owned());
    list.lines().filter_map(id).collect()
}

/// The client's connections are closed.
async fn close(node: &Node, before: &BTreeSet<String>) {
    let ours: Vec<String> = connections(node).await.difference(before).cloned().collect();
    assert!(!ours.is_empty());
    for id in ours {
        let _: i64 = node.ask(&["CLIENT", "KILL", "ID", &id]).await;
    }
    // What is read next from any connection comes after these ends.
    assert!(connections(node).await.is_subset(before));
    tokio::task::yield_now().await;
}

/// The client's connections are closed, and after that nothing is done for a while.
async fn idle(node: &Node, before: &BTreeSet<String>) {
    close(node, before).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
}

async fn run(client: &Client) -> roadstead_core::Result<()> {
    client.run(Scope::Host, &Command::new("core.ping", ())?, Duration::from_secs(60)).await?.check()
}

#[tokio::test]
async fn a_command_is_not_sent_on_a_connection_that_died_unnoticed() {
    let node = Node::start().await;
    let before = connections(&node).await;
    let client = node.client();
    let pong = ("core.ping", success(&json!("PONG")));
    node.script(&vec![pong; 8]);
    client.greet(Duration::from_secs(60)).await.unwrap();
    client.reach().await.unwrap();

    // By a connection of its own.
    idle(&node, &before).await;
    run(&client).await.expect("it is sent on another one");
    // By the one that is shared.
    client.reach().await.unwrap();
    idle(&node, &before).await;
    client.push(Scope::Host, &Command::new("core.ping", ()).unwrap()).await.expect("it is sent on another one");
    let pushed: Vec<Value> = node.pushed();
    let ids: BTreeSet<String> = pushed.iter().map(|document| document["id"].to_string()).collect();
    assert_eq!((pushed.len(), ids.len()), (3, 3), "each was sent once");
}

#[tokio::test]
async fn a_command_is_not_sent_on_a_connection_that_was_just_closed() {
    let node = Node::start().await;
    let before = connections(&node).await;
    let client = node.client();
    let pong = ("core.ping", success(&json!("PONG")));
    node.script(&vec![pong; 8]);
    client.greet(Duration::from_secs(60)).await.unwrap();
    close(&node, &before).await;
    run(&client).await.expect("it is sent on another one");
    client.reach().await.unwrap();
    close(&node, &before).await;
    client.push(Scope::Host, &Command::new("core.ping", ()).unwrap()).await.expect("it is sent on another one");
    assert_eq!(node.pushed().len(), 3, "each was sent once, and nothing was in doubt");
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_say_that_there_is_no_container() {
    let node = Node::start().await;
    let client = node.client();
    let dispatched = success(&json!("job")).to_string();
    // The container takes the question, and its Redis has forgotten that.
    node.expect(&Exchange { text: String::new(), dispatched: Some(dispatched), accepted: false, result: None });
    let command = Command::new("job.list", ()).unwrap();
    let error = client.run(Scope::Container(1), &command, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown), "{error:?}");
    // Of what was asked for itself it is said that it is not known.
    let error = client.result(&command.id, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test]
async fn a_container_that_does_not_list_its_jobs_holds_up_no_other() {
    let node = Node::start().await;
    let client = node.client();
    node.script(&[("job.list", success(&json!([{"cmd": {"id": "one"}}])))]);
    let silent = tokio::spawn({
        let client = std::sync::Arc::clone(&client);
        async move { client.listed(Scope::Container(1)).await }
    });
    while node.pushed().is_empty() {
        tokio::task::yield_now().await;
    }
    let listed = client.listed(Scope::Host).await.unwrap();
    assert!(listed.contains("one") && !silent.is_finished(), "nobody waited for the container");
    silent.abort();
}
