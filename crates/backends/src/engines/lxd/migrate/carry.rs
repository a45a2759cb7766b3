//! Doing a copy: the operations on both sides, their progress, and what is left when one of them fails or the caller
//! goes away.
//!
//! A copy runs in a task of its own, which whoever reads its progress keeps alive; when the reader goes, the copy is
//! given up. Measured on LXD 5.0 and Incus 6.0: the side that others connect to can be cancelled where it is the source
//! (pull, relay), and the target then takes its own half-made container away. A push can be cancelled on neither side;
//! it is waited for, and what it made is deleted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use roadstead_core::{CopyOptions, CopyProgress, CopyTransport, Error, ErrorKind, ItemStream, Result, Retry};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::operation::{self, Operation, OperationState};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::fit::MARK;
use super::original::{Original, Strange};
use super::progress::Progress;
use super::relay::{self, Relay};
use super::settle::settle_within;
use super::verify;

/// A copy of which nothing is heard for so long has stuck: servers tell every second how far they are, but are silent
/// while they unpack the image or change the owners of all files.
const SILENCE: Duration = Duration::from_secs(1800);
/// When one side has ended, the other knows within this.
const OTHER_SIDE: Duration = Duration::from_secs(60);
/// How long the end of a copy that was given up is waited for.
const UNDO: Duration = Duration::from_secs(120);
/// The same for one that cannot be cancelled, which ends when everything is copied.
const UNDO_PUSH: Duration = Duration::from_secs(6 * 3600);
/// So much progress waits for a slow reader.
const QUEUE: usize = 16;
/// How often the bytes that pass through our hands are told.
const TICK: Duration = Duration::from_secs(1);
/// What is told last of a copy that is complete.
const COPIED: &str = "copied";

/// Where one server shall connect to, and how it knows that it has the right one.
#[derive(Debug)]
pub(super) struct Meeting {
    /// `host:port`.
    pub(super) address: String,
    /// PEM.
    pub(super) certificate: String,
}

/// A copy to be made.
#[derive(Debug)]
pub(super) struct Order {
    target: Arc<Lxd>,
    source: Arc<Lxd>,
    options: CopyOptions,
    original: Original,
    body: Value,
    mark: String,
    /// For pull and push.
    pub(super) meeting: Option<Meeting>,
    /// For relay: what is taken out of the snapshots.
    pub(super) strange: Vec<Strange>,
    pub(super) live: bool,
}

impl Order {
    pub(super) fn new(
        target: &Arc<Lxd>,
        source: &Arc<Lxd>,
        options: &CopyOptions,
        original: Original,
        mut body: Value,
    ) -> Self {
        let mark = mark();
        if let Some(config) = body.get_mut("config").and_then(Value::as_object_mut) {
            config.insert(MARK.to_owned(), Value::from(mark.clone()));
        }
        Order {
            target: Arc::clone(target),
            source: Arc::clone(source),
            options: options.clone(),
            original,
            body,
            mark,
            meeting: None,
            strange: Vec::new(),
            live: false,
        }
    }
}

/// A word that no other copy has.
fn mark() -> String {
    use std::hash::BuildHasher;
    // The standard library's hasher is seeded at random, which is random enough for this.
    let random = || std::hash::RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{:016x}{:016x}", random(), random())
}

/// What goes on.
#[derive(Default)]
struct Running {
    source: Option<Side>,
    target: Option<Side>,
    relay: Option<Relay>,
}

/// An operation of one server, as last heard of.
struct Side {
    lxd: Arc<Lxd>,
    id: String,
    begun: Instant,
    last: OperationState,
    /// Whether nothing more will be heard of it.
    lost: bool,
    /// Locked by nobody: the lock only lets a reference to a side be held while something is waited for.
    changes: Mutex<BoxStream<'static, Result<OperationState>>>,
}

