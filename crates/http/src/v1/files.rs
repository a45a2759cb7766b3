//! Files of a container as tar streams.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, get, put, web};
use roadstead_core::{CopyInOptions, names};
use serde::Deserialize;

use crate::archive;
use crate::archive::Binary;
use crate::extract::{Nothing, Query};
use crate::problem::Answer;
use crate::state::App;

/// The file system of a container as one tar stream.
#[utoipa::path(tag = "files", operation_id = "containers_export", responses((status = 200, description = "A tar archive.", body = inline(Binary), content_type = "application/x-tar")))]
#[get("/nodes/{node}/containers/{container}/export")]
pub(crate) async fn export(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    Ok(archive::send(container.export().await?, &path.1))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CopyOutQuery {
    /// Absolute path of a file or directory in the container.
    path: String,
}

/// A file or directory of a container as a tar stream.
#[utoipa::path(tag = "files", operation_id = "files_get", params(CopyOutQuery), responses((status = 200, description = "A tar archive.", body = inline(Binary), content_type = "application/x-tar")))]
#[get("/nodes/{node}/containers/{container}/files")]
pub(crate) async fn copy_out(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<CopyOutQuery>,
) -> Answer {
    names::absolute_path("path", &query.path)?;
    let container = app.container(&path.0, &path.1).await?;
    Ok(archive::send(container.copy_out(&query.path).await?, "files"))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CopyInQuery {
    /// Absolute path of the directory in the container that the archive is unpacked into.
    path: String,
    /// Refuses to put a directory in place of a file or the other way round.
    #[serde(default)]
    no_overwrite_dir_with_file: bool,
}

/// Unpacks a tar archive (plain or compressed) into a directory of a container.
#[utoipa::path(tag = "files", operation_id = "files_put", params(CopyInQuery), request_body(content = inline(Binary), content_type = "application/x-tar"),
    responses((status = 204, description = "It is unpacked.")))]
#[put("/nodes/{node}/containers/{container}/files")]
pub(crate) async fn copy_in(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<CopyInQuery>,
    body: Payload,
) -> Answer {
    names::absolute_path("path", &query.path)?;
    let mut options = CopyInOptions::default();
    options.no_overwrite_dir_with_file = query.no_overwrite_dir_with_file;
    let container = app.container(&path.0, &path.1).await?;
    let (container, options, target) = (&container, &options, &query.path);
    archive::receive(&app, &req, body, |tar| async move { container.copy_in(target, tar, options).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
