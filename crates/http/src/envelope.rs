//! What every answer has, whatever made it: a request id, safe headers, one access line in the log, and a problem
//! document when it is an error, even when a handler panicked.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures_util::FutureExt;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use crate::dialects::{self, Dialect, Door};
use crate::problem::{PROBLEM_JSON, Problem};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, in the answer, in the log and in problem documents.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// The id of a request that a handler has.
pub(crate) fn request_id(req: &HttpRequest) -> Option<String> {
    req.extensions().get::<RequestId>().map(|id| id.0.clone())
}

/// Takes the caller's id when it is a sane one; it goes to logs and headers.
fn id_of(req: &ServiceRequest) -> RequestId {
    let given = req.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    });
    RequestId(given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
}

/// The outermost layer of the server.
pub(crate) async fn envelope<B: MessageBody + 'static>(
    mut req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let id = id_of(&req);
    req.extensions_mut().insert(id.clone());
    // A HEAD is a GET whose body is not sent.
    let head = req.method() == Method::HEAD;
    if head {
        req.head_mut().method = Method::GET;
    }
    let documentation = req.path().starts_with("/v1/docs");
    let dialect = Door::dialect(&req);
    let outcome = AssertUnwindSafe(next.call(req)).catch_unwind().await;
    let mut response = match outcome {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        Ok(Err(error)) => {
            let problem = error
                .as_error::<Problem>()
                .cloned()
                .unwrap_or_else(|| Problem::from_status(error.as_response_error().status_code(), error.to_string()));
            return Err(answered_for(dialect, problem.with_request_id(&id.0)));
        }
        Err(_) => {
            tracing::error!(request_id = id.0, "a handler panicked");
            let problem = Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR, "the server made a mistake");
            return Err(answered_for(dialect, problem.with_request_id(&id.0)));
        }
    };
    if let Some(dialect) = dialect {
        response = in_dialect(dialect, response);
    } else if response.status().is_client_error() || response.status().is_server_error() {
        response = as_problem(response, &id);
    }
    if head {
        response = response.map_body(|_, body| BoxBody::new(WithoutBody(body.size())));
    }
    let headers = response.headers_mut();
    // The mark by which streams keep out of compression is not for the client.
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "identity") {
        headers.remove(header::CONTENT_ENCODING);
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Without any referrer a browser would not say either from where the buttons of a dialect's own pages are pressed.
    let referrer = if dialect.is_some() { "same-origin" } else { "no-referrer" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(if documentation {
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
        } else {
            "default-src 'none'; frame-ancestors 'none'"
        }),
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        // Kept by nobody but who asked, and never used without asking again.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

/// A body that only tells its size.
struct WithoutBody(actix_web::body::BodySize);

impl MessageBody for WithoutBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> actix_web::body::BodySize {
        match self.0 {
            actix_web::body::BodySize::Stream => actix_web::body::BodySize::None,
            size => size,
        }
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<actix_web::web::Bytes, Self::Error>>> {
        std::task::Poll::Ready(None)
    }
}

/// What went wrong before any handler was asked, or in one that panicked.
fn answered_for(dialect: Option<Dialect>, problem: Problem) -> ActixError {
    match dialect {
        Some(dialect) => {
            let mut response = dialects::render(dialect, &problem);
            keep_problem(&mut response, problem);
            actix_web::error::InternalError::from_response("answered in the words of a dialect", response).into()
        }
        None => problem.into(),
    }
}

/// What an answer said beside its body, for the one in its place.
fn keep_headers(new: &mut HttpResponse, old: &HttpResponse) {
    for (name, value) in old.headers() {
        if !new.headers().contains_key(name) && *name != header::CONTENT_LENGTH && *name != header::CONTENT_ENCODING {
            new.headers_mut().append(name.clone(), value.clone());
        }
    }
}

/// For the access log.
fn keep_problem(response: &mut HttpResponse, problem: Problem) {
    response.extensions_mut().insert(problem);
}

/// Gives what no handler of the dialect has answered the dialect's own look: the refusals of the router and of the layers.
fn in_dialect(dialect: Dialect, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let known = response.response().extensions().get::<Problem>().cloned();
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let bare = failed && !response.headers().contains_key(header::CONTENT_TYPE);
    let problem = match known {
        Some(problem) => problem,
        None if bare => {
            let words = response.status().canonical_reason().unwrap_or("The request was refused");
            Problem::from_status(response.status(), words)
        }
        None => return response,
    };
    let (request, old) = response.into_parts();
    let mut new = dialects::render(dialect, &problem);
    keep_headers(&mut new, &old);
    keep_problem(&mut new, problem);
    ServiceResponse::new(request, new)
}

/// Adds the request id to a problem, and makes a problem of what others (the router, the compressor) answered.
fn as_problem(response: ServiceResponse<BoxBody>, id: &RequestId) -> ServiceResponse<BoxBody> {
    let known = response.response().extensions().get::<Problem>().cloned();
    let problem = known.unwrap_or_else(|| {
        let detail = response.response().error().map_or_else(String::new, ToString::to_string);
        Problem::from_status(response.status(), detail)
    });
    let problem = problem.with_request_id(&id.0);
    let (request, old) = response.into_parts();
    let mut new: HttpResponse = problem.error_response();
    keep_headers(&mut new, &old);
    if old.headers().get_all(header::WWW_AUTHENTICATE).count() > 1 {
        new.headers_mut().remove(header::WWW_AUTHENTICATE);
        for value in old.headers().get_all(header::WWW_AUTHENTICATE) {
            new.headers_mut().append(header::WWW_AUTHENTICATE, value.clone());
        }
    }
    debug_assert!(new.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM_JSON));
    ServiceResponse::new(request, new)
}

/// The span of a request, and one line when it is answered. Queries and headers are left out: they may hold secrets; so is
/// the detail of what the caller did wrong, which may repeat what was sent.
#[derive(Debug)]
pub(crate) struct AccessLog;

impl RootSpanBuilder for AccessLog {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        tracing::info_span!(
            "http.request",
            request_id = id,
            method = request.method().as_str(),
            path = request.path(),
            status = tracing::field::Empty,
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, ActixError>) {
        let (status, problem) = match outcome {
            Ok(response) => (response.status(), response.response().extensions().get::<Problem>().cloned()),
            Err(error) => {
                let status = error.as_response_error().status_code();
                (status, Some(error.as_error::<Problem>().cloned().unwrap_or_else(|| Problem::from_status(status, ""))))
            }
        };
        span.record("status", status.as_u16());
        match problem {
            Some(problem) if status.is_server_error() => {
                tracing::warn!(status = status.as_u16(), %problem, "answered");
            }
            Some(problem) => {
                let field = problem.field.as_deref().unwrap_or_default();
                tracing::info!(status = status.as_u16(), problem = problem.code, field, "answered");
            }
            None => tracing::info!(status = status.as_u16(), "answered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};

    #[actix_web::test]
    async fn a_handler_that_panics_is_answered_for() {
        async fn broken() -> HttpResponse {
            panic!("on purpose");
        }
        let app =
            test::init_service(App::new().route("/", web::get().to(broken)).wrap(from_fn(envelope::<BoxBody>))).await;
        let request = test::TestRequest::get().uri("/").insert_header(("X-Request-Id", "r1")).to_request();
        let error = test::try_call_service(&app, request).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), PROBLEM_JSON);
        assert_eq!(response.headers().get(X_REQUEST_ID).unwrap(), "r1");
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["code"], &problem["request_id"]), (&"unexpected".into(), &"r1".into()));
        assert!(!problem.to_string().contains("on purpose"), "what went wrong inside is for the log");
    }
}
