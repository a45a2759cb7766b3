//! An object of the package, and how its methods are called: with plain data, which comes back as plain data.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use roadstead_core::{ByteStream, Error, ErrorKind, ItemStream, Result, Retry};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object of the package.
#[derive(Debug)]
pub(crate) struct Hand {
    object: Py<PyAny>,
    /// Of `drive.py`: calls, and waits.
    caller: Arc<Py<PyAny>>,
}

/// A stream of the package that ends when nobody reads it any more.
struct Ending(Hand);

impl Drop for Ending {
    fn drop(&mut self) {
        Python::attach(|py| {
            // Whatever it says, nobody reads it.
            let _ = self.0.caller.bind(py).call_method1("end", (&self.0.object,));
        });
    }
}

impl Clone for Hand {
    fn clone(&self) -> Self {
        Python::attach(|py| Hand { object: self.object.clone_ref(py), caller: Arc::clone(&self.caller) })
    }
}

impl Hand {
    pub(crate) fn new(object: Py<PyAny>, caller: Py<PyAny>) -> Self {
        Hand { object, caller: Arc::new(caller) }
    }

    pub(crate) fn with(&self, object: Py<PyAny>) -> Self {
        Hand { object, caller: Arc::clone(&self.caller) }
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.object.bind(py).clone()
    }

    /// An attribute as plain data.
    pub(crate) fn attribute<T: DeserializeOwned>(&self, py: Python<'_>, name: &str) -> PyResult<T> {
        let told = self.caller.bind(py).call_method1("told", (self.object.bind(py).getattr(name)?,))?;
        let text: String = told.extract()?;
        serde_json::from_str(&text).map_err(|error| pyo3::exceptions::PyValueError::new_err(format!("{name}: {error}")))
    }

    /// An attribute that is an object again.
    pub(crate) fn inner(&self, name: &str) -> Result<Hand> {
        Python::attach(|py| {
            self.object.bind(py).getattr(name).map(Bound::unbind).map_err(|error| of_python(py, &error))
        })
        .map(|object| self.with(object))
    }

    /// What a method that asks nobody gives.
    pub(crate) fn at_once(&self, py: Python<'_>, name: &str, argument: &str) -> PyResult<Hand> {
        Ok(self.with(self.object.bind(py).call_method1(name, (argument,))?.unbind()))
    }

    /// Calls a method with positional arguments and keyword arguments as JSON, and with objects, and waits for what it gives.
    pub(crate) async fn call(
        &self,
        name: &'static str,
        positional: Value,
        keywords: Value,
        objects: Objects,
    ) -> Result<Hand> {
        let own = self.clone();
        let called = tokio::task::spawn_blocking(move || {
            Python::attach(|py| {
                let extra = PyDict::new(py);
                let failed = |error: PyErr| of_python(py, &error);
                for (name, object) in objects.0 {
                    extra.set_item(name, object.into_object(py)).map_err(failed)?;
                }
                let arguments = (&own.object, name, positional.to_string(), keywords.to_string(), extra);
                let given = own.caller.bind(py).call_method1("call", arguments).map_err(failed)?;
                Ok(own.with(given.unbind()))
            })
        });
        called.await.map_err(|cause| Error::new(ErrorKind::Unexpected, "the call has ended").with_source(cause))?
    }

    /// The same without objects.
    pub(crate) async fn ask(&self, name: &'static str, positional: Value, keywords: Value) -> Result<Hand> {
        self.call(name, positional, keywords, Objects::default()).await
    }

    /// What it is, as plain data.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T> {
        Python::attach(|py| {
            let failed = |error: PyErr| of_python(py, &error);
            let told = self.caller.bind(py).call_method1("told", (&self.object,)).map_err(failed)?;
            let text: String = told.extract().map_err(failed)?;
            serde_json::from_str(&text).map_err(|error| {
                Error::new(ErrorKind::Unexpected, format!("came back as something else: {error}: {text}"))
            })
        })
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Result<Bytes> {
        Python::attach(|py| {
            let bytes = self.object.bind(py).cast::<PyBytes>().map_err(|error| of_python(py, &error.into()))?;
            Ok(Bytes::copy_from_slice(bytes.as_bytes()))
        })
    }

