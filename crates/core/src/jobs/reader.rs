//! The output of a job, as one caller reads it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::kept::State;
use super::lock;
use crate::error::{Error, Result};
use crate::job::OutputOptions;
use crate::stream::OutputChunk;

/// Gives a job's output to one caller. It holds what is kept of the output, not the process.
pub(super) struct Reader {
    state: Arc<Mutex<State>>,
    changes: watch::Receiver<u64>,
    after: u64,
    follow: bool,
    batch: VecDeque<OutputChunk>,
    over: bool,
}

impl Reader {
    pub(super) fn new(state: Arc<Mutex<State>>, changes: watch::Receiver<u64>, options: OutputOptions) -> Self {
        let OutputOptions { after, follow, .. } = options;
        Reader { state, changes, after, follow, batch: VecDeque::new(), over: false }
    }

    pub(super) async fn next(mut self) -> Option<(Result<OutputChunk>, Reader)> {
        loop {
            if let Some(chunk) = self.batch.pop_front() {
                self.after = chunk.sequence;
                return Some((Ok(chunk), self));
            }
            if self.over {
                return None;
            }
            self.changes.borrow_and_update();
            {
                let state = lock(&self.state);
                // Chunks are numbered without gaps, so the first wanted one is found by counting.
                let first = state.chunks.front().map_or(state.next_sequence, |chunk| chunk.sequence);
                let skip = usize::try_from(self.after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
                // A bounded batch: a slow reader holds no more than this.
                self.batch.extend(state.chunks.iter().skip(skip).take(256).cloned());
                if self.batch.is_empty() {
                    if let Some((kind, message)) = state.lost.clone() {
                        self.over = true;
                        drop(state);
                        return Some((Err(Error::new(kind, message)), self));
                    }
                    self.over = state.ended.is_some() || !self.follow;
                }
            }
            if self.batch.is_empty() && !self.over && self.changes.changed().await.is_err() {
                // The job is not kept any more, so it had ended.
                self.over = true;
            }
        }
    }
}
