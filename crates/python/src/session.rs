//! What all handles of one connection share, and how each class has its twin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roadstead_core::{Error, ErrorKind, Result};

use crate::runtime::Home;

/// A connection, from its making until it is closed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) home: Arc<Home>,
    is_closed: AtomicBool,
}

impl Session {
    pub(crate) fn new(home: Arc<Home>) -> Arc<Self> {
        Arc::new(Session { home, is_closed: AtomicBool::new(false) })
    }

    /// Whoever has a handle of it is refused from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Refuses what comes after its end.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Conflict, "the connection is closed: connect again"));
        }
        Ok(())
    }
}

/// A handle: a noun of the library, and the connection that it belongs to.
#[derive(Debug)]
pub(crate) struct Of<T> {
    pub(crate) session: Arc<Session>,
    pub(crate) noun: T,
    /// Whether it is one whose calls are awaited.
    pub(crate) awaited: bool,
}

impl<T> Of<T> {
    /// Another noun of the same connection.
    pub(crate) fn with<U>(&self, noun: U) -> Of<U> {
        Of { session: Arc::clone(&self.session), noun, awaited: self.awaited }
    }
}

impl<T: Clone> Clone for Of<T> {
    fn clone(&self) -> Self {
        self.with(self.noun.clone())
    }
}

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
