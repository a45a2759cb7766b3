//! Requests of our own: path, query and body as they are written here, and the answer as it comes.
//!
//! The client library's typed calls decode answers strictly (an unknown word or an absent member fails the whole call),
//! carry times in whole seconds and leave the API version out of the path. These requests go over the same transport,
//! and their answers are parsed by whoever asked.

use std::fmt::Write as _;
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error as Cause;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use roadstead_core::{ByteStream, Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::client::Client;
use super::error;

/// Time until the answer to a call that only reads is there.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Time until the answer to a call that changes something is there.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(120);
/// An answer that is to be parsed as a whole is never longer than this.
const ANSWER_MAX: usize = 256 * 1024 * 1024;
/// Of what an engine says about a failure, so much is read.
const WORDS_MAX: usize = 64 * 1024;

/// What is sent along.
enum Payload {
    Empty,
    Json(Bytes),
    Archive(ByteStream),
}

/// A request that has not been sent.
pub(super) struct Request {
    method: &'static str,
    target: String,
    queries: usize,
    payload: Payload,
    headers: Vec<(&'static str, String)>,
    deadline: Duration,
}

impl Request {
    fn new(method: &'static str, path: &str) -> Self {
        Request {
            method,
            target: encode(path, b"/:@"),
            queries: 0,
            payload: Payload::Empty,
            headers: Vec::new(),
            deadline: if reads(method) { READ_DEADLINE } else { WRITE_DEADLINE },
        }
    }

    /// Reads `path`, which begins with a slash and carries no version.
    pub(super) fn get(path: &str) -> Self {
        Request::new("GET", path)
    }

    /// Asks whether `path` is there.
    pub(super) fn head(path: &str) -> Self {
        Request::new("HEAD", path)
    }

    /// Posts to `path`.
    pub(super) fn post(path: &str) -> Self {
        Request::new("POST", path)
    }

    /// Puts to `path`.
    pub(super) fn put(path: &str) -> Self {
        Request::new("PUT", path)
    }

    /// Deletes `path`.
    pub(super) fn delete(path: &str) -> Self {
        Request::new("DELETE", path)
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.queries == 0 { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _ = write!(self.target, "{separator}{}={}", encode(key, b""), encode(value, b""));
        self.queries += 1;
        self
    }

    /// Adds a query parameter when there is a value.
    pub(super) fn query_some(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Adds a query parameter that is true or false.
    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        self.query(key, if value { "true" } else { "false" })
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sends a JSON body.
    pub(super) fn body(mut self, value: &serde_json::Value) -> Self {
        self.payload = Payload::Json(value.to_string().into());
        self
    }

    /// Sends an archive as it comes.
    pub(super) fn archive(mut self, archive: ByteStream) -> Self {
        self.payload = Payload::Archive(archive);
        self
    }

    /// Gives the answer so much time to begin.
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Path and query (without version) and the JSON body, for a connection of its own.
    pub(super) fn into_parts(self) -> (String, Bytes) {
        match self.payload {
            Payload::Json(json) => (self.target, json),
            Payload::Empty | Payload::Archive(_) => (self.target, Bytes::new()),
        }
    }

    /// Sends it, waits until the answer begins, and gives the answer's body as it comes. An error answer is an error.
    pub(super) async fn stream(self, client: &Client) -> Result<ByteStream> {
        let deadline = self.deadline;
        let reads = reads(self.method);
        let result = match timeout(deadline, self.send(client)).await {
            Ok(result) => result.map_err(|error| client.failed(error)),
            Err(_) => Err(late(client, deadline)),
        };
        let answer = if reads { result.map_err(error::nothing_changed)? } else { result? };
        let node = client.name.clone();
        let body = answer.into_body().into_data_stream();
        Ok(body.map_err(move |cause| error::translate(Cause::from(cause)).with_node(&node)).boxed())
    }

    async fn send(self, client: &Client) -> std::result::Result<Response<Incoming>, Cause> {
        let content_type = match self.payload {
            Payload::Archive(_) => "application/x-tar",
            Payload::Empty | Payload::Json(_) => "application/json",
        };
        let base = client.transport.base();
        let mut builder = hyper::Request::builder()
            .method(self.method)
            .uri(format!("{base}/v{}{}", client.docker.client_version(), self.target))
            .header("content-type", content_type);
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        let request: BollardRequest = builder.body(match self.payload {
            Payload::Empty => bollard::body_full(Bytes::new()),
            Payload::Json(json) => bollard::body_full(json),
            Payload::Archive(archive) => bollard::body_try_stream(archive.map_err(std::io::Error::other)),
        })?;
        let answer = client.transport.send(request).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let mut text = BytesMut::new();
        let mut body = answer.into_body().into_data_stream();
        // What has come until the body breaks off is all that can be told.
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
            if text.len() > WORDS_MAX {
                text.truncate(WORDS_MAX);
                break;
            }
        }
        Err(refusal(status.as_u16(), &text))
    }

    /// Sends it and reads the whole answer.
    pub(super) async fn bytes(self, client: &Client) -> Result<Bytes> {
        let reads = reads(self.method);
        let deadline = self.deadline;
        let whole = async { collect(self.stream(client).await?).await };
        let result = timeout(deadline, whole).await.unwrap_or_else(|_| Err(late(client, deadline)));
        if reads { result.map_err(error::nothing_changed) } else { result }
    }

    /// Sends it, for what the engine does and not for what it says.
    pub(super) async fn done(self, client: &Client) -> Result<()> {
        self.bytes(client).await.map(|_| ())
    }

    /// Sends it and parses the answer.
    pub(super) async fn json<T: DeserializeOwned>(self, client: &Client) -> Result<T> {
        let bytes = self.bytes(client).await?;
        serde_json::from_slice(&bytes).map_err(|cause| {
            Error::new(ErrorKind::Unexpected, format!("the engine's answer makes no sense: {cause}"))
                .with_node(&client.name)
                .with_source(cause)
        })
    }
}

/// Whether repeating the call is safe.
fn reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// An error answer: what the engine says of it, wherever it says it.
pub(super) fn refusal(status_code: u16, body: &[u8]) -> Cause {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Words {
        message: Option<String>,
        cause: Option<String>,
    }
    let words: Words = serde_json::from_slice(body).unwrap_or_default();
    let message = words.message.or(words.cause).unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    Cause::DockerResponseServerError { status_code, message }
}

fn late(client: &Client, deadline: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, format!("the engine did not answer within {} s", deadline.as_secs()))
        .with_retry(Retry::Unknown)
        .with_node(&client.name)
}

async fn collect(mut body: ByteStream) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.try_next().await? {
        if whole.len() + piece.len() > ANSWER_MAX {
            return Err(Error::new(ErrorKind::Unexpected, "the engine's answer is too long"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Percent-encodes everything but RFC 3986's unreserved characters and those in `keep`.
pub(super) fn encode(text: &str, keep: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || keep.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let request = Request::get("/images/[::1]:5000/a b/json").query("a", "x&y=z").query("b", "é").flag("c", true);
        assert_eq!(request.target, "/images/%5B::1%5D:5000/a%20b/json?a=x%26y%3Dz&b=%C3%A9&c=true");
    }
}
