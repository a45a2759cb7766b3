//! Sessions: somebody who is alive, and what only one of several such may have at a time.
//!
//! A session holds a lease and renews it. What it claims is an entry that hangs on the lease: nobody else can claim the same until
//! the session gives it back, ends, or has not been able to renew its lease for its life. Whoever holds a claim must stop what it does
//! when the claim is lost; the store lets nobody write under a claim that is over ([`Claim::guard`]). What is done elsewhere, on an engine,
//! cannot be guarded so: [`Claim::holds`] is asked right before it, and by the clock that nobody sets it says no before the store says so.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Guard, Key, LeaseId, Revision, Store, Transaction, Write};
use crate::error::{Error, ErrorKind, Result};

/// So many times within its life a lease is renewed.
const RENEWALS: u32 = 4;

/// Somebody who is alive. Clones are the same one; dropping the last ends its renewal, and the lease when its life is over.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    lease: LeaseId,
    /// Until when the store keeps the lease for certain; none when it is over.
    until: watch::Sender<Option<Instant>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("lease", &self.0.lease).field("live", &self.is_live()).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins one whose claims are free for others when it could not renew its lease for `life`. Gives the session, and the future
    /// that must be run (spawned) to renew its lease; that ends with the session.
    ///
    /// # Errors
    /// `InvalidInput` that names `life`, and those of the store.
    pub async fn begin(
        store: Arc<dyn Store>,
        life: Duration,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        // From before the question on: the store's time begins later.
        let asked = Instant::now();
        let lease = store.lease(life).await?;
        let shared = Arc::new(Shared { store, lease, until: watch::Sender::new(Some(asked + life)) });
        let renewal = renew(Arc::downgrade(&shared), life);
        Ok((Session(shared), renewal))
    }

    /// Whether the store keeps its lease for certain.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Ready when it is not live any more: whatever is done under its claims ends.
    pub async fn lost(&self) {
        let mut changes = self.0.until.subscribe();
        loop {
            let Some(until) = *changes.borrow_and_update() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => if !self.is_live() { return },
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The lease, for entries that are to go with it.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.0.lease
    }

    /// Claims a key, with a value that says who has it; `None` when another one has it.
    ///
    /// # Errors
    /// `Unavailable` when the session is over, and those of the store.
    pub async fn claim(&self, key: &Key, value: impl Into<Bytes>) -> Result<Option<Claim>> {
        if !self.is_live() {
            return Err(over());
        }
        let put = Write::Put { key: key.clone(), value: value.into(), lease: Some(self.0.lease) };
        let claim = Transaction::new().when(Guard::Absent(key.clone())).write(put);
        match self.0.store.commit(&claim).await {
            Ok(revision) => Ok(Some(Claim { session: self.clone(), key: key.clone(), revision })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.0.until.send_replace(None);
                Err(over())
            }
            Err(error) => Err(error),
        }
    }

    /// What it has claimed already; `None` when it has not. Also what was claimed without that being known: an answer was lost.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn held(&self, key: &Key) -> Result<Option<Claim>> {
        let entry = self.0.store.get(key).await?.filter(|entry| entry.lease == Some(self.0.lease));
        Ok(entry.map(|entry| Claim { session: self.clone(), key: key.clone(), revision: entry.revision }))
    }

    /// Claims anew what it has claimed already; `None` when it has not. An earlier attempt to give that back, of which nothing was heard,
    /// does not give this one back.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn claim_again(&self, key: &Key, value: impl Into<Bytes>) -> Result<Option<Claim>> {
        let Some(held) = self.held(key).await? else { return Ok(None) };
        let put = Write::Put { key: key.clone(), value: value.into(), lease: Some(self.0.lease) };
        match self.0.store.commit(&Transaction::new().when(held.guard()).write(put)).await {
            Ok(revision) => Ok(Some(Claim { revision, ..held })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends it: what hangs on its lease is free at once.
    ///
    /// # Errors
    /// Those of the store; the claims are free when the lease's life is over, then.
    pub async fn end(&self) -> Result<()> {
        self.0.until.send_replace(None);
        match self.0.store.revoke(self.0.lease).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            ended => ended,
        }
    }
}

fn over() -> Error {
    Error::new(ErrorKind::Unavailable, "the session is over")
}

