//! The built-in functions of the stand-in for core0: what they answer is really so on this machine, and said in the words
//! of the node. One module per group of commands; this one finds the group.

mod arguments;
mod base64_text;
mod errors;
mod files;
mod filesystem;
mod info;
mod process;
mod tool;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The branch and the revision of the core0 whose behaviour the captures show.
pub const VERSION: (&str, &str) = ("master", "5ca6d8a630d2df93873f9fb64fe9194a5bb4203e");

/// A function that failed: the job becomes `ERROR` with this code, level 20, and the message as a JSON string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 400, 404, 406, 500, or 1000 + exit status of a program that was needed.
    pub code: u32,
    /// What went wrong, in the node's words.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A JSON value, level 20.
    Value(Value),
    /// The result of a program: level 0, code 0 is `SUCCESS`, any other `ERROR`.
    Text {
        /// Plain text; empty but for a program that is not there.
        data: String,
        /// 0, 404 without such a program, 999 after a signal, else 1000 + exit status.
        code: u32,
        /// Standard output and standard error.
        streams: [String; 2],
    },
}

/// The built-in functions of one node, or of one container.
#[derive(Clone, Debug)]
pub struct Built(Arc<State>);

/// What functions remember from one call to the next.
#[derive(Debug)]
struct State {
    inside: bool,
    #[expect(dead_code, reason = "the next groups keep their state there")]
    directory: PathBuf,
    files: Arc<files::Files>,
}

impl Built {
    /// The functions of a node, or of a container when `inside`: then this process is number 1 of it, in its root.
    /// `node_directory` is a directory of the stand-in's own, which exists; a container needs none.
    #[must_use]
    pub fn new(inside: bool, node_directory: &Path) -> Self {
        let files = Arc::default();
        Self(Arc::new(State { inside, directory: node_directory.to_owned(), files }))
    }

    /// Calls a function; `None` when there is no such command here.
    ///
    /// # Panics
    /// When the function panicked.
    pub async fn call(&self, command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
        let state = self.0.clone();
        let (name, arguments) = (command.to_owned(), arguments.clone());
        let answer = tokio::task::spawn_blocking(move || state.call(&name, &arguments)).await;
        if command == "filesystem.open" {
            self.watch_files();
        }
        answer.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Closes idle files also when nobody asks for any; ends with the last open one.
    fn watch_files(&self) {
        let files = Arc::downgrade(&self.0.files);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(30));
            loop {
                ticks.tick().await;
                match files.upgrade() {
                    Some(files) if files.close_idle(Instant::now()) => {}
                    _ => return,
                }
            }
        });
    }
}

impl State {
    fn call(&self, command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
        let value = |result: Result<Value, Failure>| result.map(Answer::Value);
        let group = command.split('.').next().unwrap_or_default();
        match group {
            "filesystem" => return filesystem::call(&self.files, command, arguments).map(value),
            "info" => return info::call(self.inside, command, arguments).map(value),
            "process" => return process::call(command, arguments).map(value),
            _ if self.inside => return None,
            _ => {}
        }
        None
    }
}
