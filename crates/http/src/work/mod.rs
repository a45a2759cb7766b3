//! Long work of the server itself as durable jobs: what is to be done, how far it is and what came of it is in the store before
//! anybody is told. Any server that shares the store tells of a job; one of them works at it, under a claim, and when that one is gone
//! another goes on: with what had not begun, and never again with what had.

mod act;
mod book;
mod drain;
mod ledger;
mod pull;
mod record;
mod stored;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Data;
use futures_util::StreamExt;
use roadstead_core::migration::MovePlan;
use roadstead_core::store::{Claim, TableChange};
use roadstead_core::{Error, ErrorKind, JobState, NodeError, Result, Signal, Timestamp};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

pub(crate) use self::book::Book;
use self::book::Stream;
pub(crate) use self::drain::start as start_drain;
use self::ledger::Ledger;
use self::record::short;
pub(crate) use self::record::{Act, Asked, Counts, JobItem, JobRecord, Pull, Task};
pub(crate) use self::stored::StoredJob;
use crate::actions::line;
use crate::audit::{Deed, End as AuditEnd, Outcome};
use crate::nodes::{Identities, Meaning};
use crate::problem::Problem;
use crate::state::App;
use crate::wish::Wish;

/// Jobs that one server works at, at once.
const ACTIVE_MAX: usize = 1000;
/// Between two looks at jobs that nobody seems to work at, while there are some that have not ended.
const LOOK: Duration = Duration::from_secs(1);
/// How long a job is left to other servers after an attempt has failed.
const LEFT: Duration = Duration::from_secs(5);
/// Between two attempts to follow the store.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at which jobs have been kept for long enough.
const SWEEP: Duration = Duration::from_secs(60);
/// A job that is not kept as a whole after so long never will be.
const DRAFT: Duration = Duration::from_secs(600);
/// Jobs that have ended and are kept, at most.
const KEPT_MAX: usize = 10_000;
/// For what is to be written down when the server ends.
const LAST: Duration = Duration::from_secs(2);
/// Below which the claims are.
const CLAIMS: &str = "jobs/";

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every job of the server.
#[derive(Debug)]
pub(crate) struct Works {
    book: Book,
    /// Those that are worked at here.
    active: Arc<Mutex<BTreeSet<String>>>,
}

/// Taken out of the active ones however the work ends.
struct Place {
    id: String,
    active: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.active).remove(&self.id);
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
struct End {
    state: JobState,
    exit_code: Option<i32>,
}

impl End {
    fn with(exit_code: i32) -> Self {
        let state = if exit_code == 0 { JobState::Succeeded } else { JobState::Failed };
        End { state, exit_code: Some(exit_code) }
    }

    fn killed(signal: Signal) -> Self {
        End { state: JobState::Killed, exit_code: Some(128 + i32::from(signal.number())) }
    }

    const fn timed_out() -> Self {
        End { state: JobState::TimedOut, exit_code: None }
    }
}

/// What came of it that a job was taken up.
enum Attempt {
    /// It was worked at here, or another server does so.
    Made,
    /// It is not for this server.
    NotOurs,
}

/// What the work at a job has at hand.
struct Desk {
    app: Data<App>,
    book: Book,
    ledger: Ledger,
    claim: Claim,
    /// The signal by which it is to end.
    cancelled: watch::Receiver<Option<Signal>>,
    /// Which engines its nodes were where it was asked for.
    meant: Option<Identities>,
}

impl Desk {
    /// Says why it failed; gives the exit code for that.
    fn fail(&self, error: Error) -> i32 {
        let code = i32::from(error.kind().row().exit_code);
        self.ledger.set(|record| record.failure = Some(short(NodeError::new(record.task.node(), &error))));
        self.ledger.say(Stream::Stderr, &line(&Problem::from(error)));
        code
    }

    /// Ends a job that is over, by its time or since somebody called it off, and that nobody can work at here: its node of this name is
    /// that of another server.
    fn left(&self, node: &str) -> End {
        let words = format!("the job's node {node} is one of a server that does not work at it any more");
        self.fail(Error::new(ErrorKind::Unavailable, words).with_node(node));
        self.cancelled.borrow().map_or_else(End::timed_out, End::killed)
    }

    /// Of the request that asked for the job.
    fn request_id(&self) -> Option<String> {
        self.ledger.record().asked.request_id
    }

