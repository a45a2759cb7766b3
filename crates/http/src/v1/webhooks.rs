//! Webhooks: receivers that are told of events without asking.
//!
//! What holds a secret, or a URL that may be one, cannot be printed.

use actix_web::{HttpResponse, delete, get, post, web};
use roadstead_core::{Listing, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use super::created;
use crate::extract::{Json, Nothing, Query};
use crate::journal::EventFilter;
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;
use crate::webhooks::{Disabled, Failure, Outcome, Progress, StoredWebhook, Success};

/// A webhook to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where events are sent to: https, or http on the server's own machine.
    url: String,
    /// What deliveries are signed with: `whsec_` and 24 to 64 bytes in base64. One is made when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
    /// Which events are wanted; all when absent.
    #[serde(default)]
    filter: EventFilter,
}

/// Whether it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebhookState {
    /// Events are delivered as they happen, or as the receiver takes them.
    Enabled,
    /// Nothing is delivered until it is enabled again.
    Disabled,
}

/// A webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WebhookView {
    /// Id.
    id: String,
    /// Where events are sent to.
    url: String,
    /// Which events are wanted.
    filter: EventFilter,
    /// When it was made.
    created_at: Timestamp,
    /// Whether it is delivered.
    state: WebhookState,
    /// Why it is not, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<Disabled>,
    /// The receiver has the event with this cursor and those before it.
    cursor: String,
    /// The last delivery that was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Success>,
    /// The last attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Failure>,
    /// Since when the delivery that comes next fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// How often it has failed.
    failed_attempts: u32,
    /// What deliveries are signed with: shown once, when it was made by the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl WebhookView {
    fn new(webhook: StoredWebhook, progress: Option<Progress>) -> Self {
        let progress = progress.unwrap_or_else(|| Progress::at(webhook.from));
        WebhookView {
            id: webhook.id,
            url: webhook.url,
            filter: webhook.filter,
            created_at: webhook.created_at,
            state: if webhook.disabled.is_some() { WebhookState::Disabled } else { WebhookState::Enabled },
            disabled: webhook.disabled,
            cursor: progress.cursor.to_string(),
            last_success: progress.last_success,
            last_failure: progress.last_failure,
            failing_since: progress.failing_since,
            failed_attempts: progress.attempts,
            secret: None,
        }
    }
}

/// What came of a test.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WebhookTest {
    /// Whether the receiver took it.
    delivered: bool,
    /// The status that it answered with, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why it was not taken, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How long it took.
    duration_seconds: f64,
}

impl From<Outcome> for WebhookTest {
    fn from(outcome: Outcome) -> Self {
        WebhookTest {
            delivered: outcome.failed.is_none(),
            status: outcome.status,
            reason: outcome.failed,
            duration_seconds: outcome.took.as_secs_f64(),
        }
    }
}

/// Every webhook.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_list", params(Paging), responses((status = 200, description = "The webhooks.", body = Page<WebhookView>)))]
#[get("/webhooks")]
pub(crate) async fn list(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<WebhookView>()?;
    let register = &app.webhooks.register;
    let (webhooks, _) = register.all().await?;
    let mut progress = register.all_progress().await?;
    let mut listing = Listing::default();
    listing.items.extend(webhooks.into_iter().map(|webhook| {
        let progress = progress.remove(&webhook.value.id);
        WebhookView::new(webhook.value, progress)
    }));
    Ok(paging.respond(listing, |webhook| vec![webhook.id.clone()])?)
}

/// Has events sent to a URL from now on: each message is a POST with a JSON document, signed as the Standard Webhooks specification
/// says. A message is tried again until it is answered with 2xx, with growing pauses, and those behind it wait for it; when it has
/// failed for too long, or is answered with 410, the webhook is disabled.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_create", request_body = NewWebhook,
    responses((status = 201, description = "The new webhook.", body = WebhookView, headers(("Location" = String, description = "Path of the webhook")))))]
#[post("/webhooks")]
pub(crate) async fn create(app: web::Data<App>, _: Query<Nothing>, Json(new): Json<NewWebhook>) -> Answer {
    let is_made = new.secret.is_none();
    let webhook = app.webhooks.create(new.url, new.secret, new.filter).await?;
    let secret = is_made.then(|| webhook.secret.expose().to_owned());
    let view = WebhookView { secret, ..WebhookView::new(webhook, None) };
    Ok(created(&format!("/v1/webhooks/{}", view.id), &view))
}

/// One webhook.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_get", responses((status = 200, description = "The webhook.", body = WebhookView)))]
#[get("/webhooks/{webhook}")]
pub(crate) async fn inspect(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    let webhook = app.webhooks.register.get(&id).await?.value;
    let progress = app.webhooks.register.progress(&webhook).await?;
    Ok(HttpResponse::Ok().json(WebhookView::new(webhook, Some(progress))))
}

/// Forgets a webhook. What is on its way may still arrive.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_delete", responses((status = 204, description = "It is forgotten.")))]
#[delete("/webhooks/{webhook}")]
pub(crate) async fn remove(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    app.webhooks.register.remove(&id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Has a webhook delivered again that was disabled, from where it stopped; one that fails is tried at once.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_enable", responses((status = 200, description = "The webhook.", body = WebhookView)))]
#[post("/webhooks/{webhook}/enable")]
pub(crate) async fn enable(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    let webhook = app.webhooks.register.enable(&id).await?;
    let progress = app.webhooks.register.progress(&webhook).await?;
    Ok(HttpResponse::Ok().json(WebhookView::new(webhook, Some(progress))))
}

/// Sends a message of the type `test` without events, once, and tells what came of it. Also to one that is disabled; its state stays.
#[utoipa::path(tag = "webhooks", operation_id = "webhooks_test", responses((status = 200, description = "What came of it.", body = WebhookTest)))]
#[post("/webhooks/{webhook}/test")]
pub(crate) async fn test(app: web::Data<App>, id: web::Path<String>, _: Query<Nothing>) -> Answer {
    Ok(HttpResponse::Ok().json(WebhookTest::from(app.webhooks.test(&id).await?)))
}
