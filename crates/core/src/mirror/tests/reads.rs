//! What reads give: M1 to M6 and M9.

use futures_util::StreamExt;

use super::*;
use crate::memory::Fault;
use crate::{EventAction, WaitFor};

/// M1: what happens while the list is on its way is there afterwards.
#[tokio::test(start_paused = true)]
async fn events_are_subscribed_to_before_the_list_is_asked_for() {
    let engine = engine();
    engine.faults().script("node.list_containers", Fault::Delay(Duration::from_secs(2)), 1).unwrap();
    let rig = Rig::on(engine, |node| node);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = rig.faults().calls();
    assert_eq!(calls, ["node.events", "node.list_containers"]);
    assert!(rig.mirror.read(PATIENCE).await.is_err(), "not before it was listed");
    rig.create("web").await;
    rig.mirror.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(rig.read().await, rig.listed().await);
    assert_eq!(rig.read().await.len(), 1);
}

/// M2: after each write through the node, and after each event, the next read has what it did.
#[tokio::test(start_paused = true)]
async fn who_writes_or_is_told_reads_what_it_did() {
    let rig = Rig::new().await;
    let mut events = rig.node.events(&EventOptions::default()).await.unwrap();
    for round in 0..20 {
        let id = create(&*rig.node, &format!("own-{round}")).await;
        assert_eq!(rig.read().await, rig.listed().await);
        let container = rig.node.container(&id);
        container.start().await.unwrap();
        assert_eq!(rig.read().await, rig.listed().await);
        assert_eq!(rig.mirror.find(&id).unwrap().summary().state, ContainerState::Running);
        container.rename(&format!("renamed-{round}")).await.unwrap();
        assert_eq!(rig.read().await, rig.listed().await);
        assert!(rig.mirror.find(&format!("renamed-{round}")).is_some());
        // By somebody else.
        rig.freeze(&id).await;
        while events.next().await.unwrap().unwrap().action != EventAction::Frozen {}
        assert_eq!(rig.read().await, rig.listed().await);
        rig.engine.container(&id).unfreeze().await.unwrap();
        if round % 2 == 0 {
            let (waiter, other) = (rig.node.container(&id), rig.engine.container(&id));
            let (ended, killed) =
                tokio::join!(waiter.wait(WaitFor::Stopped, PATIENCE), other.kill(crate::Signal::KILL));
            ended.unwrap();
            killed.unwrap();
            assert_eq!(rig.read().await, rig.listed().await);
            assert_eq!(rig.mirror.find(&id).unwrap().summary().state, ContainerState::Stopped);
            container.delete(&DeleteOptions::default()).await.unwrap();
            assert_eq!(rig.read().await, rig.listed().await);
            assert!(rig.mirror.find(&id).is_none());
        }
    }
}

/// M2: a write that is given up counts, too.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_given_up_is_looked_at() {
    let rig = Rig::new().await;
    let id = create(&*rig.node, "web").await;
    rig.read().await;
    rig.faults().script("container.start", Fault::Delay(Duration::from_secs(5)), 1).unwrap();
    let container = rig.node.container(&id);
    assert!(tokio::time::timeout(Duration::from_secs(1), container.start()).await.is_err());
    let lists = rig.count("node.list_containers");
    rig.read().await;
    assert_eq!(rig.count("node.list_containers"), lists + 1);
}

/// M3: reads cost the engine nothing while it has just answered; later it is asked whether it is there, once.
#[tokio::test(start_paused = true)]
async fn the_engine_has_answered_within_the_last_second() {
    let rig = Rig::new().await;
    rig.create("web").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.read().await;
    let calls = rig.faults().calls().len();
    for _ in 0..1000 {
        assert_eq!(rig.read().await.len(), 1);
        assert!(rig.mirror.current().is_some());
    }
    assert_eq!(rig.faults().calls().len(), calls);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert!(rig.mirror.current().is_none());
    let before = Timestamp::now();
    let view = rig.mirror.read(PATIENCE).await.unwrap();
    assert!(view.observed_at >= before);
    assert_eq!(rig.faults().calls()[calls..], ["node.ping"]);
}

/// M3: of an engine that hangs, or is gone, nothing is given.
#[tokio::test(start_paused = true)]
async fn nothing_stale_is_given() {
    let rig = Rig::new().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.faults().always("*", Fault::Delay(Duration::from_secs(3600))).unwrap();
    let asked = Instant::now();
    let error = rig.mirror.read(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    assert_eq!(asked.elapsed(), Duration::from_secs(2));
    rig.faults().clear();
    rig.faults().leave();
    tokio::task::yield_now().await;
    let error = rig.mirror.read(Duration::from_secs(2)).await.unwrap_err();
    assert!(error.to_string().contains("went away"), "{error}");
    rig.task.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(rig.mirror.read(PATIENCE).await.unwrap_err().to_string().contains("nobody keeps it"));
}

/// M5: an engine that tells of nothing is found out.
#[cfg(feature = "conformance")]
#[tokio::test(start_paused = true)]
async fn what_is_not_told_is_found() {
    let mut deaf = crate::conformance::Unreliable::new(1);
    deaf.lost = 100;
    let rig = Rig::on(engine(), |node| layers::wrap(node, Arc::new(deaf)));
    rig.mirror.wait_ready(PATIENCE).await.unwrap();
    // Nobody reads: five minutes, and before the next read.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let lists = rig.count("node.list_containers");
    rig.create("first").await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(rig.count("node.list_containers"), lists);
    assert_eq!(rig.read().await.len(), 1);
    // Somebody reads: half a minute.
    rig.create("second").await;
    let begun = Instant::now();
    while rig.read().await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() <= Duration::from_secs(30), "{:?}", begun.elapsed());
    // Nobody reads, and five minutes are over.
    rig.create("third").await;
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(rig.mirror.snapshot().len(), 3);
    rig.create("fourth").await;
    rig.mirror.resync();
    assert_eq!(rig.read().await, rig.listed().await);
    rig.create("fifth").await;
    assert_eq!(rig.mirror.refresh(PATIENCE).await.unwrap().snapshot.len(), 5);
}

