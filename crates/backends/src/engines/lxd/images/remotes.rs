//! The other servers that a reference may name.

use roadstead_core::{Error, Result};

use super::super::shared::Lxd;

/// How a server that has images speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    /// As the node's own server does.
    Native,
    /// Files in an agreed order, behind any web server.
    SimpleStreams,
}

impl Protocol {
    /// The word for it in requests; servers of both products take this one for their own.
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Native => "lxd",
            Protocol::SimpleStreams => "simplestreams",
        }
    }
}

/// A server that has images.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) protocol: Protocol,
    /// Whether it gives its images to everybody.
    pub(super) public: bool,
    /// Its certificate in PEM, where no authority vouches for it.
    pub(super) certificate: Option<String>,
}

/// Servers that the engines' own clients know without being told.
const KNOWN: &[(&str, &str)] = &[
    ("images", "https://images.linuxcontainers.org"),
    ("ubuntu", "https://cloud-images.ubuntu.com/releases"),
    ("ubuntu-daily", "https://cloud-images.ubuntu.com/daily"),
];

/// The remote of this name.
pub(super) fn find(name: &str) -> Result<Remote> {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    match known {
        Some((name, address)) => Ok(Remote {
            name: (*name).to_owned(),
            address: (*address).to_owned(),
            protocol: Protocol::SimpleStreams,
            public: true,
            certificate: None,
        }),
        None => Err(Error::not_found("remote", name)),
    }
}

/// The server at this URL.
pub(super) fn at(address: &str) -> Result<Remote> {
    Ok(Remote {
        name: address.to_owned(),
        address: address.to_owned(),
        protocol: Protocol::Native,
        public: true,
        certificate: None,
    })
}

/// Connects to a remote, to ask it for what it gives only to whom it trusts.
pub(super) async fn connect(_lxd: &Lxd, remote: &Remote) -> Result<Lxd> {
    Err(Error::unsupported(format_args!("the remote {} yet", remote.name)))
}
