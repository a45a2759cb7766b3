//! What the tests of faults share: how they reach a core0 of their own, and what they break.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_backends::engines::core0::{Command, Core0Node};
use roadstead_core::{
    ConnectOptions, Container, ContainerSpec, ContainerState, Job, JobSpec, LogOptions, Node, OutputOptions,
};
use roadstead_tests::engines::{OwnEngine, flist};

/// What must come comes within this, on a machine that does much else.
pub(crate) const SOON: Duration = Duration::from_secs(90);

pub(crate) async fn connect(uri: &str) -> Arc<dyn Node> {
    roadstead_backends::registry().connect("own", uri, &ConnectOptions::default()).await.expect("the node answers")
}

pub(crate) fn shell(script: &str) -> JobSpec {
    JobSpec::new(["sh", "-c", script])
}

pub(crate) async fn output(job: &dyn Job) -> String {
    let chunks: Vec<_> = job.output(OutputOptions::kept()).await.expect("output").collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.expect("a chunk").data.to_vec()).collect();
    String::from_utf8(bytes).expect("text")
}

pub(crate) async fn direct(engine: &OwnEngine) -> redis::aio::MultiplexedConnection {
    let url = format!("redis+unix://{}", engine.engine().socket().display());
    let client = redis::Client::open(url).expect("a Redis");
    client.get_multiplexed_async_connection().await.expect("it answers")
}

pub(crate) async fn begun(jobs: &[(i32, Arc<dyn Job>)]) {
    for (_, job) in jobs {
        let mut output = job.output(OutputOptions::follow()).await.expect("output");
        let first = tokio::time::timeout(SOON, output.next()).await.expect("soon");
        assert!(first.is_some_and(|chunk| chunk.is_ok()), "it has begun");
    }
}

pub(crate) async fn container(node: &Arc<dyn Node>, name: &str, script: &str) -> String {
    let spec = ContainerSpec::new(flist()).name(name).command(["sh", "-c", script]);
    let created = node.create_container(&spec).await.expect("it is created");
    node.container(&created.id).start().await.expect("it starts");
    created.id
}

/// As clients elsewhere reach a node: through the proxy before its Redis.
pub(crate) fn tls(engine: &OwnEngine) -> String {
    engine.verb("tls-uri") + "?trust=unverified"
}

fn memory(engine: &OwnEngine) -> PathBuf {
    Path::new(&engine.verb("dir")).join("dump.rdb")
}

/// Has the Redis write its memory down as it is now; gives a copy.
pub(crate) async fn remembered(engine: &OwnEngine) -> PathBuf {
    redis::cmd("SAVE").query_async::<()>(&mut direct(engine).await).await.expect("it is written");
    let (memory, copy) = (memory(engine), memory(engine).with_extension("older"));
    std::fs::copy(memory, &copy).expect("a copy");
    copy
}

/// Takes what a Redis that does not run has written down of its memory.
pub(crate) fn forget(engine: &OwnEngine) {
    match std::fs::remove_file(memory(engine)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("its memory: {error}"),
        // It has not written anything yet.
        _ => {}
    }
}

/// Kills the node's Redis and starts it again, with this for its memory; without any where there is none.
pub(crate) fn redis_forgets(engine: &OwnEngine, older: Option<&Path>) {
    let _ = engine.verb("kill-redis");
    match older {
        Some(older) => drop(std::fs::copy(older, memory(engine)).expect("its older memory")),
        None => forget(engine),
    }
    let _ = engine.verb("start-redis");
}

pub(crate) async fn said(container: &dyn Container, word: &str) {
    let mut options = LogOptions::default();
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

pub(crate) async fn state(container: &dyn Container) -> (ContainerState, Option<i32>) {
    let details = container.inspect().await.expect("it is there");
    (details.summary.state, details.exit_code)
}

/// What a container's records are kept by: the beginning of the name of its main process's job.
pub(crate) async fn mark(node: &Arc<dyn Node>, id: &str) -> String {
    let node: &Core0Node = node.engine().downcast_ref().expect("a core0");
    let found = node.commands().containers().get(id.parse::<u64>().expect("a number")).await.expect("an answer");
    let kept = found.expect("it is there").arguments.config["/.roadstead/spec.json"].clone();
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    kept["mark"].as_str().expect("its mark").to_owned()
}

/// Runs a shell script in a container, and nothing else of ours looks at the container.
pub(crate) async fn inside(node: &Arc<dyn Node>, id: &str, script: &str) -> String {
    let node: &Core0Node = node.engine().downcast_ref().expect("a core0");
    let inside = node.inside(id.parse().expect("a number"));
    let outcome = inside.run(&Command::script(script).expect("a script")).await.expect("it runs");
    assert!(outcome.succeeded(), "{script}: {}", outcome.message());
    outcome.streams.expect("output").0.trim().to_owned()
}

/// Waits until there is such a key.
pub(crate) async fn left(engine: &OwnEngine, pattern: &str) {
    let mut redis = direct(engine).await;
    let there = async {
        while redis::cmd("KEYS").arg(pattern).query_async::<Vec<String>>(&mut redis).await.expect("keys").is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, there).await.expect("soon");
}

/// What is kept of a lost job's output; it ends with the error that lost it.
pub(crate) async fn output_until_lost(job: &dyn Job) -> String {
    let mut chunks = job.output(OutputOptions::kept()).await.expect("output");
    let mut text = String::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk.data));
    }
    text
}
