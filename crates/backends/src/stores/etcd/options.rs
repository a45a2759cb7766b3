//! Where etcd is, who we are there, and which part of it is ours.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_core::store::Prefix;
use roadstead_core::{Error, NodeUri, Result, Secret};

use crate::tls::{Identity, Tls, Trust};

const PORT: u16 = 2379;
const SCHEMES: [&str; 2] = ["etcd+https", "etcd+http"];
/// Longer ones would take the room of keys and values in a request.
const PREFIX_MAX: usize = 128;
/// A password is a line of text; nothing longer is one.
const PASSWORD_MAX_BYTES: u64 = 64 * 1024;

/// How etcd is reached.
///
/// ```
/// use roadstead_backends::stores::etcd::EtcdOptions;
///
/// let uri = "etcd+https://roadstead:s3cret@one.example,two.example,three.example/fleet?authority=/etc/etcd/ca.pem";
/// let options = EtcdOptions::from_uri(uri).unwrap();
/// assert_eq!(options.endpoints.len(), 3);
/// assert_eq!(options.endpoints[0], "https://one.example:2379");
/// assert!(!options.to_string().contains("s3cret"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// Its members, each as `https://host:port`, or `http://host:port` on this machine. Name all of them: each one that is named
    /// may fail without any call failing, as long as a majority lives.
    pub endpoints: Vec<String>,
    /// Names with slashes between them. All that the store keeps is below `/PREFIX/`.
    pub prefix: String,
    /// Who we are. It needs to read and write everything below the prefix.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The authorities that the members' certificates must come from, PEM; without it those that this machine knows.
    pub authority: Option<PathBuf>,
    /// Our own certificate chain, PEM, where etcd asks for one. When etcd has users, too, it must have no common name: etcd's JSON
    /// gateway refuses those that have, and knows us by user and password.
    pub certificate: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub key: Option<PathBuf>,
    /// How long a call may take, all tries together (default 10 s; 1 s to 1 h).
    pub deadline: Duration,
    /// Makes etcd forget, at intervals of this length, what is older than that (1 s to 30 days). It forgets then for all who use
    /// it. Without it whoever runs etcd has to see to that: see the module.
    pub compact_after: Option<Duration>,
    /// Allows `http://` to other machines, where whoever is on the way can read and change all that the store keeps. Not with a
    /// password.
    pub cleartext: bool,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        EtcdOptions {
            endpoints: vec![format!("http://127.0.0.1:{PORT}")],
            prefix: "roadstead".to_owned(),
            user: None,
            password: None,
            authority: None,
            certificate: None,
            key: None,
            deadline: Duration::from_secs(10),
            compact_after: None,
            cleartext: false,
        }
    }
}

