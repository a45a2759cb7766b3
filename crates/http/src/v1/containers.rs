//! Containers: lists over one node or all, creation, inspection, deletion and numbers.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use roadstead_core::{
    ContainerDetails, ContainerFilter, ContainerSpec, ContainerState, ContainerStats, ContainerSummary,
    CreatedContainer, DeleteOptions, Error, LabelSelector, Result, names,
};
use serde::Deserialize;

use super::container_changes::{self, ContainerChange};
use super::{begun, created};
use crate::containers::{self, Place, Question};
use crate::extract::{Json, Nothing, Query};
use crate::nodes::NodeSlot;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// What a proof may take that details in memory are still good; then the engine is asked for them.
const PROOF_PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContainersQuery {
    /// Only containers in this state; may be repeated.
    #[param(value_type = Vec<ContainerState>)]
    state: Vec<String>,
    /// Only the container with exactly this name; may be repeated.
    name: Vec<String>,
    /// Only containers with this label, `key` or `key=value`; when repeated, with all of them.
    label: Vec<String>,
    /// The most items that are wanted, 1 to 10000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Members that are wanted, with commas between.
    fields: Option<String>,
    /// What has not answered by then is an error of the list, 1 to 300.
    timeout_seconds: Option<u32>,
    /// Asks the engines for their lists, whatever is in memory.
    fresh: bool,
    /// Gives what changes instead of a list.
    watch: bool,
    /// `revision` of a list, for `watch`: begins with what changed after it. From now on when absent.
    revision: Option<String>,
}

/// The state of this name. Engines may have words that nobody knows; callers may not.
pub(super) fn state(field: &str, word: &str) -> Result<ContainerState> {
    ContainerState::ALL.into_iter().find(|state| state.name() == word).ok_or_else(|| {
        let words: Vec<_> = ContainerState::ALL.iter().map(|state| state.name()).collect();
        Error::invalid(field, format!("{word:?} is not one of {}", words.join(", ")))
    })
}

impl ContainersQuery {
    fn filter(&self) -> Result<ContainerFilter> {
        let mut filter = ContainerFilter::all();
        for word in &self.state {
            filter.states.push(state("state", word)?);
        }
        filter.names.clone_from(&self.name);
        filter.labels = self.label.iter().map(|label| LabelSelector::parse(label)).collect();
        filter.validate()?;
        Ok(filter)
    }

    /// Everything is refused that can be before an engine is asked.
    fn parse(self, app: &App) -> Result<Question> {
        if self.revision.is_some() {
            return Err(Error::invalid("revision", "belongs to watch, and watch is not asked for"));
        }
        let filter = self.filter()?;
        let deadline = self.deadline(app)?;
        let paging = Paging { limit: self.limit, cursor: self.cursor, fields: self.fields };
        paging.check::<ContainerSummary>()?;
        let after = Place::read(&paging)?;
        Ok(Question { filter, paging, deadline, fresh: self.fresh, after })
    }

    /// The same where the engines are asked each time, and changes are not told.
    pub(super) fn parse_asked(self, app: &App) -> Result<Question> {
        if self.watch {
            return Err(Error::invalid("watch", "is for the containers of all nodes, or of one"));
        }
        self.parse(app)
    }

    fn deadline(&self, app: &App) -> Result<Duration> {
        match self.timeout_seconds {
            None => Ok(app.deadline()),
            Some(seconds @ 1..=300) => Ok(Duration::from_secs(seconds.into())),
            Some(_) => Err(Error::invalid("timeout_seconds", "must be from 1 to 300")),
        }
    }

    /// Answers with what changes, on all nodes or on one.
    fn watch(&self, app: &App, req: &HttpRequest, slot: Option<&Arc<NodeSlot>>) -> Answer {
        let meaningless = [
            ("limit", self.limit.is_some()),
            ("cursor", self.cursor.is_some()),
            ("fields", self.fields.is_some()),
            ("timeout_seconds", self.timeout_seconds.is_some()),
            ("fresh", self.fresh),
        ];
        if let Some((field, _)) = meaningless.into_iter().find(|(_, given)| *given) {
            return Err(Error::invalid(field, "has no meaning together with watch").into());
        }
        let from = self.revision.as_ref().map(|revision| revision.parse()).transpose()?;
        container_changes::watch(app, req, slot, self.filter()?, from)
    }
}

/// The containers of every node, from memory where that is up to date. Nodes that do not answer in time are in `errors`; the others
/// are not held back. With `watch` it gives what changes.
#[utoipa::path(tag = "containers", operation_id = "containers_list_all", params(ContainersQuery, ("Last-Event-ID" = Option<String>, Header, description = "For `watch`: the id of the last event that the client has.")),
    responses((status = 200, description = "The containers, or what changes.",
        content((Page<ContainerSummary> = "application/json"), (ContainerChange = "text/event-stream"), (ContainerChange = "application/x-ndjson")))))]
