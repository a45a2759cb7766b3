//! Moves of instances that servers treat in ways of their own: started with the server, deleted at their end, protected, on
//! one server twice, changed within the second of a snapshot.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use roadstead_core::migration::{
    self, Canceller, MemoryLog, MoveRecord, MoveSpec, MoveState, Mover, Observer, Phase, Point, Step,
};
use roadstead_core::{ConnectOptions, ErrorKind, Node, Result};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::{OwnEngine, docker, image, lxd, lxd_second};
use serde_json::{Value, json};

use crate::Known;

const SOON: Duration = Duration::from_secs(60);

async fn node(name: &str, uri: &str) -> Arc<dyn Node> {
    roadstead_backends::registry().connect(name, uri, &ConnectOptions::default()).await.expect("it connects")
}

/// An instance that runs, with these members of its own.
fn launch(engine: &TestEngine, rest: &str, members: &Value) -> String {
    let name = engine.name(rest);
    let mut body = json!({"name": name, "type": "container", "source": {"type": "image", "alias": image()}});
    for (key, value) in members.as_object().expect("an object") {
        body[key] = value.clone();
    }
    engine.operate("POST", "/1.0/instances", Some(&body));
    state(engine, &name, "start");
    name
}

fn state(engine: &TestEngine, name: &str, action: &str) {
    let body = json!({"action": action, "force": true});
    engine.operate("PUT", &format!("/1.0/instances/{name}/state"), Some(&body));
}

fn instance(engine: &TestEngine, name: &str) -> Value {
    engine.get(&format!("/1.0/instances/{name}"))["metadata"].clone()
}

fn autostart(engine: &TestEngine, name: &str) -> (Option<String>, Option<String>) {
    let config = instance(engine, name)["config"].clone();
    let key = |key: &str| config[key].as_str().map(str::to_owned);
    (key("boot.autostart"), key("user.roadstead.held"))
}

