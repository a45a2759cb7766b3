//! One stream of a node's events for all who follow the node in this process: an engine is asked once, however many listen.
//!
//! Nobody waits for anybody else: whoever does not keep up loses his place, which he sees as the end of his stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use roadstead_core::{Error, Event, EventOptions, ItemStream, Node, Result, Timestamp};
use tokio::sync::mpsc;

/// Events that wait for one who listens.
const WAITING: usize = 10_000;
/// After a break those who listened come back one after the other: what the engine still had for the first of them is kept so long, and
/// so many of it.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: usize = 1000;
/// How far before its last event a stream is taken up again: engines give events of nearly the same time in any order. Those who listen
/// may be given some twice.
const OVERLAP: Duration = Duration::from_secs(2);

type Told = std::result::Result<Arc<Event>, Arc<Error>>;

/// The events of one node.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Held while the stream is opened, so that it is opened once.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who listens; `None` when there is no stream.
    listeners: Option<Vec<mpsc::Sender<Told>>>,
    /// From where on a stream is opened again: a little before the last event.
    last: Option<Timestamp>,
    /// Until when what this stream gives is kept for those who come back, and what it gave.
    again: Option<(Instant, VecDeque<Arc<Event>>)>,
}

impl State {
    /// Keeps an event for those who come back.
    fn keep(&mut self, event: &Arc<Event>) {
        let Some((until, kept)) = &mut self.again else { return };
        if kept.len() == AGAIN_MAX || Instant::now() >= *until {
            // What is not whole is nothing.
            self.again = None;
        } else {
            kept.push_back(Arc::clone(event));
        }
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, since: Option<Timestamp>) -> Option<ItemStream<Event>> {
        let mut state = self.lock();
        let again: Vec<_> = match (&state.again, since) {
            (Some((_, kept)), Some(since)) => {
                let since = before(since);
                kept.iter().filter(|event| event.time.is_never() || Some(event.time) >= since).cloned().collect()
            }
            _ => Vec::new(),
        };
        let listeners = state.listeners.as_mut()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        for event in again {
            // There is room for more than is kept.
            let _ = sender.try_send(Ok(event));
        }
        listeners.push(sender);
        Some(told(receiver))
    }

    /// What happens from now on, and possibly what has happened since the last stream broke; to one who listened before, whose last event
    /// was at `since`, what the engine still has of the time after it. The stream ends, or tells the engine's error, when the engine's
    /// breaks.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        node: &Arc<dyn Node>,
        since: Option<Timestamp>,
    ) -> Result<ItemStream<Event>> {
        let _opening = self.opening.lock().await;
        if let Some(joined) = self.join(since) {
            return Ok(joined);
        }
        let last = self.lock().last;
        let options = last.map_or_else(EventOptions::default, EventOptions::since);
        let events = node.events(&options).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut state = self.lock();
        state.listeners = Some(vec![sender]);
        state.again = last.map(|_| (Instant::now() + AGAIN, VecDeque::new()));
        drop(state);
        tokio::spawn(pass_on(Arc::clone(self), events));
        Ok(told(receiver))
    }

    /// Passes it on to all who are there, and gives the first of them; nothing when nobody is, and then there is no stream any more.
    fn pass(&self, told: Option<&Told>) -> Option<mpsc::Sender<Told>> {
        let mut state = self.lock();
        if let Some(Ok(event)) = told {
            state.keep(event);
            if !event.time.is_never() {
                state.last = before(event.time);
            }
        }
        let listeners = state.listeners.as_mut()?;
        listeners.retain(|listener| match told {
            Some(told) => listener.try_send(told.clone()).is_ok(),
            None => !listener.is_closed(),
        });
        let first = listeners.first().cloned();
        if first.is_none() {
            state.listeners = None;
        }
        first
    }

    fn end(&self) {
        let mut state = self.lock();
        state.listeners = None;
        state.again = None;
    }
}

/// From where on to ask for what may be missing after an event of this time.
fn before(time: Timestamp) -> Option<Timestamp> {
    let overlap = i128::try_from(OVERLAP.as_nanos()).unwrap_or_default();
    Timestamp::from_unix_nanos(time.unix_nanos().saturating_sub(overlap))
}

async fn pass_on(feed: Arc<Feed>, mut events: ItemStream<Event>) {
    let mut first = feed.pass(None);
    while let Some(listener) = first {
        first = tokio::select! {
            () = listener.closed() => feed.pass(None),
            next = events.next() => match next {
                Some(Ok(event)) => feed.pass(Some(&Ok(Arc::new(event)))),
                Some(Err(error)) => {
                    let _ = feed.pass(Some(&Err(Arc::new(error))));
                    return feed.end();
                }
                None => return feed.end(),
            },
        };
    }
}

