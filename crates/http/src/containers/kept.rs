//! Lists that come from mirrors alone, kept as they were sent until one of these changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use actix_web::http::header::{self, AcceptEncoding, ContentEncoding, Encoding, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use roadstead_core::mirror::{Moment, Snapshot, View};
use roadstead_core::{Error, ErrorKind, Result, Timestamp};
use tokio::sync::OnceCell;

use super::Question;
use super::body::{Around, put_together};
use super::parts::{Part, answer_of};
use crate::etag::{fingerprint, wants_other};
use crate::problem::Answer;
use crate::state::App;

/// All that is kept has so many bytes at most.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// And these are so many lists.
const LISTS_MAX: usize = 256;
/// A question that is longer is not worth keeping an answer to.
const QUESTION_MAX: usize = 1024;

/// When the engines answered for the last time, the one of which it is longest ago.
const OBSERVED_AT: HeaderName = HeaderName::from_static("roadstead-observed-at");

/// A list as it is sent.
#[derive(Debug)]
struct Body {
    /// What it was made of, in order. They are known by their places in memory, which nobody else has while this is held.
    made_of: Vec<Weak<Snapshot>>,
    revision: Moment,
    plain: Representation,
    zipped: OnceCell<Representation>,
}

/// Its bytes, in one encoding.
#[derive(Clone, Debug)]
struct Representation {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Representation {
    fn new(bytes: Bytes, mark: &str) -> Result<Self> {
        let etag = HeaderValue::from_str(&format!("\"{}{mark}\"", fingerprint(&bytes)));
        let etag = etag.map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))?;
        Ok(Representation { bytes, etag })
    }
}

impl Body {
    fn new(question: &Question, views: &[View], revision: Moment) -> Result<Body> {
        let nodes: Vec<_> = views.iter().map(|view| answer_of(&view.snapshot)).collect();
        let parts: Vec<_> = views.iter().cloned().map(Part::Mirrored).collect();
        let around = Around { errors: &[], nodes: &nodes, revision: Some(revision.to_string()) };
        let bytes = Bytes::from(put_together(&parts, question, &around).bytes);
        Ok(Body {
            made_of: views.iter().map(|view| Arc::downgrade(&view.snapshot)).collect(),
            revision,
            plain: Representation::new(bytes, "")?,
            zipped: OnceCell::new(),
        })
    }

    fn is_made_of(&self, views: &[View]) -> bool {
        self.made_of.len() == views.len()
            && (self.made_of.iter().zip(views))
                .all(|(made, view)| std::ptr::eq(made.as_ptr(), Arc::as_ptr(&view.snapshot)))
    }

    /// Compressed once, too.
    async fn zipped(&self) -> Result<&Representation> {
        self.zipped
            .get_or_try_init(async || {
                let plain = self.plain.bytes.clone();
                let zip = actix_web::web::block(move || zip(&plain)).await;
                let failed = |error: &dyn std::fmt::Display| {
                    Error::new(ErrorKind::Unexpected, format!("a list was not compressed: {error}"))
                };
                let zipped = zip.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
                Representation::new(zipped.into(), "-gzip")
            })
            .await
    }

    fn size(&self) -> usize {
        self.plain.bytes.len() + self.zipped.get().map_or(0, |zipped| zipped.bytes.len())
    }
}

fn zip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[derive(Debug)]
struct Entry {
    body: Arc<Body>,
    /// By the count of uses.
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_question: HashMap<String, Entry>,
    uses: u64,
    /// Uses until the last sweep.
    swept: u64,
}

/// Lists as they were sent last, by path and query.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Mutex<Entries>);

impl Bodies {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, question: &str, views: &[View]) -> Option<Arc<Body>> {
        let entries = &mut *self.lock();
        let entry = entries.by_question.get_mut(question)?;
        if !entry.body.is_made_of(views) {
            return None;
        }
        entries.uses += 1;
        entry.used = entries.uses;
        Some(Arc::clone(&entry.body))
    }

    fn keep(&self, question: String, body: &Arc<Body>) {
        if question.len() > QUESTION_MAX || body.size() > BYTES_MAX {
            return;
        }
        let entries = &mut *self.lock();
        entries.uses += 1;
        let entry = Entry { body: Arc::clone(body), used: entries.uses };
        entries.by_question.insert(question, entry);
        let mut bytes: usize = entries.by_question.values().map(|entry| entry.body.size()).sum();
        // What was made last has been used last, and stays.
        while bytes > BYTES_MAX || entries.by_question.len() > LISTS_MAX {
            let oldest = entries.by_question.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| entries.by_question.remove(&key)) else { break };
            bytes -= gone.body.size();
        }
    }

    /// Lets go of what was not asked for since the last sweep.
    pub(crate) fn sweep(&self) {
        let entries = &mut *self.lock();
        let swept = entries.swept;
        entries.by_question.retain(|_, entry| entry.used > swept);
        entries.swept = entries.uses;
    }
}

