//! Backups: a whole container as one archive, and a container made from one.

use actix_web::web::Payload;
use actix_web::{HttpRequest, get, post, web};
use roadstead_core::{BackupOptions, CreatedContainer, RestoreOptions};
use serde::Deserialize;

use super::created;
use crate::archive;
use crate::archive::Binary;
use crate::extract::Query;
use crate::problem::Answer;
use crate::state::App;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BackupQuery {
    /// The snapshots, too; true when absent.
    snapshots: Option<bool>,
}

/// All of a container as one archive in the engine's own format.
#[utoipa::path(tag = "backups", operation_id = "containers_backup", params(BackupQuery), responses((status = 200, description = "An archive.", body = inline(Binary), content_type = "application/x-tar")))]
#[get("/nodes/{node}/containers/{container}/backup")]
pub(crate) async fn backup(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<BackupQuery>,
) -> Answer {
    let mut options = BackupOptions::default();
    options.snapshots = query.snapshots.unwrap_or(options.snapshots);
    let container = app.container(&path.0, &path.1).await?;
    Ok(archive::send(container.backup(&options).await?, &path.1))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RestoreQuery {
    /// Name of the new container; the one in the archive when absent.
    name: Option<String>,
}

/// Makes a container from an archive that `backup` gave, here or on another node of the same kind of engine. It does not
/// run.
#[utoipa::path(tag = "backups", operation_id = "containers_restore", params(RestoreQuery), request_body(content = inline(Binary), content_type = "application/x-tar"),
    responses((status = 201, description = "The new container.", body = CreatedContainer, headers(("Location" = String, description = "Path of the container")))))]
#[post("/nodes/{node}/containers/restore")]
pub(crate) async fn restore(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<RestoreQuery>,
    body: Payload,
) -> Answer {
    let mut options = RestoreOptions::default();
    options.name = query.name;
    options.validate()?;
    let engine = app.node(&node).await?;
    let (engine, options) = (&engine, &options);
    let made =
        archive::receive(&app, &req, body, |tar| async move { engine.restore_container(tar, options).await }).await?;
    Ok(created(&format!("/v1/nodes/{node}/containers/{}", made.id), &made))
}
