//! The configuration of COPA, of which there is one, called `default`: whether containers are moved by hand or by themselves, and by what.

use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::pool::{Criterion, ReliefOptions};
use roadstead_core::store::Table;
use roadstead_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::answer::{Answer, object, respond};
use super::super::form::{Body, Form};
use super::fields::Fields;
use super::{Monitor, stored};
use crate::auth::Role;
use crate::dialects::changing;
use crate::state::App;

/// The only one.
const NAME: &str = "default";
/// How often a change is tried while others change it, too.
const ATTEMPTS: usize = 10;
/// A container that was moved stays for at most so long.
const REST_MAX: u64 = 86_400;

/// Who moves containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    /// People; what is proposed can be read.
    #[default]
    #[serde(rename = "m")]
    Manual,
    /// The server.
    #[serde(rename = "a")]
    Automatic,
}

/// The configuration. The last four are an extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Configuration {
    pub(super) delegation_mode: Mode,
    /// Free text, of which three have a meaning.
    pub(super) auto_delegation_type: Option<String>,
    pub(super) threshold_cpu_percent: f64,
    pub(super) threshold_latency_ms: f64,
    pub(super) threshold_margin_percent: f64,
    pub(super) rest_seconds: u64,
}

impl Default for Configuration {
    fn default() -> Self {
        let usual = ReliefOptions::default();
        Configuration {
            delegation_mode: Mode::default(),
            auto_delegation_type: None,
            threshold_cpu_percent: usual.cpu_percent,
            threshold_latency_ms: usual.latency_ms,
            threshold_margin_percent: usual.margin_percent,
            rest_seconds: 300,
        }
    }
}

impl Configuration {
    /// By what containers are moved, where the text has a meaning.
    pub(super) fn criterion(&self) -> Option<Criterion> {
        match self.auto_delegation_type.as_deref()? {
            "threshold_cpu" => Some(Criterion::Cpu),
            "threshold_lat" => Some(Criterion::Latency),
            "threshold_cpulat" => Some(Criterion::CpuOrLatency),
            _ => None,
        }
    }

    /// What is planned by it.
    pub(super) fn options(&self, criterion: Criterion) -> ReliefOptions {
        let mut options = ReliefOptions::by(criterion);
        options.cpu_percent = self.threshold_cpu_percent;
        options.latency_ms = self.threshold_latency_ms;
        options.margin_percent = self.threshold_margin_percent;
        options
    }

    /// Changes what a form names, and leaves the rest.
    fn change(&mut self, form: &Form) -> Result<()> {
        let fields = Fields(form);
        let given = |name: &str| form.get(name).is_some();
        if let Some(mode) = form.get("delegation_mode") {
            self.delegation_mode = match mode {
                "m" => Mode::Manual,
                "a" => Mode::Automatic,
                _ => return Err(Error::invalid("delegation_mode", "must be m or a")),
            };
        }
        if given("auto_delegation_type") {
            self.auto_delegation_type = Some(fields.text("auto_delegation_type", 100)?);
        }
        for (name, value) in [
            ("threshold_cpu_percent", &mut self.threshold_cpu_percent),
            ("threshold_latency_ms", &mut self.threshold_latency_ms),
            ("threshold_margin_percent", &mut self.threshold_margin_percent),
        ] {
            if given(name) {
                *value = fields.number(name)?;
            }
        }
        if given("rest_seconds") {
            let rest = fields.count("rest_seconds")?;
            if rest > REST_MAX {
                return Err(Error::invalid("rest_seconds", format!("must be at most {REST_MAX}")));
            }
            self.rest_seconds = rest;
        }
        // In the words of the plan, and with the name of the field.
        self.options(Criterion::Cpu).validate().map_err(|error| match error.field() {
            Some(field) => {
                let reason = error.message().trim_start_matches(field).trim_start_matches(": ").to_owned();
                Error::invalid(format!("threshold_{field}"), reason)
            }
            None => error,
        })
    }
}

