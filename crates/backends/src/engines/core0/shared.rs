//! What the handles of one node share.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use roadstead_core::jobs::JobKeeper;
use roadstead_core::usage::Polled;
use roadstead_core::{Capabilities, Error, ErrorKind, Result};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::client::Client;
use super::commands::corex::Container as Listed;
use super::commands::{Commands, HostCommands};
use super::following::Followed;
use super::kept;
use super::processes::{MainPids, Which};
use super::silent::Silent;
use super::stats::Remembered;
use super::sweep::Swept;
use super::watching::Watched;

/// One node.
#[derive(Debug)]
pub(super) struct Core0 {
    pub(super) name: String,
    /// What this program is called in claims: like no other, and no other handle.
    pub(super) program: String,
    /// Without secrets.
    pub(super) uri: String,
    pub(super) capabilities: Capabilities,
    pub(super) client: Arc<Client>,
    pub(super) host: HostCommands,
    pub(super) jobs: JobKeeper,
    /// The main processes that this program follows, and what they wrote.
    pub(super) followed: Followed,
    /// Those whose ends are looked for.
    pub(super) watched: Watched,
    /// What containers have used so far.
    pub(super) usage: Remembered,
    /// What containers used when it was last asked.
    pub(super) polled: Polled,
    pub(super) main_pids: MainPids,
    /// The names that are about to be taken.
    pub(super) claimed_names: Mutex<Vec<String>>,
    pub(super) swept: Swept,
    /// The containers that do not answer.
    pub(super) silent: Silent,
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Core0 {
    pub(super) fn new(
        name: &str,
        uri: String,
        client: Arc<Client>,
        capabilities: Capabilities,
        jobs: JobKeeper,
    ) -> Arc<Self> {
        Arc::new(Core0 {
            name: name.to_owned(),
            program: Uuid::new_v4().simple().to_string(),
            uri,
            capabilities,
            host: HostCommands::new(Arc::clone(&client)),
            client,
            jobs,
            followed: Followed::default(),
            watched: Watched::default(),
            usage: Remembered::default(),
            polled: Polled::new(),
            main_pids: MainPids::default(),
            claimed_names: Mutex::default(),
            swept: Swept::default(),
            silent: Silent::default(),
            locks: Mutex::default(),
        })
    }

    /// The commands in a container.
    pub(super) fn inside(&self, container: u64) -> Commands {
        self.host.inside(container)
    }

    /// One change at a time of the container with this mark.
    pub(super) async fn lock(&self, mark: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(mark.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    /// Lets go of all that is kept of a container that is gone.
    pub(super) fn forget(&self, container: &Listed, mark: &str) {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(mark);
        self.followed.forget(mark);
        self.watched.forget(mark);
        self.forget_number(container.id, &Which::of(container));
    }

    /// Of which containers something is kept. Asked before the node is, so that what comes meanwhile is not taken for gone.
    pub(super) fn known(&self) -> Known {
        let mut marks = self.followed.marks();
        marks.extend(self.locks.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned());
        let numbers = self.main_pids.known().into_iter().chain(self.usage.known()).collect();
        Known { marks, numbers }
    }

    /// Lets go of what is kept of those that others ended, or that went with the node's agent.
    pub(super) fn forget_gone(&self, known: &Known, listed: &[Listed]) {
        let living: BTreeSet<String> = listed.iter().filter_map(|container| kept::mark(&container.arguments)).collect();
        for mark in known.marks.difference(&living) {
            self.followed.forget(mark);
            self.watched.forget(mark);
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // It may be that of one that is being made, which others must not miss.
            if locks.get(mark).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                locks.remove(mark);
            }
        }
        let living: Vec<(u64, Which)> = listed.iter().map(|container| (container.id, Which::of(container))).collect();
        for (container, which) in known.numbers.iter().filter(|known| !living.contains(known)) {
            self.forget_number(*container, which);
        }
    }

    fn forget_number(&self, container: u64, which: &Which) {
        self.main_pids.forget(container, which);
        self.usage.forget(container, which);
    }
}

/// Containers of which something is kept: the marks of ours, and which had which number.
pub(super) struct Known {
    marks: BTreeSet<String>,
    numbers: Vec<(u64, Which)>,
}

/// Carries a change through though its caller may leave: half of it would be worse than all or none.
pub(super) async fn whole<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(change).await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, in the middle of the change").with_source(cause)
    })?
}

#[cfg(test)]
mod tests {
    use roadstead_core::ConnectOptions;
    use roadstead_core::jobs::JobLimits;

    use super::super::address::Address;
    use super::*;

    #[tokio::test]
    async fn what_is_kept_goes_with_the_container() {
        let uri = "core0+unix:///nowhere".parse().unwrap();
        let client = Client::new(Address::read(&uri, &ConnectOptions::default()).unwrap());
        let jobs = JobKeeper::new("n", JobLimits::default());
        let core0 = Core0::new("n", uri.to_string(), client, Capabilities::default(), jobs);
        let listed = |mark: &str| {
            let mut container = Listed::default();
            container.arguments.config.insert(kept::FILE.to_owned(), format!(r#"{{"mark":"{mark}"}}"#));
            container
        };
        for mark in ["gone", "there"] {
            drop(core0.lock(mark).await);
            core0.followed.begin(mark, 1);
        }
        let held = core0.lock("is made").await;
        let known = core0.known();
        drop(core0.lock("came later").await);
        core0.forget_gone(&known, &[listed("there")]);
        let locks: Vec<String> = core0.locks.lock().unwrap().keys().cloned().collect();
        assert_eq!(locks, ["came later", "is made", "there"]);
        assert!(core0.followed.log("gone").is_none() && core0.followed.log("there").is_some());
        drop(held);
        core0.forget_gone(&core0.known(), &[]);
        assert!(core0.locks.lock().unwrap().is_empty() && core0.followed.log("there").is_none());
    }
}
