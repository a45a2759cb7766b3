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

#[tokio::test]
async fn an_address_of_another_machine_is_not_taken_for_one_of_this() {
    let records = Records::of(Arc::new(MemoryStore::new()));
    let at = async |server: &str, machine: &str| {
        let registry = Registry::new().with(MemoryEngine);
        let bounds = Bounds { quick: Duration::from_secs(1), slow: Duration::from_secs(1) };
        let place =
            Place { server: server.to_owned(), machine: machine.to_owned(), host: format!("{machine}.example") };
        Nodes::load(registry, ConnectOptions::default(), bounds, &records, place).await.unwrap()
    };
    let here = at("a", "m").await;
    here.add(new("sea", "memory:")).await.unwrap();
    let meant = here.identities(["sea", "none"]);
    assert_eq!(meant.len(), 1);
    for (server, machine) in [("a", "m"), ("a", "n"), ("b", "m")] {
        let again = at(server, machine).await;
        assert!(again.get("sea").unwrap().node(Duration::from_secs(5)).await.is_ok(), "{server} {machine}");
        assert!(again.unreached().is_empty());
        assert_eq!(again.meanings(&meant).collect::<Vec<_>>(), [("sea", Meaning::Same)]);
    }
    let there = at("b", "n").await;
    let why = there.get("sea").unwrap().node(Duration::from_secs(5)).await.unwrap_err();
    assert!(why.kind() == ErrorKind::Unavailable && why.message().contains("m.example"), "{why}");
    assert_eq!(there.unreached(), BTreeSet::from(["sea".to_owned()]));
    assert_eq!(there.meanings(&meant).collect::<Vec<_>>(), [("sea", Meaning::Other)]);
    assert!(there.of_these(meant.clone(), Meaning::Same).is_empty());
    // Added anew, it is another one.
    there.remove("sea", &IfMatch::Anyhow).await.unwrap();
    there.add(new("sea", "memory:")).await.unwrap();
    assert_eq!(there.meanings(&meant).collect::<Vec<_>>(), [("sea", Meaning::Gone)]);
    // What makes no sense is shown, and keeps nobody from anything else.
    let table: roadstead_core::store::Table<serde_json::Value> = roadstead_core::store::Table::new(
        records.store(),
        roadstead_core::store::Prefix::new("nodes/").unwrap(),
        "node",
    );
    table.put("odd", &serde_json::json!({"name": 7})).await.unwrap();
    let next = at("b", "n").await;
    assert!(next.get("odd").unwrap().is_elsewhere() && !next.get("sea").unwrap().is_elsewhere());
}
