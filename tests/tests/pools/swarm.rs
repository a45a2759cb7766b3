//! A swarm of two daemons: one is the manager that is asked, the other is known through it alone.

use std::net::TcpListener;
use std::time::Duration;

use roadstead_core::pool::{ActionOutcome, ContainerAction, ManyOptions, Placement};
use roadstead_core::{ContainerFilter, ContainerSpec, ContainerState, ErrorKind, PoolExt, StopOptions};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::{OwnEngine, image};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Rest, SOON, connect};

/// Each has an address of the loopback interface, since the port at which nodes gossip is the same for all.
const MANAGER: &str = "127.0.0.1";
const WORKER: &str = "127.0.0.2";

/// Leaves the swarm however the test ends, so that the daemon's directory is as before.
struct Leaves<'a>(&'a TestEngine);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let leave = roadstead_tests::Request::new("POST", "/swarm/leave?force=1");
        let _ = leave.send_unix(self.0.socket());
    }
}

fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn post(engine: &TestEngine, path: &str, body: &Value) -> Value {
    let answer = engine.ask("POST", path, Some(body));
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Changes what the swarm has set of a node.
fn set(manager: &TestEngine, id: &str, change: impl Fn(&mut Value)) {
    let node = manager.get(&format!("/nodes/{id}"));
    let mut spec = node["Spec"].clone();
    change(&mut spec);
    let _ = post(manager, &format!("/nodes/{id}/update?version={}", node["Version"]["Index"]), &spec);
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

fn only(name: &str) -> ContainerFilter {
    let mut filter = ContainerFilter::all();
    filter.names.push(name.to_owned());
    filter
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_is_a_pool() {
    let (Some(first), Some(second)) = (OwnEngine::docker("swarm-manager"), OwnEngine::docker("swarm-worker")) else {
        return;
    };
    let (manager, worker) = (first.engine(), second.engine());
    let (_one, _two) = (Leaves(manager), Leaves(worker));
    let node = connect("sea", manager).await;
    let error = node.pool("fleet").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Conflict, "the daemon is in no swarm"));

    // A manager alone is the whole swarm, and a whole node.
    let at = format!("{MANAGER}:{}", free_port(MANAGER));
    let _ = post(manager, "/swarm/init", &json!({"ListenAddr": at, "AdvertiseAddr": MANAGER}));
    let pool = node.pool("fleet").await.unwrap();
    assert_eq!(pool.members().iter().map(|member| member.name().to_owned()).collect::<Vec<_>>(), ["sea"]);
    assert_eq!(pool.node("sea").unwrap().capabilities(), node.capabilities());

    let token = manager.get("/swarm")["JoinTokens"]["Worker"].as_str().unwrap().to_owned();
    let there = format!("{WORKER}:{}", free_port(WORKER));
    let join = json!({"ListenAddr": there, "AdvertiseAddr": WORKER, "RemoteAddrs": [at], "JoinToken": token});
    let _ = post(worker, "/swarm/join", &join);
    let id = worker.get("/info")["Swarm"]["NodeID"].as_str().unwrap().to_owned();
    let seen = connect("worker", worker).await.pool("fleet").await.unwrap_err();
    assert_eq!(seen.kind(), ErrorKind::Conflict);
    assert!(seen.message().contains("only a manager"), "{seen}");
    let service = json!({"Name": "web", "Mode": {"Global": {}}, "TaskTemplate": {"ContainerSpec":
        {"Image": image(), "Command": ["sleep", "600"], "Labels": {"of": "web"}}}});
    let _ = post(manager, "/services/create", &service);

    let pool = eventually("both nodes run their task", async || {
        let pool = node.pool("fleet").await.ok()?;
        let listing = pool.list_containers(&ContainerFilter::all(), SOON).await.ok()?;
        let running = listing.items.iter().filter(|item| item.state == ContainerState::Running).count();
        (running == 2).then_some(pool)
    })
    .await;
    // Both daemons have this machine's host name, which our own may not be called.
    let far = pool.members().into_iter().find(|member| member.name() != "sea").expect("a second member");
    let far_name = far.name().to_owned();

    // What the manager tells of the other is what that one says itself.
    let itself = connect(&far_name, worker).await;
    let [told] = &far.node.list_containers(&ContainerFilter::all()).await.unwrap()[..] else { panic!("one container") };
    let [mut truth] = itself.list_containers(&ContainerFilter::all()).await.unwrap().try_into().expect("one container");
    // It tells no id of the image, and when the task was made instead of the container.
    assert!(truth.created_at.unwrap().since(told.created_at.unwrap()) < Duration::from_secs(60));
    (truth.image_id, truth.created_at) = (None, told.created_at);
    assert_eq!(*told, truth);
    assert_eq!(far.node.container(&told.name).inspect().await.unwrap().summary, truth);
    let (info, own) = (far.node.info().await.unwrap(), itself.info().await.unwrap());
    assert_eq!((info.cpus, info.memory_bytes, info.architecture), (own.cpus, own.memory_bytes, own.architecture));
    assert_eq!(info.engine_version, own.engine_version);

    // It can do nothing to it, and says so before.
    let mut options = ManyOptions::of(only(&told.name));
    options.dry_run = true;
    let stop = ContainerAction::Stop(StopOptions::after_seconds(0));
    let planned = pool.act(&stop, &options).await.unwrap();
    let [item] = &planned.items[..] else { panic!("{planned:?}") };
    assert_eq!((item.outcome, item.error.as_ref().unwrap().code), (ActionOutcome::Failed, ErrorKind::Unsupported));
    assert_eq!(far.node.container(&told.id).start().await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(far.node.list_images().await.unwrap_err().kind(), ErrorKind::Unsupported);
    let spec = ContainerSpec::new(image()).name(manager.name("new"));
    let decision = pool.place(&spec, &Placement::default(), SOON).await.unwrap();
    assert_eq!(decision.node.as_deref(), Some("sea"));
    assert!(decision.candidates[1].reason.contains("does not support creating"), "{decision:?}");

    // What the swarm has set of a node is what the pool knows of it.
    set(manager, &id, |spec| spec["Labels"] = json!({"zone": "far"}));
    set(manager, &id, |spec| spec["Availability"] = json!("pause"));
    let members = node.pool("fleet").await.unwrap().members();
    let far = members.iter().find(|member| member.name() == far_name).unwrap();
    assert_eq!(far.labels.get("zone").map(String::as_str), Some("far"));
    assert_eq!(far.cordon.as_deref(), Some("the swarm has set it to pause"));

    // The same over REST.
    let rest = Rest::over(&[("sea", manager)]).await;
    rest.post("/v1/pools", json!({"name": "fleet", "own_of": "sea"})).await;
    let nodes = rest.get("/v1/pools/fleet/nodes").await;
    let mut names = vec![far_name.clone(), "sea".to_owned()];
    names.sort();
    let listed: Vec<_> = nodes["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
    let listed = rest.get("/v1/pools/fleet/containers?label=of=web").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let drain = format!("/v1/pools/fleet/nodes/{far_name}/drain");
    let (status, problem) = rest.ask(reqwest::Method::POST, &drain, Some(json!({}))).await;
    assert_eq!((status, &problem["code"]), (501, &json!("unsupported")));
    rest.end().await;

    // A node that is down hides nothing, and nothing old is told of it.
    second.kill();
    let listing = eventually("the swarm sees that the node is down", async || {
        let pool = node.pool("fleet").await.unwrap();
        let listing = pool.list_containers(&ContainerFilter::all(), SOON).await.unwrap();
        (!listing.errors.is_empty()).then_some(listing)
    })
    .await;
    assert_eq!((listing.errors[0].node.as_str(), listing.errors[0].code), (far_name.as_str(), ErrorKind::Unavailable));
    assert!(listing.items.iter().any(|item| item.node == "sea" && item.labels.contains_key("of")), "{listing:?}");
    second.start_again();
}
