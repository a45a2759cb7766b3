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

use actix_web::HttpResponse;
use actix_web::http::header;
use roadstead_core::Timestamp;
use serde::Serialize;
use utoipa_actix_web::scope;
use utoipa_actix_web::service_config::ServiceConfig;

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

/// Sorts newest first in a list that is sorted ascending; what has no time comes last.
fn newest_first(time: Option<Timestamp>) -> String {
    let nanos = time.map_or(0, Timestamp::unix_nanos);
    format!("{:039}", (i128::MAX / 2).saturating_sub(nanos))
}

/// Every route, with its documentation.
pub(crate) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(health::healthz).service(health::readyz).service(crate::metrics::metrics).service(
        scope::scope("/v1")
            // Routes are tried in this order, and those that are asked for most come first.
            .service(containers::list_all)
            .service(containers::list)
            .service(openapi::serve_document)
            .service(servers::list)
            .service(audit::list)
            .service(nodes::list)
            .service(nodes::add)
            .service(nodes::get)
            .service(nodes::remove)
            .service(nodes::capabilities)
            .service(usage::host)
            .service(usage::of_node)
            .service(processes::of_node)
            .service(backups::restore)
            .service(backups::backup)
            .service(snapshots::list)
            .service(snapshots::create)
            .service(snapshots::inspect)
            .service(snapshots::delete)
            .service(snapshots::restore)
            .service(containers::create)
            .service(containers::inspect)
            .service(containers::delete)
            .service(containers::stats)
            .service(processes::of_container)
            .service(usage::of_container)
            .service(lifecycle::start)
            .service(lifecycle::stop)
            .service(lifecycle::restart)
            .service(lifecycle::kill)
            .service(lifecycle::freeze)
            .service(lifecycle::unfreeze)
            .service(lifecycle::rename)
            .service(lifecycle::update)
            .service(lifecycle::wait)
            .service(lifecycle::commit)
            .service(lifecycle::resize)
            .service(logs::logs)
            .service(files::export)
            .service(files::copy_out)
            .service(files::copy_in)
            .service(attach::attach)
            .service(jobs::run_in_container)
            .service(jobs::list_of_container)
            .service(jobs::run_on_node)
            .service(jobs::list_of_node)
            .service(jobs::list_all)
            .service(jobs::get_job)
            .service(jobs::items)
            .service(jobs::kill)
            .service(jobs::get_output)
            .service(jobs::write_stdin)
            .service(jobs::resize)
            .service(pools::list)
            .service(pools::create)
            .service(pools::inspect)
            .service(pools::replace)
            .service(pools::remove)
            .service(pools::list_members)
            .service(pools::cordon)
            .service(pools::uncordon)
            .service(pools::drain)
            .service(pools::totals)
            .service(pools::list_containers)
            .service(pools::create_container)
            .service(pools::act)
            .service(images::list)
            .service(images::inspect)
            .service(images::delete)
            .service(images::pull)
            .service(images::import)
            .service(images::load)
            .service(images::save)
            .service(images::tag)
            .service(migrations::make_plan)
            .service(migrations::start)
            .service(migrations::list)
            .service(migrations::inspect)
            .service(migrations::apply)
            .service(migrations::cancel)
            .service(migrations::forget)
            .service(networks::list)
            .service(networks::create)
            .service(networks::inspect)
            .service(networks::delete)
            .service(volumes::list)
            .service(volumes::create)
            .service(volumes::inspect)
            .service(volumes::delete)
            .service(events::all)
            .service(events::of_node)
            .service(webhooks::list)
            .service(webhooks::create)
            .service(webhooks::inspect)
            .service(webhooks::remove)
            .service(webhooks::enable)
            .service(webhooks::test),
    );
}