    /// Once it is to end. Never when nobody can say so any more.
    async fn signal(&self) -> Signal {
        let mut cancelled = self.cancelled.clone();
        match cancelled.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            _ => std::future::pending().await,
        }
    }

    /// Right before something is sent that must not be sent by two: nobody else can work at the job, and it is not to end.
    fn may_begin(&self) -> Result<()> {
        if !self.claim.holds() {
            return Err(Error::new(ErrorKind::Cancelled, "this server has lost the store"));
        }
        match *self.cancelled.borrow() {
            Some(_) => Err(Error::new(ErrorKind::Cancelled, "the job was called off before")),
            None => Ok(()),
        }
    }
}

impl Works {
    pub(crate) fn new(book: Book) -> Self {
        Works { book, active: Arc::default() }
    }

    /// Keeps a new job, and begins to work at it. It is in the store when this returns.
    ///
    /// # Errors
    /// `ResourceExhausted` when too many are worked at, and those of the store.
    pub(crate) async fn begin(app: &Data<App>, task: Task, asked: Asked) -> Result<StoredJob> {
        Works::begin_with(app, task, asked, &[], &[]).await
    }

    /// The same with the plans of its moves, one for each of its items.
    ///
    /// # Errors
    /// As for [`begin`](Self::begin).
    async fn begin_with(
        app: &Data<App>,
        task: Task,
        asked: Asked,
        plans: &[MovePlan],
        items: &[JobItem],
    ) -> Result<StoredJob> {
        let works = &app.works;
        let active = lock(&works.active).len();
        if active >= ACTIVE_MAX {
            let words = format!("{active} jobs are worked at already, which is the limit");
            return Err(Error::new(ErrorKind::ResourceExhausted, words));
        }
        let mut record = JobRecord::new(task, asked);
        let meant = match &record.task {
            Task::Pull(pull) => Works::reached(app, [pull.node.as_str()]).await?,
            Task::Act(act) => {
                let pool = app.pools.get(&act.pool).await?;
                match &pool.settings.own_of {
                    // The one that is asked for all of them.
                    Some(node) => Works::reached(app, [node.as_str()]).await?,
                    // Of those that this server does not reach it is told that they did not answer, whoever works at it.
                    None => app.nodes.of_these(pool.identities(&app.nodes), Meaning::Same),
                }
            }
            Task::Drain(_) => {
                let nodes = plans.iter().flat_map(|plan| [plan.source.as_str(), plan.target.as_str()]);
                Works::reached(app, nodes).await?
            }
        };
        if !items.is_empty() {
            record.nodes = vec![record.task.node().to_owned()];
        }
        for item in items {
            record.items.change(None, item.outcome);
        }
        works.book.create(&record, &meant, plans, items).await?;
        let id = record.id;
        Works::take_up(app, &id);
        Ok(StoredJob::new(works.book.clone(), id))
    }

