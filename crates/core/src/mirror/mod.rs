//! A mirror: the containers of one node in this process's memory, kept equal to the engine's list.
//!
//! Lists are asked for more often than containers change. A mirror follows a node's events and asks the engine only when there
//! was one; whoever wants the list takes a [`Snapshot`], which costs a pointer. Events are hints: what a list shows is always
//! what the engine answered, so lost, repeated, late and mixed up events make a mirror late and never wrong for good.
//!
//! * **M1**: the mirror subscribes to events first, and then lists: what changes between the two is not missed.
//! * **M2**: what [`Mirror::read`] gives is the list of the engine as it was at no time before the call, as far as anybody was told of
//!   a change by then: events that were given to any reader, and writes through a node that is wrapped in [`Mirror::writes`], which
//!   have ended. It may lack what the engine has told nobody of.
//! * **M3**: the engine has answered within the last second before a read, or is asked whether it still does before there is an
//!   answer. When it does not, [`Mirror::read`] fails, and whoever reads asks the engine itself. Nothing stale is given in silence.
//! * **M4**: an answer to an earlier question never replaces the answer to a later one.
//! * **M5**: what the engine changes without telling of it is found by a new list: after half a minute at the latest where the list
//!   is read or watched, after five minutes where it is not, and before the next read then. On an engine whose list takes longer than
//!   600 ms, half a minute becomes fifty times as long as the list takes. After [`Mirror::resync`] the next read has it.
//! * **M6**: when events or the engine end, fail, or may have been missed, it is listed anew, again and again with growing pauses up
//!   to five seconds. Until then the mirror is not ready, and what it had is kept to compare with.
//! * **M7**: each change that can be seen has a revision of its own, one more than the change before, in the epoch of its
//!   [`Changes`], and so has each time at which the mirror becomes ready or is so no more; where nothing changed there is none,
//!   however often the engine is asked.
//! * **M8**: a watcher that begins at the moment of a snapshot, and applies what it is told, has the snapshots that come after it.
//!   One that is too late, or comes from another epoch, is told to read the list anew. Slow ones hold nothing up and take no memory.
//! * **M9**: details that are kept are as the engine told them after the last event or write that concerned the container. What engines
//!   tell nobody (an address that comes after the start) is late by as long as the container had been unchanged when they were read,
//!   one second at least and half a minute at most.
//! * **M10**: a container that changes costs the pointers of a piece of the list, and is encoded once, however many there are.
//!
//! An engine without events has no mirror: it is never ready.

mod changes;
mod details;
mod item;
mod keeper;
mod marks;
mod snapshot;
mod sorted;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::changes::Written;
pub use self::changes::{Change, Changes, Moment, Told, Watch};
pub use self::details::Details;
use self::details::KeptDetails;
pub use self::item::{Item, ItemKey};
use self::marks::{Concern, Haste, Marked, Marks, concern};
pub use self::snapshot::Snapshot;
use self::sorted::Sorted;
pub use self::writes::Writes;
use crate::container::{ContainerDetails, ContainerSummary};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::event::Event;
use crate::layers;
use crate::node::{EventOptions, Node};
use crate::stream::ItemStream;
use crate::time::Timestamp;

/// So long ago the engine may have answered for the last time.
const PROOF: Duration = Duration::from_secs(1);

/// A poisoned lock only says that another thread panicked; each change of what is behind one is whole before it is let go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a mirror gets its node from, again after each break.
#[async_trait]
pub trait Source: Send + Sync {
    /// The node as it is connected now.
    ///
    /// # Errors
    /// What keeps it from being connected.
    async fn node(&self) -> Result<Arc<dyn Node>>;

    /// What happens on this node from now on. Whoever has the events already gives them, so that the engine is not asked twice.
    ///
    /// # Errors
    /// Those of the engine.
    async fn follow(&self, node: &Arc<dyn Node>) -> Result<ItemStream<Event>> {
        node.events(&EventOptions::default()).await
    }
}

#[async_trait]
impl Source for Arc<dyn Node> {
    async fn node(&self) -> Result<Arc<dyn Node>> {
        Ok(Arc::clone(self))
    }
}

/// What a read gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct View {
    /// The containers.
    pub snapshot: Arc<Snapshot>,
    /// When the engine answered for the last time, by this process's clock: its list was this one then, as far as it has told.
    pub observed_at: Timestamp,
}

