//! The main processes that this program follows: what they write is kept, and their ends are written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ErrorKind, ItemStream, LogOptions, LogRecord, OutputKind, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Scope;
use super::ended;
use super::progress::{Progress, Step};
use super::record;
use super::settle;
use super::shared::Core0;
use super::streams::Entry;
use super::sweep;

/// So much is kept of what a container's main processes write; the oldest goes first.
const KEPT_BYTES: usize = 1024 * 1024;
/// A line costs about this much beyond its bytes.
const OVERHEAD_BYTES: usize = 64;
/// A main process that is given up, though it is looked after, is followed again after this.
const AGAIN: Duration = Duration::from_secs(3);
/// Levels of standard output and standard error, and the highest one that is a message of the program's own.
const STDOUT: u16 = 1;
const MESSAGE_MAX: u16 = 11;
/// The level of metrics, which are no output.
const METRIC: u16 = 10;

/// What an entry is as output: its stream and its bytes. Messages of the program's own are on standard error, whichever stream
/// they were written to; payloads and metrics are no output.
pub(super) fn output(entry: &Entry) -> Option<(OutputKind, Bytes)> {
    match entry.level {
        STDOUT => Some((OutputKind::Stdout, Bytes::from(entry.text.clone()))),
        2 => Some((OutputKind::Stderr, Bytes::from(entry.text.clone()))),
        METRIC => None,
        3..=MESSAGE_MAX => {
            let end = if entry.text.ends_with('\n') { "" } else { "\n" };
            Some((OutputKind::Stderr, Bytes::from(format!("{}{end}", entry.text))))
        }
        _ => None,
    }
}

/// The lines of an entry, each with the entry's time.
pub(super) fn lines(entry: &Entry) -> Vec<LogRecord> {
    let Some((kind, data)) = output(entry) else { return Vec::new() };
    let line = |line: &[u8]| {
        let mut record = LogRecord::new(kind, Bytes::copy_from_slice(line));
        record.time = entry.time;
        record
    };
    data.split_inclusive(|byte| *byte == b'\n').map(line).collect()
}

/// Whether a record was asked for; its time is shown only when that was, too.
pub(super) fn chosen(record: &LogRecord, options: &LogOptions) -> Option<LogRecord> {
    let wanted = match record.kind {
        OutputKind::Stderr => options.stderr,
        _ => options.stdout,
    };
    let late = options.since.is_none_or(|since| record.time.is_some_and(|time| time >= since));
    let early = options.until.is_none_or(|until| record.time.is_some_and(|time| time < until));
    (wanted && late && early).then(|| {
        let mut record = record.clone();
        record.time = record.time.filter(|_| options.timestamps);
        record
    })
}

/// The containers whose main processes are followed, by their marks.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<BTreeMap<String, Arc<Log>>>);

/// What the main processes of one container wrote.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// With their numbers, which go on.
    lines: std::collections::VecDeque<(u64, LogRecord)>,
    next: u64,
    bytes: usize,
    /// The run that is followed now.
    run: Option<u64>,
}

impl Followed {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Log>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The containers of which there is something.
    pub(super) fn marks(&self) -> BTreeSet<String> {
        self.all().keys().cloned().collect()
    }

    /// From now on this run is followed.
    pub(super) fn begin(&self, mark: &str, run: u64) -> Arc<Log> {
        let new = || Arc::new(Log { state: Mutex::default(), changes: watch::Sender::new(0) });
        let log = Arc::clone(self.all().entry(mark.to_owned()).or_insert_with(new));
        log.change(|state| state.run = Some(run));
        log
    }

    /// What this program has of the container's output.
    pub(super) fn log(&self, mark: &str) -> Option<Arc<Log>> {
        self.all().get(mark).cloned()
    }

    /// The run that is followed now.
    pub(super) fn run(&self, mark: &str) -> Option<u64> {
        self.log(mark).and_then(|log| log.lock().run)
    }

    pub(super) fn forget(&self, mark: &str) {
        if let Some(log) = self.all().remove(mark) {
            log.change(|state| state.run = None);
        }
    }

