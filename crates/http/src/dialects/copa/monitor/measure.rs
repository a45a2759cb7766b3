//! The views of measurements: what was measured of a locus, newest first, and more of it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::answer::{Answer, Refusal, object, respond};
use super::super::form::{Body, Form};
use super::fields::{Window, iso};
use super::records::{Kind, KpiCommand, KpiLink, KpiResource, KpiWireless, present};
use super::{Monitor, is_locus, stored};
use crate::auth::{Role, require};
use crate::series::{APPEND_MAX, Record, Wanted};
use crate::state::App;

/// A measurement as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a, K> {
    id: u64,
    timestamp: String,
    #[serde(flatten)]
    what: &'a K,
}

impl<'a, K: Kind> Row<'a, K> {
    pub(super) fn of(record: &'a Record<K>) -> Self {
        Row { id: record.id, timestamp: iso(record.at), what: &record.what }
    }
}

#[derive(Debug, Serialize)]
struct Measurements<'a, K> {
    measurements: Vec<Row<'a, K>>,
    success: &'static str,
}

/// How COPA says that there is no such locus, where a link is meant.
pub(super) fn not_registered() -> Refusal {
    Refusal::new("Pool not registered")
}

/// The measurements of a locus that the query wants.
async fn list<K: Kind>(app: &App, form: &Form) -> Result<HttpResponse, Refusal> {
    let locus = form.required("locus")?;
    let window = Window::of(form)?;
    let wanted = Wanted {
        since: window.since,
        until: window.until,
        limit: window.last.unwrap_or(usize::MAX),
        about: Some(locus),
        filter: &|measured: &K| measured.locus() == locus,
        ..Wanted::default()
    };
    let records = stored(app, K::series(Monitor::of(app)).newest(&wanted)).await?;
    let measurements = records.iter().map(Row::of).collect();
    Ok(HttpResponse::Ok().json(Measurements { measurements, success: K::WORD }))
}

/// Refuses a locus that is none, before anything else is looked at but whether it is given.
fn known(app: &App, form: &Form, refusal: fn() -> Refusal) -> Result<(), Refusal> {
    if is_locus(app, form.required("locus")?) { Ok(()) } else { Err(refusal()) }
}

pub(super) async fn get_link(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    get::<KpiLink>(&app, &req, not_registered).await
}

pub(super) async fn get_wireless(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    get::<KpiWireless>(&app, &req, Refusal::no_pool).await
}

async fn get<K: Kind>(app: &App, req: &HttpRequest, refusal: fn() -> Refusal) -> HttpResponse {
    let form = Form::of_query(req);
    match known(app, &form, refusal) {
        Ok(()) => respond(list::<K>(app, &form).await),
        Err(refused) => respond(Err(refused)),
    }
}

pub(super) async fn get_command(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    get_twice_told::<KpiCommand>(&app, &req).await
}

pub(super) async fn get_resource(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    get_twice_told::<KpiResource>(&app, &req).await
}

/// These two tell an unknown locus under a capital letter, where their clients look for it, and like everything else.
async fn get_twice_told<K: Kind>(app: &App, req: &HttpRequest) -> HttpResponse {
    let form = Form::of_query(req);
    match form.required("locus") {
        Ok(locus) if !is_locus(app, locus) => {
            let refusal = Refusal::no_pool();
            object(&json!({ "error": refusal.text(), "Error": refusal.text() }))
        }
        _ => respond(list::<K>(app, &form).await),
    }
}

pub(super) async fn post_link(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    let said = Said { operation: "copa.network.kpilink", success: "post_kpilink", unknown: not_registered };
    respond(post::<KpiLink>(&app, &req, payload, said).await)
}

pub(super) async fn post_command(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    let said = Said { operation: "copa.network.kpicommand", success: "kpicommand", unknown: Refusal::no_pool };
    respond(post::<KpiCommand>(&app, &req, payload, said).await)
}

pub(super) async fn post_resource(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    let said = Said { operation: "copa.network.kpiresource", success: "kpiresource", unknown: Refusal::no_pool };
    respond(post::<KpiResource>(&app, &req, payload, said).await)
}

pub(super) async fn post_wireless(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    respond(post_stations(&app, &req, payload).await)
}

/// What a view says.
struct Said {
    operation: &'static str,
    success: &'static str,
    unknown: fn() -> Refusal,
}

async fn post<K: Kind>(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload, said: Said) -> Answer {
    let form = Body::read(app, req, &mut payload.into_inner()).await?.form()?;
    keep::<K>(app, req, vec![form], &said).await
}

/// Keeps measurements, all of them or none.
///
/// Nothing of it is in the audit log: agents measure each second, and would push out of it what it is for. That a caller may not do it is
/// refused all the same. What is kept is kept though the client leaves.
async fn keep<K: Kind>(app: &web::Data<App>, req: &HttpRequest, forms: Vec<Form>, said: &Said) -> Answer {
    for form in &forms {
        let loci = present::<K>(form)?;
        if loci.into_iter().any(|locus| !is_locus(app, locus)) {
            return Err((said.unknown)());
        }
    }
    let measured = forms.iter().map(K::read).collect::<roadstead_core::Result<Vec<_>>>()?;
    require(req, Role::Operate, said.operation)?;
    K::series(Monitor::of(app)).append(measured).await?;
    Ok(object(&json!({ "success": said.success })))
}

async fn post_stations(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload) -> Answer {
    let said = Said { operation: "copa.network.kpiwireless", success: "post_kpiwireless", unknown: Refusal::no_pool };
    let forms = match Body::read_lenient(app, req, &mut payload.into_inner()).await? {
        Body::Json(Value::Array(stations)) => stations_of(stations)?,
        body => vec![body.form()?],
    };
    keep::<KpiWireless>(app, req, forms, &said).await
}

/// The stations of an array. The locus of the first is that of all.
fn stations_of(stations: Vec<Value>) -> Result<Vec<Form>, Refusal> {
    if stations.is_empty() {
        return Err(Refusal::new("body: holds no measurement"));
    }
    if stations.len() > APPEND_MAX {
        let words = format!("body: holds {} measurements, at most {APPEND_MAX} are taken at once", stations.len());
        return Err(Refusal::new(words));
    }
    let locus = stations.first().and_then(|first| first.get("locus")).cloned();
    let stations = stations.into_iter().map(|mut station| {
        if let (Some(members), Some(locus)) = (station.as_object_mut(), &locus) {
            members.insert("locus".to_owned(), locus.clone());
        }
        Form::of_json(station)
    });
    Ok(stations.collect::<roadstead_core::Result<_>>()?)
}
