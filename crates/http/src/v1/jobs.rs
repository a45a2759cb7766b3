//! Jobs: commands in containers and on nodes, and the long work of the server itself.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roadstead_core::{
    Error, ErrorKind, Job, JobSpec, JobStatus, Listing, NodeError, OutputOptions, Result, Signal, TerminalSize, names,
};
use serde::{Deserialize, Serialize};

use super::begun;
use crate::archive::Binary;
use crate::auth::Identity;
use crate::envelope::request_id;
use crate::extract::{Json, Nothing, Query};
use crate::fanout;
use crate::page::{Page, Paging};
use crate::problem::{Answer, Problem};
use crate::state::App;
use crate::stream::{self, OutputItem, Wire};
use crate::work::{Asked, Counts, JobItem, JobRecord, StoredJob};

/// The longest time that a request may wait for a job.
const WAIT_MAX_SECONDS: u32 = 3600;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Waits up to so many seconds for the end of the job, at most 3600. The header `Prefer: wait=N` says the same.
    wait: Option<u32>,
}

impl WaitQuery {
    /// The query wins over the header; a preference that makes no sense is ignored, as preferences are.
    pub(crate) fn duration(&self, req: &HttpRequest) -> Result<Option<Duration>> {
        if let Some(seconds) = self.wait {
            if seconds > WAIT_MAX_SECONDS {
                return Err(Error::invalid("wait", "must be from 0 to 3600"));
            }
            return Ok(Some(Duration::from_secs(seconds.into())));
        }
        let preferred = req
            .headers()
            .get_all("Prefer")
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .find_map(|preference| preference.trim().strip_prefix("wait=")?.trim().parse::<u32>().ok());
        Ok(preferred.map(|seconds| Duration::from_secs(seconds.min(WAIT_MAX_SECONDS).into())))
    }
}

/// Who asks for what this request asks for.
pub(super) fn asked_by(req: &HttpRequest) -> Asked {
    Asked { by: Identity::of(req).unwrap_or_default().to_owned(), request_id: request_id(req) }
}

/// A job, and what more is known of one of the server's own.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct JobView {
    #[serde(flatten)]
    status: JobStatus,
    /// Of the server's own work; absent for a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<WorkView>,
}

/// What more is known of the server's own work.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkView {
    /// Who asked for it.
    asked: Asked,
    /// How far its items are; `/v1/jobs/{job}/items` lists them.
    counts: Counts,
    /// How often a server has begun to work at it: more than once when one ended in between.
    attempts: u32,
    /// Id of the server that worked at it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Why it could not be done, as far as that is not told of its items.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<NodeError>,
}

impl From<JobRecord> for JobView {
    fn from(record: JobRecord) -> Self {
        let status = record.status();
        let JobRecord { asked, items: counts, attempts, server, failure, .. } = record;
        JobView { status, work: Some(WorkView { asked, counts, attempts, server, failure }) }
    }
}

impl From<JobStatus> for JobView {
    fn from(status: JobStatus) -> Self {
        JobView { status, work: None }
    }
}

/// The status, once the job has ended or the time is over or the server ends.
pub(super) async fn wait_for(app: &App, job: &dyn Job, wait: Option<Duration>) -> Result<JobStatus> {
    if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
        tokio::select! {
            ended = job.wait(wait) => match ended {
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {}
                Ok(status) => return Ok(status),
                Err(error) => return Err(error),
            },
            () = tokio::time::sleep(wait.saturating_add(Duration::from_secs(1))) => {}
            () = app.ending() => {}
        }
    }
    job.status().await
}

/// 202 with the place of the job, or 200 when it has ended within the wait.
pub(crate) async fn accepted(app: &App, job: &dyn Job, wait: Option<Duration>) -> Answer {
    let status = wait_for(app, job, wait).await.map_err(|error| begun(error, job.id()))?;
    let mut response =
        if status.state.is_final() && wait.is_some() { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    if let Some(wait) = wait {
        response.insert_header(("Preference-Applied", format!("wait={}", wait.as_secs())));
    }
    Ok(response.insert_header((header::LOCATION, format!("/v1/jobs/{}", status.id))).json(status))
}

/// Runs a command in a container. Answers at once with 202; with `wait`, 200 when the job has ended by then.
#[utoipa::path(tag = "jobs", operation_id = "jobs_run", params(WaitQuery), request_body = JobSpec, responses(
    (status = 202, description = "The job runs.", body = JobStatus, headers(("Location" = String, description = "Path of the job"))),
    (status = 200, description = "The job has ended within the wait.", body = JobStatus)))]
#[post("/nodes/{node}/containers/{container}/jobs")]
pub(crate) async fn run_in_container(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<WaitQuery>,
    Json(spec): Json<JobSpec>,
) -> Answer {
    let wait = query.duration(&req)?;
    spec.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    let job = container.run(&spec).await?;
    accepted(&app, &*job, wait).await
}

fn key(job: &JobStatus) -> Vec<String> {
    vec![format!("{:039}", job.started_at.unix_nanos().max(0)), job.id.clone()]
}

