//! Data of the library as Python objects: a serializer that makes the package's data classes of structs, and its enumerations of names.
//!
//! Which class belongs to a struct is found by the struct's own name in the package, once. A member that is left out has the
//! class's default; one that the class does not know is an error, which a test over all of them keeps from happening.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};
use roadstead_core::{LogRecord, OutputChunk, OutputKind, Timestamp};
use serde::ser::{self, Serialize};

/// What may be handed to Python.
pub(crate) trait Give: Send {
    /// Makes the object.
    ///
    /// # Errors
    /// The exception of whatever could not be made.
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// It is not handed out, since nobody waits for it any more: what must not be lost goes back to where it came from.
    fn unwanted(self)
    where
        Self: Sized,
    {
    }
}

/// Plain data of the library.
#[derive(Debug)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: Serialize + Send> Give for Plain<T> {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let own = std::any::type_name::<T>().rsplit("::").next();
        let within = FLAT.into_iter().find(|flat| Some(*flat) == own);
        Ok(self.0.serialize(Giver { py, within })?.unbind())
    }
}

impl Give for () {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

impl Give for String {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(PyString::new(py, &self).into_any().unbind())
    }
}

impl Give for Bytes {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(PyBytes::new(py, &self).into_any().unbind())
    }
}

impl<T: Give> Give for Vec<T> {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let items = self.into_iter().map(|item| item.give(py)).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, items)?.into_any().unbind())
    }
}

/// A data class of the package, as far as making one needs it.
struct Class {
    class: Py<PyAny>,
    /// Where each member stands among the arguments.
    places: HashMap<String, usize>,
    members: Vec<Member>,
}

struct Member {
    default: Default,
    /// The class of what it holds, where that has the members of another struct among its own, and so comes without its name.
    within: Option<&'static str>,
}

/// What stands in place of a member that is left out.
enum Default {
    Missing,
    Value(Py<PyAny>),
    Made(Py<PyAny>),
}

/// Members of enumerations, by the names of both.
type Words = HashMap<(&'static str, &'static str), Py<PyAny>>;

/// A class by the name of its struct; none where the package has no such class.
type Known = Option<Arc<Class>>;

static TYPES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static CLASSES: Mutex<Option<HashMap<&'static str, Known>>> = Mutex::new(None);
static WORDS: Mutex<Option<Words>> = Mutex::new(None);
static DATETIME: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();

/// Classes whose members are among those of another struct; their names as text that lives as long as the program.
const FLAT: [&str; 3] = ["ContainerDetails", "ContainerUsage", "ImageDetails"];

fn types(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    Ok(TYPES.get_or_try_init(py, || py.import("roadstead").map(Bound::unbind))?.bind(py))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn class(py: Python<'_>, name: &'static str) -> PyResult<Known> {
    if let Some(known) = lock(&CLASSES).as_ref().and_then(|classes| classes.get(name)) {
        return Ok(known.clone());
    }
    // Not under the lock: Python may let others run.
    let known = match types(py)?.getattr_opt(name)? {
        Some(class) if class.hasattr("__dataclass_fields__")? => Some(Arc::new(Class::new(&class)?)),
        _ => None,
    };
    lock(&CLASSES).get_or_insert_default().insert(name, known.clone());
    Ok(known)
}

impl Class {
    fn new(class: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = class.py();
        let described = py.import("roadstead._describe")?.call_method1("members", (class,))?;
        let (mut places, mut members) = (HashMap::new(), Vec::new());
        for member in described.try_iter()? {
            let (name, kind, default, within): (String, String, Py<PyAny>, Option<String>) = member?.extract()?;
            let default = match kind.as_str() {
                "value" => Default::Value(default),
                "made" => Default::Made(default),
                _ => Default::Missing,
            };
            let within = within.and_then(|within| FLAT.into_iter().find(|flat| *flat == within));
            places.insert(name, members.len());
            members.push(Member { default, within });
        }
        Ok(Class { class: class.clone().unbind(), places, members })
    }
}

/// The member of an enumeration, or the word itself where the package has no such enumeration.
fn word<'py>(py: Python<'py>, name: &'static str, variant: &'static str) -> PyResult<Bound<'py, PyAny>> {
    if let Some(known) = lock(&WORDS).as_ref().and_then(|words| words.get(&(name, variant))) {
        return Ok(known.bind(py).clone());
    }
    let made = match types(py)?.getattr_opt(name)? {
        Some(class) => class.call1((variant,))?,
        None => PyString::new(py, variant).into_any(),
    };
    lock(&WORDS).get_or_insert_default().insert((name, variant), made.clone().unbind());
    Ok(made)
}

static RECORDS: PyOnceLock<Records> = PyOnceLock::new();

