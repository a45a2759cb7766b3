//! Webhooks: receivers that are told of events without asking, each by one server at a time.
//!
//! Whoever delivers a webhook has a claim on it, and writes under that claim how far it is delivered. So a message is delivered at least
//! once and in order, also when a server dies in the middle: the next one begins with what is not known to have been taken.

mod courier;
mod delivery;
mod register;
mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::store::{Claim, Kept, Revision};
use roadstead_core::{Result, Secret, Timestamp};
use tokio::sync::Notify;

pub(crate) use courier::Outcome;
pub(crate) use register::{Disabled, Failure, Progress, Register, StoredWebhook, Success};

use crate::config::Config;
use crate::fleet::Fleet;
use crate::journal::{EventFilter, Journal};
use courier::Courier;
use delivery::Delivery;

/// Below which the claims are.
const CLAIMS: &str = "webhooks/";
/// What another server delivers is asked for again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// Without any sign of a change, it is looked at so often.
const SELDOM: Duration = Duration::from_secs(60);

/// Every webhook of the store, and those that are delivered here.
#[derive(Debug)]
pub(crate) struct Webhooks {
    pub(crate) register: Register,
    journal: Arc<Journal>,
    courier: Courier,
    /// How long a delivery is tried.
    patience: Duration,
    allow_http: bool,
    /// Told when one is not delivered here any more.
    ended: Notify,
}

/// One that is delivered here until this is dropped.
struct Working {
    revision: Revision,
    claim: Claim,
    task: tokio::task::JoinHandle<()>,
}

impl Working {
    /// Ends it, and lets another server have it.
    async fn end(mut self, id: &str) {
        self.task.abort();
        // Nothing is on its way any more when it is given back.
        let _ = (&mut self.task).await;
        if self.claim.holds()
            && let Err(error) = self.claim.clone().release().await
        {
            tracing::warn!(webhook = id, %error, "a claim is not given back; it is over with the session");
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhooks {
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn new(register: Register, journal: Arc<Journal>, config: &Config) -> Result<Self> {
        Ok(Webhooks {
            register,
            journal,
            courier: Courier::new(Duration::from_secs(config.webhook_timeout_seconds.into())),
            patience: Duration::from_secs(config.webhook_retry_seconds.into()),
            allow_http: config.webhook_allow_http,
            ended: Notify::new(),
        })
    }

    /// Keeps a new webhook, which is told of what happens from now on.
    ///
    /// # Errors
    /// `InvalidInput` that names the member, and those of the store.
    pub(crate) async fn create(
        &self,
        url: String,
        secret: Option<Secret>,
        filter: EventFilter,
    ) -> Result<StoredWebhook> {
        courier::check_url(&url, self.allow_http)?;
        filter.check(["filter.nodes", "filter.actions", "filter.resources"])?;
        let secret = match secret {
            Some(secret) => {
                signature::check(&secret)?;
                secret
            }
            None => signature::make()?,
        };
        let webhook = StoredWebhook {
            id: uuid::Uuid::new_v4().simple().to_string(),
            url,
            secret,
            filter,
            created_at: Timestamp::now(),
            from: self.journal.end(),
            disabled: None,
        };
        self.register.create(&webhook).await?;
        Ok(webhook)
    }

    /// Sends one message without events, now, and says what came of it. It changes nothing.
    ///
    /// # Errors
    /// `NotFound`, and those of the store; not what keeps the receiver from taking it.
    pub(crate) async fn test(&self, id: &str) -> Result<Outcome> {
        let webhook = self.register.get(id).await?.value;
        let message = format!("msg_{id}_test_{}", uuid::Uuid::new_v4().simple());
        let body = delivery::body("test", id, &[])?;
        Ok(self.courier.take(&webhook, &message, &body).await)
    }

    /// Delivers what no other server delivers, for as long as this one runs. Never ends.
    pub(crate) async fn keep(self: &Arc<Self>, fleet: &Fleet) {
        let mut working: BTreeMap<String, Working> = BTreeMap::new();
        let mut sessions = fleet.sessions();
        loop {
            sessions.borrow_and_update();
            let (settled, after) = match self.settle(fleet, &mut working).await {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::warn!(%error, "which webhooks are delivered here is not settled");
                    (false, None)
                }
            };
            let changed = async {
                match after {
                    Some(after) => self.register.changed(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if settled { SELDOM } else { AGAIN }) => {}
                changed = changed => if changed.is_err() { tokio::time::sleep(AGAIN).await },
                () = self.ended.notified() => {}
                changed = sessions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look at all: whether each is delivered here or needs not to be, and at which revision that was so.
    async fn settle(
        self: &Arc<Self>,
        fleet: &Fleet,
        working: &mut BTreeMap<String, Working>,
    ) -> Result<(bool, Option<Revision>)> {
        let (all, read) = self.register.all().await?;
        let wanted: BTreeMap<_, _> = all
            .into_iter()
            .filter(|webhook| webhook.value.disabled.is_none())
            .map(|webhook| (webhook.value.id.clone(), webhook))
            .collect();
        let stays = |id: &String, work: &Working| {
            wanted.get(id).is_some_and(|webhook| webhook.revision == work.revision)
                && work.claim.holds()
                && !work.task.is_finished()
        };
        let over: Vec<_> = working.iter().filter(|(id, work)| !stays(id, work)).map(|(id, _)| id.clone()).collect();
        for id in over {
            if let Some(work) = working.remove(&id) {
                work.end(&id).await;
            }
        }
        let missing: Vec<_> = wanted.into_iter().filter(|(id, _)| !working.contains_key(id)).collect();
        if missing.is_empty() {
            return Ok((true, Some(read)));
        }
        let claimed = fleet.claimed(CLAIMS).await?;
        let mut settled = true;
        for (id, webhook) in missing {
            let name = format!("{CLAIMS}{id}");
            let claim = match claimed.get(&id) {
                // The answer to a claim was lost.
                Some(server) if server == fleet.id() => fleet.held(&name).await?,
                Some(_) => None,
                None => fleet.claim(&name).await?,
            };
            match claim {
                Some(claim) => {
                    let revision = webhook.revision;
                    let task = tokio::spawn(Arc::clone(self).deliver(webhook, claim.clone()));
                    working.insert(id, Working { revision, claim, task });
                }
                None => settled = false,
            }
        }
        Ok((settled, Some(read)))
    }

    /// Delivers one until that is over.
    async fn deliver(self: Arc<Self>, webhook: Kept<StoredWebhook>, claim: Claim) {
        let id = webhook.value.id.clone();
        let lost = claim.clone();
        let work = async {
            match Delivery::begin(&self, webhook, claim).await {
                Ok(delivery) => delivery.run().await,
                Err(error) => {
                    tokio::time::sleep(AGAIN).await;
                    Err(error)
                }
            }
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = lost.lost() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::info!(webhook = id, %error, "a webhook is not delivered here any more");
        }
        self.ended.notify_one();
    }
}
