//! Control groups of a node, which containers are put into: `cgroup.*`, section 12.8 of the reference.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use roadstead_core::Result;

use super::Commands;
use super::reading::{Named, Read, record, words};
use super::writing::plain;

/// `cgroup.*`.
#[derive(Clone, Copy, Debug)]
pub struct Cgroups<'a>(pub(super) &'a Commands);

words! {
    /// What a control group is about.
    pub enum Subsystem {
        /// How much memory.
        Memory = "memory",
        /// Which processors and memory nodes.
        Cpuset = "cpuset",
        /// Which devices.
        Devices = "devices",
    }
}

/// What nodes say for no limit: the largest number of whole pages.
const UNLIMITED: u64 = 9_223_372_036_854_771_712;

record! {
    /// How much memory a group may use.
    pub struct MemoryLimits {
        /// Memory in bytes; absent for no limit.
        memory_bytes: Option<u64> = "mem" in limited;
        /// Swap besides, in bytes; absent for no limit.
        swap_bytes: Option<u64> = "swap" in limited;
    }
}

record! {
    /// Which processors and memory nodes a group may use, as ranges: `0-2,4`.
    #[derive(Serialize)]
    pub struct Cpuset {
        /// The processors; what they are stays when empty.
        #[serde(skip_serializing_if = "plain")]
        cpus: String = "cpus" in trimmed;
        /// The memory nodes; what they are stays when empty.
        #[serde(skip_serializing_if = "plain")]
        mems: String = "mems" in trimmed;
    }
}

fn limited(value: &Value) -> Option<Option<u64>> {
    Some(u64::read(value).filter(|bytes| *bytes < UNLIMITED))
}

fn trimmed(value: &Value) -> Option<String> {
    String::read(value).map(|text| text.trim().to_owned())
}

fn group(subsystem: &Subsystem, name: &str) -> Value {
    json!({"subsystem": subsystem, "name": name})
}

/// `cgroup.*`.
impl Cgroups<'_> {
    /// The names of all groups, by subsystem: `cgroup.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<BTreeMap<String, Vec<String>>> {
        self.0.call::<Named<Vec<String>>>("cgroup.list", ()).await.map(|Named(groups)| groups)
    }

    /// Makes a group unless it is there: `cgroup.ensure`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for a subsystem that the node does not know.
    pub async fn ensure(&self, subsystem: &Subsystem, name: &str) -> Result<()> {
        self.0.done("cgroup.ensure", group(subsystem, name)).await
    }

    /// Removes a group if it is there: `cgroup.remove`.
    ///
    /// # Errors
    /// As [`Cgroups::ensure`].
    pub async fn remove(&self, subsystem: &Subsystem, name: &str) -> Result<()> {
        self.0.done("cgroup.remove", group(subsystem, name)).await
    }

    /// Takes all limits from a group: `cgroup.reset`.
    ///
    /// # Errors
    /// As [`Cgroups::ensure`]; `NotFound`.
    pub async fn reset(&self, subsystem: &Subsystem, name: &str) -> Result<()> {
        self.0.done("cgroup.reset", group(subsystem, name)).await
    }

    /// The processes of a group: `cgroup.tasks`.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn tasks(&self, subsystem: &Subsystem, name: &str) -> Result<Vec<u32>> {
        self.0.list("cgroup.tasks", group(subsystem, name)).await
    }

    /// Puts a process into a group: `cgroup.task-add`.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn add_task(&self, subsystem: &Subsystem, name: &str, pid: u32) -> Result<()> {
        let arguments = json!({"subsystem": subsystem, "name": name, "pid": pid});
        self.0.done("cgroup.task-add", arguments).await
    }

    /// Takes a process from a group: `cgroup.task-remove`.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn remove_task(&self, subsystem: &Subsystem, name: &str, pid: u32) -> Result<()> {
        let arguments = json!({"subsystem": subsystem, "name": name, "pid": pid});
        self.0.done("cgroup.task-remove", arguments).await
    }

    /// How much memory a group may use: `cgroup.memory.spec`.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn memory(&self, name: &str) -> Result<MemoryLimits> {
        self.0.call("cgroup.memory.spec", json!({"name": name, "mem": 0, "swap": 0})).await
    }

    /// Sets how much memory a group may use, and how much swap besides, in bytes: `cgroup.memory.spec`. Gives what holds
    /// then.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn set_memory(&self, name: &str, memory_bytes: u64, swap_bytes: u64) -> Result<MemoryLimits> {
        let arguments = json!({"name": name, "mem": memory_bytes, "swap": swap_bytes});
        self.0.call("cgroup.memory.spec", arguments).await
    }

    /// Sets which processors and memory nodes a group may use, and gives what holds then; nothing changes where nothing is
    /// asked for: `cgroup.cpuset.spec`.
    ///
    /// # Errors
    /// As [`Cgroups::reset`].
    pub async fn cpuset(&self, name: &str, wanted: &Cpuset) -> Result<Cpuset> {
        let mut arguments = json!(wanted);
        if let Some(members) = arguments.as_object_mut() {
            members.insert("name".to_owned(), json!(name));
        }
        self.0.call("cgroup.cpuset.spec", arguments).await
    }
}
