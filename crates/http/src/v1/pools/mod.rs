//! Pools: named sets of nodes that are addressed as one.

mod containers;
mod members;

pub(crate) use containers::{act, create as create_container, list as list_containers, totals};
pub(crate) use members::{cordon, drain, list as list_members, uncordon};

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder, delete, get, post, put, web};
use roadstead_core::store::{Kept, Revision};
use roadstead_core::{Error, ErrorKind, Listing, Result, StaticPool};
use serde::{Deserialize, Serialize};

use crate::extract::{Json, Nothing, Query};
use crate::page::{Page, Paging};
use crate::pools::{PoolSettings, StoredPool};
use crate::precondition::{Preconditions, etag, is_there};
use crate::problem::Answer;
use crate::state::App;

/// A pool to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPool {
    /// Name: letters, digits, `_`, `.` and `-`, at most 63.
    name: String,
    /// Nodes that belong to it, by name; they need not be there yet.
    #[serde(default)]
    nodes: Vec<String>,
    /// Nodes that belong to it by what they are, besides those that are named.
    #[serde(default)]
    select: Option<crate::pools::Select>,
    /// In place of nodes and selection: the pool of its engine's own that this node is in, a cluster or a swarm. Who its members
    /// are, the engine tells.
    #[serde(default)]
    own_of: Option<String>,
}

/// A pool.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolView {
    /// Name.
    name: String,
    /// Which nodes belong to it.
    #[serde(flatten)]
    settings: PoolSettings,
    /// Its members at this moment, by name; absent where an engine would have to be asked (`own_of`).
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
}

impl PoolView {
    fn new(app: &App, pool: StoredPool) -> Self {
        let (slots, missing) = pool.slots(&app.nodes);
        let mut members: Vec<_> = slots.iter().map(|slot| slot.name().to_owned()).chain(missing).collect();
        members.sort();
        let members = pool.settings.own_of.is_none().then_some(members);
        PoolView { name: pool.name, settings: pool.settings, members }
    }
}

/// Answers with a pool, and the validator by which it can be changed.
fn shown(app: &App, mut response: HttpResponseBuilder, pool: StoredPool, revision: Revision) -> HttpResponse {
    let view = PoolView::new(app, pool);
    response.insert_header((header::ETAG, etag(revision, &view))).json(view)
}

/// A pool with its members connected, and the time that is left.
pub(super) struct Reached {
    pub(super) stored: StoredPool,
    pub(super) pool: StaticPool,
    pub(super) left: Duration,
}

/// Half of the time at most goes for connecting: a member that takes longer does not answer.
pub(super) async fn reach(app: &App, name: &str, deadline: Duration) -> Result<Reached> {
    let begun = Instant::now();
    let stored = app.pools.get(name).await?;
    let pool = stored.resolve(&app.nodes, deadline / 2).await?;
    Ok(Reached { stored, pool, left: deadline.saturating_sub(begun.elapsed()) })
}

/// What a caller grants, or what the server has as its default.
pub(super) fn granted(app: &App, seconds: Option<u32>, most: u32) -> Result<Duration> {
    match seconds {
        None => Ok(app.deadline()),
        Some(seconds) if (1..=most).contains(&seconds) => Ok(Duration::from_secs(seconds.into())),
        Some(_) => Err(Error::invalid("timeout_seconds", format!("must be from 1 to {most}"))),
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimeQuery {
    /// What has not answered by then is an error of the answer, 1 to 300.
    timeout_seconds: Option<u32>,
}

/// Every pool.
#[utoipa::path(tag = "pools", operation_id = "pools_list", params(Paging), responses((status = 200, description = "The pools.", body = Page<PoolView>)))]
#[get("/pools")]
pub(crate) async fn list(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<PoolView>()?;
    let mut listing = Listing::default();
    listing.items = app.pools.all().await?.into_iter().map(|pool| PoolView::new(&app, pool)).collect();
    Ok(paging.respond(listing, |pool| vec![pool.name.clone()])?)
}

/// Makes a pool. Its members are the nodes that are named, and those that the selection takes, at any time.
#[utoipa::path(tag = "pools", operation_id = "pools_create", request_body = NewPool,
    responses((status = 201, description = "The new pool.", body = PoolView, headers(("Location" = String, description = "Path of the pool")))))]
#[post("/pools")]
pub(crate) async fn create(
    app: web::Data<App>,
    preconditions: Preconditions,
    _: Query<Nothing>,
    Json(pool): Json<NewPool>,
) -> Answer {
    let settings = PoolSettings { nodes: pool.nodes, select: pool.select, own_of: pool.own_of };
    let made = app.pools.create(&pool.name, settings).await;
    let (made, revision) = made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists if preconditions.if_new => is_there(&error),
        _ => error,
    })?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/pools/{}", made.name)));
    Ok(shown(&app, response, made, revision))
}

/// One pool.
#[utoipa::path(tag = "pools", operation_id = "pools_get", responses((status = 200, description = "The pool.", body = PoolView)))]
#[get("/pools/{pool}")]
pub(crate) async fn inspect(app: web::Data<App>, pool: web::Path<String>, _: Query<Nothing>) -> Answer {
    let Kept { value, revision, .. } = app.pools.kept(&pool).await?;
    Ok(shown(&app, HttpResponse::Ok(), value, revision))
}

/// Says anew which nodes belong to a pool. Cordons stay.
#[utoipa::path(tag = "pools", operation_id = "pools_replace", request_body = PoolSettings, responses((status = 200, description = "The pool.", body = PoolView)))]
#[put("/pools/{pool}")]
pub(crate) async fn replace(
    app: web::Data<App>,
    pool: web::Path<String>,
    preconditions: Preconditions,
    _: Query<Nothing>,
    Json(settings): Json<PoolSettings>,
) -> Answer {
    settings.validate()?;
    let change = |pool: &mut StoredPool| {
        pool.settings.clone_from(&settings);
        Ok(())
    };
    let Kept { value, revision, .. } = app.pools.change(&pool, &preconditions.if_match, change).await?;
    Ok(shown(&app, HttpResponse::Ok(), value, revision))
}

/// Forgets a pool. Its nodes, and what runs on them, stay.
#[utoipa::path(tag = "pools", operation_id = "pools_delete", responses((status = 204, description = "It is forgotten.")))]
#[delete("/pools/{pool}")]
pub(crate) async fn remove(
    app: web::Data<App>,
    pool: web::Path<String>,
    preconditions: Preconditions,
    _: Query<Nothing>,
) -> Answer {
    app.pools.remove(&pool, &preconditions.if_match).await?;
    Ok(HttpResponse::NoContent().finish())
}
