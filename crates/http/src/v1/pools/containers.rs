//! The containers of a pool: lists, sums, verbs over many, and new ones on the member that suits best.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use roadstead_core::pool::{
    ActedItem, ContainerAction, Decision, ManyOptions, PlacedContainer, Placement, PoolTotals, Strategy,
};
use roadstead_core::{
    ContainerFilter, ContainerSpec, ContainerState, ContainerSummary, DeleteOptions, Error, Job, LabelSelector,
    Listing, Pool, PoolExt, Result, Signal, StopOptions, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::super::containers::{ContainersQuery, CreateQuery, state};
use super::super::jobs::{JobView, WaitQuery, asked_by, wait_for};
use super::super::{begun, created, newest_first};
use super::{TimeQuery, granted, reach};
use crate::extract::{Json, Query};
use crate::page::Page;
use crate::problem::Answer;
use crate::state::App;
use crate::work::{Act, Task, Works};

/// The longest that a verb over many is waited for.
const ACT_MAX_SECONDS: u32 = 3600;
/// How long after its deadline a verb over many may be written down.
const SETTLING: Duration = Duration::from_secs(5);

/// The containers of every member. Members that do not answer in time are in `errors`; the others are not held back.
#[utoipa::path(tag = "pools", operation_id = "pools_containers", params(ContainersQuery), responses((status = 200, description = "The containers.", body = Page<ContainerSummary>)))]
#[get("/pools/{pool}/containers")]
pub(crate) async fn list(app: web::Data<App>, pool: web::Path<String>, Query(query): Query<ContainersQuery>) -> Answer {
    let question = query.parse_asked(&app)?;
    let reached = reach(&app, &pool, question.deadline).await?;
    let listing = reached.pool.list_containers(&question.filter, reached.left).await?;
    Ok(question.paging.respond(listing, |container| {
        vec![container.node.clone(), newest_first(container.created_at), container.id.clone()]
    })?)
}

/// What the members have together, and what of it is used. Members that do not answer in time are in `errors`, and not in the sums.
#[utoipa::path(tag = "pools", operation_id = "pools_totals", params(TimeQuery), responses((status = 200, description = "The sums.", body = PoolTotals)))]
#[get("/pools/{pool}/totals")]
pub(crate) async fn totals(app: web::Data<App>, pool: web::Path<String>, Query(query): Query<TimeQuery>) -> Answer {
    let reached = reach(&app, &pool, granted(&app, query.timeout_seconds, 300)?).await?;
    Ok(HttpResponse::Ok().json(reached.pool.totals(reached.left).await))
}

/// Where a container may go.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlacementBody {
    /// Which of the members that may take it is best (default `spread`).
    strategy: Strategy,
    /// Only members with all of these labels, `key` or `key=value`.
    labels: Vec<String>,
    /// Only these members; all when empty.
    nodes: Vec<String>,
    /// Only members with so many bytes of free memory; the memory limit of the container when absent.
    memory_bytes: Option<u64>,
}

impl PlacementBody {
    pub(super) fn placement(&self) -> Result<Placement> {
        let mut placement = Placement::by(self.strategy);
        placement.labels = self.labels.iter().map(|label| LabelSelector::parse(label)).collect();
        placement.nodes.clone_from(&self.nodes);
        placement.memory_bytes = self.memory_bytes;
        placement.validate().map_err(|error| within("placement", &error))?;
        Ok(placement)
    }
}

/// The same error of a field that stands elsewhere in the body.
fn at(field: &str, error: &Error) -> Error {
    let own = error.field().map(|own| format!("{own}: ")).unwrap_or_default();
    Error::invalid(field, error.message().strip_prefix(&own).unwrap_or(error.message()).to_owned())
}

/// The same error of a member of the body.
fn within(member: &str, error: &Error) -> Error {
    at(&format!("{member}.{}", error.field().unwrap_or_default()), error)
}

/// A container to make on a member.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPoolContainer {
    /// What it shall be.
    spec: ContainerSpec,
    /// Where it may go.
    #[serde(default)]
    placement: PlacementBody,
    /// How long this may take, 1 to 300.
    #[serde(default)]
    timeout_seconds: Option<u32>,
}

