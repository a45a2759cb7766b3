//! Archives that arrive: iterators over bytes, blocking and awaited, to be read as a whole or saved.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use tokio::sync::OwnedMutexGuard;

use crate::error::or_raised;
use crate::give::{Give, Plain};
use crate::given::Given;
use crate::later::{TakesBack, later_of};
use crate::session::{Of, contexts, twins};
use crate::streams::given_away;

/// The bytes of an archive as they arrive: to be iterated over, read as a whole or saved. It is a context manager that ends it.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node:
/// ...     web = node.create_container("roadstead/busybox:latest")
/// ...     with web.copy_out("/bin/sh") as archive:
/// ...         print(sum(map(len, archive)) % 512)
/// 0
#[pyclass(frozen, module = "roadstead", name = "ByteStream")]
#[derive(Debug)]
pub(crate) struct Archive(Of<Arc<Raw>>);

/// The bytes of an archive as they arrive: `roadstead.ByteStream`, whose calls are awaited.
#[pyclass(frozen, module = "roadstead.aio", name = "ByteStream")]
#[derive(Debug)]
pub(crate) struct AioArchive(Of<Arc<Raw>>);

/// The stream itself, none once it has ended; and a piece that was read for somebody who did not wait for it.
pub(crate) struct Raw(tokio::sync::Mutex<Option<ByteStream>>, Mutex<VecDeque<Bytes>>, Arc<tokio::sync::Mutex<()>>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

/// An archive that is to be handed out.
pub(crate) struct Archived(pub(crate) Of<ByteStream>);

impl Give for Archived {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Of { session, noun, awaited } = self.0;
        let noun = noun.given_away().ok_or_else(given_away)?;
        let of = Of::new(
            session,
            Arc::new(Raw(tokio::sync::Mutex::new(Some(noun)), Mutex::default(), Arc::default())),
            awaited,
        );
        Ok(if awaited { Py::new(py, AioArchive(of))?.into_any() } else { Py::new(py, Archive(of))?.into_any() })
    }
}

