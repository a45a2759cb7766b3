//! Cases about the metrics of nodes and containers.

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::nodes::is_id;
use super::scene::{Engine, HOST, Made, Scene, WAITS};

/// What is told of nothing.
const ZEROS: [f64; 10] = [0.0; 10];

/// Numbers of an array.
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// Whether two sums are one, but for the order of adding.
fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.abs().max(other.abs()) * 1e-12
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The metrics of the node, once they have this container with its processes.
async fn with(scene: &Scene, made: &Made) -> (Value, Value) {
    scene
        .soon(&format!("the node tells of {}", made.name), async || {
            let document = scene.read(&format!("/nodes/{HOST}/metrics")).await;
            let containers = document["Containers"].as_array().expect("containers");
            let own = containers.iter().find(|container| container["Id"] == made.id.as_str())?.clone();
            (!own["Processes"].as_array().expect("processes").is_empty()).then_some((document, own))
        })
        .await
}

/// Refuses where processes are not listed.
async fn lists_processes(engine: &Engine) -> Option<Outcome> {
    let has = engine.capabilities().await.node_processes;
    (!has).then(|| Outcome::NotOffered("the engine does not list processes".to_owned()))
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().expect("a time");
    text.parse::<roadstead_core::Timestamp>().is_ok() && text.len() == "2014-11-06T05:44:45.492745708Z".len()
}

