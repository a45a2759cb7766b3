//! Somebody deletes the source, and the copy as well, during a move: its record comes to an end, and stands in nobody's way.

use super::once::once;
use super::*;

async fn delete(node: &MemoryNode, name: &str) {
    node.container(name).delete(&DeleteOptions::force()).await.unwrap();
}

/// Applies it, and deletes the source at this point.
async fn without_source(rig: &Rig, step: Step, phase: Phase) -> (MoveRecord, Error) {
    let source = Arc::clone(&rig.source);
    let deletes = once(step, phase, move || async move { delete(&source, NAME).await });
    let error = rig.mover().observed_by(deletes).apply(rig.planned().await).await.unwrap_err();
    (rig.kept().await, error)
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_deleted_before_the_copy_is_complete_ends_the_move() {
    for by in [By::Files, By::Engines] {
        for (step, phase) in [
            (Step::StopSource, Phase::Within),
            (Step::Copy, Phase::Before),
            (Step::Copy, Phase::After),
            (Step::Verify, Phase::Within),
        ] {
            let rig = Rig::new(true, by).await;
            let (record, error) = without_source(&rig, step, phase).await;
            let told = format!("{by:?}: {step} {phase:?}: {record:#?}");
            assert_eq!((error.kind(), record.state), (ErrorKind::NotFound, MoveState::Lost), "{told}");
            assert!(record.state.is_final());
            let failure = record.failure.clone().expect(&told);
            assert_eq!(failure.code, ErrorKind::NotFound, "{told}");
            assert!(failure.detail.contains("on neither side"), "{told}");
            // What may be the last that there is stays, and is told of.
            let left = rig.all(&rig.target).await.len();
            assert_eq!(left, usize::from(step > Step::Copy || phase == Phase::After), "{told}");
            assert_eq!(record.notes.iter().any(|note| note.contains("stays on the target")), left == 1, "{told}");
            for answer in [rig.mover().apply(record.clone()).await, rig.mover().roll_back(record.clone()).await] {
                assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound, "{told}");
            }
            assert_eq!(rig.kept().await, record, "what is lost stays lost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_deleted_after_the_copy_was_found_complete_leaves_the_copy() {
    let rig = Rig::new(true, By::Files).await;
    let (record, error) = without_source(&rig, Step::Verify, Phase::After).await;
    assert_eq!((error.kind(), record.state), (ErrorKind::NotFound, MoveState::Lost), "{record:#?}");
    assert!(record.notes.iter().any(|note| note.contains("was found complete")), "{record:#?}");
    rig.volume_came_along(NAME).await;
    let left = rig.all(&rig.target).await;
    assert!(left.iter().all(|copy| !copy.summary.state.has_processes() && copy.spec.restart == RestartPolicy::Never));
}

/// Another server, or another name of the same engine, moves the same container: it may take it, and then we may not have it.
#[tokio::test(start_paused = true)]
async fn a_source_that_another_move_took_is_not_started_twice() {
    for (step, phase) in [(Step::Verify, Phase::After), (Step::RetireSource, Phase::Within)] {
        let rig = Rig::new(true, By::Files).await;
        let source = Arc::clone(&rig.source);
        let takes = once(step, phase, move || async move {
            source.container(NAME).rename("web-moved-by-another").await.unwrap();
        });
        let error = rig.mover().observed_by(takes).apply(rig.planned().await).await.unwrap_err();
        let record = rig.kept().await;
        assert_eq!((error.kind(), record.state), (ErrorKind::NotFound, MoveState::Lost), "{step}: {record:#?}");
        for again in [rig.mover().apply(record.clone()).await, rig.mover().roll_back(record.clone()).await] {
            assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound, "{step}");
        }
        assert!(rig.all(&rig.target).await.iter().all(|copy| !copy.summary.state.has_processes()), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_whose_both_sides_are_deleted_after_the_commit_ends() {
    for step in [Step::SettleTarget, Step::StartTarget, Step::DeleteSource] {
        let rig = Rig::new(true, By::Files).await;
        let record = rig.planned().await;
        let (source, target, retired) = (Arc::clone(&rig.source), Arc::clone(&rig.target), record.retired_name());
        let deletes = once(step, Phase::Before, move || async move {
            delete(&target, NAME).await;
            delete(&source, &retired).await;
        });
        let error = rig.mover().observed_by(deletes).apply(record).await.unwrap_err();
        let record = rig.kept().await;
        assert_eq!((error.kind(), record.state), (ErrorKind::NotFound, MoveState::Lost), "{step}: {record:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_failure_is_kept_and_another_container_of_the_name_is_moved_meanwhile() {
    let rig = Rig::new(true, By::Files).await;
    let (source, target) = (Arc::clone(&rig.source), Arc::clone(&rig.target));
    let canceller = Canceller::default();
    let calls_off = canceller.clone();
    let leaves = once(Step::Copy, Phase::After, move || async move {
        delete(&source, NAME).await;
        target.faults().leave();
        calls_off.cancel();
    });
    let mover = rig.mover().observed_by(leaves).cancelled_by(canceller);
    assert_eq!(mover.apply(rig.planned().await).await.unwrap_err().kind(), ErrorKind::Cancelled);
    // Whether the target has a copy cannot be known yet.
    let stuck = rig.kept().await;
    assert_eq!(stuck.state, MoveState::RollingBack);
    assert_eq!(stuck.failure.as_ref().map(|failure| failure.code), Some(ErrorKind::Unavailable), "{stuck:#?}");
    assert!(stuck.notes.iter().any(|note| note.contains("the move was called off")), "{stuck:#?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spec = ContainerSpec::new(PRESET_IMAGE).name(NAME).command(["sleep", "100000"]);
    rig.source.create_container(&spec).await.unwrap();
    rig.come_back();
    let other = MoveSpec { new_name: Some("other".to_owned()), ..rig.spec() };
    let plan = plan(&as_node(&rig.source), &as_node(&rig.target), &other).await.unwrap();
    assert_eq!(rig.mover().apply(MoveRecord::new(plan)).await.unwrap().state, MoveState::Done);
    let error = rig.mover().roll_back(stuck.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let ended = rig.log.load(stuck.id()).await.unwrap().unwrap();
    assert_eq!(ended.state, MoveState::Lost);
    assert_eq!(ended.failure.as_ref().map(|failure| failure.code), Some(ErrorKind::NotFound), "{ended:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_and_is_there_again_is_rolled_back() {
    let rig = Rig::new(true, By::Files).await;
    let source = Arc::clone(&rig.source);
    let renames = once(Step::Copy, Phase::Before, move || async move {
        source.container(NAME).rename("elsewhere").await.unwrap();
    });
    let error = rig.mover().observed_by(renames).apply(rig.planned().await).await.unwrap_err();
    let lost = rig.kept().await;
    assert_eq!((error.kind(), lost.state), (ErrorKind::NotFound, MoveState::Lost), "{lost:#?}");
    rig.source.container("elsewhere").rename(NAME).await.unwrap();
    let back = rig.mover().roll_back(lost).await.unwrap();
    assert_eq!(back.state, MoveState::RolledBack);
    rig.back(&back).await;
    rig.moved(&rig.mover().apply(back).await.unwrap()).await;
}
