//! Networks of a node.

use actix_web::{HttpResponse, delete, get, post, web};
use roadstead_core::{Network, NetworkSpec, names};

use super::{Created, created};
use crate::extract::{Json, Nothing, Query};
use crate::fanout;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// The networks of a node, by name.
#[utoipa::path(tag = "networks", operation_id = "networks_list", params(Paging), responses((status = 200, description = "The networks.", body = Page<Network>)))]
#[get("/nodes/{node}/networks")]
pub(crate) async fn list(app: web::Data<App>, node: web::Path<String>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<Network>()?;
    let slot = app.nodes.get(&node)?;
    let listing = fanout::ask_one(&slot, app.deadline(), |node| async move { node.list_networks().await }).await?;
    Ok(paging.respond(listing, |network| vec![network.name.clone(), network.id.clone()])?)
}

/// Creates a network.
#[utoipa::path(tag = "networks", operation_id = "networks_create", request_body = NetworkSpec,
    responses((status = 201, description = "The id of the new network.", body = Created, headers(("Location" = String, description = "Path of the network")))))]
#[post("/nodes/{node}/networks")]
pub(crate) async fn create(
    app: web::Data<App>,
    node: web::Path<String>,
    _: Query<Nothing>,
    Json(spec): Json<NetworkSpec>,
) -> Answer {
    spec.validate()?;
    let engine = app.node(&node).await?;
    let id = engine.create_network(&spec).await?;
    Ok(created(&format!("/v1/nodes/{node}/networks/{}", spec.name), &Created { id }))
}

/// One network, found by name or id.
#[utoipa::path(tag = "networks", operation_id = "networks_inspect", responses((status = 200, description = "The network.", body = Network)))]
#[get("/nodes/{node}/networks/{network}")]
pub(crate) async fn inspect(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    names::existing("network", &path.1)?;
    let node = app.node(&path.0).await?;
    Ok(HttpResponse::Ok().json(node.inspect_network(&path.1).await?))
}

/// Deletes a network.
#[utoipa::path(tag = "networks", operation_id = "networks_delete", responses((status = 204, description = "It is gone.")))]
#[delete("/nodes/{node}/networks/{network}")]
pub(crate) async fn delete(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    names::existing("network", &path.1)?;
    let node = app.node(&path.0).await?;
    node.delete_network(&path.1).await?;
    Ok(HttpResponse::NoContent().finish())
}
