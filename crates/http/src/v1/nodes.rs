//! Nodes: which there are, what they can do, adding and removing them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, delete, get, post, web};
use futures_util::future::{join, join_all};
use roadstead_core::{Capabilities, Listing, NodeAnswer, NodeError, NodeInfo, Timestamp};
use serde::Serialize;

use super::created;
use crate::dialects::Dialects;
use crate::extract::{Json, Nothing, Query};
use crate::nodes::{NewNode, NodeSlot, NodeSource};
use crate::page::{Page, Paging};
use crate::precondition::{Preconditions, etag};
use crate::problem::Answer;
use crate::state::{App, within};

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NodeState {
    /// It answers.
    Connected,
    /// It does not; see `error`.
    Unavailable,
}

/// A node and what it tells of itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct NodeView {
    /// Name.
    pub name: String,
    /// Whether it answers.
    pub state: NodeState,
    /// Address without secrets.
    pub uri: String,
    /// How the server came to know it.
    pub source: NodeSource,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is, when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<NodeInfo>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeError>,
    /// Path of what it can do.
    pub capabilities_path: String,
}

async fn view(slot: &Arc<NodeSlot>, deadline: Duration) -> NodeView {
    let answer = within(deadline, async { slot.node(deadline).await?.info().await }).await;
    let (state, info, error) = match answer {
        Ok(info) => (NodeState::Connected, Some(info), None),
        Err(error) => (NodeState::Unavailable, None, Some(NodeError::new(slot.name(), &error))),
    };
    NodeView {
        name: slot.name().to_owned(),
        state,
        uri: slot.uri(),
        source: slot.source(),
        labels: slot.labels().clone(),
        info,
        error,
        capabilities_path: format!("/v1/nodes/{}/capabilities", slot.name()),
    }
}

/// Every node, those that do not answer included.
#[utoipa::path(tag = "nodes", operation_id = "nodes_list", params(Paging), responses((status = 200, description = "The nodes.", body = Page<NodeView>)))]
#[get("/nodes")]
pub(crate) async fn list(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<NodeView>()?;
    let deadline = app.deadline();
    let slots = app.nodes.all();
    let views = join_all(slots.iter().map(|slot| async move {
        let begun = std::time::Instant::now();
        (view(slot, deadline).await, begun.elapsed())
    }))
    .await;
    let mut listing = Listing::default();
    for (view, took) in views {
        listing.nodes.push(NodeAnswer::new(&view.name, view.error.is_none().then(Timestamp::now), took));
        listing.errors.extend(view.error.clone());
        listing.items.push(view);
    }
    Ok(paging.respond(listing, |node| vec![node.name.clone()])?)
}

/// Adds a node. It is connected first; once this answers 201 the node is kept over restarts.
#[utoipa::path(tag = "nodes", operation_id = "nodes_add", request_body = NewNode,
    responses((status = 201, description = "The new node.", body = NodeView, headers(("Location" = String, description = "Path of the node")))))]
#[post("/nodes")]
pub(crate) async fn add(app: web::Data<App>, _: Query<Nothing>, Json(node): Json<NewNode>) -> Answer {
    let slot = app.nodes.add(node).await?;
    let view = view(&slot, app.deadline()).await;
    Ok(created(&format!("/v1/nodes/{}", slot.name()), &view))
}

/// One node.
#[utoipa::path(tag = "nodes", operation_id = "nodes_get", responses((status = 200, description = "The node; also when it does not answer.", body = NodeView)))]
#[get("/nodes/{node}")]
pub(crate) async fn get(app: web::Data<App>, node: web::Path<String>, _: Query<Nothing>) -> Answer {
    let slot = app.nodes.get(&node)?;
    let (view, revision) = join(view(&slot, app.deadline()), app.nodes.revision(&slot)).await;
    let mut response = HttpResponse::Ok();
    // A store that does not answer keeps nobody from looking at a node; it only cannot be removed conditionally then.
    if let Ok(Some(revision)) = revision {
        response.insert_header((header::ETAG, etag(revision, &view)));
    }
    Ok(response.json(view))
}

/// Forgets a node that was added over this API. What runs on it goes on.
#[utoipa::path(tag = "nodes", operation_id = "nodes_remove", responses((status = 204, description = "It is forgotten.")))]
#[delete("/nodes/{node}")]
pub(crate) async fn remove(
    app: web::Data<App>,
    node: web::Path<String>,
    preconditions: Preconditions,
    _: Query<Nothing>,
) -> Answer {
    app.nodes.remove(&node, &preconditions.if_match).await?;
    if let Err(error) = Dialects::forget(&app, &node).await {
        tracing::warn!(node = node.as_str(), %error, "what was measured of a node that is removed stays until it is too old");
    }
    Ok(HttpResponse::NoContent().finish())
}

/// What a node can do.
#[utoipa::path(tag = "nodes", operation_id = "nodes_capabilities", responses((status = 200, description = "What it can do.", body = Capabilities)))]
#[get("/nodes/{node}/capabilities")]
pub(crate) async fn capabilities(app: web::Data<App>, node: web::Path<String>, _: Query<Nothing>) -> Answer {
    let node = app.node(&node).await?;
    Ok(HttpResponse::Ok().json(node.capabilities()))
}
