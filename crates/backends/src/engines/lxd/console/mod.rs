//! The consoles of a node's containers.
//!
//! The server tells nobody that something was written to a console, and gives each piece only once. Its other way, a
//! connection to the console, is one at a time for everybody, has no beginning, and doubles carriage returns. So
//! whoever reads here asks for the next piece from time to time, in turn with all others, and all share what is kept;
//! while one is connected in order to write, the connection tells when to ask. Nobody reads, nothing is asked.

mod follow;
mod kept;
mod link;
mod mark;
mod read;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::facts::Facts;
use super::shared::Lxd;
pub(super) use follow::follow;
use kept::Kept;
pub(super) use link::Link;
pub(super) use text::{Text, lines, tail};

/// The consoles of so many containers are kept.
const CONSOLES_MAX: usize = 256;

/// The consoles of one node, by container.
#[derive(Debug, Default)]
pub(super) struct Consoles(StdMutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    console: Arc<Console>,
    used: Instant,
}

impl Consoles {
    /// The console of a container.
    pub(super) fn of(&self, id: &str, facts: &Facts) -> Arc<Console> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &&mut Entry| entry.console.incarnation == facts.incarnation;
        if let Some(entry) = entries.get_mut(id).filter(same) {
            entry.used = Instant::now();
            return Arc::clone(&entry.console);
        }
        if entries.len() >= CONSOLES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| entries.remove(&id));
        }
        let console = Arc::new(Console::new(id, &facts.incarnation));
        entries.insert(id.to_owned(), Entry { console: Arc::clone(&console), used: Instant::now() });
        console
    }
}

/// The console of one container.
#[derive(Debug)]
pub(super) struct Console {
    id: String,
    incarnation: String,
    /// Held while the server is asked, so that pieces keep their order.
    kept: Mutex<Kept>,
    /// Counts the connection's hints that something was written.
    hints: watch::Sender<u64>,
    link: Mutex<Weak<Link>>,
}

/// What a look at a console gave.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// What was written from the position on.
    pub(super) bytes: Bytes,
    /// Position after them.
    pub(super) end: u64,
    /// Whether nothing more will come, since the container does not run.
    pub(super) over: bool,
}

impl Console {
    fn new(id: &str, incarnation: &str) -> Self {
        Console {
            id: id.to_owned(),
            incarnation: incarnation.to_owned(),
            kept: Mutex::default(),
            hints: watch::Sender::new(0),
            link: Mutex::default(),
        }
    }

    /// Asks the server, and gives what there is from `position` on. `facts` are those of a moment ago, if known.
    pub(super) async fn look(self: &Arc<Self>, lxd: &Arc<Lxd>, facts: Option<&Facts>, position: u64) -> Result<Look> {
        let (console, lxd) = (Arc::clone(self), Arc::clone(lxd));
        let started = facts.and_then(|facts| facts.started);
        // In a task of its own: what the server has given is gone when nobody takes it in.
        let asking = tokio::spawn(async move {
            let mut kept = console.kept.lock().await;
            if let Some(started) = started {
                kept.run(started);
            }
            let (answer, over) = read::ask(&lxd, &console.id).await?;
            kept.take(&answer);
            let start = position.max(kept.start());
            Ok(Look { bytes: kept.after(start), end: kept.end(), over })
        });
        asking.await.map_err(|cause| {
            Error::new(ErrorKind::Cancelled, "the program ends, or failed, while it read a console").with_source(cause)
        })?
    }

    /// Tells that something may have been written, while a connection stands.
    pub(super) fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    /// Whether a connection stands, which gives hints.
    pub(super) async fn is_linked(&self) -> bool {
        self.link.lock().await.upgrade().is_some_and(|link| !link.is_over())
    }

    /// The connection to it, which all writers share.
    pub(super) async fn link(self: &Arc<Self>, lxd: &Lxd) -> Result<Arc<Link>> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.upgrade().filter(|link| !link.is_over()) {
            return Ok(link);
        }
        let link = Link::open(lxd, &self.id, self.hints.clone()).await?;
        *slot = Arc::downgrade(&link);
        Ok(link)
    }
}
