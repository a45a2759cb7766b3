//! Every capture whose command is a built-in function is called again, in the order in which the real node was asked.

use std::collections::{BTreeMap, HashMap};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use roadstead_tests::core0::builtins::{Answer, Failure};
use roadstead_tests::core0::shape;
use serde_json::{Value, json};

use crate::world::{World, installed, within};

/// The groups of commands that are built-in functions here; the rest is the stand-in's engine.
const GROUPS: [&str; 21] = [
    "bridge.",
    "btrfs.",
    "cgroup.",
    "config.get",
    "disk.",
    "filesystem.",
    "info.",
    "ip.",
    "kvm.",
    "logger.reopen",
    "logger.set_level",
    "monitor",
    "nft.",
    "no.such",
    "pprof.",
    "process.",
    "rtinfo.",
    "socat.",
    "web.",
    "zerotier.",
    "core.kill",
];

/// Captures that are not repeated, with the program that has to be here for it, if any, and the reason.
const EXCEPTIONS: [(&str, Option<&str>, &str); 4] = [
    ("btrfs.list", Some("btrfs"), "the captured node had no btrfs program, this machine has"),
    ("info.dmi", Some("dmidecode"), "the captured node had no dmidecode, this machine has"),
    ("disk.mktable-sandbox", None, "the captured node had a script in place of parted, with a status of its own"),
    ("zerotier.list-nodaemon", None, "the captured node had a script in place of the client, with words of its own"),
];

/// What the node was asked between two captures, and is not among them.
fn between(case: &str) -> Vec<(bool, &'static str, Value)> {
    match case {
        "dispatch.filesystem.open-r" => vec![
            (true, "filesystem.open", json!({"file": "/tmp/f1", "mode": "w", "perm": 420})),
            (true, "filesystem.write", json!({"fd": "last", "block": "aGVsbG8gZmlsZQo="})),
            (true, "filesystem.close", json!({"fd": "last"})),
        ],
        "filesystem.move-missing" => {
            vec![(false, "filesystem.move", json!({"path": "/tmp/d/f", "destination": "/tmp/d/g"}))]
        }
        "bridge.list" => {
            let network = json!({"mode": "static", "nat": true, "settings": {"cidr": "192.168.57.1/24"}});
            vec![(false, "bridge.create", json!({"name": "br2", "hwaddr": "52:54:00:12:34:56", "network": network}))]
        }
        "cgroup.remove-missing" => vec![(false, "cgroup.remove", json!({"subsystem": "memory", "name": "g1"}))],
        _ => Vec::new(),
    }
}

struct Capture {
    case: String,
    container: bool,
    command: String,
    arguments: Value,
    result: Value,
}

fn captures() -> Vec<Capture> {
    let text = include_str!("../../vectors/core0-transcripts.jsonl");
    let mut captures: Vec<Capture> = text.lines().filter_map(capture).collect();
    captures.sort_by_key(|capture| capture.result["starttime"].as_i64());
    captures
}

fn capture(line: &str) -> Option<Capture> {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let pushed = line["pushed"]["value"].as_str().or_else(|| line["pushed"].as_str())?;
    let pushed: Value = serde_json::from_str(pushed).ok()?;
    let result: Value = serde_json::from_str(line["result_raw"].as_str()?).ok()?;
    let container = pushed["command"] == "corex.dispatch" && pushed["arguments"]["command"].is_object();
    let document = if container { &pushed["arguments"]["command"] } else { &pushed };
    let command = document["command"].as_str()?.to_owned();
    GROUPS.iter().any(|group| command.starts_with(group)).then(|| Capture {
        case: line["case"].as_str().unwrap_or_default().to_owned(),
        container,
        command,
        arguments: document["arguments"].clone(),
        result,
    })
}

/// Ids of open files are ours, not the captured ones.
fn replaced(value: &Value, ids: &HashMap<String, String>) -> Value {
    let mut text = value.to_string();
    for (captured, own) in ids {
        text = text.replace(captured, own);
    }
    serde_json::from_str(&text).expect("still JSON")
}