    /// Which engines these nodes are, all of which this server reaches.
    async fn reached<'a>(app: &App, nodes: impl IntoIterator<Item = &'a str>) -> Result<Identities> {
        let meant = app.nodes.identities(nodes);
        if let Some(node) = app.nodes.first(&meant, Meaning::Other) {
            app.node(node).await?;
        }
        Ok(meant)
    }

    /// The job with this id.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn get(&self, id: &str) -> Result<StoredJob> {
        match self.book.get(id).await? {
            Some(_) => Ok(StoredJob::new(self.book.clone(), id.to_owned())),
            None => Err(Error::not_found("job", id)),
        }
    }

    /// Every job that is kept.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn all(&self) -> Result<Vec<JobRecord>> {
        Ok(self.book.all().await?.0)
    }

    /// Goes on with what has not ended and nobody works at, for as long as the server runs, and forgets what was kept for long enough.
    pub(crate) fn keep_going(app: &Data<App>) {
        let app = app.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = app.ending() => {}
                () = Works::stand_by(&app) => {}
                () = Works::sweep(&app) => {}
            }
        });
    }

    /// Never ends.
    async fn stand_by(app: &Data<App>) {
        loop {
            if let Err(error) = Works::follow(app).await {
                tracing::warn!(%error, "the jobs of the store are not followed");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until the store has forgotten what comes next.
    async fn follow(app: &Data<App>) -> Result<()> {
        let book = &app.works.book;
        let (records, revision) = book.all().await?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open: BTreeSet<_> =
            records.into_iter().filter(|record| !record.state.is_final()).map(|record| record.id).collect();
        let mut changes = book.heads().watch(revision).await?;
        loop {
            tokio::select! {
                change = changes.next() => match change.transpose()? {
                    None | Some(TableChange::Resync) => return Ok(()),
                    Some(TableChange::Put(id, Ok(kept))) if !kept.value.state.is_final() => {
                        open.insert(id);
                    }
                    Some(TableChange::Put(id, _) | TableChange::Deleted(id)) => {
                        open.remove(&id);
                    }
                    Some(_) => {}
                },
                // At once, too: what a former server left has nobody who works at it.
                _ = look.tick(), if !open.is_empty() => {
                    let ours = lock(&app.works.active).clone();
                    let others: Vec<_> = open.difference(&ours).cloned().collect();
                    if !others.is_empty() {
                        let claimed = app.fleet.claimed(CLAIMS).await?;
                        // A claim of our own that we do not work under: whether it was made, or given back, was not told.
                        let ours = |id: &String| claimed.get(id).is_none_or(|by| by == app.fleet.id());
                        for id in others.iter().filter(|id| ours(id)) {
                            Works::take_up(app, id);
                        }
                    }
                }
            }
        }
    }

    /// Works at it, unless somebody does so.
    fn take_up(app: &Data<App>, id: &str) {
        if !lock(&app.works.active).insert(id.to_owned()) {
            return;
        }
        let place = Place { id: id.to_owned(), active: Arc::clone(&app.works.active) };
        let app = app.clone();
        tokio::spawn(async move {
            match Works::attempt(&app, &place.id).await {
                Ok(Attempt::Made) => return,
                Ok(Attempt::NotOurs) => {}
                Err(error) => tracing::warn!(job = place.id, %error, "the job is left for now"),
            }
            // It may be so again.
            tokio::select! {
                () = tokio::time::sleep(LEFT) => {}
                () = app.ending() => {}
            }
        });
    }

    async fn attempt(app: &Data<App>, id: &str) -> Result<Attempt> {
        let book = &app.works.book;
        if let Some(record) = book.get(id).await?
            && let Some(meant) = book.meant(id).await?
            && let Some(node) = hindered(app, &record.task, &meant)
            && record.task.until().is_none_or(|until| until > Timestamp::now())
            && book.wish(id)?.made().await?.is_none()
        {
            tracing::debug!(job = id, node, "the job is that of a server whose node of this name is another one");
            return Ok(Attempt::NotOurs);
        }
        // Nobody else here works at it: see `take_up`.
        let claim = app.fleet.claim(&format!("{CLAIMS}{id}")).await?;
        let Some(claim) = claim else { return Ok(Attempt::Made) };
        let worked = Works::work(app, id, &claim).await;
        // Whatever came of it: nobody works at it any more.
        if let Err(error) = claim.release().await {
            tracing::warn!(%error, "a claim on a job is not given back; it is over with the session");
        }
        worked.map(|()| Attempt::Made)
    }

    async fn work(app: &Data<App>, id: &str, claim: &Claim) -> Result<()> {
        let book = app.works.book.clone();
        let Some(record) = book.get(id).await?.filter(|record| !record.state.is_final()) else { return Ok(()) };
        let task = record.task.clone();
        // Whoever asked has his answer long before it is over, and it may go on without anybody who asks.
        let command = task.command().join(" ");
        let filter = match &task {
            Task::Act(act) => serde_json::to_string(&act.filter).ok(),
            Task::Pull(_) | Task::Drain(_) => None,
        };
        let mut target = vec![("job", id), ("command", &command)];
        target.extend(filter.as_deref().map(|filter| ("filter", filter)));
        let deed = Deed::of_server("job.work", &target, record.asked.request_id.clone());
        let audited = app.audit.begin(deed).await?;
        let (ledger, writing) = Ledger::open(book.clone(), record, claim.clone()).await?;
        tokio::spawn(writing);
        let worked = Works::work_with(app, id, claim, &task, ledger).await;
        if let Err(error) = &worked
            && error.kind() == ErrorKind::InvalidInput
        {
            // The store takes no such entry, and would not the next time.
            tracing::error!(job = id, %error, "what was done cannot be written down; the job ends");
            book.abandon(id, error, claim).await?;
        }
        if let Some(outcome) = worked? {
            audited.end(AuditEnd::of(outcome));
        }
        Ok(())
    }

    /// How it ended, if it did.
    async fn work_with(
        app: &Data<App>,
        id: &str,
        claim: &Claim,
        task: &Task,
        ledger: Ledger,
    ) -> Result<Option<Outcome>> {
        let book = app.works.book.clone();
        let server = app.fleet.id().to_owned();
        ledger.set(|record| {
            record.state = JobState::Running;
            record.attempts = record.attempts.saturating_add(1);
            record.server = Some(server);
        });
        ledger.flush().await?;
        let wish = book.wish(id)?;
        let (cancel, cancelled) = watch::channel(wish.made().await?);
        let meant = book.meant(id).await?;
        let desk = Desk { app: app.clone(), book, ledger, claim: claim.clone(), cancelled, meant };
        let end = tokio::select! {
            end = async {
                if let Some(meant) = &desk.meant {
                    if let Some(node) = app.nodes.not_known_yet(meant).await? {
                        let words = format!("the node {node} is in the store, and not known here yet");
                        return Err(Error::new(ErrorKind::Unavailable, words));
                    }
                    if let Some(node) = hindered(app, task, meant) {
                        return Ok(desk.left(node));
                    }
                    if !matches!(task, Task::Act(_))
                        && let Some(node) = app.nodes.first(meant, Meaning::Gone)
                    {
                        return Ok(End::with(desk.fail(Error::not_found("node", node))));
                    }
                }
                match task {
                    Task::Pull(pull) => pull::run(&desk, pull).await,
                    Task::Act(act) => act::run(&desk, act).await,
                    Task::Drain(drain) => drain::run(&desk, drain).await,
                }
            } => end?,
            () = pass_on(&wish, &cancel) => return Ok(None),
            () = claim.lost() => return Err(Error::new(ErrorKind::Unavailable, "this server has lost the store")),
            // The next server goes on with it, and the more it knows the better.
            () = app.ending() => {
                return tokio::time::timeout(LAST, desk.ledger.flush()).await.unwrap_or(Ok(())).map(|()| None);
            }
        };
        desk.ledger.end(&end)?;
        desk.ledger.flush().await?;
        let counts = desk.ledger.record().items;
        Ok(Some(match end.state {
            JobState::Succeeded => Outcome::Succeeded,
            _ if counts.done == 0 && counts.unknown == 0 => Outcome::Failed,
            // In part.
            _ => Outcome::Unknown,
        }))
    }

    /// Never ends.
    async fn sweep(app: &Data<App>) {
        loop {
            if let Err(error) = Works::forget(app).await {
                tracing::warn!(%error, "jobs that have ended are not forgotten yet");
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    async fn forget(app: &Data<App>) -> Result<()> {
        let keep = Duration::from_secs(app.config.keep_jobs_seconds.into());
        let now = Timestamp::now();
        let (records, _) = app.works.book.all().await?;
        let mut ended: Vec<_> = records.into_iter().filter_map(|record| Some((record.ended_at?, record.id))).collect();
        ended.sort();
        let surplus = ended.len().saturating_sub(KEPT_MAX);
        for (index, (ended_at, id)) in ended.into_iter().enumerate() {
            if index < surplus || now.since(ended_at) > keep {
                app.works.book.remove(&id).await?;
            }
        }
        let draft = i128::try_from(DRAFT.as_nanos()).unwrap_or_default();
        match Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(draft)) {
            Some(before) => app.works.book.forget_drafts(before).await,
            None => Ok(()),
        }
    }
}

/// The node for which this server cannot work at a job, if there is one. Of a verb over many each server does what it can, if anything.
fn hindered<'a>(app: &App, task: &Task, meant: &'a Identities) -> Option<&'a str> {
    let other = app.nodes.first(meant, Meaning::Other)?;
    let can = matches!(task, Task::Act(_)) && app.nodes.first(meant, Meaning::Same).is_some();
    (!can).then_some(other)
}

/// Passes the wish on that the job ends. Never ends.
async fn pass_on(wish: &Wish<Signal>, cancel: &watch::Sender<Option<Signal>>) {
    cancel.send_replace(Some(wish.comes().await));
    std::future::pending::<()>().await;
}
