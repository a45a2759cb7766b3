//! A call that is awaited: a future of the running event loop for work that goes on in the runtime, without a thread of its own.
//!
//! What has ended is put into a queue of the loop, and the loop is woken once for all that is in it. A future that is cancelled, or whose
//! task is, gives its work up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use roadstead_core::Result;
use tokio::task::AbortHandle;

use crate::error::{or_raised, raised};
use crate::give::Give;
use crate::runtime::Home;

/// Something to hand to Python, made where the interpreter is held; or not handed out, since nobody waits for it any more.
trait Made: Send {
    fn hand(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
    fn unwanted(self: Box<Self>);
}

impl<T: Give> Made for Result<T> {
    fn hand(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match *self {
            Ok(result) => result.give(py),
            Err(error) => Err(raised(py, &error)),
        }
    }

    fn unwanted(self: Box<Self>) {
        if let Ok(result) = *self {
            result.unwanted();
        }
    }
}

/// An event loop, and what has ended of its futures.
#[pyclass(frozen, module = "roadstead._native")]
#[derive(Debug)]
pub(crate) struct Loop {
    event_loop: Py<PyAny>,
    ended: Mutex<Vec<Ended>>,
}

struct Ended {
    future: Py<PyAny>,
    made: Box<dyn Made>,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

/// The loops that are in use. Few are at a time, mostly one.
static LOOPS: Mutex<Vec<Py<Loop>>> = Mutex::new(Vec::new());
static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running loop.
fn running(py: Python<'_>) -> PyResult<Py<Loop>> {
    let running =
        RUNNING.get_or_try_init(py, || py.import("asyncio")?.getattr("get_running_loop").map(Bound::unbind))?;
    let event_loop = running.bind(py).call0()?;
    let known =
        lock(&LOOPS).iter().find(|known| known.get().event_loop.is(&event_loop)).map(|known| known.clone_ref(py));
    if let Some(known) = known {
        return Ok(known);
    }
    let made = Py::new(py, Loop { event_loop: event_loop.unbind(), ended: Mutex::default() })?;
    // Closed ones are forgotten when another one comes. Asking them is Python's work, and not done under the lock.
    let all: Vec<_> = lock(&LOOPS).iter().map(|known| known.clone_ref(py)).collect();
    let open = |known: &Py<Loop>| {
        let closed = known.get().event_loop.bind(py).call_method0("is_closed").and_then(|closed| closed.extract());
        !closed.unwrap_or(true)
    };
    let mut kept: Vec<_> = all.into_iter().filter(open).collect();
    kept.push(made.clone_ref(py));
    let before = std::mem::replace(&mut *lock(&LOOPS), kept);
    // Not under the lock: what ends with it may be Python's, and let others run.
    drop(before);
    Ok(made)
}

impl Loop {
    /// What has come for a future, and has not been given to it.
    fn take_out(&self, future: &Py<PyAny>) {
        let found = {
            let mut ended = lock(&self.ended);
            let place = ended.iter().position(|ended| ended.future.is(future));
            place.map(|place| ended.remove(place))
        };
        if let Some(found) = found {
            found.made.unwanted();
        }
    }
}

impl Drop for Loop {
    /// A loop that was closed gives nothing any more.
    fn drop(&mut self) {
        let ended = std::mem::take(&mut *lock(&self.ended));
        ended.into_iter().for_each(|ended| ended.made.unwanted());
    }
}

#[pymethods]
impl Loop {
    /// Called by the loop: gives what has ended to its futures.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let ended = std::mem::take(&mut *lock(&self.ended));
        for Ended { future, made } in ended {
            let future = future.bind(py);
            // One that was cancelled meanwhile takes nothing any more.
            if future.call_method0("done")?.extract()? {
                made.unwanted();
                continue;
            }
            match made.hand(py) {
                Ok(object) => future.call_method1("set_result", (object,))?,
                Err(error) => future.call_method1("set_exception", (error.into_value(py),))?,
            };
        }
        Ok(())
    }
}

/// Puts what has ended into the queue of its loop; wakes it when nobody has yet.
fn tell(of: &Py<Loop>, future: Py<PyAny>, made: Box<dyn Made>) {
    let is_first = {
        let mut ended = lock(&of.get().ended);
        ended.push(Ended { future, made });
        ended.len() == 1
    };
    if is_first {
        // Where the interpreter ends, or the loop is closed, nobody waits any more.
        Python::try_attach(|py| {
            let woken = of.get().event_loop.bind(py).call_method1("call_soon_threadsafe", (of,));
            if woken.is_err() {
                let ended = std::mem::take(&mut *lock(&of.get().ended));
                ended.into_iter().for_each(|ended| ended.made.unwanted());
            }
        });
    }
}

/// Gives the work up when the future has ended by being cancelled.
#[pyclass(frozen, module = "roadstead._native")]
#[derive(Debug)]
pub(crate) struct Cancel(AbortHandle);

#[pymethods]
impl Cancel {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.0.abort();
    }
}

