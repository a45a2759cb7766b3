//! Archives that arrive: iterators over bytes, blocking and awaited, to be read as a whole or saved.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::error::or_raised;
use crate::give::Give;
use crate::given::Given;
use crate::later::{TakesBack, later_of, never_raised};
use crate::saves::save;
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

/// Where an archive comes from, and what was read of it for somebody who did not wait for it.
pub(crate) struct Raw {
    source: tokio::sync::Mutex<Source>,
    /// In order, each with where it begins.
    back: Mutex<VecDeque<At>>,
    /// Where the next piece of the source begins.
    position: AtomicU64,
    /// Somebody has taken some of it for himself and did not come to its end.
    torn: AtomicBool,
    /// Held by whoever reads, from beginning to end.
    turn: Arc<tokio::sync::Mutex<()>>,
    closed: watch::Sender<bool>,
}

/// A piece, and where it begins.
type At = (u64, Bytes);

enum Source {
    Open(ByteStream),
    Ended,
    /// What broke it off is told again, so that nobody takes the rest for the end.
    Broken(ErrorKind, String),
}

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
        let of = Of::new(session, Arc::new(Raw::new(noun)), awaited);
        Ok(if awaited { Py::new(py, AioArchive(of))?.into_any() } else { Py::new(py, Archive(of))?.into_any() })
    }
}

impl Raw {
    fn new(stream: ByteStream) -> Self {
        Raw {
            source: tokio::sync::Mutex::new(Source::Open(stream)),
            back: Mutex::default(),
            position: AtomicU64::new(0),
            torn: AtomicBool::new(false),
            turn: Arc::default(),
            closed: watch::Sender::new(false),
        }
    }

    fn back(&self) -> MutexGuard<'_, VecDeque<At>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to its place: those who were cancelled come in any order.
    fn put_back(&self, (position, bytes): At) {
        if bytes.is_empty() {
            return;
        }
        let mut back = self.back();
        let place = back.partition_point(|(known, _)| *known < position);
        back.insert(place, (position, bytes));
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// The next piece, for whoever has the turn; none at the end, and once it was closed. It may be given up.
    async fn next(&self) -> Result<Option<At>> {
        if self.is_closed() {
            return Ok(None);
        }
        if self.torn.load(Ordering::SeqCst) {
            let words = "a part of the archive was taken by a call that did not come to its end";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        if let Some(back) = self.back().pop_front() {
            return Ok(Some(back));
        }
        let mut source = self.source.lock().await;
        let stream = match &mut *source {
            Source::Open(stream) => stream,
            Source::Ended => return Ok(None),
            Source::Broken(kind, words) => return Err(Error::new(*kind, words.clone())),
        };
        let mut closed = self.closed.subscribe();
        let next = tokio::select! {
            biased;
            next = stream.next() => next.transpose(),
            // Its sender is there for as long as this is.
            _ = closed.wait_for(|closed| *closed) => {
                *source = Source::Ended;
                return Err(closed_meanwhile());
            }
        };
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => *source = Source::Ended,
            Err(error) => *source = Source::Broken(error.kind(), error.message().to_owned()),
        }
        Ok(next?.map(|piece| (self.position.fetch_add(length(&piece), Ordering::SeqCst), piece)))
    }

    fn close(&self) {
        self.closed.send_replace(true);
        self.back().clear();
        // Whoever reads it at this moment is told.
        if let Ok(mut source) = self.source.try_lock() {
            *source = Source::Ended;
        }
    }
}

pub(crate) fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn closed_meanwhile() -> Error {
    Error::new(ErrorKind::Conflict, "the archive was closed while it was read")
}

/// Takes bytes for somebody. What he does not get goes back to where it came from.
struct Reading {
    raw: Arc<Raw>,
    pieces: Vec<At>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.pieces.drain(..).for_each(|piece| self.raw.put_back(piece));
    }
}

/// Takes bytes away, one piece after the other, which cannot go back: what is left is no archive until the end was reached.
pub(crate) struct Taking {
    raw: Arc<Raw>,
    pub(crate) has_begun: bool,
    /// Where the next piece begins at least: who is cancelled may give back what comes before.
    position: u64,
    _turn: OwnedMutexGuard<()>,
}

