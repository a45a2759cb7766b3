//! What is kept of requests with a key: that one began, and what was answered.
//!
//! An entry is made before anything is done, by whoever is first, and is never taken away because its server is gone: what that server
//! has done is not known, so nobody may do it again. Beside it stands a mark of the hour in which it is too old, by which old ones are
//! found without reading them all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roadstead_core::store::{Guard, ListEntries, Prefix, Revision, Store, Table, Transaction};
use roadstead_core::{Error, ErrorKind, Result, Retry, Timestamp};
use serde::{Deserialize, Serialize};

/// So long a key is known.
pub(super) const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks for keys that are too old.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// So many are taken away at once.
const SWEEP_AT_ONCE: usize = 100;
/// How often a key is looked at while others write it, too.
const ATTEMPTS: usize = 10;
/// So long an answer waits for the store to keep it.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to keep an answer, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest of these pauses; after so many of them it is given up.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const SETTLE_ATTEMPTS: usize = 60;

/// An answer, to be given again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// As base64; absent when it is too large to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
}

/// A request with a key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    fingerprint: String,
    /// The server that does it.
    server: String,
    /// No two attempts have the same.
    attempt: String,
    expires_at: Timestamp,
    /// What was answered; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<KeptAnswer>,
}

/// What a key says.
pub(super) enum Known {
    /// Nothing yet: it may be done, by whoever has this.
    New(Place),
    /// It was answered.
    Answered(KeptAnswer),
    /// Somebody does it now.
    InProgress,
    /// Somebody began it who is gone.
    Unknown,
    /// It was for another request.
    Other,
}

struct Shared {
    store: Arc<dyn Store>,
    keys: Table<KeyRecord>,
    marks: Prefix,
    /// Names of the keys that this server works at.
    here: Mutex<BTreeSet<String>>,
}

/// All keys. Clones are the same.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Shared>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("marks", &self.0.marks).finish_non_exhaustive()
    }
}

/// That this server works at a key, until it is dropped.
struct Here {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.shared.here.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// The right to do what a key is for. Dropped without being settled, it stays unknown what was done.
pub(super) struct Place {
    here: Here,
    record: KeyRecord,
    revision: Revision,
}

impl Keys {
    pub(crate) fn new(store: Arc<dyn Store>, keys: Table<KeyRecord>, marks: Prefix) -> Self {
        Keys(Arc::new(Shared { store, keys, marks, here: Mutex::default() }))
    }

