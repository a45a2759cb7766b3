//! From a node's URI to a connected server: the way to it, whom to trust, and whether it trusts us.
//!
//! | scheme | URI | query |
//! |---|---|---|
//! | `lxd+unix`, `incus+unix` | `lxd+unix:///var/lib/lxd/unix.socket` | `project=NAME` |
//! | `lxd+https`, `incus+https` | `lxd+https://host[:8443]` | `project=NAME`; our certificate: `certificate`, `key` (files); the server's: `fingerprint=SHA256`, or `server_certificate=FILE`, or `authority=FILE`, or `trust=first-use`; to become trusted: `token`, or `trust_password` |
//! | `lxd`, `incus` | `lxd:REMOTE`, a remote of the command line's configuration; `lxd:` is its default remote | `project=NAME` |
//!
//! Files of [`ConnectOptions`] go before those of the query. When nothing says which server to trust, a token does, and
//! otherwise the authorities that this machine knows. `trust=first-use` trusts whatever answers; the node's URI then has
//! the fingerprint that was shown in its place, so that the next connection can be sure. Only names of remotes depend on
//! this process's environment: any other URI means the same everywhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{ConnectOptions, Error, ErrorKind, NodeUri, Result, Secret};
use rustls_pki_types::ServerName;

use super::client::Client;
use super::config::{self, Environment, Product};
use super::gateways::Gateways;
use super::request::{Request, encode};
use super::server::Server;
use super::shared::Lxd;
use super::transport::{Endpoint, Transport};
use super::trust::{self, Proof, Token};
use super::{capabilities, error};
use crate::host;
use crate::tls::{Fingerprint, Identity, Tls, Trust};

/// Every scheme that is served.
pub(super) const SCHEMES: &[&str] = &["lxd+unix", "lxd+https", "lxd", "incus+unix", "incus+https", "incus"];

const DEFAULT_PORT: u16 = 8443;

/// Connects to the server at `uri`.
pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Lxd> {
    let mut target = Target::of(uri, options)?;
    if let Some(proof) = target.proof.clone() {
        target = target.with_proof(&proof)?;
    }
    let client = target.client(name, options)?;
    let deadline = inner_deadline(options);
    let ask = || Request::get(&[]).within(deadline).json::<Server>(&client);
    let mut server = ask().await.map_err(not_a_server)?;
    if !server.trusts_us()
        && let Some(proof) = &target.proof
    {
        trust::ask(&client, &server, &target, proof).await?;
        server = ask().await?;
    }
    if !server.trusts_us() {
        return Err(target.untrusted());
    }
    if let (Trust::FirstUse, Some(shown)) = (&target.trust, target.tls().and_then(Tls::shown)) {
        tracing::warn!(node = name, fingerprint = %shown, "the server's certificate was trusted on first use");
    }
    let mut limits = JobLimits::default();
    limits.keep = options.keep_jobs;
    let local = match &target.way {
        Way::Unix(path) => is_this_machine(path, &server).await,
        Way::Https { .. } => false,
    };
    let extensions: BTreeSet<String> = server.api_extensions.unwrap_or_default().into_iter().collect();
    let capabilities = capabilities::derive(&capabilities::Reported { extensions: &extensions, local }, &limits);
    tracing::debug!(node = name, local, "connected");
    Ok(Lxd {
        name: name.to_owned(),
        uri: target.uri(),
        joined: target.named.is_none() && (target.trust == Trust::FirstUse || target.proof.is_some()),
        client,
        capabilities,
        extensions,
        jobs: JobKeeper::new(name, limits),
        members: std::sync::Arc::new(host::Members::new(local)),
        consoles: std::sync::Arc::default(),
        gateways: Gateways::default(),
        local,
        member: None,
    })
}

/// A little less than the caller's, so that the words are about what happened.
pub(super) fn inner_deadline(options: &ConnectOptions) -> Duration {
    options.deadline.mul_f32(0.9)
}

/// A connection to a remote of the command line's configuration, whether or not it trusts us: public servers of images
/// trust nobody.
pub(super) fn to_remote(remote: &config::Remote, product: Product, node: &str, deadline: Duration) -> Result<Client> {
    let uri: NodeUri = remote.uri(product)?.parse()?;
    let mut options = ConnectOptions::default();
    options.deadline = deadline;
    Target::of(&uri, &options)?.client(node, &options)
}

/// Whatever answers otherwise than every server does.
fn not_a_server(error: Error) -> Error {
    let error = error::nothing_changed(error);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unexpected => {
            Error::new(ErrorKind::Unexpected, format!("this is not an LXD or Incus server: {}", error.message()))
        }
        _ => error,
    }
}

/// A URI's way to a server.
#[derive(Debug)]
enum Way {
    Unix(PathBuf),
    Https { host: String, port: u16, tls: Tls },
}

