//! The breaker around a node in memory that goes away and hangs as told, under paused time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Breaker, BreakerOptions, probes};
use crate::container::ContainerFilter;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::layers::{Around, Call, wrap};
use crate::memory::{Fault, MemoryNode, MemoryOptions};
use crate::node::Node;
use crate::operation;

const LIST: &str = "node.list_containers";
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    memory: Arc<MemoryNode>,
    node: Arc<dyn Node>,
}

impl Rig {
    fn new() -> Self {
        Rig::with(BreakerOptions::default())
    }

    fn with(options: BreakerOptions) -> Self {
        let memory = Arc::new(MemoryNode::new("n", MemoryOptions::default()).unwrap());
        let node = super::guard(Arc::clone(&memory) as _, Arc::clone(&memory) as _, options);
        Rig { memory, node }
    }

    async fn list(&self) -> Result<usize> {
        self.node.list_containers(&ContainerFilter::all()).await.map(|items| items.len())
    }

    /// What a list says, and how long that took.
    async fn timed(&self) -> (Result<usize>, Duration) {
        let begun = Instant::now();
        (self.list().await, begun.elapsed())
    }

    /// A caller that waits no longer than `patience`.
    async fn give_up_after(&self, patience: Duration) -> bool {
        timeout(patience, self.list()).await.is_err()
    }

    fn hangs(&self) {
        self.memory.faults().always(LIST, Fault::Delay(Duration::from_secs(3600))).unwrap();
    }

    fn asked(&self) -> usize {
        self.memory.faults().calls().iter().filter(|call| **call == LIST).count()
    }

