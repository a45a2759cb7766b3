//! What is attached to a container's main process: its output, and its input where that was asked for.

use std::sync::Arc;

use pyo3::prelude::*;
use roadstead_core::{Attachment as CoreAttachment, InputSink, OutputChunk};

use crate::give::Give;
use crate::given::bytes;
use crate::session::{Of, twins};
use crate::streams::Streamed;

type Input = Arc<tokio::sync::Mutex<Option<Box<dyn InputSink>>>>;

/// The streams of a main process: its output, and its input where that was asked for.
#[pyclass(frozen, module = "roadstead", name = "Attachment")]
#[derive(Debug)]
pub(crate) struct Attachment {
    input: Of<Input>,
    /// Its output as it arrives.
    #[pyo3(get)]
    output: Py<PyAny>,
}

/// The streams of a main process: `roadstead.Attachment`, whose calls are awaited.
#[pyclass(frozen, module = "roadstead.aio", name = "Attachment")]
#[derive(Debug)]
pub(crate) struct AioAttachment {
    input: Of<Input>,
    /// Its output as it arrives.
    #[pyo3(get)]
    output: Py<PyAny>,
}

/// An attachment that is to be handed out.
pub(crate) struct Attached {
    output: Streamed<OutputChunk>,
    input: Of<Input>,
}

impl Attached {
    pub(crate) fn new<T>(of: &Of<T>, attached: CoreAttachment) -> Self {
        let input = of.with(Arc::new(tokio::sync::Mutex::new(attached.input)));
        Attached { output: Streamed(of.with(attached.output)), input }
    }
}

impl Give for Attached {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (input, output) = (self.input, self.output.give(py)?);
        Ok(if input.awaited {
            Py::new(py, AioAttachment { input, output })?.into_any()
        } else {
            Py::new(py, Attachment { input, output })?.into_any()
        })
    }
}

impl Attachment {
    fn of(&self) -> &Of<Input> {
        &self.input
    }
}

impl AioAttachment {
    fn of(&self) -> &Of<Input> {
        &self.input
    }
}

fn no_input() -> roadstead_core::Error {
    roadstead_core::Error::new(roadstead_core::ErrorKind::Conflict, "its standard input is not attached, or closed")
}

twins! { Attachment, AioAttachment {
    /// Writes to the standard input of the main process.
    ///
    /// Raises `ConflictError` when it was not attached, or is closed.
    ///
    /// >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
    /// >>> made.start()
    /// >>> attached = made.attach(stdin=True)
    /// >>> attached.write(b"hello")
    /// >>> next(attached.output).data
    /// b'hello'
    fn write(&self, py; data: &Bound<'_, PyAny>) {
        let (input, data) = (Arc::clone(&self.of().noun), bytes(data, "data")?);
        async move { input.lock().await.as_mut().ok_or_else(no_input)?.write(data).await }
    }

    /// Closes the standard input of the main process; closing it twice does nothing.
    ///
    /// Raises `UnavailableError` when the connection is broken.
    ///
    /// >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
    /// >>> made.start()
    /// >>> made.attach(stdin=True).close_input()
    /// >>> made.wait(timeout=10).exit_code
    /// 0
    fn close_input(&self, py) {
        let input = Arc::clone(&self.of().noun);
        async move {
            match input.lock().await.take() {
                Some(mut input) => input.close().await,
                None => Ok(()),
            }
        }
    }
}}
