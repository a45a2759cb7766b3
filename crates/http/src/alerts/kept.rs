//! Alerts that were raised and cleared, for those who follow them and those who come back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, BoxStream, StreamExt};
use roadstead_core::{Event, Timestamp};
use tokio::sync::watch;

/// So many alerts are kept for readers that begin in the past.
const KEPT_MAX: usize = 4096;

/// Alerts that were raised and cleared, kept within bounds.
#[derive(Debug)]
pub(crate) struct Alerts {
    /// How many there were, and the last of them.
    kept: Mutex<(u64, VecDeque<Event>)>,
    count: watch::Sender<u64>,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts { kept: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Alerts {
    fn add(&self, event: Event) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1.push_back(event);
        kept.0 += 1;
        if kept.1.len() > KEPT_MAX {
            kept.1.pop_front();
        }
        self.count.send_replace(kept.0);
    }

    pub(super) fn tell(&self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.add(event));
    }

    /// Those from `since` on that are kept, or new ones only, and all that come: of one node, or of all.
    pub(crate) fn follow(
        self: &Arc<Self>,
        node: Option<String>,
        since: Option<Timestamp>,
    ) -> BoxStream<'static, Event> {
        let changes = self.count.subscribe();
        let begin = if since.is_some() { 0 } else { *changes.borrow() };
        let state = (Arc::clone(self), changes, begin);
        let batches = stream::unfold(state, |(alerts, mut changes, next)| async move {
            changes.wait_for(|count| *count > next).await.ok()?;
            let (count, batch) = alerts.from(next);
            Some((stream::iter(batch), (alerts, changes, count)))
        });
        let wanted = move |event: &Event| {
            let wanted = node.as_ref().is_none_or(|node| *node == event.node);
            std::future::ready(wanted && since.is_none_or(|since| event.time >= since))
        };
        batches.flatten().filter(wanted).boxed()
    }

    fn from(&self, next: u64) -> (u64, Vec<Event>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let new = usize::try_from(kept.0.saturating_sub(next)).unwrap_or(usize::MAX);
        let skip = kept.1.len().saturating_sub(new);
        (kept.0, kept.1.iter().skip(skip).cloned().collect())
    }
}