/// The configuration in the store.
pub(super) type Configurations = Table<Configuration>;

/// As it is now.
///
/// # Errors
/// Those of the store.
pub(super) async fn current(table: &Configurations) -> Result<Configuration> {
    Ok(table.get(NAME).await?.map(|kept| kept.value).unwrap_or_default())
}

async fn store(table: &Configurations, form: &Form) -> Result<()> {
    let mut last = Error::new(ErrorKind::Conflict, "the configuration was not changed");
    for _ in 0..ATTEMPTS {
        let kept = table.get(NAME).await?;
        let mut configuration = kept.as_ref().map(|kept| kept.value.clone()).unwrap_or_default();
        configuration.change(form)?;
        let written = match kept {
            Some(kept) => table.replace(NAME, kept.revision, &configuration).await,
            None => table.create(NAME, &configuration).await,
        };
        match written {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => last = error,
            written => return written.map(drop),
        }
    }
    Err(last)
}

#[derive(Debug, Serialize)]
struct Shown {
    name: &'static str,
    #[serde(flatten)]
    configuration: Configuration,
}

pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    let read = async {
        let configuration = stored(&app, current(&Monitor::of(&app).configurations)).await?;
        Ok(HttpResponse::Ok().json(json!({ "configuration": [Shown { name: NAME, configuration }] })))
    };
    respond(read.await)
}

pub(super) async fn post(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    respond(change(&app, &req, payload).await)
}

async fn change(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload) -> Answer {
    let form = Body::read(app, req, &mut payload.into_inner()).await?.form()?;
    // What is wrong is refused before it is written down that something is done.
    Configuration::default().change(&form)?;
    let of_app = app.clone();
    let work = async move { stored(&of_app, store(&Monitor::of(&of_app).configurations, &form)).await };
    changing(app, req, Role::Operate, "copa.network.configuration", &[("configuration", NAME)], work).await?;
    Ok(object(&json!({ "success": "update_configuration" })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn changed(before: &Configuration, value: Value) -> Result<Configuration> {
        let mut after = before.clone();
        after.change(&Form::of_json(value)?)?;
        Ok(after)
    }

    #[test]
    fn what_is_named_is_changed_and_the_rest_stays() {
        let new = Configuration::default();
        assert_eq!(changed(&new, json!({})).unwrap(), new);
        let both = changed(&new, json!({"delegation_mode": "a", "auto_delegation_type": "threshold_cpulat"})).unwrap();
        assert_eq!((both.delegation_mode, both.criterion()), (Mode::Automatic, Some(Criterion::CpuOrLatency)));
        let one = changed(&both, json!({"delegation_mode": "m"})).unwrap();
        assert_eq!((one.delegation_mode, one.criterion()), (Mode::Manual, Some(Criterion::CpuOrLatency)));
        let other = changed(&both, json!({"auto_delegation_type": "by the moon"})).unwrap();
        assert_eq!((other.auto_delegation_type.as_deref(), other.criterion()), (Some("by the moon"), None));
        let numbers = json!({"threshold_cpu_percent": "50", "threshold_margin_percent": 0, "rest_seconds": 0});
        let options = changed(&new, numbers).unwrap().options(Criterion::Cpu);
        assert_eq!((options.cpu_percent, options.margin_percent, options.latency_ms), (50.0, 0.0, 100.0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, value) in [
            ("delegation_mode", json!("x")),
            ("delegation_mode", json!("")),
            ("auto_delegation_type", json!("x".repeat(101))),
            ("threshold_cpu_percent", json!(0)),
            ("threshold_cpu_percent", json!(101)),
            ("threshold_cpu_percent", json!("nan")),
            ("threshold_latency_ms", json!(-1)),
            ("threshold_margin_percent", json!(100)),
            ("rest_seconds", json!(86_401)),
            ("rest_seconds", json!("")),
        ] {
            let refused = changed(&Configuration::default(), json!({ field: value })).unwrap_err();
            assert_eq!(refused.field(), Some(field), "{value}");
        }
    }
}
