//! Pools: named sets of nodes that are addressed as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use roadstead_core::pool::{
    ContainerAction, Criterion, DrainOptions, Listing, ManyOptions, Member, MemberLoad, Placement, Pool as CorePool,
    PoolExt, ReliefOptions, StaticPool, Strategy,
};
use roadstead_core::{ContainerSummary, DeleteOptions, Error, ErrorKind, Node as CoreNode, Result, Signal};

use crate::container::{Created, Listed, stop_options};
use crate::error::{or_raised, raised};
use crate::gate::gated;
use crate::give::{Give, Plain};
use crate::given::{Given, maybe};
use crate::job::signal;
use crate::node::{Connected, node_of, spec};
use crate::runtime::Home;
use crate::session::{Of, Session, contexts, twins};
use crate::streams::Own;
use crate::take;

/// Of what many nodes are asked, none is waited for longer than an hour.
const DEADLINE_MAX: f64 = 3600.0;

/// A pool, and where its members can be changed, the pool as one whose members can.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pool: Arc<dyn CorePool>,
    own: Option<Arc<StaticPool>>,
    /// Engines that were found and cannot be reached, with the reason.
    unreachable: Arc<BTreeMap<String, String>>,
}

/// A named set of nodes that is addressed as one. A member that does not answer makes none of its calls raise.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:", name="a") as a, roadstead.connect("memory:", name="b") as b:
/// ...     pool = roadstead.Pool("both", [a, b])
/// ...     pool.create_container("roadstead/busybox:latest", name="web").node
/// ...     [container.name for container in pool.containers().items]
/// 'a'
/// ['web']
#[pyclass(frozen, module = "roadstead", name = "Pool")]
#[derive(Debug)]
pub(crate) struct Pool(Of<Members>);

/// A named set of nodes that is addressed as one: `roadstead.Pool`, whose calls are awaited.
///
/// >>> import asyncio
/// >>> from roadstead import aio
/// >>> async def main():
/// ...     async with aio.connect("memory:", name="a") as a, aio.connect("memory:", name="b") as b:
/// ...         placed = await aio.Pool("both", [a, b]).create_container("roadstead/busybox:latest")
/// ...         print(placed.node)
/// >>> asyncio.run(main())
/// a
#[pyclass(frozen, module = "roadstead.aio", name = "Pool")]
#[derive(Debug)]
pub(crate) struct AioPool(Of<Members>);

/// A pool that is to be handed out.
pub(crate) struct Pooled(Of<Members>);

impl Pooled {
    /// One whose members an engine tells.
    pub(crate) fn engines(of: &Of<Arc<dyn CorePool>>) -> Self {
        let members = Members { pool: Arc::clone(&of.noun), own: None, unreachable: Arc::default() };
        Pooled(of.within(members))
    }

    /// One of nodes that were connected.
    pub(crate) fn own(
        session: Arc<Session>,
        name: &str,
        nodes: Vec<Arc<dyn CoreNode>>,
        unreachable: BTreeMap<String, String>,
        awaited: bool,
    ) -> Self {
        let own = Arc::new(StaticPool::new(name, nodes.into_iter().map(|node| gated(node, &session))));
        let members = Members { pool: Arc::clone(&own) as _, own: Some(own), unreachable: Arc::new(unreachable) };
        Pooled(Of::new(session, members, awaited))
    }
}

impl Give for Pooled {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let of = self.0;
        Ok(if of.awaited { Py::new(py, AioPool(of))?.into_any() } else { Py::new(py, Pool(of))?.into_any() })
    }
}

