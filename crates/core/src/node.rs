//! A node: one machine reached through one engine endpoint.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::container::{Container, ContainerFilter, ContainerSpec, ContainerSummary, RestoreOptions};
use crate::copy::{CopyOptions, CopyProgress, CopyWay};
use crate::error::Result;
use crate::event::Event;
use crate::image::Images;
use crate::job::{Job, JobSpec, JobStatus};
use crate::network::Networks;
use crate::pool::Pool;
use crate::stream::{ByteStream, ItemStream};
use crate::time::Timestamp;
use crate::usage::Metrics;
use crate::volume::Volumes;

/// What a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeInfo {
    /// Name under which it is known here.
    pub name: String,
    /// The product, as the engine names itself, in lower case: for people, never for decisions.
    pub engine: String,
    /// Version of the engine.
    pub engine_version: String,
    /// Version of the protocol that is spoken with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The machine's own host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Operating system, for example `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Kernel version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Processor architecture, for example `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Number of processor cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory of the machine, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Whether the engine runs on this machine, so that the kernel's own files tell of its containers.
    pub local: bool,
    /// Whether nothing on it is real: the in-memory engine.
    pub simulated: bool,
}

/// What creating a container gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CreatedContainer {
    /// The engine's id of the new container.
    pub id: String,
    /// Its name, which the engine made up if none was given.
    pub name: String,
    /// What the engine did not do as asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where an event stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventOptions {
    /// With events from this time on; only new ones when absent.
    pub since: Option<Timestamp>,
}

impl EventOptions {
    /// Begins with events from `time` on.
    #[must_use]
    pub const fn since(time: Timestamp) -> Self {
        EventOptions { since: Some(time) }
    }
}

/// One machine reached through one engine endpoint.
///
/// * **N1**: [`Node::name`], [`Node::uri`] and [`Node::capabilities`] answer without I/O.
/// * **N2**: [`Node::uri`] shows no secret, nor does `Debug`, [`Node::info`] or an error.
/// * **N3**: a call that needs a capability which the engine lacks fails with `Unsupported` and sends nothing.
///
/// Every call may be cancelled by dropping its future. A read then has no effect; a write may or may not have happened.
#[async_trait]
pub trait Node: Images + Networks + Volumes + Metrics + Debug + Send + Sync {
    /// Name under which it is known here.
    fn name(&self) -> &str;

    /// The URI it was connected with, without secrets.
    fn uri(&self) -> &str;

    /// The address to connect it by again, where that is another one than it was connected by: what was trusted because it was
    /// shown is named by its fingerprint, and what is good for joining once (a token, a trust password) is left out. It holds
    /// no secret.
    fn lasting_uri(&self) -> Option<&str> {
        None
    }

    /// What it can do, found out when it was connected.
    fn capabilities(&self) -> &Capabilities;

    /// The engine itself, for what only one engine can do: downcast it to the engine's own type.
    /// Layers give the engine that they wrap.
    fn engine(&self) -> &(dyn Any + Send + Sync);

    /// Asks the engine whether it is there.
    ///
    /// * **N10**: `Ok` when it is.
    async fn ping(&self) -> Result<()>;

    /// What the node is.
    ///
    /// * **N11**: names the engine and its version, and repeats [`Node::name`].
    async fn info(&self) -> Result<NodeInfo>;

    /// The containers that pass `filter`, in one engine call, newest first where creation times are told.
    ///
    /// * **N20**: holds stopped and never started containers, too.
    /// * **N21**: states, ids, names and labels of the filter narrow it, exactly.
    /// * **N22**: containers that come and go meanwhile never make it fail.
    /// * **N23**: every item has node, id, name, image and state, equal to what inspecting it shows.
    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>>;

    /// Creates a container; it does not run yet.
    ///
    /// * **N30**: it is listed as `created`, with name and labels as asked for.
    /// * **N31**: a name that is taken is `AlreadyExists`; nothing changes.
    /// * **N32**: an image that is not there is `NotFound`; nothing is created, nothing is pulled.
    /// * **N33**: command, environment, working directory, user (`users`) and hostname are what the main process sees.
    /// * **N34**: mounts are what the main process sees, read-only ones cannot be written.
    /// * **N35**: limits are in effect.
    /// * **N36**: a published port answers on the node.
    /// * **N37**: containers on one network reach each other by name (`network_names`).
    /// * **N38**: a restart policy starts it again.
    /// * **N39**: a health check tells its result.
    /// * **N40**: a read-only root cannot be written; dropped kernel capabilities are gone.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer>;

