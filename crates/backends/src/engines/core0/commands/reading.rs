//! How answers are read: whatever generation wrote them, a member that is missing, null or of another type is its default,
//! and a list loses only what makes no sense in it.
//!
//! Go's decoder matches names in any case, older nodes write some numbers as text (section 1 of the reference), and `lsblk`
//! writes all of them so (section 12.7). A payload that is something else as a whole stays an error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

use roadstead_core::{Secret, Timestamp};

/// What can be read from any value; `None` for what makes no sense.
pub(super) trait Read: Sized {
    /// Reads it.
    fn read(value: &Value) -> Option<Self>;
}

/// A number however it is written: as such, with a fraction, as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Read for $type {
            fn read(value: &Value) -> Option<Self> {
                let exact = match value {
                    Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                #[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
                let whole = exact.or_else(|| number(value).map(|number| number as i128))?;
                <$type>::try_from(whole).ok()
            }
        }
    )+};
}

integers!(u8, u16, u32, u64, i32, i64);

impl Read for f64 {
    fn read(value: &Value) -> Option<Self> {
        number(value)
    }
}

impl Read for bool {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Some(true),
                "0" | "false" | "no" | "off" => Some(false),
                _ => None,
            },
            other => number(other).map(|number| number != 0.0),
        }
    }
}

impl Read for String {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }
}

impl Read for Secret {
    fn read(value: &Value) -> Option<Self> {
        String::read(value).map(Secret::new)
    }
}

impl Read for Value {
    fn read(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Value) -> Option<Self> {
        Some(T::read(value))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value) -> Option<Self> {
        Some(value.as_array()?.iter().filter_map(T::read).collect())
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Value) -> Option<Self> {
        Some(value.as_object()?.iter().filter_map(|(key, value)| Some((key.clone(), T::read(value)?))).collect())
    }
}

impl<T: Read> Read for (T, T) {
    fn read(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [first, second] => Some((T::read(first)?, T::read(second)?)),
            _ => None,
        }
    }
}

/// A span in seconds; negative ones are none.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    number(value).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// A span in nanoseconds.
pub(super) fn nanoseconds(value: &Value) -> Option<Duration> {
    u64::read(value).map(Duration::from_nanos)
}

/// A time in milliseconds since the beginning of 1970; 0 is none.
pub(super) fn at_milliseconds(value: &Value) -> Option<Option<Timestamp>> {
    let since = u64::read(value).filter(|since| *since > 0);
    Some(since.and_then(super::super::outcome::milliseconds))
}

/// A time in seconds since the beginning of 1970; 0 is none.
pub(super) fn at_seconds(value: &Value) -> Option<Option<Timestamp>> {
    Some(i64::read(value).filter(|since| *since > 0).and_then(Timestamp::from_unix_seconds))
}

/// A time in nanoseconds since the beginning of 1970; 0 is none.
pub(super) fn at_nanoseconds(value: &Value) -> Option<Option<Timestamp>> {
    let since = u64::read(value).filter(|since| *since > 0);
    Some(since.and_then(|since| Timestamp::from_unix_nanos(i128::from(since))))
}

/// KiB, as bytes.
pub(super) fn kibibytes(value: &Value) -> Option<u64> {
    u64::read(value).map(|kibibytes| kibibytes.saturating_mul(1024))
}

/// MiB, as bytes.
pub(super) fn mebibytes(value: &Value) -> Option<u64> {
    u64::read(value).map(|mebibytes| mebibytes.saturating_mul(1024 * 1024))
}

/// The member with one of these names, in any case; its default when there is none, or what is there makes no sense.
pub(super) fn member<T: Default>(value: &Value, names: &[&str], how: impl Fn(&Value) -> Option<T>) -> T {
    let Some(members) = value.as_object() else { return T::default() };
    let exact = names.iter().find_map(|name| members.get(*name));
    let found = exact.or_else(|| {
        members.iter().find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name))).map(|(_, value)| value)
    });
    found.filter(|value| !value.is_null()).and_then(how).unwrap_or_default()
}

/// A payload as a whole, which must make sense.
pub(super) fn whole<'de, T: Read, D: Deserializer<'de>>(deserializer: D, what: &str) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    T::read(&value).ok_or_else(|| D::Error::custom(format!("it is no {what}")))
}

/// A list, where null is an empty one.
#[derive(Debug)]
pub(super) struct Items<T>(pub(super) Vec<T>);

impl<'de, T: Read> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Items(Vec::new())),
            value => Vec::read(&value).map(Items).ok_or_else(|| D::Error::custom("it is no list")),
        }
    }
}

/// Values by name, where null is none at all.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) BTreeMap<String, T>);

impl<'de, T: Read> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Named(BTreeMap::new())),
            value => BTreeMap::read(&value).map(Named).ok_or_else(|| D::Error::custom("it is no object")),
        }
    }
}

/// One number, however it is written.
#[derive(Debug)]
pub(super) struct Number<T>(pub(super) T);

impl<'de, T: Read> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer, "number of this size").map(Number)
    }
}

