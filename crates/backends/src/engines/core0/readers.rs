//! Who reads the output of commands, and when whose list is looked at for how much of it.
//!
//! A node keeps a thousand entries of a command: what comes above that between two looks is lost, its beginning first. So a few
//! lists are looked at every fiftieth of a second at least, however long nothing came, and where more comes than was asked for it is
//! asked again at once. Where many are read, they share what a node is asked: some lists and some entries at a time, those that have
//! waited longest first, and half of the entries for lists that have more.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{pending, select_all};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::streams::Entry;

/// So many entries wait for a slow reader of one command's output.
const QUEUE: usize = 1024;
/// So many lists are looked at in one go at most, and so many entries of all of them are asked for: one may have 32 KiB.
const LISTS: usize = 64;
pub(super) const ENTRIES: usize = 1024;
/// How many entries of one command are read at once.
const AT_ONCE: usize = 256;
/// A reader with less room than this is not served, and again when it has so much.
const LEAST_ROOM: usize = 32;
const ROOM: usize = QUEUE / 4;
/// So many entries of one command are kept by a node.
const KEPT: u32 = 1000;
/// The first pause after a look that brought nothing, and the longest: where many commands are read it is a moment for each, so
/// that a node is asked about a thousand lists in a second when nobody writes, however many there are.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
const EACH: Duration = Duration::from_millis(1);
/// So few are all looked at when one of them is: that costs no more.
const FEW: usize = 16;

/// A list that is looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) id: String,
    /// How many entries are asked for: at least one, and at most half of what its reader has room for, since as many may come
    /// into their place while they are taken: a full list loses its first ones.
    pub(super) most: usize,
}

/// Those who read.
#[derive(Debug, Default)]
pub(super) struct Readers {
    all: Mutex<BTreeMap<String, Reader>>,
    changed: Notify,
}

#[derive(Debug)]
struct Reader {
    entries: mpsc::Sender<Entry>,
    to_the_end: bool,
    given: Given,
    /// When it is looked at next, and the pause before that.
    due: Instant,
    pause: Duration,
    /// When it was looked at last, and when it had nothing then.
    looked: Instant,
    had_nothing: Option<Instant>,
    /// Whether there was as much as was asked for, so that there is more.
    has_more: bool,
}

