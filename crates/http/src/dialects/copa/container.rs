//! The view of containers: which a pool has, what one uses, and the verbs.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::{Container, ContainerSummary};
use serde_json::json;

use super::answer::{Answer, Refusal, object, respond};
use super::form::{Body, Form};
use super::image::Images;
use super::verbs::{self, Verb};
use super::{information, pool};
use crate::containers;
use crate::nodes::NodeSlot;
use crate::state::App;

/// A container of a pool.
pub(super) struct Known {
    pub(super) slot: Arc<NodeSlot>,
    pub(super) summary: ContainerSummary,
}

impl Known {
    /// The container of this name. As in COPA it is looked up before anything is done to it.
    pub(super) async fn find(app: &App, pool_name: &str, name: &str) -> Result<Self, Refusal> {
        let slot = pool(app, pool_name)?;
        let named = |containers: Vec<ContainerSummary>| -> Vec<_> {
            containers.into_iter().filter(|container| container.name == name).collect()
        };
        let mut found = named(list(app, &slot, false).await?);
        if found.is_empty() {
            // It may have been made a moment ago, by somebody else than the server.
            found = named(list(app, &slot, true).await?);
        }
        match (found.pop(), found.len()) {
            (Some(summary), 0) => Ok(Known { slot, summary }),
            (None, _) => Err(Refusal::no_container()),
            (Some(_), more) => {
                Err(Refusal::new(format!("get() returned more than one Container -- it returned {}!", more + 1)))
            }
        }
    }

    /// A handle on it.
    pub(super) async fn handle(&self, app: &App) -> Result<Arc<dyn Container>, Refusal> {
        Ok(self.slot.node(app.deadline()).await?.container(&self.summary.id))
    }
}

/// The containers of a pool; asked of the engine anew where that is wanted.
pub(super) async fn list(app: &App, slot: &Arc<NodeSlot>, fresh: bool) -> Result<Vec<ContainerSummary>, Refusal> {
    Ok(containers::items(slot, app.deadline(), fresh).await?.iter().map(|item| item.summary().clone()).collect())
}

pub(super) async fn get(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    respond(tell(&app, &Form::of_query(&req)).await)
}

async fn tell(app: &App, form: &Form) -> Answer {
    let [operation, pool_name] = form.all(["operation", "container_pool"])?;
    match operation {
        "list_containers" => {
            let mut names: Vec<_> =
                list(app, &pool(app, pool_name)?, false).await?.into_iter().map(|container| container.name).collect();
            names.sort_unstable();
            Ok(object(&json!({ "containers": names })))
        }
        "information" => {
            let known = Known::find(app, pool_name, form.required("container_name")?).await?;
            Ok(object(&information::told(app, &known).await?.lenient()))
        }
        _ => {
            pool(app, pool_name)?;
            Ok(object(&json!({})))
        }
    }
}

pub(super) async fn post(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    respond(act(&app, &req, payload).await)
}

async fn act(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload) -> Answer {
    let form = Body::read(app, req, &mut payload.into_inner()).await?.form()?;
    let [name, operation, pool_name] = form.all(["container_name", "operation", "container_pool"])?;
    match operation {
        "create" => {
            let alias = form.required("image_type")?;
            let slot = pool(app, pool_name)?;
            let image = Images::offered_for(app, &slot).await?.aliased(alias)?.to_vec();
            let made = verbs::create(app, req, &slot, name, alias, image, verbs::Start::Yes).await?;
            Ok(object(&with_warning(json!({ "success": "Container created successfully." }), made)))
        }
        "migrate" => {
            let destination = form.required("destination_pool")?;
            let known = Known::find(app, pool_name, name).await?;
            let moved = verbs::migrate(app, req, &known, &pool(app, destination)?).await?;
            Ok(object(&with_warning(json!({ "success": "Container migrated successfully." }), moved)))
        }
        _ => {
            let known = Known::find(app, pool_name, name).await?;
            let verb =
                Verb::parse(operation).ok_or_else(|| Refusal::new(format!("Operation '{operation}' invalid")))?;
            verbs::act(app, req, &known, verb).await?;
            Ok(object(&json!({ "success": "Operation successful" })))
        }
    }
}

/// A success with what went otherwise.
fn with_warning(mut answer: serde_json::Value, warning: Option<String>) -> serde_json::Value {
    if let (Some(warning), Some(answer)) = (warning, answer.as_object_mut()) {
        answer.insert("warning".to_owned(), warning.into());
    }
    answer
}
