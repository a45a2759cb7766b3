//! What the main process of a container wrote: kept within bounds, read by any number of readers.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::watch;

use super::lock;
use crate::container::LogOptions;
use crate::stream::{LogRecord, OutputKind};
use crate::time::Timestamp;

/// Output kept per container; the oldest goes first.
const KEPT_MAX_BYTES: usize = 1024 * 1024;

/// A piece costs about this much beyond its bytes; counted, so that many tiny writes stay bounded, too.
const PIECE_OVERHEAD_BYTES: usize = 64;

/// A line, or a piece of one, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
    pub(super) kind: OutputKind,
    pub(super) data: Bytes,
}

impl Piece {
    pub(super) fn record(self, timestamps: bool) -> LogRecord {
        LogRecord { kind: self.kind, time: timestamps.then_some(self.time), data: self.data }
    }

    pub(super) fn wanted(&self, options: &LogOptions) -> bool {
        let kind = match self.kind {
            OutputKind::Stderr => options.stderr,
            OutputKind::Stdout | OutputKind::Console => options.stdout,
        };
        kind && options.since.is_none_or(|since| self.time >= since)
            && options.until.is_none_or(|until| self.time < until)
    }
}

#[derive(Debug)]
pub(super) struct LogStore {
    kept: Mutex<Kept>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    pieces: VecDeque<Piece>,
    bytes: usize,
    next: u64,
}

impl Default for LogStore {
    fn default() -> Self {
        LogStore {
            kept: Mutex::new(Kept { pieces: VecDeque::new(), bytes: 0, next: 1 }),
            changed: watch::Sender::new(0),
        }
    }
}

impl LogStore {
    /// Adds output, one piece per line.
    pub(super) fn append(&self, time: Timestamp, kind: OutputKind, data: &Bytes) {
        {
            let mut kept = lock(&self.kept);
            for line in data.split_inclusive(|byte| *byte == b'\n') {
                let piece = Piece { sequence: kept.next, time, kind, data: data.slice_ref(line) };
                kept.next += 1;
                kept.bytes += line.len() + PIECE_OVERHEAD_BYTES;
                kept.pieces.push_back(piece);
            }
            while kept.bytes > KEPT_MAX_BYTES && kept.pieces.len() > 1 {
                let gone = kept.pieces.pop_front().map_or(0, |piece| piece.data.len() + PIECE_OVERHEAD_BYTES);
                kept.bytes -= gone;
            }
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Pieces after number `after`.
    pub(super) fn after(&self, after: u64) -> VecDeque<Piece> {
        let kept = lock(&self.kept);
        // Numbered without gaps, so the first wanted one is found by counting.
        let first = kept.pieces.front().map_or(kept.next, |piece| piece.sequence);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        kept.pieces.iter().skip(skip).cloned().collect()
    }

    /// Number of the last piece.
    pub(super) fn last(&self) -> u64 {
        lock(&self.kept).next - 1
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