    /// Refuses what [`Node::create_container`] would refuse about this specification itself, its name included, and names
    /// the member at fault; nothing is created. Not looked at is what is on the node besides: images and what is in them,
    /// names and ports that are taken, networks and paths that are not there.
    ///
    /// * **N41**: what creating refuses as `Unsupported` or `InvalidInput`, this refuses with the same kind and field;
    ///   nothing is created.
    /// * **N42**: what this accepts, creating does not refuse so.
    async fn check_container(&self, spec: &ContainerSpec) -> Result<()>;

    /// Makes a container from what [`Container::backup`] gave, here or on another node of the same kind of engine; it does
    /// not run.
    ///
    /// * **B10**: it has the files, the command, the labels and the limits of the one that was backed up.
    /// * **B11**: it has the name that is asked for, otherwise the name that is in the backup.
    /// * **B12**: a name that is taken is `AlreadyExists`; nothing changes.
    /// * **B13**: a broken archive is `InvalidInput`; nothing is made.
    async fn restore_container(&self, archive: ByteStream, options: &RestoreOptions) -> Result<CreatedContainer>;

    /// A handle on the container with this id or name. Asks nobody: whether it exists, its first call tells.
    fn container(&self, id: &str) -> Arc<dyn Container>;

    /// The ways in which this node can take the container `container` of `source` by the engines' own means, best first.
    /// `source` may be this node itself. Engines find out what `source` is by downcasting its [`Node::engine`].
    ///
    /// * **N60**: a container that `source` does not have is `NotFound`.
    /// * **N61**: names no transport twice; where the engines have nothing in common there is none, which is no error.
    async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>>;

    /// Copies a container of `source` to this node, in a way that [`Node::copy_ways`] gave. When the stream has ended
    /// without error, the copy is there and complete.
    ///
    /// Dropping the stream gives the copy up. What an engine then leaves behind bears the labels of the options, which it
    /// has from the first moment on, and deleting it by force ends what still goes on.
    ///
    /// * **N62**: the copy has the files, configuration and labels of the container, and the labels of the options; it does
    ///   not run, and its restart policy is `never`. The container is as it was.
    /// * **N63**: a name that is taken is `AlreadyExists`, from the call or from the stream; nothing changes.
    /// * **N64**: a container that `source` does not have is `NotFound`, from the call or from the stream; nothing is made.
    async fn copy_container(&self, source: &dyn Node, options: &CopyOptions) -> Result<ItemStream<CopyProgress>>;

    /// What happens on the node, from now on or from a time in the past.
    ///
    /// When the connection breaks, the stream connects again and continues after the last event it gave. When it may
    /// have missed something it gives an event with the action `resync` once it is connected again. It ends with an
    /// error only when the engine stays away longer than its reconnect deadline. Dropping it ends it.
    ///
    /// * **N50**: creation, start, end and deletion of a container arrive, in this order, once each.
    /// * **N51**: with `since`, events of the past come first.
    async fn events(&self, options: &EventOptions) -> Result<ItemStream<Event>>;

    /// Runs a command on the node itself.
    ///
    /// * **J4**: as in a container (`node_jobs`).
    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>>;

    /// All jobs that are known, of containers and of the node itself, oldest first.
    ///
    /// * **J5**: holds running and kept jobs of every container.
    async fn jobs(&self) -> Result<Vec<JobStatus>>;

    /// The job with this id.
    ///
    /// * **J6**: `NotFound` when it is not known, or not kept any more.
    async fn job(&self, id: &str) -> Result<Arc<dyn Job>>;

    /// The pool of the engine's own that the node is in: a cluster, a swarm. `name` is what the pool is called here. Who its
    /// members are is what the engine tells at this moment; ask again to know who comes and goes.
    ///
    /// Members may be less capable than this node: some engines tell of others and cannot do anything to them.
    ///
    /// * **N70**: `Conflict` for a node that is in none.
    /// * **N71**: the pool has this name and at least one member, no two of one name, and lists the containers of each.
    async fn pool(&self, name: &str) -> Result<Arc<dyn Pool>>;
}
