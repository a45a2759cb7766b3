//! The streams of a container's main process over the server's WebSocket, and the size of its terminal.
//!
//! One task speaks on the connection: it carries what the process writes to a short queue, what the caller writes to the
//! server, and says now and then that it is there, also while the caller does not read.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt, stream};
use roadstead_core::{
    AttachOptions, Attachment, Error, ErrorKind, InputSink, OutputChunk, OutputKind, Result, Retry, TerminalSize,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::problem;
use super::request::{Request, nonsense};
use super::shared::Remote;
use crate::broken::broken;

/// Largest message of a server: pieces of output are far smaller.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// Servers take no larger message.
const PIECE_MAX: usize = 512 * 1024;
/// Pieces of output that wait for a slow caller.
const QUEUE: usize = 16;
/// A server takes who is silent for twenty seconds for gone.
const SIGN_EVERY: Duration = Duration::from_secs(8);
/// Time for one message to be taken.
const SEND_DEADLINE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<reqwest::Upgraded>;

/// C150, C151.
pub(super) async fn attach(remote: &Remote, id: &str, options: &AttachOptions) -> Result<Attachment> {
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Error::invalid("stdout", "at least one of stdin, stdout and stderr must be asked for"));
    }
    let socket = open(remote, id, options).await?;
    let (sender, chunks) = mpsc::channel(QUEUE);
    let (input, orders) = mpsc::channel(1);
    let input = options.stdin.then_some(input);
    let (place, writing) = ((remote.name.clone(), id.to_owned()), options.stdin);
    tokio::spawn(async move {
        if let Err(error) = speak(socket, &sender, orders, writing).await {
            let error = error.with_operation("container.attach").with_node(place.0).with_resource(place.1);
            // A caller who does not read any more need not know.
            let _ = sender.send(Err(error)).await;
        }
    });
    let output = stream::unfold(chunks, |mut chunks| async move { chunks.recv().await.map(|chunk| (chunk, chunks)) });
    let input = input.map(|orders| Box::new(Input { orders, closed: false }) as Box<dyn InputSink>);
    Ok(Attachment { output: output.fuse().boxed(), input })
}

