//! The dialect of pharos, which monitors the containers of hosts.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Its routes.
pub(crate) fn routes(_: &mut web::ServiceConfig) {}

/// How it says no.
pub(super) fn refusal(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "message": message, "return_code": status.as_u16() }))
}
