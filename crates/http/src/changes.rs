//! The one way by which every request goes that may change something: written down, then done at most once, then written down again.
//!
//! What only reads is let through after a look at its method.

use std::collections::BTreeMap;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, web};
use roadstead_core::{Error, ErrorKind};
use tracing::Instrument;

use crate::audit::{Deed, End, Outcome};
use crate::auth::Identity;
use crate::dialects::Door;
use crate::envelope::RequestId;
use crate::idempotency;
use crate::problem::Problem;
use crate::routes::{self, Operation};
use crate::state::App;

/// Query keys that say to what something is done. The values of all others are written nowhere.
const NAMING: [&str; 3] = ["name", "path", "reference"];

/// A request that may change something.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it asks for; absent when there is no such route.
    pub(crate) operation: Option<&'static Operation>,
    /// The parameters of its path.
    pub(crate) target: BTreeMap<String, String>,
}

type Pairs = web::Query<Vec<(String, String)>>;

/// Whether a request may change something, and which. Called for each request, so it begins with what is cheap.
pub(crate) fn change_of(req: &ServiceRequest) -> Option<(Change, Deed)> {
    // The path as it is routed by: `/attac%68` is one way to write `/attach`.
    let path = req.match_info().as_str();
    if req.method().is_safe() && !(*req.method() == Method::GET && path.ends_with("/attach")) {
        return None;
    }
    let found = routes::find(req.method(), path);
    if req.method().is_safe() && !found.as_ref().is_some_and(|(operation, _)| operation.changes()) {
        return None;
    }
    let (operation, target) = found.unzip();
    let target = target.unwrap_or_default();
    let mut named = target.clone();
    if let (Some(operation), Ok(pairs)) = (operation, Pairs::from_query(req.query_string())) {
        let naming = |key: &str| NAMING.contains(&key) && operation.query.contains(key);
        named.extend(pairs.into_inner().into_iter().filter(|(key, _)| naming(key)));
    }
    let extensions = req.extensions();
    let keys = req.query_string().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    // A key that the operation does not have may be anything, a secret too.
    let known = |key: &&str| operation.is_some_and(|operation| operation.query.contains(*key));
    let deed = Deed {
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
        identity: Identity::of(req).map(str::to_owned),
        peer: req.peer_addr().map(|peer| peer.to_string()),
        operation: operation.map(|operation| operation.id.clone()),
        method: Some(req.method().as_str().to_owned()),
        route: Some(operation.map_or_else(|| path.to_owned(), |operation| operation.pattern.clone())),
        target: named,
        parameters: keys.filter(known).map(str::to_owned).collect(),
    };
    Some((Change { operation, target }, deed))
}

/// The problem of an answer, if it is one.
pub(crate) fn problem_of(answer: &Result<ServiceResponse<BoxBody>, ActixError>) -> Option<Problem> {
    let (status, known) = match answer {
        Ok(response) => (response.status(), response.response().extensions().get::<Problem>().cloned()),
        Err(error) => (error.as_response_error().status_code(), error.as_error::<Problem>().cloned()),
    };
    let failed = status.is_client_error() || status.is_server_error();
    failed.then(|| known.unwrap_or_else(|| Problem::from_status(status, "")))
}

fn end_of(answer: &Result<ServiceResponse<BoxBody>, ActixError>) -> End {
    let mut end = match (problem_of(answer), answer) {
        (Some(problem), _) => End::answered(&problem),
        (None, Ok(response)) => {
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            End {
                status: Some(response.status().as_u16()),
                location: location.map(str::to_owned),
                ..End::of(Outcome::Succeeded)
            }
        }
        (None, Err(_)) => End::of(Outcome::Unknown),
    };
    end.replayed = answer.as_ref().is_ok_and(|response| response.headers().contains_key(idempotency::REPLAYED));
    end
}

/// Answers with a problem in place of a handler.
pub(crate) fn refuse(req: ServiceRequest, problem: impl Into<Problem>) -> ServiceResponse<BoxBody> {
    use actix_web::ResponseError;
    req.into_response(problem.into().error_response())
}

/// The layer of the server.
pub(crate) async fn changes(req: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, ActixError> {
    // Dialects say by themselves what they change, once they know: their verbs are in bodies.
    if Door::dialect(&req).is_some() {
        return next.call(req).await;
    }
    let Some((change, deed)) = change_of(&req) else { return next.call(req).await };
    let Some(app) = req.app_data::<web::Data<App>>().cloned() else {
        return Ok(refuse(req, Error::new(ErrorKind::Unexpected, "the server has no state")));
    };
    // When the client leaves, this is dropped, and what began ends with an unknown outcome.
    let begun = match app.audit.begin(deed).await {
        Ok(begun) => begun,
        Err(error) => return Ok(refuse(req, error)),
    };
    let keyed = req.headers().contains_key(idempotency::KEY);
    let work = async move {
        let answer = idempotency::once(&app, change, req, next).await;
        begun.end(end_of(&answer));
        answer
    };
    if !keyed {
        return work.await;
    }
    // Whoever gives a key asks again when the connection breaks, and is to get the answer then: the work goes on without the client.
    match actix_web::rt::spawn(work.in_current_span()).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(actix_web::error::ErrorInternalServerError(error)),
        },
    }
}