/// What a URI and options say.
#[derive(Debug)]
pub(super) struct Target {
    product: Product,
    scheme: String,
    way: Way,
    trust: Trust,
    /// Whether nothing said which server to trust.
    trust_is_default: bool,
    /// Where the server's certificate is told of, as the query has it.
    trust_query: Option<(&'static str, String)>,
    identity: Option<Identity>,
    project: Option<String>,
    proof: Option<Proof>,
    /// The URI of a named remote as it was given.
    named: Option<String>,
}

impl Target {
    /// Reads a URI, and the files that it names; asks nobody.
    pub(super) fn of(uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let product = Product::of_scheme(uri.scheme())
            .ok_or_else(|| Error::invalid("uri", format!("{}: is not served", uri.scheme())))?;
        let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
        if uri.user().is_some() || uri.password().is_some() {
            return Err(refuse("takes no user"));
        }
        let project = uri.query().get("project").cloned();
        match uri.scheme().split_once('+').map(|(_, transport)| transport) {
            None => {
                uri.allow_query(&["project"])?;
                if uri.host().is_some() || uri.path().contains('/') {
                    return Err(refuse("takes the name of a remote only"));
                }
                let name = Some(uri.path()).filter(|name| !name.is_empty());
                let connection = config::infer(&Environment::of_process(), product, name)?;
                let mut target = Target::of(&connection.uri.parse()?, options)?;
                target.project = project.or(target.project);
                target.named = Some(uri.to_string());
                Ok(target)
            }
            Some("unix") => {
                uri.allow_query(&["project"])?;
                if uri.host().is_some() || uri.port().is_some() {
                    return Err(refuse("takes no host; write three slashes before the path"));
                }
                if !uri.path().starts_with('/') || uri.path() == "/" {
                    return Err(refuse("needs the absolute path of a socket"));
                }
                Ok(Target {
                    product,
                    scheme: uri.scheme().to_owned(),
                    way: Way::Unix(PathBuf::from(uri.path())),
                    trust: Trust::System,
                    trust_is_default: false,
                    trust_query: None,
                    identity: None,
                    project,
                    proof: None,
                    named: None,
                })
            }
            Some(_) => Target::https(product, uri, options),
        }
    }

    fn https(product: Product, uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
        let given = |key: &str| uri.query().get(key).map(String::as_str);
        uri.allow_query(&[
            "project",
            "certificate",
            "key",
            "fingerprint",
            "server_certificate",
            "authority",
            "trust",
            "token",
            "trust_password",
        ])?;
        if !matches!(uri.path(), "" | "/") {
            return Err(refuse("takes no path"));
        }
        let host = uri.host().map(str::to_owned).ok_or_else(|| refuse("needs a host"))?;
        ServerName::try_from(host.as_str()).map_err(|_| refuse("the host is neither a DNS name nor an address"))?;
        let said: Vec<_> = ["fingerprint", "server_certificate", "authority", "trust"]
            .into_iter()
            .filter_map(|key| Some((key, given(key)?.to_owned())))
            .collect();
        if said.len() > 1 {
            return Err(refuse("takes one of fingerprint, server_certificate, authority and trust only"));
        }
        let said = said.into_iter().next();
        let trust = match said.as_ref().map(|(key, value)| (*key, value.as_str())) {
            Some(("fingerprint", value)) => Trust::Pinned(value.parse()?, "the fingerprint in the URI".to_owned()),
            Some(("server_certificate", path)) => {
                Trust::Pinned(Fingerprint::of_file("server_certificate", Path::new(path))?, path.to_owned())
            }
            Some(("trust", "first-use")) => Trust::FirstUse,
            Some(("trust", _)) => return Err(refuse("trust must be first-use")),
            Some((_, path)) => Trust::Authority(options.authority.clone().unwrap_or_else(|| path.into())),
            None => options.authority.clone().map_or(Trust::System, Trust::Authority),
        };
        let certificate = options.certificate.clone().or(given("certificate").map(PathBuf::from));
        let key = options.key.clone().or(given("key").map(PathBuf::from));
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (Some(_), None) => return Err(Error::invalid("key", "a client certificate needs its key")),
            (None, Some(_)) => return Err(Error::invalid("certificate", "a client key needs its certificate")),
        };
        let proof = match (given("token"), given("trust_password")) {
            (Some(_), Some(_)) => return Err(refuse("takes a token or a trust_password, not both")),
            (Some(token), None) => Some(Proof::Token(Secret::new(token))),
            (None, password) => password.map(|password| Proof::Password(Secret::new(password))),
        };
        let tls = Tls::new(&trust, identity.as_ref())?;
        Ok(Target {
            product,
            scheme: uri.scheme().to_owned(),
            way: Way::Https { host, port: uri.port().unwrap_or(DEFAULT_PORT), tls },
            trust_is_default: trust == Trust::System,
            trust,
            trust_query: said,
            identity,
            project: given("project").map(str::to_owned),
            proof,
            named: None,
        })
    }