/// The jobs of a container that are known, running and kept ones, oldest first.
#[utoipa::path(tag = "jobs", operation_id = "jobs_list_of_container", params(Paging), responses((status = 200, description = "The jobs.", body = Page<JobStatus>)))]
#[get("/nodes/{node}/containers/{container}/jobs")]
pub(crate) async fn list_of_container(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Answer {
    paging.check::<JobStatus>()?;
    names::existing("container", &path.1)?;
    let slot = app.nodes.get(&path.0)?;
    let id = &path.1;
    let listing = fanout::ask_one(&slot, app.deadline(), |node| async move { node.container(id).jobs().await }).await?;
    Ok(paging.respond(listing, key)?)
}

/// Runs a command on the node itself.
#[utoipa::path(tag = "jobs", operation_id = "jobs_run_on_node", params(WaitQuery), request_body = JobSpec, responses(
    (status = 202, description = "The job runs.", body = JobStatus, headers(("Location" = String, description = "Path of the job"))),
    (status = 200, description = "The job has ended within the wait.", body = JobStatus)))]
#[post("/nodes/{node}/jobs")]
pub(crate) async fn run_on_node(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<WaitQuery>,
    Json(spec): Json<JobSpec>,
) -> Answer {
    let wait = query.duration(&req)?;
    spec.validate()?;
    let node = app.node(&node).await?;
    let job = node.run(&spec).await?;
    accepted(&app, &*job, wait).await
}

/// All jobs of a node, those of its containers and pulls included, oldest first.
#[utoipa::path(tag = "jobs", operation_id = "jobs_list_of_node", params(Paging), responses((status = 200, description = "The jobs.", body = Page<JobStatus>)))]
#[get("/nodes/{node}/jobs")]
pub(crate) async fn list_of_node(app: web::Data<App>, node: web::Path<String>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<JobStatus>()?;
    let slot = app.nodes.get(&node)?;
    let mut listing = fanout::ask_one(&slot, app.deadline(), |node| async move { node.jobs().await }).await?;
    listing.items.extend(slot.keeper().list(None));
    let own = app.works.all().await?;
    listing.items.extend(own.iter().map(JobRecord::status).filter(|job| job.node == slot.name()));
    Ok(paging.respond(listing, key)?)
}

/// All jobs of all nodes, oldest first.
#[utoipa::path(tag = "jobs", operation_id = "jobs_list", params(Paging), responses((status = 200, description = "The jobs.", body = Page<JobStatus>)))]
#[get("/jobs")]
pub(crate) async fn list_all(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<JobStatus>()?;
    let slots = app.nodes.all();
    let mut listing = fanout::ask(&slots, app.deadline(), |node| async move { node.jobs().await }).await;
    for slot in &slots {
        listing.items.extend(slot.keeper().list(None));
    }
    listing.items.extend(app.works.all().await?.iter().map(JobRecord::status));
    Ok(paging.respond(listing, key)?)
}

/// A job that was found.
enum Found {
    /// The server's own.
    Own(StoredJob),
    /// A command, or a move.
    Other(Arc<dyn Job>),
}

impl std::ops::Deref for Found {
    type Target = dyn Job;

    fn deref(&self) -> &Self::Target {
        match self {
            Found::Own(job) => job,
            Found::Other(job) => &**job,
        }
    }
}

/// Ids are unique. Most jobs are in the memory of this process, but the server's own are in the store, and those of nodes of other
/// servers are there: the first node that has the job answers, so that one that is not well holds back none but its own.
async fn find(app: &App, id: &str) -> Result<Found> {
    names::existing("job", id)?;
    let slots = app.nodes.all();
    if let Some(job) = slots.iter().find_map(|slot| slot.keeper().get(id).ok()) {
        return Ok(Found::Other(job));
    }
    match app.works.get(id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found.map(Found::Own),
    }
    let nodes = slots.iter().filter_map(|slot| slot.connected());
    let mut answers: FuturesUnordered<_> = nodes.map(|node| async move { node.job(id).await }).collect();
    let mut failure = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(job) => return Ok(Found::Other(job)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {}
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::not_found("job", id)))
}

/// What is known of a job; with `wait`, once it has ended or the time is over.
#[utoipa::path(tag = "jobs", operation_id = "jobs_get", params(WaitQuery), responses((status = 200, description = "The job.", body = JobView)))]
#[get("/jobs/{job}")]
pub(crate) async fn get_job(
    app: web::Data<App>,
    req: HttpRequest,
    id: web::Path<String>,
    Query(query): Query<WaitQuery>,
) -> Answer {
    let wait = query.duration(&req)?;
    let job = find(&app, &id).await?;
    let view = match &job {
        Found::Own(own) => {
            if wait.is_some() {
                let _ = wait_for(&app, own, wait).await?;
            }
            JobView::from(own.record().await?)
        }
        Found::Other(other) => JobView::from(wait_for(&app, &**other, wait).await?),
    };
    Ok(HttpResponse::Ok().json(view))
}

