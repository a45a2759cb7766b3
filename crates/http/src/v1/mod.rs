//! The routes under `/v1`: parse, ask core, render.

mod attach;
mod audit;
mod backups;
mod container_changes;
mod containers;
mod events;
mod files;
mod health;
mod images;
mod jobs;
mod lifecycle;
mod logs;
mod migrations;
mod networks;
mod nodes;
pub(crate) mod openapi;
mod pools;
mod processes;
mod servers;
mod snapshots;
mod usage;
mod volumes;
mod webhooks;

use actix_web::dev::{HttpServiceFactory, ServiceFactory, ServiceRequest};
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use roadstead_core::{Error, Retry, Timestamp};
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_actix_web::{OpenApiFactory, scope};

/// The id of something that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Created {
    /// The engine's id.
    pub id: String,
}

/// 201 with the place of what was made.
fn created(location: &str, body: &impl Serialize) -> HttpResponse {
    HttpResponse::Created().insert_header((header::LOCATION, location)).json(body)
}

/// An error after what was asked for has begun, with the name of that: the same request would begin it again, and must not be made
/// because of this error.
fn begun(error: Error, what: &str) -> Error {
    let error = error.with_resource(what);
    match error.retry() {
        // Nobody would.
        Retry::Never if error.kind().row().status < 500 => error,
        _ => error.with_retry(Retry::Unknown),
    }
}

/// Sorts newest first in a list that is sorted ascending; what has no time comes last.
fn newest_first(time: Option<Timestamp>) -> String {
    let nanos = time.map_or(0, Timestamp::unix_nanos);
    format!("{:039}", (i128::MAX / 2).saturating_sub(nanos))
}

/// What takes routes: the server itself, or the document of the API. A server does not make the document on the way to its routes:
/// that takes more of its memory, and of its start, than all else.
trait Register: Sized {
    /// With one more route.
    fn with(self, route: impl HttpServiceFactory + OpenApiFactory + 'static) -> Self;
}

impl Register for &mut web::ServiceConfig {
    fn with(self, route: impl HttpServiceFactory + OpenApiFactory + 'static) -> Self {
        self.service(route)
    }
}

impl Register for actix_web::Scope {
    fn with(self, route: impl HttpServiceFactory + OpenApiFactory + 'static) -> Self {
        self.service(route)
    }
}

impl Register for &mut ServiceConfig<'_> {
    fn with(self, route: impl HttpServiceFactory + OpenApiFactory + 'static) -> Self {
        self.service(route)
    }
}

impl<T> Register for scope::Scope<T>
where
    T: ServiceFactory<ServiceRequest, Config = (), Error = actix_web::Error, InitError = ()>,
{
    fn with(self, route: impl HttpServiceFactory + OpenApiFactory + 'static) -> Self {
        self.service(route)
    }
}

/// Every route.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    beside(config).service(below(web::scope("/v1")));
}

/// Every route, for its documentation.
fn documented(config: &mut ServiceConfig<'_>) {
    beside(config).service(below(scope::scope("/v1")));
}

/// What is not of a version.
fn beside<R: Register>(config: R) -> R {
    config.with(health::healthz).with(health::readyz).with(crate::metrics::metrics)
}

/// What is below `/v1`.
fn below<R: Register>(scope: R) -> R {
    scope
        // Routes are tried in this order, and those that are asked for most come first.
        .with(containers::list_all)
        .with(containers::list)
        .with(openapi::serve_document)
        .with(servers::list)
        .with(audit::list)
        .with(nodes::list)
        .with(nodes::add)
        .with(nodes::get)
        .with(nodes::remove)
        .with(nodes::capabilities)
        .with(usage::host)
        .with(usage::of_node)
        .with(processes::of_node)
        .with(backups::restore)
        .with(backups::backup)
        .with(snapshots::list)
        .with(snapshots::create)
        .with(snapshots::inspect)
        .with(snapshots::delete)
        .with(snapshots::restore)
        .with(containers::create)
        .with(containers::inspect)
        .with(containers::delete)
        .with(containers::stats)
        .with(processes::of_container)
        .with(usage::of_container)
        .with(lifecycle::start)
        .with(lifecycle::stop)
        .with(lifecycle::restart)
        .with(lifecycle::kill)
        .with(lifecycle::freeze)
        .with(lifecycle::unfreeze)
        .with(lifecycle::rename)
        .with(lifecycle::update)
        .with(lifecycle::wait)
        .with(lifecycle::commit)
        .with(lifecycle::resize)
        .with(logs::logs)
        .with(files::export)
        .with(files::copy_out)
        .with(files::copy_in)
        .with(attach::attach)
        .with(jobs::run_in_container)
        .with(jobs::list_of_container)
        .with(jobs::run_on_node)
        .with(jobs::list_of_node)
        .with(jobs::list_all)
        .with(jobs::get_job)
        .with(jobs::items)
        .with(jobs::kill)
        .with(jobs::get_output)
        .with(jobs::write_stdin)
        .with(jobs::resize)
        .with(pools::list)
        .with(pools::create)
        .with(pools::inspect)
        .with(pools::replace)
        .with(pools::remove)
        .with(pools::list_members)
        .with(pools::cordon)
        .with(pools::uncordon)
        .with(pools::drain)
        .with(pools::totals)
        .with(pools::list_containers)
        .with(pools::create_container)
        .with(pools::act)
        .with(images::list)
        .with(images::inspect)
        .with(images::delete)
        .with(images::pull)
        .with(images::import)
        .with(images::load)
        .with(images::save)
        .with(images::tag)
        .with(migrations::make_plan)
        .with(migrations::start)
        .with(migrations::list)
        .with(migrations::inspect)
        .with(migrations::apply)
        .with(migrations::cancel)
        .with(migrations::forget)
        .with(networks::list)
        .with(networks::create)
        .with(networks::inspect)
        .with(networks::delete)
        .with(volumes::list)
        .with(volumes::create)
        .with(volumes::inspect)
        .with(volumes::delete)
        .with(events::all)
        .with(events::of_node)
        .with(webhooks::list)
        .with(webhooks::create)
        .with(webhooks::inspect)
        .with(webhooks::remove)
        .with(webhooks::enable)
        .with(webhooks::test)
}