fn told(receiver: mpsc::Receiver<Told>) -> ItemStream<Event> {
    stream::unfold(receiver, |mut receiver| async move {
        let told = receiver.recv().await?.map(Arc::unwrap_or_clone).map_err(|error| error.repeated());
        Some((told, receiver))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::ContainerSpec;
    use roadstead_core::memory::{Faults, MemoryNode, MemoryOptions};

    fn sea() -> Arc<dyn Node> {
        Arc::new(MemoryNode::new("sea", MemoryOptions::default()).unwrap())
    }

    fn faults(node: &Arc<dyn Node>) -> &Faults {
        node.engine().downcast_ref::<MemoryNode>().unwrap().faults()
    }

    fn calls(node: &Arc<dyn Node>) -> usize {
        faults(node).calls().iter().filter(|call| **call == "node.events").count()
    }

    async fn next(events: &mut ItemStream<Event>) -> Option<Result<Event>> {
        tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("it is told soon")
    }

    /// Waits until nobody listens.
    async fn left(feed: &Feed) {
        while feed.lock().listeners.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn one_stream_serves_all_and_ends_with_the_last_listener() {
        let node = sea();
        let feed = Arc::new(Feed::default());
        let mut here = feed.listen(&node, None).await.unwrap();
        let mut there = feed.listen(&node, None).await.unwrap();
        assert_eq!(calls(&node), 1);
        let spec = || ContainerSpec::new("roadstead/busybox:latest");
        let made = node.create_container(&spec()).await.unwrap();
        for events in [&mut here, &mut there] {
            assert_eq!(next(events).await.unwrap().unwrap().id, made.id);
        }
        drop(here);
        let made = node.create_container(&spec()).await.unwrap();
        assert_eq!(next(&mut there).await.unwrap().unwrap().id, made.id, "the first that goes takes nothing with it");
        drop(there);
        left(&feed).await;
        // What happened meanwhile is told to the next, as far as the engine knows it.
        let made = node.create_container(&spec()).await.unwrap();
        let mut again = feed.listen(&node, None).await.unwrap();
        assert_eq!(calls(&node), 2);
        while next(&mut again).await.unwrap().unwrap().id != made.id {}
    }

    #[tokio::test]
    async fn who_comes_back_second_is_given_what_the_first_was() {
        let node = sea();
        let feed = Arc::new(Feed::default());
        let mut here = feed.listen(&node, None).await.unwrap();
        let spec = || ContainerSpec::new("roadstead/busybox:latest");
        node.create_container(&spec()).await.unwrap();
        let last = next(&mut here).await.unwrap().unwrap().time;
        drop(here);
        left(&feed).await;
        let missed = node.create_container(&spec()).await.unwrap();
        let mut first = feed.listen(&node, None).await.unwrap();
        while next(&mut first).await.unwrap().unwrap().id != missed.id {}
        let mut second = feed.listen(&node, Some(last)).await.unwrap();
        while next(&mut second).await.unwrap().unwrap().id != missed.id {}
        // Who is new is given what is new.
        let mut third = feed.listen(&node, None).await.unwrap();
        let new = node.create_container(&spec()).await.unwrap();
        assert_eq!(next(&mut third).await.unwrap().unwrap().id, new.id);
        assert_eq!(calls(&node), 2);
    }

    #[tokio::test]
    async fn a_break_is_told_to_all_and_who_is_too_slow_holds_nobody_back() {
        let node = sea();
        let feed = Arc::new(Feed::default());
        let (mut here, _slow) = (feed.listen(&node, None).await.unwrap(), feed.listen(&node, None).await.unwrap());
        node.create_container(&ContainerSpec::new("roadstead/busybox:latest")).await.unwrap();
        let event = Arc::new(next(&mut here).await.unwrap().unwrap());
        for _ in 0..WAITING {
            assert!(feed.pass(Some(&Ok(Arc::clone(&event)))).is_some());
            assert!(next(&mut here).await.unwrap().is_ok());
        }
        assert_eq!(feed.lock().listeners.as_ref().unwrap().len(), 1, "the slow one has lost its place");
        faults(&node).leave();
        while let Some(told) = next(&mut here).await {
            if told.is_err() {
                break;
            }
        }
        assert!(next(&mut here).await.is_none());
        assert!(feed.listen(&node, None).await.is_err());
        faults(&node).come_back();
        let _again = feed.listen(&node, None).await.unwrap();
    }
}
