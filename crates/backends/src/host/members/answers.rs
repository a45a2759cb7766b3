//! What is answered about the containers of a node on this machine.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::usage::{
    self, Asked, ContainerUsage, HistoryOf, HistoryOptions, Polled, Runs, UsageHistory, UsageSeries,
};
use roadstead_core::{
    Capability, ContainerStats, Error, ErrorKind, ItemStream, Node, NodeUsage, Process, ProcessOptions, Result,
    Timestamp, UsageOptions,
};

use super::{Chosen, Member, Members, Owner};
use crate::host::cgroup::Origin;
use crate::host::process::Reader;
use crate::host::sampler::{Sample, Samples};

type Ours = HashMap<Arc<str>, Arc<Member>>;

impl Members {
    /// U10 to U14.
    pub(crate) async fn usage(&self, owner: &impl Owner, options: &UsageOptions) -> Result<NodeUsage> {
        options.validate()?;
        let Some(sampler) = &self.sampler else { return self.polled.usage(owner, options).await };
        let sample = sampler.sample().await?;
        self.usage_in(owner, &sample, options).await
    }

    async fn usage_in(&self, owner: &impl Owner, sample: &Sample, options: &UsageOptions) -> Result<NodeUsage> {
        let Some(ours) = self.ours(owner, sample).await? else { return self.polled.usage(owner, options).await };
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
    async fn named(
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
                    all.push((ContainerUsage::new(&member.id, &member.name, stats), None));
                }
            }
        }
        Ok(all)
    }

    /// U20, U21.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        owner: impl Owner,
        options: UsageOptions,
    ) -> Result<ItemStream<NodeUsage>> {
        options.validate()?;
        let Some(sampler) = &self.sampler else {
            return Polled::watch(Elsewhere { members: Arc::clone(self), owner }, options).await;
        };
        let followed = if options.containers.is_empty() {
            None
        } else {
            // What is not there, or does not run, is told at once.
            let named = usage::running(&owner, &options.containers).await?;
            let runs = Runs::of(&owner, named.into_iter().map(|container| container.id)).await?;
            Some(Followed { runs, groups: HashMap::new(), before: HashMap::new() })
        };
        let samples = sampler.samples()?;
        let watched = Watched { members: Arc::clone(self), owner, followed, samples, is_first: true };
        let items = stream::unfold(Some(watched), |watched| async move {
            let mut watched = watched?;
            match watched.item().await {
                Ok(Some(usage)) => Some((Ok(usage), Some(watched))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(items.boxed())
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
    Some(usage)
}

fn series(member: Option<&Member>) -> UsageSeries {
    let mut series = UsageSeries::default();
    series.container = member.map(|member| member.id.clone());
    series.name = member.map(|member| member.name.clone());
    series
}

/// What a container uses that is not in the sample yet.
async fn now(owner: &impl Owner, id: &str) -> Result<ContainerStats> {
    owner.container(id).stats().await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::Conflict => error.with_resource(id),
        _ => error,
    })
}

fn ended(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the container does not run").with_resource(id)
}

/// A node whose engine is on another machine, asked again and again.
struct Elsewhere<O> {
    members: Arc<Members>,
    owner: O,
}

#[async_trait]
impl<O: Owner> Asked for Elsewhere<O> {
    fn node(&self) -> &dyn Node {
        &self.owner
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        self.members.usage(&self.owner, options).await
    }
}

/// A usage that is told again with each sample.
struct Watched<O> {
    members: Arc<Members>,
    owner: O,
    /// The containers that it is of; everything where there are none.
    followed: Option<Followed>,
    samples: Samples,
    is_first: bool,
}

impl<O: Owner> Watched<O> {
    /// The next item; nothing when none of the containers that were asked for runs any more.
    async fn item(&mut self) -> Result<Option<NodeUsage>> {
        let is_first = std::mem::take(&mut self.is_first);
        let sample = if is_first { self.samples.now().await? } else { self.samples.next().await? };
        match &mut self.followed {
            None => self.members.usage_in(&self.owner, &sample, &UsageOptions::default()).await.map(Some),
            Some(followed) => followed.item(&self.members, &self.owner, &sample).await,
        }
    }
}

/// Containers whose use is told until they end.
struct Followed {
    runs: Runs,
    /// The group of each run, once it is known: while it is there, nobody needs to be asked.
    groups: HashMap<String, Origin>,
    /// When each was observed last.
    before: HashMap<String, Timestamp>,
}

impl Followed {
    /// Nothing when none of them runs any more.
    async fn item(&mut self, members: &Members, owner: &impl Owner, sample: &Sample) -> Result<Option<NodeUsage>> {
        while !self.runs.ids().is_empty() {
            let (mut usage, groups) = match self.read(members, owner, sample).await {
                Ok(read) => read,
                // What ended is not in the items from then on.
                Err(error) => {
                    self.runs.end(error)?;
                    continue;
                }
            };
            let anew = self.later(owner, &mut usage).await;
            let doubtful = self.doubtful(&groups, &anew);
            self.runs.keep(owner, doubtful, &mut usage).await;
            // The group was there before it was found out that the run is still the same, so it is the run's.
            let is_told = |id: &String| usage.containers.iter().any(|container| container.id == *id);
            self.groups.extend(groups.into_iter().filter(|(id, _)| is_told(id)));
            if !self.runs.ids().is_empty() {
                return Ok(Some(usage));
            }
        }
        Ok(None)
    }

    /// What they use, and the groups that were read.
    async fn read(
        &self,
        members: &Members,
        owner: &impl Owner,
        sample: &Sample,
    ) -> Result<(NodeUsage, HashMap<String, Origin>)> {
        let mut options = UsageOptions::default();
        options.containers = self.runs.ids();
        let Some(ours) = members.ours(owner, sample).await? else {
            return Ok((members.polled.usage(owner, &options).await?, HashMap::new()));
        };
        let mut usage = NodeUsage::at(owner.name(), sample.observed_at);
        usage.sampling = Some(sample.sampling);
        let mut groups = HashMap::new();
        for (told, group) in members.named(owner, &ours, sample, &options.containers).await? {
            groups.extend(group.map(|group| (told.id.clone(), group)));
            usage.containers.push(told);
        }
        usage.containers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok((usage, groups))
    }

    /// The containers of which the groups that were read do not say whether they are still in their runs; those of which they say that
    /// they are not are left out.
    fn doubtful(&mut self, read: &HashMap<String, Origin>, anew: &[String]) -> Vec<String> {
        let mut doubtful = Vec::new();
        for id in self.runs.ids() {
            let is = read.get(&id).zip(self.groups.get(&id)).and_then(|(now, before)| now.is(*before));
            match is {
                Some(true) if !anew.contains(&id) => {}
                Some(false) => self.runs.remove(&id),
                _ => doubtful.push(id),
            }
        }
        doubtful
    }

    /// What was read directly before the sampler found it may be newer than its first sample: then it is read so once more. Gives
    /// those that were.
    async fn later(&mut self, owner: &impl Owner, usage: &mut NodeUsage) -> Vec<String> {
        let mut anew = Vec::new();
        for container in &mut usage.containers {
            let is_later = self.before.get(&container.id).is_none_or(|before| container.stats.observed_at > *before);
            if !is_later && let Ok(stats) = now(owner, &container.id).await {
                container.stats = stats;
                anew.push(container.id.clone());
            }
            self.before.insert(container.id.clone(), container.stats.observed_at);
        }
        anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::memory::MemoryEngine;
    use roadstead_core::{ContainerSpec, Engine};

    async fn followed(count: usize) -> (Arc<dyn Node>, Followed, Vec<String>) {
        let options = roadstead_core::ConnectOptions::default();
        let node = MemoryEngine.connect("sea", &"memory:".parse().unwrap(), &options).await.unwrap();
        for _ in 0..count {
            let spec = ContainerSpec::new(roadstead_core::memory::PRESET_IMAGE).command(["sleep", "300"]);
            let created = node.create_container(&spec).await.unwrap();
            node.container(&created.id).start().await.unwrap();
        }
        let running = usage::running(&*node, &[]).await.unwrap();
        let runs = Runs::of(&*node, running.into_iter().map(|container| container.id)).await.unwrap();
        let ids = runs.ids();
        (node, Followed { runs, groups: HashMap::new(), before: HashMap::new() }, ids)
    }

    /// Two directories of one file system, and one of another.
    fn groups() -> (tempfile::TempDir, Origin, Origin, Origin) {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let of = |path: &std::path::Path| Origin::of(path).unwrap();
        let (one, other, elsewhere) = (of(directory.path()), of(&below), of(std::path::Path::new("/proc")));
        (directory, one, other, elsewhere)
    }

    #[tokio::test]
    async fn a_group_that_was_made_anew_is_another_run_and_nobody_is_asked_while_it_stays() {
        let (_node, mut followed, ids) = followed(4).await;
        let (_directory, one, other, elsewhere) = groups();
        let all = |group: Origin| ids.iter().map(|id| (id.clone(), group)).collect::<HashMap<_, _>>();
        assert_eq!(followed.doubtful(&all(one), &[]), ids, "nothing is known at first");
        followed.groups = all(one);
        assert!(followed.doubtful(&all(one), &[]).is_empty());
        let mut read = all(one);
        read.remove(&ids[0]);
        read.insert(ids[1].clone(), elsewhere);
        read.insert(ids[2].clone(), other);
        let doubtful = followed.doubtful(&read, &ids[3..]);
        assert_eq!(doubtful, [&ids[0], &ids[1], &ids[3]].map(String::clone));
        assert_eq!(followed.runs.ids(), doubtful, "the third has ended");
    }

    #[tokio::test]
    async fn what_was_started_anew_or_has_got_the_name_is_not_followed() {
        let (node, mut followed, ids) = followed(2).await;
        let mut usage = node.usage(&UsageOptions::default()).await.unwrap();
        followed.runs.keep(&*node, ids.clone(), &mut usage).await;
        assert_eq!((usage.containers.len(), followed.runs.ids()), (2, ids.clone()));
        let first = node.container(&ids[0]);
        first.stop(&roadstead_core::StopOptions::after_seconds(0)).await.unwrap();
        first.start().await.unwrap();
        let mut usage = node.usage(&UsageOptions::default()).await.unwrap();
        followed.runs.keep(&*node, ids.clone(), &mut usage).await;
        assert_eq!((usage.containers.len(), followed.runs.ids()), (1, ids[1..].to_vec()));
    }
}
