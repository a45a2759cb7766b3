//! What a server tells of itself: `/1.0`, and the [`NodeInfo`] made of it.

use roadstead_core::{Error, ErrorKind, Limits, NodeInfo, Result};
use serde::Deserialize;

use super::client::Client;
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

/// `PermissionDenied` when the server takes us for anybody: it then shows what is public, as if there were nothing else.
pub(super) async fn must_trust_us(client: &Client) -> Result<()> {
    let server: Server = Request::get(&[]).json(client).await?;
    if server.trusts_us() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, "the server does not trust us, and shows what is public only"))
}

/// N11.
pub(super) async fn node_info(lxd: &Lxd) -> Result<NodeInfo> {
    let server: Server = Request::get(&[]).json(&lxd.client).await?;
    if !server.trusts_us() {
        // It tells everybody that it is there, and nothing of itself.
        return Err(Error::new(ErrorKind::Unauthenticated, "the server does not trust our certificate any more"));
    }
    Ok(describe(lxd, server, &resources(lxd, None).await?))
}

/// Of a member of a cluster, or of the server that answers.
async fn resources(lxd: &Lxd, member: Option<&str>) -> Result<Resources> {
    match Request::get(&["resources"]).query_some("target", member).json(&lxd.client).await {
        // Who is restricted to some projects may not read it.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
            Ok(Resources::default())
        }
        result => result,
    }
}

/// `InvalidInput` when these limits name processors that the machine does not have: a server takes them, and limits nothing.
pub(super) async fn must_have_cpus(lxd: &Lxd, limits: &Limits) -> Result<()> {
    let Some(set) = limits.cpu_set.as_deref() else { return Ok(()) };
    let total = resources(lxd, lxd.member.as_deref()).await?.cpu.and_then(|cpu| cpu.total).filter(|count| *count > 0);
    let Some(total) = total else { return Ok(()) };
    let highest = set.split([',', '-']).filter_map(|number| number.trim().parse::<u32>().ok()).max();
    match highest.filter(|highest| *highest >= total) {
        Some(highest) => {
            let words = format!("names the cpu {highest}; the machine has {total}, counted from 0");
            Err(Error::invalid("limits.cpu_set", words))
        }
        None => Ok(()),
    }
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
