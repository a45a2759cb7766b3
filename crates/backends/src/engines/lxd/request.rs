//! Requests: path, query and body as they are written here, the server's envelope, and the answer as it comes.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use roadstead_core::{ByteStream, Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::client::Client;
use super::error;
use super::operation::{Operation, OperationState};

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
    Bytes(Bytes),
    Stream(ByteStream),
}

/// A request that has not been sent.
pub(super) struct Request {
    method: Method,
    target: String,
    queries: usize,
    project: bool,
    payload: Payload,
    headers: Vec<(String, String)>,
    deadline: Duration,
}

impl Request {
    fn new(method: Method, segments: &[&str]) -> Self {
        let mut target = "/1.0".to_owned();
        for segment in segments {
            target.push('/');
            target.push_str(&encode(segment));
        }
        let deadline = if reads(&method) { READ_DEADLINE } else { WRITE_DEADLINE };
        Request { method, target, queries: 0, project: false, payload: Payload::Empty, headers: Vec::new(), deadline }
    }

    /// Reads `/1.0/…`. Segments are encoded, so that one may hold a slash.
    pub(super) fn get(segments: &[&str]) -> Self {
        Request::new(Method::GET, segments)
    }

    /// Asks whether `/1.0/…` is there.
    pub(super) fn head(segments: &[&str]) -> Self {
        Request::new(Method::HEAD, segments)
    }

    /// Posts to `/1.0/…`.
    pub(super) fn post(segments: &[&str]) -> Self {
        Request::new(Method::POST, segments)
    }

    /// Replaces `/1.0/…`.
    pub(super) fn put(segments: &[&str]) -> Self {
        Request::new(Method::PUT, segments)
    }

    /// Changes what the body names of `/1.0/…`.
    pub(super) fn patch(segments: &[&str]) -> Self {
        Request::new(Method::PATCH, segments)
    }

    /// Deletes `/1.0/…`.
    pub(super) fn delete(segments: &[&str]) -> Self {
        Request::new(Method::DELETE, segments)
    }

    /// Adds a query parameter. A `project` given here goes before the node's own.
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.queries == 0 { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _ = write!(self.target, "{separator}{}={}", encode(key), encode(value));
        self.queries += 1;
        self.project |= matches!(key, "project" | "all-projects");
        self
    }

    /// Adds a query parameter when there is a value.
    pub(super) fn query_some(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header of the protocol's own, such as `uid` of a file: `X-LXD-uid`, which newer servers of the other
    /// product call `X-Incus-uid`. Both are sent; each server reads its own.
    pub(super) fn tell(self, name: &str, value: &str) -> Self {
        self.header(&format!("X-LXD-{name}"), value).header(&format!("X-Incus-{name}"), value)
    }

    /// Does it only if the resource still has this tag; otherwise the answer is `Conflict`.
    pub(super) fn if_match(self, etag: &str) -> Self {
        self.header("If-Match", etag)
    }

    /// Sends a JSON body.
    pub(super) fn body(mut self, value: &Value) -> Self {
        self.payload = Payload::Json(value.to_string().into());
        self
    }

    /// Sends bytes.
    pub(super) fn bytes_body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = Payload::Bytes(bytes.into());
        self
    }

    /// Sends a stream as it comes.
    pub(super) fn stream_body(mut self, stream: ByteStream) -> Self {
        self.payload = Payload::Stream(stream);
        self
    }

    /// Gives the answer so much time to begin.
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Path and query as they are sent to `client`.
    pub(super) fn target(mut self, client: &Client) -> String {
        if let Some(project) = client.project().filter(|_| !self.project) {
            self = self.query("project", project);
        }
        self.target
    }

