//! What COPA answers: always 200 and one object, where an error is a member and not a status.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use roadstead_core::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::problem::Problem;

/// A view's answer.
pub(in crate::dialects) type Answer = Result<HttpResponse, Refusal>;

/// Why a view did not do what it was asked for.
#[derive(Clone, Debug)]
pub(in crate::dialects) struct Refusal {
    text: String,
    status: StatusCode,
}

impl Refusal {
    /// With these words, which clients may look for.
    pub(in crate::dialects) fn new(text: impl Into<String>) -> Self {
        Refusal { text: text.into(), status: StatusCode::OK }
    }

    /// Its words.
    pub(in crate::dialects) fn text(&self) -> &str {
        &self.text
    }

    /// Its status: 200, but for callers who may not do it.
    pub(in crate::dialects) fn status(&self) -> StatusCode {
        self.status
    }

    /// No container of the pool has this name.
    pub(in crate::dialects) fn no_container() -> Self {
        Refusal::new("Container matching query does not exist.")
    }

    /// No pool has this name.
    pub(in crate::dialects) fn no_pool() -> Self {
        Refusal::new("Pool matching query does not exist.")
    }
}

impl From<Error> for Refusal {
    /// In the words of the engine or of ours, on one line.
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::PermissionDenied if error.node().is_none() => StatusCode::FORBIDDEN,
            _ => StatusCode::OK,
        };
        // What is wrong with the input is named in the message.
        Refusal { text: error.message().replace(['\r', '\n'], " "), status }
    }
}

impl From<Problem> for Refusal {
    /// The body could not be read: too large, too slow, no JSON.
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let status = if status == StatusCode::BAD_REQUEST { StatusCode::OK } else { status };
        Refusal { text: problem.detail.clone(), status }
    }
}

/// An answer.
pub(in crate::dialects) fn object(value: &Value) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

/// An answer, or the error in its place.
pub(in crate::dialects) fn respond(answer: Answer) -> HttpResponse {
    answer.unwrap_or_else(|refusal| HttpResponse::build(refusal.status()).json(json!({ "error": refusal.text() })))
}

/// For every method that a view does not have.
pub(in crate::dialects) async fn not_allowed() -> HttpResponse {
    object(&json!({ "error": "Method not allowed" }))
}
