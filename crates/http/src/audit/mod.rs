//! The audit log: who did what to what, and what came of it.
//!
//! Everything that may change something is two lines of an append-only file: one that is on the disk before anything is done, and one
//! with the outcome. What has no second line began, and nobody can say how it ended. When the first line cannot be written, nothing is
//! done. Bodies and the values of query keys are in no line, since they may hold secrets. Each server has a log of its own.

mod files;
mod journal;
mod line;
mod read;
mod refusals;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roadstead_core::{Error, ErrorKind, Result};

use self::journal::{Bounds, Journal};
use self::line::{Event, Line};

pub(crate) use self::line::{Deed, End, Outcome};
pub(crate) use self::read::{AuditEntry, Filter};

/// The log of this server.
#[derive(Debug)]
pub(crate) struct Audit {
    directory: PathBuf,
    server: String,
    journal: Arc<Journal>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Something that was written down and is being done. Dropped without an end, its outcome is unknown.
#[derive(Debug)]
pub(crate) struct Begun {
    journal: Arc<Journal>,
    server: String,
    number: u64,
    since: Instant,
    ended: bool,
}

impl Begun {
    /// What came of it.
    pub(crate) fn end(mut self, end: End) {
        self.write(end);
    }

    fn write(&mut self, end: End) {
        self.ended = true;
        let mut line = Line::new(Event::Ended, &self.server);
        line.entry = Some(self.number);
        let milliseconds = self.since.elapsed().as_millis();
        line.end = End { duration_seconds: Some(milliseconds as f64 / 1000.0), ..end }.cut();
        self.journal.end(self.number, &line);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.ended {
            self.write(End::of(Outcome::Unknown));
        }
    }
}

impl Audit {
    /// Opens the log in this directory, which is made where it is not there.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn open(directory: &Path, bytes: u64, keep: Duration, server: &str) -> Result<Self> {
        let (journal, writer) =
            Journal::open(directory.to_owned(), Bounds { bytes, keep }, server).map_err(|error| {
                let words = format!("cannot use the audit log {}: {error}", directory.display());
                Error::new(ErrorKind::Unexpected, words).with_source(error)
            })?;
        Ok(Audit {
            directory: directory.to_owned(),
            server: server.to_owned(),
            journal: Arc::new(journal),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Writes down what is about to be done. It is on the disk when this returns.
    ///
    /// # Errors
    /// `Unavailable`, safe to retry, when it cannot be written: then it must not be done.
    pub(crate) async fn begin(&self, deed: Deed) -> Result<Begun> {
        let mut line = Line::new(Event::Begun, &self.server);
        line.deed = deed.cut();
        let since = Instant::now();
        let number = self.journal.begin(&line).await?;
        Ok(Begun { journal: Arc::clone(&self.journal), server: self.server.clone(), number, since, ended: false })
    }

    /// Takes note of a request that was not let in. However many there are, few lines come of them; nobody waits for those.
    pub(crate) fn refused(&self, deed: Deed, reason: &str) {
        let peer = deed.peer.as_deref().unwrap_or_default();
        let address = peer.rsplit_once(':').map_or(peer, |(address, _)| address);
        let first = {
            let mut refusals = self.journal.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.add(address, Instant::now())
        };
        if first {
            let mut line = Line::new(Event::Refused, &self.server);
            line.deed = deed.cut();
            line.reason = Some(reason.to_owned());
            line.count = Some(1);
            self.journal.say(&line);
        }
    }

    /// What was written down, oldest first, behind the entry of this number; one more than `limit` when there are more.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(crate) async fn read(&self, after: u64, limit: usize, filter: Filter) -> Result<Vec<AuditEntry>> {
        self.journal.flush().await;
        let open = self.journal.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let directory = self.directory.clone();
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unexpected, format!("the audit log cannot be read: {error}")).with_source(error)
        };
        tokio::task::spawn_blocking(move || read::read(&directory, after, limit, &filter, &open))
            .await
            .map_err(|error| failed(error.into()))?
            .map_err(failed)
    }

    /// Ends it: what was said is on the disk, and from now on nothing can be begun.
    pub(crate) async fn close(&self) {
        self.journal.close().await;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It has answered that it ends, and there is nothing between that and its end.
            let _ = writer.join();
        }
    }
}