pub(super) async fn of_node(engine: Engine) -> Outcome {
    if let Some(lacking) = lists_processes(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let made = scene.run("p12", WAITS).await;
    let (document, own) = with(&scene, &made).await;
    assert_eq!(names(&document), ["Containers", "Host", "Metrics", "SampledAt", "Stale", "_id"]);
    assert_eq!((&document["Host"], &document["Stale"]), (&json!(HOST), &json!(false)));
    assert!(is_id(&document["_id"]) && is_time(&document["SampledAt"]));
    assert_eq!(numbers(&document["Metrics"]).len(), 10);
    let members = ["Command", "Created", "Host", "Id", "Image", "Metrics", "Name", "Processes", "Started"];
    assert_eq!(names(&own), members, "no _id here");
    assert_eq!((&own["Name"], &own["Host"]), (&json!(format!("/{}", made.name)), &json!(HOST)));
    // The same document has the same id.
    assert_eq!(scene.read(&format!("/nodes/{HOST}/metrics")).await["_id"], document["_id"]);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn node_is_the_sum(engine: Engine) -> Outcome {
    if let Some(lacking) = lists_processes(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let script =
        "dd if=/dev/zero of=/big bs=65536 count=4 2>/dev/null; sync; trap 'exit 0' TERM; while :; do sleep 1; done";
    scene.run("p13-a", script).await;
    let made = scene.run("p13-b", WAITS).await;
    for _ in 0..3 {
        let (document, _) = with(&scene, &made).await;
        let all = document["Containers"].as_array().expect("containers");
        let of_node = numbers(&document["Metrics"]);
        for (index, of_node) in of_node.iter().enumerate() {
            let sum: f64 = all.iter().map(|container| numbers(&container["Metrics"])[index]).sum();
            assert!(is_same(sum, *of_node), "{index}: {sum} {of_node}");
        }
        assert!(all.len() >= 2 && of_node[4] > 0.0);
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn container_is_the_sum(engine: Engine) -> Outcome {
    if let Some(lacking) = lists_processes(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    // The shell of the simulation has no background.
    let script = if engine.real().is_some() { "sleep 3600 & sleep 3600 & wait" } else { WAITS };
    let made = scene.run("p14", script).await;
    let (_, own) = with(&scene, &made).await;
    let one = scene.sampled(&made).await;
    for document in [own, one] {
        let processes = document["Processes"].as_array().expect("processes");
        let of_container = numbers(&document["Metrics"]);
        for (index, of_container) in of_container.iter().enumerate() {
            let each: Vec<f64> = processes.iter().map(|process| numbers(&process["metrics"])[index]).collect();
            if index < 6 {
                let sum: f64 = each.iter().sum();
                assert!(is_same(sum, *of_container), "{index}: {sum} {of_container}");
            } else {
                assert!(each.iter().all(|number| *number == 0.0), "{each:?}");
            }
        }
        let sum = &document["Metrics"];
        assert!([4, 5].iter().all(|index| sum[index].is_f64()), "sums are no whole numbers: {sum}");
        for process in processes {
            let own = &process["metrics"];
            assert!([4, 5].iter().all(|index| own[index].is_u64()), "bytes are whole numbers: {own}");
            let members =
                ["cmdline", "connections", "exe", "metrics", "name", "num_threads", "open_files", "pid", "status"];
            assert_eq!(names(process), members);
        }
        assert!(processes.is_sorted_by_key(|process| process["pid"].as_u64()));
    }
    scene.end().await;
    Outcome::Shown
}

/// Of an engine that others use, too, a server that has another node on which nothing runs tells of that.
pub(super) async fn of_nothing(engine: Engine) -> Outcome {
    let scene = Scene::with(
        &engine,
        roadstead_tests::server::ServerOptions::default().node(HOST, "memory:").node("engine", &engine.uri()),
    )
    .await;
    let document = scene.read(&format!("/nodes/{HOST}/metrics")).await;
    assert_eq!(document["Containers"], json!([]));
    assert_eq!(document["Metrics"], json!(ZEROS));
    assert!(document["Metrics"].as_array().expect("numbers").iter().all(Value::is_f64), "{document}");
    // What runs on the engine itself is as many as there are.
    let own = scene.read("/nodes/engine/metrics").await;
    let all = own["Containers"].as_array().expect("containers");
    if all.is_empty() {
        assert_eq!(own["Metrics"], json!(ZEROS));
    }
    Outcome::Shown
}

pub(super) async fn of_ghost(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    for path in [
        "/nodes/ghost/metrics",
        "/nodes/.*/metrics",
        "/nodes/ubuntu/metrics",
        "/nodes/../metrics",
        "/nodes/%ff/metrics",
    ] {
        let answer = scene.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert_eq!(answer.json()["return_code"], 404);
    }
    Outcome::Shown
}

pub(super) async fn of_container(engine: Engine) -> Outcome {
    if let Some(lacking) = lists_processes(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let made = scene.run("p22", WAITS).await;
    let document = scene.sampled(&made).await;
    // Only where ids are long does a part of one mean but one container.
    if made.id.len() == 64 {
        let by_part = scene.read(&format!("/containers/{}/metrics", &made.id[..12])).await;
        assert_eq!((&by_part["Id"], &by_part["_id"]), (&document["Id"], &document["_id"]));
    }
    assert_eq!(document["Id"], made.id.as_str());
    assert!(is_id(&document["_id"]) && is_time(&document["SampledAt"]) && is_time(&document["Created"]));
    assert_eq!(numbers(&document["Metrics"]).len(), 10);
    let known = scene.inspect(&made).await;
    let main = known["pid"].as_u64();
    let processes = document["Processes"].as_array().expect("processes");
    assert!(main.is_none() || processes.iter().any(|process| process["pid"].as_u64() == main), "{main:?} {document}");
    assert_eq!(document["Image"], known["image"]);
    // The id is one of this container, whatever it is asked of.
    let listed = scene.listed("", &made).await.expect("it is listed");
    assert!(is_id(&listed["_id"]) && listed["_id"] != document["_id"]);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn by_expression(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    let made = scene.run("p23", WAITS).await;
    let middle = made.id.get(1..).unwrap_or_default();
    for id in [".*", ".", "%5e", "%24", &format!("{}.*", made.id), &format!("%5E{}", made.id), &format!("_{middle}")] {
        let answer = scene.get(&format!("/containers/{id}/metrics")).await;
        assert_eq!(answer.status, 404, "{id}: {}", answer.text());
        assert_eq!(answer.json()["return_code"], 404);
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn of_no_container(engine: Engine) -> Outcome {
    let scene = Scene::new(&engine).await;
    for id in ["ffff", "zzzz-ghost", "%00", "%F0%9F%90%8B"] {
        let answer = scene.get(&format!("/containers/{id}/metrics")).await;
        // A beginning that some container of others has means that one.
        if id != "ffff" || answer.status != 200 {
            assert_eq!(answer.status, 404, "{id}: {}", answer.text());
            assert_eq!(answer.json()["return_code"], 404);
        }
    }
    let made = scene.create("p24", WAITS).await;
    let _ = scene.get(&format!("/containers/{}/metrics", made.id)).await.expect(404);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn ambiguous(engine: Engine) -> Outcome {
    let scene = Scene::with(
        &engine,
        roadstead_tests::server::ServerOptions::default().node(HOST, &engine.uri()).node("again", &engine.uri()),
    )
    .await;
    if engine.real().is_none() {
        return Outcome::NotOffered("two simulations have no container in common".to_owned());
    }
    let made = scene.run("e05", WAITS).await;
    // It is on both nodes, which are one engine.
    let path = format!("/containers/{}/metrics", made.id);
    let told = scene
        .soon("both nodes know it", async || {
            let answer = scene.get(&path).await;
            (answer.status == 409).then(|| answer.json())
        })
        .await;
    assert_eq!(told["return_code"], 409);
    for host in [HOST, "again"] {
        let document = scene.read(&format!("{path}?host={host}")).await;
        assert_eq!((&document["Id"], &document["Host"]), (&json!(made.id), &json!(host)));
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn stale(engine: Engine) -> Outcome {
    if engine.real().is_none() {
        return Outcome::NotOffered("a simulation is never away".to_owned());
    }
    let helper = Scene::new(&engine).await;
    let made = helper.run("e06", WAITS).await;
    let scene = Scene::severable(&engine).await;
    let last_of_container = scene.sampled(&made).await;
    let (last_of_node, _) = with(&scene, &made).await;
    scene.cut();
    let of_container = format!("/containers/{}/metrics", made.id);
    for (path, last) in [(format!("/nodes/{HOST}/metrics"), last_of_node), (of_container, last_of_container)] {
        let told = scene
            .soon("it is told as stale", async || {
                let document = scene.read(&path).await;
                (document["Stale"] == true).then_some(document)
            })
            .await;
        // Some may have been told after the last that we saw, but none after the cut.
        assert_eq!(names(&told), names(&last));
        assert!(told["SampledAt"].as_str() >= last["SampledAt"].as_str(), "{told} {last}");
        let again = scene.read(&path).await;
        assert_eq!(again, told, "what is stale does not change");
    }
    // Of what was never seen there is nothing to tell, and the list says whose part is missing.
    scene
        .soon("the list says whose part is missing", async || {
            let list = scene.read("/containers").await;
            let is_told = list["n"] == 0 && list["errors"][0]["Host"] == HOST;
            is_told.then_some(())
        })
        .await;
    helper.end().await;
    Outcome::Shown
}
