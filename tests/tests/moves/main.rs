//! Moves between real engines: what arrives, what plans say, and what cuts, stops and late writes do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod cuts;
mod during;
mod links;
mod matrix;
mod plans;

use std::sync::Arc;

use roadstead_core::migration::{MemoryLog, MoveLog, MovePlan, MoveRecord, MoveSpec, MoveState, Mover, WayChoice};
use roadstead_core::{ContainerSpec, Mount, MountKind, RestartPolicy};
use roadstead_tests::engines::{OwnEngine, TestEngine, image};
use roadstead_tests::moves::{End, Trial};
/// A container with as much to lose as two engines of one kind can carry.
fn rich() -> ContainerSpec {
    let mut spec = ContainerSpec::new(image()).label("team", "sea");
    spec.env.insert("KEY".to_owned(), "two  words".to_owned());
    spec.hostname = Some("moving-host".to_owned());
    spec.working_directory = Some("/tmp".to_owned());
    spec.restart = RestartPolicy::UnlessStopped;
    spec.stop_timeout_seconds = Some(5);
    spec.limits.memory_bytes = Some(64 << 20);
    spec.mounts = vec![
        mount(MountKind::Volume, None, "/store"),
        mount(MountKind::Volume, Some("kept"), "/srv/kept"),
        mount(MountKind::Tmpfs, None, "/scratch"),
        mount(MountKind::Tmpfs, None, "/cache"),
        mount(MountKind::Volume, None, "/cache/kept"),
    ];
    spec
}

fn mount(kind: MountKind, source: Option<&str>, target: &str) -> Mount {
    let source = source.map(str::to_owned);
    Mount { kind, source, target: target.to_owned(), read_only: false, size_bytes: None }
}

fn portable() -> MoveSpec {
    by(WayChoice::Portable)
}

/// The same for engines that have no restart policies.
fn rich_system() -> ContainerSpec {
    let mut spec = rich();
    spec.restart = RestartPolicy::Never;
    // These would mount the temporary file system over the volume.
    spec.mounts.retain(|mount| !mount.target.starts_with("/cache"));
    spec
}

/// The same without what engines of this kind do not copy themselves.
fn rich_native() -> ContainerSpec {
    let mut spec = rich_system();
    spec.mounts.retain(|mount| mount.kind != MountKind::Volume);
    spec
}

fn by(way: WayChoice) -> MoveSpec {
    let mut how = MoveSpec::default();
    how.way = way;
    how
}

/// Running and stopped, by `way`.
async fn running_and_stopped(source: &End, target: &End, spec: ContainerSpec, way: WayChoice) {
    Trial::new(source, target, spec.clone()).how(by(way)).uncut().await;
    Trial::new(source, target, spec).how(by(way)).stopped().uncut().await;
}

/// Two engines of the test's own.
type Own = fn(&str) -> Option<OwnEngine>;

fn pair(name: &str, source: Own, target: Own) -> Option<(End, End)> {
    let source = source(&format!("{name}-a"))?;
    let target = target(&format!("{name}-b"))?;
    Some((End::own("here", source), End::own("there", target)))
}

/// What the plan says is not carried.
fn losses(plan: &MovePlan) -> Vec<&str> {
    plan.not_carried.iter().map(|lost| lost.field.as_str()).collect()
}

/// Moves a container as it was planned.
async fn apply(source: &End, target: &End, plan: MovePlan) -> MoveRecord {
    let log = Arc::new(MemoryLog::default()) as Arc<dyn MoveLog>;
    let mover = Mover::new(source.direct().await, target.direct().await, log);
    mover.apply(MoveRecord::new(plan)).await.expect("the move")
}

/// Nothing was lost but what the plan says.
fn as_planned(record: &MoveRecord) {
    assert_eq!(record.state, MoveState::Done);
    assert!(!record.notes.iter().any(|note| note.contains("not carried")), "{:?}", record.notes);
}

/// Makes an instance with settings of the engine's own, past the program under test.
fn instance(engine: &TestEngine, name: &str, settings: &serde_json::Value) {
    let mut body = serde_json::json!({"name": name, "source": {"type": "image", "alias": image()}});
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let _ = engine.operate("POST", "/1.0/instances", Some(&body));
}
