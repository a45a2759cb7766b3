//! Watching a move, and calling it off.

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::watch;

use super::record::MoveRecord;
use super::step::Point;

/// Sees how far a move is.
#[async_trait]
pub trait Observer: Debug + Send + Sync {
    /// The move is at this point, and waits until this returns: where tests cut it. A point within a step may come several
    /// times.
    async fn reached(&self, point: Point);

    /// The record was written down.
    fn changed(&self, record: &MoveRecord);

    /// So many bytes of content were read of the source so far.
    fn copied(&self, bytes: u64);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

#[async_trait]
impl Observer for Unobserved {
    async fn reached(&self, _: Point) {}

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

/// Calls a move off. Copies of it are one switch.
#[derive(Clone, Debug)]
pub struct Canceller(watch::Sender<bool>);

impl Default for Canceller {
    fn default() -> Self {
        Canceller(watch::Sender::new(false))
    }
}

impl Canceller {
    /// Calls it off: before the commit it is rolled back, after the commit it is finished all the same.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was called off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Becomes ready when it is called off.
    pub(super) async fn cancelled(&self) {
        let mut receiver = self.0.subscribe();
        // Cannot fail: this is a sender of it.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }
}
