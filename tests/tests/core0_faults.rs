//! core0 when things break: its Redis killed in the middle of jobs, streams and waits; its agent killed; and a thousand jobs at
//! once. Every test has a core0 of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use roadstead_core::{
    ConnectOptions, ContainerFilter, ContainerSpec, ContainerState, ErrorKind, Job, JobSpec, JobState, JobStatus, Node,
    OutputOptions, StopOptions, WaitFor,
};
use roadstead_tests::engines::{OwnEngine, flist};

/// What must come comes within this, on a machine that does much else.
const SOON: Duration = Duration::from_secs(90);
/// A node may have 20 connections in all, of which so many may be ours.
const MAX_CONNECTIONS: usize = 16;

async fn connect(uri: &str) -> Arc<dyn Node> {
    roadstead_backends::registry().connect("own", uri, &ConnectOptions::default()).await.expect("the node answers")
}

fn shell(script: &str) -> JobSpec {
    JobSpec::new(["sh", "-c", script])
}

async fn output(job: &dyn Job) -> String {
    let chunks: Vec<_> = job.output(OutputOptions::kept()).await.expect("output").collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.expect("a chunk").data.to_vec()).collect();
    String::from_utf8(bytes).expect("text")
}

/// The connections of clients elsewhere: those of the node itself come by its socket.
async fn foreign_connections(redis: &mut redis::aio::MultiplexedConnection) -> usize {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(redis).await.expect("a list of clients");
    list.lines().filter(|line| line.contains(" addr=127.0.0.1:")).count()
}

