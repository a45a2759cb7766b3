//! The verbs on a container: each is a POST, its options are the body.

use std::time::Duration;

use actix_web::{HttpResponse, post, web};
use roadstead_core::{
    CommitOptions, ContainerExit, ContainerUpdate, Error, Result, Signal, StopOptions, TerminalSize, WaitFor, names,
};
use serde::Deserialize;

use super::Created;
use crate::extract::{Json, Nothing, OptionalJson, Query};
use crate::problem::Answer;
use crate::state::App;

fn done() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}

/// Starts a container. Starting one that runs is fine.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_start", responses((status = 204, description = "It runs.")))]
#[post("/nodes/{node}/containers/{container}/start")]
pub(crate) async fn start(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    _: OptionalJson<Nothing>,
) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    container.start().await?;
    done()
}

/// Asks the main process to end, and kills it when its time is up.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_stop", request_body = Option<StopOptions>, responses((status = 204, description = "It does not run.")))]
#[post("/nodes/{node}/containers/{container}/stop")]
pub(crate) async fn stop(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    OptionalJson(options): OptionalJson<StopOptions>,
) -> Answer {
    options.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    container.stop(&options).await?;
    done()
}

/// Stops a container if it runs, and starts it.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_restart", request_body = Option<StopOptions>, responses((status = 204, description = "It runs.")))]
#[post("/nodes/{node}/containers/{container}/restart")]
pub(crate) async fn restart(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    OptionalJson(options): OptionalJson<StopOptions>,
) -> Answer {
    options.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    container.restart(&options).await?;
    done()
}

/// Which signal is sent.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KillBody {
    /// By name or number; `SIGKILL` when absent.
    pub signal: Option<Signal>,
}

/// Sends a signal to the main process.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_kill", request_body = Option<KillBody>, responses((status = 204, description = "The signal is sent.")))]
#[post("/nodes/{node}/containers/{container}/kill")]
pub(crate) async fn kill(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    OptionalJson(body): OptionalJson<KillBody>,
) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    container.kill(body.signal.unwrap_or(Signal::KILL)).await?;
    done()
}

/// Stops all processes of a container in place.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_freeze", responses((status = 204, description = "It is frozen.")))]
#[post("/nodes/{node}/containers/{container}/freeze")]
pub(crate) async fn freeze(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    _: OptionalJson<Nothing>,
) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    container.freeze().await?;
    done()
}

/// Lets all processes of a container go on.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_unfreeze", responses((status = 204, description = "It runs.")))]
#[post("/nodes/{node}/containers/{container}/unfreeze")]
pub(crate) async fn unfreeze(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    _: OptionalJson<Nothing>,
) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    container.unfreeze().await?;
    done()
}

/// The new name.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameBody {
    /// The new name.
    pub name: String,
}

/// Gives a container another name.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_rename", request_body = RenameBody, responses((status = 204, description = "It has the name.")))]
#[post("/nodes/{node}/containers/{container}/rename")]
pub(crate) async fn rename(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    Json(body): Json<RenameBody>,
) -> Answer {
    names::container_name("name", &body.name)?;
    let container = app.container(&path.0, &path.1).await?;
    container.rename(&body.name).await?;
    done()
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UpdateQuery {
    /// True: the engine leaves it alone when the engine itself is started, whatever it is configured to do. False: it does
    /// as it is configured again. Moves hold what is not the one runnable copy.
    hold: Option<bool>,
}

/// Changes the limits and the restart policy of a container; absent members stay as they are.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_update", params(UpdateQuery), request_body = ContainerUpdate, responses((status = 204, description = "They are in effect.")))]
#[post("/nodes/{node}/containers/{container}/update")]
pub(crate) async fn update(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<UpdateQuery>,
    Json(mut changes): Json<ContainerUpdate>,
) -> Answer {
    changes.validate()?;
    changes.hold = query.hold;
    let container = app.container(&path.0, &path.1).await?;
    container.update(&changes).await?;
    done()
}

/// What is waited for, and how long.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WaitBody {
    /// What is waited for; `stopped` when absent.
    pub condition: WaitFor,
    /// How long at most, 1 to 3600; the server's own deadline when absent. When it is over the answer is 504, and the
    /// container is not touched.
    pub timeout_seconds: Option<u32>,
}

/// Waits until a container ends.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_wait", request_body = Option<WaitBody>, responses((status = 200, description = "How it ended.", body = ContainerExit)))]
#[post("/nodes/{node}/containers/{container}/wait")]
pub(crate) async fn wait(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    OptionalJson(body): OptionalJson<WaitBody>,
) -> Answer {
    let deadline = wait_deadline(&app, body.timeout_seconds)?;
    let container = app.container(&path.0, &path.1).await?;
    let call = container.wait(body.condition, deadline);
    let exit = call.await?;
    Ok(HttpResponse::Ok().json(exit))
}

fn wait_deadline(app: &App, seconds: Option<u32>) -> Result<Duration> {
    match seconds {
        None => Ok(app.deadline()),
        Some(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds.into())),
        Some(_) => Err(Error::invalid("timeout_seconds", "must be from 1 to 3600")),
    }
}

/// Makes an image of a container's file system.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_commit", request_body = CommitOptions, responses((status = 201, description = "The id of the new image.", body = Created)))]
#[post("/nodes/{node}/containers/{container}/commit")]
pub(crate) async fn commit(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    Json(options): Json<CommitOptions>,
) -> Answer {
    options.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    let id = container.commit(&options).await?;
    let location = format!("/v1/nodes/{}/image?reference={}", path.0, options.image);
    Ok(super::created(&location, &Created { id }))
}

/// Sets the size of the main process's terminal.
#[utoipa::path(tag = "lifecycle", operation_id = "containers_resize", request_body = TerminalSize, responses((status = 204, description = "It has the size.")))]
#[post("/nodes/{node}/containers/{container}/resize")]
pub(crate) async fn resize(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    _: Query<Nothing>,
    Json(size): Json<TerminalSize>,
) -> Answer {
    size.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    container.resize(size).await?;
    done()
}
