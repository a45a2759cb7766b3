//! What happened to containers: the list of what is kept, and a stream of what happens, which takes the place of the old relay.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use roadstead_core::{Error, Event, Result};
use serde_json::{Value, json};

use super::answer::{self, Query, store_away};
use super::hosts::host;
use super::words::Wanted;
use crate::auth::{Role, require};
use crate::journal::{Cursor, Item, JournalEvent, Told, told};
use crate::problem::Answer;
use crate::state::{App, stored_within};
use crate::stream::{self as wire, Wire};

fn wanted(query: &Query) -> Wanted {
    let text = |key: &str| query.get(key).map(str::to_owned);
    Wanted { status: text("status"), id: text("id") }
}

/// The event of an item, and where it stands.
fn event_of(item: &Item) -> Option<(Event, String)> {
    match told(item.record()?, item.cursor()) {
        Told::Event(JournalEvent { event, .. }) => Some((event, item.cursor().to_string())),
        Told::NodeError(_) => None,
    }
}

/// What the node of an event is called; nothing where it is not shown.
fn host_of(app: &App, node: &str) -> Option<String> {
    match app.nodes.get(node) {
        Ok(slot) if slot.is_placeholder() => None,
        Ok(slot) => Some(host(&slot).to_owned()),
        // Of one that is gone there is the name.
        Err(_) => Some(node.to_owned()),
    }
}

/// All that is kept of this kind, in the order in which it was written down.
async fn kept(app: &App, wanted: &Wanted) -> Result<Vec<Value>> {
    let end = app.journal.end();
    let mut reader = app.journal.read(Cursor { epoch: end.epoch.clone(), seq: 0 });
    let mut hosts: HashMap<String, Option<String>> = HashMap::new();
    let mut found = Vec::new();
    while reader.cursor().epoch == end.epoch && reader.cursor().seq < end.seq {
        for item in reader.next().await? {
            let Some((event, cursor)) = event_of(&item).filter(|_| item.cursor().seq <= end.seq) else { continue };
            let host = hosts.entry(event.node.clone()).or_insert_with(|| host_of(app, &event.node));
            found.extend(host.as_ref().and_then(|host| wanted.told(&event, host, &cursor)));
        }
    }
    Ok(found)
}

pub(super) async fn list(app: web::Data<App>, req: HttpRequest) -> Answer {
    require(&req, Role::Read, "pharos.events.list")?;
    let query = Query::of(&req)?;
    let part = query.part()?;
    let kept = stored_within(app.deadline(), kept(&app, &wanted(&query))).await;
    let events = part.of(kept.map_err(|error| store_away(&error))?);
    Ok(answer::readable(&json!({ "events": events, "n": events.len() })))
}

/// What happens from now on, or after the event that the client has.
pub(super) async fn stream(app: web::Data<App>, req: HttpRequest) -> Answer {
    require(&req, Role::Read, "pharos.events.stream")?;
    let form = Wire::negotiate(&req, &[Wire::Events, Wire::Lines])?;
    let wanted = wanted(&Query::of(&req)?);
    let last = wire::last_event_id(&req)?.map(|id| id.parse::<Cursor>()).transpose();
    let last = last.map_err(|_| Error::invalid("Last-Event-ID", "is not an id that this server gave"))?;
    let reader = app.journal.read(last.unwrap_or_else(|| app.journal.end()));
    let items = stream::unfold(reader, |mut reader| async {
        let items = reader.next().await;
        Some((items, reader))
    });
    let items = items.flat_map(|items| match items {
        Ok(items) => stream::iter(items.into_iter().map(Ok).collect::<Vec<_>>()),
        // The stream is over then: the client comes back.
        Err(error) => stream::iter(vec![Err(error)]),
    });
    let of_app = app.clone();
    let frames = items.filter_map(move |item| {
        let frame = item.map(|item| frame(&of_app, form, &item, &wanted)).transpose();
        async move { frame }
    });
    let mut response = wire::respond(&app, &req, form, frames.boxed());
    answer::make_readable(&mut response);
    Ok(response)
}

/// One item for a client, if it wants it. What may be missing is told to everybody.
fn frame(app: &App, form: Wire, item: &Item, wanted: &Wanted) -> Option<Bytes> {
    let cursor = item.cursor().to_string();
    if let Item::Resync(_, reason) = item {
        return Some(form.frame(&cursor, "resync", &json!({ "reason": reason })));
    }
    let (event, cursor) = event_of(item)?;
    let document = wanted.told(&event, &host_of(app, &event.node)?, &cursor)?;
    // Under this name a page is told without asking for one.
    Some(form.frame(&cursor, "message", &document))
}
