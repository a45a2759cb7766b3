//! A connection to a container's console: the way to write to it. There is one at a time, so all of ours share one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokio::sync::{Mutex, Notify, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::super::exec::{END_OF_INPUT, connect};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::super::websocket::{Message, Socket, Writer};
use super::mark;

/// Input is sent in pieces of at most this many bytes.
const PIECE: usize = 4096;
/// The connection must stand within this.
const STANDS: Duration = Duration::from_secs(20);
/// A mark arrives within this, or was written too early.
const MARK: Duration = Duration::from_millis(500);
/// Where nothing shows that the connection stands, so much time is given.
const BLIND: Duration = Duration::from_secs(1);
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
    stands: AtomicBool,
    /// One of these has changed.
    changed: Notify,
}

impl Link {
    /// Connects, and waits until what is typed arrives.
    pub(super) async fn open(lxd: &Lxd, id: &str, hints: watch::Sender<u64>) -> Result<Arc<Self>> {
        let body = json!({"type": "console"});
        let operation = Request::post(&["instances", id, "console"]).body(&body).start(&lxd.client).await?;
        // Before the other, which begins the session: the server ends the session when this one is closed.
        let control = connect(&lxd.client, &operation, "control").await?;
        let Socket { reader, writer } = connect(&lxd.client, &operation, "0").await?;
        let shared = Arc::new(Shared::default());
        let (held, released) = oneshot::channel();
        let mark = mark::new();
        let data = Data { reader, shared: Arc::clone(&shared), hints, mark: Some(mark.clone()), last: Vec::new() };
        tokio::spawn(serve(control, data, released));
        let link = Arc::new(Link { input: Mutex::new(Input { writer, within_line: false }), shared, _held: held });
        link.stands(lxd, id, &mark).await?;
        Ok(link)
    }

    /// Waits until a mark that is written inside the container arrives.
    async fn stands(&self, lxd: &Lxd, id: &str, mark: &str) -> Result<()> {
        let deadline = Instant::now() + STANDS;
        loop {
            // Taken before, so that no news is missed.
            let changed = self.shared.changed.notified();
            if !write_mark(lxd, id, mark).await? {
                tracing::debug!(container = id, "no shell inside shows when the console's connection stands");
                sleep(BLIND).await;
                return self.check();
            }
            let _ = timeout(MARK, changed).await;
            if self.is_over() {
                return Err(self.refusal());
            }
            if self.shared.stands.load(Ordering::Acquire) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("the connection to the container's console did not stand within {} s", STANDS.as_secs()),
                ));
            }
        }
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
    /// Gone once it has arrived.
    mark: Option<String>,
    /// The last bytes until then.
    last: Vec<u8>,
}

impl Data {
    async fn read(&mut self) {
        let mut first = true;
        while let Some(Ok(Message::Binary(bytes))) = self.reader.next().await {
            if std::mem::take(&mut first) && bytes.starts_with(REFUSED) {
                self.shared.refused.store(true, Ordering::Release);
                break;
            }
            self.look_for_mark(&bytes);
            self.hint();
        }
        self.over();
        self.hint();
    }

    fn look_for_mark(&mut self, bytes: &[u8]) {
        let Some(mark) = &self.mark else { return };
        self.last.extend_from_slice(bytes);
        if self.last.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            self.mark = None;
            self.last = Vec::new();
            self.shared.stands.store(true, Ordering::Release);
            self.shared.changed.notify_waiters();
        } else {
            let surplus = self.last.len().saturating_sub(mark.len());
            self.last.drain(..surplus);
        }
    }

    fn over(&self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.changed.notify_waiters();
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
    data.over();
}

/// Writes a mark to the console, from inside. `false` when the container has no shell that could.
async fn write_mark(lxd: &Lxd, id: &str, mark: &str) -> Result<bool> {
    let command = ["sh", "-c", r#"printf %s "$1" >/dev/console"#, "sh", mark];
    let body = json!({"command": command, "environment": {}, "interactive": false, "wait-for-websocket": false});
    let written = Request::post(&["instances", id, "exec"]).body(&body).finish(&lxd.client, STANDS).await;
    match written {
        Ok(state) => Ok(state.metadata.get("return").and_then(serde_json::Value::as_i64) == Some(0)),
        // There is no such command.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}
