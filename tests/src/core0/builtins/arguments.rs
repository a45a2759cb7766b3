//! Go's way of decoding the arguments of a command: unknown members are ignored, names match in any case, `null` is the
//! zero value, and the first wrong type is told in the words of `encoding/json`, with the names of the node's own types.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::Failure;

/// What Go dereferences when there are no arguments at all.
const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

/// A Go type, as far as its decoding and its name go.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    /// A string type with a name of its own.
    Named(&'static str),
    Flag,
    /// An integer type: its name and its bounds.
    Whole(&'static str, i128, i128),
    /// `net.IP`, which is decoded from a string.
    Address,
    /// Anything, kept as it is: `interface{}` and `json.RawMessage`.
    Any,
    List(&'static Kind),
    Table(&'static Kind),
    Object(&'static Shape),
}

pub(super) const INT: Kind = Kind::Whole("int", i64::MIN as i128, i64::MAX as i128);
pub(super) const INT32: Kind = Kind::Whole("int32", i32::MIN as i128, i32::MAX as i128);
pub(super) const UINT: Kind = Kind::Whole("uint", 0, u64::MAX as i128);
pub(super) const UINT32: Kind = Kind::Whole("uint32", 0, u32::MAX as i128);
pub(super) const UINT16: Kind = Kind::Whole("uint16", 0, u16::MAX as i128);
pub(super) const UINT64: Kind = Kind::Whole("uint64", 0, u64::MAX as i128);
/// The bits of a file's mode.
pub(super) const FILE_MODE: Kind = Kind::Whole("fs.FileMode", 0, u32::MAX as i128);
pub(super) const TEXTS: Kind = Kind::List(&Kind::Text);

/// A Go struct: its type as Go prints it, and its members by their JSON names.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) go: &'static str,
    pub(super) fields: &'static [(&'static str, Kind)],
}

impl Shape {
    /// Decodes the arguments of a command.
    ///
    /// # Errors
    /// 500 when there are none; `code` when a type is wrong.
    pub(super) fn decode(&'static self, arguments: &Value, code: u32) -> Result<Arguments, Failure> {
        if arguments.is_null() {
            return Err(Failure::new(500, NIL));
        }
        let mut decoder = Decoder { owner: "", path: Vec::new(), first: None };
        let value = decoder.object(arguments, self);
        match decoder.first {
            Some(message) => Err(Failure::new(code, message)),
            None => Ok(Arguments(match value {
                Some(Value::Object(members)) => members,
                _ => Map::new(),
            })),
        }
    }

    /// The name without its package; Go has none for a struct that was declared in place.
    fn name(&self) -> &'static str {
        if self.go.starts_with("struct ") { "" } else { self.go.rsplit('.').next().unwrap_or_default() }
    }
}

/// Go goes on after a wrong type and tells of the first one at the end.
struct Decoder {
    owner: &'static str,
    path: Vec<&'static str>,
    first: Option<String>,
}

impl Decoder {
    fn wrong(&mut self, what: &str, go: &str) {
        let place = if self.path.is_empty() && self.owner.is_empty() {
            "value".to_owned()
        } else {
            format!("struct field {}.{}", self.owner, self.path.join("."))
        };
        self.first.get_or_insert_with(|| format!("json: cannot unmarshal {what} into Go {place} of type {go}"));
    }

