//! What all handles of one connection share, and how each class has its twin.

use std::sync::Arc;

use roadstead_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::runtime::Home;

/// What whoever comes too late is told.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Conflict, "the connection is closed: connect again")
}

/// A connection, from its making until it is closed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) home: Arc<Home>,
    is_closed: watch::Sender<bool>,
    /// That by which it came, and with which it ends.
    within: Option<Arc<Session>>,
}

impl Session {
    pub(crate) fn new(home: Arc<Home>) -> Arc<Self> {
        Arc::new(Session { home, is_closed: watch::Sender::new(false), within: None })
    }

    /// One that can be closed by itself, and ends with this one.
    pub(crate) fn inner(self: &Arc<Self>) -> Arc<Self> {
        let home = Arc::clone(&self.home);
        Arc::new(Session { home, is_closed: watch::Sender::new(false), within: Some(Arc::clone(self)) })
    }

    /// Whoever has a handle of it is refused from now on.
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Waits for its end.
    pub(crate) async fn until_closed(&self) {
        // The sender is its own: there is no other end.
        let _ = self.is_closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Refuses what comes after its end.
    ///
    /// # Errors
    /// `Conflict`; in a child of the process that made it, too.
    pub(crate) fn check(&self) -> Result<()> {
        // First: in a child of the process that made it, a lock may be held by a thread that is not there.
        self.home.handle()?;
        if *self.is_closed.borrow() {
            return Err(closed());
        }
        self.within.as_ref().map_or(Ok(()), |within| within.check())
    }
}

/// Something that is not ended in a child of the process that made it: its connections are the parent's, and ending them there would end
/// them here, too.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    /// There until it is given away or ended.
    value: Option<T>,
    process: u32,
}

impl<T> Kept<T> {
    fn new(value: T) -> Self {
        Kept { value: Some(value), process: std::process::id() }
    }

    /// The thing itself, to whoever goes on with it.
    pub(crate) fn given_away(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            // Whoever gives it away has it no more.
            None => unreachable!(),
        }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

/// A handle: a noun of the library, and the connection that it belongs to.
#[derive(Debug)]
pub(crate) struct Of<T> {
    pub(crate) session: Arc<Session>,
    pub(crate) noun: Kept<T>,
    /// Whether it is one whose calls are awaited.
    pub(crate) awaited: bool,
}

impl<T> Of<T> {
    pub(crate) fn new(session: Arc<Session>, noun: T, awaited: bool) -> Self {
        Of { session, noun: Kept::new(noun), awaited }
    }

    /// Another noun of the same connection.
    pub(crate) fn with<U>(&self, noun: U) -> Of<U> {
        Of::new(Arc::clone(&self.session), noun, self.awaited)
    }

    /// Another noun, which can be closed by itself.
    pub(crate) fn within<U>(&self, noun: U) -> Of<U> {
        Of::new(self.session.inner(), noun, self.awaited)
    }
}

impl<T: Clone> Clone for Of<T> {
    fn clone(&self) -> Self {
        self.with(T::clone(&self.noun))
    }
}

/// Makes a class and its awaited twin context managers, which end by what is said, and can be ended before.
macro_rules! contexts {
    ($blocking:ident, $awaited:ident { $(#[$attribute:meta])* |$this:ident| $close:expr }) => {
        #[pymethods]
        impl $blocking {
            fn __enter__(this: Py<Self>) -> Py<Self> {
                this
            }

            #[pyo3(signature = (*_exception))]
            fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
                self.close();
            }

            $(#[$attribute])*
            fn close(&self) {
                let $this = self;
                // What is the parent's stays as it is.
                if $this.0.session.home.is_here() {
                    $close;
                }
            }
        }

        #[pymethods]
        impl $awaited {
            fn __aenter__<'py>(this: Py<Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                let home = Arc::clone(&this.get().0.session.home);
                $crate::later::later(py, &home, async move { Ok($crate::streams::Own(this.into_any())) })
            }

            #[pyo3(signature = (*_exception))]
            fn __aexit__<'py>(&self, py: Python<'py>, _exception: &Bound<'_, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                self.aclose(py)
            }

            $(#[$attribute])*
            fn aclose<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                let $this = self;
                if $this.0.session.home.is_here() {
                    $close;
                }
                $crate::later::later(py, &self.0.session.home, async { Ok(()) })
            }
        }
    };
}
pub(crate) use contexts;

/// Defines the calls of a class and of its awaited twin from one text, so that neither has a call, an argument or a word of
/// documentation that the other lacks. The body checks what was given and makes the work; the work is waited for, or awaited.
macro_rules! twins {
    ($blocking:ident, $awaited:ident {$(
        $(#[$attribute:meta])*
        fn $name:ident(&$this:ident, $py:ident $(; $($arguments:tt)*)?) $body:block
    )*}) => {
        #[pymethods]
        impl $blocking {
            $(
                $(#[$attribute])*
                #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments, reason = "as pyo3 hands them over")]
                fn $name(&$this, $py: Python<'_>, $($($arguments)*)?) -> PyResult<Py<PyAny>> {
                    $crate::error::or_raised($py, $this.of().session.check())?;
                    let work = $body;
                    $crate::wait::wait($py, &$this.of().session.home, work)
                }
            )*
        }

        #[pymethods]
        impl $awaited {
            $(
                $(#[$attribute])*
                #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments, reason = "as pyo3 hands them over")]
                fn $name<'py>(&$this, $py: Python<'py>, $($($arguments)*)?) -> PyResult<Bound<'py, PyAny>> {
                    $crate::error::or_raised($py, $this.of().session.check())?;
                    let work = $body;
                    $crate::later::later($py, &$this.of().session.home, work)
                }
            )*
        }
    };
}
pub(crate) use twins;