/// Digits and ids vary.
fn normal(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(id) = rest.get(..36).filter(|id| uuid::Uuid::parse_str(id).is_ok()) {
            words.push_str("<id>");
            rest = &rest[id.len()..];
        } else if character.is_ascii_digit() {
            words.push('0');
            rest = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        } else {
            words.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    words
}

/// State, code, level, payload and streams of an answer, as the result document has them.
fn document(answer: Option<Result<Answer, Failure>>) -> (&'static str, u64, u64, Value, Value) {
    match answer {
        None => ("UNKNOWN_CMD", 0, 0, Value::Null, Value::Null),
        Some(Ok(Answer::Value(value))) => ("SUCCESS", 0, 20, value, json!(["", ""])),
        Some(Err(failure)) => ("ERROR", failure.code.into(), 20, failure.message.into(), json!(["", ""])),
        Some(Ok(Answer::Text { data, code, streams })) => {
            (if code == 0 { "SUCCESS" } else { "ERROR" }, code.into(), 0, data.into(), json!(streams))
        }
    }
}

/// Whether an answer says the same as a capture.
fn compare(capture: &Capture, answer: Option<Result<Answer, Failure>>) -> Result<(), String> {
    let (state, code, level, data, streams) = document(answer);
    let result = &capture.result;
    let found = json!([state, code, level]);
    let expected = json!([result["state"], result["code"], result["level"]]);
    if found != expected {
        return Err(format!("{found} {data}, not {expected} {}", result["data"]));
    }
    if normal(&streams.to_string()) != normal(&result["streams"].to_string()) {
        return Err(format!("streams {streams}, not {}", result["streams"]));
    }
    let text = result["data"].as_str().unwrap_or_default();
    let captured = if level == 20 { serde_json::from_str(text).expect("level 20 is JSON") } else { Value::from(text) };
    match (&data, &captured) {
        (Value::String(own), Value::String(captured)) if normal(own) == normal(captured) => Ok(()),
        (Value::String(_), _) | (Value::Bool(_), _) if data != captured => Err(format!("{data}, not {captured}")),
        (Value::Null, Value::String(text)) if text.is_empty() => Ok(()),
        _ => match shape::difference(&capture.command, &data, &captured) {
            None => Ok(()),
            Some(difference) => Err(format!("{difference}\n  {data}\n  {captured}")),
        },
    }
}

fn repeat(world: &World) {
    // What listens is what `info.port` tells of.
    let _tcp = TcpListener::bind("127.0.0.1:0").expect("listens");
    let _udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let _unix = UnixListener::bind("/tmp/unix.sock").expect("listens");
    let forward = ["ip daddr @host tcp dport 8080 mark set 0x01000004 dnat to 172.18.0.5:80".to_owned()];
    let mut ids = HashMap::new();
    let mut outcomes = BTreeMap::new();
    for capture in captures() {
        for (container, command, arguments) in between(&capture.case) {
            let built = if container { &world.container } else { &world.node };
            match world.call(built, command, &replaced(&arguments, &ids)) {
                Some(Ok(Answer::Value(Value::String(id)))) => {
                    ids.insert("last".to_owned(), id);
                }
                Some(Ok(_)) => {}
                other => panic!("before {}: {command}: {other:?}", capture.case),
            }
        }
        match capture.case.as_str() {
            "socat.list" => world.node.forward(&forward).expect("written"),
            "socat.list-empty" => world.node.drop_forwards(&forward).expect("written"),
            _ => {}
        }
        let built = if capture.container { &world.container } else { &world.node };
        let answer = world.call(built, &capture.command, &replaced(&capture.arguments, &ids));
        if let Some(Ok(Answer::Value(Value::String(id)))) = &answer
            && capture.command == "filesystem.open"
        {
            let captured: String = serde_json::from_str(capture.result["data"].as_str().unwrap()).expect("an id");
            ids.insert(captured, id.clone());
        }
        outcomes.insert(capture.case.clone(), compare(&capture, answer));
    }
    judge(&outcomes);
}

fn judge(outcomes: &BTreeMap<String, Result<(), String>>) {
    assert!(outcomes.len() >= 100, "only {} captures", outcomes.len());
    let mut wrong = Vec::new();
    for (case, outcome) in outcomes {
        let exception = EXCEPTIONS.iter().find(|(name, program, _)| name == case && program.is_none_or(installed));
        match (outcome, exception) {
            (Err(difference), None) => wrong.push(format!("{case}: {difference}")),
            (Ok(()), Some((_, _, reason))) => wrong.push(format!("{case}: is an exception ({reason}), and passes")),
            _ => {}
        }
    }
    for (case, ..) in EXCEPTIONS {
        assert!(outcomes.contains_key(case), "an exception for {case}, which is no capture");
    }
    assert!(wrong.is_empty(), "{} of {} captures:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
}

#[test]
fn captures_of_a_real_node_are_repeated() {
    within(repeat);
}
