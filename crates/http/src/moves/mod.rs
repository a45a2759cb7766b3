//! Moves of containers as work of the server: each is a job whose output tells how far it is, and a record in the store, from
//! which the next server goes on.

mod claimed;
mod going_on;
mod job;
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Data;
use roadstead_core::migration::{self, Canceller, MoveLog, MovePlan, MoveRecord, MoveSpec, MoveState, Mover, Step};
use roadstead_core::{Error, ErrorKind, Job, Node, Result, Retry, Timestamp};

use crate::audit::{Deed, End, Outcome};
use crate::nodes::{Meaning, NodeIdentity, away};
use crate::state::App;
use claimed::{Claimed, Place};
use going_on::Attempts;
use job::{Driven, Reporter};
use log::KeptMove;

pub(crate) use log::StoreLog;

/// Between two looks at what another server works at.
const LOOK: Duration = Duration::from_millis(500);

/// Which way a move is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Back,
}

/// A move that somebody works at.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    /// Its newest record.
    record: Arc<Mutex<MoveRecord>>,
    canceller: Canceller,
    pub(crate) job: Arc<dyn Job>,
}

/// How far what was asked for is.
pub(crate) enum Underway {
    /// It is over.
    Over,
    /// This job works at it.
    Here(Arc<dyn Job>),
    /// Another server works at it.
    Elsewhere,
}

/// Every move of the server.
#[derive(Debug)]
pub(crate) struct Moves {
    log: StoreLog,
    active: Arc<Mutex<BTreeMap<String, Active>>>,
    /// Those that are worked at here, or are just being taken up or given back.
    taken: Arc<Mutex<BTreeSet<String>>>,
    /// Those that are looked after until they are over.
    looked_after: Mutex<BTreeSet<String>>,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_done(record: &MoveRecord, step: Step) -> bool {
    record.steps.iter().any(|known| known.step == step && known.finished_at.is_some())
}

impl Moves {
    pub(crate) fn new(log: StoreLog) -> Self {
        Moves { log, active: Arc::default(), taken: Arc::default(), looked_after: Mutex::default() }
    }

    /// What will be done.
    ///
    /// # Errors
    /// As [`migration::plan`], and what keeps a node from answering.
    pub(crate) async fn plan(&self, app: &App, source: &str, target: &str, spec: &MoveSpec) -> Result<MovePlan> {
        spec.validate()?;
        // Both are looked up first, so that a misspelt name is told before a node that is away.
        let (from, to) = (app.nodes.get(source)?, app.nodes.get(target)?);
        let (from, to) = (from.node(app.deadline()).await?, to.node(app.deadline()).await?);
        migration::plan(&from, &to, spec).await
    }

    /// Every move, oldest first, and whether it is being worked at.
    pub(crate) async fn list(&self) -> Result<Vec<(MoveRecord, Option<Active>)>> {
        let kept = self.log.list().await?;
        Ok(kept.into_iter().map(|record| self.newest(record)).collect())
    }

    /// The move with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn get(&self, id: &str) -> Result<(MoveRecord, Option<Active>)> {
        let kept = self.log.load(id).await?;
        kept.map(|record| self.newest(record)).ok_or_else(|| Error::not_found("migration", id))
    }

