//! Which containers live, so that each end is told once: servers tell no end of a container whose main process ends while
//! its start is still being finished.

use std::collections::BTreeMap;

use roadstead_core::{Event, EventAction, ResourceKind};

/// What was told of a container since its last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    /// Its end was told.
    Ended,
}

/// The containers that were started since the stream began.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<String, Life>);

impl Lives {
    /// Forgets everything: something was missed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What to tell for an event: nothing for an end that was told before, and before a deletion the end that the server
    /// has kept to itself.
    pub(super) fn told(&mut self, event: Event) -> Vec<Event> {
        if event.resource != ResourceKind::Container {
            return vec![event];
        }
        match event.action {
            EventAction::Started | EventAction::Restarted => {
                self.0.insert(event.id.clone(), Life::Runs);
            }
            // Of a container that ran before the stream began, nothing is known.
            EventAction::Ended if self.0.insert(event.id.clone(), Life::Ended) == Some(Life::Ended) => {
                return Vec::new();
            }
            EventAction::Renamed => {
                if let Some(life) = event.attributes.get("old_name").and_then(|old| self.0.remove(old)) {
                    self.0.insert(event.id.clone(), life);
                }
            }
            EventAction::Deleted if self.0.remove(&event.id) == Some(Life::Runs) => {
                return vec![end(&event, None), event];
            }
            _ => {}
        }
        vec![event]
    }
}

/// The end of the container that `event` is about, at the same time.
pub(super) fn end(event: &Event, exit_code: Option<i32>) -> Event {
    let mut end =
        Event::new(event.time, event.node.clone(), ResourceKind::Container, EventAction::Ended, event.id.clone());
    end.name.clone_from(&event.name);
    end.exit_code = exit_code;
    // Not the server's word; it has none.
    end.engine_action = "ended".to_owned();
    end.attributes = event
        .attributes
        .iter()
        .filter(|(key, _)| *key == "project" || *key == "location")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    end
}

#[cfg(test)]
mod tests {
    use roadstead_core::Timestamp;

    use super::*;

    fn event(action: EventAction, id: &str) -> Event {
        Event::new(Timestamp::from_unix_seconds(1).unwrap(), "n", ResourceKind::Container, action, id)
    }

    fn told(lives: &mut Lives, action: EventAction, id: &str) -> Vec<EventAction> {
        lives.told(event(action, id)).into_iter().map(|event| event.action).collect()
    }

    #[test]
    fn each_end_is_told_once() {
        use EventAction::{Deleted, Ended, Started};
        let mut lives = Lives::default();
        // It ran before the stream began.
        assert_eq!(told(&mut lives, Ended, "a"), [Ended]);
        assert_eq!(told(&mut lives, Started, "a"), [Started]);
        assert_eq!(told(&mut lives, Ended, "a"), [Ended]);
        assert_eq!(told(&mut lives, Ended, "a"), []);
        assert_eq!(told(&mut lives, Deleted, "a"), [Deleted]);
        assert_eq!(told(&mut lives, Started, "b"), [Started]);
        assert_eq!(told(&mut lives, Deleted, "b"), [Ended, Deleted]);
        assert_eq!(told(&mut lives, Started, "c"), [Started]);
        lives.clear();
        assert_eq!(told(&mut lives, Deleted, "c"), [Deleted]);
    }

    #[test]
    fn a_life_goes_on_under_another_name() {
        let mut lives = Lives::default();
        let _ = lives.told(event(EventAction::Started, "old"));
        let mut renamed = event(EventAction::Renamed, "new");
        renamed.attributes.insert("old_name".to_owned(), "old".to_owned());
        assert_eq!(lives.told(renamed).len(), 1);
        assert_eq!(told(&mut lives, EventAction::Deleted, "new"), [EventAction::Ended, EventAction::Deleted]);
    }
}
