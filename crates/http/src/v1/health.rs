//! Whether the server is there. These two need no identity and tell nothing else.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;

use crate::extract::{Nothing, Query};
use crate::problem::{Answer, Problem};
use crate::state::App;

/// That all is well.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ServerHealth {
    /// `ok`.
    pub status: &'static str,
}

/// Whether the process is up.
#[utoipa::path(tag = "health", security(()), responses((status = 200, description = "It is.", body = ServerHealth)))]
#[get("/healthz")]
pub(crate) async fn healthz(_: Query<Nothing>) -> Answer {
    Ok(HttpResponse::Ok().json(ServerHealth { status: "ok" }))
}

/// Whether requests are served: the nodes are loaded and the server is not ending.
#[utoipa::path(tag = "health", security(()), responses((status = 200, description = "They are.", body = ServerHealth)))]
#[get("/readyz")]
pub(crate) async fn readyz(app: web::Data<App>, _: Query<Nothing>) -> Answer {
    if *app.ending.borrow() {
        let status = actix_web::http::StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::from_status(status, "the server is ending"));
    }
    Ok(HttpResponse::Ok().json(ServerHealth { status: "ok" }))
}
