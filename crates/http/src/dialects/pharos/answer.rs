//! How answers of this dialect look, and how requests are read: tolerant where its clients are used to that.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::{Error, Result, Timestamp};
use serde_json::Value;

use crate::problem::Problem;

/// What the data store is called in errors, whatever it is: clients compare the text.
const STORE_AWAY: &str = "Storage is not available: MongoDB";
/// What never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// 200 with this document: members by name, indented by two.
pub(super) fn document(value: &Value) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(format!("{value:#}"))
}

/// The same, for pages of every site.
pub(super) fn readable(value: &Value) -> HttpResponse {
    let mut response = document(value);
    make_readable(&mut response);
    response
}

/// Lets pages of every site read an answer.
pub(super) fn make_readable(response: &mut HttpResponse) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
}

/// 500 with the words that clients know, since the store cannot be asked; why is in the log.
pub(super) fn store_away(error: &Error) -> Problem {
    tracing::warn!(%error, "pharos: the store cannot be asked");
    Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR, STORE_AWAY)
}

/// 404 with these words.
pub(super) fn missing(words: impl Into<String>) -> Problem {
    Problem::from_status(StatusCode::NOT_FOUND, words)
}

/// RFC 3339 in UTC with nine digits behind the point, as clients cut it; the year 1 for what never happened.
pub(super) fn time(time: Option<Timestamp>) -> String {
    let Some(time) = time.filter(|time| !time.is_never()) else { return NEVER.to_owned() };
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

/// The keys of a query. What is not known is ignored, as clients of old are used to.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// That of a request.
    ///
    /// # Errors
    /// `InvalidInput` when it is none.
    pub(super) fn of(req: &HttpRequest) -> Result<Self> {
        Query::read(req.query_string())
    }

    fn read(text: &str) -> Result<Self> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text);
        Ok(Query(pairs.map_err(|_| Error::invalid("query", "cannot be read"))?.into_inner()))
    }

    /// The first value of a key. An empty one counts as none.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// Which part of a list is wanted.
    ///
    /// # Errors
    /// `InvalidInput` with the field `limit` or `offset`.
    pub(super) fn part(&self) -> Result<Part> {
        let number = |key: &str| {
            let read = |text: &str| {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                let refuse = || Error::invalid(key, "must be a number, and not too great a one");
                text.parse::<usize>().ok().filter(|_| is_number).ok_or_else(refuse)
            };
            self.0.iter().find(|(own, _)| own == key).map(|(_, value)| read(value)).transpose()
        };
        Ok(Part { offset: number("offset")?.unwrap_or(0), limit: number("limit")? })
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    offset: usize,
    limit: Option<usize>,
}

impl Part {
    /// The part of these items.
    pub(super) fn of<T>(self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        items.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nine_digits() {
        for (given, shown) in [
            ("2014-11-06T05:44:45.492745708Z", "2014-11-06T05:44:45.492745708Z"),
            ("2014-11-06T05:44:45.5Z", "2014-11-06T05:44:45.500000000Z"),
            ("2014-11-06T05:44:45Z", "2014-11-06T05:44:45.000000000Z"),
            ("0001-01-01T00:00:00Z", NEVER),
        ] {
            assert_eq!(time(given.parse().ok()), shown);
        }
        assert_eq!(time(None), NEVER);
    }

    #[test]
    fn queries_are_read_as_far_as_they_are_known() {
        let query = Query::read("host=a%20b&quiet=true&host=c&status=&limit=2&offset=1").unwrap();
        assert_eq!((query.get("host"), query.get("status"), query.get("id")), (Some("a b"), None, None));
        assert_eq!(query.part().unwrap().of(0..5), [1, 2]);
        assert_eq!(Query::read("").unwrap().part().unwrap().of(0..3), [0, 1, 2]);
        assert_eq!(Query::read("offset=9").unwrap().part().unwrap().of(0..3), [0; 0]);
        for (text, field) in [
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("offset=+1", "offset"),
            ("offset=", "offset"),
            ("limit=99999999999999999999", "limit"),
            ("limit=1.5", "limit"),
        ] {
            assert_eq!(Query::read(text).unwrap().part().unwrap_err().field(), Some(field), "{text}");
        }
    }

    #[test]
    fn members_are_sorted_and_indented_by_two() {
        let value = serde_json::json!({"b": [1.0], "a": {}, "_id": ""});
        assert_eq!(format!("{value:#}"), "{\n  \"_id\": \"\",\n  \"a\": {},\n  \"b\": [\n    1.0\n  ]\n}");
    }
}
