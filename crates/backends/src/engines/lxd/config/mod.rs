//! Which server the `lxc` or `incus` command line would talk to, as a value that can be looked at before anything is
//! connected.
//!
//! The precedence is the command lines' own. The remote: the one that is asked for; `LXC_REMOTE` (`INCUS_REMOTE`);
//! `default-remote` of the user's `config.yml`; `local`. Its address: the user's `config.yml`, then the machine's
//! (`/etc/lxd`, `/etc/incus`); but `local` is always the socket. The socket: `LXD_SOCKET` (`INCUS_SOCKET`); in `LXD_DIR`
//! (`INCUS_DIR`); where it usually is. The project: `INCUS_PROJECT` for Incus; the remote's.
//!
//! ```
//! use roadstead_backends::engines::lxd::config::{Environment, Product, infer};
//!
//! let environment = Environment::new([("LXD_DIR", "/srv/lxd")]);
//! let connection = infer(&environment, Product::Lxd, None).unwrap();
//! assert_eq!(connection.uri, "lxd+unix:///srv/lxd/unix.socket");
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use roadstead_core::{Discovered, Error, ErrorKind, Result};
use serde::Deserialize;

const LOCAL: &str = "local";

/// Whose command line is meant. The protocol is the same; files and variables have other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Product {
    /// `lxc`
    Lxd,
    /// `incus`
    Incus,
}

impl Product {
    const ALL: [Product; 2] = [Product::Lxd, Product::Incus];

    /// The first part of the schemes.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Product::Lxd => "lxd",
            Product::Incus => "incus",
        }
    }

    /// By the first part of a scheme.
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        let word = scheme.split('+').next().unwrap_or(scheme);
        Product::ALL.into_iter().find(|product| product.word() == word)
    }

    /// The command that makes a server trust a certificate.
    pub(super) const fn trust_command(self) -> &'static str {
        match self {
            Product::Lxd => "lxc config trust add",
            Product::Incus => "incus config trust add-certificate",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Product::Lxd => "LXD",
            Product::Incus => "INCUS",
        }
    }

    const fn remote_variable(self) -> &'static str {
        match self {
            // Not LXD_REMOTE.
            Product::Lxd => "LXC_REMOTE",
            Product::Incus => "INCUS_REMOTE",
        }
    }

    /// Where the socket is when no variable says so; the first that is there.
    const fn sockets(self) -> [&'static str; 2] {
        match self {
            Product::Lxd => ["/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket"],
            Product::Incus => ["/run/incus/unix.socket", "/var/lib/incus/unix.socket"],
        }
    }

    /// Below the home directory; the first that is there, otherwise the first.
    const fn directories(self) -> &'static [&'static str] {
        match self {
            Product::Lxd => &[".config/lxc", "snap/lxd/common/config"],
            Product::Incus => &[".config/incus"],
        }
    }
}

/// The variables that are looked at.
const VARIABLES: [&str; 12] = [
    "HOME",
    "INCUS_CONF",
    "INCUS_DIR",
    "INCUS_GLOBAL_CONF",
    "INCUS_PROJECT",
    "INCUS_REMOTE",
    "INCUS_SOCKET",
    "LXC_REMOTE",
    "LXD_CONF",
    "LXD_DIR",
    "LXD_GLOBAL_CONF",
    "LXD_SOCKET",
];

/// What the inference rests on: variables, and through them the files of the command lines.
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

    fn of_product(&self, product: Product, name: &str) -> Option<&str> {
        self.get(&format!("{}_{name}", product.prefix()))
    }

    /// The user's configuration directory.
    fn directory(&self, product: Product) -> Option<PathBuf> {
        if let Some(directory) = self.of_product(product, "CONF") {
            return Some(directory.into());
        }
        let home = Path::new(self.get("HOME")?);
        let mut directories = product.directories().iter().map(|directory| home.join(directory));
        let first = directories.next();
        match &first {
            Some(directory) if directory.is_dir() => first,
            _ => directories.find(|directory| directory.is_dir()).or(first),
        }
    }

    /// The machine's configuration directory.
    fn global_directory(&self, product: Product) -> PathBuf {
        match self.of_product(product, "GLOBAL_CONF") {
            Some(directory) => directory.into(),
            None => Path::new("/etc").join(product.word()),
        }
    }

    fn socket(&self, product: Product) -> PathBuf {
        if let Some(socket) = self.of_product(product, "SOCKET") {
            return socket.into();
        }
        if let Some(directory) = self.of_product(product, "DIR") {
            return Path::new(directory).join("unix.socket");
        }
        let [first, second] = product.sockets().map(PathBuf::from);
        if !first.exists() && second.exists() { second } else { first }
    }
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// `https://host:port`, with whatever follows for protocols other than the servers' own.
    Https(String),
}

