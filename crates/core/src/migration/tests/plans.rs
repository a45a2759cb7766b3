//! What a plan says and refuses, what stops a move, and what takes it back.

use super::once::once;
use super::*;
use crate::memory::Fault;

async fn refused(source: &Arc<MemoryNode>, target: &Arc<MemoryNode>, spec: &MoveSpec) -> Error {
    plan(&as_node(source), &as_node(target), spec).await.unwrap_err()
}

#[tokio::test]
async fn a_plan_refuses_what_cannot_be_and_changes_nothing() {
    let rig = Rig::new(true, By::Files).await;
    let (source, target) = (&rig.source, &rig.target);
    let before = rig.all(source).await;
    assert_eq!(refused(source, target, &MoveSpec::new("missing")).await.kind(), ErrorKind::NotFound);
    assert_eq!(refused(source, source, &MoveSpec::new(NAME)).await.field(), Some("target"));
    assert_eq!(refused(source, target, &MoveSpec::new("a b")).await.field(), Some("container"));
    let renamed = MoveSpec { new_name: Some("a b".to_owned()), ..MoveSpec::new(NAME) };
    assert_eq!(refused(source, target, &renamed).await.field(), Some("new_name"));
    let slow = MoveSpec { stop_timeout_seconds: Some(9999), ..MoveSpec::new(NAME) };
    assert_eq!(refused(source, target, &slow).await.field(), Some("stop_timeout_seconds"));
    let live = MoveSpec { live: true, ..MoveSpec::new(NAME) };
    assert_eq!(refused(source, target, &live).await.kind(), ErrorKind::Unsupported);
    let push = MoveSpec { way: WayChoice::Push, ..MoveSpec::new(NAME) };
    assert_eq!(refused(source, target, &push).await.kind(), ErrorKind::Unsupported);
    target.create_container(&ContainerSpec::new(PRESET_IMAGE).name(NAME)).await.unwrap();
    assert_eq!(refused(source, target, &MoveSpec::new(NAME)).await.kind(), ErrorKind::AlreadyExists);
    let other = MoveSpec { new_name: Some("other".to_owned()), ..MoveSpec::new(NAME) };
    assert_eq!(plan(&as_node(source), &as_node(target), &other).await.unwrap().name, "other");
    source.container(NAME).freeze().await.unwrap();
    assert_eq!(refused(source, target, &other).await.kind(), ErrorKind::Conflict);
    source.container(NAME).unfreeze().await.unwrap();
    assert_eq!(rig.all(source).await, before);
}

