//! Archives that Python gives: bytes, a path, a file that is open, or anything that gives bytes piece by piece. What raises while it is
//! read ends the call, and the caller gets that exception itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use tokio::io::AsyncReadExt;

use crate::archives::handed_on;
use crate::given::bytes_of;
use crate::runtime::Home;
use crate::take::{text, type_name};

/// So much is read at once.
const PIECE: usize = 256 * 1024;

/// The exception that ended the reading of what a caller gave, and the caller gets as it is.
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) PyErr);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Raised {}

/// An archive to be read, and what was raised meanwhile.
pub(crate) struct Archive {
    bytes: ByteStream,
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl Archive {
    fn new(bytes: ByteStream) -> Self {
        Archive { bytes, raised: Arc::default() }
    }

    /// What whoever took the bytes made of them. Where reading them has raised something, that is why it failed, whatever is said of it
    /// on the way.
    ///
    /// # Errors
    /// As `taken`; with `Raised` as its source where that is so.
    pub(crate) async fn taken<T, F: Future<Output = Result<T>>>(
        self,
        taken: impl FnOnce(ByteStream) -> F,
    ) -> Result<T> {
        let result = taken(self.bytes).await;
        match self.raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(raised) => result
                .and_then(|_| Err(Error::new(ErrorKind::Unexpected, "what was given could not be read")))
                .map_err(|error| error.with_source(Raised(raised))),
            None => result,
        }
    }
}

/// The bytes of whatever was given.
pub(crate) fn archive(given: &Bound<'_, PyAny>, what: &'static str) -> PyResult<Archive> {
    if let Some(bytes) = bytes_of(given)? {
        return Ok(Archive::new(in_pieces(bytes)));
    }
    if let Some(archive) = handed_on(given)? {
        return Ok(Archive::new(archive));
    }
    if given.is_instance_of::<PyString>() {
        return Ok(Archive::new(file(text(given, what)?.into(), what)));
    }
    if given.hasattr("__fspath__")? {
        return Ok(Archive::new(file(text(&given.call_method0("__fspath__")?, what)?.into(), what)));
    }
    let (call, size) = if given.hasattr("read")? {
        (given.getattr("read")?.unbind(), Some(PIECE))
    } else if let Ok(iterator) = given.try_iter() {
        (iterator.getattr("__next__")?.unbind(), None)
    } else {
        return Err(PyTypeError::new_err(format!(
            "{what}: must be bytes, a path, an open file or an iterable of bytes, not {}",
            type_name(given)
        )));
    };
    let raised = Arc::default();
    let home = crate::error::or_raised(given.py(), Home::here(given.py()))?;
    Ok(Archive { bytes: pieces(call, size, what, Arc::clone(&raised), home), raised })
}

/// Bytes that are there, with a pause after each piece in which Ctrl-C is seen.
fn in_pieces(bytes: Bytes) -> ByteStream {
    let next = |mut rest: Bytes| async move {
        if rest.is_empty() {
            return Ok(None);
        }
        tokio::task::yield_now().await;
        let piece = rest.split_to(rest.len().min(PIECE));
        Ok(Some((piece, rest)))
    };
    stream::try_unfold(bytes, next).boxed()
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

/// Asks in this thread, which is noted meanwhile.
fn noted<T>(py: Python<'_>, home: &Home, ask: impl FnOnce() -> T) -> T {
    let readers = || home.readers.lock().unwrap_or_else(PoisonError::into_inner);
    let own: Option<u64> =
        py.import("threading").and_then(|module| module.call_method0("get_ident")).and_then(|own| own.extract()).ok();
    readers().extend(own);
    let answer = ask();
    let mut readers = readers();
    if let Some(place) = readers.iter().position(|known| Some(*known) == own) {
        readers.swap_remove(place);
    }
    answer
}

/// What calling something gives again and again: until it gives nothing, where it is asked for so much, or says that it has ended.
fn pieces(
    call: Py<PyAny>,
    size: Option<usize>,
    what: &'static str,
    raised: Arc<Mutex<Option<PyErr>>>,
    home: Arc<Home>,
) -> ByteStream {
    let next = move |call: Py<PyAny>| {
        let (raised, home) = (Arc::clone(&raised), Arc::clone(&home));
        // Python may take its time, and is not waited for where others work.
        let read = tokio::task::spawn_blocking(move || {
            let _waits = home.waits();
            if home.handle().is_err() {
                return Err(Error::new(ErrorKind::Conflict, "the interpreter is ending"));
            }
            let piece = Python::try_attach(|py| noted(py, &home, || piece(py, &call, size, what, &raised)));
            let piece = piece.unwrap_or(Ok(None));
            piece.map(|piece| piece.map(|piece| (piece, call)))
        });
        let ended = |cause| Error::new(ErrorKind::Unexpected, "what is read has ended").with_source(cause);
        async move { read.await.map_err(ended)? }
    };
    // Empty ones are passed over here, where the interpreter is not held: there may be no end of them.
    stream::try_unfold(call, next).try_filter(|piece| std::future::ready(!piece.is_empty())).boxed()
}

fn piece(
    py: Python<'_>,
    call: &Py<PyAny>,
    size: Option<usize>,
    what: &'static str,
    raised: &Mutex<Option<PyErr>>,
) -> Result<Option<Bytes>> {
    let fails = |error: PyErr| {
        let failed = Error::invalid(what, format!("cannot be read: {error}"));
        *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        failed
    };
    let given = match size {
        Some(size) => call.bind(py).call1((size,)),
        None => call.bind(py).call0(),
    };
    let given = match given {
        Ok(given) => given,
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => return Ok(None),
        Err(error) => return Err(fails(error)),
    };
    match bytes_of(&given).map_err(&fails)? {
        Some(bytes) if bytes.is_empty() && size.is_some() => Ok(None),
        Some(bytes) => Ok(Some(bytes)),
        None => {
            let words = format!("{what}: gave {}, not bytes", type_name(&given));
            Err(fails(PyTypeError::new_err(words)))
        }
    }
}
