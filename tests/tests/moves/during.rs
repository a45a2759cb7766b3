//! What happens to the source while it is moved: stops that are interrupted, and writes after it was copied.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use roadstead_core::migration::{
    self, Canceller, MemoryLog, MoveLog, MoveRecord, MoveSpec, MoveState, Mover, Observer, Phase, Point, Step,
};
use roadstead_core::{
    ContainerSpec, ContainerState, DeleteOptions, ErrorKind, EventAction, EventOptions, Node, WaitFor,
};
use roadstead_tests::engines::{self, image};
use roadstead_tests::moves::{Away, End};

/// What makes a move end in the middle of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    CalledOff,
    LineBroken,
    ServerDead,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_told_to_stop_runs_when_the_move_is_rolled_back() {
    const GRANTED: u32 = 4;
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let (source, target) = (End::shared("docker", docker), End::shared("podman", podman));
    let direct = source.direct().await;
    for ends in [Ends::CalledOff, Ends::LineBroken, Ends::ServerDead] {
        let name = source.engine().name("stubborn");
        let mut spec = ContainerSpec::new(image()).name(&name);
        spec = spec.command(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]);
        spec.stop_timeout_seconds = Some(GRANTED);
        direct.create_container(&spec).await.expect("the container is made");
        let container = direct.container(&name);
        container.start().await.expect("it starts");
        let plan = migration::plan(&direct, &target.direct().await, &MoveSpec::new(&name)).await.expect("a plan");
        let log = Arc::new(MemoryLog::default());
        let canceller = Canceller::default();
        let kept = || Arc::clone(&log) as Arc<dyn MoveLog>;
        let mut events = direct.events(&EventOptions::default()).await.expect("events");
        let mover = Mover::new(source.connect().await, target.direct().await, kept()).cancelled_by(canceller.clone());
        let mut apply = Box::pin(mover.apply(MoveRecord::new(plan)));
        // It is told to stop, and is not ended yet.
        let told = async {
            loop {
                let event = events.next().await.expect("an event").expect("an event");
                if event.action == EventAction::Killed && event.name.as_deref() == Some(&name) {
                    break;
                }
            }
        };
        tokio::select! {
            () = told => {}
            done = &mut apply => panic!("{ends:?}: over before the stop: {done:?}"),
        }
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        match ends {
            Ends::CalledOff => {
                canceller.cancel();
                assert_eq!((&mut apply).await.unwrap_err().kind(), ErrorKind::Cancelled);
            }
            Ends::LineBroken => {
                source.leave(Away::Unreachable);
                assert_eq!((&mut apply).await.unwrap_err().kind(), ErrorKind::Unavailable);
            }
            Ends::ServerDead => {}
        }
        drop(apply);
        source.come_back();
        let mut record = log.list().await.expect("the log").pop().expect("a record");
        if ends != Ends::CalledOff {
            assert_ne!(record.state, MoveState::RolledBack, "{ends:?}");
            let mover = Mover::new(source.connect().await, target.direct().await, kept());
            record = mover.roll_back(record).await.expect("it is rolled back");
        }
        assert_eq!((record.state, record.ran), (MoveState::RolledBack, true), "{ends:?}");
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        let limit = Duration::from_secs(u64::from(GRANTED) + 3);
        let ended = container.wait(WaitFor::NextEnd, limit).await;
        assert_eq!(ended.expect_err("it goes on running").kind(), ErrorKind::DeadlineExceeded, "{ends:?}");
        container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}

/// Writes a file into the source once the copy was made.
#[derive(Debug)]
struct Writes {
    source: Arc<dyn Node>,
    container: String,
}

#[async_trait]
impl Observer for Writes {
    async fn reached(&self, point: Point) {
        if point == (Point { step: Step::Copy, phase: Phase::After }) {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(4);
            builder.append_data(&mut header, "late", &b"kept"[..]).expect("an archive in memory");
            let archive = builder.into_inner().expect("an archive in memory").into();
            let archive = futures_util::stream::once(async { Ok(archive) }).boxed();
            self.source
                .container(&self.container)
                .copy_in("/tmp", archive, &Default::default())
                .await
                .expect("written");
        }
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_into_a_source_that_was_copied_already_is_not_lost() {
    let (Some(docker), Some(podman), Some(lxd)) = (engines::docker(), engines::podman(), engines::lxd()) else {
        return;
    };
    let [docker, podman, lxd] =
        [("docker", docker), ("podman", podman), ("lxd", lxd)].map(|(name, engine)| End::shared(name, engine));
    for (source, target) in [(&docker, &podman), (&lxd, &docker)] {
        let (from, to) = (source.direct().await, target.direct().await);
        let name = source.engine().name("written");
        let mut spec = ContainerSpec::new(image()).name(&name).command(["sleep", "1000"]);
        spec.stop_timeout_seconds = Some(0);
        from.create_container(&spec).await.expect("the container is made");
        let container = from.container(&name);
        container.start().await.expect("it starts");
        let plan = migration::plan(&from, &to, &MoveSpec::new(&name)).await.expect("a plan");
        let log = Arc::new(MemoryLog::default());
        let writes = Writes { source: Arc::clone(&from), container: name.clone() };
        let mover = Mover::new(Arc::clone(&from), Arc::clone(&to), Arc::clone(&log) as Arc<dyn MoveLog>);
        let error = mover.observed_by(Arc::new(writes)).apply(MoveRecord::new(plan)).await.expect_err("it went");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.message().contains("was changed while it was moved: /tmp/late"), "{error}");
        let record = log.list().await.expect("the log").pop().expect("a record");
        assert_eq!(record.state, MoveState::RolledBack);
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        let written: Vec<_> = container.copy_out("/tmp/late").await.expect("the file").collect().await;
        assert!(written.iter().flatten().any(|piece| piece.windows(4).any(|bytes| bytes == b"kept")));
        let copy = to.container(&name).inspect().await.expect_err("the copy is left");
        assert_eq!(copy.kind(), ErrorKind::NotFound);
        container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}
