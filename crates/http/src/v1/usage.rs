//! What a node is, and what it and its containers use: now, since a time, and as it goes on.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::usage::{ContainerUsage, HistoryOf, HistoryOptions, HostFacts, UsageHistory};
use roadstead_core::{Error, ErrorKind, NodeUsage, Result, Timestamp, UsageOptions, names};
use serde::{Deserialize, Serialize};

use crate::extract::{Nothing, Query, past};
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self as wire, Wire};

/// What these routes give: one answer, or items that go on.
pub(super) const FORMS: [Wire; 3] = [Wire::Whole, Wire::Events, Wire::Lines];

/// So many containers may be named at once.
const NAMED_MAX: usize = 1000;

/// Refuses names of containers that cannot be, by the name of the query key.
///
/// # Errors
/// `InvalidInput` with the field `container`.
pub(super) fn named(containers: &[String]) -> Result<()> {
    if containers.len() > NAMED_MAX {
        return Err(Error::invalid("container", format!("at most {NAMED_MAX} may be named")));
    }
    containers.iter().try_for_each(|container| names::existing("container", container))
}

/// What core calls `containers` is the query key `container`.
pub(super) fn by_key(error: Error) -> Error {
    if error.field() == Some("containers") { error.with_field("container") } else { error }
}

/// Which history is asked for, if one is. A stream goes on from now: it has no past.
///
/// # Errors
/// `InvalidInput` with the field `since` or `step`.
pub(super) fn history(
    form: Wire,
    of: HistoryOf,
    since: Option<Timestamp>,
    step: Option<f64>,
) -> Result<Option<HistoryOptions>> {
    let field = match (since, step) {
        (Some(_), _) => "since",
        (None, Some(_)) => "step",
        (None, None) => return Ok(None),
    };
    if form != Wire::Whole {
        return Err(Error::invalid(field, "a stream begins now; ask for history as application/json"));
    }
    past("since", since)?;
    let mut options = HistoryOptions::of(of);
    options.since = since;
    options.step = step
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|_| Error::invalid("step", "is not a time")))
        .transpose()?;
    options.validate().map_err(by_key)?;
    Ok(Some(options))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// Only this container, by id or name, and not the machine; may be repeated.
    container: Vec<String>,
    /// What was used from this time on, in place of what is used now.
    since: Option<Timestamp>,
    /// Length of the steps of what was used, in seconds, at most 86400; as it is kept when absent.
    step: Option<f64>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContainerUsageQuery {
    /// What was used from this time on, in place of what is used now.
    since: Option<Timestamp>,
    /// Length of the steps of what was used, in seconds, at most 86400; as it is kept when absent.
    step: Option<f64>,
}

/// What is there now; with `since` or `step`, what was used over time.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is there for the document: each answer is one or the other")]
pub(super) enum OrHistory<T> {
    /// Now.
    Now(T),
    /// Since a time, or in steps.
    History(UsageHistory),
}

/// What the machine of a node is: its processors, disks and interfaces, its system.
#[utoipa::path(tag = "usage", operation_id = "nodes_host", responses((status = 200, description = "The facts.", body = HostFacts)))]
#[get("/nodes/{node}/host")]
pub(crate) async fn host(app: web::Data<App>, node: web::Path<String>, _: Query<Nothing>) -> Answer {
    Ok(HttpResponse::Ok().json(app.node(&node).await?.host().await?))
}

/// What a node and its running containers use, in one answer; with `since` or `step`, what they used, as far as it is kept.
///
/// As server-sent events or lines of JSON: each time that it is read anew, beginning with what is known now. The `id` of an
/// event counts the items of this stream; it does not resume it.
#[utoipa::path(tag = "usage", operation_id = "nodes_usage", params(UsageQuery), responses((status = 200, description = "The use.",
    content((OrHistory<NodeUsage> = "application/json"), (NodeUsage = "text/event-stream"), (NodeUsage = "application/x-ndjson")))))]
#[get("/nodes/{node}/usage")]
pub(crate) async fn of_node(
    app: web::Data<App>,
    req: HttpRequest,
    node: web::Path<String>,
    Query(query): Query<UsageQuery>,
) -> Answer {
    let form = Wire::negotiate(&req, &FORMS)?;
    named(&query.container)?;
    let of =
        if query.container.is_empty() { HistoryOf::Everything } else { HistoryOf::Containers(query.container.clone()) };
    let history = history(form, of, query.since, query.step)?;
    let mut options = UsageOptions::default();
    options.containers = query.container;
    let node = app.node(&node).await?;
    if let Some(options) = history {
        return Ok(HttpResponse::Ok().json(node.usage_history(&options).await.map_err(by_key)?));
    }
    if form == Wire::Whole {
        return Ok(HttpResponse::Ok().json(node.usage(&options).await.map_err(by_key)?));
    }
    let items = node.watch_usage(&options).await.map_err(by_key)?;
    let frames = items.enumerate().map(move |(index, usage)| usage.map(|usage| item(form, index, &usage)));
    Ok(wire::respond(&app, &req, form, frames.boxed()))
}

/// One item of a stream of usage.
pub(super) fn item(form: Wire, index: usize, data: &impl Serialize) -> Bytes {
    form.frame(&(index as u64 + 1).to_string(), "usage", data)
}

/// What one running container uses; with `since` or `step`, what it used, as far as it is kept.
///
/// As server-sent events or lines of JSON: each time that it is read anew, until the container ends.
#[utoipa::path(tag = "usage", operation_id = "containers_usage", params(ContainerUsageQuery), responses((status = 200, description = "The use.",
    content((OrHistory<ContainerUsage> = "application/json"), (ContainerUsage = "text/event-stream"), (ContainerUsage = "application/x-ndjson")))))]
#[get("/nodes/{node}/containers/{container}/usage")]
pub(crate) async fn of_container(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<ContainerUsageQuery>,
) -> Answer {
    let form = Wire::negotiate(&req, &FORMS)?;
    let (node, container) = path.into_inner();
    named(std::slice::from_ref(&container))?;
    let history = history(form, HistoryOf::Containers(vec![container.clone()]), query.since, query.step)?;
    let options = UsageOptions::of(container.as_str());
    let node = app.node(&node).await?;
    if let Some(options) = history {
        return Ok(HttpResponse::Ok().json(node.usage_history(&options).await.map_err(by_key)?));
    }
    if form == Wire::Whole {
        let usage = node.usage(&options).await.map_err(by_key)?;
        return match only(usage)? {
            Some(usage) => Ok(HttpResponse::Ok().json(usage)),
            None => {
                let ended = Error::new(ErrorKind::Conflict, "the container does not run");
                Err(ended.with_operation("metrics.usage").with_node(node.name()).with_resource(container).into())
            }
        };
    }
    let items = node.watch_usage(&options).await.map_err(by_key)?;
    // Without the container in it, an item says that it has ended.
    let items = items.map(|usage| usage.and_then(only).transpose());
    let items = items.take_while(|usage| std::future::ready(usage.is_some())).filter_map(std::future::ready);
    let frames = items.enumerate().map(move |(index, usage)| usage.map(|usage| item(form, index, &usage)));
    Ok(wire::respond(&app, &req, form, frames.boxed()))
}

/// The only container of a usage. What could not be told of it is the error.
fn only(usage: NodeUsage) -> Result<Option<ContainerUsage>> {
    if let Some(error) = usage.errors.into_iter().next() {
        return Err(Error::new(error.code, error.message).with_node(usage.node).with_resource(error.container));
    }
    Ok(usage.containers.into_iter().next())
}