impl EtcdOptions {
    /// Reads `etcd+https://[USER:PASSWORD@]HOST[:2379][,HOST…][/PREFIX]` with the parameters `authority`, `certificate`, `key`,
    /// `password_file`, `deadline_seconds`, `compact_after_seconds`, and for `etcd+http` also `cleartext=true`. Asks nobody.
    ///
    /// # Errors
    /// `InvalidInput` that names the part at fault.
    pub fn from_uri(uri: &str) -> Result<Self> {
        // The text itself is not repeated in errors: it may hold a password.
        let refuse =
            |why: &str| Error::invalid("uri", format!("must be like etcd+https://USER@HOST,HOST/PREFIX: {why}"));
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| refuse("it has no host"))?;
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(refuse("the scheme must be etcd+https or etcd+http"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let at = if authority.contains('@') { "@" } else { "" };
        let parts: NodeUri = format!("{scheme}://{user}{at}host{rest}")
            .parse()
            .map_err(|_| refuse("special characters are written as %XX, and each parameter is given once"))?;
        let mut options = EtcdOptions { endpoints: Vec::new(), ..EtcdOptions::default() };
        let http = scheme.trim_start_matches("etcd+");
        for host in hosts.split(',') {
            options.endpoints.push(endpoint(&format!("{http}://{host}"), "uri")?);
        }
        match parts.path().trim_matches('/') {
            "" => {}
            prefix => prefix.clone_into(&mut options.prefix),
        }
        options.user = parts.user().filter(|user| !user.is_empty()).map(str::to_owned);
        options.password = parts.password().cloned();
        let mut known =
            vec!["authority", "certificate", "key", "password_file", "deadline_seconds", "compact_after_seconds"];
        if http == "http" {
            known.push("cleartext");
        }
        parts.allow_query(&known)?;
        let query = |name: &str| parts.query().get(name).map(String::as_str);
        options.authority = query("authority").map(PathBuf::from);
        options.certificate = query("certificate").map(PathBuf::from);
        options.key = query("key").map(PathBuf::from);
        if let Some(file) = query("password_file") {
            if options.password.is_some() {
                return Err(Error::invalid("password_file", "stands beside a password"));
            }
            options.password = Some(read_password(Path::new(file))?);
        }
        let seconds = |name: &'static str| {
            let parse = |text: &str| text.parse().map_err(|_| Error::invalid(name, "must be a number of seconds"));
            query(name).map(parse).transpose().map(|seconds| seconds.map(Duration::from_secs))
        };
        options.deadline = seconds("deadline_seconds")?.unwrap_or(options.deadline);
        options.compact_after = seconds("compact_after_seconds")?;
        options.cleartext = match query("cleartext") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Error::invalid("cleartext", "must be true or false")),
        };
        options.check()?;
        Ok(options)
    }

    /// Refuses what makes no sense or is not safe, and gives the prefix of all keys.
    pub(super) fn check(&self) -> Result<String> {
        if self.endpoints.is_empty() {
            return Err(Error::invalid("endpoints", "must be at least one"));
        }
        let mut secure = Vec::new();
        for given in &self.endpoints {
            let base = endpoint(given, "endpoints")?;
            secure.push(base.starts_with("https:"));
            if !base.starts_with("https:") && !is_this_machine(&base) {
                if self.password.is_some() {
                    return Err(Error::invalid(
                        "password",
                        "is not shown to other machines without TLS, where it could be read on its way: use etcd+https",
                    ));
                }
                if !self.cleartext {
                    return Err(Error::invalid(
                        "endpoints",
                        "are reached without TLS on this machine only (127.0.0.1, [::1], localhost): whoever is on the way \
                         could read and change all that the store keeps; use etcd+https, or say cleartext=true",
                    ));
                }
            }
        }
        if secure.iter().any(|one| secure.first() != Some(one)) {
            return Err(Error::invalid("endpoints", "must be all with TLS or all without"));
        }
        if self.prefix.len() > PREFIX_MAX {
            return Err(Error::invalid("prefix", format!("has more than {PREFIX_MAX} bytes")));
        }
        Prefix::new(format!("{}/", self.prefix))?;
        match (&self.user, &self.password) {
            (Some(_), Some(password)) if password.expose().is_empty() => {
                return Err(Error::invalid("password", "is empty"));
            }
            (Some(_), None) => {
                return Err(Error::invalid("password", "is missing beside the user (or a password_file)"));
            }
            (None, Some(_)) => return Err(Error::invalid("user", "is missing beside the password")),
            _ => {}
        }
        if !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(&self.deadline) {
            return Err(Error::invalid("deadline", "must be between one second and one hour"));
        }
        let month = Duration::from_hours(30 * 24);
        if self.compact_after.is_some_and(|after| !(Duration::from_secs(1)..=month).contains(&after)) {
            return Err(Error::invalid("compact_after", "must be between one second and thirty days"));
        }
        Ok(format!("/{}/", self.prefix))
    }

    /// How TLS is spoken; not at all on this machine.
    pub(super) fn tls(&self) -> Result<rustls::ClientConfig> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(Identity { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid("key", "is needed beside the certificate")),
            (None, Some(_)) => return Err(Error::invalid("certificate", "is needed beside the key")),
        };
        if self.endpoints.iter().any(|endpoint| endpoint.starts_with("https:")) {
            let trust = self.authority.clone().map_or(Trust::System, Trust::Authority);
            return Ok((*Tls::new(&trust, identity.as_ref())?.config()).clone());
        }
        for (field, given) in [("authority", self.authority.is_some()), ("certificate", identity.is_some())] {
            if given {
                return Err(Error::invalid(field, "says something about TLS only: use etcd+https"));
            }
        }
        crate::tls::nobody()
    }
}

/// As a URI, without the password.
impl fmt::Display for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https:"));
        write!(f, "etcd+http{}://", if secure { "s" } else { "" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let hosts: Vec<_> =
            self.endpoints.iter().map(|one| one.split_once("://").map_or("", |(_, host)| host)).collect();
        write!(f, "{}/{}", hosts.join(","), self.prefix)
    }
}

/// Scheme, host and port as HTTP writes them.
fn endpoint(text: &str, field: &str) -> Result<String> {
    let refuse =
        || Error::invalid(field, "each member must be a host with or without a port, such as one.example:2379");
    let uri: NodeUri = text.parse().map_err(|_| refuse())?;
    let empty = uri.path().trim_matches('/').is_empty() && uri.query().is_empty() && uri.user().is_none();
    let (true, true, Some(host)) = (empty, matches!(uri.scheme(), "http" | "https"), uri.host()) else {
        return Err(refuse());
    };
    rustls_pki_types::ServerName::try_from(host).map_err(|_| refuse())?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(format!("{}://{host}:{}", uri.scheme(), uri.port().unwrap_or(PORT)))
}

