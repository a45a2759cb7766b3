//! Which daemon the docker command line would talk to, as a value that can be looked at before anything is connected.
//!
//! The precedence is the command line's own: `DOCKER_HOST`; the context that `DOCKER_CONTEXT` names; the context that
//! `currentContext` in `config.json` names; the usual socket. `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH`
//! belong to `DOCKER_HOST`; a context brings its own certificates.
//!
//! ```
//! use roadstead_backends::engines::docker::config::{Environment, infer};
//!
//! let environment = Environment::new([("DOCKER_HOST", "ssh://me@far")]);
//! assert_eq!(infer(&environment).unwrap().uri, "docker+ssh://me@far");
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use roadstead_core::{Discovered, Error, ErrorKind, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::request::encode;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const DEFAULT_TLS_HOST: &str = "tcp://localhost:2376";
const DEFAULT_CONTEXT: &str = "default";

/// The variables that are looked at.
const VARIABLES: [&str; 8] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "XDG_RUNTIME_DIR",
    "HOME",
];

/// What the inference rests on: variables, and through them the files of the docker command line.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// These variables and no others.
    #[must_use]
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Environment { variables: variables.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Environment::new(VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))))
    }

    /// An empty variable counts as none.
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn config_directory(&self) -> Option<PathBuf> {
        match self.get("DOCKER_CONFIG") {
            Some(directory) => Some(directory.into()),
            None => self.get("HOME").map(|home| Path::new(home).join(".docker")),
        }
    }
}

/// Where the choice of a daemon comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The variable `DOCKER_HOST`.
    Host,
    /// A context, and the variable or file that names it.
    Context {
        /// The context's name.
        name: String,
        /// `DOCKER_CONTEXT`, or the path of `config.json`.
        named_by: String,
    },
    /// Nothing was said: the usual socket, or with TLS the usual port.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Host => f.write_str("DOCKER_HOST"),
            Origin::Context { name, named_by } => write!(f, "context {name:?} named by {named_by}"),
            Origin::Default => f.write_str("the docker command line's default"),
        }
    }
}

