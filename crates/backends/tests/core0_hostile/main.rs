//! Whatever a core0 node sends, nothing panics: results, entries of streams and payloads of any shape, captures with a change
//! somewhere, invalid UTF-8, JSON that is nested without end.
#![cfg(feature = "core0")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod every_type;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Names that are really read, so that arbitrary values get to where they are.
const NAMES: &[&str] = &[
    "id",
    "state",
    "level",
    "data",
    "code",
    "streams",
    "tags",
    "time",
    "starttime",
    "container",
    "message",
    "meta",
    "epoch",
    "core",
    "size",
    "children",
    "blockdevices",
    "cpu",
    "rss",
    "arguments",
    "nics",
    "port",
    "cgroups",
    "addrs",
    "speed",
    "uptime",
    "bootTime",
    "createtime",
    "rlimit",
    "cmd",
    "pid",
    "current",
    "history",
    "last_time",
    "start",
    "op",
    "key",
    "value",
    "main",
    "logger",
    "Vcpu",
    "Time",
    "params",
    "memory",
    "mem",
    "identity",
    "sections",
];

fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&["1e308", "-1", "1.5G", "9999999999999999999999", "NaN", "é", "\n", "SUCCESS"][..])
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((names(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every result, payload and entry of the captures.
fn captures() -> Vec<String> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/core0-transcripts.jsonl");
    let path = std::env::var("ROADSTEAD_CORE0_TRANSCRIPTS").unwrap_or_else(|_| own.to_owned());
    let mut found = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        texts(&serde_json::from_str(line).unwrap(), &mut found);
    }
    found
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with(['{', '[']) => {
            if let Ok(inner) = serde_json::from_str(text) {
                found.push(text.clone());
                texts(&inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// Puts another value in the place of the `place`th one.
fn replace(value: &mut Value, place: &mut usize, other: &Value) {
    if *place == 0 {
        *value = other.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, place, other)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, place, other)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        every_type::read(&bytes);
    }

    #[test]
    fn any_json(value in json()) {
        every_type::read(value.to_string().as_bytes());
    }

    #[test]
    fn any_payload(value in json(), state in "SUCCESS|ERROR|TIMEOUT|.{0,4}", level in any::<u16>()) {
        every_type::read(json!({"state": state, "level": level, "data": value.to_string()}).to_string().as_bytes());
    }

    #[test]
    fn captures_with_another_value(capture in proptest::sample::select(captures()), place in 0_usize..64, other in json()) {
        let mut value: Value = serde_json::from_str(&capture).unwrap();
        replace(&mut value, &mut { place }, &other);
        every_type::read(value.to_string().as_bytes());
    }

    #[test]
    fn captures_with_other_bytes(
        capture in proptest::sample::select(captures()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = capture.into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        every_type::read(&bytes);
    }
}

#[test]
fn every_capture_as_everything() {
    let captures = captures();
    assert!(captures.len() > 300, "{}", captures.len());
    for capture in captures {
        every_type::read(capture.as_bytes());
    }
}

#[test]
fn nesting_without_end() {
    for (open, close) in [("[", "]"), (r#"{"children":["#, "]}"), (r#"{"data":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
        every_type::read(deep.as_bytes());
        every_type::read(json!({"state": "SUCCESS", "level": 20, "data": deep}).to_string().as_bytes());
    }
}

#[test]
fn a_stream_of_sixteen_mebibytes() {
    let text = "x".repeat(16 << 20);
    let document = json!({"state": "ERROR", "code": 1001, "streams": [text, text]}).to_string();
    let outcome = roadstead_backends::engines::core0::Outcome::parse(document.as_bytes()).unwrap();
    assert_eq!(outcome.streams.as_ref().unwrap().1.len(), 16 << 20);
    assert_eq!(outcome.exit_code(), Some(1));
    assert!(outcome.value::<()>().is_err());
}