async fn direct(engine: &OwnEngine) -> redis::aio::MultiplexedConnection {
    let url = format!("redis+unix://{}", engine.engine().socket().display());
    let client = redis::Client::open(url).expect("a Redis");
    client.get_multiplexed_async_connection().await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_jobs_at_once_by_few_connections() {
    let Some(engine) = OwnEngine::core0("thousand") else { return };
    let node = connect(&engine.verb("tcp-uri")).await;
    let mut redis = direct(&engine).await;
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let watch = tokio::spawn(async move {
        let mut most = 0;
        while !over.load(Ordering::Acquire) {
            most = most.max(foreign_connections(&mut redis).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    });
    let jobs = join_all((0..1000).map(|number| {
        let node = &node;
        async move {
            let job = node.run(&shell(&format!("echo job {number}; exit {}", number % 200))).await.expect("it starts");
            (number, job)
        }
    }))
    .await;
    let ended = join_all(jobs.iter().map(|(_, job)| job.wait(SOON * 4))).await;
    done.store(true, Ordering::Release);
    for ((number, job), status) in jobs.iter().zip(ended) {
        let status = status.expect("none is lost");
        assert_eq!(status.exit_code, Some(number % 200), "job {number}");
        assert_eq!(output(&**job).await, format!("job {number}\n"));
    }
    let most = watch.await.expect("it watched");
    println!("{most} connections at most");
    assert!((1..=MAX_CONNECTIONS).contains(&most), "{most} connections");
    assert_eq!(node.jobs().await.expect("jobs").len(), 1000, "each is told of once");
}

/// Runs jobs on the node and in a container that write down that they ran, and gives them with the exit code that each has.
async fn jobs(node: &Arc<dyn Node>, container: &str, runs: &str, seconds: u32) -> Vec<(i32, Arc<dyn Job>)> {
    let container = node.container(container);
    let mut jobs = Vec::new();
    for code in 0..12 {
        let script = |place: &str| {
            let note = if place == "node" { format!("echo {code} >> {runs}") } else { ":".to_owned() };
            shell(&format!("{note}; echo begun {code}; sleep {seconds}; echo done {code} >&2; exit {code}"))
        };
        jobs.push((code, node.run(&script("node")).await.expect("it starts")));
        jobs.push((code, container.run(&script("container")).await.expect("it starts")));
    }
    jobs
}

async fn begun(jobs: &[(i32, Arc<dyn Job>)]) {
    for (_, job) in jobs {
        let mut output = job.output(OutputOptions::follow()).await.expect("output");
        let first = tokio::time::timeout(SOON, output.next()).await.expect("soon");
        assert!(first.is_some_and(|chunk| chunk.is_ok()), "it has begun");
    }
}

async fn container(node: &Arc<dyn Node>, name: &str, script: &str) -> String {
    let spec = ContainerSpec::new(flist()).name(name).command(["sh", "-c", script]);
    let created = node.create_container(&spec).await.expect("it is created");
    node.container(&created.id).start().await.expect("it starts");
    created.id
}

/// How each job ended, if that is known; nothing may be known wrongly.
fn check(code: i32, ended: &roadstead_core::Result<JobStatus>) -> bool {
    match ended {
        Ok(status) => {
            assert_eq!(status.exit_code, Some(code));
            assert_eq!(status.state == JobState::Succeeded, code == 0);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            println!("{error}");
            false
        }
    }
}

/// Kills the node's Redis while jobs run, are read and waited for, and starts it again, with or without its memory.
async fn redis_dies(instance: &str, forgets: bool) {
    let Some(engine) = OwnEngine::core0(instance) else { return };
    let directory = engine.verb("dir");
    let runs = format!("{directory}/runs");
    for uri in [engine.engine().uri().to_owned(), engine.verb("tcp-uri")] {
        let node = connect(&uri).await;
        let host = container(&node, "host", "sleep 300").await;
        let ends = container(&node, "ends", "sleep 6; exit 7").await;
        let jobs = jobs(&node, &host, &runs, 6).await;
        begun(&jobs).await;
        let waits: Vec<_> = jobs
            .iter()
            .map(|(_, job)| {
                let job = Arc::clone(job);
                tokio::spawn(async move { job.wait(SOON).await })
            })
            .collect();
        let main = node.container(&ends);
        let main = tokio::spawn(async move { main.wait(WaitFor::Stopped, SOON).await });

        let _ = engine.verb("kill-redis");
        let error = node.ping().await.expect_err("there is no Redis");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let error = node.list_containers(&ContainerFilter::all()).await.expect_err("there is no Redis");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        if forgets {
            std::fs::remove_dir_all(format!("{directory}/appendonlydir")).expect("its memory");
        }
        let _ = engine.verb("start-redis");
        node.ping().await.expect("it answers again, and nobody had to connect");

        for ((code, job), ended) in jobs.iter().zip(join_all(waits).await) {
            let known = check(*code, &ended.expect("it waited"));
            assert!(known || forgets, "job {code} is lost though its result was not");
            if known {
                assert_eq!(
                    output(&**job).await,
                    format!("begun {code}\ndone {code}\n"),
                    "nothing is missing or told twice"
                );
            }
        }
        let exit = main.await.expect("it waited");
        if !forgets {
            assert_eq!(exit.expect("it ended").exit_code, Some(7));
        }
        let ids: Vec<String> = node.jobs().await.expect("jobs").into_iter().map(|job| job.id).collect();
        assert_eq!(ids.len(), jobs.len(), "each is told of once");
        let ran = std::fs::read_to_string(&runs).expect("what ran");
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        ran.lines().for_each(|line| *counts.entry(line).or_default() += 1);
        assert!(counts.len() == 12 && counts.values().all(|count| *count == 1), "each ran once: {counts:?}");
        std::fs::remove_file(&runs).expect("the file");

        // What it was told before it died is known, or found out.
        let details = node.container(&host).inspect().await.expect("it is there");
        assert_eq!(details.summary.state, ContainerState::Running);
        let ended = node.container(&ends).inspect().await.expect("it is there");
        assert_eq!(ended.summary.state, ContainerState::Stopped);
        for id in [host, ends] {
            node.container(&id).delete(&roadstead_core::DeleteOptions::force()).await.expect("deleted");
        }
    }
}

/// Kills the node's Redis and starts it again, with this directory for its memory; without any where there is none.
fn redis_forgets(engine: &OwnEngine, memory: Option<&str>) {
    let directory = engine.verb("dir");
    let _ = engine.verb("kill-redis");
    std::fs::remove_dir_all(format!("{directory}/appendonlydir")).expect("its memory");
    if let Some(memory) = memory {
        std::fs::rename(memory, format!("{directory}/appendonlydir")).expect("its older memory");
    }
    let _ = engine.verb("start-redis");
}

async fn said(container: &dyn roadstead_core::Container, word: &str) {
    let mut options = roadstead_core::LogOptions::default();
    options.follow = true;
    let mut records = container.logs(&options).await.expect("logs");
    let read = async {
        while let Some(record) = records.next().await {
            if String::from_utf8_lossy(&record.expect("a record").data).contains(word) {
                return;
            }
        }
        panic!("it did not say {word}");
    };
    tokio::time::timeout(SOON, read).await.expect("soon");
}

async fn state(container: &dyn roadstead_core::Container) -> (ContainerState, Option<i32>) {
    let details = container.inspect().await.expect("it is there");
    (details.summary.state, details.exit_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_its_time_though_the_redis_forgets() {
    let Some(engine) = OwnEngine::core0("stop-forgets") else { return };
    let node = connect(&engine.verb("tcp-uri")).await;
    // Before the stop.
    let script = "trap 'sleep 4; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let saves = container(&node, "saves", script).await;
    let saves = node.container(&saves);
    said(&*saves, "ready").await;
    redis_forgets(&engine, None);
    node.ping().await.expect("it answers again");
    saves.stop(&StopOptions::after_seconds(60)).await.expect("it stops");
    assert_eq!(state(&*saves).await, (ContainerState::Stopped, Some(7)));
    // In the middle of a stop, and of a restart.
    let script = "trap 'echo no' TERM; echo ready; while :; do sleep 0.1; done";
    for again in [false, true] {
        let refuses = node.container(&container(&node, &format!("refuses-{again}"), script).await);
        said(&*refuses, "ready").await;
        let options = StopOptions::after_seconds(8);
        let before = refuses.inspect().await.expect("it is there").started_at;
        let ends = {
            let refuses = Arc::clone(&refuses);
            tokio::spawn(
                async move { if again { refuses.restart(&options).await } else { refuses.stop(&options).await } },
            )
        };
        said(&*refuses, "no").await;
        redis_forgets(&engine, None);
        ends.await.expect("it waited").expect("it is ended in the end");
        if again {
            assert_eq!(state(&*refuses).await.0, ContainerState::Running);
            assert_ne!(refuses.inspect().await.expect("it is there").started_at, before, "that is another one");
        } else {
            assert_eq!(state(&*refuses).await, (ContainerState::Stopped, Some(137)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_an_older_memory_does_not_make_run_what_has_ended() {
    let Some(engine) = OwnEngine::core0("older-memory") else { return };
    let node = connect(&engine.verb("tcp-uri")).await;
    let directory = engine.verb("dir");
    let script = "while [ ! -e /go ]; do sleep 0.1; done; echo over; exit 3";
    let mut containers = Vec::new();
    for name in ["starts", "stops", "looked-at"] {
        containers.push(node.container(&container(&node, name, script).await));
    }
    let older = format!("{directory}/older");
    let copied = std::process::Command::new("cp").args(["-r", &format!("{directory}/appendonlydir"), &older]).status();
    assert!(copied.expect("cp runs").success());
    for container in &containers {
        container.run(&JobSpec::new(["touch", "/go"])).await.expect("jobs run");
        assert_eq!(container.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(3));
        // Until that is written down.
        assert_eq!(state(&**container).await, (ContainerState::Stopped, Some(3)));
    }
    // Nothing of this program's own tells it.
    drop((node, containers));
    redis_forgets(&engine, Some(&older));
    let node = connect(&engine.verb("tcp-uri")).await;
    let [starts, stops, looked_at] = ["starts", "stops", "looked-at"].map(|name| node.container(name));
    starts.start().await.expect("it starts");
    stops.stop(&StopOptions::after_seconds(60)).await.expect("it has ended");
    assert_eq!(state(&*stops).await, (ContainerState::Stopped, None));
    assert_eq!(starts.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(3), "it ran once more");
    let seen = async {
        while state(&*looked_at).await.0 == ContainerState::Running {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(SOON, seen).await.expect("somebody sees that it has ended");
    assert_eq!(state(&*looked_at).await, (ContainerState::Stopped, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_loses_no_job() {
    redis_dies("redis-dies", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_makes_no_job_succeed() {
    redis_dies("redis-forgets", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_leaves_jobs_running() {
    let Some(engine) = OwnEngine::core0("long-outage") else { return };
    let node = connect(&engine.verb("tcp-uri")).await;
    let host = container(&node, "host", "sleep 600").await;
    let go = format!("{}/go", engine.verb("dir"));
    let waits =
        |code: i32| shell(&format!("echo begun; while [ ! -e {go} ]; do sleep 0.2; done; echo done; exit {code}"));
    let on_node = node.run(&waits(3)).await.expect("it starts");
    let inside = node.container(&host).run(&shell("echo begun; sleep 45; echo done; exit 4")).await.expect("it starts");
    let ends = node.run(&shell("echo begun; sleep 10; echo done; exit 5")).await.expect("it starts");
    let jobs = [(3, on_node), (4, inside), (5, ends)];
    begun(&jobs).await;

    let _ = engine.verb("kill-redis");
    // An outage is nothing but time. One of the jobs ends within it.
    tokio::time::sleep(Duration::from_secs(25)).await;
    for (code, job) in &jobs {
        let status = job.status().await.expect("a status");
        assert_eq!(status.state, JobState::Running, "job {code}: {:?}", status.error);
    }
    let refused = node.run(&shell("true")).await.expect_err("there is no Redis");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let _ = engine.verb("start-redis");
    std::fs::write(&go, "").expect("the file");
    for (code, job) in &jobs {
        assert!(check(*code, &job.wait(SOON).await), "job {code} is lost");
        assert_eq!(output(&**job).await, "begun\ndone\n");
    }
    node.container(&host).delete(&roadstead_core::DeleteOptions::force()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_pushed_when_the_redis_died_is_known() {
    let Some(engine) = OwnEngine::core0("push-outage") else { return };
    let node = connect(&engine.verb("tcp-uri")).await;
    let runs = format!("{}/runs", engine.verb("dir"));
    // There is no agent, so the job waits in its queue while its Redis dies.
    engine.kill();
    let pushed = tokio::spawn({
        let (node, script) = (Arc::clone(&node), shell(&format!("echo one >> {runs}; exit 6")));
        async move { node.run(&script).await }
    });
    let mut redis = direct(&engine).await;
    let queued = async {
        while redis::cmd("LLEN").arg("core:default").query_async::<u32>(&mut redis).await.expect("a length") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, queued).await.expect("it is pushed");
    let _ = engine.verb("kill-redis");
    engine.start_again();
    let job = pushed.await.expect("it waited").expect("it has been started");
    assert_eq!(job.wait(SOON).await.expect("it ends").exit_code, Some(6));
    assert_eq!(std::fs::read_to_string(&runs).expect("what ran"), "one\n");
    assert_eq!(node.jobs().await.expect("jobs").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_an_agent_that_dies_are_lost() {
    let Some(engine) = OwnEngine::core0("agent-dies") else { return };
    let node = connect(engine.engine().uri()).await;
    let job = node.run(&shell("echo begun; sleep 300")).await.expect("it starts");
    begun(&[(0, Arc::clone(&job))]).await;
    engine.kill();
    engine.start_again();
    node.ping().await.expect("it answers again");
    let error = job.wait(SOON).await.expect_err("nobody knows how it ended");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let status = job.status().await.expect("a status");
    assert_eq!((status.state, status.exit_code), (JobState::Lost, None));
    assert!(status.error.is_some_and(|error| error.contains("lost")));
    assert_eq!(output_until_lost(&*job).await, "begun\n");
}

/// What is kept of a lost job's output; it ends with the error that lost it.
async fn output_until_lost(job: &dyn Job) -> String {
    let mut chunks = job.output(OutputOptions::kept()).await.expect("output");
    let mut text = String::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk.data));
    }
    text
}
