//! Whether an answer is the captured one, but for what cannot be the same: ids, times, numbers, paths below temporary
//! directories.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The types at each path of a JSON value.
type Shape = BTreeMap<String, BTreeSet<&'static str>>;

/// Objects whose members are names of things and not fields, by command and path; `*` is any one such name.
const TABLES: [(&str, &str); 15] = [
    ("aggregator.query", ""),
    ("aggregator.query", "/*/current"),
    ("aggregator.query", "/*/history"),
    ("cgroup.list", ""),
    ("corex.find", ""),
    ("corex.get", "/container/arguments/env"),
    ("corex.get", "/container/arguments/port"),
    ("corex.list", ""),
    ("corex.list", "/*/container/arguments/env"),
    ("corex.list", "/*/container/arguments/port"),
    ("corex.find", "/*/container/arguments/env"),
    ("corex.find", "/*/container/arguments/port"),
    ("disk.mounts", ""),
    ("disk.mounts", "/*[]/options"),
    ("rtinfo.list", ""),
];
/// What is another's: the arguments of the jobs that happen to run, by command and path.
const FOREIGN: [(&str, &str); 1] = [("job.list", "[]/cmd/arguments")];
/// Members that not every element has.
const OPTIONAL: [(&str, &str); 5] = [
    ("job.list", "[]/cmd/recurring_period"),
    ("job.list", "[]/cmd/tags[]"),
    ("info.port", "[]/unix"),
    ("info.port", "[]/port"),
    ("info.port", "[]/ip"),
];
/// Streams with more lines than this were cut off at their beginning.
const CUT: usize = 50;

fn collect(command: &str, value: &Value, path: &str, shape: &mut Shape) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(elements) => {
            elements.iter().for_each(|element| collect(command, element, &format!("{path}[]"), shape));
            "list"
        }
        Value::Object(_) if FOREIGN.contains(&(command, path)) => "object",
        Value::Object(members) => {
            let table = TABLES.contains(&(command, path));
            for (name, value) in members {
                let name = if table { "*" } else { name.as_str() };
                collect(command, value, &format!("{path}/{name}"), shape);
            }
            "object"
        }
    };
    shape.entry(path.to_owned()).or_default().insert(kind);
}

/// Whether a list or table above `path` has no elements in `shape`, which then says nothing of them.
fn says_nothing(shape: &Shape, path: &str) -> bool {
    let mut parents = path.match_indices("[]").chain(path.match_indices("/*")).map(|(at, _)| &path[..at]);
    parents.any(|parent| {
        let under = [format!("{parent}[]"), format!("{parent}/*")];
        shape.contains_key(parent) && !shape.keys().any(|key| under.iter().any(|under| key.starts_with(under.as_str())))
    })
}

fn shapes(command: &str, ours: &Value, theirs: &Value) -> Result<(), String> {
    let (mut our, mut their) = (Shape::new(), Shape::new());
    collect(command, ours, "", &mut our);
    collect(command, theirs, "", &mut their);
    for path in our.keys().chain(their.keys()) {
        let optional = OPTIONAL.iter().any(|(name, prefix)| *name == command && path.starts_with(prefix));
        match (our.get(path), their.get(path)) {
            (Some(one), Some(other)) if one == other => {}
            // One that may be null was so in every element on one side.
            (Some(one), Some(other)) if one.is_subset(other) || other.is_subset(one) => {}
            (Some(one), Some(other)) if one.contains("null") || other.contains("null") => {}
            (None, _) if says_nothing(&our, path) || optional => {}
            (_, None) if says_nothing(&their, path) || optional => {}
            // What stands below a null is nowhere.
            (None, _) if below_null(&our, path) => {}
            (_, None) if below_null(&their, path) => {}
            (one, other) => return Err(format!("shape of the payload at {path:?}: {one:?}, captured {other:?}")),
        }
    }
    Ok(())
}

fn below_null(shape: &Shape, path: &str) -> bool {
    let parents = path.match_indices(['/', '[']).map(|(at, _)| &path[..at]);
    parents.into_iter().any(|parent| shape.get(parent).is_some_and(|types| types.contains("null")))
}

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
        _ => shapes(command, &our, &their),
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
