//! The ten numbers on loads that run, beside what the kernel's own files say, read past the program under test.
//!
//! What only grows is looked at before and after: what was told lies between. A percentage is compared with what the kernel counted
//! over the same interval, to 2 %; where others take the machine at that moment, over the next one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procfs::Current;
use procfs::process::Process;
use roadstead_core::Timestamp;
use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::scene::{Engine, HOST, Made, Scene};

/// How far a percentage may be off.
const OFF: f64 = 0.02;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(5);
/// A sample comes within this time.
const SAMPLE: Duration = Duration::from_secs(60);

/// Refuses where the kernel of the engine's machine is not this one's, or is not read.
async fn is_read_here(engine: &Engine) -> Option<Outcome> {
    if engine.real().is_none() {
        return Some(Outcome::NotOffered("a simulation uses nothing".to_owned()));
    }
    let is_sampled = engine.capabilities().await.usage_history;
    (!is_sampled).then(|| Outcome::NotOffered("the kernel of the engine's machine is not read".to_owned()))
}

#[allow(clippy::cast_precision_loss, reason = "numbers of tests are small")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Seconds of user and kernel time of a process.
fn times(pid: i32) -> Option<(f64, f64)> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    let ticks = float(procfs::ticks_per_second());
    Some((float(stat.utime) / ticks, float(stat.stime) / ticks))
}

/// Bytes received and sent on all interfaces of a process's network.
fn traffic(pid: i32) -> (u64, u64) {
    let devices = Process::new(pid).expect("it runs").dev_status().expect("its network is told");
    devices.values().fold((0, 0), |sum, device| (sum.0 + device.recv_bytes, sum.1 + device.sent_bytes))
}

/// Bytes read and written by the group of a process.
fn devices(pid: i32) -> (u64, u64) {
    let groups = Process::new(pid).expect("it runs").cgroups().expect("it has groups");
    let blkio = groups.into_iter().find(|group| group.controllers.iter().any(|controller| controller == "blkio"));
    let text = |path: String, file: &str| std::fs::read_to_string(PathBuf::from(path).join(file)).ok();
    let mut sum = (0, 0);
    match blkio {
        Some(group) => {
            let path = format!("/sys/fs/cgroup/blkio{}", group.pathname);
            let found = text(path.clone(), "blkio.throttle.io_service_bytes_recursive");
            let found = found.or_else(|| text(path, "blkio.throttle.io_service_bytes")).expect("the group's file");
            for line in found.lines() {
                match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                    [_, "Read", bytes] => sum.0 += bytes.parse::<u64>().expect("a number"),
                    [_, "Write", bytes] => sum.1 += bytes.parse::<u64>().expect("a number"),
                    _ => {}
                }
            }
        }
        None => {
            let groups = Process::new(pid).expect("it runs").cgroups().expect("it has groups");
            let own = groups.into_iter().find(|group| group.hierarchy == 0).expect("it is in a group");
            let found = text(format!("/sys/fs/cgroup{}", own.pathname), "io.stat").expect("the group's file");
            for word in found.split_whitespace() {
                match word.split_once('=') {
                    Some(("rbytes", bytes)) => sum.0 += bytes.parse::<u64>().expect("a number"),
                    Some(("wbytes", bytes)) => sum.1 += bytes.parse::<u64>().expect("a number"),
                    _ => {}
                }
            }
        }
    }
    sum
}

fn number(of: &Value, index: usize) -> f64 {
    of[index].as_f64().expect("a number")
}

fn sampled_at(document: &Value) -> Timestamp {
    document["SampledAt"].as_str().expect("a time").parse().expect("a time")
}

/// The process id of the main process, as `/v1` tells.
async fn main_pid(scene: &Scene, made: &Made) -> i32 {
    scene
        .soon("the main process is known", async || {
            let pid = scene.inspect(made).await["pid"].as_i64()?;
            i32::try_from(pid).ok()
        })
        .await
}

/// The metrics of a container as they were sampled after now.
async fn fresh(scene: &Scene, made: &Made) -> Value {
    let now = Timestamp::now();
    scene
        .soon("there is another sample", async || {
            let document = scene.sampled(made).await;
            (sampled_at(&document) >= now).then_some(document)
        })
        .await
}

fn process(document: &Value, pid: i32) -> Option<Value> {
    let all = document["Processes"].as_array().expect("processes");
    all.iter().find(|process| process["pid"] == pid).cloned()
}

