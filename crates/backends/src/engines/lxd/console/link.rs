//! A connection to a container's console: the way to write to it. There is one at a time, so all of ours share one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::timeout;

use super::super::exec::{END_OF_INPUT, connect};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::super::websocket::{Message, Socket, Writer};

/// Input is sent in pieces of at most this many bytes.
const PIECE: usize = 4096;
/// Time for the goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Servers of LXD 5.0 write that the console is somebody else's into the console's output.
const REFUSED: &[u8] = b"Error: Failed running forkconsole";

/// A connection. When all who hold it have gone, it is closed.
#[derive(Debug)]
pub(in super::super) struct Link {
    input: Mutex<Input>,
    shared: Arc<Shared>,
    _held: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Input {
    writer: Writer,
    /// Whether a line was begun: the key that ends the input does so only at the beginning of a line.
    within_line: bool,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    refused: AtomicBool,
}

impl Link {
    pub(super) async fn open(lxd: &Lxd, id: &str, hints: watch::Sender<u64>) -> Result<Arc<Self>> {
        let body = json!({"type": "console"});
        let operation = Request::post(&["instances", id, "console"]).body(&body).start(&lxd.client).await?;
        // Before the other, which begins the session: the server ends the session when this one is closed.
        let control = connect(&lxd.client, &operation, "control").await?;
        let Socket { reader, writer } = connect(&lxd.client, &operation, "0").await?;
        let shared = Arc::new(Shared::default());
        let (held, released) = oneshot::channel();
        let data = Data { reader, shared: Arc::clone(&shared), hints };
        tokio::spawn(serve(control, data, released));
        Ok(Arc::new(Link { input: Mutex::new(Input { writer, within_line: false }), shared, _held: held }))
    }

    /// Whether the other side has ended it.
    pub(super) fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire)
    }

    /// Why nothing can be written.
    fn refusal(&self) -> Error {
        let why = match self.shared.refused.load(Ordering::Acquire) {
            true => "the container's console is in use by somebody else",
            false => "the container's console is closed",
        };
        Error::new(ErrorKind::Conflict, why)
    }

    /// An error when the console is somebody else's.
    pub(in super::super) fn check(&self) -> Result<()> {
        if self.shared.refused.load(Ordering::Acquire) { Err(self.refusal()) } else { Ok(()) }
    }

    /// Writes as if it were typed.
    pub(in super::super) async fn write(&self, data: Bytes) -> Result<()> {
        let mut input = self.input.lock().await;
        let mut rest = data;
        while !rest.is_empty() {
            if self.is_over() {
                return Err(self.refusal());
            }
            let piece = rest.split_to(rest.len().min(PIECE));
            input.within_line = piece.last().is_some_and(|byte| *byte != b'\n');
            input.writer.binary(piece).await.map_err(|error| self.refusal().with_source(error))?;
        }
        Ok(())
    }

    /// Types the key that ends the input.
    pub(in super::super) async fn end(&self) -> Result<()> {
        let keys: &[u8] = if self.input.lock().await.within_line { &[END_OF_INPUT; 2] } else { &[END_OF_INPUT] };
        match self.write(Bytes::copy_from_slice(keys)).await {
            // There is nobody left to read it.
            Err(_) if self.is_over() && self.check().is_ok() => Ok(()),
            result => result,
        }
    }
}

/// What is read, to be dropped: the console's log has it without the terminals in between.
struct Data {
    reader: super::super::websocket::Reader,
    shared: Arc<Shared>,
    hints: watch::Sender<u64>,
}

impl Data {
    async fn read(&mut self) {
        let mut first = true;
        while let Some(Ok(Message::Binary(bytes))) = self.reader.next().await {
            if std::mem::take(&mut first) && bytes.starts_with(REFUSED) {
                self.shared.refused.store(true, Ordering::Release);
                break;
            }
            self.hint();
        }
        self.shared.over.store(true, Ordering::Release);
        self.hint();
    }

    fn hint(&self) {
        self.hints.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Reads until the server ends the session or nobody holds the link, then says goodbye: a session whose connections
/// merely break stays at some servers, and keeps the console from others.
async fn serve(mut control: Socket, mut data: Data, released: oneshot::Receiver<()>) {
    let signs_of_life = async { while let Some(Ok(_)) = control.reader.next().await {} };
    tokio::select! {
        () = data.read() => {}
        // Its end is followed by the end of the data.
        () = signs_of_life => { let _ = timeout(GOODBYE, data.read()).await; }
        _ = released => {}
    }
    let goodbye = async {
        if control.writer.close().await.is_ok() {
            while let Some(Ok(_)) = control.reader.next().await {}
        }
    };
    let _ = timeout(GOODBYE, goodbye).await;
    data.shared.over.store(true, Ordering::Release);
}
