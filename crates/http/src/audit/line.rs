//! The lines of the audit log: what is said before something is done, what came of it, and what was refused.

use std::collections::BTreeMap;

use roadstead_core::{ErrorKind, Retry, Timestamp};
use serde::{Deserialize, Serialize};

use crate::problem::Document;

/// The most bytes of a value in a line; what callers write there may be long.
const VALUE_MAX: usize = 256;
/// The most values of a map or list in a line.
const VALUES_MAX: usize = 16;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// A server was started: whatever began before it and has no outcome will have none.
    Started,
    /// Something is about to be done.
    Begun,
    /// What came of it.
    Ended,
    /// Requests without an identity.
    Refused,
    /// Of a newer Roadstead.
    #[serde(other)]
    Other,
}

/// What came of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It began, and nothing more is known: it is under way, or the server ended before it did.
    Begun,
    /// It was done, or accepted where it takes long.
    Succeeded,
    /// It was not done.
    Failed,
    /// It may have been done.
    Unknown,
    /// Whoever asked was not let in, and nothing was done.
    Refused,
}

/// What is done: who does what to what, as it is known before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// Id of the request that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// What is done: the id of the operation, or of what the server does on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    /// Method of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Pattern of its path; the path where there is no such route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    /// To what it is done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) target: BTreeMap<String, String>,
    /// The query keys that were given, without their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parameters: Vec<String>,
}

impl Deed {
    /// What a server does by itself to `target`, because of a request or not.
    pub(crate) fn of_server(operation: &str, target: &[(&str, &str)], request_id: Option<String>) -> Self {
        let target = target.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Deed {
            request_id,
            identity: Some("server".to_owned()),
            operation: Some(operation.to_owned()),
            target,
            ..Deed::default()
        }
    }

    /// Cuts what is longer than a line may be.
    pub(super) fn cut(mut self) -> Self {
        let texts = [&mut self.operation, &mut self.method, &mut self.route, &mut self.request_id];
        texts.into_iter().flatten().chain(self.target.values_mut()).for_each(cut);
        while self.target.len() > VALUES_MAX {
            self.target.pop_last();
        }
        self.parameters.truncate(VALUES_MAX);
        self
    }
}

fn cut(text: &mut String) {
    if text.len() > VALUE_MAX {
        let end = (0..=VALUE_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
}

/// What came of a deed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct End {
    /// In one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    /// The status that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The code of the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// The path of what was made or begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// Whether the answer was one that had been given before, and nothing was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<f64>,
}

impl End {
    /// Without any detail.
    pub(crate) fn of(outcome: Outcome) -> Self {
        End { outcome: Some(outcome), ..End::default() }
    }

    /// That of an error.
    pub(crate) fn failed(kind: ErrorKind, retry: Retry) -> Self {
        let outcome = if retry == Retry::Unknown { Outcome::Unknown } else { Outcome::Failed };
        End { problem: Some(kind.row().code.to_owned()), ..End::of(outcome) }
    }

    /// That of a problem document.
    pub(crate) fn answered(problem: &Document) -> Self {
        let outcome = if problem.retry == Retry::Unknown { Outcome::Unknown } else { Outcome::Failed };
        End { problem: Some(problem.code.clone()), status: Some(problem.status), ..End::of(outcome) }
    }

    pub(super) fn cut(mut self) -> Self {
        self.location.iter_mut().for_each(cut);
        self
    }
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    /// Its number. The writer puts it before everything else, once it is its turn.
    #[serde(skip_serializing)]
    pub(super) seq: u64,
    pub(super) event: Event,
    /// Of which line this is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<u64>,
    pub(super) at: Timestamp,
    /// Id of the server.
    pub(super) server: String,
    #[serde(flatten)]
    pub(super) deed: Deed,
    #[serde(flatten)]
    pub(super) end: End,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// How many requests it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    /// How many of them came from each address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) peers: BTreeMap<String, u64>,
}

impl Line {
    pub(super) fn new(event: Event, server: &str) -> Self {
        Line {
            seq: 0,
            event,
            entry: None,
            at: Timestamp::now(),
            server: server.to_owned(),
            deed: Deed::default(),
            end: End::default(),
            reason: None,
            count: None,
            peers: BTreeMap::new(),
        }
    }

    /// Without its number.
    pub(super) fn encode(&self) -> Vec<u8> {
        // It holds nothing that has no JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// As much of a line as is needed to see whether the rest is.
#[derive(Debug, Deserialize)]
pub(super) struct Outline {
    pub(super) seq: u64,
    pub(super) event: Event,
    #[serde(default)]
    pub(super) entry: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_come_back() {
        let mut line = Line::new(Event::Begun, "s");
        let target = (0..100).map(|number| (format!("t{number}"), "é".repeat(4000))).collect();
        let deed = Deed { operation: Some("o".repeat(9000)), target, ..Deed::default() };
        line.deed = Deed { parameters: vec!["p".to_owned(); 100], ..deed }.cut();
        let encoded = line.encode();
        assert!(encoded.len() < 8 * 1024, "{}", encoded.len());
        let numbered = [b"{\"seq\":7,", &encoded[1..]].concat();
        let back: Line = serde_json::from_slice(&numbered).unwrap();
        assert_eq!((back.seq, back.event, back.deed.target.len()), (7, Event::Begun, VALUES_MAX));
        let outline: Outline = serde_json::from_slice(&numbered).unwrap();
        assert_eq!((outline.seq, outline.entry), (7, None));
        let newer = br#"{"seq":8,"event":"rewound","at":"2026-11-27T00:00:00Z","server":"s","more":1}"#;
        assert_eq!(serde_json::from_slice::<Line>(newer).unwrap().event, Event::Other);
    }
}
