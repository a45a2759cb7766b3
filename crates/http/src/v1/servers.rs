//! The servers that share a store.

use std::collections::BTreeMap;

use actix_web::{get, web};
use roadstead_core::Listing;
use serde::Serialize;

use crate::extract::Query;
use crate::fleet::{Duty, ServerRecord};
use crate::page::{Page, Paging};
use crate::problem::Answer;
use crate::state::App;

/// A server that is alive, and what it does alone.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ServerView {
    #[serde(flatten)]
    server: ServerRecord,
    /// Whether it is the one that answers.
    this: bool,
    /// The nodes of the store that it watches; those of its own machine and configuration are not listed.
    watches: Vec<String>,
}

/// The servers that share this one's store and are alive, itself included. One that ended without a word is listed for a few seconds
/// longer; then others watch its nodes.
#[utoipa::path(tag = "servers", operation_id = "servers_list", params(Paging), responses((status = 200, description = "The servers.", body = Page<ServerView>)))]
#[get("/servers")]
pub(crate) async fn list(app: web::Data<App>, Query(paging): Query<Paging>) -> Answer {
    paging.check::<ServerView>()?;
    let servers = app.fleet.servers().await?;
    let mut watched: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (node, server) in Duty::watchers(&app.fleet).await? {
        watched.entry(server).or_default().push(node);
    }
    let mut listing = Listing::default();
    listing.items.extend(servers.into_iter().map(|server| ServerView {
        this: server.id == app.fleet.id(),
        watches: watched.remove(&server.id).unwrap_or_default(),
        server,
    }));
    Ok(paging.respond(listing, |view| vec![view.server.id.clone()])?)
}
