//! Long work of the server itself as jobs: progress is their output, killing them gives the work up.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::jobs::{JobControl, JobProgress};
use roadstead_core::{
    Error, ErrorKind, ImageProgress, ItemStream, Job, JobSpec, Node, OutputKind, PullOptions, Result, Signal,
    TerminalSize,
};
use tokio::sync::watch;

use crate::nodes::NodeSlot;
use crate::problem::Problem;

/// Of a job of the server, which has no process: nothing can be done to it but to kill it, which this does.
pub(crate) struct Kill<F>(pub(crate) F);

impl<F> std::fmt::Debug for Kill<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kill")
    }
}

#[async_trait]
impl<F: Fn(Signal) + Send + Sync> JobControl for Kill<F> {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "this job has no standard input"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "this job has no terminal"))
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        (self.0)(signal);
        Ok(())
    }
}

/// Pulls an image as a job of the server. Its output is a line of JSON for each progress on standard output, and a
/// problem document on standard error when it fails.
///
/// # Errors
/// When there are too many jobs.
pub(crate) fn pull(slot: &NodeSlot, node: Arc<dyn Node>, options: PullOptions) -> Result<Arc<dyn Job>> {
    let spec = JobSpec::new(["image.pull", &options.reference]);
    let place = slot.keeper().admit(None, &spec)?;
    let progress = stream::once(async move { node.pull_image(&options).await })
        .flat_map(|opened| match opened {
            Ok(progress) => progress,
            Err(error) => stream::once(async { Err(error) }).boxed() as ItemStream<ImageProgress>,
        })
        .map(|item| item.map(|progress| line(&progress)));
    let (kill, killed) = watch::channel(None);
    let (job, feed) = place.started(give_up(kill), work(progress.boxed(), killed));
    tokio::spawn(feed);
    Ok(job)
}

/// Killing gives the work up.
fn give_up(kill: watch::Sender<Option<Signal>>) -> Arc<dyn JobControl> {
    Arc::new(Kill(move |signal| {
        kill.send_replace(Some(signal));
    }))
}

/// A line of a job's output.
pub(crate) fn line(value: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// What the work says, then its end: 0, the exit code of its error, or 128 + n when it was killed.
fn work(
    progress: ItemStream<Bytes>,
    killed: watch::Receiver<Option<Signal>>,
) -> impl futures_util::Stream<Item = Result<JobProgress>> + Send + 'static {
    enum At {
        Working(ItemStream<Bytes>),
        Failed(i32),
        Over,
    }
    stream::unfold((At::Working(progress), killed), |(at, mut killed)| async move {
        match at {
            At::Over => None,
            At::Failed(code) => Some((Ok(JobProgress::Ended(code)), (At::Over, killed))),
            At::Working(mut progress) => {
                let signal = async {
                    match killed.wait_for(Option::is_some).await.map(|signal| *signal) {
                        Ok(Some(signal)) => signal,
                        // The job is held by nobody who could kill it.
                        _ => std::future::pending().await,
                    }
                };
                let said = tokio::select! {
                    signal = signal => Err(signal),
                    item = progress.next() => Ok(item),
                };
                Some(match said {
                    Err(signal) => (Ok(JobProgress::Ended(128 + i32::from(signal.number()))), (At::Over, killed)),
                    Ok(Some(Ok(bytes))) => {
                        (Ok(JobProgress::Output(OutputKind::Stdout, bytes)), (At::Working(progress), killed))
                    }
                    Ok(Some(Err(error))) => {
                        let code = i32::from(error.kind().row().exit_code);
                        let words = line(&Problem::from(error));
                        (Ok(JobProgress::Output(OutputKind::Stderr, words)), (At::Failed(code), killed))
                    }
                    Ok(None) => (Ok(JobProgress::Ended(0)), (At::Over, killed)),
                })
            }
        }
    })
}
