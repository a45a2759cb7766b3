//! Websockets, and other protocols that HTTP upgrades to, over the same ways as requests.
//!
//! The server speaks text and binary messages: of a process, binary messages carry bytes and a text message ends the
//! stream. What is sent is given to the connection at once.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest, http};

use super::client::Client;
use super::deaf::{Deaf, MaybeDeaf};
use super::error;
use super::request::{READ_DEADLINE, Request};
use super::transport::Link;

/// A message longer than this is nonsense: servers send pieces of some kilobytes.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Bytes.
    Binary(Bytes),
    /// Words; of a process's stream, its end.
    Text(String),
}

/// An open websocket.
#[derive(Debug)]
pub(super) struct Socket {
    /// What arrives.
    pub(super) reader: Reader,
    /// The way out.
    pub(super) writer: Writer,
}

/// The half that reads.
pub(super) struct Reader(SplitStream<WebSocketStream<MaybeDeaf>>);

/// The half that writes. Dropping both halves closes the connection.
pub(super) struct Writer(SplitSink<WebSocketStream<MaybeDeaf>, tungstenite::Message>, Deaf);

impl Client {
    /// Opens a websocket at what `request` names.
    pub(super) async fn websocket(&self, request: Request) -> Result<Socket> {
        let target = request.target(self);
        let opening = async {
            let (link, deaf) = MaybeDeaf::new(self.transport().dial().await?);
            let uri = format!("ws://{}{target}", self.transport().authority());
            let request = uri.into_client_request().map_err(translate)?;
            let config =
                WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
            let (stream, _) =
                tokio_tungstenite::client_async_with_config(request, link, Some(config)).await.map_err(translate)?;
            let (sink, stream) = stream.split();
            Ok(Socket { reader: Reader(stream), writer: Writer(sink, deaf) })
        };
        timeout(READ_DEADLINE, opening)
            .await
            .unwrap_or_else(|_| Err(late()))
            .map_err(|error| error.with_node(self.node()))
    }

    /// Asks for a connection of another protocol, such as `sftp`, at what `request` names.
    pub(super) async fn upgrade(&self, request: Request, protocol: &str) -> Result<Link> {
        let target = request.target(self);
        let opening = async {
            let link = TokioIo::new(self.transport().dial().await?);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(link).await.map_err(|cause| error::broken(&cause, false))?;
            tokio::spawn(connection.with_upgrades());
            let request = http::Request::get(target)
                .header("host", self.transport().authority())
                .header("connection", "Upgrade")
                .header("upgrade", protocol)
                .body(http_body_util::Empty::<Bytes>::new())
                .map_err(|cause| Error::invalid("path", cause))?;
            let answer = sender.send_request(request).await.map_err(|cause| error::broken(&cause, false))?;
            if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                let status = answer.status().as_u16();
                let words =
                    http_body_util::BodyExt::collect(http_body_util::Limited::new(answer.into_body(), 64 * 1024))
                        .await
                        .map(http_body_util::Collected::to_bytes)
                        .unwrap_or_default();
                return Err(super::request::refusal(status, &words));
            }
            let upgraded = hyper::upgrade::on(answer).await.map_err(|cause| error::broken(&cause, false))?;
            Ok(Link::new(TokioIo::new(upgraded)))
        };
        timeout(READ_DEADLINE, opening)
            .await
            .unwrap_or_else(|_| Err(late()))
            .map_err(|error| error.with_node(self.node()))
    }
}

impl Reader {
    /// The next message; nothing when the other side has closed.
    pub(super) async fn next(&mut self) -> Option<Result<Message>> {
        loop {
            match self.sign_of_life().await? {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The same, and `Ok(None)` for what only says that the other side is there.
    pub(super) async fn sign_of_life(&mut self) -> Option<Result<Option<Message>>> {
        match self.0.next().await? {
            Ok(tungstenite::Message::Binary(bytes)) => Some(Ok(Some(Message::Binary(bytes)))),
            Ok(tungstenite::Message::Text(text)) => Some(Ok(Some(Message::Text(text.as_str().to_owned())))),
            Ok(tungstenite::Message::Close(_)) => None,
            Ok(_) => Some(Ok(None)),
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => None,
            Err(cause) => Some(Err(translate(cause))),
        }
    }
}

impl Writer {
    /// Sends bytes.
    pub(super) async fn binary(&mut self, bytes: Bytes) -> Result<()> {
        self.send(tungstenite::Message::Binary(bytes)).await
    }

    /// Sends words.
    pub(super) async fn text(&mut self, text: &str) -> Result<()> {
        self.send(tungstenite::Message::text(text)).await
    }

    /// Asks whether the other side is there; its answer keeps the connection alive and is not shown.
    pub(super) async fn ping(&mut self) -> Result<()> {
        self.send(tungstenite::Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, message: tungstenite::Message) -> Result<()> {
        self.0.send(message).await.map_err(translate)?;
        if self.1.is_so() {
            return Err(Error::new(ErrorKind::Unavailable, "the connection to the engine broke: it has hung up"));
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) async fn close(&mut self) -> Result<()> {
        match self.0.send(tungstenite::Message::Close(None)).await {
            Ok(()) | Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Ok(()),
            Err(cause) => Err(translate(cause)),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, format!("the engine did not answer within {} s", READ_DEADLINE.as_secs()))
        .with_retry(Retry::Safe)
}

fn translate(cause: tungstenite::Error) -> Error {
    match cause {
        tungstenite::Error::Http(answer) => {
            super::request::refusal(answer.status().as_u16(), answer.body().as_deref().unwrap_or_default())
        }
        tungstenite::Error::Io(cause) => error::broken(&cause, false).with_source(cause),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            Error::new(ErrorKind::Unavailable, "the connection to the engine broke: it was closed without a word")
        }
        cause => Error::new(ErrorKind::Unexpected, format!("the engine's messages make no sense: {cause}"))
            .with_source(cause),
    }
}
