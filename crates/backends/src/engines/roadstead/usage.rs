//! What a node of another server and its containers use, and their processes: asked of the server, which has them at hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::usage::{self, HistoryOf, HistoryOptions, HostFacts, Metric, Runs, UsageHistory};
use roadstead_core::{
    Capability, Error, ErrorKind, ItemStream, Metrics, NodeUsage, Process, ProcessOptions, Result, Retry, UsageOptions,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::frames::{self, Said};
use super::lists;
use super::node::RoadsteadNode;
use super::request::{Request, nonsense};
use super::shared::Remote;
use super::wire;

/// So many containers are named in one request: a longer one may be refused.
const NAMED_AT_ONCE: usize = 50;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Names in parts of requests; one part without names when there are none.
fn parts(containers: &[String]) -> Vec<&[String]> {
    if containers.is_empty() { vec![&[]] } else { containers.chunks(NAMED_AT_ONCE).collect() }
}

fn naming(request: Request, containers: &[String]) -> Request {
    containers.iter().fold(request, |request, container| request.query("container", container))
}

/// A usage under the name that the node has here. A kind of error that is not known here is an unexpected one.
fn read_usage(remote: &Remote, mut value: Value) -> Result<NodeUsage> {
    for error in value.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(code) = error.get_mut("code").filter(|code| ErrorKind::deserialize(&**code).is_err()) {
            *code = ErrorKind::Unexpected.row().code.into();
        }
    }
    wire::item(remote, value)
}

/// A history under the name that the node has here, without numbers that are not known here.
fn read_history(remote: &Remote, mut value: Value) -> Result<UsageHistory> {
    let points = |series: &mut Value| series.get_mut("points").and_then(Value::as_array_mut).map(std::mem::take);
    for series in value.get_mut("series").and_then(Value::as_array_mut).into_iter().flatten() {
        let mut known = points(series).unwrap_or_default();
        for point in &mut known {
            if let Some(values) = point.get_mut("values").and_then(Value::as_object_mut) {
                values.retain(|name, _| Metric::ALL.iter().any(|metric| metric.name() == name));
            }
        }
        if let Some(there) = series.get_mut("points") {
            *there = Value::Array(known);
        }
    }
    wire::item(remote, value)
}

async fn usage_now(remote: &Remote, options: &UsageOptions) -> Result<NodeUsage> {
    options.validate()?;
    let mut whole: Option<NodeUsage> = None;
    for part in parts(&options.containers) {
        let request = naming(Request::get(&remote.path(&["usage"])), part);
        let found = read_usage(remote, request.json(remote).await?)?;
        match &mut whole {
            None => whole = Some(found),
            Some(whole) => {
                whole.containers.extend(found.containers);
                whole.errors.extend(found.errors);
            }
        }
    }
    let mut whole = whole.ok_or_else(|| Error::new(ErrorKind::Unexpected, "nothing was asked"))?;
    whole.containers.sort_by(|a, b| a.id.cmp(&b.id));
    whole.containers.dedup_by(|a, b| a.id == b.id);
    Ok(whole)
}

async fn history(remote: &Remote, options: &HistoryOptions) -> Result<UsageHistory> {
    options.validate()?;
    let (rest, named): (_, &[String]) = match &options.of {
        HistoryOf::Everything => ("usage", &[]),
        HistoryOf::Containers(named) if named.is_empty() => {
            let mut nothing = UsageHistory::default();
            nothing.node.clone_from(&remote.name);
            return Ok(nothing);
        }
        HistoryOf::Containers(named) => ("usage", named),
        HistoryOf::Processes(named) => ("processes", named),
        _ => return Err(Error::unsupported(Capability::UsageHistory.text())),
    };
    let since = options.since.map(|since| since.to_string());
    // Without a time or a step, now would be asked for.
    let since = since.or_else(|| options.step.is_none().then(|| "1970-01-01T00:00:00Z".to_owned()));
    let step = options.step.map(|step| step.as_secs_f64().to_string());
    let mut whole: Option<UsageHistory> = None;
    for part in parts(named) {
        let request = Request::get(&remote.path(&[rest])).query_some("since", since.as_deref());
        let request = naming(request.query_some("step", step.as_deref()), part);
        let found = read_history(remote, request.json(remote).await?)?;
        match &mut whole {
            None => whole = Some(found),
            Some(whole) => whole.series.extend(found.series),
        }
    }
    whole.ok_or_else(|| Error::new(ErrorKind::Unexpected, "nothing was asked"))
}

async fn processes(remote: &Remote, options: &ProcessOptions) -> Result<Vec<Process>> {
    options.validate()?;
    let mut all: Vec<Process> = Vec::new();
    for part in parts(&options.containers) {
        let ask = |request: Request| {
            naming(request, part).flag("open_files", options.open_files).flag("connections", options.connections)
        };
        all.extend(lists::items::<Process>(remote, &["processes"], ask).await?);
    }
    // Two containers may count theirs alike.
    all.sort_by(|a, b| (a.pid, &a.container).cmp(&(b.pid, &b.container)));
    all.dedup_by(|a, b| (a.pid, &a.container) == (b.pid, &b.container));
    Ok(all)
}

