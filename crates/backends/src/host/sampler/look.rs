//! One look after the other at the whole machine, with what is kept between them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use roadstead_core::usage::{Rates, Sampling};
use roadstead_core::{ContainerStats, Timestamp};

use super::sample::{GroupSample, ProcessSample, Sample};
use crate::host::cgroup::{Cgroup, Mounts, Origin};
use crate::host::groups::GroupFiles;
use crate::host::kept::Buffer;
use crate::host::machine::Machine;
use crate::host::named::{self, GroupName};
use crate::host::numbers::Clock;
use crate::host::table::Table;

/// So many of the descriptors that this process may have are left to the rest of it, but never more than two of three.
const LEFT_ALONE: usize = 4096;
/// Of those that may be kept, processes get one in so many at most, and groups what these do not take.
const OF_PROCESSES: usize = 3;
/// Where the bound is not known, or none.
const DESCRIPTORS_MOST: usize = 200_000;
/// Reads after which the directories of a group are taken to be all.
const FOUND_READS: u8 = 3;

/// What is kept from look to look.
#[derive(Debug)]
pub(super) struct Looker {
    /// Where processes are.
    proc: PathBuf,
    mounts: Arc<Mounts>,
    table: Table,
    machine: Machine,
    groups: BTreeMap<Arc<str>, Watched>,
    /// The containers of each path of a process, so that paths are taken apart once.
    paths: HashMap<Arc<str>, Known>,
    buffer: Buffer,
    clock: Clock,
    looked: Option<Instant>,
    look: u64,
    /// How many descriptors may be kept in all.
    descriptors: usize,
    /// How many of them the groups keep.
    kept: usize,
}

/// The group path of processes.
#[derive(Debug)]
struct Known {
    containers: Vec<(Arc<str>, GroupName)>,
    seen: u64,
}

/// The group of a container.
#[derive(Debug)]
struct Watched {
    name: GroupName,
    /// One of its processes, the one with the lowest number at this look.
    pid: u32,
    cgroup: Arc<Cgroup>,
    /// Which group its files are of.
    origin: Option<Origin>,
    /// Absent where there would be too many descriptors.
    files: Option<GroupFiles>,
    before: Option<ContainerStats>,
    reads: u8,
    seen: u64,
}

impl Looker {
    /// At this machine.
    pub(super) fn here() -> Self {
        Looker::new(Path::new("/proc"), Mounts::here(), descriptors())
    }

    /// Keeps at most so many descriptors.
    fn new(proc: &Path, mounts: Arc<Mounts>, descriptors: usize) -> Self {
        Looker {
            proc: proc.to_owned(),
            mounts,
            table: Table::new(proc, descriptors / OF_PROCESSES),
            machine: Machine::new(),
            groups: BTreeMap::new(),
            paths: HashMap::new(),
            buffer: Buffer::default(),
            clock: Clock::of_this_machine(),
            looked: None,
            look: 0,
            descriptors,
            kept: 0,
        }
    }

    pub(super) fn page_bytes(&self) -> u64 {
        self.clock.page_bytes
    }

