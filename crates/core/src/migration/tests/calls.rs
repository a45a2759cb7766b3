//! A cut at every call that a move makes, and at random calls: the call does not arrive, its answer is lost, or this process
//! dies before or after it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::layers::{Around, Call, wrap};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It never arrives.
    Refused,
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// The process dies before it is sent.
    DeathBefore,
    /// The process dies before the answer comes.
    DeathAfter,
}

const TROUBLES: [Trouble; 4] = [Trouble::Refused, Trouble::AnswerLost, Trouble::DeathBefore, Trouble::DeathAfter];

/// Counts the calls on both nodes, and has trouble with some of them.
#[derive(Debug, Default)]
struct Line {
    calls: AtomicUsize,
    troubles: Mutex<Vec<(usize, Trouble)>>,
    dead: Notify,
}

/// The layer on one node.
#[derive(Clone, Debug)]
struct OnLine(Arc<Line>);

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the line is broken")
}

impl Around for OnLine {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let number = self.0.calls.fetch_add(1, Ordering::SeqCst);
        let trouble = {
            let troubles = self.0.troubles.lock().unwrap();
            troubles.iter().find(|(at, _)| *at == number).map(|(_, trouble)| *trouble)
        };
        let die = || async {
            self.0.dead.notify_one();
            std::future::pending::<()>().await;
        };
        match trouble {
            Some(Trouble::Refused) => return Err(lost().with_retry(Retry::Safe)),
            Some(Trouble::DeathBefore) => die().await,
            _ => {}
        }
        let answer = attempt().expect("a first attempt").await;
        match trouble {
            Some(Trouble::AnswerLost) => Err(lost()),
            Some(Trouble::DeathAfter) => {
                die().await;
                answer
            }
            _ => answer,
        }
    }

    fn stream<T: Send + 'static>(&self, _: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        stream
    }
}

impl Rig {
    fn mover_on(&self, line: &Arc<Line>) -> Mover {
        let on = |node: &Arc<MemoryNode>| wrap(as_node(node), OnLine(Arc::clone(line)));
        self.mover_between(on(&self.source), on(&self.target))
    }

    /// Applies until it is done, with a new process after each death. Gives how often it took.
    async fn apply_with(&self, record: MoveRecord, line: &Arc<Line>, told: &str) -> usize {
        let mut record = record;
        for attempt in 1..=12 {
            let mover = self.mover_on(line);
            let done = tokio::select! {
                () = line.dead.notified() => None,
                done = mover.apply(record.clone()) => Some(done),
            };
            drop(mover);
            match done {
                Some(Ok(record)) => {
                    self.moved(&record).await;
                    return attempt;
                }
                Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{told}: {error:?}"),
                None => {}
            }
            if let Some(kept) = self.log.list().await.unwrap().pop() {
                record = kept;
            }
            self.one_runnable_copy(&record).await;
        }
        panic!("{told}: never done: {record:#?}");
    }
}

async fn trouble_at_every_call(ran: bool, by: By) {
    let rig = Rig::new(ran, by).await;
    let quiet = Arc::new(Line::default());
    assert_eq!(rig.apply_with(rig.planned().await, &quiet, "quiet").await, 1);
    let calls = quiet.calls.load(Ordering::SeqCst);
    assert!(calls > 20, "{calls}");
    for at in 0..calls {
        for trouble in TROUBLES {
            let rig = Rig::new(ran, by).await;
            let line = Arc::new(Line::default());
            line.troubles.lock().unwrap().push((at, trouble));
            let told = format!("{trouble:?} at call {at}");
            assert!(rig.apply_with(rig.planned().await, &line, &told).await <= 2, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_at_any_call_of_a_move_as_files_loses_nothing() {
    trouble_at_every_call(true, By::Files).await;
    trouble_at_every_call(false, By::Files).await;
}

#[tokio::test(start_paused = true)]
async fn trouble_at_any_call_of_a_move_by_the_engines_loses_nothing() {
    trouble_at_every_call(true, By::Engines).await;
}

fn troubles() -> impl Strategy<Value = Vec<(usize, Trouble)>> {
    prop::collection::vec((0_usize..140, prop::sample::select(&TROUBLES[..])), 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Any troubles in a row, those of going back included.
    #[test]
    fn any_troubles_in_a_row_lose_nothing(troubles in troubles(), ran: bool, files: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(ran, if files { By::Files } else { By::Engines }).await;
            let line = Arc::new(Line::default());
            line.troubles.lock().unwrap().clone_from(&troubles);
            rig.apply_with(rig.planned().await, &line, &format!("{troubles:?}")).await;
        });
    }
}
