//! The few facts about a container that must be known before its streams, files and jobs are touched.

use roadstead_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::client::Client;
use super::request::Request;

/// What an inspection tells, as far as it matters for streams.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: Option<String>,
    config: Option<Config>,
    state: Option<State>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    tty: Option<bool>,
    open_stdin: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: Option<String>,
    running: Option<bool>,
    paused: Option<bool>,
    pid: Option<i64>,
}

/// A container that exists.
#[derive(Debug)]
pub(super) struct Facts {
    /// Full id.
    pub(super) id: String,
    /// Whether the main process has a terminal.
    pub(super) tty: bool,
    /// Whether the main process was given standard input.
    pub(super) stdin: bool,
    /// Whether it runs; frozen ones do, too.
    pub(super) running: bool,
    /// Whether it is frozen.
    pub(super) frozen: bool,
    /// Whether it was never started.
    pub(super) fresh: bool,
    /// The main process, as the engine's machine counts.
    pub(super) pid: Option<u32>,
}

impl Facts {
    /// Asks the engine. `NotFound` when there is no such container.
    pub(super) async fn of(client: &Client, id: &str) -> Result<Self> {
        let inspected: Inspected = Request::get(&format!("/containers/{id}/json")).json(client).await?;
        let config = inspected.config.unwrap_or_default();
        let state = inspected.state.unwrap_or_default();
        let status = state.status.as_deref().unwrap_or_default();
        Ok(Facts {
            id: inspected.id.unwrap_or_else(|| id.to_owned()),
            tty: config.tty.unwrap_or(false),
            stdin: config.open_stdin.unwrap_or(false),
            running: state.running.unwrap_or(false) || matches!(status, "running" | "paused"),
            frozen: state.paused.unwrap_or(false) || status == "paused",
            // Podman says "initialized" between creation and start, and "configured" before that.
            fresh: matches!(status, "created" | "configured" | "initialized"),
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        })
    }

    /// `Conflict` unless processes can be started in it.
    pub(super) fn must_run(&self) -> Result<()> {
        let why = match (self.running, self.frozen) {
            (true, false) => return Ok(()),
            (true, true) => "the container is frozen",
            (false, _) => "the container does not run",
        };
        Err(Error::new(ErrorKind::Conflict, why))
    }
}
