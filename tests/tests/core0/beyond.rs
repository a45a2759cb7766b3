//! What the captures have nothing of, but the reference has, or tests of clients rely on.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::captures::parsed;
use crate::replayer::Replayer;
use crate::world::{self, World};

const ROOT: &str = "file:///opt/flist/busybox.flist";

fn node(test: &str, options: &[&str]) -> Option<Replayer> {
    world::possible(test).then(|| Replayer::new(World::with(options)))
}

/// The value that a command answered.
#[track_caller]
fn value(result: &Value) -> Value {
    assert_eq!((&result["state"], &result["level"]), (&json!("SUCCESS"), &json!(20)), "{result}");
    parsed(&result["data"])
}

fn create(node: &mut Replayer, arguments: &Value) -> u64 {
    let mut all = json!({"root": ROOT});
    all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
    value(&node.run("corex.create", &all)).as_u64().unwrap()
}

/// The result of a shell script in a container.
fn script(node: &mut Replayer, container: u64, script: &str) -> Value {
    let job = node.dispatch(container, &json!({"command": "bash", "arguments": {"script": script}}));
    node.result(&job)
}

fn runs(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_container_has_what_it_was_given() {
    let Some(mut node) = node("core0 container", &[]) else { return };
    let mounted = node.world.path("mounted");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::write(mounted.join("file"), "mounted").unwrap();
    let id = create(
        &mut node,
        &json!({
            "mount": {mounted.display().to_string(): "/mnt/there"}, "config": {"/etc/made/it": "configured"},
            "env": {"GREETING": "hello"}, "hostname": "box", "privileged": true, "nics": [{"type": "default"}],
        }),
    );
    let looks = "cat /mnt/there/file /etc/made/it; echo $GREETING; hostname; tr '\\0' ' ' </proc/1/cmdline; \
                 ip -o -4 address show eth0 | grep -o 'inet [0-9./]*'; echo back >/mnt/there/written";
    let seen = script(&mut node, id, looks);
    let address = format!("inet 172.18.0.{}/16", id + 1);
    let expected = format!("mountedconfiguredhello\nbox\n/coreX -hostname box {address}\n");
    assert_eq!(seen["streams"][0], expected, "{seen}");
    assert_eq!(std::fs::read_to_string(mounted.join("written")).unwrap(), "back\n");
    let other = create(&mut node, &json!({"nics": [{"type": "default"}]}));
    let reached = script(&mut node, other, &format!("ping -c 1 -w 5 172.18.0.{}", id + 1));
    assert_eq!(reached["state"], "SUCCESS", "{reached}");
}

#[test]
fn jobs_of_a_container_end_with_it() {
    let Some(mut node) = node("core0 container's end", &[]) else { return };
    let id = create(&mut node, &json!({"nics": [{"type": "default"}], "port": {"8099": 80}}));
    let job = node.dispatch(id, &json!({"command": "core.system", "arguments": {"name": "sleep", "args": ["1000"]}}));
    assert_eq!(value(&node.run("socat.list", &json!({}))).as_array().map(Vec::len), Some(1));
    let pid = value(&node.run("corex.get", &json!({"query": id})))["container"]["pid"].as_i64().unwrap();
    value(&node.run("corex.terminate", &json!({"container": id})));
    let result = node.result(&job);
    assert_eq!((&result["state"], &result["code"], &result["container"]), (&json!("ERROR"), &json!(999), &json!(id)));
    assert!(!runs(pid), "process 1 is gone");
    assert_eq!(value(&node.run("socat.list", &json!({}))), Value::Null);
    assert_eq!(value(&node.run("corex.list", &json!({}))), json!({}));
    assert!(!node.world.path(&format!("node/containers/{id}")).exists());
}

#[test]
fn containers_do_not_outlive_a_killed_node() {
    let Some(mut node) = node("core0 kill", &[]) else { return };
    let id = create(&mut node, &json!({}));
    node.dispatch(id, &json!({"command": "core.system", "arguments": {"name": "sleep", "args": ["1000"]}}));
    let pid = value(&node.run("corex.get", &json!({"query": id})))["container"]["pid"].as_i64().unwrap();
    assert!(runs(pid));
    node.world.kill("core0.log");
    until("the container's end", || !runs(pid));
}

/// A node with a job, `meanwhile`, that ends while the Redis is away, which remembers that it was accepted.
fn ends_meanwhile(test: &str, options: &[&str], has_ended: impl Fn(&str) -> bool) -> Option<Replayer> {
    let mut node = node(test, options)?;
    node.push(r#"{"id": "meanwhile", "command": "bash", "arguments": {"script": "sleep 1; echo done"}}"#);
    assert_eq!(node.flagged("meanwhile").as_deref(), Some(""));
    assert_eq!(node.ask::<String>(&["SAVE"]), "OK");
    node.world.kill("redis.log");
    let log = node.world.path("core0.log");
    until("the end", || has_ended(&std::fs::read_to_string(&log).unwrap()));
    node.world.start_redis();
    node.redis = node.world.connect();
    Some(node)
}

#[test]
fn what_ends_while_redis_is_away_is_lost() {
    let lost = |log: &str| log.contains("lost the result of meanwhile:");
    let Some(mut node) = ends_meanwhile("core0 without Redis", &[], lost) else { return };
    value(&node.run("core.ping", &json!({})));
    assert_eq!(node.ask::<i64>(&["EXISTS", "result:meanwhile"]), 0);
    assert_eq!(node.ask::<i64>(&["TTL", "result:meanwhile:flag"]), -1, "the flag tells of no end either");
}

// A node of G3 does not; clients are to bear one that does.
#[test]
fn what_ends_while_redis_is_away_is_held_where_that_is_asked_for() {
    let over = Instant::now() + Duration::from_millis(1500);
    let passed = |_: &str| Instant::now() > over;
    let Some(mut node) = ends_meanwhile("core0 that holds", &["--when-away", "hold"], passed) else { return };
    let result = node.result("meanwhile");
    assert_eq!((&result["state"], &result["streams"][0]), (&json!("SUCCESS"), &json!("done\n")));
    value(&node.run("core.ping", &json!({})));
    assert_eq!(node.ask::<i64>(&["LLEN", "result:meanwhile"]), 1);
}

#[test]
fn a_command_runs_when_its_flag_cannot_be_asked_for() {
    let Some(mut node) = node("core0 without flags", &[]) else { return };
    let again = r#"{"id": "again", "command": "core.ping", "arguments": {}}"#;
    node.push(again);
    until("the result", || node.ask::<i64>(&["LLEN", "result:again"]) == 1);
    node.push(again);
    value(&node.run("core.ping", &json!({})));
    assert_eq!(node.ask::<i64>(&["LLEN", "result:again"]), 1, "its id is known");
    assert_eq!(node.ask::<String>(&["ACL", "SETUSER", "default", "-exists"]), "OK");
    node.push(again);
    until("the second result", || node.ask::<i64>(&["LLEN", "result:again"]) == 2);
}

#[test]
fn no_more_jobs_run_at_once_than_may() {
    // Two for the test; the four that measure the node wait between their runs, and hold a place nevertheless.
    let Some(mut node) = node("core0 limit", &["--max-jobs", "6"]) else { return };
    for number in 0..6 {
        let arguments = json!({"script": "date +%s.%N; sleep 0.5; date +%s.%N"});
        node.push(&json!({"id": format!("limited-{number}"), "command": "bash", "arguments": arguments}).to_string());
    }
    let mut times: Vec<(f64, i32)> = Vec::new();
    for number in 0..6 {
        let result = node.result(&format!("limited-{number}"));
        let lines: Vec<f64> =
            result["streams"][0].as_str().unwrap().lines().map(|line| line.parse().unwrap()).collect();
        times.extend([(lines[0], 1), (lines[1], -1)]);
    }
    times.sort_by(|one, other| one.0.total_cmp(&other.0));
    let most = times
        .iter()
        .scan(0, |count, (_, change)| {
            Some({
                *count += change;
                *count
            })
        })
        .max();
    assert!(most.is_some_and(|most| most <= 2), "{most:?} at once");
}

#[test]
fn a_node_that_goes_off_ends_everything_first() {
    let Some(mut node) = node("core0 power", &[]) else { return };
    let id = create(&mut node, &json!({}));
    let pid = value(&node.run("corex.get", &json!({"query": id})))["container"]["pid"].as_i64().unwrap();
    node.push(r#"{"id": "sleeper", "command": "core.system", "arguments": {"name": "sleep", "args": ["1000"]}}"#);
    assert_eq!(node.flagged("sleeper").as_deref(), Some(""));
    // Accepted is not begun.
    until("the sleeper's process", || {
        value(&node.run("job.list", &json!({"id": "sleeper"})))[0]["pid"].as_i64().is_some_and(|pid| pid > 0)
    });
    let off = node.run("core.poweroff", &json!({}));
    assert_eq!(
        (&off["state"], &off["level"], &off["streams"][0]),
        (&json!("SUCCESS"), &json!(0), &json!("powering off...\n"))
    );
    assert_eq!(node.result("sleeper")["code"], 999);
    assert!(!runs(pid));
    until("the stand-in's end", || !Path::new(&node.world.path("node/core.sock")).exists());
}

#[test]
fn subscribers_get_what_was_and_what_comes() {
    let Some(mut node) = node("core0 subscribe", &[]) else { return };
    let arguments = json!({"script": "echo early; sleep 0.7; echo late; exit 3"});
    node.push(&json!({"id": "talker", "command": "bash", "arguments": arguments}).to_string());
    std::thread::sleep(Duration::from_millis(300));
    node.push(r#"{"id": "listener", "command": "core.subscribe", "arguments": {"id": "talker"}, "stream": true}"#);
    let said: Vec<(Value, Value)> = node
        .entries("listener")
        .iter()
        .map(|entry| (entry["message"]["message"].clone(), entry["message"]["meta"].clone()))
        .collect();
    let expected =
        [("early\n", 65537), ("late\n", 65537), ("", 131_077)].map(|(text, meta)| (json!(text), json!(meta)));
    assert_eq!(said, expected);
    let missing = node.run("core.subscribe", &json!({"id": "nobody"}));
    assert_eq!((&missing["code"], parsed(&missing["data"])), (&json!(500), json!("job 'nobody' does not exist")));
}
