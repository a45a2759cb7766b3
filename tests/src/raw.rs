//! HTTP/1.1 by hand: requests that a client library would refuse to send or would tidy up first, and plain blocking
//! calls for the engines' own sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No answer of a healthy server or engine takes this long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A request, sent byte for byte as described.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without body.
    #[must_use]
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Request { method: method.to_owned(), target: target.as_ref().to_vec(), headers: Vec::new(), body: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body; its length is told unless a header tells something else.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body with its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\nConnection: close\r\n");
        let has = |name: &str| self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        if !has("host") {
            bytes.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let told = has("content-length") || has("transfer-encoding");
        if let Some(body) = self.body.as_ref().filter(|_| !told) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it to a TCP address and reads the whole answer.
    ///
    /// # Errors
    /// Whatever the connection says; `TimedOut` after [`DEADLINE`].
    pub fn send_tcp(&self, address: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        exchange(stream.try_clone()?, stream, self.bytes(), self.method == "HEAD")
    }

    /// Sends it to a unix socket and reads the whole answer.
    ///
    /// # Errors
    /// As [`Request::send_tcp`].
    pub fn send_unix(&self, socket: &Path) -> io::Result<Answer> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        exchange(stream.try_clone()?, stream, self.bytes(), self.method == "HEAD")
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {:?}", self.status, self.text()))
    }

    /// Itself, when it has this status.
    ///
    /// # Panics
    /// When it has another.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Itself, when it is a problem document with this status and code.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) {
        if let Err(complaint) = self.problem(status, code, None) {
            panic!("{complaint}");
        }
    }

    /// What is wrong with it as the problem document with this status, code and field.
    ///
    /// # Errors
    /// The complaint, with the whole answer.
    pub fn problem(&self, status: u16, code: &str, field: Option<&str>) -> Result<(), String> {
        let complain =
            |what: String| Err(format!("{what}; answer: {} {:?} {}", self.status, self.headers, self.text()));
        if self.status != status {
            return complain(format!("status {} instead of {status}", self.status));
        }
        let media = self.header("content-type").unwrap_or_default();
        if media.split(';').next().map(str::trim) != Some("application/problem+json") {
            return complain(format!("content type {media:?}"));
        }
        let Ok(document) = serde_json::from_slice::<Value>(&self.body) else {
            return complain("the body is not JSON".to_owned());
        };
        for member in ["type", "title", "detail"] {
            if document[member].as_str().is_none_or(str::is_empty) {
                return complain(format!("no {member}"));
            }
        }
        if document["status"] != status {
            return complain("the member status differs".to_owned());
        }
        if document["code"] != code {
            return complain(format!("code {} instead of {code:?}", document["code"]));
        }
        match field {
            Some(field) if document["field"] != field => {
                complain(format!("field {} instead of {field:?}", document["field"]))
            }
            _ => Ok(()),
        }
    }
}

/// Writes on a thread of its own: a server may answer, and close, before it has read all.
fn exchange<S: Read + Write + Send + 'static>(
    mut writer: S,
    reader: S,
    bytes: Vec<u8>,
    head_only: bool,
) -> io::Result<Answer> {
    let written = std::thread::spawn(move || {
        let _ = writer.write_all(&bytes).and_then(|()| writer.flush());
    });
    let answer = read_answer(reader, head_only);
    if answer.is_ok() {
        let _ = written.join();
    }
    answer
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_answer(stream: impl Read, head_only: bool) -> io::Result<Answer> {
    let mut input = Input { stream, buffer: Vec::new(), until: Instant::now() + DEADLINE };
    let mut answer = loop {
        let answer = head(&mut input)?;
        if answer.status != 100 {
            break answer;
        }
    };
    if head_only || answer.status == 204 || answer.status == 304 {
        return Ok(answer);
    }
    answer.body = if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        input.chunked()?
    } else if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(|_| bad("content-length is no number"))?;
        input.exactly(length)?
    } else {
        input.rest()?
    };
    Ok(answer)
}

fn head<S: Read>(input: &mut Input<S>) -> io::Result<Answer> {
    let status_line = input.line()?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer { status: status.ok_or_else(|| bad("no status line"))?, ..Answer::default() };
    loop {
        let line = input.line()?;
        if line.is_empty() {
            return Ok(answer);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without colon"))?;
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

struct Input<S> {
    stream: S,
    buffer: Vec<u8>,
    until: Instant,
}

impl<S: Read> Input<S> {
    /// Whether anything came.
    fn more(&mut self) -> io::Result<bool> {
        if Instant::now() > self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = line.split(';').next().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
            let length = length.ok_or_else(|| bad("a chunk without length"))?;
            if length == 0 {
                // What may follow are trailers, which nobody here reads.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(length)?);
            if !self.line()?.is_empty() {
                return Err(bad("a chunk longer than its length"));
            }
        }
    }
}
