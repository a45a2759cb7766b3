//! The members of a pool: which there are, keeping new containers away from one, and emptying one.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use roadstead_core::migration::{MoveSpec, WayChoice};
use roadstead_core::pool::{DrainOptions, DrainPlan, gather};
use roadstead_core::store::Kept;
use roadstead_core::{Error, Job, Listing, NodeError, NodeInfo, Pool, PoolExt, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::begun;
use super::super::jobs::{WaitQuery, asked_by, wait_for};
use super::containers::{FilterBody, PlacementBody};
use super::{granted, reach};
use crate::extract::{Nothing, OptionalJson, Query};
use crate::page::{Page, Paging};
use crate::pools::{Cordon, StoredPool};
use crate::precondition::{IfMatch, Preconditions};
use crate::problem::Answer;
use crate::state::App;
use crate::work::start_drain;

/// Moves at once when a member is emptied.
const DRAIN_CONCURRENCY: usize = 2;

/// A member of a pool.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolMember {
    /// Name of the node.
    name: String,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// Why no new containers are placed on it; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    cordon: Option<Cordon>,
    /// What it is, when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<NodeInfo>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NodeError>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MembersQuery {
    /// The most items that are wanted, 1 to 10000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Members that are wanted, with commas between.
    fields: Option<String>,
    /// What has not answered by then does not answer, 1 to 300.
    timeout_seconds: Option<u32>,
}

/// The members of a pool, those that do not answer included.
#[utoipa::path(tag = "pools", operation_id = "pools_nodes", params(MembersQuery), responses((status = 200, description = "The members.", body = Page<PoolMember>)))]
#[get("/pools/{pool}/nodes")]
pub(crate) async fn list(app: web::Data<App>, pool: web::Path<String>, Query(query): Query<MembersQuery>) -> Answer {
    let paging = Paging { limit: query.limit, cursor: query.cursor, fields: query.fields };
    paging.check::<PoolMember>()?;
    let reached = reach(&app, &pool, granted(&app, query.timeout_seconds, 300)?).await?;
    let members = reached.pool.members();
    let questions = members.iter().map(|member| {
        (member.name().to_owned(), async { Ok(vec![(member.name().to_owned(), member.node.info().await?)]) })
    });
    let told = gather(questions, reached.left).await;
    let mut infos: BTreeMap<_, _> = told.items.into_iter().collect();
    let mut listing = Listing::default();
    listing.items = members
        .into_iter()
        .map(|member| PoolMember {
            name: member.name().to_owned(),
            cordon: reached.stored.cordons.get(member.name()).cloned(),
            info: infos.remove(member.name()),
            error: told.errors.iter().find(|error| error.node == member.name()).cloned(),
            labels: member.labels,
        })
        .collect();
    (listing.errors, listing.nodes) = (told.errors, told.nodes);
    Ok(paging.respond(listing, |member| vec![member.name.clone()])?)
}

/// Why a member is to take no new containers.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CordonBody {
    /// Why, in a line of at most 256 characters.
    reason: Option<String>,
}

fn reason_of(body: &CordonBody) -> roadstead_core::Result<&str> {
    let reason = body.reason.as_deref().unwrap_or("it is cordoned");
    if reason.is_empty() || reason.chars().count() > 256 || reason.chars().any(char::is_control) {
        return Err(Error::invalid("reason", "must be one line of 1 to 256 characters"));
    }
    Ok(reason)
}

