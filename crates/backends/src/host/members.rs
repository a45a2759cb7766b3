//! Which of the containers on this machine are a node's, and what they use; of a node elsewhere, what its engine tells of each.
//!
//! The sampler knows groups, the engine knows containers. An id in a group's name tells at once whose it is; a name may be that of a
//! container of several engines on one machine, and then the group of the container's main process decides. What was found out
//! stays until the group is gone, so that the engine is asked again only when there are groups that nobody knows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use roadstead_core::usage::{Polled, select};
use roadstead_core::{ContainerSummary, Node, Result};
use tokio::sync::Mutex;

use super::cgroup::Cgroup;
use super::named::{GroupName, is_within};
use super::sampler::{GroupSample, Sample, Sampler};
use super::table;

mod answers;
mod watched;

/// A group whose owner could not be told is asked about again after so long, and so is an engine none of whose containers are here.
const AGAIN: Duration = Duration::from_secs(10);
/// The same at once, so many times: a container that begins tells its process a moment later.
const TRIES: u32 = 3;
/// Containers can be renamed while they run.
const RENAMED: Duration = Duration::from_mins(1);
/// So many containers are asked about at once.
const AT_ONCE: usize = 16;

/// A node whose containers may be on this machine.
#[async_trait]
pub(crate) trait Owner: Node + Clone + 'static {
    /// All its containers, in one call.
    async fn containers(&self) -> Result<Vec<ContainerSummary>>;

    /// How it names the group of a container.
    fn named(&self, container: &ContainerSummary) -> OwnerName;

    /// The group of a container that runs, by its main process; nothing when that is not on this machine.
    async fn cgroup(&self, container: &str) -> Result<Option<Cgroup>>;
}

/// How an engine names a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnerName {
    /// By the container's full id.
    #[cfg_attr(not(feature = "docker"), expect(dead_code, reason = "only some engines have ids"))]
    Id(String),
    /// By this name, or with a number behind it where that is taken.
    #[cfg_attr(not(feature = "lxd"), expect(dead_code, reason = "only some engines have names only"))]
    Group(String),
}

/// The containers of one node that are on this machine.
#[derive(Debug)]
pub(crate) struct Members {
    /// Absent where the engine is on another machine.
    sampler: Option<Sampler>,
    known: Mutex<Known>,
    /// Asks container by container, where they are elsewhere or turn out to be.
    polled: Polled,
}

#[derive(Debug, Default)]
struct Known {
    groups: HashMap<Arc<str>, Whose>,
    /// How often it was asked in vain whose a group is.
    tries: HashMap<Arc<str>, u32>,
    listed: Option<Instant>,
    /// Whether containers run, but none of them here.
    elsewhere: bool,
}

#[derive(Clone, Debug)]
enum Whose {
    Ours(Arc<Member>),
    Others,
}

/// A container of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    id: String,
    name: String,
}

/// A container that was asked for.
#[derive(Debug)]
struct Chosen {
    member: Arc<Member>,
    /// Its group's path; absent when it is not in the sample yet.
    group: Option<Arc<str>>,
}

impl Members {
    /// Of a node whose engine is on this machine, or is not.
    pub(crate) fn new(is_local: bool) -> Self {
        Members { sampler: is_local.then(Sampler::shared), known: Mutex::default(), polled: Polled::new() }
    }

    /// The node's groups in the sample; nothing when its containers are on another machine.
    async fn ours(&self, owner: &impl Owner, sample: &Sample) -> Result<Option<HashMap<Arc<str>, Arc<Member>>>> {
        let mut known = self.known.lock().await;
        known.groups.retain(|path, _| sample.group(path).is_some());
        known.tries.retain(|path, _| sample.group(path).is_some());
        let is_older = |age: Duration| known.listed.is_none_or(|listed| listed.elapsed() > age);
        let is_old = is_older(AGAIN);
        let has_ours = known.groups.values().any(|whose| matches!(whose, Whose::Ours(_)));
        let is_new = |path: &Arc<str>| {
            let is_tried = known.tries.get(path).is_some_and(|tries| *tries >= TRIES);
            !known.groups.contains_key(path) && (is_old || !is_tried)
        };
        let has_new = sample.groups.iter().any(|group| is_new(&group.path));
        if has_new || is_older(RENAMED) || (is_old && (!has_ours || known.elsewhere)) {
            let listed = owner.containers().await?;
            known.take(owner, sample, &listed).await;
        }
        if known.elsewhere {
            return Ok(None);
        }
        let ours = known.groups.iter().filter_map(|(path, whose)| match whose {
            Whose::Ours(member) => Some((Arc::clone(path), Arc::clone(member))),
            Whose::Others => None,
        });
        Ok(Some(ours.collect()))
    }

