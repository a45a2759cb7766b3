//! Carrying the messages of a migration between two servers that cannot reach each other.
//!
//! Both sides wait for whoever knows the secrets of their websockets. We connect to each on both sides and pass every
//! message on as it is, one at a time, so that a slow reader slows the writer down and nothing piles up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use super::super::client::Client;
use super::super::operation::OperationState;
use super::super::request::Request;
use super::super::websocket::{Message, Reader, Socket, Writer};
use super::header;
use super::original::Strange;

/// The websockets that a migration may have; the last with processes only.
const CHANNELS: [&str; 3] = ["control", "fs", "criu"];

/// Messages on their way. Dropping it closes all connections.
#[derive(Debug)]
pub(super) struct Relay {
    _tasks: JoinSet<()>,
    carried: Arc<AtomicU64>,
}

impl Relay {
    /// Connects the two operations. What is `strange` is taken out of the source's offer.
    pub(super) async fn connect(
        source: (&Client, &OperationState),
        target: (&Client, &OperationState),
        strange: Vec<Strange>,
    ) -> Result<Self> {
        let mut pairs = Vec::new();
        for channel in CHANNELS {
            let (from, to) = tokio::try_join!(open(source, channel), open(target, channel))?;
            match (from, to) {
                (Some(from), Some(to)) => pairs.push((channel, from, to)),
                (None, None) => {}
                _ => {
                    let words = format!("only one of the servers has the channel {channel}");
                    return Err(Error::new(ErrorKind::Unsupported, words));
                }
            }
        }
        let mut tasks = JoinSet::new();
        let carried = Arc::new(AtomicU64::new(0));
        for (channel, from, to) in pairs {
            let strange = if channel == "control" { strange.clone() } else { Vec::new() };
            tasks.spawn(pass(from.reader, to.writer, strange, Some(Arc::clone(&carried))));
            tasks.spawn(pass(to.reader, from.writer, Vec::new(), None));
        }
        Ok(Relay { _tasks: tasks, carried })
    }

    /// Bytes that have gone from the source to the target.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

/// The websocket of a channel, if the operation has one.
pub(super) async fn open((client, state): (&Client, &OperationState), channel: &str) -> Result<Option<Socket>> {
    let Some(secret) = state.secret(channel) else { return Ok(None) };
    let request = Request::get(&["operations", &state.id, "websocket"]).query("secret", secret.expose());
    client.websocket(request).await.map(Some)
}

/// Passes messages on until one side closes, and tells the other.
async fn pass(mut from: Reader, mut to: Writer, strange: Vec<Strange>, carried: Option<Arc<AtomicU64>>) {
    let mut offer = !strange.is_empty();
    while let Some(message) = from.next().await {
        let sent = match message {
            Ok(Message::Binary(bytes)) => {
                let bytes = if std::mem::take(&mut offer) { header::without(bytes, &strange) } else { bytes };
                count(carried.as_deref(), &bytes);
                to.binary(bytes).await
            }
            Ok(Message::Text(text)) => to.text(&text).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a channel of a migration broke");
            break;
        }
    }
    // Whether it can still be told matters to nobody: both operations tell how they ended.
    let _ = to.close().await;
}

fn count(carried: Option<&AtomicU64>, bytes: &Bytes) {
    if let Some(carried) = carried {
        carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}