/// Renews the lease until it is over, or nobody needs it.
async fn renew(session: Weak<Shared>, life: Duration) {
    let pause = life / RENEWALS;
    loop {
        tokio::time::sleep(pause).await;
        let Some(session) = session.upgrade().filter(|session| session.until.borrow().is_some()) else { return };
        let Shared { store, lease, until } = &*session;
        let asked = Instant::now();
        // An answer that does not come is asked for anew: the store may have another way by then.
        match tokio::time::timeout(pause.max(Duration::from_secs(1)), store.renew(*lease)).await {
            Ok(Ok(())) => {
                // One that was ended meanwhile stays so.
                until.send_if_modified(|until| until.is_some() && until.replace(asked + life).is_some());
            }
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                if until.send_replace(None).is_none() {
                    return;
                }
                tracing::warn!("the session is over: its lease was not renewed in time");
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the session's lease is not renewed"),
            Err(_) => tracing::warn!("the session's lease is not renewed: the store does not answer"),
        }
    }
}

/// What a session has, and nobody else. It stays claimed until it is given back or the session is over.
#[derive(Clone, Debug)]
pub struct Claim {
    session: Session,
    key: Key,
    revision: Revision,
}

impl Claim {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether nobody else can have it for certain.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.session.is_live()
    }

    /// Ready when it does not hold any more because the session is over.
    pub async fn lost(&self) {
        self.session.lost().await;
    }

    /// What lets a transaction be done only while it holds.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::Unchanged(self.key.clone(), self.revision)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Those of the store; it is free when the session is over, then.
    pub async fn release(self) -> Result<()> {
        let release = Transaction::new().when(self.guard()).delete(self.key.clone());
        match self.session.0.store.commit(&release).await {
            // It was lost before.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            released => released.map(drop),
        }
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    const LIFE: Duration = Duration::from_secs(6);

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    async fn begin(store: &MemoryStore) -> Session {
        let (session, renewal) = Session::begin(Arc::new(store.clone()), LIFE).await.unwrap();
        tokio::spawn(renewal);
        session
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_it_until_it_gives_it_back_or_is_over() {
        let store = MemoryStore::new();
        let (here, there) = (begin(&store).await, begin(&store).await);
        let claim = here.claim(&key("a"), "here").await.unwrap().unwrap();
        assert!(there.claim(&key("a"), "there").await.unwrap().is_none());
        assert!(there.held(&key("a")).await.unwrap().is_none());
        let held = here.held(&key("a")).await.unwrap().unwrap();
        assert_eq!((held.revision, held.holds()), (claim.revision, true));
        assert!(there.claim_again(&key("a"), "there").await.unwrap().is_none());
        let again = here.claim_again(&key("a"), "here").await.unwrap().unwrap();
        // A late attempt to give the first one back.
        claim.release().await.unwrap();
        assert!(there.claim(&key("a"), "there").await.unwrap().is_none());
        let claim = again;
        tokio::time::sleep(LIFE * 10).await;
        assert!(claim.holds() && there.claim(&key("a"), "there").await.unwrap().is_none(), "it was renewed");
        claim.release().await.unwrap();
        let claim = there.claim(&key("a"), "there").await.unwrap().unwrap();
        there.end().await.unwrap();
        assert!(!claim.holds());
        assert!(here.claim(&key("a"), "here").await.unwrap().is_some());
        assert_eq!(there.claim(&key("b"), "there").await.unwrap_err().kind(), ErrorKind::Unavailable);
        claim.release().await.unwrap();
        assert_eq!(&store.get(&key("a")).await.unwrap().unwrap().value[..], b"here", "what was lost is not given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_does_not_hold_any_more_before_another_one_has_it() {
        let store = MemoryStore::new();
        // As a process that stands still: its lease is not renewed.
        let (here, _renewal) = Session::begin(Arc::new(store.clone()), LIFE).await.unwrap();
        let there = begin(&store).await;
        let claim = here.claim(&key("a"), "here").await.unwrap().unwrap();
        let mut waiting = tokio::spawn({
            let claim = claim.clone();
            async move { claim.lost().await }
        });
        let taken = loop {
            let was_held = claim.holds();
            if let Some(taken) = there.claim(&key("a"), "there").await.unwrap() {
                assert!(!was_held, "two had it");
                break taken;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        };
        (&mut waiting).await.unwrap();
        let write = Transaction::new().put(key("b"), "1");
        assert_eq!(store.commit(&write.clone().when(claim.guard())).await.unwrap_err().kind(), ErrorKind::Conflict);
        store.commit(&write.when(taken.guard())).await.unwrap();
        assert!(here.claim(&key("c"), "here").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_revoked_by_others_ends_the_session() {
        let store = MemoryStore::new();
        let here = begin(&store).await;
        store.revoke(here.lease()).await.unwrap();
        tokio::time::timeout(LIFE, here.lost()).await.unwrap();
        assert!(!here.is_live());
    }
}
