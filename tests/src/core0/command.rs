//! The document that tells a node or a container what to run, as the node's Go struct takes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess, de::Visitor};
use serde_json::{Map, Value};

/// A command. Its JSON has the members that the real one writes: numbers which are 0 are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) command: String,
    /// `None` when missing or `null`.
    pub(crate) arguments: Option<Value>,
    pub(crate) queue: String,
    pub(crate) stats_interval: i64,
    pub(crate) max_time: i64,
    pub(crate) max_restart: i64,
    pub(crate) recurring_period: i64,
    pub(crate) stream: bool,
    pub(crate) log_levels: Vec<i64>,
    pub(crate) tags: Option<Vec<String>>,
}

impl Command {
    /// A command of the node's own.
    pub(crate) fn new(id: impl Into<String>, command: &str, arguments: Value) -> Self {
        Command { id: id.into(), command: command.to_owned(), arguments: Some(arguments), ..Command::default() }
    }

    /// Decodes what was pushed.
    ///
    /// # Errors
    /// When it is no JSON, or a member has a wrong type: such a command is dropped.
    pub(crate) fn decode(document: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(document);
        let members: Members = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Command::from_members(members.0)
    }

    /// From a part of another document.
    ///
    /// # Errors
    /// When a member has a wrong type.
    pub(crate) fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(members) => {
                Command::from_members(members.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            _ => Err("no object".to_owned()),
        }
    }

    fn from_members(members: Vec<(String, Value)>) -> Result<Self, String> {
        let mut command = Command::default();
        for (name, value) in members {
            // Go leaves a member as it is for null; of members twice the later one counts.
            if value.is_null() {
                if name.eq_ignore_ascii_case("arguments") {
                    command.arguments = None;
                } else if name.eq_ignore_ascii_case("tags") {
                    command.tags = None;
                }
                continue;
            }
            let wrong = || format!("wrong type of {name}");
            match name.to_ascii_lowercase().as_str() {
                "id" => command.id = text(&value).ok_or_else(wrong)?,
                "command" => command.command = text(&value).ok_or_else(wrong)?,
                "arguments" => command.arguments = Some(value),
                "queue" => command.queue = text(&value).ok_or_else(wrong)?,
                "stats_interval" => command.stats_interval = value.as_i64().ok_or_else(wrong)?,
                "max_time" => command.max_time = value.as_i64().ok_or_else(wrong)?,
                "max_restart" => command.max_restart = value.as_i64().ok_or_else(wrong)?,
                "recurring_period" => command.recurring_period = value.as_i64().ok_or_else(wrong)?,
                "stream" => command.stream = value.as_bool().ok_or_else(wrong)?,
                "log_levels" => command.log_levels = list(&value, Value::as_i64).ok_or_else(wrong)?,
                "tags" => command.tags = Some(list(&value, text).ok_or_else(wrong)?),
                _ => {}
            }
        }
        Ok(command)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A `null` among the elements is the zero value.
fn list<T: Default>(value: &Value, element: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let element = |value: &Value| if value.is_null() { Some(T::default()) } else { element(value) };
    value.as_array()?.iter().map(element).collect()
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = Map::new();
        members.insert("id".to_owned(), self.id.clone().into());
        members.insert("command".to_owned(), self.command.clone().into());
        members.insert("arguments".to_owned(), self.arguments.clone().unwrap_or_default());
        members.insert("queue".to_owned(), self.queue.clone().into());
        for (name, number) in [
            ("stats_interval", self.stats_interval),
            ("max_time", self.max_time),
            ("max_restart", self.max_restart),
            ("recurring_period", self.recurring_period),
        ] {
            if number != 0 {
                members.insert(name.to_owned(), number.into());
            }
        }
        members.insert("stream".to_owned(), self.stream.into());
        if !self.log_levels.is_empty() {
            members.insert("log_levels".to_owned(), self.log_levels.clone().into());
        }
        members.insert("tags".to_owned(), self.tags.clone().map_or(Value::Null, Value::from));
        members.serialize(serializer)
    }
}

/// The members of an object in their order, those that are there twice included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_null_is_nothing() {
        let command =
            Command::decode(br#"{"ID":"a","Command":"core.ping","queue":null,"max_time":null,"x":1}"#).unwrap();
        assert_eq!(
            (command.id.as_str(), command.command.as_str(), command.arguments.is_none()),
            ("a", "core.ping", true)
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        for document in [
            r#"{"id":5}"#,
            r#"{"id":"a","tags":"x"}"#,
            r#"{"id":"a","tags":[1]}"#,
            r#"{"id":"a","max_time":"1"}"#,
            r#"{"id":"a","max_time":1.5}"#,
            r#"{"id":"a","stream":1}"#,
            "[]",
            "this is not json",
            r#"{"id":"a"} x"#,
        ] {
            assert!(Command::decode(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn numbers_that_are_zero_are_left_out() {
        let mut command = Command::new("a", "b", Value::Null);
        command.max_time = 3;
        let document = serde_json::to_value(&command).unwrap();
        assert_eq!(document["max_time"], 3);
        assert_eq!(document.get("max_restart"), None);
        assert_eq!(document["tags"], Value::Null);
        assert_eq!(document["queue"], "");
    }
}
