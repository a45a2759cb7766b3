//! The dialect of pharos, which watches the containers of hosts: nodes, metrics, containers and events, over every engine.
//!
//! What is the same as in the old system, what differs on purpose and why is in `docs/dialects/pharos.md`.

mod answer;
mod containers;
mod events;
mod hosts;
mod ids;
mod inspect;
mod kept;
mod metrics;
mod nodes;
mod numbers;
mod processes;
mod registered;
mod running;
mod words;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Resource, web};
use serde_json::json;

pub(crate) use self::kept::Kept;
pub(crate) use self::registered::Registered;

use crate::problem::{Answer, Problem};

/// Its routes. None has a slash at its end, and one with it is none.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let all_nodes = resource("/nodes", "DELETE, GET, POST")
        .route(web::get().to(nodes::list))
        .route(web::post().to(nodes::add))
        .route(web::delete().to(nodes::remove));
    config
        .service(all_nodes)
        .service(resource("/nodes/{host}/metrics", "GET").route(web::get().to(metrics::of_node)))
        .service(resource("/containers", "GET").route(web::get().to(containers::list)))
        .service(resource("/containers/{id}/metrics", "GET").route(web::get().to(metrics::of_container)))
        .service(resource("/events", "GET").route(web::get().to(events::list)))
        .service(resource("/events/stream", "GET").route(web::get().to(events::stream)));
}

/// A path with the methods that it has. Pages of other sites may ask what they may do.
fn resource(path: &str, methods: &'static str) -> Resource {
    let refuse = move || async move { Answer::Err(Problem::method_not_allowed(methods.to_owned())) };
    web::resource(path)
        .route(web::method(actix_web::http::Method::OPTIONS).to(nodes::preflight))
        .default_service(web::to(refuse))
}

/// How it says no. The text is for every page to read, as all that is told.
pub(super) fn refusal(status: StatusCode, message: &str) -> HttpResponse {
    let body = json!({ "message": message, "return_code": status.as_u16() });
    let mut response = HttpResponse::build(status).content_type("application/json").body(format!("{body:#}"));
    answer::make_readable(&mut response);
    response
}
