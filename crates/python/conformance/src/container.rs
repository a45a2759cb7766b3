//! Containers of the package as containers of the library.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::{
    AttachOptions, Attachment, BackupOptions, ByteStream, CommitOptions, Container, ContainerDetails, ContainerExit,
    ContainerStats, ContainerUpdate, CopyInOptions, DeleteOptions, Error, InputSink, ItemStream, Job, JobSpec,
    JobStatus, LogOptions, LogRecord, Process, Result, Signal, Snapshot, SnapshotOptions, StopOptions, TerminalSize,
    WaitFor,
};
use serde_json::{Value, json};

use crate::hand::{Hand, Objects};
use crate::job::{DrivenJob, chunks};

#[derive(Debug)]
pub(crate) struct DrivenContainer {
    pub(crate) hand: Hand,
    pub(crate) id: String,
}

/// A specification of a job as a command and keyword arguments.
pub(crate) fn job_arguments(job: &JobSpec) -> Result<(Value, Value)> {
    let mut fields = serde_json::to_value(job).unwrap_or_default();
    let command = fields.as_object_mut().and_then(|fields| fields.remove("command")).unwrap_or_default();
    Ok((json!([command]), fields))
}

impl DrivenContainer {
    async fn done(&self, name: &'static str, positional: Value, keywords: Value) -> Result<()> {
        self.hand.ask(name, positional, keywords).await.map(drop)
    }

    async fn given(&self, name: &'static str) -> Result<Hand> {
        self.hand.ask(name, json!([]), json!({})).await
    }
}

/// The argument has another name than the library's field.
fn of_timeout(error: Error) -> Error {
    if error.field() != Some("timeout") {
        return error;
    }
    let words = error.message().to_owned();
    Error::new(error.kind(), words).with_retry(error.retry()).with_field("timeout_seconds")
}

#[async_trait]
impl Container for DrivenContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        self.given("inspect").await?.data()
    }

    async fn start(&self) -> Result<()> {
        self.done("start", json!([]), json!({})).await
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        self.done("stop", json!([]), json!({ "timeout": options.timeout_seconds })).await.map_err(of_timeout)
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        self.done("restart", json!([]), json!({ "timeout": options.timeout_seconds })).await.map_err(of_timeout)
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.done("kill", json!([signal]), json!({})).await
    }

    async fn freeze(&self) -> Result<()> {
        self.done("freeze", json!([]), json!({})).await
    }

    async fn unfreeze(&self) -> Result<()> {
        self.done("unfreeze", json!([]), json!({})).await
    }

    async fn rename(&self, name: &str) -> Result<()> {
        self.done("rename", json!([name]), json!({})).await
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        let keywords = json!({ "limits": changes.limits, "restart": changes.restart, "hold": changes.hold });
        self.done("update", json!([]), keywords).await
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        self.done("delete", json!([]), json!({ "force": options.force, "volumes": options.volumes })).await
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        let keywords = json!({ "condition": condition, "timeout": deadline.as_secs_f64() });
        self.hand.ask("wait", json!([]), keywords).await?.data()
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        let CommitOptions { image, message, author, freeze, .. } = options;
        let keywords = json!({ "message": message, "author": author, "freeze": freeze });
        self.hand.ask("commit", json!([image]), keywords).await?.data()
    }

    async fn export(&self) -> Result<ByteStream> {
        Ok(self.given("export").await?.archive())
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.given("snapshots").await?.data()
    }

    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        let mut keywords = json!({ "stateful": options.stateful });
        if let (Some(at), Some(keywords)) = (options.expires_at, keywords.as_object_mut()) {
            keywords.insert("expires_at".to_owned(), json!({ "moment": at }));
        }
        self.hand.ask("create_snapshot", json!([options.name]), keywords).await?.data()
    }

    async fn restore_snapshot(&self, name: &str) -> Result<()> {
        self.done("restore_snapshot", json!([name]), json!({})).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.done("delete_snapshot", json!([name]), json!({})).await
    }

    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream> {
        Ok(self.hand.ask("backup", json!([]), json!({ "snapshots": options.snapshots })).await?.archive())
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        Ok(self.hand.ask("copy_out", json!([path]), json!({})).await?.archive())
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        let objects = Objects::default().text("path", path).archive("archive", archive).await?;
        let keywords = json!({ "no_overwrite_dir_with_file": options.no_overwrite_dir_with_file });
        self.hand.call("copy_in", json!([]), keywords, objects).await.map(drop)
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        let LogOptions { stdout, stderr, follow, tail, since, until, timestamps, .. } = options;
        let moment = |at: &Option<roadstead_core::Timestamp>| at.map(|at| json!({ "moment": at }));
        let keywords = json!({
            "stdout": stdout, "stderr": stderr, "follow": follow, "tail": tail, "timestamps": timestamps,
            "since": moment(since), "until": moment(until),
        });
        let record = |item: Result<Hand>| {
            let item = item?;
            let mut record = LogRecord::new(item.inner("kind")?.data()?, item.inner("data")?.bytes()?);
            record.time = item.inner("time")?.data()?;
            Ok(record)
        };
        Ok(self.hand.ask("logs", json!([]), keywords).await?.items().map(record).boxed())
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        let AttachOptions { stdin, stdout, stderr, logs, .. } = options;
        let keywords = json!({ "stdin": stdin, "stdout": stdout, "stderr": stderr, "logs": logs });
        let attached = self.hand.ask("attach", json!([]), keywords).await?;
        let input = stdin.then(|| Box::new(Input(attached.clone())) as Box<dyn InputSink>);
        Ok(Attachment { output: chunks(attached.inner("output")?), input })
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.done("resize", json!([size.columns, size.rows]), json!({})).await
    }

    async fn stats(&self) -> Result<ContainerStats> {
        self.given("stats").await?.data()
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        self.given("processes").await?.data()
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        let (positional, keywords) = job_arguments(job)?;
        Ok(Arc::new(DrivenJob::new(self.hand.ask("run", positional, keywords).await?)?))
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.given("jobs").await?.data()
    }
}

/// The standard input of a main process.
#[derive(Debug)]
struct Input(Hand);

#[async_trait]
impl InputSink for Input {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.0.call("write", json!([]), json!({}), Objects::default().bytes("data", data)).await.map(drop)
    }

    async fn close(&mut self) -> Result<()> {
        self.0.ask("close_input", json!([]), json!({})).await.map(drop)
    }
}
