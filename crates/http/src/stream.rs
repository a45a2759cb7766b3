//! Answers that go on: server-sent events, lines of JSON, or plain bytes, by what the client accepts.
//!
//! Everything is pulled: the next piece is asked for when the client has taken the one before, so a slow client holds no
//! more than a piece. Event streams say something at least every [`KEEP_ALIVE`], so that a client that went away is
//! noticed; each stream ends with an event `end`, or `error` with a problem document, so that a client can tell the end
//! from a broken connection.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use roadstead_core::{Error, ItemStream, OutputKind, Timestamp};
use serde::Serialize;

use crate::envelope::RequestId;
use crate::problem::Problem;
use crate::state::App;
use actix_web::HttpMessage;

/// How long an event stream is silent at most.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// `text/event-stream`.
    Events,
    /// `application/x-ndjson`: a JSON object a line.
    Lines,
    /// The bytes as they were written.
    Raw,
    /// `application/json`: no stream, but one answer.
    Whole,
}

impl Wire {
    /// What the client accepts first of what is `offered`; the first offer when it accepts anything.
    ///
    /// # Errors
    /// 406 when it accepts none.
    pub(crate) fn negotiate(req: &HttpRequest, offered: &[Wire]) -> Result<Wire, Problem> {
        let values: Vec<&str> = req.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).collect();
        let accept = values.join(",");
        let first = offered.first().copied().unwrap_or(Wire::Raw);
        let mut ranges: Vec<(String, f32)> = accept
            .split(',')
            .map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let media = parts.next().unwrap_or_default().to_ascii_lowercase();
                let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
                (media, weight)
            })
            .filter(|(media, weight)| !media.is_empty() && *weight > 0.0)
            .collect();
        if accept.trim().is_empty() {
            return Ok(first);
        }
        ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (media, _) in &ranges {
            let found = match media.as_str() {
                "*/*" => Some(first),
                "text/event-stream" => Some(Wire::Events),
                "application/json" | "application/*" if offered.contains(&Wire::Whole) => Some(Wire::Whole),
                "application/x-ndjson" | "application/json" => Some(Wire::Lines),
                "text/plain" | "text/*" | "application/octet-stream" => Some(Wire::Raw),
                _ => None,
            };
            if let Some(wire) = found.filter(|wire| offered.contains(wire)) {
                return Ok(wire);
            }
        }
        let names: Vec<_> = offered.iter().map(|wire| wire.media_type()).collect();
        Err(Problem::from_status(StatusCode::NOT_ACCEPTABLE, format!("this route gives {}", names.join(", "))))
    }

    const fn media_type(self) -> &'static str {
        match self {
            Wire::Events => "text/event-stream",
            Wire::Lines => "application/x-ndjson",
            Wire::Raw => "text/plain; charset=utf-8",
            Wire::Whole => "application/json",
        }
    }

    /// One item. `id` is what a client gives as `Last-Event-ID` to go on after it.
    pub(crate) fn frame(self, id: &str, event: &str, data: &impl Serialize) -> Bytes {
        self.frame_json(id, event, &serde_json::to_vec(data).unwrap_or_default())
    }

    /// One item that is JSON in one line already.
    pub(crate) fn frame_json(self, id: &str, event: &str, json: &[u8]) -> Bytes {
        let mut frame = BytesMut::with_capacity(json.len() + id.len() + event.len() + 24);
        match self {
            Wire::Events => {
                if !id.is_empty() {
                    frame.put_slice(b"id: ");
                    frame.put_slice(id.as_bytes());
                    frame.put_slice(b"\n");
                }
                frame.put_slice(b"event: ");
                frame.put_slice(event.as_bytes());
                frame.put_slice(b"\ndata: ");
                // JSON as serde_json writes it has no line ends, so one data line holds it.
                frame.put_slice(json);
                frame.put_slice(b"\n\n");
            }
            Wire::Lines | Wire::Raw | Wire::Whole => {
                frame.put_slice(json);
                frame.put_slice(b"\n");
            }
        }
        frame.freeze()
    }
}

/// A piece of output in JSON: as text where it is UTF-8, as base64 where it is not.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct OutputItem {
    /// Number of the piece, counted from 1.
    pub sequence: u64,
    /// Where it was written.
    pub stream: OutputKind,
    /// When, if asked for and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// What was written, when it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was written, when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl OutputItem {
    /// A piece of output.
    #[must_use]
    pub(crate) fn new(sequence: u64, stream: OutputKind, time: Option<Timestamp>, data: &[u8]) -> Self {
        let (text, base64) = match std::str::from_utf8(data) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(data))),
        };
        OutputItem { sequence, stream, time, text, base64 }
    }
}

struct Pump {
    wire: Wire,
    items: ItemStream<Bytes>,
    ending: BoxFuture<'static, ()>,
    request_id: String,
    greeted: bool,
    over: bool,
}

impl Pump {
    async fn next(mut self) -> Option<(Result<Bytes, Problem>, Pump)> {
        if self.over {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            if self.wire == Wire::Events {
                // Something at once, so that proxies and clients see the stream open.
                return Some((Ok(Bytes::from_static(b": open\n\n")), self));
            }
        }
        let keep_alive = async {
            if self.wire == Wire::Events {
                tokio::time::sleep(KEEP_ALIVE).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = &mut self.ending => {
                self.over = true;
                let last = if self.wire == Wire::Events { Bytes::from_static(b": the server is ending\n\n") } else { Bytes::new() };
                Some((Ok(last), self))
            }
            item = self.items.next() => match item {
                Some(Ok(bytes)) => Some((Ok(bytes), self)),
                Some(Err(error)) => {
                    self.over = true;
                    let problem = Problem::from(error).with_request_id(&self.request_id);
                    let last = match self.wire {
                        // The answer has begun with 200: breaking it off is the only way to say that it is not whole.
                        Wire::Raw | Wire::Whole => Err(problem),
                        Wire::Events => Ok(self.wire.frame("", "error", &problem)),
                        Wire::Lines => Ok(self.wire.frame("", "error", &serde_json::json!({ "error": problem }))),
                    };
                    Some((last, self))
                }
                None => {
                    self.over = true;
                    (self.wire == Wire::Events).then(|| (Ok(self.wire.frame("", "end", &serde_json::json!({}))), self))
                }
            },
            () = keep_alive => Some((Ok(Bytes::from_static(b": keep-alive\n\n")), self)),
        }
    }
}

/// Answers with the frames of `items` until they or the server end.
pub(crate) fn respond(app: &App, req: &HttpRequest, wire: Wire, items: ItemStream<Bytes>) -> HttpResponse {
    let request_id = req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let pump = Pump { wire, items, ending: Box::pin(app.ending()), request_id, greeted: false, over: false };
    let frames = stream::unfold(pump, Pump::next).filter(|frame| {
        let empty = matches!(frame, Ok(bytes) if bytes.is_empty());
        async move { !empty }
    });
    HttpResponse::Ok()
        .content_type(wire.media_type())
        // Compression would hold pieces back.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(frames))
}

/// The `Last-Event-ID` of a client that comes back.
///
/// # Errors
/// `InvalidInput` when it cannot be read.
pub(crate) fn last_event_id(req: &HttpRequest) -> Result<Option<String>, Error> {
    match req.headers().get("Last-Event-ID") {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok("") => Ok(None),
            Ok(id) => Ok(Some(id.to_owned())),
            Err(_) => Err(Error::invalid("Last-Event-ID", "is not an id that this server gave")),
        },
    }
}
