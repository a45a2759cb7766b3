//! Looking after main processes: nodes tell of no end whose output is held open still, so it is looked for.
//!
//! All ask for the same two lists of the node, once every few seconds, however many containers there are. Once a main process
//! has ended, all else in its container is ended; what is said to run and is not there is written down as lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::commands::Commands;
use super::commands::process::Process;
use super::ended;
use super::found;
use super::outliving::{RESULT, Seen, first, see};
use super::processes;
use super::record;
use super::settle::{self, Fate};
use super::shared::Core0;

/// How often it is looked whether main processes live.
const LOOK: Duration = Duration::from_secs(3);

/// The main processes that are looked after, by the marks of their containers, with the run; and what the
/// node listed last, which all of them ask for.
#[derive(Debug)]
pub(super) struct Watched {
    runs: Mutex<BTreeMap<String, u64>>,
    changes: watch::Sender<()>,
    processes: Shared<Vec<Process>>,
    /// The first processes of the containers.
    containers: Shared<BTreeMap<u64, u32>>,
}

impl Default for Watched {
    fn default() -> Self {
        Watched {
            runs: Mutex::default(),
            changes: watch::Sender::new(()),
            processes: Shared::default(),
            containers: Shared::default(),
        }
    }
}

/// What all who look ask for: asked once for all of them within a look.
#[derive(Debug)]
struct Shared<T>(tokio::sync::Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(tokio::sync::Mutex::default())
    }
}

impl<T> Shared<T> {
    async fn get(&self, ask: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().await;
        if let Some((at, answer)) = &*kept
            && at.elapsed() < LOOK
        {
            return Ok(Arc::clone(answer));
        }
        let at = Instant::now();
        let answer = Arc::new(ask.await?);
        *kept = Some((at, Arc::clone(&answer)));
        Ok(answer)
    }
}

impl Watched {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when it is looked after already.
    fn begin(&self, mark: &str, run: u64) -> bool {
        let before = self.runs().insert(mark.to_owned(), run);
        if before.is_some_and(|before| before != run) {
            self.changes.send_replace(());
        }
        before != Some(run)
    }

    /// Whether it is looked after, and so has not ended for all that is known.
    pub(super) fn has(&self, mark: &str, run: u64) -> bool {
        self.runs().get(mark) == Some(&run)
    }

    fn end(&self, mark: &str, run: u64) {
        let mut runs = self.runs();
        if runs.get(mark) == Some(&run) {
            runs.remove(mark);
        }
        drop(runs);
        self.changes.send_replace(());
    }

    pub(super) fn forget(&self, mark: &str) {
        self.runs().remove(mark);
        self.changes.send_replace(());
    }

    /// Waits until this run is not looked after any more; at once when it is not.
    pub(super) async fn over(&self, mark: &str, run: u64) {
        let mut changes = self.changes.subscribe();
        while self.has(mark, run) {
            // It cannot end before what is borrowed here.
            let _ = changes.changed().await;
        }
    }

    async fn processes(&self, host: &Commands) -> Result<Arc<Vec<Process>>> {
        self.processes.get(async { host.processes().list().await }).await
    }

    async fn containers(&self, core0: &Core0) -> Result<Arc<BTreeMap<u64, u32>>> {
        let list = async {
            let all = core0.host.containers().list().await?;
            Ok(all.into_iter().map(|container| (container.id, container.pid)).collect())
        };
        self.containers.get(list).await
    }
}

/// Looks after a main process: once it has ended, all else in its container is ended. Nodes tell of nothing, so they are asked,
/// once every few seconds for all containers together.
pub(super) fn watch(core0: &Arc<Core0>, mark: &str, container: u64, run: u64) {
    if !core0.watched.begin(mark, run) {
        return;
    }
    let (weak, mark) = (Arc::downgrade(core0), mark.to_owned());
    tokio::spawn(async move {
        let watched = Watch { core0: weak, mark, container, run };
        if let Err(error) = watched.to_the_end().await {
            tracing::debug!(container, %error, "a main process is not looked after any more");
        }
        if let Some(core0) = watched.core0.upgrade() {
            core0.watched.end(&watched.mark, run);
        }
    });
}

struct Watch {
    /// The node itself is not held: a program that lets go of it ends this.
    core0: Weak<Core0>,
    mark: String,
    container: u64,
    run: u64,
}

/// A main process as it is seen in its container, and as the node sees it once that is known.
struct Main {
    inner: Seen,
    outer: Option<Seen>,
}