async fn connect(remote: &Remote, containers: &[String]) -> Result<ItemStream<Said>> {
    frames::open(remote, naming(Request::get(&remote.path(&["usage"])), containers)).await
}

/// A live usage that connects again: each item is whole, so nothing is missed but what nobody can see any more.
struct Watcher {
    remote: Arc<Remote>,
    said: ItemStream<Said>,
    /// Whose use is wanted; everybody's when there is nobody. Those that have ended are left out.
    named: Vec<String>,
    everything: bool,
    /// The runs that the first item was of: what comes after a break may be of the next ones.
    runs: Option<Runs>,
    /// Whether it was connected again since the last item.
    is_again: bool,
    over: bool,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<NodeUsage>, Self)> {
        loop {
            if self.over {
                return None;
            }
            let result = match self.said.next().await {
                Some(Ok(Said::Data(data))) => {
                    let usage = serde_json::from_str(&data).map_err(nonsense);
                    usage.and_then(|usage| read_usage(&self.remote, usage)).map(Some)
                }
                Some(Ok(Said::Failed(error))) => Err(error),
                Some(Ok(Said::End)) => return None,
                Some(Err(_)) | None => self.again().await.map(|()| None),
            };
            match result {
                Ok(Some(mut usage)) if !self.everything => match self.keep(&mut usage).await {
                    Ok(()) if self.named.is_empty() => return None,
                    Ok(()) => return Some((Ok(usage), self)),
                    Err(error) => return Some(self.fail(error)),
                },
                Ok(Some(usage)) => return Some((Ok(usage), self)),
                Ok(None) => {}
                Err(error) => return Some(self.fail(error)),
            }
        }
    }

    fn fail(mut self, error: Error) -> (Result<NodeUsage>, Self) {
        self.over = true;
        (Err(error.with_operation("metrics.watch").with_node(&self.remote.name)), self)
    }

    /// Finds out at first which runs of containers are told of. While the connection lasts, the server leaves out what ends.
    async fn keep(&mut self, usage: &mut NodeUsage) -> Result<()> {
        let node = RoadsteadNode(Arc::clone(&self.remote));
        let ids = |usage: &NodeUsage| {
            let told = usage.containers.iter().map(|container| container.id.clone());
            told.chain(usage.errors.iter().map(|error| error.container.clone())).collect::<Vec<_>>()
        };
        match &mut self.runs {
            None => self.runs = Some(Runs::of(&node, ids(usage)).await?),
            Some(runs) if self.is_again => runs.keep(&node, runs.ids(), usage).await,
            Some(_) => {}
        }
        self.is_again = false;
        self.named = ids(usage);
        Ok(())
    }

    /// Connects again, within the reconnect deadline.
    async fn again(&mut self) -> Result<()> {
        // None: later than any clock shows.
        let deadline = Instant::now().checked_add(self.remote.reconnect_deadline);
        let mut pause = FIRST_PAUSE;
        loop {
            if !self.everything && self.named.is_empty() {
                self.over = true;
                return Ok(());
            }
            sleep(pause).await;
            let attempt = connect(&self.remote, &self.named);
            let result = match deadline {
                Some(deadline) => timeout_at(deadline, attempt)
                    .await
                    .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the server does not answer"))),
                None => attempt.await,
            };
            let error = match result {
                Ok(said) => {
                    self.said = said;
                    self.is_again = true;
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {}
                // It has ended meanwhile.
                ErrorKind::NotFound | ErrorKind::Conflict => {
                    let before = self.named.len();
                    self.named.retain(|name| Some(name.as_str()) != error.resource());
                    if self.named.len() == before {
                        return Err(error);
                    }
                    continue;
                }
                _ => return Err(error),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
                let seconds = self.remote.reconnect_deadline.as_secs();
                let words = format!("the server was away for {seconds} s: {}", error.message());
                return Err(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe).with_source(error));
            }
        }
    }
}

async fn watch(node: &RoadsteadNode, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
    options.validate()?;
    let remote = &node.0;
    // More than one request can name: everything is read, and they are picked out here.
    let mut picked = Picked::default();
    if options.containers.len() > NAMED_AT_ONCE {
        let running = usage::running(node, &options.containers).await?;
        picked.0.extend(running.into_iter().map(|container| (container.id, None)));
    }
    let named = if picked.0.is_empty() { options.containers.clone() } else { Vec::new() };
    let said = connect(remote, &named).await?;
    let everything = named.is_empty();
    let watcher =
        Watcher { remote: Arc::clone(remote), said, everything, named, runs: None, is_again: false, over: false };
    let items = stream::unfold(watcher, Watcher::next).fuse();
    if picked.0.is_empty() {
        return Ok(items.boxed());
    }
    let items = items.map(move |usage| {
        let Ok(mut usage) = usage else { return Some(usage) };
        picked.pick(&mut usage);
        (!picked.0.is_empty()).then_some(Ok(usage))
    });
    Ok(items.take_while(|usage| std::future::ready(usage.is_some())).filter_map(std::future::ready).boxed())
}