/// Makes a container on the member that suits best, and tells why there and why not elsewhere. With `dry_run=true` nothing is made.
/// With `start=true` it is started, too; when the start fails, the container stays and the error names it as its resource.
#[utoipa::path(tag = "pools", operation_id = "pools_create_container", params(CreateQuery), request_body = NewPoolContainer,
    responses((status = 200, description = "With `dry_run`: where it would be made, if anywhere.", body = Decision),
        (status = 201, description = "The new container.", body = PlacedContainer, headers(("Location" = String, description = "Path of the container")))))]
#[post("/pools/{pool}/containers")]
pub(crate) async fn create(
    app: web::Data<App>,
    pool: web::Path<String>,
    Query(query): Query<CreateQuery>,
    Json(body): Json<NewPoolContainer>,
) -> Answer {
    query.validate()?;
    body.spec.validate().map_err(|error| within("spec", &error))?;
    let placement = body.placement.placement()?;
    let reached = reach(&app, &pool, granted(&app, body.timeout_seconds, 300)?).await?;
    if query.dry_run {
        return Ok(HttpResponse::Ok().json(reached.pool.place(&body.spec, &placement, reached.left).await?));
    }
    let made = reached.pool.create_container(&body.spec, &placement, reached.left).await?;
    let id = made.container.id.clone();
    if query.start {
        let container = reached.pool.node(&made.node)?.container(&id);
        container.start().await.map_err(|error| begun(error, &id))?;
    }
    // Members of an engine's own pool need not be nodes of the server.
    let location = match app.nodes.get(&made.node) {
        Ok(_) => format!("/v1/nodes/{}/containers/{id}", made.node),
        Err(_) => format!("/v1/pools/{pool}/containers?name={}", made.container.name),
    };
    Ok(created(&location, &made))
}

/// Which containers.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilterBody {
    /// Any of these states; all when empty.
    #[schema(value_type = Vec<ContainerState>)]
    states: Vec<String>,
    /// Any of these names, exactly; all when empty.
    names: Vec<String>,
    /// All of these labels, `key` or `key=value`.
    labels: Vec<String>,
}

impl FilterBody {
    pub(super) fn filter(&self) -> Result<ContainerFilter> {
        let mut filter = ContainerFilter::all();
        filter.states = self.states.iter().map(|word| state("filter.states", word)).collect::<Result<_>>()?;
        filter.names.clone_from(&self.names);
        filter.labels = self.labels.iter().map(|label| LabelSelector::parse(label)).collect();
        filter.validate().map_err(|error| {
            let field = match error.field() {
                Some("name") => "filter.names",
                _ => "filter.labels",
            };
            at(field, &error)
        })?;
        Ok(filter)
    }
}

/// Over which containers, how, and by when.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ActBody {
    /// Which containers; what is absent narrows nothing.
    filter: Option<FilterBody>,
    /// Every container of the pool. Has to be said, so that a filter that was forgotten does no harm.
    all: bool,
    /// For `stop` and `restart`: seconds between the stop signal and the kill.
    stop_timeout_seconds: Option<u32>,
    /// For `kill`: the signal (default SIGKILL).
    signal: Option<Signal>,
    /// For `delete`: kills those that run first (default false).
    force: bool,
    /// For `delete`: with their anonymous volumes (default false).
    volumes: bool,
    /// Only says what would be done (default false).
    dry_run: bool,
    /// How many at once, 1 to 1000 (default 16).
    concurrency: Option<usize>,
    /// How many of them at once on one node, 1 to 1000 (default 4).
    per_node: Option<usize>,
    /// By when this answers, 1 to 3600. What had not begun by then is `not_begun`, what had not ended is `unknown`.
    timeout_seconds: Option<u32>,
}

impl ActBody {
    fn action(&self, verb: &str) -> Result<ContainerAction> {
        let mut stop = StopOptions::default();
        stop.timeout_seconds = self.stop_timeout_seconds;
        stop.validate().map_err(|error| at("stop_timeout_seconds", &error))?;
        let mut delete = DeleteOptions::default();
        delete.force = self.force;
        delete.volumes = self.volumes;
        let action = match verb {
            "start" => ContainerAction::Start,
            "stop" => ContainerAction::Stop(stop),
            "restart" => ContainerAction::Restart(stop),
            "kill" => ContainerAction::Kill(self.signal.unwrap_or(Signal::KILL)),
            "freeze" => ContainerAction::Freeze,
            "unfreeze" => ContainerAction::Unfreeze,
            "delete" => ContainerAction::Delete(delete),
            _ => {
                let words = "is not one of start, stop, restart, kill, freeze, unfreeze, delete";
                return Err(Error::invalid("verb", format!("{verb:?} {words}")));
            }
        };
        // An option of another verb was meant for something that would not be done.
        let stops = matches!(action, ContainerAction::Stop(_) | ContainerAction::Restart(_));
        let deletes = matches!(action, ContainerAction::Delete(_));
        for (field, given, fits) in [
            ("stop_timeout_seconds", self.stop_timeout_seconds.is_some(), stops),
            ("signal", self.signal.is_some(), matches!(action, ContainerAction::Kill(_))),
            ("force", self.force, deletes),
            ("volumes", self.volumes, deletes),
        ] {
            if given && !fits {
                return Err(Error::invalid(field, format!("says nothing for {verb}")));
            }
        }
        Ok(action)
    }

