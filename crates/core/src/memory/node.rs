//! The simulated node.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::clock::Clock;
use super::container::MemoryContainer;
use super::files::{Entry, FileSystem};
use super::ids::{Ids, seed_of};
use super::state::{Image, Net, Parts, Shared, World};
use super::{Faults, PRESET_IMAGE, REGISTRY, images, lock, shell};
use crate::capabilities::{Capabilities, Capability};
use crate::container::{Container, ContainerFilter, ContainerSpec, ContainerState, ContainerSummary, RestoreOptions};
use crate::copy::{CopyOptions, CopyProgress, CopyWay};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::image::{ImageDetails, ImageSummary};
use crate::job::{Job, JobSpec, JobStatus};
use crate::jobs::{JobKeeper, JobLimits};
use crate::names;
use crate::network::{Network, Subnet};
use crate::node::{CreatedContainer, EventOptions, Node, NodeInfo};
use crate::operation as op;
use crate::pool::Pool;
use crate::stream::{ByteStream, ItemStream};
use crate::time::Timestamp;

/// How a node in memory shall be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// What ids follow from; from the node's name when absent.
    pub seed: Option<u64>,
    /// The engine's time when it is made; this moment when absent. From then on it goes with tokio's clock, which
    /// tests can pause.
    pub base_time: Option<Timestamp>,
    /// References that the simulated registry has.
    pub registry: Vec<String>,
    /// What the node shall not be able to do, besides what it cannot do anyway (published ports, processes in snapshots).
    pub without: Vec<Capability>,
    /// Bounds of kept jobs.
    pub job_limits: JobLimits,
    /// Scripted faults, as in the URI.
    pub faults: String,
    /// The URI that it shows.
    pub uri: String,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions {
            seed: None,
            base_time: None,
            registry: REGISTRY.map(str::to_owned).to_vec(),
            without: Vec::new(),
            job_limits: JobLimits::default(),
            faults: String::new(),
            uri: "memory:".to_owned(),
        }
    }
}

/// A node that is all in memory. It must be used inside of a tokio runtime with time enabled.
#[derive(Debug)]
pub struct MemoryNode {
    pub(super) shared: Arc<Shared>,
}

impl MemoryNode {
    /// Makes a node with the preset image and the networks that engines begin with.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name or bad faults.
    #[allow(clippy::needless_pass_by_value, reason = "options are made for one node")]
    pub fn new(name: &str, options: MemoryOptions) -> Result<Self> {
        names::node_name("name", name)?;
        for reference in &options.registry {
            names::image_reference("registry", reference)?;
        }
        let faults = Faults::default();
        faults.parse(&options.faults)?;
        let clock = Clock::starting_at(options.base_time.unwrap_or_else(Timestamp::now));
        let mut capabilities = Capabilities::all();
        // Nobody could reach a port of a container that does not exist.
        capabilities.ports = false;
        // Simulated processes are tasks, which cannot be copied.
        capabilities.snapshots_stateful = false;
        capabilities.pools = false;
        // There is no machine, and a simulated process opens no files.
        for capability in
            [Capability::Host, Capability::UsageMachine, Capability::UsageHistory, Capability::ProcessFiles]
        {
            capabilities.set(capability, false);
        }
        for capability in &options.without {
            capabilities.set(*capability, false);
        }
        capabilities.jobs_kept_seconds = options.job_limits.keep.as_secs();
        capabilities.jobs_kept_max = options.job_limits.max_jobs as u64;
        let seed = options.seed.unwrap_or_else(|| seed_of(name));
        let mut world = World::new(Ids::new(seed));
        // A sequence of its own: jobs are made while the world is locked.
        let job_ids = Mutex::new(Ids::new(!seed));
        let job_id = move || lock(&job_ids).id().chars().take(32).collect();
        let files = busybox();
        world.images.push(Image {
            references: BTreeSet::from([PRESET_IMAGE.to_owned()]),
            details: ImageDetails {
                summary: ImageSummary {
                    id: format!("sha256:{}", world.ids.id()),
                    size_bytes: files.bytes() as u64,
                    created_at: Some(clock.now()),
                    ..ImageSummary::default()
                },
                command: vec!["sh".to_owned()],
                ..images::details()
            },
            files: files.clone(),
        });
        for (driver, cidr) in [("bridge", Some("172.17.0.0/16")), ("host", None), ("null", None)] {
            let id = world.ids.id();
            world.networks.push(Net {
                shown: Network {
                    node: name.to_owned(),
                    id,
                    name: if driver == "null" { "none" } else { driver }.to_owned(),
                    driver: driver.to_owned(),
                    subnets: cidr.map(Subnet::new).into_iter().collect(),
                    created_at: Some(clock.now()),
                    ..Network::default()
                },
                preset: true,
                next_host: 1,
            });
        }
        let shared = Shared::new(Parts {
            name: name.to_owned(),
            uri: options.uri,
            capabilities,
            clock,
            faults,
            jobs: JobKeeper::with_origin(name, options.job_limits, job_id, move || clock.now()),
            registry: options.registry,
            node_files: files.shared(),
            world,
        });
        Ok(MemoryNode { shared })
    }

