//! What a process does, carried into its job.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::kept::KeptJob;
use super::{JobProgress, KILL_GRACE};
use crate::error::{Error, ErrorKind, Result};

/// Carries what the process does into the job, and marks the job as lost when it is dropped too early.
pub(super) struct Feed {
    job: Arc<KeptJob>,
}

impl Feed {
    pub(super) fn new(job: Arc<KeptJob>) -> Self {
        Feed { job }
    }

    pub(super) async fn run(self, progress: impl Stream<Item = Result<JobProgress>> + Send, limit: Option<Duration>) {
        let mut progress = std::pin::pin!(progress);
        let started = Instant::now();
        // Beyond any real limit the timer would overflow; such a job has none.
        let mut deadline = limit.and_then(|limit| started.checked_add(limit));
        loop {
            let next = match deadline {
                None => progress.next().await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        next = progress.next() => next,
                        () = sleep_until(at) => {
                            if self.job.time_is_up().await {
                                deadline = Instant::now().checked_add(KILL_GRACE);
                                continue;
                            }
                            self.job.lose(Error::new(ErrorKind::DeadlineExceeded, "its time was up and it could not be killed"));
                            return;
                        }
                    }
                }
            };
            match next {
                Some(Ok(JobProgress::Pid(pid))) => self.job.change(|state| state.status.pid = Some(pid)),
                Some(Ok(JobProgress::Output(kind, data))) => self.job.append(kind, &data),
                Some(Ok(JobProgress::Ended(exit_code))) => {
                    self.job.end(Some(exit_code), false);
                    return;
                }
                Some(Ok(JobProgress::TimedOut(exit_code))) => {
                    self.job.end(Some(exit_code), true);
                    return;
                }
                Some(Ok(JobProgress::Failed)) => {
                    self.job.end(None, false);
                    return;
                }
                Some(Err(error)) => {
                    self.job.lose(error);
                    return;
                }
                None => {
                    self.job.lose(Error::new(ErrorKind::Unavailable, "the engine stopped telling about the job"));
                    return;
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.job.lose(Error::new(ErrorKind::Cancelled, "the program that watched the job ended"));
    }
}
