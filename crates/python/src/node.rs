//! Nodes: one machine reached through one engine endpoint.

use std::sync::Arc;

use futures_util::StreamExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roadstead_core::usage::{HistoryOf, HistoryOptions, ProcessOptions, UsageOptions};
use roadstead_core::{
    Capability, ContainerSpec, CopyOptions, CopyTransport, EventOptions, ImportOptions, NetworkSpec, Node as CoreNode,
    PullOptions, RestoreOptions, VolumeSpec,
};

use crate::archives::Archived;
use crate::container::{Created, Listed, handle, job_spec};
use crate::error::raised;
use crate::give::{Give, Plain};
use crate::given::{Given, maybe};
use crate::job::Begun;
use crate::pool::Pooled;
use crate::session::{Of, contexts, twins};
use crate::sources::archive;
use crate::streams::Streamed;
use crate::take;

/// A history has steps of at most a day.
const STEP_MAX: f64 = 86_400.0;

/// One machine reached through one engine endpoint. It is a context manager that closes the connection.
///
/// What its calls raise beside what each of them says: `UnavailableError` when the engine does not answer, `DeadlineExceededError` when it
/// does not in time (30 seconds for each question that reads, two minutes for each that changes something, an hour for archives), and
/// `ConflictError` when the connection was closed.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node:
/// ...     print(node.name, node.uri, node.can("freeze"))
/// memory memory: True
#[pyclass(frozen, module = "roadstead", name = "Node")]
#[derive(Debug)]
pub(crate) struct Node(pub(crate) Of<Arc<dyn CoreNode>>);

/// One machine reached through one engine endpoint: `roadstead.Node`, whose calls are awaited. It is an asynchronous context manager that
/// closes the connection.
///
/// >>> import asyncio
/// >>> from roadstead import aio
/// >>> async def main():
/// ...     async with aio.connect("memory:") as node:
/// ...         info, containers = await asyncio.gather(node.info(), node.containers())
/// ...         print(info.engine, containers)
/// >>> asyncio.run(main())
/// memory []
#[pyclass(frozen, module = "roadstead.aio", name = "Node")]
#[derive(Debug)]
pub(crate) struct AioNode(pub(crate) Of<Arc<dyn CoreNode>>);

/// A node that is to be handed out.
pub(crate) struct Connected(pub(crate) Of<Arc<dyn CoreNode>>);

impl Give for Connected {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let of = self.0;
        Ok(if of.awaited { Py::new(py, AioNode(of))?.into_any() } else { Py::new(py, Node(of))?.into_any() })
    }
}

