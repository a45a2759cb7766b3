//! Clauses of usage: the machine's facts, what containers use now and used before, and the processes of a node.

use std::sync::Arc;
use std::time::Duration;

use super::check::{Check, During, ensure, equal, eventually, failed, next, refused};
use super::declare;
use super::scene::{Scene, details};
use crate::capabilities::Capability;
use crate::container::{Container, DeleteOptions, StopOptions};
use crate::error::ErrorKind;
use crate::time::Timestamp;
use crate::usage::{ContainerUsage, HistoryOf, HistoryOptions, NodeUsage, ProcessOptions, UsageOptions};

declare! {
    U1 "host: names the machine, its processors and its memory" [Host] host;
    U10 "usage: every running container once, and no other" [Create Usage] every_running_one;
    U11 "usage: the numbers of stats, and cpu never goes down" [Create Usage Stats] the_numbers_of_stats;
    U12 "usage: containers that come and go" [Create Usage] come_and_go;
    U13 "usage: only what is asked for" [Create Usage] only_what_is_asked_for;
    U14 "usage: rates since the sample before" [Create Usage] rates;
    U20 "watch usage: later and later" [Create Usage] watched;
    U21 "watch usage: until it ends, whatever comes after" [Create Usage] watched_until_it_ends;
    U30 "history: points in order, spreads in order" [Create UsageHistory] history;
    U31 "history: steps as long as asked for" [Create UsageHistory] steps;
    U32 "history: a container that is not there" [UsageHistory] history_of_nobody;
    U40 "list processes: the main process names its container" [Create NodeProcesses] main_process;
    U41 "list processes: only of what is asked for" [Create NodeProcesses] processes_of;
    U42 "list processes: open files and connections when asked for" [Create NodeProcesses] files_when_asked;
}

async fn host(scene: &Scene) -> Check {
    let host = scene.node().host().await.during("host")?;
    ensure(!host.hostname.is_empty() && !host.architecture.is_empty(), "no host name or no architecture")?;
    ensure(!host.cpus.is_empty() && host.memory_bytes > 0, "no processors or no memory")?;
    let booted = host.booted_at;
    ensure(booted.is_none_or(|booted| booted <= Timestamp::now()), format!("started in the future: {booted:?}"))
}

/// The part of a container in the usage of everything; nothing when it is not there.
async fn part(scene: &Scene, id: &str) -> Check<(NodeUsage, Option<ContainerUsage>)> {
    let usage = scene.node().usage(&UsageOptions::default()).await.during("usage")?;
    equal("the node of the usage", usage.node.as_str(), scene.node().name())?;
    let mut parts = usage.containers.iter().filter(|container| container.id == id).cloned();
    let found = parts.next();
    ensure(parts.next().is_none(), "a container is in the usage twice")?;
    Ok((usage, found))
}

/// The part of a container once it is observed.
async fn observed(scene: &Scene, id: &str) -> Check<ContainerUsage> {
    eventually("the container in the usage", || async { Ok(part(scene, id).await?.1) }).await
}

async fn every_running_one(scene: &Scene) -> Check {
    let (running, created) = (scene.running("runs").await?, scene.created("waits").await?);
    let stopped = scene.stopped("ended").await?;
    let summary = details(&*running).await?.summary;
    let found = observed(scene, &summary.id).await?;
    equal("the name", found.name, summary.name)?;
    let stopped_at = details(&*stopped).await?.summary.id;
    let created = details(&*created).await?.summary.id;
    eventually("a usage without what does not run", || async {
        let usage = part(scene, &summary.id).await?.0;
        let has = |id: &str| usage.containers.iter().any(|container| container.id == id);
        ensure(!has(&created), "a container that never ran is in the usage")?;
        Ok((!has(&stopped_at)).then_some(()))
    })
    .await?;
    running.stop(&StopOptions::after_seconds(0)).await.during("stop")?;
    eventually("a usage without what was stopped", || async {
        Ok(part(scene, &summary.id).await?.1.is_none().then_some(()))
    })
    .await
}

async fn the_numbers_of_stats(scene: &Scene) -> Check {
    let container = scene.ready("busy", "true").await?;
    let id = details(&*container).await?.summary.id;
    let before = container.stats().await.during("stats")?;
    let between = eventually("a usage that is observed later", || async {
        Ok(part(scene, &id).await?.1.filter(|found| found.stats.observed_at > before.observed_at))
    })
    .await?
    .stats;
    let after = container.stats().await.during("stats")?;
    let seconds = [&before, &between, &after].map(|stats| stats.cpu.total_seconds);
    ensure(seconds.is_sorted(), format!("cpu seconds went down: {seconds:?}"))?;
    ensure(between.memory.usage_bytes > 0 && between.pids.current > 0, format!("nothing is used: {between:?}"))?;
    let limits = [&before, &between].map(|stats| (stats.memory.limit_bytes, stats.pids.limit));
    equal("the limits", limits[0], limits[1])
}