/// The percentage of the main process equals what the kernel counted between two samples.
async fn percentage(scene: &Scene, made: &Made, pid: i32) {
    let path = format!("/nodes/{HOST}/metrics");
    // Looked at often, so that little is done between a sample and our look at the kernel.
    let next = async |after: Option<Timestamp>| {
        let end = Instant::now() + SAMPLE;
        loop {
            let document = scene.read(&path).await;
            let (user, system) = times(pid).expect("it runs");
            let now = Instant::now();
            if Some(sampled_at(&document)) != after {
                return (document, user + system, now);
            }
            assert!(now < end, "no sample within {} s", SAMPLE.as_secs());
            tokio::time::sleep(LOOK).await;
        }
    };
    let (document, mut before, mut then) = next(None).await;
    let mut last = sampled_at(&document);
    let mut seen = Vec::new();
    scene
        .soon("the percentage is that of the kernel", async || {
            let (document, used, now) = next(Some(last)).await;
            let counted = (used - before) / now.duration_since(then).as_secs_f64() * 100.0;
            (before, then, last) = (used, now, sampled_at(&document));
            let containers = document["Containers"].as_array().expect("containers");
            let own = containers.iter().find(|container| container["Id"] == made.id.as_str())?;
            let told = number(&process(own, pid)?["metrics"], 0);
            assert!(number(&own["Metrics"], 0) >= told, "the sum is no less: {own}");
            seen.push((told, counted));
            (told > 0.0 && (told - counted).abs() <= counted * OFF).then_some(())
        })
        .await;
    println!("told and counted percentages: {seen:?}");
}

const SPINS: &str = "while :; do :; done";

