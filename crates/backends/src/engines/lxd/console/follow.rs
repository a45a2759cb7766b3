//! A console as it goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ErrorKind, ItemStream, Result};
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::shared::Lxd;
use super::{Console, Link};

/// How long a console that has just said something is left alone; it grows while nothing is said.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// While a connection tells when something is said. It may break, which it does not tell.
const LINKED_PAUSE: Duration = Duration::from_secs(2);

struct Follower {
    lxd: Arc<Lxd>,
    console: Arc<Console>,
    /// The connection of who writes, too.
    link: Option<Arc<Link>>,
    hints: watch::Receiver<u64>,
    position: u64,
    pause: Duration,
    over: bool,
}

/// What is written from `position` on, until the container ends.
pub(in super::super) fn follow(
    lxd: &Arc<Lxd>,
    console: &Arc<Console>,
    link: Option<Arc<Link>>,
    position: u64,
) -> ItemStream<Bytes> {
    let follower = Follower {
        lxd: Arc::clone(lxd),
        console: Arc::clone(console),
        link,
        hints: console.hints(),
        position,
        pause: SHORTEST_PAUSE,
        over: false,
    };
    let pieces = stream::unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((piece, follower))
    });
    pieces.fuse().boxed()
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        while !self.over {
            self.hints.borrow_and_update();
            if let Some(Err(error)) = self.link.as_ref().map(|link| link.check()) {
                self.over = true;
                return Some(Err(error));
            }
            let look = match self.console.look(&self.lxd, None, self.position).await {
                Ok(look) => look,
                Err(error) => {
                    self.over = true;
                    // A container that was deleted has said everything.
                    return (error.kind() != ErrorKind::NotFound).then_some(Err(error));
                }
            };
            self.position = look.end;
            self.over = look.over;
            if !look.bytes.is_empty() {
                self.pause = SHORTEST_PAUSE;
                return Some(Ok(look.bytes));
            }
            if !self.over {
                self.wait().await;
            }
        }
        None
    }

    async fn wait(&mut self) {
        let pause = if self.console.is_linked().await { LINKED_PAUSE } else { self.pause };
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = sleep(pause) => {}
            // The console outlives its followers, so this never fails.
            _ = self.hints.changed() => {}
        }
    }
}
