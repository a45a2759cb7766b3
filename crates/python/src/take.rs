//! What Python gives, as the plain data of the library. What is no such data is refused, and the refusal names the member.

use std::cell::Cell;
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple, PyType};
use roadstead_core::{ContainerFilter, Error, LabelSelector, RestartPolicy, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::error::raised;
use crate::given::Given;

/// Nothing that is meant to be data is nested deeper.
const DEPTH_MAX: usize = 32;

/// Nor does it have more items, all in all. Lists that have each other twice are many with few.
const ITEMS_MAX: usize = 1_000_000;

/// Data of the library made of a Python object: a mapping, or one of the package's data classes. `what` is what it is called.
pub(crate) fn data<T: DeserializeOwned>(object: &Bound<'_, PyAny>, what: &str) -> PyResult<T> {
    of_value(object.py(), value(object, what)?, what)
}

/// Data made of keyword arguments.
pub(crate) fn of_fields<T: DeserializeOwned>(py: Python<'_>, fields: Map<String, Value>) -> PyResult<T> {
    of_value(py, Value::Object(fields), "")
}

fn of_value<T: DeserializeOwned>(py: Python<'_>, value: Value, what: &str) -> PyResult<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = match (what, path.as_str()) {
            (what, ".") => what.to_owned(),
            ("", path) => path.to_owned(),
            (what, path) => format!("{what}.{path}"),
        };
        raised(py, &Error::invalid(field, error.inner()))
    })
}

/// The members of keyword arguments; those that are None are left out.
pub(crate) fn fields(given: Option<&Bound<'_, PyDict>>) -> PyResult<Map<String, Value>> {
    let mut fields = Map::new();
    for (name, given) in given.into_iter().flatten() {
        let name = text(&name, "a keyword")?;
        if !given.is_none() {
            let value = value(&given, &name)?;
            fields.insert(name, value);
        }
    }
    Ok(fields)
}

/// A text. Lone surrogates are no text.
pub(crate) fn text(given: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    let given = given
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("{what}: must be a str, not {}", type_name(given))))?;
    given.to_str().map(str::to_owned).map_err(|_| not_unicode(given.py(), what))
}

pub(crate) fn not_unicode(py: Python<'_>, what: &str) -> PyErr {
    raised(py, &Error::invalid(what, "is no Unicode text: it has a lone surrogate"))
}

pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}

static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PATH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn is_a(object: &Bound<'_, PyAny>, cell: &PyOnceLock<Py<PyAny>>, module: &str, name: &str) -> PyResult<bool> {
    let py = object.py();
    let class = cell.get_or_try_init(py, || py.import(module)?.getattr(name).map(Bound::unbind))?;
    object.is_instance(class.bind(py))
}

/// Whether it has members: a mapping, or a data class's instance.
pub(crate) fn is_record(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_instance = !object.is_instance_of::<PyType>();
    Ok(object.cast::<PyMapping>().is_ok() || (is_instance && object.hasattr("__dataclass_fields__")?))
}

/// Any data. `what` is what it is called.
fn value(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Value> {
    part(object, what, 0, &Cell::new(ITEMS_MAX))
}

fn part(object: &Bound<'_, PyAny>, what: &str, depth: usize, left: &Cell<usize>) -> PyResult<Value> {
    let py = object.py();
    if left.replace(left.get().saturating_sub(1)) == 0 {
        return Err(raised(py, &Error::invalid(what, "has too many items")));
    }
    if depth > DEPTH_MAX {
        return Err(raised(py, &Error::invalid(what, "is nested too deep")));
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(object.extract()?));
    }
    if object.is_instance_of::<PyString>() {
        return text(object, what).map(Value::String);
    }
    if object.is_instance_of::<PyInt>() {
        let whole = object.extract::<i64>().map(Number::from).or_else(|_| object.extract::<u64>().map(Number::from));
        return whole.map(Value::Number).map_err(|_| raised(py, &Error::invalid(what, "is out of range")));
    }
    if object.is_instance_of::<PyFloat>() {
        let number = Number::from_f64(object.extract()?);
        return number.map(Value::Number).ok_or_else(|| raised(py, &Error::invalid(what, "is not finite")));
    }
    if let Ok(items) = object.cast::<PyDict>() {
        // A copy: what is asked of the items may be Python's work, which may change them.
        return members(items.items().iter().map(|item| item.extract()), what, depth, left);
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        return object
            .try_iter()?
            .enumerate()
            .map(|(index, item)| part(&item?, &format!("{what}[{index}]"), depth + 1, left))
            .collect::<PyResult<_>>()
            .map(Value::Array);
    }
    if is_a(object, &DATETIME, "datetime", "datetime")? {
        return time(object, what).map(|time| Value::String(time.to_string()));
    }
    if let Ok(described) = object.getattr("__dataclass_fields__")
        && !object.is_instance_of::<PyType>()
    {
        let names = described.cast_into::<PyDict>()?;
        let set = names.keys().into_iter().filter_map(|name| {
            let set = name.cast::<PyString>().ok().and_then(|name| object.getattr(name).ok())?;
            (!set.is_none()).then_some(Ok((name, set)))
        });
        return members(set, what, depth, left);
    }
    if is_a(object, &PATH, "os", "PathLike")? {
        return text(&object.call_method0("__fspath__")?, what).map(Value::String);
    }
    if let Ok(mapping) = object.cast::<PyMapping>() {
        let items = mapping.items()?;
        return members(items.iter().map(|item| item.extract()), what, depth, left);
    }
    Err(PyTypeError::new_err(format!("{what}: {} is no data that is known here", type_name(object))))
}

