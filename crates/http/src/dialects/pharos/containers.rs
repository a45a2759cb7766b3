//! The list of containers, each as Docker's *inspect* tells of one.

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use futures_util::{StreamExt, stream};
use roadstead_core::{ContainerSummary, ErrorKind, Result};
use serde_json::{Value, json};

use super::answer::{self, Query};
use super::hosts::host;
use super::ids::{Kind, id};
use super::inspect::{inspect, runs};
use super::running::{details, listed};
use crate::auth::{Role, require};
use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::problem::Answer;
use crate::state::App;

/// So many containers are asked about at once.
const AT_ONCE: usize = 16;

/// What is shown of a container.
async fn shown(app: &App, slot: &Arc<NodeSlot>, container: &ContainerSummary, all: bool) -> Result<Option<Value>> {
    match details(app, slot, &container.id).await {
        Ok(found) => {
            let found = found.details();
            let own = id(Kind::Container, &[slot.name(), &found.summary.id]);
            // It may have ended since it was listed.
            Ok((all || runs(found.summary.state)).then(|| inspect(host(slot), &own, found)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn list(app: web::Data<App>, req: HttpRequest) -> Answer {
    require(&req, Role::Read, "pharos.containers.list")?;
    let query = Query::of(&req)?;
    let part = query.part()?;
    let all = query.get("all") == Some("true") || query.get("status") == Some("all");
    let mut slots = nodes(&app);
    slots.retain(|slot| query.get("host").is_none_or(|wanted| wanted == host(slot)));
    slots.sort_by(|a, b| (host(a), a.name()).cmp(&(host(b), b.name())));
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for listed in listed(&app, slots).await {
        if let Some(error) = listed.away {
            // The others are not held back.
            errors.push(json!({ "Host": host(&listed.slot), "message": error.to_string() }));
            continue;
        }
        let mut containers = listed.containers;
        containers.retain(|container| all || runs(container.state));
        containers.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        found.extend(containers.into_iter().map(|container| (Arc::clone(&listed.slot), container)));
    }
    let found = part.of(found);
    let of_app = &app;
    let asked = found
        .iter()
        .map(|(slot, container)| async move { (slot, container, shown(of_app, slot, container, all).await) });
    let asked: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut containers = Vec::with_capacity(asked.len());
    for (slot, container, shown) in asked {
        match shown {
            Ok(shown) => containers.extend(shown),
            Err(error) => {
                errors.push(json!({ "Host": host(slot), "Id": container.id, "message": error.to_string() }));
            }
        }
    }
    let mut document = json!({ "containers": containers, "n": containers.len() });
    if let Some(document) = document.as_object_mut().filter(|_| !errors.is_empty()) {
        document.insert("errors".to_owned(), errors.into());
    }
    Ok(answer::readable(&document))
}
