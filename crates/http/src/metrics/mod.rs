//! What all nodes, their machines and their containers use, in the form that Prometheus scrapes.

mod families;
mod machine;
mod names;
mod nodes;
#[cfg(test)]
mod tests;
mod text;

use std::sync::PoisonError;
use std::time::Duration;

use actix_web::{HttpResponse, get, web};
use futures_util::future::join_all;
use roadstead_core::{ContainerFilter, Error, ErrorKind, LabelSelector, Node, NodeUsage, Result, UsageOptions};
use serde::Deserialize;

pub(crate) use self::names::Names;
use self::nodes::Answered;
use crate::extract::Query;
use crate::problem::Answer;
use crate::state::{App, within};

/// At most so many series of one node, with its machine where that is told beside it.
const SERIES_MAX: usize = 50_000;
/// Prometheus waits ten seconds, if it is not told otherwise: what there is must be told before.
const DEADLINE: Duration = Duration::from_secs(8);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsQuery {
    /// Only this node; may be repeated.
    node: Vec<String>,
    /// Only containers with this label, `key` or `key=value`; when repeated, with all of them.
    label: Vec<String>,
    /// A node that has not answered by then is down, 1 to 300; 8 when absent.
    timeout_seconds: Option<u32>,
}

/// What all nodes, their machines and their running containers use, as OpenMetrics text. A node that does not answer in time has
/// `roadstead_node_up 0`, and holds back no other.
#[utoipa::path(tag = "usage", operation_id = "metrics", params(MetricsQuery), responses((status = 200, description = "The samples.",
    content_type = "application/openmetrics-text", body = String)))]
#[get("/metrics")]
pub(crate) async fn metrics(app: web::Data<App>, Query(query): Query<MetricsQuery>) -> Answer {
    let deadline = match query.timeout_seconds {
        None => DEADLINE.min(app.deadline()),
        Some(seconds @ 1..=300) => Duration::from_secs(seconds.into()),
        Some(_) => return Err(Error::invalid("timeout_seconds", "must be from 1 to 300").into()),
    };
    let mut filter = ContainerFilter::all();
    filter.labels = query.label.iter().map(|label| LabelSelector::parse(label)).collect();
    filter.validate()?;
    let mut slots = app.nodes.all();
    if !query.node.is_empty() {
        for name in &query.node {
            app.nodes.get(name)?;
        }
        slots.retain(|slot| query.node.iter().any(|name| name == slot.name()));
    }
    let filter = &filter;
    let answers = join_all(slots.iter().map(|slot| async move {
        let answer = within(deadline, async { usage(&*slot.node(deadline).await?, filter).await }).await;
        let answered = match answer {
            Ok(usage) => Answered::Used(Box::new(usage)),
            // It answers, and does not tell what is used.
            Err(error) if error.kind() == ErrorKind::Unsupported => Answered::Cannot,
            Err(error) => {
                tracing::debug!(node = slot.name(), %error, "a node does not tell what is used");
                Answered::Away
            }
        };
        (slot.name(), answered)
    }))
    .await;
    let machines = {
        let mut names = app.machines.lock().unwrap_or_else(PoisonError::into_inner);
        names.of(nodes::used(&answers), |node| app.nodes.get(node).is_ok())
    };
    let text = text::write(nodes::samples(&answers, &machines, SERIES_MAX));
    Ok(HttpResponse::Ok().content_type(text::MEDIA_TYPE).body(text))
}

/// What is used on a node, of containers that pass the filter.
async fn usage(node: &dyn Node, filter: &ContainerFilter) -> Result<NodeUsage> {
    let mut usage = node.usage(&UsageOptions::default()).await?;
    if !filter.labels.is_empty() {
        let chosen = node.list_containers(filter).await?;
        let chosen: std::collections::HashSet<_> = chosen.into_iter().map(|container| container.id).collect();
        usage.containers.retain(|container| chosen.contains(&container.id));
        usage.errors.retain(|error| chosen.contains(&error.container));
    }
    Ok(usage)
}
