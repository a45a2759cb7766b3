//! Where a server is, whom to trust there, and what is shown to it.
//!
//! | scheme | address | query |
//! |---|---|---|
//! | `roadstead+https` | `roadstead+https://host[:7070][/NODE]` | whom to trust: `fingerprint=SHA256`, or `server_certificate=FILE`, or `authority=FILE`; `token_file=FILE` |
//! | `roadstead+http` | `roadstead+http://127.0.0.1[:7070][/NODE]` | `token_file=FILE` |
//!
//! The token may also stand before the host: `roadstead+https://:TOKEN@host`. Without `/NODE` the server's only node is meant.
//! There is no trust on first use: the token, which is worth as much as root on the server's engines, would be given to
//! whoever answers. The error for a certificate that nobody vouches for names its fingerprint, to be compared and pinned.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use roadstead_core::{ConnectOptions, Error, NodeUri, Result, Secret, names};
use rustls_pki_types::ServerName;

use super::request::encode;
use crate::tls::{Fingerprint, Identity, Tls, Trust};

/// Every scheme that is served.
pub(super) const SCHEMES: &[&str] = &["roadstead+https", "roadstead+http"];

const PORT: u16 = 7070;
/// A token is a line of text; nothing longer is one.
const TOKEN_MAX_BYTES: u64 = 64 * 1024;

/// Where a server is, and what is shown to it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Scheme, host and port as HTTP writes them.
    pub(super) base: String,
    /// How TLS is spoken; not at all on this machine.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) token: Secret,
    /// The node of the server that is meant, if it is named.
    pub(super) node: Option<String>,
}

impl Address {
    /// Reads a URI, and the files that it names; asks nobody.
    pub(super) fn read(uri: &NodeUri, options: &ConnectOptions) -> Result<Self> {
        let refuse = |reason: &str| Error::invalid("uri", format!("{}: {reason}", uri.scheme()));
        if uri.user().is_some_and(|user| !user.is_empty()) {
            return Err(refuse("takes a token without a user: roadstead+https://:TOKEN@host"));
        }
        let host = uri.host().ok_or_else(|| refuse("names no host"))?;
        ServerName::try_from(host).map_err(|_| refuse("the host is neither a DNS name nor an address"))?;
        let secure = uri.scheme() == "roadstead+https";
        let tls = if secure {
            uri.allow_query(&["authority", "fingerprint", "server_certificate", "token_file"])?;
            Some(Tls::new(&trust(uri, options)?, identity(options)?.as_ref())?.config())
        } else {
            uri.allow_query(&["token_file"])?;
            if !is_this_machine(host) {
                return Err(refuse(
                    "reaches this machine only (127.0.0.1, [::1], localhost): whoever reads the token on its way is root \
                     on the server's engines; use roadstead+https",
                ));
            }
            None
        };
        let node = match uri.path().trim_start_matches('/').trim_end_matches('/') {
            "" => None,
            node => {
                names::node_name("uri", node)?;
                Some(node.to_owned())
            }
        };
        let file = uri.query().get("token_file").map(|file| read_token(Path::new(file))).transpose()?;
        let token = match (uri.password().filter(|token| !token.expose().is_empty()).cloned(), file) {
            (Some(_), Some(_)) => return Err(refuse("takes a token or a token_file, not both")),
            (token, file) => token.or(file),
        };
        let token = token.ok_or_else(|| {
            Error::invalid(
                "token_file",
                "is missing: a Roadstead server lets in who shows its admin token, which is in its state directory",
            )
        })?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let base = format!("{}://{host}:{}", if secure { "https" } else { "http" }, uri.port().unwrap_or(PORT));
        Ok(Address { base, tls, token, node })
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn trust(uri: &NodeUri, options: &ConnectOptions) -> Result<Trust> {
    let given: Vec<(&str, &str)> = ["fingerprint", "server_certificate", "authority"]
        .iter()
        .filter_map(|key| uri.query().get(*key).map(|value| (*key, value.as_str())))
        .collect();
    match given.as_slice() {
        [] => Ok(options.authority.clone().map_or(Trust::System, Trust::Authority)),
        [("fingerprint", value)] => {
            let digits = value.strip_prefix("sha256:").unwrap_or(value);
            Ok(Trust::Pinned(digits.parse()?, "the fingerprint in the URI".to_owned()))
        }
        [("server_certificate", file)] => {
            let path = Path::new(file);
            Ok(Trust::Pinned(Fingerprint::of_file("server_certificate", path)?, path.display().to_string()))
        }
        [(_, file)] => Ok(Trust::Authority(options.authority.clone().unwrap_or_else(|| file.into()))),
        _ => Err(Error::invalid("uri", "takes one of fingerprint, server_certificate and authority only")),
    }
}

/// Roadstead servers ask for no certificate; what may stand before one does.
fn identity(options: &ConnectOptions) -> Result<Option<Identity>> {
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate: certificate.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::invalid("key", "is needed beside the certificate")),
        (None, Some(_)) => Err(Error::invalid("certificate", "is needed beside the key")),
    }
}

