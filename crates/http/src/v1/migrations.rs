//! Migrations: containers that are moved from one node to another.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use roadstead_core::migration::{
    Content, MoveFailure, MovePlan, MoveRecord, MoveSpec, MoveState, StepRecord, WayChoice,
};
use roadstead_core::{Listing, Timestamp, names};
use serde::{Deserialize, Serialize};

use super::begun;
use super::jobs::{WaitQuery, wait_for};
use crate::envelope::request_id;
use crate::extract::{Json, Nothing, Query};
use crate::moves::{Active, Direction, Underway};
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// The container that is moved.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationSource {
    /// Name of the node that has it.
    pub node: String,
    /// Its id or name.
    pub container: String,
}

/// Where it goes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationTarget {
    /// Name of the node that gets it.
    pub node: String,
    /// Its name there; the same when absent.
    #[serde(default)]
    pub name: Option<String>,
}

/// What shall be moved, where, and how.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationRequest {
    /// The container.
    pub source: MigrationSource,
    /// Where it goes.
    pub target: MigrationTarget,
    /// Which way it takes (default `auto`).
    #[serde(default)]
    pub way: WayChoice,
    /// With its snapshots, where the way can take them (default true).
    #[serde(default)]
    pub snapshots: Option<bool>,
    /// With its running processes; refused where no way can (default false).
    #[serde(default)]
    pub live: bool,
    /// Whether the content is compared file by file; when absent, where nobody else vouches for it.
    #[serde(default)]
    pub check: Option<bool>,
    /// Leaves the source, stopped and renamed, instead of deleting it (default false).
    #[serde(default)]
    pub keep_source: bool,
    /// Seconds between the stop signal and the kill; the container's own or the engine's when absent.
    #[serde(default)]
    pub stop_timeout_seconds: Option<u32>,
}

impl MigrationRequest {
    fn spec(&self) -> roadstead_core::Result<MoveSpec> {
        names::node_name("source.node", &self.source.node)?;
        names::node_name("target.node", &self.target.node)?;
        names::existing("source.container", &self.source.container)?;
        if let Some(name) = &self.target.name {
            names::container_name("target.name", name)?;
        }
        if self.source.node == self.target.node {
            return Err(roadstead_core::Error::invalid("target.node", "is the node that has the container"));
        }
        let mut spec = MoveSpec::new(&self.source.container);
        spec.new_name.clone_from(&self.target.name);
        spec.way = self.way;
        spec.snapshots = self.snapshots.unwrap_or(true);
        spec.live = self.live;
        spec.check = self.check;
        spec.keep_source = self.keep_source;
        spec.stop_timeout_seconds = self.stop_timeout_seconds;
        spec.validate()?;
        Ok(spec)
    }
}

/// A move as far as it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Migration {
    /// Id of the move.
    pub id: String,
    /// Whether the server works at it now.
    pub active: bool,
    /// Path of the job that works at it, whose output tells the progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_path: Option<String>,
    /// What was planned.
    pub plan: MovePlan,
    /// Where it stands.
    pub state: MoveState,
    /// The steps of the plan as far as they got.
    pub steps: Vec<StepRecord>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When something changed last.
    pub updated_at: Timestamp,
    /// Whether the source ran when the move began.
    pub ran: bool,
    /// Bytes of content read so far.
    pub bytes: u64,
    /// What was read and compared, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Why it does not go on, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<MoveFailure>,
    /// What was left behind or went otherwise than planned.
    pub notes: Vec<String>,
}

impl Migration {
    async fn new((record, active): (MoveRecord, Option<Active>)) -> Self {
        let job_path = match &active {
            None => None,
            Some(active) => active.job.status().await.ok().map(|job| format!("/v1/jobs/{}", job.id)),
        };
        Migration {
            id: record.id().to_owned(),
            active: active.is_some(),
            job_path,
            plan: record.plan,
            state: record.state,
            steps: record.steps,
            created_at: record.created_at,
            updated_at: record.updated_at,
            ran: record.ran,
            bytes: record.bytes,
            content: record.content,
            failure: record.failure,
            notes: record.notes,
        }
    }
}

/// 202 with the place of the migration, or 200 when the work has ended within the wait.
async fn accepted(app: &App, req: &HttpRequest, query: &WaitQuery, id: &str, work: Underway) -> Answer {
    let wait = query.duration(req)?;
    let told = async {
        let over = match (&work, wait) {
            (Underway::Over, _) => true,
            (Underway::Here(job), Some(_)) => wait_for(app, &**job, wait).await?.state.is_final(),
            (Underway::Elsewhere, Some(wait)) => app.moves.is_over_within(app, id, wait).await?,
            (_, None) => false,
        };
        Ok((over, app.moves.get(id).await?))
    };
    let (over, record) = told.await.map_err(|error| begun(error, id))?;
    let migration = Migration::new(record).await;
    let mut response = if over { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    if let Some(wait) = wait {
        response.insert_header(("Preference-Applied", format!("wait={}", wait.as_secs())));
    }
    Ok(response.insert_header((header::LOCATION, format!("/v1/migrations/{id}"))).json(migration))
}

/// What a migration would do, and what it could not carry. Nothing is changed.
#[utoipa::path(tag = "migrations", operation_id = "migrations_plan", request_body = MigrationRequest,
    responses((status = 200, description = "The plan.", body = MovePlan)))]
