//! Events: what one side does, the other is told of.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use roadstead_core::{
    ContainerUpdate, DeleteOptions, Event, EventAction, EventOptions, ItemStream, Limits, ResourceKind,
    SnapshotOptions, StopOptions,
};
use serde_json::Value;

use crate::scene::{SOON, Scene, SnapshotVerb};

/// Reads events of these names until these actions have come, in this order; others may come between.
async fn arrive(events: &mut ItemStream<Event>, names: &[&str], actions: &[EventAction]) {
    let mut seen = Vec::new();
    let mut left = actions.iter().copied().peekable();
    while let Some(wanted) = left.peek().copied() {
        let event = match tokio::time::timeout(SOON, events.next()).await {
            Ok(event) => event.expect("the stream goes on").expect("no error"),
            Err(_) => panic!("{wanted:?} does not come; came: {seen:?}"),
        };
        if event.resource == ResourceKind::Container && names.contains(&event.id.as_str()) {
            seen.push((event.action, event.engine_action.clone()));
            if event.action == wanted {
                let _ = left.next();
            }
        }
    }
}

pub(crate) async fn our_stream(scene: &Scene) {
    let mut events = scene.node().events(&EventOptions::default()).await.expect("we listen");
    let name = scene.they_init("c");
    let _ = scene.client(&["start", &name]);
    let _ = scene.client(&["pause", &name]);
    scene.they_resume(&name);
    let _ = scene.they_run(&name, "true");
    scene.they_snapshot(SnapshotVerb::Create, &name, "s");
    scene.they_snapshot(SnapshotVerb::Delete, &name, "s");
    let _ = scene.client(&["config", "set", &name, "user.team=sea"]);
    let _ = scene.client(&["stop", &name, "--force"]);
    let new = scene.name("new");
    let _ = scene.client(&["rename", &name, &new]);
    let _ = scene.client(&["delete", &new]);
    let names = [name.as_str(), new.as_str()];
    arrive(
        &mut events,
        &names,
        &[
            EventAction::Created,
            EventAction::Started,
            EventAction::Frozen,
            EventAction::Unfrozen,
            EventAction::JobStarted,
            EventAction::SnapshotCreated,
            EventAction::SnapshotDeleted,
            EventAction::Updated,
            EventAction::Ended,
            EventAction::Renamed,
            EventAction::Deleted,
        ],
    )
    .await;
}

/// Their client's monitor, and what it prints.
struct Monitor {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Monitor {
    fn begin(scene: &Scene) -> Self {
        let mut command = scene.command(&["monitor", "--type", "lifecycle", "--format", "json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("their client begins");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (lines, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = lines.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Monitor { child, lines: receiver }
    }

    /// The next line about this container: the word for what happened.
    fn next(&self, names: &[&str], patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            let source = line["metadata"]["source"].as_str().unwrap_or_default().to_owned();
            let path = source.split('?').next().unwrap_or_default();
            if path.split('/').any(|part| names.contains(&part)) {
                return line["metadata"]["action"].as_str().map(str::to_owned);
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn their_monitor(scene: &Scene) {
    let monitor = Monitor::begin(scene);
    // It says nothing when it has begun to listen, so something is done until it tells of it.
    let probe = scene.we_create("probe").await;
    let mut limits = Limits::default();
    let end = Instant::now() + SOON;
    loop {
        limits.pids = Some(limits.pids.unwrap_or(20) + 1);
        probe.update(&ContainerUpdate::limits(limits.clone())).await.expect("we update");
        if monitor.next(&[probe.id()], Duration::from_millis(200)).is_some() {
            break;
        }
        assert!(Instant::now() < end, "their monitor tells nothing");
    }

    let container = scene.we_run("c").await;
    let (name, new) = (container.id().to_owned(), scene.name("new"));
    container.freeze().await.expect("we freeze");
    container.unfreeze().await.expect("we unfreeze");
    let _ = container.create_snapshot(&SnapshotOptions::new("s")).await.expect("we make a snapshot");
    container.delete_snapshot("s").await.expect("we delete it");
    container.stop(&StopOptions::after_seconds(0)).await.expect("we stop");
    container.rename(&new).await.expect("we rename");
    scene.container(&new).delete(&DeleteOptions::default()).await.expect("we delete");
    let mut left = [
        "created",
        "started",
        "paused",
        "resumed",
        "snapshot-created",
        "snapshot-deleted",
        "stopped",
        "renamed",
        "deleted",
    ]
    .into_iter()
    .peekable();
    let mut seen = Vec::new();
    while let Some(wanted) = left.peek().copied() {
        let Some(word) = monitor.next(&[&name, &new], SOON) else { panic!("{wanted} does not come; came: {seen:?}") };
        if word == format!("instance-{wanted}") {
            let _ = left.next();
        }
        seen.push(word);
    }
}
