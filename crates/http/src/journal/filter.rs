//! Which records of the journal somebody wants.

use roadstead_core::Error;
use roadstead_core::{EventAction, ResourceKind, Result, names};
use serde::{Deserialize, Serialize};

use super::record::{Record, What};

/// Which events are wanted: all when it names nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventFilter {
    /// Those of these nodes; they need not be there yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<String>,
    /// Those with these actions. What says that something may have been missed comes in any case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<String>,
    /// Those of these kinds of resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
}

fn word<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

impl EventFilter {
    /// Refuses names that no node can have and words that there are not. The words tell how the lists are called by the caller.
    ///
    /// # Errors
    /// `InvalidInput` that names the list.
    pub(crate) fn check(&self, [nodes, actions, resources]: [&str; 3]) -> Result<()> {
        for node in &self.nodes {
            names::node_name(nodes, node)?;
        }
        for action in &self.actions {
            // An unknown word is read as `other`.
            if word::<EventAction>(action).is_none_or(|known| known.name() != action) {
                return Err(Error::invalid(actions, format!("{action:?} is not an action of events")));
            }
        }
        for resource in &self.resources {
            if resource != "other" && word::<ResourceKind>(resource).is_none_or(|known| known == ResourceKind::Other) {
                return Err(Error::invalid(resources, format!("{resource:?} is not a kind of resource")));
            }
        }
        Ok(())
    }

    pub(crate) fn wants_node(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|wanted| wanted == node)
    }

    pub(crate) fn wants(&self, record: &Record) -> bool {
        self.wants_node(record.node())
            && match &record.what {
                What::Event(event) if event.action != EventAction::Resync => {
                    let action = event.action.name();
                    (self.actions.is_empty() || self.actions.iter().any(|wanted| wanted == action))
                        && (self.resources.is_empty()
                            || self.resources.iter().any(|wanted| word::<ResourceKind>(wanted) == Some(event.resource)))
                }
                // Whatever is wanted may be among what was missed.
                _ => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::{Event, Timestamp};

    #[test]
    fn what_is_wanted_comes_and_so_does_the_word_that_some_is_missing() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let lists = ["nodes", "actions", "resources"];
        let filter =
            EventFilter { nodes: words(&["a"]), actions: words(&["started"]), resources: words(&["container"]) };
        filter.check(lists).unwrap();
        let record = |node: &str, resource, action| {
            let event = Event::new(Timestamp::now(), node, resource, action, "x");
            Record { what: What::Event(event), server: None }
        };
        let (container, started) = (ResourceKind::Container, EventAction::Started);
        assert!(filter.wants(&record("a", container, started)));
        assert!(filter.wants(&record("a", ResourceKind::Node, EventAction::Resync)));
        for (node, resource, action) in [
            ("b", container, started),
            ("a", ResourceKind::Network, started),
            ("a", container, EventAction::Created),
            ("b", ResourceKind::Node, EventAction::Resync),
        ] {
            assert!(!filter.wants(&record(node, resource, action)), "{node} {resource:?} {action:?}");
        }
        for (bad, field) in [
            (EventFilter { nodes: words(&["a b"]), ..EventFilter::default() }, "nodes"),
            (EventFilter { actions: words(&["explode"]), ..EventFilter::default() }, "actions"),
            (EventFilter { resources: words(&["ship"]), ..EventFilter::default() }, "resources"),
        ] {
            assert_eq!(bad.check(lists).unwrap_err().field(), Some(field));
        }
        EventFilter { actions: words(&["other"]), resources: words(&["other"]), ..EventFilter::default() }
            .check(lists)
            .unwrap();
    }
}
