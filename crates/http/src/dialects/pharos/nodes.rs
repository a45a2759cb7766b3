//! Nodes: which there are, what runs on each, and adding and removing them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use roadstead_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::answer::{self, store_away};
use super::hosts::{self, LABEL, host};
use super::ids::{Kind, id};
use super::inspect::runs;
use super::registered::{Named, Registered, STORE_DEADLINE, document};
use crate::auth::{Role, require};
use crate::containers;
use crate::dialects::{Address, Dialect, Dialects, changing, nodes};
use crate::nodes::{NodeSlot, NodeSource};
use crate::precondition::IfMatch;
use crate::problem::{Answer, Problem};
use crate::state::{App, stored_within};

/// How long a node has to say what runs on it.
const LOOK: Duration = Duration::from_secs(1);
/// What clients are told when no node is meant.
const NO_RECORD: &str = "Not Found Record: None";

/// The mark of what the store could not do, which is told in the words that clients know.
const STORE: &str = "store";

fn storing(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => error.with_context(STORE, "away"),
        _ => error,
    }
}

fn told(error: Error) -> Problem {
    if error.context().any(|(key, _)| key == STORE) { store_away(&error) } else { error.into() }
}

/// What was said of all hosts, by the names of their nodes. Whatever keeps it from being read, the store is no use.
async fn registered(app: &App) -> Result<BTreeMap<String, Map<String, Value>>> {
    let read = async { app.records.pharos()?.all().await };
    let (all, _) = stored_within(STORE_DEADLINE, read).await.map_err(|error| error.with_context(STORE, "away"))?;
    // What makes no sense is as if nothing had been said.
    let sound = all.into_iter().filter_map(|(node, kept)| Some((node, kept.ok()?.value.members)));
    Ok(sound.collect())
}

/// How many containers run on a node, and whether its metrics can be had now; nothing when it does not answer.
async fn look(slot: &Arc<NodeSlot>) -> Option<(usize, bool)> {
    let look = async {
        let node = slot.node(LOOK).await.ok()?;
        let items = containers::items(slot, LOOK, false).await.ok()?;
        let count = items.iter().filter(|item| runs(item.summary().state)).count();
        Some((count, node.capabilities().usage))
    };
    timeout(LOOK, look).await.ok().flatten()
}

pub(super) async fn list(app: web::Data<App>, req: HttpRequest) -> Answer {
    require(&req, Role::Read, "pharos.nodes.list")?;
    let mut slots = nodes(&app);
    slots.sort_by(|a, b| host(a).cmp(host(b)));
    let (looked, registered) = tokio::join!(join_all(slots.iter().map(look)), registered(&app));
    let mut registered = registered.map_err(told)?;
    let shown = slots.iter().zip(looked).map(|(slot, looked)| {
        let members = registered.remove(slot.name()).unwrap_or_default();
        let mut document = document(host(slot), &id(Kind::Node, &[slot.name()]), members);
        let (containers, storage) = looked.map_or((json!(-1), false), |(count, storage)| (json!(count), storage));
        document.insert("containers".to_owned(), containers);
        document.insert("storage".to_owned(), storage.into());
        Value::Object(document)
    });
    let nodes: Vec<Value> = shown.collect();
    Ok(answer::readable(&json!({ "n": nodes.len(), "nodes": nodes })))
}

pub(super) async fn add(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> Answer {
    let named = Named::of(&app, &req, &mut payload.into_inner()).await?;
    let host = named.host.ok_or_else(|| Error::invalid("host", "must be given"))?;
    let address = Address::parse("host", &host)?;
    let name = hosts::name(&host);
    let Some(config) = app.dialect(Dialect::Pharos) else {
        return Err(Error::new(ErrorKind::Unexpected, "the dialect is not switched on").into());
    };
    let mut node = config.node(&name, &address);
    if name != host {
        node.labels.insert(LABEL.to_owned(), host.clone());
    }
    app.nodes.check(&node)?;
    let (of_app, of_host) = (app.clone(), host.clone());
    let work = async move {
        // Whoever adds the same host meanwhile waits, and is told that it is there.
        let _changing = of_app.dialects.pharos.changing.lock().await;
        let own = id(Kind::Node, &[&node.name]);
        let mut kept = registered(&of_app).await?;
        if let Ok(there) = of_app.nodes.get(&node.name) {
            let members = kept.remove(there.name()).unwrap_or_default();
            let there = Value::Object(document(hosts::host(&there), &own, members));
            return Err(Error::new(ErrorKind::AlreadyExists, format!("Already Exists: {there}")));
        }
        let said = Registered { members: named.members };
        // First what was said of it: a node without is one that somebody added otherwise.
        of_app.records.pharos()?.put(&node.name, &said).await.map_err(storing)?;
        of_app.nodes.enrol(node).await.map_err(storing)?;
        Ok(document(&of_host, &own, said.members))
    };
    let added = changing(&app, &req, Role::Admin, "pharos.nodes.add", &[("host", &host)], work).await;
    Ok(answer::document(&Value::Object(added.map_err(told)?)))
}

pub(super) async fn remove(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> Answer {
    let named = Named::of(&app, &req, &mut payload.into_inner()).await?;
    let target: Vec<(&str, &str)> = [("host", &named.host), ("_id", &named.id)]
        .into_iter()
        .filter_map(|(member, text)| Some((member, text.as_deref()?)))
        .collect();
    if target.is_empty() {
        return Err(Error::invalid("host", "must be given, or _id").into());
    }
    let (of_app, of_named) = (app.clone(), named.clone());
    let work = async move {
        let _changing = of_app.dialects.pharos.changing.lock().await;
        let mut kept = registered(&of_app).await?;
        let meant = nodes(&of_app).into_iter().find(|slot| is_meant(slot, &of_named));
        let slot = meant.ok_or_else(|| Error::new(ErrorKind::NotFound, NO_RECORD))?;
        if slot.source() != NodeSource::Added {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "{} is of this server's configuration or machine and would be back with its next start: take it out there",
                    host(&slot)
                ),
            ));
        }
        let name = slot.name();
        of_app.nodes.remove(name, &IfMatch::default()).await.map_err(|error| match error.kind() {
            // Another caller was faster.
            ErrorKind::NotFound => Error::new(ErrorKind::NotFound, NO_RECORD),
            _ => storing(error),
        })?;
        // The node is removed by now: that something of it is left is no failure.
        if let Err(error) = Dialects::forget_alone(&of_app, name).await {
            tracing::warn!(node = name, %error, "what was kept of a node that is removed stays");
        }
        let members = kept.remove(name).unwrap_or_default();
        Ok(document(host(&slot), &id(Kind::Node, &[name]), members))
    };
    let removed = changing(&app, &req, Role::Admin, "pharos.nodes.remove", &target, work).await;
    Ok(answer::document(&Value::Object(removed.map_err(told)?)))
}

/// Whether a body that names something means this node.
fn is_meant(slot: &NodeSlot, named: &Named) -> bool {
    named.host.as_ref().is_none_or(|wanted| wanted == host(slot))
        && named.id.as_ref().is_none_or(|wanted| *wanted == id(Kind::Node, &[slot.name()]))
}

/// What pages of other sites may do: read.
pub(super) async fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Access-Control-Allow-Origin", "*"))
        .insert_header(("Access-Control-Allow-Methods", "GET"))
        .insert_header(("Access-Control-Allow-Headers", "Accept, Authorization, Last-Event-ID"))
        .insert_header(("Access-Control-Max-Age", "600"))
        .finish()
}
