//! The dialect of COPA, which drives container pools and collects measurements of them. A pool of COPA is a node here.

mod answer;
mod browser;
mod command;
mod container;
mod form;
mod image;
mod information;
mod monitor;
mod pools;
mod verbs;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Resource, web};
use serde_json::json;

use self::answer::Refusal;
pub(crate) use self::monitor::{Monitor, keep};
use super::nodes;
use crate::nodes::NodeSlot;
use crate::state::App;

/// Its routes. Each path is there with and without the slash at its end.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(view("/REST/pools").route(web::get().to(pools::get)).route(web::post().to(pools::post)))
        .service(view("/REST/container").route(web::get().to(container::get)).route(web::post().to(container::post)))
        .service(view("/REST/image").route(web::get().to(image::get)).route(web::post().to(image::post)))
        .service(view("/core/containers_list/api").route(web::post().to(command::post)))
        .configure(monitor::routes)
        .configure(browser::routes);
}

/// A view, which has an answer of its own for methods that it does not have.
fn view(path: &str) -> Resource {
    web::resource([path.to_owned(), format!("{path}/")]).default_service(web::to(answer::not_allowed))
}

/// How it says no, where no view of its own answers.
pub(super) fn refusal(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": message }))
}

/// The pool with this name.
fn pool(app: &App, name: &str) -> Result<Arc<NodeSlot>, Refusal> {
    nodes(app).into_iter().find(|slot| slot.name() == name).ok_or_else(Refusal::no_pool)
}