impl View {
    /// These containers, of which the engine was known at this time to have no others.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, observed_at: Timestamp) -> Self {
        View { snapshot, observed_at }
    }
}

/// What is to be seen of a mirror.
#[derive(Clone, Debug)]
struct Shown {
    snapshot: Arc<Snapshot>,
    /// Why it cannot be read, when it cannot.
    away: Option<Arc<str>>,
    /// Every mark up to this number has been looked at.
    settled: u64,
    /// When the engine was asked for the last time of those that it answered.
    proved: Instant,
    /// From then on the whole list has to be asked for again before it is read.
    good_until: Instant,
}

/// Containers by id and by name.
#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<Arc<str>, Arc<Item>>,
    /// Ids by names.
    by_name: HashMap<String, Arc<str>>,
}

impl Index {
    fn put(&mut self, item: &Arc<Item>) {
        self.remove(item.id());
        self.by_id.insert(Arc::clone(item.id()), Arc::clone(item));
        self.by_name.insert(item.summary().name.clone(), Arc::clone(item.id()));
    }

    fn remove(&mut self, id: &str) -> Option<Arc<Item>> {
        let old = self.by_id.remove(id)?;
        // Another container may have taken the name already.
        if self.by_name.get(&old.summary().name).is_some_and(|named| **named == *id) {
            self.by_name.remove(&old.summary().name);
        }
        Some(old)
    }

    fn find(&self, id: &str) -> Option<&Arc<Item>> {
        self.by_id.get(id).or_else(|| self.by_id.get(self.by_name.get(id)?))
    }
}

/// The containers of one node in memory.
///
/// It does nothing by itself: [`Mirror::keep`] keeps it, and is to run for as long as it is read.
#[derive(Debug)]
pub struct Mirror {
    node: Arc<str>,
    changes: Arc<Changes>,
    marks: Marks,
    shown: watch::Sender<Shown>,
    index: Mutex<Index>,
    details: Mutex<KeptDetails>,
}

impl Mirror {
    /// A mirror of the node with this name, which is not kept yet. Its changes are told in `changes`, together with those of others.
    #[must_use]
    pub fn new(node: &str, changes: Arc<Changes>) -> Arc<Self> {
        let node: Arc<str> = node.into();
        let now = Instant::now();
        let snapshot = Snapshot {
            node: Arc::clone(&node),
            moment: changes.at(0),
            changed_at: Timestamp::now(),
            items: Sorted::default(),
        };
        let shown = Shown {
            snapshot: Arc::new(snapshot),
            away: Some("it has not been listed yet".into()),
            settled: 0,
            proved: now,
            good_until: now,
        };
        Arc::new(Mirror {
            node,
            changes,
            marks: Marks::default(),
            shown: watch::Sender::new(shown),
            index: Mutex::default(),
            details: Mutex::default(),
        })
    }

    /// Name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where its changes are told.
    #[must_use]
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Keeps the mirror equal to the engine's list, without end. Dropping the future ends it: the mirror is not ready then. Only one
    /// may keep a mirror at a time.
    pub async fn keep(&self, source: &dyn Source) {
        keeper::keep(self, source).await;
    }

    /// What [`Mirror::read`] would give, if it would give it at once.
    #[must_use]
    pub fn current(&self) -> Option<View> {
        let view = self.view(&self.shown.borrow(), self.marks.told(), Instant::now());
        if view.is_some() {
            self.marks.reading();
        }
        view
    }

    fn view(&self, shown: &Shown, told: u64, now: Instant) -> Option<View> {
        let good = shown.away.is_none()
            && shown.settled >= told
            && now.saturating_duration_since(shown.proved) < PROOF
            && now < shown.good_until;
        good.then(|| Self::as_view(shown, now))
    }

    fn as_view(shown: &Shown, now: Instant) -> View {
        let age = now.saturating_duration_since(shown.proved);
        let nanos = Timestamp::now().unix_nanos() - i128::try_from(age.as_nanos()).unwrap_or(0);
        let observed_at = Timestamp::from_unix_nanos(nanos).unwrap_or_else(Timestamp::now);
        View { snapshot: Arc::clone(&shown.snapshot), observed_at }
    }

