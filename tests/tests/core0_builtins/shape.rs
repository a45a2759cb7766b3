//! The shape of a JSON value: the types at each place. Elements of a list, and the values of a table whose members are names
//! and not fields, count together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The types at each path.
pub type Shape = BTreeMap<String, BTreeSet<&'static str>>;

/// Where a command answers with a table: the path of an object whose members are names.
const TABLES: [(&str, &str); 4] =
    [("disk.mounts", ""), ("disk.mounts", "/*[]/options"), ("cgroup.list", ""), ("rtinfo.list", "")];

pub fn of(command: &str, value: &Value) -> Shape {
    let mut shape = Shape::new();
    collect(command, value, "", &mut shape);
    shape
}

fn collect(command: &str, value: &Value, path: &str, shape: &mut Shape) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) => {
            items.iter().for_each(|item| collect(command, item, &format!("{path}[]"), shape));
            "list"
        }
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

/// Where two shapes differ. A list or table that is empty on one side says nothing of its elements.
pub fn difference(one: &Shape, other: &Shape) -> Option<String> {
    let says_nothing = |shape: &Shape, path: &str| {
        let parents = path.match_indices(['[', '/']).map(|(at, _)| &path[..at]);
        parents.into_iter().any(|parent| {
            shape.contains_key(parent)
                && path[parent.len()..].starts_with(['[', '/'])
                && (path[parent.len()..].starts_with("[]") || path[parent.len()..].starts_with("/*"))
                && !shape
                    .keys()
                    .any(|key| key.starts_with(&format!("{parent}[]")) || key.starts_with(&format!("{parent}/*")))
        })
    };
    for path in one.keys().chain(other.keys()) {
        match (one.get(path), other.get(path)) {
            (Some(types), Some(others)) if types == others => {}
            (None, _) if says_nothing(one, path) => {}
            (_, None) if says_nothing(other, path) => {}
            (types, others) => return Some(format!("at {path:?}: {types:?} and {others:?}")),
        }
    }
    None
}

#[test]
fn shapes_differ_by_members_and_types() {
    let shape = |value: Value| of("x", &value);
    use serde_json::json;
    assert_eq!(difference(&shape(json!([{"a": 1}, {"b": ""}])), &shape(json!([{"a": 2, "b": "x"}]))), None);
    assert_eq!(difference(&shape(json!([])), &shape(json!([{"a": 2}]))), None);
    assert!(difference(&shape(json!([{"a": 1}])), &shape(json!([{"a": ""}]))).is_some());
    assert!(difference(&shape(json!([{"a": 1}])), &shape(json!([{"b": 1}]))).is_some());
    assert!(difference(&shape(json!({"a": {}})), &shape(json!({"a": {"b": 1}}))).is_some(), "fields are no table");
}
