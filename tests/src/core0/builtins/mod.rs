//! The built-in functions of a core0 which need nothing of its job engine.

use std::path::Path;

use serde_json::Value;

/// What a built-in function fails with: its message becomes a JSON string of level 20.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code of the result.
    pub code: u32,
    /// The message.
    pub message: String,
}

/// What a built-in function answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A value: level 20.
    Value(Value),
    /// What a program printed: level 0, and `SUCCESS` when the code is 0.
    Text {
        /// The payload.
        data: String,
        /// The code of the result.
        code: u32,
        /// Standard output and standard error.
        streams: [String; 2],
    },
}

/// The functions, and what they keep between calls.
#[derive(Debug)]
pub struct Built {}

impl Built {
    /// Of a node, or of a container; `node_directory` is for their state.
    pub fn new(_inside: bool, _node_directory: &Path) -> Self {
        Built {}
    }

    /// Calls a function; `None` when there is no such command here.
    pub async fn call(&self, _command: &str, _arguments: &Value) -> Option<Result<Answer, Failure>> {
        None
    }
}
