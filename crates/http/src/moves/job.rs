//! A move as a job: its output is a line of JSON whenever something changes, killing it calls it off.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};
use roadstead_core::jobs::{JobControl, JobProgress};
use roadstead_core::migration::{Canceller, MoveRecord, MoveState, Observer, Point, Step};
use roadstead_core::{Error, ErrorKind, OutputKind, Result};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Claimed, lock};
use crate::actions::{Kill, line};
use crate::problem::Problem;
use crate::wish::Wish;

/// Bytes are told this often at most.
const TELL: Duration = Duration::from_millis(500);

/// What a line of the output says.
#[derive(Debug, Serialize)]
struct Line {
    state: MoveState,
    step: Step,
    bytes: u64,
}

/// Killing calls the move off; it then goes back by itself, and the job ends when it is back. That it was called off is kept before: the
/// next server is to know it, too.
pub(super) fn call_off(canceller: Canceller, wish: Wish<()>) -> Arc<dyn JobControl> {
    Arc::new(Kill(move |_| {
        let (canceller, wish) = (canceller.clone(), wish.clone());
        async move {
            wish.make(&()).await?;
            canceller.cancel();
            Ok(())
        }
        .boxed()
    }))
}

/// Keeps the newest record for readers, and says what changes.
#[derive(Debug)]
pub(super) struct Reporter {
    record: Arc<Mutex<MoveRecord>>,
    lines: mpsc::UnboundedSender<Bytes>,
    told: Mutex<Option<Instant>>,
}

impl Reporter {
    pub(super) fn new(record: Arc<Mutex<MoveRecord>>) -> (Self, mpsc::UnboundedReceiver<Bytes>) {
        let (lines, reports) = mpsc::unbounded_channel();
        (Reporter { record, lines, told: Mutex::default() }, reports)
    }

    fn tell(&self) {
        let line = {
            let record = lock(&self.record);
            line(&Line { state: record.state, step: record.current(), bytes: record.bytes })
        };
        // Nobody listens once the job has ended.
        let _ = self.lines.send(line);
    }
}

#[async_trait]
impl Observer for Reporter {
    async fn reached(&self, _: Point) {}

    fn changed(&self, record: &MoveRecord) {
        lock(&self.record).clone_from(record);
        self.tell();
    }

    fn copied(&self, bytes: u64) {
        lock(&self.record).bytes = bytes;
        let mut told = lock(&self.told);
        if told.is_none_or(|before| before.elapsed() >= TELL) {
            *told = Some(Instant::now());
            self.tell();
        }
    }
}

/// The work with what is said of it.
pub(super) struct Driven {
    pub(super) work: Pin<Box<dyn Future<Output = Result<MoveRecord>> + Send>>,
    pub(super) reports: mpsc::UnboundedReceiver<Bytes>,
    /// The server ends or is cut off: the work stops where it is, and the next server goes on from the record. Gives why.
    pub(super) ending: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    /// That nobody else works at it. Given back before the job is seen to end.
    pub(super) claimed: Claimed,
}

impl Driven {
    /// What it says, then its end: 0, or the exit code of its error with a problem document on standard error.
    pub(super) fn progress(self) -> impl Stream<Item = Result<JobProgress>> + Send + 'static {
        enum At {
            Working(Driven),
            Ending(std::collections::VecDeque<JobProgress>),
        }
        stream::unfold(At::Working(self), |at| async move {
            match at {
                At::Ending(mut rest) => rest.pop_front().map(|next| (Ok(next), At::Ending(rest))),
                At::Working(mut driven) => {
                    let ended = tokio::select! {
                        biased;
                        Some(line) = driven.reports.recv() => {
                            return Some((Ok(JobProgress::Output(OutputKind::Stdout, line)), At::Working(driven)));
                        }
                        done = &mut driven.work => done.map(drop),
                        why = &mut driven.ending => Err(Error::new(ErrorKind::Cancelled, why)),
                    };
                    let mut rest = std::collections::VecDeque::new();
                    while let Ok(line) = driven.reports.try_recv() {
                        rest.push_back(JobProgress::Output(OutputKind::Stdout, line));
                    }
                    let code = match ended {
                        Ok(()) => 0,
                        Err(error) => {
                            let code = i32::from(error.kind().row().exit_code);
                            rest.push_back(JobProgress::Output(OutputKind::Stderr, line(&Problem::from(error))));
                            code
                        }
                    };
                    rest.push_back(JobProgress::Ended(code));
                    // Before the job is seen to end, so that whoever waited for it may apply the move again.
                    drop(driven.work);
                    driven.claimed.release().await;
                    rest.pop_front().map(|next| (Ok(next), At::Ending(rest)))
                }
            }
        })
    }
}
