//! The document that is pushed to a node: what it shall run, and how.
//!
//! Source: the protocol of core0, section 4 of its reference. Every document names all the members that the reference client
//! names, `null` where nothing is asked for.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use roadstead_core::{Error, JobSpec, Result, names};

/// A command for a node, or for a container on it. What it is shown as for debugging has no arguments, which may be secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Command {
    /// Unique on the node for as long as its result is kept, five minutes: a node drops a command whose id it knows.
    pub id: String,
    /// Its name, for example `core.system`.
    pub command: String,
    /// Its arguments: an object, empty where there are none.
    pub arguments: Value,
    /// Commands with the same queue run strictly one after another.
    pub queue: Option<String>,
    /// Seconds after which it is killed; none when absent.
    pub max_time: Option<u32>,
    /// Whether its output is streamed while it runs.
    pub stream: bool,
    /// Words of the caller's own, which the result repeats. Those of `corex.create` and `kvm.create` become the tags of what
    /// is created.
    pub tags: Option<Vec<String>>,
    /// When it fails it runs again, one second later, until it has run so often; one result at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restart: Option<u32>,
    /// Runs again so many seconds after each end, until it is unscheduled; the result of the last run comes then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurring_period: Option<u32>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("id", &self.id)
            .field("command", &self.command)
            .field("arguments_bytes", &self.arguments.to_string().len())
            .field("max_time", &self.max_time)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Command {
    /// A command with these arguments, everything else by default; its id is a new UUID.
    ///
    /// # Errors
    /// `InvalidInput` when the arguments are no JSON object.
    pub fn new(command: impl Into<String>, arguments: impl Serialize) -> Result<Self> {
        let arguments = serde_json::to_value(arguments)
            .map_err(|error| Error::invalid("arguments", "cannot be written as JSON").with_source(error))?;
        let arguments = if arguments.is_null() { json!({}) } else { arguments };
        if !arguments.is_object() {
            return Err(Error::invalid("arguments", "must be an object"));
        }
        Ok(Command {
            id: Uuid::new_v4().to_string(),
            command: command.into(),
            arguments,
            queue: None,
            max_time: None,
            stream: false,
            tags: None,
            max_restart: None,
            recurring_period: None,
        })
    }

    /// A program with its arguments, without a shell: `core.system`.
    ///
    /// # Errors
    /// `InvalidInput` for a bad specification, and for what no node can do: input that is written later, a terminal, another
    /// user, more privileges.
    pub fn program(spec: &JobSpec) -> Result<Self> {
        spec.validate()?;
        for (field, asked) in
            [("tty", spec.tty), ("stdin", spec.stdin), ("user", spec.user.is_some()), ("privileged", spec.privileged)]
        {
            if asked {
                return Err(Error::unsupported(format!("`{field}` of jobs")).with_context("field", field));
            }
        }
        let (name, args) =
            spec.command.split_first().ok_or_else(|| Error::invalid("command", "must name a program"))?;
        let mut arguments = json!({"name": name, "args": args});
        if let Some(object) = arguments.as_object_mut() {
            if let Some(directory) = &spec.working_directory {
                object.insert("dir".to_owned(), json!(directory));
            }
            if !spec.env.is_empty() {
                object.insert("env".to_owned(), json!(spec.env));
            }
        }
        let mut command = Command::new("core.system", arguments)?;
        command.tags = (!spec.tags.is_empty()).then(|| spec.tags.clone());
        Ok(command)
    }

    /// A shell script: `bash`.
    ///
    /// # Errors
    /// `InvalidInput` for a script with a NUL.
    pub fn script(script: &str) -> Result<Self> {
        names::no_nul("script", script)?;
        Command::new("bash", BTreeMap::from([("script", script)]))
    }

    /// Checks what a node would answer with silence: it drops a command without an id.
    ///
    /// # Errors
    /// `InvalidInput` that names the member.
    pub fn validate(&self) -> Result<()> {
        if self.id.is_empty() {
            return Err(Error::invalid("id", "must not be empty: a node drops such a command without an answer"));
        }
        names::one_word("id", &self.id)?;
        if self.command.is_empty() {
            return Err(Error::invalid("command", "must not be empty"));
        }
        if !self.arguments.is_object() {
            return Err(Error::invalid("arguments", "must be an object"));
        }
        Ok(())
    }

    /// The document itself.
    pub(super) fn document(&self) -> Value {
        json!(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_what_the_reference_client_names() {
        let mut command = Command::new("core.ping", ()).unwrap();
        command.id = "a".to_owned();
        let plain = json!({"id": "a", "command": "core.ping", "arguments": {}, "queue": null, "max_time": null,
            "stream": false, "tags": null});
        assert_eq!(command.document(), plain);
        command.max_restart = Some(3);
        assert_eq!(command.document()["max_restart"], 3);
        let long = Command { id: String::new(), ..command };
        assert_eq!(long.validate().unwrap_err().field(), Some("id"));
        assert!(Command::new("core.ping", [1]).is_err());
    }

    #[test]
    fn arguments_are_not_shown() {
        let mut spec = JobSpec::new(["mysql", "--password=hunter2"]);
        spec.env.insert("TOKEN".to_owned(), "hunter2".to_owned());
        let mut program = Command::program(&spec).unwrap();
        program.tags = Some(vec!["hunter2".to_owned()]);
        for command in [program, Command::script("echo hunter2").unwrap()] {
            let (short, long) = (format!("{command:?}"), format!("{command:#?}"));
            assert!(!short.contains("hunter2") && !long.contains("hunter2"), "{long}");
            assert!(short.contains(&command.id) && short.contains(&command.command));
        }
    }

    #[test]
    fn programs_without_what_no_node_can_do() {
        let mut spec = JobSpec::new(["ls", "-l"]);
        let plain = Command::program(&spec).unwrap();
        assert_eq!(plain.arguments, json!({"name": "ls", "args": ["-l"]}));
        spec.working_directory = Some("/tmp".to_owned());
        spec.env.insert("K".to_owned(), "v".to_owned());
        spec.tags = vec!["t".to_owned()];
        let full = Command::program(&spec).unwrap();
        assert_eq!(full.arguments, json!({"name": "ls", "args": ["-l"], "dir": "/tmp", "env": {"K": "v"}}));
        assert_eq!(full.tags, Some(vec!["t".to_owned()]));
        spec.user = Some("nobody".to_owned());
        let refused = Command::program(&spec).unwrap_err();
        assert_eq!(refused.kind(), roadstead_core::ErrorKind::Unsupported);
    }
}
