//! What arrives over time: iterators, blocking and awaited.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use roadstead_core::{ByteStream, Error, ErrorKind, ItemStream, Result};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::AbortHandle;

use crate::error::or_raised;
use crate::give::{Give, Plain};
use crate::later::{TakesBack, later_of};
use crate::session::{Of, contexts, twins};

/// So many are read ahead at most.
const AHEAD: usize = 256;

/// Something of a stream, whatever its type.
trait Item: Send {
    fn hand(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

impl<T: Give> Item for T {
    fn hand(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.give(py)
    }
}

type Taken = Result<Box<dyn Item>>;

/// A stream that a task of the runtime reads ahead of whoever asks: what brings its bytes and what takes them then mostly run on one
/// thread, one after the other, and need not wake each other across threads for each item.
#[derive(Debug)]
pub(crate) struct Flow {
    ahead: Arc<Ahead>,
    reading: AbortHandle,
}

#[derive(Default)]
struct Ahead {
    read: Mutex<Read>,
    /// There is something to take, or nothing will come any more.
    is_there: Notify,
    /// There is room again.
    is_room: Notify,
    /// Held from taking an item until it is handed out or has gone back, so that the next one is not taken before it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Read {
    items: VecDeque<Taken>,
    has_ended: bool,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the end, never further ahead than there is room.
    async fn read(self: Arc<Self>, mut stream: BoxStream<'static, Taken>) {
        loop {
            let next = stream.next().await;
            let room = self.is_room.notified();
            let is_full = {
                let mut read = self.lock();
                if read.has_ended {
                    // Somebody has ended it meanwhile.
                    return;
                }
                // After an error nothing comes that could be trusted to follow.
                read.has_ended |= !matches!(next, Some(Ok(_)));
                read.items.extend(next);
                if read.has_ended {
                    drop(read);
                    self.is_there.notify_waiters();
                    return;
                }
                read.items.len() >= AHEAD
            };
            self.is_there.notify_waiters();
            if is_full {
                room.await;
            }
        }
    }

    /// The next one that is there already. The second is whether nothing will come any more.
    fn take(&self) -> (Option<Taken>, bool) {
        let mut read = self.lock();
        let taken = read.items.pop_front();
        if taken.is_some() && read.items.len() < AHEAD / 2 {
            self.is_room.notify_one();
        }
        (taken, read.has_ended)
    }

    /// The next one; none at the end. Nothing is lost, and nothing changes its place, when this or what it gives is dropped.
    async fn next(self: Arc<Self>) -> Next {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        loop {
            let mut there = pin!(self.is_there.notified());
            // From now on it hears what is told.
            there.as_mut().enable();
            match self.take() {
                (Some(taken), _) => return taken.map(|item| Found(Some(item), Arc::clone(&self), turn)),
                (None, true) => return Ok(Found(None, Arc::clone(&self), turn)),
                (None, false) => there.await,
            }
        }
    }
}

impl TakesBack for Ahead {
    fn take_back(&self, object: Py<PyAny>) {
        self.lock().items.push_front(Ok(Box::new(Own(object))));
        self.is_there.notify_waiters();
    }
}

impl Flow {
    fn new<T: Give + 'static>(stream: ItemStream<T>, on: &Handle) -> Arc<Self> {
        let items = stream.map(|item| item.map(|item| Box::new(item) as Box<dyn Item>)).boxed();
        let ahead = Arc::new(Ahead::default());
        let reading = on.spawn(Arc::clone(&ahead).read(items)).abort_handle();
        Arc::new(Flow { ahead, reading })
    }

    fn next(&self) -> impl Future<Output = Next> + Send + use<> {
        Arc::clone(&self.ahead).next()
    }

    fn has_ended(&self) -> bool {
        let read = self.ahead.lock();
        read.has_ended && read.items.is_empty()
    }

    /// Ends it: whoever waits for the next one gets none.
    fn close(&self) {
        self.reading.abort();
        {
            let mut read = self.ahead.lock();
            read.has_ended = true;
            read.items.clear();
        }
        self.ahead.is_there.notify_waiters();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// An item that was found, or the end, and where it came from.
struct Found(Option<Box<dyn Item>>, Arc<Ahead>, OwnedMutexGuard<()>);
type Next = Result<Found>;

impl Give for Found {
    /// The end is told as awaited iterators tell it; blocking ones ask before.
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0 {
            Some(item) => item.hand(py),
            None => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    fn unwanted(self) {
        if let Found(Some(item), ahead, _turn) = self {
            ahead.lock().items.push_front(Ok(item));
            ahead.is_there.notify_waiters();
        }
    }
}

/// Items as they arrive. It is an iterator, and a context manager that ends it.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node, node.events() as events:
/// ...     web = node.create_container("roadstead/busybox:latest", name="web")
/// ...     print(next(events).action)
/// created
#[pyclass(frozen, module = "roadstead", name = "Stream", generic)]
#[derive(Debug)]
pub(crate) struct Stream(Of<Arc<Flow>>);

/// Items as they arrive. It is an asynchronous iterator, and an asynchronous context manager that ends it.
#[pyclass(frozen, module = "roadstead.aio", name = "Stream", generic)]
#[derive(Debug)]
pub(crate) struct AioStream(Of<Arc<Flow>>);

fn ended() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("the stream is given away")
}

/// A stream that is to be handed out.
pub(crate) struct Streamed<T>(pub(crate) Of<ItemStream<T>>);

impl<T: Give + 'static> Give for Streamed<T> {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Of { session, noun, awaited } = self.0;
        let noun = noun.given_away().ok_or_else(ended)?;
        let flow = Flow::new(noun, or_raised(py, session.home.handle())?);
        let of = Of::new(session, flow, awaited);
        Ok(if awaited { Py::new(py, AioStream(of))?.into_any() } else { Py::new(py, Stream(of))?.into_any() })
    }
}

fn next_of(of: &Of<Arc<Flow>>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    let found = match of.noun.ahead.take() {
        (Some(taken), _) => Some(or_raised(py, taken)?),
        (None, true) => None,
        (None, false) => {
            or_raised(py, of.session.check())?;
            crate::wait::wait_for(py, &of.session.home, of.noun.next())?.0
        }
    };
    found.map(|item| item.hand(py)).transpose()
}

#[pymethods]
impl Stream {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        next_of(&self.0, py)
    }
}

