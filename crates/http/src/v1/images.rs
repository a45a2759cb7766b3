//! Images. References hold slashes and colons, so they are query parameters, never part of a path.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use roadstead_core::{Capability, Error, ImageDetails, ImageSummary, ImportOptions, JobStatus, PullOptions, names};
use serde::{Deserialize, Serialize};

use super::jobs::{WaitQuery, accepted, asked_by};
use super::{Created, created, newest_first};
use crate::archive::Binary;
use crate::extract::{Json, Nothing, Query};
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;
use crate::work::{Pull, Task, Works};
use crate::{archive, fanout};

/// The images of a node, newest first.
#[utoipa::path(tag = "images", operation_id = "images_list", params(Paging), responses((status = 200, description = "The images.", body = Page<ImageSummary>)))]
#[get("/nodes/{node}/images")]
pub(crate) async fn list(app: web::Data<App>, node: web::Path<String>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<ImageSummary>()?;
    let slot = app.nodes.get(&node)?;
    let listing = fanout::ask_one(&slot, app.deadline(), |node| async move { node.list_images().await }).await?;
    Ok(paging.respond(listing, |image| vec![newest_first(image.created_at), image.id.clone()])?)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImageQuery {
    /// Reference or id of the image, for example `registry.example/team/app:1.2`.
    reference: String,
}

/// Everything that the engine tells of one image.
#[utoipa::path(tag = "images", operation_id = "images_inspect", params(ImageQuery), responses((status = 200, description = "The image.", body = ImageDetails)))]
#[get("/nodes/{node}/image")]
pub(crate) async fn inspect(app: web::Data<App>, node: web::Path<String>, Query(query): Query<ImageQuery>) -> Answer {
    names::image_reference("reference", &query.reference)?;
    let node = app.node(&node).await?;
    Ok(HttpResponse::Ok().json(node.inspect_image(&query.reference).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteImageQuery {
    /// Reference or id of the image.
    reference: String,
    /// Also when containers use it.
    #[serde(default)]
    force: bool,
}

/// Takes a reference away, and deletes the image with its last one.
#[utoipa::path(tag = "images", operation_id = "images_delete", params(DeleteImageQuery), responses((status = 204, description = "It is gone.")))]
#[delete("/nodes/{node}/image")]
pub(crate) async fn delete(
    app: web::Data<App>,
    node: web::Path<String>,
    Query(query): Query<DeleteImageQuery>,
) -> Answer {
    names::image_reference("reference", &query.reference)?;
    let node = app.node(&node).await?;
    node.delete_image(&query.reference, query.force).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pulls an image as a job. Its output is a line of JSON for each progress; killing it gives the pull up.
#[utoipa::path(tag = "images", operation_id = "images_pull", params(WaitQuery), request_body = PullOptions, responses(
    (status = 202, description = "The job runs.", body = JobStatus, headers(("Location" = String, description = "Path of the job"))),
    (status = 200, description = "The job has ended within the wait.", body = JobStatus)))]
#[post("/nodes/{node}/images/pull")]
pub(crate) async fn pull(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<WaitQuery>,
    Json(options): Json<PullOptions>,
) -> Answer {
    let wait = query.duration(&req)?;
    options.validate()?;
    let slot = app.nodes.get(&node)?;
    let node = slot.node(app.deadline()).await?;
    // Told now, not by a job that fails.
    node.capabilities().require(Capability::ImagePull).map_err(|error| error.with_node(slot.name()))?;
    let task = Task::Pull(Pull::new(slot.name(), options));
    let job = Works::begin(&app, task, asked_by(&req)).await?;
    accepted(&app, &job, wait).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// Reference of the new image.
    reference: String,
    /// Default command, one word; repeated for each further word.
    #[serde(default)]
    command: Vec<String>,
    /// A remark kept with the image.
    message: Option<String>,
}

/// Makes an image from the tar archive of a root file system.
#[utoipa::path(tag = "images", operation_id = "images_import", params(ImportQuery), request_body(content = inline(Binary), content_type = "application/x-tar"),
    responses((status = 201, description = "The id of the new image.", body = Created)))]
#[post("/nodes/{node}/images/import")]
pub(crate) async fn import(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<ImportQuery>,
    body: Payload,
) -> Answer {
    let mut options = ImportOptions::new(query.reference);
    options.command = query.command;
    options.message = query.message;
    options.validate()?;
    let engine = app.node(&node).await?;
    let (engine, options) = (&engine, &options);
    let id = archive::receive(&app, &req, body, |tar| async move { engine.import_image(tar, options).await }).await?;
    Ok(created(&format!("/v1/nodes/{node}/image?reference={}", options.reference), &Created { id }))
}

/// What an archive held.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Loaded {
    /// References or ids of the images.
    pub references: Vec<String>,
}

/// Loads an archive that `save` made.
#[utoipa::path(tag = "images", operation_id = "images_load", request_body(content = inline(Binary), content_type = "application/x-tar"),
    responses((status = 200, description = "What was loaded.", body = Loaded)))]
#[post("/nodes/{node}/images/load")]
pub(crate) async fn load(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    _: Query<Nothing>,
    body: Payload,
) -> Answer {
    let engine = app.node(&node).await?;
    let engine = &engine;
    let references = archive::receive(&app, &req, body, |tar| async move { engine.load_images(tar).await }).await?;
    Ok(HttpResponse::Ok().json(Loaded { references }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SaveQuery {
    /// Reference or id of an image; may be repeated.
    reference: Vec<String>,
}

/// Images as one archive.
#[utoipa::path(tag = "images", operation_id = "images_save", params(SaveQuery), responses((status = 200, description = "A tar archive.", body = inline(Binary), content_type = "application/x-tar")))]
#[get("/nodes/{node}/images/save")]
pub(crate) async fn save(app: web::Data<App>, node: web::Path<String>, Query(query): Query<SaveQuery>) -> Answer {
    for reference in &query.reference {
        names::image_reference("reference", reference)?;
    }
    let node = app.node(&node).await?;
    let archive = node.save_images(&query.reference).await?;
    Ok(archive::send(archive, "images"))
}

/// A further name for an image.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagBody {
    /// Reference or id that the image has.
    pub reference: String,
    /// Reference that it gets.
    pub new_reference: String,
}

/// Gives an image a further reference.
#[utoipa::path(tag = "images", operation_id = "images_tag", request_body = TagBody, responses((status = 204, description = "It has the reference.")))]
#[post("/nodes/{node}/images/tag")]
pub(crate) async fn tag(
    app: web::Data<App>,
    node: web::Path<String>,
    _: Query<Nothing>,
    Json(body): Json<TagBody>,
) -> Answer {
    names::image_reference("reference", &body.reference)?;
    names::image_reference("new_reference", &body.new_reference)?;
    if body.new_reference.contains('@') {
        return Err(Error::invalid("new_reference", "is a repository and a tag, not a digest").into());
    }
    let node = app.node(&node).await?;
    node.tag_image(&body.reference, &body.new_reference).await?;
    Ok(HttpResponse::NoContent().finish())
}