impl Side {
    fn new(lxd: &Arc<Lxd>, operation: Operation) -> Self {
        let (id, begun, last) = (operation.id().to_owned(), operation.begun(), operation.state().clone());
        let changes = stream::unfold(Some(operation), |operation| async {
            let mut operation = operation?;
            match operation.changed().await {
                Ok(state) => {
                    let state = state.clone();
                    let rest = (!state.is_final()).then_some(operation);
                    Some((Ok(state), rest))
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        // The end of one side is asked for again as long as the other goes on.
        Side { lxd: Arc::clone(lxd), id, begun, last, lost: false, changes: Mutex::new(changes.fuse().boxed()) }
    }

    /// The next news; never, when there will be none.
    async fn next(side: &mut Option<Side>) -> Result<()> {
        let Some(side) = side else { return std::future::pending().await };
        match side.changes.get_mut().unwrap_or_else(PoisonError::into_inner).next().await {
            Some(Ok(state)) => {
                side.last = state;
                Ok(())
            }
            Some(Err(error)) => {
                side.lost = true;
                Err(error)
            }
            None => std::future::pending().await,
        }
    }

    fn ended(side: Option<&Side>) -> bool {
        side.is_none_or(|side| side.last.is_final())
    }

    /// Waits for the end; nothing when it is not known.
    async fn end(side: &mut Option<Side>, deadline: Duration) {
        let wait = async {
            while side.as_ref().is_some_and(|side| !side.lost && !side.last.is_final()) {
                // An error is remembered.
                let _ = Side::next(side).await;
            }
        };
        let _ = timeout(deadline, wait).await;
    }

    fn result(side: Option<&Side>) -> Result<()> {
        side.map_or(Ok(()), |side| side.last.clone().into_result().map(|_| ()))
    }

    async fn cancel(&self) {
        if let Err(error) = operation::cancel(&self.lxd.client, &self.id, self.begun).await {
            tracing::debug!(node = self.lxd.name, operation = self.id, %error, "could not be cancelled");
        }
    }
}

/// Starts the copy.
pub(super) fn begin(order: Order) -> ItemStream<CopyProgress> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut running = Running::default();
        let result = carry(&order, &mut running, &sender).await;
        if let Err(error) = result {
            undo(&order, running).await;
            let named = error.with_operation("node.copy_container").with_node(&order.target.name);
            let _ = sender.send(Err(named.with_resource(&order.options.container))).await;
        }
    });
    told_to_the_end(receiver)
}

/// What is told, which must not end without a last word: the end of the stream says that the copy is complete.
fn told_to_the_end(receiver: mpsc::Receiver<Result<CopyProgress>>) -> ItemStream<CopyProgress> {
    let is_last = |told: &Result<CopyProgress>| told.as_ref().map_or(true, |progress| progress.status == COPIED);
    stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver = receiver?;
        let told = receiver.recv().await.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Unexpected, "the copy was given up without a word").with_retry(Retry::Unknown))
        });
        let rest = (!is_last(&told)).then_some(receiver);
        Some((told, rest))
    })
    .boxed()
}

async fn carry(order: &Order, running: &mut Running, sender: &mpsc::Sender<Result<CopyProgress>>) -> Result<()> {
    let told = CopyProgress::new(format!("copying by {}", order.options.transport.name()));
    if sender.send(Ok(told)).await.is_err() {
        return Err(given_up());
    }
    start(order, running).await?;
    let mut progress = Progress::default();
    let mut heard = Instant::now();
    let mut carried = 0;
    while !Side::ended(running.target.as_ref()) {
        let relayed = running.relay.as_ref().map(Relay::carried);
        let news = running.target.as_ref().and_then(|side| progress.news(&side.last.metadata, relayed));
        let news = news.or_else(|| {
            let side = running.source.as_ref().filter(|_| order.options.transport != CopyTransport::Pull)?;
            progress.news(&side.last.metadata, relayed)
        });
        if let Some(news) = news {
            // Who reads slowly misses some.
            let _ = sender.try_send(Ok(news));
        }
        if relayed.is_some_and(|bytes| bytes > carried) {
            carried = relayed.unwrap_or_default();
            heard = Instant::now();
        }
        let tick = if running.relay.is_some() { Instant::now() + TICK } else { heard + SILENCE };
        tokio::select! {
            () = sender.closed() => return Err(given_up()),
            result = Side::next(&mut running.target) => { result?; heard = Instant::now(); }
            result = Side::next(&mut running.source) => {
                result?;
                heard = Instant::now();
                if Side::result(running.source.as_ref()).is_err() {
                    Side::end(&mut running.target, OTHER_SIDE).await;
                    break;
                }
            }
            () = sleep_until(tick) => {}
        }
        if heard.elapsed() >= SILENCE {
            let words = format!("nothing was heard of the copy for {} s", SILENCE.as_secs());
            return Err(Error::new(ErrorKind::DeadlineExceeded, words));
        }
    }
    finish(order, running).await?;
    let mut done = CopyProgress::new(COPIED);
    done.current_bytes = progress.total(running.relay.as_ref().map(Relay::carried));
    let _ = sender.send(Ok(done)).await;
    Ok(())
}

