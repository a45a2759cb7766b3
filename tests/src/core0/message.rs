//! What a running job says, piece by piece: a text with its level, and whether it is the last.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) const STDOUT: u16 = 1;
pub(crate) const STDERR: u16 = 2;
pub(crate) const CRITICAL: u16 = 9;
pub(crate) const METRIC: u16 = 10;
pub(crate) const RESULT_JSON: u16 = 20;
/// Levels whose text is the result of the job.
pub(crate) const RESULTS: [u16; 5] = [20, 21, 22, 23, 30];

/// The job was started with `stream`.
pub(crate) const STREAM: u64 = 1;
/// Nothing follows, and it went well.
pub(crate) const END: u64 = 2;
/// Nothing follows, and it failed.
pub(crate) const END_ERROR: u64 = 4;

/// One piece of what a job says.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Not necessarily UTF-8, which only writing it as JSON makes it.
    pub(crate) text: Vec<u8>,
    pub(crate) level: u16,
    pub(crate) flags: u64,
    /// The code of the result, which only the last piece has.
    pub(crate) code: u32,
    /// Nanoseconds since 1970, stamped when it is passed on.
    pub(crate) epoch: i64,
}

impl Message {
    pub(crate) fn new(level: u16, text: impl Into<Vec<u8>>) -> Self {
        Message { text: text.into(), level, flags: 0, code: 0, epoch: 0 }
    }

    /// The last piece.
    pub(crate) fn end(level: u16, text: impl Into<Vec<u8>>, code: u32, failed: bool) -> Self {
        Message { flags: if failed { END_ERROR } else { END }, code, ..Message::new(level, text) }
    }

    pub(crate) fn is_last(&self) -> bool {
        self.flags & (END | END_ERROR) != 0
    }

    /// As it is written.
    pub(crate) fn document(&self) -> Document {
        let meta = (u64::from(self.level) << 16) | self.flags;
        Document { message: super::go::text(&self.text), epoch: self.epoch, meta }
    }
}

/// A message as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) message: String,
    pub(crate) epoch: i64,
    /// The level times 65536, and the flags.
    pub(crate) meta: u64,
}

impl Document {
    pub(crate) fn level(&self) -> u64 {
        self.meta >> 16
    }

    pub(crate) fn has(&self, flags: u64) -> bool {
        self.meta & flags != 0
    }
}

/// An entry of `stream:` and `logger:` lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// 0, or the container's id.
    pub(crate) core: u16,
    /// The job's id, whatever the name says.
    pub(crate) command: String,
    pub(crate) message: Document,
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn nanoseconds() -> i64 {
    i64::try_from(since_1970().as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn milliseconds() -> i64 {
    i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn seconds() -> i64 {
    i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX)
}