    /// The containers of the node: M2, M3. Waits for what has to be asked, at most `deadline`.
    ///
    /// Cancelling it has no effect.
    ///
    /// # Errors
    /// `Unavailable` when it is not ready, at once, or not within `deadline`: then the engine is to be asked itself.
    pub async fn read(&self, deadline: Duration) -> Result<View> {
        let told = self.marks.told();
        self.marks.reading();
        self.wait(deadline, |shown, now| self.view(shown, told, now)).await
    }

    /// As [`Mirror::read`], of a list that the engine is asked for after the call.
    ///
    /// # Errors
    /// As [`Mirror::read`].
    pub async fn refresh(&self, deadline: Duration) -> Result<View> {
        self.resync();
        self.read(deadline).await
    }

    /// Waits until `good` gives something, which is made to happen: marks are settled, and the engine is asked for a proof.
    async fn wait<T>(&self, deadline: Duration, good: impl Fn(&Shown, Instant) -> Option<T>) -> Result<T> {
        let mut shown = self.shown.subscribe();
        let begun = Instant::now();
        let until = begun.checked_add(deadline).unwrap_or(begun + Duration::from_secs(86_400));
        loop {
            {
                let shown = shown.borrow_and_update();
                let now = Instant::now();
                if let Some(why) = &shown.away {
                    return Err(self.not_ready(why));
                }
                if let Some(answer) = good(&shown, now) {
                    return Ok(answer);
                }
                self.marks.wait(now.saturating_duration_since(shown.proved) >= PROOF || now >= shown.good_until);
            }
            match timeout_at(until, shown.changed()).await {
                Ok(Ok(())) => {}
                // The sender is in `self`.
                Ok(Err(_)) | Err(_) => return Err(self.not_ready("the engine was asked, and has not answered yet")),
            }
        }
    }

