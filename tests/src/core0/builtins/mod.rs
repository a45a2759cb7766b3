//! The built-in functions of the stand-in for core0: what they answer is really so on this machine, and said in the words
//! of the node. One module per group of commands; this one finds the group.

mod agents;
mod arguments;
mod base64_text;
mod bridge;
mod btrfs;
mod cgroup;
mod disk;
mod errors;
mod files;
mod filesystem;
mod info;
mod ip;
mod kvm;
mod netlink;
mod ports;
mod process;
mod rules;
mod runtime;
mod tool;
mod web;

use std::path::Path;
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
    files: Arc<files::Files>,
    rules: rules::Rules,
    reserved: ports::Reserved,
    bridges: bridge::Bridges,
    agents: agents::Agents,
    runtime: runtime::Runtime,
}

impl Built {
    /// The functions of a node, or of a container when `inside`: then this process is number 1 of it, in its root.
    /// `node_directory` is a directory of the stand-in's own, which exists; a container needs none.
    #[must_use]
    pub fn new(inside: bool, node_directory: &Path) -> Self {
        Self(Arc::new(State {
            inside,
            files: Arc::default(),
            rules: rules::Rules::of(node_directory),
            reserved: ports::Reserved::default(),
            bridges: bridge::Bridges::of(node_directory),
            agents: agents::Agents::default(),
            runtime: runtime::Runtime::default(),
        }))
    }

    /// Calls a function; `None` when there is no such command here.
    ///
    /// # Panics
    /// When the function panicked.
    pub async fn call(&self, command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
        match command {
            "web.download" if !self.0.inside => return Some(web::download(arguments).await.map(Answer::Value)),
            // Events of virtual machines: there are none, and the stream has no end.
            "kvm.events" if !self.0.inside => std::future::pending().await,
            _ => {}
        }
        let state = self.0.clone();
        let (name, arguments) = (command.to_owned(), arguments.clone());
        let answer = tokio::task::spawn_blocking(move || state.call(&name, &arguments)).await;
        if command == "filesystem.open" {
            self.watch_files();
        }
        answer.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Writes down rules that send packets to ports of the node on to a container; `socat.list` tells them, and
    /// `socat.reserve` keeps away from their ports.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn forward(&self, rules: &[String]) -> Result<(), Failure> {
        self.0.rules.change_forwards(|known| known.extend_from_slice(rules))
    }

    /// Takes such rules back, and does not mind those that are not there.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn drop_forwards(&self, rules: &[String]) -> Result<(), Failure> {
        self.0.rules.change_forwards(|known| known.retain(|rule| !rules.contains(rule)))
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
            "ip" => return ip::call(command, arguments).map(value),
            "process" => return process::call(command, arguments).map(value),
            _ if self.inside => return None,
            _ => {}
        }
        match group {
            "bridge" => self.bridges.call(&self.rules, command, arguments).map(value),
            "btrfs" => btrfs::call(command, arguments).map(value),
            "cgroup" => cgroup::call(command, arguments).map(value),
            "disk" => disk::call(command, arguments),
            "kvm" => kvm::call(command, arguments).map(value),
            "nft" | "socat" => ports::call(&self.rules, &self.reserved, command, arguments).map(value),
            "rtinfo" => self.agents.call(command, arguments).map(value),
            "zerotier" => agents::zerotier(command, arguments),
            _ => self.runtime.call(command, arguments).map(value),
        }
    }
}
