//! The other servers that a reference may name.

use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result};

use super::super::client::Client;
use super::super::config::{self, Address, Environment, Product};
use super::super::connect;
use super::super::shared::Lxd;
use super::pull::Source;

/// Time for a connection to another server.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// How a server that has images speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As the node's own server does.
    #[default]
    Native,
    /// Files in an agreed order, behind any web server.
    SimpleStreams,
}

/// A server that has images.
#[derive(Debug)]
pub(super) enum Remote {
    /// It gives them to everybody, so that the node's server asks it by itself.
    Open(Source),
    /// It gives them to whom it trusts: us.
    Ours(Client),
}

/// Servers that the engines' own clients know without being told.
const KNOWN: &[(&str, &str)] = &[
    ("images", "https://images.linuxcontainers.org"),
    ("ubuntu", "https://cloud-images.ubuntu.com/releases"),
    ("ubuntu-daily", "https://cloud-images.ubuntu.com/daily"),
];

/// The remote of this name: of the configuration of the command line that belongs to the node, or a known one.
pub(super) async fn find(lxd: &Lxd, name: &str) -> Result<Remote> {
    let product = Product::of_scheme(&lxd.uri).unwrap_or(Product::Lxd);
    let remote = match config::remote(&Environment::of_process(), product, name) {
        Ok(remote) => remote,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (_, address) = KNOWN.iter().find(|(known, _)| *known == name).ok_or(error)?;
            let server = (*address).to_owned();
            return Ok(Remote::Open(Source { server, protocol: Protocol::SimpleStreams, ..Source::default() }));
        }
        Err(error) => return Err(error),
    };
    let simple = remote.protocol == "simplestreams";
    match &remote.address {
        Address::Https(address) if simple || remote.public => {
            let certificate = match &remote.server_certificate {
                Some(path) => Some(tokio::fs::read_to_string(path).await.map_err(|cause| {
                    let words =
                        format!("the certificate of the remote {name} cannot be read: {}: {cause}", path.display());
                    Error::new(ErrorKind::Unauthenticated, words).with_source(cause)
                })?),
                None => None,
            };
            Ok(Remote::Open(Source {
                server: address.clone(),
                protocol: if simple { Protocol::SimpleStreams } else { Protocol::Native },
                certificate,
                ..Source::default()
            }))
        }
        _ => Ok(Remote::Ours(connect::to_remote(&remote, product, &lxd.name, CONNECT_DEADLINE)?)),
    }
}
