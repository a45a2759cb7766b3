//! Somebody writes into the source while it is moved: what was acknowledged is not deleted with it.

use tokio::sync::Notify;

use super::once::once;
use super::*;

/// Writes a new file, and other content of the same size into an old one.
async fn write(source: Arc<MemoryNode>) {
    let archive = files(&[("root/late", 0o600, b"written late"), ("root/notes", 0o600, b"KEPT")]);
    source.container(NAME).copy_in("/", archive, &CopyInOptions::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_written_into_the_source_while_it_is_moved_is_not_lost() {
    for by in [By::Files, By::Engines] {
        for (step, phase) in [
            (Step::Copy, Phase::Within),
            (Step::Copy, Phase::After),
            (Step::Verify, Phase::Before),
            (Step::Verify, Phase::Within),
        ] {
            // The first point within a copy by the engines comes before anything is read: it would go along.
            if by == By::Engines && (step, phase) == (Step::Copy, Phase::Within) {
                continue;
            }
            let mut rig = Rig::new(true, by).await;
            let source = Arc::clone(&rig.source);
            let writes = once(step, phase, move || write(source));
            let told = format!("{by:?}: {step} {phase:?}");
            let error = rig.mover().observed_by(writes).apply(rig.planned().await).await.expect_err(&told);
            assert!(error.message().contains("/root/late") && error.message().contains("/root/notes"), "{error}");
            if by == By::Files {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{told}: {error}");
                assert!(error.message().contains("was changed while it was moved"), "{error}");
            }
            rig.content = content(&*rig.source, NAME).await;
            let record = rig.kept().await;
            assert_eq!(record.failure.as_ref().map(|failure| failure.step), Some(Step::Verify));
            rig.back(&record).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_into_a_volume_while_it_is_moved_is_not_lost() {
    let rig = Rig::new(true, By::Files).await;
    let source = Arc::clone(&rig.source);
    let writes = once(Step::Verify, Phase::Before, move || async move {
        let archive = files(&[("row", 0o640, b"of the vOLUME")]);
        source.container(NAME).copy_in("/srv/store", archive, &CopyInOptions::default()).await.unwrap();
    });
    let error = rig.mover().observed_by(writes).apply(rig.planned().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains("/srv/store/row has other content"), "{error}");
    rig.back(&rig.kept().await).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_a_move_is_interrupted_is_not_lost() {
    for by in [By::Files, By::Engines] {
        let mut rig = Rig::new(false, by).await;
        let dead = Arc::new(Notify::new());
        let dies = Arc::clone(&dead);
        let death = once(Step::RetireSource, Phase::Before, move || async move {
            dies.notify_one();
            std::future::pending::<()>().await;
        });
        let mover = rig.mover().observed_by(death);
        tokio::select! {
            () = dead.notified() => {}
            done = mover.apply(rig.planned().await) => panic!("not cut: {done:?}"),
        }
        drop(mover);
        let kept = rig.kept().await;
        assert!(kept.verified);
        write(Arc::clone(&rig.source)).await;
        rig.content = content(&*rig.source, NAME).await;
        let error = rig.mover().apply(kept).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{by:?}: {error}");
        rig.back(&rig.kept().await).await;
    }
}
