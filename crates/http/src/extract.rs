//! Strict input: query strings and JSON bodies that name the key at fault, and refuse what they do not know.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use roadstead_core::{Error, Timestamp};
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use crate::objects::Objects;
use crate::problem::Problem;
use crate::state::App;

/// A request without query keys, or a body without members.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The query string as `T`, which says `deny_unknown_fields`. A key given twice is refused unless `T` takes a list.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse_query(req.query_string()).map(Query).map_err(Problem::from))
    }
}

/// Parses a query string.
///
/// # Errors
/// `InvalidInput` that names the key.
pub(crate) fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            percent_decode(text)
                .ok_or_else(|| Error::invalid("query", format!("{text:?} is not percent-encoded UTF-8")))
        };
        values.entry(decode(key)?).or_default().push(decode(value)?);
    }
    let map = QueryMap { rest: values.into_iter(), value: None };
    T::deserialize(MapAccessDeserializer::new(map)).map_err(|error: QueryError| match error.field {
        Some(field) => Error::invalid(field, error.reason),
        None => Error::invalid("query", error.reason),
    })
}

/// What is percent-encoded, and a plus for a space; none when it is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Why a query was refused.
#[derive(Debug)]
struct QueryError {
    field: Option<String>,
    reason: String,
}

impl Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for QueryError {}

impl de::Error for QueryError {
    fn custom<T: Display>(reason: T) -> Self {
        QueryError { field: None, reason: reason.to_string() }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let reason = if expected.is_empty() {
            "unknown query key; this route has none".to_owned()
        } else {
            format!("unknown query key; there are {}", expected.join(", "))
        };
        QueryError { field: Some(field.to_owned()), reason }
    }

    fn missing_field(field: &'static str) -> Self {
        QueryError { field: Some(field.to_owned()), reason: "is required".to_owned() }
    }
}

/// The keys with their values; an error about a value gets the key's name, whoever raised it.
struct QueryMap {
    rest: std::collections::btree_map::IntoIter<String, Vec<String>>,
    value: Option<(String, QueryValue)>,
}

impl<'de> de::MapAccess<'de> for QueryMap {
    type Error = QueryError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, QueryError> {
        let Some((key, values)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key.clone(), QueryValue { values }));
        let key: StringDeserializer<QueryError> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, QueryError> {
        let (key, value) = self.value.take().ok_or_else(|| de::Error::custom("a value without key"))?;
        seed.deserialize(value).map_err(|error| QueryError { field: Some(key), reason: error.reason })
    }
}

/// The values of one key.
struct QueryValue {
    values: Vec<String>,
}

impl QueryValue {
    fn one(&self) -> Result<&str, QueryError> {
        match self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(de::Error::custom("is given more than once")),
        }
    }
}

impl IntoDeserializer<'_, QueryError> for QueryValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! from_text {
    ($($method:ident $visit:ident $type:ty, $what:literal;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
            let text = self.one()?;
            match text.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(de::Error::custom(format!(concat!("{:?} is not ", $what), text))),
            }
        })+
    };
}

impl<'de> de::Deserializer<'de> for QueryValue {
    type Error = QueryError;

