//! Whether an answer is the captured one, but for what cannot be the same: ids, times, numbers, paths below temporary
//! directories.

use std::collections::BTreeSet;

use roadstead_tests::core0::shape;
use serde_json::Value;

/// Streams with more lines than this were cut off at their beginning.
const CUT: usize = 50;

/// A text without what differs from run to run.
fn normal(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let is_uuid = |part: &str| part.len() == 36 && part.matches('-').count() == 4;
        let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        words.push(if is_uuid(bare) { word.replace(bare, "<uuid>") } else { word.to_owned() });
    }
    words.join(" ")
}

fn streams(ours: &str, theirs: &str) -> bool {
    let lines = |text: &str| text.lines().count();
    if lines(theirs) > CUT {
        return lines(ours) > CUT && ours.lines().last() == theirs.lines().last();
    }
    normal(ours) == normal(theirs)
}

/// Compares the payloads of two results.
fn payloads(command: &str, level: &Value, ours: &Value, theirs: &Value) -> Result<(), String> {
    let (Some(our), Some(their)) = (ours.as_str(), theirs.as_str()) else {
        return Err(format!("payload: {ours}, captured {theirs}"));
    };
    if *level != 20 {
        let equal = normal(our) == normal(their);
        return if equal { Ok(()) } else { Err(format!("payload: {our:?}, captured {their:?}")) };
    }
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("payload: {text:?}: {error}"));
    let (our, their) = (json(our)?, json(their)?);
    match (&our, &their) {
        (Value::String(our), Value::String(their)) => {
            // Ids and contents: a uuid is as good as another.
            if normal(our) == normal(their) { Ok(()) } else { Err(format!("text: {our:?}, captured {their:?}")) }
        }
        (Value::Bool(our), Value::Bool(their)) if our != their => Err(format!("{our}, captured {their}")),
        _ => shape::difference(command, &our, &their).map_or(Ok(()), Err),
    }
}

/// Compares a result with the captured one. `container` is the captured container's number here.
pub(crate) fn results(ours: &Value, theirs: &Value, container: u64) -> Result<(), String> {
    let (Some(our), Some(their)) = (ours.as_object(), theirs.as_object()) else {
        return Err(format!("result: {ours}, captured {theirs}"));
    };
    let names = |members: &serde_json::Map<String, Value>| members.keys().cloned().collect::<BTreeSet<_>>();
    if names(our) != names(their) {
        return Err(format!("members: {:?}, captured {:?}: {ours}", names(our), names(their)));
    }
    for name in ["state", "code", "level", "command", "tags"] {
        if our[name] != their[name] {
            return Err(format!("{name}: {}, captured {}: {ours}", our[name], their[name]));
        }
    }
    if our["container"] != container {
        return Err(format!("container: {}, captured {}", our["container"], their["container"]));
    }
    for name in ["starttime", "time"] {
        let sign = |value: &Value| value.as_i64().map(i64::signum);
        let equal = if name == "time" { sign(&our[name]).is_some() } else { sign(&our[name]) == sign(&their[name]) };
        if !equal {
            return Err(format!("{name}: {}, captured {}", our[name], their[name]));
        }
    }
    if our.get("critical") != their.get("critical") {
        return Err(format!("critical: {:?}, captured {:?}", our.get("critical"), their.get("critical")));
    }
    for index in 0..2 {
        let stream = |members: &serde_json::Map<String, Value>| {
            members.get("streams").and_then(|streams| streams[index].as_str().map(str::to_owned)).unwrap_or_default()
        };
        if !streams(&stream(our), &stream(their)) {
            return Err(format!("stream {index}: {:?}, captured {:?}", stream(our), stream(their)));
        }
    }
    payloads(our["command"].as_str().unwrap_or_default(), &their["level"], &our["data"], &their["data"])
}

/// Compares an entry of a `stream:` or `logger:` list.
pub(crate) fn records(ours: &Value, theirs: &Value, container: u64) -> Result<(), String> {
    let message = |record: &Value| (record["message"]["message"].clone(), record["message"]["meta"].clone());
    let equal = message(ours) == message(theirs)
        && ours["command"] == theirs["command"]
        && ours["core"] == container
        && ours["message"]["epoch"].is_i64();
    if equal { Ok(()) } else { Err(format!("record: {ours}, captured {theirs}")) }
}

/// A TTL of seconds, or −1 and −2: equal but for the seconds that passed.
pub(crate) fn times_left(what: &str, ours: i64, theirs: i64) -> Result<(), String> {
    if ours == theirs || (ours > 0 && theirs > 0 && (ours - theirs).abs() <= 5) {
        Ok(())
    } else {
        Err(format!("{what}: {ours}, captured {theirs}"))
    }
}

/// The same where a job may or may not have ended by the time of the question.
pub(crate) fn times_left_while_it_ends(what: &str, ours: i64, theirs: i64) -> Result<(), String> {
    if ours == -1 || theirs == -1 {
        let sane = |left: i64| left == -1 || (295..=300).contains(&left);
        return if sane(ours) && sane(theirs) { Ok(()) } else { times_left(what, ours, theirs) };
    }
    times_left(what, ours, theirs)
}

#[test]
fn what_differs_is_found() {
    let result = serde_json::json!({
        "id": "a", "command": "info.x", "data": "[{\"a\":1,\"b\":null}]", "streams": ["x\n", ""], "level": 20,
        "state": "SUCCESS", "code": 0, "starttime": 5, "time": 0, "tags": null, "container": 0
    });
    let with = |name: &str, value: Value| {
        let mut changed = result.clone();
        changed[name] = value;
        changed
    };
    assert_eq!(results(&result, &result, 0), Ok(()));
    assert_eq!(results(&with("data", "[{\"a\":2,\"b\":null},{\"a\":3,\"b\":null}]".into()), &result, 0), Ok(()));
    assert_eq!(results(&with("data", "[]".into()), &result, 0), Ok(()));
    for (name, value) in [
        ("data", "[{\"a\":\"1\",\"b\":null}]".into()),
        ("data", "[{\"a\":1}]".into()),
        ("data", "[{\"a\":1,\"b\":\"x\"}]".into()),
        ("data", "[{\"a\":1,\"b\":null,\"c\":1}]".into()),
        ("data", "{}".into()),
        ("data", "\"a\"".into()),
        ("data", "true".into()),
        ("streams", serde_json::json!(["y\n", ""])),
        ("state", "ERROR".into()),
        ("code", 1.into()),
        ("level", 0.into()),
        ("tags", serde_json::json!([])),
        ("critical", "x".into()),
        ("starttime", 0.into()),
        ("container", 1.into()),
    ] {
        assert!(results(&with(name, value.clone()), &result, 0).is_err(), "{name} {value}");
    }
    let failed = |message: &str| with("data", serde_json::json!(message).to_string().into());
    assert!(results(&failed("no container with id '9'"), &failed("no container with id '8'"), 0).is_err());
    let uuids = ["1f0a5c9e-0000-0000-0000-000000000000", "87c19cb9-0d61-48d2-bda6-927314407bf6"];
    let [one, other] = uuids.map(|uuid| failed(&format!("unknown file description '{uuid}'")));
    assert_eq!(results(&one, &other, 0), Ok(()));
}
