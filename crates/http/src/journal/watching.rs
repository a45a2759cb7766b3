//! Follows the events of every node that this server watches, and has them written down.
//!
//! Each node that is followed begins with the word that something may have been missed, since nobody can tell what happened before; so
//! does it after each break. What an engine still has of the time of a break comes after that word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use roadstead_core::{Error, ErrorKind, Event, EventAction, ItemStream, NodeError, Result};
use tokio::sync::{mpsc, watch};

use super::position::Given;
use super::record::{Record, What};
use super::writer::{Said, Why, marker};
use crate::fleet::{Duty, Hold};
use crate::nodes::{NodeSlot, NodeSource, Nodes};
use crate::state::within;

/// How long a node that stays away is left alone before it is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How far the nodes are followed.
#[derive(Debug, Default)]
struct Progress {
    /// The nodes are followed as they were at this count of their changes.
    generation: Option<u64>,
    /// Of so many neither does the stream stand yet nor has it failed.
    opening: usize,
}

/// The nodes that are followed here.
#[derive(Debug)]
pub(crate) struct Watching {
    progress: watch::Sender<Progress>,
    /// Those that cannot be followed now, and why.
    failing: Mutex<BTreeMap<String, NodeError>>,
}

impl Default for Watching {
    fn default() -> Self {
        Watching { progress: watch::Sender::new(Progress::default()), failing: Mutex::default() }
    }
}

/// A node that is followed until this is dropped.
struct Followed {
    slot: Arc<NodeSlot>,
    hold: Hold,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a stream that is being opened until this is dropped.
struct Opening(Arc<Watching>);

impl Opening {
    fn new(watching: &Arc<Watching>) -> Self {
        watching.progress.send_modify(|progress| progress.opening += 1);
        Opening(Arc::clone(watching))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| progress.opening = progress.opening.saturating_sub(1));
    }
}

/// What a follower needs.
#[derive(Clone)]
struct Desk {
    watching: Arc<Watching>,
    sender: mpsc::Sender<Said>,
    deadline: Duration,
    /// The id of this server.
    server: String,
}

impl Watching {
    /// Ready when what happens from now on on the nodes that there are now, as far as they are watched here, is written down.
    pub(crate) async fn settled(&self, nodes: &Nodes) {
        let generation = *nodes.changes().borrow();
        let mut progress = self.progress.subscribe();
        let stands = |progress: &Progress| {
            progress.opening == 0 && progress.generation.is_some_and(|reached| reached >= generation)
        };
        // The sender is here.
        let _ = progress.wait_for(stands).await;
    }

    /// The nodes that cannot be followed now, as far as they are watched here.
    pub(crate) fn failing(&self) -> Vec<NodeError> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn fails(&self, node: &str, error: Option<NodeError>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => failing.insert(node.to_owned(), error),
            None => failing.remove(node),
        };
    }

    /// Follows the nodes that this server watches, as they come and go, and the alerts that it raises on them. Never ends.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        nodes: &Nodes,
        duty: &Duty,
        server: &str,
        deadline: Duration,
        sender: mpsc::Sender<Said>,
    ) {
        let desk = Desk { watching: Arc::clone(self), sender, deadline, server: server.to_owned() };
        let (mut nodes_change, mut duty_changes) = (nodes.changes(), duty.changes());
        let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
        loop {
            nodes_change.borrow_and_update();
            let generation = duty_changes.borrow_and_update().generation;
            let slots = nodes.all();
            followed.retain(|name, old| {
                // A node that was removed and added again is another slot.
                let slot = slots.iter().find(|slot| Arc::ptr_eq(slot, &old.slot));
                let stays = slot.and_then(|slot| duty.hold(slot)).is_some_and(|hold| hold.is(&old.hold));
                if !stays {
                    self.fails(name, None);
                }
                stays
            });
            for slot in slots {
                if let Some(hold) = duty.hold(&slot)
                    && !followed.contains_key(slot.name())
                {
                    let task = follow_node(Arc::clone(&slot), hold.clone(), desk.clone(), Opening::new(self));
                    let task = tokio::spawn(task);
                    followed.insert(slot.name().to_owned(), Followed { slot, hold, task });
                }
            }
            self.progress.send_modify(|progress| progress.generation = generation);
            tokio::select! {
                changed = nodes_change.changed() => if changed.is_err() { return },
                changed = duty_changes.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Has the alerts of the nodes that are watched here written down. Never ends.
pub(crate) async fn follow_alerts(
    mut told: BoxStream<'static, Event>,
    nodes: &Nodes,
    duty: &Duty,
    server: &str,
    sender: mpsc::Sender<Said>,
) {
    while let Some(event) = told.next().await {
        let slot = nodes.get(&event.node).ok();
        let hold = slot.as_ref().and_then(|slot| duty.hold(slot));
        // The node is there, and another server watches it by now.
        if slot.is_some() && hold.is_none() {
            continue;
        }
        let own = slot.is_some_and(|slot| slot.source() != NodeSource::Added);
        let record = Record { what: What::Event(event), server: own.then(|| server.to_owned()) }.fit();
        if sender.send(Said { record, hold }).await.is_err() {
            return;
        }
    }
}

/// Somebody follows a node and says what happens.
struct Speaker {
    desk: Desk,
    hold: Hold,
}

impl Speaker {
    /// Whether anybody listens.
    async fn say(&self, what: What) -> bool {
        let server = matches!(self.hold, Hold::Own).then(|| self.desk.server.clone());
        let record = Record { what, server }.fit();
        self.desk.sender.send(Said { record, hold: Some(self.hold.clone()) }).await.is_ok()
    }
}

/// Follows one node, again and again.
async fn follow_node(slot: Arc<NodeSlot>, hold: Hold, desk: Desk, opening: Opening) {
    let deadline = desk.deadline;
    let speaker = Speaker { desk, hold };
    let mut opening = Some(opening);
    let mut given = Given::default();
    let (mut pause, mut why, mut failed) = (RETRY_MIN, Why::WatchBegan, false);
    loop {
        let opened: Result<ItemStream<Event>> = within(deadline, async {
            let node = slot.node(deadline).await?;
            slot.feed().listen(&node, given.last()).await
        })
        .await;
        let error = match opened {
            Ok(events) => {
                (failed, pause) = (false, RETRY_MIN);
                speaker.desk.watching.fails(slot.name(), None);
                if !speaker.say(What::Event(marker(slot.name(), why))).await {
                    return;
                }
                why = Why::StreamBroke;
                drop(opening.take());
                match pass_on(events, &mut given, &speaker).await {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        // Said once, not with every attempt.
        if !failed {
            let error = NodeError::new(slot.name(), &error);
            speaker.desk.watching.fails(slot.name(), Some(error.clone()));
            if !speaker.say(What::NodeError(error)).await {
                return;
            }
        }
        drop(opening.take());
        failed = true;
        if error.kind() == ErrorKind::Unsupported {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(RETRY_MAX);
    }
}

/// Why it ended; nothing when nobody listens any more.
async fn pass_on(mut events: ItemStream<Event>, given: &mut Given, speaker: &Speaker) -> Option<Error> {
    let mut skip = given.skip();
    loop {
        match events.next().await {
            Some(Ok(event)) => {
                if !skip.passes(&event) {
                    continue;
                }
                if event.action != EventAction::Resync {
                    given.pass(&event);
                }
                if !speaker.say(What::Event(event)).await {
                    return None;
                }
            }
            Some(Err(error)) => return Some(error),
            None => return Some(Error::new(ErrorKind::Unavailable, "the engine ended its events")),
        }
    }
}
