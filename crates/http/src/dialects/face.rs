//! How the errors of a dialect look that no handler of it has made: no such path, no identity, a body that is too large, a panic.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::{Dialect, copa, pharos};
use crate::problem::Problem;

/// The answer of `dialect` for a problem, with its status.
pub(crate) fn render(dialect: Dialect, problem: &Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match dialect {
        Dialect::Pharos => pharos::refusal(status, &problem.detail),
        Dialect::Copa => copa::refusal(status, &problem.detail),
    }
}
