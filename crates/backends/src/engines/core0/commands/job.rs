//! Jobs of a node, or of a container on it: `job.*`, sections 10 and 12.3 of the reference. All generations have them.

use std::time::Duration;

use serde_json::{Value, json};

use roadstead_core::{Result, Secret, Signal, Timestamp};

use super::Commands;
use super::reading::{Read, at_milliseconds, record, seconds};

/// `job.*`.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'a>(pub(super) &'a Commands);

record! {
    /// A job that runs, or waits for its next run.
    pub struct Job {
        /// Percent of one processor.
        cpu_percent: f64 = "cpu";
        /// Memory that is really used, in bytes.
        rss_bytes: u64 = "rss";
        /// Address space, in bytes.
        vms_bytes: u64 = "vms";
        /// Memory that was swapped out, in bytes.
        swap_bytes: u64 = "swap";
        /// When it began.
        started_at: Option<Timestamp> = "starttime" in at_milliseconds;
        /// What it runs.
        command: RunningCommand = "cmd";
        /// Its process; absent for built-in commands.
        pid: Option<u32> = "pid" in process;
    }
}

record! {
    /// The command of a job.
    pub struct RunningCommand {
        /// The job's id.
        id: String = "id";
        /// Name of the command.
        command: String = "command";
        /// Its arguments, JSON, which may have secrets in them.
        arguments: Option<Secret> = "arguments" in hidden;
        /// Its queue; empty when it has none.
        queue: String = "queue";
        /// After how long it is killed; zero for never.
        max_time: Duration = "max_time" in seconds;
        /// How often it runs at most until it succeeds.
        max_restart: u64 = "max_restart";
        /// How long after its end it runs again; zero for not at all.
        recurring_period: Duration = "recurring_period" in seconds;
        /// Whether its output is streamed.
        stream: bool = "stream";
        /// Its tags.
        tags: Vec<String> = "tags" in tags;
    }
}

/// Built-in commands have no process: 0.
fn process(value: &Value) -> Option<Option<u32>> {
    Some(u32::read(value).filter(|pid| *pid > 0))
}

fn hidden(value: &Value) -> Option<Option<Secret>> {
    Some(json_text(value).map(Secret::new))
}

pub(super) fn json_text(value: &Value) -> Option<String> {
    Some(value.to_string())
}

/// G1 has one tag, as text.
pub(super) fn tags(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(tag) => Some(vec![tag.clone()].into_iter().filter(|tag| !tag.is_empty()).collect()),
        list => Read::read(list),
    }
}

/// `job.*`.
impl Jobs<'_> {
    /// All jobs, the one that asks included: `job.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<Job>> {
        self.0.list("job.list", ()).await
    }

    /// The job with this id. A recurring one is there between its runs.
    ///
    /// # Errors
    /// As every command; `NotFound` when there is none, or it has ended.
    pub async fn get(&self, id: &str) -> Result<Job> {
        let list: Vec<Job> = self.0.list("job.list", json!({"id": id})).await?;
        list.into_iter().next().ok_or_else(|| roadstead_core::Error::not_found("job", id))
    }

    /// Sends a signal to a job, SIGTERM unless another is asked for: `job.kill`. On a node it goes to the process group, in a
    /// container to the one process. False when there is no such job.
    ///
    /// # Errors
    /// As every command.
    pub async fn kill(&self, id: &str, signal: Option<Signal>) -> Result<bool> {
        let arguments = match signal {
            Some(signal) => json!({"id": id, "signal": signal.number()}),
            None => json!({"id": id}),
        };
        self.0.ask("job.kill", arguments).await
    }

    /// Sends SIGTERM to all jobs that are not the node's own: `job.killall`.
    ///
    /// # Errors
    /// As every command.
    pub async fn kill_all(&self) -> Result<bool> {
        self.0.ask("job.killall", ()).await
    }

    /// Ends the repetition of a recurring job, whose last result comes then: `job.unschedule`. False when there is no such job.
    ///
    /// # Errors
    /// As every command.
    pub async fn unschedule(&self, id: &str) -> Result<bool> {
        self.0.ask("job.unschedule", json!({"id": id})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_not_shown() {
        let told =
            json!({"pid": 7, "cmd": {"id": "j", "command": "core.system", "arguments": {"env": {"T": "hunter2"}}}});
        let job = Job::read(&told).unwrap();
        let shown = format!("{job:?} {job:#?}");
        assert!(shown.contains("core.system") && !shown.contains("hunter2"), "{shown}");
        assert!(job.command.arguments.unwrap().expose().contains("hunter2"));
    }
}