    /// What goes wrong on it.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";

/// The root file system of the preset image, and of the node itself.
pub(super) fn busybox() -> FileSystem {
    let mut files = FileSystem::default();
    let directories =
        ["bin", "data", "dev", "etc", "home", "mnt", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var"];
    let entries = directories
        .iter()
        .map(|name| (format!("/{name}"), Entry::directory()))
        .chain(shell::TOOLS.iter().map(|name| (format!("/bin/{name}"), shell::program_file(name))))
        .chain([
            ("/etc/passwd".to_owned(), Entry::file(PASSWD, 0o644)),
            ("/etc/hostname".to_owned(), Entry::file("memory\n", 0o644)),
        ]);
    for (path, entry) in entries {
        // Cannot fail: the directories come first, and all of it is a few kilobytes.
        let _ = files.put(&path, entry);
    }
    files
}

#[async_trait]
impl Node for MemoryNode {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn uri(&self) -> &str {
        &self.shared.uri
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn engine(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    async fn ping(&self) -> Result<()> {
        let effects = self.shared.enter(&op::NODE_PING).await?;
        self.shared.answer(effects, ())
    }

    async fn info(&self) -> Result<NodeInfo> {
        let effects = self.shared.enter(&op::NODE_INFO).await?;
        let odd = |text: &str| if effects.garbage { "\u{fffd}\u{202e}?".to_owned() } else { text.to_owned() };
        let info = NodeInfo {
            name: self.shared.name.clone(),
            engine: odd("memory"),
            engine_version: odd(env!("CARGO_PKG_VERSION")),
            hostname: Some(odd("memory")),
            os: Some(odd("simulated")),
            architecture: Some(odd(std::env::consts::ARCH)),
            simulated: true,
            ..NodeInfo::default()
        };
        self.shared.answer(effects.readable(), info)
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
        filter.validate()?;
        let effects = self.shared.enter(&op::NODE_LIST_CONTAINERS).await?;
        let world = self.shared.world();
        let mut items: Vec<_> = world
            .containers
            .values()
            .rev()
            .map(|record| record.summary(&self.shared.name))
            .filter(|summary| filter.matches(summary))
            .collect();
        if effects.vanish {
            items.pop();
        }
        if effects.garbage {
            for item in &mut items {
                item.state = ContainerState::Unknown;
                item.image = "\u{fffd}\u{202e}?".to_owned();
                item.created_at = None;
            }
        }
        Ok(items)
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        self.shared.create_container(spec).await
    }

    async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        self.shared.check_container(spec).await
    }

    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer> {
        self.shared.restore_container(archive, options).await
    }

    fn container(&self, id: &str) -> Arc<dyn Container> {
        Arc::new(MemoryContainer { shared: Arc::clone(&self.shared), id: id.to_owned() })
    }

    async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        self.shared.copy_ways(source, container).await
    }

    async fn copy_container(&self, source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>> {
        self.shared.copy_container(source, options).await
    }

    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>> {
        self.shared.capabilities.require(Capability::Events)?;
        if options.since.is_some() {
            self.shared.capabilities.require(Capability::EventsSince)?;
        }
        let effects = self.shared.enter(&op::NODE_EVENTS).await?;
        Ok(self.shared.follow_events(options.since, effects))
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.shared.run_on_node(job).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.shared.capabilities.require(Capability::Jobs)?;
        self.shared.enter(&op::NODE_JOBS).await?;
        Ok(self.shared.jobs.list(None))
    }

    async fn job(&self, id: &str) -> Result<Arc<dyn Job>> {
        self.shared.capabilities.require(Capability::Jobs)?;
        self.shared.enter(&op::NODE_JOB).await?;
        self.shared.wrap_job(self.shared.jobs.get(id)?)
    }

    async fn pool(&self, _: &str) -> Result<Arc<dyn Pool>> {
        // Nodes in memory know nothing of each other.
        Err(Error::unsupported(Capability::Pools.text()))
    }
}
