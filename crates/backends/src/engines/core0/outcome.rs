//! The document that a node answers with: how a command ended, and what it gave.
//!
//! Source: the protocol of core0, sections 5 and 14 of its reference. It is read tolerantly: members that older generations
//! leave out, spell otherwise or give as null never make a result unreadable.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use roadstead_core::{Error, ErrorKind, Result, Retry, Timestamp};

/// The code of a process that a signal ended.
const KILLED: u32 = 999;
/// What is added to the exit code of a process, and the codes that there are.
const EXITED: u32 = 1000;
const EXIT_CODES: std::ops::RangeInclusive<u32> = EXITED + 1..=EXITED + 255;
/// A code that is none: it must not pass for 0.
const NO_CODE: u32 = u32::MAX;
/// The level of a payload that is JSON.
pub(super) const JSON: u16 = 20;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeState {
    /// With exit code 0, or as a function without an error.
    Success,
    /// Anything else.
    Error,
    /// It was killed when its `max_time` had passed.
    Timeout,
    /// The node, or the container, knows no such command.
    UnknownCommand,
    /// A word that is newer than this library.
    Other(String),
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Id of the command.
    pub id: String,
    /// Its name.
    pub command: String,
    /// The payload: JSON on level 20, otherwise text.
    pub data: String,
    /// Standard output and standard error: the last 100 chunks of each. Absent when nothing was started.
    pub streams: Option<(String, String)>,
    /// The last critical message, or why it panicked; empty when there was none.
    pub critical: String,
    /// What the payload is: 20 JSON, 21 YAML, 22 TOML, 23 HRD, 30 a job's id, 0 nothing or plain text.
    pub level: u16,
    /// How it ended.
    pub state: OutcomeState,
    /// 0, a number like those of HTTP, 999 for a signal, or 1000 and the exit code. Absent where older nodes tell none;
    /// 4294967295 for what is no such number.
    pub code: Option<u32>,
    /// When it began; absent when it did not.
    pub started_at: Option<Timestamp>,
    /// How long it took, to the millisecond.
    pub duration: Duration,
    /// The command's tags.
    pub tags: Vec<String>,
    /// The container that it ran in; 0 for the node itself.
    pub container: u64,
}

