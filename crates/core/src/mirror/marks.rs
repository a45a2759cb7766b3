//! What may have changed on the node: told by its events and by those who change it, numbered, and not looked at yet.
//!
//! A mark says nothing of how a container is now, only that the engine has to be asked. So an event may come twice, late, or
//! in another order than things happened, and no answer that is read off it can be wrong.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::lock;
use crate::event::{Event, EventAction, ResourceKind};

/// With more marks than these, everything is marked.
const MARKS_MAX: usize = 1024;
/// So many events are known again.
const SEEN_MAX: usize = 512;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// The container with this id; of what was changed through here, it may be its name.
    One(String),
    /// The whole list.
    All,
}

/// How soon it is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Haste {
    /// It may have changed, but nothing says so. Nobody waits for it.
    Lazy,
    /// The engine told of it: more may come in the same moment.
    Event,
    /// It was changed through here.
    Own,
}

/// A mark.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// Its number; those that nobody waits for have that of the one before.
    pub(super) number: u64,
    pub(super) what: Marked,
    pub(super) haste: Haste,
}

/// What is not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) marks: Vec<Mark>,
    /// Somebody waits for marks to be settled.
    pub(super) waited_for: bool,
    /// Somebody wants to know whether the engine still answers.
    pub(super) prove: bool,
    /// The engine was seen to answer: it is worth another try.
    pub(super) answers: bool,
}

/// What an event means for the list and for the details of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Nothing.
    Nothing,
    /// The details of one container, not what a list shows of it.
    Details,
    /// The details of any container.
    AllDetails,
    /// A container.
    One,
    /// A container, perhaps.
    OnePerhaps,
    /// What a list shows of any container.
    All,
    /// What a list shows of any container, perhaps.
    AllPerhaps,
}

pub(super) fn concern(event: &Event) -> Concern {
    use EventAction as A;
    match (event.resource, event.action) {
        (_, A::Resync) => Concern::All,
        (_, A::AlertRaised | A::AlertCleared) => Concern::Nothing,
        (ResourceKind::Container, A::JobStarted | A::JobEnded | A::SnapshotCreated | A::SnapshotDeleted) => {
            Concern::Nothing
        }
        (ResourceKind::Container, A::Health | A::OutOfMemory | A::Connected | A::Disconnected) => Concern::Details,
        // An id that is a name changes with it, and the old one is not always told.
        (ResourceKind::Container, A::Renamed) => Concern::All,
        // Podman ends a container's end with a word of its own; other words are of files, consoles and the like.
        (ResourceKind::Container, A::Other) => Concern::OnePerhaps,
        (ResourceKind::Container, _) => Concern::One,
        // A list shows the image by its name.
        (ResourceKind::Image, A::Other) => Concern::AllPerhaps,
        (ResourceKind::Image, _) => Concern::All,
        (ResourceKind::Network | ResourceKind::Volume, _) => Concern::AllDetails,
        // Profiles, projects, the configuration of the server.
        (ResourceKind::Node | ResourceKind::Other, _) => Concern::AllPerhaps,
    }
}

/// What an event is known again by. Engines that tell whole seconds only may tell two events that look the same.
fn likeness(event: &Event) -> Option<u64> {
    if event.action == EventAction::Resync || event.time.unix_nanos() % 1_000_000_000 == 0 {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (event.time, &event.id, event.action, &event.engine_action).hash(&mut hasher);
    Some(hasher.finish())
}

/// All marks of a mirror.
#[derive(Debug, Default)]
pub(super) struct Marks {
    told: AtomicU64,
    inbox: Mutex<Inbox>,
    seen: Mutex<VecDeque<u64>>,
    /// Wakes the one who takes them.
    pub(super) wake: Notify,
    /// Somebody has read lately.
    read: AtomicBool,
}

impl Marks {
    /// Number of the last mark.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// Adds a mark and gives its number.
    pub(super) fn add(&self, what: Marked, haste: Haste) -> u64 {
        let number = {
            let mut inbox = lock(&self.inbox);
            let number = match haste {
                Haste::Lazy => self.told(),
                // Under the lock, so that what is taken with a number has every mark up to it.
                _ => self.told.fetch_add(1, Ordering::SeqCst) + 1,
            };
            if inbox.marks.len() >= MARKS_MAX {
                // The first number is the one that is waited for longest.
                let first = inbox.marks.iter().map(|mark| mark.number).min().unwrap_or(number);
                let haste = inbox.marks.iter().map(|mark| mark.haste).max().unwrap_or(haste).max(haste);
                inbox.marks.clear();
                inbox.marks.push(Mark { number: first, what: Marked::All, haste });
            } else {
                inbox.marks.push(Mark { number, what, haste });
            }
            number
        };
        self.wake.notify_one();
        number
    }

    /// Whether this very event was remembered: another reader of the same events may be ahead.
    pub(super) fn is_known(&self, event: &Event) -> bool {
        likeness(event).is_some_and(|hash| lock(&self.seen).contains(&hash))
    }

    /// Remembers an event whose mark was made.
    pub(super) fn remember(&self, event: &Event) {
        let Some(hash) = likeness(event) else { return };
        let mut seen = lock(&self.seen);
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(hash);
    }

    /// Somebody waits until what is marked is settled, and until the engine has proven that it answers.
    pub(super) fn wait(&self, prove: bool) {
        {
            let mut inbox = lock(&self.inbox);
            inbox.waited_for = true;
            inbox.prove |= prove;
        }
        self.wake.notify_one();
    }

    /// The engine was seen to answer.
    pub(super) fn answers(&self) {
        lock(&self.inbox).answers = true;
        self.wake.notify_one();
    }

    /// Everything that was told, and the number up to which that is.
    pub(super) fn take(&self) -> (Inbox, u64) {
        let mut inbox = lock(&self.inbox);
        (std::mem::take(&mut *inbox), self.told())
    }

    /// Takes only whether the engine was seen to answer.
    pub(super) fn take_answers(&self) -> bool {
        std::mem::take(&mut lock(&self.inbox).answers)
    }

    /// Notes that somebody reads.
    pub(super) fn reading(&self) {
        if !self.read.load(Ordering::Relaxed) {
            self.read.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody has read since this was last asked.
    pub(super) fn take_read(&self) -> bool {
        self.read.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn too_many_marks_become_one_that_says_the_same() {
        let marks = Marks::default();
        let one = |id: u64| Marked::One(id.to_string());
        for number in 1..=5000 {
            assert_eq!(marks.add(one(number), Haste::Event), number);
        }
        let (inbox, told) = marks.take();
        assert!(inbox.marks.len() <= MARKS_MAX);
        assert_eq!(told, 5000);
        assert_eq!((inbox.marks[0].number, &inbox.marks[0].what), (1, &Marked::All));
    }

    #[test]
    fn an_event_is_known_again_only_when_its_time_tells_it_from_others() {
        let marks = Marks::default();
        let event = |nanos| {
            let time = Timestamp::from_unix_nanos(nanos).unwrap();
            Event::new(time, "sea", ResourceKind::Container, EventAction::Started, "a")
        };
        for (nanos, known) in [(1_000_000_001, true), (2_000_000_000, false)] {
            assert!(!marks.is_known(&event(nanos)));
            marks.remember(&event(nanos));
            assert_eq!(marks.is_known(&event(nanos)), known);
        }
        assert!(!marks.is_known(&event(1_000_000_002)));
    }
}