/// M6: an engine that comes back is listed anew, and what changed meanwhile are changes as others.
#[tokio::test(start_paused = true)]
async fn it_comes_back_with_the_engine() {
    let rig = Rig::new().await;
    let (first, second) = (create(&*rig.node, "first").await, create(&*rig.node, "second").await);
    rig.read().await;
    let before = rig.mirror.snapshot().moment();
    rig.faults().leave();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.mirror.ready().is_err() && rig.mirror.read(PATIENCE).await.is_err());
    assert_eq!(rig.mirror.snapshot().len(), 2, "what it had is kept");
    let attempts = rig.count("node.events");
    assert!((12..30).contains(&attempts), "{attempts}");
    rig.faults().come_back();
    rig.delete(&first).await;
    rig.create("third").await;
    rig.mirror.wait_ready(Duration::from_secs(6)).await.unwrap();
    assert_eq!(rig.read().await, rig.listed().await);
    assert!(rig.mirror.find(&second).is_some());
    let after = rig.mirror.snapshot().moment();
    assert_eq!((after.epoch(), after.revision()), (before.epoch(), before.revision() + 3), "gone, deleted, created");
}

/// M6: who sees the engine answer shortens the pause, and a list that fails ends nothing for good.
#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_asked_for_again() {
    let rig = Rig::new().await;
    rig.faults().script("node.list_containers", Fault::Refuse(ErrorKind::Unexpected), 9).unwrap();
    rig.mirror.resync();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(rig.mirror.ready().is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.mirror.ready().unwrap();
    // In the longest pause.
    rig.faults().script("node.events", Fault::Refuse(ErrorKind::Unavailable), 8).unwrap();
    rig.faults().leave();
    tokio::time::sleep(Duration::from_secs(15)).await;
    rig.faults().clear();
    rig.faults().come_back();
    rig.mirror.engine_answers();
    rig.mirror.wait_ready(Duration::from_millis(300)).await.unwrap();
}

/// M6: an engine without events has no mirror.
#[tokio::test(start_paused = true)]
async fn without_events_it_is_never_ready() {
    let without = vec![crate::Capability::Events];
    let engine = MemoryNode::new("sea", MemoryOptions { without, ..MemoryOptions::default() }).unwrap();
    let rig = Rig::on(Arc::new(engine), |node| node);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(rig.mirror.ready().unwrap_err().to_string().contains("events"));
    assert!(rig.faults().calls().is_empty());
}

/// M9: details are given from memory until something concerns the container.
#[tokio::test(start_paused = true)]
async fn details_are_as_the_engine_told_them_last() {
    let rig = Rig::new().await;
    let id = create(&*rig.node, "web").await;
    let other = create(&*rig.node, "other").await;
    let container = rig.node.container(&id);
    container.start().await.unwrap();
    rig.start(&other).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let details = async |name: &str| {
        let ask = async { rig.engine.container(name).inspect().await };
        rig.mirror.details(name, PATIENCE, ask).await
    };
    let first = details(&id).await.unwrap();
    assert_eq!(*first.details(), rig.engine.container(&id).inspect().await.unwrap());
    assert_eq!(first.json()[..], serde_json::to_vec(first.details()).unwrap());
    let asked = rig.count("container.inspect");
    for name in [id.as_str(), "web"] {
        assert!(Arc::ptr_eq(&details(name).await.unwrap(), &first));
    }
    rig.freeze(&other).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(Arc::ptr_eq(&details(&id).await.unwrap(), &first), "another container is no matter");
    assert_eq!(rig.count("container.inspect"), asked);
    // By an event, and by a write of our own.
    let mut events = rig.node.events(&EventOptions::default()).await.unwrap();
    rig.freeze(&id).await;
    events.next().await.unwrap().unwrap();
    assert_eq!(details(&id).await.unwrap().details().summary.state, ContainerState::Frozen);
    container.unfreeze().await.unwrap();
    assert_eq!(details("web").await.unwrap().details().summary.state, ContainerState::Running);
    // It changed a moment ago, so it is kept for a moment.
    let asked = rig.count("container.inspect");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    details("web").await.unwrap();
    assert_eq!(rig.count("container.inspect"), asked + 1);
    container.delete(&FORCE).await.unwrap();
    assert_eq!(details("web").await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.faults().leave();
    assert_eq!(details(&other).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
