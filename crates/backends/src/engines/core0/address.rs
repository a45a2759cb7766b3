//! Where a node's Redis is, and whom to trust there.
//!
//! | scheme | address | query |
//! |---|---|---|
//! | `core0+rediss` | `core0+rediss://host[:6379]` | whom to trust: `fingerprint=SHA256`, or `server_certificate=FILE`, or `authority=FILE`, or `trust=unverified`; `token_file=FILE` |
//! | `core0+redis` | `core0+redis://host[:6379]` | `token_file=FILE` |
//! | `core0+unix` | `core0+unix:///var/run/redis.sock` | `token_file=FILE` |
//!
//! The token, a JWT on nodes that belong to an organisation and a plain password elsewhere, may also stand before the host:
//! `core0+rediss://:TOKEN@host`. A node makes itself another certificate at every start: pinning it is for one boot, and
//! not looking at it has to be asked for in so many words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use roadstead_core::{ConnectOptions, Error, ErrorKind, NodeUri, Result, Retry, Secret};
use rustls_pki_types::ServerName;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::failure;
use crate::link::Link;
use crate::tls::{Fingerprint, Identity, Tls, Trust};

const PORT: u16 = 6379;
/// A token is a line of text; nothing longer is one.
const TOKEN_MAX_BYTES: u64 = 64 * 1024;

/// Where a node's Redis is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    endpoint: Endpoint,
    token: Option<Secret>,
    deadline: Duration,
}

#[derive(Clone, Debug)]
enum Endpoint {
    Unix(PathBuf),
    Tcp(String, u16),
    Tls { host: String, port: u16, name: ServerName<'static>, config: Arc<rustls::ClientConfig> },
}

impl Address {
    /// Reads a URI, and the files that it names.
    pub(super) fn read(uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
        let path_is_empty = matches!(uri.path(), "" | "/");
        let host = || {
            let host = uri.host().ok_or_else(|| refuse("names no host"))?;
            if path_is_empty { Ok((host.to_owned(), uri.port().unwrap_or(PORT))) } else { Err(refuse("takes no path")) }
        };
        if uri.user().is_some_and(|user| !user.is_empty()) {
            return Err(refuse("takes a token without a user: core0+rediss://:TOKEN@host"));
        }
        let endpoint = match uri.scheme() {
            "core0+unix" => {
                uri.allow_query(&["token_file"])?;
                if path_is_empty || uri.host().is_some() {
                    return Err(refuse("names a socket: core0+unix:///var/run/redis.sock"));
                }
                Endpoint::Unix(uri.path().into())
            }
            "core0+redis" => {
                uri.allow_query(&["token_file"])?;
                let (host, port) = host()?;
                Endpoint::Tcp(host, port)
            }
            _ => {
                uri.allow_query(&["authority", "fingerprint", "server_certificate", "token_file", "trust"])?;
                let (host, port) = host()?;
                let name = ServerName::try_from(host.clone()).map_err(|_| refuse("its host is no host name"))?;
                let config = Tls::new(&trust(uri, options)?, identity(options)?.as_ref())?.config();
                Endpoint::Tls { host, port, name, config }
            }
        };
        let file = uri.query().get("token_file").map(|file| read_token(Path::new(file))).transpose()?;
        let token = match (uri.password().cloned(), file) {
            (Some(_), Some(_)) => return Err(refuse("takes a token or a token_file, not both")),
            (token, file) => token.or(file),
        };
        Ok(Address { endpoint, token, deadline: options.deadline })
    }

    /// Opens a connection. Nothing is sent on it but the token: RESP2 needs no handshake, and `HELLO`, `CLIENT` and `SELECT`
    /// would meet any of the connections that a node's proxy shares among all its clients.
    /// With the task that reads what comes on it, which is over as soon as the other side has closed it.
    pub(super) async fn open(&self) -> Result<(MultiplexedConnection, AbortHandle)> {
        let opened = timeout(self.deadline, async {
            let link = self.dial().await.map_err(|error| failure::broken(&error).with_source(error))?;
            let mut info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
            if let Some(token) = &self.token {
                info = info.set_password(token.expose());
            }
            // Deadlines are the callers': some wait for a result, others for the next moment.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let (connection, driver) = MultiplexedConnection::new_with_config(&info, link, config)
                .await
                .map_err(|error| failure::of(&error).with_source(error))?;
            // It ends with the last copy of the connection, too.
            let driver = tokio::spawn(driver).abort_handle();
            Ok((connection, driver))
        });
        opened.await.unwrap_or_else(|_| {
            let words = format!("the node cannot be reached: no connection within {} s", self.deadline.as_secs_f64());
            Err(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Safe))
        })
    }