impl Taking {
    pub(crate) async fn of(raw: Arc<Raw>) -> Self {
        let turn = Arc::clone(&raw.turn).lock_owned().await;
        Taking { raw, has_begun: false, position: 0, _turn: turn }
    }

    /// None at the end, which is none where it was closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.raw.is_closed() && !self.has_begun {
            return Err(Error::new(ErrorKind::Conflict, "the archive is closed"));
        }
        let next = self.raw.next().await;
        if let Ok(Some(piece)) = &next
            && piece.0 < self.position
        {
            self.raw.put_back(piece.clone());
            let words =
                "a part of the archive came back from a call that was given up, while what follows it was taken";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        // What broke it off is told again by itself.
        self.has_begun = matches!(next, Ok(Some(_)));
        match next? {
            None if self.raw.is_closed() => Err(closed_meanwhile()),
            None => Ok(None),
            Some((position, piece)) => {
                self.position = position + length(&piece);
                Ok(Some(piece))
            }
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if self.has_begun {
            self.raw.torn.store(true, Ordering::SeqCst);
        }
    }
}

/// All that is left of it, or some: at most so many bytes, and none only at the end.
async fn read(to: Arc<Handing>, most: Option<usize>) -> Result<Piece> {
    let raw = &to.raw;
    let turn = Arc::clone(&raw.turn).lock_owned().await;
    let mut reading = Reading { raw: Arc::clone(raw), pieces: Vec::new() };
    if most == Some(0) {
        return Ok(to.piece((0, Bytes::new()), turn));
    }
    while let Some((position, mut piece)) = raw.next().await? {
        if piece.is_empty() {
            continue;
        }
        if let Some(most) = most {
            if piece.len() > most {
                let rest = piece.split_off(most);
                raw.put_back((position + length(&piece), rest));
            }
            return Ok(to.piece((position, piece), turn));
        }
        reading.pieces.push((position, piece));
    }
    if raw.is_closed() && !reading.pieces.is_empty() {
        return Err(closed_meanwhile());
    }
    // Some may have come back meanwhile.
    reading.pieces.sort_by_key(|(position, _)| *position);
    let position = reading.pieces.first().map_or(0, |(position, _)| *position);
    let mut all = BytesMut::with_capacity(reading.pieces.iter().map(|(_, piece)| piece.len()).sum());
    reading.pieces.drain(..).for_each(|(_, piece)| all.extend_from_slice(&piece));
    Ok(to.piece((position, all.freeze()), turn))
}

/// The next piece, none at the end.
async fn piece(to: Arc<Handing>) -> Result<Next> {
    let turn = Arc::clone(&to.raw.turn).lock_owned().await;
    let piece = to.raw.next().await?;
    Ok(Next(piece.map(|piece| to.piece(piece, turn))))
}

/// Hands bytes to somebody, and takes them back when he is cancelled before they have reached him.
struct Handing {
    raw: Arc<Raw>,
    /// Where what is on its way begins.
    position: AtomicU64,
}

impl Handing {
    fn of(raw: &Arc<Raw>) -> Arc<Self> {
        Arc::new(Handing { raw: Arc::clone(raw), position: AtomicU64::new(0) })
    }

    fn piece(self: &Arc<Self>, (position, bytes): At, turn: OwnedMutexGuard<()>) -> Piece {
        self.position.store(position, Ordering::SeqCst);
        Piece(bytes, Arc::clone(self), turn)
    }

    fn back(&self, bytes: Bytes) {
        self.raw.put_back((self.position.load(Ordering::SeqCst), bytes));
    }
}

/// Bytes of an archive, and who hands them out.
struct Piece(Bytes, Arc<Handing>, OwnedMutexGuard<()>);

impl Give for Piece {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.give(py)
    }

    fn unwanted(self) {
        let Piece(bytes, handing, _turn) = self;
        handing.back(bytes);
    }
}

/// The next piece of an archive, or the end.
struct Next(Option<Piece>);

impl Give for Next {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.map_or_else(|| Err(PyStopAsyncIteration::new_err(())), |piece| piece.give(py))
    }

    fn unwanted(self) {
        if let Some(piece) = self.0 {
            piece.unwanted();
        }
    }
}

