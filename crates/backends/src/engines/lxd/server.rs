//! What a server tells of itself: `/1.0`, and the [`NodeInfo`] made of it.

use roadstead_core::{Error, ErrorKind, NodeInfo, Result};
use serde::Deserialize;

use super::request::Request;
use super::shared::Lxd;

/// The answer of `/1.0`, as far as it is used. Who is not trusted is told less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub(super) api_extensions: Option<Vec<String>>,
    pub(super) api_version: Option<String>,
    /// `trusted`, or `untrusted`.
    pub(super) auth: Option<String>,
    pub(super) auth_methods: Option<Vec<String>>,
    pub(super) environment: Option<Environment>,
}

/// Facts about server and machine.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Environment {
    pub(super) certificate_fingerprint: Option<String>,
    pub(super) kernel_architecture: Option<String>,
    pub(super) kernel_version: Option<String>,
    pub(super) os_name: Option<String>,
    pub(super) os_version: Option<String>,
    pub(super) server: Option<String>,
    pub(super) server_name: Option<String>,
    pub(super) server_pid: Option<u32>,
    pub(super) server_version: Option<String>,
}

impl Server {
    /// Whether we may do anything at all.
    pub(super) fn trusts_us(&self) -> bool {
        self.auth.as_deref() == Some("trusted")
    }

    /// Whether the API has this extension.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.api_extensions.iter().flatten().any(|word| word == extension)
    }
}

/// The machine, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    total: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    total: Option<u64>,
}

/// N10.
pub(super) async fn ping(lxd: &Lxd) -> Result<()> {
    let server: Server = Request::get(&[]).json(&lxd.client).await?;
    if server.trusts_us() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unauthenticated, "the server does not trust us any more"))
}

/// N11.
pub(super) async fn node_info(lxd: &Lxd) -> Result<NodeInfo> {
    let server: Server = Request::get(&[]).json(&lxd.client).await?;
    // Who is restricted to some projects may not read it.
    let resources = match Request::get(&["resources"]).json::<Resources>(&lxd.client).await {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => Resources::default(),
        result => result?,
    };
    Ok(describe(lxd, server, &resources))
}

fn describe(lxd: &Lxd, server: Server, resources: &Resources) -> NodeInfo {
    let environment = server.environment.unwrap_or_default();
    let mut node = NodeInfo::default();
    node.name = lxd.name.clone();
    node.engine = environment.server.filter(|name| !name.is_empty()).unwrap_or_else(|| "lxd".to_owned()).to_lowercase();
    node.engine_version = environment.server_version.unwrap_or_default();
    node.api_version = server.api_version;
    node.hostname = environment.server_name.filter(|name| !name.is_empty());
    node.os = environment.os_name.filter(|name| !name.is_empty()).map(|name| match environment.os_version {
        Some(version) if !version.is_empty() => format!("{name} {version}"),
        _ => name,
    });
    node.kernel = environment.kernel_version;
    node.architecture = environment.kernel_architecture;
    node.cpus = resources.cpu.as_ref().and_then(|cpu| cpu.total).filter(|count| *count > 0);
    node.memory_bytes = resources.memory.as_ref().and_then(|memory| memory.total).filter(|bytes| *bytes > 0);
    node.local = lxd.local;
    node
}
