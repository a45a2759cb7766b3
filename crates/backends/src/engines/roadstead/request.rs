//! Requests: path, query and body as they are written here, deadlines, and what an answer that is an error means.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::Method;
use roadstead_core::{ByteStream, Error, ErrorKind, Result, Retry};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::problem;
use super::shared::Remote;
use crate::broken::{nothing_changed, translate};
use crate::flow::{PAUSE_MAX, flowing};

/// Time until the answer to a call that only reads is there: longer than the 30 s that a server gives its engines, so that
/// its own words come first.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(40);
/// Time until the answer to a call that changes something is there; a server may let it wait for its turn, too.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(90);
/// Time for what moves data or waits for processes, on top of what the caller grants.
pub(super) const SLOW_DEADLINE: Duration = Duration::from_secs(660);
/// Time for an archive to be sent and taken in.
pub(super) const ARCHIVE_DEADLINE: Duration = Duration::from_secs(3660);
/// An answer that is to be parsed as a whole is never longer than this.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Of what a server says about a failure, so much is read.
const WORDS_MAX: usize = 64 * 1024;

enum Payload {
    Empty,
    Json(Bytes),
    Bytes(Bytes),
    Archive(ByteStream),
}

/// A request that has not been sent.
pub(super) struct Request {
    method: Method,
    target: String,
    queries: usize,
    payload: Payload,
    headers: Vec<(&'static str, String)>,
    deadline: Duration,
}

impl Request {
    fn new(method: Method, segments: &[&str]) -> Self {
        let mut target = "/v1".to_owned();
        for segment in segments {
            target.push('/');
            target.push_str(&encode(segment));
        }
        let deadline = if reads(&method) { READ_DEADLINE } else { WRITE_DEADLINE };
        Request { method, target, queries: 0, payload: Payload::Empty, headers: Vec::new(), deadline }
    }

    /// Reads `/v1/…`. Segments are encoded, so that none can be taken for another path.
    pub(super) fn get(segments: &[&str]) -> Self {
        Request::new(Method::GET, segments)
    }

    /// Posts to `/v1/…`.
    pub(super) fn post(segments: &[&str]) -> Self {
        Request::new(Method::POST, segments)
    }

    /// Replaces `/v1/…`.
    pub(super) fn put(segments: &[&str]) -> Self {
        Request::new(Method::PUT, segments)
    }