/// The node behind either class.
pub(crate) fn node_of(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Arc<dyn CoreNode>> {
    let of = if let Ok(node) = given.cast::<Node>() {
        node.get().0.clone()
    } else if let Ok(node) = given.cast::<AioNode>() {
        node.get().0.clone()
    } else {
        let words = format!("{what}: must be a Node, not {}", take::type_name(given));
        return Err(pyo3::exceptions::PyTypeError::new_err(words));
    };
    crate::error::or_raised(given.py(), of.session.check())?;
    Ok(Arc::clone(&of.noun))
}

macro_rules! own {
    ($($class:ident),*) => {$(
        impl $class {
            fn of(&self) -> &Of<Arc<dyn CoreNode>> {
                &self.0
            }
        }

        #[pymethods]
        impl $class {
            /// The name under which it is known here.
            #[getter]
            fn name(&self) -> &str {
                self.0.noun.name()
            }

            /// The URI it was connected with, without secrets.
            #[getter]
            fn uri(&self) -> &str {
                self.0.noun.uri()
            }

            /// The URI to connect it by again, where that is another one.
            #[getter]
            fn lasting_uri(&self) -> Option<&str> {
                self.0.noun.lasting_uri()
            }

            /// What it can do, found out when it was connected.
            #[getter]
            fn capabilities(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Plain(self.0.noun.capabilities()).give(py)
            }

            /// Whether it can do this, by the capability's name.
            ///
            /// Raises `InvalidInputError` for what is no capability.
            ///
            /// >>> node.can("freeze")
            /// True
            fn can(&self, py: Python<'_>, capability: Given<String>) -> PyResult<bool> {
                let capability: Capability = take::word(py, capability, "capability")?;
                Ok(self.0.noun.capabilities().has(capability))
            }

            /// The container with this id or name. Asks nobody: whether it exists, its first call tells.
            ///
            /// Raises `ConflictError` when the connection is closed.
            ///
            /// >>> node.container("web").inspect().state.value
            /// 'running'
            fn container(&self, id: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                let py = id.py();
                crate::error::or_raised(py, self.0.session.check())?;
                let id = take::text(id, "id")?;
                handle(py, self.0.with(self.0.noun.container(&id)))
            }

            fn __repr__(&self) -> String {
                format!("Node({:?}, {:?})", self.0.noun.name(), self.0.noun.uri()).replace('"', "'")
            }
        }
    )*};
}
own!(Node, AioNode);

contexts! { Node, AioNode {
    /// Closes the connection: calls of it and of what came from it are refused from now on, and what goes on ends. Closing it
    /// twice does nothing.
    |this| this.0.session.close()
}}

/// A specification: its data class, or an image and keyword arguments.
pub(crate) fn spec(image: &Bound<'_, PyAny>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<ContainerSpec> {
    let py = image.py();
    let mut fields = take::fields(fields)?;
    if image.is_instance_of::<pyo3::types::PyString>() {
        fields.insert("image".to_owned(), take::text(image, "image")?.into());
    } else if fields.is_empty() && take::is_record(image)? {
        return take::data(image, "spec");
    } else {
        let words = "takes a ContainerSpec, or an image and keyword arguments";
        return Err(pyo3::exceptions::PyTypeError::new_err(words));
    }
    if let Some(serde_json::Value::String(policy)) = fields.get("restart").cloned() {
        fields.insert("restart".to_owned(), serde_json::json!({ "policy": policy }));
    }
    take::of_fields(py, fields)
}

twins! { Node, AioNode {
    /// Asks the engine whether it is there.
    ///
    /// Raises `UnavailableError` when it is not.
    ///
    /// >>> node.ping()
    fn ping(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.ping().await }
    }

    /// What the node is.
    ///
    /// Raises `UnavailableError` when the engine does not answer.
    ///
    /// >>> info = node.info()
    /// >>> info.engine, info.simulated
    /// ('memory', True)
    fn info(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.info().await.map(Plain) }
    }

    /// The containers, in one engine call, newest first where creation times are told: all of them, or those that have one of
    /// the states, ids and names, and all of the labels (None stands for any value).
    ///
    /// Raises `InvalidInputError` for states that there are not.
    ///
    /// >>> [container.name for container in node.containers(states=["running"])]
    /// ['web']
    #[pyo3(signature = (*, states = None, ids = None, names = None, labels = None))]
    fn containers(
        &self, py; states: Option<&Bound<'_, PyAny>>, ids: Option<&Bound<'_, PyAny>>,
        names: Option<&Bound<'_, PyAny>>, labels: Option<&Bound<'_, PyAny>>
    ) {
        let (of, filter) = (self.of().clone(), take::filter(states, ids, names, labels)?);
        async move {
            let containers = of.noun.list_containers(&filter).await?;
            let listed = |summary: roadstead_core::ContainerSummary| {
                Listed(of.with(of.noun.container(&summary.id)), summary)
            };
            Ok(containers.into_iter().map(listed).collect::<Vec<_>>())
        }
    }

    /// Creates a container, which does not run yet: of an image and keyword arguments, which are the members of
    /// `ContainerSpec`, or of a `ContainerSpec`.
    ///
    /// Raises `NotFoundError` when the image is not there (nothing is pulled), and `AlreadyExistsError` when the name is taken.
    ///
    /// >>> made = node.create_container("roadstead/busybox:latest", name="db", command=["sleep", "60"], labels={"tier": "data"})
    /// >>> made.name
    /// 'db'
    /// >>> spec = roadstead.ContainerSpec(image="roadstead/busybox:latest", command=["sleep", "60"])
    /// >>> node.create_container(spec).start()
    #[pyo3(signature = (image, **fields))]
    fn create_container(&self, py; image: &Bound<'_, PyAny>, fields: Option<&Bound<'_, PyDict>>) {
        let (of, spec) = (self.of().clone(), spec(image, fields)?);
        async move {
            let created = of.noun.create_container(&spec).await?;
            Ok(Created(of.with(of.noun.container(&created.id)), created))
        }
    }

    /// Refuses what `create_container` would refuse about the specification itself; nothing is created.
    ///
    /// Raises `InvalidInputError` whose `field` is what is wrong, and `UnsupportedError` for what the engine cannot do.
    ///
    /// >>> node.check_container("roadstead/busybox:latest", env={"A=B": "c"})
    /// Traceback (most recent call last):
    /// ...
    /// roadstead.InvalidInputError: ...
    #[pyo3(signature = (image, **fields))]
    fn check_container(&self, py; image: &Bound<'_, PyAny>, fields: Option<&Bound<'_, PyDict>>) {
        let (node, spec) = (Arc::clone(&self.of().noun), spec(image, fields)?);
        async move { node.check_container(&spec).await }
    }

    /// Makes a container from what `Container.backup` gave; it does not run.
    ///
    /// Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for what is no backup, and what the given object itself
    /// raises.
    ///
    /// >>> restored = other.restore_container(web.backup(), name="copy")
    /// >>> restored.inspect().state.value
    /// 'stopped'
    #[pyo3(signature = (archive, *, name = None))]
    fn restore_container(&self, py; archive: &Bound<'_, PyAny>, name: Option<Given<String>>) {
        let (of, archive) = (self.of().clone(), self::archive(archive, "archive")?);
        let mut options = RestoreOptions::default();
        options.name = maybe(py, name, "name")?;
        async move {
            let created = archive.taken(|bytes| of.noun.restore_container(bytes, &options)).await?;
            Ok(Created(of.with(of.noun.container(&created.id)), created))
        }
    }

    /// The ways in which this node can take a container of `source` by the engines' own means, best first.
    ///
    /// Raises `NotFoundError` when there is no such container.
    ///
    /// >>> [way.transport.value for way in other.copy_ways(node, "web")]
    /// ['pull']
    fn copy_ways(&self, py; source: &Bound<'_, PyAny>, container: &Bound<'_, PyAny>) {
        let node = Arc::clone(&self.of().noun);
        let (source, container) = (node_of(source, "source")?, take::text(container, "container")?);
        async move {
            node.copy_ways(&*source, &container).await.map(Plain)
        }
    }

    /// Copies a container of `source` to this node as `name`, by a transport that `copy_ways` gave. When the stream has ended
    /// without error, the copy is there and complete.
    ///
    /// Raises `AlreadyExistsError` when the name is taken, and `UnsupportedError` for a transport that `copy_ways` did not give; what
    /// breaks it off raises while it is read.
    ///
    /// >>> for progress in other.copy_container(node, "web", "copy", "pull"):
    /// ...     pass
    /// >>> [container.name for container in other.containers()]
    /// ['copy']
    #[pyo3(signature = (source, container, name, transport, *, live = false, snapshots = false, labels = None))]
    fn copy_container(
        &self, py; source: &Bound<'_, PyAny>, container: &Bound<'_, PyAny>, name: &Bound<'_, PyAny>, transport: Given<String>,
        live: bool, snapshots: bool, labels: Option<&Bound<'_, PyAny>>
    ) {
        let (of, source) = (self.of().clone(), node_of(source, "source")?);
        let transport: CopyTransport = take::word(py, transport, "transport")?;
        let mut options = CopyOptions::new(take::text(container, "container")?, take::text(name, "name")?, transport);
        (options.live, options.snapshots) = (live, snapshots);
        if let Some(labels) = labels {
            options.labels = take::data(labels, "labels")?;
        }
        async move {
            let progress = of.noun.copy_container(&*source, &options).await?;
            Ok(Streamed(of.with(progress.map(|item| item.map(Plain)).boxed())))
        }
    }

    /// What happens on the node, from now on or from a moment in the past.
    ///
    /// Raises `UnsupportedError` for the past of an engine that keeps none; what breaks it off raises while it is read.
    ///
    /// >>> with node.events() as events:
    /// ...     web.rename("site")
    /// ...     print(next(events).action)
    /// renamed
    #[pyo3(signature = (*, since = None))]
    fn events(&self, py; since: Option<&Bound<'_, PyAny>>) {
        let mut options = EventOptions::default();
        options.since = take::maybe_time(since, "since")?;
        let of = self.of().clone();
        async move {
            let events = of.noun.events(&options).await?;
            Ok(Streamed(of.with(events.map(|event| event.map(Plain)).boxed())))
        }
    }

    /// Runs a command on the node itself, where the engine can, and gives the job at once. Keywords: as those of `Container.run`.
    ///
    /// Raises `UnsupportedError` where the engine cannot.
    ///
    /// >>> node.run(["echo", "hello"]).wait(timeout=10).exit_code
    /// 0
    #[pyo3(signature = (command, **options))]
    fn run(&self, py; command: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) {
        let (of, spec) = (self.of().clone(), job_spec(command, options)?);
        async move { Ok(Begun(of.with(of.noun.run(&spec).await?))) }
    }

    /// All jobs that are known, of containers and of the node itself, oldest first.
    ///
    /// Raises `UnavailableError` when the engine does not answer.
    ///
    /// >>> job = web.run(["true"])
    /// >>> [one.container for one in node.jobs()] == [web.id]
    /// True
    fn jobs(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.jobs().await.map(Plain) }
    }

    /// The job with this id.
    ///
    /// Raises `NotFoundError` when it is not known, or not kept any more.
    ///
    /// >>> job = web.run(["sh", "-c", "exit 3"])
    /// >>> node.job(job.id).wait(timeout=10).exit_code
    /// 3
    fn job(&self, py; id: &Bound<'_, PyAny>) {
        let (of, id) = (self.of().clone(), take::text(id, "id")?);
        async move { Ok(Begun(of.with(of.noun.job(&id).await?))) }
    }

    /// The pool of the engine's own that the node is in: a cluster, a swarm.
    ///
    /// Raises `ConflictError` for a node that is in none, and `UnsupportedError` where the engine has none.
    ///
    /// >>> node.pool("swarm")
    /// Traceback (most recent call last):
    /// ...
    /// roadstead.UnsupportedError: ...
    fn pool(&self, py; name: &Bound<'_, PyAny>) {
        let (of, name) = (self.of().clone(), take::text(name, "name")?);
        async move { Ok(Pooled::engines(&of.with(of.noun.pool(&name).await?))) }
    }

    /// All images, in one engine call.
    ///
    /// Raises `UnavailableError` when the engine does not answer.
    ///
    /// >>> [image.references for image in node.images()]
    /// [['roadstead/busybox:latest']]
    fn images(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.list_images().await.map(Plain) }
    }

    /// Everything that the engine tells of the image with this reference or id.
    ///
    /// Raises `NotFoundError` when it is not there.
    ///
    /// >>> node.inspect_image("roadstead/busybox:latest").references
    /// ['roadstead/busybox:latest']
    fn inspect_image(&self, py; reference: &Bound<'_, PyAny>) {
        let (node, reference) = (Arc::clone(&self.of().noun), take::text(reference, "reference")?);
        async move { node.inspect_image(&reference).await.map(Plain) }
    }

    /// Pulls an image from a registry. When the stream has ended without error, the image is there.
    ///
    /// Raises `InvalidInputError` when only one of `username` and `password` is given; what breaks it off raises while it is read, as does
    /// `NotFoundError` when the registry has no such image.
    ///
    /// >>> for progress in node.pull_image("registry.example/roadstead/hello:latest"):
    /// ...     pass
    /// >>> len(node.images())
    /// 2
    #[pyo3(signature = (reference, *, platform = None, username = None, password = None))]
    fn pull_image(
        &self, py; reference: &Bound<'_, PyAny>, platform: Option<Given<String>>,
        username: Option<Given<String>>, password: Option<Given<String>>
    ) {
        let mut options = PullOptions::new(take::text(reference, "reference")?);
        options.platform = maybe(py, platform, "platform")?;
        options.credentials = credentials(py, maybe(py, username, "username")?, maybe(py, password, "password")?)?;
        let of = self.of().clone();
        async move {
            let progress = of.noun.pull_image(&options).await?;
            Ok(Streamed(of.with(progress.map(|item| item.map(Plain)).boxed())))
        }
    }

    /// Makes an image from the tar archive of a root file system, and gives its id.
    ///
    /// Raises `InvalidInputError` for what is no archive, and what the given object itself raises.
    ///
    /// >>> image = node.import_image(web.export(), "roadstead/site:latest", command=["sh"])
    /// >>> node.inspect_image(image).references
    /// ['roadstead/site:latest']
    #[pyo3(signature = (archive, reference, *, command = None, message = None))]
    fn import_image(
        &self, py; archive: &Bound<'_, PyAny>, reference: &Bound<'_, PyAny>, command: Option<&Bound<'_, PyAny>>,
        message: Option<Given<String>>
    ) {
        let mut options = ImportOptions::new(take::text(reference, "reference")?);
        if let Some(command) = command {
            options.command = take::data(command, "command")?;
        }
        options.message = maybe(py, message, "message")?;
        let (node, archive) = (Arc::clone(&self.of().noun), self::archive(archive, "archive")?);
        async move { archive.taken(|bytes| node.import_image(bytes, &options)).await }
    }

    /// Loads an archive made by `save_images`, and gives the references or ids loaded.
    ///
    /// Raises `InvalidInputError` for what is no such archive, and what the given object itself raises.
    ///
    /// >>> other.load_images(node.save_images(["roadstead/busybox:latest"]))
    /// ['roadstead/busybox:latest']
    fn load_images(&self, py; archive: &Bound<'_, PyAny>) {
        let (node, archive) = (Arc::clone(&self.of().noun), self::archive(archive, "archive")?);
        async move { archive.taken(|bytes| node.load_images(bytes)).await }
    }

    /// The images with these references as one archive.
    ///
    /// Raises `NotFoundError` when one is not there; what breaks it off raises while it is read.
    ///
    /// >>> len(node.save_images(["roadstead/busybox:latest"]).read()) % 512
    /// 0
    fn save_images(&self, py; references: &Bound<'_, PyAny>) {
        let (of, references) = (self.of().clone(), take::data::<Vec<String>>(references, "references")?);
        async move { Ok(Archived(of.with(of.noun.save_images(&references).await?))) }
    }

    /// Gives an image a further reference.
    ///
    /// Raises `NotFoundError` when it is not there.
    ///
    /// >>> node.tag_image("roadstead/busybox:latest", "site:1")
    /// >>> node.inspect_image("site:1").references
    /// ['roadstead/busybox:latest', 'site:1']
    fn tag_image(&self, py; reference: &Bound<'_, PyAny>, new_reference: &Bound<'_, PyAny>) {
        let node = Arc::clone(&self.of().noun);
        let (old, new) = (take::text(reference, "reference")?, take::text(new_reference, "new_reference")?);
        async move { node.tag_image(&old, &new).await }
    }

    /// Takes a reference away, and deletes the image with its last one; with `force` also when containers use it.
    ///
    /// Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it and `force` is not set.
    ///
    /// >>> node.tag_image("roadstead/busybox:latest", "site:1")
    /// >>> node.delete_image("site:1")
    #[pyo3(signature = (reference, *, force = false))]
    fn delete_image(&self, py; reference: &Bound<'_, PyAny>, force: bool) {
        let (node, reference) = (Arc::clone(&self.of().noun), take::text(reference, "reference")?);
        async move { node.delete_image(&reference, force).await }
    }

    /// All networks.
    ///
    /// Raises `UnsupportedError` where the engine has none.
    ///
    /// >>> network = node.create_network("backend")
    /// >>> "backend" in [network.name for network in node.networks()]
    /// True
    fn networks(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.list_networks().await.map(Plain) }
    }

    /// The network with this name or id.
    ///
    /// Raises `NotFoundError` when it is not there.
    ///
    /// >>> network = node.create_network("backend")
    /// >>> node.inspect_network("backend").name
    /// 'backend'
    fn inspect_network(&self, py; name: &Bound<'_, PyAny>) {
        let (node, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { node.inspect_network(&name).await.map(Plain) }
    }

    /// Makes a network, and gives its id. Keywords: `driver`, `internal` (whether it leads nowhere else), `subnets` (`Subnet`), `labels`,
    /// `options` (the driver's own).
    ///
    /// Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.
    ///
    /// >>> network = node.create_network("backend", subnets=[roadstead.Subnet(cidr="10.99.0.0/24")])
    /// >>> node.inspect_network("backend").subnets[0].cidr
    /// '10.99.0.0/24'
    #[pyo3(signature = (name, **fields))]
    fn create_network(&self, py; name: &Bound<'_, PyAny>, fields: Option<&Bound<'_, PyDict>>) {
        let mut fields = take::fields(fields)?;
        fields.insert("name".to_owned(), take::text(name, "name")?.into());
        let (node, spec) = (Arc::clone(&self.of().noun), take::of_fields::<NetworkSpec>(py, fields)?);
        async move { node.create_network(&spec).await }
    }

    /// Deletes a network.
    ///
    /// Raises `NotFoundError` when it is not there, and `ConflictError` when a container is in it.
    ///
    /// >>> network = node.create_network("backend")
    /// >>> node.delete_network("backend")
    fn delete_network(&self, py; name: &Bound<'_, PyAny>) {
        let (node, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { node.delete_network(&name).await }
    }

    /// All volumes.
    ///
    /// Raises `UnsupportedError` where the engine has none.
    ///
    /// >>> volume = node.create_volume("data")
    /// >>> [volume.name for volume in node.volumes()]
    /// ['data']
    fn volumes(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.list_volumes().await.map(Plain) }
    }

    /// The volume with this name.
    ///
    /// Raises `NotFoundError` when it is not there.
    ///
    /// >>> volume = node.create_volume("data")
    /// >>> node.inspect_volume("data").name
    /// 'data'
    fn inspect_volume(&self, py; name: &Bound<'_, PyAny>) {
        let (node, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { node.inspect_volume(&name).await.map(Plain) }
    }

    /// Makes a volume. Keywords: `driver`, `labels`, `options` (the driver's own).
    ///
    /// Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.
    ///
    /// >>> node.create_volume("data", labels={"tier": "data"}).labels
    /// {'tier': 'data'}
    #[pyo3(signature = (name, **fields))]
    fn create_volume(&self, py; name: &Bound<'_, PyAny>, fields: Option<&Bound<'_, PyDict>>) {
        let mut fields = take::fields(fields)?;
        fields.insert("name".to_owned(), take::text(name, "name")?.into());
        let (node, spec) = (Arc::clone(&self.of().noun), take::of_fields::<VolumeSpec>(py, fields)?);
        async move { node.create_volume(&spec).await.map(Plain) }
    }

    /// Deletes a volume; with `force` as far as the engine can force it.
    ///
    /// Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it.
    ///
    /// >>> volume = node.create_volume("data")
    /// >>> node.delete_volume("data")
    #[pyo3(signature = (name, *, force = false))]
    fn delete_volume(&self, py; name: &Bound<'_, PyAny>, force: bool) {
        let (node, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { node.delete_volume(&name, force).await }
    }

    /// What the machine is made of.
    ///
    /// Raises `UnsupportedError` where the engine does not tell.
    ///
    /// >>> facts = node.host() if node.can("host") else None
    fn host(&self, py) {
        let node = Arc::clone(&self.of().noun);
        async move { node.host().await.map(Plain) }
    }

    /// What the machine and its containers use; only these containers when some are named. It is looked at every few seconds, from the first
    /// question on: `observed_at` says when, and `rates` are there from the second look on.
    ///
    /// Raises `UnsupportedError` where the engine does not tell.
    ///
    /// >>> [one.name for one in node.usage().containers]
    /// ['web']
    #[pyo3(signature = (*, containers = None))]
    fn usage(&self, py; containers: Option<&Bound<'_, PyAny>>) {
        let (node, options) = (Arc::clone(&self.of().noun), usage_options(containers)?);
        async move { node.usage(&options).await.map(Plain) }
    }

    /// The same again and again, as often as it is looked.
    ///
    /// Raises `UnsupportedError` where the engine does not tell.
    ///
    /// >>> with node.watch_usage() as usages:
    /// ...     print(len(next(usages).containers))
    /// 1
    #[pyo3(signature = (*, containers = None))]
    fn watch_usage(&self, py; containers: Option<&Bound<'_, PyAny>>) {
        let (of, options) = (self.of().clone(), usage_options(containers)?);
        async move {
            let usage = of.noun.watch_usage(&options).await?;
            Ok(Streamed(of.with(usage.map(|usage| usage.map(Plain)).boxed())))
        }
    }

    /// What was used over time: by the machine and all containers, by these `containers`, or by the `processes` of these.
    ///
    /// Raises `UnsupportedError` where the engine does not tell, and `InvalidInputError` for a step that is none.
    ///
    /// >>> if node.can("usage_history"):
    /// ...     history = node.usage_history(containers=[web.id], step_seconds=1.0)
    #[pyo3(signature = (*, containers = None, processes = None, since = None, step_seconds = None))]
    fn usage_history(
        &self, py; containers: Option<&Bound<'_, PyAny>>, processes: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = take::maybe_number)] step_seconds: Option<f64>
    ) {
        let of = match (containers, processes) {
            (None, None) => HistoryOf::Everything,
            (Some(containers), None) => HistoryOf::Containers(take::data(containers, "containers")?),
            (None, Some(processes)) => HistoryOf::Processes(take::data(processes, "processes")?),
            (Some(_), Some(_)) => {
                let error = roadstead_core::Error::invalid("processes", "cannot be asked for together with containers");
                return Err(raised(py, &error));
            }
        };
        let mut options = HistoryOptions::of(of);
        options.since = take::maybe_time(since, "since")?;
        options.step = step_seconds.map(|step| take::seconds(py, step, "step_seconds", STEP_MAX)).transpose()?;
        let node = Arc::clone(&self.of().noun);
        async move { node.usage_history(&options).await.map(Plain) }
    }

    /// The processes of all containers, or of these, and with `open_files` and `connections` what they have open.
    ///
    /// Raises `UnsupportedError` where the engine does not tell.
    ///
    /// >>> node.processes(containers=[web.id])[0].cmdline
    /// ['sh', '-c', 'echo hello; sleep 60']
    #[pyo3(signature = (*, containers = None, open_files = false, connections = false))]
    fn processes(&self, py; containers: Option<&Bound<'_, PyAny>>, open_files: bool, connections: bool) {
        let mut options = ProcessOptions::default();
        if let Some(containers) = containers {
            options.containers = take::data(containers, "containers")?;
        }
        (options.open_files, options.connections) = (open_files, connections);
        let node = Arc::clone(&self.of().noun);
        async move { node.list_processes(&options).await.map(Plain) }
    }
}}

fn usage_options(containers: Option<&Bound<'_, PyAny>>) -> PyResult<UsageOptions> {
    let mut options = UsageOptions::default();
    if let Some(containers) = containers {
        options.containers = take::data(containers, "containers")?;
    }
    Ok(options)
}

fn credentials(
    py: Python<'_>,
    username: Option<String>,
    password: Option<String>,
) -> PyResult<Option<roadstead_core::RegistryCredentials>> {
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => {
            let password = roadstead_core::Secret::new(password);
            Ok(Some(roadstead_core::RegistryCredentials { username, password }))
        }
        (username, _) => {
            let missing = if username.is_none() { "username" } else { "password" };
            Err(raised(py, &roadstead_core::Error::invalid(missing, "is missing: they go together")))
        }
    }
}
