//! Processes that outlive the one that a job is.
//!
//! A node tells the end of a job when its process has ended *and* nobody holds the process's output open any more (the waiting
//! for both stands in core0's `base/pm/systemprocess.go`). A child that was left behind holds it, so that the end would not be
//! told before the child's. Everywhere else a process that has ended has ended: what is left of a main process, and of a job
//! that was killed, is ended here, and then the node tells the rest. That main processes have ended is seen by [`watching`](super::watching).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ErrorKind, Result, Signal, Timestamp};
use tokio::time::{sleep, timeout};

use super::commands::Commands;
use super::commands::process::Process;
use super::processes::descendants;
use super::settle;

/// All that comes of a job has this in its environment, with the job's id.
pub(super) const MARK: &str = "ROADSTEAD_JOB";
/// Between two looks for a process that was sent a signal.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A result follows the end of its process within this when nobody holds its output.
pub(super) const RESULT: Duration = Duration::from_millis(300);
/// A process that lives on so long after a signal is not waited for any more.
const AFTER_SIGNAL: Duration = Duration::from_secs(60);
/// Starts of processes are told to a tick of the kernel, starts of jobs to the millisecond.
const SLACK: Duration = Duration::from_secs(2);
/// An environment is shorter: the kernel's own limit.
const ENVIRONMENT_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The first process of a node, and of a container.
const FIRST: u32 = 1;
/// So many looks at a process make about a second.
const MOMENT_LOOKS: u32 = 4;
/// So many are looked at, or ended, at once.
const AT_ONCE: usize = 8;

/// A process as it was seen, and the first one of its place at that time.
///
/// The kernel tells starts by the clock of now: when that is set, the starts of all processes move by as much, and the first
/// one's tells whether another one with the same number is another process.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    process: Process,
    first: Option<Process>,
}

/// By how much a start has moved, in nanoseconds.
fn moved(before: &Process, now: &Process) -> Option<i128> {
    Some(now.started_at?.unix_nanos() - before.started_at?.unix_nanos())
}

impl Seen {
    /// A process of a whole list.
    pub(super) fn of(process: &Process, all: &[Process]) -> Self {
        Seen { process: process.clone(), first: first(all).cloned() }
    }

    fn has_moved(&self, now: &Process) -> bool {
        let slack = SLACK.as_nanos();
        moved(&self.process, now).is_some_and(|moved| moved.unsigned_abs() > slack)
    }

    /// Whether it is still the same process. What cannot be told is no reason to say no.
    pub(super) fn is(&self, now: &Process, first: Option<&Process>) -> bool {
        if self.process.pid != now.pid || !self.has_moved(now) {
            return self.process.pid == now.pid;
        }
        let all = || moved(self.first.as_ref()?, first?);
        let own = || Some(moved(&self.process, now)? - all()?);
        own().is_none_or(|own| own.unsigned_abs() <= SLACK.as_nanos())
    }
}

pub(super) fn first(all: &[Process]) -> Option<&Process> {
    all.iter().find(|process| process.pid == FIRST)
}

/// The process with this number, as it is seen now; none when it is gone, which one that is not `before` is.
pub(super) async fn see(commands: &Commands, pid: u32, before: Option<&Seen>) -> Result<Option<Seen>> {
    let Some(process) = commands.processes().get(pid).await? else { return Ok(None) };
    if let Some(before) = before.filter(|before| before.process.pid == pid && !before.has_moved(&process)) {
        return Ok(Some(before.clone()));
    }
    let first = commands.processes().get(FIRST).await?;
    let same = before.is_none_or(|before| before.is(&process, first.as_ref()));
    Ok(same.then_some(Seen { process, first }))
}

/// Waits until the job's own process is gone while the node still has the job. False as soon as it has it no more.
pub(super) async fn outlived(commands: &Commands, job: &str) -> Result<bool> {
    outlived_within(commands, job, u32::MAX).await
}