    /// The refusal of an open breaker, which took no time.
    async fn refusal(&self) -> Error {
        let (answer, took) = self.timed().await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
        assert!(took <= super::SPACING, "{took:?}");
        assert!(error.message().starts_with("no answer since 2"), "{error}");
        error
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_repeatedly_is_asked_in_the_background_only() {
    let rig = Rig::new();
    rig.memory.faults().leave();
    assert!(rig.list().await.unwrap_err().message().contains("went away"));
    sleep(SECOND).await;
    let error = rig.refusal().await;
    assert!(error.message().contains("the engine went away"), "{error}");
    // Two seconds at most between probes of a node that refuses, if nobody calls.
    let asked = rig.asked();
    sleep(60 * SECOND).await;
    assert!((28..=32).contains(&(rig.asked() - asked)), "{}", rig.asked() - asked);
    let asked = rig.asked();
    rig.memory.faults().come_back();
    sleep(60 * SECOND).await;
    assert_eq!(rig.asked() - asked, 1, "nobody probes a node that answers");
    assert_eq!(rig.list().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refused_at_once_is_there_for_the_first_call_after_it_came_back() {
    let rig = Rig::new();
    rig.memory.faults().leave();
    let _ = rig.list().await;
    sleep(60 * SECOND).await;
    let asked = rig.asked();
    let begun = Instant::now();
    while begun.elapsed() < SECOND {
        let _ = tokio::join!(rig.refusal(), rig.refusal(), rig.refusal());
    }
    assert!(
        (100..=202).contains(&(rig.asked() - asked)),
        "one each five milliseconds at most: {}",
        rig.asked() - asked
    );
    rig.memory.faults().come_back();
    assert_eq!(rig.list().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_only_a_moment_for_a_node_that_refused_before_and_hangs_now() {
    let rig = Rig::new();
    rig.memory.faults().leave();
    let _ = rig.list().await;
    sleep(60 * SECOND).await;
    rig.hangs();
    rig.memory.faults().come_back();
    let (answer, took) = rig.timed().await;
    assert_eq!((answer.unwrap_err().kind(), took), (ErrorKind::Unavailable, super::GLIMPSE));
    for _ in 0..600 {
        rig.refusal().await;
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_costs_nothing_once_it_is_known() {
    let rig = Rig::new();
    rig.hangs();
    assert!(rig.give_up_after(2 * SECOND).await);
    // Until it is known, callers do pay: two probes have to fail after the call that was given up.
    sleep(15 * SECOND).await;
    assert!(rig.give_up_after(SECOND).await);
    sleep(6 * SECOND).await;
    let error = rig.refusal().await;
    assert!(error.message().contains("no answer within 10 s"), "{error}");
    // Fifteen seconds at most of pause after each ten of waiting.
    let asked = rig.asked();
    sleep(500 * SECOND).await;
    assert!((18..=22).contains(&(rig.asked() - asked)), "{}", rig.asked() - asked);
    rig.memory.faults().clear();
    sleep(25 * SECOND).await;
    assert_eq!(rig.list().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_refused_while_it_is_open() {
    let rig = Rig::new();
    rig.memory.faults().leave();
    let _ = rig.list().await;
    rig.hangs();
    sleep(60 * SECOND).await;
    let calls = rig.memory.faults().calls().len();
    let errors = [
        rig.node.ping().await.unwrap_err(),
        rig.node.container("c").start().await.unwrap_err(),
        rig.node.list_volumes().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    }
    assert_eq!(rig.memory.faults().calls().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_is_not_broken() {
    let rig = Rig::new();
    rig.memory.faults().always(LIST, Fault::Delay(Duration::from_secs(9))).unwrap();
    for _ in 0..20 {
        assert!(rig.give_up_after(SECOND).await);
    }
    for _ in 0..5 {
        let (answer, took) = rig.timed().await;
        assert_eq!((answer.unwrap(), took), (0, 9 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_makes_nobody_suspect() {
    let rig = Rig::new();
    rig.hangs();
    assert!(rig.give_up_after(Duration::from_millis(200)).await);
    sleep(SECOND).await;
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_caller_are_answers() {
    let rig = Rig::new();
    for kind in [ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::PermissionDenied, ErrorKind::Unexpected] {
        rig.memory.faults().script(LIST, Fault::Refuse(kind), 10).unwrap();
        for _ in 0..10 {
            assert_eq!(rig.list().await.unwrap_err().kind(), kind);
        }
    }
    assert_eq!(rig.asked(), 40, "nobody probed");
    assert_eq!(rig.list().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_hangs_leaves_the_others_alone() {
    let rig = Rig::new();
    rig.memory.faults().always("container.inspect", Fault::Refuse(ErrorKind::DeadlineExceeded)).unwrap();
    for _ in 0..10 {
        assert_eq!(rig.node.container("c").inspect().await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(rig.list().await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_without_the_engine_proves_nothing() {
    let rig = Rig::with(BreakerOptions { pause: Duration::from_secs(1), ..BreakerOptions::default() });
    rig.memory.faults().always(LIST, Fault::Refuse(ErrorKind::Unavailable)).unwrap();
    assert!(rig.list().await.is_err());
    for _ in 0..3 {
        rig.node.ping().await.unwrap();
        rig.node.jobs().await.unwrap();
        sleep(Duration::from_millis(350)).await;
    }
    sleep(Duration::from_millis(10)).await;
    rig.refusal().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_two_failures_begins_anew() {
    let rig = Rig::with(BreakerOptions { pause: Duration::from_secs(3600), ..BreakerOptions::default() });
    for _ in 0..10 {
        rig.memory.faults().script(LIST, Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
        assert!(rig.list().await.is_err());
        assert_eq!(rig.list().await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time() {
    let rig = Arc::new(Rig::with(BreakerOptions { failures: 1000, ..BreakerOptions::default() }));
    rig.hangs();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.give_up_after(SECOND).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    sleep(SECOND).await;
    assert_eq!(rig.asked(), 51, "fifty callers, and one probe");
}

/// A layer's own view, since a node in memory has no wait that hangs without its container.
#[tokio::test(start_paused = true)]
async fn waits_that_run_out_say_nothing() {
    let memory: Arc<dyn Node> = Arc::new(MemoryNode::new("n", MemoryOptions::default()).unwrap());
    let breaker = Breaker::new(memory, BreakerOptions { failures: 1, ..BreakerOptions::default() });
    for operation in [&operation::CONTAINER_WAIT, &operation::CONTAINER_STOP, &operation::JOB_WAIT] {
        let late = || Some(Box::pin(async { Err::<(), _>(Error::new(ErrorKind::DeadlineExceeded, "late")) }) as _);
        assert!(breaker.around(Call::new(operation, "n", ""), late).await.is_err());
        assert_eq!(breaker.open_since(), None, "{}", operation.name);
    }
    let gone = || Some(Box::pin(async { Err::<(), _>(Error::new(ErrorKind::Unavailable, "gone")) }) as _);
    assert!(breaker.around(Call::new(&operation::NODE_INFO, "n", ""), gone).await.is_err());
    assert!(breaker.open_since().is_some());
}

#[tokio::test(start_paused = true)]
async fn probes_end_with_the_breaker() {
    let memory = Arc::new(MemoryNode::new("n", MemoryOptions::default()).unwrap());
    memory.faults().leave();
    let breaker = Breaker::new(Arc::clone(&memory) as _, BreakerOptions::default());
    let shared = Arc::downgrade(&breaker.shared);
    let node = wrap(Arc::clone(&memory) as _, breaker);
    assert!(node.list_containers(&ContainerFilter::all()).await.is_err());
    drop(node);
    timeout(60 * SECOND, probes(shared)).await.unwrap();
    sleep(60 * SECOND).await;
    assert_eq!(Arc::strong_count(&memory), 1);
}