    fn not_ready(&self, why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("the copy of its list is not up to date: {why}"))
            .with_node(&*self.node)
            .with_retry(Retry::Safe)
    }

    /// What the mirror knows, whether or not it can be vouched for.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown.borrow().snapshot)
    }

    /// Whether it is ready to be read.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<()> {
        match &self.shown.borrow().away {
            None => Ok(()),
            Some(why) => Err(self.not_ready(why)),
        }
    }

    /// Waits until it is ready to be read, at most `deadline`.
    ///
    /// # Errors
    /// `Unavailable` when it is not by then, with the reason.
    pub async fn wait_ready(&self, deadline: Duration) -> Result<()> {
        let mut shown = self.shown.subscribe();
        let wait = shown.wait_for(|shown| shown.away.is_none());
        match tokio::time::timeout(deadline, wait).await {
            Ok(_) => Ok(()),
            Err(_) => self.ready(),
        }
    }

    /// A container by id or name, as far as the mirror knows.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Item>> {
        lock(&self.index).find(id).cloned()
    }

    /// The whole list is to be asked for again, before the next read.
    pub fn resync(&self) {
        self.forget_details(None);
        self.marks.add(Marked::All, Haste::Own);
    }

    /// A container, by id or name, was changed, and is to be looked at before the next read.
    pub fn touch(&self, id: &str) {
        self.forget_details(Some(id));
        self.marks.add(Marked::One(id.to_owned()), Haste::Own);
    }

    /// The engine answered somebody: a mirror that waits before it tries again need not wait so long.
    pub fn engine_answers(&self) {
        if self.shown.borrow().away.is_some() {
            self.marks.answers();
        }
    }

    /// An event of the node, from any of its streams. The same event may be told more than once.
    pub fn tell(&self, event: &Event) {
        let concern = concern(event);
        if concern == Concern::Nothing || self.marks.is_known(event) {
            return;
        }
        match concern {
            Concern::Nothing => {}
            Concern::Details => {
                self.forget_details(Some(&event.id));
            }
            Concern::AllDetails => self.forget_details(None),
            Concern::One | Concern::OnePerhaps => {
                self.forget_details(Some(&event.id));
                self.marks.add(
                    Marked::One(event.id.clone()),
                    if concern == Concern::One { Haste::Event } else { Haste::Lazy },
                );
            }
            Concern::All | Concern::AllPerhaps => {
                self.forget_details(None);
                self.marks.add(Marked::All, if concern == Concern::All { Haste::Event } else { Haste::Lazy });
            }
        }
        // Only now: who finds it known may rely on its mark.
        self.marks.remember(event);
    }

    fn forget_details(&self, whose: Option<&str>) {
        lock(&self.details).changed(whose, Instant::now());
    }

    /// Everything that the engine tells of a container, by id or name: M9. Asks by `ask` when nothing is kept that can be vouched for.
    ///
    /// # Errors
    /// What `ask` says.
    pub async fn details(
        &self,
        id: &str,
        deadline: Duration,
        ask: impl Future<Output = Result<ContainerDetails>>,
    ) -> Result<Arc<Details>> {
        let kept = || lock(&self.details).get(id, Instant::now());
        if kept().is_some() {
            let proof = |shown: &Shown, now: Instant| (now.saturating_duration_since(shown.proved) < PROOF).then(&kept);
            self.marks.reading();
            if let Ok(Some(details)) = self.wait(deadline, proof).await {
                return Ok(details);
            }
        }
        self.ask_details(ask).await
    }

    /// As [`Mirror::details`], asking in any case.
    ///
    /// # Errors
    /// What `ask` says.
    pub async fn ask_details(&self, ask: impl Future<Output = Result<ContainerDetails>>) -> Result<Arc<Details>> {
        let asking = lock(&self.details).asking();
        let asked = Instant::now();
        let details = Arc::new(Details::new(ask.await?));
        // Who does not follow events cannot know for how long they are good.
        if self.shown.borrow().away.is_none() {
            lock(&self.details).answered(asking, asked, &details);
        }
        Ok(details)
    }

    /// `node` with the layer by which this mirror learns of what is done through it.
    #[must_use]
    pub fn writes(self: &Arc<Self>, node: Arc<dyn Node>) -> Arc<dyn Node> {
        layers::wrap(node, Writes { mirror: Arc::clone(self) })
    }

    /// The node is gone for good, and its containers with it.
    pub fn close(&self) {
        self.away("the node is gone");
        let gone: Vec<_> = lock(&self.index).by_id.keys().cloned().collect();
        self.publish(Vec::new(), &gone);
    }

    fn away(&self, why: &str) {
        let why: Arc<str> = why.into();
        let was_ready = self.shown.borrow().away.is_none();
        let told = if was_ready { vec![Written::Away(Arc::clone(&why))] } else { Vec::new() };
        self.changes.add(&self.node, told, |_| self.shown.send_modify(|shown| shown.away = Some(why)));
        self.forget_details(None);
    }

    /// It is ready, with marks looked at up to this one.
    fn here(&self, settled: u64) {
        let told = if self.shown.borrow().away.is_some() { vec![Written::Here] } else { Vec::new() };
        if told.is_empty() && self.shown.borrow().settled == settled {
            return;
        }
        self.changes.add(&self.node, told, |_| {
            self.shown.send_modify(|shown| {
                shown.settled = settled;
                shown.away = None;
            });
        });
    }

    /// Takes in what the engine answered: what is as it was is left alone. Gives how many changes it were.
    fn publish(&self, found: Vec<ContainerSummary>, gone: &[Arc<str>]) -> usize {
        let mut changes = Vec::new();
        let mut index = lock(&self.index);
        let mut items = self.shown.borrow().snapshot.items.clone();
        let many = found.len() + gone.len() > items.len() / 8 + 64;
        for id in gone {
            if let Some(old) = index.remove(id) {
                if !many {
                    items.remove(old.key());
                }
                changes.push(Written::Deleted(Arc::clone(id)));
            }
        }
        for summary in found {
            let old = index.by_id.get(summary.id.as_str());
            if old.is_some_and(|old| *old.summary() == summary) {
                continue;
            }
            if let Some(old) = old.filter(|_| !many) {
                items.remove(old.key());
            }
            let item = Arc::new(Item::new(summary));
            index.put(&item);
            if !many {
                items.insert(Arc::clone(&item));
            }
            changes.push(Written::Put(item));
        }
        if changes.is_empty() {
            return 0;
        }
        if many {
            items = Sorted::new(index.by_id.values().cloned().collect());
        }
        let count = changes.len();
        self.changes.add(&self.node, changes, |revision| {
            let snapshot = Snapshot {
                node: Arc::clone(&self.node),
                moment: self.changes.at(revision),
                changed_at: Timestamp::now(),
                items,
            };
            self.shown.send_modify(|shown| shown.snapshot = Arc::new(snapshot));
        });
        count
    }
}
