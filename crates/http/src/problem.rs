//! Problem documents (RFC 9457): how every error of the server looks.
//!
//! What core can say comes from core's one table. The few conditions that only HTTP knows stand in [`HTTP_ROWS`].

use std::collections::BTreeMap;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use roadstead_core::{Error, ErrorKind, Retry};
use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem on its way to the client. Boxed, since it is the error of nearly every function here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

impl std::ops::Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

/// A problem document.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// `urn:roadstead:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means, the same for every occurrence.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// One line that a person can act on.
    pub detail: String,
    /// Stable word for programs.
    pub code: String,
    /// `urn:roadstead:request:` and the request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The request id, as in the header `X-Request-Id` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The field, query key or header at fault, for invalid input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was being done, for example `container.start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The node concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The container, image, network … concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether the request may be repeated as it is.
    pub retry: Retry,
    /// Further facts that help to find the cause, by name; never secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// The methods that the route has, for 405.
    #[serde(skip)]
    pub allow: Option<String>,
    /// Seconds after which it is wise to ask again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

/// A condition that only HTTP knows.
#[derive(Clone, Copy, Debug)]
pub struct HttpRow {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// The title.
    pub title: &'static str,
}

/// What HTTP adds to core's table.
pub const HTTP_ROWS: [HttpRow; 8] = [
    HttpRow { status: StatusCode::METHOD_NOT_ALLOWED, code: "method_not_allowed", title: "Method not allowed" },
    HttpRow { status: StatusCode::NOT_ACCEPTABLE, code: "not_acceptable", title: "No acceptable representation" },
    HttpRow { status: StatusCode::REQUEST_TIMEOUT, code: "request_timeout", title: "Request came too slowly" },
    HttpRow { status: StatusCode::PAYLOAD_TOO_LARGE, code: "payload_too_large", title: "Body too large" },
    HttpRow { status: StatusCode::URI_TOO_LONG, code: "uri_too_long", title: "URI too long" },
    HttpRow {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code: "unsupported_media_type",
        title: "Unsupported media type",
    },
    HttpRow {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "idempotency_key_reused",
        title: "Idempotency key of another request",
    },
    HttpRow { status: StatusCode::UPGRADE_REQUIRED, code: "upgrade_required", title: "WebSocket required" },
];

impl Problem {
    fn of(status: u16, code: &str, title: &str, detail: String, retry: Retry) -> Self {
        Problem(Box::new(Document {
            kind: format!("urn:roadstead:problem:{code}"),
            title: title.to_owned(),
            status,
            detail,
            code: code.to_owned(),
            instance: None,
            request_id: None,
            field: None,
            operation: None,
            node: None,
            resource: None,
            retry,
            context: BTreeMap::new(),
            allow: None,
            retry_after: matches!(status, 429 | 503).then_some(1),
        }))
    }

    /// A condition of [`HTTP_ROWS`], or core's row with this status; anything else is an unexpected error.
    #[must_use]
    pub fn from_status(status: StatusCode, detail: impl Into<String>) -> Self {
        if let Some(row) = HTTP_ROWS.iter().find(|row| row.status == status) {
            return Problem::of(status.as_u16(), row.code, row.title, detail.into(), Retry::Never);
        }
        let row = roadstead_core::ERROR_TABLE.iter().find(|row| row.status == status.as_u16());
        let kind = match row {
            Some(row) => row.kind,
            None if status.is_client_error() => ErrorKind::InvalidInput,
            None => ErrorKind::Unexpected,
        };
        Error::new(kind, detail.into()).into()
    }

    /// 405 with the methods that there are.
    #[must_use]
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this route has {allow}");
        let mut problem = Problem::from_status(StatusCode::METHOD_NOT_ALLOWED, detail);
        problem.0.allow = Some(allow);
        problem
    }

    /// 413 for a body over `limit` bytes.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {limit} bytes at most"))
    }

    /// Names the field of the input at fault.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    /// Says when it is wise to ask again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Ties the problem to the request that it answers.
    #[must_use]
    pub fn with_request_id(mut self, id: &str) -> Self {
        self.0.instance = Some(format!("urn:roadstead:request:{id}"));
        self.0.request_id = Some(id.to_owned());
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let row = error.kind().row();
        let mut problem = Problem::of(row.status, row.code, row.title, error.to_string(), error.retry());
        problem.0.field = error.field().map(str::to_owned);
        problem.0.operation = error.operation().map(str::to_owned);
        problem.0.node = error.node().map(str::to_owned);
        problem.0.resource = error.resource().map(str::to_owned);
        problem.0.context = error.context().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The response keeps the problem in its extensions, so that the outermost middleware can add the request id.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, PROBLEM_JSON));
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"roadstead\""));
        }
        // One that is given again has it no more, and the wait is over.
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(id) = &self.request_id {
            response.insert_header(("X-Request-Id", id.as_str()));
        }
        response.extensions_mut().insert(self.clone());
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// What a handler gives.
pub(crate) type Answer = Result<HttpResponse, Problem>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_core_becomes_its_row() {
        for row in &roadstead_core::ERROR_TABLE {
            let problem = Problem::from(Error::new(row.kind, "detail"));
            assert_eq!((problem.status, problem.code.as_str()), (row.status, row.code));
            assert_eq!(problem.status_code().as_u16(), row.status);
        }
    }

    #[test]
    fn the_facts_of_an_error_are_told() {
        let error = Error::unsupported("freezing").with_context("capability", "freeze");
        let told = serde_json::to_value(Problem::from(error)).unwrap();
        assert_eq!(told["context"], serde_json::json!({"capability": "freeze"}));
        let none = serde_json::to_value(Problem::from(Error::new(ErrorKind::Conflict, "x"))).unwrap();
        assert!(none.get("context").is_none());
    }

    #[test]
    fn the_two_tables_do_not_meet() {
        for row in &HTTP_ROWS {
            assert!(roadstead_core::ERROR_TABLE.iter().all(|core| core.code != row.code));
            assert_eq!(Problem::from_status(row.status, "x").code, row.code);
        }
        assert_eq!(Problem::from_status(StatusCode::NOT_FOUND, "x").code, "not_found");
        assert_eq!(Problem::from_status(StatusCode::IM_A_TEAPOT, "x").code, "invalid_input");
        assert_eq!(Problem::from_status(StatusCode::BAD_GATEWAY, "x").code, "unexpected");
    }
}
