//! What the handles of one node share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use roadstead_core::jobs::JobKeeper;
use roadstead_core::{Capabilities, Error, ErrorKind, Result};
use tokio::sync::OwnedMutexGuard;

use super::client::Client;
use super::commands::{Commands, HostCommands};
use super::following::Followed;
use super::outliving::Watched;
use super::processes::MainPids;
use super::stats::Remembered;
use super::sweep::Swept;

/// One node.
#[derive(Debug)]
pub(super) struct Core0 {
    pub(super) name: String,
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
    pub(super) main_pids: MainPids,
    /// The names that are about to be taken.
    pub(super) claimed_names: Mutex<Vec<String>>,
    pub(super) swept: Swept,
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
            uri,
            capabilities,
            host: HostCommands::new(Arc::clone(&client)),
            client,
            jobs,
            followed: Followed::default(),
            watched: Watched::default(),
            usage: Remembered::default(),
            main_pids: MainPids::default(),
            claimed_names: Mutex::default(),
            swept: Swept::default(),
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
    pub(super) fn forget(&self, container: u64, mark: &str) {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(mark);
        self.followed.forget(mark);
        self.watched.forget(mark);
        self.main_pids.forget(container);
        self.usage.forget(container);
    }
}

/// Carries a change through though its caller may leave: half of it would be worse than all or none.
pub(super) async fn whole<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(change).await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, in the middle of the change").with_source(cause)
    })?
}
