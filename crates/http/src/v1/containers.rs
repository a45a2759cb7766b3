//! Containers: lists over one node or all, creation, inspection, deletion and numbers.

use std::time::Duration;

use actix_web::{HttpResponse, delete, get, post, web};
use roadstead_core::{
    ContainerDetails, ContainerFilter, ContainerSpec, ContainerState, ContainerStats, ContainerSummary,
    CreatedContainer, DeleteOptions, Error, LabelSelector, Listing, Result,
};
use serde::Deserialize;

use super::{created, newest_first};
use crate::extract::{Json, Nothing, Query};
use crate::fanout;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

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
    pub(super) fn parse(self, app: &App) -> Result<(ContainerFilter, Duration, Paging)> {
        let filter = self.filter()?;
        let deadline = self.deadline(app)?;
        let paging = Paging { limit: self.limit, cursor: self.cursor, fields: self.fields };
        paging.check::<ContainerSummary>()?;
        Ok((filter, deadline, paging))
    }

    fn deadline(&self, app: &App) -> Result<Duration> {
        match self.timeout_seconds {
            None => Ok(app.deadline()),
            Some(seconds @ 1..=300) => Ok(Duration::from_secs(seconds.into())),
            Some(_) => Err(Error::invalid("timeout_seconds", "must be from 1 to 300")),
        }
    }
}

/// The items and their order: by node, newest first.
pub(super) fn respond(paging: &Paging, listing: Listing<ContainerSummary>) -> Answer {
    Ok(paging.respond(listing, |container| {
        vec![container.node.clone(), newest_first(container.created_at), container.id.clone()]
    })?)
}

/// The containers of every node. Nodes that do not answer in time are in `errors`; the others are not held back.
#[utoipa::path(tag = "containers", operation_id = "containers_list_all", params(ContainersQuery), responses((status = 200, description = "The containers.", body = Page<ContainerSummary>)))]
#[get("/containers")]
pub(crate) async fn list_all(app: web::Data<App>, Query(query): Query<ContainersQuery>) -> Answer {
    let (filter, deadline, paging) = query.parse(&app)?;
    let filter = &filter;
    let slots = app.nodes.all();
    respond(&paging, fanout::ask(&slots, deadline, |node| async move { node.list_containers(filter).await }).await)
}

/// The containers of one node, in one engine call.
#[utoipa::path(tag = "containers", operation_id = "containers_list", params(ContainersQuery), responses((status = 200, description = "The containers.", body = Page<ContainerSummary>)))]
#[get("/nodes/{node}/containers")]
pub(crate) async fn list(app: web::Data<App>, node: web::Path<String>, Query(query): Query<ContainersQuery>) -> Answer {
    let (filter, deadline, paging) = query.parse(&app)?;
    let slot = app.nodes.get(&node)?;
    respond(&paging, fanout::ask_one(&slot, deadline, |node| async move { node.list_containers(&filter).await }).await?)
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
        engine.container(&made.id).start().await.map_err(|error| error.with_resource(made.id.clone()))?;
    }
    Ok(created(&format!("/v1/nodes/{node}/containers/{}", made.id), &made))
}

/// Everything that the engine tells of one container, found by id or name.
#[utoipa::path(tag = "containers", operation_id = "containers_inspect", responses((status = 200, description = "The container.", body = ContainerDetails)))]
#[get("/nodes/{node}/containers/{container}")]
pub(crate) async fn inspect(app: web::Data<App>, path: web::Path<(String, String)>, _: Query<Nothing>) -> Answer {
    let container = app.container(&path.0, &path.1).await?;
    Ok(HttpResponse::Ok().json(container.inspect().await?))
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