    /// The running containers that are named, each with its group.
    async fn chosen(
        &self,
        owner: &impl Owner,
        ours: &HashMap<Arc<str>, Arc<Member>>,
        sample: &Sample,
        names: &[String],
    ) -> Result<Vec<Chosen>> {
        // What has processes at this moment runs, and need not be asked for; but it may have been started anew since the sample.
        let lives = |path: &Arc<str>| {
            let has_processes = |group: &GroupSample| group.cgroup.pids().is_ok_and(|pids| !pids.is_empty());
            sample.group(path).is_some_and(|group| has_processes(group) && !group.is_gone())
        };
        let find = |id: &dyn Fn(&Member) -> bool| {
            let (path, member) = ours.iter().find(|(path, member)| id(member) && lives(path))?;
            Some(Chosen { member: Arc::clone(member), group: Some(Arc::clone(path)) })
        };
        let mut chosen: Vec<Chosen> = Vec::with_capacity(names.len());
        for name in names {
            match find(&|member| member.id == *name || member.name == *name) {
                Some(found) if chosen.iter().any(|known| known.member.id == found.member.id) => {}
                Some(found) => chosen.push(found),
                None => {
                    // The engine says what is wrong, or that it has just begun.
                    let running = select(owner.containers().await?, names)?;
                    let from = |container: ContainerSummary| {
                        find(&|member| member.id == container.id).unwrap_or_else(|| Chosen {
                            member: Arc::new(Member { id: container.id, name: container.name }),
                            group: None,
                        })
                    };
                    return Ok(running.into_iter().map(from).collect());
                }
            }
        }
        Ok(chosen)
    }
}

impl Known {
    /// Finds out whose groups are which are not known yet, and takes over new names.
    async fn take(&mut self, owner: &impl Owner, sample: &Sample, listed: &[ContainerSummary]) {
        self.listed = Some(Instant::now());
        let running: Vec<_> = listed.iter().filter(|container| container.state.has_processes()).collect();
        let names: HashMap<&str, &ContainerSummary> = running.iter().map(|one| (one.id.as_str(), *one)).collect();
        for whose in self.groups.values_mut() {
            if let Whose::Ours(member) = whose
                && let Some(container) = names.get(member.id.as_str())
                && container.name != member.name
            {
                *member = Arc::new(Member::of(container));
            }
        }
        let named: Vec<_> = running.iter().map(|container| (owner.named(container), *container)).collect();
        let unknown: Vec<_> = sample.groups.iter().filter(|group| !self.groups.contains_key(&group.path)).collect();
        let mut doubtful = Vec::new();
        for group in unknown {
            match &*group.name {
                GroupName::Id(id) => {
                    let own = named.iter().find(|(name, _)| matches!(name, OwnerName::Id(own) if own == id));
                    let whose =
                        own.map_or(Whose::Others, |(_, container)| Whose::Ours(Arc::new(Member::of(container))));
                    self.groups.insert(Arc::clone(&group.path), whose);
                }
                GroupName::Name(_) => doubtful.push(group),
            }
        }
        self.prove(owner, &doubtful, &named).await;
        let has_ours = self.groups.values().any(|whose| matches!(whose, Whose::Ours(_)));
        self.elsewhere = !running.is_empty() && !has_ours;
    }

    /// Asks for the main processes of the containers that may have these groups.
    async fn prove(&mut self, owner: &impl Owner, doubtful: &[&GroupSample], named: &[(OwnerName, &ContainerSummary)]) {
        let may_have = |name: &OwnerName, group: &GroupSample| match name {
            OwnerName::Group(name) => group.name.may_be(name),
            OwnerName::Id(_) => false,
        };
        let is_candidate = |name: &OwnerName| doubtful.iter().any(|group| may_have(name, group));
        let ids: Vec<String> =
            named.iter().filter(|(name, _)| is_candidate(name)).map(|(_, container)| container.id.clone()).collect();
        let told: HashMap<String, Option<Arc<str>>> = stream::iter(ids)
            .map(|id| async move {
                let group = owner.cgroup(&id).await.ok().flatten();
                (id, group.and_then(|group| table::group_of(group.pid)))
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for group in doubtful {
            let mut candidates = named.iter().filter(|(name, _)| may_have(name, group)).peekable();
            let is_nobodys = candidates.peek().is_none();
            let owns = |path: &Option<Arc<str>>| path.as_deref().is_some_and(|path| is_within(path, &group.path));
            let mut all_told = true;
            let mut own = None;
            for (_, container) in candidates {
                let path = told.get(&container.id).cloned().flatten();
                all_told &= path.is_some();
                if owns(&path) {
                    own = Some(Whose::Ours(Arc::new(Member::of(container))));
                }
            }
            // One whose process is not told yet, because it begins or ends, is asked about again.
            let others = (is_nobodys || all_told).then_some(Whose::Others);
            if let Some(whose) = own.or(others) {
                self.groups.insert(Arc::clone(&group.path), whose);
            } else {
                *self.tries.entry(Arc::clone(&group.path)).or_default() += 1;
            }
        }
    }
}

impl Member {
    fn of(container: &ContainerSummary) -> Self {
        Member { id: container.id.clone(), name: container.name.clone() }
    }
}
