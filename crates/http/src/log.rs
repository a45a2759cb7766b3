//! Lines of the log, written together: a system call, or the waking of a thread, for each request would be a tenth of what a list costs.
//!
//! A line waits for a fiftieth of a second at most. None is dropped: when too much waits, whoever logs writes it first.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// So long lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that may wait.
const WAITING: usize = 64 * 1024;

/// Takes lines. Clones write to the same log.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or the end has come.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    ending: bool,
}

/// Whatever waits is written when this is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under the lock, so that lines stay in their order. That nobody reads the log is nobody's error.
fn write_out(waiting: &mut Waiting) {
    let _ = io::stderr().write_all(&waiting.bytes);
    waiting.bytes.clear();
}

/// Lines go to standard error from now on, until the guard is dropped.
///
/// # Errors
/// When there is no thread for it.
pub(crate) fn open() -> io::Result<(Lines, Guard)> {
    let shared = Arc::new(Shared::default());
    let written = Arc::clone(&shared);
    let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        loop {
            let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ending;
            let ending = {
                let waiting = written.wake.wait_while(written.lock(), idle);
                waiting.unwrap_or_else(PoisonError::into_inner).ending
            };
            if !ending {
                std::thread::sleep(GATHER);
            }
            write_out(&mut written.lock());
            if ending {
                return;
            }
        }
    })?;
    Ok((Lines(Arc::clone(&shared)), Guard { shared, writer: Some(writer) }))
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(bytes);
        if waiting.ending || waiting.bytes.len() > WAITING {
            write_out(&mut waiting);
        } else if first {
            self.0.wake.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_out(&mut self.0.lock());
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}
