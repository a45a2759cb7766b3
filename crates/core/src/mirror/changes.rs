//! The changes of one or more mirrors in one order, and those who watch them.
//!
//! The log knows of the last few thousand changes what they were about, and not what was there before: a watcher that comes
//! late is told how each container is now, once, and not all that it was meanwhile. So no watcher is ever waited for or holds
//! anything, and the log is as large with many watchers as with none.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::item::Item;
use super::lock;
use crate::error::Error;

/// So many changes are known.
const KEPT_MAX: usize = 4096;
/// So many are given to a watcher in one go.
const BATCH_MAX: usize = 256;

/// A moment in the life of the mirrors of one process.
///
/// A revision is good in the epoch that gave it only: another process, which counts from one again, has another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    epoch: u64,
    revision: u64,
}

impl Moment {
    /// How many changes there had been.
    #[must_use]
    pub fn revision(self) -> u64 {
        self.revision
    }

    /// What tells this process from others.
    #[must_use]
    pub fn epoch(self) -> u64 {
        self.epoch
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.epoch, self.revision)
    }
}

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (epoch, revision) = text.split_once('.')?;
            let plain = epoch.len() == 16 && text.bytes().all(|b| b == b'.' || b.is_ascii_hexdigit());
            let epoch = u64::from_str_radix(epoch, 16).ok().filter(|_| plain)?;
            Some(Moment { epoch, revision: revision.parse().ok()? })
        };
        read().ok_or_else(|| Error::invalid("revision", "is not one that was given with a list"))
    }
}

/// What a watcher is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A container is there, or is another way than before.
    Put(Arc<Item>),
    /// A container is gone.
    Deleted {
        /// Name of its node.
        node: Arc<str>,
        /// Its id.
        id: Arc<str>,
    },
    /// The mirror of a node is not ready any more: what happens there from now on is told when it is again.
    Away {
        /// Name of the node.
        node: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// It is ready. What had happened meanwhile was told before this.
    Here {
        /// Name of the node.
        node: Arc<str>,
    },
    /// Changes may have been missed: read the list again. What comes after this is what happens from then on.
    Resync,
}

/// A change, and the moment after it: what to watch from to go on behind it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Told {
    /// The moment after the change.
    pub moment: Moment,
    /// What changed.
    pub change: Change,
}

/// A change as it is written down.
#[derive(Clone, Debug)]
pub(super) enum Written {
    Put(Arc<Item>),
    Deleted(Arc<str>),
    Away(Arc<str>),
    Here,
}

#[derive(Debug)]
enum What {
    /// What was replaced since then is let go of: a later entry tells of it.
    Put(Weak<Item>),
    Deleted,
    Away(Arc<str>),
    Here,
}

#[derive(Debug)]
struct Entry {
    node: Arc<str>,
    /// Id of the container; none when it is about the node.
    id: Option<Arc<str>>,
    what: What,
}

#[derive(Debug, Default)]
struct Log {
    /// Of the last entry.
    revision: u64,
    entries: VecDeque<Entry>,
}

/// The log.
#[derive(Debug)]
pub struct Changes {
    epoch: u64,
    log: Mutex<Log>,
    told: watch::Sender<u64>,
}

