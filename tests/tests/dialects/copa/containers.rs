//! Cases of containers, their verbs and their migration.

use roadstead_core::StopOptions;
use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::cases::{done, is_error, missing, no_container, no_pool};
use super::stage::{Pair, Stage};

pub(super) async fn list(stage: &Stage) -> Outcome {
    let name = stage.make("list", "server1").await;
    let target = "/REST/container/?container_pool=server1&operation=list_containers";
    let body = stage.get(target).await;
    let names: Vec<String> = serde_json::from_value(body["containers"].clone()).expect("names");
    assert!(names.contains(&name) && names.is_sorted(), "{names:?}");
    assert_eq!(body.as_object().expect("an object").len(), 1, "{body}");
    assert_eq!(stage.get("/REST/container?container_pool=ghost&operation=list_containers").await, no_pool());
    Outcome::Shown
}

pub(super) async fn get_without_operation(stage: &Stage) -> Outcome {
    assert_eq!(stage.get("/REST/container/?container_pool=server1").await, missing("operation"));
    assert_eq!(stage.get("/REST/container?operation=list_containers").await, missing("container_pool"));
    Outcome::Shown
}

pub(super) async fn information_without_name(stage: &Stage) -> Outcome {
    let target = "/REST/container/?operation=information&container_pool=server1";
    assert_eq!(stage.get(target).await, missing("container_name"));
    Outcome::Shown
}

fn information_of(name: &str) -> String {
    format!("/REST/container/?operation=information&container_name={name}&container_pool=server1")
}

pub(super) async fn information(stage: &Stage) -> Outcome {
    let name = stage.make("info", "server1").await;
    let stopped = stage.get(&information_of(&name)).await;
    assert_eq!((&stopped["network"], &stopped["cpu"]), (&Value::Null, &json!({ "usage": 0 })), "{stopped}");
    stage.verb("server1", &name, "start").await;
    stage.reaches("server1", &name, Some("running")).await;
    let body = stage.get(&information_of(&name)).await;
    let members: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["cpu", "disk", "memory", "network"], "{body}");
    assert!(body["cpu"]["usage"].as_u64().expect("nanoseconds") > 0, "{body}");
    assert!(body["memory"]["usage"].as_u64().expect("bytes") > 0, "{body}");
    for member in ["usage", "usage_peak", "swap_usage", "swap_usage_peak"] {
        assert!(body["memory"][member].is_u64(), "{body}");
    }
    for interface in body["network"].as_object().expect("interfaces").values() {
        for member in ["addresses", "counters", "hwaddr", "host_name", "mtu", "state", "type"] {
            assert!(interface.get(member).is_some(), "{member} in {body}");
        }
    }
    if stage.pair == Pair::Lxd {
        as_lxd_tells(stage, &name, &body["network"]);
    }
    stage.verb("server1", &name, "stop").await;
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

/// The interfaces are those of LXD's own state.
fn as_lxd_tells(stage: &Stage, name: &str, network: &Value) {
    let state = stage.engine(0).get(&format!("/1.0/instances/{name}/state"));
    for (interface, told) in state["metadata"]["network"].as_object().expect("LXD tells them") {
        for member in ["hwaddr", "host_name", "mtu", "state", "type", "addresses"] {
            assert_eq!(network[interface][member], told[member], "{member} of {interface}");
        }
    }
}

pub(super) async fn without_cpu(stage: &Stage) -> Outcome {
    if stage.pair != Pair::Lxd {
        return Outcome::NotOffered("only versions of LXD before 2.19 tell none".to_owned());
    }
    super::doors::without_cpu(stage).await;
    Outcome::Shown
}

pub(super) async fn information_ghost(stage: &Stage) -> Outcome {
    assert_eq!(stage.get(&information_of("ghost")).await, no_container());
    Outcome::Shown
}

pub(super) async fn get_bogus(stage: &Stage) -> Outcome {
    assert_eq!(stage.get("/REST/container/?operation=bogus&container_pool=server1").await, json!({}));
    Outcome::Shown
}

