//! What is kept of a job of the server: what is to be done, who asked for it, how far it is, and what came of it.

use roadstead_core::pool::{ActedItem, ActionOutcome, ContainerAction};
use roadstead_core::{
    ContainerFilter, ContainerState, JobState, JobStatus, NodeAnswer, NodeError, PullOptions, RegistryCredentials,
    Secret, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::records::kept_secret;

/// What is to be done.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Task {
    /// Pulls an image.
    #[serde(rename = "image.pull")]
    Pull(Pull),
    /// A verb over many containers.
    #[serde(rename = "pool.act")]
    Act(Act),
    /// Empties a member of a pool.
    #[serde(rename = "pool.drain")]
    Drain(Drain),
}

/// The credentials are never shown.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Task").field(&self.command()).finish()
    }
}

/// Which image, and where to.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Pull {
    pub(crate) node: String,
    reference: String,
    platform: Option<String>,
    credentials: Option<Credentials>,
}

/// For the registry.
#[derive(Clone, Serialize, Deserialize)]
struct Credentials {
    username: String,
    #[serde(serialize_with = "kept_secret")]
    password: Secret,
}

impl Pull {
    pub(crate) fn new(node: &str, options: PullOptions) -> Self {
        let credentials =
            options.credentials.map(|RegistryCredentials { username, password }| Credentials { username, password });
        Pull { node: node.to_owned(), reference: options.reference, platform: options.platform, credentials }
    }

    pub(super) fn options(&self) -> PullOptions {
        let mut options = PullOptions::new(&self.reference);
        options.platform.clone_from(&self.platform);
        options.credentials = self
            .credentials
            .clone()
            .map(|Credentials { username, password }| RegistryCredentials { username, password });
        options
    }
}

/// Which verb, over which containers of which pool.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) pool: String,
    pub(crate) action: ContainerAction,
    pub(crate) filter: ContainerFilter,
    pub(crate) concurrency: usize,
    pub(crate) per_node: usize,
    /// By when it ends.
    pub(crate) until: Timestamp,
}

/// Which member is emptied. The moves are kept apart, one by one.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) pool: String,
    pub(crate) node: String,
    pub(crate) concurrency: usize,
    /// How many containers stay.
    pub(crate) stays: usize,
}

impl Task {
    /// In words, as the command of a job.
    pub(crate) fn command(&self) -> Vec<String> {
        let words: &[&str] = match self {
            Task::Pull(pull) => &["image.pull", &pull.reference],
            Task::Act(act) => &["pool.act", act.action.verb(), &act.pool],
            Task::Drain(drain) => &["pool.drain", &drain.node, &drain.pool],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// By when it ends, if there is such a time.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Task::Act(act) => Some(act.until),
            Task::Pull(_) | Task::Drain(_) => None,
        }
    }

    /// Once it has ended, nobody needs them.
    pub(super) fn forget_secrets(&mut self) {
        if let Task::Pull(pull) = self {
            pull.credentials = None;
        }
    }

    /// The node that it is done on; empty when it is many.
    pub(crate) fn node(&self) -> &str {
        match self {
            Task::Pull(pull) => &pull.node,
            Task::Act(_) => "",
            Task::Drain(drain) => &drain.node,
        }
    }
}

/// Who asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Asked {
    /// Who: the holder of the server's token is `admin`.
    pub(crate) by: String,
    /// Id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
}

/// A job of the server, as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) id: String,
    pub(crate) task: Task,
    pub(crate) asked: Asked,
    pub(crate) state: JobState,
    pub(crate) created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<NodeError>,
    /// How often a server has begun to work at it.
    pub(crate) attempts: u32,
    /// Id of the server that worked at it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// The nodes whose containers are items: the place of a node here is the number of its items' room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<String>,
    pub(crate) items: Counts,
    /// How the nodes answered, once it has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<NodeAnswer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<NodeError>,
    /// Bytes of output so far.
    pub(crate) output_bytes: u64,
    /// Bytes of output that are not kept any more.
    pub(crate) output_dropped_bytes: u64,
}

