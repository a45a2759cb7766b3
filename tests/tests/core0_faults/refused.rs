//! The node's Redis is there and refuses: it is full, cannot write, or takes the token no more.

use std::time::Duration;

use roadstead_core::{ContainerFilter, ContainerSpec, ContainerState, ErrorKind, Retry};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::between::{Between, How, Rule};
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
        // Where the push itself is refused nothing was done.
        between.breaks(Rule { how: How::Say(words), word: "RPUSH", after: None, every: 1, times: usize::MAX });
        let error = node.create_container(&spec.name("not-made")).await.expect_err("it is refused");
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_ne!(error.retry(), Retry::Unknown, "{error:?}");
        between.mend();
        assert_eq!(beside.list_containers(&ContainerFilter::all()).await.expect("a list").len(), number + 1);
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
