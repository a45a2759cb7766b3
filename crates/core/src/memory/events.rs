//! What happened on the simulated node: kept within bounds, read from now on or from a time in the past.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::faults::{Effects, Faults};
use super::lock;
use super::state::Shared;
use crate::error::Result;
use crate::event::{Event, EventAction, ResourceKind};
use crate::stream::ItemStream;
use crate::time::Timestamp;

/// How many events are kept for readers that begin in the past.
const KEPT_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct EventLog {
    kept: Mutex<(u64, VecDeque<(u64, Event)>)>,
    changed: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        EventLog { kept: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl EventLog {
    pub(super) fn add(&self, event: Event) {
        {
            let (next, kept) = &mut *lock(&self.kept);
            kept.push_back((*next, event));
            *next += 1;
            if kept.len() > KEPT_MAX {
                kept.pop_front();
            }
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

struct Reader {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    next: u64,
    batch: VecDeque<Event>,
    effects: Effects,
    /// How many were given, for scripted faults.
    given: u64,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Event>, Self)> {
        if self.over {
            return None;
        }
        if self.effects.vanish && self.given == 1 {
            self.over = true;
            return Some((Err(Faults::away()), self));
        }
        loop {
            if let Some(mut event) = self.batch.pop_front() {
                self.given += 1;
                if self.effects.garbage {
                    event.action = EventAction::Other;
                    event.resource = ResourceKind::Other;
                    event.engine_action = "\u{fffd}\u{202e}?".to_owned();
                }
                return Some((Ok(event), self));
            }
            self.changes.borrow_and_update();
            {
                let (_, kept) = &*lock(&self.shared.events.kept);
                let first = kept.front().map_or(self.next, |(number, _)| *number);
                if first > self.next {
                    // Some that this reader did not see are not kept any more.
                    self.batch.push_back(Event::resync(self.shared.clock.now(), &self.shared.name));
                }
                // Numbered without gaps, so the first wanted one is found by counting.
                let skip = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
                self.batch.extend(kept.iter().skip(skip).map(|(_, event)| event.clone()));
                self.next = kept.back().map_or(self.next, |(last, _)| self.next.max(last + 1));
            }
            if self.batch.is_empty() {
                let shared = Arc::clone(&self.shared);
                tokio::select! {
                    biased;
                    () = shared.faults.gone() => {
                        self.over = true;
                        return Some((Err(Faults::away()), self));
                    }
                    changed = self.changes.changed() => if changed.is_err() { return None },
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn event(&self, resource: ResourceKind, action: EventAction, id: &str, name: Option<&str>) {
        self.event_with(resource, action, id, name, |_| ());
    }

    pub(super) fn event_with(
        &self,
        resource: ResourceKind,
        action: EventAction,
        id: &str,
        name: Option<&str>,
        change: impl FnOnce(&mut Event),
    ) {
        let mut event = Event::new(self.clock.now(), &*self.name, resource, action, id);
        event.name = name.map(str::to_owned);
        change(&mut event);
        self.events.add(event);
    }

    pub(super) fn follow_events(self: &Arc<Self>, since: Option<Timestamp>, effects: Effects) -> ItemStream<Event> {
        let next = {
            let (next, kept) = &*lock(&self.events.kept);
            match since {
                None => *next,
                Some(since) => kept.iter().find(|(_, event)| event.time >= since).map_or(*next, |(number, _)| *number),
            }
        };
        let reader = Reader {
            shared: Arc::clone(self),
            changes: self.events.changed.subscribe(),
            next,
            batch: VecDeque::new(),
            effects,
            given: 0,
            over: false,
        };
        stream::unfold(reader, Reader::next).boxed()
    }
}