impl TakesBack for Handing {
    /// What broke it off is told again anyhow.
    fn take_back(&self, py: Python<'_>, came: PyResult<Py<PyAny>>) {
        let Ok(object) = came else { return };
        if let Ok(bytes) = object.bind(py).cast::<PyBytes>() {
            self.back(Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
        }
    }
}

/// The bytes of an archive that the package itself gave, to be handed on; none where it is none.
///
/// # Errors
/// `ConflictError` where its connection is closed.
pub(crate) fn handed_on(given: &Bound<'_, PyAny>) -> PyResult<Option<ByteStream>> {
    let of = if let Ok(archive) = given.cast::<Archive>() {
        &archive.get().0
    } else if let Ok(archive) = given.cast::<AioArchive>() {
        &archive.get().0
    } else {
        return Ok(None);
    };
    or_raised(given.py(), of.session.check())?;
    let next = |(raw, taking): (Arc<Raw>, Option<Taking>)| async move {
        let mut taking = match taking {
            Some(taking) => taking,
            None => Taking::of(Arc::clone(&raw)).await,
        };
        Ok(taking.next().await?.map(|piece| (piece, (raw, Some(taking)))))
    };
    Ok(Some(futures_util::stream::try_unfold((Arc::clone(&of.noun), None), next).boxed()))
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

/// What both say of the same.
macro_rules! reads {
    ($(#[$attribute:meta])*) => {
        #[pymethods]
        impl Archive {
            $(#[$attribute])*
            #[pyo3(signature = (size = Given::of(-1_i64)), text_signature = "($self, size=-1)")]
            fn read(&self, py: Python<'_>, size: Given<i64>) -> PyResult<Py<PyAny>> {
                let most = usize::try_from(size.named(py, "size")?).ok();
                or_raised(py, self.0.session.check())?;
                crate::wait::wait(py, &self.0.session.home, read(Handing::of(&self.0.noun), most))
            }
        }

        #[pymethods]
        impl AioArchive {
            $(#[$attribute])*
            #[pyo3(signature = (size = Given::of(-1_i64)), text_signature = "($self, size=-1)")]
            fn read<'py>(&self, py: Python<'py>, size: Given<i64>) -> PyResult<Bound<'py, PyAny>> {
                let most = usize::try_from(size.named(py, "size")?).ok();
                or_raised(py, self.0.session.check())?;
                let to = Handing::of(&self.0.noun);
                later_of(py, &self.0.session.home, read(Arc::clone(&to), most), Some(to))
            }
        }
    };
}
reads! {
    /// At most `size` bytes of it, none only at its end; all that is left, in memory, when `size` is negative or not given. So it can be
    /// read by what takes an open file, such as `tarfile.open(fileobj=…, mode="r|")`.
    ///
    /// Raises what breaks it off, also again, and `ConflictError` when it is closed meanwhile, or when a part of it was taken by a call
    /// that did not come to its end, such as a `save` that was cancelled.
    ///
    /// >>> import tarfile
    /// >>> with tarfile.open(fileobj=web.copy_out("/bin/sh"), mode="r|") as archive:
    /// ...     archive.getnames()
    /// ['sh']
}

twins! { Archive, AioArchive {
    /// Writes all that is left of it into a new file, and gives the number of bytes. A file that is there is replaced once
    /// everything has arrived; what breaks off leaves it as it was.
    ///
    /// Raises what breaks it off, `InvalidInputError` when there can be no file at `path`, `UnexpectedError` when it cannot be
    /// written to its end, and `ConflictError` when it is closed, or a part of it was taken by a call that did not come to its end.
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

#[pymethods]
impl Archive {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        or_raised(py, self.0.session.check())?;
        crate::wait::wait_and(py, &self.0.session.home, piece(Handing::of(&self.0.noun)), |next| {
            next.0.map(|piece| piece.give(py)).transpose()
        })
    }
}

#[pymethods]
impl AioArchive {
    fn __aiter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (to, session) = (Handing::of(&self.0.noun), Arc::clone(&self.0.session));
        let next = piece(Arc::clone(&to));
        let work = async move {
            session.check()?;
            next.await
        };
        never_raised(py, later_of(py, &self.0.session.home, work, Some(to)))
    }
}
