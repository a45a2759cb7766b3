//! What callers of COPA send: query strings, forms and, beside those, JSON objects with the same members.
//!
//! COPA reads forms only; JSON is an extension. Of a name that is given several times the last one counts, unknown names are
//! ignored, and an empty value counts as given.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::stream;
use roadstead_core::{Error, Result};
use serde_json::{Map, Value};

use super::answer::Refusal;
use crate::dialects::Dialect;
use crate::extract::{parse_json, read_body};
use crate::problem::Problem;
use crate::state::App;

/// So many fields are looked at.
const FIELDS_MAX: usize = 1000;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(in crate::dialects) struct Form(BTreeMap<String, String>);

/// What a body is.
#[derive(Debug)]
pub(in crate::dialects) enum Body {
    /// A form, or nothing.
    Form(Form),
    /// JSON.
    Json(Value),
}

impl Form {
    /// The query string of a request.
    pub(in crate::dialects) fn of_query(req: &HttpRequest) -> Self {
        Form::urlencoded(req.query_string().as_bytes())
    }

    fn urlencoded(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).take(FIELDS_MAX);
        Form(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    async fn multipart(body: Bytes, boundary: &str) -> Result<Self> {
        let refuse = |error: multer::Error| Error::invalid("body", format!("not a multipart form: {error}"));
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
        let mut form = BTreeMap::new();
        while let Some(part) = parts.next_field().await.map_err(refuse)? {
            if form.len() == FIELDS_MAX {
                return Err(Error::invalid("body", format!("has more than {FIELDS_MAX} fields")));
            }
            let Some(name) = part.name().map(str::to_owned) else { continue };
            let value = part.bytes().await.map_err(refuse)?;
            form.insert(name, String::from_utf8_lossy(&value).into_owned());
        }
        Ok(Form(form))
    }

    /// The members of a JSON object, as the texts that a form would have.
    ///
    /// # Errors
    /// `InvalidInput` for what is no object, or has a member that is no text, number or truth value.
    pub(in crate::dialects) fn of_json(value: Value) -> Result<Self> {
        let Value::Object(members) = value else {
            return Err(Error::invalid("body", "must be a JSON object or a form"));
        };
        let text = |(name, value): (String, Value)| match value {
            Value::String(text) => Ok((name, text)),
            Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
            Value::Null => Ok((name, String::new())),
            Value::Array(_) | Value::Object(_) => {
                Err(Error::invalid(name, "must be a text, a number, or true or false"))
            }
        };
        members.into_iter().map(text).collect::<Result<_>>().map(Form)
    }

    /// The value of a name.
    pub(in crate::dialects) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a name that has to be there.
    pub(in crate::dialects) fn required(&self, name: &str) -> std::result::Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new(format!("Required Field '{name}' not in post")))
    }

    /// The values of names that have to be there; the first that is not is told.
    pub(in crate::dialects) fn all<'a, const N: usize>(
        &'a self,
        names: [&str; N],
    ) -> std::result::Result<[&'a str; N], Refusal> {
        let mut values = [""; N];
        for (value, name) in values.iter_mut().zip(names) {
            *value = self.required(name)?;
        }
        Ok(values)
    }
}

impl Body {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// A problem for one that is too large or comes too slowly.
    pub(in crate::dialects) async fn read(
        app: &App,
        req: &HttpRequest,
        payload: &mut Payload,
    ) -> std::result::Result<Self, Problem> {
        let body = read_body(payload, req.headers(), app.config.max_body_bytes).await?.freeze();
        Self::of(app, req, body).await
    }

    /// Reads a body that is JSON in COPA, too, or a form: what it is called does not matter, since its clients call JSON what they like.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(in crate::dialects) async fn read_lenient(
        app: &App,
        req: &HttpRequest,
        payload: &mut Payload,
    ) -> std::result::Result<Self, Problem> {
        let body = read_body(payload, req.headers(), app.config.max_body_bytes).await?.freeze();
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[' | b'{') => Ok(Body::Json(parse_json(&body)?)),
            _ => Self::of(app, req, body).await,
        }
    }

    async fn of(app: &App, req: &HttpRequest, body: Bytes) -> std::result::Result<Self, Problem> {
        let kind = req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" if app.dialect(Dialect::Copa).is_some_and(|config| config.json_bodies) => {
                Ok(Body::Json(parse_json(&body)?))
            }
            "multipart/form-data" => {
                let boundary = multer::parse_boundary(kind)
                    .map_err(|error| Error::invalid("Content-Type", format!("has no boundary: {error}")))?;
                Ok(Body::Form(Form::multipart(body, &boundary).await?))
            }
            // Clients of COPA that are not careful name no type.
            "application/x-www-form-urlencoded" | "" => Ok(Body::Form(Form::urlencoded(&body))),
            // Nothing of any other is read.
            _ => Ok(Body::Form(Form::default())),
        }
    }

    /// Reads a body that has to be a JSON object, whatever it is called.
    ///
    /// # Errors
    /// A problem for one that is none, is too large or comes too slowly.
    pub(in crate::dialects) async fn read_object(
        app: &App,
        req: &HttpRequest,
        payload: &mut Payload,
    ) -> std::result::Result<Map<String, Value>, Problem> {
        let body = read_body(payload, req.headers(), app.config.max_body_bytes).await?;
        Ok(parse_json(&body)?)
    }

    /// As a form.
    ///
    /// # Errors
    /// As [`Form::of_json`].
    pub(in crate::dialects) fn form(self) -> Result<Form> {
        match self {
            Body::Form(form) => Ok(form),
            Body::Json(value) => Form::of_json(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_missing_field_is_told() {
        let form = Form::urlencoded(b"b=2&a=&c=1&c=3&d=%ff+x");
        assert_eq!(form.all(["a", "b", "c"]).unwrap(), ["", "2", "3"]);
        assert_eq!(form.get("d"), Some("\u{fffd} x"));
        let refused = form.all(["a", "y", "x"]).unwrap_err();
        assert_eq!(refused.text(), "Required Field 'y' not in post");
    }

    #[test]
    fn json_has_the_same_members() {
        let form = Form::of_json(json!({"a": "x", "b": 1.5, "c": true, "d": null})).unwrap();
        assert_eq!(form.all(["a", "b", "c", "d"]).unwrap(), ["x", "1.5", "true", ""]);
        assert_eq!(Form::of_json(json!({"a": []})).unwrap_err().field(), Some("a"));
        assert_eq!(Form::of_json(json!([])).unwrap_err().field(), Some("body"));
    }

    #[tokio::test]
    async fn multipart_forms_are_read() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"operation\"\r\n\r\nadd\r\n--x--\r\n";
        let form = Form::multipart(Bytes::from(body), "x").await.unwrap();
        assert_eq!(form.get("operation"), Some("add"));
        assert_eq!(Form::multipart(Bytes::from("--x\r\nbroken"), "x").await.unwrap_err().field(), Some("body"));
    }
}
