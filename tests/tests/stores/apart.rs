//! Two servers on an etcd of which a member is cut off while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roadstead_tests::Server;
use roadstead_tests::etcd::OwnEtcd;
use serde_json::json;

use crate::servers::{Kind, covered, done, member, names, watches};
use crate::{leader, until};

/// How a member is cut off.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// From the other members; servers still reach it, and it may still take itself for what it was.
    Peers,
    /// From everybody.
    Whole,
}

/// Reads from a server again and again, each time with success. Gives the longest time for which a node was not watched, as far as
/// the server could tell.
async fn looked_after(server: Arc<Server>, nodes: BTreeSet<String>, over: Arc<AtomicBool>) -> Duration {
    let mut seen: BTreeMap<_, _> = nodes.into_iter().map(|node| (node, Instant::now())).collect();
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        // From memory, whether etcd has a majority at the moment or not.
        for path in ["/v1/nodes", "/v1/containers"] {
            let _ = server.get(path).await.expect(200);
        }
        let told = server.get("/v1/servers").await;
        if told.status == 200 {
            for node in watches(&told.json()).into_values().flatten() {
                if let Some(seen) = seen.get_mut(&node) {
                    longest = longest.max(seen.elapsed());
                    *seen = Instant::now();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen.into_values().map(|seen| seen.elapsed()).fold(longest, Duration::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_is_missed_by_nobody() {
    let Some(own) = OwnEtcd::start("fleet-apart") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let uri = own.verb("uri");
    let here = Arc::new(member(&uri, directory.path(), "here"));
    let there = Arc::new(member(&uri, directory.path(), "there"));
    let mut nodes = BTreeSet::new();
    for number in 0..8 {
        let name = format!("n{number}");
        let _ = here.post_json("/v1/nodes", &json!({"name": name, "uri": "memory:"})).await.expect(201);
        nodes.insert(name);
    }
    covered(&here, 2, &nodes).await;
    for (number, (leads, cut)) in
        [(true, Cut::Peers), (true, Cut::Whole), (false, Cut::Peers), (false, Cut::Whole)].into_iter().enumerate()
    {
        let victim = (leader(&own).await + usize::from(!leads)) % 3;
        let over = Arc::new(AtomicBool::new(false));
        let looks = [&here, &there]
            .map(|server| tokio::spawn(looked_after(Arc::clone(server), nodes.clone(), Arc::clone(&over))));
        match cut {
            Cut::Peers => own.cut_peers(victim),
            Cut::Whole => own.cut(victim),
        }
        for (server, name) in [(&here, format!("h{number}")), (&there, format!("t{number}"))] {
            let body = json!({"name": name, "uri": "memory:"});
            done(&[201, 409], async || server.post_json("/v1/nodes", &body).await).await;
            nodes.insert(name);
        }
        for server in [&here, &there] {
            until("each serves what the other added", async || names(server, Kind::Node).await == nodes).await;
        }
        covered(&here, 2, &nodes).await;
        own.join(victim);
        leader(&own).await;
        for server in [&here, &there] {
            let name = format!("{}{number}", if Arc::ptr_eq(server, &here) { "t" } else { "h" });
            done(&[204, 404], async || server.delete(&format!("/v1/nodes/{name}")).await).await;
            nodes.remove(&name);
        }
        for server in [&here, &there] {
            until("what is removed is gone everywhere", async || names(server, Kind::Node).await == nodes).await;
        }
        covered(&there, 2, &nodes).await;
        over.store(true, Ordering::Relaxed);
        for look in looks {
            let longest = look.await.expect("every read is answered");
            eprintln!("{cut:?} of a member that led: {leads}; a node was not watched, as far as told, for {longest:?}");
        }
    }
}
