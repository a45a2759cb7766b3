//! Who may ask: the holder of the admin token, and on the doors of dialects whoever they let in. Only the health routes need no
//! identity.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, HttpRequest, ResponseError, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roadstead_core::{Error, ErrorKind, Secret};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::changes::change_of;
use crate::dialects::Door;
use crate::problem::Problem;
use crate::state::App;

/// Routes that tell nothing but that the server is there.
pub(crate) const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// What a caller may do; each may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything.
    Read,
    /// Do something to containers, and make and delete them.
    Operate,
    /// Add and remove nodes, too.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];

    /// The word used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("there is no such role; there are {}", Role::ALL.map(Role::name).join(", ")))
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// As it stands in the audit log.
    name: &'static str,
    /// What they may do.
    role: Role,
}

impl Identity {
    /// Who makes a request; nobody before that was looked at.
    pub(crate) fn of(req: &impl HttpMessage) -> Option<&'static str> {
        req.extensions().get::<Identity>().map(|identity| identity.name)
    }
}

/// The holder of the admin token.
const ADMIN: Identity = Identity { name: "admin", role: Role::Admin };

/// Refuses a caller who may not do what `role` may.
///
/// # Errors
/// `PermissionDenied`.
pub(crate) fn require(req: &HttpRequest, role: Role, operation: &'static str) -> Result<(), Error> {
    if req.extensions().get::<Identity>().is_some_and(|identity| identity.role >= role) {
        return Ok(());
    }
    let words = format!("needs the role {}; give the admin token to have every role", role.name());
    Err(Error::new(ErrorKind::PermissionDenied, words).with_operation(operation))
}

/// The admin token, compared in constant time.
#[derive(Clone, Debug)]
pub(crate) struct Token(Secret);

impl Token {
    /// Guards with this token.
    #[must_use]
    pub(crate) fn new(secret: Secret) -> Self {
        Token(secret)
    }

    fn matches(&self, given: &[u8]) -> bool {
        self.0.expose().as_bytes().ct_eq(given).into()
    }
}

/// Whether this is a page that a browser opens by itself. Only there the token may come as the password of HTTP Basic:
/// a browser repeats Basic credentials on its own, so a foreign page could have it send them to a route that changes
/// something.
fn is_browser_page(method: &Method, path: &str) -> bool {
    *method == Method::GET && (path == "/v1/openapi.json" || path == "/v1/docs" || path.starts_with("/v1/docs/"))
}

fn identify(req: &ServiceRequest, token: &Token) -> Result<Identity, Error> {
    let refuse = |why: &'static str| Err(Error::new(ErrorKind::Unauthenticated, why));
    let dialect = Door::dialect(req);
    let mut headers = req.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else {
        if dialect.is_none() {
            return refuse("give the admin token as Authorization: Bearer");
        }
        let role = Door::anonymous(req)?;
        Door::not_from_elsewhere(req)?;
        return Ok(Identity { name: "anonymous", role });
    };
    if headers.next().is_some() {
        return refuse("there is more than one Authorization header");
    }
    let Some((scheme, credentials)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return refuse("the Authorization header is not Bearer and a token");
    };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return if token.matches(credentials.as_bytes()) { Ok(ADMIN) } else { refuse("the token is not valid") };
    }
    if scheme.eq_ignore_ascii_case("basic") && (dialect.is_some() || is_browser_page(req.method(), req.path())) {
        Door::not_from_elsewhere(req)?;
        let decoded = STANDARD.decode(credentials).unwrap_or_default();
        let password = decoded.iter().position(|byte| *byte == b':').and_then(|colon| decoded.get(colon + 1..));
        return match password {
            Some(password) if token.matches(password) => Ok(ADMIN),
            _ => refuse("the password is not the admin token"),
        };
    }
    refuse("the Authorization header is not Bearer and a token")
}

/// Lets requests with an identity pass. Routes that do not exist are not told from those that do.
pub(crate) async fn require_identity<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    // They are there to be read; nobody writes without an identity, if only into the audit log.
    let dialect = Door::dialect(&req);
    if dialect.is_none() && req.method().is_safe() && OPEN.contains(&req.path()) {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    // What a browser asks before it lets a page of another address in, without credentials by its own rules.
    if dialect.is_some() && req.method() == Method::OPTIONS {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let identity = match req.app_data::<web::Data<App>>() {
        Some(app) => identify(&req, &app.token),
        None => Err(Error::new(ErrorKind::Unexpected, "the server has no state")),
    };
    match identity {
        Ok(identity) => {
            req.extensions_mut().insert(identity);
            next.call(req).await.map(ServiceResponse::map_into_left_body)
        }
        Err(error) => {
            if let Some(app) = req.app_data::<web::Data<App>>()
                && let Some((_, deed)) = change_of(&req)
            {
                app.audit.refused(deed, error.message());
            }
            let mut response = Problem::from(error).error_response();
            let unknown = response.status() == actix_web::http::StatusCode::UNAUTHORIZED;
            if is_browser_page(req.method(), req.path()) || (dialect.is_some() && unknown) {
                response.headers_mut().append(
                    header::WWW_AUTHENTICATE,
                    header::HeaderValue::from_static(
                        "Basic realm=\"roadstead: any user, the admin token as password\"",
                    ),
                );
            }
            Ok(req.into_response(response).map_into_right_body())
        }
    }
}
