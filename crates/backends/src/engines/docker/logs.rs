//! The kept output of a container's main process.
//!
//! The engine writes the time before each piece when asked to; it is always asked when a time matters, and the pieces
//! are filtered here once more, since engines differ in how exactly they read `since` and `until`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, ItemStream, LogOptions, LogRecord, OutputKind, Result, Timestamp};

use super::client::Client;
use super::facts::Facts;
use super::frames::Frames;
use super::request::Request;
use super::watch;

/// A line of a terminal is given in pieces when it is longer than this.
const LINE_MAX: usize = 64 * 1024;

/// The records that `options` ask for. `NotFound` comes from the call.
pub(super) async fn read(client: &Arc<Client>, id: &str, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
    options.validate()?;
    let facts = Facts::of(client, id).await?;
    let timed = options.timestamps || options.since.is_some() || options.until.is_some();
    let tail = options.tail.map(|lines| lines.to_string());
    let mut request = Request::get(&format!("/containers/{}/logs", facts.id))
        .flag("stdout", options.stdout)
        .flag("stderr", options.stderr)
        .flag("follow", options.follow)
        .flag("timestamps", timed)
        .query("tail", tail.as_deref().unwrap_or("all"));
    for (key, time) in [("since", options.since), ("until", options.until)] {
        request = request.query_some(key, time.map(unix).as_deref());
    }
    let parser = Parser::new(facts.tty, timed, options);
    let records = watch::watched(client, records(request.stream(client).await?, parser));
    let Some(until) = options.until.filter(|_| options.follow) else { return Ok(records) };
    // An engine goes on following when nothing is written after the end of the span.
    let left = until.since(Timestamp::now()) + Duration::from_millis(500);
    let over = async move {
        match tokio::time::Instant::now().checked_add(left) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    Ok(records.take_until(Box::pin(over)).fuse().boxed())
}

/// Seconds and nanoseconds since 1970, as engines read times.
pub(super) fn unix(time: Timestamp) -> String {
    let nanos = time.unix_nanos().max(0);
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn records(body: ByteStream, parser: Parser) -> impl futures_util::Stream<Item = Result<LogRecord>> + Send + 'static {
    stream::unfold((Some(body), parser), |(mut body, mut parser)| async move {
        loop {
            match parser.next() {
                Ok(Some(record)) => return Some((Ok(record), (body, parser))),
                Ok(None) => {}
                Err(error) => return Some((Err(error), (None, Parser::default()))),
            }
            match body.as_mut()?.next().await {
                Some(Ok(piece)) => parser.frames.push(&piece),
                Some(Err(error)) => return Some((Err(error), (None, Parser::default()))),
                None => {
                    body = None;
                    let last = parser.rest()?;
                    return Some((Ok(last), (body, parser)));
                }
            }
        }
    })
}

/// Makes records of what the engine sends.
#[derive(Debug)]
struct Parser {
    frames: Frames,
    tty: bool,
    /// Whether times stand in front.
    timed: bool,
    /// Whether the caller wants them.
    show: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// A terminal's bytes that have not been given yet.
    text: BytesMut,
    /// Whether a time is expected before the next bytes of a terminal.
    fresh: bool,
    /// Time of the current line or frame.
    time: Option<Timed>,
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new(false, false, &LogOptions::default())
    }
}

/// A time, and by how much it may be too early.
#[derive(Clone, Copy, Debug)]
struct Timed {
    time: Timestamp,
    vague: Duration,
}

impl Parser {
    fn new(tty: bool, timed: bool, options: &LogOptions) -> Self {
        Parser {
            frames: Frames::new(tty),
            tty,
            timed,
            show: options.timestamps,
            since: options.since,
            until: options.until,
            text: BytesMut::new(),
            fresh: true,
            time: None,
        }
    }

    fn next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            let (kind, data) = if self.tty {
                if let Some(frame) = self.frames.next()? {
                    // What the engine wrote at once begins with a time, also in the middle of a line: Docker cuts long
                    // lines, Podman ends a piece where the program paused.
                    self.fresh |= self.text.is_empty() && take_time(&mut frame.data.clone()).is_some();
                    self.text.extend_from_slice(&frame.data);
                }
                match self.line() {
                    Some(line) => (OutputKind::Console, line),
                    None => return Ok(None),
                }
            } else {
                let Some(mut frame) = self.frames.next()? else { return Ok(None) };
                if self.timed && frame.begins {
                    self.time = take_time(&mut frame.data);
                }
                (frame.kind, frame.data)
            };
            if let Some(record) = self.record(kind, data) {
                return Ok(Some(record));
            }
        }
    }

    fn record(&self, kind: OutputKind, data: Bytes) -> Option<LogRecord> {
        if let Some(Timed { time, vague }) = self.time {
            let early = self.since.is_some_and(|since| time.saturating_add(vague) < since);
            let late = self.until.is_some_and(|until| time >= until);
            if early || late {
                return None;
            }
        }
        let mut record = LogRecord::new(kind, data);
        record.time = self.time.map(|timed| timed.time).filter(|_| self.show);
        Some(record)
    }

    /// A line of a terminal, or what there is of one: a prompt has no end.
    fn line(&mut self) -> Option<Bytes> {
        if self.text.is_empty() {
            return None;
        }
        if self.fresh && self.timed {
            // Not before the time is there as a whole.
            if !self.text.iter().take(TIME_MAX + 1).any(|byte| *byte == b' ') && self.text.len() <= TIME_MAX {
                return None;
            }
            let mut data = self.text.split().freeze();
            self.time = take_time(&mut data);
            self.text = BytesMut::from(data.as_ref());
            if self.text.is_empty() {
                self.fresh = false;
                return None;
            }
        }
        let end = self.text.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = end.unwrap_or(self.text.len()).min(LINE_MAX);
        self.fresh = end == Some(length);
        Some(self.text.split_to(length).freeze())
    }

    /// What is left when the engine has said everything.
    fn rest(&mut self) -> Option<LogRecord> {
        let rest = self.text.split().freeze();
        if rest.is_empty() { None } else { self.record(OutputKind::Console, rest) }
    }
}