fn new(
    py: Python<'_>,
    name: &Bound<'_, PyAny>,
    nodes: Option<&Bound<'_, PyAny>>,
    awaited: bool,
) -> PyResult<Of<Members>> {
    let name = take::text(name, "name")?;
    or_raised(py, roadstead_core::names::node_name("name", &name))?;
    let own = Arc::new(StaticPool::new(name, []));
    if let Some(nodes) = nodes {
        for (index, node) in nodes.try_iter()?.enumerate() {
            or_raised(py, own.add(node_of(&node?, &format!("nodes[{index}]"))?))?;
        }
    }
    let session = Session::new(or_raised(py, Home::here(py))?);
    let members = Members { pool: Arc::clone(&own) as _, own: Some(own), unreachable: Arc::default() };
    Ok(Of::new(session, members, awaited))
}

fn own_of<'a>(py: Python<'_>, of: &'a Of<Members>) -> PyResult<&'a Arc<StaticPool>> {
    or_raised(py, of.session.check())?;
    let fixed = || Error::new(ErrorKind::Conflict, "the engine tells who its members are");
    of.noun.own.as_ref().ok_or_else(|| raised(py, &fixed()))
}

macro_rules! own {
    ($($class:ident, $awaited:literal);*) => {$(
        impl $class {
            fn of(&self) -> &Of<Members> {
                &self.0
            }
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (name, nodes = None))]
            fn new(py: Python<'_>, name: &Bound<'_, PyAny>, nodes: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
                new(py, name, nodes, $awaited).map($class)
            }

            /// Its name.
            #[getter]
            fn name(&self) -> &str {
                self.0.noun.pool.name()
            }

            /// Engines that were found and cannot be reached, with the reason.
            #[getter]
            fn unreachable(&self) -> BTreeMap<String, String> {
                (*self.0.noun.unreachable).clone()
            }

            /// Its nodes as they are now.
            ///
            /// Raises `ConflictError` when it is closed.
            ///
            /// >>> [node.name for node in pool.nodes()]
            /// ['memory', 'other']
            fn nodes(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                or_raised(py, self.0.session.check())?;
                let nodes = self.0.noun.pool.nodes();
                nodes.into_iter().map(|node| Connected(self.0.within(node))).collect::<Vec<_>>().give(py)
            }

            /// The node with this name.
            ///
            /// Raises `NotFoundError` when it has none.
            ///
            /// >>> pool.node("other").info().engine
            /// 'memory'
            fn node(&self, name: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                let py = name.py();
                or_raised(py, self.0.session.check())?;
                let node = or_raised(py, self.0.noun.pool.node(&take::text(name, "name")?))?;
                Connected(self.0.within(node)).give(py)
            }

            /// Its nodes with their labels, and why they take no new containers where they do not.
            ///
            /// Raises `ConflictError` when it is closed.
            ///
            /// >>> pool.label("other", {"zone": "b"})
            /// >>> [(member.node, member.labels) for member in pool.members()]
            /// [('memory', {}), ('other', {'zone': 'b'})]
            fn members(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                or_raised(py, self.0.session.check())?;
                let class = py.import("roadstead._types")?.getattr("Member")?;
                let member = |member: Member| {
                    class.call1((member.name().to_owned(), member.labels, member.cordon)).map(Bound::unbind).map(Own)
                };
                self.0.noun.pool.members().into_iter().map(member).collect::<PyResult<Vec<_>>>()?.give(py)
            }

            /// Adds a node.
            ///
            /// Raises `AlreadyExistsError` when it has one of this name.
            ///
            /// >>> third = roadstead.connect("memory:", name="third")
            /// >>> pool.add(third)
            /// >>> len(pool.nodes())
            /// 3
            fn add(&self, node: &Bound<'_, PyAny>) -> PyResult<()> {
                let own = own_of(node.py(), &self.0)?;
                or_raised(node.py(), own.add(node_of(node, "node")?))
            }

            /// Takes a node out of it; the node stays connected.
            ///
            /// Raises `NotFoundError` when it has none of this name.
            ///
            /// >>> pool.remove("other")
            /// >>> [node.name for node in pool.nodes()]
            /// ['memory']
            fn remove(&self, name: &Bound<'_, PyAny>) -> PyResult<()> {
                let own = own_of(name.py(), &self.0)?;
                or_raised(name.py(), own.remove(&take::text(name, "name")?).map(drop))
            }

            /// Gives a node other labels.
            ///
            /// Raises `NotFoundError` when it has none of this name.
            ///
            /// >>> pool.label("other", {"zone": "b"})
            /// >>> pool.place("roadstead/busybox:latest", node_labels={"zone": "b"}).node
            /// 'other'
            fn label(&self, name: &Bound<'_, PyAny>, labels: &Bound<'_, PyAny>) -> PyResult<()> {
                let own = own_of(name.py(), &self.0)?;
                or_raised(name.py(), own.label(&take::text(name, "name")?, take::data(labels, "labels")?))
            }

            /// Keeps new containers from a node, for a reason; without one it takes them again.
            ///
            /// Raises `NotFoundError` when it has none of this name.
            ///
            /// >>> pool.cordon("other", "it is being mended")
            /// >>> pool.create_container("roadstead/busybox:latest").node
            /// 'memory'
            #[pyo3(signature = (name, reason = None))]
            fn cordon(&self, name: &Bound<'_, PyAny>, reason: Option<Given<String>>) -> PyResult<()> {
                let own = own_of(name.py(), &self.0)?;
                let reason = maybe(name.py(), reason, "reason")?;
                or_raised(name.py(), own.cordon(&take::text(name, "name")?, reason.as_deref()))
            }

            fn __repr__(&self) -> String {
                format!("Pool({:?})", self.0.noun.pool.name()).replace('"', "'")
            }
        }
    )*};
}
own!(Pool, false; AioPool, true);

