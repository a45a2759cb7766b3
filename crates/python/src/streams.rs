//! What arrives over time, item by item: iterators, blocking and awaited.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::AbortHandle;

use crate::error::or_raised;
use crate::give::Give;
use crate::job::WAIT_MAX;
use crate::later::{TakesBack, later_of};
use crate::session::{Of, contexts};
use crate::take;

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
        // The end, which will be told again.
        if Python::attach(|py| object.is_none(py)) {
            return;
        }
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

    /// Refuses to wait when nothing can come any more that has not come.
    fn check(&self, py: Python<'_>, of: &Of<Arc<Flow>>) -> PyResult<()> {
        if self.has_ended() { Ok(()) } else { or_raised(py, of.session.check()) }
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

/// Items as they arrive. It is an iterator, and a context manager that ends it. Iterating waits for as long as it is open; `next` waits for
/// a time. What breaks it off raises once all that came before was taken.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node, node.events() as events:
/// ...     web = node.create_container("roadstead/busybox:latest", name="web")
/// ...     print(next(events).action)
/// created
#[pyclass(frozen, module = "roadstead", name = "Stream", generic)]
#[derive(Debug)]
pub(crate) struct Stream(Of<Arc<Flow>>);

/// Items as they arrive: an asynchronous iterator, and an asynchronous context manager that ends it.
///
/// >>> import asyncio
/// >>> from roadstead import aio
/// >>> async def main():
/// ...     async with aio.connect("memory:") as node, await node.events() as events:
/// ...         web = await node.create_container("roadstead/busybox:latest", name="web")
/// ...         async for event in events:
/// ...             print(event.action)
/// ...             break
/// >>> asyncio.run(main())
/// created
#[pyclass(frozen, module = "roadstead.aio", name = "Stream", generic)]
#[derive(Debug)]
pub(crate) struct AioStream(Of<Arc<Flow>>);

pub(crate) fn given_away() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("the stream is given away")
}

/// A stream that is to be handed out.
pub(crate) struct Streamed<T>(pub(crate) Of<ItemStream<T>>);

impl<T: Give + 'static> Give for Streamed<T> {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Of { session, noun, awaited } = self.0;
        let noun = noun.given_away().ok_or_else(given_away)?;
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

/// The next item, or None at the end, for whoever waits for a time only.
struct Perhaps(Found);

impl Give for Perhaps {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0.0 {
            Some(item) => item.hand(py),
            None => Ok(py.None()),
        }
    }

    fn unwanted(self) {
        self.0.unwanted();
    }
}

async fn within(deadline: Duration, next: impl Future<Output = Next>) -> Result<Perhaps> {
    let over = |_| Error::new(ErrorKind::DeadlineExceeded, "nothing came in time; the stream goes on");
    tokio::time::timeout(deadline, next).await.map_err(over)?.map(Perhaps)
}

/// What both say of the same.
macro_rules! next_within {
    ($(#[$attribute:meta])*) => {
        #[pymethods]
        impl Stream {
            $(#[$attribute])*
            #[pyo3(signature = (*, timeout = 60.0))]
            fn next(&self, py: Python<'_>, timeout: f64) -> PyResult<Py<PyAny>> {
                let deadline = take::seconds(py, timeout, "timeout", WAIT_MAX)?;
                self.0.noun.check(py, &self.0)?;
                crate::wait::wait(py, &self.0.session.home, within(deadline, self.0.noun.next()))
            }
        }

        #[pymethods]
        impl AioStream {
            $(#[$attribute])*
            #[pyo3(signature = (*, timeout = 60.0))]
            fn next<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyAny>> {
                let deadline = take::seconds(py, timeout, "timeout", WAIT_MAX)?;
                self.0.noun.check(py, &self.0)?;
                let back = Arc::clone(&self.0.noun.ahead) as Arc<dyn TakesBack>;
                later_of(py, &self.0.session.home, within(deadline, self.0.noun.next()), Some(back))
            }
        }
    };
}
next_within! {
    /// The next item, waited for at most `timeout` seconds (at most a day); None when the stream has ended.
    ///
    /// Raises `DeadlineExceededError` when nothing came in time; the stream goes on, and nothing of it is lost.
    ///
    /// >>> with node.events() as events:
    /// ...     web.rename("site")
    /// ...     events.next(timeout=10).action.value
    /// 'renamed'
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
        self.0.noun.check(py, &self.0)?;
        let back = Arc::clone(&self.0.noun.ahead) as Arc<dyn TakesBack>;
        later_of(py, &self.0.session.home, self.0.noun.next(), Some(back))
    }
}

contexts! { Stream, AioStream {
    /// Ends it. What had arrived and was not taken is dropped; ending it twice does nothing.
    |this| this.0.noun.close()
}}

/// An object of Python's that is handed back.
pub(crate) struct Own(pub(crate) Py<PyAny>);

impl Give for Own {
    fn give(self, _: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.0)
    }
}
