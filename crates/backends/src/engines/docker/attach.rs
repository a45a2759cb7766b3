//! Connections to the streams of a container's main process, and the size of its terminal.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::{AttachOptions, Attachment, Error, ErrorKind, InputSink, OutputChunk, Result, TerminalSize};

use super::client::Client;
use super::facts::Facts;
use super::hijack::{self, Input};
use super::request::Request;
use super::watch;

/// The engine ends a terminal's connection when it reads a certain sequence of keys, and holds back what may become
/// one. This one is not typed by accident, and has no key in common with the usual Ctrl-P Ctrl-Q.
pub(super) const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// Opens a connection to the main process.
pub(super) async fn open(client: &Arc<Client>, id: &str, options: &AttachOptions) -> Result<Attachment> {
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Error::invalid("stdout", "at least one of stdin, stdout and stderr must be asked for"));
    }
    let facts = Facts::of(client, id).await?;
    if !facts.running && !facts.fresh {
        return Err(Error::new(ErrorKind::Conflict, "the container does not run"));
    }
    if options.stdin && !facts.stdin {
        return Err(Error::new(ErrorKind::Conflict, "the container was created without standard input"));
    }
    let request = Request::post(&format!("/containers/{}/attach", facts.id))
        .flag("stream", true)
        .flag("stdin", options.stdin)
        .flag("stdout", options.stdout)
        .flag("stderr", options.stderr)
        .flag("logs", options.logs)
        .query("detachKeys", DETACH_KEYS);
    let (output, input) = hijack::open(client, request).await?.split(facts.tty);
    // Held by the output when the caller does not want it: some engines detach when it is closed.
    let (input, held) = if options.stdin { (Some(input), None) } else { (None, Some(input)) };
    let output = output.enumerate().map(move |(count, item)| {
        let _held = &held;
        item.map(|(kind, data)| OutputChunk::new(count as u64 + 1, kind, data))
    });
    Ok(Attachment {
        output: watch::watched(client, watch::ending_honestly(client, output)),
        input: input.map(|input| Box::new(input) as Box<dyn InputSink>),
    })
}

#[async_trait]
impl InputSink for Input {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        Input::write(self, &data).await
    }

    /// Of a container that was created so that its input stays open (without `StdinOnce`), Docker ends the output
    /// instead, and the process goes on waiting.
    async fn close(&mut self) -> Result<()> {
        self.end().await
    }
}

/// Sets the size of the main process's terminal.
pub(super) async fn resize(client: &Arc<Client>, id: &str, size: TerminalSize) -> Result<()> {
    size.validate()?;
    let facts = Facts::of(client, id).await?;
    facts.must_run()?;
    if !facts.tty {
        return Err(Error::new(ErrorKind::Conflict, "the container was created without a terminal"));
    }
    Request::post(&format!("/containers/{}/resize", facts.id))
        .query("h", &size.rows.to_string())
        .query("w", &size.columns.to_string())
        .done(client)
        .await
}
