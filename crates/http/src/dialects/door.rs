//! Doors: through which listener a request came, which dialect it speaks, and what callers without a token may do there.
//!
//! A token opens every door, as `Authorization: Bearer` or as the password of HTTP Basic. A browser sends Basic credentials, and
//! requests without any, for whichever page asks it to. So whoever comes without Bearer from a page must come from one of this very
//! address to change something; and on a door that lets in callers without a token, the address must be one that no foreign name can be
//! made to mean: a number, or `localhost`.

use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use roadstead_core::{Error, ErrorKind, Result};

use super::{Dialect, DialectConfig};
use crate::auth::Role;

/// The door of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// The dialect of a listener that has one of its own.
    own: Option<Dialect>,
    /// The dialects below their names.
    mounted: Vec<Dialect>,
    /// What callers without a token may do.
    anonymous: Option<Role>,
    /// Whether the listener is on a loopback address.
    loopback: bool,
}

impl Door {
    /// That of the main listener.
    pub(crate) fn main(dialects: &[DialectConfig]) -> Self {
        let mounted = dialects.iter().map(|dialect| dialect.name).collect();
        Door { own: None, mounted, anonymous: None, loopback: false }
    }

    /// That of a listener of the dialect's own.
    pub(crate) fn of(dialect: &DialectConfig) -> Self {
        Door {
            own: Some(dialect.name),
            mounted: Vec::new(),
            anonymous: dialect.anonymous,
            loopback: dialect.listen.is_some_and(|address| address.ip().is_loopback()),
        }
    }

    /// The dialect of a listener that has one of its own.
    pub(crate) fn own(&self) -> Option<Dialect> {
        self.own
    }

    /// Mounts the dialects below their names.
    pub(crate) fn mount(&self, config: &mut web::ServiceConfig) {
        for dialect in &self.mounted {
            config.service(web::scope(dialect.prefix()).configure(|config| dialect.routes(config)));
        }
    }

    fn dialect_of(&self, path: &str) -> Option<Dialect> {
        let below = |dialect: &Dialect| {
            path.strip_prefix(dialect.prefix()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.own.or_else(|| self.mounted.iter().copied().find(below))
    }

    /// The dialect that a request speaks, if any.
    pub(crate) fn dialect(req: &ServiceRequest) -> Option<Dialect> {
        // The path as it is routed by.
        req.app_data::<Door>()?.dialect_of(req.match_info().as_str())
    }

    /// What this request may do without a token.
    ///
    /// # Errors
    /// `Unauthenticated` where nobody may do anything without one, `PermissionDenied` for a browser that was sent here by another page.
    pub(crate) fn anonymous(req: &ServiceRequest) -> Result<Role> {
        let door = req.app_data::<Door>().filter(|door| door.own.is_some());
        let Some((door, role)) = door.and_then(|door| Some((door, door.anonymous?))) else {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "give the admin token as Authorization: Bearer, or as the password of Basic",
            ));
        };
        // Programs of old say no name at all, and a browser always does.
        let named = req.headers().contains_key(header::HOST);
        if door.loopback && named && !host(req.headers()).is_some_and(is_own_name) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "whoever gives no token must ask for this listener by its IP address or as localhost",
            ));
        }
        Ok(role)
    }

    /// Refuses what another page than one of this address had a browser ask for.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub(crate) fn not_from_elsewhere(req: &ServiceRequest) -> Result<()> {
        if req.method().is_safe() {
            return Ok(());
        }
        let headers = req.headers();
        let mut origins = headers.get_all(header::ORIGIN).peekable();
        let elsewhere = match origins.peek() {
            Some(_) => !host(headers).is_some_and(|host| origins.all(|origin| is_origin(origin.as_bytes(), host))),
            None => {
                headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
            }
        };
        if elsewhere {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "a page of another address may change nothing here; give the token as Authorization: Bearer",
            ));
        }
        Ok(())
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether `origin` is a page of `host`.
fn is_origin(origin: &[u8], host: &str) -> bool {
    let of = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_bytes()));
    of(b"http://") || of(b"https://")
}

/// Whether a name in a `Host` header is one that nobody else can give out.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_are_told_by_the_path() {
        let main = Door::main(&[DialectConfig::new(Dialect::Pharos)]);
        assert_eq!(main.dialect_of("/pharos/nodes"), Some(Dialect::Pharos));
        assert_eq!(main.dialect_of("/pharos"), Some(Dialect::Pharos));
        for other in ["/pharosnodes", "/copa/REST/pools", "/v1/nodes", "/", ""] {
            assert_eq!(main.dialect_of(other), None, "{other}");
        }
        let own = Door::of(&DialectConfig::parse("copa=127.0.0.1:1").unwrap());
        assert_eq!(own.dialect_of("/anything"), Some(Dialect::Copa));
    }

    #[test]
    fn names_that_anybody_could_give_out_are_not_own() {
        for own in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000", "10.0.0.1:1"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in ["evil.example", "evil.example:8000", "localhost.evil.example", "", "[x]:1"] {
            assert!(!is_own_name(other), "{other}");
        }
        assert!(is_origin(b"http://127.0.0.1:8000", "127.0.0.1:8000"));
        for other in [&b"null"[..], b"http://127.0.0.1:8001", b"http://evil.example", b"127.0.0.1:8000"] {
            assert!(!is_origin(other, "127.0.0.1:8000"));
        }
    }
}
