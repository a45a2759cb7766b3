//! The connections to one node's Redis: one for what is answered at once, and a few for what is waited for.
//!
//! The proxy in front of a real node serves all its clients over 20 connections, and each wait occupies one. So however many
//! calls and jobs go on, there are never more than ten of ours.
//!
//! A command that is sent on a connection that is dead is in doubt for no reason. So none is sent on one that the other side
//! has closed; and one that nobody used for a while, which may have died without a word, is asked for a sign of life first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline};
use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::failure;

/// How many connections wait for results at most. Besides these there are the one that is shared, and the one that reads
/// output.
const WAITING: usize = 8;
/// What is answered at once is answered within this.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection that was used within this is taken to be there.
const FRESH: Duration = Duration::from_secs(1);
/// A sign of life comes within this, or another connection is made.
const LIFE: Duration = Duration::from_secs(5);

/// The connections to one node.
#[derive(Debug)]
pub(super) struct Links {
    address: Address,
    shared: tokio::sync::Mutex<Option<Shared>>,
    /// With when they were used last.
    idle: Mutex<Vec<(Instant, Connection)>>,
    permits: Semaphore,
    opened: std::sync::atomic::AtomicU64,
}

/// The connection that callers share.
#[derive(Clone, Debug)]
struct Shared {
    /// So that only the one that broke is forgotten.
    number: u64,
    connection: Connection,
    /// When something was answered on it last.
    used: Arc<Mutex<Instant>>,
}

impl Shared {
    fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn use_now(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A connection, which does not show what it is.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    /// Over when the other side has closed it.
    reader: AbortHandle,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Sends all of `pipeline` at once and gives the answers, within `deadline`.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, pipeline: &Pipeline, deadline: Duration) -> Result<T> {
        match timeout(deadline, pipeline.query_async(&mut self.redis)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failure::of(&error).with_source(error)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the node's Redis did not answer within {} s", deadline.as_secs_f64()),
            )),
        }
    }
}

/// Whether a connection that was used at that time is there still, as far as can be known.
async fn lives(connection: &mut Connection, used: Instant) -> bool {
    if connection.reader.is_finished() {
        return false;
    }
    if used.elapsed() < FRESH {
        return true;
    }
    let mut pipeline = Pipeline::new();
    pipeline.cmd("PING").ignore();
    match connection.ask::<()>(&pipeline, LIFE).await {
        Err(error) if is_broken(&error) => false,
        // What it says to that is no matter.
        _ => true,
    }
}

/// Whether a connection is of no use any more after this.
pub(super) fn is_broken(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

impl Links {
    pub(super) fn new(address: Address) -> Self {
        Links {
            address,
            shared: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            permits: Semaphore::new(WAITING),
            opened: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// A connection of its own.
    pub(super) async fn open(&self) -> Result<Connection> {
        self.address.open().await.map(|(redis, reader)| Connection { redis, reader })
    }

    /// The connection that is shared, which is known to be there if it is to be `alive`.
    async fn shared(&self, alive: bool) -> Result<Shared> {
        let mut shared = self.shared.lock().await;
        if let Some(found) = &mut *shared {
            let used = found.used();
            let fresh = !alive || used.elapsed() < FRESH;
            if fresh && !found.connection.reader.is_finished() {
                return Ok(found.clone());
            }
            if lives(&mut found.connection, used).await {
                found.use_now();
                return Ok(found.clone());
            }
            self.forget_idle();
        }
        *shared = None;
        let number = self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let opened = Shared { number, connection: self.open().await?, used: Arc::new(Mutex::new(Instant::now())) };
        *shared = Some(opened.clone());
        Ok(opened)
    }

    async fn forget(&self, number: u64) {
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_some_and(|found| found.number == number) {
            *shared = None;
        }
        self.forget_idle();
    }

    /// Where one connection broke, those that nobody used meanwhile have, too; a command that is sent on one of them is in doubt
    /// for no reason.
    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks what is answered at once. Callers share one connection, and their questions travel together.
    ///
    /// An error that is `Safe` to retry comes from a connection that was never made.
    pub(super) async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        self.ask_on(self.shared(true).await?, pipeline).await
    }

    async fn ask_on<T: FromRedisValue>(&self, mut shared: Shared, pipeline: &Pipeline) -> Result<T> {
        let answer = shared.connection.ask(pipeline, ANSWER).await;
        match &answer {
            Err(error) if is_broken(error) => self.forget(shared.number).await,
            _ => shared.use_now(),
        }
        answer.map_err(unknown)
    }

    /// The same for what only reads, and for what may be done twice: asked once more on a new connection where one broke.
    pub(super) async fn read<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        match self.ask_on(self.shared(false).await?, pipeline).await {
            Err(error) if is_broken(&error) => self.ask(pipeline).await.map_err(|error| error.with_retry(Retry::Safe)),
            answer => answer,
        }
    }

    /// A connection to wait on, if one becomes free within `patience`.
    pub(super) async fn lease(&self, patience: Duration) -> Result<Option<Lease<'_>>> {
        let Ok(permit) = timeout(patience, self.permits.acquire()).await else { return Ok(None) };
        let Ok(permit) = permit else { return Ok(None) };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut living = None;
        if let Some((used, mut connection)) = idle {
            if lives(&mut connection, used).await {
                living = Some(connection);
            } else {
                self.forget_idle();
            }
        }
        let connection = match living {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(Some(Lease { links: self, connection: Some(connection), _permit: permit }))
    }

    pub(super) fn is_local(&self) -> bool {
        self.address.is_local()
    }
}

/// A write on a connection that broke may have come through.
fn unknown(error: Error) -> Error {
    if is_broken(&error) && error.retry() != Retry::Safe { error.with_retry(Retry::Unknown) } else { error }
}

/// A connection that one caller waits on. It is given back after a whole answer; after anything else it is closed, since
/// an answer that nobody waits for is still to come on it.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    links: &'a Links,
    connection: Option<Connection>,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Sends all of `pipeline`, whose last command waits up to `blocks`.
    pub(super) async fn ask<T: FromRedisValue>(mut self, pipeline: &Pipeline, blocks: Duration) -> Result<T> {
        let Some(mut connection) = self.connection.take() else {
            return Err(Error::new(ErrorKind::Unexpected, "the connection is in use"));
        };
        let begun = Instant::now();
        let answer = connection.ask(pipeline, blocks + ANSWER).await;
        tracing::trace!(took = ?begun.elapsed(), "waited");
        if matches!(&answer, Err(error) if is_broken(error)) {
            self.links.forget_idle();
        } else {
            self.links.idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), connection));
        }
        answer.map_err(unknown)
    }
}
