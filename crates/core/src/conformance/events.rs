//! Clauses of events.

use super::check::{Check, During, equal, failed, next};
use super::declare;
use super::scene::{Scene, details, ended};
use crate::container::DeleteOptions;
use crate::event::{Event, EventAction, ResourceKind};
use crate::node::EventOptions;
use crate::stream::ItemStream;

declare! {
    N50 "creation, start, end and deletion arrive in order, once each" [Create Events] a_life_in_order;
    N51 "with since, events of the past come first" [Create Events EventsSince] events_of_the_past;
}

/// The milestones of one container, up to its deletion.
async fn life(scene: &Scene, events: &mut ItemStream<Event>, id: &str) -> Check<Vec<EventAction>> {
    let mut seen = Vec::new();
    loop {
        let Some(event) = next("events", events).await? else { return failed("the event stream ended") };
        if event.resource != ResourceKind::Container || event.id != id {
            continue;
        }
        equal("the node", event.node.as_str(), scene.node().name())?;
        let milestone = matches!(
            event.action,
            EventAction::Created | EventAction::Started | EventAction::Ended | EventAction::Deleted
        );
        if milestone {
            seen.push(event.action);
        }
        if event.action == EventAction::Ended {
            scene.exited("the event", event.exit_code, 6)?;
        }
        if event.action == EventAction::Deleted {
            return Ok(seen);
        }
    }
}

const LIFE: [EventAction; 4] = [EventAction::Created, EventAction::Started, EventAction::Ended, EventAction::Deleted];

async fn live(scene: &Scene, rest: &str) -> Check<String> {
    let container = scene.start(&scene.script(rest, "exit 6")).await?;
    ended(&*container).await?;
    container.delete(&DeleteOptions::default()).await.during("delete")?;
    Ok(container.id().to_owned())
}

async fn a_life_in_order(scene: &Scene) -> Check {
    let mut events = scene.node().events(&EventOptions::default()).await.during("events")?;
    let id = live(scene, "short").await?;
    equal("what happened", life(scene, &mut events, &id).await?, LIFE)
}

async fn events_of_the_past(scene: &Scene) -> Check {
    // The engine's clock is what counts; it is told by what the engine dates.
    let first = scene.created("first").await?;
    let Some(since) = details(&*first).await?.summary.created_at else {
        return failed("a container has no time of creation");
    };
    let past = live(scene, "past").await?;
    let mut events = scene.node().events(&EventOptions::since(since)).await.during("events")?;
    let future = live(scene, "future").await?;
    equal("what happened before", life(scene, &mut events, &past).await?, LIFE)?;
    equal("what happened after", life(scene, &mut events, &future).await?, LIFE)
}