/// Takes back what was handed out to somebody who was cancelled before it reached him: an object, or what was to be raised.
pub(crate) trait TakesBack: Send + Sync {
    fn take_back(&self, py: Python<'_>, came: PyResult<Py<PyAny>>);
}

/// A call that is refused before there is anything to wait for, where only what is awaited may raise.
#[pyclass(frozen, module = "roadstead._native")]
#[derive(Debug)]
pub(crate) struct Refused(Py<PyAny>);

impl Refused {
    fn error(&self, py: Python<'_>) -> PyErr {
        PyErr::from_value(self.0.bind(py).clone())
    }
}

#[pymethods]
impl Refused {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.error(py))
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(self.error(value.py()))
    }

    #[pyo3(signature = (*exception))]
    fn throw(&self, exception: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        Err(PyErr::from_value(exception.get_item(0)?))
    }

    fn close(&self) {}

    /// As below.
    #[allow(clippy::needless_pass_by_value, reason = "as pyo3 hands it over")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// What `__anext__` gives: never an exception of its own, since `anext` with a default takes the process down then (CPython to 3.13).
pub(crate) fn never_raised<'py>(py: Python<'py>, call: PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    match call {
        Ok(call) => Ok(call),
        Err(error) => Ok(Bound::new(py, Refused(error.into_value(py).into_any()))?.into_any()),
    }
}

/// Work that has begun, as a coroutine of the loop: to be awaited, or to be made a task of. It is a future within.
#[pyclass(frozen, module = "roadstead._native")]
pub(crate) struct Call {
    future: Py<PyAny>,
    of: Py<Loop>,
    steps: OnceLock<Py<PyAny>>,
    /// Whether the result has reached whoever awaited it.
    has_arrived: AtomicBool,
    back: Option<Arc<dyn TakesBack>>,
    home: Arc<Home>,
    /// The work, where it goes on.
    work: Option<AbortHandle>,
}

impl Drop for Call {
    /// Nobody can await it any more. Its loop may have ended, so the work is not only told through that.
    fn drop(&mut self) {
        if self.has_arrived.load(Ordering::SeqCst) || !self.home.is_here() {
            return;
        }
        if let Some(work) = &self.work {
            work.abort();
        }
        Python::try_attach(|py| {
            // Objects end while exceptions are on their way, which what is called here must not take along.
            let on_its_way = PyErr::take(py);
            let _ = self.give_back(py);
            if let Some(error) = on_its_way {
                error.restore(py);
            }
        });
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("future", &self.future).finish_non_exhaustive()
    }
}

