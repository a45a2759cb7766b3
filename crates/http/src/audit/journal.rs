//! Writes the audit log: one thread, so that lines which come while the disk is busy go to it together, and no request holds up
//! another one's thread.
//!
//! What could not be written is taken out of the file again, and whoever waits for it is told. The end of something that was done is
//! kept in memory then, and written with the next lines.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::oneshot;

use super::files;
use super::line::{Event, Line};
use super::refusals::{Refusals, WINDOW};

/// So many lines go to the disk at once.
const BATCH: usize = 1024;
/// So many ends are kept that could not be written.
const OWED_MAX: usize = 1000;
/// So many files make up the whole log when it is full.
const FILES: u64 = 8;
/// Between two looks for files that are too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// A file is begun at the latest so long after the one before, so that what is too old can go.
const FILE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What bounds the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) keep: Duration,
}

/// Numbers of what began and has not ended yet.
pub(super) type Open = Arc<Mutex<BTreeSet<u64>>>;

#[derive(Debug)]
enum Message {
    Write(Vec<u8>, Kind),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
enum Kind {
    /// Whoever waits is told the number.
    Begun(oneshot::Sender<io::Result<u64>>),
    Ended(u64),
    Other,
}

/// The log, to write to.
#[derive(Debug)]
pub(super) struct Journal {
    messages: Sender<Message>,
    pub(super) open: Open,
    pub(super) refusals: Arc<Mutex<Refusals>>,
    server: String,
}

impl Journal {
    /// Opens it for the server of this id, and goes on after its last line.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or no thread can be had.
    pub(super) fn open(directory: PathBuf, bounds: Bounds, server: &str) -> io::Result<(Self, JoinHandle<()>)> {
        let (messages, received) = channel();
        let (open, refusals) = (Open::default(), Arc::default());
        let journal =
            Journal { messages, open: Arc::clone(&open), refusals: Arc::clone(&refusals), server: server.to_owned() };
        let writer = Writer::new(directory, bounds, server.to_owned(), open, refusals)?;
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&received))?;
        journal.say(&Line::new(Event::Started, server));
        Ok((journal, thread))
    }

    /// A line that says that something is about to be done. It is on the disk when this gives its number.
    ///
    /// # Errors
    /// `Unavailable` when it is not; nothing may be done then.
    pub(super) async fn begin(&self, line: &Line) -> Result<u64> {
        let (written, answer) = oneshot::channel();
        // When the thread is gone, so is the sender of the answer.
        let _ = self.messages.send(Message::Write(line.encode(), Kind::Begun(written)));
        let refuse = |why: &str| {
            Error::new(ErrorKind::Unavailable, format!("nothing was done: the audit log cannot be written: {why}"))
                .with_retry(Retry::Safe)
        };
        match answer.await {
            Ok(Ok(number)) => Ok(number),
            Ok(Err(error)) => Err(refuse(&error.to_string()).with_source(error)),
            Err(_) => Err(refuse("it is closed")),
        }
    }

    /// What came of the line of this number.
    pub(super) fn end(&self, number: u64, line: &Line) {
        let _ = self.messages.send(Message::Write(line.encode(), Kind::Ended(number)));
    }

    /// A line that nobody waits for.
    pub(super) fn say(&self, line: &Line) {
        let _ = self.messages.send(Message::Write(line.encode(), Kind::Other));
    }

    /// Ready when what was said before can be read.
    pub(super) async fn flush(&self) {
        self.counted(true);
        let (done, flushed) = oneshot::channel();
        let _ = self.messages.send(Message::Flush(done));
        let _ = flushed.await;
    }

    /// Says how many were refused.
    fn counted(&self, early: bool) {
        if let Some(line) = counted(&self.refusals, &self.server, early) {
            self.say(&line);
        }
    }

    /// Ends it: what was said is on the disk, and nothing more is taken.
    pub(super) async fn close(&self) {
        self.counted(true);
        let (done, closed) = oneshot::channel();
        let _ = self.messages.send(Message::Close(done));
        let _ = closed.await;
    }
}

fn counted(refusals: &Mutex<Refusals>, server: &str, early: bool) -> Option<Line> {
    let taken = refusals.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), early);
    taken.map(|(count, peers)| {
        let mut line = Line::new(Event::Refused, server);
        line.reason = Some("requests that would change something, without a valid identity".to_owned());
        (line.count, line.peers) = (Some(count), peers);
        line
    })
}

struct Current {
    file: File,
    bytes: u64,
    begun: Instant,
}

struct Writer {
    directory: PathBuf,
    bounds: Bounds,
    server: String,
    open: Open,
    refusals: Arc<Mutex<Refusals>>,
    /// The number of the next line.
    next: u64,
    current: Option<Current>,
    /// Ends that could not be written, with what they end.
    owed: VecDeque<(u64, Vec<u8>)>,
    pruned: Instant,
}

