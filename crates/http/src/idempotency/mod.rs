//! `Idempotency-Key`: a request that comes again with the same key is answered as it was, and not done again
//! (draft-ietf-httpapi-idempotency-key-header).

mod kept;
mod key;

use std::panic::AssertUnwindSafe;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, HttpResponse, ResponseError, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use roadstead_core::{Error, ErrorKind, Retry};

use crate::auth::Identity;
use crate::changes::{Change, problem_of, refuse};
use crate::extract::read_body;
use crate::precondition;
use crate::problem::{PROBLEM_JSON, Problem};
use crate::state::App;
use kept::{KeptAnswer, Known};

pub(crate) use kept::Keys;
pub(crate) use key::{KEY, KEY_NAME};

/// Says that an answer is that of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Larger answers are not kept.
const BODY_MAX: usize = 256 * 1024;
/// The headers that an answer is kept with.
const HEADERS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, HeaderName::from_static("preference-applied")];

/// The problem of a key that was used already, with what is known of it.
fn used(words: &str, state: &'static str, retry: Retry) -> Error {
    Error::new(ErrorKind::Conflict, words.to_owned())
        .with_field(KEY_NAME)
        .with_context("idempotency", state)
        .with_retry(retry)
}

/// Does what is asked for, at most once where there is a key.
pub(crate) async fn once(
    app: &web::Data<App>,
    change: Change,
    mut req: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let key = match key::given(req.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return precondition::checked(app, change, req, next).await,
        Err(error) => return Ok(refuse(req, error)),
    };
    let Some(operation) = change.operation else { return precondition::checked(app, change, req, next).await };
    if operation.takes_stream {
        let words = "is not taken where the body is a stream of bytes, which is not kept to be compared";
        return Ok(refuse(req, Error::invalid(KEY_NAME, words)));
    }
    let body = match take_body(app, &mut req).await {
        Ok(body) => body,
        Err(problem) => return Ok(refuse(req, problem)),
    };
    let identity = Identity::of(&req).unwrap_or_default();
    let (name, fingerprint) = (key::name(identity, &key), key::fingerprint(&req, &body));
    let alive = async |server: &str| Ok(app.fleet.servers().await?.iter().any(|alive| alive.id == server));
    let place = match app.keys.ask(&name, &fingerprint, app.fleet.id(), alive).await {
        Ok(Known::New(place)) => place,
        Ok(Known::Answered(answer)) => return Ok(replay(req, answer)),
        Ok(Known::InProgress) => {
            let error = used("the request with this key is being worked at", "in_progress", Retry::Safe);
            return Ok(refuse(req, Problem::from(error).with_retry_after(1)));
        }
        Ok(Known::Unknown) => {
            let words = "a request with this key began, and what came of it is not known: look before you repeat it with another key";
            return Ok(refuse(req, used(words, "unknown", Retry::Unknown)));
        }
        Ok(Known::Other) => {
            let words = "the key was used for another request: another method, path, query or body";
            return Ok(refuse(req, Problem::from_status(StatusCode::UNPROCESSABLE_ENTITY, words).with_field(KEY_NAME)));
        }
        Err(error) => return Ok(refuse(req, error)),
    };
    // What is kept must be readable by whoever asks again.
    req.headers_mut().remove(header::ACCEPT_ENCODING);
    let done = AssertUnwindSafe(precondition::checked(app, change, req, next)).catch_unwind().await;
    let answer = match done {
        Ok(answer) => answer,
        Err(panic) => {
            let mistake = Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR, "the server made a mistake");
            place.settle(Some(kept_problem(&mistake))).await;
            std::panic::resume_unwind(panic);
        }
    };
    let problem = problem_of(&answer);
    if problem.as_ref().is_some_and(nothing_was_done) {
        place.settle(None).await;
        return answer;
    }
    let (kept, answer) = keep(answer, problem).await;
    place.settle(Some(kept)).await;
    answer
}

/// Whether the same request may be made again because of it: neither the caller nor what is asked for is at fault.
fn nothing_was_done(problem: &Problem) -> bool {
    match problem.retry {
        Retry::Safe => true,
        Retry::Unknown => false,
        _ => problem.status >= 500,
    }
}

/// Reads the body, and puts it back for the handler.
async fn take_body(app: &App, req: &mut ServiceRequest) -> Result<Bytes, Problem> {
    let mut payload = req.take_payload();
    let body = read_body(&mut payload, req.headers(), app.config.max_body_bytes).await?.freeze();
    let again = body.clone();
    let again = futures_util::stream::once(async move { Ok::<_, PayloadError>(again) });
    req.set_payload(if body.is_empty() { Payload::None } else { Payload::Stream { payload: Box::pin(again) } });
    Ok(body)
}

fn kept_problem(problem: &Problem) -> KeptAnswer {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let headers = vec![(header::CONTENT_TYPE.to_string(), PROBLEM_JSON.to_owned())];
    KeptAnswer { status: problem.status, headers, body: Some(STANDARD.encode(body)) }
}

/// What is kept of an answer, and the answer.
async fn keep(
    answer: Result<ServiceResponse<BoxBody>, ActixError>,
    problem: Option<Problem>,
) -> (KeptAnswer, Result<ServiceResponse<BoxBody>, ActixError>) {
    if let Some(problem) = problem {
        return (kept_problem(&problem), answer);
    }
    let response = match answer {
        Ok(response) => response,
        Err(error) => return (KeptAnswer { status: 500, headers: Vec::new(), body: None }, Err(error)),
    };
    let headers = HEADERS.into_iter().filter_map(|name| {
        let value = response.headers().get(&name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let mut kept = KeptAnswer { status: response.status().as_u16(), headers: headers.collect(), body: None };
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let small = match body.size() {
        BodySize::None => true,
        BodySize::Sized(bytes) => bytes <= BODY_MAX as u64,
        BodySize::Stream => false,
    };
    let body = match small {
        false => body,
        true => match to_bytes(body).await {
            Ok(bytes) => {
                kept.body = Some(STANDARD.encode(&bytes));
                BoxBody::new(bytes)
            }
            Err(error) => return (kept, Err(actix_web::error::ErrorInternalServerError(error))),
        },
    };
    (kept, Ok(ServiceResponse::new(request, response.set_body(body))))
}

/// The answer of the request that was done.
fn replay(req: ServiceRequest, kept: KeptAnswer) -> ServiceResponse<BoxBody> {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(body) = kept.body.and_then(|body| STANDARD.decode(body).ok()) else {
        let words = format!("the request was done and answered with {status}; the answer was too large to be kept");
        let mut error = used(&words, "done", Retry::Never).with_context("status", status.as_u16().to_string());
        if let Some((_, location)) = kept.headers.into_iter().find(|(name, _)| *name == header::LOCATION.as_str()) {
            error = error.with_context("location", location);
        }
        return refuse(req, error);
    };
    // As a problem it gets the id of this request.
    let mut response = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if status.is_client_error() || status.is_server_error() => problem.error_response(),
        _ => {
            let mut response = HttpResponse::build(status);
            for (name, value) in kept.headers {
                response.insert_header((name, value));
            }
            response.body(body)
        }
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    req.into_response(response)
}