/// Whether; null is no.
#[derive(Debug)]
pub(super) struct Truth(pub(super) bool);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_null() {
            return Ok(Truth(false));
        }
        bool::read(&value).map(Truth).ok_or_else(|| D::Error::custom("it is neither true nor false"))
    }
}

/// A success without a value; whatever comes in its place is nobody's business.
#[derive(Debug)]
pub(super) struct Done;

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|_| Done)
    }
}

/// Makes plain data for an answer: each member with the names that nodes give it, and, after `in`, how its unit is read. One
/// that is `secret struct` has to say itself what is shown of it for debugging.
macro_rules! record {
    ($(#[$about:meta])* pub struct $name:ident { $($members:tt)+ }) => {
        $crate::engines::core0::commands::reading::record! {
            $(#[$about])*
            #[derive(Debug)]
            pub secret struct $name { $($members)+ }
        }
    };
    ($(#[$about:meta])* pub secret struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty = $($wire:literal)|+ $(in $how:path)?;)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Default, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $crate::engines::core0::commands::reading::Read for $name {
            fn read(value: &::serde_json::Value) -> Option<Self> {
                value.is_object().then(|| $name {
                    $($field: $crate::engines::core0::commands::reading::member(
                        value, &[$($wire),+], $crate::engines::core0::commands::reading::record!(@ $type $(, $how)?),
                    ),)+
                })
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::engines::core0::commands::reading::whole(deserializer, "object")
            }
        }
    };
    (@ $type:ty) => { <$type as $crate::engines::core0::commands::reading::Read>::read };
    (@ $type:ty, $how:path) => { $how };
}

/// Makes an open set of words: those that are known, and `Other` for what is newer than this library.
macro_rules! words {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $word:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $word,)+
            /// A word that is newer than this library, as it is; empty where none was told.
            Other(String),
        }

        impl $name {
            /// The node's word for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$word => $text,)+
                    $name::Other(text) => text,
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::from("")
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => $name::$word,)+
                    other => $name::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::engines::core0::commands::reading::whole(deserializer, "word")
            }
        }

        impl $crate::engines::core0::commands::reading::Read for $name {
            fn read(value: &::serde_json::Value) -> Option<Self> {
                value.as_str().map($name::from)
            }
        }
    };
}

pub(super) use {record, words};

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macros make public data")]
mod tests {
    use serde_json::json;

    use super::*;

    record! {
        /// A thing.
        pub struct Thing {
            /// Size in bytes.
            size_bytes: u64 = "size" | "length" in kibibytes;
            /// When.
            at: Option<Timestamp> = "at" in at_milliseconds;
            /// Names.
            names: Vec<String> = "names";
            /// Parts.
            parts: Vec<Thing> = "parts";
            /// Whether.
            on: Option<bool> = "on";
        }
    }

    words! {
        /// A word.
        pub enum Word {
            /// Known.
            Known = "known",
        }
    }

    fn thing(value: Value) -> Thing {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn anything_may_be_missing_null_or_odd() {
        assert_eq!(thing(json!({})), Thing::default());
        assert_eq!(
            thing(json!({"size": null, "at": null, "names": null, "parts": null, "on": null})),
            Thing::default()
        );
        assert_eq!(thing(json!({"size": {}, "at": [], "names": 1, "parts": "x", "on": {}})), Thing::default());
        let some = thing(
            json!({"LENGTH": "2", "at": 1500, "names": ["a", null, [], 1], "parts": [{"size": 1.9}, 3], "on": "1"}),
        );
        assert_eq!((some.size_bytes, some.names, some.on), (2048, vec!["a".to_owned(), "1".to_owned()], Some(true)));
        assert_eq!((some.parts[0].size_bytes, some.parts.len()), (1024, 1));
        assert_eq!(some.at.unwrap().to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(thing(json!({"size": u64::MAX})).size_bytes, u64::MAX);
        assert_eq!(thing(json!({"size": -1, "at": -1})), Thing::default());
        assert!(serde_json::from_value::<Thing>(json!([1])).is_err());
    }

    #[test]
    fn words_and_wholes() {
        assert_eq!(serde_json::from_value::<Word>(json!("known")).unwrap(), Word::Known);
        assert_eq!(serde_json::from_value::<Word>(json!("new")).unwrap(), Word::Other("new".to_owned()));
        assert_eq!((json!(Word::Known), Word::default().to_string()), (json!("known"), String::new()));
        assert_eq!(serde_json::from_value::<Number<u32>>(json!("7")).unwrap().0, 7);
        assert!(serde_json::from_value::<Number<u8>>(json!(256)).is_err());
        assert!(serde_json::from_value::<Items<String>>(json!(null)).unwrap().0.is_empty());
        assert!(!serde_json::from_value::<Truth>(json!(null)).unwrap().0);
        assert!(serde_json::from_value::<Truth>(json!([])).is_err());
        assert!(serde_json::from_value::<Done>(json!({"x": 1})).is_ok());
    }
}
