//! Keeps a mirror: follows the node's events, and asks for what they tell of.
//!
//! One question for the whole list and one for a few containers may be under way at a time. Each carries the marks that had been made
//! when it was asked; they are settled by its answer, and go back when there is none. A list that was asked for before a few
//! containers were, and is answered after them, says nothing of these; a few that were asked for before a list, and are answered after
//! it, say nothing at all. So whatever is shown was asked for later than what it replaced.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::marks::{Haste, Mark, Marked};
use super::{Mirror, Source, lock};
use crate::capabilities::Capability;
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::node::Node;
use crate::stream::ItemStream;

/// What comes within this time after an event is looked at together with it.
const TOGETHER: Duration = Duration::from_millis(5);
/// What may have changed, but is not said to have, is looked at after this time.
const LAZILY: Duration = Duration::from_secs(1);
/// Engines tell of some changes before they show them: so long after an event it is looked at again.
const AGAIN: [Duration; 2] = [Duration::from_millis(120), Duration::from_secs(1)];
/// Of a list that takes longer only what has changed is asked for, where that is little.
const WHOLE_MAX: Duration = Duration::from_millis(20);
/// So many containers at most.
const SOME_MAX: usize = 32;
/// The list is asked for again after this time, where it is read,
const RELIST: Duration = Duration::from_secs(30);
/// where it is not,
const RELIST_AT_REST: Duration = Duration::from_secs(300);
/// and where the last time something was found that no event had told of.
const RELIST_WARY: Duration = Duration::from_secs(5);
/// A list takes this part of an engine's time at most, where nothing tells of changes.
const RELIST_SHARE: u32 = 50;
/// From one failure to the next attempt.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// An engine without events will have none later.
const PAUSE_UNSUPPORTED: Duration = Duration::from_secs(60);
/// A question to an engine that has no deadline of its own.
const QUESTION: Duration = Duration::from_secs(60);

/// Tells those who read when nobody keeps the mirror any more.
struct Kept<'a>(&'a Mirror);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.away("nobody keeps it");
    }
}

pub(super) async fn keep(mirror: &Mirror, source: &dyn Source) {
    let _kept = Kept(mirror);
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let error = match Keeper::open(mirror, source).await {
            Ok(keeper) => keeper.run().await,
            Err(error) => error,
        };
        tracing::debug!(node = mirror.node(), %error, "the mirror is not kept");
        mirror.away(error.message());
        if begun.elapsed() > PAUSE_MAX * 2 {
            pause = PAUSE_MIN;
        }
        if error.kind() == ErrorKind::Unsupported {
            sleep(PAUSE_UNSUPPORTED).await;
            continue;
        }
        let shortened = async {
            sleep(PAUSE_MIN).await;
            while !mirror.marks.take_answers() {
                mirror.marks.wake.notified().await;
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shortened => {}
        }
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(QUESTION, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "the engine did not answer")),
    }
}

/// Waits for the future, if there is one, and takes it out when it is done.
async fn answer<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    /// The first mark that waits for it; none when nobody does.
    mark: Option<u64>,
    due: Instant,
    /// When the engine told of it, and how often it was looked at since: it will be looked at again.
    told: Option<(Instant, usize)>,
}

