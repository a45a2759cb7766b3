//! From a node's URI to a connected server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{ConnectOptions, Error, ErrorKind, NodeUri, Result};

use super::client::Client;
use super::request::Request;
use super::server::Server;
use super::shared::Lxd;
use super::transport::{Endpoint, Transport};
use super::{capabilities, error};
use crate::host;

/// Every scheme that is served.
pub(super) const SCHEMES: &[&str] = &["lxd+unix", "incus+unix"];

/// Connects to the server at `uri`.
pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Lxd> {
    let endpoint = endpoint(uri)?;
    // A little less than the caller's, so that the words are about what happened.
    let deadline = options.deadline.mul_f32(0.9);
    let socket = if let Endpoint::Unix(path) = &endpoint { Some(path.clone()) } else { None };
    let project = uri.query().get("project").map(String::as_str);
    let client = Client::new(Transport::new(endpoint, deadline)?, name, project, options.reconnect_deadline);
    let server: Server = Request::get(&[]).within(deadline).json(&client).await.map_err(error::nothing_changed)?;
    if !server.trusts_us() {
        return Err(Error::new(ErrorKind::Unauthenticated, "the server does not trust us"));
    }
    let mut limits = JobLimits::default();
    limits.keep = options.keep_jobs;
    let local = match socket {
        Some(path) => is_this_machine(&path, &server).await,
        None => false,
    };
    let extensions: BTreeSet<String> = server.api_extensions.unwrap_or_default().into_iter().collect();
    let capabilities = capabilities::derive(&capabilities::Reported { extensions: &extensions, local }, &limits);
    tracing::debug!(node = name, local, "connected");
    Ok(Lxd {
        name: name.to_owned(),
        uri: uri.to_string(),
        client,
        capabilities,
        extensions,
        jobs: JobKeeper::new(name, limits),
        local,
    })
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

/// The endpoint that a URI names.
fn endpoint(uri: &NodeUri) -> Result<Endpoint> {
    let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
    uri.allow_query(&["project"])?;
    if uri.host().is_some() || uri.port().is_some() {
        return Err(refuse("takes no host; write three slashes before the path"));
    }
    if !uri.path().starts_with('/') || uri.path() == "/" {
        return Err(refuse("needs the absolute path of a socket"));
    }
    Ok(Endpoint::Unix(PathBuf::from(uri.path())))
}
