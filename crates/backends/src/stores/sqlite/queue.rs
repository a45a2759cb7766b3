//! A thread with a queue of jobs, whose answers come back with a deadline.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roadstead_core::store::closed;
use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::oneshot;

/// An answer that did not come by then is not waited for. A disk that is that slow is a sick one.
const DEADLINE: Duration = Duration::from_secs(15);

/// The end of a queue that asks. The thread ends with it, after what was asked before.
#[derive(Debug)]
pub(super) struct Queue<J> {
    jobs: Mutex<Option<Sender<J>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The end that works.
#[derive(Debug)]
pub(super) struct Jobs<J>(Receiver<J>);

/// Where an answer goes.
#[derive(Debug)]
pub(super) struct Answer<T>(oneshot::Sender<Result<T>>);

impl<J: Send + 'static> Queue<J> {
    /// Begins a thread of this name.
    pub(super) fn begin(name: &str, work: impl FnOnce(&Jobs<J>) + Send + 'static) -> Result<Self> {
        let (jobs, taken) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&Jobs(taken)));
        let thread = thread.map_err(|cause| {
            Error::new(ErrorKind::Unavailable, format!("the store cannot begin: {cause}")).with_source(cause)
        })?;
        Ok(Queue { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> J) -> Result<T> {
        let ended = || Error::new(ErrorKind::Unavailable, "the store has ended").with_retry(Retry::Unknown);
        let (answer, answered) = oneshot::channel();
        let jobs = lock(&self.jobs).clone().ok_or_else(closed)?;
        jobs.send(job(Answer(answer))).map_err(|_| ended())?;
        drop(jobs);
        match tokio::time::timeout(DEADLINE, answered).await {
            Ok(answer) => answer.map_err(|_| ended())?,
            Err(_) => {
                let seconds = DEADLINE.as_secs();
                let text = format!("the store did not answer within {seconds} s");
                Err(Error::new(ErrorKind::DeadlineExceeded, text).with_retry(Retry::Unknown))
            }
        }
    }
}

impl<J> Queue<J> {
    /// Lets the thread end after what was asked before, and waits for that. A caller's thread is blocked meanwhile.
    pub(super) fn close(&self) {
        drop(lock(&self.jobs).take());
        // The file is not used any more once this is over. A thread that drops its own queue cannot wait for itself.
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl<J> Drop for Queue<J> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next<J> {
    /// A job.
    Job(J),
    /// None came until it was due.
    Due,
    /// None will come any more.
    Over,
}

impl<J> Jobs<J> {
    /// Waits, at most until this is due.
    pub(super) fn next(&self, due: Option<Instant>) -> Next<J> {
        let job = match due {
            None => self.0.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.0.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(job) => Next::Job(job),
            Err(RecvTimeoutError::Timeout) => Next::Due,
            Err(RecvTimeoutError::Disconnected) => Next::Over,
        }
    }

    /// The next one, when it is there already.
    pub(super) fn waiting(&self) -> Option<J> {
        self.0.try_recv().ok()
    }
}

impl<T> Answer<T> {
    /// Gives it. Whoever asked may be gone.
    pub(super) fn give(self, answer: Result<T>) {
        let _ = self.0.send(answer);
    }
}
