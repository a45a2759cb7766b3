//! Cases about nodes, and about the way in which everything is answered.

use roadstead_tests::dialects::Outcome;
use roadstead_tests::etcd::OwnEtcd;
use roadstead_tests::left_out::left_out;
use roadstead_tests::server::ServerOptions;
use serde_json::{Value, json};

use super::scene::{Engine, HOST, Scene, WAITS};

/// Whether this is one of the ids of a document database.
pub(super) fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn refused(answer: roadstead_tests::Answer, status: u16) -> Value {
    let body = answer.expect(status).json();
    assert_eq!(body["return_code"], status);
    let members: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["message", "return_code"]);
    body
}

/// The node with this host.
async fn node(scene: &Scene, host: &str) -> Option<Value> {
    let list = scene.read("/nodes").await;
    let nodes = list["nodes"].as_array().expect("nodes");
    assert_eq!(list["n"], nodes.len());
    nodes.iter().find(|node| node["host"] == host).cloned()
}

/// A machine that has engines of its own has these nodes, and the simulation that is served where there are none is no node.
pub(super) async fn none(engine: Engine) -> Outcome {
    let scene = Scene::empty(&engine).await;
    let known = scene.server().get("/v1/nodes").await.expect(200).json();
    let found = known["items"].as_array().expect("nodes").iter();
    let found: Vec<_> = found.filter(|node| node["name"] != "memory").collect();
    let list = scene.read("/nodes").await;
    assert_eq!(list["n"], found.len());
    if found.is_empty() {
        assert_eq!(list, json!({ "n": 0, "nodes": [] }));
    }
    Outcome::Shown
}

const BODY: &str = r#"{"host":"newcomer"}"#;

pub(super) async fn add(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let added = scene.change("POST", BODY).await.expect(200).json();
    assert!(is_id(&added["_id"]), "{added}");
    assert_eq!(added, json!({ "_id": added["_id"], "host": "newcomer" }));
    let listed = node(&scene, "newcomer").await.expect("it is listed");
    assert_eq!(listed, json!({ "_id": added["_id"], "containers": -1, "host": "newcomer", "storage": false }));
    // It is a node of the server.
    let known = scene.server().get("/v1/nodes/newcomer").await.expect(200).json();
    assert_eq!(known["uri"], "docker+tcp://newcomer:1");
    for (host, uri) in [("::1", "docker+tcp://[::1]:1"), ("10.1.2.3", "docker+tcp://10.1.2.3:1")] {
        let added = scene.change("POST", &json!({ "host": host }).to_string()).await.expect(200).json();
        assert_eq!(node(&scene, host).await.expect("it is listed")["_id"], added["_id"]);
        let known = scene.server().get("/v1/nodes").await.expect(200).json();
        assert!(known["items"].as_array().expect("nodes").iter().any(|node| node["uri"] == uri), "{known}");
    }
    Outcome::Shown
}

