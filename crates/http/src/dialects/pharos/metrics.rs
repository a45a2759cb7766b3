//! The metrics of nodes and containers, made of one sample and one list of processes.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpRequest, web};
use futures_util::{StreamExt, stream};
use roadstead_core::usage::{ContainerUsage, NodeUsage};
use roadstead_core::{
    ContainerDetails, Error, ErrorKind, Node, Process, ProcessOptions, Result, Timestamp, UsageOptions,
};
use serde_json::{Map, Value, json};

use super::answer::{self, Query, missing, time};
use super::hosts::{self, host};
use super::ids::{Kind, id};
use super::inspect::runs;
use super::kept::Of;
use super::numbers::Ten;
use super::processes::process;
use super::running::{Listed, details, is_away, listed};
use crate::auth::{Role, require};
use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::problem::{Answer, Problem};
use crate::state::{App, within};

/// So many containers are asked about at once.
const AT_ONCE: usize = 16;

pub(super) async fn of_node(app: web::Data<App>, req: HttpRequest, path: web::Path<String>) -> Answer {
    require(&req, Role::Read, "pharos.nodes.metrics")?;
    let slot = hosts::find(&app, &path).ok_or_else(|| missing(format!("Not Found Record: no host {}", *path)))?;
    let of = Of::node(slot.name());
    let made = within(app.deadline(), node_document(&app, &slot)).await;
    told(&app, of, made)
}

pub(super) async fn of_container(app: web::Data<App>, req: HttpRequest, path: web::Path<String>) -> Answer {
    require(&req, Role::Read, "pharos.containers.metrics")?;
    let query = Query::of(&req)?;
    let Found { slot, id, away } = find(&app, &path, query.get("host")).await?;
    let of = Of::container(slot.name(), &id);
    let made = match away {
        Some(error) => Err(error),
        None => within(app.deadline(), container_document(&app, &slot, &id)).await,
    };
    told(&app, of, made)
}

/// Tells what was made, and keeps it; of a node that does not answer, what was kept.
fn told(app: &App, of: Of, made: Result<Value>) -> Answer {
    let kept = &app.dialects.pharos;
    let error = match made {
        Ok(document) => {
            let document = Arc::new(document);
            kept.put(of, &document);
            return Ok(answer::readable(&document));
        }
        Err(error) => error,
    };
    match error.kind() {
        _ if is_away(&error) => match kept.stale(&of) {
            Some(document) => Ok(answer::readable(&document)),
            None => {
                Err(missing(format!("there are no metrics yet, and the node does not answer: {}", error.message())))
            }
        },
        // It has ended meanwhile.
        ErrorKind::NotFound | ErrorKind::Conflict => {
            kept.forget_container(&of);
            Err(missing("no such container runs"))
        }
        ErrorKind::Unsupported => Err(missing(format!("the node has no metrics: {}", error.message()))),
        _ => Err(Problem::from(error)),
    }
}

/// A container that was asked for.
struct Found {
    slot: Arc<NodeSlot>,
    id: String,
    away: Option<Error>,
}

/// The one running container whose id begins so, on any node or on one. A whole id goes before a beginning.
async fn find(app: &App, beginning: &str, on: Option<&str>) -> Result<Found, Problem> {
    let mut slots = nodes(app);
    slots.retain(|slot| on.is_none_or(|wanted| wanted == host(slot)));
    let mut found: Vec<Found> = Vec::new();
    for Listed { slot, containers, away } in listed(app, slots).await {
        let mut ids: Vec<String> = Vec::new();
        if away.is_some() {
            // What was told of it goes on being told, also where its engine's list is not followed.
            ids = app.dialects.pharos.containers(slot.name());
            ids.retain(|id| containers.iter().all(|one| one.id != *id));
        }
        ids.extend(containers.into_iter().filter(|one| runs(one.state)).map(|one| one.id));
        let wanted = ids.into_iter().filter(|id| id.starts_with(beginning));
        let away = away.as_ref();
        found.extend(wanted.map(|id| Found { slot: Arc::clone(&slot), id, away: away.map(Error::repeated) }));
    }
    if found.iter().any(|one| one.id == beginning) {
        found.retain(|one| one.id == beginning);
    }
    match found.len() {
        0 => Err(missing("no such container runs")),
        1 => Ok(found.remove(0)),
        count => {
            let some: Vec<_> = found.iter().take(4).map(|one| format!("{} on {}", one.id, host(&one.slot))).collect();
            let words = format!(
                "{count} running containers have an id that begins so, among them {}: give more of it, or ?host=",
                some.join(", ")
            );
            Err(Error::new(ErrorKind::Conflict, words).into())
        }
    }
}