/// A named server, as the command line knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// `lxd`, `incus`, or `simplestreams` for servers that have images only.
    pub protocol: String,
    /// Whether it is asked without a client certificate.
    pub public: bool,
    /// The server's own certificate, when the command line keeps a copy of it.
    pub server_certificate: Option<PathBuf>,
    /// The authority of certificates, where the directory has one.
    pub authority: Option<PathBuf>,
    /// The client certificate that is shown to it; the file may be missing.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The project that is worked in.
    pub project: Option<String>,
    /// The file or variable that names it.
    pub origin: String,
}

/// The server that the command line would talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The node's URI, certificates included, to connect to.
    pub uri: String,
    /// The remote's name.
    pub remote: String,
    /// Where the choice of the remote comes from.
    pub origin: String,
}

/// `config.yml`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    #[serde(rename = "default-remote")]
    default_remote: Option<String>,
    remotes: Option<BTreeMap<String, Option<RemoteEntry>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RemoteEntry {
    addr: Option<String>,
    auth_type: Option<String>,
    project: Option<String>,
    protocol: Option<String>,
    public: Option<bool>,
}

/// `config.yml` of a directory; an empty one when there is none.
fn read(directory: &Path) -> Result<ConfigFile> {
    let path = directory.join("config.yml");
    let refuse = |why: &dyn std::fmt::Display| Error::invalid("config.yml", format!("{}: {why}", path.display()));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
        Err(error) => return Err(refuse(&error)),
    };
    if text.trim().is_empty() {
        return Ok(ConfigFile::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        // The library draws the place over several lines.
        let words = error.to_string();
        refuse(&words.lines().next().unwrap_or_default())
    })
}

/// The remote that is meant when none is named, and who says so.
fn default_remote(environment: &Environment, product: Product) -> Result<(String, String)> {
    let variable = product.remote_variable();
    if let Some(name) = environment.get(variable) {
        return Ok((name.to_owned(), variable.to_owned()));
    }
    if let Some(directory) = environment.directory(product)
        && let Some(name) = read(&directory)?.default_remote.filter(|name| !name.is_empty())
    {
        return Ok((name, directory.join("config.yml").display().to_string()));
    }
    Ok((LOCAL.to_owned(), "the command line's default".to_owned()))
}

/// The remote of this name. Reads files, but connects to nothing.
///
/// # Errors
/// `NotFound` for a remote that is missing; `InvalidInput` for an address or file that makes no sense.
pub fn remote(environment: &Environment, product: Product, name: &str) -> Result<Remote> {
    let directory = environment.directory(product);
    let project = match product {
        Product::Lxd => None,
        Product::Incus => environment.get("INCUS_PROJECT").map(str::to_owned),
    };
    let user = directory.as_deref().map(read).transpose()?.unwrap_or_default().remotes.unwrap_or_default();
    let mut entry = user.into_iter().find(|(key, _)| key == name).and_then(|(_, entry)| entry);
    let mut home = directory.clone();
    if entry.is_none() && name != LOCAL {
        let global = environment.global_directory(product);
        entry = read(&global)?.remotes.unwrap_or_default().remove(name).flatten();
        if entry.is_some() {
            home = Some(global);
        }
    }
    if name == LOCAL {
        // Whatever the file says of its address.
        return Ok(Remote {
            name: name.to_owned(),
            address: Address::Unix(environment.socket(product)),
            protocol: product.word().to_owned(),
            public: false,
            server_certificate: None,
            authority: None,
            certificate: None,
            key: None,
            project: project.or(entry.and_then(|entry| entry.project)),
            origin: "the command line itself".to_owned(),
        });
    }
    let Some(entry) = entry else {
        let place = match &directory {
            Some(directory) => directory.join("config.yml").display().to_string(),
            None => format!("{}_CONF", product.prefix()),
        };
        return Err(Error::new(ErrorKind::NotFound, format!("no such remote: {name}, in {place}")).with_resource(name));
    };
    from_entry(environment, product, name, entry, directory.as_deref(), home.as_deref(), project)
}