    /// Deletes `/v1/…`.
    pub(super) fn delete(segments: &[&str]) -> Self {
        Request::new(Method::DELETE, segments)
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.queries == 0 { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _ = write!(self.target, "{separator}{}={}", encode(key), encode(value));
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

    /// Adds a query parameter when it is true: false is what its absence says.
    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        if value { self.query(key, "true") } else { self }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends a JSON body.
    pub(super) fn body(mut self, value: &Value) -> Self {
        self.payload = Payload::Json(value.to_string().into());
        self
    }

    /// Sends bytes.
    pub(super) fn bytes_body(mut self, bytes: Bytes) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }

    /// Sends an archive as it comes.
    pub(super) fn archive(mut self, archive: ByteStream) -> Self {
        self.payload = Payload::Archive(archive);
        self.within(ARCHIVE_DEADLINE)
    }

    /// Gives the answer so much time to begin, and to end where it is read as a whole.
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends it, and gives the answer once it begins. An answer that is an error is an error.
    async fn begin(self, remote: &Remote) -> Result<reqwest::Response> {
        let deadline = self.deadline;
        let reads = reads(&self.method);
        let result = timeout(deadline, self.send(remote)).await.unwrap_or_else(|_| Err(late(deadline)));
        result.map_err(|error| if reads { nothing_changed(error) } else { error })
    }

    async fn send(self, remote: &Remote) -> Result<reqwest::Response> {
        let mut builder = remote.transport.request(self.method, &self.target);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder = match self.payload {
            Payload::Empty => builder,
            Payload::Json(json) => builder.header("content-type", "application/json").body(json),
            Payload::Bytes(bytes) => builder.header("content-type", "application/octet-stream").body(bytes),
            Payload::Archive(archive) => {
                let archive = archive.map_err(std::io::Error::other);
                builder.header("content-type", "application/x-tar").body(reqwest::Body::wrap_stream(archive))
            }
        };
        let answer = builder.send().await.map_err(translate)?;
        let status = answer.status();
        if status.is_success() || status == reqwest::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
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
        Err(problem::from_answer(status.as_u16(), &text))
    }

    async fn whole(self, remote: &Remote) -> Result<Bytes> {
        let (deadline, reads) = (self.deadline, reads(&self.method));
        let whole = async { collect(body(self.begin(remote).await?)).await };
        let result = timeout(deadline, whole).await.unwrap_or_else(|_| Err(late(deadline)));
        result.map_err(|error| if reads { nothing_changed(error) } else { error })
    }

    /// Sends it and parses the answer. Members that are not known are passed over.
    pub(super) async fn json<T: DeserializeOwned>(self, remote: &Remote) -> Result<T> {
        let unclear = !reads(&self.method);
        serde_json::from_slice(&self.whole(remote).await?).map_err(|cause| {
            let error = nonsense(cause);
            if unclear { error.with_retry(Retry::Unknown) } else { error.with_retry(Retry::Safe) }
        })
    }

    /// Sends it, for what the server does and not for what it says.
    pub(super) async fn done(self, remote: &Remote) -> Result<()> {
        self.whole(remote).await.map(drop)
    }

    /// Sends it, and gives the bytes of the answer as they come. They do not pause for long.
    pub(super) async fn bytes(self, remote: &Remote) -> Result<ByteStream> {
        let deadline = self.deadline.max(SLOW_DEADLINE);
        Ok(flowing(PAUSE_MAX, body(self.within(deadline).begin(remote).await?)))
    }

    /// Sends it, and gives the bytes of the answer as they come, for what says by itself that it is there.
    pub(super) async fn open(self, remote: &Remote) -> Result<ByteStream> {
        Ok(body(self.begin(remote).await?))
    }

    /// Asks for another protocol on the connection.
    pub(super) async fn upgrade(self, remote: &Remote) -> Result<(reqwest::Response, Duration)> {
        let deadline = self.deadline;
        Ok((self.begin(remote).await?, deadline))
    }
}

fn body(answer: reqwest::Response) -> ByteStream {
    // Whoever reads what broke off may ask again.
    answer.bytes_stream().map_err(|cause| nothing_changed(translate(cause))).boxed()
}

async fn collect(mut body: ByteStream) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.try_next().await.map_err(|error| error.with_retry(Retry::Unknown))? {
        if whole.len() + piece.len() > ANSWER_MAX {
            return Err(Error::new(ErrorKind::Unexpected, "the server's answer is too long"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// An answer that cannot be understood. What was in it is not repeated.
pub(super) fn nonsense(cause: serde_json::Error) -> Error {
    let place = format!("line {} column {}", cause.line(), cause.column());
    let why = match cause.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "it is of another shape",
        _ => "it is not JSON",
    };
    Error::new(ErrorKind::Unexpected, format!("the server's answer makes no sense: {why} ({place})")).with_source(cause)
}

fn reads(method: &Method) -> bool {
    *method == Method::GET
}

fn late(deadline: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, format!("the server did not answer within {} s", deadline.as_secs()))
        .with_retry(Retry::Unknown)
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
        let request = Request::get(&["nodes", "a b", "containers", "../x"])
            .query("path", "/a&b=c")
            .flag("force", true)
            .flag("volumes", false)
            .query_some("name", None);
        assert_eq!(request.target, "/v1/nodes/a%20b/containers/..%2Fx?path=%2Fa%26b%3Dc&force=true");
    }
}
