//! Jobs: commands that run over time and end.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::StreamExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};
use roadstead_core::{Error, Job as CoreJob, OutputKind, OutputOptions, Signal, TerminalSize};

use crate::give::{Give, Plain};
use crate::given::{Given, bytes, maybe};
use crate::session::{Of, twins};
use crate::streams::Streamed;
use crate::take;

/// Waiting for longer than a day is done by waiting again.
pub(crate) const WAIT_MAX: f64 = 86_400.0;

/// A command that runs over time and ends. It goes on whoever waits for it.
///
/// What its calls raise beside what each of them says: as those of `Container`.
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

/// A command that runs over time and ends: `roadstead.Job`, whose calls are awaited.
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
fn kinds(py: Python<'_>, given: Option<Given<String>>) -> PyResult<Option<OutputKind>> {
    let given = maybe(py, given, "kind")?;
    let kind = match given.as_deref() {
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
    if given.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("signal: must be a str or an int, not bool"));
    }
    // An enumeration's member, as those of `signal`, is its number.
    let text = match given.is_instance_of::<PyInt>() {
        true => given.extract::<Given<i64>>()?.named(given.py(), "signal")?.to_string(),
        false => take::text(given, "signal")?,
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
    ///
    /// Raises `NotFoundError` when it is not kept any more.
    ///
    /// >>> job = web.run(["sleep", "60"])
    /// >>> job.status().state.value
    /// 'running'
    fn status(&self, py) {
        let job = Arc::clone(&self.of().noun);
        async move { job.status().await.map(Plain) }
    }

    /// Waits until it has ended, at most `timeout` seconds (at most a day), and gives its last status.
    ///
    /// Raises `DeadlineExceededError` when the time is over; the job goes on.
    ///
    /// >>> web.run(["sh", "-c", "exit 3"]).wait(timeout=10).exit_code
    /// 3
    #[pyo3(signature = (*, timeout = 60.0))]
    fn wait(&self, py; #[pyo3(from_py_with = take::number)] timeout: f64) {
        let (job, deadline) = (Arc::clone(&self.of().noun), take::seconds(py, timeout, "timeout", WAIT_MAX)?);
        async move { job.wait(deadline).await.map(Plain) }
    }

    /// The bytes that are kept of its output, in order: of one stream ("stdout", "stderr", or "console" where it has a
    /// terminal), or of all. The last mebibyte is kept, and `status().output_dropped_bytes` tells how much went before it.
    ///
    /// Raises `NotFoundError` when it is not kept any more.
    ///
    /// >>> job = web.run(["sh", "-c", "echo out; echo err >&2"])
    /// >>> status = job.wait(timeout=10)
    /// >>> job.output("stderr")
    /// b'err\n'
    #[pyo3(signature = (kind = None))]
    fn output(&self, py; kind: Option<Given<String>>) {
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
    /// comes until it ends. Whoever takes them more slowly than they come misses some, whose numbers are missing then.
    ///
    /// Raises `NotFoundError` when it is not kept any more; what breaks it off raises while it is read.
    ///
    /// >>> job = web.run(["echo", "hello"])
    /// >>> [chunk.data for chunk in job.chunks(follow=True)]
    /// [b'hello\n']
    #[pyo3(
        signature = (*, after = Given::of(0_u64), follow = false),
        text_signature = "($self, *, after=0, follow=False)"
    )]
    fn chunks(&self, py; after: Given<u64>, follow: bool) {
        let of = self.of().clone();
        let options = if follow { OutputOptions::follow() } else { OutputOptions::kept() }.after(after.named(py, "after")?);
        async move {
            let chunks = of.noun.output(options).await?;
            Ok(Streamed(of.with(chunks)))
        }
    }

    /// Writes to its standard input, in order.
    ///
    /// Raises `ConflictError` when it has none, it is closed, or the job has ended.
    ///
    /// >>> job = web.run(["cat"], stdin=True)
    /// >>> job.write_stdin(b"hello")
    /// >>> job.close_stdin()
    /// >>> job.wait(timeout=10).exit_code, job.output()
    /// (0, b'hello')
    fn write_stdin(&self, py; data: &Bound<'_, PyAny>) {
        let (job, data) = (Arc::clone(&self.of().noun), bytes(data, "data")?);
        async move { job.write_stdin(data).await }
    }

    /// Closes its standard input; closing it twice, or what it does not have, does nothing.
    ///
    /// Raises `UnavailableError` when the connection is broken.
    ///
    /// >>> job = web.run(["cat"], stdin=True)
    /// >>> job.close_stdin()
    /// >>> job.wait(timeout=10).exit_code
    /// 0
    fn close_stdin(&self, py) {
        let job = Arc::clone(&self.of().noun);
        async move { job.close_stdin().await }
    }

    /// Sets the size of its terminal.
    ///
    /// Raises `ConflictError` when it has none.
    ///
    /// >>> job = web.run(["sleep", "60"], tty=True)
    /// >>> job.resize(120, 40)
    fn resize(&self, py; columns: Given<u16>, rows: Given<u16>) {
        let size = TerminalSize { columns: columns.named(py, "columns")?, rows: rows.named(py, "rows")? };
        let job = Arc::clone(&self.of().noun);
        async move { job.resize(size).await }
    }

    /// Sends it a signal, by name or number. One that has ended stays as it is.
    ///
    /// Raises `InvalidInputError` for what is no signal.
    ///
    /// >>> job = web.run(["sleep", "60"])
    /// >>> job.kill()
    /// >>> job.wait(timeout=10).exit_code
    /// 137
    #[pyo3(signature = (signal = None))]
    fn kill(&self, py; signal: Option<&Bound<'_, PyAny>>) {
        let signal = signal.map(self::signal).transpose()?.unwrap_or(Signal::KILL);
        let job = Arc::clone(&self.of().noun);
        async move { job.kill(signal).await }
    }
}}
