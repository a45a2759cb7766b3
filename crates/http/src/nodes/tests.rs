//! Servers that share a store serve the same nodes.

use roadstead_core::memory::MemoryEngine;
use roadstead_core::store::MemoryStore;

use super::*;
use crate::precondition::IfMatch;

async fn nodes(records: &Records) -> Arc<Nodes> {
    let registry = Registry::new().with(MemoryEngine);
    let bounds = Bounds { quick: Duration::from_secs(1), slow: Duration::from_secs(1) };
    Arc::new(Nodes::load(registry, ConnectOptions::default(), bounds, records, Place::default()).await.unwrap())
}

fn new(name: &str, uri: &str) -> NewNode {
    NewNode { name: name.to_owned(), uri: uri.to_owned(), ..NewNode::default() }
}

/// Waits until it serves these, with their URIs.
async fn serves(nodes: &Nodes, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(name, uri)| ((*name).to_owned(), (*uri).to_owned())).collect();
    let mut changes = nodes.changes();
    let served = async {
        loop {
            let all: Vec<_> = nodes.all().iter().map(|slot| (slot.name().to_owned(), slot.uri())).collect();
            if all == wanted {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_one_server_adds_and_removes_the_other_serves_and_forgets() {
    // Few transactions are remembered, so that changes are missed on the way.
    let records = Records::of(Arc::new(MemoryStore::remembering(2)));
    let (here, there) = (nodes(&records).await, nodes(&records).await);
    there.serve(&new("own", "memory:?seed=9"), NodeSource::Configured);
    let own = ("own", "memory:?seed=9");
    let following = tokio::spawn({
        let there = Arc::clone(&there);
        async move { there.follow().await }
    });
    let first = here.add(new("a", "memory:?seed=1")).await.unwrap();
    serves(&there, &[("a", "memory:?seed=1"), own]).await;
    let taken = there.add(new("a", "memory:?seed=2")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    // The name of what the other one has configured is free here, and is left alone there.
    here.add(new("own", "memory:?seed=3")).await.unwrap();
    for number in 0..20 {
        here.add(new(&format!("b{number:02}"), "memory:")).await.unwrap();
        if number % 2 == 0 {
            here.remove(&format!("b{number:02}"), &IfMatch::Anyhow).await.unwrap();
        }
    }
    here.remove("a", &IfMatch::Anyhow).await.unwrap();
    here.add(new("a", "memory:?seed=4")).await.unwrap();
    let odd: Vec<_> = (0..20).filter(|number| number % 2 == 1).map(|number| format!("b{number:02}")).collect();
    let mut wanted = vec![("a", "memory:?seed=4")];
    wanted.extend(odd.iter().map(|name| (name.as_str(), "memory:")));
    wanted.push(own);
    serves(&there, &wanted).await;
    assert!(!Arc::ptr_eq(&first, &here.get("a").unwrap()));
    following.abort();
    // What is served is what is kept, and so is what the next one begins with.
    let next = nodes(&records).await;
    assert_eq!(next.all().len(), 12);
}
