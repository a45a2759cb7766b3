//! What conformance is tried on: the reference engine, bare and in every layer, and each way to each real engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roadstead_core::conformance::{Clause, Extra, Fixture, Outage, PullReferences};
use roadstead_core::layers::{self, BreakerOptions, ConcurrencyLimit, Deadline, Retry, Trace};
use roadstead_core::memory::{MemoryEngine, MemoryNode, MemoryOptions, PRESET_IMAGE, REGISTRY_IMAGE};
use roadstead_core::{Capability, ConnectOptions, Node, NodeUri, Registry, Result};

use crate::left_out::soak;
use crate::raw::Request;
use crate::served::Served;
use crate::{cut, engines};

type Layer = fn(Arc<dyn Node>) -> Arc<dyn Node>;

/// One column of the table.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// The reference engine within a layer.
    Memory(&'static str, Layer),
    /// The reference engine without what an engine may lack.
    Bare,
    /// A node of another server, which is the reference engine, or a real one: its name, and that one's kind and variable.
    Served(&'static str, Option<(&'static str, &'static str)>),
    /// A real engine: its name, the variable that holds its URI, and the kind of way to it.
    Real(&'static str, &'static str, Way),
}

/// How a real engine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A socket of this machine.
    Unix,
    /// TLS with a client certificate.
    Tls,
    /// ssh.
    Ssh,
}

/// Every column, in order.
pub const SUBJECTS: [Subject; 20] = [
    Subject::Memory("memory", |node| node),
    Subject::Memory("memory+deadline", |node| layers::wrap(node, Deadline::default())),
    Subject::Memory("memory+limit", |node| layers::wrap(node, ConcurrencyLimit::default())),
    Subject::Memory("memory+retry", |node| layers::wrap(node, Retry::default())),
    Subject::Memory("memory+breaker", |node| layers::guard(Arc::clone(&node), node, BreakerOptions::default())),
    Subject::Memory("memory+trace", |node| layers::wrap(node, Trace::default())),
    Subject::Memory("memory+standard", layers::standard),
    Subject::Bare,
    Subject::Served("roadstead", None),
    Subject::Served("roadstead-docker", Some(("docker", "ROADSTEAD_TEST_DOCKER_URI"))),
    Subject::Real("docker", "ROADSTEAD_TEST_DOCKER_URI", Way::Unix),
    Subject::Real("docker-tls", "ROADSTEAD_TEST_DOCKER_TLS_URI", Way::Tls),
    Subject::Real("docker-ssh", "ROADSTEAD_TEST_SSH_URI", Way::Ssh),
    Subject::Real("podman", "ROADSTEAD_TEST_PODMAN_URI", Way::Unix),
    Subject::Real("lxd", "ROADSTEAD_TEST_LXD_URI", Way::Unix),
    Subject::Real("lxd-tls", "ROADSTEAD_TEST_LXD_TLS_URI", Way::Tls),
    Subject::Real("incus", "ROADSTEAD_TEST_INCUS_URI", Way::Unix),
    Subject::Real("incus-tls", "ROADSTEAD_TEST_INCUS_TLS_URI", Way::Tls),
    Subject::Real("core0", "ROADSTEAD_TEST_CORE0_URI", Way::Unix),
    Subject::Real("core0-tls", "ROADSTEAD_TEST_CORE0_TLS_URI", Way::Tls),
];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Subject {
    /// Its name, which begins the names of its trials.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Subject::Memory(name, _) | Subject::Served(name, _) | Subject::Real(name, _, _) => name,
            Subject::Bare => "memory-bare",
        }
    }

    /// The variable that is not set, when it cannot be tried for that.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        match self {
            Subject::Real(_, name, _) | Subject::Served(_, Some((_, name))) if variable(name).is_none() => Some(name),
            _ => None,
        }
    }

    /// Whether `clause` is tried on it. What an engine does is tried by its own socket; by each other way, what depends on the
    /// way, unless it is a soak.
    #[must_use]
    pub fn tries(&self, clause: &Clause) -> bool {
        let is_other_way = match self {
            Subject::Memory(..) | Subject::Bare | Subject::Served(_, None) => false,
            Subject::Served(_, Some(_)) => true,
            Subject::Real(_, _, way) => *way != Way::Unix,
        };
        !is_other_way || depends_on_way(clause.number()) || soak()
    }

    /// What to try `clause` with. What the fixture holds beside ends with `Keep`.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    pub async fn fixture(&self, clause: &Clause) -> Result<(Fixture, Keep)> {
        match self {
            Subject::Memory(name, layer) => memory(name, &MemoryOptions::default(), *layer, clause).await,
            Subject::Served(name, behind) => served(name, *behind, clause).await,
            Subject::Bare => memory(self.name(), &bare(), |node| node, clause).await,
            Subject::Real(name, uri, way) => real(name, &variable(uri).unwrap_or_default(), *way, clause).await,
        }
    }
}

