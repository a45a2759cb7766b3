//! The native half of the Python package: the traits of `roadstead-core` as classes, blocking and awaited.
//!
//! Nothing here knows an engine. Arguments become the library's plain data (`take`), its answers become the package's data classes
//! (`give`), and each call is one future, which is waited for (`wait`) or awaited (`later`). Its public face is `python/roadstead`.

mod archives;
mod attachment;
mod connect;
mod container;
mod error;
mod gate;
mod give;
mod given;
mod job;
mod later;
mod node;
mod pool;
mod runtime;
mod saves;
mod session;
mod sources;
mod streams;
mod take;
mod wait;

use pyo3::prelude::*;

/// The table of errors, as the package's exceptions have to be: kind, class, built-in class.
#[pyfunction]
fn error_table() -> Vec<(&'static str, &'static str, &'static str)> {
    roadstead_core::ERROR_TABLE.iter().map(|row| (row.code, row.python, row.python_builtin)).collect()
}

/// The native half of the package `roadstead`.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<attachment::Attachment>()?;
    module.add_class::<container::Container>()?;
    module.add_class::<container::ListedContainer>()?;
    module.add_class::<container::NewContainer>()?;

    module.add_class::<job::Job>()?;
    module.add_class::<node::Node>()?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<archives::Archive>()?;
    module.add_class::<streams::Stream>()?;
    let py = module.py();
    let awaited = [
        ("AioAttachment", py.get_type::<attachment::AioAttachment>()),
        ("AioByteStream", py.get_type::<archives::AioArchive>()),
        ("AioContainer", py.get_type::<container::AioContainer>()),
        ("AioCreatedContainer", py.get_type::<container::AioNewContainer>()),
        ("AioJob", py.get_type::<job::AioJob>()),
        ("AioListedContainer", py.get_type::<container::AioListedContainer>()),
        ("AioNode", py.get_type::<node::AioNode>()),
        ("AioPool", py.get_type::<pool::AioPool>()),
        ("AioStream", py.get_type::<streams::AioStream>()),
    ];
    for (name, class) in awaited {
        module.add(name, class)?;
    }
    module.add_function(wrap_pyfunction!(connect::connect_here, module)?)?;
    module.add_function(wrap_pyfunction!(connect::connect_server, module)?)?;
    module.add_function(wrap_pyfunction!(connect::connect_to, module)?)?;
    module.add_function(wrap_pyfunction!(connect::discover, module)?)?;
    module.add_function(wrap_pyfunction!(connect::schemes, module)?)?;
    module.add_function(wrap_pyfunction!(error_table, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::end, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::running, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::waiting, module)?)?;
    Ok(())
}