async fn come_and_go(scene: &Scene) -> Check {
    let stays = scene.running("stays").await?;
    let id = details(&*stays).await?.summary.id;
    observed(scene, &id).await?;
    let goes = |number: usize| async move {
        let container = scene.running(&format!("goes{number}")).await?;
        container.delete(&DeleteOptions::force()).await.during("delete")
    };
    let look = || async {
        for _ in 0..30 {
            let (_, found) = part(scene, &id).await?;
            ensure(found.is_some(), "what stays is not in a usage")?;
        }
        Ok(())
    };
    let churn = || async {
        for number in 0..3 {
            goes(number).await?;
        }
        Ok(())
    };
    let (looked, gone): (Check, Check) = futures_util::join!(look(), churn());
    looked.and(gone)
}

async fn only_what_is_asked_for(scene: &Scene) -> Check {
    let (one, _other) = (scene.running("one").await?, scene.running("other").await?);
    let summary = details(&*one).await?.summary;
    for asked in [&summary.id, &summary.name] {
        let usage = scene.node().usage(&UsageOptions::of(asked)).await.during("usage of one")?;
        let ids: Vec<_> = usage.containers.iter().map(|container| container.id.as_str()).collect();
        equal("the containers", ids, vec![summary.id.as_str()])?;
        ensure(usage.machine.is_none() && usage.errors.is_empty(), "more than was asked for")?;
    }
    let nobody = UsageOptions::of(scene.name("nobody"));
    refused("usage of nobody", scene.node().usage(&nobody).await, ErrorKind::NotFound)?;
    let stopped = scene.stopped("ended").await?;
    let stopped = UsageOptions::of(stopped.id());
    refused("usage of what does not run", scene.node().usage(&stopped).await, ErrorKind::Conflict)?;
    Ok(())
}

async fn rates(scene: &Scene) -> Check {
    // In the engine in memory a process uses time with each command that it runs.
    let container = scene.start(&scene.script("busy", "while true; do true; done")).await?;
    let id = details(&*container).await?.summary.id;
    let rates = eventually("a rate of a busy container", || async {
        let rates = part(scene, &id).await?.1.and_then(|found| found.rates);
        Ok(rates.filter(|rates| rates.cpu_percent > 0.0))
    })
    .await?;
    ensure(rates.interval_seconds > 0.0 && rates.cpu_percent.is_finite(), format!("{rates:?}"))
}

async fn watched(scene: &Scene) -> Check {
    let container = scene.ready("busy", "true").await?;
    let options = UsageOptions::of(details(&*container).await?.summary.id);
    let mut items = scene.node().watch_usage(&options).await.during("watch usage")?;
    let mut last: Option<ContainerUsage> = None;
    for _ in 0..3 {
        let Some(item) = next("watched usage", &mut items).await? else { return failed("the usage ended") };
        let [found] = item.containers.as_slice() else { return failed(format!("not one container: {item:?}")) };
        if let Some(last) = &last {
            ensure(found.stats.observed_at > last.stats.observed_at, "an item is not observed later")?;
            ensure(found.stats.cpu.total_seconds >= last.stats.cpu.total_seconds, "cpu seconds went down")?;
        }
        last = Some(found.clone());
    }
    Ok(())
}

async fn watched_until_it_ends(scene: &Scene) -> Check {
    let (stays, starts) = (scene.running("stays").await?, scene.running("starts").await?);
    let taken = scene.running("taken").await?;
    let stays = (details(&*stays).await?.summary.id, stays);
    // By name: it is the container that is meant.
    let name = details(&*taken).await?.summary.name;
    let mut options = UsageOptions::of(name);
    options.containers.extend([stays.0.clone(), starts.id().to_owned()]);
    let mut items = scene.node().watch_usage(&options).await.during("watch usage")?;
    let Some(first) = next("watched usage", &mut items).await? else { return failed("the usage ended") };
    equal("the containers at first", first.containers.len() + first.errors.len(), 3)?;
    // All of it between two items: the stream is not read meanwhile.
    starts.stop(&StopOptions::after_seconds(0)).await.during("stop")?;
    starts.start().await.during("start")?;
    taken.delete(&DeleteOptions::force()).await.during("delete")?;
    scene.running("taken").await?;
    // What was read before may still come.
    let mut alone = 0;
    for _ in 0..6 {
        let Some(item) = next("watched usage", &mut items).await? else { return failed("the usage ended") };
        let ids: Vec<_> = item.containers.iter().map(|container| container.id.as_str()).collect();
        let is_alone = ids == [stays.0.as_str()];
        ensure(is_alone || alone == 0, format!("what has ended is back: {ids:?}"))?;
        alone += usize::from(is_alone);
        if alone == 2 {
            break;
        }
    }
    equal("the items without what has ended", alone, 2)?;
    stays.1.delete(&DeleteOptions::force()).await.during("delete")?;
    scene.running("stays").await?;
    for _ in 0..6 {
        if next("watched usage", &mut items).await?.is_none() {
            return Ok(());
        }
    }
    failed("the usage goes on without the container that it is of")
}

async fn history_of(scene: &Scene, options: &HistoryOptions, points: usize) -> Check<crate::usage::UsageSeries> {
    eventually("a history", || async {
        let history = scene.node().usage_history(options).await.during("history")?;
        let [series] = history.series.as_slice() else { return Ok(None) };
        Ok((series.points.len() >= points).then(|| series.clone()))
    })
    .await
}

