//! The node's Redis is there and refuses: it is full, cannot write, or takes the token no more.

use std::time::Duration;

use roadstead_core::{ContainerFilter, ContainerSpec, ContainerState, ErrorKind, Retry, StopOptions};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::between::{Between, How, Rule};
use crate::containers::records;
use crate::world::{SOON, connect, container, inside, left, mark, state};

const REFUSALS: [(&str, ErrorKind); 3] = [
    ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::ResourceExhausted),
    (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        ErrorKind::ResourceExhausted,
    ),
    ("invalid jwt", ErrorKind::Unauthenticated),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_in_doubt_though_the_rest_is_refused() {
    let Some(engine) = OwnEngine::core0("refused-create") else { return };
    let beside = connect(engine.engine().uri()).await;
    for (number, (words, kind)) in REFUSALS.into_iter().enumerate() {
        let between = Between::start(&engine).await;
        let node = connect(&between.uri).await;
        let mut spec = ContainerSpec::new(flist()).name(format!("made-{number}")).command(["sleep", "600"]);
        spec.limits.memory_bytes = Some(64 << 20);
        // The next one that is pushed makes the container; only its result cannot be had.
        let after = Some("cgroup.memory.spec");
        between.breaks(Rule { how: How::Say(words), word: "BRPOPLPUSH", after, every: 1, times: usize::MAX });
        let error = node.create_container(&spec).await.expect_err("it is not told");
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Unknown), "{error:?}");
        assert!(between.mend() > 0);
        let made = async {
            loop {
                let all = beside.list_containers(&ContainerFilter::all()).await.expect("a list");
                if all.len() > number {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let all = tokio::time::timeout(SOON, made).await.expect("soon");
        assert_eq!(all.len(), number + 1, "each is there once");
        let mine = all.iter().find(|one| one.name == format!("made-{number}")).expect("it is there");
        assert_eq!(state(&*beside.container(&mine.id)).await.0, ContainerState::Created, "and has its record");
        // Where the push itself is refused nothing was done, and what was prepared is taken away.
        between.breaks(Rule { how: How::Say(words), word: "RPUSH", after, every: 1, times: 1 });
        let error = node.create_container(&spec.name("not-made")).await.expect_err("it is refused");
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_ne!(error.retry(), Retry::Unknown, "{error:?}");
        assert_eq!(between.mend(), 1);
        assert_eq!(beside.list_containers(&ContainerFilter::all()).await.expect("a list").len(), number + 1);
        assert_eq!(records(&engine).await.len(), number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_started_or_stopped_is_in_doubt_though_the_rest_is_refused() {
    let Some(engine) = OwnEngine::core0("refused-start") else { return };
    let beside = connect(engine.engine().uri()).await;
    for (number, (words, kind)) in REFUSALS.into_iter().enumerate() {
        let between = Between::start(&engine).await;
        let node = connect(&between.uri).await;
        let spec = ContainerSpec::new(flist()).name(format!("starts-{number}")).command(["sleep", "600"]);
        let id = node.create_container(&spec).await.expect("it is created").id;
        let refuses = |word, every, times| Rule { how: How::Say(words), word, after: None, every, times };
        // That it runs is written down twice: before it is pushed, and when it was seen.
        between.breaks(refuses(r#"{"number":1,"job""#, 2, 1));
        let started = node.container(&id).start().await.expect_err("it is not told");
        assert_eq!(started.kind(), kind, "{started:?}");
        assert_ne!(started.retry(), Retry::Safe, "{started:?}");
        assert_eq!(between.mend(), 1);
        assert_eq!(state(&*beside.container(&id)).await.0, ContainerState::Running);
        // The end cannot be written down.
        between.breaks(refuses(r#"{"run":1,"finished_at""#, 1, usize::MAX));
        let stopped = node.container(&id).stop(&StopOptions::after_seconds(0)).await.expect_err("it is not written");
        assert_eq!(stopped.kind(), kind, "{stopped:?}");
        assert_ne!(stopped.retry(), Retry::Safe, "{stopped:?}");
        assert!(between.mend() > 0);
        assert_eq!(state(&*beside.container(&id)).await.0, ContainerState::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn main_processes_are_looked_after_when_the_refusals_are_over() {
    let Some(engine) = OwnEngine::core0("refused-watch") else { return };
    let beside = connect(engine.engine().uri()).await;
    for (number, (words, _)) in REFUSALS.into_iter().enumerate() {
        let between = Between::start(&engine).await;
        let node = connect(&between.uri).await;
        // What it leaves behind holds its output, so that the node tells of no end.
        let script = "sleep 600 & while [ ! -e /go ]; do sleep 0.2; done; exit 3";
        let id = container(&node, &format!("watched-{number}"), script).await;
        let mark = mark(&node, &id).await;
        between.breaks(Rule { how: How::Say(words), word: "core:default", after: None, every: 1, times: usize::MAX });
        let refused = async {
            while between.broken() < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, refused).await.expect("it goes on asking");
        between.mend();
        inside(&beside, &id, "touch /go").await;
        // Nobody asks, so that it is whoever looks after it that writes its end down.
        left(&engine, &format!("roadstead:container:{mark}:end")).await;
        assert_eq!(state(&*node.container(&id)).await, (ContainerState::Stopped, Some(3)));
    }
}