    fn object(&mut self, value: &Value, shape: &'static Shape) -> Option<Value> {
        let Value::Object(members) = value else {
            self.wrong(word(value), shape.go);
            return None;
        };
        let mut decoded = Map::new();
        for (member, value) in members {
            let exact = shape.fields.iter().find(|(name, _)| name == member);
            let folded = || shape.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(member));
            let Some((name, kind)) = exact.or_else(folded) else { continue };
            let owner = std::mem::replace(&mut self.owner, shape.name());
            self.path.push(name);
            if let Some(value) = self.value(value, kind) {
                decoded.insert((*name).to_owned(), value);
            }
            self.path.pop();
            self.owner = owner;
        }
        Some(Value::Object(decoded))
    }

    fn value(&mut self, value: &Value, kind: &'static Kind) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        match (kind, value) {
            (Kind::Any, value) => return Some(value.clone()),
            (Kind::Text | Kind::Named(_), Value::String(_)) | (Kind::Flag, Value::Bool(_)) => {
                return Some(value.clone());
            }
            (Kind::Address, Value::String(text)) => {
                if !text.is_empty() && text.parse::<IpAddr>().is_err() {
                    self.first.get_or_insert_with(|| format!("invalid IP address: {text}"));
                    return None;
                }
                return Some(value.clone());
            }
            (Kind::Whole(go, low, high), Value::Number(number)) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                if whole.is_some_and(|whole| (*low..=*high).contains(&whole)) {
                    return Some(value.clone());
                }
                self.wrong(&format!("number {number}"), go);
            }
            (Kind::List(kind), Value::Array(items)) => {
                return Some(items.iter().map(|item| self.value(item, kind).unwrap_or_else(|| zero(kind))).collect());
            }
            (Kind::Table(kind), Value::Object(members)) => {
                let decode = |(name, value): (&String, &Value)| {
                    (name.clone(), self.value(value, kind).unwrap_or_else(|| zero(kind)))
                };
                return Some(Value::Object(members.iter().map(decode).collect()));
            }
            (Kind::Object(shape), value) => return self.object(value, shape),
            (kind, value) => self.wrong(word(value), &kind.go()),
        }
        None
    }
}

impl Kind {
    fn go(&self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Named(go) | Self::Whole(go, ..) => (*go).to_owned(),
            Self::Flag => "bool".to_owned(),
            Self::Address => "net.IP".to_owned(),
            Self::Any => "interface {}".to_owned(),
            Self::List(kind) => format!("[]{}", kind.go()),
            Self::Table(kind) => format!("map[string]{}", kind.go()),
            Self::Object(shape) => shape.go.to_owned(),
        }
    }
}

fn zero(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Named(_) | Kind::Address => Value::String(String::new()),
        Kind::Flag => Value::Bool(false),
        Kind::Whole(..) => Value::from(0),
        Kind::Any | Kind::List(_) | Kind::Table(_) => Value::Null,
        Kind::Object(_) => Value::Object(Map::new()),
    }
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Decoded arguments; what was not sent has Go's zero value.
#[derive(Debug)]
pub(super) struct Arguments(Map<String, Value>);

impl Arguments {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A whole number; one beyond 63 bits is cut to them.
    pub(super) fn whole(&self, name: &str) -> i64 {
        self.0.get(name).map_or(0, |value| value.as_i64().unwrap_or(i64::MAX))
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(super) fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The arguments within an object.
    pub(super) fn inner(&self, name: &str) -> Self {
        Self(self.0.get(name).and_then(Value::as_object).cloned().unwrap_or_default())
    }

    /// A value that is decoded later.
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INNER: Shape = Shape { go: "builtin.BridgeNetwork", fields: &[("nat", Kind::Flag)] };
    const SHAPE: Shape = Shape {
        go: "builtin.FSPathArgs",
        fields: &[("path", Kind::Text), ("perm", UINT32), ("network", Kind::Object(&INNER)), ("devices", TEXTS)],
    };

    fn refused(arguments: &Value) -> String {
        SHAPE.decode(arguments, 500).expect_err("refused").message
    }

    #[test]
    fn wrong_types_are_told_as_go_tells_them() {
        let prefix = "json: cannot unmarshal";
        assert_eq!(refused(&json!("a string")), format!("{prefix} string into Go value of type builtin.FSPathArgs"));
        assert_eq!(
            refused(&json!({"path": 1})),
            format!("{prefix} number into Go struct field FSPathArgs.path of type string")
        );
        assert_eq!(
            refused(&json!({"perm": -1})),
            format!("{prefix} number -1 into Go struct field FSPathArgs.perm of type uint32")
        );
        assert_eq!(
            refused(&json!({"network": {"nat": 1}})),
            format!("{prefix} number into Go struct field BridgeNetwork.network.nat of type bool")
        );
        assert_eq!(
            refused(&json!({"devices": {}})),
            format!("{prefix} object into Go struct field FSPathArgs.devices of type []string")
        );
        assert_eq!(refused(&Value::Null), NIL);
    }

    #[test]
    fn names_match_in_any_case_and_the_unknown_is_ignored() {
        let arguments = SHAPE.decode(&json!({"PATH": "/x", "other": 1, "perm": null}), 500).expect("decoded");
        assert_eq!((arguments.text("path"), arguments.whole("perm")), ("/x", 0));
    }
}
