//! The store in memory: the reference, and what tests and servers without a memory of their own use.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    Change, Entries, Entry, Guard, Key, LeaseId, ListEntries, Prefix, Revision, Store, Transaction, Watched, Write,
};
use crate::error::Result;
use crate::stream::ItemStream;

/// Transactions that are remembered for watches.
const REMEMBERED: usize = 10_000;

/// A store that is gone with the process. Clones are the same one.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told the revision that is reached.
    reached: watch::Sender<Revision>,
    /// Watches end when it becomes true.
    closed: watch::Sender<bool>,
    remembered: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    revision: Revision,
    changes: VecDeque<(Revision, Vec<Change>)>,
    /// All changes after this one are remembered.
    forgotten: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    leases_given: u64,
}

#[derive(Debug)]
struct Lease {
    life: Duration,
    over: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        MemoryStore::remembering(REMEMBERED)
    }

    /// An empty one that remembers so many transactions for watches.
    #[must_use]
    pub fn remembering(transactions: usize) -> Self {
        MemoryStore(Arc::new(Shared {
            state: Mutex::default(),
            reached: watch::Sender::new(Revision::default()),
            closed: watch::Sender::new(false),
            remembered: transactions,
        }))
    }

    /// Looks at the state as it is now: without what hangs on leases that are over.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let over: Vec<_> = state.leases.iter().filter(|(_, lease)| lease.over <= now).map(|(id, _)| *id).collect();
        for lease in over {
            self.end(&mut state, lease);
        }
        state
    }

    /// The state of a store that is not closed.
    fn open(&self) -> Result<MutexGuard<'_, State>> {
        if *self.0.closed.borrow() { Err(super::closed()) } else { Ok(self.state()) }
    }

    /// Writes, without asking.
    fn write(&self, state: &mut State, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let revision = Revision(state.revision.0 + 1);
        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Put { key, value, lease } => {
                    let entry = Entry { key: key.clone(), value: value.clone(), revision, lease: *lease };
                    state.entries.insert(key.clone(), entry.clone());
                    changes.push(Change::Put(entry));
                }
                Write::Delete(key) => {
                    if state.entries.remove(key).is_some() {
                        changes.push(Change::Deleted(key.clone()));
                    }
                }
            }
        }
        if changes.is_empty() {
            return;
        }
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        state.revision = revision;
        state.changes.push_back((revision, changes));
        while state.changes.len() > self.0.remembered {
            if let Some((forgotten, _)) = state.changes.pop_front() {
                state.forgotten = forgotten;
            }
        }
        self.0.reached.send_replace(revision);
    }

    fn end(&self, state: &mut State, lease: LeaseId) {
        state.leases.remove(&lease);
        let hanging = state.entries.values().filter(|entry| entry.lease == Some(lease));
        let writes: Vec<_> = hanging.map(|entry| Write::Delete(entry.key.clone())).collect();
        self.write(state, &writes);
    }

    /// Ends leases when they are over, so that watches learn of it though nobody asks.
    fn end_later(&self, lease: LeaseId) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                let over = {
                    let Some(shared) = shared.upgrade() else { return };
                    let state = MemoryStore(shared);
                    let state = state.state();
                    match state.leases.get(&lease) {
                        Some(lease) => lease.over,
                        None => return,
                    }
                };
                tokio::time::sleep_until(over).await;
            }
        });
    }

    /// What was changed below the prefix after this revision, and until when that is all; nothing when some is forgotten.
    fn after(&self, prefix: &Prefix, after: Revision) -> Option<(Vec<Watched>, Revision)> {
        let state = self.state();
        if after < state.forgotten {
            return None;
        }
        let mut items = Vec::new();
        for (revision, all) in state.changes.iter().filter(|(revision, _)| *revision > after) {
            let changes: Vec<_> = all.iter().filter(|change| change.key().behind(prefix).is_some()).cloned().collect();
            if !changes.is_empty() {
                items.push(Watched::Changes { changes, revision: *revision });
            }
        }
        Some((items, state.revision.max(after)))
    }
}

/// The first guard that does not hold is what is in the way.
fn holds(state: &State, guard: &Guard) -> bool {
    match guard {
        Guard::Absent(key) => !state.entries.contains_key(key),
        Guard::Unchanged(key, revision) => state.entries.get(key).is_some_and(|entry| entry.revision == *revision),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.open()?.entries.get(key).cloned())
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        options.validate()?;
        let state = self.open()?;
        let begin = match &options.after {
            Some(after) if after.as_str() >= options.prefix.as_str() => Bound::Excluded(after.clone()),
            _ => Bound::Unbounded,
        };
        let mut found = state
            .entries
            .range((begin, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .skip_while(|entry| entry.key.as_str() < options.prefix.as_str())
            .take_while(|entry| entry.key.behind(&options.prefix).is_some());
        let entries: Vec<_> = found.by_ref().take(options.limit).cloned().collect();
        Ok(Entries { more: found.next().is_some(), entries, revision: state.revision })
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        let mut state = self.open()?;
        if let Some(guard) = transaction.guards().iter().find(|guard| !holds(&state, guard)) {
            return Err(super::changed(guard.key()));
        }
        for write in transaction.writes() {
            if let Write::Put { lease: Some(lease), .. } = write
                && !state.leases.contains_key(lease)
            {
                return Err(super::no_lease());
            }
        }
        self.write(&mut state, transaction.writes());
        Ok(state.revision)
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
        drop(self.open()?);
        let (store, prefix) = (self.clone(), prefix.clone());
        let mut closed = self.0.closed.subscribe();
        let over = async move { drop(closed.wait_for(|closed| *closed).await) };
        let reached = self.0.reached.subscribe();
        let items = stream::unfold(Some((store, prefix, reached, after)), |watching| async move {
            let (store, prefix, mut reached, mut after) = watching?;
            loop {
                let Some((items, until)) = store.after(&prefix, after) else {
                    return Some((vec![Watched::Resync], None));
                };
                after = until;
                if !items.is_empty() {
                    return Some((items, Some((store, prefix, reached, after))));
                }
                reached.wait_for(|reached| *reached > after).await.ok()?;
            }
        });
        Ok(items.flat_map(stream::iter).map(Ok).take_until(over).boxed())
    }

    async fn lease(&self, life: Duration) -> Result<LeaseId> {
        let life = super::life(life)?;
        let id = {
            let mut state = self.open()?;
            state.leases_given += 1;
            let id = LeaseId(state.leases_given);
            state.leases.insert(id, Lease { life, over: Instant::now() + life });
            id
        };
        self.end_later(id);
        Ok(id)
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.open()?;
        let lease = state.leases.get_mut(&lease).ok_or_else(super::no_lease)?;
        lease.over = Instant::now() + lease.life;
        Ok(())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.open()?;
        if !state.leases.contains_key(&lease) {
            return Err(super::no_lease());
        }
        self.end(&mut state, lease);
        Ok(())
    }

    async fn revision(&self) -> Result<Revision> {
        Ok(self.open()?.revision)
    }

    async fn close(&self) -> Result<()> {
        self.0.closed.send_replace(true);
        Ok(())
    }
}