pub(super) async fn start(stage: &Stage) -> Outcome {
    let name = stage.make("start", "server1").await;
    assert_eq!(stage.verb("server1", &name, "start").await, done());
    stage.reaches("server1", &name, Some("running")).await;
    if stage.pair == Pair::Lxd {
        let state = stage.engine(0).get(&format!("/1.0/instances/{name}/state"));
        assert_eq!(state["metadata"]["status"], "Running");
    }
    if stage.pair == Pair::Docker {
        assert_eq!(stage.engine(0).get(&format!("/containers/{name}/json"))["State"]["Running"], true);
    }
    if stage.can("server1", "freeze").await {
        assert_eq!(stage.verb("server1", &name, "freeze").await, done());
        stage.reaches("server1", &name, Some("frozen")).await;
        assert_eq!(stage.verb("server1", &name, "unfreeze").await, done());
        stage.reaches("server1", &name, Some("running")).await;
    }
    stage.verb("server1", &name, "stop").await;
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

pub(super) async fn stop_and_freeze(stage: &Stage) -> Outcome {
    let name = stage.make("stop", "server1").await;
    stage.verb("server1", &name, "start").await;
    stage.reaches("server1", &name, Some("running")).await;
    let again = stage.verb("server1", &name, "start").await;
    assert_eq!(again, json!({ "error": "The container is already running" }));
    let running = stage.verb("server1", &name, "delete").await;
    assert!(is_error(&running), "{running}");
    assert_eq!(stage.verb("server1", &name, "stop").await, done());
    stage.reaches("server1", &name, Some("stopped")).await;
    let body = stage.verb("server1", &name, "freeze").await;
    assert!(is_error(&body), "{body}");
    let again = stage.verb("server1", &name, "stop").await;
    assert_eq!(again, json!({ "error": "The container is already stopped" }));
    past_the_server(stage, &name).await;
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

/// What happens past the server is known at once: by what the engine says, and not by the server's list, which comes later.
async fn past_the_server(stage: &Stage, name: &str) {
    let Some(node) = stage.past("server1").await else { return };
    let container = node.container(name);
    for _ in 0..3 {
        container.start().await.expect("it starts");
        assert_eq!(stage.verb("server1", name, "start").await, json!({ "error": "The container is already running" }));
        container.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
        assert_eq!(stage.verb("server1", name, "start").await, done());
        assert_eq!(stage.verb("server1", name, "stop").await, done());
        container.start().await.expect("it starts");
        assert_eq!(stage.verb("server1", name, "stop").await, done());
    }
}

pub(super) async fn start_without_name(stage: &Stage) -> Outcome {
    let body = stage.post("/REST/container/", "operation=start&container_pool=server1").await;
    assert_eq!(body, missing("container_name"));
    let body = stage.post("/REST/container", "container_name=x&container_pool=server1").await;
    assert_eq!(body, missing("operation"));
    let body = stage.post("/REST/container", "container_name=x&operation=start").await;
    assert_eq!(body, missing("container_pool"));
    assert_eq!(stage.verb("server1", "ghost", "start").await, no_container());
    assert_eq!(stage.verb("ghost", "ghost", "start").await, no_pool());
    Outcome::Shown
}

pub(super) async fn dance(stage: &Stage) -> Outcome {
    let name = stage.make("dance", "server1").await;
    assert_eq!(stage.verb("server1", &name, "dance").await, json!({ "error": "Operation 'dance' invalid" }));
    assert_eq!(stage.verb("server1", "ghost", "dance").await, no_container());
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

pub(super) async fn delete_container(stage: &Stage) -> Outcome {
    let name = stage.make("delete", "server1").await;
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    assert!(!listed(stage, "server1", &name).await);
    stage.reaches("server1", &name, None).await;
    Outcome::Shown
}

fn migration(name: &str) -> String {
    format!("container_name={name}&container_pool=server1&destination_pool=server2&operation=migrate")
}

async fn listed(stage: &Stage, pool: &str, name: &str) -> bool {
    let body = stage.get(&format!("/REST/container/?container_pool={pool}&operation=list_containers")).await;
    body["containers"].as_array().expect("names").iter().any(|known| known == name)
}

pub(super) async fn migrate(stage: &Stage) -> Outcome {
    let name = stage.make("move", "server1").await;
    if stage.pair == Pair::Lxd {
        // It ran, and runs afterwards.
        stage.verb("server1", &name, "start").await;
    }
    let plan = json!({ "source": { "node": "server1", "container": name }, "target": { "node": "server2" } });
    let planned = stage.server.post_json("/v1/migrations/plan", &plan).await;
    let body = stage.post("/REST/container/", &migration(&name)).await;
    if planned.status != 200 {
        // What cannot be done is said, and nothing has changed.
        assert!(is_error(&body) && listed(stage, "server1", &name).await, "{body}");
        stage.verb("server1", &name, "delete").await;
        return Outcome::NotOffered("containers of this engine cannot go to the other one".to_owned());
    }
    assert_eq!(body, json!({ "success": "Container migrated successfully." }));
    assert!(listed(stage, "server2", &name).await && !listed(stage, "server1", &name).await);
    if stage.pair == Pair::Lxd {
        let state = stage.engine(1).get(&format!("/1.0/instances/{name}/state"));
        assert_eq!(state["metadata"]["status"], "Running");
        assert_eq!(stage.engine(0).ask("GET", &format!("/1.0/instances/{name}"), None).status, 404);
        let body = stage.post("/REST/container/", &migration(&name).replace("=server1", "=server2")).await;
        assert!(is_error(&body), "to the pool that it is in: {body}");
        stage.verb("server2", &name, "stop").await;
    }
    assert_eq!(stage.verb("server2", &name, "delete").await, done());
    Outcome::Shown
}

pub(super) async fn migrate_with_warning(stage: &Stage) -> Outcome {
    if stage.pair != Pair::Lxd {
        return Outcome::NotOffered("a refusal at that very moment is played on LXD".to_owned());
    }
    super::doors::refused_delete(stage).await;
    Outcome::Shown
}

pub(super) async fn migrate_without_destination(stage: &Stage) -> Outcome {
    let name = stage.make("nowhere", "server1").await;
    let form = format!("container_name={name}&container_pool=server1&operation=migrate");
    assert_eq!(stage.post("/REST/container/", &form).await, missing("destination_pool"));
    let body = stage.post("/REST/container/", &format!("{form}&destination_pool=ghost")).await;
    assert_eq!(body, no_pool());
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}
