//! `If-Match` and `If-None-Match` on requests that change something: done only to what is as the caller knows it.
//!
//! What is in the store has its revision in its validator, and is changed only at that revision, so of many who know the same one
//! changes it. A container is in its engine, which knows no such condition: its validator is compared right before the engine is asked
//! to do it, and what others do in between is not noticed. A condition where none is looked at is refused and never passed over.

use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, FromRequest, HttpMessage, HttpRequest, web};
use roadstead_core::store::Revision;
use roadstead_core::{Error, ErrorKind, Result, names};
use serde::Serialize;

use crate::changes::{Change, refuse};
use crate::etag::fingerprint;
use crate::problem::Problem;
use crate::state::App;

/// As the headers are written in errors and documents.
pub(crate) const IF_MATCH: &str = "If-Match";
pub(crate) const IF_NONE_MATCH: &str = "If-None-Match";

/// What a condition of an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// What the store has: its handler looks.
    Stored,
    /// A container: it is looked at here.
    Container,
}

/// The operations that take `If-Match`.
const MATCHED: [(&str, About); 17] = [
    ("pools_replace", About::Stored),
    ("pools_delete", About::Stored),
    ("pools_cordon", About::Stored),
    ("pools_uncordon", About::Stored),
    ("pools_drain", About::Stored),
    ("nodes_remove", About::Stored),
    ("containers_delete", About::Container),
    ("containers_start", About::Container),
    ("containers_stop", About::Container),
    ("containers_restart", About::Container),
    ("containers_kill", About::Container),
    ("containers_freeze", About::Container),
    ("containers_unfreeze", About::Container),
    ("containers_rename", About::Container),
    ("containers_update", About::Container),
    ("containers_commit", About::Container),
    ("snapshots_restore", About::Container),
];
/// The operations that take `If-None-Match: *`.
const CREATING: [&str; 1] = ["pools_create"];

fn about(operation: &str) -> Option<About> {
    MATCHED.iter().find(|(id, _)| *id == operation).map(|(_, about)| *about)
}

/// Whether an operation takes `If-Match`.
pub(crate) fn takes_if_match(operation: &str) -> bool {
    about(operation).is_some()
}

/// Whether an operation takes `If-None-Match: *`.
pub(crate) fn takes_if_none_match(operation: &str) -> bool {
    CREATING.contains(&operation)
}

/// What a caller knows of what is to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// It does not say.
    #[default]
    Anyhow,
    /// That it is there.
    Any,
    /// One of these strong validators, with their quotation marks.
    Tags(Vec<String>),
}

/// What must hold for a change to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    pub(crate) if_match: IfMatch,
    /// There must be nothing yet.
    pub(crate) if_new: bool,
}

impl IfMatch {
    fn read(headers: &HeaderMap) -> Result<Self> {
        let Some(text) = joined(headers, &header::IF_MATCH, IF_MATCH)? else { return Ok(IfMatch::Anyhow) };
        if text.trim() == "*" {
            return Ok(IfMatch::Any);
        }
        let wrong = || Error::invalid(IF_MATCH, "must be * or validators in quotation marks, with commas between");
        strong_tags(&text).map(IfMatch::Tags).ok_or_else(wrong)
    }

    fn holds(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            IfMatch::Anyhow | IfMatch::Any => true,
            IfMatch::Tags(tags) => tags.iter().any(|tag| is(tag)),
        }
    }

    /// Whether it says anything.
    pub(crate) fn is_given(&self) -> bool {
        *self != IfMatch::Anyhow
    }

    /// Refuses what has another validator.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    fn require(&self, what: &str, current: &str) -> Result<()> {
        if self.holds(|tag| tag == current) {
            return Ok(());
        }
        Err(failed(what).with_context("etag", current))
    }

    /// Refuses what was written by a transaction of another revision. The rest of a validator says how it looks, which may depend on what
    /// nobody changes here.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(crate) fn require_revision(&self, what: &str, revision: Revision) -> Result<()> {
        if self.holds(|tag| revision_of(tag) == Some(revision)) {
            return Ok(());
        }
        Err(failed(what))
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("{what} is not as {IF_MATCH} says: read it again"))
        .with_field(IF_MATCH)
}

/// That something is there already which must not be.
pub(crate) fn is_there(error: &Error) -> Error {
    Error::new(ErrorKind::PreconditionFailed, error.message().to_owned()).with_field(IF_NONE_MATCH)
}

/// The validator of what the store has, as it is shown.
pub(crate) fn etag(revision: Revision, shown: &impl Serialize) -> String {
    let shown = serde_json::to_vec(shown).unwrap_or_default();
    format!("\"{:x}-{}\"", revision.0, fingerprint(&shown))
}

fn revision_of(tag: &str) -> Option<Revision> {
    let (revision, _) = tag.strip_prefix('"')?.split_once('-')?;
    u64::from_str_radix(revision, 16).ok().map(Revision)
}

/// All lines of a header, which are one list.
fn joined(headers: &HeaderMap, header: &HeaderName, name: &'static str) -> Result<Option<String>> {
    let mut lines = Vec::new();
    for line in headers.get_all(header) {
        lines.push(line.to_str().map_err(|_| Error::invalid(name, "is not ASCII"))?);
    }
    Ok((!lines.is_empty()).then(|| lines.join(",")))
}

