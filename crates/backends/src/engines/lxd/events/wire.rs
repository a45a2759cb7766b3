//! Events as servers write them, and what they mean.

use std::collections::BTreeMap;

use roadstead_core::{Event, EventAction, ResourceKind, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::operation::OperationState;

/// What stands around every event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<String>,
    timestamp: Option<String>,
    metadata: Option<Value>,
    location: Option<String>,
    project: Option<String>,
}

/// Something that happened to a resource.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lifecycle {
    action: Option<String>,
    source: Option<String>,
    context: Option<Map<String, Value>>,
}

/// The event in a message; nothing when it says neither when nor what, or is about something else.
pub(super) fn event(text: &[u8], node: &str) -> Option<Event> {
    let envelope: Envelope = serde_json::from_slice(text).ok()?;
    let time: Timestamp = envelope.timestamp.as_deref()?.parse().ok()?;
    let project = envelope.project.filter(|project| !project.is_empty());
    let mut event = match envelope.kind.as_deref()? {
        "lifecycle" => lifecycle(envelope.metadata?, time, node, project.as_deref())?,
        "operation" => command_ended(envelope.metadata?, time, node)?,
        _ => return None,
    };
    event.attributes.extend(project.map(|project| ("project".to_owned(), project)));
    let member = envelope.location.filter(|member| !matches!(member.as_str(), "" | "none"));
    event.attributes.extend(member.map(|member| ("location".to_owned(), member)));
    Some(event)
}

fn lifecycle(metadata: Value, time: Timestamp, node: &str, project: Option<&str>) -> Option<Event> {
    let told: Lifecycle = serde_json::from_value(metadata).ok()?;
    let word = told.action.filter(|word| !word.is_empty())?;
    let (resource, id) = resource(told.source.as_deref().unwrap_or_default(), project);
    let mut event = Event::new(time, node, resource, action(&word), id.unwrap_or_else(|| node.to_owned()));
    if resource != ResourceKind::Node {
        event.name = Some(event.id.clone());
    }
    event.attributes = told
        .context
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => (key, text),
            Value::Null => (key, String::new()),
            other => (key, other.to_string()),
        })
        .collect();
    // Of a restoration the context tells it, as container and snapshot.
    let restored = event.attributes.get("snapshot").and_then(|name| name.rsplit('/').next()).map(str::to_owned);
    let named = snapshot(told.source.as_deref().unwrap_or_default()).or(restored);
    event.attributes.extend(named.map(|name| ("snapshot".to_owned(), name)));
    event.engine_action = word;
    Some(event)
}

/// The snapshot that a path names.
fn snapshot(source: &str) -> Option<String> {
    let (_, name) = source.split('?').next()?.split_once("/snapshots/")?;
    Some(decode(name)).filter(|name| !name.is_empty() && !name.contains('/'))
}

/// The end of a command in a container. Nothing else of an operation is taken along: there are secrets in it.
fn command_ended(metadata: Value, time: Timestamp, node: &str) -> Option<Event> {
    let state = OperationState::parse(metadata).filter(OperationState::is_final)?;
    // Without websockets an ended command is told of by its result only, and one that failed by its words only.
    state.metadata.get("return").or_else(|| state.metadata.get("command"))?;
    let id = state.resource("instances").or_else(|| state.resource("containers"))?;
    let mut event = Event::new(time, node, ResourceKind::Container, EventAction::JobEnded, id);
    event.name = Some(id.to_owned());
    let code = state.metadata.get("return").and_then(Value::as_i64);
    event.exit_code = code.and_then(|code| i32::try_from(code).ok());
    event.engine_action = "operation".to_owned();
    event.attributes = BTreeMap::from([("operation".to_owned(), state.id)]);
    Some(event)
}