#[pymethods]
impl AioStream {
    fn __aiter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if !self.0.noun.has_ended() {
            or_raised(py, self.0.session.check())?;
        }
        let back = Arc::clone(&self.0.noun.ahead) as Arc<dyn TakesBack>;
        later_of(py, &self.0.session.home, self.0.noun.next(), Some(back))
    }
}

contexts! { Stream, AioStream {
    /// Ends it. What had arrived and was not taken is dropped; ending it twice does nothing.
    |this| this.0.noun.close()
}}

contexts! { Archive, AioArchive {
    /// Ends it.
    |this| this.0.noun.close()
}}

/// An object of Python's that is handed back.
pub(crate) struct Own(pub(crate) Py<PyAny>);

impl Give for Own {
    fn give(self, _: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.0)
    }
}

/// The bytes of an archive as they arrive: to be iterated over, read as a whole or saved.
#[pyclass(frozen, module = "roadstead", name = "ByteStream")]
#[derive(Debug)]
pub(crate) struct Archive(Of<Arc<Raw>>);

/// The bytes of an archive as they arrive: to be iterated over, read as a whole or saved.
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
        let noun = noun.given_away().ok_or_else(ended)?;
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
    /// Raises what breaks it off, and `UnexpectedError` when the file cannot be written.
    fn save(&self, py; path: std::path::PathBuf) {
        let raw = Arc::clone(&self.of().noun);
        save(raw, path)
    }
}}

async fn save(raw: Arc<Raw>, path: std::path::PathBuf) -> Result<Plain<u64>> {
    use tokio::io::AsyncWriteExt;

    let failed = |cause: std::io::Error| {
        let words = format!("{} cannot be written: {cause}", path.display());
        Error::new(ErrorKind::Unexpected, words).with_source(cause)
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
struct Beside(Option<std::path::PathBuf>);

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