#[tokio::test]
async fn a_plan_names_the_capability_that_is_missing() {
    let rig = Rig::new(false, By::Files).await;
    for (without, here) in [
        (Capability::Export, true),
        (Capability::Rename, true),
        (Capability::Files, true),
        (Capability::ImageImport, false),
        (Capability::Export, false),
        (Capability::Create, false),
    ] {
        let options = MemoryOptions { without: vec![without], ..MemoryOptions::default() };
        let poor = Arc::new(MemoryNode::new("poor", options).unwrap());
        let error = if here {
            // Only asked for what it can do; the container is made by a node that can.
            let spec = ContainerSpec::new(PRESET_IMAGE).name(NAME);
            let mut spec = spec;
            spec.mounts.push(Mount {
                kind: MountKind::Volume,
                source: Some("v1".to_owned()),
                target: "/v".to_owned(),
                read_only: false,
                size_bytes: None,
            });
            poor.create_container(&spec).await.unwrap();
            refused(&poor, &rig.target, &rig.spec()).await
        } else {
            refused(&rig.source, &poor, &rig.spec()).await
        };
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{without:?}");
        assert!(error.context().any(|(_, value)| value == without.name()), "{without:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_plan_tells_the_way_the_steps_and_what_is_not_carried() {
    let rig = Rig::new(true, By::Files).await;
    assert!(!rig.planned().await.plan.not_carried.iter().any(|lost| lost.field == "snapshots"));
    rig.source.container(NAME).create_snapshot(&SnapshotOptions::new("before")).await.unwrap();
    let plan = rig.planned().await.plan;
    assert!(plan.not_carried.iter().any(|lost| lost.field == "snapshots"));
    assert_eq!((plan.way, plan.running, plan.steps.as_slice()), (MoveWay::Portable, true, Step::ALL));
    assert_eq!(plan.copied_mounts[0].target, "/srv/store");
    assert!(plan.not_carried.iter().any(|lost| lost.field == "image"));
    assert!(plan.not_carried.iter().any(|lost| lost.field == "mounts[0]"));
    let native = Rig::new(false, By::Engines).await;
    let record = native.planned().await;
    assert!(matches!(record.plan.way, MoveWay::Native { .. }));
    assert!(!record.plan.steps.contains(&Step::StartTarget));
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<MoveRecord>(&text).unwrap(), record);
    assert!(!text.contains("\"value\""), "the environment is nobody's business");
}

#[tokio::test]
async fn what_shall_run_is_what_was_planned_or_runs_by_now() {
    let stopped = Rig::new(true, By::Engines).await;
    let record = stopped.planned().await;
    stopped.source.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    let record = stopped.mover().apply(record).await.unwrap();
    assert!(!record.ran && record.notes.iter().any(|note| note.contains("as planned")));
    stopped.moved(&record).await;
    let mut started = Rig::new(false, By::Engines).await;
    let record = started.planned().await;
    started.source.container(NAME).start().await.unwrap();
    started.ran = true;
    started.moved(&started.mover().apply(record).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn somebody_who_starts_the_source_stops_the_move() {
    for (step, phase) in [
        (Step::Copy, Phase::Before),
        (Step::Copy, Phase::Within),
        (Step::Verify, Phase::After),
        (Step::RetireSource, Phase::Within),
    ] {
        let rig = Rig::new(true, By::Files).await;
        let source = Arc::clone(&rig.source);
        let starts = once(step, phase, move || async move { source.container(NAME).start().await.unwrap() });
        let error = rig.mover().observed_by(starts).apply(rig.planned().await).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{step} {phase:?}");
        rig.back(&rig.kept().await).await;
        rig.moved(&rig.mover().apply(rig.kept().await).await.unwrap()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_not_what_the_source_is_never_replaces_it() {
    let rig = Rig::new(true, By::Files).await;
    let target = Arc::clone(&rig.target);
    let spoils = once(Step::Copy, Phase::After, move || async move {
        let archive = files(&[("root/notes", 0o600, b"lost")]);
        target.container(NAME).copy_in("/", archive, &CopyInOptions::default()).await.unwrap();
    });
    let error = rig.mover().observed_by(spoils).apply(rig.planned().await).await.unwrap_err();
    assert!(error.to_string().contains("/root/notes has other content"), "{error}");
    let record = rig.kept().await;
    assert_eq!(record.failure.as_ref().map(|failure| failure.step), Some(Step::Verify));
    rig.back(&record).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_is_called_off_until_the_commit_and_finished_after_it() {
    for step in Step::ALL {
        for phase in Phase::ALL {
            let rig = Rig::new(true, By::Files).await;
            let canceller = Canceller::default();
            let calls_off = canceller.clone();
            let cancels = once(*step, *phase, move || async move { calls_off.cancel() });
            let mover = rig.mover().observed_by(cancels).cancelled_by(canceller);
            match mover.apply(rig.planned().await).await {
                Ok(record) => {
                    assert!(*step >= Step::RetireSource, "{step} {phase:?}");
                    rig.moved(&record).await;
                }
                Err(error) => {
                    assert!(*step < Step::RetireSource, "{step} {phase:?}");
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    rig.back(&rig.kept().await).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_its_engine_ends_when_it_comes_back_is_started_again() {
    let rig = Rig::new(true, By::Files).await;
    let away = Fault::Refuse(ErrorKind::Unavailable);
    rig.source.faults().script("container.delete", away, 1).unwrap();
    rig.mover().apply(rig.planned().await).await.unwrap_err();
    let target = Arc::clone(&rig.target);
    let breaks = once(Step::StartTarget, Phase::Within, move || async move {
        target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
    });
    let mover = rig.mover().grace(Duration::from_secs(1)).observed_by(breaks);
    rig.moved(&mover.apply(rig.kept().await).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_does_not_stay_up_gives_the_name_back() {
    for refused in [true, false] {
        let rig = Rig::new(true, By::Files).await;
        let target = Arc::clone(&rig.target);
        let breaks = if refused {
            once(Step::StartTarget, Phase::Before, move || async move {
                let refuses = Fault::Refuse(ErrorKind::InvalidInput);
                target.faults().script("container.start", refuses, 1).unwrap();
            })
        } else {
            once(Step::StartTarget, Phase::Within, move || async move {
                target.container(NAME).stop(&StopOptions::after_seconds(0)).await.unwrap();
            })
        };
        let mover = rig.mover().grace(Duration::from_secs(1)).observed_by(breaks);
        let error = mover.apply(rig.planned().await).await.unwrap_err();
        let kind = if refused { ErrorKind::InvalidInput } else { ErrorKind::Conflict };
        assert_eq!(error.kind(), kind, "{error:?}");
        rig.back(&rig.kept().await).await;
        let again = rig.mover().grace(Duration::from_secs(1)).apply(rig.kept().await).await.unwrap();
        rig.moved(&again).await;
    }
}

#[tokio::test]
async fn a_kept_source_stays_stopped_under_its_new_name_and_another_move_waits() {
    let rig = Rig::new(true, By::Engines).await;
    let spec = MoveSpec { keep_source: true, new_name: Some("other".to_owned()), ..rig.spec() };
    let plan = plan(&as_node(&rig.source), &as_node(&rig.target), &spec).await.unwrap();
    let mut begun = rig.planned().await;
    begun.state = MoveState::Moving;
    rig.log.save(&begun).await.unwrap();
    let error = rig.mover().apply(MoveRecord::new(plan.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(rig.source.container(NAME).inspect().await.unwrap().summary.state.has_processes());
    rig.log.remove(begun.id()).await.unwrap();
    let record = rig.mover().apply(MoveRecord::new(plan)).await.unwrap();
    let retired = rig.source.container(&record.retired_name()).inspect().await.unwrap();
    assert_eq!((retired.summary.state, retired.spec.restart), (ContainerState::Stopped, RestartPolicy::Never));
    rig.one_runnable_copy(&record).await;
    assert_eq!(rig.mover().roll_back(record.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(rig.mover().apply(record.clone()).await.unwrap(), record, "what is done stays done");
    let swapped = rig.mover_between(as_node(&rig.target), as_node(&rig.source)).apply(record).await.unwrap_err();
    assert_eq!(swapped.field(), Some("source"));
}
