//! A node that has stopped answering costs its callers nothing until it answers again.
//!
//! While the breaker is closed every call passes. When the node has failed to answer several times in a row it opens:
//! calls are refused at once, with since when and why. In the background one probe at a time, with a deadline of its own,
//! asks the node for a list; the first that is answered closes the breaker. So no caller ever pays for finding out.
//! A node that refuses at once, as while its engine is started anew, is probed when somebody calls, too: finding out takes no
//! time there, and the call passes if it has come back.
//!
//! A call that its caller gave up says little: the caller may have been impatient. It only makes the node suspect, and
//! probes find out. A call about one container that fails does no more, either: an engine may hang on one container and serve
//! all others.

mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Around, Call, first};
use crate::container::ContainerFilter;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::node::Node;
use crate::operation::{self, Operation, Pace};
use crate::stream::ItemStream;
use crate::time::Timestamp;
use state::{After, State};

/// A name that no container has: the probe asks for the way to the list and not for the list.
const NOBODY: &str = "roadstead-breaker-probe";

/// How long a call waits for a probe of a node that refused at once the last time.
const GLIMPSE: Duration = Duration::from_millis(50);
/// So often, at most, calls have such a probe sent.
const SPACING: Duration = Duration::from_millis(5);

/// When a node counts as broken, and how it is asked again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// After so many failures to answer in a row the breaker opens (default 3, at least 1).
    pub failures: u32,
    /// A call that is given up before this makes the node not even suspect (default 250 ms).
    pub patience: Duration,
    /// How long the node has for the answer to a probe (default 10 s). A node that answers a list within this is not broken.
    pub probe_deadline: Duration,
    /// Pause after the first probe that failed, doubled with each further one (default 200 ms).
    pub pause: Duration,
    /// The longest pause between probes that the node left without an answer (default 15 s).
    pub longest_pause: Duration,
    /// The longest pause between probes that failed at once (default 2 s): they cost next to nothing, and an engine that is
    /// started again should not have to wait.
    pub longest_pause_refused: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        BreakerOptions {
            failures: 3,
            patience: Duration::from_millis(250),
            probe_deadline: Duration::from_secs(10),
            pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(15),
            longest_pause_refused: Duration::from_secs(2),
        }
    }
}

/// Refuses calls while the node does not answer. See the module's documentation.
///
/// It belongs outside of [`super::Retry`], so that a refusal is not repeated. Probes run in the tokio runtime of the call
/// that made the node suspect, and end with the breaker.
#[derive(Debug)]
pub struct Breaker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What is probed.
    node: Arc<dyn Node>,
    options: BreakerOptions,
    state: Mutex<State>,
    /// Ends the pause before the next probe.
    now: Arc<Notify>,
    /// Counts the probes that are over.
    probed: watch::Sender<u64>,
}

impl Shared {
    /// A poisoned lock only says that another thread panicked; the state is whole after every change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `node` behind a breaker, which probes `probed`: the same without layers, since what waits for its turn, or is repeated, tells
/// nothing in time.
#[must_use]
pub fn guard(node: Arc<dyn Node>, probed: Arc<dyn Node>, options: BreakerOptions) -> Arc<dyn Node> {
    super::wrap(node, Breaker::new(probed, options))
}

impl Breaker {
    /// A closed breaker, which probes `node`. See [`guard`].
    #[must_use]
    pub fn new(node: Arc<dyn Node>, options: BreakerOptions) -> Self {
        let shared =
            Shared { node, options, state: Mutex::default(), now: Arc::default(), probed: watch::Sender::new(0) };
        Breaker { shared: Arc::new(shared) }
    }

    /// Since when the node has not answered; `None` while calls pass.
    #[must_use]
    pub fn open_since(&self) -> Option<Timestamp> {
        self.shared.state().open().map(|(since, _)| since)
    }

    fn refusal(&self) -> Option<Error> {
        let state = self.shared.state();
        let (since, why) = state.open()?;
        // Nothing was sent, whatever the call.
        let words = format!("no answer since {since} ({why}); it is asked again in the background");
        Some(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe).with_context("since", since.to_string()))
    }

    /// Lets a call pass, or says why not.
    async fn pass(&self) -> Result<()> {
        let Some(refusal) = self.refusal() else { return Ok(()) };
        let mut probed = self.shared.probed.subscribe();
        if !self.shared.state().glimpse(GLIMPSE) {
            return Err(refusal);
        }
        self.shared.now.notify_one();
        // Late or not, the state tells.
        let _ = timeout(GLIMPSE, probed.changed()).await;
        self.refusal().map_or(Ok(()), Err)
    }

