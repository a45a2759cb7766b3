//! Connections that die while nobody looks.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::client::Client;
use super::super::super::{Command, Scope};
use super::files::success;
use super::node::Node;

async fn connections(node: &Node) -> BTreeSet<String> {
    let list: String = node.ask(&["CLIENT", "LIST"]).await;
    let id = |line: &str| Some(line.strip_prefix("id=")?.split_whitespace().next()?.to_owned());
    list.lines().filter_map(id).collect()
}

/// The client's connections are closed, and after that nothing is done for a while.
async fn idle(node: &Node, before: &BTreeSet<String>) {
    let ours: Vec<String> = connections(node).await.difference(before).cloned().collect();
    assert!(!ours.is_empty());
    for id in ours {
        let _: i64 = node.ask(&["CLIENT", "KILL", "ID", &id]).await;
    }
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
