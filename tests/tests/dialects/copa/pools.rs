//! Cases of pools.

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::cases::{is_error, missing, no_pool};
use super::stage::Stage;

/// A server that finds no engine shows no pool: the simulation that it serves then is none.
pub(super) async fn no_pools(_: &Stage) -> Outcome {
    let server =
        roadstead_tests::server::ServerOptions::default().argument("--dialect=copa=127.0.0.1:0,anonymous=read").start();
    let nodes = server.get("/v1/nodes").await.expect(200).json();
    let is_placeholder = |node: &Value| node["name"] == "memory" && node["source"] == "discovered";
    let all = nodes["items"].as_array().expect("nodes");
    if !all.iter().all(is_placeholder) {
        return Outcome::NotOffered("this machine has engines of its own".to_owned());
    }
    let url = format!("{}/REST/pools/", server.dialect("copa"));
    let body = super::doors::client().get(url).send().await.expect("an answer");
    assert_eq!(body.json::<Value>().await.expect("JSON"), json!({ "pools": [], "success": "pools" }));
    Outcome::Shown
}

const ADD: &str = "operation=add&container_pool=testServer&ip=1.1.1.1";

pub(super) async fn add(stage: &Stage) -> Outcome {
    let wanted = json!({ "container_pool": "testServer", "local_ip": "1.1.1.1", "success": "Container pool added Successfully" });
    assert_eq!(stage.post("/REST/pools/", ADD).await, wanted);
    Outcome::Shown
}

async fn pools(stage: &Stage, path: &str) -> Vec<(String, String)> {
    let body = stage.get(path).await;
    assert_eq!((&body["success"], body.as_object().expect("an object").len()), (&json!("pools"), 2));
    serde_json::from_value(body["pools"].clone()).expect("pairs")
}

pub(super) async fn sorted(stage: &Stage) -> Outcome {
    stage.post("/REST/pools", "operation=add&container_pool=server0&ip=box.example:99").await;
    for path in ["/REST/pools", "/REST/pools/"] {
        let pools = pools(stage, path).await;
        let names: Vec<_> = pools.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["server0", "server1", "server2", "testServer"]);
        assert_eq!(pools[0].1, "box.example:99");
        assert_eq!(pools[3].1, "1.1.1.1");
    }
    stage.post("/REST/pools", "operation=remove&container_pool=server0").await;
    for bad in ["1.2.3", "a b", "", "::g", "host:0", "a/b"] {
        let body = stage.post("/REST/pools", &format!("operation=add&container_pool=bad&ip={bad}")).await;
        assert!(is_error(&body), "{bad}: {body}");
    }
    assert_eq!(pools(stage, "/REST/pools").await.len(), 3);
    Outcome::Shown
}

pub(super) async fn no_operation(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "").await, missing("operation"));
    assert_eq!(stage.post("/REST/pools", "").await, missing("operation"));
    Outcome::Shown
}

pub(super) async fn no_ip(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "operation=add&container_pool=x").await, missing("ip"));
    assert_eq!(stage.post("/REST/pools/", "operation=add&ip=1.1.1.1").await, missing("container_pool"));
    Outcome::Shown
}

async fn removed(stage: &Stage, operation: &str) {
    stage.post("/REST/pools/", ADD).await;
    let wanted = json!({ "container_pool": "testServer", "success": "Container pool removed successfully." });
    let form = format!("operation={operation}&container_pool=testServer");
    assert_eq!(stage.post("/REST/pools/", &form).await, wanted);
    assert!(pools(stage, "/REST/pools").await.iter().all(|(name, _)| name != "testServer"));
}

pub(super) async fn remove(stage: &Stage) -> Outcome {
    removed(stage, "remove").await;
    Outcome::Shown
}

pub(super) async fn delete(stage: &Stage) -> Outcome {
    removed(stage, "delete").await;
    let body = stage.post("/REST/pools/", "operation=dance&container_pool=server1").await;
    assert_eq!(body, json!({ "error": "Operation 'dance' invalid" }));
    // What the configuration names would be back with the next start.
    let body = stage.post("/REST/pools/", "operation=remove&container_pool=server1").await;
    assert!(is_error(&body), "{body}");
    Outcome::Shown
}

pub(super) async fn remove_ghost(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "operation=remove&container_pool=ghost").await, no_pool());
    Outcome::Shown
}

pub(super) async fn upsert(stage: &Stage) -> Outcome {
    stage.post("/REST/pools/", ADD).await;
    let again = stage.post("/REST/pools/", "operation=add&container_pool=testServer&ip=2.2.2.2").await;
    assert_eq!(
        (&again["local_ip"], &again["success"]),
        (&json!("2.2.2.2"), &json!("Container pool added Successfully"))
    );
    let found: Vec<_> =
        pools(stage, "/REST/pools").await.into_iter().filter(|(name, _)| name == "testServer").collect();
    assert_eq!(found, [("testServer".to_owned(), "2.2.2.2".to_owned())]);
    stage.post("/REST/pools/", "operation=remove&container_pool=testServer").await;
    Outcome::Shown
}

pub(super) async fn not_allowed(stage: &Stage) -> Outcome {
    for path in ["/REST/pools/", "/REST/pools", "/REST/container", "/REST/image/", "/core/containers_list/api/"] {
        for method in ["PUT", "DELETE", "PATCH"] {
            let (status, body) = stage.send(stage.request(method, path)).await;
            assert_eq!((status, body), (200, json!({ "error": "Method not allowed" })), "{method} {path}");
        }
    }
    let (status, body) = stage.send(stage.request("GET", "/REST/nothing")).await;
    assert_eq!(status, 404, "{body}");
    Outcome::Shown
}
