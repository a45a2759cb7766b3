//! What happened to containers, in Docker's words.

use roadstead_core::{Event, EventAction, ResourceKind};
use serde_json::{Value, json};

use super::ids::{Kind, id};

/// The word for what happened to a container; nothing for what is not about one, or is none of the engine's own.
pub(super) fn status(event: &Event) -> Option<&str> {
    if event.resource != ResourceKind::Container {
        return None;
    }
    Some(match event.action {
        EventAction::Created => "create",
        EventAction::Started => "start",
        EventAction::Ended => "die",
        EventAction::Stopped => "stop",
        EventAction::Restarted => "restart",
        EventAction::Frozen => "pause",
        EventAction::Unfrozen => "unpause",
        EventAction::Renamed => "rename",
        EventAction::Updated => "update",
        EventAction::Killed => "kill",
        EventAction::OutOfMemory => "oom",
        EventAction::Deleted => "destroy",
        EventAction::AlertRaised | EventAction::AlertCleared | EventAction::Resync => return None,
        // Docker's own word, or that of an engine that does what Docker does not.
        _ if event.engine_action.is_empty() => event.action.name(),
        _ => &event.engine_action,
    })
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Those with exactly this word.
    pub(super) status: Option<String>,
    /// Those of containers whose id begins so.
    pub(super) id: Option<String>,
}

impl Wanted {
    /// The event as it is told, if it is wanted. `host` is what its node is called, `cursor` is where it stands in the journal.
    pub(super) fn told(&self, event: &Event, host: &str, cursor: &str) -> Option<Value> {
        let status = status(event)?;
        let is_wanted = self.status.as_ref().is_none_or(|wanted| wanted == status)
            && self.id.as_ref().is_none_or(|beginning| event.id.starts_with(beginning.as_str()));
        is_wanted.then(|| {
            json!({
                "Host": host,
                "_id": id(Kind::Event, &[cursor]),
                "from": event.attributes.get("image").map_or("", String::as_str),
                "id": event.id,
                "status": status,
                "time": event.time.unix_seconds(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::Timestamp;

    use super::*;

    fn event(resource: ResourceKind, action: EventAction, engine_action: &str) -> Event {
        let time = Timestamp::from_unix_seconds(1_415_253_885).unwrap();
        let mut event = Event::new(time, "sea", resource, action, "4f74b38bebe8");
        engine_action.clone_into(&mut event.engine_action);
        event.attributes.insert("image".to_owned(), "registry".to_owned());
        event
    }

    #[test]
    fn words_are_dockers() {
        for (action, engine_action, word) in [
            (EventAction::Created, "instance-created", Some("create")),
            (EventAction::Started, "start", Some("start")),
            (EventAction::Ended, "died", Some("die")),
            (EventAction::Frozen, "instance-paused", Some("pause")),
            (EventAction::Unfrozen, "instance-resumed", Some("unpause")),
            (EventAction::Deleted, "remove", Some("destroy")),
            (EventAction::OutOfMemory, "oom", Some("oom")),
            (EventAction::Other, "export", Some("export")),
            (EventAction::JobStarted, "exec_start: sh", Some("exec_start: sh")),
            (EventAction::SnapshotCreated, "", Some("snapshot_created")),
            (EventAction::AlertRaised, "", None),
            (EventAction::Resync, "resync", None),
        ] {
            assert_eq!(status(&event(ResourceKind::Container, action, engine_action)), word, "{action:?}");
        }
        for resource in [ResourceKind::Image, ResourceKind::Network, ResourceKind::Volume, ResourceKind::Node] {
            assert_eq!(status(&event(resource, EventAction::Created, "create")), None);
        }
    }

    #[test]
    fn a_status_is_exact_and_an_id_is_a_literal_beginning() {
        let died = event(ResourceKind::Container, EventAction::Ended, "die");
        let wanted = |status: Option<&str>, id: Option<&str>| {
            let wanted = Wanted { status: status.map(str::to_owned), id: id.map(str::to_owned) };
            wanted.told(&died, "ubuntu-dev", "e.1").is_some()
        };
        assert!(wanted(None, None) && wanted(Some("die"), Some("4f74")) && wanted(None, Some("4f74b38bebe8")));
        assert!(!wanted(Some("di"), None) && !wanted(None, Some("f74b")) && !wanted(None, Some(".*")));
        let told = Wanted::default().told(&died, "ubuntu-dev", "e.1").unwrap();
        let own = id(Kind::Event, &["e.1"]);
        assert_eq!(
            told,
            json!({"Host": "ubuntu-dev", "_id": own, "from": "registry", "id": "4f74b38bebe8", "status": "die", "time": 1_415_253_885})
        );
    }
}