fn is_this_machine(endpoint: &str) -> bool {
    let uri: Result<NodeUri> = endpoint.parse();
    uri.is_ok_and(|uri| {
        uri.host().is_some_and(|host| {
            host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    })
}

fn read_password(path: &Path) -> Result<Secret> {
    let refuse = |why: &dyn fmt::Display| Error::invalid("password_file", format!("{}: {why}", path.display()));
    if std::fs::metadata(path).map_err(|error| refuse(&error))?.len() > PASSWORD_MAX_BYTES {
        return Err(refuse(&"is too long for a password"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refuse(&"is empty")),
        password if password.contains('\n') => Err(refuse(&"has more than one line")),
        password => Ok(Secret::new(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_members_and_a_prefix() {
        let options = EtcdOptions::from_uri("etcd+http://127.0.0.1").unwrap();
        assert_eq!(options.endpoints, ["http://127.0.0.1:2379"]);
        assert_eq!(options.check().unwrap(), "/roadstead/");
        let uri = "etcd+https://me:p%40ss%2Fw@one,two:1,[::1]:3/a/b/?deadline_seconds=5&compact_after_seconds=3600";
        let options = EtcdOptions::from_uri(uri).unwrap();
        assert_eq!(options.endpoints, ["https://one:2379", "https://two:1", "https://[::1]:3"]);
        assert_eq!(options.check().unwrap(), "/a/b/");
        assert_eq!(options.user.as_deref(), Some("me"));
        assert_eq!(options.password.as_ref().unwrap().expose(), "p@ss/w");
        assert_eq!((options.deadline.as_secs(), options.compact_after.unwrap().as_secs()), (5, 3600));
        assert_eq!(options.to_string(), "etcd+https://me@one:2379,two:1,[::1]:3/a/b");
        assert!(!format!("{options:?}").contains("p@ss"));
    }

    #[test]
    fn a_password_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let uri = format!("etcd+https://me@one?password_file={}", file.path().display());
        for text in ["", "two\nlines"] {
            std::fs::write(file.path(), text).unwrap();
            let error = EtcdOptions::from_uri(&uri).unwrap_err();
            assert!(error.field() == Some("password_file") && !error.to_string().contains("two"), "{error}");
        }
        std::fs::write(file.path(), "hunter 2\n").unwrap();
        assert_eq!(EtcdOptions::from_uri(&uri).unwrap().password.unwrap().expose(), "hunter 2");
    }

    #[test]
    fn what_makes_no_sense_or_is_not_safe_is_refused() {
        for (uri, field) in [
            ("etcd:one", "uri"),
            ("etcd://one", "uri"),
            ("etcd+https://", "uri"),
            ("etcd+https://one,", "uri"),
            ("etcd+https://one two", "uri"),
            ("etcd+https://one:99999", "uri"),
            ("etcd+https://one#x", "uri"),
            ("etcd+https://one?trust=all", "uri"),
            ("etcd+https://one?cleartext=true", "uri"),
            ("etcd+https://one/a b", "uri"),
            ("etcd+https://one/a//b", "prefix"),
            ("etcd+https://one/%20", "prefix"),
            ("etcd+https://me@one", "password"),
            ("etcd+https://me:@one", "password"),
            ("etcd+https://:hunter2@one", "user"),
            ("etcd+https://one?deadline_seconds=0", "deadline"),
            ("etcd+https://one?deadline_seconds=x", "deadline_seconds"),
            ("etcd+https://one?compact_after_seconds=0", "compact_after"),
            ("etcd+https://me:hunter2@one?password_file=/nowhere", "password_file"),
            ("etcd+https://me@one?password_file=/nowhere", "password_file"),
            ("etcd+http://me:hunter2@one", "password"),
            ("etcd+http://me:hunter2@127.0.0.1,10.0.0.1?cleartext=true", "password"),
            ("etcd+http://127.0.0.1.far.example", "endpoints"),
            ("etcd+http://one?cleartext=perhaps", "cleartext"),
        ] {
            let error = EtcdOptions::from_uri(uri).unwrap_err();
            assert_eq!(error.field(), Some(field), "{uri}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        for uri in ["etcd+http://me:pw@[::1],localhost", "etcd+http://10.0.0.1?cleartext=true"] {
            EtcdOptions::from_uri(uri).unwrap();
        }
        for (uri, field) in [
            ("etcd+https://one?authority=/nowhere", "authority"),
            ("etcd+https://one?certificate=/nowhere", "key"),
            ("etcd+https://one?key=/nowhere", "certificate"),
            ("etcd+http://127.0.0.1?authority=/nowhere", "authority"),
        ] {
            assert_eq!(EtcdOptions::from_uri(uri).unwrap().tls().unwrap_err().field(), Some(field), "{uri}");
        }
        let mixed =
            EtcdOptions { endpoints: vec!["https://one".into(), "http://127.0.0.1".into()], ..EtcdOptions::default() };
        assert_eq!(mixed.check().unwrap_err().field(), Some("endpoints"));
    }
}