#[post("/migrations/plan")]
pub(crate) async fn make_plan(app: web::Data<App>, _: Query<Nothing>, Json(request): Json<MigrationRequest>) -> Answer {
    let spec = request.spec()?;
    let plan = app.moves.plan(&app, &request.source.node, &request.target.node, &spec).await?;
    Ok(HttpResponse::Ok().json(plan))
}

/// Moves a container to another node. Answers at once with 202; with `wait`, 200 when it has ended by then.
#[utoipa::path(tag = "migrations", operation_id = "migrations_start", params(WaitQuery), request_body = MigrationRequest, responses(
    (status = 202, description = "It is on its way.", body = Migration, headers(("Location" = String, description = "Path of the migration"))),
    (status = 200, description = "It has ended within the wait: `state` tells how.", body = Migration)))]
#[post("/migrations")]
pub(crate) async fn start(
    app: web::Data<App>,
    req: HttpRequest,
    Query(query): Query<WaitQuery>,
    Json(request): Json<MigrationRequest>,
) -> Answer {
    query.duration(&req)?;
    let spec = request.spec()?;
    let plan = app.moves.plan(&app, &request.source.node, &request.target.node, &spec).await?;
    let id = plan.id.clone();
    let job = app.moves.begin(&app, plan, request_id(&req)).await?;
    accepted(&app, &req, &query, &id, Underway::Here(job)).await
}

/// Every migration that is not forgotten, oldest first.
#[utoipa::path(tag = "migrations", operation_id = "migrations_list", params(Paging), responses((status = 200, description = "The migrations.", body = Page<Migration>)))]
#[get("/migrations")]
pub(crate) async fn list(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<Migration>()?;
    let mut listing = Listing::default();
    for found in app.moves.list().await? {
        listing.items.push(Migration::new(found).await);
    }
    Ok(paging.respond(listing, |migration| {
        vec![format!("{:039}", migration.created_at.unix_nanos().max(0)), migration.id.clone()]
    })?)
}

/// One migration: its plan, its state, and its steps.
#[utoipa::path(tag = "migrations", operation_id = "migrations_get", responses((status = 200, description = "The migration.", body = Migration)))]
#[get("/migrations/{migration}")]
pub(crate) async fn inspect(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    Ok(HttpResponse::Ok().json(Migration::new(app.moves.get(&id).await?).await))
}

/// Goes on with a migration that was interrupted, or starts one over that was rolled back.
#[utoipa::path(tag = "migrations", operation_id = "migrations_apply", params(WaitQuery), responses(
    (status = 202, description = "It is on its way.", body = Migration, headers(("Location" = String, description = "Path of the migration"))),
    (status = 200, description = "It has ended within the wait: `state` tells how.", body = Migration)))]
#[post("/migrations/{migration}/apply")]
pub(crate) async fn apply(
    app: web::Data<App>,
    req: HttpRequest,
    id: web::Path<String>,
    Query(query): Query<WaitQuery>,
) -> Answer {
    query.duration(&req)?;
    let job = app.moves.drive(&app, &id, Direction::Forward, request_id(&req)).await?;
    accepted(&app, &req, &query, &id, Underway::Here(job)).await
}

/// Calls a migration off: the container is on the source as it was. Refused once it is on the target.
#[utoipa::path(tag = "migrations", operation_id = "migrations_cancel", params(WaitQuery), responses(
    (status = 202, description = "It is on its way back.", body = Migration, headers(("Location" = String, description = "Path of the migration"))),
    (status = 200, description = "It has ended within the wait: `state` tells how.", body = Migration)))]
#[post("/migrations/{migration}/cancel")]
pub(crate) async fn cancel(
    app: web::Data<App>,
    req: HttpRequest,
    id: web::Path<String>,
    Query(query): Query<WaitQuery>,
) -> Answer {
    query.duration(&req)?;
    let work = app.moves.cancel(&app, &id, request_id(&req)).await?;
    accepted(&app, &req, &query, &id, work).await
}

/// Forgets a migration that is over, or one of whose nodes is no node of the server any more.
#[utoipa::path(tag = "migrations", operation_id = "migrations_delete", responses((status = 204, description = "It is forgotten.")))]
#[delete("/migrations/{migration}")]
pub(crate) async fn forget(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    app.moves.forget(&app, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