    /// Waits until this run is not followed any more; at once when it is not.
    pub(super) async fn ended(&self, mark: &str, run: u64) {
        let Some(log) = self.log(mark) else { return };
        let mut changes = log.changes.subscribe();
        // It cannot end before the log, which is held here.
        let _ = changes.wait_for(|_| log.lock().run != Some(run)).await;
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn push(&self, entry: &Entry) {
        self.change(|state| {
            for line in lines(entry) {
                state.bytes += line.data.len() + OVERHEAD_BYTES;
                state.lines.push_back((state.next, line));
                state.next += 1;
            }
            while state.bytes > KEPT_BYTES && state.lines.len() > 1 {
                if let Some((_, old)) = state.lines.pop_front() {
                    state.bytes -= old.data.len() + OVERHEAD_BYTES;
                }
            }
        });
    }

    /// What is kept, and with `follow` what comes until the present run ends.
    pub(super) fn read(self: &Arc<Self>, options: &LogOptions) -> ItemStream<LogRecord> {
        let (kept, next, run) = {
            let state = self.lock();
            let kept: Vec<LogRecord> = state.lines.iter().filter_map(|(_, line)| chosen(line, options)).collect();
            (kept, state.next, state.run)
        };
        let kept = stream::iter(tail(kept, options.tail)).map(Ok);
        let (true, Some(run)) = (options.follow, run) else { return kept.boxed() };
        let follow = Follow { log: Arc::clone(self), changes: self.changes.subscribe(), next, run };
        let live = stream::unfold((follow, options.clone()), |(mut follow, options)| async move {
            let lines = follow.next().await?;
            let lines: Vec<_> = lines.iter().filter_map(|line| chosen(line, &options)).map(Ok).collect();
            Some((stream::iter(lines), (follow, options)))
        });
        kept.chain(live.flatten()).boxed()
    }
}

/// The last lines of all that were chosen.
pub(super) fn tail(mut lines: Vec<LogRecord>, count: Option<u64>) -> Vec<LogRecord> {
    if let Some(count) = count {
        let surplus = lines.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        lines.drain(..surplus);
    }
    lines
}

/// A reader of what comes.
struct Follow {
    log: Arc<Log>,
    changes: watch::Receiver<u64>,
    next: u64,
    run: u64,
}

impl Follow {
    /// What came since; none when the run has ended and all was read.
    async fn next(&mut self) -> Option<Vec<LogRecord>> {
        loop {
            self.changes.borrow_and_update();
            let (lines, runs) = {
                let state = self.log.lock();
                // Numbers grow, and there may be many lines that were read already.
                let read = state.lines.partition_point(|(number, _)| *number < self.next);
                (state.lines.range(read..).cloned().collect::<Vec<_>>(), state.run == Some(self.run))
            };
            if let Some((last, _)) = lines.last() {
                self.next = last + 1;
                return Some(lines.into_iter().map(|(_, line)| line).collect());
            }
            if !runs || self.changes.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// Follows a run that was just started, to its end. The caller holds the container's lock.
pub(super) fn follow(core0: &Arc<Core0>, mark: &str, container: u64, run: u64) {
    let job = settle::job_id(mark, run);
    let progress = Progress::begin(&core0.client, Scope::Container(container), &job, false);
    let log = core0.followed.begin(mark, run);
    tokio::spawn(carry(Arc::downgrade(core0), progress, log, mark.to_owned(), container, run));
}

/// The node itself is not held: a program that lets go of it ends this.
async fn carry(
    core0: std::sync::Weak<Core0>,
    mut progress: Progress,
    log: Arc<Log>,
    mark: String,
    container: u64,
    run: u64,
) {
    let ended = loop {
        match progress.next().await {
            Ok(Some(Step::Entry(entry))) => {
                let dated = Entry { time: entry.time.or_else(|| Some(Timestamp::now())), ..entry };
                log.push(&dated);
            }
            Ok(Some(Step::Ended(outcome))) => break Some(outcome),
            Ok(None) => break None,
            Err(error) => {
                let goes_on = core0.upgrade().is_some_and(|core0| core0.watched.has(&mark, run));
                tracing::debug!(container, goes_on, %error, "a main process cannot be followed");
                if !goes_on || error.kind() != ErrorKind::Unavailable {
                    break None;
                }
                // A node that was away for long tells nothing of an end, and whoever looks after the process says when it has ended.
                sleep(AGAIN).await;
            }
        }
    };
    let mut is_there = false;
    if let (Some(outcome), Some(core0)) = (ended, core0.upgrade()) {
        let _one_at_a_time = core0.lock(&mark).await;
        let finished = async {
            let record = record::read(&core0.client.links, &[&mark]).await?.pop().unwrap_or_default();
            let end = ended::of(run, &outcome, record.signal());
            settle::finish(&core0, &mark, container, &end).await
        };
        match finished.await {
            Ok(()) => is_there = true,
            Err(error) => tracing::debug!(container, %error, "the end of a main process could not be written down"),
        }
    }
    log.change(|state| state.run = state.run.filter(|following| *following != run));
    if let (false, Some(core0)) = (is_there, core0.upgrade())
        && let Err(error) = sweep::forget_gone(&core0).await
    {
        tracing::debug!(container, %error, "whether a container is there could not be found out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(level: u16, text: &str, seconds: i64) -> Entry {
        Entry {
            text: text.to_owned(),
            level,
            end: None,
            time: Timestamp::from_unix_seconds(seconds),
            job: String::new(),
            container: 1,
        }
    }

    fn log(entries: &[Entry]) -> Arc<Log> {
        let log = Arc::new(Log { state: Mutex::default(), changes: watch::Sender::new(0) });
        entries.iter().for_each(|entry| log.push(entry));
        log
    }

    async fn read(log: &Arc<Log>, change: impl FnOnce(&mut LogOptions)) -> String {
        let mut options = LogOptions::default();
        change(&mut options);
        let records: Vec<_> = log.read(&options).map(|record| record.unwrap().data).collect().await;
        String::from_utf8(records.concat()).unwrap()
    }

    #[tokio::test]
    async fn lines_are_chosen_by_stream_time_and_number() {
        let log = log(&[entry(1, "one\ntwo\n", 10), entry(2, "bad\n", 11), entry(8, "worse", 12), entry(20, "{}", 13)]);
        assert_eq!(read(&log, |_| ()).await, "one\ntwo\nbad\nworse\n");
        assert_eq!(read(&log, |options| options.tail = Some(2)).await, "bad\nworse\n");
        assert_eq!(read(&log, |options| options.stdout = false).await, "bad\nworse\n");
        assert_eq!(read(&log, |options| options.since = Timestamp::from_unix_seconds(11)).await, "bad\nworse\n");
        assert_eq!(read(&log, |options| options.until = Timestamp::from_unix_seconds(11)).await, "one\ntwo\n");
    }

    #[tokio::test]
    async fn followers_read_to_the_end_of_the_run() {
        let log = log(&[entry(1, "one\n", 1)]);
        log.change(|state| state.run = Some(1));
        let reader = Arc::clone(&log);
        let all = tokio::spawn(async move { read(&reader, |options| options.follow = true).await });
        tokio::task::yield_now().await;
        log.push(&entry(1, "two\n", 2));
        log.change(|state| state.run = None);
        assert_eq!(all.await.unwrap(), "one\ntwo\n");
    }

    #[tokio::test]
    async fn followers_read_each_line_once_though_the_first_ones_go() {
        let log = log(&[]);
        log.change(|state| state.run = Some(1));
        let mut follow = Follow { log: Arc::clone(&log), changes: log.changes.subscribe(), next: 0, run: 1 };
        let mut read = Vec::new();
        for round in 0..40 {
            // Half of what is kept, each time.
            let long = "x".repeat(KEPT_BYTES / 16) + "\n";
            (0..8).for_each(|number| log.push(&entry(1, &long, round * 8 + number)));
            read.extend(follow.next().await.expect("lines").into_iter().map(|line| line.time));
        }
        let written: Vec<_> = (0..320).map(Timestamp::from_unix_seconds).collect();
        assert_eq!(read, written);
        log.change(|state| state.run = None);
        assert!(follow.next().await.is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "x".repeat(999) + "\n";
        let log = log(&(0..3000).map(|second| entry(1, &long, second)).collect::<Vec<_>>());
        let state = log.lock();
        assert!(state.bytes <= KEPT_BYTES && state.lines.len() > 900);
    }
}