/// What log records and pieces of output are made of, which come by the thousand.
struct Records {
    record: Py<PyAny>,
    chunk: Py<PyAny>,
    kinds: [(OutputKind, Py<PyAny>); 3],
}

fn records(py: Python<'_>) -> PyResult<&Records> {
    RECORDS.get_or_try_init(py, || {
        let kind = |kind: OutputKind| PyResult::Ok((kind, Plain(kind).give(py)?));
        let class = |name: &str| types(py)?.getattr(name).map(Bound::unbind);
        Ok(Records {
            record: class("LogRecord")?,
            chunk: class("OutputChunk")?,
            kinds: [kind(OutputKind::Stdout)?, kind(OutputKind::Stderr)?, kind(OutputKind::Console)?],
        })
    })
}

impl Records {
    fn kind(&self, py: Python<'_>, wanted: OutputKind) -> PyResult<Py<PyAny>> {
        match self.kinds.iter().find(|(kind, _)| *kind == wanted) {
            Some((_, known)) => Ok(known.clone_ref(py)),
            None => Plain(wanted).give(py),
        }
    }
}

impl Give for LogRecord {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (records, LogRecord { kind, time, data, .. }) = (records(py)?, self);
        let time = time.map(|time| moment(py, time)).transpose()?;
        Ok(records.record.bind(py).call1((records.kind(py, kind)?, PyBytes::new(py, &data), time))?.unbind())
    }
}

impl Give for OutputChunk {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (records, OutputChunk { sequence, kind, data, .. }) = (records(py)?, self);
        Ok(records.chunk.bind(py).call1((sequence, records.kind(py, kind)?, PyBytes::new(py, &data)))?.unbind())
    }
}

/// A moment as a `datetime` in UTC, to the microsecond, which is as far as that goes.
pub(crate) fn moment(py: Python<'_>, time: Timestamp) -> PyResult<Bound<'_, PyAny>> {
    let (datetime, utc) = DATETIME.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        let utc = module.getattr("timezone")?.getattr("utc")?;
        PyResult::Ok((module.getattr("datetime")?.unbind(), utc.unbind()))
    })?;
    // Rounded down, as `datetime` does it. In one call: `fromtimestamp` would take two, and a quarter of the time of all data.
    let micros = i64::try_from(time.unix_nanos().div_euclid(1000)).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    let at = jiff::tz::Offset::UTC.to_datetime(at);
    let micros = at.subsec_nanosecond() / 1000;
    datetime.bind(py).call1((at.year(), at.month(), at.day(), at.hour(), at.minute(), at.second(), micros, utc))
}

/// What went wrong, as a serializer has to tell it.
#[derive(Debug)]
struct Failed(PyErr);

impl From<PyErr> for Failed {
    fn from(error: PyErr) -> Self {
        Failed(error)
    }
}

impl From<Failed> for PyErr {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Failed(PyRuntimeError::new_err(message.to_string()))
    }
}

type Given<'py> = Result<Bound<'py, PyAny>, Failed>;

#[derive(Clone, Copy)]
struct Giver<'py> {
    py: Python<'py>,
    within: Option<&'static str>,
}

impl<'py> Giver<'py> {
    fn of(self, within: Option<&'static str>) -> Self {
        Giver { py: self.py, within }
    }

    fn class(self, name: &'static str) -> Result<Fields<'py>, Failed> {
        let class = class(self.py, name)?
            .ok_or_else(|| <Failed as ser::Error>::custom(format!("the package has no class for {name}")))?;
        let arguments = class.members.iter().map(|_| None).collect();
        Ok(Fields { py: self.py, name, class, arguments, key: None })
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Given<'py> {
            Ok(value.into_pyobject(self.py).map_err(PyErr::from)?.into_any())
        }
    )*};
}