impl Call {
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        if let Some(steps) = self.steps.get() {
            return Ok(steps.bind(py));
        }
        let made = self.future.bind(py).call_method0("__await__")?.unbind();
        Ok(self.steps.get_or_init(|| made).bind(py))
    }

    fn arrived<T>(&self, py: Python<'_>, step: PyResult<T>) -> PyResult<T> {
        if let Err(error) = &step
            && self.has_arrived.swap(true, Ordering::SeqCst)
            && error.is_instance_of::<PyStopIteration>(py)
        {
            return Err(PyRuntimeError::new_err("the call was awaited already"));
        }
        step
    }

    /// A result that came, and that nobody will see: a task may be cancelled between the end of what it awaits and its next step.
    fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        let is = |question| future.call_method0(question)?.extract::<bool>();
        if !is("done")? {
            // It may have come, and its loop may stand still.
            self.of.get().take_out(&self.future);
            // Nobody awaits it any more: the work is given up, as when a task that waits for it is cancelled.
            return future.call_method0("cancel").map(drop);
        }
        let Some(back) = &self.back else { return Ok(()) };
        if !is("cancelled")? && !self.has_arrived.swap(true, Ordering::SeqCst) {
            let raised = future.call_method0("exception")?;
            let came = if raised.is_none() {
                Ok(future.call_method0("result")?.unbind())
            } else {
                Err(PyErr::from_value(raised))
            };
            back.take_back(py, came);
        }
        Ok(())
    }
}

#[pymethods]
impl Call {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let step = self.steps(py)?.call_method0("__next__");
        self.arrived(py, step)
    }

    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let step = self.steps(value.py())?.call_method1("send", (value,));
        self.arrived(value.py(), step)
    }

    #[pyo3(signature = (*exception))]
    fn throw<'py>(&self, exception: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        self.give_back(exception.py())?;
        self.steps(exception.py())?.call_method1("throw", exception.clone())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.give_back(py)
    }

    /// An exception that was raised has the frame that has this, which has the future, which has the exception. The others break the
    /// circle. Before anything was raised there is none, and the future is needed to the end: what it has may have to go back.
    #[allow(clippy::needless_pass_by_value, reason = "as pyo3 hands it over")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.has_arrived.load(Ordering::SeqCst) {
            return Ok(());
        }
        visit.call(&self.future)?;
        self.steps.get().map_or(Ok(()), |steps| visit.call(steps))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<call {}>", self.future.bind(py).repr()?))
    }
}

/// A coroutine for work, which begins at once.
pub(crate) fn later<'py, T: Give + 'static>(
    py: Python<'py>,
    home: &Arc<Home>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    later_of(py, home, work, None)
}

/// The same, whose result goes back where whoever waits for it is cancelled.
pub(crate) fn later_of<'py, T: Give + 'static>(
    py: Python<'py>,
    home: &Arc<Home>,
    work: impl Future<Output = Result<T>> + Send + 'static,
    back: Option<Arc<dyn TakesBack>>,
) -> PyResult<Bound<'py, PyAny>> {
    let handle = or_raised(py, home.handle())?;
    let of = running(py)?;
    let future = of.get().event_loop.bind(py).call_method0("create_future")?;
    let mut going_on = None;
    let mut work: BoxFuture<'static, Result<T>> = Box::pin(work);
    // What need not wait is done at once.
    let first = {
        let _inside = handle.enter();
        work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    match first {
        // What is raised is raised where it is awaited.
        Poll::Ready(Ok(result)) => match result.give(py) {
            Ok(object) => drop(future.call_method1("set_result", (object,))?),
            Err(error) => drop(future.call_method1("set_exception", (error.into_value(py),))?),
        },
        Poll::Ready(Err(error)) => {
            future.call_method1("set_exception", (raised(py, &error).into_value(py),))?;
        }
        Poll::Pending => {
            let (waiting, of) = (future.clone().unbind(), of.clone_ref(py));
            let task = handle.spawn(async move {
                let result = work.await;
                tell(&of, waiting, Box::new(result));
            });
            future.call_method1("add_done_callback", (Cancel(task.abort_handle()),))?;
            going_on = Some(task.abort_handle());
        }
    }
    let (future, has_arrived) = (future.unbind(), AtomicBool::new(false));
    let call = Call { future, of, steps: OnceLock::new(), has_arrived, back, home: Arc::clone(home), work: going_on };
    Ok(Bound::new(py, call)?.into_any())
}
