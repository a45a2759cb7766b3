//! Events as engines write them, and what they mean.

use std::collections::BTreeMap;

use roadstead_core::{Event, EventAction, ResourceKind, Timestamp};
use serde::Deserialize;

/// One event. Docker writes some members twice, by their names of old.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    status: Option<String>,
    id: Option<String>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
    time: Option<i64>,
    #[serde(rename = "timeNano")]
    time_nano: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<BTreeMap<String, serde_json::Value>>,
}

impl Message {
    /// The event; nothing when it says neither when nor what.
    pub(super) fn into_event(self, node: &str) -> Option<Event> {
        let time = match (self.time_nano.filter(|nanos| *nanos > 0), self.time) {
            (Some(nanos), _) => Timestamp::from_unix_nanos(nanos.into()),
            (None, Some(seconds)) => Timestamp::from_unix_seconds(seconds),
            (None, None) => None,
        }?;
        let word = self.action.filter(|action| !action.is_empty()).or(self.status)?;
        let actor = self.actor.unwrap_or_default();
        let id = actor.id.filter(|id| !id.is_empty()).or(self.id).unwrap_or_default();
        let mut attributes: BTreeMap<String, String> = actor
            .attributes
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| match value {
                serde_json::Value::String(text) => (key, text),
                serde_json::Value::Null => (key, String::new()),
                other => (key, other.to_string()),
            })
            .collect();
        let resource = resource(self.kind.as_deref().unwrap_or("container"));
        let action = action(resource, &word, &attributes);
        let name = attributes.remove("name").filter(|name| !name.is_empty());
        // Podman's volumes have names only.
        let id = if id.is_empty() { name.clone().unwrap_or_default() } else { id };
        let mut event = Event::new(time, node, resource, action, id);
        event.name = name;
        if matches!(action, EventAction::Ended | EventAction::JobEnded) {
            // Podman writes it its own way in one of its answers.
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
            event.exit_code = code.and_then(|code| code.parse().ok());
        }
        event.engine_action = word;
        event.attributes = attributes;
        Some(event)
    }
}

fn resource(kind: &str) -> ResourceKind {
    match kind {
        "container" => ResourceKind::Container,
        "image" => ResourceKind::Image,
        "network" => ResourceKind::Network,
        "volume" => ResourceKind::Volume,
        "daemon" | "node" | "system" => ResourceKind::Node,
        _ => ResourceKind::Other,
    }
}

/// What a word means. Docker puts details behind a colon (`exec_start: sh -c …`, `health_status: healthy`).
fn action(resource: ResourceKind, word: &str, attributes: &BTreeMap<String, String>) -> EventAction {
    let word = word.split(':').next().unwrap_or(word).trim();
    match (resource, word) {
        (ResourceKind::Network, "connect") => EventAction::Connected,
        (ResourceKind::Network, "disconnect") => EventAction::Disconnected,
        (ResourceKind::Image, "delete" | "remove") => EventAction::Deleted,
        // A name less. Docker says "delete", too, when it was the last.
        (ResourceKind::Image, "untag") => EventAction::Updated,
        (ResourceKind::Image, "pull") => EventAction::Pulled,
        (ResourceKind::Image, "import" | "load" | "loadfromarchive") => EventAction::Imported,
        (ResourceKind::Image, "tag") => EventAction::Tagged,
        (ResourceKind::Container | ResourceKind::Network | ResourceKind::Volume, "create") => EventAction::Created,
        (ResourceKind::Container | ResourceKind::Network | ResourceKind::Volume, "destroy" | "remove" | "rm") => {
            EventAction::Deleted
        }
        (ResourceKind::Container, word) => match word {
            "start" => EventAction::Started,
            "die" | "died" => EventAction::Ended,
            "stop" => EventAction::Stopped,
            "restart" => EventAction::Restarted,
            "pause" => EventAction::Frozen,
            "unpause" => EventAction::Unfrozen,
            "rename" => EventAction::Renamed,
            "update" => EventAction::Updated,
            "kill" => EventAction::Killed,
            "oom" => EventAction::OutOfMemory,
            "health_status" => EventAction::Health,
            "exec_start" | "exec" => EventAction::JobStarted,
            "exec_die" | "exec_died" => EventAction::JobEnded,
            _ => EventAction::Other,
        },
        (ResourceKind::Node, "reload") if !attributes.is_empty() => EventAction::Updated,
        _ => EventAction::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: serde_json::Value) -> Option<Event> {
        serde_json::from_value::<Message>(value).unwrap().into_event("n")
    }

    #[test]
    fn events_of_docker() {
        let ended = event(json!({
            "status": "die", "id": "c1", "from": "img", "Type": "container", "Action": "die",
            "Actor": {"ID": "c1", "Attributes": {"exitCode": "137", "image": "img", "name": "web"}},
            "scope": "local", "time": 1_795_243_842, "timeNano": 1_795_243_842_000_000_005_i64,
        }))
        .unwrap();
        assert_eq!((ended.action, ended.exit_code), (EventAction::Ended, Some(137)));
        assert_eq!((ended.id.as_str(), ended.name.as_deref()), ("c1", Some("web")));
        assert_eq!(ended.engine_action, "die");
        assert_eq!(ended.attributes["image"], "img");
        assert_eq!(ended.time.to_string(), "2026-11-21T06:50:42.000000005Z");

        for (kind, word, meaning) in [
            ("container", "exec_start: sh -c 'a: b'", EventAction::JobStarted),
            ("container", "exec_die", EventAction::JobEnded),
            ("container", "health_status: unhealthy", EventAction::Health),
            ("container", "destroy", EventAction::Deleted),
            ("container", "exec_create: sh", EventAction::Other),
            ("container", "invented", EventAction::Other),
            ("network", "connect", EventAction::Connected),
            ("network", "create", EventAction::Created),
            ("network", "destroy", EventAction::Deleted),
            ("volume", "mount", EventAction::Other),
            ("image", "delete", EventAction::Deleted),
            ("image", "pull", EventAction::Pulled),
            ("galaxy", "create", EventAction::Other),
        ] {
            let event = event(json!({"Type": kind, "Action": word, "time": 1})).unwrap();
            assert_eq!(event.action, meaning, "{kind} {word}");
            assert_eq!(event.engine_action, word);
        }
    }

    #[test]
    fn events_of_podman() {
        let ended = event(json!({
            "Type": "container", "Action": "died", "timeNano": 5,
            "Actor": {"ID": "c1", "Attributes": {"containerExitCode": "3", "name": "web"}},
        }))
        .unwrap();
        assert_eq!((ended.action, ended.exit_code), (EventAction::Ended, Some(3)));
        let deleted = event(json!({"Type": "container", "Action": "remove", "timeNano": 5})).unwrap();
        assert_eq!(deleted.action, EventAction::Deleted);
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        assert_eq!(event(json!({"Type": "container", "time": 1})), None);
        assert_eq!(event(json!({"Type": "container", "Action": "start"})), None);
        assert_eq!(event(json!({})), None);
        let odd = json!({"Type": null, "Action": "start", "time": 1, "Actor": {"ID": null, "Attributes": {"a": 1, "b": null}}});
        assert_eq!(event(odd).unwrap().attributes["a"], "1");
    }
}
