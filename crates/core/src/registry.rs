//! Engines by URI: which engine serves a scheme, and the parts of a node's address.
//!
//! A node is named by a URI such as `docker+unix:///run/docker.sock`, `docker+https://host:2376`,
//! `docker+ssh://user@host`, `podman+unix:///run/podman/podman.sock` or `memory:`. Engines register the schemes that
//! they serve; nothing here knows any of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluent_uri::Uri;
use fluent_uri::pct_enc::EStr;

use crate::error::{Error, ErrorKind, Result};
use crate::names;
use crate::node::Node;
use crate::secret::Secret;

/// The address of a node.
///
/// `Display` never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeUri {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    host: Option<String>,
    port: Option<u16>,
    path: String,
    query: BTreeMap<String, String>,
}

impl NodeUri {
    /// Scheme in lower case, for example `docker+unix`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// User, decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Password, decoded.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Host name or address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Path, decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Query parameters, decoded.
    #[must_use]
    pub fn query(&self) -> &BTreeMap<String, String> {
        &self.query
    }

    /// Refuses query parameters other than these. Engines call it so that a misspelt option is not ignored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the parameter.
    pub fn allow_query(&self, allowed: &[&str]) -> Result<()> {
        match self.query.keys().find(|key| !allowed.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::invalid("uri", format!("unknown parameter {key:?} for scheme {}", self.scheme))),
        }
    }
}

impl FromStr for NodeUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: &str| {
            Error::invalid("uri", format!("not a node URI such as docker+unix:///run/docker.sock: {reason}"))
        };
        // The text itself is not repeated in errors: it may hold a password.
        let uri = Uri::parse(text).map_err(|error| refuse(&error.to_string()))?;
        let decode = |part: &EStr<fluent_uri::pct_enc::encoder::Path>| {
            part.decode().to_string().map(|text| text.into_owned()).map_err(|_| refuse("it is not UTF-8"))
        };
        let mut parsed = NodeUri {
            scheme: uri.scheme().as_str().to_ascii_lowercase(),
            user: None,
            password: None,
            host: None,
            port: None,
            path: decode(uri.path())?,
            query: BTreeMap::new(),
        };
        if parsed.path.contains('\0') {
            return Err(refuse("it holds NUL"));
        }
        if let Some(authority) = uri.authority() {
            if let Some(userinfo) = authority.userinfo() {
                let text = |part: &EStr<fluent_uri::pct_enc::encoder::Userinfo>| {
                    part.decode().to_string().map(|text| text.into_owned()).map_err(|_| refuse("it is not UTF-8"))
                };
                match userinfo.split_once(':') {
                    Some((user, password)) => {
                        parsed.user = Some(text(user)?);
                        parsed.password = Some(Secret::new(text(password)?));
                    }
                    None => parsed.user = Some(text(userinfo)?),
                }
            }
            let host = authority.host().trim_start_matches('[').trim_end_matches(']');
            parsed.host = (!host.is_empty()).then(|| host.to_owned());
            parsed.port = authority.port_to_u16().map_err(|_| refuse("the port is not a number up to 65535"))?;
        }
        for pair in uri.query().into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, EStr::EMPTY));
            let text = |part: &EStr<fluent_uri::pct_enc::encoder::Query>| {
                part.decode().to_string().map(|text| text.into_owned()).map_err(|_| refuse("it is not UTF-8"))
            };
            if parsed.query.insert(text(key)?, text(value)?).is_some() {
                return Err(refuse("a parameter is given twice"));
            }
        }
        if uri.fragment().is_some() {
            return Err(refuse("it has a fragment"));
        }
        Ok(parsed)
    }
}

impl fmt::Display for NodeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if self.host.is_some() || self.path.starts_with('/') {
            f.write_str("//")?;
        }
        // A password alone has no user.
        if let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) {
            write!(f, "{user}@")?;
        }
        if let Some(host) = &self.host {
            if host.contains(':') { write!(f, "[{host}]")? } else { f.write_str(host)? }
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        let mut separator = '?';
        for (key, value) in &self.query {
            // Parameters that carry secrets are for the engine's eyes only.
            let shown =
                if key.contains("token") || key.contains("password") || key.contains("secret") { "…" } else { value };
            write!(f, "{separator}{key}={shown}")?;
            separator = '&';
        }
        Ok(())
    }
}

impl fmt::Debug for NodeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How to connect, beyond the URI. Engines read what they know of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Time in which the connection must stand (default 10 s).
    pub deadline: Duration,
    /// Client certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Client key, PEM.
    pub key: Option<PathBuf>,
    /// Certificate authority that the server's certificate must come from, PEM.
    pub authority: Option<PathBuf>,
    /// How long the results of finished jobs are kept (default one hour).
    pub keep_jobs: Duration,
    /// How long an event stream tries to connect again before it gives up (default 30 s).
    pub reconnect_deadline: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            deadline: Duration::from_secs(10),
            certificate: None,
            key: None,
            authority: None,
            keep_jobs: Duration::from_secs(3600),
            reconnect_deadline: Duration::from_secs(30),
        }
    }
}

