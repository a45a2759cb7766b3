//! From a node's URI to a connected daemon: which endpoint, which API version, and whether it is on this machine.
//!
//! | scheme | URI | query |
//! |---|---|---|
//! | `docker+unix`, `podman+unix` | `docker+unix:///run/docker.sock` | – |
//! | `docker+tcp`, `podman+tcp` | `docker+tcp://host[:2375]`, without encryption | – |
//! | `docker+https`, `podman+https` | `docker+https://host[:2376]` | `cert_path=DIR` (holds `cert.pem`, `key.pem`, `ca.pem`), or `certificate`, `key`, `authority` (files); `verify=false` trusts any server |
//! | `docker+ssh`, `podman+ssh` | `docker+ssh://[user@]host[:port][/socket]` | `config=FILE` (in place of the user's ssh configuration) |
//!
//! Files of [`ConnectOptions`] go before those of the query. Variables such as `DOCKER_CERT_PATH` are not looked at
//! here, so that a URI means the same everywhere; [`super::config`] turns them into a URI.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::ClientVersion;
use http_body_util::BodyExt;
use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{Capabilities, ConnectOptions, Error, ErrorKind, NodeUri, Result};
use rustls_pki_types::ServerName;
use serde::de::DeserializeOwned;

use super::capabilities;
use super::client::Client;
use super::error;
use super::request::{READ_DEADLINE, Request, WRITE_DEADLINE};
use super::ssh::{Dialer, SshTarget};
use super::system::{Info, Version};
use super::tls::TlsFiles;
use super::transport::{Endpoint, Transport};
use crate::host;

/// Every scheme that is served.
pub(super) const SCHEMES: &[&str] = &[
    "docker+unix",
    "docker+tcp",
    "docker+https",
    "docker+ssh",
    "podman+unix",
    "podman+tcp",
    "podman+https",
    "podman+ssh",
];

/// The API version that is spoken where both sides may choose.
const PREFERRED: (usize, usize) = (1, 44);
/// The newest version that the client library knows.
const NEWEST: (usize, usize) = (1, 53);
/// Daemons that cannot speak this are older than anything these calls were made for.
const OLDEST: (usize, usize) = (1, 24);
/// The answers read here are shorter.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// Connects to the daemon at `uri`.
pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Client> {
    let endpoint = endpoint(uri, options)?;
    // A little less than the caller's, so that the words are about what happened.
    let deadline = options.deadline.mul_f32(0.9);
    let socket = if let Endpoint::Unix(path) = &endpoint { Some(path.clone()) } else { None };
    let transport = Transport::new(endpoint, deadline);
    let version: Version = tokio::time::timeout(deadline, unversioned(&transport, "/version"))
        .await
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the engine took the connection, but does not answer"))?
        .map_err(error::nothing_changed)?;
    let api = negotiate(&version)?;
    let client_version = ClientVersion { major_version: api.0, minor_version: api.1 };
    let docker = bollard::Docker::connect_with_custom_transport(
        transport.for_library(),
        Some(transport.base()),
        WRITE_DEADLINE.as_secs(),
        &client_version,
    )
    .map_err(error::translate)?;
    let mut limits = JobLimits::default();
    limits.keep = options.keep_jobs;
    let mut client = Client {
        docker,
        transport,
        name: name.to_owned(),
        uri: uri.to_string(),
        capabilities: Capabilities::default(),
        cores: None,
        jobs: JobKeeper::new(name, limits),
        members: Arc::new(host::Members::new(false)),
        local: false,
        reconnect_deadline: options.reconnect_deadline,
        volume_create: tokio::sync::Mutex::new(()),
    };
    let info: Info = Request::get("/info").within(deadline).json(&client).await?;
    client.local = match socket {
        Some(path) => is_this_machine(&path, &info).await,
        None => false,
    };
    let (updates, local) = (updates(&client).await?, client.local);
    let reported = capabilities::Reported { api, updates, version: &version, info: &info, local };
    client.capabilities = capabilities::derive(&reported, &limits);
    client.cores = capabilities::cores(&reported);
    client.members = Arc::new(host::Members::new(local));
    tracing::debug!(node = name, api = %client_version, local = client.local, "connected");
    Ok(client)
}

/// Podman 4.3 has no call to update limits, and no report says so; asked about a container that cannot exist (real ids
/// are random), a daemon that has the call names the container, one that has not says that there is no such page.
async fn updates(client: &Client) -> Result<bool> {
    let nobody = "0".repeat(64);
    let answer = Request::post(&format!("/containers/{nobody}/update"))
        .body(&serde_json::json!({}))
        .within(READ_DEADLINE)
        .bytes(client)
        .await;
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(error.message().contains(&nobody)),
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {
            Err(error::nothing_changed(error))
        }
        Err(error) => Ok(error.kind() != ErrorKind::Unsupported),
    }
}