contexts! { Pool, AioPool {
    /// Closes it, and the nodes that came with it; those that were given stay as they are.
    |this| this.0.session.close()
}}

/// What many nodes gave.
struct Answers<T> {
    items: Vec<T>,
    rest: Listing<()>,
}

impl<T: Give> Give for Answers<T> {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let class = py.import("roadstead._types")?.getattr("Listing")?;
        let (errors, nodes) = (Plain(self.rest.errors).give(py)?, Plain(self.rest.nodes).give(py)?);
        Ok(class.call1((self.items.give(py)?, errors, nodes))?.unbind())
    }
}

fn answers<T, U>(listing: Listing<T>, each: impl FnMut(T) -> U) -> Answers<U> {
    let mut rest = Listing::default();
    (rest.errors, rest.nodes) = (listing.errors, listing.nodes);
    Answers { items: listing.items.into_iter().map(each).collect(), rest }
}

fn deadline(py: Python<'_>, timeout: f64) -> PyResult<Duration> {
    take::seconds(py, timeout, "timeout", DEADLINE_MAX)
}

fn placement(
    py: Python<'_>,
    strategy: Given<String>,
    labels: Option<&Bound<'_, PyAny>>,
    nodes: Option<&Bound<'_, PyAny>>,
    memory_bytes: Option<Given<u64>>,
) -> PyResult<Placement> {
    let strategy: Strategy = take::word(py, strategy, "strategy")?;
    let mut placement = Placement::by(strategy);
    placement.labels = labels.map(take::selectors).transpose()?.unwrap_or_default();
    if let Some(nodes) = nodes {
        placement.nodes = take::data(nodes, "nodes")?;
    }
    placement.memory_bytes = maybe(py, memory_bytes, "memory_bytes")?;
    Ok(placement)
}