/// What a path of the API names. Servers differ in whether they say `instances` or `containers`.
fn resource(source: &str, project: Option<&str>) -> (ResourceKind, Option<String>) {
    let path = source.split('?').next().unwrap_or_default();
    let segments: Vec<String> = path.split('/').skip(2).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (kind, id) = match segments.as_slice() {
        // Snapshots and backups belong to their container.
        ["instances" | "containers", name, ..] => (ResourceKind::Container, *name),
        ["images", "aliases", alias] => (ResourceKind::Image, *alias),
        ["images", fingerprint, ..] => (ResourceKind::Image, *fingerprint),
        ["networks", name] => (ResourceKind::Network, *name),
        // Servers write the name that a volume has on disk, which begins with the project.
        ["storage-pools", _, "volumes", "custom", name, ..] => {
            let prefix = format!("{}_", project.unwrap_or("default"));
            (ResourceKind::Volume, name.strip_prefix(&prefix).unwrap_or(name))
        }
        [] | [""] => (ResourceKind::Node, ""),
        rest => (ResourceKind::Other, rest.last().copied().unwrap_or_default()),
    };
    (kind, Some(id.to_owned()).filter(|id| !id.is_empty()))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let (b'%', [high, low, tail @ ..]) = (*first, tail)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(high << 4 | low);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a word means.
fn action(word: &str) -> EventAction {
    let word = word.strip_prefix("container-").or_else(|| word.strip_prefix("instance-")).unwrap_or(word);
    match word {
        "created" | "network-created" | "storage-volume-created" => EventAction::Created,
        "started" => EventAction::Started,
        // "stopped" is by request, "shutdown" by itself or by a signal; there is no other word for the end.
        "stopped" | "shutdown" => EventAction::Ended,
        "restarted" => EventAction::Restarted,
        "paused" => EventAction::Frozen,
        "resumed" => EventAction::Unfrozen,
        "renamed" | "network-renamed" | "storage-volume-renamed" => EventAction::Renamed,
        "snapshot-created" => EventAction::SnapshotCreated,
        "snapshot-deleted" => EventAction::SnapshotDeleted,
        "restored" => EventAction::Restored,
        "updated"
        | "network-updated"
        | "storage-volume-updated"
        | "image-updated"
        | "config-updated"
        | "image-alias-updated"
        | "image-alias-deleted" => EventAction::Updated,
        "deleted" | "network-deleted" | "storage-volume-deleted" | "image-deleted" => EventAction::Deleted,
        "exec" => EventAction::JobStarted,
        "image-created" => EventAction::Imported,
        "image-alias-created" | "image-alias-renamed" => EventAction::Tagged,
        _ => EventAction::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(value: &Value) -> Option<Event> {
        event(value.to_string().as_bytes(), "n")
    }

    fn happened(action: &str, source: &str) -> Event {
        told(&json!({
            "type": "lifecycle", "timestamp": "2026-11-21T12:10:49.503425105Z", "location": "none", "project": "default",
            "metadata": {"action": action, "source": source, "context": {"old_name": "ev1", "command": ["a"]}},
        }))
        .unwrap()
    }

    #[test]
    fn what_happened_to_what() {
        use EventAction::{
            Created, Deleted, Ended, Frozen, JobStarted, Other, Renamed, SnapshotCreated, Tagged, Updated,
        };
        for (word, source, resource, action, id) in [
            ("instance-created", "/1.0/instances/ev1", ResourceKind::Container, Created, "ev1"),
            ("container-created", "/1.0/containers/ev1", ResourceKind::Container, Created, "ev1"),
            ("instance-stopped", "/1.0/instances/ev1?project=p", ResourceKind::Container, Ended, "ev1"),
            ("instance-shutdown", "/1.0/instances/ev1", ResourceKind::Container, Ended, "ev1"),
            ("instance-renamed", "/1.0/instances/ev2", ResourceKind::Container, Renamed, "ev2"),
            ("instance-paused", "/1.0/instances/ev2", ResourceKind::Container, Frozen, "ev2"),
            ("instance-exec", "/1.0/instances/ev2", ResourceKind::Container, JobStarted, "ev2"),
            (
                "instance-snapshot-created",
                "/1.0/instances/ev2/snapshots/s1",
                ResourceKind::Container,
                SnapshotCreated,
                "ev2",
            ),
            ("image-alias-created", "/1.0/images/aliases/a%2Fb%3Ac", ResourceKind::Image, Tagged, "a/b:c"),
            ("image-deleted", "/1.0/images/ae8a", ResourceKind::Image, Deleted, "ae8a"),
            ("network-updated", "/1.0/networks/br", ResourceKind::Network, Updated, "br"),
            (
                "storage-volume-created",
                "/1.0/storage-pools/default/volumes/custom/default_vol1",
                ResourceKind::Volume,
                Created,
                "vol1",
            ),
            ("config-updated", "/1.0", ResourceKind::Node, Updated, "n"),
            ("galaxy-created", "/1.0/galaxies/g", ResourceKind::Other, Other, "g"),
            ("galaxy-created", "", ResourceKind::Node, Other, "n"),
        ] {
            let event = happened(word, source);
            assert_eq!((event.resource, event.action, event.id.as_str()), (resource, action, id), "{word} {source}");
            assert_eq!(event.engine_action, word);
        }
        let event = happened("instance-renamed", "/1.0/instances/ev2");
        assert_eq!(event.time.to_string(), "2026-11-21T12:10:49.503425105Z");
        assert_eq!((event.attributes["old_name"].as_str(), event.attributes["command"].as_str()), ("ev1", "[\"a\"]"));
        assert_eq!(event.attributes["project"], "default");
        assert!(!event.attributes.contains_key("location") && !event.attributes.contains_key("snapshot"));
        let made = happened("instance-snapshot-created", "/1.0/instances/ev2/snapshots/s%201?project=p");
        assert_eq!(made.attributes["snapshot"], "s 1");
        let restored = told(&json!({
            "type": "lifecycle", "timestamp": "2026-11-21T12:10:49Z",
            "metadata": {"action": "instance-restored", "context": {"snapshot": "evr/s1"}, "source": "/1.0/instances/evr"},
        }))
        .unwrap();
        assert_eq!((restored.action, restored.attributes["snapshot"].as_str()), (EventAction::Restored, "s1"));
    }

    #[test]
    fn the_end_of_a_command_has_its_exit_code_and_no_secret() {
        let operation = |status: u16| {
            json!({
                "type": "operation", "timestamp": "2026-11-21T12:10:45.1Z", "location": "m1", "project": "default",
                "metadata": {
                    "id": "f9", "class": "websocket", "status_code": status,
                    "resources": {"containers": ["/1.0/containers/ev1"], "instances": ["/1.0/instances/ev1"]},
                    "metadata": {"command": ["sh"], "fds": {"0": "hunter2"}, "return": 3},
                },
            })
        };
        assert_eq!(told(&operation(103)), None);
        let event = told(&operation(200)).unwrap();
        assert_eq!((event.action, event.exit_code, event.id.as_str()), (EventAction::JobEnded, Some(3), "ev1"));
        assert_eq!(event.attributes["location"], "m1");
        assert!(!format!("{event:?}").contains("hunter2"));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let time = "2026-11-21T12:10:45Z";
        for value in [
            json!({}),
            json!({"type": "lifecycle", "metadata": {"action": "instance-created"}}),
            json!({"type": "lifecycle", "timestamp": time, "metadata": {"source": "/1.0/instances/x"}}),
            json!({"type": "lifecycle", "timestamp": time, "metadata": null}),
            json!({"type": "logging", "timestamp": time, "metadata": {"action": "instance-created"}}),
            json!({"type": "operation", "timestamp": time, "metadata": {"id": "a", "status_code": 200}}),
        ] {
            assert_eq!(told(&value), None, "{value}");
        }
        assert!(event(b"\xff{", "n").is_none());
    }
}
