//! Small commands of our own inside a container, without streams: for what the protocol has no call.

use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokio::time::timeout;

use super::super::request::Request;
use super::super::shared::Lxd;
use super::end;

/// Runs `command` as root and gives its exit code; 126 or 127 when the container has no such program.
pub(in super::super) async fn inside(lxd: &Lxd, id: &str, command: &[&str], deadline: Duration) -> Result<i32> {
    let body = json!({"command": command, "wait-for-websocket": false, "interactive": false});
    let operation = Request::post(&["instances", id, "exec"]).body(&body).start(&lxd.client).await?;
    match timeout(deadline, end::of(operation)).await {
        Ok(state) => end::exit_code(state?),
        Err(_) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("a command inside the container did not end within {} s", deadline.as_secs()),
        )),
    }
}