/// The strong ones of a list of validators; none when it is no such list. Weak ones never match (RFC 9110, 13.1.1).
fn strong_tags(text: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    loop {
        let is_weak = rest.starts_with("W/");
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        // A comma inside of the quotation marks belongs to the validator.
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        let (tag, behind) = tag.split_at_checked(end)?;
        if !is_weak {
            tags.push(tag.to_owned());
        }
        let behind = behind.trim_start();
        if behind.is_empty() {
            return Some(tags);
        }
        rest = behind.strip_prefix(',')?.trim_start();
    }
}

fn read(change: &Change, headers: &HeaderMap) -> Result<Preconditions> {
    let id = change.operation.map_or("", |operation| operation.id.as_str());
    let if_match = IfMatch::read(headers)?;
    if if_match.is_given() && !takes_if_match(id) {
        return Err(Error::invalid(IF_MATCH, "is not looked at by this operation; leave it out"));
    }
    let new = joined(headers, &header::IF_NONE_MATCH, IF_NONE_MATCH)?;
    match new.as_deref().map(str::trim) {
        Some(_) if !takes_if_none_match(id) => {
            Err(Error::invalid(IF_NONE_MATCH, "is not looked at by this operation; leave it out"))
        }
        Some(text) if text != "*" => Err(Error::invalid(IF_NONE_MATCH, "must be * where something is made")),
        text => Ok(Preconditions { if_match, if_new: text.is_some() }),
    }
}

/// Lets a request pass whose conditions hold, or are looked at by its handler.
pub(crate) async fn checked(
    app: &web::Data<App>,
    change: Change,
    req: ServiceRequest,
    next: Next<BoxBody>,
) -> std::result::Result<ServiceResponse<BoxBody>, ActixError> {
    // There is nothing to do without the route, and its problem is the better one.
    let Some(operation) = change.operation else { return next.call(req).await };
    let preconditions = match read(&change, req.headers()) {
        Ok(preconditions) => preconditions,
        Err(error) => return Ok(refuse(req, error)),
    };
    if about(&operation.id) == Some(About::Container)
        && preconditions.if_match.is_given()
        && let Err(error) = container(app, &change, &preconditions.if_match).await
    {
        return Ok(refuse(req, error));
    }
    req.extensions_mut().insert(preconditions);
    next.call(req).await
}

/// The container as it is now, by its engine and not from memory.
async fn container(app: &App, change: &Change, if_match: &IfMatch) -> Result<()> {
    let part = |name: &str| change.target.get(name).map(String::as_str).unwrap_or_default();
    let (node, id) = (part("node"), part("container"));
    names::existing("container", id)?;
    let slot = app.nodes.get(node)?;
    let ask = async { slot.node(app.deadline()).await?.container(id).inspect().await };
    let details = slot.mirror().ask_details(ask).await?;
    if_match.require(&format!("the container {id}"), &format!("\"{}\"", fingerprint(details.json())))
}

impl FromRequest for Preconditions {
    type Error = Problem;
    type Future = Ready<std::result::Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // A handler that takes them must never be reached without them.
        let found = req.extensions().get::<Preconditions>().cloned();
        ready(found.ok_or_else(|| Error::new(ErrorKind::Unexpected, "preconditions were not read").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn of(lines: &[&str]) -> Result<IfMatch> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        IfMatch::read(&headers)
    }

    #[test]
    fn validators_are_compared_strongly() {
        let tags = |tags: &[&str]| IfMatch::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        assert_eq!(of(&[]).unwrap(), IfMatch::Anyhow);
        assert_eq!(of(&[" * "]).unwrap(), IfMatch::Any);
        assert_eq!(of(&["\"a,b\" , W/\"c\",\"d\"", "\"e\""]).unwrap(), tags(&["\"a,b\"", "\"d\"", "\"e\""]));
        assert!(of(&["W/\"a\""]).unwrap().require("it", "\"a\"").is_err());
        assert!(of(&["\"a\""]).unwrap().require("it", "\"a\"").is_ok());
        for bad in ["", "a", "\"a", "\"a\" \"b\"", "\"a\",", "*, \"a\"", "w/\"a\"", "é"] {
            assert_eq!(of(&[bad]).unwrap_err().field(), Some(IF_MATCH), "{bad}");
        }
    }

    #[test]
    fn of_what_is_stored_the_revision_decides() {
        let tag = etag(Revision(31), &"shown");
        assert_ne!(tag, etag(Revision(31), &"otherwise"));
        let tags = IfMatch::Tags(vec!["\"x\"".to_owned(), "\"zz-1\"".to_owned(), tag]);
        tags.require_revision("it", Revision(31)).unwrap();
        assert_eq!(tags.require_revision("it", Revision(32)).unwrap_err().kind(), ErrorKind::PreconditionFailed);
        IfMatch::Any.require_revision("it", Revision(1)).unwrap();
    }

    #[test]
    fn each_operation_that_takes_them_is_one() {
        let document = crate::v1::openapi::openapi();
        let ids: Vec<_> = document
            .paths
            .paths
            .values()
            .flat_map(|item| [&item.put, &item.post, &item.delete].into_iter().flatten())
            .filter_map(|operation| operation.operation_id.as_deref())
            .collect();
        for id in MATCHED.iter().map(|(id, _)| id).chain(&CREATING) {
            assert!(ids.contains(id), "{id}");
        }
    }
}
