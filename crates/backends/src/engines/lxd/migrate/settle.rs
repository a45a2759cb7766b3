//! Waiting until nobody makes a container any more, so that it can be deleted.
//!
//! A server that is told to delete a container while a migration still fills it refuses at best; LXD 5.0 takes half of
//! it away and lets the migration go on. And what receives a container cannot be cancelled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use serde_json::Value;

use super::super::operation::{Operation, OperationState};
use super::super::request::Request;
use super::super::shared::Lxd;

/// How long a container may be in the making before whoever wants to delete it is told to come again.
const DEADLINE: Duration = Duration::from_secs(600);

/// Waits for the end of what makes the container, if something does. How that ends does not matter.
pub(in super::super) async fn settle(lxd: &Arc<Lxd>, name: &str) -> Result<()> {
    settle_within(lxd, name, DEADLINE).await
}

pub(super) async fn settle_within(lxd: &Arc<Lxd>, name: &str, deadline: Duration) -> Result<()> {
    // Before it is asked who is at work, so that no end is missed.
    let news = lxd.client.operations().subscribe(&lxd.client).await?;
    let all: Option<BTreeMap<String, Option<Vec<Value>>>> =
        Request::get(&["operations"]).query("recursion", "1").json(&lxd.client).await?;
    let states = all.into_iter().flatten().flat_map(|(_, list)| list.unwrap_or_default());
    let running = states.filter_map(|value| {
        let making = value.get("description").and_then(Value::as_str).is_some_and(makes);
        OperationState::parse(value).filter(|state| making && !state.is_final())
    });
    let Some(state) = running.into_iter().find(|state| state.resource("instances") == Some(name)) else {
        return Ok(());
    };
    tracing::debug!(node = lxd.name, name, operation = state.id, "waiting for a container that is still made");
    match Operation::new(lxd.client.clone(), state, news).wait(deadline).await {
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => Err(error),
        _ => Ok(()),
    }
}

/// Whether an operation described so makes an instance. Old servers speak of containers.
fn makes(description: &str) -> bool {
    let words = description.to_lowercase();
    words.starts_with("creating instance") || words.starts_with("creating container")
}
