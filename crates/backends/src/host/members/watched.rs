//! The use of a node on this machine as it goes on: with each sample, and of containers until they end.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::usage::{self, Asked, Polled, Runs};
use roadstead_core::{ItemStream, Node, NodeUsage, Result, Timestamp, UsageOptions};

use super::answers::now;
use super::{Members, Owner};
use crate::host::cgroup::Origin;
use crate::host::sampler::{Sample, Samples};

impl Members {
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