/// How far the items of a job are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Counts {
    /// All that are known.
    pub(crate) total: u64,
    /// Not begun.
    pub(crate) not_begun: u64,
    /// Done.
    pub(crate) done: u64,
    /// Refused, or tried without success: nothing was changed.
    pub(crate) failed: u64,
    /// Begun, and whether it happened is not known (yet).
    pub(crate) unknown: u64,
}

impl Counts {
    /// One item is otherwise than before.
    pub(super) fn change(&mut self, before: Option<ActionOutcome>, now: ActionOutcome) {
        if let Some(before) = before {
            let count = self.of(before);
            *count = count.saturating_sub(1);
        } else {
            self.total = self.total.saturating_add(1);
        }
        let count = self.of(now);
        *count = count.saturating_add(1);
    }

    fn of(&mut self, outcome: ActionOutcome) -> &mut u64 {
        match outcome {
            ActionOutcome::Done => &mut self.done,
            ActionOutcome::Failed => &mut self.failed,
            ActionOutcome::Unknown => &mut self.unknown,
            // `Planned` is no item of a job, nor is what a newer version may bring.
            _ => &mut self.not_begun,
        }
    }
}

impl JobRecord {
    pub(super) fn new(task: Task, asked: Asked) -> Self {
        JobRecord {
            id: uuid::Uuid::new_v4().simple().to_string(),
            task,
            asked,
            state: JobState::Queued,
            created_at: Timestamp::now(),
            ended_at: None,
            exit_code: None,
            failure: None,
            attempts: 0,
            server: None,
            nodes: Vec::new(),
            items: Counts::default(),
            answers: Vec::new(),
            errors: Vec::new(),
            output_bytes: 0,
            output_dropped_bytes: 0,
        }
    }

    /// As every job is told.
    pub(crate) fn status(&self) -> JobStatus {
        let mut status = JobStatus::new(&self.id, self.task.node(), self.task.command(), self.created_at);
        status.state = self.state;
        status.ended_at = self.ended_at;
        status.exit_code = self.exit_code;
        status.output_bytes = self.output_bytes;
        status.output_dropped_bytes = self.output_dropped_bytes;
        status
    }
}

/// The most bytes of what is kept of an error: many are kept in one entry of the store.
const DETAIL_MAX: usize = 1024;

/// An error as it is kept.
pub(super) fn short(mut error: NodeError) -> NodeError {
    let detail = &mut error.detail;
    if detail.len() > DETAIL_MAX {
        let end = (0..=DETAIL_MAX).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or_default();
        detail.truncate(end);
        detail.push('…');
    }
    error
}

/// One thing that a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct JobItem {
    /// Name of the node.
    pub(crate) node: String,
    /// The engine's id of the container.
    pub(crate) id: String,
    /// The container's name.
    pub(crate) name: String,
    /// In which state it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<ContainerState>,
    /// What came of it. While the job runs, `unknown` is under way.
    pub(crate) outcome: ActionOutcome,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<NodeError>,
    /// Of a move: the node that gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// Of a move: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) migration: Option<String>,
}

impl From<&ActedItem> for JobItem {
    fn from(item: &ActedItem) -> Self {
        JobItem {
            node: item.node.clone(),
            id: item.id.clone(),
            name: item.name.clone(),
            state: Some(item.state),
            outcome: item.outcome,
            error: item.error.clone().map(short),
            target: None,
            migration: None,
        }
    }
}

impl From<JobItem> for ActedItem {
    fn from(item: JobItem) -> Self {
        let mut acted = ActedItem::new(item.node, item.id, item.name, item.state.unwrap_or_default());
        acted.outcome = item.outcome;
        acted.error = item.error;
        acted
    }
}