/// Asks both servers to begin. This takes a moment only and is not given up half way, so that nothing begins unseen.
async fn start(order: &Order, running: &mut Running) -> Result<()> {
    let options = &order.options;
    let mut give = Map::new();
    give.insert("migration".to_owned(), true.into());
    let mut take = Map::new();
    take.insert("type".to_owned(), "migration".into());
    for side in [&mut give, &mut take] {
        side.insert("live".to_owned(), order.live.into());
        // The second is its old name.
        side.insert("instance_only".to_owned(), (!options.snapshots).into());
        side.insert("container_only".to_owned(), (!options.snapshots).into());
    }
    match (options.transport, &order.meeting) {
        (CopyTransport::Local, _) => {
            take.insert("type".to_owned(), "copy".into());
            take.insert("source".to_owned(), order.original.name.as_str().into());
            receive(order, running, take).await
        }
        (CopyTransport::Pull, Some(meeting)) => {
            let offer = send(order, running, give).await?;
            take.insert("mode".to_owned(), "pull".into());
            take.insert("operation".to_owned(), meeting.operation(&offer).into());
            take.insert("certificate".to_owned(), meeting.certificate.as_str().into());
            take.insert("secrets".to_owned(), offer.metadata.clone());
            receive(order, running, take).await
        }
        (CopyTransport::Push, Some(meeting)) => {
            take.insert("mode".to_owned(), "push".into());
            receive(order, running, take).await?;
            let waiting = running.target.as_ref().map(|side| side.last.clone()).unwrap_or_default();
            let meet = json!({
                "operation": meeting.operation(&waiting),
                "certificate": meeting.certificate,
                "secrets": waiting.metadata,
            });
            give.insert("target".to_owned(), meet);
            send(order, running, give).await.map(|_| ())
        }
        (CopyTransport::Relay, _) => {
            take.insert("mode".to_owned(), "push".into());
            let offer = send(order, running, give).await?;
            receive(order, running, take).await?;
            let waiting = running.target.as_ref().map(|side| side.last.clone()).unwrap_or_default();
            let (from, to) = ((&order.source.client, &offer), (&order.target.client, &waiting));
            running.relay = Some(Relay::connect(from, to, order.strange.clone()).await?);
            Ok(())
        }
        _ => Err(Error::unsupported("this way of copying")),
    }
}

impl Meeting {
    fn operation(&self, state: &OperationState) -> String {
        format!("https://{}/1.0/operations/{}", self.address, state.id)
    }
}

/// Asks the source to give.
async fn send(order: &Order, running: &mut Running, give: Map<String, Value>) -> Result<OperationState> {
    let request = Request::post(&["instances", &order.original.name]).body(&Value::Object(give));
    let operation = request.start(&order.source.client).await.map_err(|error| lacking(order, error))?;
    let state = operation.state().clone();
    running.source = Some(Side::new(&order.source, operation));
    Ok(state)
}

/// Asks the target to take.
async fn receive(order: &Order, running: &mut Running, take: Map<String, Value>) -> Result<()> {
    let mut body = order.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.insert("source".to_owned(), Value::Object(take));
    }
    let request = Request::post(&["instances"]).body(&body);
    let operation = request.start(&order.target.client).await.map_err(|error| lacking(order, error))?;
    running.target = Some(Side::new(&order.target, operation));
    Ok(())
}

/// What a server lacks that processes need it says in a sentence of its own.
fn lacking(order: &Order, error: Error) -> Error {
    if !order.live || error.kind() != ErrorKind::Unexpected {
        return error;
    }
    Error::new(ErrorKind::Unsupported, error.message().to_owned()).with_retry(Retry::Never)
}