/// A request before the API version is known.
async fn unversioned<T: DeserializeOwned>(transport: &Transport, path: &str) -> Result<T> {
    let mut request = bollard::BollardRequest::new(bollard::body_full(bytes::Bytes::new()));
    *request.uri_mut() = format!("{}{path}", transport.base())
        .parse()
        .map_err(|cause| Error::invalid("uri", format!("the host makes no sense: {cause}")))?;
    let answer = transport.send(request).await.map_err(error::translate)?;
    let status = answer.status();
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|cause| Error::new(ErrorKind::Unavailable, format!("the connection to the engine broke: {cause}")))?
        .to_bytes();
    if !status.is_success() {
        let told = error::from_answer(status.as_u16(), &String::from_utf8_lossy(&body));
        return Err(match told.kind() {
            // Every daemon has this page.
            ErrorKind::NotFound => Error::new(
                ErrorKind::Unexpected,
                format!("this is not a Docker-compatible engine: {path} is answered with status {}", status.as_u16()),
            ),
            _ => told,
        });
    }
    serde_json::from_slice(&body).map_err(|cause| {
        Error::new(ErrorKind::Unexpected, format!("this is not a Docker-compatible engine: {cause}")).with_source(cause)
    })
}

/// The API version to speak: ours, or the nearest that the daemon speaks.
fn negotiate(version: &Version) -> Result<(usize, usize)> {
    let parse = |text: &str| -> Option<(usize, usize)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let newest = version.api_version.as_deref().and_then(parse).ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "this is not a Docker-compatible engine: it tells no API version")
    })?;
    let oldest = version.min_api_version.as_deref().and_then(parse).unwrap_or((0, 0));
    if newest < OLDEST || oldest > NEWEST {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the engine speaks API versions {}.{} to {}.{}; {}.{} to {}.{} are known here",
                oldest.0, oldest.1, newest.0, newest.1, OLDEST.0, OLDEST.1, NEWEST.0, NEWEST.1
            ),
        ));
    }
    Ok(PREFERRED.max(oldest).min(newest))
}

/// Whether the daemon behind this socket is on this machine and sees its processes under our numbers. A socket may be
/// forwarded from elsewhere, or mounted into the container that we are in.
async fn is_this_machine(socket: &Path, info: &Info) -> bool {
    let Ok(stream) = tokio::net::UnixStream::connect(socket).await else { return false };
    let peer_is_visible = stream.peer_cred().ok().and_then(|peer| peer.pid()).is_some_and(|pid| pid > 0);
    let same = |reported: &Option<String>, ours: Option<String>| reported.is_some() && *reported == ours;
    peer_is_visible && same(&info.name, host::hostname()) && same(&info.kernel_version, host::kernel_version())
}

/// The endpoint that a URI names.
fn endpoint(uri: &NodeUri, options: &ConnectOptions) -> Result<Endpoint> {
    let (engine, transport) = uri.scheme().split_once('+').unwrap_or_default();
    let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
    let certificates = options.certificate.is_some() || options.key.is_some() || options.authority.is_some();
    if transport != "ssh" && (uri.user().is_some() || uri.password().is_some()) {
        return Err(refuse("takes no user"));
    }
    let no_path = || if matches!(uri.path(), "" | "/") { Ok(()) } else { Err(refuse("takes no path")) };
    let host = || uri.host().map(str::to_owned).ok_or_else(|| refuse("needs a host"));
    match transport {
        "unix" => {
            uri.allow_query(&[])?;
            if uri.host().is_some() || uri.port().is_some() {
                return Err(refuse("takes no host; write three slashes before the path"));
            }
            if !uri.path().starts_with('/') || uri.path() == "/" {
                return Err(refuse("needs the absolute path of a socket"));
            }
            Ok(Endpoint::Unix(PathBuf::from(uri.path())))
        }
        "tcp" => {
            uri.allow_query(&[])?;
            no_path()?;
            if certificates {
                return Err(refuse(&format!("is not encrypted and takes no certificates; write {engine}+https")));
            }
            Ok(Endpoint::Tcp { host: host()?, port: uri.port().unwrap_or(2375) })
        }
        "https" => {
            uri.allow_query(&["cert_path", "certificate", "key", "authority", "verify"])?;
            no_path()?;
            let host = host()?;
            let name = ServerName::try_from(host.clone())
                .map_err(|_| refuse("the host is neither a DNS name nor an address"))?;
            let config = tls_files(uri, options)?.config()?;
            Ok(Endpoint::Tls { host, port: uri.port().unwrap_or(2376), name, config })
        }
        "ssh" => {
            uri.allow_query(&["config"])?;
            let host = host()?;
            // Both become arguments of ssh; neither may be taken for an option.
            if host.starts_with('-') || uri.user().is_some_and(|user| user.starts_with('-') || user.is_empty()) {
                return Err(refuse("host or user makes no sense"));
            }
            if uri.password().is_some() {
                return Err(refuse("takes no password; use a key or an agent"));
            }
            Ok(Endpoint::Ssh(SshTarget {
                host,
                user: uri.user().map(str::to_owned),
                port: uri.port(),
                socket: Some(uri.path()).filter(|path| !matches!(*path, "" | "/")).map(str::to_owned),
                config: uri.query().get("config").map(PathBuf::from),
                dialer: if engine == "podman" { Dialer::Podman } else { Dialer::Docker },
                deadline: options.deadline,
            }))
        }
        _ => Err(refuse("is not served")),
    }
}