impl Outcome {
    /// Reads a result document.
    ///
    /// # Errors
    /// `Unexpected` for what is no JSON object.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(document);
        let value: Value = serde_json::from_str(&text).map_err(|error| nonsense(&text).with_source(error))?;
        let Value::Object(members) = &value else { return Err(nonsense(&text)) };
        // The server's own decoder matches names in any case.
        let get = |name: &str| {
            members.get(name).or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v))
        };
        let text = |name: &str| get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| get(name).map_or(0, unsigned);
        let started = number("starttime");
        Ok(Outcome {
            id: text("id"),
            command: text("command"),
            data: get("data").map(as_text).unwrap_or_default(),
            streams: get("streams").and_then(Value::as_array).map(|streams| {
                let stream = |index: usize| streams.get(index).map(as_text).unwrap_or_default();
                (stream(0), stream(1))
            }),
            critical: get("critical").map(as_text).unwrap_or_default(),
            level: u16::try_from(number("level")).unwrap_or(u16::MAX),
            state: match text("state").as_str() {
                "SUCCESS" => OutcomeState::Success,
                "ERROR" => OutcomeState::Error,
                "TIMEOUT" => OutcomeState::Timeout,
                "UNKNOWN_CMD" => OutcomeState::UnknownCommand,
                other => OutcomeState::Other(other.to_owned()),
            },
            code: get("code").and_then(code),
            started_at: if started == 0 { None } else { milliseconds(started) },
            duration: Duration::from_millis(number("time")),
            tags: match get("tags") {
                Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                Some(Value::String(tag)) if !tag.is_empty() => vec![tag.clone()],
                _ => Vec::new(),
            },
            container: number("container"),
        })
    }

    /// Whether it did what it was told to.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.state == OutcomeState::Success
    }

    /// The exit code of its process: 128 and the number of SIGKILL when a signal ended it, which nodes do not tell; absent
    /// for what is no process, or never began, and where it is not told.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.code {
            None | Some(0) if self.succeeded() => Some(0),
            None if self.state == OutcomeState::Timeout => Some(137),
            Some(KILLED) => Some(137),
            Some(404) if self.level == 0 => Some(127),
            Some(code) if EXIT_CODES.contains(&code) => i32::try_from(code - EXITED).ok(),
            _ => None,
        }
    }

    /// `Ok` when it did what it was told to; otherwise [`Outcome::error`].
    ///
    /// # Errors
    /// What it failed with.
    pub fn check(&self) -> Result<()> {
        if self.succeeded() { Ok(()) } else { Err(self.error()) }
    }

    /// The payload as a value.
    ///
    /// # Errors
    /// What it failed with; `Unexpected` for a payload that is something else.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        self.check()?;
        let value: Value = match self.level {
            JSON => serde_json::from_str(&self.data).map_err(|error| {
                Error::new(ErrorKind::Unexpected, format!("the answer of {} is no JSON", self.command))
                    .with_source(error)
            })?,
            // Nothing, where nothing is needed.
            _ => Value::Null,
        };
        serde_json::from_value(value).map_err(|error| {
            Error::new(ErrorKind::Unexpected, format!("the answer of {} makes no sense: {error}", self.command))
                .with_source(error)
        })
    }

    /// What it says for itself: the message of a built-in, the standard error of a program.
    #[must_use]
    pub fn message(&self) -> String {
        let payload = match self.level {
            JSON => match serde_json::from_str(&self.data) {
                Ok(Value::String(message)) => message,
                Ok(Value::Null) => String::new(),
                _ => self.data.clone(),
            },
            _ => self.data.clone(),
        };
        let (stdout, stderr) = self.streams.clone().unwrap_or_default();
        [payload, stderr, self.critical.clone(), stdout]
            .iter()
            .map(|text| text.trim())
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    }

    /// The error that a failure is: by its state, its code and, where that says too little, its words.
    #[must_use]
    pub fn error(&self) -> Error {
        let message = self.message();
        let lower = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let kind = match (&self.state, self.code) {
            (OutcomeState::UnknownCommand, _) => ErrorKind::Unsupported,
            (OutcomeState::Timeout, _) => ErrorKind::DeadlineExceeded,
            (_, Some(404)) => ErrorKind::NotFound,
            (_, Some(406 | 412)) => ErrorKind::Conflict,
            (_, Some(503)) => ErrorKind::ResourceExhausted,
            (_, Some(KILLED)) => ErrorKind::Cancelled,
            _ if says(&["file exists", "already exists", "already in use", "overlapping range"]) => {
                ErrorKind::AlreadyExists
            }
            _ if says(&[
                "does not exist",
                "doesn't exist",
                "no container with id",
                "no such process",
                "no such file or directory",
                "link not found",
                "bridge not found",
                "route not found",
                "unknown file description",
                "couldn't find domain",
            ]) =>
            {
                ErrorKind::NotFound
            }
            _ if says(&["no space left"]) => ErrorKind::ResourceExhausted,
            _ if says(&["failed to dispatch command"]) => ErrorKind::Unavailable,
            (_, Some(400)) => ErrorKind::InvalidInput,
            _ if says(&[
                "invalid",
                "cannot unmarshal",
                "illegal base64",
                "is required",
                "is a required",
                "must be ",
                "must supply",
                "has to be ",
                "unknown ",
            ]) =>
            {
                ErrorKind::InvalidInput
            }
            _ => ErrorKind::Unexpected,
        };
        let words = match &self.state {
            OutcomeState::UnknownCommand => format!("the node knows no command {}", self.command),
            OutcomeState::Timeout => format!("{} was killed when its time was up", self.command),
            _ if message.is_empty() => match self.code {
                Some(code) => format!("{} failed with code {code}", self.command),
                None => format!("{} failed, and the node does not say how", self.command),
            },
            _ => message,
        };
        // It has answered: the same again brings the same.
        let error = Error::new(kind, words).with_retry(Retry::Never).with_context("command", self.command.clone());
        match self.code {
            Some(code) => error.with_context("code", code.to_string()),
            None => error,
        }
    }
}

fn nonsense(text: &str) -> Error {
    let beginning: String = text.chars().take(100).collect();
    Error::new(ErrorKind::Unexpected, format!("the node's result is no JSON object: {beginning:?}"))
        .with_retry(Retry::Never)
}

/// Text as it is, anything else as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A number however it is written; 0 for what is none.
fn unsigned(value: &Value) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    let rounded = |number: f64| number as u64;
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(rounded)).unwrap_or(0),
        Value::String(text) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

