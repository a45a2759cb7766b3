//! What arrives over time, item by item: iterators, blocking and awaited.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
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
use crate::later::{TakesBack, later_of, never_raised};
use crate::session::{Of, Session, contexts};
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

/// What was to be raised, and comes back.
struct Raises(PyErr);

impl Item for Raises {
    fn hand(self: Box<Self>, _: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.0)
    }
}

type Taken = Result<Box<dyn Item>>;

/// Something of a stream, and its number.
type Numbered = (u64, Taken);

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
    items: VecDeque<Numbered>,
    /// So many have come so far.
    count: u64,
    has_ended: bool,
    /// By whoever has it: nothing of it is given any more.
    is_closed: bool,
}

impl Read {
    fn came(&mut self, item: Taken) {
        self.count += 1;
        self.items.push_back((self.count, item));
    }

    /// Back to its place among those that came back before, or were not taken.
    fn back(&mut self, number: u64, item: Taken) {
        let place = self.items.partition_point(|(known, _)| *known < number);
        self.items.insert(place, (number, item));
    }
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
                if let Some(next) = next {
                    read.came(next);
                }
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
    fn take(&self) -> (Option<Numbered>, bool) {
        let mut read = self.lock();
        let taken = read.items.pop_front();
        if taken.is_some() && read.items.len() < AHEAD / 2 {
            self.is_room.notify_one();
        }
        (taken, read.has_ended)
    }
}

/// Takes one item of a stream for somebody, and takes it back when he is cancelled before it has reached him.
struct Taking {
    flow: Arc<Flow>,
    /// Which one was found, for as long as it is on its way.
    number: AtomicU64,
}

impl Taking {
    fn of(flow: &Arc<Flow>) -> Arc<Self> {
        Arc::new(Taking { flow: Arc::clone(flow), number: AtomicU64::new(0) })
    }

    /// The next one; none at the end. Nothing is lost, and nothing changes its place, when this or what it gives is dropped.
    async fn next(self: Arc<Self>) -> Result<Found> {
        let ahead = &self.flow.ahead;
        let turn = Arc::clone(&ahead.turn).lock_owned().await;
        loop {
            let mut there = pin!(ahead.is_there.notified());
            // From now on it hears what is told.
            there.as_mut().enable();
            match ahead.take() {
                (Some((number, taken)), _) => {
                    self.number.store(number, Ordering::SeqCst);
                    return Ok(Found(Some(taken), Arc::clone(&self), turn));
                }
                (None, true) => return Ok(Found(None, Arc::clone(&self), turn)),
                (None, false) => there.await,
            }
        }
    }

    fn back(&self, item: Taken) {
        let mut read = self.flow.ahead.lock();
        if read.is_closed {
            return;
        }
        read.back(self.number.load(Ordering::SeqCst), item);
        drop(read);
        self.flow.ahead.is_there.notify_waiters();
    }
}

impl TakesBack for Taking {
    fn take_back(&self, py: Python<'_>, came: PyResult<Py<PyAny>>) {
        match came {
            // The end, and that nothing came in time, will be told again.
            _ if self.number.load(Ordering::SeqCst) == 0 => {}
            Ok(object) if object.is_none(py) => {}
            Ok(object) => self.back(Ok(Box::new(Own(object)))),
            Err(error) => self.back(Ok(Box::new(Raises(error)))),
        }
    }
}

impl Flow {
    fn new<T: Give + 'static>(stream: ItemStream<T>, on: &Handle) -> Arc<Self> {
        let items = stream.map(|item| item.map(|item| Box::new(item) as Box<dyn Item>)).boxed();
        let ahead = Arc::new(Ahead::default());
        let reading = on.spawn(Arc::clone(&ahead).read(items)).abort_handle();
        Arc::new(Flow { ahead, reading })
    }

    fn has_ended(&self) -> bool {
        let read = self.ahead.lock();
        read.has_ended && read.items.is_empty()
    }

    /// Refuses to wait when nothing can come any more that has not come.
    fn check(&self, session: &Session) -> Result<()> {
        // First, as above.
        session.home.handle()?;
        if self.has_ended() { Ok(()) } else { session.check() }
    }

    /// Ends it: whoever waits for the next one gets none.
    fn close(&self) {
        self.reading.abort();
        let dropped = {
            let mut read = self.ahead.lock();
            (read.has_ended, read.is_closed) = (true, true);
            std::mem::take(&mut read.items)
        };
        self.ahead.is_there.notify_waiters();
        // Not under the lock: some of them may be Python's.
        drop(dropped);
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// An item that was found, or the end, and who has taken it.
struct Found(Option<Taken>, Arc<Taking>, OwnedMutexGuard<()>);

impl Found {
    /// None at the end.
    fn hand(self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.map(|item| or_raised(py, item)?.hand(py)).transpose()
    }
}

impl Give for Found {
    /// The end is told as awaited iterators tell it; blocking ones ask before.
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.hand(py)?.ok_or_else(|| PyStopAsyncIteration::new_err(()))
    }

    fn unwanted(self) {
        if let Found(Some(item), taking, _turn) = self {
            taking.back(item);
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
    // First, since in a child of the process that made it nobody may let go of its lock.
    let home = &of.session.home;
    or_raised(py, home.handle())?;
    match of.noun.ahead.take() {
        (Some((_, taken)), _) => {
            let _waits = home.waits();
            or_raised(py, taken)?.hand(py).map(Some)
        }
        (None, true) => Ok(None),
        (None, false) => {
            or_raised(py, of.session.check())?;
            crate::wait::wait_and(py, home, Taking::of(&of.noun).next(), |found| found.hand(py))
        }
    }
}

/// The next item, or None at the end, for whoever waits for a time only.
struct Perhaps(Found);

impl Give for Perhaps {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.0.hand(py)?.unwrap_or_else(|| py.None()))
    }

    fn unwanted(self) {
        self.0.unwanted();
    }
}

async fn within(deadline: Duration, next: impl Future<Output = Result<Found>>) -> Result<Perhaps> {
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
            fn next(&self, py: Python<'_>, #[pyo3(from_py_with = take::number)] timeout: f64) -> PyResult<Py<PyAny>> {
                let deadline = take::seconds(py, timeout, "timeout", WAIT_MAX)?;
                or_raised(py, self.0.noun.check(&self.0.session))?;
                crate::wait::wait(py, &self.0.session.home, within(deadline, Taking::of(&self.0.noun).next()))
            }
        }

        #[pymethods]
        impl AioStream {
            $(#[$attribute])*
            #[pyo3(signature = (*, timeout = 60.0))]
            fn next<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = take::number)] timeout: f64) -> PyResult<Bound<'py, PyAny>> {
                let deadline = take::seconds(py, timeout, "timeout", WAIT_MAX)?;
                or_raised(py, self.0.noun.check(&self.0.session))?;
                let taking = Taking::of(&self.0.noun);
                let next = within(deadline, Arc::clone(&taking).next());
                later_of(py, &self.0.session.home, next, Some(taking))
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
        let taking = Taking::of(&self.0.noun);
        let (next, session) = (Arc::clone(&taking).next(), Arc::clone(&self.0.session));
        let flow = Arc::clone(&self.0.noun);
        let work = async move {
            flow.check(&session)?;
            next.await
        };
        never_raised(py, later_of(py, &self.0.session.home, work, Some(taking)))
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