/// The same with so many looks; false when the process is still there at the last one.
async fn outlived_within(commands: &Commands, job: &str, looks: u32) -> Result<bool> {
    let mut seen: Option<Seen> = None;
    let mut pause = PAUSE;
    for _ in 0..looks {
        let Some(listed) = settle::listed(commands, job).await? else { return Ok(false) };
        if let Some(pid) = listed.pid {
            seen = see(commands, pid, seen.as_ref()).await?;
            if seen.is_none() {
                sleep(RESULT).await;
                return Ok(settle::listed(commands, job).await?.is_some());
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(false)
}

/// Whether a signal ends processes that make nothing of it.
pub(super) fn ends(signal: Signal) -> bool {
    // SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG and SIGWINCH do not.
    !matches!(signal.number(), 17..=23 | 28)
}

/// What has come of a job, as it was before it was sent a signal: afterwards nobody knows any more whose children these were.
#[derive(Clone, Debug, Default)]
pub(super) struct Descendants {
    since: Option<Timestamp>,
    seen: Vec<Seen>,
}

impl Descendants {
    /// Those of now, and those that were seen before and are still there.
    pub(super) async fn look(commands: &Commands, job: &str, before: Self) -> Result<Self> {
        let Some(job) = settle::listed(commands, job).await? else { return Ok(before) };
        let all = commands.processes().list().await?;
        let mut pids = before.living(&all);
        pids.extend(job.pid);
        let mut all_pids = descendants(&all, &pids);
        if let Some(own) = job.pid {
            all_pids.remove(&own);
        }
        let seen = all.iter().filter(|process| all_pids.contains(&process.pid));
        Ok(Descendants { since: job.started_at, seen: seen.map(|process| Seen::of(process, &all)).collect() })
    }

    fn living(&self, all: &[Process]) -> BTreeSet<u32> {
        let lives = |seen: &&Seen| all.iter().any(|process| seen.is(process, first(all)));
        self.seen.iter().filter(lives).map(|seen| seen.process.pid).collect()
    }
}

/// After a job was sent a signal: should its process end by it and leave others behind, these are ended, so that the job can
/// end. No process says what ended it: one that is gone within a moment of any signal but SIGKILL was ended by that; one that
/// goes on meanwhile makes something else of it, and ends as if there had been none.
pub(super) async fn after_signal(commands: Commands, job: String, before: Descendants, signal: Signal) {
    let looks = if signal == Signal::KILL { u32::MAX } else { MOMENT_LOOKS };
    let ended = timeout(AFTER_SIGNAL, async {
        let mut gone = false;
        loop {
            let carried: Result<()> = async {
                gone = gone || outlived_within(&commands, &job, looks).await?;
                if gone { end_left(&commands, &job, &before).await } else { Ok(()) }
            }
            .await;
            match carried {
                // What it is to do is clear, and the node comes back. Otherwise the moment is over.
                Err(error) if may_pass(&error) && (gone || signal == Signal::KILL) => {
                    tracing::debug!(job, %error, "what a job has left behind cannot be ended now");
                    sleep(LONGEST_PAUSE).await;
                }
                carried => return carried,
            }
        }
    });
    if let Ok(Err(error)) = ended.await {
        tracing::debug!(job, %error, "what a job has left behind could not be ended");
    }
}

/// Whether an error says nothing but that the node cannot be asked now.
fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

/// Ends all that came of a job: what was seen to, and what has the mark in its environment.
async fn end_left(commands: &Commands, job: &str, before: &Descendants) -> Result<()> {
    let young = |process: &Process| match (before.since, process.started_at) {
        (Some(since), Some(at)) => at.saturating_add(SLACK) >= since,
        _ => true,
    };
    let listed = commands.processes().list().await?;
    let left = descendants(&listed, &before.living(&listed));
    end_all(commands, left.iter().copied().filter(|pid| *pid > FIRST)).await?;
    let listed = listed.into_iter().filter(|process| !left.contains(&process.pid));
    let pids = listed.filter(|process| process.pid > FIRST && young(process)).map(|process| process.pid);
    let wanted = format!("{MARK}={job}").into_bytes();
    let ends = pids.map(|pid| {
        let (commands, wanted) = (commands.clone(), &wanted);
        async move {
            let path = format!("/proc/{pid}/environ");
            let environment = match commands.filesystem().read_file(&path, ENVIRONMENT_MAX_BYTES).await {
                Ok(environment) => environment,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_slice()) {
                return end(&commands, pid).await;
            }
            Ok(())
        }
    });
    stream::iter(ends).buffer_unordered(AT_ONCE).collect::<Vec<Result<()>>>().await.into_iter().collect()
}

/// Ends these processes. That one has ended by itself is no error.
pub(super) async fn end_all(commands: &Commands, pids: impl IntoIterator<Item = u32>) -> Result<()> {
    let ends = pids.into_iter().map(|pid| end(commands, pid));
    stream::iter(ends).buffer_unordered(AT_ONCE).collect::<Vec<Result<()>>>().await.into_iter().collect()
}

async fn end(commands: &Commands, pid: u32) -> Result<()> {
    match commands.processes().kill(pid, Signal::KILL).await {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.message().contains("no such process")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent_pid: u32, second: i64) -> Process {
        Process { pid, parent_pid, started_at: Timestamp::from_unix_seconds(second), ..Process::default() }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_other_process() {
        let all = [process(1, 0, 1000), process(7, 1, 1500)];
        let seen = Seen::of(&all[1], &all);
        assert!(seen.is(&process(7, 1, 1501), Some(&all[0])), "starts are rounded");
        assert!(!seen.is(&process(7, 1, 1600), Some(&all[0])), "another one has the number");
        assert!(!seen.is(&process(8, 1, 1500), Some(&all[0])));
        for step in [-900, 3600] {
            let first = process(1, 0, 1000 + step);
            assert!(seen.is(&process(7, 1, 1500 + step), Some(&first)), "all have moved by {step}");
            assert!(!seen.is(&process(7, 1, 1600 + step), Some(&first)), "it began later");
        }
        // Nobody can tell.
        assert!(seen.is(&process(7, 1, 1600), None));
        let unknown = Process { pid: 7, ..Process::default() };
        assert!(seen.is(&unknown, Some(&all[0])));
    }

    #[test]
    fn what_came_of_a_job_is_known_after_its_own_process() {
        let all = [process(1, 0, 1), process(5, 1, 10), process(6, 5, 11), process(7, 6, 12), process(9, 1, 13)];
        assert_eq!(descendants(&all, &BTreeSet::from([5])), BTreeSet::from([5, 6, 7]));
        let before = Descendants { since: None, seen: vec![Seen::of(&all[2], &all), Seen::of(&all[3], &all)] };
        // Of the two one has ended and the other one is a child of the first process now, with another that had its number.
        let later = [process(1, 0, 1), process(7, 1, 12), process(6, 1, 90), process(10, 7, 91)];
        let living = before.living(&later);
        assert_eq!(living, BTreeSet::from([7]));
        assert_eq!(descendants(&later, &living), BTreeSet::from([7, 10]));
    }

    #[test]
    fn signals_that_end() {
        for signal in [Signal::KILL, Signal::TERM, Signal::USR1, Signal::HUP] {
            assert!(ends(signal));
        }
        for number in [17, 18, 19, 28] {
            assert!(!ends(Signal::from_number(number).unwrap()));
        }
    }
}