pub(super) async fn busy(engine: Engine) -> Outcome {
    if let Some(lacking) = is_read_here(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let made = scene.run("p30", SPINS).await;
    let pid = main_pid(&scene, &made).await;
    let spent = |document: &Value| number(&document["Metrics"], 1) + number(&document["Metrics"], 2);
    let mut told = Vec::new();
    for _ in 0..2 {
        let before = times(pid).expect("it runs");
        let document = fresh(&scene, &made).await;
        let after = times(pid).expect("it runs");
        let spent = spent(&document);
        assert!(
            before.0 + before.1 <= spent + 1e-9 && spent <= after.0 + after.1 + 1e-9,
            "{before:?} {spent} {after:?}"
        );
        told.push(spent);
        // At least a tenth of a second of work lies between the two.
        scene.soon("it works", async || times(pid).filter(|now| now.0 + now.1 > spent + 0.1)).await;
    }
    assert!(told[1] > told[0], "{told:?}");
    percentage(&scene, &made, pid).await;
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn processor(engine: Engine) -> Outcome {
    if let Some(lacking) = is_read_here(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    // Opening a device is the kernel's work, and the rest is the shell's.
    let made = scene.run("e09", "while :; do : >/dev/null; done & while :; do :; done").await;
    let pid = main_pid(&scene, &made).await;
    let document = scene
        .soon("both work in both modes", async || {
            let document = fresh(&scene, &made).await;
            let is_worked = number(&document["Metrics"], 1) > 0.5 && number(&document["Metrics"], 2) > 0.1;
            is_worked.then_some(document)
        })
        .await;
    let pids: Vec<i32> = document["Processes"]
        .as_array()
        .expect("processes")
        .iter()
        .map(|process| process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid"))
        .collect();
    assert!(pids.len() >= 2 && pids.contains(&pid), "{pids:?}");
    let look = || pids.iter().map(|pid| times(*pid).expect("it runs")).collect::<Vec<_>>();
    let before = look();
    let document = fresh(&scene, &made).await;
    let after = look();
    let between =
        |low: f64, told: f64, high: f64| assert!(low <= told + 1e-9 && told <= high + 1e-9, "{low} {told} {high}");
    for (at, pid) in pids.iter().enumerate() {
        let own = process(&document, *pid).expect("it is told");
        between(before[at].0, number(&own["metrics"], 1), after[at].0);
        between(before[at].1, number(&own["metrics"], 2), after[at].1);
    }
    if document["Processes"].as_array().map(Vec::len) == Some(pids.len()) {
        let sum = |times: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| times.iter().map(of).sum::<f64>();
        between(sum(&before, |one| one.0), number(&document["Metrics"], 1), sum(&after, |one| one.0));
        between(sum(&before, |one| one.1), number(&document["Metrics"], 2), sum(&after, |one| one.1));
    }
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn memory(engine: Engine) -> Outcome {
    if let Some(lacking) = is_read_here(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let script = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 3600 & wait; echo $x";
    let made = scene.run("e10", script).await;
    let pid = main_pid(&scene, &made).await;
    let status = |pid: i32| Process::new(pid).and_then(|process| process.status()).expect("it runs");
    scene.soon("it has its memory", async || (status(pid).vmrss > Some(15_000)).then_some(())).await;
    let all = procfs::Meminfo::current().expect("the machine tells").mem_total;
    scene
        .soon("memory is that of the kernel", async || {
            let document = fresh(&scene, &made).await;
            let (mut resident, mut virtual_bytes) = (0.0, 0.0);
            for own in document["Processes"].as_array().expect("processes") {
                let pid = own["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
                let kernel = status(pid);
                let (rss, vms) = (float(kernel.vmrss.unwrap_or(0) * 1024), float(kernel.vmsize.unwrap_or(0) * 1024));
                let near = |told: f64, counted: f64| (told - counted).abs() <= counted * OFF;
                if !near(number(&own["metrics"], 4), rss) || !near(number(&own["metrics"], 5), vms) {
                    return None;
                }
                let percent = number(&own["metrics"], 4) / float(all) * 100.0;
                assert!((number(&own["metrics"], 3) - percent).abs() < 1e-9, "{own}");
                (resident, virtual_bytes) = (resident + rss, virtual_bytes + vms);
            }
            let of_container = &document["Metrics"];
            let near = |index: usize, counted: f64| (number(of_container, index) - counted).abs() <= counted * OFF;
            assert!(
                near(3, resident / float(all) * 100.0) && near(4, resident) && near(5, virtual_bytes),
                "{document}"
            );
            Some(())
        })
        .await;
    scene.end().await;
    Outcome::Shown
}

async fn devices_of(scene: &Scene, made: &Made, pid: i32) -> Option<(u64, u64)> {
    let before = devices(pid);
    let document = fresh(scene, made).await;
    let after = devices(pid);
    let told = (number(&document["Metrics"], 6), number(&document["Metrics"], 7));
    assert!(float(before.0) <= told.0 && told.0 <= float(after.0), "read: {before:?} {told:?} {after:?}");
    assert!(float(before.1) <= told.1 && told.1 <= float(after.1), "written: {before:?} {told:?} {after:?}");
    (before.0 > 0 && before.1 > 0).then_some(before)
}

pub(super) async fn group(engine: Engine) -> Outcome {
    if let Some(lacking) = is_read_here(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let script = "dd if=/dev/zero of=/file bs=1M count=8 oflag=direct 2>/dev/null || dd if=/dev/zero of=/file bs=1M count=8 conv=fsync 2>/dev/null; \
                  while :; do dd if=/file of=/dev/null bs=64k iflag=direct 2>/dev/null; dd if=/dev/zero of=/other bs=64k count=1 oflag=direct 2>/dev/null; sleep 1; done";
    let made = scene.run("e11", script).await;
    let pid = main_pid(&scene, &made).await;
    for _ in 0..2 {
        scene.soon("it has read and written", async || devices_of(&scene, &made, pid).await).await;
    }
    scene.end().await;
    Outcome::Shown
}

/// What a container's network carried lies between two looks at it.
async fn traffic_of(scene: &Scene, made: &Made, pid: i32) -> (u64, u64) {
    let before = traffic(pid);
    let document = fresh(scene, made).await;
    let after = traffic(pid);
    let told = (number(&document["Metrics"], 8), number(&document["Metrics"], 9));
    assert!(float(before.0) <= told.0 && told.0 <= float(after.0), "received: {before:?} {told:?} {after:?}");
    assert!(float(before.1) <= told.1 && told.1 <= float(after.1), "sent: {before:?} {told:?} {after:?}");
    before
}

pub(super) async fn network(engine: Engine) -> Outcome {
    if let Some(lacking) = is_read_here(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    // The loopback counts, though it is none of the container's networks.
    let made = scene.run("e12", "while :; do ping -c 1 -s 1000 127.0.0.1 >/dev/null; sleep 1; done").await;
    let pid = main_pid(&scene, &made).await;
    scene
        .soon("it talks to itself", async || {
            let (received, sent) = traffic_of(&scene, &made, pid).await;
            (received > 5000 && sent > 5000).then_some(())
        })
        .await;
    let usage = scene.server().get(&format!("/v1/nodes/{HOST}/usage?container={}", made.id)).await.expect(200).json();
    let own = usage["containers"][0].clone();
    let networks = own["networks"].as_array().expect("networks");
    assert!(networks.iter().all(|network| network["name"] != "lo"), "{own}");
    assert!(own["namespace"]["sent_bytes"].as_u64() > Some(5000), "{own}");
    // One that has no network of its own has the machine's, and so has each.
    if engine.real().is_some_and(|real| ["docker", "podman"].contains(&real.kind())) {
        let more = json!({ "networks": [{ "network": "host" }] });
        let host = scene.run_with("e12-host", "while :; do sleep 1; done", more).await;
        let its_pid = main_pid(&scene, &host).await;
        let machine = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(
            Process::new(its_pid)
                .expect("it runs")
                .namespaces()
                .expect("namespaces")
                .0
                .get("net".as_ref() as &std::ffi::OsStr)
                .map(|own| own.identifier),
            Process::new(machine)
                .expect("we run")
                .namespaces()
                .expect("namespaces")
                .0
                .get("net".as_ref() as &std::ffi::OsStr)
                .map(|own| own.identifier),
        );
        // It is in the next sample.
        scene
            .soon("the machine's traffic is told", async || {
                let document = fresh(&scene, &host).await;
                (number(&document["Metrics"], 8) > 0.0).then_some(())
            })
            .await;
        traffic_of(&scene, &host, its_pid).await;
    }
    scene.end().await;
    Outcome::Shown
}
