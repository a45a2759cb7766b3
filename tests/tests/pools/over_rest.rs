//! Two engines of different kinds as one pool, over REST.

use roadstead_tests::engines;
use serde_json::{Value, json};

use crate::Rest;

fn members<'a>(items: &'a Value, member: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[member].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_placed_worked_on_and_moved_away() {
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let (_docker, _podman) = (docker.cleaner(), podman.cleaner());
    let rest = Rest::over(&[("docker", &docker), ("podman", &podman)]).await;
    rest.post("/v1/pools", json!({"name": "both", "select": {"schemes": ["docker", "podman"]}})).await;
    let told = rest.get("/v1/pools/both").await;
    assert_eq!(told["members"], json!(["docker", "podman"]));
    let label = docker.name("pool");
    let spec = |name: &str| {
        let command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"];
        json!({"image": engines::image(), "name": name, "command": command, "labels": {"pool": label}})
    };

    // One on each, by name; what the engines themselves say is the truth.
    let (one, two) = (docker.name("one"), podman.name("two"));
    for (node, name) in [("docker", &one), ("podman", &two)] {
        let body = json!({"spec": spec(name), "placement": {"nodes": [node]}});
        let made = rest.post("/v1/pools/both/containers?start=true", body).await;
        assert_eq!((&made["node"], &made["decision"]["node"]), (&json!(node), &json!(node)));
    }
    assert_eq!(docker.get(&format!("/containers/{one}/json"))["State"]["Running"], true);
    assert_eq!(podman.get(&format!("/containers/{two}/json"))["State"]["Running"], true);
    let too_much = json!({"spec": spec("never"), "placement": {"memory_bytes": u64::MAX}});
    let (status, problem) = rest.ask(reqwest::Method::POST, "/v1/pools/both/containers", Some(too_much)).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(
        problem["detail"].as_str().unwrap().matches("bytes of free memory, and 18446744073709551615").count(),
        2
    );

    let totals = rest.get("/v1/pools/both/totals").await;
    assert_eq!(totals["errors"], json!([]), "{totals}");
    assert_eq!(members(&totals["members"], "node"), ["docker", "podman"]);
    let info = docker.get("/info");
    assert_eq!(totals["members"][0]["memory_bytes"], info["MemTotal"]);
    assert!(totals["running"].as_u64().unwrap() >= 2 && totals["memory_free_bytes"].as_u64().unwrap() > 0, "{totals}");

    let ours = json!({"labels": [format!("pool={label}")]});
    let stopped = rest.post("/v1/pools/both/containers/stop", json!({"filter": ours, "timeout_seconds": 60})).await;
    assert_eq!(members(&stopped["items"], "outcome"), ["done", "done"], "{stopped}");
    assert_eq!(docker.get(&format!("/containers/{one}/json"))["State"]["Running"], false);
    assert_eq!(podman.get(&format!("/containers/{two}/json"))["State"]["Running"], false);
    let started = rest.post("/v1/pools/both/containers/start", json!({"filter": ours})).await;
    assert_eq!(members(&started["items"], "outcome"), ["done", "done"], "{started}");

    // A dry run first; then all of ours that dockerd has are Podman's.
    let drain = json!({"filter": ours, "stop_timeout_seconds": 5, "timeout_seconds": 120, "reason": "its disk is old"});
    let mut dry = drain.clone();
    dry["dry_run"] = json!(true);
    let planned = rest.post("/v1/pools/both/nodes/docker/drain", dry).await;
    assert_eq!(planned["plan"]["moves"][0]["plan"]["container"], one.as_str(), "{planned}");
    assert_eq!(docker.get(&format!("/containers/{one}/json"))["State"]["Running"], true);
    let done = rest.post("/v1/pools/both/nodes/docker/drain?wait=120", drain).await;
    let job = rest.get(done["job_path"].as_str().unwrap()).await;
    assert_eq!(job["exit_code"], 0, "{job} {}", rest.get("/v1/migrations").await);
    assert_eq!(docker.ask("GET", &format!("/containers/{one}/json"), None).status, 404);
    assert_eq!(podman.get(&format!("/containers/{one}/json"))["State"]["Running"], true);
    let placed = rest.post("/v1/pools/both/containers?dry_run=true", json!({"spec": spec("new")})).await;
    assert_eq!(placed["node"], "podman");
    assert_eq!(placed["candidates"][1]["reason"], "takes no new containers: its disk is old");

    let deleted = rest.post("/v1/pools/both/containers/delete", json!({"filter": ours, "force": true})).await;
    assert_eq!(members(&deleted["items"], "outcome"), ["done", "done"], "{deleted}");
    assert!(
        rest.get(&format!("/v1/pools/both/containers?label=pool={label}")).await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    rest.end().await;
}
