//! Arguments that Python itself would refuse without a name: numbers that do not fit, texts that are none, bytes of several kinds.
//! They are taken as they are, and refused by name.

use bytes::Bytes;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use roadstead_core::Error;

use crate::error::raised;
use crate::take::{not_unicode, type_name};

/// An argument of the right type, whose value may be none that fits.
pub(crate) struct Given<T>(Result<T, Unfit>);

#[derive(Clone, Copy)]
enum Unfit {
    Number,
    Text,
}

impl<T> Given<T> {
    /// Where nothing was given.
    pub(crate) fn of(value: impl Into<T>) -> Self {
        Given(Ok(value.into()))
    }

    /// The value of what is called `what`.
    ///
    /// # Errors
    /// `InvalidInputError` that names it.
    pub(crate) fn named(self, py: Python<'_>, what: &str) -> PyResult<T> {
        self.0.map_err(|unfit| match unfit {
            Unfit::Number => raised(py, &Error::invalid(what, "is out of range")),
            Unfit::Text => not_unicode(py, what),
        })
    }
}

/// The same, of what may be left out.
pub(crate) fn maybe<T>(py: Python<'_>, given: Option<Given<T>>, what: &str) -> PyResult<Option<T>> {
    given.map(|given| given.named(py, what)).transpose()
}

impl<'a, 'py, T: FromPyObject<'a, 'py, Error: Into<PyErr>>> FromPyObject<'a, 'py> for Given<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        match object.extract::<T>().map_err(Into::into) {
            Ok(value) => Ok(Given(Ok(value))),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => Ok(Given(Err(Unfit::Number))),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(py) => Ok(Given(Err(Unfit::Text))),
            Err(error) => Err(error),
        }
    }
}

/// Bytes: `bytes` themselves, which are not copied, or what looks at some or can be changed, which is.
pub(crate) fn bytes_of(given: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Some(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))));
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Ok(Some(bytes.to_vec().into()));
    }
    if given.is_instance_of::<PyMemoryView>() {
        let bytes = given.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        return Ok(Some(Bytes::from_owner(PyBackedBytes::from(bytes))));
    }
    Ok(None)
}

/// The same, of what must be some.
pub(crate) fn bytes(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Bytes> {
    bytes_of(given)?.ok_or_else(|| {
        PyTypeError::new_err(format!("{what}: must be bytes, a bytearray or a memoryview, not {}", type_name(given)))
    })
}
