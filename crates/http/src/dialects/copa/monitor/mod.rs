//! The monitor API of COPA: what agents measure on pools (loci) and between them, kept in the server's store; what dashboards show of it;
//! and delegation, which moves containers by it.

mod configuration;
mod dashboard;
mod delegation;
mod fields;
mod links;
mod measure;
mod measured;
mod records;

use actix_web::{HttpResponse, web};
use roadstead_core::Result;
use serde_json::json;

use self::configuration::{Configuration, Configurations};
use self::delegation::Book;
use self::measured::Machines;
use self::records::{Kind, KpiCommand, KpiLink, KpiResource, KpiWireless};
use super::answer::object;
use super::view;
use crate::config::Config;
use crate::dialects::{Dialect, nodes};
use crate::records::Records;
use crate::series::Series;
use crate::state::{App, stored_within};

/// What the monitor API keeps.
#[derive(Debug)]
pub(crate) struct Monitor {
    links: Series<KpiLink>,
    commands: Series<KpiCommand>,
    resources: Series<KpiResource>,
    wireless: Series<KpiWireless>,
    configurations: Configurations,
    book: Book,
    machines: Machines,
}

impl Monitor {
    /// In this store.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn new(records: &Records, config: &Config) -> Result<Self> {
        fn series<K: Kind>(records: &Records, config: &Config) -> Result<Series<K>> {
            records.measurements(K::WORD, K::NOUN, config)
        }
        Ok(Monitor {
            links: series(records, config)?,
            commands: series(records, config)?,
            resources: series(records, config)?,
            wireless: series(records, config)?,
            configurations: records.of_dialect::<Configuration>(Dialect::Copa, "configuration", "configuration")?,
            book: Book::new(records)?,
            machines: Machines::default(),
        })
    }

    fn of(app: &App) -> &Self {
        &app.dialects.copa
    }

    /// Removes all that was measured of a locus which is none any more.
    ///
    /// # Errors
    /// Those of the store; it can be done again.
    pub(crate) async fn forget(&self, locus: &str) -> Result<()> {
        async fn forget<K: Kind>(monitor: &Monitor, locus: &str) -> Result<u64> {
            K::series(monitor).forget(locus).await
        }
        let (links, commands, resources, wireless) = tokio::join!(
            forget::<KpiLink>(self, locus),
            forget::<KpiCommand>(self, locus),
            forget::<KpiResource>(self, locus),
            forget::<KpiWireless>(self, locus),
        );
        let gone = links? + commands? + resources? + wireless?;
        if gone > 0 {
            tracing::info!(locus, gone, "the measurements of a pool that was removed are removed");
        }
        Ok(())
    }
}

/// Keeps within its bounds what is measured, and delegates, until the server ends. Nothing of it is done where COPA is not spoken.
pub(crate) fn keep(app: &web::Data<App>) {
    if app.dialect(Dialect::Copa).is_none() {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        let monitor = Monitor::of(&app);
        tokio::select! {
            () = app.ending() => {}
            () = monitor.links.keep_trimmed() => {}
            () = monitor.commands.keep_trimmed() => {}
            () = monitor.resources.keep_trimmed() => {}
            () = monitor.wireless.keep_trimmed() => {}
            () = delegation::delegate(&app) => {}
        }
    });
}

/// Its routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    use measure::{
        get_command, get_link, get_resource, get_wireless, post_command, post_link, post_resource, post_wireless,
    };
    let at = |name: &str| view(&format!("/REST/network/{name}"));
    config
        .service(at("locus").route(web::get().to(loci)))
        .service(at("kpilink").route(web::get().to(get_link)).route(web::post().to(post_link)))
        .service(at("kpicommand").route(web::get().to(get_command)).route(web::post().to(post_command)))
        .service(at("kpiresource").route(web::get().to(get_resource)).route(web::post().to(post_resource)))
        .service(at("kpiwireless").route(web::get().to(get_wireless)).route(web::post().to(post_wireless)))
        .service(
            at("configuration").route(web::get().to(configuration::get)).route(web::post().to(configuration::post)),
        )
        .service(at("dashboard").route(web::get().to(dashboard::get)))
        .service(at("dashboardlinks").route(web::get().to(links::get)))
        .service(at("delegation").route(web::get().to(delegation::get)));
}

/// Waits for the store no longer than requests may take.
///
/// # Errors
/// What the call says, or `DeadlineExceeded`.
async fn stored<T>(app: &App, call: impl Future<Output = Result<T>>) -> Result<T> {
    stored_within(app.deadline(), call).await
}

/// Whether a pool has this name.
fn is_locus(app: &App, name: &str) -> bool {
    nodes(app).iter().any(|slot| slot.name() == name)
}

async fn loci(app: web::Data<App>) -> HttpResponse {
    let names: Vec<_> = nodes(&app).iter().map(|slot| slot.name().to_owned()).collect();
    object(&json!({ "locus": names, "success": "locus" }))
}
