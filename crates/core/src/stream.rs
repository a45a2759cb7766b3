//! The stream types that the traits speak: items that arrive over time, bytes of archives, output of processes.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::time::Timestamp;

/// Items that arrive over time. After an `Err` the stream ends.
pub type ItemStream<T> = BoxStream<'static, Result<T>>;

/// The bytes of an archive or a file, in pieces of any size.
pub type ByteStream = ItemStream<Bytes>;

/// Which stream of a process some output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum OutputKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal, where both are one.
    Console,
}

/// A piece of the output of a container's main process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// Where it was written.
    pub kind: OutputKind,
    /// When, if asked for and known.
    pub time: Option<Timestamp>,
    /// The bytes as they were written, line end included; any encoding.
    pub data: Bytes,
}

impl LogRecord {
    /// A record without a time.
    #[must_use]
    pub fn new(kind: OutputKind, data: Bytes) -> Self {
        LogRecord { kind, time: None, data }
    }
}

/// A piece of the output of a job or an attached container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputChunk {
    /// Its number, counted from 1 without gaps; what a reader gives to continue after it.
    pub sequence: u64,
    /// Where it was written.
    pub kind: OutputKind,
    /// The bytes as they were written; any encoding.
    pub data: Bytes,
}

impl OutputChunk {
    /// A chunk with its number.
    #[must_use]
    pub fn new(sequence: u64, kind: OutputKind, data: Bytes) -> Self {
        OutputChunk { sequence, kind, data }
    }
}

/// The way into a process: its standard input.
///
/// Dropping a sink closes the input.
#[async_trait::async_trait]
pub trait InputSink: Send + Sync + std::fmt::Debug {
    /// Writes all of `data`, in order. Cancelling leaves an unknown part written.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when the input is closed, [`crate::ErrorKind::Unavailable`] when the engine is gone.
    async fn write(&mut self, data: Bytes) -> Result<()>;

    /// Closes the input: the process reads end of file. Closing twice is `Ok`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when the engine is gone.
    async fn close(&mut self) -> Result<()>;
}

/// An open connection to the streams of a container's main process.
///
/// Dropping it detaches; the process goes on.
pub struct Attachment {
    /// What the process writes from now on, or from its start when asked for.
    pub output: ItemStream<OutputChunk>,
    /// Its standard input, when asked for.
    pub input: Option<Box<dyn InputSink>>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("input", &self.input.is_some()).finish_non_exhaustive()
    }
}

/// Size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TerminalSize {
    /// Number of columns, at least 1.
    pub columns: u16,
    /// Number of rows, at least 1.
    pub rows: u16,
}

impl TerminalSize {
    /// Refuses a size without area.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `columns` or `rows`.
    pub fn validate(self) -> Result<()> {
        if self.columns == 0 {
            return Err(crate::Error::invalid("columns", "must be at least 1"));
        }
        if self.rows == 0 {
            return Err(crate::Error::invalid("rows", "must be at least 1"));
        }
        Ok(())
    }
}