/// Containers that are picked out of the use of everything, each with the cpu seconds that were told of it last.
#[derive(Debug, Default)]
struct Picked(HashMap<String, Option<f64>>);

impl Picked {
    /// What was told of and is missing has ended, and what counts less than before is its next run. To ask for so many one by one
    /// would cost more than it tells.
    fn pick(&mut self, usage: &mut NodeUsage) {
        usage.machine = None;
        usage.errors.retain(|error| self.0.contains_key(&error.container));
        usage.containers.retain(|container| {
            let before = self.0.get(&container.id);
            before.is_some_and(|before| before.is_none_or(|before| container.stats.cpu.total_seconds >= before))
        });
        let told: HashMap<_, _> =
            usage.containers.iter().map(|told| (told.id.as_str(), told.stats.cpu.total_seconds)).collect();
        self.0.retain(|id, seconds| {
            let before = seconds.is_none() || usage.errors.iter().any(|error| error.container == *id);
            *seconds = told.get(id.as_str()).copied().or(*seconds);
            before || told.contains_key(id.as_str())
        });
    }
}

#[async_trait]
impl Metrics for RoadsteadNode {
    async fn host(&self) -> Result<HostFacts> {
        let work = async { Request::get(&self.0.path(&["host"])).json(&self.0).await };
        self.call("metrics.host", Some(Capability::Host), "", work).await
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        self.call("metrics.usage", Some(Capability::Usage), "", usage_now(&self.0, options)).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        self.call("metrics.watch", Some(Capability::Usage), "", watch(self, options)).await
    }

    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory> {
        self.call("metrics.history", Some(Capability::UsageHistory), "", history(&self.0, options)).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        self.call("metrics.processes", Some(Capability::NodeProcesses), "", processes(&self.0, options)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::tests::remote;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_newer_server_is_understood() {
        let remote = remote();
        let at = "2026-11-21T06:50:42Z";
        let told = json!({
            "node": "far", "observed_at": at, "containers": [], "newer": 1,
            "errors": [{"container": "c", "code": "tired", "message": "m"}, {"container": "d", "code": "unavailable", "message": "m"}]
        });
        let usage = read_usage(&remote, told).unwrap();
        let codes: Vec<_> = usage.errors.iter().map(|error| error.code).collect();
        assert_eq!((usage.node.as_str(), codes), ("near", vec![ErrorKind::Unexpected, ErrorKind::Unavailable]));

        let spread = json!({"min": 1.0, "mean": 2.0, "max": 3.0});
        let told = json!({"node": "far", "series": [
            {"container": "c", "points": [{"at": at, "values": {"load": spread, "warp": "9"}}]}, {"points": []}
        ]});
        let history = read_history(&remote, told).unwrap();
        assert_eq!((history.node.as_str(), history.series.len()), ("near", 2));
        let values = &history.series[0].points[0].values;
        assert_eq!(values.keys().collect::<Vec<_>>(), [&Metric::Load]);
    }

    #[test]
    fn what_is_picked_out_is_told_until_it_ends() {
        let usage = |told: &[(&str, f64)], failed: &[&str]| {
            let mut usage = NodeUsage::at("near", roadstead_core::Timestamp::now());
            for (id, seconds) in told {
                let mut stats = roadstead_core::ContainerStats::at(usage.observed_at);
                stats.cpu.total_seconds = *seconds;
                usage.containers.push(usage::ContainerUsage::new(*id, *id, stats));
            }
            let error = Error::new(ErrorKind::Unavailable, "away");
            usage.errors.extend(failed.iter().map(|id| usage::UsageError::new(*id, &error)));
            usage
        };
        let mut picked = Picked(["late", "ends", "starts", "stays"].map(|id| (id.to_owned(), None)).into());
        let mut ids = |mut told: NodeUsage| {
            picked.pick(&mut told);
            told.containers.iter().map(|container| container.id.clone()).collect::<Vec<_>>().join(" ")
        };
        let first = [("ends", 1.0), ("starts", 2.0), ("stays", 3.0), ("other", 4.0)];
        assert_eq!(ids(usage(&first, &[])), "ends starts stays");
        assert_eq!(ids(usage(&[("late", 0.0), ("starts", 1.0)], &["stays"])), "late");
        assert_eq!(ids(usage(&[("ends", 9.0), ("starts", 9.0), ("stays", 3.0)], &[])), "stays");
        assert_eq!(ids(usage(&[("late", 9.0)], &[])), "");
        assert!(picked.0.is_empty());
    }

    #[test]
    fn many_names_are_asked_for_in_parts() {
        let names: Vec<String> = (0..120).map(|number| format!("c{number}")).collect();
        let sizes: Vec<_> = parts(&names).iter().map(|part| part.len()).collect();
        assert_eq!(sizes, [50, 50, 20]);
        assert_eq!(parts(&[]).len(), 1);
    }
}