    /// A token says which server it is for, when nothing else does.
    pub(super) fn with_proof(mut self, proof: &Proof) -> Result<Self> {
        if let (Proof::Token(token), Way::Https { tls, .. }) = (proof, &mut self.way) {
            let token = Token::decode(token)?;
            if self.trust_is_default {
                self.trust = Trust::Pinned(token.fingerprint, "the token".to_owned());
                *tls = Tls::new(&self.trust, self.identity.as_ref())?;
            }
        }
        Ok(self)
    }

    /// How TLS is spoken, unless the way is a socket.
    pub(super) fn tls(&self) -> Option<&Tls> {
        match &self.way {
            Way::Unix(_) => None,
            Way::Https { tls, .. } => Some(tls),
        }
    }

    /// Our own certificate.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The way to the server; nothing is sent yet.
    pub(super) fn client(&self, node: &str, options: &ConnectOptions) -> Result<Client> {
        let endpoint = match &self.way {
            Way::Unix(path) => Endpoint::Unix(path.clone()),
            Way::Https { host, port, tls } => Endpoint::Tls {
                name: ServerName::try_from(host.clone())
                    .map_err(|_| Error::invalid("uri", "the host is neither a DNS name nor an address"))?,
                host: host.clone(),
                port: *port,
                config: tls.config(),
            },
        };
        let transport = Transport::new(endpoint, inner_deadline(options))?;
        Ok(Client::new(transport, node, self.project.as_deref(), options.reconnect_deadline))
    }

    /// The URI without secrets. What was trusted because it was shown is named by its fingerprint.
    pub(super) fn uri(&self) -> String {
        if let Some(named) = &self.named {
            return named.clone();
        }
        let file = |path: &str| path.split('/').map(encode).collect::<Vec<_>>().join("/");
        let mut query: Vec<(&str, String)> = Vec::new();
        let mut uri = match &self.way {
            Way::Unix(path) => format!("{}://{}", self.scheme, file(&path.display().to_string())),
            Way::Https { host, port, tls } => {
                match (&self.trust, &self.trust_query) {
                    (Trust::FirstUse, _) | (Trust::Pinned(..), None) => {
                        let pinned = match &self.trust {
                            Trust::Pinned(fingerprint, _) => Some(*fingerprint),
                            _ => tls.shown(),
                        };
                        query.extend(pinned.map(|fingerprint| ("fingerprint", fingerprint.to_string())));
                    }
                    (_, Some((key, value))) => query.push((key, file(value))),
                    (_, None) => {}
                }
                if let Some(identity) = &self.identity {
                    query.push(("certificate", file(&identity.certificate.display().to_string())));
                    query.push(("key", file(&identity.key.display().to_string())));
                }
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                format!("{}://{host}:{port}", self.scheme)
            }
        };
        query.extend(self.project.as_deref().map(|project| ("project", encode(project))));
        for (index, (key, value)) in query.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(uri, "{}{key}={value}", if index == 0 { '?' } else { '&' });
        }
        uri
    }

    /// What to do when the server does not trust us.
    fn untrusted(&self) -> Error {
        let words = match &self.identity {
            None => "the server trusts clients by their certificates, and none was shown: give certificate=FILE and \
                     key=FILE"
                .to_owned(),
            Some(identity) => {
                let path = identity.certificate.display();
                let print = match Fingerprint::of_file("certificate", &identity.certificate) {
                    Ok(print) => print.to_string(),
                    Err(_) => "unreadable by now".to_owned(),
                };
                format!(
                    "the server does not trust the certificate {path} (fingerprint {print}): add it on the server with \
                     `{} {path}`, or join with a token",
                    self.product.trust_command()
                )
            }
        };
        Error::new(ErrorKind::Unauthenticated, words)
    }
}

/// Whether the server behind this socket is on this machine and sees its processes under our numbers. A socket may be
/// forwarded from elsewhere, or mounted into the container that we are in.
async fn is_this_machine(socket: &Path, server: &Server) -> bool {
    let Some(environment) = &server.environment else { return false };
    let Ok(stream) = tokio::net::UnixStream::connect(socket).await else { return false };
    // Where systemd opened the socket, the other side is systemd.
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
    let Some(peer) = peer.filter(|pid| *pid > 0) else { return false };
    let same_kernel = environment.kernel_version.is_some() && environment.kernel_version == host::kernel_version();
    same_kernel
        && environment.server_pid.is_some_and(|pid| pid == peer || Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests;
