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

#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_stays_when_both_have_their_names_again() {
    let rig = Rig::new(true, By::Files).await;
    let record = started(&rig).await;
    rig.target.container(NAME).rename("renamed").await.unwrap();
    rig.mover().apply(record).await.unwrap_err();
    let lost = rig.kept().await;
    rig.source.container(&lost.retired_name()).rename(NAME).await.unwrap();
    rig.target.container("renamed").rename(NAME).await.unwrap();
    assert_eq!(rig.mover().roll_back(lost).await.unwrap_err().kind(), ErrorKind::Conflict);
    has_what_it_wrote(&rig, NAME).await;
    let done = rig.mover().apply(rig.kept().await).await.unwrap();
    assert_eq!(done.state, MoveState::Done);
    has_what_it_wrote(&rig, NAME).await;
    let own = rig.source.container(NAME).inspect().await.unwrap();
    assert!(!own.summary.state.has_processes(), "the source is nobody's but its owner's");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_another_container_took_the_place_of_ends_the_move() {
    let rig = Rig::new(true, By::Files).await;
    let record = started(&rig).await;
    rig.target.container(NAME).delete(&DeleteOptions::force()).await.unwrap();
    let other = ContainerSpec::new(PRESET_IMAGE).name(NAME).command(["sleep", "100000"]);
    rig.target.create_container(&other).await.unwrap();
    let error = rig.mover().apply(record).await.unwrap_err();
    let lost = rig.kept().await;
    assert_eq!((error.kind(), lost.state), (ErrorKind::NotFound, MoveState::Lost), "{lost:#?}");
    assert_eq!(rig.all(&rig.target).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_ran_and_ends_at_once_now_keeps_the_source() {
    let rig = Rig::new(true, By::Files).await;
    let record = started(&rig).await;
    rig.target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    let target = Arc::clone(&rig.target);
    let ends = once(Step::StartTarget, Phase::Within, move || async move {
        target.container(NAME).kill(Signal::KILL).await.unwrap();
    });
    let mover = rig.mover().grace(Duration::from_secs(1)).observed_by(ends);
    let error = mover.apply(record).await.unwrap_err();
    let kept = rig.kept().await;
    assert_eq!((error.kind(), kept.state), (ErrorKind::Conflict, MoveState::Moving), "{kept:#?}");
    assert_eq!(rig.all(&rig.source).await.len(), 1);
    has_what_it_wrote(&rig, NAME).await;
}

/// The copy could not be started, the source is the container again, and the target went away before the copy was deleted.
pub(super) async fn given_up(rig: &Rig) -> MoveRecord {
    let target = Arc::clone(&rig.target);
    let refuses = once(Step::StartTarget, Phase::Before, move || async move {
        target.faults().script("container.start", Fault::Refuse(ErrorKind::InvalidInput), 1).unwrap();
        target.faults().script("container.delete", Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
    });
    rig.mover().observed_by(refuses).apply(rig.planned().await).await.unwrap_err();
    rig.kept().await
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_put_back_and_renamed_is_not_joined_by_its_copy() {
    let rig = Rig::new(true, By::Files).await;
    let stuck = given_up(&rig).await;
    assert_eq!((stuck.state, stuck.restored, stuck.copy), (MoveState::RollingBack, true, CopyState::Useless));
    rig.source.container(NAME).rename("elsewhere").await.unwrap();
    let error = rig.mover().apply(stuck).await.unwrap_err();
    let lost = rig.kept().await;
    assert_eq!((error.kind(), lost.state), (ErrorKind::NotFound, MoveState::Lost), "{lost:#?}");
    assert!(rig.all(&rig.target).await.iter().all(|copy| !copy.summary.state.has_processes()));
    assert!(rig.source.container("elsewhere").inspect().await.unwrap().summary.state.has_processes());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_has_done_its_work_does_not_do_it_again() {
    let rig = Rig::new(true, By::Files).await;
    let changes = ContainerUpdate { restart: Some(RestartPolicy::Never), ..ContainerUpdate::default() };
    rig.source.container(NAME).update(&changes).await.unwrap();
    rig.source.faults().script("container.delete", Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
    rig.mover().apply(rig.planned().await).await.unwrap_err();
    rig.target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    let done = rig.mover().apply(rig.kept().await).await.unwrap();
    assert_eq!(done.state, MoveState::Done);
    let copy = rig.target.container(NAME).inspect().await.unwrap();
    assert!(!copy.summary.state.has_processes(), "it was started again");
}

/// The copy could not be started, and the source's node went away before it got its name back; somebody starts the copy.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_given_up_and_started_by_its_owner_is_the_container() {
    let rig = Rig::new(true, By::Files).await;
    let (source, target) = (Arc::clone(&rig.source), Arc::clone(&rig.target));
    let refuses = once(Step::StartTarget, Phase::Before, move || async move {
        target.faults().script("container.start", Fault::Refuse(ErrorKind::InvalidInput), 1).unwrap();
        source.faults().leave();
    });
    rig.mover().observed_by(refuses).apply(rig.planned().await).await.unwrap_err();
    let stuck = rig.kept().await;
    assert_eq!((stuck.state, stuck.copy), (MoveState::RollingBack, CopyState::Useless), "{stuck:#?}");
    rig.target.container(NAME).start().await.unwrap();
    rig.come_back();
    rig.moved(&rig.mover().apply(stuck).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_while_the_source_is_away_is_not_moved_afterwards() {
    let rig = Rig::new(true, By::Files).await;
    let source = Arc::clone(&rig.source);
    let dies = once(Step::Copy, Phase::Before, move || async move { source.faults().leave() });
    rig.mover().observed_by(dies).apply(rig.planned().await).await.unwrap_err();
    let mut record = rig.kept().await;
    record.state = MoveState::Moving;
    assert_eq!(rig.mover().roll_back(record).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let kept = rig.kept().await;
    assert_eq!(kept.state, MoveState::RollingBack, "{kept:#?}");
    rig.come_back();
    let back = rig.mover().roll_back(kept).await.unwrap();
    rig.back(&back).await;
}

/// Committed, and the target went away before the copy was started.
pub(super) async fn committed_without_its_target(rig: &Rig) -> MoveRecord {
    let target = Arc::clone(&rig.target);
    let leaves = once(Step::StartTarget, Phase::Before, move || async move { target.faults().leave() });
    rig.mover().observed_by(leaves).apply(rig.planned().await).await.unwrap_err();
    rig.come_back();
    let record = rig.kept().await;
    assert_eq!((record.state, record.copy), (MoveState::Moving, CopyState::Untried), "{record:#?}");
    record
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_its_owner_started_and_renamed_before_we_did_is_not_joined_by_the_source() {
    let rig = Rig::new(true, By::Files).await;
    let record = committed_without_its_target(&rig).await;
    rig.target.container(NAME).start().await.unwrap();
    rig.target.container(NAME).rename("renamed").await.unwrap();
    rig.mover().apply(record).await.unwrap_err();
    let kept = rig.kept().await;
    assert!(rig.all(&rig.source).await.iter().all(|left| !left.summary.state.has_processes()), "{kept:#?}");
    assert!(rig.target.container("renamed").inspect().await.unwrap().summary.state.has_processes());
    // With its own name again the move goes on.
    rig.target.container("renamed").rename(NAME).await.unwrap();
    rig.moved(&rig.mover().apply(kept).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_only_renamed_gives_the_name_back() {
    let rig = Rig::new(true, By::Files).await;
    let record = committed_without_its_target(&rig).await;
    rig.target.container(NAME).rename("renamed").await.unwrap();
    rig.mover().apply(record).await.unwrap_err();
    let kept = rig.kept().await;
    assert_eq!(kept.state, MoveState::RolledBack, "{kept:#?}");
    assert!(rig.source.container(NAME).inspect().await.unwrap().summary.state.has_processes());
}

#[tokio::test(start_paused = true)]
async fn what_its_owner_stops_while_the_source_cannot_be_deleted_stays_down() {
    let rig = Rig::new(true, By::Files).await;
    rig.source.faults().script("container.delete", Fault::Refuse(ErrorKind::DeadlineExceeded), 2).unwrap();
    rig.mover().apply(rig.planned().await).await.unwrap_err();
    rig.target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    let down = || async { !rig.target.container(NAME).inspect().await.unwrap().summary.state.has_processes() };
    rig.mover().apply(rig.kept().await).await.unwrap_err();
    assert!(down().await, "it was started again");
    assert_eq!(rig.mover().apply(rig.kept().await).await.unwrap().state, MoveState::Done);
    assert!(down().await, "it was started again");
}

/// An engine that died may have ended what its policy keeps up, and dockerd forgets to start it again.
#[tokio::test(start_paused = true)]
async fn what_its_engine_ended_while_the_source_was_to_be_deleted_is_started_again() {
    let rig = Rig::new(true, By::Files).await;
    let target = Arc::clone(&rig.target);
    let dies = once(Step::DeleteSource, Phase::Before, move || async move {
        target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
        target.faults().leave();
    });
    rig.mover().observed_by(dies).apply(rig.planned().await).await.unwrap_err();
    rig.come_back();
    rig.moved(&rig.mover().apply(rig.kept().await).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn the_step_at_which_a_copy_was_given_up_is_told_though_the_commit_is_taken_back() {
    let rig = Rig::new(true, By::Files).await;
    let stuck = given_up(&rig).await;
    let failure = stuck.failure.as_ref().map(|failure| (failure.step, failure.code));
    assert_eq!(failure, Some((Step::StartTarget, ErrorKind::Unavailable)), "{stuck:#?}");
}
