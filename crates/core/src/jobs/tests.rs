//! The keeper of jobs, on processes that do as told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{JobControl, JobKeeper, JobLimits, JobProgress, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Job, JobSpec, JobState, OutputOptions};
use crate::signal::Signal;
use crate::stream::{OutputKind, TerminalSize};

#[derive(Debug)]
struct Recorder(Mutex<Vec<Signal>>);

#[async_trait]
impl JobControl for Recorder {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }
    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Ok(())
    }
    async fn kill(&self, signal: Signal) -> Result<()> {
        lock(&self.0).push(signal);
        Ok(())
    }
}

fn keeper(change: impl FnOnce(&mut JobLimits)) -> JobKeeper {
    let mut limits = JobLimits::default();
    change(&mut limits);
    JobKeeper::new("n", limits)
}

type Progress = mpsc::UnboundedSender<Result<JobProgress>>;

fn start(keeper: &JobKeeper, spec: &JobSpec) -> (Arc<dyn Job>, Progress) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let progress = stream::poll_fn(move |context| receiver.poll_recv(context));
    let (job, feed) = keeper.admit(Some("c"), spec).unwrap().started(Arc::new(Recorder(Mutex::default())), progress);
    tokio::spawn(feed);
    (job, sender)
}

fn output(text: &'static str) -> Result<JobProgress> {
    Ok(JobProgress::Output(OutputKind::Stdout, Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn output_is_followed_kept_and_continued_without_gap() {
    let (job, progress) = start(&keeper(|_| ()), &JobSpec::new(["x"]));
    let follower = tokio::spawn(job.output(OutputOptions::follow()).await.unwrap().collect::<Vec<_>>());
    for text in ["a", "b", "c"] {
        progress.send(output(text)).unwrap();
    }
    progress.send(Ok(JobProgress::Ended(0))).unwrap();
    let all: Vec<_> = follower.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().map(|chunk| chunk.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let rest: Vec<_> = job.output(OutputOptions::kept().after(2)).await.unwrap().collect().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(job.wait(Duration::ZERO).await.unwrap().state, JobState::Succeeded);
}

#[tokio::test]
async fn kept_output_is_bounded_and_says_what_is_gone() {
    let (job, progress) = start(&keeper(|limits| limits.max_output_bytes = 200), &JobSpec::new(["x"]));
    for _ in 0..10 {
        progress.send(output("0123456789")).unwrap();
    }
    progress.send(Ok(JobProgress::Ended(3))).unwrap();
    let status = job.wait(Duration::from_secs(5)).await.unwrap();
    assert_eq!((status.state, status.exit_code), (JobState::Failed, Some(3)));
    assert_eq!((status.output_bytes, status.output_dropped_bytes), (100, 80));
    let kept: Vec<_> =
        job.output(OutputOptions::kept()).await.unwrap().map(|chunk| chunk.unwrap().sequence).collect().await;
    assert_eq!(kept, [9, 10]);
}

#[tokio::test]
async fn a_signal_that_was_sent_makes_killed_of_failed() {
    let keeper = keeper(|_| ());
    for (sent, exit_code, state) in
        [(true, 143, JobState::Killed), (false, 143, JobState::Failed), (true, 0, JobState::Succeeded)]
    {
        let (job, progress) = start(&keeper, &JobSpec::new(["x"]));
        if sent {
            job.kill(Signal::TERM).await.unwrap();
        }
        progress.send(Ok(JobProgress::Ended(exit_code))).unwrap();
        assert_eq!(job.wait(Duration::from_secs(5)).await.unwrap().state, state);
        job.kill(Signal::KILL).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_told_of_an_end_is_not_made_up() {
    let keeper = keeper(|_| ());
    for (sent, end, state, exit_code) in [
        (None, JobProgress::Failed, JobState::Failed, None),
        (Some(Signal::TERM), JobProgress::Failed, JobState::Failed, None),
        (Some(Signal::KILL), JobProgress::Failed, JobState::Killed, None),
        (Some(Signal::KILL), JobProgress::TimedOut(137), JobState::TimedOut, Some(137)),
        (None, JobProgress::TimedOut(137), JobState::TimedOut, Some(137)),
    ] {
        let (job, progress) = start(&keeper, &JobSpec::new(["x"]));
        if let Some(signal) = sent {
            job.kill(signal).await.unwrap();
        }
        progress.send(Ok(end)).unwrap();
        let status = job.wait(Duration::from_secs(5)).await.unwrap();
        assert_eq!((status.state, status.exit_code), (state, exit_code));
    }
}

/// A process that is said to be gone, whether it is or not.
#[derive(Debug)]
struct SaidToBeGone(ErrorKind);

#[async_trait]
impl JobControl for SaidToBeGone {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }
    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Ok(())
    }
    async fn kill(&self, _: Signal) -> Result<()> {
        Err(Error::new(self.0, "gone"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_killed_nothing_is_ok_only_when_the_job_ends() {
    for (kind, ends) in [
        (ErrorKind::NotFound, false),
        (ErrorKind::Conflict, false),
        (ErrorKind::Unsupported, false),
        (ErrorKind::NotFound, true),
        (ErrorKind::Conflict, true),
    ] {
        let progress = stream::once(async move {
            if ends {
                tokio::time::sleep(Duration::from_secs(1)).await;
            } else {
                std::future::pending::<()>().await;
            }
            Ok(JobProgress::Ended(143))
        });
        let slot = keeper(|_| ()).admit(Some("c"), &JobSpec::new(["x"])).unwrap();
        let (job, feed) = slot.started(Arc::new(SaidToBeGone(kind)), progress);
        tokio::spawn(feed);
        let killed = job.kill(Signal::TERM).await;
        if ends {
            killed.unwrap();
            // It ended by itself: the signal did not reach it.
            assert_eq!(job.status().await.unwrap().state, JobState::Failed);
        } else {
            assert_eq!(killed.unwrap_err().kind(), kind);
            assert_eq!(job.status().await.unwrap().state, JobState::Running);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_time_is_up_is_killed_and_one_that_cannot_be_is_lost() {
    let mut spec = JobSpec::new(["x"]);
    spec.timeout_seconds = Some(5);
    let keeper = keeper(|_| ());
    let (job, progress) = start(&keeper, &spec);
    tokio::time::sleep(Duration::from_secs(6)).await;
    progress.send(Ok(JobProgress::Ended(137))).unwrap();
    assert_eq!(job.wait(Duration::from_secs(5)).await.unwrap().state, JobState::TimedOut);

    let (job, _progress) = start(&keeper, &spec);
    let error = job.wait(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(job.status().await.unwrap().state, JobState::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_time_is_up_while_its_engine_is_away_runs_until_that_says_how_it_ended() {
    let mut spec = JobSpec::new(["x"]);
    spec.timeout_seconds = Some(5);
    let progress = stream::once(async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        Ok(JobProgress::Ended(137))
    });
    let slot = keeper(|_| ()).admit(Some("c"), &spec).unwrap();
    let (job, feed) = slot.started(Arc::new(SaidToBeGone(ErrorKind::Unavailable)), progress);
    tokio::spawn(feed);
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(job.status().await.unwrap().state, JobState::Running);
    assert_eq!(job.wait(Duration::from_secs(600)).await.unwrap().state, JobState::TimedOut);
}

#[tokio::test]
async fn a_job_whose_engine_goes_away_is_lost_for_every_reader() {
    let (job, progress) = start(&keeper(|_| ()), &JobSpec::new(["x"]));
    let follower = tokio::spawn(job.output(OutputOptions::follow()).await.unwrap().collect::<Vec<_>>());
    progress.send(output("a")).unwrap();
    drop(progress);
    assert_eq!(job.wait(Duration::from_secs(5)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let seen = follower.await.unwrap();
    assert!(seen[0].is_ok() && seen[1].is_err() && seen.len() == 2);
}

#[tokio::test(start_paused = true)]
async fn finished_jobs_go_when_their_time_is_over_or_room_is_needed() {
    let keeper = keeper(|limits| limits.max_jobs = 2);
    let (first, progress) = start(&keeper, &JobSpec::new(["x"]));
    progress.send(Ok(JobProgress::Ended(0))).unwrap();
    first.wait(Duration::from_secs(5)).await.unwrap();
    let (_second, _keep) = start(&keeper, &JobSpec::new(["x"]));
    assert!(keeper.get(first.id()).is_ok());
    let (_third, _keep) = start(&keeper, &JobSpec::new(["x"]));
    assert_eq!(keeper.get(first.id()).unwrap_err().kind(), ErrorKind::NotFound);
    let full = keeper.admit(None, &JobSpec::new(["x"])).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::ResourceExhausted);

    let keeper = super::tests::keeper(|_| ());
    let (job, progress) = start(&keeper, &JobSpec::new(["x"]));
    progress.send(Ok(JobProgress::Ended(0))).unwrap();
    job.wait(Duration::from_secs(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(keeper.list(Some("c")).len(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(keeper.list(None).is_empty());
}

#[tokio::test]
async fn a_slot_that_is_not_started_leaves_nothing() {
    let keeper = keeper(|_| ());
    let slot = keeper.admit(None, &JobSpec::new(["x"])).unwrap();
    assert!(keeper.list(None).is_empty(), "a job that waits for its start is not shown as running");
    let id = slot.id().to_owned();
    drop(slot);
    assert!(keeper.get(&id).is_err());
    assert_eq!(keeper.admit(None, &JobSpec::default()).unwrap_err().field(), Some("command"));
}

#[tokio::test]
async fn all_jobs_together_keep_a_bounded_output() {
    let keeper = keeper(|limits| limits.max_total_output_bytes = 250);
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let (job, progress) = start(&keeper, &JobSpec::new(["x"]));
        progress.send(output("0123456789")).unwrap();
        progress.send(output("0123456789")).unwrap();
        progress.send(Ok(JobProgress::Ended(0))).unwrap();
        job.wait(Duration::from_secs(5)).await.unwrap();
        jobs.push(job);
    }
    let _ = keeper.list(None);
    let mut dropped = Vec::new();
    for job in &jobs {
        let status = job.status().await.unwrap();
        assert_eq!((status.state, status.output_bytes), (JobState::Succeeded, 20));
        let kept = job.output(OutputOptions::kept()).await.unwrap().count().await;
        assert_eq!(kept == 0, status.output_dropped_bytes == 20);
        dropped.push(status.output_dropped_bytes);
    }
    assert_eq!(dropped, [20, 20, 20, 0]);
}
