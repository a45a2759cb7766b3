//! A reader of server-sent events, as strict as a test needs it: it shows what arrived, and waits no longer than told.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// `id:`, if it has one.
    pub id: Option<String>,
    /// `event:`; `message` when absent.
    pub event: String,
    /// `data:` lines, joined with line feeds.
    pub data: String,
}

impl SseEvent {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// An open event stream.
pub struct SseReader {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
    ready: VecDeque<SseEvent>,
}

impl std::fmt::Debug for SseReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SseReader").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl SseReader {
    /// Reads the answer to a request.
    ///
    /// # Panics
    /// When the answer is no event stream.
    pub async fn new(response: reqwest::Response) -> Self {
        let media = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.status() != 200 || !media.starts_with("text/event-stream") {
            let (status, media) = (response.status(), media.to_owned());
            panic!("no event stream: {status} {media}: {}", response.text().await.unwrap_or_default());
        }
        SseReader { body: response.bytes_stream().boxed(), buffer: Vec::new(), ready: VecDeque::new() }
    }

    /// The next event; `None` when the stream has ended.
    ///
    /// # Panics
    /// When nothing comes within `deadline`, or the connection breaks.
    pub async fn next(&mut self, deadline: Duration) -> Option<SseEvent> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let piece = timeout_at(until, self.body.next())
                .await
                .unwrap_or_else(|_| panic!("no event within {deadline:?}, nor an end"))?;
            self.buffer.extend_from_slice(&piece.expect("the connection of an event stream stands until its end"));
            self.parse();
        }
    }

    /// The next event for which `wanted` holds; the others are passed over.
    ///
    /// # Panics
    /// When it does not come within `deadline`.
    pub async fn find(&mut self, deadline: Duration, mut wanted: impl FnMut(&SseEvent) -> bool) -> SseEvent {
        let until = Instant::now() + deadline;
        let mut passed = Vec::new();
        while let Some(event) = self.next(until.saturating_duration_since(Instant::now())).await {
            if wanted(&event) {
                return event;
            }
            passed.push(event);
        }
        panic!("the stream ended without the event; it gave {passed:#?}");
    }

    /// Everything until the stream ends.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub async fn rest(&mut self, deadline: Duration) -> Vec<SseEvent> {
        let until = Instant::now() + deadline;
        let mut all = Vec::new();
        while let Some(event) = self.next(until.saturating_duration_since(Instant::now())).await {
            all.push(event);
        }
        all
    }

    fn parse(&mut self) {
        // Events end with an empty line; the server writes line feeds or carriage returns with them.
        while let Some((length, skip)) = end_of_event(&self.buffer) {
            let text = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
            self.buffer.drain(..length + skip);
            let mut event = SseEvent { event: "message".to_owned(), ..SseEvent::default() };
            let mut data: Vec<&str> = Vec::new();
            let mut named = false;
            for line in text.lines() {
                // A line that begins with a colon is a comment: keep-alive.
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match name {
                    "id" => event.id = Some(value.to_owned()),
                    "event" => {
                        event.event = value.to_owned();
                        named = true;
                    }
                    "data" => data.push(value),
                    _ => {}
                }
            }
            event.data = data.join("\n");
            if named || !data.is_empty() {
                self.ready.push_back(event);
            }
        }
    }
}

fn end_of_event(buffer: &[u8]) -> Option<(usize, usize)> {
    let line_feed = buffer.windows(2).position(|pair| pair == b"\n\n").map(|at| (at, 2));
    let both = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (at, 4));
    line_feed.into_iter().chain(both).min()
}
