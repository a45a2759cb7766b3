//! How a program comes by nodes: by their URI, what is on this machine, and those of a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use pyo3::prelude::*;
use roadstead_backends::engines::roadstead::{node_names, node_uri};
use roadstead_core::{ConnectOptions, Error, ErrorKind, Node as CoreNode, Registry, Result};

use crate::error::or_raised;
use crate::gate::gated;
use crate::give::Give;
use crate::given::{Given, maybe};
use crate::later::later;
use crate::node::Connected;
use crate::pool::Pooled;
use crate::runtime::Home;
use crate::session::{Of, Session};
use crate::streams::Own;
use crate::take;
use crate::wait::wait;

/// Nobody waits longer for a connection.
const CONNECT_MAX: f64 = 3600.0;

/// What a connection is made with.
#[derive(Clone, Debug)]
struct Wanted {
    name: Option<String>,
    uri: String,
    options: ConnectOptions,
}

/// What a node is called that was given no name: by its engine.
fn default_name(uri: &str) -> String {
    let scheme = uri.split([':', '+']).next().unwrap_or_default();
    let name: String = scheme.chars().filter(char::is_ascii_alphanumeric).collect();
    if name.is_empty() { "node".to_owned() } else { name }
}

fn options(
    py: Python<'_>,
    timeout: f64,
    certificate: Option<Given<PathBuf>>,
    key: Option<Given<PathBuf>>,
    authority: Option<Given<PathBuf>>,
) -> PyResult<ConnectOptions> {
    let mut options = ConnectOptions::default();
    options.deadline = take::seconds(py, timeout, "timeout", CONNECT_MAX)?;
    options.certificate = maybe(py, certificate, "certificate")?;
    options.key = maybe(py, key, "key")?;
    options.authority = maybe(py, authority, "authority")?;
    Ok(options)
}

async fn connect(registry: &Registry, wanted: Wanted) -> Result<Arc<dyn CoreNode>> {
    let name = wanted.name.unwrap_or_else(|| default_name(&wanted.uri));
    registry.connect(&name, &wanted.uri, &wanted.options).await
}

/// Nodes that were reached, and why others were not, by their names.
type Reached = (Vec<Arc<dyn CoreNode>>, BTreeMap<String, String>);

/// Connects to all of these at once; each has a URI, or the reason why it has none.
async fn reach(registry: &Registry, found: Vec<(String, Result<String, String>)>, options: &ConnectOptions) -> Reached {
    let connect = |(name, uri): (String, Result<String, String>)| async move {
        let reached = match uri {
            Ok(uri) => registry.connect(&name, &uri, options).await.map_err(|error| error.to_string()),
            Err(problem) => Err(problem),
        };
        (name, reached)
    };
    let (mut nodes, mut unreachable) = (Vec::new(), BTreeMap::new());
    for (name, reached) in join_all(found.into_iter().map(connect)).await {
        match reached {
            Ok(node) => nodes.push(node),
            Err(reason) => drop(unreachable.insert(name, reason)),
        }
    }
    (nodes, unreachable)
}

/// Everything that is found on this machine and answers; what does not is told with its reason.
async fn connect_local(registry: &Registry, options: &ConnectOptions) -> Result<Reached> {
    let found = registry.discover();
    if found.is_empty() {
        return Err(Error::new(ErrorKind::Unavailable, "no container engine was found on this machine"));
    }
    let found = found.into_iter().map(|found| (found.name, found.problem.map_or(Ok(found.uri), Err))).collect();
    let (nodes, unreachable) = reach(registry, found, options).await;
    if nodes.is_empty() {
        let told: Vec<_> = unreachable.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let words = format!("none of the engines on this machine answers: {}", told.join("; "));
        return Err(Error::new(ErrorKind::Unavailable, words));
    }
    Ok((nodes, unreachable))
}

/// All nodes of a server.
async fn connect_fleet(
    registry: &Registry,
    url: &str,
    token: Option<&str>,
    options: &ConnectOptions,
) -> Result<Reached> {
    let names = node_names(&node_uri(url, token, "")?.parse()?, options).await.map_err(|error| {
        // Over here it has another name.
        let is_missing = token.is_none() && error.field() == Some("token_file") && !url.contains("token_file=");
        if is_missing {
            Error::invalid("token", "is missing: the server's admin token is in its state directory")
        } else {
            error
        }
    })?;
    let uri = |name: String| Ok((name.clone(), Ok(node_uri(url, token, &name)?)));
    let found = names.into_iter().map(uri).collect::<Result<_>>()?;
    Ok(reach(registry, found, options).await)
}