    /// Whether a move with this id was written down.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn is_kept(&self, id: &str) -> Result<bool> {
        Ok(self.log.load(id).await?.is_some())
    }

    fn newest(&self, record: MoveRecord) -> (MoveRecord, Option<Active>) {
        match lock(&self.active).get(record.id()).cloned() {
            None => (record, None),
            Some(active) => {
                let newest = lock(&active.record).clone();
                (newest, Some(active))
            }
        }
    }

    /// Begins a planned move, because of a request. It is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Moves::drive`].
    pub(crate) async fn begin(
        &self,
        app: &Data<App>,
        plan: MovePlan,
        request_id: Option<String>,
    ) -> Result<Arc<dyn Job>> {
        let mut record = MoveRecord::new(plan);
        record.request_id = request_id;
        let meant = app.nodes.identities([record.plan.source.as_str(), record.plan.target.as_str()]);
        let app = app.clone();
        detached(async move {
            let id = record.id().to_owned();
            // Before it is written down: other servers look after what nobody has claimed.
            let mut claimed = app.moves.claim(&app, &id).await?;
            let log = app.moves.log.under(claimed.claim()?, meant.clone());
            if let Err(error) = log.save(&record).await {
                if error.retry() == Retry::Unknown {
                    // It may be there, and then it is made.
                    Self::look_after(&app, id, Attempts::AtOnce);
                }
                return Err(error);
            }
            let kept = KeptMove { record, meant, is_worked_at: true };
            let begun = app.moves.attempt(&app, kept, Direction::Forward, &mut claimed).await;
            match begun {
                Ok(_) => Self::look_after(&app, id, Attempts::AfterOutages),
                Err(_) => {
                    // Nobody was told that it would be made.
                    app.moves.log.remove(&id).await?;
                    claimed.release().await;
                }
            }
            begun
        })
        .await
    }

    /// The nodes of a move, and which way it goes. Of one that was interrupted one may be away, where the other has something
    /// left to do: a source that is put back, a copy that is started.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` when nothing can be done without the node that is away.
    async fn nodes(
        app: &App,
        record: &MoveRecord,
        direction: Direction,
    ) -> Result<(Arc<dyn Node>, Arc<dyn Node>, Direction)> {
        let (from, to) = (app.nodes.get(&record.plan.source)?, app.nodes.get(&record.plan.target)?);
        let committed = record.state == MoveState::Moving && is_done(record, Step::RetireSource);
        let interrupted = matches!(record.state, MoveState::Moving | MoveState::RollingBack);
        let down = interrupted && is_done(record, Step::Prepare) && !committed && !record.restored;
        let is_left = |step: Step| record.plan.steps.contains(&step) && !is_done(record, step);
        let left_on_target = is_left(Step::SettleTarget) || is_left(Step::StartTarget);
        match futures_util::join!(from.node(app.deadline()), to.node(app.deadline())) {
            (Ok(source), Err(why)) if down => Ok((source, away(to.name(), &why)?, Direction::Back)),
            (Err(why), Ok(target)) if committed && left_on_target => Ok((away(from.name(), &why)?, target, direction)),
            (source, target) => {
                let (source, target) = (source?, target?);
                if committed && !left_on_target && is_left(Step::DeleteSource) {
                    // The copy is not started again for a source of which only the connection is there.
                    source.ping().await?;
                }
                Ok((source, target, direction))
            }
        }
    }

    /// Works at a move as a job of the target's node, because of a request, and goes on with it as long as only a node that is away keeps it
    /// from its end.
    ///
    /// # Errors
    /// `Conflict` when it is being worked at, or a node of it is one of another server only, and as [`Moves::nodes`].
    pub(crate) async fn drive(
        &self,
        app: &Data<App>,
        id: &str,
        direction: Direction,
        request_id: Option<String>,
    ) -> Result<Arc<dyn Job>> {
        let (app, id) = (app.clone(), id.to_owned());
        detached(async move {
            let moves = &app.moves;
            let kept = moves.kept(&id).await?;
            if let Some(node) = app.nodes.first(&kept.meant, Meaning::Other) {
                return Err(is_of_another(&id, node));
            }
            let earlier = moves.log.wish(&id)?.made().await?.is_some();
            let mut claimed = moves.claim(&app, &id).await?;
            // As it is now that nobody else works at it.
            let mut kept = moves.kept(&id).await?;
            if earlier && direction == Direction::Forward {
                // It was wished before this.
                moves.log.wish(&id)?.forget().await?;
            }
            kept.record.request_id = request_id.or(kept.record.request_id);
            let job = moves.attempt(&app, kept, direction, &mut claimed).await;
            match job {
                Ok(_) => Self::look_after(&app, id, Attempts::AfterOutages),
                Err(_) => claimed.release().await,
            }
            job
        })
        .await
    }

    async fn kept(&self, id: &str) -> Result<KeptMove> {
        self.log.kept(id).await?.ok_or_else(|| Error::not_found("migration", id))
    }

    /// Lets nobody else work at a move, here or at another server.
    async fn claim(&self, app: &App, id: &str) -> Result<Claimed> {
        let worked_at = |by: &str| {
            Error::new(ErrorKind::Conflict, format!("the migration is being worked at{by}")).with_resource(id)
        };
        if !lock(&self.taken).insert(id.to_owned()) {
            return Err(worked_at(""));
        }
        let place = Place { id: id.to_owned(), active: Arc::clone(&self.active), taken: Arc::clone(&self.taken) };
        let claim = app.fleet.claim(&format!("moves/{id}")).await?;
        Ok(Claimed { claim: Some(claim.ok_or_else(|| worked_at(" by another server"))?), place: Some(place) })
    }

    /// Works at it under a claim, which is taken when the work has begun.
    async fn attempt(
        &self,
        app: &App,
        kept: KeptMove,
        direction: Direction,
        claimed: &mut Claimed,
    ) -> Result<Arc<dyn Job>> {
        let KeptMove { record, meant, .. } = kept;
        if let Some(node) = app.nodes.first(&meant, Meaning::Gone) {
            return Err(Error::not_found("node", node));
        }
        let (source, target, direction) = Self::nodes(app, &record, direction).await?;
        let to = app.nodes.get(&record.plan.target)?;
        let id = record.id().to_owned();
        let claim = claimed.claim()?;
        // Whoever asked has his answer long before it is over, and it may go on without anybody who asks.
        let begun = app.audit.begin(deed(&record, direction)).await?;
        let log = self.log.under(claim.clone(), meant);
        let wish = log.wish(&id)?;
        let wish_of_job = wish.clone();
        let resting = log.clone();
        let canceller = Canceller::default();
        let shared = Arc::new(Mutex::new(record.clone()));
        let (reporter, reports) = Reporter::new(Arc::clone(&shared));
        let mover = Mover::new(source, target, Arc::new(log.clone()))
            .observed_by(Arc::new(reporter))
            .cancelled_by(canceller.clone());
        let words = match direction {
            Direction::Forward => "container.move",
            Direction::Back => "container.move.rollback",
        };
        let command = [words, &record.plan.container, &record.plan.source, &record.plan.target];
        let spec = roadstead_core::JobSpec::new(command);
        let (job, feed) = {
            let mut active = lock(&self.active);
            let slot = to.keeper().admit(None, &spec)?;
            let works = Arc::new(AtomicBool::new(false));
            let worked = Arc::clone(&works);
            // In a box of its own: it is large, and would be copied from one stack to the next.
            let mut work = Box::pin(async move {
                // Others may have worked at it, called it off or forgotten it while its nodes were connected.
                let now = log.load(record.id()).await?;
                if now.is_none_or(|now| now.updated_at != record.updated_at || now.state != record.state) {
                    let words = "the migration has changed meanwhile: look at it again";
                    return Err(Error::new(ErrorKind::Conflict, words).with_resource(record.id().to_owned()));
                }
                works.store(true, Ordering::Relaxed);
                match direction {
                    Direction::Forward => mover.apply(record).await,
                    Direction::Back => mover.roll_back(record).await,
                }
            });
            let (called_off, of) = (canceller.clone(), id.clone());
            let work = async move {
                let done = tokio::select! {
                    done = &mut work => done,
                    () = wish.comes() => {
                        called_off.cancel();
                        work.await
                    }
                };
                // What came to its own end rests: whatever is left of it is for a person. Anything else is gone on with.
                let interrupted = done.as_ref().is_err_and(|error| {
                    matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::DeadlineExceeded | ErrorKind::Unavailable)
                });
                if worked.load(Ordering::Relaxed)
                    && !interrupted
                    && let Err(error) = resting.rest(&of).await
                {
                    tracing::debug!(migration = of, %error, "that nobody works at the move is not written down");
                }
                if done.as_ref().is_ok_and(|record| record.state.is_final())
                    && let Err(error) = wish.forget().await
                {
                    tracing::debug!(%error, "the wish that a migration is called off stays, which is over");
                }
                begun.end(match &done {
                    Ok(_) => End::of(Outcome::Succeeded),
                    Err(error) => End::failed(error.kind(), error.retry()),
                });
                done
            };
            let ending = app.ending();
            let driven = Driven {
                work: Box::pin(work),
                reports,
                ending: Box::pin(async move {
                    tokio::select! {
                        () = ending => "the server ends; the move goes on when it is started again",
                        () = claim.lost() => "this server has lost the store; the move goes on here or on another one",
                    }
                }),
                claimed: claimed.take(),
            };
            let (job, feed) = slot.started(job::call_off(canceller.clone(), wish_of_job), driven.progress());
            active.insert(id, Active { record: shared, canceller, job: Arc::clone(&job) });
            (job, feed)
        };
        tokio::spawn(feed);
        Ok(job)
    }

    /// Calls a move off: one that is worked at goes back by itself, any other is driven back.
    ///
    /// # Errors
    /// `Conflict` when the commit was made.
    pub(crate) async fn cancel(&self, app: &Data<App>, id: &str, request_id: Option<String>) -> Result<Underway> {
        let (app, id) = (app.clone(), id.to_owned());
        detached(async move { app.moves.call_off(&app, &id, request_id).await }).await
    }

    async fn call_off(&self, app: &Data<App>, id: &str, request_id: Option<String>) -> Result<Underway> {
        let (record, active) = self.get(id).await?;
        refuse_after_commit(&record)?;
        if let Some(active) = active {
            // Kept first: if this server dies now, the next one is to know it.
            self.log.wish(id)?.make(&()).await?;
            active.canceller.cancel();
            return Ok(Underway::Here(active.job));
        }
        let mut claimed = match self.claim(app, id).await {
            Ok(claimed) => claimed,
            // Whoever works at it is told; and if he dies before, whoever takes it up.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.log.wish(id)?.make(&()).await?;
                Self::look_after(app, id.to_owned(), Attempts::AfterOutages);
                return Ok(Underway::Elsewhere);
            }
            Err(error) => return Err(error),
        };
        // As it is now that nobody else works at it.
        let mut kept = self.kept(id).await?;
        let record = &mut kept.record;
        let done = if let Err(error) = refuse_after_commit(record) {
            Err(error)
        } else if record.state == MoveState::RolledBack {
            Ok(Underway::Over)
        } else if !is_done(record, Step::Prepare) && record.state != MoveState::Lost {
            // It has changed nothing yet.
            record.state = MoveState::RolledBack;
            record.updated_at = Timestamp::now();
            let log = self.log.under(claimed.claim()?, kept.meant.clone()).done();
            log.save(&kept.record).await.map(|()| Underway::Over)
        } else if let Some(node) = app.nodes.first(&kept.meant, Meaning::Other) {
            Err(is_of_another(id, node))
        } else {
            // What is lost may be there again.
            kept.record.request_id = request_id.or(kept.record.request_id);
            let driven = self.attempt(app, kept, Direction::Back, &mut claimed).await;
            driven.map(|job| {
                Self::look_after(app, id.to_owned(), Attempts::AfterOutages);
                Underway::Here(job)
            })
        };
        claimed.release().await;
        done
    }

    /// Whether a move that another server works at is over within this time.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn is_over_within(&self, app: &App, id: &str, wait: Duration) -> Result<bool> {
        let over = async {
            while !self.kept(id).await?.record.state.is_final() {
                tokio::time::sleep(LOOK).await;
            }
            Ok(true)
        };
        tokio::select! {
            over = tokio::time::timeout(wait, over) => over.unwrap_or(Ok(false)),
            () = app.ending() => Ok(false),
        }
    }

    /// Forgets a move that is over, or one of whose nodes is no node of the server any more, so that nothing can end it.
    ///
    /// # Errors
    /// `Conflict` when it is not over.
    pub(crate) async fn forget(&self, app: &App, id: &str) -> Result<()> {
        let KeptMove { record, meant, .. } = self.kept(id).await?;
        let is_taken = lock(&self.taken).contains(id);
        // Nobody can end it any more: a node of it is gone, or its server is.
        let is_gone = app.nodes.first(&meant, Meaning::Gone).is_some();
        let missing = [&record.plan.source, &record.plan.target].into_iter().any(|node| app.nodes.get(node).is_err());
        let stranded = match app.nodes.first(&meant, Meaning::Other) {
            None => is_gone || missing,
            Some(other) => {
                let server = meant.get(other).and_then(NodeIdentity::server);
                let servers = app.fleet.servers().await?;
                server.is_some_and(|server| !servers.iter().any(|alive| alive.state_id == server))
            }
        };
        if is_taken || !(record.state.is_final() || stranded) {
            return Err(Error::new(ErrorKind::Conflict, "the migration is not over: finish it or call it off")
                .with_resource(id.to_owned()));
        }
        self.log.remove(id).await
    }
}

fn is_of_another(id: &str, node: &str) -> Error {
    let words =
        format!("node {node} of the migration is one of the server where it was begun: only there it can be worked at");
    Error::new(ErrorKind::Conflict, words).with_resource(id).with_node(node)
}

/// A move is called off as long as it is one.
fn refuse_after_commit(record: &MoveRecord) -> Result<()> {
    let committed = is_done(record, Step::RetireSource);
    if record.state == MoveState::Done || (committed && record.state == MoveState::Moving) {
        let words = "the container is on the target already: only finishing helps";
        return Err(Error::new(ErrorKind::Conflict, words).with_resource(record.id()));
    }
    Ok(())
}

/// Does it to the end though its caller leaves: what is begun is not left half way.
async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Unexpected, format!("it was not begun: {error}"))))
}

/// The work at a move, for the audit log.
fn deed(record: &MoveRecord, direction: Direction) -> Deed {
    let plan = &record.plan;
    let target = [
        ("migration", record.id()),
        ("container", &plan.container),
        ("source", &plan.source),
        ("target", &plan.target),
    ];
    let operation = match direction {
        Direction::Forward => "move.apply",
        Direction::Back => "move.roll_back",
    };
    Deed::of_server(operation, &target, record.request_id.clone())
}