fn act_of(
    py: Python<'_>,
    verb: Given<String>,
    timeout: Option<Given<u32>>,
    given: Option<&Bound<'_, PyAny>>,
    force: bool,
    volumes: bool,
) -> PyResult<ContainerAction> {
    let mut delete = DeleteOptions::default();
    (delete.force, delete.volumes) = (force, volumes);
    let stop = stop_options(py, timeout, "stop_timeout")?;
    let verb = verb.named(py, "verb")?;
    Ok(match verb.as_str() {
        "start" => ContainerAction::Start,
        "stop" => ContainerAction::Stop(stop),
        "restart" => ContainerAction::Restart(stop),
        "kill" => ContainerAction::Kill(given.map(signal).transpose()?.unwrap_or(Signal::KILL)),
        "freeze" => ContainerAction::Freeze,
        "unfreeze" => ContainerAction::Unfreeze,
        "delete" => ContainerAction::Delete(delete),
        other => {
            let words = format!("must be start, stop, restart, kill, freeze, unfreeze or delete, and is {other:?}");
            return Err(raised(py, &Error::invalid("verb", words)));
        }
    })
}

twins! { Pool, AioPool {
    /// The containers of all members, each asked at once: what came within `timeout` seconds, and an error for each that did not.
    ///
    /// Raises `InvalidInputError` for states that there are not; a member that does not answer is in `errors`.
    ///
    /// >>> listing = pool.containers(timeout=10)
    /// >>> [(container.node, container.name) for container in listing.items], listing.errors
    /// ([('memory', 'web')], [])
    #[pyo3(signature = (*, states = None, ids = None, names = None, labels = None, timeout = 30.0))]
    fn containers(
        &self, py; states: Option<&Bound<'_, PyAny>>, ids: Option<&Bound<'_, PyAny>>,
        names: Option<&Bound<'_, PyAny>>, labels: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = take::number)] timeout: f64
    ) {
        let (of, filter) = (self.of().clone(), take::filter(states, ids, names, labels)?);
        let deadline = deadline(py, timeout)?;
        async move {
            let listing = of.noun.pool.list_containers(&filter, deadline).await?;
            let nodes: BTreeMap<String, Arc<dyn CoreNode>> =
                of.noun.pool.nodes().into_iter().map(|node| (node.name().to_owned(), node)).collect();
            let gone = |summary: &ContainerSummary| Error::not_found("node", &summary.node);
            let listed = |summary: ContainerSummary| -> Result<Listed> {
                let node = nodes.get(&summary.node).ok_or_else(|| gone(&summary))?;
                Ok(Listed(of.with(node.container(&summary.id)), summary))
            };
            let listing = answers(listing, listed);
            // Of a node that left meanwhile nothing can be done any more.
            let items = listing.items.into_iter().filter_map(Result::ok).collect();
            Ok(Answers { items, rest: listing.rest })
        }
    }

    /// Does one thing ("start", "stop", "restart", "kill", "freeze", "unfreeze" or "delete") to many containers, several at a
    /// time, and tells the outcome for each; with `dry_run` it tells only what would be done.
    ///
    /// Raises `InvalidInputError` for a verb that there is not; what fails is in the items.
    ///
    /// >>> done = pool.act("stop", names=["web"], stop_timeout=5)
    /// >>> [(item.node, item.outcome.value) for item in done.items]
    /// [('memory', 'done')]
    #[pyo3(
        signature = (
            verb, *, states = None, ids = None, names = None, labels = None, timeout = 60.0,
            concurrency = Given::of(16_usize), per_node = Given::of(4_usize), dry_run = false, stop_timeout = None,
            signal = None, force = false, volumes = false
        ),
        text_signature = "($self, verb, *, states=None, ids=None, names=None, labels=None, timeout=60.0, concurrency=16, \
            per_node=4, dry_run=False, stop_timeout=None, signal=None, force=False, volumes=False)"
    )]
    fn act(
        &self, py; verb: Given<String>, states: Option<&Bound<'_, PyAny>>, ids: Option<&Bound<'_, PyAny>>,
        names: Option<&Bound<'_, PyAny>>, labels: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = take::number)] timeout: f64,
        concurrency: Given<usize>, per_node: Given<usize>, dry_run: bool, stop_timeout: Option<Given<u32>>, signal: Option<&Bound<'_, PyAny>>, force: bool,
        volumes: bool
    ) {
        let action = act_of(py, verb, stop_timeout, signal, force, volumes)?;
        let mut options = ManyOptions::of(take::filter(states, ids, names, labels)?);
        options.concurrency = concurrency.named(py, "concurrency")?;
        options.per_node = per_node.named(py, "per_node")?;
        options.dry_run = dry_run;
        options.deadline = deadline(py, timeout)?;
        let pool = Arc::clone(&self.of().noun.pool);
        async move { Ok(answers(pool.act(&action, &options).await?, Plain)) }
    }

    /// What all members have together, as far as they answered within `timeout` seconds.
    ///
    /// Raises nothing of the members: who does not answer is in `errors`.
    ///
    /// >>> totals = pool.totals(timeout=10)
    /// >>> totals.containers, totals.running
    /// (1, 1)
    #[pyo3(signature = (*, timeout = 30.0))]
    fn totals(&self, py; #[pyo3(from_py_with = take::number)] timeout: f64) {
        let (pool, deadline) = (Arc::clone(&self.of().noun.pool), deadline(py, timeout)?);
        async move { Ok(Plain(pool.totals(deadline).await)) }
    }

    /// Which member would take a new container, and why: `strategy` is "spread" or "pack".
    ///
    /// Raises `InvalidInputError` for what makes no sense; where nobody would, `node` is None.
    ///
    /// >>> decision = pool.place("roadstead/busybox:latest", strategy="spread")
    /// >>> decision.node
    /// 'other'
    #[pyo3(
        signature = (
            image, *, strategy = Given::of("spread"), node_labels = None, nodes = None, memory_bytes = None, timeout = 30.0,
            **fields
        ),
        text_signature = "($self, image, *, strategy='spread', node_labels=None, nodes=None, memory_bytes=None, \
            timeout=30.0, **fields)"
    )]
    fn place(
        &self, py; image: &Bound<'_, PyAny>, strategy: Given<String>, node_labels: Option<&Bound<'_, PyAny>>,
        nodes: Option<&Bound<'_, PyAny>>, memory_bytes: Option<Given<u64>>, #[pyo3(from_py_with = take::number)] timeout: f64, fields: Option<&Bound<'_, PyDict>>
    ) {
        let (pool, spec) = (Arc::clone(&self.of().noun.pool), spec(image, fields)?);
        let (placement, deadline) = (placement(py, strategy, node_labels, nodes, memory_bytes)?, deadline(py, timeout)?);
        async move { pool.place(&spec, &placement, deadline).await.map(Plain) }
    }

    /// Creates a container on the member that `place` would name.
    ///
    /// Raises `ConflictError` when no member may take it, and what the last one that was tried raised.
    ///
    /// >>> placed = pool.create_container("roadstead/busybox:latest", name="db")
    /// >>> placed.node, placed.container.name
    /// ('other', 'db')
    #[pyo3(
        signature = (
            image, *, strategy = Given::of("spread"), node_labels = None, nodes = None, memory_bytes = None, timeout = 60.0,
            **fields
        ),
        text_signature = "($self, image, *, strategy='spread', node_labels=None, nodes=None, memory_bytes=None, \
            timeout=60.0, **fields)"
    )]
    fn create_container(
        &self, py; image: &Bound<'_, PyAny>, strategy: Given<String>, node_labels: Option<&Bound<'_, PyAny>>,
        nodes: Option<&Bound<'_, PyAny>>, memory_bytes: Option<Given<u64>>, #[pyo3(from_py_with = take::number)] timeout: f64, fields: Option<&Bound<'_, PyDict>>
    ) {
        let (of, spec) = (self.of().clone(), spec(image, fields)?);
        let (placement, deadline) = (placement(py, strategy, node_labels, nodes, memory_bytes)?, deadline(py, timeout)?);
        async move {
            let placed = of.noun.pool.create_container(&spec, &placement, deadline).await?;
            let node = of.noun.pool.node(&placed.node)?;
            let container = Created(of.with(node.container(&placed.container.id)), placed.container);
            Ok(Placed { node: placed.node, container, decision: placed.decision })
        }
    }

    /// What it takes to empty a member: where each of its containers goes, and how. Nothing is done.
    ///
    /// Raises `NotFoundError` when it has none of this name.
    ///
    /// >>> plan = pool.plan_drain("memory")
    /// >>> [(move.plan.name, move.plan.target) for move in plan.moves], plan.stays
    /// ([('web', 'other')], [])
    #[pyo3(
        signature = (node, *, strategy = Given::of("spread"), node_labels = None, nodes = None, timeout = 60.0),
        text_signature = "($self, node, *, strategy='spread', node_labels=None, nodes=None, timeout=60.0)"
    )]
    fn plan_drain(
        &self, py; node: &Bound<'_, PyAny>, strategy: Given<String>, node_labels: Option<&Bound<'_, PyAny>>,
        nodes: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = take::number)] timeout: f64
    ) {
        let (pool, node) = (Arc::clone(&self.of().noun.pool), take::text(node, "node")?);
        let mut options = DrainOptions::default();
        options.placement = placement(py, strategy, node_labels, nodes, None)?;
        options.deadline = deadline(py, timeout)?;
        async move { pool.plan_drain(&node, &options).await.map(Plain) }
    }

    /// What it takes to relieve the members that bear too much by these loads (`MemberLoad`): one container of each, and where
    /// it goes. `criterion` is "cpu", "latency" or "cpu_or_latency". Nothing is done.
    ///
    /// Raises `InvalidInputError` for loads of who is no member.
    ///
    /// >>> loads = [
    /// ...     roadstead.MemberLoad("memory", cpu_percent=95.0, cpus=2, containers=[
    /// ...         roadstead.ContainerLoad(web.id, "web", 60.0)]),
    /// ...     roadstead.MemberLoad("other", cpu_percent=5.0, cpus=2),
    /// ... ]
    /// >>> [(move.plan.name, move.plan.target) for move in pool.plan_relief(loads, cpu_percent=80.0).moves]
    /// [('web', 'other')]
    #[pyo3(
        signature = (
            loads, *, criterion = Given::of("cpu"), cpu_percent = 80.0, latency_ms = 100.0, margin_percent = 10.0,
            resting = None, timeout = 60.0
        ),
        text_signature = "($self, loads, *, criterion='cpu', cpu_percent=80.0, latency_ms=100.0, margin_percent=10.0, \
            resting=None, timeout=60.0)"
    )]
    fn plan_relief(
        &self, py; loads: &Bound<'_, PyAny>, criterion: Given<String>, #[pyo3(from_py_with = take::number)] cpu_percent: f64, #[pyo3(from_py_with = take::number)] latency_ms: f64, #[pyo3(from_py_with = take::number)] margin_percent: f64,
        resting: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = take::number)] timeout: f64
    ) {
        let loads: Vec<MemberLoad> = take::data(loads, "loads")?;
        let mut options = ReliefOptions::by(take::word::<Criterion>(py, criterion, "criterion")?);
        (options.cpu_percent, options.latency_ms, options.margin_percent) = (cpu_percent, latency_ms, margin_percent);
        options.resting = resting.map(|resting| take::data::<BTreeSet<String>>(resting, "resting")).transpose()?.unwrap_or_default();
        options.deadline = deadline(py, timeout)?;
        let pool = Arc::clone(&self.of().noun.pool);
        async move { pool.plan_relief(&loads, &options).await.map(Plain) }
    }
}}

/// A container that was made somewhere.
struct Placed {
    node: String,
    container: Created,
    decision: roadstead_core::pool::Decision,
}

impl Give for Placed {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let class = py.import("roadstead._types")?.getattr("PlacedContainer")?;
        let arguments = (self.node, self.container.give(py)?, Plain(self.decision).give(py)?);
        Ok(class.call1(arguments)?.unbind())
    }
}
