//! Alerts: rules of the configuration that the server watches on its nodes, told as events.
//!
//! ```toml
//! [[alerts]]
//! name = "busy"
//! when = "cpu > 90% for 30s"
//! ```

mod kept;
mod labels;
mod presence;
mod rule;
mod state;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web;
use futures_util::stream::{self, StreamExt};
use roadstead_core::usage::ContainerUsage;
use roadstead_core::{
    Capability, Error, ErrorKind, Event, EventOptions, ItemStream, Node, NodeUsage, Result, UsageOptions,
};
use tokio::sync::watch;

pub(crate) use kept::Alerts;
pub use rule::AlertConfig;

use crate::fleet::Hold;
use crate::nodes::{NodeSlot, Nodes};
use crate::state::{App, within};
use labels::{label, may_relabel};
use rule::{Condition, Rule};
use state::OnNode;

/// Time alone changes what holds: it is looked at so often.
const TICK: Duration = Duration::from_secs(1);
/// Whether a node whose streams are silent is there is asked so often.
const ASK: Duration = Duration::from_secs(10);

/// Checks the rules of a configuration.
///
/// # Errors
/// `InvalidInput` that names the key.
pub(crate) fn check(alerts: &[AlertConfig]) -> Result<()> {
    rule::read(alerts).map(drop)
}

/// Checks the rules of the command line.
///
/// # Errors
/// `InvalidInput` that names the flag.
pub(crate) fn check_flags(alerts: &[AlertConfig]) -> Result<()> {
    rule::read_flags(alerts).map(drop)
}

/// What may be a mistake in rules, but need not be: nodes can be added while the server runs.
pub(crate) fn warnings(alerts: &[AlertConfig], nodes: &Nodes) -> Vec<String> {
    let unknown = |(index, alert): (usize, &AlertConfig)| {
        let names = alert.nodes.iter().filter(|name| nodes.get(name).is_err());
        let warning = |name: &String| {
            format!(
                "alerts[{index}].nodes: there is no node {name}; the rule {:?} waits until one is added",
                alert.name
            )
        };
        names.map(warning).collect::<Vec<_>>()
    };
    alerts.iter().enumerate().flat_map(unknown).collect()
}

/// Watches the rules of the configuration until the server ends, on the nodes that this server watches. Of a node of the store that
/// another server watches nothing is raised here; what was is cleared when another one takes over, which raises by its own rules.
///
/// # Errors
/// `InvalidInput` for a rule that makes no sense.
pub(crate) fn watch(app: &web::Data<App>) -> Result<()> {
    let rules = rule::read(&app.config.alerts)?;
    for warning in warnings(&app.config.alerts, &app.nodes) {
        tracing::warn!("{warning}");
    }
    if !rules.is_empty() {
        tokio::spawn(watch_nodes(app.clone().into_inner(), rules));
    }
    Ok(())
}

async fn watch_nodes(app: Arc<App>, rules: Vec<Rule>) {
    let (mut changes, mut duties) = (app.nodes.changes(), app.duty.changes());
    let is_of_nodes = |rule: &Rule| matches!(rule.condition, Condition::NodeGone { .. });
    let (of_nodes, of_containers): (Vec<_>, Vec<_>) = rules.into_iter().partition(is_of_nodes);
    let mut watched: BTreeMap<String, WatchedNode> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        duties.borrow_and_update();
        let slots = app.nodes.all();
        watched.retain(|_, old| {
            let slot = slots.iter().find(|slot| Arc::ptr_eq(slot, &old.slot));
            slot.and_then(|slot| app.duty.hold(slot)).is_some_and(|hold| hold.is(&old.hold))
        });
        for slot in slots {
            if let Some(hold) = app.duty.hold(&slot)
                && !watched.contains_key(slot.name())
            {
                let node = WatchedNode::begin(&app, &slot, hold, &of_nodes, &of_containers);
                watched.insert(slot.name().to_owned(), node);
            }
        }
        tokio::select! {
            () = app.ending() => break,
            changed = changes.changed() => if changed.is_err() { break },
            changed = duties.changed() => if changed.is_err() { break },
        }
    }
    for task in watched.values().flat_map(|node| &node.tasks) {
        task.abort();
    }
}

/// A node that is watched until this is dropped; what was raised is cleared then.
struct WatchedNode {
    slot: Arc<NodeSlot>,
    hold: Hold,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Its end is the sign.
    _stays: watch::Sender<()>,
}

