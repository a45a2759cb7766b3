//! What was changed through this server, by whom, and what came of it.

use actix_web::{get, web};
use roadstead_core::{Error, Listing, Timestamp};
use serde::Deserialize;

use crate::audit::{AuditEntry, Filter, Outcome};
use crate::extract::{Query, past, reachable};
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// The items of a page where the caller does not say.
const LIMIT: u32 = 1000;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// The most items that are wanted, 1 to 10000; 1000 when absent.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Members that are wanted, with commas between.
    fields: Option<String>,
    /// Only what was written down at this time or later.
    since: Option<Timestamp>,
    /// Only what was written down before this time.
    until: Option<Timestamp>,
    /// Only this operation.
    operation: Option<String>,
    /// Only what was done to this node, or to something on it; what a move does concerns both of its nodes.
    node: Option<String>,
    /// Only what was done to this container, as the request called it: by its id or its name.
    container: Option<String>,
    /// Only what goes back to the request with this id.
    request_id: Option<String>,
    /// Only what came out so.
    outcome: Option<Outcome>,
}

/// What was changed through this server or was to be, oldest first. Every request that may change something is written down before
/// anything is done; what has the outcome `begun` is under way, or was when the server ended. Each server that shares a store has a
/// log of its own, of what it did itself.
#[utoipa::path(tag = "audit", operation_id = "audit_list", params(AuditQuery), responses((status = 200, description = "What was done.", body = Page<AuditEntry>)))]
#[get("/audit")]
pub(crate) async fn list(app: web::Data<App>, Query(query): Query<AuditQuery>) -> Answer {
    let limit = query.limit.unwrap_or(LIMIT);
    let paging = Paging { limit: Some(limit), cursor: query.cursor, fields: query.fields };
    paging.check::<AuditEntry>()?;
    past("since", query.since)?;
    reachable("until", query.until)?;
    let after = match paging.after()?.as_deref() {
        None => 0,
        Some([number]) if let Ok(number) = number.parse() => number,
        Some(_) => return Err(Error::invalid("cursor", "is not one that this list gave").into()),
    };
    let filter = Filter {
        since: query.since,
        until: query.until,
        operation: query.operation,
        node: query.node,
        container: query.container,
        request_id: query.request_id,
        outcome: query.outcome,
    };
    let mut listing = Listing::default();
    listing.items = app.audit.read(after, usize::try_from(limit).unwrap_or(usize::MAX), filter).await?;
    Ok(paging.respond(listing, |entry| vec![format!("{:020}", entry.id)])?)
}
