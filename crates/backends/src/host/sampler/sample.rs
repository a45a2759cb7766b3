//! What one look at the machine saw.

use std::sync::Arc;

use roadstead_core::usage::{MachineUsage, NamespaceTraffic, Rates, Sampling};
use roadstead_core::{ContainerStats, Timestamp};

use crate::host::cgroup::{Cgroup, Origin};
use crate::host::files::pid::Stat;
use crate::host::named::{self, GroupName};

/// The machine, the groups of its containers and its processes as they were at one look.
#[derive(Debug)]
pub struct Sample {
    pub(in crate::host) observed_at: Timestamp,
    pub(in crate::host) sampling: Sampling,
    pub(in crate::host) machine: MachineUsage,
    /// In the order of their paths.
    pub(in crate::host) groups: Vec<GroupSample>,
    /// By ascending pid.
    pub(in crate::host) processes: Vec<ProcessSample>,
}

impl Sample {
    /// When it was looked.
    #[must_use]
    pub fn observed_at(&self) -> Timestamp {
        self.observed_at
    }

    /// How it is looked.
    #[must_use]
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// The whole machine.
    #[must_use]
    pub fn machine(&self) -> &MachineUsage {
        &self.machine
    }

    /// The groups of containers, of whatever engine.
    #[must_use]
    pub fn groups(&self) -> &[GroupSample] {
        &self.groups
    }

    /// How many processes there were.
    #[must_use]
    pub fn process_count(&self) -> usize {
        self.processes.len()
    }

    /// The group with this path.
    pub(in crate::host) fn group(&self, path: &str) -> Option<&GroupSample> {
        let at = self.groups.binary_search_by(|group| (*group.path).cmp(path)).ok()?;
        self.groups.get(at)
    }

    /// The process with this number.
    pub(in crate::host) fn process(&self, pid: u32) -> Option<&ProcessSample> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.stat.pid).ok()?;
        self.processes.get(at)
    }
}

/// The group of a container.
#[derive(Clone, Debug)]
pub struct GroupSample {
    pub(in crate::host) path: Arc<str>,
    pub(in crate::host) name: Arc<GroupName>,
    pub(in crate::host) cgroup: Arc<Cgroup>,
    /// Which group it was that was read.
    pub(in crate::host) origin: Option<Origin>,
    pub(in crate::host) stats: ContainerStats,
    pub(in crate::host) rates: Option<Rates>,
    /// It uses the machine's own network.
    pub(in crate::host) has_machine_network: bool,
    /// What its network carried, the loopback included; the machine's where it has none of its own.
    pub(in crate::host) namespace: Option<NamespaceTraffic>,
}

impl GroupSample {
    /// Whether the group that was read is there no more, though another may have its path.
    pub(in crate::host) fn is_gone(&self) -> bool {
        let now = self.cgroup.origin();
        now.is_none_or(|now| self.origin.and_then(|origin| origin.is(now)) == Some(false))
    }

    /// Its path in the hierarchy.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What its name says of whose it is.
    #[must_use]
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &ContainerStats {
        &self.stats
    }

    /// What they mean for the time since the sample before; absent at the first.
    #[must_use]
    pub fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }
}

/// A process.
#[derive(Clone, Debug)]
pub(in crate::host) struct ProcessSample {
    pub(in crate::host) stat: Stat,
    pub(in crate::host) group: Arc<str>,
    /// Processor time since the sample before, in percent of one core; absent at the first.
    pub(in crate::host) cpu_percent: Option<f64>,
}

impl ProcessSample {
    /// Whether it is in the group with this path, or below.
    pub(in crate::host) fn is_in(&self, path: &str) -> bool {
        named::is_within(&self.group, path)
    }
}
