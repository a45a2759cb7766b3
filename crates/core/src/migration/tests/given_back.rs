//! What its owner does with source and copy between the commit and the start of the copy, and a copy that is given up: neither
//! joins the other.

use super::once::once;
use super::worked::{committed_without_its_target, given_up};
use super::*;
use crate::memory::Fault;

async fn runs(node: &MemoryNode, name: &str) -> bool {
    node.container(name).inspect().await.unwrap().summary.state.has_processes()
}

#[tokio::test(start_paused = true)]
async fn a_source_that_its_owner_put_back_after_the_commit_is_not_joined_by_the_copy() {
    for by in [By::Files, By::Engines] {
        let rig = Rig::new(true, by).await;
        let record = committed_without_its_target(&rig).await;
        rig.source.container(&record.retired_name()).rename(NAME).await.unwrap();
        rig.source.container(NAME).start().await.unwrap();
        assert_eq!(rig.mover().apply(record).await.unwrap_err().kind(), ErrorKind::Conflict);
        rig.back(&rig.kept().await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_its_owner_started_after_the_commit_is_not_joined_by_the_copy() {
    let rig = Rig::new(true, By::Files).await;
    let record = committed_without_its_target(&rig).await;
    rig.source.container(&record.retired_name()).start().await.unwrap();
    assert_eq!(rig.mover().apply(record).await.unwrap_err().kind(), ErrorKind::Conflict);
    rig.back(&rig.kept().await).await;
}

/// It runs on one side, and the copy holds what the source does not: a person has to say which of them it is.
#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_is_not_started_again_while_its_source_runs() {
    let rig = Rig::new(true, By::Files).await;
    let target = Arc::clone(&rig.target);
    let leaves = once(Step::StartTarget, Phase::Within, move || async move {
        target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
        target.faults().leave();
    });
    let mover = rig.mover().grace(Duration::from_secs(1)).observed_by(leaves);
    mover.apply(rig.planned().await).await.unwrap_err();
    rig.come_back();
    let record = rig.kept().await;
    assert_eq!((record.state, record.copy), (MoveState::Moving, CopyState::Started), "{record:#?}");
    let retired = record.retired_name();
    rig.source.container(&retired).rename(NAME).await.unwrap();
    rig.source.container(NAME).start().await.unwrap();
    assert_eq!(rig.mover().apply(record).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(runs(&rig.source, NAME).await && !runs(&rig.target, NAME).await);
    rig.source.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    rig.source.container(NAME).rename(&retired).await.unwrap();
    rig.moved(&rig.mover().apply(rig.kept().await).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_before_we_started_it_and_rests_under_another_name_is_not_joined_by_the_source() {
    let rig = Rig::new(true, By::Files).await;
    let record = committed_without_its_target(&rig).await;
    let copy = rig.target.container(NAME);
    copy.start().await.unwrap();
    copy.stop(&StopOptions::after_seconds(0)).await.unwrap();
    copy.rename("renamed").await.unwrap();
    rig.mover().apply(record.clone()).await.unwrap_err();
    let kept = rig.kept().await;
    assert!(!runs(&rig.source, &record.retired_name()).await, "{kept:#?}");
    rig.target.container("renamed").rename(NAME).await.unwrap();
    rig.moved(&rig.mover().apply(kept).await.unwrap()).await;
}

/// The copy could not be started, and cannot be deleted now either.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_given_up_is_held_before_the_source_has_its_name_again() {
    let rig = Rig::new(true, By::Files).await;
    let stuck = given_up(&rig).await;
    assert!(stuck.restored, "{stuck:#?}");
    rig.one_runnable_copy(&stuck).await;
}

/// Its policy has it started again and again, and what should end that does not reach its engine.
#[tokio::test(start_paused = true)]
async fn a_copy_that_its_engine_starts_again_and_again_gives_the_name_back() {
    for away in [false, true] {
        let rig = Rig::with(true, By::Files, &["sleep", "1"], 0).await;
        let (source, target) = (Arc::clone(&rig.source), Arc::clone(&rig.target));
        let lost = once(Step::StartTarget, Phase::Within, move || async move {
            target.faults().script("container.update", Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
            if away {
                source.faults().leave();
            }
        });
        let mover = || rig.mover().grace(Duration::from_secs(2));
        mover().observed_by(lost).apply(rig.planned().await).await.unwrap_err();
        rig.come_back();
        let mut record = rig.kept().await;
        if away {
            assert_eq!((record.state, record.copy), (MoveState::RollingBack, CopyState::Useless), "{record:#?}");
            // Between two starts.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            record = mover().roll_back(record).await.unwrap();
        }
        rig.back(&record).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_engine_refuses_every_change_gives_the_name_back() {
    let rig = Rig::new(true, By::Files).await;
    let target = Arc::clone(&rig.target);
    let full = once(Step::StartTarget, Phase::Before, move || async move {
        target.faults().script("container.start", Fault::Refuse(ErrorKind::InvalidInput), 1).unwrap();
        target.faults().script("container.update", Fault::Refuse(ErrorKind::ResourceExhausted), 9).unwrap();
    });
    rig.mover().observed_by(full).apply(rig.planned().await).await.unwrap_err();
    rig.target.faults().clear();
    rig.back(&rig.kept().await).await;
}

/// The server dies before it deletes the source, and the target's engine forgets to start the copy again.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_up_once_is_not_started_again_beside_a_source_that_runs() {
    let rig = Rig::new(true, By::Files).await;
    let source = Arc::clone(&rig.source);
    let leaves = once(Step::DeleteSource, Phase::Before, move || async move { source.faults().leave() });
    rig.mover().observed_by(leaves).apply(rig.planned().await).await.unwrap_err();
    rig.come_back();
    let mut record = rig.kept().await;
    assert!(record.is_done(Step::StartTarget), "{record:#?}");
    record.failure = None;
    rig.target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    rig.source.container(&record.retired_name()).rename(NAME).await.unwrap();
    rig.source.container(NAME).start().await.unwrap();
    assert_eq!(rig.mover().apply(record).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(runs(&rig.source, NAME).await && !runs(&rig.target, NAME).await);
}