/// Something that can connect to nodes of one kind of engine.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// The URI schemes that it serves, in lower case.
    fn schemes(&self) -> &'static [&'static str];

    /// Connects, and finds out what the engine can do.
    ///
    /// # Errors
    /// `InvalidInput` for a URI that makes no sense, `Unavailable` when nobody answers, `Unauthenticated` or
    /// `PermissionDenied` when the engine refuses us.
    async fn connect(&self, name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<dyn Node>>;

    /// Engines found on this machine by their usual sockets and environment: name and URI. No connection is made.
    fn discover(&self) -> Vec<Discovered>;
}

/// An engine found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// A name for the node.
    pub name: String,
    /// Its URI; empty when there is a problem.
    pub uri: String,
    /// Where it was found, for people: a socket path or the name of a variable.
    pub origin: String,
    /// What is wrong, when the environment names an engine that makes no sense, such as a context that is missing.
    pub problem: Option<String>,
}

impl Discovered {
    /// An engine found at `origin`.
    #[must_use]
    pub fn new(name: impl Into<String>, uri: impl Into<String>, origin: impl Into<String>) -> Self {
        Discovered { name: name.into(), uri: uri.into(), origin: origin.into(), problem: None }
    }

    /// An engine that the environment names at `origin`, but that cannot be connected to.
    #[must_use]
    pub fn broken(name: impl Into<String>, problem: impl Into<String>, origin: impl Into<String>) -> Self {
        Discovered { name: name.into(), uri: String::new(), origin: origin.into(), problem: Some(problem.into()) }
    }
}

/// The engines that are built in, by scheme.
#[derive(Debug, Default)]
pub struct Registry {
    engines: Vec<Arc<dyn Engine>>,
}

impl Registry {
    /// Knows no engine.
    #[must_use]
    pub fn new() -> Self {
        Registry::default()
    }

    /// Adds an engine; where two serve the same scheme, the later one is asked.
    #[must_use]
    pub fn with(mut self, engine: impl Engine + 'static) -> Self {
        self.engines.push(Arc::new(engine));
        self
    }

    /// Every scheme that can be connected to, sorted.
    #[must_use]
    pub fn schemes(&self) -> Vec<&'static str> {
        let mut schemes: Vec<_> = self.engines.iter().flat_map(|engine| engine.schemes()).copied().collect();
        schemes.sort_unstable();
        schemes.dedup();
        schemes
    }

    /// The engine for a scheme.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that lists the schemes there are.
    pub fn engine(&self, scheme: &str) -> Result<&Arc<dyn Engine>> {
        self.engines.iter().rev().find(|engine| engine.schemes().contains(&scheme)).ok_or_else(|| {
            Error::invalid("uri", format!("unknown scheme {scheme:?}; there are {}", self.schemes().join(", ")))
        })
    }

    /// Connects to the node at `uri` and calls it `name`.
    ///
    /// # Errors
    /// As [`Engine::connect`]; `DeadlineExceeded` when the connection does not stand in time.
    pub async fn connect(&self, name: &str, uri: &str, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        names::node_name("name", name)?;
        let uri: NodeUri = uri.parse()?;
        let engine = self.engine(uri.scheme())?;
        match tokio::time::timeout(options.deadline, engine.connect(name, &uri, options)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("{uri} did not answer within {} s", options.deadline.as_secs_f64()),
            )),
        }
        .map_err(|error| error.with_operation("node.connect").with_node(name))
    }

    /// Engines found on this machine, in the order in which engines were added.
    #[must_use]
    pub fn discover(&self) -> Vec<Discovered> {
        self.engines.iter().flat_map(|engine| engine.discover()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NodeUri {
        text.parse().unwrap()
    }

    #[test]
    fn the_usual_addresses_parse() {
        let unix = parse("docker+unix:///run/docker.sock");
        assert_eq!((unix.scheme(), unix.host(), unix.path()), ("docker+unix", None, "/run/docker.sock"));
        let ssh = parse("docker+ssh://root@[::1]:2222/run/docker%20x.sock");
        assert_eq!(
            (ssh.user(), ssh.host(), ssh.port(), ssh.path()),
            (Some("root"), Some("::1"), Some(2222), "/run/docker x.sock")
        );
        assert_eq!(ssh.to_string(), "docker+ssh://root@[::1]:2222/run/docker x.sock");
        let memory = parse("memory:?seed=7");
        assert_eq!((memory.scheme(), memory.query().get("seed").map(String::as_str)), ("memory", Some("7")));
        assert_eq!(memory.to_string(), "memory:?seed=7");
    }

    #[test]
    fn secrets_are_not_shown() {
        let uri = parse("docker+https://me:hunter2@host:2376?token=hunter2");
        assert_eq!(uri.password().unwrap().expose(), "hunter2");
        assert!(!format!("{uri} {uri:?}").contains("hunter2"));
        assert!(!"docker+tcp://me:hunter2@host:99999".parse::<NodeUri>().unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "docker",
            "/run/docker.sock",
            "a b://c",
            "docker+tcp://h:99999",
            "m:?a=1&a=2",
            "m:#f",
            "m:%00",
            "m:%ff",
        ] {
            let error = text.parse::<NodeUri>().unwrap_err();
            assert_eq!(error.field(), Some("uri"), "{text:?}");
        }
        assert!(parse("memory:?sed=7").allow_query(&["seed"]).is_err());
        assert!(Registry::new().engine("docker+unix").is_err());
    }
}