pub(super) async fn add_again(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let added = scene.change("POST", r#"{"host":"newcomer","rack":7}"#).await.expect(200).json();
    for body in [BODY, r#"{"host":"newcomer","rack":8}"#] {
        let message = refused(scene.change("POST", body).await, 409)["message"].as_str().expect("a text").to_owned();
        let there = message.strip_prefix("Already Exists: ").expect("the known beginning");
        assert_eq!(there, added.to_string(), "compact, and with members in order");
    }
    // So is one of the configuration.
    refused(scene.change("POST", &json!({ "host": HOST }).to_string()).await, 409);
    // Of several who add the same at once, one does.
    let answers = futures_util::future::join_all((0..8).map(|_| scene.change("POST", r#"{"host":"wanted"}"#))).await;
    let mut codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 409, 409, 409, 409, 409, 409, 409]);
    Outcome::Shown
}

pub(super) async fn add_nonsense(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let before = scene.read("/nodes").await["n"].clone();
    for body in ["not json", "", "host=newcomer", "[]", "null", "{\"host\":\"newcomer\"", "\u{0}", "{}{}"] {
        refused(scene.change("POST", body).await, 400);
    }
    let form = scene.request("POST", "/nodes").header("content-type", "application/x-www-form-urlencoded");
    refused(scene.send(form.body("host=newcomer")).await, 400);
    // What is too long is not read to its end.
    let long = format!(r#"{{"host":"newcomer","more":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    refused(scene.change("POST", &long).await, 413);
    assert_eq!(scene.read("/nodes").await["n"], before);
    Outcome::Shown
}

pub(super) async fn add_nobody(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let before = scene.read("/nodes").await["n"].clone();
    for body in [
        "{}",
        r#"{"host":""}"#,
        r#"{"host":7}"#,
        r#"{"host":null}"#,
        r#"{"host":{"$gt":""}}"#,
        r#"{"name":"newcomer"}"#,
        r#"{"host":"a b"}"#,
        r#"{"host":"a/../b"}"#,
        r#"{"host":"me:secret@there"}"#,
        r#"{"host":"there:99999"}"#,
    ] {
        refused(scene.change("POST", body).await, 400);
    }
    assert_eq!(scene.read("/nodes").await["n"], before);
    Outcome::Shown
}

/// How many containers of the node run, as `/v1` lists them past all memory.
async fn running(scene: &Scene) -> u64 {
    let path = format!(
        "/v1/nodes/{HOST}/containers?fresh=true&limit=10000&state=running&state=frozen&state=restarting&state=stopping"
    );
    let list = scene.server().get(&path).await.expect(200).json();
    list["items"].as_array().expect("containers").len() as u64
}

pub(super) async fn list(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    for number in 0..3 {
        scene.run(&format!("p06-{number}"), WAITS).await;
    }
    scene.create("p06-idle", WAITS).await;
    // Others use the engine, too: the number is one that was true at some moment while it was asked for.
    scene
        .soon("the count is that of the engine", async || {
            let before = running(&scene).await;
            let shown = node(&scene, HOST).await.expect("the node");
            let after = running(&scene).await;
            assert!(is_id(&shown["_id"]), "{shown}");
            let count = shown["containers"].as_u64()?;
            let is_true = count == before && count == after && count >= 3;
            (is_true && shown["storage"] == true).then_some(())
        })
        .await;
    if engine.real().is_none() {
        assert_eq!(node(&scene, HOST).await.expect("the node")["containers"], 3);
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn away(engine: Engine) -> Outcome {
    if engine.real().is_none() {
        return Outcome::NotOffered("a simulation is never away".to_owned());
    }
    let scene = Scene::severable(&engine).await;
    scene
        .soon("it is there", async || {
            node(&scene, HOST).await.expect("the node")["containers"].as_i64().filter(|count| *count >= 0)
        })
        .await;
    scene.cut();
    scene
        .soon("it is away", async || {
            let shown = node(&scene, HOST).await.expect("it is still a node");
            (shown["containers"] == -1 && shown["storage"] == false).then_some(())
        })
        .await;
    Outcome::Shown
}

pub(super) async fn remove(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let added = scene.change("POST", r#"{"host":"newcomer","rack":{"row":1}}"#).await.expect(200).json();
    // Both must fit where both are given.
    let other = json!({ "host": "newcomer", "_id": "0".repeat(24) }).to_string();
    refused(scene.change("DELETE", &other).await, 404);
    assert_eq!(scene.change("DELETE", BODY).await.expect(200).json(), added);
    assert_eq!(node(&scene, "newcomer").await, None);
    let _ = scene.server().get("/v1/nodes/newcomer").await.expect(404);
    let again = scene.change("POST", BODY).await.expect(200).json();
    assert_eq!(again, json!({ "_id": added["_id"], "host": "newcomer" }), "what was said of the other is forgotten");
    let by_id = json!({ "_id": added["_id"] }).to_string();
    let _ = scene.change("DELETE", &by_id).await.expect(200);
    assert_eq!(node(&scene, "newcomer").await, None);
    // What the configuration names would be back with the next start.
    let told = refused(scene.change("DELETE", &json!({ "host": HOST }).to_string()).await, 409);
    assert!(told["message"].as_str().expect("a text").contains("configuration"), "{told}");
    assert!(node(&scene, HOST).await.is_some());
    Outcome::Shown
}

pub(super) async fn remove_ghost(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    for body in [r#"{"host":"x"}"#, r#"{"host":".*"}"#, r#"{"_id":"545ca47d1ba8890fc20a19cc"}"#] {
        let told = refused(scene.change("DELETE", body).await, 404);
        assert_eq!(told, json!({ "message": "Not Found Record: None", "return_code": 404 }));
    }
    Outcome::Shown
}

pub(super) async fn remove_nobody(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let _ = scene.change("POST", BODY).await.expect(200);
    let before = scene.read("/nodes").await["n"].clone();
    for body in ["{}", "", r#"{"rack":7}"#, r#"{"host":{"$ne":""}}"#, r#"{"_id":["x"]}"#, r#"{"host":""}"#] {
        refused(scene.change("DELETE", body).await, 400);
    }
    assert_eq!(scene.read("/nodes").await["n"], before);
    Outcome::Shown
}

pub(super) async fn store_away(engine: Engine) -> Outcome {
    let Some(etcd) = OwnEtcd::start(&format!("pharos-{}", engine.name())) else {
        left_out("pharos without its store: needs etcd");
        return Outcome::Shown;
    };
    let store = format!("--store=etcd+http://{}/pharos", etcd.members().first().expect("a member"));
    let options = ServerOptions::default().node(HOST, "memory:").argument(&store);
    let scene = Scene::with(&engine, options).await;
    let _ = scene.change("POST", BODY).await.expect(200);
    let _frozen = etcd.freeze(0);
    let wanted = json!({ "message": "Storage is not available: MongoDB", "return_code": 500 });
    assert_eq!(scene.get("/nodes").await.expect(500).json(), wanted);
    assert_eq!(scene.change("POST", r#"{"host":"other"}"#).await.expect(500).json(), wanted);
    assert_eq!(scene.change("DELETE", BODY).await.expect(500).json(), wanted);
    // What needs no store goes on.
    scene.read("/containers").await;
    Outcome::Shown
}

pub(super) async fn readable(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let origin = |method: &str, path: &str| scene.request(method, path).header("origin", "http://elsewhere.example");
    for (path, status) in [
        ("/nodes", 200),
        ("/containers", 200),
        ("/events", 200),
        ("/nodes/ubuntu-dev/metrics", 200),
        ("/nodes/ghost/metrics", 404),
        ("/containers?limit=x", 400),
        ("/nothing", 404),
    ] {
        let answer = scene.send(origin("GET", path)).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
    }
    let asks = origin("OPTIONS", "/nodes").header("access-control-request-method", "DELETE");
    let may = scene.send(asks).await.expect(204);
    assert_eq!(may.header("access-control-allow-methods"), Some("GET"));
    // A page may read, and no more.
    refused(scene.send(origin("POST", "/nodes").body(BODY)).await, 403);
    assert_eq!(node(&scene, "newcomer").await, None);
    Outcome::Shown
}

pub(super) async fn wrong_ways(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    for path in ["/nodes/", "/containers/", "/events/", "/nodes/ubuntu-dev/metrics/", "/", "/node", "/containers/x"] {
        refused(scene.get(path).await, 404);
    }
    for (path, methods) in
        [("/nodes", "DELETE, GET, POST"), ("/containers", "GET"), ("/events", "GET"), ("/nodes/x/metrics", "GET")]
    {
        let answer = scene.send(scene.request("PUT", path)).await;
        assert_eq!(answer.header("allow"), Some(methods), "{path}");
        refused(answer, 405);
    }
    refused(scene.send(scene.request("POST", "/containers")).await, 405);
    let head = scene.send(scene.request("HEAD", "/nodes")).await.expect(200);
    assert!(head.body.is_empty());
    Outcome::Shown
}

pub(super) async fn members(engine: Engine) -> Outcome {
    let directory = tempfile::tempdir().expect("a directory");
    let body = r#"{"host":"newcomer","rack":{"row":[1,null]},"storage":"mine","_id":"mine","a.b":"$c"}"#;
    let mut told = Vec::new();
    for round in 0..2 {
        let scene = Scene::kept_in(&engine, directory.path()).await;
        if round == 0 {
            let _ = scene.change("POST", body).await.expect(200);
        }
        let list = scene.read("/nodes").await["nodes"].as_array().expect("nodes").clone();
        told.push(
            list.into_iter()
                .map(|node| json!([node["_id"], node["host"], node["rack"], node["a.b"]]))
                .collect::<Vec<_>>(),
        );
        let shown = node(&scene, "newcomer").await.expect("it is listed");
        assert_eq!((&shown["storage"], &shown["rack"]), (&json!(false), &json!({ "row": [1, null] })), "{shown}");
        assert!(is_id(&shown["_id"]));
    }
    assert_eq!(told[0], told[1]);
    // Below the name of the dialect it is all the same, for those who have the token.
    let scene = Scene::kept_in(&engine, directory.path()).await;
    let below = scene.server().get("/pharos/nodes").await.expect(200).json();
    assert_eq!(below["n"], scene.read("/nodes").await["n"]);
    let stranger = scene.send(reqwest::Client::new().get(scene.server().url("/pharos/nodes"))).await;
    refused(stranger, 401);
    Outcome::Shown
}

pub(super) async fn roles(engine: Engine) -> Outcome {
    let scene = Scene::for_readers(&engine).await;
    scene.read("/nodes").await;
    refused(scene.change("POST", BODY).await, 403);
    refused(scene.change("DELETE", BODY).await, 403);
    assert_eq!(node(&scene, "newcomer").await, None);
    // The token goes before the door, and the tools of old have Basic at most.
    let with = |method: &str| {
        let request = scene.request(method, "/nodes").basic_auth("anybody", Some(scene.server().token()));
        request.body(BODY)
    };
    let _ = scene.send(with("POST")).await.expect(200);
    let _ = scene.send(with("DELETE")).await.expect(200);
    // Each is written down, with what it was about.
    let audit = scene.server().get("/v1/audit?limit=1000").await.expect(200).text();
    for word in ["pharos.nodes.add", "pharos.nodes.remove", "newcomer"] {
        assert!(audit.contains(word), "{word}: {audit}");
    }
    Outcome::Shown
}