impl Writer {
    fn new(
        directory: PathBuf,
        bounds: Bounds,
        server: String,
        open: Open,
        refusals: Arc<Mutex<Refusals>>,
    ) -> io::Result<Self> {
        files::make(&directory)?;
        let now = Instant::now();
        let (mut next, mut current) = (1, None);
        if let Some(last) = files::list(&directory)?.last() {
            match files::reopen(last) {
                Ok((file, bytes, number)) => (next, current) = (number, Some(Current { file, bytes, begun: now })),
                Err(error) => {
                    tracing::warn!(%error, path = %last.path.display(), "audit: the last file is left as it is");
                    // A file has fewer lines than bytes.
                    next = last.first.saturating_add(last.bytes).saturating_add(1);
                }
            }
        }
        let writer =
            Writer { directory, bounds, server, open, refusals, next, current, owed: VecDeque::new(), pruned: now };
        writer.prune();
        Ok(writer)
    }

    fn prune(&self) {
        // The file that is written to may become as large as one may.
        let most = self.bounds.bytes.saturating_sub(self.bounds.bytes / FILES);
        if let Err(error) = files::prune(&self.directory, most, self.bounds.keep) {
            tracing::warn!(%error, "audit: old files are not deleted");
        }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let first = match messages.recv_timeout(WINDOW) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let rest = std::iter::from_fn(|| messages.try_recv().ok()).take(BATCH);
            let batch: Vec<_> = first.into_iter().chain(rest).collect();
            if self.handle(batch) {
                return;
            }
        }
    }

    /// Writes what came together. True at the end.
    fn handle(&mut self, batch: Vec<Message>) -> bool {
        let (mut lines, mut waiting, mut closed) = (Vec::new(), Vec::new(), false);
        lines.extend(self.owed.drain(..).map(|(entry, body)| (body, Kind::Ended(entry))));
        if let Some(line) = counted(&self.refusals, &self.server, false) {
            lines.push((line.encode(), Kind::Other));
        }
        for message in batch {
            match message {
                Message::Write(body, kind) => lines.push((body, kind)),
                Message::Flush(done) => waiting.push(done),
                Message::Close(done) => {
                    waiting.push(done);
                    closed = true;
                }
            }
        }
        if !lines.is_empty() {
            self.write(lines);
        }
        if self.pruned.elapsed() >= PRUNE_EVERY {
            self.pruned = Instant::now();
            self.prune();
        }
        for done in waiting {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        closed
    }

    fn write(&mut self, lines: Vec<(Vec<u8>, Kind)>) {
        let first = self.next;
        let mut text = Vec::new();
        for ((body, _), number) in lines.iter().zip(first..) {
            text.extend_from_slice(format!("{{\"seq\":{number},").as_bytes());
            // Without the brace that it begins with.
            text.extend_from_slice(body.get(1..).unwrap_or_default());
            text.push(b'\n');
        }
        // Also when it fails: a number that was written once and taken back is not given again.
        self.next = first.saturating_add(lines.len() as u64);
        let written = self.append(&text, first);
        if let Err(error) = &written {
            tracing::error!(%error, "audit: the log cannot be written, and nothing is changed until it can be");
        }
        for ((body, kind), number) in lines.into_iter().zip(first..) {
            match (kind, &written) {
                (Kind::Begun(waiting), Ok(())) => {
                    self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
                    if waiting.send(Ok(number)).is_err() {
                        // Whoever asked has gone before it could be done.
                        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                    }
                }
                (Kind::Begun(waiting), Err(error)) => {
                    let _ = waiting.send(Err(io::Error::new(error.kind(), error.to_string())));
                }
                (Kind::Ended(entry), Ok(())) => {
                    self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry);
                }
                (Kind::Ended(entry), Err(_)) => {
                    if self.owed.len() == OWED_MAX {
                        self.owed.pop_front();
                    }
                    self.owed.push_back((entry, body));
                }
                (Kind::Other, _) => {}
            }
        }
    }

    /// All of it, on the disk, or nothing of it.
    fn append(&mut self, text: &[u8], first: u64) -> io::Result<()> {
        let most = self.bounds.bytes / FILES;
        let length = text.len() as u64;
        let full = |current: &Current| {
            current.bytes > 0
                && (current.bytes + length > most || current.begun.elapsed() > FILE_LIFE.min(self.bounds.keep))
        };
        if self.current.as_ref().is_none_or(full) {
            self.current = None;
            let file = files::create(&self.directory, first)?;
            self.current = Some(Current { file, bytes: 0, begun: Instant::now() });
            self.prune();
        }
        let Some(mut current) = self.current.take() else { return Ok(()) };
        match current.file.write_all(text).and_then(|()| current.file.sync_data()) {
            Ok(()) => {
                current.bytes += length;
                self.current = Some(current);
                Ok(())
            }
            Err(error) => {
                // What the disk has of it is not known after an error, so the file is not written to any more.
                if let Err(error) = current.file.set_len(current.bytes).and_then(|()| current.file.sync_all()) {
                    tracing::warn!(%error, "audit: half of a line may stay");
                }
                Err(error)
            }
        }
    }
}