/// What streams either way or both, is told of as it happens, or is waited for, and of what is asked and answered at once some of
/// each kind.
fn depends_on_way(number: &str) -> bool {
    let (family, number) = number.split_at(1);
    match (family, number.parse::<u32>().unwrap_or_default()) {
        ("B" | "I" | "J" | "U", _) => true,
        // Signals, statistics and processes are the kernel's where the engine is on this machine, and the engine's elsewhere.
        ("C", number) => matches!(number, 1..=3 | 20 | 30 | 50 | 51 | 90 | 100..=171),
        ("N", number) => matches!(number, 1..=20 | 30 | 50..=64),
        ("P", number) => matches!(number, 1 | 6),
        ("S", number) => matches!(number, 1 | 20),
        ("V" | "W", number) => matches!(number, 1 | 3),
        _ => false,
    }
}

/// What has to live as long as a fixture is used.
#[derive(Debug, Default)]
pub struct Keep {
    _directory: Option<tempfile::TempDir>,
    served: Option<Served>,
}

impl Keep {
    /// Ends what has to be ended and not only dropped.
    ///
    /// # Errors
    /// When it had failed by itself.
    pub async fn end(self) -> Result<()> {
        match self.served {
            Some(served) => served.end().await,
            None => Ok(()),
        }
    }
}

/// How long a job is not given up when its server is away. Short, since one clause waits for that.
const AWAY: std::time::Duration = std::time::Duration::from_secs(4);

async fn served(name: &str, behind: Option<(&str, &str)>, clause: &Clause) -> Result<(Fixture, Keep)> {
    let (uri, image, pull) = match behind {
        None => {
            let missing = "registry.example/roadstead/missing:none";
            ("memory:".to_owned(), PRESET_IMAGE.to_owned(), Some(PullReferences::new(REGISTRY_IMAGE, missing)))
        }
        Some((kind, uri)) => {
            let _ = engines::behind(kind);
            let wanted = clause.wants().contains(&Extra::Registry);
            let pull = if wanted { pull_references(name) } else { None };
            (variable(uri).unwrap_or_default(), image(kind), pull)
        }
    };
    let server = Served::start(&[("far", &uri)]).await?;
    let mut options = ConnectOptions::default();
    options.reconnect_deadline = AWAY;
    let node = server.node(name, "", &options).await?;
    let mut fixture = Fixture::new(node, image).secret(server.token());
    if let Some(pull) = pull {
        fixture = fixture.pull(pull);
    }
    if clause.wants().contains(&Extra::Outage) {
        let (detour, cut) = cut::tcp(([127, 0, 0, 1], server.port()).into()).await.expect("a port");
        let registry = roadstead_backends::registry();
        let node = registry.connect(name, &server.uri(detour, "far"), &options).await?;
        fixture = fixture.outage(Outage::new(node, move || cut.cut()));
    }
    Ok((fixture, Keep { served: Some(server), ..Keep::default() }))
}

