//! The webhooks and how far each is delivered, in the store.
//!
//! What a caller says of a webhook and what its deliveries come to are two entries, so that neither overwrites the other; what is written
//! of deliveries is written only as long as the webhook is as it was when they began.

use std::collections::BTreeMap;
use std::sync::Arc;

use roadstead_core::store::{Claim, Guard, Kept, Revision, Store, Table, Transaction};
use roadstead_core::{Error, ErrorKind, Result, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::journal::{Cursor, EventFilter};
use crate::records::kept_secret;

/// The most webhooks that there may be.
const COUNT_MAX: usize = 100;
/// How often a change is tried while others change the same.
const ATTEMPTS: usize = 10;

/// Why nothing is delivered to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Disabled {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Why, in a line.
    pub(crate) reason: String,
}

/// A webhook as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredWebhook {
    pub(crate) id: String,
    pub(crate) url: String,
    /// The store seals it.
    #[serde(serialize_with = "kept_secret")]
    pub(crate) secret: Secret,
    pub(crate) filter: EventFilter,
    pub(crate) created_at: Timestamp,
    /// What came after it is delivered.
    pub(crate) from: Cursor,
    #[serde(default)]
    pub(crate) disabled: Option<Disabled>,
}

impl std::fmt::Debug for StoredWebhook {
    /// The URL may be a secret, too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredWebhook").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A delivery that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Success {
    /// When.
    pub(crate) at: Timestamp,
    /// The status that the receiver answered with.
    pub(crate) status: u16,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Failure {
    /// When.
    pub(crate) at: Timestamp,
    /// The status that the receiver answered with, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Why, in a line.
    pub(crate) reason: String,
}

/// How far a webhook is delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The receiver has this and what is before it.
    pub(crate) cursor: Cursor,
    #[serde(default)]
    pub(crate) last_success: Option<Success>,
    #[serde(default)]
    pub(crate) last_failure: Option<Failure>,
    /// Since when the delivery that comes next fails.
    #[serde(default)]
    pub(crate) failing_since: Option<Timestamp>,
    /// How often it has failed.
    #[serde(default)]
    pub(crate) attempts: u32,
}

impl Progress {
    pub(crate) fn at(cursor: Cursor) -> Self {
        Progress { cursor, last_success: None, last_failure: None, failing_since: None, attempts: 0 }
    }
}

/// Keeps webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    store: Arc<dyn Store>,
    webhooks: Table<StoredWebhook>,
    deliveries: Table<Progress>,
}

fn not_found(id: &str) -> Error {
    Error::not_found("webhook", id)
}

impl Register {
    pub(crate) fn new(store: Arc<dyn Store>, webhooks: Table<StoredWebhook>, deliveries: Table<Progress>) -> Self {
        Register { store, webhooks, deliveries }
    }

    /// All webhooks that make sense, and the revision at which they were read.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn all(&self) -> Result<(Vec<Kept<StoredWebhook>>, Revision)> {
        let (all, revision) = self.webhooks.all().await?;
        let mut webhooks = Vec::with_capacity(all.len());
        for (_, webhook) in all {
            match webhook {
                Ok(webhook) => webhooks.push(webhook),
                Err(error) => tracing::error!(%error, "a webhook is left out"),
            }
        }
        Ok((webhooks, revision))
    }

    /// How far each is delivered, by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn all_progress(&self) -> Result<BTreeMap<String, Progress>> {
        let (all, _) = self.deliveries.all().await?;
        Ok(all.into_iter().filter_map(|(id, progress)| Some((id, progress.ok()?.value))).collect())
    }

    /// One webhook.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn get(&self, id: &str) -> Result<Kept<StoredWebhook>> {
        // Nothing else is an id.
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(not_found(id));
        }
        self.webhooks.get(id).await?.ok_or_else(|| not_found(id))
    }

    /// How far one is delivered.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn progress(&self, webhook: &StoredWebhook) -> Result<Progress> {
        let kept = self.deliveries.get(&webhook.id).await?;
        Ok(kept.map_or_else(|| Progress::at(webhook.from.clone()), |kept| kept.value))
    }

    /// Keeps a new one.
    ///
    /// # Errors
    /// `ResourceExhausted` when there are too many, and those of the store.
    pub(crate) async fn create(&self, webhook: &StoredWebhook) -> Result<()> {
        if self.all().await?.0.len() >= COUNT_MAX {
            let text = format!("there are {COUNT_MAX} webhooks already");
            return Err(Error::new(ErrorKind::ResourceExhausted, text).with_operation("webhook.create"));
        }
        self.webhooks.create(&webhook.id, webhook).await.map(drop)
    }

    /// Forgets one with how far it is delivered.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn remove(&self, id: &str) -> Result<()> {
        self.try_change(id, |kept| {
            let key = self.webhooks.key(id)?;
            let remove = Transaction::new().when(Guard::Unchanged(key.clone(), kept.revision)).delete(key);
            Ok(remove.delete(self.deliveries.key(id)?))
        })
        .await
        .map(drop)
    }

    /// Has one delivered again from where it stopped, with as much patience as at the beginning.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn enable(&self, id: &str) -> Result<StoredWebhook> {
        let progress = self.progress(&self.get(id).await?.value).await?;
        let progress = Progress { failing_since: None, attempts: 0, ..progress };
        self.try_change(id, |kept| {
            let enabled = StoredWebhook { disabled: None, ..kept.value.clone() };
            let write =
                Transaction::new().replace(self.webhooks.key(id)?, kept.revision, self.webhooks.encode(&enabled)?);
            // While it is enabled, who delivers it says how far that is.
            Ok(match kept.value.disabled {
                Some(_) => write.put(self.deliveries.key(id)?, self.deliveries.encode(&progress)?),
                None => write,
            })
        })
        .await?;
        Ok(self.get(id).await?.value)
    }

    async fn try_change(
        &self,
        id: &str,
        change: impl Fn(&Kept<StoredWebhook>) -> Result<Transaction>,
    ) -> Result<Revision> {
        let mut last = Error::new(ErrorKind::Conflict, "the webhook was not changed");
        for _ in 0..ATTEMPTS {
            match self.store.commit(&change(&self.get(id).await?)?).await {
                Err(error) if error.kind() == ErrorKind::Conflict => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    /// Writes down how far one is delivered, by who has the claim; with `disabled` it is so from then on.
    ///
    /// # Errors
    /// `Conflict` when the claim is lost or the webhook is not as it was, and those of the store.
    pub(super) async fn save(
        &self,
        webhook: &Kept<StoredWebhook>,
        claim: &Claim,
        progress: &Progress,
        disabled: Option<Disabled>,
    ) -> Result<()> {
        let id = &webhook.value.id;
        let mut write =
            Transaction::new().when(claim.guard()).put(self.deliveries.key(id)?, self.deliveries.encode(progress)?);
        write = match disabled {
            Some(disabled) => {
                let value = StoredWebhook { disabled: Some(disabled), ..webhook.value.clone() };
                write.replace(self.webhooks.key(id)?, webhook.revision, self.webhooks.encode(&value)?)
            }
            None => write.when(Guard::Unchanged(self.webhooks.key(id)?, webhook.revision)),
        };
        self.store.commit(&write).await.map(drop)
    }

    /// Ready when a webhook was changed after this revision.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn changed(&self, after: Revision) -> Result<()> {
        let mut changes = self.webhooks.watch(after).await?;
        match futures_util::StreamExt::next(&mut changes).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::Unavailable, "the store ended its watch")),
        }
    }
}
