//! What is answered about the containers of a node on this machine.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use roadstead_core::usage::{
    self, ContainerUsage, HistoryOf, HistoryOptions, NamespaceTraffic, UsageHistory, UsageSeries,
};
use roadstead_core::{
    Capability, ContainerStats, Error, ErrorKind, NodeUsage, Process, ProcessOptions, Result, UsageOptions,
};

use super::{Chosen, Member, Members, Owner};
use crate::host::cgroup::Origin;
use crate::host::process::Reader;
use crate::host::sampler::Sample;

pub(super) type Ours = HashMap<Arc<str>, Arc<Member>>;

/// What the network of a container carried, by the kernel's own file.
async fn traffic_of(owner: &impl Owner, id: &str) -> Option<NamespaceTraffic> {
    owner.cgroup(id).await.ok().flatten()?.traffic()
}

impl Members {
    /// U10 to U14.
    pub(crate) async fn usage(&self, owner: &impl Owner, options: &UsageOptions) -> Result<NodeUsage> {
        options.validate()?;
        let Some(sampler) = &self.sampler else { return self.polled.usage(owner, options).await };
        let sample = sampler.sample().await?;
        self.usage_in(owner, &sample, options).await
    }

    pub(super) async fn usage_in(
        &self,
        owner: &impl Owner,
        sample: &Sample,
        options: &UsageOptions,
    ) -> Result<NodeUsage> {
        let Some(ours) = self.ours(owner, sample).await? else {
            // None of its containers is in the sample: the engine is asked, which does not tell of the loopback.
            let mut usage = self.polled.usage(owner, options).await?;
            let traffic = join_all(usage.containers.iter().map(|told| traffic_of(owner, &told.id))).await;
            usage.containers.iter_mut().zip(traffic).for_each(|(told, traffic)| told.namespace = traffic);
            return Ok(usage);
        };
        let mut usage = NodeUsage::at(owner.name(), sample.observed_at);
        usage.sampling = Some(sample.sampling);
        if options.containers.is_empty() {
            usage.machine = Some(sample.machine.clone());
            usage.containers = ours.iter().filter_map(|(path, member)| of_group(sample, path, member)).collect();
        } else {
            let named = self.named(owner, &ours, sample, &options.containers).await?;
            usage.containers.extend(named.into_iter().map(|(told, _)| told));
        }
        usage.containers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(usage)
    }

    /// What those that are named use, with the group that was read; without one where the engine was asked.
    pub(super) async fn named(
        &self,
        owner: &impl Owner,
        ours: &Ours,
        sample: &Sample,
        names: &[String],
    ) -> Result<Vec<(ContainerUsage, Option<Origin>)>> {
        let mut all = Vec::with_capacity(names.len());
        for Chosen { member, group } in self.chosen(owner, ours, sample, names).await? {
            let origin = group.as_deref().and_then(|path| sample.group(path)?.origin);
            match group.and_then(|path| of_group(sample, &path, &member)) {
                Some(told) => all.push((told, origin)),
                None => {
                    let stats = now(owner, &member.id).await?;
                    let mut told = ContainerUsage::new(&member.id, &member.name, stats);
                    // The engine does not tell of it, and a number that only grows must not begin with less.
                    told.namespace = traffic_of(owner, &member.id).await;
                    all.push((told, None));
                }
            }
        }
        Ok(all)
    }

    /// U30 to U32.
    pub(crate) async fn history(&self, owner: &impl Owner, options: &HistoryOptions) -> Result<UsageHistory> {
        options.validate()?;
        let elsewhere = || Error::unsupported(Capability::UsageHistory.text());
        let sampler = self.sampler.as_ref().ok_or_else(elsewhere)?;
        let sample = sampler.sample().await?;
        // What has begun since the sample has no history yet.
        let ours = self.ours(owner, &sample).await?.unwrap_or_default();
        let mut history = UsageHistory::default();
        owner.name().clone_into(&mut history.node);
        let chosen: Vec<Chosen> = match &options.of {
            HistoryOf::Containers(names) | HistoryOf::Processes(names) if !names.is_empty() => {
                self.chosen(owner, &ours, &sample, names).await?
            }
            _ => {
                let all = ours.iter();
                all.map(|(path, member)| Chosen { member: Arc::clone(member), group: Some(Arc::clone(path)) }).collect()
            }
        };
        let (since, step) = (options.since, options.step);
        let told = sampler.histories(|rings| match &options.of {
            HistoryOf::Processes(names) => {
                let of_process = |process: &crate::host::sampler::ProcessSample| {
                    let own = chosen.iter().find(|one| one.group.as_deref().is_some_and(|path| process.is_in(path)));
                    if own.is_none() && !names.is_empty() {
                        return None;
                    }
                    let mut series = series(own.map(|own| &*own.member));
                    series.pid = Some(process.stat.pid);
                    series.points = rings.process(process, since, step);
                    Some(series)
                };
                sample.processes.iter().filter_map(of_process).collect::<Vec<_>>()
            }
            of => {
                let mut all = Vec::with_capacity(chosen.len() + 1);
                if matches!(of, HistoryOf::Everything) {
                    let mut machine = series(None);
                    machine.points = rings.machine(since, step);
                    all.push(machine);
                }
                all.extend(chosen.iter().map(|one| {
                    let mut series = series(Some(&one.member));
                    series.points = one.group.as_deref().map(|path| rings.group(path, since, step)).unwrap_or_default();
                    series
                }));
                all
            }
        });
        history.series = told.unwrap_or_default();
        history.series.sort_by(|a, b| (&a.container, a.pid).cmp(&(&b.container, b.pid)));
        Ok(history)
    }

