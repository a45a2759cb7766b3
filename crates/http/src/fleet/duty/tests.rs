//! Every node is watched by one server, whoever comes and goes.

use std::sync::Arc;

use roadstead_core::memory::MemoryEngine;
use roadstead_core::store::{ListEntries, MemoryStore, Prefix, Session, Store};
use roadstead_core::{ConnectOptions, Registry};

use super::*;
use crate::nodes::{Bounds, NewNode, Place};
use crate::records::Records;

struct Server {
    fleet: Arc<Fleet>,
    duty: Arc<Duty>,
    nodes: Arc<Nodes>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    async fn start(store: &MemoryStore) -> Server {
        let records = Records::of(Arc::new(store.clone()));
        let fleet = Arc::new(records.join("", vec!["http://here".to_owned()]).await.unwrap());
        let bounds = Bounds { quick: Duration::from_secs(1), slow: Duration::from_secs(1) };
        let registry = Registry::new().with(MemoryEngine);
        let nodes = Arc::new(
            Nodes::load(registry, ConnectOptions::default(), bounds, &records, Place::default()).await.unwrap(),
        );
        let duty = Arc::new(Duty::default());
        let (f, d, n) = (Arc::clone(&fleet), Arc::clone(&duty), Arc::clone(&nodes));
        let following = tokio::spawn(async move { d.follow(&f, &n).await });
        let n = Arc::clone(&nodes);
        let served = tokio::spawn(async move { n.follow().await });
        let f = Arc::clone(&fleet);
        let staying = tokio::spawn(async move { f.stay().await });
        Server { fleet, duty, nodes, tasks: vec![following, served, staying] }
    }

    /// As a process that is killed: its lease is not renewed any more.
    fn die(self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    fn watches(&self, count: usize) -> Vec<String> {
        let watched = |name: &String| self.nodes.get(name).is_ok_and(|slot| self.duty.hold(&slot).is_some());
        (0..count).map(node).filter(watched).collect()
    }
}

fn node(number: usize) -> String {
    format!("n{number}")
}

/// Waits until each is watched by exactly one of them; at no moment is one watched by two.
async fn covered(servers: &[&Server], count: usize) -> Vec<usize> {
    let begun = tokio::time::Instant::now();
    loop {
        let watched: Vec<_> = servers.iter().flat_map(|server| server.watches(count)).collect();
        let mut once = watched.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), watched.len(), "one is watched by two: {watched:?}");
        if once.len() == count {
            return servers.iter().map(|server| server.watches(count).len()).collect();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "unwatched after a long time: {once:?} of {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_node_is_watched_by_one_of_those_who_are_alive() {
    const COUNT: usize = 40;
    let store = MemoryStore::new();
    let first = Server::start(&store).await;
    for number in 0..COUNT {
        let new = NewNode { name: node(number), uri: "memory:".to_owned(), ..NewNode::default() };
        first.nodes.add(new).await.unwrap();
    }
    assert_eq!(covered(&[&first], COUNT).await, [COUNT]);
    let second = Server::start(&store).await;
    // Until the second one has what is its own, the first has all.
    loop {
        let shares = covered(&[&first, &second], COUNT).await;
        if shares[1] > 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let shares = covered(&[&first, &second], COUNT).await;
    assert!(shares.iter().all(|share| (COUNT / 5..=COUNT * 4 / 5).contains(share)), "{shares:?}");
    let watchers = Duty::watchers(&first.fleet).await.unwrap();
    assert_eq!(watchers.len(), COUNT);
    assert_eq!(watchers[&second.watches(COUNT)[0]], second.fleet.id());
    let third = Server::start(&store).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    covered(&[&first, &second, &third], COUNT).await;
    first.die();
    covered(&[&second, &third], COUNT).await;
    // One that leaves is not waited for.
    let theirs = third.watches(COUNT).len();
    third.fleet.leave().await;
    third.die();
    assert!(theirs > 0);
    assert_eq!(covered(&[&second], COUNT).await, [COUNT]);
    assert_eq!(second.fleet.servers().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_gives_up_and_begins_anew() {
    let store = MemoryStore::new();
    let server = Server::start(&store).await;
    server.nodes.add(NewNode { name: node(0), uri: "memory:".to_owned(), ..NewNode::default() }).await.unwrap();
    covered(&[&server], 1).await;
    let lease = server.fleet.sessions().borrow().as_ref().unwrap().lease();
    store.revoke(lease).await.unwrap();
    let mut sessions = server.fleet.sessions();
    let is_new = |session: &Option<Session>| session.as_ref().is_some_and(|session| session.lease() != lease);
    tokio::time::timeout(Duration::from_secs(60), sessions.wait_for(is_new)).await.unwrap().unwrap();
    covered(&[&server], 1).await;
    let (entry, session) =
        (store.list(&ListEntries::of(Prefix::new("claims/").unwrap())).await.unwrap(), sessions.borrow().clone());
    assert_eq!(entry.entries[0].lease, session.map(|session| session.lease()));
}
