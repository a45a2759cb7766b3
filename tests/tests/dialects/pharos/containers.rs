//! Cases about the list of containers.

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::nodes::is_id;
use super::scene::{Engine, HOST, Made, Scene, WAITS};

/// One that runs and one that did, as the reference has them.
async fn two(scene: &Scene, rest: &str) -> (Made, Made) {
    let running = scene.run(&format!("{rest}-c1"), WAITS).await;
    let stopped = scene.run(&format!("{rest}-c2"), WAITS).await;
    scene.stop(&stopped).await;
    (running, stopped)
}

/// Whether the list with this query has exactly these of the two. Where nobody else makes containers it has no others.
async fn has(engine: &Engine, scene: &Scene, query: &str, wanted: &[&Made], others: &[&Made]) {
    for made in wanted {
        let listed = scene.listed(query, made).await.unwrap_or_else(|| panic!("{query}: {} is missing", made.name));
        assert_eq!((&listed["Host"], &listed["Name"]), (&json!(HOST), &json!(format!("/{}", made.name))));
        assert!(is_id(&listed["_id"]));
    }
    for made in others {
        assert_eq!(scene.listed(query, made).await, None, "{query}");
    }
    if engine.real().is_none() {
        assert_eq!(scene.read(&format!("/containers{query}")).await["n"], wanted.len(), "{query}");
    }
}

pub(super) async fn running(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let (one, other) = two(&scene, "p17").await;
    for query in ["", "?all=false", "?quiet=true", "?host=", "?host=ubuntu-dev&status=running", "?unknown=%00"] {
        has(&engine, &scene, query, &[&one], &[&other]).await;
    }
    let listed = scene.listed("", &one).await.expect("it is listed");
    assert_eq!(listed["State"]["Running"], true);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn all(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let (one, other) = two(&scene, "p18").await;
    has(&engine, &scene, "?all=true", &[&one, &other], &[]).await;
    // In the order in which they were made, where that is told.
    let list = scene.read("/containers?all=true").await;
    let created: Vec<_> = list["containers"].as_array().expect("containers").iter().collect();
    // Lists of Docker tell whole seconds.
    let second = |container: &&Value| container["Created"].as_str().expect("a time")[..19].to_owned();
    assert!(created.is_sorted_by_key(second), "{list}");
    let stopped = scene.listed("?all=true", &other).await.expect("it is listed");
    assert_eq!((&stopped["State"]["Running"], &stopped["State"]["Pid"]), (&json!(false), &json!(0)));
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn all_by_another_word(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let (one, other) = two(&scene, "p19").await;
    for query in ["?all=1", "?all=True", "?all=yes", "?all=", "?all", "?status=everything"] {
        has(&engine, &scene, query, &[&one], &[&other]).await;
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn status_all(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let (one, other) = two(&scene, "p20").await;
    has(&engine, &scene, "?host=ubuntu-dev&status=all", &[&one, &other], &[]).await;
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn of_ghost(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    scene.run("p21", WAITS).await;
    for host in ["ghost", "ubuntu", ".*", "ubuntu-dev%20"] {
        let list = scene.read(&format!("/containers?host={host}")).await;
        assert_eq!(list, json!({ "containers": [], "n": 0 }), "{host}");
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn dies(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let made = scene.run("p25", WAITS).await;
    let path = format!("/containers/{}/metrics", made.id);
    let _ = scene.get(&path).await.expect(200);
    scene.stop(&made).await;
    let missing = scene.get(&path).await.expect(404).json();
    assert_eq!(missing["return_code"], 404);
    let listed = scene.listed("?all=true", &made).await.expect("it is still listed");
    assert_eq!(listed["State"]["Running"], false);
    assert_eq!(scene.listed("", &made).await, None);
    // Nor does it come back by itself, as a ghost would.
    scene.read(&format!("/nodes/{HOST}/metrics")).await;
    let _ = scene.get(&path).await.expect(404);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn destroyed(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let made = scene.run("p26", WAITS).await;
    scene.delete(&made).await;
    for query in ["?all=true", ""] {
        assert_eq!(scene.listed(query, &made).await, None, "{query}");
    }
    let _ = scene.get(&format!("/containers/{}/metrics", made.id)).await.expect(404);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn parts(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let (one, other) = two(&scene, "e03").await;
    if engine.real().is_none() {
        let part = async |query: &str| {
            let list = scene.read(&format!("/containers?all=true{query}")).await;
            let ids = list["containers"].as_array().expect("containers").iter();
            ids.map(|container| container["Id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(part("&limit=1").await, std::slice::from_ref(&one.id));
        assert_eq!(part("&limit=1&offset=1").await, std::slice::from_ref(&other.id));
        assert_eq!(part("&offset=1&limit=7").await, std::slice::from_ref(&other.id));
        assert_eq!(part("&offset=2").await, [""; 0]);
        assert_eq!(part("&limit=0").await, [""; 0]);
    }
    let first = scene.read("/containers?all=true&limit=1").await;
    assert_eq!(first["n"], 1);
    for path in [
        "/containers?limit=-1",
        "/containers?offset=x",
        "/containers?limit=1.5",
        "/containers?limit=",
        "/events?limit=99999999999999999999",
        "/events?offset=0x1",
    ] {
        let refused = scene.get(path).await.expect(400).json();
        assert_eq!(refused["return_code"], 400, "{path}");
    }
    scene.end().await;
    Outcome::Shown
}

/// What the engine's own inspection tells of the same container.
pub(super) async fn by_docker(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let secret = json!({ "env": { "WORD": "a b=c" }, "working_directory": "/tmp" });
    let made = scene.run_with("e04", WAITS, secret).await;
    let listed = scene.listed("", &made).await.expect("it is listed");
    let known = scene.inspect(&made).await;
    assert_eq!(listed["State"]["Pid"].as_u64(), known["pid"].as_u64().or(Some(0)));
    assert_eq!((&listed["Id"], &listed["Config"]["Image"]), (&known["id"], &known["image"]));
    // No more is told of the environment than /v1 tells.
    let environment: Vec<String> = known["spec"]["env"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().expect("a text")))
        .collect();
    assert_eq!(listed["Config"]["Env"], json!(environment));
    if let Some(docker) = engine.real().filter(|real| ["docker", "podman"].contains(&real.kind())) {
        let own = docker.get(&format!("/containers/{}/json", made.id));
        let without = |value: &Value| json!(value.as_str().expect("an id").trim_start_matches("sha256:"));
        assert_eq!(listed["Image"], without(&own["Image"]));
        for path in
            ["/Id", "/Name", "/Path", "/Args", "/State/Pid", "/State/Running", "/Config/Cmd", "/Config/WorkingDir"]
        {
            let (told, own) = (listed.pointer(path), own.pointer(path));
            let name = |value: Option<&Value>| {
                value.and_then(Value::as_str).map(|text| text.trim_start_matches('/').to_owned())
            };
            if path == "/Name" {
                assert_eq!(name(told), name(own), "{path}");
            } else {
                assert_eq!(told, own, "{path}");
            }
        }
        let mut sorted: Vec<String> = serde_json::from_value(own["Config"]["Env"].clone()).expect("texts");
        sorted.sort();
        // Podman adds some of its own.
        for word in listed["Config"]["Env"].as_array().expect("texts") {
            assert!(sorted.iter().any(|own| Some(own.as_str()) == word.as_str()), "{word}: {sorted:?}");
        }
        assert!(listed["Config"]["Env"].as_array().expect("texts").contains(&json!("WORD=a b=c")));
    }
    scene.end().await;
    Outcome::Shown
}