    /// Looks at everything. What ends meanwhile is left out; how it is looked is for others to say.
    ///
    /// # Errors
    /// When the list of processes cannot be read.
    pub(super) fn look(&mut self) -> io::Result<Sample> {
        self.look += 1;
        let now = Instant::now();
        let observed_at = Timestamp::now();
        self.table.look(&mut self.buffer)?;
        let seconds = self.looked.replace(now).map(|before| now.duration_since(before).as_secs_f64());
        let mut processes = Vec::with_capacity(self.paths.len());
        for (pid, entry) in self.table.processes() {
            let path = String::from_utf8_lossy(&entry.group);
            let group = match self.paths.get_key_value(&*path) {
                Some((group, _)) => Arc::clone(group),
                None => {
                    let group: Arc<str> = Arc::from(&*path);
                    let own = named::containers(&group).map(|(own, name)| (Arc::from(own), name)).collect();
                    self.paths.insert(Arc::clone(&group), Known { containers: own, seen: 0 });
                    group
                }
            };
            if let Some(path) = self.paths.get_mut(&group) {
                path.seen = self.look;
                for (own, name) in &path.containers {
                    if let Some(group) = self.groups.get_mut(own) {
                        group.pid = if group.seen == self.look { group.pid.min(pid) } else { pid };
                        group.seen = self.look;
                        continue;
                    }
                    // One that has just ended is looked for again at the next look, if it is there then.
                    if let Some(cgroup) = Cgroup::of_group(&self.proc, &self.mounts, pid, name) {
                        let group = Watched::new(name.clone(), cgroup, self.look);
                        self.groups.insert(Arc::clone(own), group);
                    }
                }
            }
            let used = self.clock.seconds(entry.used_ticks);
            let cpu_percent = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| used / seconds * 100.0);
            processes.push(ProcessSample { stat: entry.stat.clone(), group, cpu_percent });
        }
        processes.sort_unstable_by_key(|process| process.stat.pid);
        let look = self.look;
        self.paths.retain(|_, path| path.seen == look);
        self.groups.retain(|_, group| group.seen == look);
        self.kept = self.groups.values().filter_map(|group| group.files.as_ref()).map(GroupFiles::descriptors).sum();
        let most = self.descriptors.saturating_sub(self.table.kept());
        let mut groups = Vec::with_capacity(self.groups.len());
        for (path, watched) in &mut self.groups {
            let anew = |pid, name: &GroupName| Cgroup::of_group(&self.proc, &self.mounts, pid, name);
            groups.extend(watched.read(path, anew, most, &mut self.kept, &mut self.buffer));
        }
        let count = u64::try_from(processes.len()).unwrap_or(u64::MAX);
        let machine = self.machine.read(count, &mut self.buffer);
        Ok(Sample { observed_at, sampling: Sampling::default(), machine, groups, processes })
    }
}

impl Watched {
    fn new(name: GroupName, cgroup: Cgroup, look: u64) -> Self {
        let (pid, cgroup) = (cgroup.pid, Arc::new(cgroup));
        Watched { name, pid, cgroup, origin: None, files: None, before: None, reads: 0, seen: look }
    }

    /// Reads it; nothing when the container has ended. `anew` finds the group of a process.
    fn read(
        &mut self,
        path: &Arc<str>,
        anew: impl Fn(u32, &GroupName) -> Option<Cgroup>,
        most: usize,
        kept: &mut usize,
        buffer: &mut Buffer,
    ) -> Option<GroupSample> {
        if self.reads < FOUND_READS {
            self.reads += 1;
            // Engines put a process into one hierarchy after the other: what was found meanwhile is a part.
            let found = (self.reads > 1).then(|| anew(self.pid, &self.name)).flatten();
            if let Some(found) = found.filter(|found| !found.is_same(&self.cgroup)) {
                self.cgroup = Arc::new(found);
                self.close(kept);
            }
        }
        let observed_at = Timestamp::now();
        let counters = match self.files.as_mut().map(|files| files.read(buffer)) {
            Some(Ok(counters)) => counters,
            old => {
                if old.is_some() {
                    // It was ended and made anew under the same name, or is ending now.
                    self.close(kept);
                }
                if self.cgroup.pid != self.pid {
                    self.cgroup = Arc::new(anew(self.pid, &self.name)?);
                }
                let mut files = GroupFiles::open(&self.cgroup).ok()?;
                self.origin = self.cgroup.origin();
                // After it was asked which group it is: what is read here is of that one, or is not there.
                let counters = files.read(buffer).ok()?;
                let needs = files.descriptors();
                if *kept + needs <= most {
                    *kept += needs;
                    self.files = Some(files);
                }
                counters
            }
        };
        let stats = counters.stats(observed_at);
        let rates = self.before.as_ref().and_then(|before| Rates::between(before, &stats));
        self.before = Some(stats.clone());
        Some(GroupSample {
            path: Arc::clone(path),
            name: self.name.clone(),
            cgroup: Arc::clone(&self.cgroup),
            origin: self.origin,
            stats,
            rates,
        })
    }

    /// What was read from its files is compared with nothing that comes.
    fn close(&mut self, kept: &mut usize) {
        *kept = kept.saturating_sub(self.files.take().map_or(0, |files| files.descriptors()));
        self.before = None;
    }
}

/// How many descriptors may be kept in all.
fn descriptors() -> usize {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let soft = limit.ok().and_then(|(soft, _)| usize::try_from(soft).ok()).unwrap_or(DESCRIPTORS_MOST);
    soft.saturating_sub(LEFT_ALONE).max(soft / 3).min(DESCRIPTORS_MOST)
}

#[cfg(test)]
mod tests;