/// Work whose result belongs to a new connection.
fn begun<'py, T: Give + 'static>(
    py: Python<'py>,
    awaited: bool,
    work: impl Future<Output = Result<T>> + Send + 'static,
    home: &Arc<Home>,
) -> PyResult<Bound<'py, PyAny>> {
    if awaited { later(py, home, work) } else { wait(py, home, work).map(|made| made.into_bound(py)) }
}

/// Connects to the node at a URI. The package's own functions of this name say the rest.
#[pyfunction]
#[pyo3(signature = (awaited, uri, name, timeout, certificate, key, authority))]
#[allow(clippy::too_many_arguments, reason = "called by the package only")]
pub(crate) fn connect_to<'py>(
    py: Python<'py>,
    awaited: bool,
    uri: &Bound<'py, PyAny>,
    name: Option<Given<String>>,
    #[pyo3(from_py_with = take::number)] timeout: f64,
    certificate: Option<Given<PathBuf>>,
    key: Option<Given<PathBuf>>,
    authority: Option<Given<PathBuf>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = options(py, timeout, certificate, key, authority)?;
    let wanted = Wanted { name: maybe(py, name, "name")?, uri: take::text(uri, "uri")?, options };
    let home = or_raised(py, Home::here(py))?;
    let session = Session::new(Arc::clone(&home));
    let work = async move {
        let noun = gated(connect(&roadstead_backends::registry(), wanted).await?, &session);
        Ok(Connected(Of::new(session, noun, awaited)))
    };
    begun(py, awaited, work, &home)
}

/// Connects to every engine on this machine.
#[pyfunction]
pub(crate) fn connect_here<'py>(
    py: Python<'py>,
    awaited: bool,
    #[pyo3(from_py_with = take::number)] timeout: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let options = options(py, timeout, None, None, None)?;
    let home = or_raised(py, Home::here(py))?;
    let session = Session::new(Arc::clone(&home));
    let work = async move {
        let (nodes, unreachable) = connect_local(&roadstead_backends::registry(), &options).await?;
        Ok(Pooled::own(session, "local", nodes, unreachable, awaited))
    };
    begun(py, awaited, work, &home)
}

/// Connects to every node of a server.
#[pyfunction]
#[pyo3(signature = (awaited, url, token, timeout, certificate, key, authority))]
#[allow(clippy::too_many_arguments, reason = "called by the package only")]
pub(crate) fn connect_server<'py>(
    py: Python<'py>,
    awaited: bool,
    url: &Bound<'py, PyAny>,
    token: Option<Given<String>>,
    #[pyo3(from_py_with = take::number)] timeout: f64,
    certificate: Option<Given<PathBuf>>,
    key: Option<Given<PathBuf>>,
    authority: Option<Given<PathBuf>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (url, options) = (take::text(url, "url")?, options(py, timeout, certificate, key, authority)?);
    let token = maybe(py, token, "token")?;
    let home = or_raised(py, Home::here(py))?;
    let session = Session::new(Arc::clone(&home));
    let work = async move {
        let registry = roadstead_backends::registry();
        let (nodes, unreachable) = connect_fleet(&registry, &url, token.as_deref(), &options).await?;
        Ok(Pooled::own(session, "fleet", nodes, unreachable, awaited))
    };
    begun(py, awaited, work, &home)
}

/// The engines that are found on this machine; nobody is asked whether they answer.
#[pyfunction]
pub(crate) fn discover(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let class = py.import("roadstead._types")?.getattr("Discovered")?;
    let found = py.detach(|| roadstead_backends::registry().discover());
    let found = found.into_iter().map(|found| {
        class.call1((found.name, found.uri, found.origin, found.problem)).map(|found| Own(found.unbind()))
    });
    found.collect::<PyResult<Vec<_>>>()?.give(py)
}

/// The schemes of URIs that can be connected to.
#[pyfunction]
pub(crate) fn schemes() -> Vec<&'static str> {
    roadstead_backends::registry().schemes()
}
