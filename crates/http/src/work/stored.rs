//! A job of the server as everybody sees it: a handle on what the store has, so that any server that shares the store can tell of it,
//! wait for it and end it, whichever works at it.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::{
    Error, ErrorKind, ItemStream, Job, JobStatus, OutputChunk, OutputOptions, Result, Signal, TerminalSize,
};

use super::book::{Book, Part};
use super::record::{JobItem, JobRecord};

/// Should the store tell of nothing, it is looked at so often.
const SELDOM: Duration = Duration::from_secs(2);

/// A job in the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredJob {
    book: Book,
    id: String,
}

impl StoredJob {
    pub(super) fn new(book: Book, id: String) -> Self {
        StoredJob { book, id }
    }

    /// What is kept of it.
    ///
    /// # Errors
    /// `NotFound` when it is not kept any more, and those of the store.
    pub(crate) async fn record(&self) -> Result<JobRecord> {
        self.book.get(&self.id).await?.ok_or_else(|| Error::not_found("job", &self.id))
    }

    /// What it does, one by one.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn items(&self) -> Result<Vec<JobItem>> {
        self.book.items(&self.id).await
    }

    fn conflict(&self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("job {} {why}", self.id)).with_resource(self.id.clone())
    }

    /// The record, once the job has ended.
    async fn ended(&self) -> Result<JobRecord> {
        loop {
            let mut watch = self.book.watch(&self.id, None).await?;
            let record = self.record().await?;
            if record.state.is_final() {
                return Ok(record);
            }
            // A watch that is over waits the same time: what is missing is found by looking.
            let end = async {
                if self.book.written(&mut watch, &self.id, Part::End).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let _ = tokio::time::timeout(SELDOM, end).await;
        }
    }
}

#[async_trait]
impl Job for StoredJob {
    fn id(&self) -> &str {
        &self.id
    }

    async fn status(&self) -> Result<JobStatus> {
        Ok(self.record().await?.status())
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        let _ = self.record().await?;
        let reader = Reader { job: self.clone(), options, read: VecDeque::new(), over: false };
        Ok(stream::unfold(reader, Reader::next).fuse().boxed())
    }

    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(self.conflict("has no standard input"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        size.validate()?;
        Err(self.conflict("has no terminal"))
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        if self.record().await?.state.is_final() {
            return Ok(());
        }
        self.book.wish(&self.id)?.make(&signal).await
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        match tokio::time::timeout(deadline, self.ended()).await {
            Ok(ended) => Ok(ended?.status()),
            Err(_) => {
                let words = format!("job {} has not ended within {} s", self.id, deadline.as_secs_f64());
                Err(Error::new(ErrorKind::DeadlineExceeded, words).with_resource(self.id.clone()))
            }
        }
    }
}

/// Gives the output to one caller.
struct Reader {
    job: StoredJob,
    options: OutputOptions,
    read: VecDeque<OutputChunk>,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<OutputChunk>, Reader)> {
        loop {
            if let Some(chunk) = self.read.pop_front() {
                self.options.after = chunk.sequence;
                return Some((Ok(chunk), self));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.look().await {
                self.over = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Reads what is new; waits until there may be more when there is nothing.
    async fn look(&mut self) -> Result<()> {
        let StoredJob { book, id } = &self.job;
        // Before the output: what ended before has written all of it.
        let ended = self.job.record().await?.state.is_final();
        let (pieces, revision) = book.output(id).await?;
        for (_, piece) in pieces {
            let numbered = (piece.first..).zip(piece.lines);
            let new = numbered.filter(|(number, _)| *number > self.options.after);
            self.read
                .extend(new.map(|(number, (stream, line))| OutputChunk::new(number, stream.into(), Bytes::from(line))));
        }
        if self.read.is_empty() {
            self.over = ended || !self.options.follow;
            if !self.over {
                let mut watch = book.watch(id, Some(revision)).await?;
                let _ = tokio::time::timeout(SELDOM, watch.next()).await;
            }
        }
        Ok(())
    }
}