    /// Sends it, waits until the answer begins, and gives the answer as it comes. An error answer is an error.
    pub(super) async fn raw(self, client: &Client) -> Result<Answer> {
        let deadline = self.deadline;
        let reads = reads(&self.method);
        let result = match timeout(deadline, self.send(client)).await {
            Ok(result) => result,
            Err(_) => Err(late(deadline)),
        };
        result.map_err(|error| {
            let error = error.with_node(client.node());
            if reads { error::nothing_changed(error) } else { error }
        })
    }

    async fn send(mut self, client: &Client) -> Result<Answer> {
        let payload = std::mem::replace(&mut self.payload, Payload::Empty);
        let headers = std::mem::take(&mut self.headers);
        let mut builder = client.transport().request(self.method.clone(), &self.target(client));
        let kind = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        // What the caller says of the content goes before what it looks like.
        let content = |builder: reqwest::RequestBuilder, word| {
            if kind { builder } else { builder.header("content-type", word) }
        };
        builder = match payload {
            Payload::Empty => builder,
            Payload::Json(json) => content(builder, "application/json").body(json),
            Payload::Bytes(bytes) => content(builder, "application/octet-stream").body(bytes),
            Payload::Stream(stream) => {
                let stream = stream.map_err(std::io::Error::other);
                content(builder, "application/octet-stream").body(reqwest::Body::wrap_stream(stream))
            }
        };
        let answer = builder.send().await.map_err(error::translate)?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { headers: answer.headers().clone(), response: answer });
        }
        let mut text = BytesMut::new();
        let mut body = answer.bytes_stream();
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

    /// Sends it and reads the whole answer, whatever it is.
    pub(super) async fn bytes(self, client: &Client) -> Result<Bytes> {
        self.whole(client).await.map(|(bytes, _)| bytes)
    }

    async fn whole(self, client: &Client) -> Result<(Bytes, HeaderMap)> {
        let reads = reads(&self.method);
        let deadline = self.deadline;
        let whole = async {
            let answer = self.raw(client).await?;
            let headers = answer.headers.clone();
            Ok((collect(answer.body()).await?, headers))
        };
        let result = timeout(deadline, whole).await.unwrap_or_else(|_| Err(late(deadline)));
        result.map_err(|error: Error| {
            let error = error.with_node(client.node());
            if reads { error::nothing_changed(error) } else { error }
        })
    }

    /// Sends it and parses the `metadata` of the answer. What is null counts as empty.
    pub(super) async fn json<T: DeserializeOwned>(self, client: &Client) -> Result<T> {
        let (bytes, _) = self.whole(client).await?;
        Envelope::parse(&bytes).and_then(Envelope::into_metadata).map_err(|error| error.with_node(client.node()))
    }

    /// The same, and the tag to give to [`Request::if_match`].
    pub(super) async fn json_with_etag<T: DeserializeOwned>(self, client: &Client) -> Result<(T, String)> {
        let (bytes, headers) = self.whole(client).await?;
        let etag = headers.get("etag").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let metadata = Envelope::parse(&bytes)
            .and_then(Envelope::into_metadata)
            .map_err(|error| error.with_node(client.node()))?;
        Ok((metadata, etag))
    }

    /// Sends what a background operation answers, and gives the operation, whose news arrive from now on.
    ///
    /// The news are subscribed to before the request is sent, so that an end that comes at once is not missed.
    pub(super) async fn start(self, client: &Client) -> Result<Operation> {
        match self.answer(client).await? {
            Outcome::Started(operation) => Ok(operation),
            Outcome::Done => {
                Err(Error::new(ErrorKind::Unexpected, "the engine's answer names no operation")
                    .with_node(client.node()))
            }
        }
    }

    /// Sends it, for what the server does and not for what it says; waits for the operation if one is answered.
    /// `deadline` is for the operation, and begins with the answer. When it is over, the operation is cancelled if it can be.
    pub(super) async fn finish(self, client: &Client, deadline: Duration) -> Result<OperationState> {
        match self.answer(client).await? {
            Outcome::Started(mut operation) => operation.wait(deadline).await,
            Outcome::Done => Ok(OperationState::default()),
        }
    }

    /// Sends what is answered at once; waits at most [`WRITE_DEADLINE`] for the operation where a server makes one of it.
    pub(super) async fn done(self, client: &Client) -> Result<()> {
        self.finish(client, WRITE_DEADLINE).await.map(|_| ())
    }

    async fn answer(self, client: &Client) -> Result<Outcome> {
        let news = client.operations().subscribe(client).await.map_err(|error| error.with_retry(Retry::Safe))?;
        let (bytes, _) = self.whole(client).await?;
        if bytes.is_empty() {
            return Ok(Outcome::Done);
        }
        let envelope = Envelope::parse(&bytes).map_err(|error| error.with_node(client.node()))?;
        if envelope.kind.as_deref() != Some("async") {
            return Ok(Outcome::Done);
        }
        let state = OperationState::parse(envelope.metadata.unwrap_or_default())
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the engine's answer names no operation"))?;
        Ok(Outcome::Started(Operation::new(client.clone(), state, news)))
    }
}

