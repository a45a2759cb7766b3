//! Servers that are killed while others write, and servers that share a store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roadstead_tests::etcd::{OwnEtcd, shared};
use roadstead_tests::{Answer, Server, ServerOptions};
use serde_json::{Value, json};

use crate::until;

/// Who write at once.
const WRITERS: usize = 4;
/// How long they write before the server is killed: each time another time, so that it is hit at another place.
const SHORTEST: Duration = Duration::from_millis(5);
const STEP: Duration = Duration::from_millis(13);
const STEPS: u32 = 11;

/// What is written: nodes, or pools of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Pool,
}

impl Kind {
    /// Of this writer.
    fn of(writer: usize) -> Self {
        if writer.is_multiple_of(2) { Kind::Node } else { Kind::Pool }
    }

    fn path(self) -> &'static str {
        match self {
            Kind::Node => "/v1/nodes",
            Kind::Pool => "/v1/pools",
        }
    }

    fn body(self, name: &str) -> Value {
        match self {
            Kind::Node => json!({"name": name, "uri": "memory:?seed=7"}),
            Kind::Pool => json!({"name": name, "nodes": ["own", name]}),
        }
    }

    /// Whether all of it is there.
    fn is_whole(self, name: &str, told: &Value) -> bool {
        match self {
            Kind::Node => told["state"] == "connected" && told["uri"] == "memory:?seed=7",
            Kind::Pool => told["nodes"] == json!(["own", name]),
        }
    }
}

/// What is known of one of them: there, not there, or either since its last write was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    Either,
}

/// What one writer knows of what it writes.
type Kept = BTreeMap<String, Known>;

/// Adds and removes until the server does not answer any more.
async fn write(client: reqwest::Client, url: String, writer: usize, mut kept: Kept, over: Arc<AtomicBool>) -> Kept {
    let kind = Kind::of(writer);
    for turn in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
        let name = format!("w{writer}-{}", turn % 7);
        let is_there = *kept.get(&name).unwrap_or(&Known::Gone) != Known::Gone;
        let place = format!("{url}{}", kind.path());
        let request = if is_there {
            client.delete(format!("{place}/{name}"))
        } else {
            client.post(place).json(&kind.body(&name))
        };
        let answered = request.send().await.map(|answer| answer.status().as_u16());
        let known = match answered {
            Ok(201) if !is_there => Known::There,
            Ok(204) if is_there => Known::Gone,
            Ok(status) => panic!("{name} was answered with {status}; it was there: {is_there}"),
            Err(_) => Known::Either,
        };
        kept.insert(name, known);
        if known == Known::Either {
            break;
        }
    }
    kept
}

/// Has the server do something to all containers of a pool until it does not answer any more. Gives the jobs that it promised.
async fn order(client: reqwest::Client, url: String, over: Arc<AtomicBool>, first: Arc<AtomicBool>) -> Vec<String> {
    let mut promised = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let verb = client.post(format!("{url}/v1/pools/base/containers/stop?wait=0")).json(&json!({"all": true}));
        let Ok(answer) = verb.send().await else { break };
        assert!([200, 202].contains(&answer.status().as_u16()), "{}", answer.status());
        let place = answer.headers()["location"].to_str().expect("text").to_owned();
        promised.push(place);
        first.store(true, Ordering::Relaxed);
    }
    promised
}

pub(crate) async fn names(server: &Server, kind: Kind) -> BTreeSet<String> {
    let page = server.get(kind.path()).await.expect(200).json();
    let items = page["items"].as_array().expect("items");
    items
        .iter()
        .filter(|item| item["source"].is_null() || item["source"] == "added")
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "base")
        .collect()
}

