//! The processes of a node or of a container: now, what they used since a time, and as it goes on.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roadstead_core::usage::HistoryOf;
use roadstead_core::{
    Error, ErrorKind, ItemStream, Node, NodeUsage, Process, ProcessOptions, Result, Timestamp, UsageOptions,
};
use serde::{Deserialize, Serialize};

use super::usage::{FORMS, OrHistory, by_key, history, item, named};
use crate::extract::Query;
use crate::fanout;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self as wire, Wire};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProcessesQuery {
    /// Only those of this container, by id or name; may be repeated.
    container: Vec<String>,
    /// Their open files, too.
    open_files: bool,
    /// Their connections, too.
    connections: bool,
    /// What they used from this time on, in place of what they are now.
    since: Option<Timestamp>,
    /// Length of the steps of what they used, in seconds, at most 86400; as it is kept when absent.
    step: Option<f64>,
    /// The most items that are wanted, 1 to 10000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Members that are wanted, with commas between.
    fields: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContainerProcessesQuery {
    /// Their open files, too.
    open_files: bool,
    /// Their connections, too.
    connections: bool,
    /// What they used from this time on, in place of what they are now.
    since: Option<Timestamp>,
    /// Length of the steps of what they used, in seconds, at most 86400; as it is kept when absent.
    step: Option<f64>,
}

/// The processes of a container.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ProcessList {
    /// By ascending process id.
    pub items: Vec<Process>,
}

/// Processes at one moment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ProcessesSeen {
    /// When they were read.
    pub observed_at: Timestamp,
    /// By ascending process id.
    pub items: Vec<Process>,
}

/// By pid; two containers may count theirs alike.
fn key(process: &Process) -> Vec<String> {
    vec![format!("{:010}", process.pid), process.container.clone().unwrap_or_default()]
}

/// Refuses what only a list of what is there now has.
fn only_of_lists(form: &str, given: &[(&str, bool)]) -> Result<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Error::invalid(*field, format!("{form} has none"))),
        None => Ok(()),
    }
}

/// The processes of a node, each with the container that it belongs to; with `since` or `step`, what they used.
///
/// As server-sent events or lines of JSON: all of them each time that the use of the node is read anew.
#[utoipa::path(tag = "usage", operation_id = "nodes_processes", params(ProcessesQuery), responses((status = 200, description = "The processes.",
    content((OrHistory<Page<Process>> = "application/json"), (ProcessesSeen = "text/event-stream"), (ProcessesSeen = "application/x-ndjson")))))]
#[get("/nodes/{node}/processes")]
pub(crate) async fn of_node(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<ProcessesQuery>,
) -> Answer {
    let form = Wire::negotiate(&req, &FORMS)?;
    named(&query.container)?;
    let history = history(form, HistoryOf::Processes(query.container.clone()), query.since, query.step)?;
    let paging = Paging { limit: query.limit, cursor: query.cursor, fields: query.fields };
    let pages =
        [("limit", paging.limit.is_some()), ("cursor", paging.cursor.is_some()), ("fields", paging.fields.is_some())];
    let files = [("open_files", query.open_files), ("connections", query.connections)];
    let mut options = ProcessOptions::default();
    (options.containers, options.open_files, options.connections) =
        (query.container, query.open_files, query.connections);
    if let Some(history) = history {
        only_of_lists("history", &pages)?;
        only_of_lists("history", &files)?;
        let node = app.node(&node).await?;
        return Ok(HttpResponse::Ok().json(node.usage_history(&history).await.map_err(by_key)?));
    }
    if form == Wire::Whole {
        paging.check::<Process>()?;
        let slot = app.nodes.get(&node)?;
        let question = |node: Arc<dyn Node>| async move { node.list_processes(&options).await };
        let listing = fanout::ask_one(&slot, app.deadline(), question).await.map_err(by_key)?;
        return Ok(paging.respond(listing, key)?);
    }
    only_of_lists("a stream", &pages)?;
    let node = app.node(&node).await?;
    let frames = live(node, options, form).await?;
    Ok(wire::respond(&app, &req, form, frames))
}