    from_text! {
        deserialize_i8 visit_i8 i8, "a whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number from 0 on";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        match self.one()? {
            // A key without value is a flag that is set.
            "true" | "1" | "" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            other => Err(de::Error::custom(format!("{other:?} is neither true nor false"))),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_str(self.one()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        let items = self.values.into_iter().map(|value| QueryValue { values: vec![value] }).collect::<Vec<_>>();
        visitor.visit_seq(de::value::SeqDeserializer::new(items.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, QueryError> {
        let text: StringDeserializer<QueryError> = self.one()?.to_owned().into_deserializer();
        de::Deserializer::deserialize_enum(text, name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// A JSON body as `T`, which says `deny_unknown_fields`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_json_body(req, payload, false);
        Box::pin(async move { parse_json(&body.await?).map(Json).map_err(Problem::from) })
    }
}

/// A JSON body that may be left out; then it is `T::default()`.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_json_body(req, payload, true);
        Box::pin(async move {
            let body = body.await?;
            if body.is_empty() {
                return Ok(OptionalJson(T::default()));
            }
            // `null` is one more way to say nothing.
            let value: Option<T> = parse_json(&body)?;
            Ok(OptionalJson(value.unwrap_or_default()))
        })
    }
}

/// Parses JSON, and names the path of what is wrong.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // serde_json itself refuses nesting deeper than 128.
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(Objects(&mut deserializer)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        if inner.is_syntax() || inner.is_eof() {
            return Error::invalid("body", format!("not JSON: {inner}"));
        }
        let reason = without_values(&inner.to_string());
        Error::invalid(field_of(&path, &reason), reason)
    })?;
    deserializer.end().map_err(|error| Error::invalid("body", format!("not one JSON value: {error}")))?;
    Ok(value)
}

/// What serde says of a value, without the value: it may be a secret that stands in the wrong place. The names of unknown
/// members stay, since whoever sent them must be able to find them.
pub(crate) fn without_values(reason: &str) -> String {
    for start in ["invalid type: ", "invalid value: ", "unknown variant "] {
        let Some(rest) = reason.strip_prefix(start) else { continue };
        // What is expected stands last, and holds nothing of the caller's; the value before it may hold any words.
        let none = "there are no variants";
        let Some((value, expected)) = rest.rsplit_once(", expected ").map_or_else(
            || rest.ends_with(none).then(|| (rest, none.to_owned())),
            |(value, expected)| Some((value, format!("expected {expected}"))),
        ) else {
            return start.trim_end_matches([' ', ':']).to_owned();
        };
        let kind = value.split(['"', '`']).next().unwrap_or_default().trim();
        let start = start.trim_end();
        return if kind.is_empty() {
            format!("{}, {expected}", start.trim_end_matches(':'))
        } else {
            format!("{start} {kind}, {expected}")
        };
    }
    // The words of types of our own repeat a value in quotation marks, with those inside escaped.
    let mut shown = String::with_capacity(reason.len());
    let (mut inside, mut escaped) = (false, false);
    for letter in reason.chars() {
        match letter {
            '"' if !escaped => {
                if !inside {
                    shown.push('…');
                }
                inside = !inside;
            }
            letter if !inside => shown.push(letter),
            _ => {}
        }
        escaped = inside && !escaped && letter == '\\';
    }
    shown
}

/// How far ahead of ours the clock of an engine may be.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);
/// Further ahead nobody waits, and engines count in nanoseconds that do not reach much further.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A time that something may have happened at.
///
/// # Errors
/// `InvalidInput` that names `field`.
pub(crate) fn past(field: &str, time: Option<Timestamp>) -> Result<(), Error> {
    reachable(field, time)?;
    if time.is_some_and(|time| time > Timestamp::now().saturating_add(CLOCK_SKEW)) {
        return Err(Error::invalid(field, "lies more than a day ahead"));
    }
    Ok(())
}

/// A time that an engine can be asked about.
///
/// # Errors
/// `InvalidInput` that names `field`.
pub(crate) fn reachable(field: &str, time: Option<Timestamp>) -> Result<(), Error> {
    let Some(time) = time else { return Ok(()) };
    if time.unix_nanos() < 0 {
        return Err(Error::invalid(field, "must not be before 1970-01-01T00:00:00Z"));
    }
    if time > Timestamp::now().saturating_add(FAR) {
        return Err(Error::invalid(field, "lies more than a hundred years ahead"));
    }
    Ok(())
}

/// The path of the member at fault: of an unknown, missing or repeated one, serde tells the name in its words only.
fn field_of(path: &str, reason: &str) -> String {
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| reason.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    match (path, named) {
        ("." | "?", Some(name)) => name.to_owned(),
        ("." | "?", None) => "body".to_owned(),
        (path, Some(name)) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        (path, Some(name)) => format!("{}.{name}", path.trim_end_matches(".?")),
        (path, None) => path.to_owned(),
    }
}

/// A client that sends its body slower than this is not waited for.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

fn read_json_body(
    req: &HttpRequest,
    payload: &mut Payload,
    optional: bool,
) -> impl Future<Output = Result<BytesMut, Problem>> + use<> {
    let limit = req.app_data::<actix_web::web::Data<App>>().map_or(1024 * 1024, |app| app.config.max_body_bytes);
    let media_type = req.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default().to_owned());
    let coding = req.headers().get(header::CONTENT_ENCODING).cloned();
    let announced = announced(req.headers());
    let mut payload = payload.take();
    async move {
        // Nothing is unpacked here: what is small on the wire may be boundless.
        if let Some(coding) = coding.filter(|coding| *coding != "identity") {
            return Err(Problem::from_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("a JSON body must come without Content-Encoding, not with {coding:?}"),
            ));
        }
        let body = read_announced(&mut payload, announced, limit).await?;
        if optional && body.is_empty() {
            return Ok(body);
        }
        let essence = media_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::from_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the body must be application/json, not {essence:?}"),
            ));
        }
        Ok(body)
    }
}

fn announced(headers: &header::HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok())
}

/// The body of a request as it is sent, at most `limit` bytes.
pub(crate) async fn read_body(
    payload: &mut Payload,
    headers: &header::HeaderMap,
    limit: u64,
) -> Result<BytesMut, Problem> {
    read_announced(payload, announced(headers), limit).await
}