impl WatchedNode {
    fn begin(app: &Arc<App>, slot: &Arc<NodeSlot>, hold: Hold, of_nodes: &[Rule], of_containers: &[Rule]) -> Self {
        let (stays, removed) = watch::channel(());
        let mut tasks = Vec::new();
        let deadline = app.deadline();
        let mut on = OnNode::new(slot.name(), of_nodes);
        if !on.rules().is_empty() {
            let (slot, alerts, removed) = (Arc::clone(slot), Arc::clone(&app.alerts), removed.clone());
            tasks.push(tokio::spawn(async move {
                let pace = presence::Pace::of(on.rules(), deadline);
                let ask = || async { slot.node(pace.limit).await?.ping().await };
                until(removed, presence::follow(ask, pace, &mut on, &alerts)).await;
                alerts.tell(on.forget());
            }));
        }
        let mut on = OnNode::new(slot.name(), of_containers);
        if !on.rules().is_empty() {
            let (slot, alerts) = (Arc::clone(slot), Arc::clone(&app.alerts));
            tasks.push(tokio::spawn(async move {
                until(removed, follow(&slot, deadline, &mut on, &alerts)).await;
                alerts.tell(on.forget());
            }));
        }
        WatchedNode { slot: Arc::clone(slot), hold, tasks, _stays: stays }
    }
}

/// Does `work` until the node is removed.
async fn until(mut removed: watch::Receiver<()>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = removed.changed() => {}
        () = work => {}
    }
}

/// What is followed of a node.
struct Followed {
    node: Arc<dyn Node>,
    usage: ItemStream<NodeUsage>,
    events: ItemStream<Event>,
}

/// Watches the containers of one node, again and again.
async fn follow(slot: &Arc<NodeSlot>, deadline: Duration, on: &mut OnNode, alerts: &Alerts) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let by_usage = |condition: &Condition| {
        matches!(condition, Condition::Cpu { .. } | Condition::Memory { .. } | Condition::OomKill)
    };
    let wants_usage = on.rules().iter().any(|rule| by_usage(&rule.condition));
    loop {
        let mut opening = Box::pin(open(slot, deadline, wants_usage));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                _ = clock.tick() => alerts.tell(on.tick(Instant::now())),
            }
        };
        match opened {
            Ok(followed) => {
                let error = listen(followed, deadline, on, &mut clock, alerts).await;
                tracing::debug!(node = slot.name(), %error, "alerts: the node is not followed any more");
            }
            Err(error) => tracing::debug!(node = slot.name(), %error, "alerts: the node cannot be followed"),
        }
        alerts.tell(on.tick(Instant::now()));
        clock.tick().await;
    }
}

/// Follows what the rules ask about, as far as the engine tells it.
async fn open(slot: &Arc<NodeSlot>, deadline: Duration, wants_usage: bool) -> Result<Followed> {
    within(deadline, async {
        let node = slot.node(deadline).await?;
        node.ping().await?;
        let usage = if wants_usage && node.capabilities().has(Capability::Usage) {
            node.watch_usage(&UsageOptions::default()).await?
        } else {
            stream::pending().boxed()
        };
        // The end of events says that the engine is away, so they are followed in any case.
        let events = if node.capabilities().has(Capability::Events) {
            node.events(&EventOptions::default()).await?
        } else {
            stream::pending().boxed()
        };
        Ok(Followed { node, usage, events })
    })
    .await
}

/// Why it ended.
async fn listen(
    mut followed: Followed,
    deadline: Duration,
    on: &mut OnNode,
    clock: &mut tokio::time::Interval,
    alerts: &Alerts,
) -> Error {
    let ended = || Error::new(ErrorKind::Unavailable, "the engine ended its stream");
    let mut asked = Instant::now();
    // Those that were there when it was last asked which have the labels.
    let mut labelled: HashSet<String> = HashSet::new();
    // Whether others may have the labels since: found out at the next tick, or a storm of starts would list the engine for each.
    let mut relabel = true;
    loop {
        let raised = tokio::select! {
            usage = followed.usage.next() => match usage {
                Some(Ok(usage)) => {
                    let is_new = |container: &ContainerUsage| !labelled.contains(&container.id);
                    if usage.containers.iter().any(is_new) {
                        if let Err(error) = within(deadline, label(&*followed.node, on)).await {
                            return error;
                        }
                        relabel = false;
                        labelled = usage.containers.iter().map(|container| container.id.clone()).collect();
                    }
                    on.see_usage(Instant::now(), &usage)
                }
                Some(Err(error)) => return error,
                None => return ended(),
            },
            event = followed.events.next() => match event {
                Some(Ok(event)) => {
                    relabel |= may_relabel(&event);
                    on.see_event(Instant::now(), &event)
                }
                Some(Err(error)) => return error,
                None => return ended(),
            },
            _ = clock.tick() => {
                // A stream of an engine that hangs is silent like one on which nothing happens.
                if asked.elapsed() >= ASK {
                    if let Err(error) = within(deadline, followed.node.ping()).await {
                        return error;
                    }
                    asked = Instant::now();
                }
                if relabel {
                    if let Err(error) = within(deadline, label(&*followed.node, on)).await {
                        return error;
                    }
                    relabel = false;
                }
                on.tick(Instant::now())
            }
        };
        alerts.tell(raised);
    }
}
