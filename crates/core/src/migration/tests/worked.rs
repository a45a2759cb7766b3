//! A copy that was started once may hold what the source does not: nothing takes it away, whatever fails afterwards.

use super::once::once;
use super::*;
use crate::memory::Fault;

/// Moved until the copy runs, which the source's node does not hear of any more.
async fn started(rig: &Rig) -> MoveRecord {
    let (source, target) = (Arc::clone(&rig.source), Arc::clone(&rig.target));
    let leaves = once(Step::StartTarget, Phase::Within, move || async move {
        let container = target.container(NAME);
        assert!(container.inspect().await.unwrap().summary.state.has_processes());
        let written = files(&[("root/written", 0o600, b"by the copy")]);
        container.copy_in("/", written, &CopyInOptions::default()).await.unwrap();
        source.faults().leave();
        target.faults().leave();
    });
    let error = rig.mover().observed_by(leaves).apply(rig.planned().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    rig.come_back();
    let record = rig.kept().await;
    assert_eq!((record.state, record.copy), (MoveState::Moving, CopyState::Started), "{record:#?}");
    record
}

async fn has_what_it_wrote(rig: &Rig, name: &str) {
    let mut archive = rig.target.container(name).copy_out("/root/written").await.unwrap();
    while let Some(piece) = archive.next().await {
        piece.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_and_cannot_be_started_again_stays() {
    for by in [By::Files, By::Engines] {
        let rig = Rig::new(true, by).await;
        let record = started(&rig).await;
        rig.target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
        rig.target.faults().script("container.start", Fault::Refuse(ErrorKind::Conflict), 1).unwrap();
        let error = rig.mover().apply(record).await.unwrap_err();
        let record = rig.kept().await;
        assert_eq!((error.kind(), record.state), (ErrorKind::Conflict, MoveState::Moving), "{by:?}: {record:#?}");
        assert_eq!(record.failure.as_ref().map(|failure| failure.step), Some(Step::StartTarget), "{by:?}");
        has_what_it_wrote(&rig, NAME).await;
        let refused = rig.mover().roll_back(record.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{by:?}");
        assert!(rig.all(&rig.source).await.iter().all(|left| left.summary.name == record.retired_name()), "{by:?}");
        let done = rig.mover().apply(record).await.unwrap();
        assert_eq!(done.state, MoveState::Done, "{by:?}");
        has_what_it_wrote(&rig, NAME).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_and_has_another_name_now_is_not_joined_by_the_source() {
    let rig = Rig::new(true, By::Files).await;
    let record = started(&rig).await;
    rig.target.container(NAME).rename("renamed").await.unwrap();
    let error = rig.mover().apply(record).await.unwrap_err();
    let lost = rig.kept().await;
    assert_eq!((error.kind(), lost.state), (ErrorKind::NotFound, MoveState::Lost), "{lost:#?}");
    assert!(lost.notes.iter().any(|note| note.contains(&lost.retired_name())), "{lost:#?}");
    assert!(rig.all(&rig.source).await.iter().all(|left| !left.summary.state.has_processes()));
    assert!(rig.target.container("renamed").inspect().await.unwrap().summary.state.has_processes());
    // With its own name again the move goes on.
    rig.target.container("renamed").rename(NAME).await.unwrap();
    rig.moved(&rig.mover().apply(lost).await.unwrap()).await;
    has_what_it_wrote(&rig, NAME).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_deleted_after_it_ran_ends_the_move_and_frees_the_name() {
    let rig = Rig::new(true, By::Files).await;
    let record = started(&rig).await;
    rig.target.container(NAME).delete(&DeleteOptions::force()).await.unwrap();
    let error = rig.mover().apply(record).await.unwrap_err();
    let lost = rig.kept().await;
    assert_eq!((error.kind(), lost.state), (ErrorKind::NotFound, MoveState::Lost), "{lost:#?}");
    // What the move left is the user's to take, and to move.
    rig.source.container(&lost.retired_name()).rename(NAME).await.unwrap();
    assert_eq!(rig.mover().apply(lost.clone()).await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.source.container(NAME).start().await.unwrap();
    let again = rig.planned().await;
    assert_eq!(rig.mover().apply(again).await.unwrap().state, MoveState::Done);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_put_back_is_left_alone_while_the_target_stays_away() {
    let rig = Rig::new(true, By::Files).await;
    let target = Arc::clone(&rig.target);
    let leaves = once(Step::Verify, Phase::Within, move || async move { target.faults().leave() });
    rig.mover().observed_by(leaves).apply(rig.planned().await).await.unwrap_err();
    let stuck = rig.kept().await;
    assert_eq!((stuck.state, stuck.restored), (MoveState::RollingBack, true), "{stuck:#?}");
    let container = rig.source.container(NAME);
    assert!(container.inspect().await.unwrap().summary.state.has_processes());
    container.stop(&StopOptions::after_seconds(0)).await.unwrap();
    assert_eq!(rig.mover().roll_back(stuck.clone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    rig.come_back();
    assert_eq!(rig.mover().roll_back(stuck).await.unwrap().state, MoveState::RolledBack);
    assert!(!container.inspect().await.unwrap().summary.state.has_processes(), "its owner stopped it");
    assert!(rig.all(&rig.target).await.is_empty());
}
