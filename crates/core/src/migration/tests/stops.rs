//! Sources that take their time to stop, and moves that do not get to the end of it: the engine goes on with the stop, and a
//! container that ran has to run when all is over.

use std::time::Duration;

use super::once::once;
use super::*;
use crate::memory::Fault;

/// Told to stop, it ends after four seconds.
const SLOW: [&str; 3] = ["sh", "-c", "trap 'sleep 4; exit 0' TERM; while :; do sleep 0.05; done"];
/// In the middle of that.
const MIDDLE: Duration = Duration::from_secs(2);

impl Rig {
    async fn slow_to_stop() -> Self {
        let rig = Rig::with(true, By::Files, &SLOW, 30).await;
        // Until it has its trap.
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig
    }

    /// The source runs, and goes on running for longer than any stop takes.
    async fn stays_up(&self, record: &MoveRecord) {
        self.back(record).await;
        assert!(record.ran, "{record:#?}");
        let ended = self.source.container(NAME).wait(WaitFor::NextEnd, Duration::from_secs(600)).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        self.back(record).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_called_off_while_its_source_stops_starts_it_afterwards() {
    let rig = Rig::slow_to_stop().await;
    let canceller = Canceller::default();
    let calls_off = canceller.clone();
    let cancels = once(Step::StopSource, Phase::Within, move || async move {
        tokio::spawn(async move {
            tokio::time::sleep(MIDDLE).await;
            calls_off.cancel();
        });
    });
    let mover = rig.mover().observed_by(cancels).cancelled_by(canceller);
    let error = mover.apply(rig.planned().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // It was let end, and not told a second time.
    assert_eq!(rig.source.faults().calls().iter().filter(|call| **call == "container.stop").count(), 1);
    rig.stays_up(&rig.kept().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_called_off_before_the_stop_stops_nothing() {
    let rig = Rig::slow_to_stop().await;
    let canceller = Canceller::default();
    let calls_off = canceller.clone();
    let cancels = once(Step::StopSource, Phase::Within, move || async move { calls_off.cancel() });
    let mover = rig.mover().observed_by(cancels).cancelled_by(canceller);
    assert_eq!(mover.apply(rig.planned().await).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!rig.source.faults().calls().contains(&"container.stop"));
    rig.stays_up(&rig.kept().await).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_server_left_while_its_source_stopped_is_rolled_back_to_a_source_that_runs() {
    let rig = Rig::slow_to_stop().await;
    let mover = rig.mover();
    let record = rig.planned().await;
    tokio::select! {
        done = mover.apply(record) => panic!("not cut: {done:?}"),
        () = tokio::time::sleep(MIDDLE) => {}
    }
    drop(mover);
    let kept = rig.kept().await;
    assert!(kept.stopping, "{kept:#?}");
    let record = rig.mover().roll_back(kept).await.unwrap();
    rig.stays_up(&record).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_while_the_source_stops_leaves_one_that_runs() {
    let rig = Rig::slow_to_stop().await;
    let source = Arc::clone(&rig.source);
    // The engine has it, and the answer is lost at once.
    let lost = once(Step::StopSource, Phase::Within, move || async move {
        let sent = Arc::clone(&source);
        tokio::spawn(async move {
            let _ = sent.container(NAME).stop(&StopOptions::default()).await;
        });
        tokio::time::sleep(MIDDLE).await;
        source.faults().script("container.stop", Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
    });
    let error = rig.mover().observed_by(lost).apply(rig.planned().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    rig.stays_up(&rig.kept().await).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_stop_the_source_is_not_waited_for_for_ever() {
    let rig = Rig::slow_to_stop().await;
    let slow = Fault::Delay(Duration::from_secs(100_000));
    rig.source.faults().script("container.stop", slow, 1).unwrap();
    let began = tokio::time::Instant::now();
    let error = rig.mover().apply(rig.planned().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(began.elapsed() < Duration::from_secs(600));
    rig.stays_up(&rig.kept().await).await;
}