fn members<'py>(
    items: impl Iterator<Item = PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)>>,
    what: &str,
    depth: usize,
    left: &Cell<usize>,
) -> PyResult<Value> {
    let mut members = Map::new();
    for item in items {
        let (name, given) = item?;
        let name = text(&name, &format!("a key of {what}"))?;
        let given = part(&given, &format!("{what}.{name}"), depth + 1, left)?;
        members.insert(name, given);
    }
    Ok(Value::Object(members))
}

/// A moment: a `datetime` with a time zone.
pub(crate) fn time(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Timestamp> {
    if !is_a(object, &DATETIME, "datetime", "datetime")? {
        return Err(PyTypeError::new_err(format!("{what}: must be a datetime, not {}", type_name(object))));
    }
    if object.call_method0("utcoffset")?.is_none() {
        return Err(raised(object.py(), &Error::invalid(what, "has no time zone: use datetime.now(timezone.utc)")));
    }
    let text: String = object.call_method0("isoformat")?.extract()?;
    text.parse().map_err(|_| raised(object.py(), &Error::invalid(what, format!("{text} is out of range"))))
}

/// A moment that may be left out.
pub(crate) fn maybe_time(object: Option<&Bound<'_, PyAny>>, what: &str) -> PyResult<Option<Timestamp>> {
    object.filter(|object| !object.is_none()).map(|object| time(object, what)).transpose()
}

/// A number. What no float holds is infinite, which is refused by name where it is used.
pub(crate) fn number(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    given.extract().or_else(|error: PyErr| {
        if !error.is_instance_of::<PyOverflowError>(given.py()) {
            return Err(error);
        }
        Ok(if given.lt(0)? { f64::NEG_INFINITY } else { f64::INFINITY })
    })
}

/// The same, of what may be left out.
pub(crate) fn maybe_number(given: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if given.is_none() { Ok(None) } else { number(given).map(Some) }
}

/// Seconds as a duration: not negative, and at most `most`.
pub(crate) fn seconds(py: Python<'_>, given: f64, what: &str, most: f64) -> PyResult<Duration> {
    if !(0.0..=most).contains(&given) {
        let words = format!("must be from 0 to {most} seconds, and is {given}");
        return Err(raised(py, &Error::invalid(what, words)));
    }
    Duration::try_from_secs_f64(given).map_err(|_| raised(py, &Error::invalid(what, "is no number of seconds")))
}

/// A list of data: a list, a tuple, or another sequence that is no text.
pub(crate) fn list(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Value> {
    match value(object, what)? {
        Value::Array(items) => Ok(Value::Array(items)),
        _ => Err(PyTypeError::new_err(format!("{what}: must be a list, not {}", type_name(object)))),
    }
}

/// A path inside of a container: a text, or an object that is a path.
pub(crate) fn path(object: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    if object.hasattr("__fspath__")? {
        return text(&object.call_method0("__fspath__")?, what);
    }
    text(object, what)
}

/// A member of an enumeration of the library, by its word.
pub(crate) fn word<T: DeserializeOwned>(py: Python<'_>, word: Given<String>, what: &str) -> PyResult<T> {
    of_value(py, Value::String(word.named(py, what)?), what)
}

/// A restart policy: its word, or its data class.
pub(crate) fn restart(object: &Bound<'_, PyAny>) -> PyResult<RestartPolicy> {
    if object.is_instance_of::<PyString>() {
        let mut fields = Map::new();
        fields.insert("policy".to_owned(), Value::String(text(object, "restart")?));
        return of_value(object.py(), Value::Object(fields), "restart");
    }
    data(object, "restart")
}

/// What narrows lists of containers.
pub(crate) fn filter(
    states: Option<&Bound<'_, PyAny>>,
    ids: Option<&Bound<'_, PyAny>>,
    names: Option<&Bound<'_, PyAny>>,
    labels: Option<&Bound<'_, PyAny>>,
) -> PyResult<ContainerFilter> {
    let mut filter = ContainerFilter::all();
    if let Some(states) = states {
        filter.states = some_of(states, "states")?;
    }
    if let Some(ids) = ids {
        filter.ids = some_of(ids, "ids")?;
    }
    if let Some(names) = names {
        filter.names = some_of(names, "names")?;
    }
    filter.labels = labels.map(selectors).transpose()?.unwrap_or_default();
    Ok(filter)
}

/// What is narrowed by. A list that a program made and that came out empty would otherwise stand for everything.
fn some_of<T: DeserializeOwned>(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<T>> {
    let found: Vec<T> = of_value(given.py(), list(given, what)?, what)?;
    if found.is_empty() {
        return Err(raised(given.py(), &Error::invalid(what, "is empty, which nothing is: leave it out for all")));
    }
    Ok(found)
}

/// Labels that are asked for: a mapping of keys to values, where None stands for any value.
pub(crate) fn selectors(labels: &Bound<'_, PyAny>) -> PyResult<Vec<LabelSelector>> {
    let py = labels.py();
    let Value::Object(labels) = value(labels, "labels")? else {
        let words = format!("labels: must be a mapping, not {}", type_name(labels));
        return Err(PyTypeError::new_err(words));
    };
    let selector = |(key, value)| match value {
        Value::String(value) => Ok(LabelSelector::equals(key, value)),
        Value::Null => Ok(LabelSelector::exists(key)),
        _ => Err(raised(py, &Error::invalid(format!("labels.{key}"), "must be a text or None"))),
    };
    labels.into_iter().map(selector).collect()
}
