//! Details of containers that somebody asked for lately, kept for as long as nothing is known to have changed them.
//!
//! An engine does not tell of all that details show: an address comes some time after the start. So what changed a moment ago is
//! kept for as long as it has been as it is, from one second to half a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::container::ContainerDetails;
use crate::time::Timestamp;

/// How long details are kept at least and at most.
const KEPT_MIN: Duration = Duration::from_secs(1);
const KEPT_MAX: Duration = Duration::from_secs(30);
/// Of so many containers of a node.
const CONTAINERS_MAX: usize = 256;
/// So many changes are known to those who are asking at this moment.
const CHANGES_MAX: usize = 256;

/// Everything that the engine told of one container, and the same as JSON.
#[derive(Debug)]
pub struct Details {
    details: ContainerDetails,
    json: Bytes,
}

impl Details {
    /// Encodes them.
    #[must_use]
    pub fn new(details: ContainerDetails) -> Self {
        let json = serde_json::to_vec(&details).unwrap_or_default().into();
        Details { details, json }
    }

    /// What the engine told.
    #[must_use]
    pub fn details(&self) -> &ContainerDetails {
        &self.details
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }
}

#[derive(Debug)]
struct Entry {
    details: Arc<Details>,
    until: Instant,
}

#[derive(Debug)]
struct Changed {
    number: u64,
    /// Id or name; all when absent.
    whose: Option<String>,
    at: Instant,
}

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct KeptDetails {
    /// By id.
    entries: HashMap<String, Entry>,
    changes: VecDeque<Changed>,
    /// Number of the last change.
    last: u64,
}

impl KeptDetails {
    /// What is kept of the container with this id or name.
    pub(super) fn get(&self, id: &str, now: Instant) -> Option<Arc<Details>> {
        let named = || self.entries.values().find(|entry| entry.details.details.summary.name == id);
        let entry = self.entries.get(id).or_else(named)?;
        (now < entry.until).then(|| Arc::clone(&entry.details))
    }

    /// The container with this id or name may have changed; any may have when absent.
    pub(super) fn changed(&mut self, whose: Option<&str>, now: Instant) {
        match whose {
            Some(id) => self.entries.retain(|key, entry| key != id && entry.details.details.summary.name != id),
            None => self.entries.clear(),
        }
        self.last += 1;
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(Changed { number: self.last, whose: whose.map(str::to_owned), at: now });
    }

    /// What to give with the answer to a question that is asked now.
    pub(super) fn asking(&self) -> u64 {
        self.last
    }

    /// Keeps the answer to a question that was asked at `asked`, unless something changed since then.
    pub(super) fn answered(&mut self, asking: u64, asked: Instant, details: &Arc<Details>) {
        let told = &details.details;
        let about = |changed: &&Changed| {
            changed.whose.as_ref().is_none_or(|whose| *whose == told.summary.id || *whose == told.summary.name)
        };
        let known_from = self.changes.front().map_or(self.last + 1, |first| first.number);
        let missed = asking + 1 < known_from;
        let last = self.changes.iter().rev().find(about);
        if missed || last.is_some_and(|changed| changed.number > asking) {
            return;
        }
        let by_clock = [told.summary.created_at, told.started_at, told.finished_at].into_iter().flatten().max();
        let by_clock = by_clock.map_or(KEPT_MAX, |time| Timestamp::now().since(time));
        let by_events = last.map_or(KEPT_MAX, |changed| asked.saturating_duration_since(changed.at));
        let until = asked + by_clock.min(by_events).clamp(KEPT_MIN, KEPT_MAX);
        if self.entries.len() >= CONTAINERS_MAX {
            self.entries.retain(|_, entry| asked < entry.until);
        }
        if self.entries.len() >= CONTAINERS_MAX {
            let soonest = self.entries.iter().min_by_key(|(_, entry)| entry.until).map(|(id, _)| id.clone());
            soonest.and_then(|id| self.entries.remove(&id));
        }
        self.entries.insert(told.summary.id.clone(), Entry { details: Arc::clone(details), until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(id: &str, age: u64) -> Arc<Details> {
        let mut details = ContainerDetails::default();
        details.summary.id = id.to_owned();
        details.summary.name = format!("name-{id}");
        let now = Timestamp::now().unix_nanos();
        details.started_at = Timestamp::from_unix_nanos(now - i128::from(age) * 1_000_000_000);
        Arc::new(Details::new(details))
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_kept_for_as_long_as_they_have_been_so() {
        for (age, kept) in [(0, 1_u64), (10, 10), (3600, 30)] {
            let mut all = KeptDetails::default();
            let now = Instant::now();
            all.answered(all.asking(), now, &details("a", age));
            let after = |seconds| now + Duration::from_secs(seconds);
            assert!(all.get("a", after(kept) - Duration::from_millis(500)).is_some(), "{age}");
            assert!(all.get("name-a", after(kept) - Duration::from_millis(500)).is_some(), "{age}");
            assert!(all.get("a", after(kept) + Duration::from_millis(500)).is_none(), "{age}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_since_it_was_asked_for_is_not_kept() {
        let now = Instant::now();
        for (whose, kept) in [(Some("a"), false), (Some("name-a"), false), (None, false), (Some("b"), true)] {
            let mut all = KeptDetails::default();
            let asking = all.asking();
            all.changed(whose, now);
            all.answered(asking, now, &details("a", 100));
            assert_eq!(all.get("a", now).is_some(), kept, "{whose:?}");
            // What was asked for afterwards is, for a while.
            all.answered(all.asking(), now, &details("a", 100));
            assert!(all.get("a", now).is_some());
            let later = now + Duration::from_secs(2);
            assert_eq!(all.get("a", later).is_some(), kept, "it changed a moment ago: {whose:?}");
            all.changed(whose, later);
            assert_eq!(all.get("a", later).is_some(), kept, "{whose:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded() {
        let mut all = KeptDetails::default();
        let now = Instant::now();
        let asking = all.asking();
        for number in 0..2 * CONTAINERS_MAX {
            all.answered(all.asking(), now, &details(&number.to_string(), 100));
        }
        assert_eq!(all.entries.len(), CONTAINERS_MAX);
        for _ in 0..2 * CHANGES_MAX {
            all.changed(Some("other"), now);
        }
        all.answered(asking, now, &details("x", 100));
        assert!(all.get("x", now).is_none(), "what changed meanwhile is not known any more");
    }
}