/// The longest time that engines write: nine digits of fraction, and an offset.
const TIME_MAX: usize = 35;

/// Takes the time off the front; leaves the data alone when there is none.
fn take_time(data: &mut Bytes) -> Option<Timed> {
    let end = data.iter().take(TIME_MAX + 1).position(|byte| *byte == b' ')?;
    let text = std::str::from_utf8(data.get(..end)?).ok()?;
    let time: Timestamp = text.parse().ok()?;
    // Podman of old writes whole seconds: the line may be up to a second younger.
    let vague = if text.contains('.') { Duration::ZERO } else { Duration::from_secs(1) };
    let _ = data.split_to(end + 1);
    Some(Timed { time, vague })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tty: bool, options: &LogOptions, pieces: &[&[u8]]) -> Vec<(String, Option<String>)> {
        let mut parser = Parser::new(tty, true, options);
        let mut records = Vec::new();
        for piece in pieces {
            parser.frames.push(piece);
            while let Some(record) = parser.next().unwrap() {
                records.push(record);
            }
        }
        records.extend(parser.rest());
        records
            .into_iter()
            .map(|record| {
                (String::from_utf8_lossy(&record.data).into_owned(), record.time.map(|time| time.to_string()))
            })
            .collect()
    }

    fn options(since: Option<&str>, until: Option<&str>) -> LogOptions {
        let mut options = LogOptions::default();
        options.timestamps = true;
        options.since = since.map(|time| time.parse().unwrap());
        options.until = until.map(|time| time.parse().unwrap());
        options
    }

    #[test]
    fn times_come_off_the_lines_of_a_terminal() {
        let text = b"2026-11-21T06:50:42.100000000Z one\r\n2026-11-21T06:50:42.2Z two\r\n2026-11-21T06:50:43Z $ ";
        for size in [1, 7, text.len()] {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let records = parse(true, &options(None, None), &pieces);
            let whole: String = records.iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(whole, "one\r\ntwo\r\n$ ", "in pieces of {size}");
            assert_eq!(records[0].1.as_deref(), Some("2026-11-21T06:50:42.1Z"));
            assert_eq!(records.last().unwrap().1.as_deref(), Some("2026-11-21T06:50:43Z"));
        }
    }

    #[test]
    fn a_terminals_line_in_pieces_has_times_within_it() {
        let long = "x".repeat(16 * 1024);
        let first = format!("2026-11-21T06:50:42.1Z {long}");
        let records = parse(true, &options(None, None), &[first.as_bytes(), b"2026-11-21T06:50:42.2Z yz\r\n"]);
        assert_eq!(records[0].0, long);
        assert_eq!(records[1], ("yz\r\n".to_owned(), Some("2026-11-21T06:50:42.2Z".to_owned())));
    }

    #[test]
    fn since_and_until_are_exact_unless_the_engine_is_vague() {
        let frame = |line: &str| {
            let mut frame = vec![1, 0, 0, 0];
            frame.extend(u32::try_from(line.len()).unwrap().to_be_bytes());
            frame.extend(line.as_bytes());
            frame
        };
        let bytes = [
            frame("2026-11-21T06:50:42.100Z a\n"),
            frame("2026-11-21T06:50:42.200Z b\n"),
            frame("2026-11-21T06:50:42Z vague\n"),
            frame("2026-11-21T06:50:42.300Z c\n"),
            frame("no time at all\n"),
        ]
        .concat();
        let options = options(Some("2026-11-21T06:50:42.2Z"), Some("2026-11-21T06:50:42.3Z"));
        let records = parse(false, &options, &[&bytes]);
        let lines: Vec<_> = records.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(lines, ["b\n", "vague\n", "no time at all\n"]);
    }

    #[test]
    fn times_are_written_with_all_their_digits() {
        assert_eq!(unix("2026-11-21T06:50:42.000000001Z".parse().unwrap()), "1795243842.000000001");
    }
}
