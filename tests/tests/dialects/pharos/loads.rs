//! The ten numbers on loads that run, beside what the kernel's own files say, read past the program under test.
//!
//! What only grows is looked at before and after: what was told lies between. Each percentage lies between what the kernel can have
//! counted in its interval at least and at most, and these are as near to each other as 2 % on either side.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use procfs::Current;
use procfs::process::Process;
use roadstead_core::Timestamp;
use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::scene::{Engine, HOST, Made, Scene};

/// So near must be what is told to what the kernel says.
const OFF: f64 = 0.02;
/// Two clocks, which are read one after the other, need not say the same of one interval.
const CLOCKS: f64 = 0.0001;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(3);
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

/// Sees to it that the kernel counts what a group reads and writes. That of groups of version 1 does so, since Linux 6.10, only once a
/// limit was set for the disk, in any group; this one is none that anybody reaches.
fn have_devices_counted(pid: i32) {
    let groups = Process::new(pid).expect("it runs").cgroups().expect("it has groups");
    let Some(group) = groups.into_iter().find(|group| group.controllers.iter().any(|one| one == "blkio")) else {
        return;
    };
    let own = PathBuf::from(format!("/sys/fs/cgroup/blkio{}", group.pathname));
    for entry in std::fs::read_dir("/sys/block").expect("the kernel's disks") {
        let disk = entry.expect("a disk").path();
        let device = std::fs::read_to_string(disk.join("dev")).expect("its number");
        let limit = format!("{} 1000000000000", device.trim());
        // Some of them, as those in memory, take none.
        let _ = std::fs::write(own.join("blkio.throttle.read_bps_device"), limit);
    }
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

/// What the kernel counted for a process, looked at all the time.
#[derive(Clone)]
struct Counted(Arc<Mutex<Vec<(Timestamp, f64)>>>);

impl Counted {
    /// Looks until all who ask are gone.
    fn of(pid: i32) -> Self {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let (kept, own) = (Arc::downgrade(&looks), Counted(looks));
        std::thread::spawn(move || {
            while let Some(looks) = kept.upgrade()
                && let Some((user, system)) = times(pid)
            {
                looks.lock().expect("nobody panicked").push((Timestamp::now(), user + system));
                std::thread::sleep(LOOK);
            }
        });
        own
    }

    /// At least so many seconds at a time, and at most so many: those of the looks right before and after it.
    fn around(&self, at: Timestamp) -> Option<(f64, f64)> {
        let looks = self.0.lock().expect("nobody panicked");
        let after = looks.partition_point(|(look, _)| *look <= at);
        Some((looks.get(after.checked_sub(1)?)?.1, looks.get(after)?.1))
    }
}

/// A sample: when looking began, when it had been told, and what it tells of a process.
struct Sample {
    begun: Timestamp,
    told: Timestamp,
    percent: f64,
    /// Between this one and the one before it.
    interval_seconds: f64,
}

/// The next sample of a container.
async fn next_sample(scene: &Scene, made: &Made, pid: i32, after: Option<Timestamp>) -> Sample {
    let (path, usage) =
        (format!("/containers/{}/metrics", made.id), format!("/v1/nodes/{HOST}/usage?container={}", made.id));
    let moment = |of: &Value| of["observed_at"].as_str().expect("a time").parse::<Timestamp>().expect("a time");
    let end = Instant::now() + SAMPLE;
    loop {
        let document = scene.read(&path).await;
        let told = Timestamp::now();
        let usage = scene.server().get(&usage).await.expect(200).json();
        // Once more: in a document that is made while a sample comes, the list of processes may be that one's.
        let again = scene.read(&path).await;
        let (begun, own) = (moment(&usage), &usage["containers"][0]);
        let is_one = [sampled_at(&document), sampled_at(&again)] == [moment(own); 2];
        if Some(begun) != after && is_one {
            let own_percent = number(&process(&again, pid).expect("it is told")["metrics"], 0);
            assert!(number(&again["Metrics"], 0) >= own_percent, "the sum is no less: {again}");
            let interval_seconds = own["rates"]["interval_seconds"].as_f64().unwrap_or_default();
            return Sample { begun, told, percent: own_percent, interval_seconds };
        }
        assert!(Instant::now() < end, "no sample within {} s", SAMPLE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// The percentage of the main process is what the kernel counted between two samples: all of them, and not only one that fits.
///
/// A sample reads the process somewhere between its beginning and when it is told, and the kernel counts in ticks of its own, so what it
/// may say lies between two numbers. The more is done on the machine, the further apart these are: until they are near enough.
async fn percentage(scene: &Scene, made: &Made, pid: i32) {
    let counted = Counted::of(pid);
    // What was sampled before the looking began counts for nothing.
    let first = next_sample(scene, made, pid, None).await;
    let mut before = next_sample(scene, made, pid, Some(first.begun)).await;
    let (mut seen, mut nearest) = (0, f64::INFINITY);
    let end = Instant::now() + SAMPLE;
    while seen < 3 || nearest > 2.0 * OFF {
        assert!(Instant::now() < end, "{seen} samples, and the nearest is known to {nearest}");
        let sample = next_sample(scene, made, pid, Some(before.begun)).await;
        let seconds = (sample.begun.unix_nanos() - before.begun.unix_nanos()) as f64 / 1e9;
        // Not when a sample between the two went by unseen.
        if (seconds - sample.interval_seconds).abs() < seconds / 4.0 {
            let around = |at| counted.around(at).unwrap_or_else(|| panic!("nobody looked at {at}"));
            let ((from, _), (_, from_most), (to, _)) =
                (around(before.begun), around(before.told), around(sample.begun));
            let to_most = scene.soon("it is looked at again", async || Some(counted.around(sample.told)?.1)).await;
            let (least, most) = ((to - from_most) / seconds * 100.0, (to_most - from) / seconds * 100.0);
            assert!(
                least - CLOCKS * least <= sample.percent && sample.percent <= most + CLOCKS * most,
                "{} % was told, and the kernel counted {least} to {most}",
                sample.percent
            );
            seen += 1;
            nearest = nearest.min((most - least) / most);
        }
        before = sample;
    }
    println!("{seen} percentages, and one of them known to {nearest}");
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
    assert_eq!(document["Processes"].as_array().map(Vec::len), Some(pids.len()), "{document}");
    let sum = |times: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| times.iter().map(of).sum::<f64>();
    between(sum(&before, |one| one.0), number(&document["Metrics"], 1), sum(&after, |one| one.0));
    between(sum(&before, |one| one.1), number(&document["Metrics"], 2), sum(&after, |one| one.1));
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
    let memory_of = |pid: i32| {
        let status = Process::new(pid).and_then(|process| process.status()).expect("it runs");
        (float(status.vmrss.unwrap_or(0) * 1024), float(status.vmsize.unwrap_or(0) * 1024))
    };
    scene.soon("it has its memory", async || (memory_of(pid).0 > 15_000_000.0).then_some(())).await;
    // The shell waits for its child then, and nothing changes any more.
    let child = scene.soon("its child sleeps", async || sleeping_child(pid)).await;
    let all = float(procfs::Meminfo::current().expect("the machine tells").mem_total);
    let near = |told: f64, counted: f64| (told - counted).abs() <= counted * OFF;
    // Each sample, and not only one that fits.
    for _ in 0..3 {
        let document = fresh(&scene, &made).await;
        let mut sum = (0.0, 0.0);
        for pid in [pid, child] {
            let own = process(&document, pid).expect("it is told")["metrics"].clone();
            let (resident, whole) = memory_of(pid);
            assert!(near(number(&own, 4), resident), "{own}: {resident} bytes are resident");
            assert!(near(number(&own, 5), whole), "{own}: {whole} bytes are virtual");
            assert!((number(&own, 3) - number(&own, 4) / all * 100.0).abs() < 1e-9, "{own}");
            sum = (sum.0 + resident, sum.1 + whole);
        }
        let of_container = &document["Metrics"];
        assert_eq!(document["Processes"].as_array().map(Vec::len), Some(2), "{document}");
        assert!(
            near(number(of_container, 3), sum.0 / all * 100.0)
                && near(number(of_container, 4), sum.0)
                && near(number(of_container, 5), sum.1),
            "{of_container}: {sum:?}"
        );
    }
    scene.end().await;
    Outcome::Shown
}

/// The one child of a process that waits for it, once that is a program of its own.
fn sleeping_child(of: i32) -> Option<i32> {
    let tasks = Process::new(of).ok()?.task_main_thread().ok()?.children().ok()?;
    let [child] = tasks[..] else { return None };
    let child = i32::try_from(child).ok()?;
    let is_asleep = |pid: i32| Process::new(pid).ok()?.stat().ok().map(|stat| stat.state == 'S');
    let command = Process::new(child).ok()?.cmdline().ok()?;
    (command.iter().any(|word| word == "3600") && is_asleep(of)? && is_asleep(child)?).then_some(child)
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
    have_devices_counted(pid);
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
