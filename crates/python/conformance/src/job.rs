//! Jobs of the package as jobs of the library.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::{
    ItemStream, Job, JobStatus, OutputChunk, OutputKind, OutputOptions, Result, Signal, TerminalSize,
};
use serde_json::json;

use crate::hand::{Hand, Objects};

#[derive(Debug)]
pub(crate) struct DrivenJob {
    hand: Hand,
    id: String,
}

impl DrivenJob {
    pub(crate) fn new(hand: Hand) -> Result<Self> {
        let id = hand.inner("id")?.data()?;
        Ok(DrivenJob { hand, id })
    }
}

/// Pieces of output, with their bytes.
pub(crate) fn chunks(hand: Hand) -> ItemStream<OutputChunk> {
    let chunk = |item: Result<Hand>| {
        let item = item?;
        let kind: OutputKind = item.inner("kind")?.data()?;
        Ok(OutputChunk::new(item.inner("sequence")?.data()?, kind, item.inner("data")?.bytes()?))
    };
    hand.items().map(chunk).boxed()
}

#[async_trait]
impl Job for DrivenJob {
    fn id(&self) -> &str {
        &self.id
    }

    async fn status(&self) -> Result<JobStatus> {
        self.hand.ask("status", json!([]), json!({})).await?.data()
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        let keywords = json!({ "after": options.after, "follow": options.follow });
        Ok(chunks(self.hand.ask("chunks", json!([]), keywords).await?))
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.hand.call("write_stdin", json!([]), json!({}), Objects::default().bytes("data", data)).await.map(drop)
    }

    async fn close_stdin(&self) -> Result<()> {
        self.hand.ask("close_stdin", json!([]), json!({})).await.map(drop)
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.hand.ask("resize", json!([size.columns, size.rows]), json!({})).await.map(drop)
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.hand.ask("kill", json!([signal]), json!({})).await.map(drop)
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        self.hand.ask("wait", json!([]), json!({ "timeout": deadline.as_secs_f64() })).await?.data()
    }
}