async fn moved(source: &Arc<dyn Node>, target: &Arc<dyn Node>, spec: &MoveSpec) -> Result<MoveRecord> {
    let plan = migration::plan(source, target, spec).await?;
    let mover = Mover::new(Arc::clone(source), Arc::clone(target), Arc::new(MemoryLog::default()));
    mover.grace(Duration::from_millis(200)).apply(MoveRecord::new(plan)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_with_its_server_does_so_after_the_move() {
    let (Some(from), Some(to)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (from.cleaner(), to.cleaner());
    let (source, target) = (node("here", from.uri()).await, node("there", to.uri()).await);
    for before in [None, Some("true"), Some("false")] {
        let config = before.map_or(json!({}), |value| json!({"boot.autostart": value}));
        let name = launch(&from, &format!("auto-{}", before.unwrap_or("none")), &json!({"config": config}));
        let record = moved(&source, &target, &MoveSpec::new(&name)).await.expect("the move");
        assert_eq!(record.state, MoveState::Done);
        assert_eq!(autostart(&to, &name), (before.map(str::to_owned), None));
        assert_eq!(instance(&to, &name)["status"], "Running");
        let _ = to.client(&["delete", "--force", &name]);
    }
}

/// Calls the move off when it begins to copy.
#[derive(Debug)]
struct CallsOff(Canceller);

#[async_trait]
impl Observer for CallsOff {
    async fn reached(&self, point: Point) {
        if point == (Point { step: Step::Copy, phase: Phase::Before }) {
            self.0.cancel();
            tokio::task::yield_now().await;
        }
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_called_off_leaves_the_source_as_it_was() {
    let (Some(from), Some(to)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (from.cleaner(), to.cleaner());
    let (source, target) = (node("here", from.uri()).await, node("there", to.uri()).await);
    let name = launch(&from, "off", &json!({"config": {"boot.autostart": "true"}}));
    let plan = migration::plan(&source, &target, &MoveSpec::new(&name)).await.expect("a plan");
    let canceller = Canceller::default();
    let mover = Mover::new(source, target, Arc::new(MemoryLog::default()))
        .observed_by(Arc::new(CallsOff(canceller.clone())))
        .cancelled_by(canceller);
    let refused = mover.apply(MoveRecord::new(plan)).await.expect_err("it was called off");
    assert_eq!(refused.kind(), ErrorKind::Cancelled);
    assert_eq!(autostart(&from, &name), (Some("true".to_owned()), None));
    assert_eq!(instance(&from, &name)["status"], "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_kept_is_not_started_with_its_server() {
    let Some(own) = OwnEngine::lxd("mvkeep") else { return };
    let (from, Some(to)) = (own.engine(), lxd_second()) else { return };
    let _cleaner = to.cleaner();
    let (source, target) = (node("here", from.uri()).await, node("there", to.uri()).await);
    let name = launch(from, "kept", &json!({"config": {"boot.autostart": "true"}}));
    let control = launch(from, "control", &json!({"config": {"boot.autostart": "true"}}));
    let mut spec = MoveSpec::new(&name);
    spec.keep_source = true;
    spec.new_name = Some(to.name("kept"));
    let record = moved(&source, &target, &spec).await.expect("the move");
    // A server that is started starts what it shall start, whether it ran or not.
    state(from, &control, "stop");
    own.kill();
    own.start_again();
    let until = Instant::now() + SOON;
    while instance(from, &control)["status"] != "Running" {
        assert!(Instant::now() < until, "the server does not start what it is told to");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(instance(from, &record.retired_name())["status"], "Stopped");
    assert_eq!(instance(&to, &to.name("kept"))["status"], "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_gone_or_could_not_go_is_refused_before_anything_is_done() {
    let (Some(from), Some(to), Some(docker)) = (lxd(), lxd_second(), docker()) else { return };
    let _cleaners = (from.cleaner(), docker.cleaner());
    let (source, target) = (node("here", from.uri()).await, node("there", to.uri()).await);
    let ephemeral = launch(&from, "ephemeral", &json!({"ephemeral": true}));
    let protected = launch(&from, "protected", &json!({"config": {"security.protection.delete": "true"}}));
    for name in [&ephemeral, &protected] {
        let refused = migration::plan(&source, &target, &MoveSpec::new(name)).await.expect_err("a refusal");
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert_eq!(instance(&from, name)["status"], "Running");
    }
    let mut kept = MoveSpec::new(&protected);
    kept.keep_source = true;
    let plan = migration::plan(&source, &target, &kept).await.expect("a plan");
    let named = |field: &str| plan.not_carried.iter().any(|lost| lost.field == field);
    assert!(named("config.security.protection.delete"), "{:?}", plan.not_carried);
    let freed = json!({"config": {"security.protection.delete": "false"}});
    assert_eq!(from.ask("PATCH", &format!("/1.0/instances/{protected}"), Some(&freed)).status, 200);

    let body = json!({"Image": image(), "Cmd": ["sleep", "600"], "HostConfig": {"AutoRemove": true}});
    let removed = docker.name("removed");
    assert_eq!(docker.ask("POST", &format!("/containers/create?name={removed}"), Some(&body)).status, 201);
    let source = node("docker", docker.uri()).await;
    let refused = migration::plan(&source, &target, &MoveSpec::new(&removed)).await.expect_err("a refusal");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_ways_to_one_server() {
    let Some(engine) = lxd() else { return };
    let _cleaner = engine.cleaner();
    let known = Known::of(&engine);
    let tls = format!("{}?server_certificate={}&{}", engine.tls_uri(), known.server.display(), known.query);
    let (source, target) = (node("socket", engine.uri()).await, node("tls", &tls).await);
    let name = launch(&engine, "twice", &json!({}));
    let mut spec = MoveSpec::new(&name);
    spec.new_name = Some(engine.name("once"));
    let record = moved(&source, &target, &spec).await.expect("the move");
    assert_eq!(record.state, MoveState::Done);
    assert_eq!(instance(&engine, &engine.name("once"))["status"], "Running");
    assert_eq!(engine.ask("GET", &format!("/1.0/instances/{name}"), None).status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_within_the_second_of_a_snapshot_is_not_lost() {
    let (Some(from), Some(to)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (from.cleaner(), to.cleaner());
    let (source, target) = (node("here", from.uri()).await, node("there", to.uri()).await);
    let name = launch(&from, "second", &json!({}));
    state(&from, &name, "stop");
    let root = |engine: &TestEngine| {
        engine.socket().with_file_name("storage-pools").join("default/containers").join(&name).join("rootfs")
    };
    let file = root(&from).join("file");
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let owner = fs::metadata(root(&from)).expect("the root").uid();
    let write = |words: &str| {
        fs::write(&file, words).expect("a file");
        std::os::unix::fs::chown(&file, Some(owner), Some(owner)).expect("the container's own");
        fs::File::options().write(true).open(&file).expect("it is there").set_modified(time).expect("a time");
    };
    write("old words");
    from.operate("POST", &format!("/1.0/instances/{name}/snapshots"), Some(&json!({"name": "first"})));
    write("new words");
    match moved(&source, &target, &MoveSpec::new(&name)).await {
        Ok(record) => {
            assert_eq!(fs::read_to_string(root(&to).join("file")).expect("the file"), "new words", "{record:#?}");
        }
        Err(error) => {
            assert!(error.message().contains("not what the source is"), "{error}");
            assert_eq!(fs::read_to_string(&file).expect("the file"), "new words");
            assert_eq!(to.ask("GET", &format!("/1.0/instances/{name}"), None).status, 404);
        }
    }
}
