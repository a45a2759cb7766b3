//! What callers said of a host when they registered it: members beside the host, which are kept and told again.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use roadstead_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::extract::{parse_json, read_body};
use crate::problem::Problem;
use crate::state::App;

/// How long the store has to answer.
pub(super) const STORE_DEADLINE: Duration = Duration::from_secs(5);
/// What is not a caller's to say: it is told anew each time.
const OURS: [&str; 3] = ["_id", "containers", "storage"];

/// What was said of a host, by the name of its node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// The members beside `host`.
    pub(super) members: Map<String, Value>,
}

/// A body that names a host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    /// The host.
    pub(super) host: Option<String>,
    /// The `_id`.
    pub(super) id: Option<String>,
    /// All other members.
    pub(super) members: Map<String, Value>,
}

impl Named {
    /// The body of a request, whatever it says that it is.
    ///
    /// # Errors
    /// 400 when it is no JSON object, or `host` or `_id` is no text; 408 and 413.
    pub(super) async fn of(app: &App, req: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        let body = read_body(payload, req.headers(), app.config.max_body_bytes).await?;
        Ok(Named::read(&body)?)
    }

    fn read(body: &[u8]) -> Result<Self> {
        let mut members: Map<String, Value> = parse_json(body)?;
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(Error::invalid(name, "must be a text that is not empty")),
        };
        let (host, id) = (text("host")?, text("_id")?);
        members.retain(|name, _| !OURS.contains(&name.as_str()));
        Ok(Named { host, id, members })
    }
}

/// The document of a registered host, as it is answered to changes.
pub(super) fn document(host: &str, id: &str, members: Map<String, Value>) -> Map<String, Value> {
    let mut document = members;
    document.insert("host".to_owned(), host.into());
    document.insert("_id".to_owned(), id.into());
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_objects_that_name_a_host_by_text() {
        let named = Named::read(br#"{"host": "a", "_id": "b", "rack": 7, "storage": true, "containers": 9}"#).unwrap();
        assert_eq!((named.host.as_deref(), named.id.as_deref()), (Some("a"), Some("b")));
        assert_eq!(named.members.keys().collect::<Vec<_>>(), ["rack"]);
        let shown = Value::Object(document("a", "1", named.members));
        assert_eq!(shown.to_string(), r#"{"_id":"1","host":"a","rack":7}"#);
        assert_eq!(Named::read(b"{}").unwrap(), Named { host: None, id: None, members: Map::new() });
        for (body, field) in [
            (&b""[..], "body"),
            (b"not json", "body"),
            (b"host=a", "body"),
            (b"{} {}", "body"),
            (br#"{"host": 5}"#, "host"),
            (br#"{"host": {"$ne": ""}}"#, "host"),
            (br#"{"host": ""}"#, "host"),
            (br#"{"host": null}"#, "host"),
            (br#"{"_id": []}"#, "_id"),
        ] {
            assert_eq!(Named::read(body).unwrap_err().field(), Some(field), "{}", String::from_utf8_lossy(body));
        }
        for body in [&b"[]"[..], b"\"host\"", b"null", b"7"] {
            assert!(Named::read(body).is_err());
        }
    }
}