impl Dirty {
    /// Both together.
    fn join(&mut self, other: Dirty) {
        self.mark = match (self.mark, other.mark) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.due = self.due.min(other.due);
        // The later news is to be looked at again for longer.
        self.told = match (self.told, other.told) {
            (Some(a), Some(b)) => Some(if a.0 > b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
    }

    /// What remains to be done once it has been looked at.
    fn again(self) -> Option<Dirty> {
        let (at, looks) = self.told?;
        let due = at + *AGAIN.get(looks)?;
        Some(Dirty { mark: None, due, told: Some((at, looks + 1)) })
    }
}

/// A question that is under way.
#[derive(Debug)]
struct Question {
    /// Questions are numbered in the order in which they are asked.
    number: u64,
    asked: Instant,
    /// What is settled by its answer.
    ones: HashMap<String, Dirty>,
    all: Option<Dirty>,
}

impl Question {
    fn first_mark(&self) -> Option<u64> {
        self.ones.values().chain(&self.all).filter_map(|dirty| dirty.mark).min()
    }
}

type Answer = BoxFuture<'static, Result<Vec<ContainerSummary>>>;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    AskAll,
    AskSome,
    Wait(Instant),
}

struct Keeper<'a> {
    mirror: &'a Mirror,
    node: Arc<dyn Node>,
    events: ItemStream<Event>,
    ones: HashMap<String, Dirty>,
    all: Option<Dirty>,
    /// Number of the last mark that was taken.
    taken: u64,
    /// Somebody waits for marks to be settled.
    waited_for: bool,
    /// Somebody waits for a proof that the engine answers.
    prove: bool,
    whole: Option<Question>,
    whole_answer: Option<Answer>,
    some: Option<Question>,
    some_answer: Option<Answer>,
    ping: Option<BoxFuture<'static, (Instant, Result<()>)>>,
    asked: u64,
    /// Number of the last question for the whole list that was answered.
    listed: u64,
    /// When it was asked; absent before the first one.
    listed_at: Option<Instant>,
    /// By which questions for names containers were found since the last question for the whole list was asked.
    since: HashMap<String, u64>,
    /// How long the whole list takes.
    took: Duration,
    /// Nothing is asked before: an engine has other things to do.
    whole_from: Instant,
    some_from: Instant,
    relist: Duration,
    /// Between 0 and a tenth: many mirrors do not list in the same moment.
    jitter: f64,
    /// Somebody has read since the last list.
    read: bool,
}

impl<'a> Keeper<'a> {
    /// M1.
    async fn open(mirror: &'a Mirror, source: &dyn Source) -> Result<Self> {
        let node = within(source.node()).await?;
        node.capabilities().require(Capability::Events)?;
        let events = within(source.follow(&node)).await?;
        let now = Instant::now();
        let first = Dirty { mark: Some(0), due: now, told: None };
        let random = RandomState::new().hash_one(mirror.node()) >> 32;
        Ok(Keeper {
            mirror,
            node,
            events,
            ones: HashMap::new(),
            all: Some(first),
            taken: 0,
            waited_for: false,
            prove: false,
            whole: None,
            whole_answer: None,
            some: None,
            some_answer: None,
            ping: None,
            asked: 0,
            listed: 0,
            listed_at: None,
            since: HashMap::new(),
            took: Duration::ZERO,
            whole_from: now,
            some_from: now,
            relist: RELIST,
            jitter: 0.1 * random as f64 / f64::from(u32::MAX),
            read: true,
        })
    }

