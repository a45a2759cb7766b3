//! A layer that makes a node's events and answers unreliable: events are lost, repeated, late and mixed up, and answers come late,
//! by a schedule that follows from a seed.
//!
//! It is for tests of what relies on events: [`crate::mirror`]. Nothing is made up: each event is one of the engine's, and each
//! answer is the engine's own, as it was when the engine gave it.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Result;
use crate::event::Event;
use crate::layers::{Around, Call};
use crate::operation;
use crate::stream::ItemStream;

/// How unreliable a node is. The default is reliable.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unreliable {
    /// Of a hundred events, so many are lost.
    pub lost: u32,
    /// So many are given twice.
    pub twice: u32,
    /// So many are late, so that others overtake them.
    pub late: u32,
    /// How late at most.
    pub lateness: Duration,
    /// Answers of lists are on their way for up to this time after the engine has given them.
    pub answers: Duration,
    state: Mutex<u64>,
}

impl Unreliable {
    /// Reliable so far; what its members make of it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Unreliable { state: Mutex::new(seed), ..Unreliable::default() }
    }

    /// A number below `bound` (splitmix64).
    fn number(&self, bound: u64) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn happens(&self, percent: u32) -> bool {
        self.number(100) < u64::from(percent)
    }

    fn some_of(&self, time: Duration) -> Duration {
        Duration::from_micros(self.number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Another one, if it is an event.
fn copy<T: 'static>(item: &T) -> Option<T> {
    let event = (item as &dyn Any).downcast_ref::<Event>()?;
    let copy: Box<dyn Any> = Box::new(event.clone());
    copy.downcast().ok().map(|copy| *copy)
}

struct Late<T> {
    stream: ItemStream<T>,
    layer: std::sync::Arc<Unreliable>,
    /// What is on its way, and until when.
    waiting: Vec<(Instant, T)>,
    ready: VecDeque<Result<T>>,
    over: bool,
}

impl<T: Send + 'static> Late<T> {
    async fn next(mut self) -> Option<(Result<T>, Self)> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some((item, self));
            }
            let first = self.waiting.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(n, (at, _))| (n, *at));
            if self.over && first.is_none() {
                return None;
            }
            let soonest = async {
                match first {
                    Some((number, at)) => {
                        sleep_until(at).await;
                        number
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                number = soonest => {
                    let (_, item) = self.waiting.swap_remove(number);
                    self.ready.push_back(Ok(item));
                }
                item = self.stream.next(), if !self.over => match item {
                    Some(Ok(item)) => self.take(item),
                    Some(Err(error)) => {
                        self.over = true;
                        self.ready.push_back(Err(error));
                        self.waiting.clear();
                    }
                    None => self.over = true,
                },
            }
        }
    }

    fn take(&mut self, item: T) {
        let layer = std::sync::Arc::clone(&self.layer);
        if layer.happens(layer.lost) {
            return;
        }
        let again = if layer.happens(layer.twice) { copy(&item) } else { None };
        for item in again.into_iter().chain([item]) {
            if layer.happens(layer.late) {
                self.waiting.push((Instant::now() + layer.some_of(layer.lateness), item));
            } else {
                self.ready.push_back(Ok(item));
            }
        }
    }
}

impl Around for std::sync::Arc<Unreliable> {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let answer = crate::layers::first(&mut attempt).await;
        if call.operation.name == operation::NODE_LIST_CONTAINERS.name && !self.answers.is_zero() {
            sleep(self.some_of(self.answers)).await;
        }
        answer
    }

    fn stream<T: Send + 'static>(&self, call: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        if call.operation.name != operation::NODE_EVENTS.name {
            return stream;
        }
        let layer = std::sync::Arc::clone(self);
        let late = Late { stream, layer, waiting: Vec::new(), ready: VecDeque::new(), over: false };
        stream::unfold(late, Late::next).boxed()
    }
}