impl Watch {
    async fn to_the_end(&self) -> Result<()> {
        let mut main: Option<Main> = None;
        loop {
            sleep(LOOK).await;
            let Some(core0) = self.core0.upgrade() else { return Ok(()) };
            if !core0.watched.has(&self.mark, self.run) {
                return Ok(());
            }
            match self.look(&core0, &mut main).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The container is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                // A connection that is broken comes back; a Redis that is full, or wants another token, may answer again.
                Err(error) => {
                    tracing::debug!(container = self.container, %error, "a main process cannot be looked after now");
                }
            }
        }
    }

    /// False when there is nothing to look after any more.
    async fn look(&self, core0: &Arc<Core0>, main: &mut Option<Main>) -> Result<bool> {
        if let Some(outer) = main.as_ref().and_then(|main| main.outer.as_ref()) {
            let listed = core0.watched.processes(core0.host.commands()).await?;
            if listed.iter().any(|process| outer.is(process, first(&listed))) {
                return Ok(true);
            }
        }
        let inside = core0.inside(self.container);
        let Some(job) = settle::listed(&inside, &settle::job_id(&self.mark, self.run)).await? else {
            return self.gone(core0).await;
        };
        let Some(pid) = job.pid else { return Ok(true) };
        let before = main.take().map(|main| main.inner);
        let Some(inner) = see(&inside, pid, before.as_ref()).await? else { return self.ended(core0).await };
        // A container that is newer than the list is in the next one, and so is its main process.
        let outer = match core0.watched.containers(core0).await?.get(&self.container) {
            Some(container) => {
                let all = core0.watched.processes(core0.host.commands()).await?;
                let outer = processes::outer_of(core0, &all, *container, pid).await?;
                outer.map(|process| Seen::of(&process, &all))
            }
            None => None,
        };
        *main = Some(Main { inner, outer });
        Ok(true)
    }

    /// The container does not have the job. Its result tells the rest; where there is none the run is lost, though a flag of an
    /// older day may say that it goes on.
    async fn gone(&self, core0: &Arc<Core0>) -> Result<bool> {
        let job = settle::job_id(&self.mark, self.run);
        let fate = settle::fate(core0, self.container, &job).await?;
        let _one_at_a_time = core0.lock(&self.mark).await;
        let record = record::read(&core0.client.links, &[&self.mark]).await?.pop().unwrap_or_default();
        let Some(run) = record.run.as_ref().filter(|run| run.number == self.run && record.end().is_none()) else {
            return Ok(false);
        };
        let end = match fate {
            // It may not be there yet.
            _ if found::starts(run) => return Ok(true),
            Fate::Runs => return Ok(true),
            Fate::Ended(outcome) => ended::of(self.run, &outcome, record.signal()),
            Fate::Lost => ended::unknown(self.run),
        };
        settle::finish(core0, &self.mark, self.container, &end).await?;
        Ok(false)
    }

    /// The main process is gone: what is left in the container ends, unless the run has ended or the next one has begun.
    async fn ended(&self, core0: &Arc<Core0>) -> Result<bool> {
        sleep(RESULT).await;
        let _one_at_a_time = core0.lock(&self.mark).await;
        let record = record::read(&core0.client.links, &[&self.mark]).await?.pop().unwrap_or_default();
        let present = record.run.as_ref().is_some_and(|run| run.number == self.run) && record.end().is_none();
        let job = settle::job_id(&self.mark, self.run);
        if present && settle::listed(&core0.inside(self.container), &job).await?.is_some() {
            settle::clear(core0, self.container).await?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_run_is_over_when_it_is_not_looked_after() {
        let watched = Watched::default();
        watched.over("one", 1).await;
        assert!(watched.begin("one", 1) && !watched.begin("one", 1) && watched.begin("two", 1));
        let mut over = std::pin::pin!(watched.over("one", 1));
        assert!(over.as_mut().now_or_never().is_none());
        watched.end("two", 1);
        watched.end("one", 2);
        assert!(over.as_mut().now_or_never().is_none(), "others have ended");
        watched.end("one", 1);
        over.as_mut().await;
        let replaced = |watched: &Watched| assert!(watched.begin("one", 8));
        for ends in [|watched: &Watched| watched.forget("one"), replaced] {
            watched.begin("one", 7);
            let mut over = std::pin::pin!(watched.over("one", 7));
            assert!(over.as_mut().now_or_never().is_none());
            ends(&watched);
            over.await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_ask_once_within_a_look() {
        let shared = Shared::default();
        let asked = Mutex::new(0);
        let ask = || {
            shared.get(async {
                sleep(Duration::from_millis(10)).await;
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                Ok(*asked)
            })
        };
        for told in futures_util::future::join_all((0..100).map(|_| ask())).await {
            assert_eq!(*told.unwrap(), 1);
        }
        tokio::time::advance(LOOK).await;
        assert_eq!(*ask().await.unwrap(), 2);
    }
}