/// Kills the server again and again. What was acknowledged is there each time, and what was not is there whole or not at all.
async fn killed(state: &Path, arguments: &[&str]) {
    let rounds = if std::env::var_os("ROADSTEAD_SOAK").is_some() { 300 } else { 5 };
    let mut kept = vec![Kept::new(); WRITERS];
    let (mut acknowledged, mut doubtful, mut slowest) = (0, 0, Duration::ZERO);
    let (mut promised, mut jobs): (Vec<String>, usize) = (Vec::new(), 0);
    for round in 0..=rounds {
        let begun = Instant::now();
        let options = arguments.iter().fold(ServerOptions::default(), |options, argument| options.argument(argument));
        let mut server = options.node("own", "memory:").start_in(state);
        slowest = slowest.max(begun.elapsed());
        if round == 0 {
            let _ = server.post_json("/v1/pools", &json!({"name": "base", "nodes": ["own"]})).await.expect(201);
        }
        for kind in [Kind::Node, Kind::Pool] {
            let there = names(&server, kind).await;
            let writers = || kept.iter().enumerate().filter(|(writer, _)| Kind::of(*writer) == kind);
            let all: BTreeSet<_> = writers().flat_map(|(_, kept)| kept.keys()).cloned().collect();
            assert!(there.is_subset(&all), "nobody has written {:?}", there.difference(&all));
            for (writer, kept) in kept.iter_mut().enumerate().filter(|(writer, _)| Kind::of(*writer) == kind) {
                for (name, known) in kept {
                    let is = if there.contains(name) { Known::There } else { Known::Gone };
                    let fits = *known == is || *known == Known::Either;
                    assert!(fits, "round {round}: {name} of writer {writer} is {is:?}, and was left {known:?}");
                    *known = is;
                }
            }
            for name in &there {
                let told = server.get(&format!("{}/{name}", kind.path())).await.expect(200).json();
                assert!(kind.is_whole(name, &told), "{told}");
            }
        }
        for place in promised.drain(..) {
            jobs += 1;
            let job = server.get(&format!("{place}?wait=20")).await.expect(200).json();
            assert_eq!((&job["state"], &job["exit_code"]), (&json!("succeeded"), &json!(0)), "{job}");
        }
        if round == rounds {
            break;
        }
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for (writer, kept) in kept.iter().enumerate() {
            let work = write(server.client().clone(), server.url(""), writer, kept.clone(), Arc::clone(&over));
            writers.push(tokio::spawn(work));
        }
        let first = Arc::new(AtomicBool::new(false));
        let orders =
            tokio::spawn(order(server.client().clone(), server.url(""), Arc::clone(&over), Arc::clone(&first)));
        tokio::time::sleep(SHORTEST + STEP * (round * 5 % STEPS)).await;
        if round + 1 == rounds {
            // However slow the machine is, there is one job to be held to.
            until("a job is promised", async || first.load(Ordering::Relaxed)).await;
        }
        server.kill();
        over.store(true, Ordering::Relaxed);
        for (before, writer) in kept.iter_mut().zip(writers) {
            *before = writer.await.expect("it writes");
            acknowledged += before.values().filter(|known| **known != Known::Either).count();
            doubtful += before.values().filter(|known| **known == Known::Either).count();
        }
        promised = orders.await.expect("it orders");
    }
    assert!(acknowledged > 0 && doubtful > 0, "{acknowledged} writes were acknowledged, {doubtful} were not");
    assert!(jobs > 0, "no job was promised");
    eprintln!(
        "{rounds} kills: {doubtful} writes were cut off, {jobs} promised jobs ended; the slowest start took {slowest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_of_its_file() {
    let state = tempfile::tempdir().expect("a directory");
    killed(state.path(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_of_its_cluster() {
    let Some(uri) = shared("killed-servers") else { return };
    let state = tempfile::tempdir().expect("a directory");
    killed(state.path(), &["--store", &uri]).await;
}

/// A server of a fleet, with a state directory of its own and everybody's key.
pub(crate) fn member(uri: &str, directory: &Path, name: &str) -> Server {
    member_with(uri, directory, name, ServerOptions::default())
}

/// The same with more options.
pub(crate) fn member_with(uri: &str, directory: &Path, name: &str, options: ServerOptions) -> Server {
    let state = directory.join(name);
    std::fs::create_dir_all(&state).expect("a directory");
    let shared = directory.join("shared.key");
    let own = state.join("store.key");
    if shared.exists() {
        std::fs::copy(&shared, &own).expect("the key");
    }
    let server = options.argument("--store").argument(uri).node("own", "memory:").start_in(&state);
    std::fs::copy(&own, &shared).expect("the key");
    server
}

/// Which server says that it watches which nodes.
pub(crate) async fn watched(server: &Server) -> BTreeMap<String, Vec<String>> {
    watches(&server.get("/v1/servers").await.expect(200).json())
}

/// The same of what a server has told.
pub(crate) fn watches(servers: &Value) -> BTreeMap<String, Vec<String>> {
    let items = servers["items"].as_array().expect("items").iter();
    let strings = |list: &Value| {
        list.as_array().expect("a list").iter().map(|item| item.as_str().expect("text").to_owned()).collect()
    };
    items.map(|server| (server["id"].as_str().expect("an id").to_owned(), strings(&server["watches"]))).collect()
}

/// Waits until every node is watched by one of so many servers.
pub(crate) async fn covered(server: &Server, servers: usize, nodes: &BTreeSet<String>) -> Duration {
    let begun = Instant::now();
    until(&format!("{servers} servers watch all"), async || {
        let watched = watched(server).await;
        let all: Vec<_> = watched.values().flatten().cloned().collect();
        let once: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(once.len(), all.len(), "one is watched by two: {watched:?}");
        assert!(begun.elapsed() < crate::SOON / 2, "{servers} servers do not watch all: {watched:?}");
        watched.len() == servers && watched.values().all(|nodes| !nodes.is_empty()) && once == *nodes
    })
    .await;
    begun.elapsed()
}

/// Asks until it is done: with the first status, or with the second after it could not be told whether it was.
pub(crate) async fn done(status: &[u16; 2], mut ask: impl AsyncFnMut() -> Answer) {
    let mut is_unknown = false;
    until("it is done", async || {
        let answer = ask().await;
        if answer.status == status[0] || (is_unknown && answer.status == status[1]) {
            return true;
        }
        // Each answer says whether it may have been done: nobody is left in the dark.
        assert!([503, 504].contains(&answer.status), "{}", answer.status);
        let problem = answer.json();
        is_unknown |= problem["retry"] == "unknown";
        assert!(["unknown", "safe"].contains(&problem["retry"].as_str().unwrap_or_default()), "{problem}");
        false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_a_fleet_and_take_over_from_each_other() {
    let Some(own) = OwnEtcd::start("fleet-three") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let uri = own.verb("uri");
    let (mut here, there) = (member(&uri, directory.path(), "here"), member(&uri, directory.path(), "there"));
    let mut nodes = BTreeSet::new();
    for number in 0..12 {
        let (name, at) = (format!("n{number:02}"), if number % 2 == 0 { &here } else { &there });
        let _ = at.post_json("/v1/nodes", &json!({"name": name, "uri": "memory:"})).await.expect(201);
        nodes.insert(name);
    }
    for server in [&here, &there] {
        until("each serves what the other added", async || names(server, Kind::Node).await == nodes).await;
    }
    let taken = there.post_json("/v1/nodes", &json!({"name": "n00", "uri": "memory:"})).await.expect(409).json();
    assert_eq!(taken["code"], "already_exists", "{taken}");
    covered(&there, 2, &nodes).await;

    here.kill();
    let took = covered(&there, 1, &nodes).await;
    eprintln!("a server was killed: every node was watched again after {took:?}");
    let here = member(&uri, directory.path(), "here");
    covered(&there, 2, &nodes).await;

    // A member of etcd that dies, and one that stands still: nobody who asks a server notices.
    let leader = own.leader().expect("one leads");
    own.kill(leader);
    for (server, name) in [(&here, "m0"), (&there, "m1")] {
        let body = json!({"name": name, "uri": "memory:"});
        done(&[201, 409], async || server.post_json("/v1/nodes", &body).await).await;
        nodes.insert(name.to_owned());
    }
    covered(&here, 2, &nodes).await;
    own.start_again(leader);
    until("it is back", async || own.leader().is_some()).await;
    let still = own.freeze((leader + 1) % 3);
    for (server, name) in [(&here, "m0"), (&there, "m1")] {
        done(&[204, 404], async || server.delete(&format!("/v1/nodes/{name}")).await).await;
        nodes.remove(name);
    }
    for server in [&here, &there] {
        until("what is removed is gone everywhere", async || names(server, Kind::Node).await == nodes).await;
    }
    drop(still);
    covered(&there, 2, &nodes).await;

    // One that ends in peace is not waited for.
    drop(here);
    covered(&there, 1, &nodes).await;
}