/// The options by which processes are asked for: with what they have open where the engine tells of it.
fn options(containers: &[String]) -> ProcessOptions {
    let mut options = ProcessOptions::default();
    options.containers = containers.to_vec();
    (options.open_files, options.connections) = (true, true);
    options
}

/// The processes of a node or of some of its containers; nothing where the engine does not list any.
async fn processes(node: &dyn Node, containers: &[String]) -> Result<Option<Vec<Process>>> {
    if !node.capabilities().node_processes {
        return Ok(None);
    }
    node.list_processes(&options(containers)).await.map(Some)
}

/// The memory of the machine, where that is told.
async fn memory(app: &App, node: &dyn Node, usage: Option<&NodeUsage>) -> Option<u64> {
    let kept = &app.dialects.pharos;
    let machine = usage.and_then(|usage| usage.machine.as_ref()).map(|machine| machine.memory.total_bytes);
    if let Some(bytes) = machine.filter(|bytes| *bytes > 0) {
        kept.put_memory(node.name(), bytes);
        return Some(bytes);
    }
    if let Some(bytes) = kept.memory(node.name()) {
        return Some(bytes);
    }
    // What the kernel has is less than what the machine was built with, which is what some engines tell.
    let bytes = match node.capabilities().host {
        true => node.host().await.ok()?.memory_bytes,
        false => node.info().await.ok()?.memory_bytes?,
    };
    kept.put_memory(node.name(), bytes);
    Some(bytes)
}

async fn node_document(app: &App, slot: &Arc<NodeSlot>) -> Result<Value> {
    let node = slot.node(app.deadline()).await?;
    let everything = UsageOptions::default();
    let (usage, processes) = tokio::try_join!(node.usage(&everything), processes(&*node, &[]))?;
    let memory = memory(app, &*node, Some(&usage)).await;
    let mut by_container: HashMap<&str, Vec<&Process>> = HashMap::new();
    for process in processes.iter().flatten() {
        if let Some(container) = &process.container {
            by_container.entry(container).or_default().push(process);
        }
    }
    let asked = usage.containers.iter().map(|one| async move { (one, details(app, slot, &one.id).await) });
    let asked: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let (mut containers, mut all, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (one, details) in asked {
        let details = match details {
            // It has ended since the sample, which still has it.
            Ok(details) if !runs(details.details().summary.state) => continue,
            Ok(details) => details,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // The numbers are the kernel's, and the engine is away: what was told last is whole.
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                errors.push(json!({ "Id": one.id, "message": error.message() }));
                continue;
            }
        };
        let own = processes.as_ref().map(|_| by_container.get(one.id.as_str()).map_or(&[][..], Vec::as_slice));
        let (ten, members) = container(host(slot), details.details(), one, own, memory);
        all.push(ten);
        containers.push((details.details().summary.created_at, Value::Object(members)));
    }
    containers.sort_by_key(|(created_at, _)| *created_at);
    let containers: Vec<Value> = containers.into_iter().map(|(_, container)| container).collect();
    let mut document = Map::new();
    document.insert("Containers".to_owned(), containers.into());
    if !errors.is_empty() {
        // An addition: the sums are without these.
        document.insert("errors".to_owned(), errors.into());
    }
    document.insert("Host".to_owned(), host(slot).into());
    document.insert("Metrics".to_owned(), all.into_iter().sum::<Ten>().of_many());
    document.insert("_id".to_owned(), id(Kind::NodeMetrics, &[slot.name()]).into());
    Ok(sampled(document, usage.observed_at))
}

