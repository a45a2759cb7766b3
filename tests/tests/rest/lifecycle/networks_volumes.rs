//! Networks and volumes: made, found, used, refused while in use, deleted.

use roadstead_tests::engines::image;
use roadstead_tests::{ServerOptions, TestEngine};
use serde_json::{Value, json};

use super::{create, done, on};

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list["items"].as_array().expect("items").iter().find(|item| item["name"] == name)
}

async fn networks(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let (all, name) = (on(engine, "/networks"), engine.name("net"));
    let spec = json!({"name": name, "internal": true, "labels": {"roadstead.test": "yes"}});
    let made = server.post_json(&all, &spec).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = made.header("location").expect("where it is").to_owned();
    let network = server.get(&path).await.expect(200).json();
    assert_eq!((&network["name"], &network["internal"]), (&json!(name), &json!(true)), "{network}");
    assert_eq!(network["labels"]["roadstead.test"], "yes", "{network}");
    assert_eq!(network["driver"], "bridge", "{network}");
    assert!(network["subnets"][0]["cidr"].as_str().is_some_and(|range| range.contains('/')), "{network}");
    let listed = server.get(&all).await.expect(200).json();
    assert_eq!(named(&listed, &name).map(|item| &item["id"]), Some(&network["id"]), "{listed}");
    assert_eq!(engine.get(&format!("/networks/{name}"))["Name"], name.as_str());

    // Two containers on it find each other by name.
    let container = |rest: &str, command: Value| json!({"image": image(), "name": engine.name(rest), "command": command, "networks": [{"network": name, "aliases": ["other"]}]});
    let one = create(&server, engine, &container("one", json!(["sleep", "1000"]))).await;
    let one = on(engine, &format!("/containers/{}", one["id"].as_str().expect("an id")));
    done(&server.post(&format!("{one}/start")).await);
    let shown = server.get(&one).await.expect(200).json();
    assert_eq!(shown["endpoints"][0]["network"], name.as_str(), "{shown}");
    assert!(shown["endpoints"][0]["addresses"][0].is_string(), "{shown}");
    server.delete(&path).await.expect_problem(409, "conflict");
    server.post_json(&all, &json!({"name": name})).await.expect_problem(409, "already_exists");

    done(&server.delete(&format!("{one}?force=true")).await);
    done(&server.delete(&path).await);
    server.get(&path).await.expect_problem(404, "not_found");
    server.delete(&path).await.expect_problem(404, "not_found");
}

async fn volumes(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let (all, name) = (on(engine, "/volumes"), engine.name("vol"));
    let made = server.post_json(&all, &json!({"name": name, "labels": {"roadstead.test": "yes"}})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = made.header("location").expect("where it is").to_owned();
    let volume = server.get(&path).await.expect(200).json();
    assert_eq!((&volume["name"], &volume["driver"]), (&json!(name), &json!("local")), "{volume}");
    assert_eq!(volume["labels"]["roadstead.test"], "yes", "{volume}");
    let listed = server.get(&all).await.expect(200).json();
    assert!(named(&listed, &name).is_some(), "{listed}");

    // What one container writes the next one reads, and cannot write where it may only read.
    let run = async |rest: &str, script: &str, read_only: bool| {
        let spec = json!({
            "image": image(), "name": engine.name(rest), "command": ["sh", "-c", script],
            "mounts": [{"type": "volume", "source": name, "target": "/data", "read_only": read_only}],
        });
        let made = create(&server, engine, &spec).await;
        let path = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
        done(&server.post(&format!("{path}/start")).await);
        let exit = server.post(&format!("{path}/wait")).await.expect(200).json();
        let log = server.get(&format!("{path}/logs?stderr=false")).await.expect(200).text();
        (exit["exit_code"].as_i64().expect("an exit code"), log)
    };
    assert_eq!(run("writer", "echo kept > /data/file", false).await, (0, String::new()));
    let (exit_code, log) = run("reader", "cat /data/file; echo more > /data/file", true).await;
    assert_eq!(log, "kept\n");
    assert_ne!(exit_code, 0, "a read-only volume was written");
    server.delete(&path).await.expect_problem(409, "conflict");
    server.post_json(&all, &json!({"name": name})).await.expect_problem(409, "already_exists");

    for container in ["writer", "reader"] {
        done(&server.delete(&on(engine, &format!("/containers/{}", engine.name(container)))).await);
    }
    done(&server.delete(&path).await);
    server.get(&path).await.expect_problem(404, "not_found");
    server.delete(&path).await.expect_problem(404, "not_found");
}

crate::on_both_engines! { networks volumes }