async fn open(remote: &Remote, id: &str, options: &AttachOptions) -> Result<Socket> {
    let key = generate_key();
    let word = |value: bool| if value { "true" } else { "false" };
    let request = Request::get(&remote.of_container(id, &["attach"]))
        .query("stdin", word(options.stdin))
        .query("stdout", word(options.stdout))
        .query("stderr", word(options.stderr))
        .query("logs", word(options.logs))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", key.clone());
    let (answer, deadline) = request.upgrade(remote).await?;
    let accepted = answer.headers().get("sec-websocket-accept").and_then(|value| value.to_str().ok());
    if answer.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS
        || accepted != Some(derive_accept_key(key.as_bytes()).as_str())
    {
        return Err(Error::new(ErrorKind::Unexpected, "the server does not speak the WebSocket protocol"));
    }
    let upgraded = match timeout(deadline, answer.upgrade()).await {
        Ok(upgraded) => upgraded.map_err(crate::broken::translate)?,
        Err(_) => return Err(gone("the server did not open the connection").with_retry(Retry::Safe)),
    };
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

/// What the caller wants written.
#[derive(Debug)]
enum Order {
    Write(Bytes, oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
}

/// Until the process ends, the connection breaks, or nobody holds the attachment.
async fn speak(
    socket: Socket,
    sender: &mpsc::Sender<Result<OutputChunk>>,
    mut orders: mpsc::Receiver<Order>,
    mut writing: bool,
) -> Result<()> {
    let (mut sink, mut messages) = socket.split();
    let mut signs = interval(SIGN_EVERY);
    signs.reset();
    let (mut sequence, mut reading) = (0, true);
    loop {
        if !writing && !reading {
            return Ok(());
        }
        // Nothing is read that has no place to go to.
        let place = async { if reading { sender.reserve().await.ok() } else { None } };
        let message = async {
            let place = place.await;
            (messages.next().await, place)
        };
        tokio::select! {
            order = orders.recv(), if writing => match order {
                Some(Order::Write(data, done)) => {
                    let _ = done.send(write(&mut sink, data).await);
                }
                Some(Order::Close(done)) => {
                    let _ = done.send(close(&mut sink).await);
                }
                None => {
                    writing = false;
                    // Whoever drops the input closes it; the process may be gone by then.
                    let _ = close(&mut sink).await;
                }
            },
            () = sender.closed(), if reading => reading = false,
            _ = signs.tick() => send(&mut sink, Message::Ping(Bytes::new())).await?,
            (message, place) = message => match message {
                Some(Ok(Message::Binary(data))) => {
                    sequence += 1;
                    if let (Some(place), Some(chunk)) = (place, chunk(sequence, data)) {
                        place.send(Ok(chunk));
                    }
                }
                Some(Ok(Message::Text(text))) => {
                    let document: Value = serde_json::from_str(text.as_str()).map_err(nonsense)?;
                    return Err(problem::from_document(500, &document));
                }
                Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Normal => return Ok(()),
                Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Away => {
                    return Err(gone("the server is ending"));
                }
                Some(Ok(Message::Close(_))) | None => return Err(gone("it was closed without a word")),
                Some(Ok(_)) => {}
                Some(Err(cause)) => return Err(translate(cause)),
            },
        }
    }
}

type Sink = stream::SplitSink<Socket, Message>;

async fn write(sink: &mut Sink, mut data: Bytes) -> Result<()> {
    while data.has_remaining() {
        let piece = data.split_to(data.len().min(PIECE_MAX));
        send(sink, Message::Binary(piece)).await?;
    }
    Ok(())
}

async fn close(sink: &mut Sink) -> Result<()> {
    send(sink, Message::text(json!({"type": "close_stdin"}).to_string())).await
}

async fn send(sink: &mut Sink, message: Message) -> Result<()> {
    match timeout(SEND_DEADLINE, sink.send(message)).await {
        Ok(sent) => sent.map_err(translate),
        Err(_) => Err(gone("the server takes nothing any more")),
    }
}

/// The first byte says where it was written.
fn chunk(sequence: u64, mut data: Bytes) -> Option<OutputChunk> {
    let kind = match data.first()? {
        1 => OutputKind::Stdout,
        2 => OutputKind::Stderr,
        _ => OutputKind::Console,
    };
    data.advance(1);
    Some(OutputChunk::new(sequence, kind, data))
}

/// The way in.
#[derive(Debug)]
struct Input {
    orders: mpsc::Sender<Order>,
    closed: bool,
}

impl Input {
    async fn order(&self, order: impl FnOnce(oneshot::Sender<Result<()>>) -> Order) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let ended = || gone("the connection has ended");
        self.orders.send(order(done)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

#[async_trait]
impl InputSink for Input {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Conflict, "the input is closed"));
        }
        self.order(|done| Order::Write(data, done)).await
    }

    async fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.order(Order::Close).await
    }
}

/// C152, C153.
pub(super) async fn resize(remote: &Remote, id: &str, size: TerminalSize) -> Result<()> {
    size.validate()?;
    let body = json!({"columns": size.columns, "rows": size.rows});
    Request::post(&remote.of_container(id, &["resize"])).body(&body).done(remote).await
}

fn gone(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the connection to the engine broke: {why}"))
}

fn translate(cause: WsError) -> Error {
    match cause {
        WsError::Io(cause) => broken(&cause, false).with_source(cause),
        WsError::ConnectionClosed | WsError::AlreadyClosed => gone("it is closed"),
        WsError::Protocol(cause) => gone(&cause.to_string()),
        cause => Error::new(ErrorKind::Unexpected, format!("the server's messages make no sense: {cause}"))
            .with_source(cause),
    }
}
