//! The state of the simulated node: everything that a real engine would keep on its disk and in its kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::watch;

use super::clock::Clock;
use super::events::EventLog;
use super::faults::{Effects, Faults};
use super::files::{FileSystem, MountPoint, SharedFiles, View};
use super::ids::Ids;
use super::lock;
use super::logs::LogStore;
use super::process::Process;
use crate::capabilities::Capabilities;
use crate::container::{
    ContainerDetails, ContainerExit, ContainerSpec, ContainerState, ContainerSummary, Health, NetworkEndpoint, Snapshot,
};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageDetails;
use crate::jobs::JobKeeper;
use crate::network::Network;
use crate::operation::Operation;
use crate::time::Timestamp;
use crate::volume::Volume;

/// One simulated node.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) capabilities: Capabilities,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) events: EventLog,
    pub(super) jobs: JobKeeper,
    /// What containers used when it was last asked.
    pub(super) polled: crate::usage::Polled,
    /// References that the simulated registry has.
    pub(super) registry: Vec<String>,
    /// Files of the node itself.
    pub(super) node_files: SharedFiles,
    pub(super) node_thawed: watch::Sender<bool>,
    next_pid: AtomicU32,
    world: Mutex<World>,
    /// For tasks, which must not keep the node alive.
    pub(super) weak: Weak<Shared>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) ids: Ids,
    next: u64,
    /// By the order of their creation.
    pub(super) containers: BTreeMap<u64, Record>,
    pub(super) images: Vec<Image>,
    pub(super) networks: Vec<Net>,
    pub(super) volumes: BTreeMap<String, StoredVolume>,
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) references: BTreeSet<String>,
    /// Without references and node, which are filled in when it is shown.
    pub(super) details: ImageDetails,
    pub(super) files: super::files::FileSystem,
}

#[derive(Debug)]
pub(super) struct Net {
    pub(super) shown: Network,
    /// The engine's own, which cannot be deleted.
    pub(super) preset: bool,
    pub(super) next_host: u32,
}

#[derive(Debug)]
pub(super) struct StoredVolume {
    pub(super) shown: Volume,
    pub(super) files: SharedFiles,
}

/// What waiting for a container looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) runs: bool,
    pub(super) ends: u64,
    pub(super) exit: Option<ContainerExit>,
    pub(super) deleted: bool,
}

/// A container on a network.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) network_id: String,
    pub(super) aliases: Vec<String>,
    pub(super) shown: NetworkEndpoint,
}

/// A snapshot, with what it brings back.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) shown: Snapshot,
    pub(super) spec: ContainerSpec,
    pub(super) files: FileSystem,
}

/// One container.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) name: String,
    /// In effect: the image's defaults included.
    pub(super) spec: ContainerSpec,
    pub(super) image_id: String,
    pub(super) state: ContainerState,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) restart_count: u64,
    pub(super) health: Option<Health>,
    pub(super) files: SharedFiles,
    pub(super) mounts: Vec<MountPoint>,
    pub(super) anonymous_volumes: Vec<String>,
    pub(super) logs: Arc<LogStore>,
    pub(super) frozen: watch::Sender<bool>,
    pub(super) life: watch::Sender<Life>,
    pub(super) main: Option<Arc<Process>>,
    /// Processes of jobs and of health checks.
    pub(super) others: Vec<Weak<Process>>,
    /// Counts the starts, so that the end of an earlier run is not taken for the end of this one.
    pub(super) generation: u64,
    /// An end was asked for, so the restart policy rests.
    pub(super) stop_requested: bool,
    pub(super) endpoints: Vec<Endpoint>,
    /// Processor time of processes that have ended.
    pub(super) spent_cpu_seconds: f64,
    /// Oldest first.
    pub(super) snapshots: Vec<Kept>,
}

impl Record {
    pub(super) fn summary(&self, node: &str) -> ContainerSummary {
        ContainerSummary {
            node: node.to_owned(),
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.spec.image.clone(),
            image_id: Some(self.image_id.clone()),
            state: self.state,
            labels: self.spec.labels.clone(),
            created_at: Some(self.created_at),
            ports: Vec::new(),
        }
    }

    pub(super) fn details(&self, shared: &Shared) -> ContainerDetails {
        ContainerDetails {
            interfaces: Vec::new(),
            beyond_spec: Vec::new(),
            summary: self.summary(&shared.name),
            spec: self.spec.clone(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code.filter(|_| shared.capabilities.exit_codes),
            pid: self.main.as_ref().map(|main| main.pid),
            restart_count: Some(self.restart_count),
            oom_killed: Some(false),
            removed_at_end: false,
            protected: false,
            health: self.health,
            error: self.error.clone(),
            endpoints: self.endpoints.iter().map(|endpoint| endpoint.shown.clone()).collect(),
        }
    }

    pub(super) fn view(&self) -> View {
        View { root: Arc::clone(&self.files), read_only_root: self.spec.read_only_root, mounts: self.mounts.clone() }
    }

    /// The main process first.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        self.main.iter().cloned().chain(self.others.iter().filter_map(Weak::upgrade)).collect()
    }