/// The entries that were given out last.
#[derive(Debug, Default)]
struct Given {
    hashes: RandomState,
    all: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Given {
    /// Whether it is not among them, as it is from now on.
    fn is_new(&mut self, document: &[u8]) -> bool {
        let hash = self.hashes.hash_one(document);
        if !self.all.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > KEPT as usize
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

impl Reader {
    fn has_room(&self) -> bool {
        self.entries.capacity() >= LEAST_ROOM
    }
}

/// The first pause and the longest where so many are read.
fn pauses(many: usize) -> (Duration, Duration) {
    let all = EACH.saturating_mul(u32::try_from(many).unwrap_or(u32::MAX));
    (FIRST_PAUSE.max(all / 4), LONGEST_PAUSE.max(all))
}

/// Waits until one of these has room, or its reader is gone; for ever when there are none.
async fn room(full: &[mpsc::Sender<Entry>]) {
    if full.is_empty() {
        return pending().await;
    }
    let waits = full.iter().map(|entries| Box::pin(async { drop(entries.reserve_many(ROOM).await) }));
    select_all(waits).await;
}

impl Readers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Reader>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, whose list is looked at now.
    pub(super) fn add(&self, id: &str, to_the_end: bool) -> mpsc::Receiver<Entry> {
        let (entries, receiver) = mpsc::channel(QUEUE);
        let now = Instant::now();
        let reader = Reader {
            entries,
            to_the_end,
            given: Given::default(),
            due: now,
            pause: FIRST_PAUSE,
            looked: now,
            had_nothing: None,
            has_more: false,
        };
        self.all().insert(id.to_owned(), reader);
        self.changed.notify_one();
        receiver
    }

    /// Has this one's list looked at now.
    pub(super) fn hurry(&self, id: &str) {
        if let Some(reader) = self.all().get_mut(id) {
            reader.due = Instant::now();
        }
        self.changed.notify_one();
    }

    /// When this one's list had nothing, if it was so at the last look; also when it cannot be read.
    pub(super) fn had_nothing(&self, id: &str) -> Option<Instant> {
        self.all().get(id)?.had_nothing
    }

    /// Whether nobody reads.
    pub(super) fn is_empty(&self) -> bool {
        let mut readers = self.all();
        readers.retain(|_, reader| !reader.entries.is_closed());
        readers.is_empty()
    }

    /// Waits until somebody reads.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Those that are looked at now, when one of them is due, for so many entries of all of them: what is read must go somewhere,
    /// so they have room.
    pub(super) fn due(&self, entries: usize) -> Vec<Look> {
        let now = Instant::now();
        let mut readers = self.all();
        for reader in readers.values_mut().filter(|reader| !reader.has_room()) {
            // As soon as it has room there is something for it.
            reader.due = now;
        }
        let few = readers.len() <= FEW;
        // Those that would be due soon come along, so that there are few questions.
        let comes = |reader: &Reader| reader.has_room() && (few || reader.due <= now + reader.pause / 4);
        let mut due: Vec<_> = readers.iter().filter(|(_, reader)| comes(reader)).collect();
        if !due.iter().any(|(_, reader)| reader.due <= now) {
            return Vec::new();
        }
        due.sort_by_key(|(_, reader)| reader.due);
        due.truncate(LISTS.min(entries));
        let with_more = due.iter().filter(|(_, reader)| reader.has_more).count();
        let share = |lists: usize| (entries / 2).checked_div(lists).unwrap_or(0).clamp(1, AT_ONCE);
        let (more, less) = (share(with_more), share(due.len() - with_more));
        let look = |(id, reader): (&String, &Reader)| {
            let share = if reader.has_more { more } else { less };
            Look { id: id.clone(), most: share.min(reader.entries.capacity() / 2) }
        };
        due.into_iter().map(look).collect()
    }

    /// Notes that so many entries were found.
    pub(super) fn looked(&self, look: &Look, found: usize) {
        let now = Instant::now();
        let mut readers = self.all();
        let (first, longest) = pauses(readers.len());
        let Some(reader) = readers.get_mut(&look.id) else { return };
        let since = now.saturating_duration_since(reader.looked);
        reader.looked = now;
        reader.has_more = found >= look.most;
        reader.had_nothing = (found == 0).then_some(now);
        reader.pause = match u32::try_from(found) {
            Ok(0) => (reader.pause * 2).clamp(first, longest),
            // Who writes so fast has written a quarter of what a node keeps by then.
            Ok(found) => (since.saturating_mul(KEPT / 4) / found).clamp(FIRST_PAUSE, first),
            Err(_) => FIRST_PAUSE,
        };
        reader.due = now + if reader.has_more { Duration::ZERO } else { reader.pause };
    }

    /// Waits until there may be one to look at.
    pub(super) async fn wait(&self) {
        // In one look at all, so that one that gets room meanwhile is among those that are waited for.
        let (next, full) = {
            let readers = self.all();
            let (with_room, full): (Vec<&Reader>, Vec<&Reader>) =
                readers.values().partition(|reader| reader.has_room());
            let full: Vec<_> = full.into_iter().map(|reader| reader.entries.clone()).collect();
            (with_room.into_iter().map(|reader| reader.due).min(), full)
        };
        let due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.changed.notified() => {}
            () = room(&full) => {}
        }
    }

    /// Gives entries to whom they belong, who has room for them; how many of them have been dealt with.
    pub(super) fn give(&self, id: &str, documents: &[Vec<u8>]) -> usize {
        let mut readers = self.all();
        for (before, document) in documents.iter().enumerate() {
            let Some(reader) = readers.get_mut(id) else { return before };
            let Some(entry) = Entry::parse(document) else { continue };
            // No two entries were written in one nanosecond; of those that do not say when nothing is known.
            if entry.time.is_some() && !reader.given.is_new(document) {
                continue;
            }
            let last = entry.end.is_some() && reader.to_the_end;
            // Nobody else fills it, so that it fails only when nobody is there any more.
            let gone = reader.entries.try_send(entry).is_err();
            if last || gone {
                readers.remove(id);
                return if gone { before } else { before + 1 };
            }
        }
        documents.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(looks: &[Look]) -> BTreeSet<String> {
        looks.iter().map(|look| look.id.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn many_lists_take_their_turns() {
        const MANY: usize = 16 * LISTS;
        let readers = Readers::default();
        let _receivers: Vec<_> = (0..MANY).map(|number| readers.add(&number.to_string(), true)).collect();
        let mut seen = BTreeSet::new();
        while seen.len() < MANY {
            let looks = readers.due(ENTRIES);
            assert!((1..=LISTS).contains(&looks.len()), "{} lists in one go", looks.len());
            assert!(looks.iter().map(|look| look.most).sum::<usize>() <= ENTRIES, "{looks:?}");
            let before = seen.len();
            seen.append(&mut ids(&looks));
            assert_eq!(seen.len(), before + looks.len(), "nobody has a second turn before all had one");
            tokio::time::advance(Duration::from_millis(1)).await;
            for look in &looks {
                // One of them never stops.
                readers.looked(look, if look.id == "0" { look.most } else { 0 });
            }
        }
        readers.hurry("500");
        assert!(ids(&readers.due(ENTRIES)).contains("500"), "who is in a hurry does not wait");
        // After a time in which all were due the one that has more gets more.
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut looks = readers.due(ENTRIES);
        let more = looks.iter().position(|look| look.id == "0").expect("it waited longest");
        assert_eq!(looks.remove(more).most, AT_ONCE);
        assert!(looks.iter().all(|look| look.most < AT_ONCE), "{looks:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_fewer_are_read_the_more_often_they_are_looked_at() {
        for (many, first, longest) in [(1, 5, 50), (16, 5, 50), (50, 12, 50), (1000, 250, 1000)] {
            let readers = Readers::default();
            let _receivers: Vec<_> = (0..many).map(|number| readers.add(&number.to_string(), true)).collect();
            let pause = |found: usize| {
                readers.looked(&Look { id: "0".to_owned(), most: AT_ONCE }, found);
                readers.all()["0"].due.saturating_duration_since(Instant::now()).as_millis()
            };
            for _ in 0..20 {
                pause(0);
            }
            assert_eq!(pause(0), longest, "{many}: one that was silent");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(pause(1), first, "{many}: one that wrote");
            tokio::time::advance(Duration::from_millis(10)).await;
            assert_eq!(pause(AT_ONCE - 1), first.min(9), "{many}: one that writes fast");
            assert_eq!(pause(AT_ONCE), 0, "{many}: one that has more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_read_than_there_is_room_for() {
        let readers = Readers::default();
        let receiver = readers.add("a", true);
        let document = br#"{"core":0,"command":"a","message":{"message":"x","meta":65536}}"#.to_vec();
        loop {
            let looks = readers.due(ENTRIES);
            let Some(look) = looks.first() else { break };
            assert!(look.most <= receiver.capacity() / 2, "as many may come into their place");
            readers.looked(look, look.most);
            assert_eq!(readers.give("a", &vec![document.clone(); look.most]), look.most);
        }
        assert!(receiver.capacity() < LEAST_ROOM && receiver.len() > QUEUE - LEAST_ROOM);
        // A link that bears no more is asked for no more.
        let _other = readers.add("b", true);
        let looks = readers.due(1);
        assert_eq!(looks.iter().map(|look| look.most).collect::<Vec<_>>(), [1]);
    }
}
