//! The engine's clock: a base time plus what tokio's clock has counted since, so that a paused clock pauses everything.

use tokio::time::Instant;

use crate::time::Timestamp;

/// Tells the time as the simulated engine sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    pub(super) fn starting_at(base: Timestamp) -> Self {
        Clock { base, started: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.base.saturating_add(self.started.elapsed())
    }
}
