//! The dashboard: each pool with what it bears and its containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use futures_util::future::join_all;
use roadstead_core::{ContainerState, Result};
use serde::Serialize;
use serde_json::json;

use super::super::answer::{object, respond};
use super::Monitor;
use super::measured::{Load, loads};
use crate::containers;
use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::state::{App, within};

/// A dashboard is asked for every three seconds: a pool that has not answered by then is shown without its containers.
const WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    cpu: Option<f64>,
    mem: Option<f64>,
    /// kbit/s.
    throughput: Option<f64>,
    containers: Vec<ShownContainer>,
    /// An extension: why the containers are not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownContainer {
    name: String,
    status: &'static str,
}

/// The words of LXD, which dashboards compare with.
fn status(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Running => "Running",
        ContainerState::Frozen => "Frozen",
        ContainerState::Created | ContainerState::Stopped => "Stopped",
        ContainerState::Restarting => "Starting",
        ContainerState::Stopping => "Stopping",
        ContainerState::Failed => "Error",
        _ => "Unknown",
    }
}

async fn shown(slot: &Arc<NodeSlot>) -> Result<Vec<ShownContainer>> {
    let items = within(WAIT, containers::items(slot, WAIT, false)).await?;
    let mut containers: Vec<_> = items
        .iter()
        .map(|item| item.summary())
        .map(|container| ShownContainer { name: container.name.clone(), status: status(container.state) })
        .collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

async fn one(app: &App, slot: &Arc<NodeSlot>, loads: &BTreeMap<String, Load>) -> Shown {
    let load = loads.get(slot.name()).copied().unwrap_or_default();
    let machine = async {
        match load.cpu {
            None => Monitor::of(app).machines.of(slot).await,
            Some(_) => None,
        }
    };
    let (containers, machine) = tokio::join!(shown(slot), machine);
    let (containers, error) = match containers {
        Ok(containers) => (containers, None),
        Err(error) => (Vec::new(), Some(error.message().to_owned())),
    };
    Shown {
        name: slot.name().to_owned(),
        cpu: load.cpu.or(machine.and_then(|machine| machine.cpu)),
        mem: load.memory.or(machine.and_then(|machine| machine.memory)),
        throughput: load.throughput.map(|throughput| throughput * 1024.0),
        containers,
        error,
    }
}

pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    let read = async {
        let loads = loads(&app).await?;
        let slots = nodes(&app);
        let data = join_all(slots.iter().map(|slot| one(&app, slot, &loads))).await;
        Ok(object(&json!({ "data": data, "success": "dashboard" })))
    };
    respond(read.await)
}