fn from_entry(
    environment: &Environment,
    product: Product,
    name: &str,
    entry: RemoteEntry,
    directory: Option<&Path>,
    home: Option<&Path>,
    project: Option<String>,
) -> Result<Remote> {
    let origin = home.map(|home| home.join("config.yml").display().to_string()).unwrap_or_default();
    let refuse = |why: &str| Error::invalid("remote", format!("{name} in {origin}: {why}"));
    let address = entry.addr.unwrap_or_default();
    let address = match address.strip_prefix("unix:") {
        Some(path) => match path.trim_start_matches("//") {
            "" => Address::Unix(environment.socket(product)),
            path if path.starts_with('/') => Address::Unix(path.into()),
            path => Address::Unix(Path::new("/").join(path)),
        },
        None if address.starts_with("https://") => Address::Https(address),
        None => return Err(refuse("the address is neither unix:// nor https://")),
    };
    let public = entry.public.unwrap_or(false);
    if let Some(kind) = entry.auth_type.filter(|kind| !public && !matches!(kind.as_str(), "" | "tls" | "file access")) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the remote {name} in {origin} is logged in to by {kind:?}; only certificates are supported"),
        ));
    }
    // A remote's own client certificate goes before the one for all.
    let own = |kind: &str| {
        let file = format!("{name}.{kind}");
        let own = directory.map(|directory| directory.join("clientcerts").join(file)).filter(|path| path.exists());
        own.or_else(|| directory.map(|directory| directory.join(format!("client.{kind}"))))
    };
    let existing = |path: PathBuf| Some(path).filter(|path| path.exists());
    let secure = matches!(address, Address::Https(_));
    Ok(Remote {
        name: name.to_owned(),
        address,
        protocol: entry.protocol.filter(|word| !word.is_empty()).unwrap_or_else(|| product.word().to_owned()),
        public,
        server_certificate: home
            .filter(|_| secure)
            .and_then(|home| existing(home.join("servercerts").join(format!("{name}.crt")))),
        authority: directory.filter(|_| secure).and_then(|directory| existing(directory.join("client.ca"))),
        certificate: own("crt").filter(|_| secure && !public),
        key: own("key").filter(|_| secure && !public),
        project: project.or(entry.project).filter(|project| !project.is_empty()),
        origin,
    })
}

impl Remote {
    /// The URI to connect to, certificates included.
    ///
    /// # Errors
    /// `InvalidInput` for a remote that has images only.
    pub fn uri(&self, product: Product) -> Result<String> {
        if self.protocol == "simplestreams" {
            return Err(Error::invalid("remote", format!("{} serves images only; it is not a node", self.name)));
        }
        let mut uri = match &self.address {
            Address::Unix(path) => format!("{}+unix://{}", product.word(), path_text(path)),
            Address::Https(address) => {
                format!("{}+{}", product.word(), address.trim_end_matches('/'))
            }
        };
        let mut separator = '?';
        let mut add = |key: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = write!(uri, "{separator}{key}={value}");
            separator = '&';
        };
        // A copy of the server's certificate says more than an authority.
        if let Some(path) = &self.server_certificate {
            add("server_certificate", path_text(path));
        } else if let Some(path) = &self.authority {
            add("authority", path_text(path));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            add("certificate", path_text(certificate));
            add("key", path_text(key));
        }
        if let Some(project) = self.project.as_deref().filter(|project| *project != "default") {
            add("project", super::request::encode(project));
        }
        Ok(uri)
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string().split('/').map(super::request::encode).collect::<Vec<_>>().join("/")
}

/// Finds the server that the command line would talk to: `name`, or the default remote. Reads files, but connects to
/// nothing.
///
/// # Errors
/// As [`remote`].
pub fn infer(environment: &Environment, product: Product, name: Option<&str>) -> Result<Connection> {
    let (name, origin) = match name {
        Some(name) => (name.to_owned(), None),
        None => default_remote(environment, product).map(|(name, origin)| (name, Some(origin)))?,
    };
    let remote = remote(environment, product, &name).map_err(|error| match (error.kind(), &origin) {
        (ErrorKind::NotFound, Some(origin)) => {
            Error::new(ErrorKind::NotFound, format!("{}; {origin} names it", error.message())).with_resource(&name)
        }
        _ => error,
    })?;
    let origin = origin.unwrap_or_else(|| remote.origin.clone());
    Ok(Connection { uri: remote.uri(product)?, remote: name, origin })
}

/// Servers found by what the environment says and by their usual sockets, each once.
pub(super) fn discover(environment: &Environment) -> Vec<Discovered> {
    let mut found: Vec<Discovered> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for product in Product::ALL {
        match infer(environment, product, None) {
            Ok(connection) if connection.remote != LOCAL => {
                let name = connection.remote.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                found.push(Discovered::new(name, connection.uri, connection.origin));
            }
            Ok(_) => {}
            Err(error) => {
                let origin = format!("the {} command line's settings", product.word());
                found.push(Discovered::broken(product.word(), error.message(), origin));
            }
        }
        let named = environment.socket(product);
        let named_by_variable =
            environment.of_product(product, "SOCKET").or(environment.of_product(product, "DIR")).is_some();
        let sockets = std::iter::once(named).chain(product.sockets().into_iter().map(PathBuf::from));
        for path in sockets.take(if named_by_variable { 1 } else { 3 }) {
            let Some(real) = path.canonicalize().ok().filter(|path| is_socket(path)) else { continue };
            if !seen.contains(&real) {
                let uri = format!("{}+unix://{}", product.word(), path_text(&path));
                found.push(Discovered::new(product.word(), uri, path.display().to_string()));
                seen.push(real);
            }
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

#[cfg(test)]
mod tests;
