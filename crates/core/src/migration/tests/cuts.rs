//! A cut at every point that a move passes: the points are those that a move without a cut was seen to pass.

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// This process dies.
    Server,
    /// The engine that has the container goes away.
    Source,
    /// The engine that gets it goes away.
    Target,
    /// Both at once.
    Both,
}

/// Notes the points that are passed, and cuts at one of them.
#[derive(Debug)]
struct Cutter {
    passed: Mutex<Vec<Point>>,
    at: Option<usize>,
    cut: Cut,
    source: Arc<MemoryNode>,
    target: Arc<MemoryNode>,
    dead: Notify,
}

impl Cutter {
    fn new(rig: &Rig, at: Option<usize>, cut: Cut) -> Arc<Self> {
        Arc::new(Cutter {
            passed: Mutex::default(),
            at,
            cut,
            source: Arc::clone(&rig.source),
            target: Arc::clone(&rig.target),
            dead: Notify::new(),
        })
    }
}

#[async_trait]
impl Observer for Cutter {
    async fn reached(&self, point: Point) {
        let number = {
            let mut passed = self.passed.lock().unwrap();
            passed.push(point);
            passed.len() - 1
        };
        if self.at != Some(number) {
            return;
        }
        match self.cut {
            Cut::Server => {
                self.dead.notify_one();
                std::future::pending::<()>().await;
            }
            Cut::Source => self.source.faults().leave(),
            Cut::Target => self.target.faults().leave(),
            Cut::Both => {
                self.source.faults().leave();
                self.target.faults().leave();
            }
        }
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

/// The points of a move that nobody cuts.
async fn points(ran: bool, by: By) -> Vec<Point> {
    let rig = Rig::new(ran, by).await;
    let watch = Cutter::new(&rig, None, Cut::Server);
    let mover = rig.mover().observed_by(Arc::clone(&watch) as Arc<dyn Observer>);
    let record = mover.apply(rig.planned().await).await.unwrap();
    rig.moved(&record).await;
    let passed = watch.passed.lock().unwrap().clone();
    // Every step of the plan has all three phases: none is left out of the trial by oversight.
    for point in Point::all().filter(|point| record.plan.steps.contains(&point.step)) {
        assert!(passed.contains(&point), "{point} is not passed");
    }
    passed
}

async fn cut_everywhere(ran: bool, by: By) {
    let points = points(ran, by).await;
    for (at, point) in points.iter().enumerate() {
        for cut in [Cut::Server, Cut::Source, Cut::Target, Cut::Both] {
            let rig = Rig::new(ran, by).await;
            let cutter = Cutter::new(&rig, Some(at), cut);
            let mover = rig.mover().observed_by(Arc::clone(&cutter) as Arc<dyn Observer>);
            let record = rig.planned().await;
            tokio::select! {
                () = cutter.dead.notified() => assert_eq!(cut, Cut::Server),
                done = mover.apply(record) => match done {
                    Ok(record) => assert_eq!(record.state, MoveState::Done),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{cut:?} cut {point}: {error:?}"),
                },
            }
            drop(mover);
            let kept = rig.kept().await;
            rig.one_runnable_copy(&kept).await;
            let again = rig.mover().apply(kept).await.unwrap_or_else(|error| panic!("{cut:?} cut {point}: {error:?}"));
            rig.moved(&again).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_container_survives_a_cut_anywhere_on_its_way_as_files() {
    cut_everywhere(true, By::Files).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_survives_a_cut_anywhere_on_its_way_as_files() {
    cut_everywhere(false, By::Files).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_container_survives_a_cut_anywhere_on_its_way_by_the_engines() {
    cut_everywhere(true, By::Engines).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_survives_a_cut_anywhere_on_its_way_by_the_engines() {
    cut_everywhere(false, By::Engines).await;
}

/// After a cut anywhere, going back instead of on: refused when the commit was made, complete otherwise.
#[tokio::test(start_paused = true)]
async fn what_was_cut_can_be_rolled_back_until_the_commit() {
    let points = points(true, By::Files).await;
    let (mut backs, mut refusals) = (0, 0);
    for (at, point) in points.iter().enumerate() {
        let rig = Rig::new(true, By::Files).await;
        let cutter = Cutter::new(&rig, Some(at), Cut::Server);
        let mover = rig.mover().observed_by(Arc::clone(&cutter) as Arc<dyn Observer>);
        let record = rig.planned().await;
        tokio::select! {
            () = cutter.dead.notified() => {}
            _ = mover.apply(record) => panic!("not cut {point}"),
        }
        let kept = rig.kept().await;
        let committed = source_place(&kept, &*rig.source).await.unwrap() != SourcePlace::Own;
        match rig.mover().roll_back(kept.clone()).await {
            Ok(record) => {
                assert!(!committed, "{point}");
                rig.back(&record).await;
                backs += 1;
                // And it may be moved after all.
                rig.moved(&rig.mover().apply(record).await.unwrap()).await;
            }
            Err(error) => {
                assert!(committed, "{point}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Conflict);
                rig.one_runnable_copy(&kept).await;
                refusals += 1;
                rig.moved(&rig.mover().apply(kept).await.unwrap()).await;
            }
        }
    }
    assert!(backs > 10 && refusals > 10, "{backs} {refusals}");
}