    /// U40 to U42.
    pub(crate) async fn processes(&self, owner: &impl Owner, options: &ProcessOptions) -> Result<Vec<Process>> {
        options.validate()?;
        let Some(sampler) = &self.sampler else { return usage::processes(owner, options).await };
        let sample = sampler.sample().await?;
        let Some(ours) = self.ours(owner, &sample).await? else { return usage::processes(owner, options).await };
        let mut wanted: Vec<(u32, Option<Arc<Member>>)> = Vec::new();
        if options.containers.is_empty() {
            wanted.extend(sample.processes.iter().map(|process| (process.stat.pid, innermost(&ours, &process.group))));
        } else {
            for chosen in self.chosen(owner, &ours, &sample, &options.containers).await? {
                let known =
                    chosen.group.as_deref().and_then(|path| sample.group(path)).map(|group| Arc::clone(&group.cgroup));
                let group = match known {
                    Some(group) => group,
                    None => Arc::new(owner.cgroup(&chosen.member.id).await?.ok_or_else(|| ended(&chosen.member.id))?),
                };
                let pids = group.pids().map_err(|_| ended(&chosen.member.id))?;
                wanted.extend(pids.into_iter().map(|pid| (pid, Some(Arc::clone(&chosen.member)))));
            }
        }
        wanted.sort_unstable_by_key(|(pid, _)| *pid);
        wanted.dedup_by_key(|(pid, _)| *pid);
        let (open_files, connections) = (options.open_files, options.connections);
        let read = tokio::task::spawn_blocking(move || read(&sample, wanted, open_files, connections));
        read.await.map_err(|cause| Error::new(ErrorKind::Unexpected, "the processes were not read").with_source(cause))
    }
}

/// Reads the processes anew, since a sample has the least of them only. One that has ended since is left out.
fn read(sample: &Sample, wanted: Vec<(u32, Option<Arc<Member>>)>, open_files: bool, connections: bool) -> Vec<Process> {
    let mut reader = Reader::new(open_files, connections);
    let one = |(pid, member): (u32, Option<Arc<Member>>)| {
        let (stat, mut process) = reader.read(pid)?;
        let before = sample.process(pid).filter(|before| before.stat.start_ticks == stat.start_ticks);
        process.cpu_percent = before.and_then(|before| before.cpu_percent);
        process.container = member.map(|member| member.id.clone());
        Some(process)
    };
    wanted.into_iter().filter_map(one).collect()
}

/// The container of the node that a process with this group path is in; of nested ones the innermost.
fn innermost(ours: &Ours, path: &str) -> Option<Arc<Member>> {
    let mut rest = path;
    loop {
        if let Some(member) = ours.get(rest) {
            return Some(Arc::clone(member));
        }
        rest = rest.get(..rest.rfind('/')?)?;
    }
}

fn of_group(sample: &Sample, path: &str, member: &Member) -> Option<ContainerUsage> {
    let group = sample.group(path)?;
    let mut usage = ContainerUsage::new(&member.id, &member.name, group.stats.clone());
    usage.rates = group.rates;
    usage.namespace = group.namespace;
    Some(usage)
}

fn series(member: Option<&Member>) -> UsageSeries {
    let mut series = UsageSeries::default();
    series.container = member.map(|member| member.id.clone());
    series.name = member.map(|member| member.name.clone());
    series
}

/// What a container uses that is not in the sample yet.
pub(super) async fn now(owner: &impl Owner, id: &str) -> Result<ContainerStats> {
    owner.container(id).stats().await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::Conflict => error.with_resource(id),
        _ => error,
    })
}

fn ended(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the container does not run").with_resource(id)
}