/// The list of what mirrors show, as it was made for the first who asked. `now` is a moment before they were looked at.
pub(super) async fn answer(app: &App, req: &HttpRequest, question: &Question, views: &[View], now: Moment) -> Answer {
    let changes = app.nodes.container_changes();
    let key = [req.path(), "?", req.query_string()].concat();
    let body = match app.bodies.get(&key, views).filter(|body| changes.is_recent(body.revision)) {
        Some(body) => body,
        None => {
            let last = views.iter().map(|view| view.snapshot.moment()).max_by_key(|moment| moment.revision());
            // Every change up to it is in the list, and those who watch from it are not too late soon.
            let revision =
                last.filter(|last| last.revision() <= now.revision() && changes.is_recent(*last)).unwrap_or(now);
            let body = Arc::new(Body::new(question, views, revision)?);
            app.bodies.keep(key, &body);
            body
        }
    };
    let observed_at = views.iter().map(|view| view.observed_at).min();
    if wants_zipped(req) {
        return Ok(respond(req, body.zipped().await?, ContentEncoding::Gzip, observed_at));
    }
    Ok(respond(req, &body.plain, ContentEncoding::Identity, observed_at))
}

fn wants_zipped(req: &HttpRequest) -> bool {
    if !req.headers().contains_key(header::ACCEPT_ENCODING) {
        return false;
    }
    let offered = [Encoding::identity(), Encoding::gzip()];
    let accepted = req.get_header::<AcceptEncoding>();
    accepted.is_some_and(|accepted| accepted.negotiate(offered.iter()) == Some(Encoding::gzip()))
}

fn respond(
    req: &HttpRequest,
    representation: &Representation,
    encoding: ContentEncoding,
    observed_at: Option<Timestamp>,
) -> HttpResponse {
    let fresh = wants_other(req.headers(), &representation.etag);
    let mut response = if fresh { HttpResponse::Ok() } else { HttpResponse::NotModified() };
    response.insert_header((header::ETAG, representation.etag.clone()));
    response.insert_header((header::VARY, HeaderValue::from_static("accept-encoding")));
    if let Some(time) = observed_at.and_then(|time| HeaderValue::from_str(&time.to_string()).ok()) {
        response.insert_header((OBSERVED_AT, time));
    }
    if !fresh {
        return response.finish();
    }
    // Compressed or not, it is sent as it is: `identity` keeps it out of compression.
    response.insert_header((header::CONTENT_ENCODING, encoding));
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    response.body(representation.bytes.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Paging;
    use roadstead_core::ContainerFilter;
    use roadstead_core::mirror::{Changes, Mirror};
    use std::time::Duration;

    fn body(size: usize) -> Arc<Body> {
        let plain = Representation::new(vec![0; size].into(), "").unwrap();
        Arc::new(Body { made_of: Vec::new(), revision: Changes::new().now(), plain, zipped: OnceCell::new() })
    }

    #[test]
    fn they_are_bounded_and_those_that_are_used_stay() {
        let bodies = Bodies::default();
        for number in 0..1000 {
            bodies.keep(number.to_string(), &body(10));
            bodies.get("0", &[]).unwrap();
        }
        assert_eq!(bodies.lock().by_question.len(), LISTS_MAX);
        bodies.keep("large".to_owned(), &body(BYTES_MAX - 15));
        assert_eq!(bodies.lock().by_question.len(), 2, "what was used last, and it");
        bodies.keep("x".repeat(QUESTION_MAX + 1), &body(1));
        bodies.keep("too large".to_owned(), &body(BYTES_MAX + 1));
        assert_eq!(bodies.lock().by_question.len(), 2);
        bodies.sweep();
        bodies.get("0", &[]).unwrap();
        bodies.sweep();
        assert_eq!(bodies.lock().by_question.keys().collect::<Vec<_>>(), ["0"]);
    }

    #[tokio::test]
    async fn a_list_is_known_by_what_it_was_made_of() {
        let changes = Changes::new();
        let (one, other) = (Mirror::new("sea", Arc::clone(&changes)), Mirror::new("sea", Arc::clone(&changes)));
        let view = |mirror: &Mirror| View::new(mirror.snapshot(), Timestamp::now());
        let filter = ContainerFilter::all();
        let question =
            Question { filter, paging: Paging::default(), deadline: Duration::ZERO, fresh: false, after: None };
        let body = Body::new(&question, &[view(&one)], changes.now()).unwrap();
        assert!(body.is_made_of(&[view(&one)]));
        assert!(!body.is_made_of(&[view(&other)]), "equal, and another");
        assert!(!body.is_made_of(&[]) && !body.is_made_of(&[view(&one), view(&one)]));
        let zipped = body.zipped().await.unwrap();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped.bytes[..]), &mut plain).unwrap();
        assert_eq!(plain, body.plain.bytes);
        assert_ne!(zipped.etag, body.plain.etag);
    }
}
