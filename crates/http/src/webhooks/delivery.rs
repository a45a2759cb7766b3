//! Delivers one webhook: in order, one message after the other, each until it is taken or patience is over.

use std::collections::VecDeque;
use std::time::Duration;

use roadstead_core::store::{Claim, Kept};
use roadstead_core::{Error, ErrorKind, Result, Timestamp};
use serde::Serialize;
use serde_json::{Value, to_value};
use tokio::time::Instant;

use super::Webhooks;
use super::register::{Disabled, Failure, Progress, StoredWebhook, Success};
use crate::journal::{Cursor, Item, Pause, Reader, Resync, Told, told};

/// The most events of a message, and the most bytes of them, unless one alone has more.
const EVENTS_MAX: usize = 100;
const BYTES_MAX: usize = 256 * 1024;
/// Between two attempts, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Where nothing of what happens is wanted, it is written down this often how far that is.
const MARK: Duration = Duration::from_secs(600);

/// What is sent.
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    webhook: &'a str,
    /// As lines of JSON in `GET /v1/events`.
    events: &'a [Value],
}

/// The body of a message.
///
/// # Errors
/// `Unexpected` when it cannot be written, which would be a defect.
pub(super) fn body(kind: &str, webhook: &str, events: &[Value]) -> Result<Vec<u8>> {
    let message = Message { r#type: kind, timestamp: Timestamp::now(), data: Data { webhook, events } };
    serde_json::to_vec(&message).map_err(|error| unwritten(&error))
}

fn unwritten(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("a delivery cannot be written: {error}"))
}

fn shown(item: &Item) -> Result<Option<Value>> {
    let cursor = item.cursor();
    let shown = match (item, item.record().map(|record| told(record, cursor))) {
        (_, Some(Told::Event(event))) => to_value(event),
        (_, Some(Told::NodeError(error))) => to_value(serde_json::json!({ "node_error": error })),
        (Item::Resync(_, reason), None) => {
            let resync = Resync { reason: *reason, cursor: cursor.to_string() };
            to_value(serde_json::json!({ "resync": resync }))
        }
        (Item::Record(..), None) => return Ok(None),
    };
    shown.map(Some).map_err(|error| unwritten(&error))
}

/// How long to wait after so many failures: up to twice as long each time, by chance less, so that not all come back at once.
fn pause_after(failures: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    // Without random numbers all wait as long.
    let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + chance / 2.0)
}

/// The delivery of a webhook, as it was when this began, under a claim.
pub(super) struct Delivery<'a> {
    webhooks: &'a Webhooks,
    webhook: Kept<StoredWebhook>,
    claim: Claim,
    progress: Progress,
    reader: Reader,
    /// Where the receiver is once it has the message that comes next.
    at: Cursor,
    /// What is read behind that.
    pending: VecDeque<Item>,
    /// When it was written down last how far it is delivered.
    marked: Instant,
}

impl<'a> Delivery<'a> {
    /// # Errors
    /// Those of the store.
    pub(super) async fn begin(webhooks: &'a Webhooks, webhook: Kept<StoredWebhook>, claim: Claim) -> Result<Self> {
        let progress = webhooks.register.progress(&webhook.value).await?;
        let reader = webhooks.journal.read(progress.cursor.clone());
        let (at, pending, marked) = (progress.cursor.clone(), VecDeque::new(), Instant::now());
        Ok(Delivery { webhooks, webhook, claim, progress, reader, at, pending, marked })
    }

