//! Delegation: containers are moved off pools that bear too much, by what is measured on the pools and by the thresholds of the
//! configuration. In mode `m` it only says what it would move; in mode `a` it moves.
//!
//! One server does it at a time, under a claim in the store. What would be moved is for the plan of a pool in core to say; a move is one
//! like all others, which is kept and goes on by itself whatever becomes of this server. Of each pool one container is moved at a time,
//! and a pool is left alone until what was measured before the move counts no more.

mod book;
mod look;

use std::time::Duration;

use actix_web::{HttpResponse, web};
use roadstead_core::store::Claim;
use serde::Serialize;
use serde_json::json;

use self::book::{Delegated, Found, Look};
use super::super::answer::{object, respond};
use super::configuration::{Mode, current};
use super::fields::iso;
use super::{Monitor, configuration, stored};
use crate::state::{App, within};

pub(crate) use self::book::Book;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(5);
/// A look, engines included, takes no longer.
const WAIT: Duration = Duration::from_secs(120);
/// What only one server does at a time.
const CLAIM: &str = "copa/delegation";

/// Looks again and again, where no other server does. Never ends.
pub(super) async fn delegate(app: &web::Data<App>) {
    let mut held: Option<Claim> = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let claim = match held.take().filter(Claim::holds) {
            Some(claim) => claim,
            None => match app.fleet.claim(CLAIM).await {
                Ok(Some(claim)) => claim,
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(%error, "delegation: whose it is cannot be asked now");
                    continue;
                }
            },
        };
        match within(WAIT, look::look(app, &claim)).await {
            Ok(()) => held = Some(claim),
            // Claimed anew at the next look: it may be another server's by now.
            Err(error) => tracing::warn!(%error, "delegation: a look was not finished"),
        }
    }
}

/// What is shown of delegation.
#[derive(Debug, Serialize)]
struct Shown {
    delegation_mode: Mode,
    auto_delegation_type: Option<String>,
    /// When it was looked last, and by which server; null before the first look.
    looked_at: Option<String>,
    server: Option<String>,
    #[serde(flatten)]
    found: Found,
    /// The moves that were begun, newest first.
    moves: Vec<ShownMove>,
}

#[derive(Debug, Serialize)]
struct ShownMove {
    #[serde(flatten)]
    of: Delegated,
    /// Where more is told of it.
    migration_path: String,
}

pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    let monitor = Monitor::of(&app);
    let read = async {
        let read =
            async { tokio::try_join!(current(&monitor.configurations), monitor.book.look(), monitor.book.moves()) };
        let (configuration, look, moves) = stored(&app, read).await?;
        let configuration::Configuration { delegation_mode, auto_delegation_type, .. } = configuration;
        let (looked_at, server, found) = match look {
            Some(Look { at, server, found }) => (Some(iso(at)), Some(server), found),
            None => (None, None, Found::default()),
        };
        let shown = |of: Delegated| ShownMove { migration_path: format!("/v1/migrations/{}", of.id), of };
        let moves = moves.0.into_iter().map(shown).collect();
        let shown = Shown { delegation_mode, auto_delegation_type, looked_at, server, found, moves };
        Ok(object(&json!({ "delegation": shown, "success": "delegation" })))
    };
    respond(read.await)
}