enum Outcome {
    Done,
    Started(Operation),
}

/// An answer that has begun.
pub(super) struct Answer {
    headers: HeaderMap,
    response: reqwest::Response,
}

impl Answer {
    /// A header, in words.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header of the protocol's own; see [`Request::tell`].
    pub(super) fn told(&self, name: &str) -> Option<&str> {
        self.header(&format!("X-LXD-{name}")).or_else(|| self.header(&format!("X-Incus-{name}")))
    }

    /// The body as it comes.
    pub(super) fn body(self) -> ByteStream {
        self.response.bytes_stream().map_err(error::translate).boxed()
    }
}

/// What stands around every JSON answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<String>,
    error: Option<String>,
    error_code: Option<u16>,
    metadata: Option<Value>,
}

impl Envelope {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(nonsense)?;
        if envelope.kind.as_deref() == Some("error") {
            let code = envelope.error_code.unwrap_or(0);
            return Err(error::from_answer(code, envelope.error.as_deref().unwrap_or_default()));
        }
        Ok(envelope)
    }

    fn into_metadata<T: DeserializeOwned>(self) -> Result<T> {
        match self.metadata {
            Some(value) => serde_json::from_value(value).map_err(nonsense),
            // Go writes an empty list as null.
            None => serde_json::from_str("null").or_else(|_| serde_json::from_str("[]")).map_err(nonsense),
        }
    }
}

fn nonsense(cause: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the engine's answer makes no sense: {cause}")).with_source(cause)
}

/// Whether repeating the call is safe.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// An error answer: what the engine says of it, wherever it says it.
pub(super) fn refusal(status: u16, body: &[u8]) -> Error {
    let envelope: Envelope = serde_json::from_slice(body).unwrap_or_default();
    let words = envelope.error.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    error::from_answer(envelope.error_code.filter(|code| *code > 0).unwrap_or(status), &words)
}

fn late(deadline: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, format!("the engine did not answer within {} s", deadline.as_secs()))
        .with_retry(Retry::Unknown)
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

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
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
        let request = Request::get(&["images", "aliases", "a/b:c d"]).query("x", "y&z=é");
        assert_eq!(request.target, "/1.0/images/aliases/a%2Fb%3Ac%20d?x=y%26z%3D%C3%A9");
    }

    #[test]
    fn null_metadata_is_empty() {
        let list: Vec<u8> = Envelope::parse(br#"{"type":"sync","metadata":null}"#).unwrap().into_metadata().unwrap();
        assert!(list.is_empty());
        let none: Option<u8> = Envelope::parse(br#"{"type":"sync"}"#).unwrap().into_metadata().unwrap();
        assert_eq!(none, None);
        let error = Envelope::parse(br#"{"type":"error","error":"Instance not found","error_code":404}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(refusal(502, b"<html>").kind(), ErrorKind::Unavailable);
    }
}