impl<'py> ser::Serializer for Giver<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;
    type SerializeSeq = Items<'py>;
    type SerializeTuple = Items<'py>;
    type SerializeTupleStruct = Items<'py>;
    type SerializeTupleVariant = ser::Impossible<Self::Ok, Failed>;
    type SerializeMap = Entries<'py>;
    type SerializeStruct = Fields<'py>;
    type SerializeStructVariant = ser::Impossible<Self::Ok, Failed>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_bool(self, value: bool) -> Given<'py> {
        Ok(PyBool::new(self.py, value).to_owned().into_any())
    }

    fn serialize_f32(self, value: f32) -> Given<'py> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Given<'py> {
        Ok(PyFloat::new(self.py, value).into_any())
    }

    fn serialize_char(self, value: char) -> Given<'py> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Given<'py> {
        Ok(PyString::new(self.py, value).into_any())
    }

    fn serialize_bytes(self, value: &[u8]) -> Given<'py> {
        Ok(PyBytes::new(self.py, value).into_any())
    }

    fn serialize_none(self) -> Given<'py> {
        Ok(self.py.None().into_bound(self.py))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Given<'py> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Given<'py> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Given<'py> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Given<'py> {
        Ok(word(self.py, name, variant)?)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Given<'py> {
        let inner = value.serialize(self)?;
        if name != Timestamp::NAME {
            return Ok(inner);
        }
        let text: String = inner.extract()?;
        let time = text.parse::<Timestamp>().map_err(<Failed as ser::Error>::custom)?;
        Ok(moment(self.py, time)?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Given<'py> {
        Err(ser::Error::custom(format!("{name}::{variant} is no plain word")))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'py>, Failed> {
        Ok(Items { giver: self, items: Vec::with_capacity(length.unwrap_or_default()) })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'py>, Failed> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items<'py>, Failed> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Failed> {
        Err(ser::Error::custom(format!("{name}::{variant} is no plain word")))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Entries<'py>, Failed> {
        // A struct with another one's members among its own does not say how many there are.
        match (self.within, length) {
            (Some(name), None) => Ok(Entries::Fields(self.class(name)?)),
            _ => Ok(Entries::Dict { giver: self, dict: PyDict::new(self.py), key: None }),
        }
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'py>, Failed> {
        self.class(name)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Failed> {
        Err(ser::Error::custom(format!("{name}::{variant} is no plain word")))
    }
}

struct Items<'py> {
    giver: Giver<'py>,
    items: Vec<Bound<'py, PyAny>>,
}

impl<'py> ser::SerializeSeq for Items<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.items.push(value.serialize(self.giver)?);
        Ok(())
    }

    fn end(self) -> Given<'py> {
        Ok(PyList::new(self.giver.py, self.items)?.into_any())
    }
}

impl<'py> ser::SerializeTuple for Items<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Given<'py> {
        ser::SerializeSeq::end(self)
    }
}

impl<'py> ser::SerializeTupleStruct for Items<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Given<'py> {
        ser::SerializeSeq::end(self)
    }
}

enum Entries<'py> {
    Dict { giver: Giver<'py>, dict: Bound<'py, PyDict>, key: Option<Bound<'py, PyAny>> },
    Fields(Fields<'py>),
}

impl<'py> ser::SerializeMap for Entries<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, given: &T) -> Result<(), Failed> {
        match self {
            Entries::Dict { giver, key, .. } => *key = Some(given.serialize(giver.of(None))?),
            Entries::Fields(fields) => fields.key = Some(given.serialize(Giver { py: fields.py, within: None })?),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        let missing = || <Failed as ser::Error>::custom("a value comes without its key");
        match self {
            Entries::Dict { giver, dict, key } => {
                let key = key.take().ok_or_else(missing)?;
                dict.set_item(key, value.serialize(*giver)?)?;
                Ok(())
            }
            Entries::Fields(fields) => {
                let key: String = fields.key.take().ok_or_else(missing)?.extract()?;
                fields.set(&key, value)
            }
        }
    }

    fn end(self) -> Given<'py> {
        match self {
            Entries::Dict { dict, .. } => Ok(dict.into_any()),
            Entries::Fields(fields) => fields.made(),
        }
    }
}

/// The members of a class that is being made.
struct Fields<'py> {
    py: Python<'py>,
    name: &'static str,
    class: Arc<Class>,
    arguments: Vec<Option<Bound<'py, PyAny>>>,
    key: Option<Bound<'py, PyAny>>,
}

impl<'py> Fields<'py> {
    fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Failed> {
        let known = self.class.places.get(key).copied();
        let member = known.and_then(|place| Some((self.class.members.get(place)?, self.arguments.get_mut(place)?)));
        let Some((member, argument)) = member else {
            return Err(ser::Error::custom(format!("the package's class {} has no member {key}", self.name)));
        };
        *argument = Some(value.serialize(Giver { py: self.py, within: member.within })?);
        Ok(())
    }

    fn made(self) -> Given<'py> {
        let mut arguments = Vec::with_capacity(self.arguments.len());
        for (given, member) in self.arguments.into_iter().zip(&self.class.members) {
            arguments.push(match (given, &member.default) {
                (Some(given), _) => given,
                (None, Default::Value(value)) => value.bind(self.py).clone(),
                (None, Default::Made(make)) => make.bind(self.py).call0()?,
                (None, Default::Missing) => {
                    return Err(ser::Error::custom(format!("a member of {} is missing", self.name)));
                }
            });
        }
        Ok(self.class.class.bind(self.py).call1(PyTuple::new(self.py, arguments)?)?)
    }
}

impl<'py> ser::SerializeStruct for Fields<'py> {
    type Ok = Bound<'py, PyAny>;
    type Error = Failed;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Failed> {
        self.set(key, value)
    }

    fn end(self) -> Given<'py> {
        self.made()
    }
}