/// The URI of a server's node, by the server's own address and the token in the open: `https://HOST` becomes
/// `roadstead+https://:TOKEN@HOST/NODE`. The query says whom to trust, as above.
pub(super) fn node_uri(url: &str, token: Option<&str>, node: &str) -> Result<String> {
    let refuse = || Error::invalid("url", "must be https://HOST[:PORT], or http:// for this machine");
    let (scheme, rest) = url.split_once("://").ok_or_else(refuse)?;
    let scheme = scheme.to_ascii_lowercase();
    let scheme = match scheme.strip_prefix("roadstead+").unwrap_or(&scheme) {
        "https" => "roadstead+https",
        "http" => "roadstead+http",
        _ => return Err(refuse()),
    };
    let (host, query) = rest.split_once('?').map_or((rest, String::new()), |(host, query)| (host, format!("?{query}")));
    let token = token.map(|token| format!(":{}@", encode(token))).unwrap_or_default();
    Ok(format!("{scheme}://{token}{}/{}{query}", host.trim_end_matches('/'), encode(node)))
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
        token if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(refuse(&"is not one word of a token")),
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
        let pin = "0".repeat(64);
        let here = read("roadstead+http://:t0ken@127.0.0.1").unwrap();
        assert_eq!((here.base.as_str(), here.node.as_deref()), ("http://127.0.0.1:7070", None));
        assert_eq!(here.token.expose(), "t0ken");
        assert!(!format!("{here:?}").contains("t0ken"));
        for host in ["localhost", "[::1]", "127.9.9.9"] {
            read(&format!("roadstead+http://:t@{host}:1/")).unwrap();
        }
        for pin in [format!("sha256:{pin}"), pin] {
            let far = read(&format!("roadstead+https://:t@far.example:1/web?fingerprint={pin}")).unwrap();
            assert_eq!((far.base.as_str(), far.node.as_deref()), ("https://far.example:1", Some("web")));
            assert!(far.tls.is_some());
        }
    }

    #[test]
    fn a_node_of_a_server() {
        for (url, token, node, uri) in [
            ("https://far.example", Some("t/0 k"), "web", "roadstead+https://:t%2F0%20k@far.example/web"),
            ("HTTP://127.0.0.1:1/", None, "", "roadstead+http://127.0.0.1:1/"),
            ("roadstead+https://h?fingerprint=0", Some("t"), "a", "roadstead+https://:t@h/a?fingerprint=0"),
        ] {
            assert_eq!(node_uri(url, token, node).unwrap(), uri);
        }
        for url in ["", "far.example", "ftp://far.example", "lxd+https://far.example"] {
            assert_eq!(node_uri(url, None, "a").unwrap_err().field(), Some("url"), "{url:?}");
        }
    }

    #[test]
    fn a_token_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let uri = format!("roadstead+http://127.0.0.1?token_file={}", file.path().display());
        let long = "x".repeat(70_000);
        for (text, words) in [("", "is empty"), ("two words", "one word"), (long.as_str(), "too long")] {
            std::fs::write(file.path(), text).unwrap();
            let error = read(&uri).unwrap_err();
            assert_eq!(error.field(), Some("token_file"));
            assert!(error.message().contains(words) && !error.message().contains("two"), "{error}");
        }
        std::fs::write(file.path(), "t0ken\n").unwrap();
        assert_eq!(read(&uri).unwrap().token.expose(), "t0ken");
    }

    #[test]
    fn addresses_that_make_no_sense() {
        let pin = "0".repeat(64);
        for uri in [
            "roadstead+http:".to_owned(),
            "roadstead+http://:t@far.example".to_owned(),
            "roadstead+http://:t@10.0.0.1".to_owned(),
            "roadstead+http://:t@127.0.0.1.far.example".to_owned(),
            "roadstead+http://me:t@127.0.0.1".to_owned(),
            "roadstead+http://:t@127.0.0.1/a/b".to_owned(),
            format!("roadstead+http://:t@127.0.0.1?fingerprint={pin}"),
            "roadstead+https://:t@far.example?trust=first-use".to_owned(),
            "roadstead+https://:t@far.example?project=x".to_owned(),
            format!("roadstead+https://:t@far.example?authority=/x&fingerprint={pin}"),
        ] {
            assert_eq!(read(&uri).unwrap_err().field(), Some("uri"), "{uri}");
        }
        for (uri, field) in [
            ("roadstead+https://:t@far.example?fingerprint=12", "fingerprint"),
            ("roadstead+https://:t@far.example?server_certificate=/nowhere", "server_certificate"),
            ("roadstead+http://127.0.0.1?token_file=/nowhere", "token_file"),
            ("roadstead+http://127.0.0.1", "token_file"),
        ] {
            assert_eq!(read(uri).unwrap_err().field(), Some(field), "{uri}");
        }
    }
}
