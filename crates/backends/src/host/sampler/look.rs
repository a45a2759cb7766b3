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
use crate::host::groups::{Counters, GroupFiles};
use crate::host::kept::Buffer;
use crate::host::machine::Machine;
use crate::host::named::{self, GroupName};
use crate::host::numbers::{Clock, traffic};
use crate::host::rest::Times;
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
    /// After which times containers rest, and are read anew.
    times: Times,
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
    /// Nothing has run in the innermost of them since the look before.
    is_at_rest: bool,
}

/// The group of a container.
#[derive(Debug)]
struct Watched {
    name: Arc<GroupName>,
    times: Times,
    /// The process in it that began first, with the time when it did. Numbers alone do not tell: they begin anew at some time.
    first: (u64, u32),
    cgroup: Arc<Cgroup>,
    /// Which group its files are of.
    origin: Option<Origin>,
    /// Absent where there would be too many descriptors.
    files: Option<GroupFiles>,
    before: Option<(Instant, ContainerStats)>,
    /// What was read of it at this look, and when, when nothing has run in it.
    at_rest: Option<(Instant, Timestamp, Counters)>,
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
            times: Times::HERE,
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
        for group in self.groups.values_mut() {
            group.read_at_rest(&mut self.buffer);
        }
        for path in self.paths.values_mut() {
            // Of nested ones the innermost: one around it may have been looked at before something ran there.
            let innermost = path.containers.iter().max_by_key(|(own, _)| own.len());
            let group = innermost.and_then(|(own, _)| self.groups.get(own));
            path.is_at_rest = group.is_some_and(|group| group.at_rest.is_some());
        }
        let paths = &self.paths;
        self.table.look(&mut self.buffer, |path| paths.get(path).is_some_and(|known| known.is_at_rest))?;
        let seconds = self.looked.replace(now).map(|before| now.duration_since(before).as_secs_f64());
        let mut processes = Vec::with_capacity(self.paths.len());
        for (pid, entry) in self.table.processes() {
            let group = match self.paths.get_key_value(&entry.group) {
                Some((group, _)) => Arc::clone(group),
                None => {
                    let group = Arc::clone(&entry.group);
                    let own = named::containers(&group).map(|(own, name)| (Arc::from(own), name)).collect();
                    self.paths.insert(Arc::clone(&group), Known { containers: own, seen: 0, is_at_rest: false });
                    group
                }
            };
            if let Some(path) = self.paths.get_mut(&group) {
                path.seen = self.look;
                for (own, name) in &path.containers {
                    let this = (entry.stat.start_ticks, pid);
                    if let Some(group) = self.groups.get_mut(own) {
                        group.first = if group.seen == self.look { group.first.min(this) } else { this };
                        group.seen = self.look;
                        continue;
                    }
                    // One that has just ended is looked for again at the next look, if it is there then.
                    if let Some(cgroup) = Cgroup::of_group(&self.proc, &self.mounts, pid, name) {
                        let group = Watched::new(name.clone(), cgroup, this, self.times, self.look);
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
        let of_machine = traffic(machine.nics.iter().map(|nic| (nic.received_bytes, nic.sent_bytes)));
        for group in groups.iter_mut().filter(|group| group.has_machine_network && !machine.nics.is_empty()) {
            group.namespace = Some(of_machine);
        }
        Ok(Sample { observed_at, sampling: Sampling::default(), machine, groups, processes })
    }
}

impl Watched {
    fn new(name: GroupName, cgroup: Cgroup, first: (u64, u32), times: Times, look: u64) -> Self {
        Watched {
            name: Arc::new(name),
            first,
            times,
            cgroup: Arc::new(cgroup),
            origin: None,
            files: None,
            before: None,
            at_rest: None,
            reads: 0,
            seen: look,
        }
    }

    /// Reads it when nothing has run in it. Its processes are looked at after this.
    fn read_at_rest(&mut self, buffer: &mut Buffer) {
        let (now, observed_at) = (Instant::now(), Timestamp::now());
        // What may not be all of it is not compared.
        let files = self.files.as_mut().filter(|_| self.reads >= FOUND_READS);
        let counters = files.and_then(|files| files.read_at_rest(now, buffer));
        self.at_rest = counters.map(|counters| (now, observed_at, counters));
    }

    /// Reads it, unless it was read already; nothing when the container has ended. `anew` finds the group of a process.
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
            // So is a process that was met before the first one: it may have a network of its own.
            let may_be_other = self.reads > 1 || self.cgroup.pid != self.first.1;
            let found = may_be_other.then(|| anew(self.first.1, &self.name)).flatten();
            if let Some(found) = found.filter(|found| self.files.is_none() || !found.is_same(&self.cgroup)) {
                self.cgroup = Arc::new(found);
                self.close(kept);
            }
        }
        let (now, observed_at, counters) = match self.at_rest.take() {
            Some(read) => read,
            None => {
                let (now, observed_at) = (Instant::now(), Timestamp::now());
                (now, observed_at, self.read_all(now, anew, most, kept, buffer)?)
            }
        };
        let has_machine_network = counters.has_machine_network;
        let namespace = counters.namespace();
        let stats = counters.stats(observed_at);
        let rates = self.before.as_ref().and_then(|(then, before)| {
            // The clock on the wall may be set between the two.
            Rates::over(before, &stats, now.duration_since(*then).as_secs_f64())
        });
        self.before = Some((now, stats.clone()));
        Some(GroupSample {
            path: Arc::clone(path),
            name: Arc::clone(&self.name),
            cgroup: Arc::clone(&self.cgroup),
            origin: self.origin,
            stats,
            rates,
            has_machine_network,
            namespace,
        })
    }

    fn read_all(
        &mut self,
        now: Instant,
        anew: impl Fn(u32, &GroupName) -> Option<Cgroup>,
        most: usize,
        kept: &mut usize,
        buffer: &mut Buffer,
    ) -> Option<Counters> {
        match self.files.as_mut().map(|files| files.read(now, buffer)) {
            Some(Ok(counters)) => return Some(counters),
            // It was ended and made anew under the same name, or is ending now.
            Some(Err(_)) => self.close(kept),
            None => {}
        }
        if self.cgroup.pid != self.first.1 {
            self.cgroup = Arc::new(anew(self.first.1, &self.name)?);
        }
        let mut files = GroupFiles::open(&self.cgroup, self.times).ok()?;
        self.origin = self.cgroup.origin();
        // After it was asked which group it is: what is read here is of that one, or is not there.
        let counters = files.read(now, buffer).ok()?;
        let needs = files.descriptors();
        if *kept + needs <= most {
            *kept += needs;
            self.files = Some(files);
        }
        Some(counters)
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
