//! One container from its creation to its deletion, with the event stream as witness.

use roadstead_tests::engines::image;
use roadstead_tests::{Server, ServerOptions, TestEngine};
use serde_json::{Value, json};

use super::{create, done, on};
use crate::SOON;

const MIB: u64 = 1024 * 1024;

fn spec(engine: &TestEngine) -> Value {
    json!({
        "image": image(),
        "name": engine.name("story"),
        "command": ["sh", "-c", "trap 'exit 5' TERM; echo started; while :; do sleep 0.1; done"],
        "env": {"PLAIN": "value", "SPACES": " a b ", "EMPTY": ""},
        "working_directory": "/tmp",
        "user": "0:0",
        "hostname": "storyteller",
        "labels": {"roadstead.test/kind": "story", "empty": ""},
        "mounts": [{"type": "tmpfs", "target": "/scratch", "size_bytes": MIB}],
        "limits": {"memory_bytes": 64 * MIB, "pids": 50, "cpu_shares": 512},
        "capabilities_drop": ["NET_RAW"],
        "restart": {"policy": "on_failure", "max_retries": 1},
        "stop_signal": "SIGTERM",
        "stop_timeout_seconds": 30,
        "dns": {"hosts": {"elsewhere": "192.0.2.7"}},
    })
}

async fn details(server: &Server, path: &str) -> Value {
    server.get(path).await.expect(200).json()
}

async fn state(server: &Server, path: &str) -> String {
    details(server, path).await["state"].as_str().expect("a state").to_owned()
}