async fn memory(name: &str, options: &MemoryOptions, layer: Layer, clause: &Clause) -> Result<(Fixture, Keep)> {
    let name = name.replace('+', "-");
    let without: Vec<_> = options.without.iter().map(|capability| capability.name()).collect();
    let uri = match without.as_slice() {
        [] => "memory://me:never%40shown@sea".to_owned(),
        names => format!("memory://me:never%40shown@sea?without={}", names.join(",")),
    };
    let node = Registry::new().with(MemoryEngine).connect(&name, &uri, &ConnectOptions::default()).await?;
    let mut fixture = Fixture::new(layer(node), PRESET_IMAGE)
        .secret("never@shown")
        .secret("never%40shown")
        .pull(PullReferences::new(REGISTRY_IMAGE, "registry.example/roadstead/missing:none"));
    if clause.wants().contains(&Extra::Outage) {
        let node = Arc::new(MemoryNode::new(&name, options.clone())?);
        let faults = Arc::clone(&node);
        fixture = fixture.outage(Outage::new(layer(node), move || faults.faults().leave()));
    }
    Ok((fixture, Keep::default()))
}

/// Creating and running jobs is left, so that what is refused of them is seen.
fn bare() -> MemoryOptions {
    let kept = [Capability::Create, Capability::Jobs];
    let mut options = MemoryOptions::default();
    options.without = Capability::ALL.iter().copied().filter(|capability| !kept.contains(capability)).collect();
    options
}

/// Where the certificates of the test engines are.
fn options(name: &str, way: Way) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    if way == Way::Tls && name != CORE0_TLS {
        let directory = conf(name).or(variable("ROADSTEAD_TEST_DOCKER_CERTS")).map(PathBuf::from).unwrap_or_default();
        let file = |docker: &str, other: &str| Some(directory.join(if conf(name).is_some() { other } else { docker }));
        options.certificate = file("cert.pem", "client.crt");
        options.key = file("key.pem", "client.key");
        // LXD and Incus have certificates of their own, which no authority vouches for.
        options.authority = conf(name).is_none().then(|| directory.join("ca.pem"));
    }
    options
}

/// The column of nodes that are reached by TLS, and the token that is shown to them: a node without an organisation takes any.
const CORE0_TLS: &str = "core0-tls";
const TOKEN: &str = "never.shown.token";

/// Where the files of LXD's or Incus's clients are.
fn conf(name: &str) -> Option<String> {
    match name {
        "lxd-tls" => variable("ROADSTEAD_TEST_LXD_CONF"),
        "incus-tls" => variable("ROADSTEAD_TEST_INCUS_CONF"),
        _ => None,
    }
}

/// The URI with what only a query can say.
fn complete(name: &str, uri: &str, way: Way, ssh_config: &str) -> String {
    match (way, conf(name)) {
        (Way::Ssh, _) => format!("{uri}?config={ssh_config}"),
        (Way::Tls, Some(conf)) => format!("{uri}?server_certificate={conf}/server.crt"),
        (Way::Tls, None) if name == CORE0_TLS => {
            let certificate = variable("ROADSTEAD_TEST_CORE0_CERT").unwrap_or_default();
            format!("{}?server_certificate={certificate}", uri.replace("://", &format!("://:{TOKEN}@")))
        }
        _ => uri.to_owned(),
    }
}

async fn real(name: &str, uri: &str, way: Way, clause: &Clause) -> Result<(Fixture, Keep)> {
    // One that died is started again.
    let _ = engines::behind(name);
    let registry = roadstead_backends::registry();
    let config = variable("ROADSTEAD_TEST_SSH_CONFIG").unwrap_or_default();
    let node = registry.connect(name, &complete(name, uri, way, &config), &options(name, way)).await?;
    let mut fixture = Fixture::new(node, image(name));
    if name == CORE0_TLS {
        fixture = fixture.secret(TOKEN);
    }
    if clause.wants().contains(&Extra::Registry)
        && let Some(references) = pull_references(name)
    {
        fixture = fixture.pull(references);
    }
    let mut keep = Keep::default();
    if clause.wants().contains(&Extra::Outage) {
        let directory = tempfile::tempdir().expect("a directory");
        let (uri, cut) = detour(name, uri, way, &config, directory.path()).await;
        let node = registry.connect(name, &uri, &options(name, way)).await?;
        fixture = fixture.outage(Outage::new(node, move || cut.cut()));
        keep._directory = Some(directory);
    }
    Ok((fixture, keep))
}