    pub(super) fn conflict(&self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("container {} {why}", self.name)).with_resource(self.id.clone())
    }

    pub(super) fn main_process(&self) -> Result<&Arc<Process>> {
        match &self.main {
            Some(main) if self.state.has_processes() => Ok(main),
            _ => Err(self.conflict(&format!("does not run: it is {}", self.state))),
        }
    }
}

impl World {
    pub(super) fn new(ids: Ids) -> Self {
        World {
            ids,
            next: 0,
            containers: BTreeMap::new(),
            images: Vec::new(),
            networks: Vec::new(),
            volumes: BTreeMap::new(),
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn number_of(&self, id: &str) -> Option<u64> {
        let by = |matches: &dyn Fn(&Record) -> bool| {
            let mut found = self.containers.values().filter(|record| matches(record));
            match (found.next(), found.next()) {
                (Some(record), None) => Some(record.number),
                _ => None,
            }
        };
        by(&|record| record.id == id)
            .or_else(|| by(&|record| record.name == id))
            // As engines do: the beginning of an id, if it is enough to tell.
            .or_else(|| if id.len() >= 4 { by(&|record| record.id.starts_with(id)) } else { None })
    }

    /// The container with this id, name or beginning of an id.
    pub(super) fn container(&mut self, id: &str) -> Result<&mut Record> {
        let number = self.number_of(id);
        number.and_then(|number| self.containers.get_mut(&number)).ok_or_else(|| Error::not_found("container", id))
    }

    pub(super) fn name_is_taken(&self, name: &str) -> bool {
        self.containers.values().any(|record| record.name == name)
    }

    /// The address of `name` for the container with this id: only on networks that both are on, and only while the
    /// other runs. The preset network has no names, as on Docker; on a node without `names` no network has.
    pub(super) fn resolve(&self, id: &str, name: &str, names: bool) -> Option<IpAddr> {
        let asking = self.containers.values().find(|record| record.id == id)?;
        let address: Option<IpAddr> = name.parse().ok();
        self.containers.values().filter(|record| record.state.has_processes()).find_map(|record| {
            record.endpoints.iter().find_map(|endpoint| {
                let named = names && !self.networks.iter().any(|net| net.preset && net.shown.id == endpoint.network_id);
                let called = named
                    && (record.name == name
                        || record.id.get(..12) == Some(name)
                        || endpoint.aliases.iter().any(|alias| alias == name));
                let reached = address.is_some_and(|address| endpoint.shown.addresses.contains(&address));
                let shared = asking.endpoints.iter().any(|own| own.network_id == endpoint.network_id);
                if shared && (called || reached) { endpoint.shown.addresses.first().copied() } else { None }
            })
        })
    }
}

impl Net {
    /// The next free address; networks without a range give none.
    pub(super) fn next_address(&mut self) -> Option<IpAddr> {
        let (address, prefix) = self.shown.subnets.first()?.cidr.split_once('/')?;
        let base: Ipv4Addr = address.parse().ok()?;
        let bits: u32 = 32_u32.checked_sub(prefix.parse().ok()?)?;
        let hosts = 1_u32.checked_shl(bits).unwrap_or(u32::MAX);
        // Wraps around: thousands of containers come and go in a test.
        self.next_host = if self.next_host + 2 >= hosts { 2 } else { self.next_host + 1 };
        Some(IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(self.next_host))))
    }
}

/// What [`Shared::new`] is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) capabilities: Capabilities,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) jobs: JobKeeper,
    pub(super) registry: Vec<String>,
    pub(super) node_files: SharedFiles,
    pub(super) world: World,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|weak| Shared {
            name: parts.name,
            uri: parts.uri,
            capabilities: parts.capabilities,
            clock: parts.clock,
            faults: parts.faults,
            events: EventLog::default(),
            jobs: parts.jobs,
            polled: crate::usage::Polled::new(),
            registry: parts.registry,
            node_files: parts.node_files,
            node_thawed: watch::Sender::new(false),
            next_pid: AtomicU32::new(1000),
            world: Mutex::new(parts.world),
            weak: Weak::clone(weak),
        })
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(super) fn next_pid(&self) -> u32 {
        self.next_pid.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) async fn enter(&self, operation: &'static Operation) -> Result<Effects> {
        self.faults.enter(operation).await
    }

    /// What a scripted fault means for an operation that has nothing to disappear and no text to garble. Called after
    /// the work: the answer is what gets lost.
    pub(super) fn answer<T>(&self, effects: Effects, value: T) -> Result<T> {
        if effects.vanish {
            Err(Error::new(ErrorKind::Unavailable, "the connection was cut before the answer came"))
        } else if effects.garbage {
            Err(Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense: \u{fffd}\u{202e}?"))
        } else {
            Ok(value)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Its processes would sleep on until the runtime ends.
        for record in lock(&self.world).containers.values() {
            record.frozen.send_replace(false);
            for process in record.processes() {
                process.end(137);
            }
        }
    }
}