async fn container_document(app: &App, slot: &Arc<NodeSlot>, of: &str) -> Result<Value> {
    let node = slot.node(app.deadline()).await?;
    let only = UsageOptions::of(of);
    let containers = [of.to_owned()];
    let (usage, processes, details) =
        tokio::try_join!(node.usage(&only), processes(&*node, &containers), details(app, slot, of))?;
    let gone = || Error::not_found("container", of);
    let one = usage.containers.iter().find(|one| one.id == of).ok_or_else(gone)?;
    if !runs(details.details().summary.state) {
        return Err(gone());
    }
    let memory = memory(app, &*node, None).await;
    let own: Option<Vec<&Process>> = processes.as_ref().map(|processes| processes.iter().collect());
    let (_, mut document) = container(host(slot), details.details(), one, own.as_deref(), memory);
    document.insert("_id".to_owned(), id(Kind::ContainerMetrics, &[slot.name(), of]).into());
    Ok(sampled(document, one.stats.observed_at))
}

/// Adds when it was sampled, and that it is no document of earlier.
fn sampled(mut document: Map<String, Value>, at: Timestamp) -> Value {
    document.insert("SampledAt".to_owned(), time(Some(at)).into());
    document.insert("Stale".to_owned(), false.into());
    Value::Object(document)
}

/// The metrics of a container, and its ten numbers: those of the very processes that are told.
fn container(
    host: &str,
    details: &ContainerDetails,
    usage: &ContainerUsage,
    processes: Option<&[&Process]>,
    memory: Option<u64>,
) -> (Ten, Map<String, Value>) {
    let told: Vec<(Ten, Value)> = processes
        .into_iter()
        .flatten()
        .map(|one| {
            let ten = Ten::of_process(one, memory);
            (ten, process(one, ten))
        })
        .collect();
    let ten = match processes {
        Some(all) => told.iter().map(|(ten, _)| *ten).sum::<Ten>().with_devices(usage, all),
        None => Ten::of_container(usage, memory),
    };
    let processes: Vec<Value> = told.into_iter().map(|(_, process)| process).collect();
    let document = json!({
        "Command": details.spec.command,
        "Created": time(details.summary.created_at),
        "Host": host,
        "Id": details.summary.id,
        "Image": details.summary.image,
        "Metrics": ten.of_many(),
        "Name": format!("/{}", details.summary.name),
        "Processes": processes,
        "Started": time(details.started_at),
    });
    let Value::Object(members) = document else { return (ten, Map::new()) };
    (ten, members)
}

#[cfg(test)]
mod tests {
    use roadstead_core::ContainerStats;

    use super::*;

    #[test]
    fn the_numbers_of_a_container_are_the_sums_of_the_processes_that_are_told() {
        let mut details = ContainerDetails::default();
        "web".clone_into(&mut details.summary.name);
        let mut usage = ContainerUsage::new("c", "web", ContainerStats::at(Timestamp::now()));
        usage.stats.cpu.total_seconds = 99.0;
        let mut one = Process::default();
        (one.cpu_user_seconds, one.rss_bytes) = (Some(0.25), Some(5));
        let (_, told) = container("sea", &details, &usage, Some(&[&one, &one]), Some(100));
        assert_eq!(told["Metrics"].to_string(), "[0.0,0.5,0.0,10.0,10.0,0.0,0.0,0.0,0.0,0.0]");
        assert_eq!((told["Name"].as_str(), told["Processes"].as_array().map(Vec::len)), (Some("/web"), Some(2)));
        assert!(!told.contains_key("_id"));
        let (_, nobody) = container("sea", &details, &usage, Some(&[]), None);
        assert_eq!(nobody["Metrics"][1], 0.0);
        let (_, unlisted) = container("sea", &details, &usage, None, None);
        assert_eq!((unlisted["Metrics"][1].as_f64(), unlisted["Processes"].to_string()), (Some(99.0), "[]".to_owned()));
    }
}
