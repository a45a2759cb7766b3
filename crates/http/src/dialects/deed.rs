//! The one way by which a dialect changes something: allowed, written down, done, written down again. What is asked for is the
//! operation that was parsed from the request, wherever the dialect has it, and never its method and path.

use actix_web::{HttpMessage, HttpRequest};
use roadstead_core::{Error, ErrorKind, Result};
use tracing::Instrument;

use crate::audit::{Deed, End, Outcome};
use crate::auth::{Identity, Role, require};
use crate::envelope::RequestId;
use crate::state::App;

/// Does what `operation` asks for to `target`, if the caller has the role. What has begun goes on when the client leaves.
///
/// # Errors
/// `PermissionDenied`, `Unavailable` when it cannot be written down, and those of the work.
pub(crate) async fn changing<T: 'static>(
    app: &App,
    req: &HttpRequest,
    role: Role,
    operation: &'static str,
    target: &[(&str, &str)],
    work: impl Future<Output = Result<T>> + 'static,
) -> Result<T> {
    let deed = Deed {
        request_id: req.extensions().get::<RequestId>().map(|id| id.0.clone()),
        identity: Identity::of(req).map(str::to_owned),
        peer: req.peer_addr().map(|peer| peer.to_string()),
        operation: Some(operation.to_owned()),
        method: Some(req.method().as_str().to_owned()),
        route: req.match_pattern().or_else(|| Some(req.path().to_owned())),
        target: target.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        parameters: Vec::new(),
    };
    if let Err(error) = require(req, role, operation) {
        app.audit.refused(deed, error.message());
        return Err(error);
    }
    let begun = app.audit.begin(deed).await?;
    let work = async move {
        let done = work.await;
        begun.end(match &done {
            Ok(_) => End::of(Outcome::Succeeded),
            Err(error) => End::failed(error.kind(), error.retry()),
        });
        done
    };
    match actix_web::rt::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // Answered for where all panics are.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::new(ErrorKind::Unavailable, "the server is ending").with_source(error)),
        },
    }
}
