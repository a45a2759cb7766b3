//! The runtime in which all work happens, one for each process.
//!
//! Threads do not survive `fork`. What was made before it is refused in the child, in words; what is made there has a runtime of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::prepare_for_the_end;

/// So many threads work; more would mostly wait for Python.
const THREADS: usize = 2;

/// At the end nothing of the library is waited for longer, and nothing of the caller's before it is broken off.
const PATIENCE: Duration = Duration::from_secs(1);

/// Somebody waits.
#[derive(Debug)]
pub(crate) struct Waits<'a>(&'a Home);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        *self.0.waiting() -= 1;
        self.0.has_waited.notify_all();
    }
}

/// The runtime of this process.
#[derive(Debug)]
pub(crate) struct Home {
    process: u32,
    handle: Handle,
    ending: AtomicBool,
    /// The threads in which iterators and files of the caller's are being asked for bytes, as Python counts them. Taken only while the
    /// interpreter is held, as above.
    pub(crate) readers: Mutex<Vec<u64>>,
    /// So many threads wait for something, or ask the caller's, and come back to the interpreter.
    waiting: Mutex<usize>,
    /// One of them does not any more.
    has_waited: Condvar,
    runtime: Mutex<Option<Runtime>>,
}

/// Taken only while the interpreter is held, so that no `fork` finds it taken by a thread that the child does not have.
static HOME: Mutex<Option<Arc<Home>>> = Mutex::new(None);

impl Home {
    /// The runtime of this process; the first caller starts it.
    ///
    /// # Errors
    /// `ResourceExhausted` when there can be no more threads.
    pub(crate) fn here(_: Python<'_>) -> Result<Arc<Home>> {
        let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = home.as_ref().filter(|home| home.is_here()) {
            return Ok(Arc::clone(home));
        }
        // That of the parent has no threads here: ending it would wait for them.
        std::mem::forget(home.take());
        let made = Builder::new_multi_thread().worker_threads(THREADS).thread_name("roadstead").enable_all().build();
        let runtime = made.map_err(|cause| {
            Error::new(ErrorKind::ResourceExhausted, "the threads of the library cannot be started").with_source(cause)
        })?;
        let made = Arc::new(Home {
            process: std::process::id(),
            handle: runtime.handle().clone(),
            ending: AtomicBool::new(false),
            readers: Mutex::default(),
            waiting: Mutex::new(0),
            has_waited: Condvar::new(),
            runtime: Mutex::new(Some(runtime)),
        });
        *home = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Somebody waits from now on, until what this gives is dropped.
    pub(crate) fn waits(&self) -> Waits<'_> {
        *self.waiting() += 1;
        Waits(self)
    }

    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Where work is started.
    ///
    /// # Errors
    /// `Conflict` in a child of the process in which it was made, and while the interpreter ends.
    pub(crate) fn handle(&self) -> Result<&Handle> {
        if !self.is_here() {
            let words = "was made before this process was forked from its parent: connect again here";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        if self.ending.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Conflict, "the interpreter is ending"));
        }
        Ok(&self.handle)
    }
}

/// Ends what runs: no thread may come back into an interpreter that is gone. Where something of the caller's is still being read, the threads
/// that do it are told, to be called again once they were broken off; none where nothing is.
#[pyfunction]
pub(crate) fn end(py: Python<'_>) -> Option<Vec<u64>> {
    let home = HOME.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let home = home.filter(|home| home.is_here())?;
    prepare_for_the_end(py);
    home.ending.store(true, Ordering::SeqCst);
    let runtime = home.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
    let all_are_back = py.detach(|| {
        // Whoever waits in another thread looks from time to time, and is told. Who is in the caller's own comes back when that does.
        let back = |waiting: &mut usize| *waiting > 0;
        let waited = home.has_waited.wait_timeout_while(home.waiting(), PATIENCE, back);
        let left = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(PATIENCE);
        }
        left == 0
    });
    (!all_are_back).then(|| home.readers.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// How many pieces of work are going on: none is left where nobody waits for anything.
#[pyfunction]
pub(crate) fn running(py: Python<'_>) -> PyResult<usize> {
    let home = crate::error::or_raised(py, Home::here(py))?;
    Ok(home.handle.metrics().num_alive_tasks())
}

/// How many threads wait for something.
#[pyfunction]
pub(crate) fn waiting(py: Python<'_>) -> PyResult<usize> {
    let home = crate::error::or_raised(py, Home::here(py))?;
    Ok(*home.waiting())
}
