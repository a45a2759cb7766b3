//! A swarm as a pool: the daemon that is asked, which has to be a manager, and the other nodes as far as a manager tells of them.
//!
//! A manager knows which containers the tasks of its services are, and in which state, on every node. It knows nothing of other
//! containers there, and has no call that would do anything to one. So the other nodes are outlines
//! ([`roadstead_core::pool::Outline`]), and only our own is a whole node. Whoever wants to do more there connects the daemon there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::pool::{Outline, outlined};
use roadstead_core::{
    ContainerFilter, ContainerState, ContainerSummary, Error, ErrorKind, Member, Node, NodeInfo, Result, Retry,
    StaticPool, Timestamp,
};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::node::DockerNode;
use super::request::Request;
use super::system::Info;

/// How many characters of a node's id tell it from another of the same host name.
const SHORT: usize = 8;

/// What `/info` tells of the swarm.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SwarmInfo {
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    local_node_state: Option<String>,
    control_available: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireNode {
    #[serde(rename = "ID")]
    id: Option<String>,
    spec: Option<NodeSpec>,
    description: Option<Description>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    labels: Option<BTreeMap<String, Option<String>>>,
    availability: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    hostname: Option<String>,
    platform: Option<Platform>,
    resources: Option<Resources>,
    engine: Option<Engine>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Platform {
    architecture: Option<String>,
    #[serde(rename = "OS")]
    os: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Resources {
    #[serde(rename = "NanoCPUs")]
    nano_cpus: Option<i64>,
    memory_bytes: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Engine {
    engine_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    state: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    #[serde(rename = "ID")]
    id: Option<String>,
    created_at: Option<String>,
    spec: Option<TaskSpec>,
    #[serde(rename = "ServiceID")]
    service_id: Option<String>,
    slot: Option<u64>,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    status: Option<TaskStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpec {
    container_spec: Option<TaskContainer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskContainer {
    image: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: Option<String>,
    container_status: Option<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    container_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: Option<String>,
    spec: Option<ServiceSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: Option<String>,
}

fn text(labels: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    labels.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

impl WireNode {
    fn hostname(&self) -> &str {
        self.description.as_ref().and_then(|told| told.hostname.as_deref()).unwrap_or_default()
    }

    /// Why nothing new is placed on it.
    fn cordon(&self) -> Option<String> {
        if let Some(why) = self.away() {
            return Some(why);
        }
        match self.spec.as_ref().and_then(|spec| spec.availability.as_deref()) {
            None | Some("active") => None,
            Some(other) => Some(format!("the swarm has set it to {other}")),
        }
    }

    /// Why what is told of it may be old.
    fn away(&self) -> Option<String> {
        let state = self.status.as_ref().and_then(|status| status.state.as_deref());
        let message = self.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
        match state {
            Some("ready") | None => None,
            Some(other) if message.is_empty() => Some(format!("the swarm says that it is {other}")),
            Some(other) => Some(format!("the swarm says that it is {other}: {message}")),
        }
    }

    fn info(self, name: &str) -> NodeInfo {
        let description = self.description.unwrap_or_default();
        let platform = description.platform.unwrap_or_default();
        let resources = description.resources.unwrap_or_default();
        let mut info = NodeInfo::default();
        info.name = name.to_owned();
        info.engine = "docker".to_owned();
        info.engine_version = description.engine.and_then(|engine| engine.engine_version).unwrap_or_default();
        info.hostname = description.hostname;
        info.os = platform.os;
        info.architecture = platform.architecture;
        info.cpus =
            resources.nano_cpus.and_then(|nano| u32::try_from(nano / 1_000_000_000).ok()).filter(|cpus| *cpus > 0);
        info.memory_bytes =
            resources.memory_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        info
    }
}

/// The swarm that the daemon is a manager of.
///
/// # Errors
/// `Conflict` when it is none.
pub(super) async fn pool(node: &DockerNode, name: &str) -> Result<StaticPool> {
    let client = &node.0;
    let info: Info = Request::get("/info").json(client).await?;
    let swarm = info.swarm.unwrap_or_default();
    if swarm.local_node_state.as_deref() != Some("active") {
        return Err(Error::new(ErrorKind::Conflict, "the daemon is in no swarm"));
    }
    if swarm.control_available != Some(true) {
        let words = "the daemon is a worker of its swarm, and only a manager tells of the others: connect one";
        return Err(Error::new(ErrorKind::Conflict, words));
    }
    let told: Vec<WireNode> = Request::get("/nodes").json(client).await?;
    let mut names = BTreeSet::from([client.name.clone()]);
    let mut members = Vec::new();
    for wire in told {
        let Some(id) = wire.id.clone().filter(|id| !id.is_empty()) else { continue };
        let (labels, cordon) = (text(wire.spec.as_ref().and_then(|spec| spec.labels.clone())), wire.cordon());
        let known: Arc<dyn Node> = if swarm.node_id.as_ref() == Some(&id) {
            Arc::new(node.clone())
        } else {
            let called = call(wire.hostname(), &id, &names);
            names.insert(called.clone());
            outlined(SwarmNode { client: Arc::clone(client), id, name: called })
        };
        let member = Member::new(known).labels(labels);
        members.push(match cordon {
            Some(why) => member.cordoned(why),
            None => member,
        });
    }
    members.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(StaticPool::of(name, members))
}

/// The host name; with the beginning of the id where that is not enough to tell two apart.
fn call(hostname: &str, id: &str, taken: &BTreeSet<String>) -> String {
    if !hostname.is_empty() && !taken.contains(hostname) {
        return hostname.to_owned();
    }
    let short: String = id.chars().take(SHORT).collect();
    if hostname.is_empty() { short } else { format!("{hostname}-{short}") }
}

/// Another node of the swarm.
#[derive(Debug)]
struct SwarmNode {
    client: Arc<Client>,
    id: String,
    name: String,
}

impl SwarmNode {
    async fn told(&self) -> Result<WireNode> {
        let found: Result<WireNode> = Request::get(&format!("/nodes/{}", self.id)).json(&self.client).await;
        found.map_err(|error| self.named(&error))
    }

    fn named(&self, error: &Error) -> Error {
        // The error is about this node, whoever told it.
        Error::new(error.kind(), error.message().to_owned()).with_retry(error.retry()).with_node(&self.name)
    }
}

#[async_trait]
impl Outline for SwarmNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn uri(&self) -> &str {
        &self.client.uri
    }

    async fn info(&self) -> Result<NodeInfo> {
        let told = self.told().await?;
        match told.away() {
            Some(why) => Err(Error::new(ErrorKind::Unavailable, why).with_retry(Retry::Safe).with_node(&self.name)),
            None => Ok(told.info(&self.name)),
        }
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        let _ = self.info().await?;
        let work = async {
            let here = json!({"node": [self.id]}).to_string();
            let tasks: Vec<Task> = Request::get("/tasks").query("filters", &here).json(&self.client).await?;
            let services: Vec<Service> = Request::get("/services").json(&self.client).await?;
            Ok((tasks, services))
        };
        let (tasks, services) = work.await.map_err(|error| self.named(&error))?;
        let names: BTreeMap<String, String> =
            services.into_iter().filter_map(|service| Some((service.id?, service.spec?.name?))).collect();
        let mut containers: Vec<_> = tasks
            .into_iter()
            .filter_map(|task| container(&self.name, task, &names))
            .filter(|container| filter.matches(container))
            .collect();
        containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        Ok(containers)
    }
}

/// The container of a task; a task that has none yet, or never had one, is none.
fn container(node: &str, task: Task, services: &BTreeMap<String, String>) -> Option<ContainerSummary> {
    let status = task.status.unwrap_or_default();
    let id = status.container_status.and_then(|status| status.container_id).filter(|id| !id.is_empty())?;
    let spec = task.spec.and_then(|spec| spec.container_spec).unwrap_or_default();
    let (task_id, service_id) = (task.id.unwrap_or_default(), task.service_id.unwrap_or_default());
    let service = services.get(&service_id).cloned().unwrap_or_default();
    // As the daemon there calls it: the number of the copy, or where each node has one, the node.
    let place = task.slot.filter(|slot| *slot > 0).map(|slot| slot.to_string()).or(task.node_id.clone());
    let name = format!("{service}.{}.{task_id}", place.unwrap_or_default());
    let mut summary = ContainerSummary::default();
    summary.node = node.to_owned();
    summary.id = id;
    summary.image = spec.image.unwrap_or_default();
    summary.state = state(status.state.as_deref().unwrap_or_default());
    summary.labels = text(spec.labels);
    for (key, value) in [
        ("com.docker.swarm.node.id", task.node_id.unwrap_or_default()),
        ("com.docker.swarm.service.id", service_id),
        ("com.docker.swarm.service.name", service),
        ("com.docker.swarm.task", String::new()),
        ("com.docker.swarm.task.id", task_id),
        ("com.docker.swarm.task.name", name.clone()),
    ] {
        summary.labels.insert(key.to_owned(), value);
    }
    summary.name = name;
    summary.created_at = task.created_at.and_then(|time| time.parse::<Timestamp>().ok());
    Some(summary)
}

/// The manager's word for the state of a task that has a container.
fn state(word: &str) -> ContainerState {
    match word {
        "new" | "pending" | "assigned" | "accepted" | "preparing" | "ready" | "starting" => ContainerState::Created,
        "running" => ContainerState::Running,
        "complete" | "shutdown" | "failed" | "rejected" => ContainerState::Stopped,
        "remove" => ContainerState::Stopping,
        _ => ContainerState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_tasks_become_containers() {
        let tasks: Vec<Task> = serde_json::from_str(
            r#"[{"ID":"5g2zgqiqx3ypmfxg1m0e9ig5d","Version":{"Index":22},"CreatedAt":"2026-11-27T18:54:50.09672128Z","Labels":{},
                 "Spec":{"ContainerSpec":{"Image":"roadstead/busybox:latest","Labels":{"of":"web"},"Command":["sleep","600"],
                 "Isolation":"default"},"ForceUpdate":0},"ServiceID":"opt6yfiff8jn1kwwa1y6dqaxk","NodeID":"kymw52co1vlxmrsxbrshieeg8",
                 "Status":{"Timestamp":"2026-11-27T18:54:50.613068908Z","State":"running","Message":"started",
                 "ContainerStatus":{"ContainerID":"90584a19daea","PID":13226,"ExitCode":0},"PortStatus":{}},"DesiredState":"running"},
                {"ID":"t2","Slot":3,"ServiceID":"gone","NodeID":"n","Status":{"State":"levitating","ContainerStatus":{"ContainerID":"9"}},
                 "Spec":{"ContainerSpec":{"Image":"a","Labels":null}}},
                {"ID":"t3","Status":{"State":"pending","ContainerStatus":null}},{}]"#,
        )
        .unwrap();
        let services = [("opt6yfiff8jn1kwwa1y6dqaxk".to_owned(), "web".to_owned())].into();
        let found: Vec<_> = tasks.into_iter().filter_map(|task| container("there", task, &services)).collect();
        let [web, odd] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(web.name, "web.kymw52co1vlxmrsxbrshieeg8.5g2zgqiqx3ypmfxg1m0e9ig5d");
        assert_eq!((web.node.as_str(), web.id.as_str(), web.state), ("there", "90584a19daea", ContainerState::Running));
        assert_eq!((web.labels["of"].as_str(), web.labels["com.docker.swarm.service.name"].as_str()), ("web", "web"));
        assert_eq!(web.created_at.unwrap().unix_seconds(), 1_795_805_690);
        assert_eq!((odd.name.as_str(), odd.state), (".3.t2", ContainerState::Unknown));
    }

    #[test]
    fn nodes_that_are_away_or_set_aside_are_cordoned() {
        let node = |json: &str| serde_json::from_str::<WireNode>(json).unwrap();
        let ready = node(r#"{"ID":"n","Spec":{"Availability":"active"},"Status":{"State":"ready"}}"#);
        assert_eq!((ready.cordon(), ready.away()), (None, None));
        let drained = node(r#"{"ID":"n","Spec":{"Availability":"drain"},"Status":{"State":"ready"}}"#);
        assert_eq!(drained.cordon().as_deref(), Some("the swarm has set it to drain"));
        let down = node(r#"{"Status":{"State":"down","Message":"heartbeat failure"}}"#);
        assert_eq!(down.away().as_deref(), Some("the swarm says that it is down: heartbeat failure"));
        assert_eq!(node("{}").cordon(), None);
        let info = node(r#"{"Description":{"Resources":{"NanoCPUs":2000000000,"MemoryBytes":-1}}}"#).info("x");
        assert_eq!((info.cpus, info.memory_bytes), (Some(2), None));
    }

    #[test]
    fn names_are_told_apart() {
        let taken = BTreeSet::from(["vm".to_owned()]);
        assert_eq!(call("vm", "kymw52co1vlx", &taken), "vm-kymw52co");
        assert_eq!(call("other", "kymw52co1vlx", &taken), "other");
        assert_eq!(call("", "kymw52co1vlx", &taken), "kymw52co");
    }
}