    fn options(&self) -> Result<ManyOptions> {
        let filter = self.filter.as_ref().map_or(Ok(ContainerFilter::all()), FilterBody::filter)?;
        match (self.all, filter.is_empty()) {
            (false, true) => {
                let words = "narrows nothing: say `all` when every container of the pool is meant";
                return Err(Error::invalid("filter", words));
            }
            (true, false) => return Err(Error::invalid("all", "contradicts the filter")),
            _ => {}
        }
        let mut options = ManyOptions::of(filter);
        options.dry_run = self.dry_run;
        options.concurrency = self.concurrency.unwrap_or(options.concurrency);
        options.per_node = self.per_node.unwrap_or(options.per_node);
        options.validate()?;
        Ok(options)
    }
}

/// Does the same to many containers: `start`, `stop`, `restart`, `kill`, `freeze`, `unfreeze` or `delete`. Each has an outcome of its
/// own; members that do not answer are in `errors`.
///
/// This is a job of the server: it is kept before it begins, and goes on when a server ends meanwhile, without doing anything twice.
/// Without `wait` the answer comes when it has ended; with `wait`, 202 when it has not ended by then.
#[utoipa::path(tag = "pools", operation_id = "pools_act", params(WaitQuery), request_body = ActBody,
    responses((status = 200, description = "What came of it for each container.", body = Listing<ActedItem>, headers(("Location" = String, description = "Path of the job; none for a dry run"))),
        (status = 202, description = "The job goes on.", body = JobView, headers(("Location" = String, description = "Path of the job")))))]
#[post("/pools/{pool}/containers/{verb}")]
pub(crate) async fn act(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<ActBody>,
) -> Answer {
    let wait = query.duration(&req)?;
    let action = body.action(&path.1)?;
    let mut options = body.options()?;
    let deadline = granted(&app, body.timeout_seconds, ACT_MAX_SECONDS)?;
    if options.dry_run {
        let reached = reach(&app, &path.0, deadline).await?;
        options.deadline = reached.left;
        return Ok(HttpResponse::Ok().json(reached.pool.act(&action, &options).await?));
    }
    let pool = app.pools.get(&path.0).await?.name;
    let until = Timestamp::now().saturating_add(deadline);
    let ManyOptions { filter, concurrency, per_node, .. } = options;
    let task = Task::Act(Act { pool, action, filter, concurrency, per_node, until });
    let job = Works::begin(&app, task, asked_by(&req)).await?;
    // Ends soon after its deadline; what is left for that is for the store.
    let patience = wait.unwrap_or(deadline + SETTLING);
    let told = async {
        let _ = wait_for(&app, &job, Some(patience)).await?;
        let record = job.record().await?;
        // What there is of an end that is not there yet is of no use.
        let items = if record.state.is_final() { job.items().await? } else { Vec::new() };
        Ok((record, items))
    };
    let (record, items) = told.await.map_err(|error| begun(error, job.id()))?;
    let place = (header::LOCATION, format!("/v1/jobs/{}", job.id()));
    if !record.state.is_final() {
        return Ok(HttpResponse::Accepted().insert_header(place).json(JobView::from(record)));
    }
    // It could not begin at all.
    if let Some(failure) = record.failure {
        return Err(failure.into_error().into());
    }
    let mut listing = Listing::default();
    listing.items = items.into_iter().map(ActedItem::from).collect();
    (listing.errors, listing.nodes) = (record.errors, record.answers);
    // Members in the order of the pool; they have answered in another one.
    listing.items.sort_by_key(|item| listing.nodes.iter().position(|answer| answer.node == item.node));
    Ok(HttpResponse::Ok().insert_header(place).json(listing))
}
