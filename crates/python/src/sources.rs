//! Archives that Python gives: bytes, a path, a file that is open, or anything that gives bytes piece by piece.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use tokio::io::AsyncReadExt;

use crate::streams::handed_on;
use crate::take::{text, type_name};

/// So much is read at once.
const PIECE: usize = 256 * 1024;

/// The bytes of whatever was given.
pub(crate) fn archive(given: &Bound<'_, PyAny>, what: &'static str) -> PyResult<ByteStream> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        return Ok(stream::once(async move { Ok(bytes) }).boxed());
    }
    if let Some(archive) = handed_on(given) {
        return Ok(archive);
    }
    if given.is_instance_of::<PyString>() {
        return Ok(file(text(given, what)?.into(), what));
    }
    if given.hasattr("__fspath__")? {
        return Ok(file(text(&given.call_method0("__fspath__")?, what)?.into(), what));
    }
    if given.hasattr("read")? {
        return Ok(pieces(given.getattr("read")?.unbind(), Some(PIECE), what));
    }
    match given.try_iter() {
        Ok(iterator) => Ok(pieces(iterator.getattr("__next__")?.unbind(), None, what)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "{what}: must be bytes, a path, an open file or an iterable of bytes, not {}",
            type_name(given)
        ))),
    }
}

fn file(path: PathBuf, what: &'static str) -> ByteStream {
    let failed = move |path: &PathBuf, cause: std::io::Error| {
        Error::invalid(what, format!("{} cannot be read: {cause}", path.display())).with_source(cause)
    };
    let read = move |state: (PathBuf, Option<tokio::fs::File>)| async move {
        let (path, open) = state;
        let mut file = match open {
            Some(file) => file,
            None => tokio::fs::File::open(&path).await.map_err(|cause| failed(&path, cause))?,
        };
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece).await.map_err(|cause| failed(&path, cause))?;
        piece.truncate(count);
        Ok((count > 0).then(|| (Bytes::from(piece), (path, Some(file)))))
    };
    stream::try_unfold((path, None), read).boxed()
}

/// What calling something gives again and again: until it gives nothing, where it is asked for so much, or says that it has ended.
fn pieces(call: Py<PyAny>, size: Option<usize>, what: &'static str) -> ByteStream {
    let next = move |call: Py<PyAny>| async move {
        // Python may take its time, and is not waited for where others work.
        let read = tokio::task::spawn_blocking(move || {
            let piece = Python::try_attach(|py| piece(py, &call, size, what)).unwrap_or(Ok(None));
            piece.map(|piece| piece.map(|piece| (piece, call)))
        });
        let ended = |cause| Error::new(ErrorKind::Unexpected, "what is read has ended").with_source(cause);
        read.await.map_err(ended)?
    };
    stream::try_unfold(call, next).boxed()
}

fn piece(py: Python<'_>, call: &Py<PyAny>, size: Option<usize>, what: &'static str) -> Result<Option<Bytes>> {
    loop {
        let given = match size {
            Some(size) => call.bind(py).call1((size,)),
            None => call.bind(py).call0(),
        };
        let given = match given {
            Ok(given) => given,
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => return Ok(None),
            Err(error) => return Err(Error::invalid(what, format!("cannot be read: {error}")).with_source(error)),
        };
        let Ok(bytes) = given.cast::<PyBytes>() else {
            return Err(Error::invalid(what, format!("gave {}, not bytes", type_name(&given))));
        };
        match bytes.as_bytes() {
            [] if size.is_some() => return Ok(None),
            [] => {}
            bytes => return Ok(Some(Bytes::copy_from_slice(bytes))),
        }
    }
}