impl Changes {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (epoch, _) = uuid::Uuid::new_v4().as_u64_pair();
        Arc::new(Changes { epoch, log: Mutex::default(), told: watch::Sender::new(0) })
    }

    /// The moment after the last change. What a mirror shows afterwards has every change up to it.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.at(lock(&self.log).revision)
    }

    pub(super) fn at(&self, revision: u64) -> Moment {
        Moment { epoch: self.epoch, revision }
    }

    /// Whether one who watches from this moment, some time from now, will hardly be too late: half of what is kept was told since
    /// then at most.
    #[must_use]
    pub fn is_recent(&self, moment: Moment) -> bool {
        moment.epoch == self.epoch && moment.revision.saturating_add(KEPT_MAX as u64 / 2) >= lock(&self.log).revision
    }

    /// How many watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.told.receiver_count()
    }

    /// Writes changes of one node down, and shows them by `show`, which is given the revision after the last, before anybody
    /// else is told of them.
    pub(super) fn add(&self, node: &Arc<str>, changes: Vec<Written>, show: impl FnOnce(u64)) {
        let mut log = lock(&self.log);
        let some = !changes.is_empty();
        for change in changes {
            log.revision += 1;
            if log.entries.len() == KEPT_MAX {
                log.entries.pop_front();
            }
            let (id, what) = match change {
                Written::Put(item) => (Some(Arc::clone(item.id())), What::Put(Arc::downgrade(&item))),
                Written::Deleted(id) => (Some(id), What::Deleted),
                Written::Away(reason) => (None, What::Away(reason)),
                Written::Here => (None, What::Here),
            };
            log.entries.push_back(Entry { node: Arc::clone(node), id, what });
        }
        show(log.revision);
        let revision = log.revision;
        drop(log);
        if some {
            // Never backwards, when two are written down at nearly the same time.
            self.told.send_if_modified(|told| {
                let later = revision > *told;
                *told = revision.max(*told);
                later
            });
        }
    }

    /// What changes from `from` on, or from now on; of one node, or of all. The first that is told is a `Resync` when `from`
    /// is of another epoch, or so long ago that the changes since then are not known.
    #[must_use]
    pub fn watch(self: &Arc<Self>, from: Option<Moment>, node: Option<&str>) -> Watch {
        let told = self.told.subscribe();
        let now = self.now();
        let missed = from.is_some_and(|from| from.epoch != self.epoch || from.revision > now.revision);
        let from = from.filter(|_| !missed).unwrap_or(now).revision;
        Watch { changes: Arc::clone(self), told, node: node.map(Into::into), from, missed, batch: VecDeque::new() }
    }
}

/// Follows the changes.
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Changes>,
    told: watch::Receiver<u64>,
    /// All nodes when absent.
    node: Option<Arc<str>>,
    /// The last revision that was looked at.
    from: u64,
    missed: bool,
    batch: VecDeque<Told>,
}

impl Watch {
    /// The next change; waits for it. Cancelling loses none.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.batch.pop_front() {
                return told;
            }
            self.told.borrow_and_update();
            self.read();
            if self.batch.is_empty() && self.told.changed().await.is_err() {
                // The sender is in `changes`, which is held here.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes the next few changes from the log.
    fn read(&mut self) {
        let log = lock(&self.changes.log);
        let before = log.revision.saturating_sub(log.entries.len() as u64);
        if self.missed || self.from < before {
            self.missed = false;
            self.from = log.revision;
            let moment = self.changes.at(log.revision);
            self.batch.push_back(Told { moment, change: Change::Resync });
            return;
        }
        let new = usize::try_from(self.from - before).unwrap_or(usize::MAX);
        let entries = || log.entries.iter().skip(new);
        // Where a container changed more than once, the last time says all.
        let mut last: HashMap<(&Arc<str>, &Option<Arc<str>>), usize> = HashMap::new();
        for (index, entry) in entries().enumerate() {
            last.insert((&entry.node, &entry.id), index);
        }
        for (index, entry) in entries().enumerate() {
            if self.batch.len() == BATCH_MAX {
                return;
            }
            self.from += 1;
            let wanted = self.node.as_ref().is_none_or(|node| *node == entry.node);
            if !wanted || last.get(&(&entry.node, &entry.id)) != Some(&index) {
                continue;
            }
            let node = Arc::clone(&entry.node);
            let change = match (&entry.what, &entry.id) {
                (What::Put(item), _) => match item.upgrade() {
                    Some(item) => Change::Put(item),
                    // A later entry tells of it.
                    None => continue,
                },
                (What::Deleted, Some(id)) => Change::Deleted { node, id: Arc::clone(id) },
                (What::Deleted, None) => continue,
                (What::Away(reason), _) => Change::Away { node, reason: Arc::clone(reason) },
                (What::Here, _) => Change::Here { node },
            };
            self.batch.push_back(Told { moment: self.changes.at(self.from), change });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_was_written() {
        let changes = Changes::new();
        let moment = changes.at(17);
        assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
        for text in ["", "1.1", "0000000000000001", "0000000000000001.", "000000000000000g.1", "+000000000000001.1"] {
            assert_eq!(text.parse::<Moment>().unwrap_err().field(), Some("revision"), "{text}");
        }
    }
}