impl Raw {
    fn back(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(self: Arc<Self>) -> Result<Option<Bytes>> {
        let mut stream = self.0.lock().await;
        if let Some(back) = self.back().pop_front() {
            return Ok(Some(back));
        }
        let next = match stream.as_mut() {
            Some(stream) => stream.next().await.transpose(),
            None => Ok(None),
        };
        if !matches!(next, Ok(Some(_))) {
            *stream = None;
        }
        next
    }

    fn close(&self) {
        self.back().clear();
        // Whoever reads it at this moment holds it to its end.
        if let Ok(mut stream) = self.0.try_lock() {
            *stream = None;
        }
    }
}

impl TakesBack for Raw {
    fn take_back(&self, object: Py<PyAny>) {
        let bytes = Python::attach(|py| {
            object.bind(py).cast::<PyBytes>().map(|bytes| Bytes::copy_from_slice(bytes.as_bytes())).ok()
        });
        if let Some(bytes) = bytes {
            self.back().push_front(bytes);
        }
    }
}

/// A piece of an archive, or the end, and where it came from.
struct Piece(Option<Bytes>, Arc<Raw>, OwnedMutexGuard<()>);

impl Give for Piece {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0 {
            Some(bytes) => bytes.give(py),
            None => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    fn unwanted(self) {
        if let Piece(Some(bytes), raw, _turn) = self {
            raw.back().push_front(bytes);
        }
    }
}

/// The bytes of an archive that the package itself gave, to be handed on.
pub(crate) fn handed_on(given: &Bound<'_, PyAny>) -> Option<ByteStream> {
    let raw = if let Ok(archive) = given.cast::<Archive>() {
        Arc::clone(&archive.get().0.noun)
    } else {
        Arc::clone(&given.cast::<AioArchive>().ok()?.get().0.noun)
    };
    let next = |raw: Arc<Raw>| async move { Ok(Arc::clone(&raw).next().await?.map(|piece| (piece, raw))) };
    Some(futures_util::stream::try_unfold(raw, next).boxed())
}

contexts! { Archive, AioArchive {
    /// Ends it.
    |this| this.0.noun.close()
}}

impl Archive {
    fn of(&self) -> &Of<Arc<Raw>> {
        &self.0
    }
}

impl AioArchive {
    fn of(&self) -> &Of<Arc<Raw>> {
        &self.0
    }
}

twins! { Archive, AioArchive {
    /// All that is left of it, in memory.
    ///
    /// Raises what breaks it off.
    ///
    /// >>> len(web.copy_out("/bin/sh").read()) % 512
    /// 0
    fn read(&self, py) {
        let raw = Arc::clone(&self.of().noun);
        async move {
            let mut all = BytesMut::new();
            while let Some(piece) = Arc::clone(&raw).next().await? {
                all.extend_from_slice(&piece);
            }
            Ok(all.freeze())
        }
    }

    /// Writes all that is left of it into a new file, and gives the number of bytes. A file that is there is replaced once
    /// everything has arrived; what breaks off leaves it as it was.
    ///
    /// Raises what breaks it off, `InvalidInputError` when there can be no file at `path`, and `UnexpectedError` when it cannot be
    /// written to its end.
    ///
    /// >>> import pathlib, tempfile
    /// >>> with tempfile.TemporaryDirectory() as directory:
    /// ...     path = pathlib.Path(directory, "sh.tar")
    /// ...     web.copy_out("/bin/sh").save(path) == path.stat().st_size
    /// True
    fn save(&self, py; path: Given<PathBuf>) {
        let (raw, path) = (Arc::clone(&self.of().noun), path.named(py, "path")?);
        save(raw, path)
    }
}}

async fn save(raw: Arc<Raw>, path: PathBuf) -> Result<Plain<u64>> {
    use tokio::io::AsyncWriteExt;

    let failed = |cause: std::io::Error| {
        use std::io::ErrorKind as Cause;

        let words = format!("{} cannot be written: {cause}", path.display());
        let is_path = matches!(
            cause.kind(),
            Cause::InvalidFilename
                | Cause::InvalidInput
                | Cause::IsADirectory
                | Cause::NotADirectory
                | Cause::NotFound
                | Cause::PermissionDenied
                | Cause::ReadOnlyFilesystem
        );
        let error = if is_path { Error::invalid("path", words) } else { Error::new(ErrorKind::Unexpected, words) };
        error.with_source(cause)
    };
    let name = path.file_name().ok_or_else(|| Error::invalid("path", "names no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = async {
        let mut file = tokio::fs::File::create(&beside).await.map_err(failed)?;
        let mut count = 0_u64;
        while let Some(piece) = Arc::clone(&raw).next().await? {
            file.write_all(&piece).await.map_err(failed)?;
            count += u64::try_from(piece.len()).unwrap_or_default();
        }
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&beside, &path).await.map_err(failed)?;
        Ok(Plain(count))
    };
    // Also when this is given up: the file beside it goes.
    let mut left = Beside(Some(beside.clone()));
    let written = written.await;
    if written.is_ok() {
        left.0 = None;
    }
    written
}

/// A file that goes unless it was moved.
struct Beside(Option<PathBuf>);

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[pymethods]
impl Archive {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        or_raised(py, self.0.session.check())?;
        let piece = crate::wait::wait_for(py, &self.0.session.home, Arc::clone(&self.0.noun).next())?;
        piece.map(|piece| piece.give(py)).transpose()
    }
}

#[pymethods]
impl AioArchive {
    fn __aiter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        or_raised(py, self.0.session.check())?;
        let raw = Arc::clone(&self.0.noun);
        let back = Some(Arc::clone(&raw) as Arc<dyn TakesBack>);
        let next = async move {
            let turn = Arc::clone(&raw.2).lock_owned().await;
            let piece = Arc::clone(&raw).next().await?;
            Ok(Piece(piece, raw, turn))
        };
        later_of(py, &self.0.session.home, next, back)
    }
}