async fn history(scene: &Scene) -> Check {
    let container = scene.ready("busy", "true").await?;
    let summary = details(&*container).await?.summary;
    let options = HistoryOptions::of(HistoryOf::Containers(vec![summary.id.clone()]));
    let series = history_of(scene, &options, 3).await?;
    equal("the container", series.container.as_deref(), Some(summary.id.as_str()))?;
    ensure(series.points.is_sorted_by_key(|point| point.at), "points are not in the order of time")?;
    for (metric, spread) in series.points.iter().flat_map(|point| &point.values) {
        let order = [spread.min, spread.mean, spread.max];
        ensure(order.is_sorted() && order.iter().all(|value| value.is_finite()), format!("{metric:?}: {spread:?}"))?;
    }
    let told = series.points.iter().any(|point| point.values.contains_key(&crate::usage::Metric::MemoryBytes));
    ensure(told, "no point tells of memory")
}

async fn steps(scene: &Scene) -> Check {
    let container = scene.ready("busy", "true").await?;
    let id = details(&*container).await?.summary.id;
    let step = Duration::from_secs(4);
    let mut options = HistoryOptions::of(HistoryOf::Containers(vec![id]));
    options.step = Some(step);
    let series = history_of(scene, &options, 2).await?;
    for pair in series.points.windows(2) {
        let [earlier, later] = pair else { continue };
        ensure(later.at.since(earlier.at) >= step, "a step is shorter than was asked for")?;
    }
    let Some(second) = series.points.get(1) else { return failed("there is no second point") };
    options.since = Some(second.at);
    let since = history_of(scene, &options, 1).await?;
    let first = since.points.first().map(|point| point.at);
    ensure(
        first.is_some_and(|first| second.at.since(first) < step),
        format!("{first:?} is long before {:?}", second.at),
    )
}

async fn history_of_nobody(scene: &Scene) -> Check {
    let nobody = HistoryOptions::of(HistoryOf::Containers(vec![scene.name("nobody")]));
    refused("history of nobody", scene.node().usage_history(&nobody).await, ErrorKind::NotFound)?;
    Ok(())
}

async fn main_process(scene: &Scene) -> Check {
    let container = scene.running("sleeper").await?;
    let found = details(&*container).await?;
    let local = scene.node().info().await.during("info")?.local;
    let all = eventually("the main process", || async {
        let all = scene.node().list_processes(&ProcessOptions::default()).await.during("list processes")?;
        let is_main = |pid: u32| Some(pid) == found.pid || (!local && pid == 1);
        let main = all
            .iter()
            .any(|process| is_main(process.pid) && process.container.as_deref() == Some(found.summary.id.as_str()));
        Ok(main.then_some(all))
    })
    .await?;
    ensure(all.is_sorted_by_key(|process| process.pid), "the processes are not in the order of their pids")
}

async fn processes_of(scene: &Scene) -> Check {
    let (one, _other) = (scene.running("one").await?, scene.running("other").await?);
    let id = details(&*one).await?.summary.id;
    let of = |id: &str| ProcessOptions { containers: vec![id.to_owned()], ..ProcessOptions::default() };
    let found = scene.node().list_processes(&of(&id)).await.during("list processes")?;
    ensure(!found.is_empty(), "a running container has no process")?;
    let theirs = found.iter().all(|process| process.container.as_deref() == Some(id.as_str()));
    ensure(theirs, "a process of another container")?;
    let nobody = scene.name("nobody");
    refused("processes of nobody", scene.node().list_processes(&of(&nobody)).await, ErrorKind::NotFound)?;
    let stopped = scene.stopped("ended").await?;
    let refusal = scene.node().list_processes(&of(stopped.id())).await;
    refused("processes of what does not run", refusal, ErrorKind::Conflict)?;
    Ok(())
}

async fn files_when_asked(scene: &Scene) -> Check {
    let container: Arc<dyn Container> = scene.start(&scene.script("reader", "exec sleep 300 < /etc/passwd")).await?;
    let containers = vec![details(&*container).await?.summary.id];
    let mut options = ProcessOptions { containers, ..ProcessOptions::default() };
    let plain = scene.node().list_processes(&options).await.during("list processes")?;
    let told = plain.iter().any(|process| process.open_files.is_some() || process.connections.is_some());
    ensure(!told, "files that were not asked for")?;
    (options.open_files, options.connections) = (true, true);
    if !scene.has(Capability::ProcessFiles) {
        let asked = scene.node().list_processes(&options).await.during("list processes")?;
        let told = asked.iter().any(|process| process.open_files.is_some() || process.connections.is_some());
        return ensure(!told, "files are told without the capability");
    }
    eventually("the open file", || async {
        let found = scene.node().list_processes(&options).await.during("list processes")?;
        let mut files = found.iter().flat_map(|process| process.open_files.iter().flatten());
        Ok(files.any(|file| file.fd == 0 && file.path.ends_with("/etc/passwd")).then_some(()))
    })
    .await
}
