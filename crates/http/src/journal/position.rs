//! Where the events of one engine were left off, to be taken up again.
//!
//! Engines give events of nearly the same time in any order, so a stream is taken up a little before its last event, and what was given
//! already is known again by marks.

use std::collections::VecDeque;
use std::time::Duration;

use roadstead_core::{Event, EventAction, EventOptions, Timestamp};
use serde::{Deserialize, Serialize};

/// How far before the last event a stream is taken up again.
const OVERLAP: Duration = Duration::from_secs(2);
/// How many events are known again.
const MARKS: usize = 8;
/// The same of one who follows a stream in this process.
const GIVEN_MAX: usize = 10_000;

/// Where one node's stream stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Time of the last event, in nanoseconds. Of the last and not of the latest: when a clock is set back, this repeats
    /// events, where the other would lose them.
    t: i64,
    /// Marks of the last events.
    m: VecDeque<u32>,
}

impl Position {
    pub(crate) fn pass(&mut self, event: &Event) {
        // An engine that does not tell the time does not move the position to the beginning of time.
        if !event.time.is_never() {
            self.t = i64::try_from(event.time.unix_nanos()).unwrap_or(i64::MAX);
        }
        self.m.push_back(mark(event));
        while self.m.len() > MARKS {
            self.m.pop_front();
        }
    }

    pub(crate) fn options(&self) -> EventOptions {
        let from = i128::from(self.t).saturating_sub(i128::try_from(OVERLAP.as_nanos()).unwrap_or(0)).max(0);
        Timestamp::from_unix_nanos(from).map_or_else(EventOptions::default, EventOptions::since)
    }

    /// The time of the last event, in nanoseconds.
    pub(crate) fn nanos(&self) -> i64 {
        self.t
    }
}

/// What an event is known again by (FNV-1a): the same in every process and version.
fn mark(event: &Event) -> u32 {
    let time = event.time.unix_nanos().to_le_bytes();
    let parts: [&[u8]; 4] =
        [&time, event.id.as_bytes(), event.action.name().as_bytes(), event.engine_action.as_bytes()];
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        // 0xff is in no UTF-8, so it keeps the parts apart.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

/// What one who follows a stream was given of its last moments.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Time of the last event.
    last: Option<Timestamp>,
    /// Times and marks of the events that may be given again.
    marks: VecDeque<(i128, u32)>,
}

impl Given {
    pub(crate) fn pass(&mut self, event: &Event) {
        let time = if event.time.is_never() { self.last.unwrap_or(event.time) } else { event.time };
        self.last = Some(time);
        self.marks.push_back((time.unix_nanos(), mark(event)));
        // Twice the time that is asked for again: they come in any order.
        let old = time.unix_nanos() - 2 * i128::try_from(OVERLAP.as_nanos()).unwrap_or_default();
        while self.marks.len() > GIVEN_MAX || self.marks.front().is_some_and(|(time, _)| *time < old) {
            self.marks.pop_front();
        }
    }

    /// Time of the last event.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Leaves out what is given again after a break.
    pub(crate) fn skip(&self) -> Skip {
        Skip(self.marks.iter().map(|(_, mark)| *mark).collect())
    }
}

/// Leaves out what is known to have been given already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skip(VecDeque<u32>);

impl Skip {
    pub(crate) fn after(position: Option<&Position>) -> Skip {
        Skip(position.map(|position| position.m.clone()).unwrap_or_default())
    }

    pub(crate) fn passes(&mut self, event: &Event) -> bool {
        if self.0.is_empty() || event.action == EventAction::Resync {
            return true;
        }
        let mark = mark(event);
        match self.0.iter().position(|given| *given == mark) {
            Some(index) => {
                self.0.remove(index);
                false
            }
            None => true,
        }
    }
}
