//! Reading the output of a simulated main process, as log or through an attachment.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::faults::{Effects, Faults};
use super::logs::{LogStore, Piece};
use super::process::Process;
use super::state::{Life, Record, Shared};
use crate::container::{AttachOptions, ContainerState, LogOptions};
use crate::error::Result;
use crate::stream::{Attachment, InputSink, ItemStream, LogRecord, OutputChunk};

/// A stream that a scripted fault cuts after its first item, or garbles.
pub(super) fn cut<T: Send + 'static>(effects: Effects, stream: ItemStream<T>) -> ItemStream<T> {
    if effects.vanish || effects.garbage {
        stream.take(1).chain(stream::once(async { Err(Faults::away()) })).boxed()
    } else {
        stream
    }
}

struct Reader {
    shared: Arc<Shared>,
    store: Arc<LogStore>,
    life: watch::Receiver<Life>,
    changes: watch::Receiver<u64>,
    /// Number of ends at which it is over; none for a reader that does not follow.
    until_end: Option<u64>,
    after: u64,
    batch: VecDeque<Piece>,
    options: LogOptions,
    over: bool,
}

impl Reader {
    fn new(shared: &Arc<Shared>, record: &Record, options: &LogOptions) -> Self {
        Reader {
            shared: Arc::clone(shared),
            store: Arc::clone(&record.logs),
            life: record.life.subscribe(),
            changes: record.logs.changes(),
            until_end: None,
            after: record.logs.last(),
            batch: VecDeque::new(),
            options: options.clone(),
            over: false,
        }
    }

    async fn next(mut self) -> Option<(Result<Piece>, Self)> {
        loop {
            while let Some(piece) = self.batch.pop_front() {
                if piece.wanted(&self.options) {
                    return Some((Ok(piece), self));
                }
            }
            let ends = self.until_end.filter(|_| !self.over)?;
            // Looked at before the store is read: what is written before the end is then not missed.
            let ended = {
                let life = self.life.borrow_and_update();
                life.deleted || life.ends >= ends
            };
            self.changes.borrow_and_update();
            self.batch = self.store.after(self.after);
            self.after = self.batch.back().map_or(self.after, |piece| piece.sequence);
            if !self.batch.is_empty() {
                continue;
            }
            if ended {
                return None;
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                () = shared.faults.gone() => {
                    self.over = true;
                    return Some((Err(Faults::away()), self));
                }
                changed = self.changes.changed() => self.over = changed.is_err(),
                // An error means that the record is gone, after it has said so.
                changed = self.life.changed() => self.over = changed.is_err() && !self.life.borrow().deleted,
            }
        }
    }
}

/// The log of a container. The world is locked by the caller.
pub(super) fn logs(
    shared: &Arc<Shared>,
    record: &Record,
    options: &LogOptions,
    effects: Effects,
) -> ItemStream<LogRecord> {
    let mut reader = Reader::new(shared, record, options);
    let mut kept: VecDeque<Piece> = record.logs.after(0).into_iter().filter(|piece| piece.wanted(options)).collect();
    if let Some(tail) = options.tail {
        let surplus = kept.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        kept.drain(..surplus);
    }
    reader.batch = kept;
    if options.follow && record.state.has_processes() {
        reader.until_end = Some(record.life.borrow().ends + 1);
    }
    let timestamps = options.timestamps;
    let records = stream::unfold(reader, Reader::next).map(move |piece| Ok(piece?.record(timestamps)));
    cut(effects, records.boxed())
}

/// A connection to the main process. The world is locked by the caller.
pub(super) fn attach(
    shared: &Arc<Shared>,
    record: &Record,
    options: &AttachOptions,
    effects: Effects,
) -> Result<Attachment> {
    // One that was just created may be attached to, so that nothing of its output is missed.
    if record.state != ContainerState::Created {
        record.main_process()?;
    }
    if options.stdin && !record.spec.stdin {
        return Err(record.conflict("was created without standard input"));
    }
    let wanted = LogOptions { stdout: options.stdout, stderr: options.stderr, ..LogOptions::default() };
    let mut reader = Reader::new(shared, record, &wanted);
    if options.logs {
        reader.after = 0;
    }
    reader.until_end = Some(record.life.borrow().ends + 1);
    let mut sequence = 0;
    let output = stream::unfold(reader, Reader::next).map(move |piece| {
        let piece = piece?;
        sequence += 1;
        Ok(OutputChunk::new(sequence, piece.kind, piece.data))
    });
    let input = options.stdin.then(|| {
        Box::new(Input {
            shared: Arc::clone(shared),
            id: record.id.clone(),
            process: record.main.clone(),
            closed: false,
        }) as Box<dyn InputSink>
    });
    Ok(Attachment { output: cut(effects, output.boxed()), input })
}

/// The way into a main process.
#[derive(Debug)]
struct Input {
    shared: Arc<Shared>,
    id: String,
    /// Not known yet when the container had not been started.
    process: Option<Arc<Process>>,
    closed: bool,
}

impl Input {
    fn process(&mut self) -> Result<&Arc<Process>> {
        if self.process.is_none() {
            let mut world = self.shared.world();
            self.process = Some(Arc::clone(world.container(&self.id)?.main_process()?));
        }
        self.process.as_ref().ok_or_else(Faults::away)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if !self.closed
            && let Some(process) = &self.process
        {
            process.close_input();
        }
    }
}

#[async_trait]
impl InputSink for Input {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        if self.closed {
            return Err(crate::Error::new(crate::ErrorKind::Conflict, "standard input is closed"));
        }
        self.process()?.write_input(&data)
    }

    async fn close(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.closed, true)
            && let Ok(process) = self.process()
        {
            process.close_input();
        }
        Ok(())
    }
}
