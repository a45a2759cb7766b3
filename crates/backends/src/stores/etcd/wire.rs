//! The shapes of etcd's JSON gateway. Numbers of 64 bits are texts, keys and values are base64, what is zero or empty is left out, and
//! members that are not known are passed over.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::failure::{Failure, Tried};

/// Bytes in requests.
pub(super) fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(bytes))
}

/// Numbers of 64 bits in requests, for which etcd has signed ones.
pub(super) fn number(number: u64) -> Value {
    Value::String(signed(number).to_string())
}

/// What no revision and no lease of etcd is, for numbers that are beyond all of them.
const BEYOND: i64 = -1;

/// A revision or lease that an entry must have, or `-1`, which none has: 0 would mean that there is none.
pub(super) fn some_number(number: u64) -> Value {
    Value::String(i64::try_from(number).ok().filter(|number| *number > 0).unwrap_or(BEYOND).to_string())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A range of keys.
pub(super) fn range(begin: &str, end: Option<&str>) -> Value {
    match end {
        Some(end) => json!({"key": bytes(begin), "range_end": bytes(end)}),
        None => json!({"key": bytes(begin)}),
    }
}

/// What every answer begins with.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "as_number")]
    pub(super) cluster_id: u64,
    #[serde(deserialize_with = "as_number")]
    pub(super) revision: u64,
}

/// An answer with its header.
pub(super) trait Answer: serde::de::DeserializeOwned + Send {
    fn header(&self) -> Header;

    /// What ends a stream instead of an answer.
    fn error(&self) -> Option<&Value> {
        None
    }
}

macro_rules! answers {
    ($($name:ident { $($(#[$attribute:meta])* $member:ident: $type:ty,)* })+) => {$(
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            pub(super) header: Header,
            $($(#[$attribute])* pub(super) $member: $type,)*
        }

        impl Answer for $name {
            fn header(&self) -> Header {
                self.header
            }
        }
    )+};
}

answers! {
    Range {
        kvs: Vec<KeyValue>,
        more: bool,
    }
    Txn {
        succeeded: bool,
        responses: Vec<Step>,
    }
    Lease {
        #[serde(rename = "ID", deserialize_with = "as_number")]
        id: u64,
        #[serde(rename = "TTL", deserialize_with = "as_number")]
        ttl: u64,
    }
    Authenticated {
        token: String,
    }
    Plain {}
    WatchAnswer {
        created: bool,
        canceled: bool,
        /// Whether the next message goes on with what this one tells.
        fragment: bool,
        cancel_reason: String,
        #[serde(deserialize_with = "as_number")]
        compact_revision: u64,
        events: Vec<Event>,
    }
}

/// What one step of a transaction answers; only reads say something.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) response_range: Option<Range>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "as_bytes")]
    pub(super) key: Vec<u8>,
    #[serde(deserialize_with = "as_bytes")]
    pub(super) value: Vec<u8>,
    #[serde(deserialize_with = "as_number")]
    pub(super) mod_revision: u64,
    #[serde(deserialize_with = "as_number")]
    pub(super) lease: u64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Event {
    /// Left out for a put.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) kv: KeyValue,
}

/// One message of a stream.
#[derive(Debug, serde::Deserialize)]
#[serde(bound = "T: Answer")]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Value>,
}

impl<T: Answer> Answer for Streamed<T> {
    fn header(&self) -> Header {
        self.result.as_ref().map(Answer::header).unwrap_or_default()
    }

    fn error(&self) -> Option<&Value> {
        self.error.as_ref()
    }
}

/// Understands an answer of a member.
pub(super) fn parse<T: Answer>(member: &str, bytes: &[u8]) -> Tried<T> {
    let answer: T = serde_json::from_slice(bytes).map_err(|cause| Failure::nonsense(member, &cause))?;
    match answer.error() {
        Some(_) => Err(Failure::answer(member, 200, bytes)),
        None => Ok(answer),
    }
}

/// A failure: gRPC's code, and etcd's words. Members up to 3.5 have the words in `error`, too, or all of it in there when it
/// ends a stream.
pub(super) fn failure(body: &Value) -> Option<(u64, &str)> {
    let inner = match body.get("error") {
        Some(inner @ Value::Object(_)) => inner,
        _ => body,
    };
    let code = inner.get("code").or_else(|| inner.get("grpc_code"))?.as_u64()?;
    Some((code, inner.get("message").and_then(Value::as_str).unwrap_or_default()))
}

struct Number;

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 64 bits, as a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        // Nothing that is asked for is negative; what is none (such as the life of a lease that is over) is zero.
        if text.starts_with('-') {
            return text.parse::<i64>().map(|_| 0).map_err(E::custom);
        }
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, _negative: i64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<u64, E> {
        Ok(0)
    }
}

fn as_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Number)
}

fn as_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default();
    // What it was is not repeated: it may be a secret.
    STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_members_of_any_age_write_them() {
        let text = r#"{"header":{"cluster_id":"17300438976491492131","revision":"7","news":1},"kvs":[{"key":"YQ==","mod_revision":5,
            "lease":null},{"key":"Yg==","value":"AP8=","mod_revision":"7","lease":"9"}],"more":true,"count":"3"}"#;
        let range: Range = serde_json::from_str(text).unwrap();
        assert_eq!((range.header.cluster_id, range.header.revision, range.more), (17_300_438_976_491_492_131, 7, true));
        let read: Vec<_> = range.kvs.iter().map(|kv| (&kv.key[..], &kv.value[..], kv.mod_revision, kv.lease)).collect();
        assert_eq!(read, [(&b"a"[..], &b""[..], 5, 0), (&b"b"[..], &[0, 255][..], 7, 9)]);
        let lease: Streamed<Lease> = serde_json::from_str(r#"{"result":{"ID":"9","TTL":"-1"}}"#).unwrap();
        assert_eq!(lease.result.unwrap().ttl, 0);
        let error = serde_json::from_str::<Range>(r#"{"kvs":[{"key":"hunter2!"}]}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn failures_are_read_as_members_of_any_age_write_them() {
        for text in [
            r#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#,
            r#"{"code":14,"message":"etcdserver: no leader","details":[]}"#,
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#,
            r#"{"error":{"code":14,"message":"etcdserver: no leader","details":[]}}"#,
        ] {
            let body: Value = serde_json::from_str(text).unwrap();
            assert_eq!(failure(&body), Some((14, "etcdserver: no leader")), "{text}");
        }
        assert_eq!(failure(&json!({"result": {}})), None);
    }

    #[test]
    fn numbers_that_etcd_does_not_have_are_none() {
        assert_eq!([some_number(0), some_number(u64::MAX), some_number(7)], [json!("-1"), json!("-1"), json!("7")]);
        assert_eq!(number(u64::MAX), json!("9223372036854775807"));
    }
}
