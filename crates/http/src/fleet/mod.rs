//! Servers that share a store: which of them are alive, and which one does what only one may do.
//!
//! Each server has a session in the store; what it claims is its own until it gives it back or the session is over. A session that is
//! lost (the store was away, the process stood still) ends what was done under it, and a new one begins.

mod duty;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_core::store::{Claim, Prefix, Revision, Session, Store, Table, TableChange, Transaction, entries};
use roadstead_core::{Error, ErrorKind, ItemStream, Result, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use duty::{Duty, Hold};

/// After so long without a sign of life another server may do what one did.
const LIFE: Duration = Duration::from_secs(5);
/// Between two attempts to begin a session.
const PAUSE: Duration = Duration::from_millis(500);

/// A server that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ServerRecord {
    /// Its id, another one after each start.
    pub(crate) id: String,
    /// Id of its state directory, the same after each start.
    #[serde(default)]
    pub(crate) state_id: String,
    /// Where it listens.
    pub(crate) urls: Vec<String>,
    /// Host name of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// Its version.
    pub(crate) version: String,
    /// When it was started.
    pub(crate) started_at: Timestamp,
    /// Nodes of the store that it does not reach: it has an own node of that name, or their address is one that only another machine knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unreached_nodes: BTreeSet<String>,
}

/// This server among those that share its store.
#[derive(Debug)]
pub(crate) struct Fleet {
    store: Arc<dyn Store>,
    servers: Table<ServerRecord>,
    claims: Prefix,
    id: String,
    /// As it is told to the others.
    own: Mutex<ServerRecord>,
    session: watch::Sender<Option<Session>>,
}

/// A poisoned lock only says that another thread panicked; what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Joins it.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn join(
        store: Arc<dyn Store>,
        servers: Table<ServerRecord>,
        state_id: &str,
        urls: Vec<String>,
    ) -> Result<Self> {
        let host = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await.ok();
        let own = ServerRecord {
            id: uuid::Uuid::new_v4().simple().to_string(),
            state_id: state_id.to_owned(),
            urls,
            host: host.map(|host| host.trim().to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Timestamp::now(),
            unreached_nodes: BTreeSet::new(),
        };
        let (claims, id) = (Prefix::new("claims/")?, own.id.clone());
        let fleet = Fleet { store, servers, claims, id, own: Mutex::new(own), session: watch::Sender::new(None) };
        fleet.begin().await?;
        Ok(fleet)
    }

    async fn begin(&self) -> Result<()> {
        let (session, renewal) = Session::begin(Arc::clone(&self.store), LIFE).await?;
        let own = lock(&self.own).clone();
        self.tell(&own, &session).await?;
        tokio::spawn(renewal);
        self.session.send_replace(Some(session));
        Ok(())
    }

    async fn tell(&self, own: &ServerRecord, session: &Session) -> Result<()> {
        let here = Transaction::new().put_with(self.servers.key(&own.id)?, self.servers.encode(own)?, session.lease());
        self.store.commit(&here).await.map(drop)
    }

    /// Tells the others which nodes of the store this server does not reach.
    ///
    /// # Errors
    /// `Unavailable` when there is no session now, and those of the store.
    async fn does_not_reach(&self, nodes: BTreeSet<String>) -> Result<()> {
        let own = {
            let mut own = lock(&self.own);
            // Also for the next session.
            own.unreached_nodes = nodes;
            own.clone()
        };
        self.tell(&own, &self.session()?).await
    }

    /// Begins a new session whenever one is lost. Never ends.
    pub(crate) async fn stay(&self) {
        loop {
            let session = self.session.borrow().clone();
            if let Some(session) = session {
                session.lost().await;
                self.session.send_replace(None);
                tracing::warn!(
                    "fleet: the session is lost; what only one server may do is not done here until a new one"
                );
            }
            match self.begin().await {
                Ok(()) => tracing::info!("fleet: a new session"),
                Err(error) => {
                    tracing::warn!(%error, "fleet: no new session yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Gives up what this server has, so that another one has it at once.
    pub(crate) async fn leave(&self) {
        let session = self.session.send_replace(None);
        if let Some(session) = session
            && let Err(error) = session.end().await
        {
            tracing::warn!(%error, "fleet: the session is not ended; others wait until it is over");
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Every server that is alive, by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn servers(&self) -> Result<Vec<ServerRecord>> {
        self.servers_at().await.map(|(servers, _)| servers)
    }

    /// The same, and the revision after which [`watch`](Self::watch) tells of others.
    async fn servers_at(&self) -> Result<(Vec<ServerRecord>, Revision)> {
        let (servers, revision) = self.servers.all().await?;
        let servers = servers.into_iter().map(|(_, server)| server.map(|server| server.value));
        Ok((servers.collect::<Result<_>>()?, revision))
    }

    fn session(&self) -> Result<Session> {
        let session = self.session.borrow().clone();
        session.ok_or_else(|| Error::new(ErrorKind::Unavailable, "this server has no session now"))
    }

    /// Claims what only one server may do; `None` when another one does it. What this server has claimed already it gets again, since the
    /// answer to a claim, or to giving one back, may have been lost: whoever asks makes sure that nobody else here does the same.
    ///
    /// # Errors
    /// `Unavailable` when there is no session now, and those of the store.
    pub(crate) async fn claim(&self, name: &str) -> Result<Option<Claim>> {
        let (session, key) = (self.session()?, self.claims.key(name)?);
        match session.claim(&key, self.id.clone()).await? {
            Some(claim) => Ok(Some(claim)),
            None => session.claim_again(&key, self.id.clone()).await,
        }
    }

    /// What this server has claimed already, as the store has it.
    ///
    /// # Errors
    /// `Unavailable` when there is no session now, and those of the store.
    pub(crate) async fn held(&self, name: &str) -> Result<Option<Claim>> {
        self.session()?.held(&self.claims.key(name)?).await
    }

    /// What is claimed below a name that ends with a slash, and by which server.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn claimed(&self, below: &str) -> Result<BTreeMap<String, String>> {
        let prefix = Prefix::new(format!("{}{below}", self.claims.as_str()))?;
        let (entries, _) = entries(&*self.store, &prefix).await?;
        let claimed = entries.iter().filter_map(|entry| {
            let by = String::from_utf8_lossy(&entry.value).into_owned();
            Some((entry.key.behind(&prefix)?.to_owned(), by))
        });
        Ok(claimed.collect())
    }

    /// Tells of sessions that are lost and of new ones.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Session>> {
        self.session.subscribe()
    }

    /// Tells of servers that come, go, or reach other nodes, after a revision.
    async fn watch(&self, after: Revision) -> Result<ItemStream<TableChange<ServerRecord>>> {
        self.servers.watch(after).await
    }
}