/// What a job of the server does one by one, and what came of each. A command has no such items.
#[utoipa::path(tag = "jobs", operation_id = "jobs_items", params(Paging), responses((status = 200, description = "The items.", body = Page<JobItem>)))]
#[get("/jobs/{job}/items")]
pub(crate) async fn items(app: web::Data<App>, id: web::Path<String>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<JobItem>()?;
    let mut listing = Listing::default();
    if let Found::Own(own) = find(&app, &id).await? {
        listing.items = own.items().await?;
    }
    Ok(paging.respond(listing, |item| vec![item.node.clone(), item.name.clone(), item.id.clone()])?)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KillQuery {
    /// By name or number; `SIGKILL` when absent.
    signal: Option<Signal>,
}

/// Kills a job. Its result stays readable; killing a job that has ended is fine.
#[utoipa::path(tag = "jobs", operation_id = "jobs_kill", params(KillQuery), responses((status = 204, description = "The signal is sent.")))]
#[delete("/jobs/{job}")]
pub(crate) async fn kill(app: web::Data<App>, id: web::Path<String>, Query(query): Query<KillQuery>) -> Answer {
    let job = find(&app, &id).await?;
    job.kill(query.signal.unwrap_or(Signal::KILL)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutputQuery {
    /// Goes on until the job ends; true for server-sent events, false otherwise, when absent.
    follow: Option<bool>,
    /// Only pieces after this number. The header `Last-Event-ID` says the same, and wins.
    after: Option<u64>,
}

/// The output of a job: as server-sent events, as lines of JSON, or as plain bytes, by `Accept`.
///
/// The `id` of an event is the number of the piece; a client that comes back with it as `Last-Event-ID` goes on after it.
#[utoipa::path(tag = "jobs", operation_id = "jobs_output", params(OutputQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last piece that the client has.")),
    responses((status = 200, description = "The output.",
    content((OutputItem = "text/event-stream"), (String = "text/plain"), (OutputItem = "application/x-ndjson")))))]
#[get("/jobs/{job}/output")]
pub(crate) async fn get_output(
    app: web::Data<App>,
    req: HttpRequest,
    id: web::Path<String>,
    Query(query): Query<OutputQuery>,
) -> Answer {
    let wire = Wire::negotiate(&req, &[Wire::Events, Wire::Raw, Wire::Lines])?;
    let resumed = stream::last_event_id(&req)?
        .map(|id| id.parse::<u64>().map_err(|_| Error::invalid("Last-Event-ID", format!("{id:?} is not a number"))))
        .transpose()?;
    let mut options = OutputOptions::kept().after(resumed.or(query.after).unwrap_or(0));
    options.follow = query.follow.unwrap_or(wire == Wire::Events);
    let job = find(&app, &id).await?;
    let chunks = job.output(options).await?;
    let frames = chunks.map(move |chunk| {
        chunk.map(|chunk| match wire {
            Wire::Raw => chunk.data,
            Wire::Events | Wire::Lines | Wire::Whole => {
                let item = OutputItem::new(chunk.sequence, chunk.kind, None, &chunk.data);
                wire.frame(&chunk.sequence.to_string(), "output", &item)
            }
        })
    });
    Ok(stream::respond(&app, &req, wire, frames.boxed()))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StdinQuery {
    /// Closes it afterwards: the process reads end of file.
    close: bool,
}

/// Writes the body to a job's standard input, as it comes.
#[utoipa::path(tag = "jobs", operation_id = "jobs_stdin", params(StdinQuery), request_body(content = inline(Binary), content_type = "application/octet-stream"),
    responses((status = 204, description = "It is written.")))]
#[post("/jobs/{job}/stdin")]
pub(crate) async fn write_stdin(
    app: web::Data<App>,
    id: web::Path<String>,
    Query(query): Query<StdinQuery>,
    mut body: Payload,
) -> Answer {
    let job = find(&app, &id).await?;
    let limit = app.config.max_archive_bytes;
    let copy = async {
        let mut written = 0_u64;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Error::invalid("body", format!("it broke off: {error}")))?;
            written = written.saturating_add(piece.len() as u64);
            if written > limit {
                return Err(Problem::too_large(limit));
            }
            job.write_stdin(piece).await?;
        }
        if query.close {
            job.close_stdin().await?;
        }
        Ok(())
    };
    match tokio::time::timeout(app.archive_deadline(), copy).await {
        Ok(result) => result?,
        Err(_) => return Err(Error::new(ErrorKind::DeadlineExceeded, "the input took too long").into()),
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Sets the size of a job's terminal.
#[utoipa::path(tag = "jobs", operation_id = "jobs_resize", request_body = TerminalSize, responses((status = 204, description = "It has the size.")))]
#[post("/jobs/{job}/resize")]
pub(crate) async fn resize(
    app: web::Data<App>,
    id: web::Path<String>,
    _: Query<Nothing>,
    Json(size): Json<TerminalSize>,
) -> Answer {
    size.validate()?;
    let job = find(&app, &id).await?;
    job.resize(size).await?;
    Ok(HttpResponse::NoContent().finish())
}