fn tls_files(uri: &NodeUri, options: &ConnectOptions) -> Result<TlsFiles> {
    let query = |key: &str| uri.query().get(key).map(PathBuf::from);
    let directory = query("cert_path").map(|path| TlsFiles::in_directory(&path)).unwrap_or_default();
    let skip_verify = match uri.query().get("verify").map(String::as_str) {
        None | Some("true") => false,
        Some("false") => true,
        Some(_) => return Err(Error::invalid("uri", "verify must be true or false")),
    };
    Ok(TlsFiles {
        certificate: options.certificate.clone().or(query("certificate")).or(directory.certificate),
        key: options.key.clone().or(query("key")).or(directory.key),
        authority: options.authority.clone().or(query("authority")).or(directory.authority),
        skip_verify,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Endpoint> {
        endpoint(&uri.parse().unwrap(), &ConnectOptions::default())
    }

    #[test]
    fn usual_uris_name_their_endpoints() {
        assert!(
            matches!(parse("docker+unix:///run/docker.sock").unwrap(), Endpoint::Unix(path) if path == Path::new("/run/docker.sock"))
        );
        assert!(matches!(parse("docker+tcp://h").unwrap(), Endpoint::Tcp { port: 2375, .. }));
        let tls = parse("docker+https://[::1]?verify=false").unwrap();
        assert_eq!(tls.base(), "http://[::1]:2376");
        let Endpoint::Ssh(ssh) = parse("podman+ssh://me@h:23/run/p.sock?config=/etc/x").unwrap() else { panic!() };
        assert_eq!((ssh.dialer, ssh.socket.as_deref(), ssh.port), (Dialer::Podman, Some("/run/p.sock"), Some(23)));
        let Endpoint::Ssh(ssh) = parse("docker+ssh://h").unwrap() else { panic!() };
        assert_eq!((ssh.socket, ssh.user), (None, None));
    }

    #[test]
    fn uris_that_make_no_sense_are_invalid_input() {
        for uri in [
            "docker+unix:",
            "docker+unix:///",
            "docker+unix://host/run/docker.sock",
            "docker+unix:///run/docker.sock?cert_path=/x",
            "docker+tcp:",
            "docker+tcp://h/path",
            "docker+tcp://me@h",
            "docker+https://h?cert=/x",
            "docker+https://h?verify=maybe",
            "docker+https://h?key=/nowhere",
            "docker+https://a_b%20c",
            "docker+ssh://-oProxyCommand=x",
            "docker+ssh://me:secret@h",
            "docker+ssh://h?confg=/x",
            "docker+ssh:",
        ] {
            let error = parse(uri).err().unwrap_or_else(|| panic!("{uri} was taken"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}");
            assert!(!error.to_string().contains("secret"));
        }
        let mut options = ConnectOptions::default();
        options.authority = Some("/x".into());
        assert!(endpoint(&"docker+tcp://h".parse().unwrap(), &options).is_err(), "certificates without encryption");
    }

    #[test]
    fn the_version_is_the_nearest_that_both_speak() {
        let version = |newest: &str, oldest: Option<&str>| {
            negotiate(&Version {
                api_version: Some(newest.to_owned()),
                min_api_version: oldest.map(str::to_owned),
                ..Version::default()
            })
        };
        assert_eq!(version("1.41", Some("1.12")).unwrap(), (1, 41));
        assert_eq!(version("1.52", Some("1.44")).unwrap(), (1, 44));
        assert_eq!(version("1.60", Some("1.50")).unwrap(), (1, 50));
        assert_eq!(version("1.24", None).unwrap(), (1, 24));
        assert_eq!(version("1.23", None).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(version("2.9", Some("2.0")).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(version("soon", None).unwrap_err().kind(), ErrorKind::Unexpected);
    }
}