/// The processes of a container; with `since` or `step`, what they used.
///
/// As server-sent events or lines of JSON: all of them each time that the use of the container is read anew, until it ends.
#[utoipa::path(tag = "containers", operation_id = "containers_processes", params(ContainerProcessesQuery), responses((status = 200, description = "The processes.",
    content((OrHistory<ProcessList> = "application/json"), (ProcessesSeen = "text/event-stream"), (ProcessesSeen = "application/x-ndjson")))))]
#[get("/nodes/{node}/containers/{container}/processes")]
pub(crate) async fn of_container(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<ContainerProcessesQuery>,
) -> Answer {
    let form = Wire::negotiate(&req, &FORMS)?;
    let (node, container) = path.into_inner();
    named(std::slice::from_ref(&container))?;
    let history = history(form, HistoryOf::Processes(vec![container.clone()]), query.since, query.step)?;
    let files = [("open_files", query.open_files), ("connections", query.connections)];
    if history.is_some() {
        only_of_lists("history", &files)?;
    }
    let node = app.node(&node).await?;
    if let Some(history) = history {
        return Ok(HttpResponse::Ok().json(node.usage_history(&history).await.map_err(by_key)?));
    }
    let mut options = ProcessOptions::default();
    (options.open_files, options.connections) = (query.open_files, query.connections);
    if form == Wire::Whole {
        let items = if options.open_files || options.connections {
            options.containers = vec![container];
            node.list_processes(&options).await.map_err(by_key)?
        } else {
            node.container(&container).processes().await?
        };
        return Ok(HttpResponse::Ok().json(ProcessList { items }));
    }
    options.containers = vec![container];
    let frames = live(node, options, form).await?;
    Ok(wire::respond(&app, &req, form, frames))
}

/// All processes, each time that the use is read anew. Where containers were asked for, it ends with the last of them.
async fn live(node: Arc<dyn Node>, options: ProcessOptions, form: Wire) -> Result<ItemStream<Bytes>> {
    node.capabilities().require(roadstead_core::Capability::NodeProcesses)?;
    let mut whose = UsageOptions::default();
    whose.containers.clone_from(&options.containers);
    let observed = node.watch_usage(&whose).await.map_err(by_key)?;
    let lists = stream::unfold((observed, node, options), |(mut observed, node, options)| async move {
        loop {
            let listed = match observed.next().await? {
                Ok(usage) => list(&*node, &options, usage).await,
                Err(error) => Err(error),
            };
            match listed {
                Ok(Listed::Seen(seen)) => return Some((Ok(seen), (observed, node, options))),
                Ok(Listed::Changing) => {}
                Ok(Listed::Over) => return None,
                Err(error) => return Some((Err(error), (observed, node, options))),
            }
        }
    });
    let frames = lists.enumerate().map(move |(index, seen)| seen.map(|seen| item(form, index, &seen)));
    Ok(frames.boxed())
}

enum Listed {
    Seen(ProcessesSeen),
    /// A container ended between the two looks: the next one shows it.
    Changing,
    /// No container that was asked for runs any more.
    Over,
}

async fn list(node: &dyn Node, options: &ProcessOptions, usage: NodeUsage) -> Result<Listed> {
    let mut now = options.clone();
    if !options.containers.is_empty() {
        now.containers = usage.containers.into_iter().map(|container| container.id).collect();
        if now.containers.is_empty() {
            return Ok(Listed::Over);
        }
    }
    match node.list_processes(&now).await {
        Ok(items) => Ok(Listed::Seen(ProcessesSeen { observed_at: usage.observed_at, items })),
        Err(error)
            if !now.containers.is_empty() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) =>
        {
            Ok(Listed::Changing)
        }
        Err(error) => Err(error),
    }
}
