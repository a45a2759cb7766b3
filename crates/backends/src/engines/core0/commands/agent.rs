//! core0 and coreX themselves, and the programs and scripts that they run: `core.*` and `bash`, section 12.1 of the
//! reference. All generations have them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::json;

use roadstead_core::{Error, ErrorKind, Result, names};

use super::super::{Command, Outcome};
use super::Commands;
use super::reading::record;
use super::writing::plain;

/// What core0 or coreX says about itself, and what it runs.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a>(pub(super) &'a Commands);

/// The version that answered a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pong {
    /// The branch that it was built from; empty when it was not told.
    pub branch: String,
    /// The revision that it was built from; empty when it was not told.
    pub revision: String,
}

record! {
    /// What something and its children use.
    pub struct Usage {
        /// Percent of one processor.
        cpu_percent: f64 = "cpu";
        /// Memory that is really used, in bytes.
        rss_bytes: u64 = "rss";
        /// Address space, in bytes.
        vms_bytes: u64 = "vms";
        /// Memory that was swapped out, in bytes.
        swap_bytes: u64 = "swap";
    }
}

/// A program to run, without a shell: the arguments of `core.system`. What it is shown as for debugging has its name and
/// directory only: the rest may be secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Program {
    /// The executable, by path or as found in `PATH`.
    pub name: String,
    /// Its arguments.
    #[serde(skip_serializing_if = "plain")]
    pub args: Vec<String>,
    /// Its working directory; the agent's own when empty.
    #[serde(skip_serializing_if = "plain")]
    pub dir: String,
    /// Its environment.
    #[serde(skip_serializing_if = "plain")]
    pub env: BTreeMap<String, String>,
    /// What it reads from standard input.
    #[serde(skip_serializing_if = "plain")]
    pub stdin: String,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("args", &self.args.len())
            .field("dir", &self.dir)
            .field("env", &self.env.keys())
            .field("stdin_bytes", &self.stdin.len())
            .finish()
    }
}

impl Program {
    /// A program and its arguments.
    pub fn new<S: Into<String>>(name: impl Into<String>, args: impl IntoIterator<Item = S>) -> Self {
        Program { name: name.into(), args: args.into_iter().map(Into::into).collect(), ..Program::default() }
    }

    /// The command that runs it, for a time limit, a queue, restarts, tags or a stream of its output.
    ///
    /// # Errors
    /// `InvalidInput` for a program without a name, and for a NUL anywhere.
    pub fn command(&self) -> Result<Command> {
        if self.name.is_empty() {
            return Err(Error::invalid("name", "must name a program"));
        }
        names::no_nul("name", &self.name)?;
        names::no_nul("dir", &self.dir)?;
        for argument in &self.args {
            names::no_nul("args", argument)?;
        }
        for (name, value) in &self.env {
            names::env_name("env", name)?;
            names::no_nul("env", value)?;
        }
        Command::new("core.system", self)
    }
}

/// A shell script to run: the arguments of `bash`. It is not shown for debugging, since it may have secrets in it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Script {
    /// What `sh -c` runs.
    pub script: String,
    /// What it reads from standard input.
    #[serde(skip_serializing_if = "plain")]
    pub stdin: String,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("script_bytes", &self.script.len())
            .field("stdin_bytes", &self.stdin.len())
            .finish()
    }
}

impl Script {
    /// A script.
    pub fn new(script: impl Into<String>) -> Self {
        Script { script: script.into(), ..Script::default() }
    }

    /// The command that runs it, for a time limit, a queue, restarts, tags or a stream of its output.
    ///
    /// # Errors
    /// `InvalidInput` for a script with a NUL.
    pub fn command(&self) -> Result<Command> {
        names::no_nul("script", &self.script)?;
        Command::new("bash", self)
    }
}

/// `core.*` and `bash`.
impl Agent<'_> {
    /// Whether it is there, and what it is: `core.ping`.
    ///
    /// # Errors
    /// As every command; `Unexpected` for another answer.
    pub async fn ping(&self) -> Result<Pong> {
        let text: String = self.0.call("core.ping", ()).await?;
        let Some(rest) = text.strip_prefix("PONG") else {
            return Err(Error::new(ErrorKind::Unexpected, "the answer to a ping does not begin with PONG"));
        };
        let (version, revision) = rest.split_once("@Revision:").unwrap_or((rest, ""));
        Ok(Pong {
            branch: version.trim().trim_start_matches("Version:").trim().to_owned(),
            revision: revision.trim().to_owned(),
        })
    }

    /// What it and its children use: `core.state`.
    ///
    /// # Errors
    /// As every command.
    pub async fn state(&self) -> Result<Usage> {
        self.0.call("core.state", ()).await
    }

    /// Runs a program to its end: `core.system`. It may take 30 seconds, or as long as [`Commands::with_deadline`] says.
    ///
    /// The result is that of a process that ran, however it ended: see [`Outcome::exit_code`] and [`Outcome::check`].
    ///
    /// # Errors
    /// As every command; `NotFound` when there is no such executable or working directory: nothing ran.
    pub async fn system(&self, program: &Program) -> Result<Outcome> {
        self.ran(&program.command()?).await
    }

    /// Runs a shell script to its end: `bash`, as [`Agent::system`].
    ///
    /// # Errors
    /// As every command.
    pub async fn bash(&self, script: &Script) -> Result<Outcome> {
        self.ran(&script.command()?).await
    }

    async fn ran(&self, command: &Command) -> Result<Outcome> {
        let outcome = self.0.run(command).await?;
        // Streams are there exactly when something was started (section 5).
        if outcome.streams.is_some() || outcome.succeeded() { Ok(outcome) } else { Err(outcome.error()) }
    }

    /// The command that repeats a job's last ten messages and what follows, in a stream of its own: `core.subscribe`. It ends
    /// with the job; that the job does not exist is its failure with `NotFound`.
    ///
    /// # Errors
    /// `InvalidInput` for what can be no id.
    pub fn subscribe(&self, job: &str) -> Result<Command> {
        names::one_word("job", job)?;
        let mut command = Command::new("core.subscribe", json!({"id": job}))?;
        command.stream = true;
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let mut program = Program::new("mysql", ["--password=hunter2"]);
        program.env.insert("TOKEN".to_owned(), "hunter2".to_owned());
        program.stdin = "hunter2".to_owned();
        let mut script = Script::new("echo hunter2");
        script.stdin = "hunter2".to_owned();
        let shown = format!("{program:?} {program:#?} {script:?}");
        assert!(shown.contains("mysql") && shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
