//! The conformance suite, driven through the Python package: each clause calls the library's traits, which are implemented here by
//! calling the package's classes as any program does, blocking or awaited. So the package is held to the very promises that the
//! engines are held to, and nothing is said twice.
#![allow(clippy::expect_used, reason = "a panic is how a test says that it failed")]

mod container;
mod hand;
mod job;
mod node;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use roadstead_core::conformance::{self, Fixture, Outcome, PullReferences};
use roadstead_core::{Error, Node};

use self::hand::Hand;
use self::node::Driven;

/// The numbers of all clauses, in order.
#[pyfunction]
fn clauses() -> Vec<&'static str> {
    conformance::clauses().map(conformance::Clause::number).collect()
}

/// Tries a clause on a node of the package. `caller` calls a method of an object, waits for it, and takes the next item of a stream.
///
/// `secrets` are what the node must not show, `pull` an image that its registry has, and one that it has not.
///
/// Gives "passed", "gated" or "failed", and why.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "called by the tests only")]
fn run(
    py: Python<'_>,
    clause: &str,
    node: Py<PyAny>,
    caller: Py<PyAny>,
    image: &str,
    deadline_seconds: f64,
    secrets: Vec<String>,
    pull: Option<(String, String)>,
) -> PyResult<(&'static str, String)> {
    let unknown = || pyo3::exceptions::PyLookupError::new_err("no such clause");
    let clause = conformance::clause(clause).ok_or_else(unknown)?;
    let node = Driven::new(py, Hand::new(node, caller))?;
    py.detach(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| pyo3::exceptions::PyOSError::new_err(error.to_string()))?;
        let mut fixture = Fixture::new(Arc::new(node) as Arc<dyn Node>, image);
        if let Some((there, missing)) = pull {
            fixture = fixture.pull(PullReferences::new(there, missing));
        }
        fixture = secrets.into_iter().fold(fixture, Fixture::secret);
        fixture.deadline = Duration::from_secs_f64(deadline_seconds);
        let outcome = runtime.block_on(conformance::run(clause, &fixture));
        drop(fixture);
        runtime.shutdown_background();
        Ok(match outcome {
            Outcome::Passed => ("passed", String::new()),
            Outcome::Gated(reason) => ("gated", reason),
            Outcome::Failed(reason) => ("failed", reason),
        })
    })
}

/// What the suite cannot be told of through the package.
fn beyond(what: &str) -> Error {
    Error::unsupported(what)
}

/// Drives the conformance suite through the package.
#[pymodule(gil_used = false)]
fn roadstead_conformance(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(clauses, module)?)?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    Ok(())
}
