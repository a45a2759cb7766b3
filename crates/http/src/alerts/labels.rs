//! Which containers have the labels that rules ask for, and when to find it out anew.

use std::collections::HashSet;

use roadstead_core::{ContainerFilter, Event, EventAction, Node, ResourceKind, Result};

use super::state::OnNode;

/// Whether other containers may have a label afterwards than before.
pub(super) fn may_relabel(event: &Event) -> bool {
    use EventAction::{Created, Restored, Resync, Started, Updated};
    match event.action {
        // Events were lost, whatever they were of.
        Resync => true,
        // An engine that creates a container may tell of nothing but its start.
        Created | Started | Updated | Restored => event.resource == ResourceKind::Container,
        _ => false,
    }
}

/// Finds out which containers have the labels that rules ask for.
pub(super) async fn label(node: &dyn Node, on: &mut OnNode) -> Result<()> {
    let labels: Vec<_> =
        on.rules().iter().enumerate().filter_map(|(rule, of)| Some((rule, of.label.clone()?))).collect();
    for (rule, label) in labels {
        let mut filter = ContainerFilter::all();
        filter.labels.push(label);
        let found = node.list_containers(&filter).await?;
        on.label(rule, found.into_iter().map(|container| container.id).collect::<HashSet<_>>());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::stream::{self, StreamExt};
    use roadstead_core::Timestamp;
    use roadstead_core::memory::{MemoryNode, MemoryOptions};

    use super::super::rule::{AlertConfig, read};
    use super::super::{Alerts, Followed, TICK, listen};
    use super::*;

    fn event(resource: ResourceKind, action: EventAction) -> Event {
        Event::new(Timestamp::now(), "sea", resource, action, "c")
    }

    #[test]
    fn what_may_change_who_has_a_label() {
        use EventAction::{Created, Ended, Other, Resync, Started, Updated};
        use ResourceKind::{Container, Image, Network, Node, Volume};
        for (resource, action, may) in [
            (Container, Created, true),
            (Container, Started, true),
            (Container, Updated, true),
            (Node, Resync, true),
            // Such as a check of its health, or a command that is run in it.
            (Container, Other, false),
            (Container, Ended, false),
            (Network, Created, false),
            (Volume, Created, false),
            (Image, Updated, false),
        ] {
            assert_eq!(may_relabel(&event(resource, action)), may, "{resource:?} {action:?}");
        }
    }

    /// How often the containers are listed within so many seconds in which these events are told at once.
    async fn lists(seconds: u64, events: Vec<Event>) -> usize {
        let alert = AlertConfig {
            name: "r".to_owned(),
            when: "restarts > 3 in 60s".to_owned(),
            nodes: Vec::new(),
            label: Some("tier=web".to_owned()),
        };
        let mut on = OnNode::new("sea", &read(&[alert]).unwrap());
        let node = Arc::new(MemoryNode::new("sea", MemoryOptions::default()).unwrap());
        let events = stream::iter(events.into_iter().map(Ok)).chain(stream::pending()).boxed();
        let followed = Followed { node: node.clone(), usage: stream::pending().boxed(), events };
        let (mut clock, alerts) = (tokio::time::interval(TICK), Alerts::default());
        clock.tick().await;
        let listening = listen(followed, Duration::from_secs(30), &mut on, &mut clock, &alerts);
        assert!(tokio::time::timeout(Duration::from_secs(seconds), listening).await.is_err());
        node.faults().calls().iter().filter(|call| call.contains("list_containers")).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_starts_is_one_list() {
        let storm = || vec![event(ResourceKind::Container, EventAction::Started); 100];
        assert_eq!(lists(10, storm()).await, 1);
        // Those that were there before have the labels, too.
        assert_eq!(lists(10, Vec::new()).await, 1);
    }
}
