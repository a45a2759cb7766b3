//! Volumes of a node.

use actix_web::{HttpResponse, delete, get, post, web};
use roadstead_core::{Volume, VolumeSpec, names};
use serde::Deserialize;

use super::created;
use crate::extract::{Json, Nothing, Query};
use crate::fanout;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// The volumes of a node, by name.
#[utoipa::path(tag = "volumes", operation_id = "volumes_list", params(Paging), responses((status = 200, description = "The volumes.", body = Page<Volume>)))]
#[get("/nodes/{node}/volumes")]
pub(crate) async fn list(app: web::Data<App>, node: web::Path<String>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<Volume>()?;
    let slot = app.nodes.get(&node)?;
    let listing = fanout::ask_one(&slot, app.deadline(), |node| async move { node.list_volumes().await }).await?;
    Ok(paging.respond(listing, |volume| vec![volume.name.clone()])?)
}

/// Creates a volume.
#[utoipa::path(tag = "volumes", operation_id = "volumes_create", request_body = VolumeSpec,
    responses((status = 201, description = "The new volume.", body = Volume, headers(("Location" = String, description = "Path of the volume")))))]
#[post("/nodes/{node}/volumes")]
pub(crate) async fn create(
    app: web::Data<App>,
    node: web::Path<String>,
    _: Query<Nothing>,
    Json(spec): Json<VolumeSpec>,
) -> Answer {
    spec.validate()?;
    let engine = app.node(&node).await?;
    let volume = engine.create_volume(&spec).await?;
    Ok(created(&format!("/v1/nodes/{node}/volumes/{}", volume.name), &volume))
}

/// One volume.
#[utoipa::path(tag = "volumes", operation_id = "volumes_inspect", responses((status = 200, description = "The volume.", body = Volume)))]
#[get("/nodes/{node}/volumes/{volume}")]
pub(crate) async fn inspect(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    names::existing("volume", &path.1)?;
    let node = app.node(&path.0).await?;
    Ok(HttpResponse::Ok().json(node.inspect_volume(&path.1).await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteVolumeQuery {
    /// Also when its driver has lost it.
    force: bool,
}

/// Deletes a volume.
#[utoipa::path(tag = "volumes", operation_id = "volumes_delete", params(DeleteVolumeQuery), responses((status = 204, description = "It is gone.")))]
#[delete("/nodes/{node}/volumes/{volume}")]
pub(crate) async fn delete(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<DeleteVolumeQuery>,
) -> Answer {
    names::existing("volume", &path.1)?;
    let node = app.node(&path.0).await?;
    node.delete_volume(&path.1, query.force).await?;
    Ok(HttpResponse::NoContent().finish())
}