#[get("/containers")]
pub(crate) async fn list_all(app: web::Data<App>, req: HttpRequest, Query(query): Query<ContainersQuery>) -> Answer {
    if query.watch {
        return query.watch(&app, &req, None);
    }
    let question = query.parse(&app)?;
    containers::of_all(&app, &req, &app.nodes.all(), &question).await
}

/// The containers of one node, from memory where that is up to date. With `watch` it gives what changes.
#[utoipa::path(tag = "containers", operation_id = "containers_list", params(ContainersQuery, ("Last-Event-ID" = Option<String>, Header, description = "For `watch`: the id of the last event that the client has.")),
    responses((status = 200, description = "The containers, or what changes.",
        content((Page<ContainerSummary> = "application/json"), (ContainerChange = "text/event-stream"), (ContainerChange = "application/x-ndjson")))))]
#[get("/nodes/{node}/containers")]
pub(crate) async fn list(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<ContainersQuery>,
) -> Answer {
    if query.watch {
        return query.watch(&app, &req, Some(&app.nodes.get(&node)?));
    }
    let question = query.parse(&app)?;
    let slot = app.nodes.get(&node)?;
    containers::of_one(&app, &req, &slot, &question).await
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreateQuery {
    /// Starts it, too.
    pub(super) start: bool,
    /// Only checks what would be refused about the specification itself; nothing is created.
    pub(super) dry_run: bool,
}

impl CreateQuery {
    pub(super) fn validate(&self) -> Result<()> {
        if self.dry_run && self.start {
            return Err(Error::invalid("start", "what is only checked cannot be started"));
        }
        Ok(())
    }
}

/// Creates a container. With `start=true` it is started, too; when the start fails, the container stays and the error
/// names it as its resource. With `dry_run=true` nothing is created: the answer is the specification, or the problem that
/// creating would meet in it. Images, names that are taken, networks and paths on the node are not looked at.
#[utoipa::path(tag = "containers", operation_id = "containers_create", params(CreateQuery), request_body = ContainerSpec,
    responses((status = 200, description = "With `dry_run`: the specification as it was understood, which would not be refused.", body = ContainerSpec),
        (status = 201, description = "The new container.", body = CreatedContainer, headers(("Location" = String, description = "Path of the container")))))]
#[post("/nodes/{node}/containers")]
pub(crate) async fn create(
    app: web::Data<App>,
    node: web::Path<String>,
    Query(query): Query<CreateQuery>,
    Json(spec): Json<ContainerSpec>,
) -> Answer {
    spec.validate()?;
    query.validate()?;
    let engine = app.node(&node).await?;
    if query.dry_run {
        engine.check_container(&spec).await?;
        return Ok(HttpResponse::Ok().json(&spec));
    }
    let made = engine.create_container(&spec).await?;
    if query.start {
        engine.container(&made.id).start().await.map_err(|error| begun(error, &made.id))?;
    }
    Ok(created(&format!("/v1/nodes/{node}/containers/{}", made.id), &made))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InspectQuery {
    /// Asks the engine, whatever is in memory.
    fresh: bool,
}

/// Everything that the engine tells of one container, found by id or name; from memory where that is up to date.
#[utoipa::path(tag = "containers", operation_id = "containers_inspect", params(InspectQuery), responses((status = 200, description = "The container.", body = ContainerDetails)))]
#[get("/nodes/{node}/containers/{container}")]
pub(crate) async fn inspect(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<InspectQuery>,
) -> Answer {
    let (node, id) = path.into_inner();
    names::existing("container", &id)?;
    let slot = app.nodes.get(&node)?;
    let ask = async { slot.node(app.deadline()).await?.container(&id).inspect().await };
    let mirror = slot.mirror();
    let details = match query.fresh {
        true => mirror.ask_details(ask).await?,
        false => mirror.details(&id, PROOF_PATIENCE, ask).await?,
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(details.json().clone()))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Kills it first when it runs.
    force: bool,
    /// Deletes its anonymous volumes, too.
    volumes: bool,
}

/// Deletes a container.
#[utoipa::path(tag = "containers", operation_id = "containers_delete", params(DeleteQuery), responses((status = 204, description = "It is gone.")))]
#[delete("/nodes/{node}/containers/{container}")]
pub(crate) async fn delete(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    let mut options = DeleteOptions::default();
    options.force = query.force;
    options.volumes = query.volumes;
    container.delete(&options).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Resource use at this moment.
#[utoipa::path(tag = "containers", operation_id = "containers_stats", responses((status = 200, description = "The numbers.", body = ContainerStats)))]
#[get("/nodes/{node}/containers/{container}/stats")]
pub(crate) async fn stats(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    Ok(HttpResponse::Ok().json(container.stats().await?))
}