    /// What the key of this name says, for a request with this fingerprint at the server `own`. `alive` says whether another one is.
    ///
    /// # Errors
    /// Those of the store; nothing was done then, and nothing may be.
    pub(super) async fn ask(
        &self,
        name: &str,
        fingerprint: &str,
        own: &str,
        alive: impl AsyncFn(&str) -> Result<bool>,
    ) -> Result<Known> {
        let mut here = self.enter(name);
        for _ in 0..ATTEMPTS {
            let kept = self.0.keys.get(name).await?;
            let old = kept.as_ref().map(|kept| kept.revision);
            match kept.map(|kept| kept.value).filter(|record| record.expires_at > Timestamp::now()) {
                Some(record) if record.fingerprint != fingerprint => return Ok(Known::Other),
                Some(KeyRecord { answer: Some(answer), .. }) => return Ok(Known::Answered(answer)),
                Some(record) => {
                    let at_it = if record.server == own { here.is_none() } else { alive(&record.server).await? };
                    return Ok(if at_it { Known::InProgress } else { Known::Unknown });
                }
                None => {
                    let Some(entered) = here.take() else { return Ok(Known::InProgress) };
                    match self.begin(entered, fingerprint, own, old).await? {
                        Ok(place) => return Ok(Known::New(place)),
                        // Somebody was faster, at another server.
                        Err(entered) => here = Some(entered),
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the key is written by many at once").with_retry(Retry::Safe))
    }

    /// None when somebody at this server works at it.
    fn enter(&self, name: &str) -> Option<Here> {
        let entered = self.0.here.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        entered.then(|| Here { shared: Arc::clone(&self.0), name: name.to_owned() })
    }

    /// Writes down that it begins.
    async fn begin(
        &self,
        here: Here,
        fingerprint: &str,
        own: &str,
        old: Option<Revision>,
    ) -> Result<std::result::Result<Place, Here>> {
        let record = KeyRecord {
            fingerprint: fingerprint.to_owned(),
            server: own.to_owned(),
            attempt: uuid::Uuid::new_v4().simple().to_string(),
            expires_at: Timestamp::now().saturating_add(KEEP),
            answer: None,
        };
        let (key, value) = (self.0.keys.key(&here.name)?, self.0.keys.encode(&record)?);
        let begin = match old {
            None => Transaction::new().create(key, value),
            Some(old) => Transaction::new().replace(key, old, value),
        };
        let begin = begin.put(self.0.mark(&here.name, record.expires_at)?, "{}");
        match self.0.store.commit(&begin).await {
            Ok(revision) => Ok(Ok(Place { here, record, revision })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Err(here)),
            Err(error) => {
                // It may be there all the same, and would say that something was done.
                tokio::spawn(Arc::clone(&self.0).settle(here, record, None, None));
                Err(error.with_retry(Retry::Safe))
            }
        }
    }

    /// Takes away what is too old, now and then. Never ends.
    pub(crate) async fn sweep(&self) {
        loop {
            if let Err(error) = self.0.sweep(Timestamp::now()).await {
                tracing::warn!(%error, "idempotency: old keys are not taken away");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }
}

impl Place {
    /// Keeps the answer, or with none gives the key free. When the store does not do it soon, that goes on behind the answer.
    pub(super) async fn settle(self, answer: Option<KeptAnswer>) {
        let shared = Arc::clone(&self.here.shared);
        let settled = tokio::spawn(shared.settle(self.here, self.record, Some(self.revision), answer));
        if tokio::time::timeout(SETTLE_PATIENCE, settled).await.is_err() {
            tracing::warn!("idempotency: the store does not keep an answer yet");
        }
    }
}

impl Shared {
    fn mark(&self, name: &str, expires_at: Timestamp) -> Result<roadstead_core::store::Key> {
        self.marks.key(&format!("{:010}/{name}", hour_of(expires_at)))
    }

    /// Until the store has it. The revision is asked for where it is not known.
    async fn settle(
        self: Arc<Self>,
        here: Here,
        record: KeyRecord,
        mut revision: Option<Revision>,
        answer: Option<KeptAnswer>,
    ) {
        let mut pause = PAUSE_MIN;
        for _ in 0..SETTLE_ATTEMPTS {
            let settle = async {
                let before = match revision {
                    Some(revision) => revision,
                    None => match self.keys.get(&here.name).await? {
                        Some(kept) if kept.value.attempt == record.attempt => kept.revision,
                        _ => return Ok(()),
                    },
                };
                match &answer {
                    Some(answer) => {
                        let record = KeyRecord { answer: Some(answer.clone()), ..record.clone() };
                        self.keys.replace(&here.name, before, &record).await.map(drop)
                    }
                    None => self.keys.remove_unchanged(&here.name, before).await,
                }
            };
            match settle.await {
                Ok(()) => return,
                // Done by an attempt whose answer was lost, or too old by now.
                Err(error) if error.kind() == ErrorKind::Conflict && revision.is_some() => return,
                Err(error) => tracing::debug!(%error, "idempotency: not settled yet"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
            if answer.is_none() {
                revision = None;
            }
        }
        tracing::warn!("idempotency: what came of a request is not kept; its key says that it is unknown");
    }

    /// Those whose hour is over.
    async fn sweep(&self, now: Timestamp) -> Result<()> {
        let mut marks = ListEntries::of(self.marks.clone());
        marks.limit = SWEEP_AT_ONCE;
        loop {
            let page = self.store.list(&marks).await?;
            for mark in &page.entries {
                let (hour, name) =
                    mark.key.behind(&self.marks).and_then(|rest| rest.split_once('/')).unwrap_or_default();
                if hour.parse().is_ok_and(|hour: i64| hour >= hour_of(now)) {
                    return Ok(());
                }
                let mut gone = Transaction::new().delete(mark.key.clone());
                if let Some(kept) = self.keys.get(name).await?
                    && kept.value.expires_at <= now
                {
                    let key = self.keys.key(name)?;
                    gone = gone.when(Guard::Unchanged(key.clone(), kept.revision)).delete(key);
                }
                match self.store.commit(&gone).await {
                    // Another server is at it, or the key was used anew.
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    done => drop(done?),
                }
            }
            marks.after = page.entries.last().map(|mark| mark.key.clone());
            if !page.more || marks.after.is_none() {
                return Ok(());
            }
        }
    }
}

fn hour_of(time: Timestamp) -> i64 {
    time.unix_seconds() / 3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::store::{MemoryStore, entries};

    fn keys(store: &MemoryStore) -> Keys {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let table = Table::new(Arc::clone(&store), Prefix::new("k/").unwrap(), "key");
        Keys::new(store, table, Prefix::new("m/").unwrap())
    }

    fn answer(status: u16) -> KeptAnswer {
        KeptAnswer { status, headers: Vec::new(), body: Some(String::new()) }
    }

    async fn ask(keys: &Keys, print: &str, own: &str) -> Known {
        keys.ask("n", print, own, async |server: &str| Ok(server == "alive")).await.unwrap()
    }

    async fn begin(keys: &Keys, own: &str) -> Place {
        match ask(keys, "f", own).await {
            Known::New(place) => place,
            _ => panic!("it is new"),
        }
    }

    #[tokio::test]
    async fn one_does_it_and_all_others_are_told() {
        let store = MemoryStore::new();
        let (here, there) = (keys(&store), keys(&store));
        let place = begin(&here, "alive").await;
        assert!(matches!(ask(&here, "f", "alive").await, Known::InProgress));
        assert!(matches!(ask(&there, "f", "b").await, Known::InProgress));
        assert!(matches!(ask(&here, "g", "alive").await, Known::Other));
        place.settle(Some(answer(201))).await;
        for keys in [&here, &there] {
            assert!(matches!(ask(keys, "f", "b").await, Known::Answered(kept) if kept.status == 201));
            assert!(matches!(ask(keys, "g", "b").await, Known::Other));
        }
    }

    #[tokio::test]
    async fn a_key_that_is_given_free_can_be_used_again() {
        let store = MemoryStore::new();
        let keys = keys(&store);
        begin(&keys, "a").await.settle(None).await;
        begin(&keys, "a").await.settle(Some(answer(200))).await;
        assert!(matches!(ask(&keys, "f", "a").await, Known::Answered(_)));
    }

    #[tokio::test]
    async fn what_a_server_left_is_unknown_and_never_done_again() {
        let store = MemoryStore::new();
        drop(begin(&keys(&store), "gone").await);
        let keys = keys(&store);
        for own in ["new", "gone", "new"] {
            assert!(matches!(ask(&keys, "f", own).await, Known::Unknown), "{own}");
        }
    }

    #[tokio::test]
    async fn what_is_too_old_is_new_again_and_is_taken_away() {
        let store = MemoryStore::new();
        let keys = keys(&store);
        begin(&keys, "a").await.settle(Some(answer(200))).await;
        let name = "n";
        let mut kept = keys.0.keys.get(name).await.unwrap().unwrap();
        keys.0.sweep(Timestamp::now()).await.unwrap();
        assert!(keys.0.keys.get(name).await.unwrap().is_some(), "it is not too old");
        kept.value.expires_at = Timestamp::now();
        keys.0.keys.put(name, &kept.value).await.unwrap();
        begin(&keys, "a").await.settle(Some(answer(202))).await;
        assert!(matches!(ask(&keys, "f", "a").await, Known::Answered(kept) if kept.status == 202));
        let later = Timestamp::now().saturating_add(KEEP * 2);
        keys.0.sweep(later).await.unwrap();
        let (left, _) = entries(&store, &Prefix::default()).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