/// A code however it is written; none where none is told. What is no code is not taken for any.
fn code(value: &Value) -> Option<u32> {
    let read = match value {
        Value::Null => return None,
        Value::Number(number) => number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Some(read.and_then(|code| u32::try_from(code).ok()).unwrap_or(NO_CODE))
}

/// A time in milliseconds since the beginning of 1970.
pub(super) fn milliseconds(since: u64) -> Option<Timestamp> {
    Timestamp::from_unix_nanos(i128::from(since) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(members: &str) -> Outcome {
        Outcome::parse(format!(r#"{{"id":"i","command":"c",{members}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn every_generation_is_read() {
        let old = outcome(r#""data":"","level":0,"state":"SUCCESS","starttime":1509000000123,"time":14,"tags":"web""#);
        assert_eq!((old.tags, old.code, old.streams), (vec!["web".to_owned()], None, None));
        assert_eq!(old.started_at.unwrap().to_string(), "2017-10-26T06:40:00.123Z");
        let new =
            outcome(r#""streams":["o","e"],"state":"ERROR","code":1003,"tags":["a","b"],"container":4,"starttime":0"#);
        assert_eq!((new.exit_code(), new.container, new.started_at), (Some(3), 4, None));
        assert_eq!(new.error().message(), "e");
        let odd = outcome(r#""STATE":"LATER","code":"7","time":-1,"streams":[1],"data":{"a":1},"tags":[1,"x",null]"#);
        assert_eq!(
            (odd.state, odd.code, odd.tags),
            (OutcomeState::Other("LATER".to_owned()), Some(7), vec!["x".to_owned()])
        );
        assert_eq!(odd.data, r#"{"a":1}"#);
        for nonsense in [&b""[..], b"[]", b"nul", b"\xff\xfe", b"{\"id\":"] {
            assert_eq!(Outcome::parse(nonsense).unwrap_err().kind(), ErrorKind::Unexpected);
        }
    }

    #[test]
    fn a_code_that_is_none_is_no_code() {
        for (written, read) in [("null", None), ("0", Some(0)), ("\"1003\"", Some(1003)), ("1003.0", Some(1003))] {
            assert_eq!(outcome(&format!(r#""state":"ERROR","code":{written}"#)).code, read, "{written}");
        }
        for nonsense in ["-1", "0.5", "true", "false", "[]", "{}", "\"\"", "\"x\"", "4294967296", "1e300", "[0]"] {
            let told = outcome(&format!(r#""state":"SUCCESS","streams":["",""],"code":{nonsense}"#));
            assert_eq!((told.code, told.exit_code()), (Some(u32::MAX), None), "{nonsense}");
        }
        for code in ["1000", "1256", "2001003", "7"] {
            assert_eq!(outcome(&format!(r#""state":"ERROR","code":{code}"#)).exit_code(), None, "{code}");
        }
    }

    #[test]
    fn failures_are_errors_of_their_kind() {
        let kind = |members: &str| outcome(members).error().kind();
        assert_eq!(kind(r#""state":"UNKNOWN_CMD""#), ErrorKind::Unsupported);
        assert_eq!(kind(r#""state":"TIMEOUT","code":999"#), ErrorKind::DeadlineExceeded);
        assert_eq!(kind(r#""state":"ERROR","code":999"#), ErrorKind::Cancelled);
        assert_eq!(kind(r#""state":"ERROR","code":404,"data":"exec: \"x\": not found""#), ErrorKind::NotFound);
        let says = |words: &str| kind(&format!(r#""state":"ERROR","code":500,"level":20,"data":"\"{words}\"""#));
        assert_eq!(says("container does not exist"), ErrorKind::NotFound);
        assert_eq!(says("no container with id '99'"), ErrorKind::NotFound);
        assert_eq!(says("open /x: file exists"), ErrorKind::AlreadyExists);
        assert_eq!(says("invalid PID"), ErrorKind::InvalidInput);
        assert_eq!(says("illegal base64 data at input byte 0"), ErrorKind::InvalidInput);
        assert_eq!(says("Must supply either Name or UUID"), ErrorKind::InvalidInput);
        assert_eq!(says("rwax modes has to be used once and only once"), ErrorKind::InvalidInput);
        assert_eq!(says("CPU is a required parameter"), ErrorKind::InvalidInput);
        assert_eq!(says("something"), ErrorKind::Unexpected);
        assert_eq!(kind(r#""state":"ERROR","code":503"#), ErrorKind::ResourceExhausted);
    }

    #[test]
    fn payloads_are_values() {
        let pid = outcome(r#""state":"SUCCESS","level":20,"data":"7\n""#);
        assert_eq!(pid.value::<u32>().unwrap(), 7);
        assert_eq!(pid.value::<String>().unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(outcome(r#""state":"SUCCESS","level":0,"data":"text""#).value::<()>().unwrap(), ());
        assert!(outcome(r#""state":"ERROR","code":500"#).value::<()>().is_err());
    }
}
