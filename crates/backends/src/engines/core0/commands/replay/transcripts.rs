//! Captures of a real node, and what in each of them a client does: commands with their answers, waits, entries of streams.

use std::collections::BTreeSet;

use serde_json::Value;

/// One line of the captures.
#[derive(Debug)]
pub(super) struct Transcript {
    pub(super) case: String,
    pub(super) whole: Value,
    pub(super) exchanges: Vec<Exchange>,
}

/// A command that was pushed, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// As it was pushed.
    pub(super) text: String,
    /// The answer to a dispatch, before the result itself.
    pub(super) dispatched: Option<String>,
    /// Whether the node took it: it set its flag.
    pub(super) accepted: bool,
    /// Nothing for a command that was dropped, and where none was captured.
    pub(super) result: Option<String>,
}

/// Every capture of the file that `ROADSTEAD_CORE0_TRANSCRIPTS` names, or of our own; and whether it is our own.
pub(super) fn load() -> (Vec<Transcript>, bool) {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/core0-transcripts.jsonl");
    let named = std::env::var("ROADSTEAD_CORE0_TRANSCRIPTS").ok();
    let path = named.as_deref().unwrap_or(own);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    (lines.map(|line| transcript(serde_json::from_str(line).unwrap())).collect(), named.is_none())
}

fn transcript(whole: Value) -> Transcript {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let exchange = |pushed: &Value, result: &Value, flag: &Value| {
        let result = text(result);
        let accepted = result.is_some() || flag.is_string();
        Some(Exchange { text: text(pushed)?, dispatched: text(&whole["dispatch_result_raw"]), accepted, result })
    };
    let mut exchanges = Vec::new();
    // Captures were made by hand, in several forms.
    for (pushed, result, flag) in [
        (&whole["pushed"]["value"], &whole["result_raw"], &whole["flag_brpoplpush"]),
        (&whole["pushed"], &whole["result_raw"], &whole["flag"]),
        (&whole["start"]["pushed"], &whole["result"], &whole["start"]["flag"]),
        (&whole["push"], &whole["result"], &Value::Null),
        (&whole["a"]["pushed"], &whole["r1"], &whole["a"]["flag"]),
        (&whole["b"]["pushed"], &whole["r2"], &whole["b"]["flag"]),
        (&whole["first"]["pushed"], &whole["result"], &whole["first"]["flag"]),
        (&whole["second_push"], &Value::Null, &Value::Null),
    ] {
        exchanges.extend(exchange(pushed, result, flag));
    }
    Transcript { case: whole["case"].as_str().unwrap_or("?").to_owned(), exchanges, whole }
}

impl Exchange {
    /// The document; nothing for what is no JSON.
    pub(super) fn document(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok().filter(Value::is_object)
    }
}

/// How far a document is the captured one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The same, but for ids.
    Equal,
    /// The same, but for members that say nothing: null, empty, or not there. Which these are.
    ButForNothing(String),
    /// Another one.
    Different(String),
}

impl Likeness {
    /// The members in which it differs though it says the same.
    pub(super) fn loose(&self) -> Option<String> {
        match self {
            Likeness::ButForNothing(members) => Some(members.clone()),
            _ => None,
        }
    }
}

pub(super) fn compare(sent: &Value, captured: &Value) -> Likeness {
    let (sent, captured) = (without_ids(sent), without_ids(captured));
    if sent == captured {
        return Likeness::Equal;
    }
    let (short, other) = (saying_something(&sent), saying_something(&captured));
    if short == other {
        let mut members = Vec::new();
        differing(&sent, &captured, "", &mut members);
        Likeness::ButForNothing(members.join(", "))
    } else {
        Likeness::Different(format!("it sends {short} instead of {other}"))
    }
}

fn without_ids(document: &Value) -> Value {
    let mut document = document.clone();
    let members = document.as_object_mut().unwrap();
    members.insert("id".to_owned(), Value::Null);
    if members.get("command").is_some_and(|name| name == "corex.dispatch")
        && let Some(inner) = document.pointer_mut("/arguments/command").and_then(Value::as_object_mut)
    {
        inner.insert("id".to_owned(), Value::Null);
    }
    document
}

/// Where two documents differ, in words such as `-arguments.dir ""` for what only the captured one has, and `+` for ours.
fn differing(sent: &Value, captured: &Value, path: &str, members: &mut Vec<String>) {
    match (sent, captured) {
        (Value::Object(sent), Value::Object(captured)) => {
            let names: BTreeSet<&String> = sent.keys().chain(captured.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match (sent.get(name), captured.get(name)) {
                    (Some(sent), Some(captured)) => differing(sent, captured, &path, members),
                    (Some(sent), None) => members.push(format!("+{path} {sent}")),
                    (None, Some(captured)) => members.push(format!("-{path} {captured}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(sent), Value::Array(captured)) if sent.len() == captured.len() => {
            for (place, (sent, captured)) in sent.iter().zip(captured).enumerate() {
                differing(sent, captured, &format!("{path}[{place}]"), members);
            }
        }
        (sent, captured) if sent == captured => {}
        (sent, captured) => members.push(format!("-{path} {captured} +{sent}")),
    }
}

/// Only the members that are more than what Go makes of their absence.
fn saying_something(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let said = members.iter().map(|(name, value)| (name.clone(), saying_something(value)));
            Value::Object(said.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(saying_something).collect()),
        other => other.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}
