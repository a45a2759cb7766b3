//! A short command inside a container whose output the server records: for what this engine itself wants to know.
//!
//! Jobs are another matter ([`super::exec`]); no websocket is needed here.

use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::request::Request;
use super::shared::Lxd;

const DEADLINE: Duration = Duration::from_secs(30);

/// What a command gave.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) exit_code: i64,
    pub(super) stdout: String,
}

/// Runs it as root, to its end.
pub(super) async fn run(lxd: &Lxd, id: &str, command: &[&str]) -> Result<Output> {
    let body = json!({
        "command": command,
        "environment": {},
        "interactive": false,
        "record-output": true,
        "wait-for-websocket": false,
    });
    let state = Request::post(&["instances", id, "exec"]).body(&body).finish(&lxd.client, DEADLINE).await?;
    let exit_code = state
        .metadata
        .get("return")
        .and_then(Value::as_i64)
        .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the engine does not tell how a command ended"))?;
    let file = |number: &str| state.metadata.get("output")?.get(number)?.as_str().map(str::to_owned);
    let mut stdout = String::new();
    for (number, keep) in [("1", true), ("2", false)] {
        let Some(path) = file(number) else { continue };
        // `/1.0/instances/NAME/logs/FILE`, later `…/logs/exec-output/FILE`: a server keeps them for days.
        let segments: Vec<&str> =
            path.split('?').next().unwrap_or_default().split('/').filter(|part| !part.is_empty()).skip(1).collect();
        if keep {
            stdout = String::from_utf8_lossy(&Request::get(&segments).bytes(&lxd.client).await?).into_owned();
        }
        let _ = Request::delete(&segments).done(&lxd.client).await;
    }
    Ok(Output { exit_code, stdout })
}
