//! What the machine and the containers of theirs use, beside what their client tells of them.

use futures_util::StreamExt;
use roadstead_core::usage::ContainerUsage;
use roadstead_core::usage::{HistoryOf, HistoryOptions, Metric};
use roadstead_core::{NodeUsage, ProcessOptions, UsageOptions};

use crate::scene::{Scene, soon};

/// The machine, by the resources that the server tells of.
pub(crate) async fn tells_of_the_same_machine(scene: &Scene) {
    let resources = scene.query("/1.0/resources");
    let environment = scene.query("/1.0")["environment"].clone();
    let host = scene.node().host().await.expect("we are told");
    assert_eq!(Some(host.hostname.as_str()), environment["server_name"].as_str());
    assert_eq!(host.kernel.as_deref(), environment["kernel_version"].as_str());
    assert_eq!(Some(host.architecture.as_str()), environment["kernel_architecture"].as_str());
    assert_eq!(u64::try_from(host.cpus.len()).ok(), resources["cpu"]["total"].as_u64());
    // Theirs is what is built in, ours is what the kernel has left of it.
    let built_in = resources["memory"]["total"].as_u64().expect("it is told");
    assert!((built_in / 10 * 9..=built_in).contains(&host.memory_bytes), "{} of {built_in}", host.memory_bytes);
    let theirs = resources["storage"]["disks"].as_array().cloned().unwrap_or_default();
    for disk in &host.disks {
        let same = theirs.iter().find(|theirs| theirs["id"].as_str() == Some(&disk.name));
        assert_eq!(same.and_then(|theirs| theirs["size"].as_u64()), Some(disk.size_bytes), "{}", disk.name);
    }
}

fn of<'a>(usage: &'a NodeUsage, name: &str) -> Option<&'a ContainerUsage> {
    usage.containers.iter().find(|container| container.name == name)
}

/// Among all, and the only one when it is asked for alone.
pub(crate) async fn counts_the_same(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.they_run(&name, "sleep 4327 </dev/null >/dev/null 2>&1 &");
    let (ours, state) = soon("both count the same processes", async || {
        let all = scene.node().usage(&UsageOptions::default()).await.expect("we count");
        let ours = of(&all, &name)?.clone();
        let state = scene.listed(&name).expect("it is listed")["state"].clone();
        (Some(ours.stats.pids.current) == state["processes"].as_u64()).then_some((ours, state))
    })
    .await;
    // Each is read at its own moment.
    let near = |ours: f64, theirs: &serde_json::Value, off: f64| {
        let theirs = theirs.as_f64().unwrap_or(-1.0);
        assert!((ours - theirs).abs() <= off, "{ours} and {theirs}: {state}");
    };
    near(ours.stats.cpu.total_seconds * 1e9, &state["cpu"]["usage"], 1e9);
    near(ours.stats.memory.usage_bytes as f64, &state["memory"]["usage"], 4e6);
    let alone = scene.node().usage(&UsageOptions::of(&name)).await.expect("we count");
    assert_eq!(alone.containers.iter().map(|container| &container.name).collect::<Vec<_>>(), [&name]);
    assert!(alone.containers[0].stats.cpu.total_seconds >= ours.stats.cpu.total_seconds, "{alone:?}");
}

/// What goes on is seen as it goes on.
pub(crate) async fn shows_what_they_start_and_stop(scene: &Scene) {
    let mut live = scene.node().watch_usage(&UsageOptions::default()).await.expect("we watch");
    let mut next = async || live.next().await.expect("it goes on").expect("a usage");
    let name = scene.they_launch("c");
    while of(&next().await, &name).is_none() {}
    let _ = scene.client(&["stop", "--force", &name]);
    while of(&next().await, &name).is_some() {}
}

/// Points of a container that nobody of ours knew of before.
pub(crate) async fn remembers_theirs(scene: &Scene) {
    let name = scene.they_launch("c");
    let memory = soon("it has a history", async || {
        // Whoever asks keeps it going.
        let usage = scene.node().usage(&UsageOptions::of(&name)).await.ok()?;
        let history =
            scene.node().usage_history(&HistoryOptions::of(HistoryOf::Containers(vec![name.clone()]))).await.ok()?;
        let point = history.series.first()?.points.last()?.clone();
        Some((point.values.get(&Metric::MemoryBytes)?.max, usage.containers.first()?.stats.memory.usage_bytes))
    })
    .await;
    assert!(memory.0 > 0.0 && memory.1 > 0, "{memory:?}");
}

/// With the container that each belongs to.
pub(crate) async fn lists_their_processes(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.they_run(&name, "sleep 4328 </dev/null >/dev/null 2>&1 &");
    let mut options = ProcessOptions::default();
    options.containers = vec![name.clone()];
    let processes = scene.node().list_processes(&options).await.expect("we list");
    let found: Vec<_> = processes.iter().filter(|process| process.cmdline == ["sleep", "4328"]).collect();
    assert_eq!(found.len(), 1, "{processes:?}");
    assert!(processes.iter().all(|process| process.container.as_deref() == Some(name.as_str())), "{processes:?}");
}