    /// What it gives one after the other.
    pub(crate) fn items(self) -> ItemStream<Hand> {
        let next = |ending: Ending| async move {
            let own = ending.0.clone();
            let found = tokio::task::spawn_blocking(move || {
                Python::attach(|py| {
                    let given = own.caller.bind(py).call_method1("following", (&own.object,));
                    let given = given.map_err(|error| of_python(py, &error))?;
                    // A list with the one item, or an empty one at the end.
                    let items: Vec<Py<PyAny>> = given.extract().map_err(|error| of_python(py, &error))?;
                    Ok(items.into_iter().next().map(|item| own.with(item)))
                })
            });
            let ended = |cause| Error::new(ErrorKind::Unexpected, "the stream has ended").with_source(cause);
            let found: Option<Hand> = found.await.map_err(ended)??;
            Ok(found.map(|item| (item, ending)))
        };
        stream::try_unfold(Ending(self), next).boxed()
    }

    /// What it gives one after the other, as plain data.
    pub(crate) fn stream<T: DeserializeOwned + Send + 'static>(self) -> ItemStream<T> {
        self.items().map(|item| item?.data()).boxed()
    }

    /// The bytes that it gives one after the other.
    pub(crate) fn archive(self) -> ByteStream {
        self.items().map(|item| item?.bytes()).boxed()
    }
}

/// Arguments that are no plain data.
#[derive(Debug, Default)]
pub(crate) struct Objects(Vec<(&'static str, Object)>);

#[derive(Debug)]
enum Object {
    Bytes(Bytes),
    Hand(Hand),
    Text(String),
}

impl Objects {
    pub(crate) fn bytes(mut self, name: &'static str, bytes: Bytes) -> Self {
        self.0.push((name, Object::Bytes(bytes)));
        self
    }

    pub(crate) fn hand(mut self, name: &'static str, hand: Hand) -> Self {
        self.0.push((name, Object::Hand(hand)));
        self
    }

    pub(crate) fn text(mut self, name: &'static str, text: &str) -> Self {
        self.0.push((name, Object::Text(text.to_owned())));
        self
    }

    /// A whole archive: what breaks it off breaks the call off.
    pub(crate) async fn archive(self, name: &'static str, archive: ByteStream) -> Result<Self> {
        let whole: Vec<Bytes> = archive.try_collect().await?;
        Ok(self.bytes(name, whole.concat().into()))
    }
}

impl Object {
    fn into_object(self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Object::Bytes(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
            Object::Hand(hand) => hand.object,
            Object::Text(text) => PyString::new(py, &text).into_any().unbind(),
        }
    }
}

/// An exception as the error that it was made of.
fn of_python(py: Python<'_>, error: &PyErr) -> Error {
    let exception = error.value(py);
    let text = |name: &str| exception.getattr(name).ok().and_then(|value| value.extract::<String>().ok());
    let Some(code) = text("code") else {
        return Error::new(ErrorKind::Unexpected, format!("an exception that is none of ours: {error}"));
    };
    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.row().code == code).unwrap_or(ErrorKind::Unexpected);
    // Of the class that the table names, or it is not as the table says.
    let class = exception.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    if class != kind.row().python {
        return Error::new(ErrorKind::Unexpected, format!("{code} was raised as {class}"));
    }
    let mut told = Error::new(kind, exception.to_string());
    told = match text("retry").as_deref() {
        Some("never") => told.with_retry(Retry::Never),
        Some("safe") => told.with_retry(Retry::Safe),
        _ => told.with_retry(Retry::Unknown),
    };
    if let Some(field) = text("field") {
        told = told.with_field(field);
    }
    if let Some(resource) = text("resource") {
        told = told.with_resource(resource);
    }
    match text("node") {
        Some(node) => told.with_node(node),
        None => told,
    }
}
