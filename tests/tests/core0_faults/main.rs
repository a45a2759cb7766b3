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

mod between;
mod containers;
mod harsh;
mod many;
mod output;
mod refused;
mod states;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::{
    ContainerFilter, ContainerSpec, ContainerState, ErrorKind, Job, JobSpec, JobState, JobStatus, Node, Signal,
    StopOptions, WaitFor,
};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::world::{
    SOON, begun, connect, container, direct, forget, inside, left, mark, output, output_until_lost, redis_forgets,
    remembered, said, shell, state, tls,
};

/// A node may have 20 connections in all, of which so many may be ours.
const MAX_CONNECTIONS: usize = 16;

/// The connections of clients elsewhere: those of the node itself come by its socket.
async fn foreign_connections(redis: &mut redis::aio::MultiplexedConnection) -> usize {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(redis).await.expect("a list of clients");
    list.lines().filter(|line| line.contains(" addr=127.0.0.1:")).count()
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
/// They go on until `go` is there.
async fn jobs(node: &Arc<dyn Node>, container: &str, runs: &str, go: &str) -> Vec<(i32, Arc<dyn Job>)> {
    let container = node.container(container);
    let mut jobs = Vec::new();
    for code in 0..12 {
        let script = |note: &str, go: &str| {
            let waits = format!("while [ ! -e {go} ]; do sleep 0.5; done");
            shell(&format!("{note}; echo begun {code}; {waits}; echo done {code} >&2; exit {code}"))
        };
        let on_node = script(&format!("echo {code} >> {runs}"), go);
        jobs.push((code, node.run(&on_node).await.expect("it starts")));
        jobs.push((code, container.run(&script(":", "/go")).await.expect("it starts")));
    }
    jobs
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

/// Ends the node's Redis while jobs run, are read and waited for, and starts it again, with or without its memory. They run
/// on, so that nothing of them may be lost.
async fn redis_dies(instance: &str, forgets: bool) {
    let Some(engine) = OwnEngine::core0(instance) else { return };
    let directory = engine.verb("dir");
    let (runs, go) = (format!("{directory}/runs"), format!("{directory}/go"));
    for uri in [engine.engine().uri().to_owned(), tls(&engine)] {
        let node = connect(&uri).await;
        let host = container(&node, "host", "sleep 600").await;
        let ends = container(&node, "ends", "while [ ! -e /go ]; do sleep 0.2; done; exit 7").await;
        let jobs = jobs(&node, &host, &runs, &go).await;
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

        let _ = engine.verb(if forgets { "kill-redis" } else { "stop-redis" });
        let error = node.ping().await.expect_err("there is no Redis");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let error = node.list_containers(&ContainerFilter::all()).await.expect_err("there is no Redis");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        if forgets {
            forget(&engine);
        }
        let _ = engine.verb("start-redis");
        node.ping().await.expect("it answers again, and nobody had to connect");
        std::fs::write(&go, "").expect("the file");
        for id in [&host, &ends] {
            let touched = node.container(id).run(&JobSpec::new(["touch", "/go"])).await.expect("jobs run");
            assert_eq!(touched.wait(SOON).await.expect("it ends").exit_code, Some(0));
        }

        for ((code, job), ended) in jobs.iter().zip(join_all(waits).await) {
            assert!(check(*code, &ended.expect("it waited")), "job {code} is lost though it ran on");
            assert_eq!(
                output(&**job).await,
                format!("begun {code}\ndone {code}\n"),
                "nothing is missing or told twice"
            );
        }
        assert_eq!(main.await.expect("it waited").expect("it ended").exit_code, Some(7));
        let ids: Vec<String> = node.jobs().await.expect("jobs").into_iter().map(|job| job.id).collect();
        assert_eq!(ids.len(), jobs.len() + 2, "each is told of once");
        let ran = std::fs::read_to_string(&runs).expect("what ran");
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        ran.lines().for_each(|line| *counts.entry(line).or_default() += 1);
        assert!(counts.len() == 12 && counts.values().all(|count| *count == 1), "each ran once: {counts:?}");
        for file in [&runs, &go] {
            std::fs::remove_file(file).expect("the file");
        }

        // What it was told before it died is known, or found out.
        assert_eq!(state(&*node.container(&host)).await, (ContainerState::Running, None));
        assert_eq!(state(&*node.container(&ends)).await, (ContainerState::Stopped, Some(7)));
        for id in [host, ends] {
            node.container(&id).delete(&roadstead_core::DeleteOptions::force()).await.expect("deleted");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_its_time_though_the_redis_forgets() {
    let Some(engine) = OwnEngine::core0("stop-forgets") else { return };
    let node = connect(&tls(&engine)).await;
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
    let node = connect(&tls(&engine)).await;
    let script = "while [ ! -e /go ]; do sleep 0.1; done; echo over; exit 3";
    let mut containers = Vec::new();
    for name in ["starts", "stops", "looked-at", "killed"] {
        containers.push(node.container(&container(&node, name, script).await));
    }
    let older = remembered(&engine).await;
    for container in &containers {
        container.run(&JobSpec::new(["touch", "/go"])).await.expect("jobs run");
        assert_eq!(container.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(3));
        // Until that is written down.
        assert_eq!(state(&**container).await, (ContainerState::Stopped, Some(3)));
    }
    // Nothing of this program's own tells it.
    drop((node, containers));
    redis_forgets(&engine, Some(&older));
    let node = connect(&tls(&engine)).await;
    let [starts, stops, looked_at, killed] =
        ["starts", "stops", "looked-at", "killed"].map(|name| node.container(name));
    let refused = killed.kill(Signal::TERM).await.expect_err("nothing takes the signal");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
    assert_eq!(state(&*killed).await, (ContainerState::Stopped, None));
    // Who waits need not wait for a whole round of what a flag of that day says.
    let waited = looked_at.wait(WaitFor::Stopped, Duration::from_secs(45)).await;
    assert_eq!(waited.expect("somebody sees that it has ended").exit_code, None);
    assert_eq!(state(&*looked_at).await, (ContainerState::Stopped, None));
    starts.start().await.expect("it starts");
    stops.stop(&StopOptions::after_seconds(60)).await.expect("it has ended");
    assert_eq!(state(&*stops).await, (ContainerState::Stopped, None));
    assert_eq!(starts.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(3), "it ran once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_an_older_memory_does_not_hide_what_runs() {
    let Some(engine) = OwnEngine::core0("older-runs") else { return };
    let node = connect(&tls(&engine)).await;
    // The exit code of a run tells which one it was; it ends when it is let.
    let script =
        "n=$(($(cat /n) + 1)); echo $n >/n; echo begun; while [ ! -e /go$n ]; do sleep 0.1; done; exit $((20 + n))";
    let mut ids = Vec::new();
    for name in ["looked-at", "started", "ended", "unwritten", "created"] {
        let spec = ContainerSpec::new(flist()).name(name).command(["sh", "-c", script]);
        let id = node.create_container(&spec).await.expect("it is created").id;
        inside(&node, &id, "echo 0 >/n").await;
        ids.push(id);
    }
    for id in &ids[..4] {
        let container = node.container(id);
        container.start().await.expect("it starts");
        inside(&node, id, "touch /go1").await;
        assert_eq!(container.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(21));
        assert_eq!(state(&*container).await, (ContainerState::Stopped, Some(21)));
    }
    let mut redis = direct(&engine).await;
    // How the first run of one ended was not written down yet, and too long ago for its result.
    let mark = mark(&node, &ids[3]).await;
    let keys = [format!("roadstead:container:{mark}:end"), format!("result:{mark}-1"), format!("result:{mark}-1:flag")];
    redis::cmd("DEL").arg(&keys).query_async::<()>(&mut redis).await.expect("they go");
    let older = remembered(&engine).await;
    for id in &ids {
        node.container(id).start().await.expect("it starts");
        said(&*node.container(id), "begun").await;
    }
    // Nothing of this program's own tells of these runs.
    drop(node);
    redis_forgets(&engine, Some(&older));
    let node = connect(&tls(&engine)).await;
    let [looked_at, started, ended, created] = [0, 1, 2, 4].map(|at| node.container(&ids[at]));
    let unwritten = node.container(&ids[3]);

    // What ended before anybody looked has left its result, which is not that of the next run.
    inside(&node, &ids[2], "touch /go2").await;
    left(&engine, "result:*-2").await;
    assert_eq!(state(&*ended).await, (ContainerState::Stopped, Some(22)), "not as its record says");
    ended.start().await.expect("it starts");
    inside(&node, &ids[2], "touch /go3").await;
    assert_eq!(ended.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(23), "that is another run");

    // The end of the first run is written down now, and the second one is not touched by that.
    assert_eq!(state(&*unwritten).await, (ContainerState::Running, None));
    inside(&node, &ids[3], "touch /go2").await;
    assert_eq!(unwritten.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(22));

    assert_eq!(state(&*looked_at).await, (ContainerState::Running, None));
    looked_at.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    assert_eq!(state(&*looked_at).await, (ContainerState::Stopped, Some(137)));
    started.start().await.expect("it runs");
    assert_eq!(inside(&node, &ids[1], "cat /n").await, "2", "no second main process was started");
    assert_eq!(state(&*created).await.0, ContainerState::Running);
    inside(&node, &ids[4], "touch /go1").await;
    assert_eq!(created.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(21));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_after_the_redis_forgot_all_is_known() {
    let Some(engine) = OwnEngine::core0("forgot-all") else { return };
    let node = connect(&tls(&engine)).await;
    let id = container(&node, "ends", "echo begun; while [ ! -e /go ]; do sleep 0.1; done; exit 9").await;
    said(&*node.container(&id), "begun").await;
    drop(node);
    redis_forgets(&engine, None);
    let node = connect(&tls(&engine)).await;
    inside(&node, &id, "touch /go").await;
    left(&engine, "result:*-1").await;
    assert_eq!(state(&*node.container(&id)).await, (ContainerState::Stopped, Some(9)));
    node.container(&id).start().await.expect("it starts");
    assert_eq!(node.container(&id).wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_job_ends_though_the_redis_dies_before_what_it_left() {
    let Some(engine) = OwnEngine::core0("kill-outage") else { return };
    let node = connect(&tls(&engine)).await;
    let host = container(&node, "host", "sleep 600").await;
    let script = "sleep 600 & echo begun; while :; do sleep 0.1; done";
    let job = node.container(&host).run(&shell(script)).await.expect("it starts");
    begun(&[(0, Arc::clone(&job))]).await;
    let mut redis = direct(&engine).await;
    job.kill(Signal::KILL).await.expect("it is sent");
    // Before anybody can have seen that it has left something.
    redis::cmd("SHUTDOWN").arg("SAVE").query_async::<()>(&mut redis).await.expect_err("it is gone");
    let _ = engine.verb("stop-redis");
    let _ = engine.verb("start-redis");
    let status = job.wait(SOON).await.expect("it ends");
    assert_eq!((status.state, status.exit_code), (JobState::Killed, Some(137)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_loses_no_job() {
    redis_dies("redis-dies", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_makes_no_job_succeed() {
    redis_dies("redis-forgets", true).await;
}

/// Takes the Redis away for longer than a job that is silent is waited for. What ends within that time is known afterwards where
/// the node holds it, and else lost.
async fn long_outage(instance: &str, holds: bool) {
    let Some(engine) = OwnEngine::core0(instance) else { return };
    let node = connect(&tls(&engine)).await;
    let host = container(&node, "host", "sleep 600").await;
    let go = format!("{}/go", engine.verb("dir"));
    let waits =
        |code: i32| shell(&format!("echo begun; while [ ! -e {go} ]; do sleep 0.2; done; echo done; exit {code}"));
    let on_node = node.run(&waits(3)).await.expect("it starts");
    let inside = node.container(&host).run(&shell("echo begun; sleep 45; echo done; exit 4")).await.expect("it starts");
    let ends = node.run(&shell("echo begun; sleep 10; echo done; exit 5")).await.expect("it starts");
    let jobs = [(3, on_node), (4, inside), (5, ends)];
    begun(&jobs).await;

    let _ = engine.verb("stop-redis");
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
        let is_known = check(*code, &job.wait(SOON).await);
        assert_eq!(is_known, holds || *code != 5, "job {code}");
        if is_known {
            assert_eq!(output(&**job).await, "begun\ndone\n");
        } else {
            assert_eq!(job.status().await.expect("a status").state, JobState::Lost);
            assert_eq!(output_until_lost(&**job).await, "begun\n");
        }
    }
    node.container(&host).delete(&roadstead_core::DeleteOptions::force()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_leaves_jobs_running() {
    long_outage("long-outage", false).await;
}

// Nodes of other generations may hold what one of G3 drops: a result and output that come late are told.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_held_over_a_long_outage_is_told() {
    long_outage("long-hold", true).await;
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
    let _ = engine.verb("stop-redis");
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
