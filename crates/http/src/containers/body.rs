//! The bytes of a list: what each container is in JSON is there already, and only put together.

use actix_web::HttpResponse;
use actix_web::http::header;
use roadstead_core::{Listing, NodeAnswer, NodeError};
use serde::Serialize;
use serde_json::Value;

use super::parts::Part;
use super::{Place, Question};
use crate::etag::fingerprint;
use crate::problem::Answer;

/// What a list is made of, besides its containers.
pub(super) struct Around<'a> {
    pub(super) errors: &'a [NodeError],
    pub(super) nodes: &'a [NodeAnswer],
    pub(super) revision: Option<String>,
}

/// A list that was put together.
pub(super) struct Put {
    pub(super) bytes: Vec<u8>,
    /// Where its containers are in it.
    items: std::ops::Range<usize>,
    next: Option<String>,
}

/// Plain data, which can always be written.
fn write(into: &mut Vec<u8>, value: &impl Serialize) {
    into.extend_from_slice(&serde_json::to_vec(value).unwrap_or_default());
}

/// Puts a list together, as [`crate::page::Page`] is written.
pub(super) fn put_together(parts: &[Part], question: &Question, around: &Around<'_>) -> Put {
    let limit = question.paging.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let fields: Option<Vec<&str>> = question.paging.fields.as_ref().map(|fields| fields.split(',').collect());
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"{\"items\":[");
    let begin = bytes.len();
    let mut count = 0;
    let mut last = None;
    let mut next = None;
    'parts: for part in parts {
        let after = match &question.after {
            Some(place) if part.node() < place.node.as_str() => continue,
            Some(place) if part.node() == place.node => Some(&place.key),
            _ => None,
        };
        let wanted = part.items(after).filter(|item| question.filter.matches(item.summary()));
        for item in wanted {
            if count == limit {
                next = last;
                break 'parts;
            }
            if count > 0 {
                bytes.push(b',');
            }
            match &fields {
                None => bytes.extend_from_slice(item.json()),
                Some(fields) => {
                    let mut value = serde_json::to_value(item.summary()).unwrap_or_default();
                    if let Value::Object(members) = &mut value {
                        members.retain(|name, _| fields.contains(&name.as_str()));
                    }
                    write(&mut bytes, &value);
                }
            }
            count += 1;
            last = Some((part.node(), item.key()));
        }
    }
    let items = begin..bytes.len();
    bytes.extend_from_slice(b"],\"errors\":");
    write(&mut bytes, &around.errors);
    bytes.extend_from_slice(b",\"nodes\":");
    write(&mut bytes, &around.nodes);
    if let Some(revision) = &around.revision {
        bytes.extend_from_slice(b",\"revision\":");
        write(&mut bytes, revision);
    }
    let next = next.map(|(node, key)| Place::cursor(node, key));
    if let Some(next) = &next {
        bytes.extend_from_slice(b",\"next\":");
        write(&mut bytes, next);
    }
    bytes.push(b'}');
    Put { bytes, items, next }
}

/// A list for the one who asked. When each node was read and how long it took is another with every answer: the validator is made of
/// the rest, so it is a weak one.
pub(super) fn answer_once(question: &Question, listing: &Listing<Part>) -> Answer {
    let around = Around { errors: &listing.errors, nodes: &listing.nodes, revision: None };
    let put = put_together(&listing.items, question, &around);
    let stable: Vec<_> = listing.nodes.iter().map(|node| (&node.node, node.ok)).collect();
    let mut validated = put.bytes.get(put.items).unwrap_or_default().to_vec();
    write(&mut validated, &(&listing.errors, &stable, &put.next));
    Ok(HttpResponse::Ok()
        .insert_header((header::ETAG, format!("W/\"{}\"", fingerprint(&validated))))
        .content_type("application/json")
        .body(put.bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use roadstead_core::mirror::Item;
    use roadstead_core::{ContainerFilter, ContainerSummary, Error, ErrorKind, Timestamp};

    use super::*;
    use crate::page::{Page, Paging};

    fn part(node: &str, ids: std::ops::Range<i64>) -> Part {
        let items = ids.rev().map(|id| {
            let mut container = ContainerSummary::default();
            (container.node, container.id) = (node.to_owned(), format!("c{id}"));
            container.created_at = Timestamp::from_unix_seconds(id);
            Arc::new(Item::new(container))
        });
        Part::Asked { node: node.to_owned(), items: items.collect() }
    }

    fn question(paging: Paging) -> Question {
        let after = Place::read(&paging).unwrap();
        Question { filter: ContainerFilter::all(), paging, deadline: Duration::ZERO, fresh: false, after }
    }

    #[test]
    fn it_is_what_a_page_is() {
        let parts = [part("lake", 0..3), part("sea", 0..2)];
        let errors = [NodeError::new("pit", &Error::new(ErrorKind::Unavailable, "gone"))];
        let nodes = [NodeAnswer::new("lake", Some(Timestamp::now()), Duration::from_millis(3))];
        let revision = Some("1.2".to_owned());
        let around = Around { errors: &errors, nodes: &nodes, revision: revision.clone() };
        let put = put_together(&parts, &question(Paging::default()), &around);
        let items = parts.iter().flat_map(|part| part.items(None)).map(|item| item.summary().clone()).collect();
        let page: Page<ContainerSummary> =
            Page { items, errors: errors.to_vec(), nodes: nodes.to_vec(), revision, next: None };
        assert_eq!(String::from_utf8(put.bytes).unwrap(), serde_json::to_string(&page).unwrap());
    }

    #[test]
    fn pages_hold_each_once_and_end() {
        let parts = [part("lake", 0..7), part("sea", 0..5)];
        for limit in 1..=13 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let paging = Paging { limit: Some(limit), cursor, fields: Some("node,id".to_owned()) };
                let around = Around { errors: &[], nodes: &[], revision: None };
                let page: Value =
                    serde_json::from_slice(&put_together(&parts, &question(paging), &around).bytes).unwrap();
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= usize::try_from(limit).unwrap() && !items.is_empty());
                seen.extend(items.iter().map(|item| format!("{}/{}", item["node"], item["id"])));
                assert_eq!(items[0].as_object().unwrap().len(), 2);
                cursor = page["next"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            let all = parts.iter().flat_map(|part| part.items(None));
            let all: Vec<_> =
                all.map(|item| format!("\"{}\"/\"{}\"", item.summary().node, item.summary().id)).collect();
            assert_eq!(seen, all, "{limit}");
        }
    }
}
