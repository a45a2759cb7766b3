//! Jobs: commands that run over time and end.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use roadstead_core::{Error, Job as CoreJob, OutputKind, OutputOptions, Signal, TerminalSize};

use crate::give::{Give, Plain};
use crate::session::{Of, twins};
use crate::streams::Streamed;
use crate::take;

/// Waiting for longer than a day is done by waiting again.
pub(crate) const WAIT_MAX: f64 = 86_400.0;

/// A command that runs over time and ends. It goes on whoever waits for it.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node:
/// ...     web = node.create_container("roadstead/busybox:latest", command=["sleep", "60"])
/// ...     web.start()
/// ...     job = web.run(["sh", "-c", "echo hi; exit 3"])
/// ...     print(job.wait(timeout=10).exit_code, job.output())
/// 3 b'hi\n'
#[pyclass(frozen, module = "roadstead", name = "Job")]
#[derive(Debug)]
pub(crate) struct Job(Of<Arc<dyn CoreJob>>);

/// A command that runs over time and ends. It goes on whoever waits for it.
#[pyclass(frozen, module = "roadstead.aio", name = "Job")]
#[derive(Debug)]
pub(crate) struct AioJob(Of<Arc<dyn CoreJob>>);

/// A job that is to be handed out.
pub(crate) struct Begun(pub(crate) Of<Arc<dyn CoreJob>>);

impl Give for Begun {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let of = self.0;
        Ok(if of.awaited { Py::new(py, AioJob(of))?.into_any() } else { Py::new(py, Job(of))?.into_any() })
    }
}

/// The streams of output that were named; all of them when none was.
fn kinds(py: Python<'_>, given: Option<&str>) -> PyResult<Option<OutputKind>> {
    let kind = match given {
        None => None,
        Some("stdout") => Some(OutputKind::Stdout),
        Some("stderr") => Some(OutputKind::Stderr),
        Some("console") => Some(OutputKind::Console),
        Some(other) => {
            let words = format!("must be stdout, stderr or console, and is {other:?}");
            return Err(crate::error::raised(py, &Error::invalid("kind", words)));
        }
    };
    Ok(kind)
}

/// A signal by name or number.
pub(crate) fn signal(given: &Bound<'_, PyAny>) -> PyResult<Signal> {
    // An enumeration's member, as those of `signal`, is its number.
    let text = match given.cast::<pyo3::types::PyInt>() {
        Ok(number) => number.call_method0("__int__")?.str()?.to_string(),
        Err(_) => take::text(given, "signal")?,
    };
    crate::error::or_raised(given.py(), text.parse())
}

impl Job {
    fn of(&self) -> &Of<Arc<dyn CoreJob>> {
        &self.0
    }
}

impl AioJob {
    fn of(&self) -> &Of<Arc<dyn CoreJob>> {
        &self.0
    }
}

macro_rules! own {
    ($($class:ident),*) => {$(
        #[pymethods]
        impl $class {
            /// Its id.
            #[getter]
            fn id(&self) -> &str {
                self.0.noun.id()
            }

            fn __repr__(&self) -> String {
                format!("Job({:?})", self.0.noun.id())
            }
        }
    )*};
}
own!(Job, AioJob);

twins! { Job, AioJob {
    /// What is known of it now.
    fn status(&self, py) {
        let job = Arc::clone(&self.of().noun);
        async move { job.status().await.map(Plain) }
    }

    /// Waits until it has ended, at most `timeout` seconds (at most a day), and gives its last status.
    ///
    /// Raises `DeadlineExceededError` when the time is over; the job goes on.
    #[pyo3(signature = (*, timeout = 60.0))]
    fn wait(&self, py; timeout: f64) {
        let (job, deadline) = (Arc::clone(&self.of().noun), take::seconds(py, timeout, "timeout", WAIT_MAX)?);
        async move { job.wait(deadline).await.map(Plain) }
    }

    /// The bytes that are kept of its output, in order: of one stream ("stdout", "stderr", or "console" where it has a
    /// terminal), or of all.
    #[pyo3(signature = (kind = None))]
    fn output(&self, py; kind: Option<&str>) {
        let (job, kind) = (Arc::clone(&self.of().noun), kinds(py, kind)?);
        async move {
            let mut chunks = job.output(OutputOptions::kept()).await?;
            let mut all = BytesMut::new();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                if kind.is_none_or(|kind| kind == chunk.kind) {
                    all.extend_from_slice(&chunk.data);
                }
            }
            Ok(all.freeze())
        }
    }

    /// Its output in pieces, each with its number and its stream: those behind number `after`, and with `follow` also what
    /// comes until it ends.
    #[pyo3(signature = (*, after = 0, follow = false))]
    fn chunks(&self, py; after: u64, follow: bool) {
        let of = self.of().clone();
        let options = if follow { OutputOptions::follow() } else { OutputOptions::kept() }.after(after);
        async move {
            let chunks = of.noun.output(options).await?;
            Ok(Streamed(of.with(chunks)))
        }
    }

    /// Writes to its standard input, in order.
    ///
    /// Raises `ConflictError` when it has none, it is closed, or the job has ended.
    fn write_stdin(&self, py; data: &Bound<'_, PyBytes>) {
        let (job, data) = (Arc::clone(&self.of().noun), Bytes::copy_from_slice(data.as_bytes()));
        async move { job.write_stdin(data).await }
    }

    /// Closes its standard input; closing it twice does nothing.
    fn close_stdin(&self, py) {
        let job = Arc::clone(&self.of().noun);
        async move { job.close_stdin().await }
    }

    /// Sets the size of its terminal.
    ///
    /// Raises `ConflictError` when it has none.
    fn resize(&self, py; columns: u16, rows: u16) {
        let job = Arc::clone(&self.of().noun);
        async move { job.resize(TerminalSize { columns, rows }).await }
    }

    /// Sends it a signal, by name or number. One that has ended stays as it is.
    #[pyo3(signature = (signal = None))]
    fn kill(&self, py; signal: Option<&Bound<'_, PyAny>>) {
        let signal = signal.map(self::signal).transpose()?.unwrap_or(Signal::KILL);
        let job = Arc::clone(&self.of().noun);
        async move { job.kill(signal).await }
    }
}}