/// The target, or the source, has ended: both must have ended well.
async fn finish(order: &Order, running: &mut Running) -> Result<()> {
    let target = Side::result(running.target.as_ref());
    if target.is_err()
        && let Some(source) = &running.source
        && !source.last.is_final()
    {
        source.cancel().await;
    }
    Side::end(&mut running.source, OTHER_SIDE).await;
    for side in [&running.target, &running.source].into_iter().flatten() {
        if !side.last.is_final() {
            let words = format!("{} did not end its part of the copy", side.lxd.name);
            return Err(Error::new(ErrorKind::Unavailable, words));
        }
    }
    match (target, Side::result(running.source.as_ref())) {
        (Ok(()), Ok(())) => {}
        (Err(error), Ok(())) | (Ok(()), Err(error)) => return Err(own(error)),
        // One of them knows the cause, the other only that the connection went.
        (Err(target), Err(source)) if hearsay(&target) && !hearsay(&source) => return Err(own(source)),
        (Err(target), Err(_)) => return Err(own(target)),
    }
    verify::verify(&order.target, &order.original, &order.body, &order.options).await
}

/// Whether an error says no more than that the other side is gone.
fn hearsay(error: &Error) -> bool {
    let words = error.message().to_lowercase();
    error.kind() == ErrorKind::Cancelled
        || ["websocket: close", "broken pipe", "use of closed", "connection reset", "eof", "reading migration"]
            .iter()
            .any(|sign| words.contains(sign))
}

/// What was not found half way is none of the things that the caller named.
fn own(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::new(ErrorKind::Unexpected, error.message().to_owned()).with_retry(Retry::Never)
}

fn given_up() -> Error {
    Error::new(ErrorKind::Cancelled, "the copy was given up").with_retry(Retry::Safe)
}

/// Takes away what a copy that did not succeed has left.
async fn undo(order: &Order, mut running: Running) {
    if let Some(source) = running.source.as_ref().filter(|source| !source.last.is_final()) {
        source.cancel().await;
    }
    running.relay = None;
    let push = order.options.transport == CopyTransport::Push;
    if let Some(target) = running.target.as_ref().filter(|target| !target.last.is_final())
        && push
        && running.source.is_none()
    {
        // Nobody will come. Who comes and goes makes it end at once.
        let waiting = (&order.target.client, &target.last);
        let came = async { (relay::open(waiting, "control").await, relay::open(waiting, "fs").await) };
        drop(timeout(OTHER_SIDE, came).await);
    }
    let deadline = if push { UNDO_PUSH } else { UNDO };
    if running.target.is_some() {
        Side::end(&mut running.target, deadline).await;
    }
    if let Err(error) = remove(order, deadline).await {
        tracing::warn!(
            node = order.target.name, container = order.options.name, %error,
            "what a copy has left could not be taken away"
        );
    }
}

/// Deletes the half-made container, if it is there and ours.
async fn remove(order: &Order, deadline: Duration) -> Result<()> {
    let (target, name) = (&order.target, &order.options.name);
    let left = match Original::read(target, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        left => left?,
    };
    // With processes in it, it is more than a copy.
    if left.config.get(MARK) != Some(&order.mark) || left.running {
        return Ok(());
    }
    settle_within(target, name, deadline).boxed().await?;
    match Request::delete(&["instances", name]).done(&target.client).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(words: Vec<Result<CopyProgress>>) -> Vec<std::result::Result<String, ErrorKind>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        for word in words {
            sender.send(word).await.unwrap();
        }
        drop(sender);
        let mut stream = told_to_the_end(receiver).fuse();
        let mut told = Vec::new();
        while let Some(word) = stream.next().await {
            told.push(word.map(|progress| progress.status).map_err(|error| error.kind()));
        }
        told
    }

    #[tokio::test]
    async fn a_copy_never_ends_as_if_it_were_complete() {
        let half = || Ok(CopyProgress::new("half"));
        let broken = || Err(Error::new(ErrorKind::Unavailable, "broken"));
        let half_then = |end| vec![Ok("half".to_owned()), end];
        assert_eq!(told(vec![half(), Ok(CopyProgress::new(COPIED))]).await, half_then(Ok(COPIED.to_owned())));
        assert_eq!(told(vec![half(), broken()]).await, half_then(Err(ErrorKind::Unavailable)));
        assert_eq!(told(vec![half()]).await, half_then(Err(ErrorKind::Unexpected)));
        assert_eq!(told(Vec::new()).await, [Err(ErrorKind::Unexpected)]);
    }
}