    async fn dial(&self) -> std::io::Result<Link> {
        Ok(match &self.endpoint {
            Endpoint::Unix(path) => Link::new(UnixStream::connect(path).await?),
            Endpoint::Tcp(host, port) => Link::new(Link::tcp(host, *port).await?),
            Endpoint::Tls { host, port, name, config } => Link::tls(host, *port, name, config).await?,
        })
    }

    /// Whether the node is this machine: only then do its files and processes lie here.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.endpoint, Endpoint::Unix(_))
    }
}

fn trust(uri: &NodeUri, options: &ConnectOptions) -> Result<Trust> {
    let given: Vec<(&str, &str)> = ["fingerprint", "server_certificate", "authority", "trust"]
        .iter()
        .filter_map(|key| uri.query().get(*key).map(|value| (*key, value.as_str())))
        .collect();
    match given.as_slice() {
        [] => Ok(options.authority.clone().map_or(Trust::System, Trust::Authority)),
        [("fingerprint", value)] => Ok(Trust::Pinned(value.parse()?, "the fingerprint in the URI".to_owned())),
        [("server_certificate", file)] => {
            let path = Path::new(file);
            Ok(Trust::Pinned(Fingerprint::of_file("server_certificate", path)?, path.display().to_string()))
        }
        [("authority", file)] => Ok(Trust::Authority(file.into())),
        [(_, "unverified")] => Ok(Trust::Unverified),
        [_] => Err(Error::invalid("uri", "trust must be unverified")),
        _ => Err(Error::invalid("uri", "takes one of fingerprint, server_certificate, authority and trust only")),
    }
}

fn identity(options: &ConnectOptions) -> Result<Option<Identity>> {
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate: certificate.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::invalid("key", "is needed beside the certificate")),
        (None, Some(_)) => Err(Error::invalid("certificate", "is needed beside the key")),
    }
}

fn read_token(path: &Path) -> Result<Secret> {
    let refuse = |why: &dyn std::fmt::Display| Error::invalid("token_file", format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refuse(&error))?.len();
    if size > TOKEN_MAX_BYTES {
        return Err(refuse(&"is too long for a token"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    match text.trim() {
        "" => Err(refuse(&"is empty")),
        token => Ok(Secret::new(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Address> {
        Address::read(&uri.parse().unwrap(), &ConnectOptions::default())
    }

    #[test]
    fn addresses() {
        assert!(matches!(read("core0+redis://h").unwrap().endpoint, Endpoint::Tcp(host, 6379) if host == "h"));
        assert!(matches!(
            read("core0+rediss://h:1/?trust=unverified").unwrap().endpoint,
            Endpoint::Tls { port: 1, .. }
        ));
        let unix = read("core0+unix:///var/run/redis.sock").unwrap();
        assert!(unix.is_local() && unix.token.is_none());
        let secret = read("core0+redis://:ey.Jh.x@h").unwrap();
        assert_eq!(secret.token.as_ref().unwrap().expose(), "ey.Jh.x");
        assert!(!format!("{secret:?}").contains("ey.Jh"));
    }

    #[test]
    fn addresses_that_make_no_sense() {
        let pin = "0".repeat(64);
        for uri in [
            "core0+unix:".to_owned(),
            "core0+unix://host/sock".to_owned(),
            "core0+redis:///path".to_owned(),
            "core0+redis://h/1".to_owned(),
            "core0+redis://h?trust=unverified".to_owned(),
            "core0+redis://user:x@h".to_owned(),
            "core0+rediss://h?trust=yes".to_owned(),
            "core0+rediss://h?trust=first-use".to_owned(),
            format!("core0+rediss://h?trust=unverified&fingerprint={pin}"),
            "core0+rediss://h?db=1".to_owned(),
        ] {
            assert_eq!(read(&uri).unwrap_err().field(), Some("uri"), "{uri}");
        }
        assert_eq!(read("core0+rediss://h?fingerprint=12").unwrap_err().field(), Some("fingerprint"));
        assert_eq!(read("core0+redis://h?token_file=/nowhere").unwrap_err().field(), Some("token_file"));
    }
}