    /// Until something ends it.
    async fn run(mut self) -> Error {
        let mirror = self.mirror;
        loop {
            self.take();
            let wait = loop {
                match self.next(Instant::now()) {
                    Next::AskAll => self.ask_all(),
                    Next::AskSome => self.ask_some(),
                    Next::Wait(until) => break until,
                }
            };
            self.show();
            tokio::select! {
                event = self.events.next() => match event {
                    Some(Ok(event)) => self.happened(&event),
                    Some(Err(error)) => return error,
                    None => return Error::new(ErrorKind::Unavailable, "the engine ended its events"),
                },
                answer = answer(&mut self.whole_answer) => if let Err(error) = self.answered_all(answer) { return error },
                answer = answer(&mut self.some_answer) => self.answered_some(answer),
                (asked, pong) = answer(&mut self.ping) => match pong {
                    Ok(()) => self.proved(asked),
                    Err(error) => return error,
                },
                () = mirror.marks.wake.notified() => {}
                () = sleep_until(wait) => {}
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        // It says so itself.
        self.proved(Instant::now());
        self.mirror.tell(event);
    }

    fn proved(&self, at: Instant) {
        self.mirror.shown.send_if_modified(|shown| {
            let later = at > shown.proved;
            shown.proved = shown.proved.max(at);
            later
        });
    }

    /// Takes in what was marked.
    fn take(&mut self) {
        let (inbox, told) = self.mirror.marks.take();
        self.taken = told;
        self.waited_for |= inbox.waited_for;
        self.prove |= inbox.prove;
        self.read |= self.mirror.marks.take_read() || self.mirror.changes().watchers() > 0;
        let now = Instant::now();
        for mark in inbox.marks {
            self.mark(mark, now);
        }
    }

    fn mark(&mut self, Mark { number, what, haste }: Mark, now: Instant) {
        let mut dirty = Dirty { mark: Some(number), due: now, told: None };
        match haste {
            Haste::Lazy => (dirty.mark, dirty.due) = (None, now + LAZILY),
            Haste::Event => (dirty.due, dirty.told) = (now + TOGETHER, Some((now, 0))),
            Haste::Own => {}
        }
        match what {
            Marked::All => join(&mut self.all, dirty),
            Marked::One(id) => match self.mirror.find(&id) {
                Some(item) => self.mark_one(item.id().to_string(), dirty),
                // It may be a name, and of what is not known yet.
                None if haste == Haste::Own => join(&mut self.all, dirty),
                None => self.mark_one(id, dirty),
            },
        }
    }

    fn mark_one(&mut self, id: String, dirty: Dirty) {
        self.ones.entry(id).and_modify(|old| old.join(dirty)).or_insert(dirty);
    }

    /// When the list is to be asked for again at the latest.
    fn relist_at(&self) -> Instant {
        let Some(listed_at) = self.listed_at else { return Instant::now() };
        let every = if self.read {
            // Before it is too old to be read, so that nobody has to wait for it.
            self.relist_every().mul_f64(0.8)
        } else {
            RELIST_AT_REST.max(self.relist_every())
        };
        listed_at + every.mul_f64(1.0 - self.jitter)
    }

    fn relist_every(&self) -> Duration {
        self.relist.max(self.took.saturating_mul(RELIST_SHARE))
    }

    /// Whether it is better to ask for the whole list than for what has changed.
    fn whole_is_better(&self) -> bool {
        self.took <= WHOLE_MAX || self.ones.len() > SOME_MAX
    }

    fn next(&mut self, now: Instant) -> Next {
        let waited_for = self.waited_for;
        let due = |dirty: &Dirty| if waited_for && dirty.mark.is_some() { now } else { dirty.due };
        let ones = self.ones.values().map(due).min();
        let mut all = self.all.as_ref().map(due);
        let relist = self.relist_at();
        // A list that is too old to be read is as much of a proof, and more.
        let old = self.prove && self.mirror.shown.borrow().good_until <= now;
        all = all.into_iter().chain([if old { now } else { relist }]).min();
        let whole = self.whole_is_better();
        let (some, all) = if whole { (None, ones.into_iter().chain(all).min()) } else { (ones, all) };
        let mut wait = now + RELIST_AT_REST;
        let urgent = waited_for && (self.all.iter().chain(self.ones.values())).any(|dirty| dirty.mark.is_some());
        let hold = |from: Instant| if urgent || old { now } else { from };
        if let Some(at) = all.filter(|_| self.whole.is_none()) {
            let at = at.max(hold(self.whole_from));
            if at <= now {
                return Next::AskAll;
            }
            wait = wait.min(at);
        }
        if let Some(at) = some.filter(|_| self.some.is_none()) {
            let at = at.max(hold(self.some_from));
            if at <= now {
                return Next::AskSome;
            }
            wait = wait.min(at);
        }
        if std::mem::take(&mut self.prove) && !old && self.ping.is_none() && self.whole.is_none() && self.some.is_none()
        {
            let node = Arc::clone(&self.node);
            self.ping = Some(Box::pin(async move { (Instant::now(), within(node.ping()).await) }));
        }
        Next::Wait(wait)
    }

    /// Takes out what is to be looked at now.
    fn due_ones(&mut self, now: Instant, max: usize) -> HashMap<String, Dirty> {
        let ids: Vec<String> = (self.ones.iter())
            .filter(|(_, dirty)| dirty.mark.is_some() || dirty.due <= now)
            .map(|(id, _)| id.clone())
            .take(max)
            .collect();
        ids.into_iter().filter_map(|id| self.ones.remove_entry(&id)).collect()
    }

    fn question(&mut self, ones: HashMap<String, Dirty>, all: Option<Dirty>, now: Instant) -> Question {
        self.asked += 1;
        Question { number: self.asked, asked: now, ones, all }
    }

    fn ask_all(&mut self) {
        let now = Instant::now();
        let ones = self.due_ones(now, usize::MAX);
        let all = self.all.take();
        self.since.clear();
        self.prove = false;
        self.whole = Some(self.question(ones, all, now));
        self.whole_answer = Some(self.ask(ContainerFilter::all()));
    }

    fn ask_some(&mut self) {
        let now = Instant::now();
        let ones = self.due_ones(now, SOME_MAX);
        let mut filter = ContainerFilter::all();
        filter.ids = ones.keys().cloned().collect();
        self.some = Some(self.question(ones, None, now));
        self.some_answer = Some(self.ask(filter));
    }

    fn ask(&self, filter: ContainerFilter) -> Answer {
        let node = Arc::clone(&self.node);
        Box::pin(async move { within(node.list_containers(&filter)).await })
    }

    /// It may ask again after as long as this took, three times as long where that is short.
    fn rest(took: Duration) -> Duration {
        took.saturating_mul(3).clamp(TOGETHER, Duration::from_millis(100)).max(took)
    }

    fn answered_all(&mut self, answer: Result<Vec<ContainerSummary>>) -> Result<()> {
        let Some(question) = self.whole.take() else { return Ok(()) };
        // Without the list there is no mirror: what was asked for goes with it, and the next one begins with a list.
        let mut found = answer?;
        let now = Instant::now();
        let took = now.saturating_duration_since(question.asked);
        self.took = if self.listed_at.is_some() { (self.took + took) / 2 } else { took };
        self.whole_from = now + Self::rest(took);
        let later: HashSet<&str> =
            (self.since.iter()).filter(|(_, number)| **number > question.number).map(|(id, _)| id.as_str()).collect();
        found.retain(|container| !later.contains(container.id.as_str()));
        let named: HashSet<&str> = found.iter().map(|container| container.id.as_str()).collect();
        let gone: Vec<Arc<str>> = lock(&self.mirror.index)
            .by_id
            .keys()
            .filter(|id| !named.contains(&***id) && !later.contains(&***id))
            .cloned()
            .collect();
        let told = question.all.is_some() || !question.ones.is_empty();
        let changes = self.mirror.publish(found, &gone);
        // What no mark told of was not told at all. The first list is no surprise.
        let unmarked = self.ones.is_empty() && self.all.is_none() && !told;
        if self.listed_at.is_some() && unmarked {
            self.relist = if changes > 0 { RELIST_WARY } else { self.relist.saturating_mul(2).min(RELIST) };
        }
        self.listed = question.number;
        self.listed_at = Some(question.asked);
        self.read = false;
        self.looked_again(question);
        let good_until = self.listed_at.unwrap_or(now) + self.relist_every();
        self.mirror.shown.send_modify(|shown| {
            shown.good_until = good_until;
            shown.proved = shown.proved.max(self.listed_at.unwrap_or(now));
        });
        Ok(())
    }

    fn answered_some(&mut self, answer: Result<Vec<ContainerSummary>>) {
        let Some(question) = self.some.take() else { return };
        let now = Instant::now();
        self.some_from = now + Self::rest(now.saturating_duration_since(question.asked));
        let found = match answer {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(node = self.mirror.node(), %error, "containers are not told by id");
                let dirty = Dirty { mark: question.first_mark(), due: now, told: None };
                return join(&mut self.all, dirty);
            }
        };
        self.proved(question.asked);
        if question.number < self.listed {
            // The list was asked for later, and has settled it.
            return self.looked_again(question);
        }
        let named: HashSet<&str> = found.iter().map(|container| container.id.as_str()).collect();
        let gone: Vec<Arc<str>> =
            question.ones.keys().filter(|id| !named.contains(id.as_str())).map(|id| id.as_str().into()).collect();
        let touched = found.iter().map(|container| container.id.as_str()).chain(gone.iter().map(|id| &**id));
        if self.whole.is_some() {
            self.since.extend(touched.map(|id| (id.to_owned(), question.number)));
        }
        self.mirror.publish(found, &gone);
        self.looked_again(question);
    }

    /// Plans when to look again at what was looked at.
    fn looked_again(&mut self, question: Question) {
        for (id, dirty) in question.ones {
            if let Some(again) = dirty.again() {
                self.mark_one(id, again);
            }
        }
        if let Some(again) = question.all.and_then(Dirty::again) {
            join(&mut self.all, again);
        }
    }

    /// Shows how far marks are settled, and that the mirror can be read, if it can.
    fn show(&mut self) {
        if self.listed_at.is_none() {
            return;
        }
        let waiting = self.ones.values().chain(&self.all).filter_map(|dirty| dirty.mark);
        let asked = self.whole.iter().chain(&self.some).filter_map(Question::first_mark);
        let settled = waiting.chain(asked).min().map_or(self.taken, |first| first.saturating_sub(1));
        self.waited_for &= settled < self.taken;
        self.mirror.here(settled);
    }
}

fn join(into: &mut Option<Dirty>, dirty: Dirty) {
    match into {
        Some(old) => old.join(dirty),
        None => *into = Some(dirty),
    }
}
