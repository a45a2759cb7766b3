//! The document that tells how a job ended.

use serde::{Deserialize, Serialize};

use super::command::Command;

pub(crate) const SUCCESS: &str = "SUCCESS";
pub(crate) const ERROR: &str = "ERROR";
pub(crate) const TIMEOUT: &str = "TIMEOUT";
pub(crate) const UNKNOWN_CMD: &str = "UNKNOWN_CMD";

/// How a job ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct JobResult {
    pub(crate) id: String,
    pub(crate) command: String,
    pub(crate) data: String,
    /// Left out when nothing ever ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<[String; 2]>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) critical: String,
    pub(crate) level: u16,
    pub(crate) state: String,
    pub(crate) code: u32,
    /// Milliseconds since 1970.
    pub(crate) starttime: i64,
    /// Milliseconds.
    pub(crate) time: i64,
    pub(crate) tags: Option<Vec<String>>,
    /// 0, or the container's id.
    pub(crate) container: u64,
}

impl JobResult {
    /// Of a command, and nothing but its state known.
    pub(crate) fn of(command: &Command, state: &str) -> Self {
        JobResult {
            id: command.id.clone(),
            command: command.command.clone(),
            state: state.to_owned(),
            tags: command.tags.clone(),
            ..JobResult::default()
        }
    }
}
