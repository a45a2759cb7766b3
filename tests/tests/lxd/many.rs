//! Many at once and many in a row: nothing is mixed up, nothing is left behind, and a list stays one call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use roadstead_core::{
    Container, ContainerFilter, ContainerState, Error, JobSpec, JobState, JobStatus, OutputChunk, OutputKind,
    OutputOptions,
};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::OwnEngine;
use roadstead_tests::proxy::CountingProxy;
use tokio::task::JoinSet;

use crate::{Known, connect};

on_lxd_and_incus! {
    fifty_jobs_at_once_keep_their_own_ends
    a_list_of_running_instances_is_one_call
}

const SOON: Duration = Duration::from_secs(60);
const AT_ONCE: i32 = 50;
const IN_A_ROW: usize = 200;
const INSTANCES: usize = 20;

/// The ways to a daemon.
fn ways(engine: &TestEngine) -> [String; 2] {
    let known = Known::of(engine);
    let tls = format!("{}?server_certificate={}&{}", engine.tls_uri(), known.server.display(), known.query);
    [engine.uri().to_owned(), tls]
}

async fn fifty_jobs_at_once_keep_their_own_ends(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let id = engine.run(&engine.name("at-once"));
    for uri in ways(engine) {
        let node = connect(&uri).await.expect("it answers");
        let container = node.container(&id);
        let mut jobs = JoinSet::new();
        for number in 0..AT_ONCE {
            let container = Arc::clone(&container);
            jobs.spawn(async move { (number, end_of(&*container, number).await) });
        }
        let mut ids = BTreeSet::new();
        for (number, result) in jobs.join_all().await {
            let (status, output) = result.unwrap_or_else(|error| panic!("{number} by {uri}: {error:?}"));
            assert_eq!(status.exit_code, Some(number), "by {uri}");
            assert_eq!(status.state, if number == 0 { JobState::Succeeded } else { JobState::Failed });
            let text = |kind| {
                let pieces = output.iter().filter(|piece| piece.kind == kind).map(|piece| piece.data.to_vec());
                String::from_utf8(pieces.collect::<Vec<_>>().concat()).expect("text")
            };
            assert_eq!(text(OutputKind::Stdout), format!("out {number}\n"), "by {uri}");
            assert_eq!(text(OutputKind::Stderr), format!("err {number}\n"), "by {uri}");
            ids.insert(status.id);
        }
        let known: BTreeSet<String> =
            container.jobs().await.expect("jobs").into_iter().map(|status| status.id).collect();
        assert_eq!(known, ids, "by {uri}");
        assert_eq!(known.len(), usize::try_from(AT_ONCE).expect("a number"));
    }
}

async fn end_of(container: &dyn Container, number: i32) -> Result<(JobStatus, Vec<OutputChunk>), Error> {
    let script = format!("echo out {number}; echo err {number} >&2; exit {number}");
    let job = container.run(&JobSpec::new(["sh", "-c", &script])).await?;
    let status = job.wait(SOON).await?;
    let output = job.output(OutputOptions::kept()).await?.try_collect().await?;
    Ok((status, output))
}

async fn a_list_of_running_instances_is_one_call(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let names: Vec<String> = (0..INSTANCES).map(|number| engine.name(&format!("listed{number}"))).collect();
    let running: BTreeSet<String> = names.iter().map(|name| engine.run(name)).collect();
    let proxy = CountingProxy::start(engine.socket());
    let node = connect(&format!("{}+unix://{}", engine.kind(), proxy.socket().display())).await.expect("it answers");
    let _ = proxy.take();
    let list = node.list_containers(&ContainerFilter::default()).await.expect("a list");
    let calls = proxy.take();
    let listed = list.iter().filter(|container| container.state == ContainerState::Running);
    let listed: BTreeSet<String> = listed.map(|container| container.id.clone()).collect();
    assert!(running.is_subset(&listed), "{running:?} in {listed:?}");
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0].starts_with("GET /1.0/instances?"), "{calls:?}");
    assert!(!calls[0].contains("recursion=2"), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_a_row_leave_nothing_in_lxd() {
    if let Some(own) = OwnEngine::lxd("jobs") {
        jobs_leave_nothing(own.engine()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_a_row_leave_nothing_in_incus() {
    if let Some(own) = OwnEngine::incus("jobs") {
        jobs_leave_nothing(own.engine()).await;
    }
}

async fn jobs_leave_nothing(engine: &TestEngine) {
    let id = engine.run(&engine.name("in-a-row"));
    for uri in ways(engine) {
        let node = connect(&uri).await.expect("it answers");
        let container = node.container(&id);
        let before = Open::now(engine);
        // The first ones open what stays.
        run_true(&*container, 5).await;
        let settled = Open { theirs: usize::MAX, ..before };
        let before = Open { theirs: at_rest(engine, &settled).await.theirs, ..before };
        run_true(&*container, IN_A_ROW).await;
        at_rest(engine, &before).await;
    }
}

async fn run_true(container: &dyn Container, count: usize) {
    for _ in 0..count {
        let job = container.run(&JobSpec::new(["true"])).await.expect("a job");
        assert_eq!(job.wait(SOON).await.expect("its end").state, JobState::Succeeded);
    }
}

/// What is open.
#[derive(Debug)]
struct Open {
    /// Files of ours, sockets among them.
    ours: usize,
    /// Sockets, pipes and terminals of the daemon. It has files open as well until its memory is tidied up: a log of LXC
    /// for each look at a container, whoever looked.
    theirs: usize,
}

impl Open {
    fn now(engine: &TestEngine) -> Self {
        let pid = engine.socket().with_file_name(format!("{}.pid", engine.kind()));
        let pid = std::fs::read_to_string(&pid).expect("a file with the daemon's process id");
        let mut theirs = files(pid.trim());
        theirs.retain(|target| ["socket:", "pipe:", "/dev/pt"].iter().any(|kind| target.starts_with(*kind)));
        Open { ours: files("self").len(), theirs: theirs.len() }
    }
}

/// What the open files of a process are.
fn files(process: &str) -> Vec<String> {
    let directory = std::fs::read_dir(format!("/proc/{process}/fd")).expect("a process of ours");
    // One that is closed meanwhile is not open.
    let targets = directory.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

/// Waits until the daemon has no operation and no more is open than before: a daemon keeps an operation for five
/// seconds, and we keep a connection for its news a little longer.
async fn at_rest(engine: &TestEngine, before: &Open) -> Open {
    let until = Instant::now() + SOON;
    loop {
        let operations = engine.get("/1.0/operations")["metadata"].clone();
        let lists = operations.as_object().into_iter().flatten();
        let left: usize = lists.filter_map(|(_, list)| list.as_array()).map(Vec::len).sum();
        let now = Open::now(engine);
        if left == 0 && now.ours <= before.ours && now.theirs <= before.theirs {
            return now;
        }
        assert!(Instant::now() < until, "left: {operations}; open: {now:?}, before: {before:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