async fn from_creation_to_deletion(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let mut events = server.events(&on(engine, "/events"), None).await;
    let spec = spec(engine);
    let made = create(&server, engine, &spec).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(made["name"], spec["name"]);
    let path = on(engine, &format!("/containers/{id}"));
    let verb = |verb: &str| format!("{path}/{verb}");

    // What was asked for is what is shown, and what the engine says by itself.
    let shown = details(&server, &path).await;
    assert_eq!(shown["state"], "created");
    for member in ["name", "command", "working_directory", "user", "hostname", "restart", "stop_timeout_seconds"] {
        assert_eq!(shown["spec"][member], spec[member], "{member}: {shown}");
    }
    assert_eq!(shown["spec"]["limits"]["memory_bytes"], 64 * MIB, "{shown}");
    assert_eq!(shown["spec"]["limits"]["pids"], 50, "{shown}");
    assert_eq!(shown["spec"]["mounts"][0]["target"], "/scratch", "{shown}");
    assert_eq!(shown["spec"]["mounts"][0]["type"], "tmpfs", "{shown}");
    for (name, value) in spec["env"].as_object().expect("env") {
        assert_eq!(&shown["spec"]["env"][name], value, "{name}: {shown}");
    }
    assert_eq!(shown["labels"]["roadstead.test/kind"], "story");
    assert_eq!(shown["spec"]["dns"]["hosts"]["elsewhere"], "192.0.2.7", "{shown}");
    let raw = engine.get(&format!("/containers/{id}/json"));
    assert_eq!(raw["HostConfig"]["Memory"], 64 * MIB);
    assert_eq!(raw["Config"]["Hostname"], "storyteller");
    assert_eq!(raw["State"]["Running"], false);

    // By name it is the same.
    let named = on(engine, &format!("/containers/{}", engine.name("story")));
    assert_eq!(details(&server, &named).await["id"], id.as_str());

    done(&server.post(&verb("start")).await);
    done(&server.post(&verb("start")).await);
    let running = details(&server, &path).await;
    assert_eq!(running["state"], "running");
    assert!(running["pid"].as_u64() > Some(1), "{running}");
    assert!(running["started_at"].is_string(), "{running}");

    // Engines say that it runs while their helper is still about to become its main process.
    let mut log = server.events(&format!("{}?follow=true", verb("logs")), None).await;
    log.find(SOON, |event| event.data.contains("started")).await;
    drop(log);

    let stats = server.get(&verb("stats")).await.expect(200).json();
    assert!(stats["memory"]["usage_bytes"].as_u64() > Some(0), "{stats}");
    assert!(stats["cpu"]["total_seconds"].as_f64() > Some(0.0), "{stats}");
    assert!(stats["pids"]["current"].as_u64() > Some(0), "{stats}");
    assert_eq!(stats["memory"]["limit_bytes"], 64 * MIB, "{stats}");
    assert!(stats["observed_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{stats}");

    let processes = server.get(&verb("processes")).await.expect(200).json();
    let main = processes["items"].as_array().expect("items").iter().find(|process| process["pid"] == running["pid"]);
    let main = main.unwrap_or_else(|| panic!("no main process {}: {processes}", running["pid"]));
    assert_eq!(main["cmdline"][0], "sh", "{main}");
    assert!(main["rss_bytes"].as_u64() > Some(0), "{main}");
    assert!(main["threads"].as_u64() == Some(1), "{main}");

    done(&server.post(&verb("freeze")).await);
    assert_eq!(state(&server, &path).await, "frozen");
    done(&server.post(&verb("unfreeze")).await);
    assert_eq!(state(&server, &path).await, "running");

    let new_name = engine.name("renamed");
    done(&server.post_json(&verb("rename"), &json!({"name": new_name})).await);
    server.get(&named).await.expect_problem(404, "not_found");
    let renamed = details(&server, &on(engine, &format!("/containers/{new_name}"))).await;
    assert_eq!((&renamed["id"], &renamed["name"]), (&json!(id), &json!(new_name)));

    let capabilities = server.get(&on(engine, "/capabilities")).await.expect(200).json();
    let update = json!({"limits": {"memory_bytes": 96 * MIB, "pids": 60}, "restart": {"policy": "on_failure", "max_retries": 4}});
    if capabilities["update"] == false {
        server.post_json(&verb("update"), &update).await.expect_problem(501, "unsupported");
        assert_eq!(details(&server, &path).await["spec"]["limits"]["memory_bytes"], 64 * MIB);
    } else {
        done(&server.post_json(&verb("update"), &update).await);
        let updated = details(&server, &path).await;
        assert_eq!(updated["spec"]["limits"]["memory_bytes"], 96 * MIB, "{updated}");
        assert_eq!(updated["spec"]["limits"]["pids"], 60, "{updated}");
        assert_eq!(updated["spec"]["restart"]["max_retries"], 4, "{updated}");
        assert_eq!(updated["spec"]["limits"]["cpu_shares"], 512, "an absent member stays: {updated}");
        let stats = server.get(&verb("stats")).await.expect(200).json();
        assert_eq!(stats["memory"]["limit_bytes"], 96 * MIB, "{stats}");
    }

    done(&server.post_json(&verb("restart"), &json!({"timeout_seconds": 5})).await);
    let restarted = details(&server, &path).await;
    assert_eq!(restarted["state"], "running");
    assert!(restarted["started_at"].as_str() > running["started_at"].as_str(), "{restarted}");

    // Somebody waits while it is stopped, and hears the exit code of its handler.
    let waiter = {
        let request = server.request("POST", &verb("wait")).json(&json!({"timeout_seconds": 60}));
        tokio::spawn(request.send())
    };
    // Its handler is set once it has written this.
    let mut log = server.events(&format!("{}?follow=true", verb("logs")), None).await;
    for _ in 0..2 {
        log.find(SOON, |event| event.data.contains("started")).await;
    }
    done(&server.post(&verb("stop")).await);
    let exit: Value = waiter.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(exit["exit_code"], 5, "{exit}");
    let stopped = details(&server, &path).await;
    assert_eq!((&stopped["state"], &stopped["exit_code"]), (&json!("stopped"), &json!(5)), "{stopped}");
    assert!(stopped["finished_at"].is_string() && stopped["pid"].is_null(), "{stopped}");
    done(&server.post(&verb("stop")).await);
    let exit = server.post(&verb("wait")).await.expect(200).json();
    assert_eq!(exit["exit_code"], 5, "{exit}");

    // A signal by number and by name.
    done(&server.post(&verb("start")).await);
    let mut log = server.events(&format!("{}?follow=true", verb("logs")), None).await;
    for _ in 0..3 {
        log.find(SOON, |event| event.data.contains("started")).await;
    }
    done(&server.post_json(&verb("kill"), &json!({"signal": 9})).await);
    let exit = server.post_json(&verb("wait"), &json!({"timeout_seconds": 30})).await.expect(200).json();
    assert_eq!(exit["exit_code"], 137, "{exit}");

    done(&server.delete(&path).await);
    server.get(&path).await.expect_problem(404, "not_found");
    server.delete(&path).await.expect_problem(404, "not_found");

    // The witness has seen it all, in this order.
    for action in [
        "created", "started", "frozen", "unfrozen", "renamed", "ended", "started", "ended", "started", "killed",
        "ended", "deleted",
    ] {
        let event = events
            .find(SOON, |event| {
                event.event != "error" && {
                    let event = event.json();
                    event["id"] == id.as_str() && event["action"] == action
                }
            })
            .await;
        let id = event.id.as_deref().expect("events have ids");
        assert!(!id.is_empty());
        assert_eq!(event.json()["node"], engine.kind());
        assert_eq!(event.json()["resource"], "container");
    }
}

/// A container that was created and started in one request, and killed by its deletion.
async fn created_and_started_at_once(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let spec = json!({"image": image(), "name": engine.name("once"), "command": ["sleep", "1000"], "init": true});
    let made = server.post_json(&on(engine, "/containers?start=true"), &spec).await.expect(201).json();
    let path = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
    assert_eq!(state(&server, &path).await, "running");
    server.delete(&path).await.expect_problem(409, "conflict");
    assert_eq!(state(&server, &path).await, "running");
    done(&server.delete(&format!("{path}?force=true&volumes=true")).await);
    server.get(&path).await.expect_problem(404, "not_found");
}

/// What the process sees inside is what was asked for outside.
async fn the_process_sees_what_was_asked_for(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let mut spec = spec(engine);
    let script = "echo \"[$SPACES][$EMPTY][$PLAIN]\"; pwd; hostname; id -u; grep elsewhere /etc/hosts; \
                  dd if=/dev/zero of=/scratch/f bs=1M count=2 2>/dev/null || echo full; echo done >&2";
    spec["command"] = json!(["sh", "-c", script]);
    let made = create(&server, engine, &spec).await;
    let path = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
    done(&server.post(&format!("{path}/start")).await);
    let exit = server.post(&format!("{path}/wait")).await.expect(200).json();
    assert_eq!(exit["exit_code"], 0, "{exit}");
    let log = server.get(&format!("{path}/logs?stderr=false")).await.expect(200).text();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(&lines[..4], ["[ a b ][][value]", "/tmp", "storyteller", "0"], "{log}");
    assert!(lines[4].starts_with("192.0.2.7") && lines[4].ends_with("elsewhere"), "{log}");
    assert_eq!(lines[5..], ["full"], "{log}");
}

crate::on_both_engines! { from_creation_to_deletion created_and_started_at_once the_process_sees_what_was_asked_for }
