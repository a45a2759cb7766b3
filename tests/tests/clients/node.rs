//! The server itself, and the numbers of a container.

use crate::scene::{Scene, soon};

/// Both get an answer.
pub(crate) async fn answers(scene: &Scene) {
    assert_eq!(scene.query("/1.0")["auth"], "trusted");
    scene.node().ping().await.expect("it answers us, too");
}

/// Facts about server and machine.
pub(crate) async fn says_the_same(scene: &Scene) {
    let told = scene.query("/1.0")["environment"].clone();
    let resources = scene.query("/1.0/resources");
    let info = scene.node().info().await.expect("we are told");
    assert_eq!(info.name, scene.product().name());
    assert_eq!(info.engine, told["server"].as_str().unwrap_or_default());
    assert_eq!(info.engine_version, told["server_version"].as_str().unwrap_or_default());
    assert_eq!(info.hostname.as_deref(), told["server_name"].as_str());
    assert_eq!(info.kernel.as_deref(), told["kernel_version"].as_str());
    assert_eq!(info.architecture.as_deref(), told["kernel_architecture"].as_str());
    assert_eq!(info.cpus.map(u64::from), resources["cpu"]["total"].as_u64());
    assert_eq!(info.memory_bytes, resources["memory"]["total"].as_u64());
}

/// State numbers, of a container that they made and gave something to do.
pub(crate) async fn counts_the_same(scene: &Scene) {
    let name = scene.they_init_with("c", &["-c", "limits.memory=64MiB", "-c", "limits.processes=40"]);
    let _ = scene.client(&["start", &name]);
    let _ = scene
        .they_run(&name, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 600 </dev/null >/dev/null 2>&1 &");
    let container = scene.container(&name);
    let (stats, state) = soon("both count the same processes", async || {
        let stats = container.stats().await.expect("we count");
        let state = scene.listed(&name).expect("it is listed")["state"].clone();
        (Some(stats.pids.current) == state["processes"].as_u64()).then_some((stats, state))
    })
    .await;
    assert!(stats.pids.current >= 2, "{stats:?}");
    assert_eq!(stats.pids.limit, Some(40));
    assert_eq!(stats.memory.limit_bytes, Some(64 << 20));
    // Each is read at its own moment.
    let near = |ours: f64, theirs: f64, off: f64| {
        assert!((ours - theirs).abs() <= off, "{ours} and {theirs}: {stats:?} {state}");
    };
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or(-1.0);
    near(stats.cpu.total_seconds, number(&state["cpu"]["usage"]) / 1e9, 1.0);
    assert!(stats.cpu.total_seconds > 0.0);
    near(stats.memory.usage_bytes as f64, number(&state["memory"]["usage"]), 4e6);
    let eth0 = stats.networks.iter().find(|network| network.name == "eth0").expect("it has an interface");
    let counters = &state["network"]["eth0"]["counters"];
    near(eth0.received_bytes as f64, number(&counters["bytes_received"]), 4096.0);
    near(eth0.sent_bytes as f64, number(&counters["bytes_sent"]), 4096.0);
}

pub(crate) async fn is_made_of_the_same(scene: &Scene) {
    let told = scene.query("/1.0/resources");
    let resources = scene.lxd().resources().await.expect("we are told");
    assert_eq!(u64::from(resources.cpu.threads), told["cpu"]["total"].as_u64().unwrap_or_default());
    assert_eq!(Some(resources.cpu.architecture.as_str()), told["cpu"]["architecture"].as_str());
    assert_eq!(Some(resources.memory.total_bytes), told["memory"]["total"].as_u64());
    let disks = |disk: &serde_json::Value| (disk["id"].as_str().map(str::to_owned), disk["size"].as_u64());
    let theirs: Vec<_> = told["storage"]["disks"].as_array().into_iter().flatten().map(disks).collect();
    let ours: Vec<_> = resources.disks.iter().map(|disk| (Some(disk.name.clone()), Some(disk.size_bytes))).collect();
    assert_eq!(ours, theirs);
    let environment = scene.query("/1.0")["environment"].clone();
    assert_eq!(Some(resources.os.kernel.as_str()), environment["kernel_version"].as_str());
}

/// The server renews its metrics some seconds apart.
pub(crate) async fn measures_the_same(scene: &Scene) {
    let name = scene.they_launch("c");
    let processes = soon("both find the container", async || {
        let samples = scene.lxd().metrics().await.expect("we are told");
        let ours = samples.into_iter().find(|sample| {
            sample.name.ends_with("_procs_total") && sample.labels.get("name").is_some_and(|label| *label == name)
        })?;
        let text = scene.client(&["query", "--raw", "/1.0/metrics"]);
        let line = text.lines().find(|line| line.starts_with(&ours.name) && line.contains(&format!("\"{name}\"")))?;
        (line.rsplit(' ').next()?.parse() == Ok(ours.value)).then_some(ours.value)
    })
    .await;
    assert!(processes >= 1.0, "{processes}");
}
