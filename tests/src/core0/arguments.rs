//! The arguments of a command as the node's Go types take them: names match in any case, `null` is the zero value, and the
//! first wrong type is told in the words of `encoding/json`.

use serde_json::Value;

use super::builtins::Failure;

/// What a built-in function panics with when it has no arguments at all.
pub(crate) const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

/// One struct, while its members are taken one by one; the first wrong type is remembered.
pub(crate) struct Fields<'a> {
    members: Vec<(&'a str, &'a Value)>,
    /// The name of the Go type, which messages bear.
    owner: &'static str,
    path: String,
    wrong: Option<String>,
}

impl<'a> Fields<'a> {
    /// The arguments of a command; `go_type` is the type as Go prints it, with its package.
    pub(crate) fn of(arguments: Option<&'a Value>, go_type: &'static str) -> Result<Self, Failure> {
        let arguments = arguments.ok_or_else(|| Failure::new(500, NIL))?;
        let owner = if go_type.starts_with("struct ") { "" } else { go_type.rsplit('.').next().unwrap_or_default() };
        let mut fields = Fields { members: Vec::new(), owner, path: String::new(), wrong: None };
        match arguments {
            Value::Object(members) => {
                fields.members = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
            }
            other => {
                fields.wrong = Some(format!("json: cannot unmarshal {} into Go value of type {go_type}", word(other)))
            }
        }
        Ok(fields)
    }

    /// A struct in a member of this one.
    pub(crate) fn nested<T>(
        &mut self,
        name: &str,
        value: &'a Value,
        go_type: &'static str,
        take: impl FnOnce(&mut Fields<'a>) -> T,
    ) -> T {
        let mut inner = Fields {
            members: match value {
                Value::Object(members) => members.iter().map(|(name, value)| (name.as_str(), value)).collect(),
                _ => Vec::new(),
            },
            owner: go_type.rsplit('.').next().unwrap_or_default(),
            path: format!("{}{name}.", self.path),
            wrong: None,
        };
        if !value.is_object() && !value.is_null() {
            self.refuse(name, &word(value), go_type);
        }
        let taken = take(&mut inner);
        if self.wrong.is_none() {
            self.wrong = inner.wrong;
        }
        taken
    }

    fn refuse(&mut self, name: &str, what: &str, go_type: &str) {
        if self.wrong.is_none() {
            let (owner, path) = (self.owner, &self.path);
            self.wrong = Some(format!(
                "json: cannot unmarshal {what} into Go struct field {owner}.{path}{name} of type {go_type}"
            ));
        }
    }

    /// Whatever is there; nothing for `null`.
    pub(crate) fn any(&self, name: &str) -> Option<&'a Value> {
        let exact = self.members.iter().find(|(member, _)| *member == name);
        let found = exact.or_else(|| self.members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> String {
        match self.any(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                self.refuse(name, &word(other), "string");
                String::new()
            }
            None => String::new(),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.any(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.refuse(name, &word(other), "bool");
                false
            }
            None => false,
        }
    }

    /// An integer of the Go type `go_type`, whose bounds are those of `T`.
    pub(crate) fn number<T: TryFrom<i64> + Default>(&mut self, name: &str, go_type: &str) -> T {
        let Some(value) = self.any(name) else { return T::default() };
        match value.as_i64().and_then(|number| T::try_from(number).ok()) {
            Some(number) => number,
            None => {
                self.refuse(name, &exact_word(value), go_type);
                T::default()
            }
        }
    }

    /// A list of strings; `None` when it is absent, which Go writes as `null`.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let elements = self.elements(name, "[]string")?;
        let mut texts = Vec::new();
        for element in elements {
            match element {
                Value::String(text) => texts.push(text.clone()),
                Value::Null => texts.push(String::new()),
                other => self.refuse(name, &word(other), "string"),
            }
        }
        Some(texts)
    }

    /// The elements of a list.
    pub(crate) fn elements(&mut self, name: &str, go_type: &str) -> Option<&'a Vec<Value>> {
        match self.any(name)? {
            Value::Array(elements) => Some(elements),
            other => {
                self.refuse(name, &word(other), go_type);
                None
            }
        }
    }

    /// The members of an object that Go takes as a map, each by `take`, which tells the Go type when it cannot.
    pub(crate) fn table<T>(
        &mut self,
        name: &str,
        go_type: &str,
        take: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<Vec<(String, T)>> {
        match self.any(name)? {
            Value::Object(members) => {
                let mut table = Vec::new();
                for (key, value) in members {
                    match take(value) {
                        Ok(value) => table.push((key.clone(), value)),
                        Err(expected) => self.refuse(name, &exact_word(value), expected),
                    }
                }
                Some(table)
            }
            other => {
                self.refuse(name, &word(other), go_type);
                None
            }
        }
    }

    /// # Errors
    /// With `code`, when a type was wrong.
    pub(crate) fn finish(self, code: u32) -> Result<(), Failure> {
        self.wrong.map_or(Ok(()), |wrong| Err(Failure::new(code, wrong)))
    }
}

/// What a JSON value is called in an error.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
    .to_owned()
}

/// A number is named where it is one, but does not fit.
fn exact_word(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("number {number}"),
        other => word(other),
    }
}
