//! Snapshots of a container.

use actix_web::{HttpResponse, delete, get, post, web};
use roadstead_core::{Error, Snapshot, SnapshotOptions, Timestamp, names};
use serde::Serialize;

use super::created;
use crate::extract::{Json, Nothing, OptionalJson, Query};
use crate::problem::Answer;
use crate::state::App;

/// The snapshots of a container.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SnapshotList {
    /// Oldest first.
    pub items: Vec<Snapshot>,
}

/// The snapshots of a container.
#[utoipa::path(tag = "snapshots", operation_id = "snapshots_list", responses((status = 200, description = "The snapshots, oldest first.", body = SnapshotList)))]
#[get("/nodes/{node}/containers/{container}/snapshots")]
pub(crate) async fn list(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    let items = container.snapshots().await?;
    Ok(HttpResponse::Ok().json(SnapshotList { items }))
}

/// Keeps the state of a container under a name. It may run, and goes on running.
#[utoipa::path(tag = "snapshots", operation_id = "snapshots_create", request_body = SnapshotOptions,
    responses((status = 201, description = "The new snapshot.", body = Snapshot, headers(("Location" = String, description = "Path of the snapshot")))))]
#[post("/nodes/{node}/containers/{container}/snapshots")]
pub(crate) async fn create(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    Json(options): Json<SnapshotOptions>,
) -> Answer {
    options.validate(Timestamp::now())?;
    let container = app.container(&path.0, &path.1).await?;
    let snapshot = container.create_snapshot(&options).await?;
    let location = format!("/v1/nodes/{}/containers/{}/snapshots/{}", path.0, path.1, snapshot.name);
    Ok(created(&location, &snapshot))
}

/// One snapshot of a container.
#[utoipa::path(tag = "snapshots", operation_id = "snapshots_inspect", responses((status = 200, description = "The snapshot.", body = Snapshot)))]
#[get("/nodes/{node}/containers/{container}/snapshots/{snapshot}")]
pub(crate) async fn inspect(
    app: web::Data<App>,
    path: web::Path<(String, String, String)>,
    _: Query<Nothing>,
) -> Answer {
    let (node, container, name) = &*path;
    names::snapshot_name("snapshot", name)?;
    let found = app.container(node, container).await?.snapshots().await?;
    let snapshot = found.into_iter().find(|snapshot| snapshot.name == *name);
    let snapshot = snapshot.ok_or_else(|| Error::not_found("snapshot", name).with_node(node))?;
    Ok(HttpResponse::Ok().json(snapshot))
}

/// Deletes a snapshot. The container is not changed.
#[utoipa::path(tag = "snapshots", operation_id = "snapshots_delete", responses((status = 204, description = "It is gone.")))]
#[delete("/nodes/{node}/containers/{container}/snapshots/{snapshot}")]
pub(crate) async fn delete(
    app: web::Data<App>,
    path: web::Path<(String, String, String)>,
    _: Query<Nothing>,
) -> Answer {
    names::snapshot_name("snapshot", &path.2)?;
    let container = app.container(&path.0, &path.1).await?;
    container.delete_snapshot(&path.2).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Brings a container back to a snapshot, files and configuration. What ran is started anew.
#[utoipa::path(tag = "snapshots", operation_id = "snapshots_restore", responses((status = 204, description = "It is as it was.")))]
#[post("/nodes/{node}/containers/{container}/snapshots/{snapshot}/restore")]
pub(crate) async fn restore(
    app: web::Data<App>,
    path: web::Path<(String, String, String)>,
    _: Query<Nothing>,
    _: OptionalJson<Nothing>,
) -> Answer {
    names::snapshot_name("snapshot", &path.2)?;
    let container = app.container(&path.0, &path.1).await?;
    container.restore_snapshot(&path.2).await?;
    Ok(HttpResponse::NoContent().finish())
}