/// The test image: its name, or where images have none, its file.
fn image(name: &str) -> String {
    if name.starts_with("core0") {
        variable("ROADSTEAD_TEST_CORE0_FLIST").unwrap_or_default()
    } else {
        engines::image()
    }
}

/// The same engine by a way that can be cut.
async fn detour(name: &str, uri: &str, way: Way, config: &str, directory: &Path) -> (String, cut::Cut) {
    let parsed: NodeUri = uri.parse().expect("a URI");
    if way == Way::Unix {
        let (socket, cut) = cut::unix(parsed.path().into(), directory).expect("a socket");
        return (format!("{}://{}", parsed.scheme(), socket.display()), cut);
    }
    let (host, port) = (parsed.host().expect("a host"), parsed.port().expect("a port"));
    let engine = format!("{host}:{port}").parse().expect("an address");
    let (detour, cut) = cut::tcp(engine).await.expect("a port");
    let user = parsed.user().map(|user| format!("{user}@")).unwrap_or_default();
    let uri = format!("{}://{user}{host}:{detour}", parsed.scheme());
    if way == Way::Tls {
        return (complete(name, &uri, way, config), cut);
    }
    // The key of the host is known under its own port.
    let known = std::fs::read_to_string(config).expect("the ssh configuration");
    let own = directory.join("ssh_config");
    std::fs::write(&own, format!("Host *\n  HostKeyAlias [{host}]:{port}\n{known}")).expect("a file");
    (complete(name, &uri, way, &own.display().to_string()), cut)
}

/// What the column called `name` pulls: from the registry, or from a server of its own kind.
fn pull_references(name: &str) -> Option<PullReferences> {
    let alias = format!("conformance-{name}:latest");
    if name.starts_with("lxd") || name.starts_with("incus") {
        // The remotes that the clients' configuration names; the tests' own (LXD_CONF, INCUS_CONF).
        let (remote, server) = match name.starts_with("lxd") {
            true => ("second", engines::lxd_second()?),
            false => ("main", engines::incus()?),
        };
        let known = server.get("/1.0/images/aliases?recursion=1")["metadata"].clone();
        let named =
            |wanted: &str| known.as_array().into_iter().flatten().find(|known| known["name"] == wanted).cloned();
        if named(&alias).is_none() {
            let target = named(&engines::image()).expect("the test image")["target"].clone();
            let body = serde_json::json!({"name": alias, "target": target});
            let _ = server.ask("POST", "/1.0/images/aliases", Some(&body));
        }
        return Some(PullReferences::new(format!("{remote}:{alias}"), format!("{remote}:roadstead/missing:none")));
    }
    let host = engines::registry()?;
    Some(PullReferences::new(tag_in_registry(&host, name), format!("{host}/roadstead/missing:none")))
}

/// Gives an image of the registry a tag of this test's own, since the tag is deleted from the engine again.
fn tag_in_registry(host: &str, name: &str) -> String {
    let path = |tag: &str| format!("/v2/roadstead/layers/manifests/{tag}");
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let ask = |request: Request| request.send_tcp(host).expect("an answer of the registry");
    let found = ask(Request::new("GET", path("latest")).header("Accept", accept)).expect(200);
    let kind = found.header("content-type").expect("a content type").to_owned();
    let tag = format!("conformance-{name}-{}", std::process::id());
    let _ = ask(Request::new("PUT", path(&tag)).header("Content-Type", &kind).body(found.body)).expect(201);
    format!("{host}/roadstead/layers:{tag}")
}
