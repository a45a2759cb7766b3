//! Lists: pages with opaque cursors, chosen fields, and a validator that ignores when and how fast it was read.

use actix_web::HttpResponse;
use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_core::{Error, Listing, NodeAnswer, NodeError, Result};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};

use crate::etag::fingerprint;

/// The most items of one page.
const LIMIT_MAX: u32 = 10_000;

/// A page of a list: items, errors and how each node's part came about.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Page<T> {
    /// What the nodes that answered gave.
    pub items: Vec<T>,
    /// What went wrong, at most one per node.
    pub errors: Vec<NodeError>,
    /// Every node that was asked.
    pub nodes: Vec<NodeAnswer>,
    /// Of containers, when none had to be asked of its engine: give it as `revision` to watch what changes after this list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Give it as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which page, and what of each item: the query of lists that need no more.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The most items that are wanted, 1 to 10000.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Members that are wanted, with commas between.
    pub fields: Option<String>,
}

impl Paging {
    /// Refuses what cannot be meant, before any engine is asked.
    ///
    /// # Errors
    /// `InvalidInput` that names `limit`, `cursor` or `fields`.
    pub(crate) fn check<T: utoipa::PartialSchema>(&self) -> Result<()> {
        if self.limit.is_some_and(|limit| limit == 0 || limit > LIMIT_MAX) {
            return Err(Error::invalid("limit", format!("must be from 1 to {LIMIT_MAX}")));
        }
        self.after()?;
        if let Some(fields) = &self.fields {
            let known = members::<T>();
            if let Some(field) = fields.split(',').find(|field| !known.contains(&field.to_string())) {
                return Err(Error::invalid(
                    "fields",
                    format!("{field:?} is not a member; there are {}", known.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// The key behind which the page begins.
    ///
    /// # Errors
    /// `InvalidInput` that names `cursor`.
    pub(crate) fn after(&self) -> Result<Option<Vec<String>>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let decoded = URL_SAFE_NO_PAD.decode(cursor).ok();
        match decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::invalid("cursor", "is not one that this server gave")),
        }
    }

    /// Answers with the page. Items are ordered by `key`, which is unique, so that a page begins after the last item
    /// of the one before even when that item is gone.
    ///
    /// # Errors
    /// `InvalidInput` for a bad cursor.
    pub(crate) fn respond<T: Serialize>(
        &self,
        listing: Listing<T>,
        key: impl Fn(&T) -> Vec<String>,
    ) -> Result<HttpResponse> {
        let mut items: Vec<(Vec<String>, T)> = listing.items.into_iter().map(|item| (key(&item), item)).collect();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(after) = self.after()? {
            items.retain(|(key, _)| *key > after);
        }
        let mut next = None;
        if let Some(limit) = self.limit.and_then(|limit| usize::try_from(limit).ok())
            && items.len() > limit
        {
            items.truncate(limit);
            next = items.last().map(|(key, _)| cursor(key));
        }
        let items: Vec<T> = items.into_iter().map(|(_, item)| item).collect();
        match &self.fields {
            None => Ok(render(Page { items, errors: listing.errors, nodes: listing.nodes, revision: None, next })),
            Some(fields) => {
                let fields: Vec<&str> = fields.split(',').collect();
                let items = items
                    .iter()
                    .map(|item| {
                        let mut value = serde_json::to_value(item).unwrap_or_default();
                        if let Some(members) = value.as_object_mut() {
                            members.retain(|name, _| fields.contains(&name.as_str()));
                        }
                        value
                    })
                    .collect();
                Ok(render(Page { items, errors: listing.errors, nodes: listing.nodes, revision: None, next }))
            }
        }
    }
}

/// What a client gives to get what is behind this key.
pub(crate) fn cursor(key: &[String]) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

/// When each node was read and how long it took changes with every answer. The validator is made of the rest, so it is
/// a weak one.
fn render<T: Serialize>(page: Page<T>) -> HttpResponse {
    let stable: Vec<_> = page.nodes.iter().map(|node| (&node.node, node.ok)).collect();
    let validated = serde_json::to_vec(&(&page.items, &page.errors, &stable, &page.next)).unwrap_or_default();
    HttpResponse::Ok().insert_header((header::ETAG, format!("W/\"{}\"", fingerprint(&validated)))).json(page)
}

/// The members of `T`'s JSON, from its schema.
fn members<T: utoipa::PartialSchema>() -> Vec<String> {
    fn of(schema: &RefOr<Schema>, into: &mut Vec<String>) {
        match schema {
            RefOr::T(Schema::Object(object)) => into.extend(object.properties.keys().cloned()),
            RefOr::T(Schema::AllOf(all)) => all.items.iter().for_each(|item| of(item, into)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    of(&T::schema(), &mut names);
    names
}
