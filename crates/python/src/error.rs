//! Errors as exceptions: the classes are those of the one table, and are defined in `roadstead/_errors.py`.

use std::error::Error as _;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use roadstead_core::{Error, ErrorKind, Retry};

use crate::sources::Raised;

static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn errors(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    Ok(ERRORS.get_or_try_init(py, || py.import("roadstead._errors").map(Bound::unbind))?.bind(py))
}

const fn advice(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Safe => "safe",
        _ => "unknown",
    }
}

/// The exception for an error; where what the caller gave has raised one, that one.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    if let Some(Raised(own)) = error.source().and_then(|source| source.downcast_ref()) {
        return own.clone_ref(py);
    }
    let made = || -> PyResult<PyErr> {
        let class = errors(py)?.getattr(error.kind().row().python)?.cast_into::<PyType>()?;
        let exception = class.call1((
            error.to_string(),
            error.kind().row().code,
            advice(error.retry()),
            error.field(),
            error.resource(),
            error.node(),
            error.operation(),
        ))?;
        Ok(PyErr::from_value(exception))
    };
    made().unwrap_or_else(|failed| failed)
}

static ENDING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Makes the exception for whoever still calls while the interpreter ends: making one then is Python's work, from which a thread may not
/// come back any more.
pub(crate) fn prepare_for_the_end(py: Python<'_>) {
    let words = Error::new(ErrorKind::Conflict, "the interpreter is ending");
    ENDING.get_or_init(py, || raised(py, &words).into_value(py).into_any());
}

/// That exception, once it is made.
pub(crate) fn ending(py: Python<'_>) -> Option<PyErr> {
    ENDING.get(py).map(|made| PyErr::from_value(made.bind(py).clone()))
}

/// What a call into the library gives, or its exception.
pub(crate) fn or_raised<T>(py: Python<'_>, result: roadstead_core::Result<T>) -> PyResult<T> {
    result.map_err(|error| ending(py).unwrap_or_else(|| raised(py, &error)))
}