async fn read_announced(payload: &mut Payload, announced: Option<u64>, limit: u64) -> Result<BytesMut, Problem> {
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit));
    }
    let read = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Error::invalid("body", format!("could not be read: {error}")))?;
            if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
                return Err(Problem::too_large(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    tokio::time::timeout(BODY_DEADLINE, read)
        .await
        .map_err(|_| Problem::from_status(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 30 seconds"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::{ContainerSpec, ContainerState, PullOptions};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        state: Vec<ContainerState>,
        limit: Option<u32>,
        #[serde(default)]
        force: bool,
        since: Option<Timestamp>,
    }

    fn field(query: &str) -> String {
        parse_query::<Sample>(query).unwrap_err().field().unwrap().to_owned()
    }

    #[test]
    fn queries_parse() {
        let sample: Sample =
            parse_query("state=running&state=stopped&limit=3&force&since=2026-11-21T06%3A50%3A42Z").unwrap();
        assert_eq!(sample.state, [ContainerState::Running, ContainerState::Stopped]);
        assert_eq!((sample.limit, sample.force), (Some(3), true));
        assert_eq!(sample.since.unwrap().to_string(), "2026-11-21T06:50:42Z");
        parse_query::<Nothing>("").unwrap();
    }

    #[test]
    fn bad_queries_name_the_key() {
        for (query, wanted) in [
            ("nope=1", "nope"),
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("limit=1&limit=2", "limit"),
            ("force=maybe", "force"),
            ("since=yesterday", "since"),
            ("limit=%zz", "query"),
        ] {
            assert_eq!(field(query), wanted, "{query}");
        }
        assert_eq!(parse_query::<Nothing>("a=1").unwrap_err().field(), Some("a"));
    }

    #[test]
    fn bad_json_names_the_path() {
        for (body, wanted) in [
            (r#"{"image":"x","imge":1}"#, "imge"),
            (r#"{"image":1}"#, "image"),
            (r#"{"image":"x","limits":{"memory_bytes":"1"}}"#, "limits.memory_bytes"),
            (r#"{"image":"x","limits":{"memry":1}}"#, "limits.memry"),
            (r#"{"image":"x","mounts":[{"type":"bind"}]}"#, "mounts[0].target"),
            (r#"{"image":"x","image":"y"}"#, "image"),
            (r#"{"image":"x""#, "body"),
            (r#"{"image":"x"} {}"#, "body"),
            ("[]x", "body"),
            (r#"["x"]"#, "body"),
            (r#"{"image":"x","limits":[67108864]}"#, "limits"),
            (r#"{"image":"x","mounts":[["tmpfs",null,"/x"]]}"#, "mounts[0]"),
            ("", "body"),
        ] {
            let error = parse_json::<ContainerSpec>(body.as_bytes()).unwrap_err();
            assert_eq!(error.field(), Some(wanted), "{body}: {error}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_json::<serde_json::Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn bad_json_does_not_repeat_values() {
        fn told<T: DeserializeOwned>(body: &str) -> String {
            let error = parse_json::<T>(body.as_bytes()).err().unwrap();
            format!("{error} {error:?}")
        }
        for body in [
            r#"{"reference":"a","credentials":"hunter2"}"#,
            r#"{"reference":"a","credentials":{"username":"a","password":99882}}"#,
            r#"{"reference":"a","credentials":{"username":"a","password":-9.9882e3}}"#,
            r#"{"reference":"a","credentials":{"username":"a","password":["hunter2"]}}"#,
            r#"{"reference":"a","credentials":"x\", expected hunter2, expected `hunter2"}"#,
            r#"{"reference":["hunter2"]}"#,
            r#""hunter2""#,
            "99882",
        ] {
            let told = told::<PullOptions>(body);
            assert!(!told.contains("hunter2") && !told.contains("9882"), "{told}");
        }
        for body in [
            r#"{"image":"x","env":"A=hunter2"}"#,
            r#"{"image":"x","env":["A=hunter2"]}"#,
            r#"{"image":"x","mounts":[{"type":"hunter2","target":"/x"}]}"#,
            r#"{"image":"x","stop_signal":"hunter2"}"#,
        ] {
            let told = told::<ContainerSpec>(body);
            assert!(!told.contains("hunter2"), "{told}");
        }
        let told = told::<Sample>(r#"{"since":"hunter2"}"#);
        assert!(told.contains("RFC 3339") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn what_was_wrong_is_told_without_the_value() {
        for (reason, shown) in [
            ("invalid type: string \"a\", expected u32 at line 1", "invalid type: string, expected u32 at line 1"),
            ("invalid type: integer `5`, expected a string", "invalid type: integer, expected a string"),
            ("invalid type: map, expected a string", "invalid type: map, expected a string"),
            ("unknown variant `a`, expected `b` or `c`", "unknown variant, expected `b` or `c`"),
            ("unknown variant `a`, there are no variants", "unknown variant, there are no variants"),
            ("unknown field `a`, expected `b`", "unknown field `a`, expected `b`"),
            (r#""a\"b" is no signal"#, "… is no signal"),
            ("missing field `a`", "missing field `a`"),
        ] {
            assert_eq!(without_values(reason), shown);
        }
    }
}