/// From now on a member takes no new containers of the pool. What is on it stays.
#[utoipa::path(tag = "pools", operation_id = "pools_cordon", request_body = Option<CordonBody>, responses((status = 204, description = "It takes none.")))]
#[post("/pools/{pool}/nodes/{node}/cordon")]
pub(crate) async fn cordon(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    preconditions: Preconditions,
    _: Query<Nothing>,
    OptionalJson(body): OptionalJson<CordonBody>,
) -> Answer {
    set_cordon(&app, &path.0, &path.1, &preconditions.if_match, reason_of(&body)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Keeps the time of a cordon that is there.
async fn set_cordon(app: &App, pool: &str, node: &str, if_match: &IfMatch, reason: &str) -> roadstead_core::Result<()> {
    app.pools.get(pool).await?.has(&app.nodes, node, app.deadline()).await?;
    let change = |stored: &mut StoredPool| {
        let since = stored.cordons.get(node).map_or_else(Timestamp::now, |before| before.since);
        stored.cordons.insert(node.to_owned(), Cordon { since, reason: reason.to_owned() });
        Ok(())
    };
    app.pools.change(pool, if_match, change).await.map(drop)
}

/// A member takes new containers again.
#[utoipa::path(tag = "pools", operation_id = "pools_uncordon", responses((status = 204, description = "It takes new containers.")))]
#[post("/pools/{pool}/nodes/{node}/uncordon")]
pub(crate) async fn uncordon(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    preconditions: Preconditions,
    _: Query<Nothing>,
    _: OptionalJson<Nothing>,
) -> Answer {
    let (pool, node) = path.into_inner();
    let stored = app.pools.get(&pool).await?;
    // A node that is no member any more may have left its cordon.
    if !stored.cordons.contains_key(&node) {
        stored.has(&app.nodes, &node, app.deadline()).await?;
    }
    let change = |stored: &mut StoredPool| {
        stored.cordons.remove(&node);
        Ok(())
    };
    app.pools.change(&pool, &preconditions.if_match, change).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How a member is emptied.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DrainBody {
    /// Only plans; nothing is changed (default false).
    dry_run: bool,
    /// Which of its containers go; all when absent.
    filter: Option<FilterBody>,
    /// Where they may go.
    placement: PlacementBody,
    /// Which way they take (default `auto`).
    way: WayChoice,
    /// With their running processes; those for which no way can stay (default false).
    live: bool,
    /// Whether the content of each copy is compared; when absent, where nobody else vouches for it.
    check: Option<bool>,
    /// Seconds between the stop signal and the kill; the container's own or the engine's when absent.
    stop_timeout_seconds: Option<u32>,
    /// How many moves at once, 1 to 16 (default 2).
    concurrency: Option<usize>,
    /// By when the plan is there, 1 to 300: what is not planned by then stays.
    timeout_seconds: Option<u32>,
    /// Why, in a line: the reason of the cordon.
    reason: Option<String>,
}

impl DrainBody {
    fn options(&self) -> roadstead_core::Result<DrainOptions> {
        let mut options = DrainOptions::default();
        if let Some(filter) = &self.filter {
            options.filter = filter.filter()?;
        }
        options.placement = self.placement.placement()?;
        let mut spec = MoveSpec::new("each");
        spec.way = self.way;
        spec.live = self.live;
        spec.check = self.check;
        spec.stop_timeout_seconds = self.stop_timeout_seconds;
        spec.validate()?;
        options.spec = spec;
        if !(1..=16).contains(&self.concurrency.unwrap_or(DRAIN_CONCURRENCY)) {
            return Err(Error::invalid("concurrency", "must be from 1 to 16"));
        }
        Ok(options)
    }
}

/// A drain: planned, under way, or over.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Drain {
    /// Path of the job that works at it: its output has a line for each container that was moved, or not. Absent for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_path: Option<String>,
    /// What is done.
    plan: DrainPlan,
}

/// Empties a member: it takes no new containers any more, and those that it has are moved to the other members. Containers that
/// cannot go are in `stays`, and stay. With `dry_run` only the plan is made, and nothing is changed.
///
/// Answers with 202 when the work has begun; with `wait`, 200 when it has ended by then. The job's exit code is 0 when the member is
/// empty, as far as the filter goes.
#[utoipa::path(tag = "pools", operation_id = "pools_drain", params(WaitQuery), request_body = Option<DrainBody>, responses(
    (status = 202, description = "It is under way.", body = Drain, headers(("Location" = String, description = "Path of the job"))),
    (status = 200, description = "With `dry_run`, or ended within the wait.", body = Drain)))]
#[post("/pools/{pool}/nodes/{node}/drain")]
pub(crate) async fn drain(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    preconditions: Preconditions,
    Query(query): Query<WaitQuery>,
    OptionalJson(body): OptionalJson<DrainBody>,
) -> Answer {
    let wait = query.duration(&req)?;
    let mut options = body.options()?;
    let reason = CordonBody { reason: Some(body.reason.clone().unwrap_or_else(|| "it is drained".to_owned())) };
    let reason = reason_of(&reason)?;
    let deadline = granted(&app, body.timeout_seconds, 300)?;
    let (pool, node) = (&path.0, &path.1);
    let Kept { value: stored, revision, .. } = app.pools.kept(pool).await?;
    preconditions.if_match.require_revision(&format!("the pool {pool}"), revision)?;
    stored.has(&app.nodes, node, deadline).await?;
    if !body.dry_run {
        if stored.settings.own_of.is_some() {
            // Moves name nodes of the server, so that the next server can go on with them.
            let words = "moving containers between members of an engine's own pool: a dry run says where they could go";
            return Err(Error::unsupported(words).into());
        }
        // First, so that nothing comes while the plan is made.
        set_cordon(&app, pool, node, &preconditions.if_match, reason).await?;
    }
    let reached = reach(&app, pool, deadline).await?;
    options.deadline = reached.left;
    let plan = reached.pool.plan_drain(node, &options).await?;
    if body.dry_run {
        return Ok(HttpResponse::Ok().json(Drain { job_path: None, plan }));
    }
    let concurrency = body.concurrency.unwrap_or(DRAIN_CONCURRENCY);
    let job = start_drain(&app, pool, &plan, concurrency, asked_by(&req)).await?;
    accepted(&app, &job, wait, plan).await
}

async fn accepted(app: &App, job: &dyn Job, wait: Option<std::time::Duration>, plan: DrainPlan) -> Answer {
    let status = wait_for(app, job, wait).await.map_err(|error| begun(error, job.id()))?;
    let over = status.state.is_final() && wait.is_some();
    let mut response = if over { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    if let Some(wait) = wait {
        response.insert_header(("Preference-Applied", format!("wait={}", wait.as_secs())));
    }
    let job_path = format!("/v1/jobs/{}", status.id);
    Ok(response.insert_header((header::LOCATION, job_path.clone())).json(Drain { job_path: Some(job_path), plan }))
}
