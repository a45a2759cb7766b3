//! The shape of a payload, the types at each place in it: what an answer of the stand-in and a captured one have in common
//! where their values cannot be the same.
//!
//! Elements of a list, and the values of a table whose members are names and not fields, count together. A null is a type of
//! its own: it may stand for another one only where the reference says so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The types at each path.
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
/// Where the reference has a null beside another type, and it is not the command but the machine that decides which.
const NULLABLE: [(&str, &str); 3] = [
    // Section 12.2: "`addrs` may be null".
    ("info.nic", "[]/addrs"),
    // Section 5.4: a command may come without arguments, and those of all jobs are listed.
    ("job.list", "[]/cmd/arguments"),
    // Section 4: "[string] or null".
    ("job.list", "[]/cmd/tags"),
];
/// The members of a disk that are never null. Section 12.7 has of all others that they are strings or null.
const OF_DISKS: [&str; 7] = ["blocksize", "children", "end", "free", "size", "start", "table"];
/// Where disks stand in an answer.
const DISKS: [(&str, &str); 4] =
    [("disk.list", "[]"), ("disk.list", "[]/children[]"), ("disk.getinfo", ""), ("disk.getinfo", "/children[]")];

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

/// What stands above `path`, from the whole on.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices(['[', '/']).map(|(at, _)| &path[..at])
}

/// Whether a list or table above `path` has no elements in `shape`, or is null where that may be: nothing is said of it then.
fn says_nothing(command: &str, shape: &Shape, path: &str) -> bool {
    parents(path).any(|parent| {
        let Some(types) = shape.get(parent) else { return false };
        let below = &path[parent.len()..];
        let elements = ["[]", "/*"].into_iter().find(|elements| below.starts_with(elements));
        let empty = elements.is_some_and(|elements| {
            let elements = format!("{parent}{elements}");
            !shape.keys().any(|key| key.starts_with(&elements))
        });
        empty || (is_nullable(command, parent) && types.contains("null"))
    })
}

fn is_nullable(command: &str, path: &str) -> bool {
    let of_a_disk = || {
        path.rsplit_once('/').is_some_and(|(disk, name)| DISKS.contains(&(command, disk)) && !OF_DISKS.contains(&name))
    };
    NULLABLE.contains(&(command, path)) || of_a_disk()
}

fn alike(command: &str, path: &str, one: &BTreeSet<&'static str>, other: &BTreeSet<&'static str>) -> bool {
    if one == other {
        return true;
    }
    let known = |types: &BTreeSet<&'static str>| {
        types.iter().copied().filter(|kind| *kind != "null").collect::<BTreeSet<&'static str>>()
    };
    let (one, other) = (known(one), known(other));
    is_nullable(command, path) && (one == other || one.is_empty() || other.is_empty())
}

/// Where the shapes of two payloads of a command differ, if they do.
#[must_use]
pub fn difference(command: &str, ours: &Value, theirs: &Value) -> Option<String> {
    let (mut our, mut their) = (Shape::new(), Shape::new());
    collect(command, ours, "", &mut our);
    collect(command, theirs, "", &mut their);
    let differs = |path: &String| {
        let optional = OPTIONAL.iter().any(|(name, prefix)| *name == command && path.starts_with(prefix));
        match (our.get(path), their.get(path)) {
            (Some(one), Some(other)) => !alike(command, path, one, other),
            (None, _) => !optional && !says_nothing(command, &our, path),
            (_, None) => !optional && !says_nothing(command, &their, path),
        }
    };
    let path = our.keys().chain(their.keys()).find(|path| differs(path))?;
    Some(format!("shape of the payload at {path:?}: {:?}, captured {:?}", our.get(path), their.get(path)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shapes_differ_by_members_and_types() {
        let same = |command, one: Value, other: Value| {
            let (there, back) = (difference(command, &one, &other), difference(command, &other, &one));
            assert_eq!(there.is_none(), back.is_none(), "{there:?} {back:?}");
            there.is_none()
        };
        assert!(same("x", json!([{"a": 1}, {"b": ""}]), json!([{"a": 2, "b": "x"}])));
        assert!(same("x", json!([]), json!([{"a": 2}])));
        assert!(same("cgroup.list", json!({"memory": ["a"]}), json!({"cpuset": ["b"]})));
        assert!(!same("x", json!([{"a": 1}]), json!([{"a": ""}])));
        assert!(!same("x", json!([{"a": 1}]), json!([{"b": 1}])));
        assert!(!same("x", json!({"a": {}}), json!({"a": {"b": 1}})), "fields are no table");
    }

    #[test]
    fn a_null_is_no_other_type() {
        let differ = |command, one: Value, other: Value| {
            assert!(difference(command, &one, &other).is_some(), "{one} {other}");
            assert!(difference(command, &other, &one).is_some(), "{other} {one}");
        };
        differ("x", json!(null), json!([]));
        differ("x", json!({"a": null}), json!({"a": 1}));
        differ("x", json!({"a": null}), json!({"a": {"b": 1}}));
        differ("x", json!([{"a": null}, {"a": 1}]), json!([{"a": 1}]));
        differ("info.mem", json!({"total": null}), json!({"total": 1}));
        differ("disk.list", json!([{"size": null}]), json!([{"size": 1}]));
        differ("disk.list", json!([{"model": 1}]), json!([{"model": "x"}]));
        differ("info.nic", json!([{"addrs": null}]), json!([{"addrs": "x"}, {"addrs": null, "mtu": 1}]));
    }

    #[test]
    fn a_null_is_another_type_where_the_reference_says_so() {
        let same = |command, one: Value, other: Value| {
            assert_eq!(difference(command, &one, &other), None);
            assert_eq!(difference(command, &other, &one), None);
        };
        same("info.nic", json!([{"addrs": null}]), json!([{"addrs": [{"addr": "x"}]}]));
        same("disk.list", json!([{"children": [{"label": null}]}]), json!([{"children": [{"label": "x"}]}]));
        same("disk.getinfo", json!({"model": null}), json!({"model": "x"}));
        same("job.list", json!([{"cmd": {"tags": null}}]), json!([{"cmd": {"tags": ["x"]}}]));
    }
}
