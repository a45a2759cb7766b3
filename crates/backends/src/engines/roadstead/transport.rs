//! The way to a server: one HTTP client, which shows the token with every request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use roadstead_core::{Error, ErrorKind, Result};

use super::address::Address;

/// How long an idle connection is kept: less than the five seconds after which a server closes it, so that a write never
/// meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(2);

/// Sends requests to one server.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    base: Arc<str>,
    authorization: HeaderValue,
}

impl Transport {
    /// `deadline` is the time in which a connection must stand.
    pub(super) fn new(address: &Address, deadline: Duration) -> Result<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", address.token.expose()))
            .map_err(|_| Error::invalid("token_file", "the token holds what no token holds"))?;
        authorization.set_sensitive(true);
        let tls = match &address.tls {
            Some(config) => (**config).clone(),
            None => crate::tls::nobody()?,
        };
        let http = reqwest::Client::builder()
            // A redirected request would show the token to who knows whom, and so would a proxy.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Streams, uploads that are refused half-way, and WebSockets each have a connection of their own.
            .http1_only()
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(16)
            .connect_timeout(deadline)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|cause| {
                Error::new(ErrorKind::Unexpected, format!("HTTP cannot be set up: {cause}")).with_source(cause)
            })?;
        Ok(Transport { http, base: address.base.as_str().into(), authorization })
    }

    /// A request for path and query of the server; the target begins with a slash and is encoded.
    pub(super) fn request(&self, method: reqwest::Method, target: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{target}", self.base)).header(AUTHORIZATION, self.authorization.clone())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