/// The daemon that the docker command line would talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The node's URI, certificates included, to connect to.
    pub uri: String,
    /// The address as it was written, for example `tcp://host:2376`.
    pub host: String,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`, when the connection is encrypted and there is one.
    pub certificates: Option<PathBuf>,
    /// Whether the daemon must prove who it is.
    pub verify: bool,
    /// Where the choice comes from.
    pub origin: Origin,
}

/// Finds the daemon that the docker command line would talk to. Reads files, but connects to nothing.
///
/// # Errors
/// `NotFound` for a context that is named and missing; `InvalidInput` for an address or file that makes no sense.
pub fn infer(environment: &Environment) -> Result<Connection> {
    if let Some(host) = environment.get("DOCKER_HOST") {
        return from_variables(environment, host, Origin::Host);
    }
    let named = match environment.get("DOCKER_CONTEXT") {
        Some(name) => Some((name.to_owned(), "DOCKER_CONTEXT".to_owned())),
        None => current_context(environment)?,
    };
    match named {
        Some((name, named_by)) if name != DEFAULT_CONTEXT => context(environment, name, named_by),
        _ => {
            let default = format!("unix://{DEFAULT_SOCKET}");
            let host = if Tls::asked(environment).is_some() { DEFAULT_TLS_HOST } else { &default };
            from_variables(environment, host, Origin::Default)
        }
    }
}

/// Whether the environment or the configuration says something at all.
fn is_explicit(connection: &Connection) -> bool {
    connection.origin != Origin::Default || !connection.host.starts_with("unix:")
}

/// Engines found by what the environment says and by their usual sockets, each once.
pub(super) fn discover(environment: &Environment) -> Vec<Discovered> {
    let mut found: Vec<Discovered> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    match infer(environment) {
        Ok(connection) if is_explicit(&connection) => {
            let name = match &connection.origin {
                Origin::Context { name, .. } => name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
                _ => "docker".to_owned(),
            };
            if let Some(path) = connection.host.strip_prefix("unix://") {
                seen.extend(Path::new(path).canonicalize());
            }
            found.push(Discovered::new(name, connection.uri, connection.origin.to_string()));
        }
        Ok(_) => {}
        Err(error) => found.push(Discovered::broken("docker", error.message(), "the docker command line's settings")),
    }
    let runtime = environment.get("XDG_RUNTIME_DIR").map(Path::new);
    let sockets = [
        ("docker", Some(PathBuf::from("/run/docker.sock"))),
        ("docker", Some(PathBuf::from(DEFAULT_SOCKET))),
        ("docker", runtime.map(|directory| directory.join("docker.sock"))),
        ("podman", Some(PathBuf::from("/run/podman/podman.sock"))),
        ("podman", runtime.map(|directory| directory.join("podman/podman.sock"))),
    ];
    for (engine, path) in sockets {
        let Some(path) = path.filter(|path| is_socket(path)) else { continue };
        let Ok(real) = path.canonicalize() else { continue };
        if !seen.contains(&real) {
            let uri = format!("{engine}+unix://{}", encode(&path.display().to_string(), b"/"));
            found.push(Discovered::new(engine, uri, path.display().to_string()));
            seen.push(real);
        }
    }
    // Names stand for nodes: each only once.
    let names: Vec<String> = found.iter().map(|engine| engine.name.clone()).collect();
    for (index, engine) in found.iter_mut().enumerate() {
        let earlier = names.iter().take(index).filter(|name| **name == engine.name).count();
        if earlier > 0 {
            engine.name = format!("{}-{}", engine.name, earlier + 1);
        }
    }
    found
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Encryption, as variables or a context ask for it.
#[derive(Debug)]
struct Tls {
    directory: Option<PathBuf>,
    verify: bool,
}

impl Tls {
    /// As variables ask for it; any value means yes, as for the command line.
    fn asked(environment: &Environment) -> Option<bool> {
        let verify = environment.get("DOCKER_TLS_VERIFY").is_some();
        (verify || environment.get("DOCKER_TLS").is_some()).then_some(verify)
    }

    fn from_variables(environment: &Environment) -> Result<Option<Self>> {
        let Some(verify) = Tls::asked(environment) else { return Ok(None) };
        let directory = match environment.get("DOCKER_CERT_PATH") {
            Some(path) if !Path::new(path).is_dir() => {
                return Err(Error::invalid("DOCKER_CERT_PATH", format!("{path} is not a directory")));
            }
            Some(path) => Some(path.into()),
            None => environment.config_directory(),
        };
        Ok(Some(Tls { directory, verify }))
    }
}

fn from_variables(environment: &Environment, host: &str, origin: Origin) -> Result<Connection> {
    connection(host, Tls::from_variables(environment)?, origin, "DOCKER_HOST")
}

/// `config.json`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

fn current_context(environment: &Environment) -> Result<Option<(String, String)>> {
    let Some(path) = environment.config_directory().map(|directory| directory.join("config.json")) else {
        return Ok(None);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::invalid("config.json", format!("{}: {error}", path.display()))),
    };
    let config: ConfigFile = serde_json::from_str(&text)
        .map_err(|error| Error::invalid("config.json", format!("{}: {error}", path.display())))?;
    Ok(config.current_context.filter(|name| !name.is_empty()).map(|name| (name, path.display().to_string())))
}

/// A context's `meta.json`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContextFile {
    endpoints: BTreeMap<String, ContextEndpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContextEndpoint {
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

fn context(environment: &Environment, name: String, named_by: String) -> Result<Connection> {
    let missing = || {
        Error::new(ErrorKind::NotFound, format!("no such docker context: {name}, which {named_by} names"))
            .with_resource(&name)
    };
    let contexts = environment.config_directory().ok_or_else(missing)?.join("contexts");
    // The command line keeps each context under the digest of its name.
    let folder = Sha256::digest(name.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let path = contexts.join("meta").join(&folder).join("meta.json");
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => Error::invalid("context", format!("{}: {error}", path.display())),
    })?;
    let mut meta: ContextFile = serde_json::from_str(&text)
        .map_err(|error| Error::invalid("context", format!("{}: {error}", path.display())))?;
    let endpoint = meta.endpoints.remove("docker").unwrap_or_default();
    let host = endpoint
        .host
        .filter(|host| !host.is_empty())
        .ok_or_else(|| Error::invalid("context", format!("context {name:?} has no docker endpoint")))?;
    let directory = Some(contexts.join("tls").join(&folder).join("docker")).filter(|path| path.is_dir());
    let tls = (directory.is_some() || endpoint.skip_tls_verify)
        .then_some(Tls { directory, verify: !endpoint.skip_tls_verify });
    connection(&host, tls, Origin::Context { name, named_by }, "context")
}

/// An address as the docker command line writes it, as a URI of ours.
fn connection(host: &str, tls: Option<Tls>, origin: Origin, field: &str) -> Result<Connection> {
    let refuse = || {
        Error::invalid(field, "is not an address such as unix:///run/docker.sock, tcp://host:2376 or ssh://user@host")
    };
    let host = host.trim();
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let mut certificates = None;
    let mut verify = true;
    let uri = match scheme {
        "unix" => {
            let path = if rest.is_empty() { DEFAULT_SOCKET } else { rest };
            if !path.starts_with('/') {
                return Err(refuse());
            }
            format!("docker+unix://{}", encode(path, b"/"))
        }
        "tcp" | "http" | "https" => {
            let rest = rest.trim_end_matches('/');
            if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
                return Err(refuse());
            }
            // `:2375` is this machine.
            let rest = if rest.starts_with(':') { format!("localhost{rest}") } else { rest.to_owned() };
            match tls {
                None if scheme != "https" => format!("docker+tcp://{rest}"),
                tls => {
                    let tls = tls.unwrap_or(Tls { directory: None, verify: true });
                    let mut uri = format!("docker+https://{rest}");
                    let mut separator = '?';
                    if let Some(directory) = &tls.directory {
                        let _ = write!(uri, "?cert_path={}", encode(&directory.display().to_string(), b"/"));
                        separator = '&';
                    }
                    if !tls.verify {
                        let _ = write!(uri, "{separator}verify=false");
                    }
                    certificates = tls.directory;
                    verify = tls.verify;
                    uri
                }
            }
        }
        "ssh" if !rest.is_empty() => format!("docker+ssh://{rest}"),
        _ => return Err(refuse()),
    };
    // What it is made of may still make no URI.
    uri.parse::<roadstead_core::NodeUri>().map_err(|_| refuse())?;
    Ok(Connection { uri, host: host.to_owned(), certificates, verify, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration directory with one context, `far`.
    fn directory(current: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let folder = "06ba99fa4189cc16a95b9fed1b0f88217cb74c1e6ce9d4f9e5ab56cb38ce5c44";
        let far = Sha256::digest(b"far").iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(far.len(), folder.len());
        let meta = directory.path().join("contexts/meta").join(&far);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":false}}}"#,
        )
        .unwrap();
        let tls = directory.path().join("contexts/tls").join(&far).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("ca.pem"), "").unwrap();
        let config = match current {
            Some(name) => format!(r#"{{"auths":{{}},"currentContext":{name:?}}}"#),
            None => "{}".to_owned(),
        };
        std::fs::write(directory.path().join("config.json"), config).unwrap();
        directory
    }

    fn with(directory: &tempfile::TempDir, more: &[(&str, &str)]) -> Result<Connection> {
        let config = directory.path().display().to_string();
        infer(&Environment::new(more.iter().copied().chain([("DOCKER_CONFIG", config.as_str())])))
    }

    #[test]
    fn each_step_of_the_precedence_goes_before_the_next() {
        let directory = directory(Some("far"));
        let host = ("DOCKER_HOST", "tcp://near");
        let found = with(&directory, &[host, ("DOCKER_CONTEXT", "missing")]).unwrap();
        assert_eq!((found.uri.as_str(), &found.origin), ("docker+tcp://near", &Origin::Host));

        let found = with(&directory, &[("DOCKER_CONTEXT", "default")]).unwrap();
        assert_eq!((found.uri.as_str(), &found.origin), ("docker+unix:///var/run/docker.sock", &Origin::Default));

        let found = with(&directory, &[("DOCKER_HOST", "")]).unwrap();
        assert!(
            matches!(&found.origin, Origin::Context { name, named_by } if name == "far" && named_by.ends_with("config.json"))
        );
        let certificates = found.certificates.unwrap();
        assert!(certificates.join("ca.pem").exists());
        assert_eq!(found.uri, format!("docker+https://far:2376?cert_path={}", certificates.display()));

        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(with(&nothing, &[]).unwrap().origin, Origin::Default);
    }

    #[test]
    fn a_context_that_is_missing_is_an_error_that_names_it() {
        for (current, variables) in [(None, &[("DOCKER_CONTEXT", "gone")][..]), (Some("gone"), &[][..])] {
            let error = with(&directory(current), variables).unwrap_err();
            assert_eq!((error.kind(), error.resource()), (ErrorKind::NotFound, Some("gone")));
            assert!(error.to_string().contains("gone"));
        }
        let broken = directory(None);
        std::fs::write(broken.path().join("config.json"), "{").unwrap();
        assert_eq!(with(&broken, &[]).unwrap_err().field(), Some("config.json"));
    }

    #[test]
    fn variables_of_tls_belong_to_the_host() {
        let certificates = directory(None);
        let path = certificates.path().display().to_string();
        let found = with(
            &certificates,
            &[("DOCKER_HOST", "tcp://h:1"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path.as_str())],
        )
        .unwrap();
        assert_eq!((found.uri, found.verify), (format!("docker+https://h:1?cert_path={path}"), true));
        let found = with(&certificates, &[("DOCKER_HOST", "tcp://h:1"), ("DOCKER_TLS", "1")]).unwrap();
        assert!(found.uri.ends_with("&verify=false") && !found.verify, "{}", found.uri);
        let found = with(&certificates, &[("DOCKER_TLS_VERIFY", "1")]).unwrap();
        assert!(found.uri.starts_with("docker+https://localhost:2376"), "as the command line does");
        let missing = [("DOCKER_HOST", "tcp://h"), ("DOCKER_TLS", "1"), ("DOCKER_CERT_PATH", "/nowhere")];
        assert_eq!(with(&certificates, &missing).unwrap_err().field(), Some("DOCKER_CERT_PATH"));
    }

    #[test]
    fn addresses_in_the_command_lines_spellings() {
        let uri = |host: &str| infer(&Environment::new([("DOCKER_HOST", host)])).map(|found| found.uri);
        for (host, expected) in [
            ("unix:///run/a b.sock", "docker+unix:///run/a%20b.sock"),
            ("unix://", "docker+unix:///var/run/docker.sock"),
            ("tcp://h:2375/", "docker+tcp://h:2375"),
            ("h:2375", "docker+tcp://h:2375"),
            (":2375", "docker+tcp://localhost:2375"),
            ("tcp://[::1]:2375", "docker+tcp://[::1]:2375"),
            ("https://h", "docker+https://h"),
            ("ssh://me@h:22/run/x.sock", "docker+ssh://me@h:22/run/x.sock"),
        ] {
            assert_eq!(uri(host).unwrap(), expected, "{host}");
        }
        for host in
            ["npipe:////./pipe/docker_engine", "fd://", "tcp://", "tcp://h/path", "unix://run", "ssh://", "tcp://h:x"]
        {
            assert_eq!(uri(host).unwrap_err().field(), Some("DOCKER_HOST"), "{host}");
        }
    }

    #[test]
    fn what_is_found_has_a_name_each() {
        let runtime = tempfile::tempdir().unwrap();
        std::fs::create_dir(runtime.path().join("podman")).unwrap();
        let sockets = ["docker.sock", "podman/podman.sock"].map(|name| runtime.path().join(name));
        let _listeners = sockets.each_ref().map(|path| std::os::unix::net::UnixListener::bind(path).unwrap());
        let host = format!("unix://{}", sockets[0].display());
        let found = discover(&Environment::new([
            ("DOCKER_HOST", host.as_str()),
            ("XDG_RUNTIME_DIR", &runtime.path().display().to_string()),
        ]));
        let ours: Vec<_> =
            found.iter().filter(|engine| engine.uri.contains(&runtime.path().display().to_string())).collect();
        assert_eq!(ours.len(), 2, "one each: {found:?}");
        assert_eq!((ours[0].origin.as_str(), ours[0].name.as_str()), ("DOCKER_HOST", "docker"));
        assert!(ours[1].uri.starts_with("podman+unix:///"));
        let mut names: Vec<_> = found.iter().map(|engine| &engine.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), found.len());

        let broken = discover(&Environment::new([("DOCKER_HOST", "fd://")]));
        assert!(broken[0].uri.is_empty() && broken[0].problem.as_ref().unwrap().contains("DOCKER_HOST"));
    }
}