    /// Delivers until the webhook is disabled, or it is not as it was, or another server is to deliver it.
    ///
    /// # Errors
    /// Why it ended.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let events = self.gather().await?;
            if events.is_empty() {
                self.progress.cursor = self.at.clone();
                if self.marked.elapsed() >= MARK {
                    self.save(None).await?;
                }
                continue;
            }
            let webhook = &self.webhook.value.id;
            // The same for the same events, also after a restart, and another one for others.
            let message = format!("msg_{webhook}_{}_{}_{}", self.at.epoch, self.progress.cursor.seq, self.at.seq);
            let body = body("events", webhook, &events)?;
            if self.deliver(&message, &body).await? {
                return Ok(());
            }
        }
    }

    /// The events of the next message.
    async fn gather(&mut self) -> Result<Vec<Value>> {
        let mut pause = Pause::new();
        while self.pending.is_empty() {
            match self.reader.next().await {
                Ok(items) => self.pending.extend(items),
                Err(error) => {
                    tracing::warn!(webhook = self.webhook.value.id, %error, "what is to be delivered is not read yet");
                    pause.wait().await;
                }
            }
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < EVENTS_MAX {
            let Some(item) = self.pending.front() else { break };
            let is_wanted = item.record().is_none_or(|record| self.webhook.value.filter.wants(record));
            if let Some(event) = if is_wanted { shown(item)? } else { None } {
                bytes += event.to_string().len();
                if !events.is_empty() && bytes > BYTES_MAX {
                    break;
                }
                events.push(event);
            }
            self.at = item.cursor().clone();
            self.pending.pop_front();
        }
        Ok(events)
    }

    /// One message, until it is taken; whether the webhook is disabled now.
    async fn deliver(&mut self, message: &str, body: &[u8]) -> Result<bool> {
        loop {
            if !self.claim.holds() {
                return Err(Error::new(ErrorKind::Cancelled, "another server may deliver it by now"));
            }
            let outcome = self.webhooks.courier.take(&self.webhook.value, message, body).await;
            let now = Timestamp::now();
            let Some(reason) = outcome.failed.clone() else {
                let status = outcome.status.unwrap_or_default();
                self.progress.last_success = Some(Success { at: now, status });
                (self.progress.failing_since, self.progress.attempts) = (None, 0);
                self.progress.cursor = self.at.clone();
                self.save(None).await?;
                return Ok(false);
            };
            tracing::info!(webhook = self.webhook.value.id, reason, "a delivery failed");
            let since = *self.progress.failing_since.get_or_insert(now);
            self.progress.attempts = self.progress.attempts.saturating_add(1);
            self.progress.last_failure = Some(Failure { at: now, status: outcome.status, reason: reason.clone() });
            let left = self.webhooks.patience.saturating_sub(now.since(since));
            let why = if outcome.is_gone() {
                Some("the receiver wants nothing any more: it answered with 410".to_owned())
            } else if left.is_zero() {
                let attempts = self.progress.attempts;
                Some(format!("the same delivery failed {attempts} times since {since}; at last {reason}"))
            } else {
                None
            };
            let disabled = why.map(|reason| Disabled { since: now, reason });
            let is_disabled = disabled.is_some();
            self.save(disabled).await?;
            if is_disabled {
                return Ok(true);
            }
            tokio::time::sleep(pause_after(self.progress.attempts).min(left)).await;
        }
    }

    /// Writes down how it stands, however long that takes.
    async fn save(&mut self, disabled: Option<Disabled>) -> Result<()> {
        let mut pause = Pause::new();
        loop {
            let saved = self.webhooks.register.save(&self.webhook, &self.claim, &self.progress, disabled.clone()).await;
            match saved {
                Ok(()) => {
                    self.marked = Instant::now();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict || !self.claim.holds() => return Err(error),
                Err(error) => {
                    tracing::warn!(webhook = self.webhook.value.id, %error, "how far it is delivered is not written yet");
                    pause.wait().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for (failures, longest) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (u32::MAX, 300)] {
            let (least, most) = (Duration::from_millis(longest * 500), Duration::from_secs(longest));
            for _ in 0..20 {
                assert!((least..=most).contains(&pause_after(failures)), "{failures}");
            }
        }
        let some: std::collections::BTreeSet<_> = (0..20).map(|_| pause_after(10)).collect();
        assert!(some.len() > 1);
    }
}
