//! Listeners: the addresses that are taken, and what is served there, which is the API or one dialect.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::{Compress, from_fn};
use actix_web::{App as ActixApp, HttpServer, web};
use roadstead_core::{Error, ErrorKind, Result};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing_actix_web::TracingLogger;
use utoipa_swagger_ui::SwaggerUi;

use crate::auth::require_identity;
use crate::changes::changes;
use crate::config::Config;
use crate::dialects::Door;
use crate::envelope::{AccessLog, envelope};
use crate::etag;
use crate::problem::Problem;
use crate::server::cannot;
use crate::state::App;
use crate::v1;

/// Sockets with what is served on them.
pub(crate) struct Listener {
    pub(crate) door: Door,
    pub(crate) sockets: Vec<TcpListener>,
}

impl Listener {
    /// Serves until it is told to end.
    ///
    /// # Errors
    /// When a socket cannot be listened on.
    pub(crate) fn serve(
        self,
        app: &web::Data<App>,
        tls: Option<&rustls::ServerConfig>,
        drain: u32,
    ) -> Result<actix_web::dev::Server> {
        let (state, door) = (app.clone(), self.door);
        let own = door.own();
        let factory = move || {
            let routes = |config: &mut web::ServiceConfig| {
                if let Some(dialect) = own {
                    return dialect.routes(config);
                }
                // The viewer comes first: the scope of the routes takes every path under /v1.
                config
                    .service(
                        SwaggerUi::new("/v1/docs/{_:.*}")
                            .config(utoipa_swagger_ui::Config::from("/v1/openapi.json").validator_url("none")),
                    )
                    .service(web::redirect("/v1/docs", "/v1/docs/"))
                    .configure(v1::routes)
                    .configure(|config| door.mount(config));
            };
            // The first wrap is the innermost.
            ActixApp::new()
                .configure(routes)
                .app_data(state.clone())
                .app_data(door.clone())
                .app_data(
                    web::PathConfig::default()
                        .error_handler(|error, _| Problem::from(Error::invalid("path", error.to_string())).into()),
                )
                .default_service(web::to(v1::openapi::no_route))
                .wrap(Compress::default())
                .wrap(from_fn(etag::validate))
                .wrap(from_fn(changes))
                .wrap(from_fn(require_identity))
                .wrap(TracingLogger::<AccessLog>::new())
                .wrap(from_fn(envelope))
        };
        let mut server = HttpServer::new(factory)
            .disable_signals()
            .shutdown_timeout(drain.into())
            // Longer than the pools of clients and of proxies before us keep one, mostly 60 s: whoever closes first meets no
            // request on its way.
            .keep_alive(Duration::from_secs(75))
            .client_request_timeout(Duration::from_secs(10))
            .client_disconnect_timeout(Duration::from_secs(5))
            // A client that closes its side has gone: what was done for it ends.
            .h1_allow_half_closed(false);
        if own.is_some() {
            // Few clients, and each worker has its own copy of the routes.
            server = server.workers(1);
        }
        for socket in self.sockets {
            server = match tls {
                Some(tls) => server.listen_rustls_0_23(socket, tls.clone()),
                None => server.listen(socket),
            }
            .map_err(|error| cannot("cannot listen", error))?;
        }
        Ok(server.run())
    }
}

/// Takes an address.
///
/// # Errors
/// `Conflict` when somebody has it.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let kind =
            if error.kind() == std::io::ErrorKind::AddrInUse { ErrorKind::Conflict } else { ErrorKind::Unexpected };
        Error::new(kind, format!("cannot listen on {address}: {error}")).with_source(error)
    })?;
    listener.set_nonblocking(true).map_err(|error| cannot("cannot listen", error))?;
    Ok(listener)
}

/// The server's side of TLS, where the configuration names a certificate.
///
/// # Errors
/// `InvalidInput` that names the file's setting.
pub(crate) fn tls(config: &Config) -> Result<Option<rustls::ServerConfig>> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let unusable =
        |field: &str, path: &Path, reason: String| Error::invalid(field, format!("{}: {reason}", path.display()));
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unusable("tls_cert", cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("tls_cert", cert, "holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("tls_key", key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot("TLS cannot be set up", error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable("tls_cert", cert, error.to_string()))?;
    Ok(Some(server))
}
