//! The way to a server: HTTP requests over a unix socket or TLS, and connections of our own for what HTTP upgrades.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, Retry};
use rustls_pki_types::ServerName;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error;
pub(super) use crate::link::Link;

/// How long an idle connection is kept. Short: it only serves calls that follow each other.
const IDLE: Duration = Duration::from_secs(15);

/// Where the server is.
#[derive(Clone)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tls { host: String, port: u16, name: ServerName<'static>, config: Arc<rustls::ClientConfig> },
}

impl Endpoint {
    /// What the `Host` header says.
    fn authority(&self) -> String {
        match self {
            Endpoint::Unix(_) => "lxd".to_owned(),
            Endpoint::Tls { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tls { host, port, .. } => format!("{host}:{port}"),
        }
    }

    async fn open(&self) -> io::Result<Link> {
        Ok(match self {
            Endpoint::Unix(path) => Link::new(UnixStream::connect(path).await?),
            Endpoint::Tls { host, port, name, config } => Link::tls(host, *port, name, config).await?,
        })
    }
}

/// Sends requests to one server.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    endpoint: Endpoint,
    base: Arc<str>,
    deadline: Duration,
}

impl Transport {
    /// `deadline` is the time in which a connection must stand.
    pub(super) fn new(endpoint: Endpoint, deadline: Duration) -> Result<Self> {
        let builder = reqwest::Client::builder()
            // Websockets take no proxy either; and a redirected write would go to who knows whom.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .connect_timeout(deadline)
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")));
        let (builder, scheme) = match &endpoint {
            // A unix socket costs next to nothing, and a new connection never meets a server that has just closed it.
            // The library wants to know of TLS all the same.
            Endpoint::Unix(path) => (
                builder
                    .unix_socket(path.clone())
                    .pool_max_idle_per_host(0)
                    .tls_backend_preconfigured(crate::tls::nobody()?),
                "http",
            ),
            Endpoint::Tls { config, .. } => {
                (builder.pool_max_idle_per_host(4).tls_backend_preconfigured((**config).clone()), "https")
            }
        };
        let http = builder.build().map_err(|cause| {
            Error::new(ErrorKind::Unexpected, format!("HTTP cannot be set up: {cause}")).with_source(cause)
        })?;
        let base = format!("{scheme}://{}", endpoint.authority()).into();
        Ok(Transport { http, endpoint, base, deadline })
    }

    /// A request for path and query of the server; the target begins with a slash and is encoded.
    pub(super) fn request(&self, method: reqwest::Method, target: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{target}", self.base))
    }

    /// What the `Host` header of a connection of our own says.
    pub(super) fn authority(&self) -> String {
        self.endpoint.authority()
    }

    /// Opens a connection of its own.
    pub(super) async fn dial(&self) -> Result<Link> {
        match timeout(self.deadline, self.endpoint.open()).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(cause)) => Err(error::broken(&cause, true).with_source(cause)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the engine cannot be reached: no connection within {} s", self.deadline.as_secs_f64()),
            )
            .with_retry(Retry::Safe)),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
