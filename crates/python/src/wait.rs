//! A call that blocks: the interpreter is free meanwhile, and `KeyboardInterrupt` gives the work up.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use roadstead_core::Result;
use tokio::time::timeout;

use crate::error::or_raised;
use crate::give::Give;
use crate::runtime::Home;

/// How often it is looked whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(25);

/// Waits for what is done, and makes the Python object of it.
pub(crate) fn wait<T: Give>(
    py: Python<'_>,
    home: &Arc<Home>,
    work: impl Future<Output = Result<T>> + Send,
) -> PyResult<Py<PyAny>> {
    wait_and(py, home, work, |found| found.give(py))
}

/// Waits for what is done, and does something with it, during which the thread counts as waiting: the interpreter may let others run
/// meanwhile, and must not end before this has come back.
pub(crate) fn wait_and<T: Send, U>(
    py: Python<'_>,
    home: &Arc<Home>,
    work: impl Future<Output = Result<T>> + Send,
    then: impl FnOnce(T) -> PyResult<U>,
) -> PyResult<U> {
    // First, since what is the parent's is not touched in a child.
    or_raised(py, home.handle())?;
    let _waits = home.waits();
    let mut work = pin!(work);
    loop {
        let handle = or_raised(py, home.handle())?;
        match py.detach(|| handle.block_on(async { timeout(LOOK, &mut work).await })) {
            Ok(result) => return then(or_raised(py, result)?),
            // What is dropped then gives itself up.
            Err(_) => py.check_signals()?,
        }
    }
}