    fn failed(&self, why: &str, counts: bool) {
        let begin = self.shared.state().failed(why, counts, self.shared.options.failures);
        if begin {
            self.probe();
        }
    }

    /// Begins to probe. Outside of a runtime nothing can: then the next failure tries again.
    fn probe(&self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(probes(Arc::downgrade(&self.shared)))),
            Err(_) => self.shared.state().probing = false,
        }
    }
}

/// Probes until one is answered, or the breaker is gone.
async fn probes(breaker: Weak<Shared>) {
    let nobody = ContainerFilter { names: vec![NOBODY.to_owned()], ..ContainerFilter::default() };
    let mut pause = None;
    while let Some(shared) = breaker.upgrade() {
        let options = &shared.options;
        let begun = Instant::now();
        shared.state().asks();
        let answer = match timeout(options.probe_deadline, shared.node.list_containers(&nobody)).await {
            Ok(Err(error)) if is_silence(error.kind()) => Err(error.message().to_owned()),
            // Any other error is an answer.
            Ok(_) => Ok(()),
            Err(_) => Err(format!("no answer within {} s", options.probe_deadline.as_secs_f64())),
        };
        let node = shared.node.name();
        let refused = begun.elapsed() < options.patience;
        let after = shared.state().probed(answer, refused, options.failures);
        shared.probed.send_modify(|count| *count = count.wrapping_add(1));
        match after {
            After::Closed(since) => return tracing::info!(node, %since, "answers again"),
            After::Trusted => return,
            After::Opened(why) => tracing::warn!(node, why, "does not answer; calls are refused until it does"),
            After::Unchanged => {}
        }
        let longest = if refused { options.longest_pause_refused } else { options.longest_pause };
        let next = pause.map_or(options.pause, |pause: Duration| pause.saturating_mul(2)).min(longest);
        pause = Some(next);
        let now = Arc::clone(&shared.now);
        // Not held meanwhile: with the breaker all this ends.
        drop(shared);
        sleep(SPACING).await;
        let _ = timeout(next.saturating_sub(SPACING), now.notified()).await;
    }
}

/// Whether an error says that the node did not answer.
fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

/// Whether such an error is an answer of the engine for certain: the others may have been made on this side.
fn is_answer(kind: ErrorKind) -> bool {
    use ErrorKind::{AlreadyExists, Conflict, NotFound, PermissionDenied, Unauthenticated};
    matches!(kind, NotFound | AlreadyExists | Conflict | Unauthenticated | PermissionDenied)
}

/// Whether the engine itself must have been asked for this to be answered. Numbers come from the kernel, jobs and their output
/// from our own keeper; and a ping is answered by engines that answer nothing else.
fn asks_engine(operation: &Operation) -> bool {
    let local = [
        &operation::NODE_PING,
        &operation::NODE_EVENTS,
        &operation::NODE_RUN,
        &operation::NODE_JOBS,
        &operation::NODE_JOB,
        &operation::NODE_CHECK_CONTAINER,
        &operation::NODE_COPY_WAYS,
        &operation::CONTAINER_STATS,
        &operation::CONTAINER_PROCESSES,
        &operation::CONTAINER_JOBS,
    ];
    !is_other(operation) && !local.iter().any(|other| other.name == operation.name)
}

/// Whether it is about something else than the engine: numbers of the kernel, or one command's job.
fn is_other(operation: &Operation) -> bool {
    matches!(operation.noun, "Metrics" | "Job")
}

/// A call that waits. Dropped with the call when its caller gives it up.
struct Waiting<'a> {
    breaker: &'a Breaker,
    begun: Instant,
    /// Whether silence says anything: of a wait with its caller's deadline, or of what takes long, it does not.
    tells: bool,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        if self.tells && !self.answered && waited >= self.breaker.shared.options.patience {
            self.breaker.failed(&format!("a call was given up after {:.1} s", waited.as_secs_f64()), false);
        }
    }
}

impl Around for Breaker {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        self.pass().await?;
        let operation = call.operation;
        let tells = operation.pace == Pace::Quick && !is_other(operation);
        let mut waiting = Waiting { breaker: self, begun: Instant::now(), tells, answered: false };
        let result = first(&mut attempt).await;
        waiting.answered = true;
        // What takes longer than it was granted may still be done; what cannot be reached is told at any pace.
        let silent = |kind| is_silence(kind) && (tells || kind == ErrorKind::Unavailable && !is_other(operation));
        match &result {
            Err(error) if silent(error.kind()) => self.failed(error.message(), call.resource.is_empty()),
            Err(error) if !is_answer(error.kind()) => {}
            _ if asks_engine(operation) => self.shared.state().answered(),
            _ => {}
        }
        result
    }

    fn stream<T: Send + 'static>(&self, _: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        stream
    }
}
