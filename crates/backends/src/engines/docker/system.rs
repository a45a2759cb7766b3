//! What a daemon tells of itself: `/version` and `/info`, and the [`NodeInfo`] made of them.

use roadstead_core::{NodeInfo, Result};
use serde::Deserialize;

use super::client::Client;
use super::request::Request;
use super::swarm::SwarmInfo;

/// The answer of `/version`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    pub(super) version: Option<String>,
    pub(super) api_version: Option<String>,
    #[serde(rename = "MinAPIVersion")]
    pub(super) min_api_version: Option<String>,
    pub(super) components: Option<Vec<Component>>,
}

/// A program that the engine consists of.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Component {
    pub(super) name: Option<String>,
}

impl Version {
    /// Whether a component of this name is reported, in any case.
    pub(super) fn has_component(&self, name: &str) -> bool {
        self.components
            .iter()
            .flatten()
            .filter_map(|component| component.name.as_deref())
            .any(|component| component.eq_ignore_ascii_case(name))
    }

    /// The engine's own name: "Podman Engine" becomes `podman`, plain "Engine" is what Docker calls its daemon.
    fn product(&self) -> String {
        let first = self.components.iter().flatten().filter_map(|component| component.name.as_deref()).next();
        let name = first.unwrap_or_default().to_lowercase();
        let name = name.trim_end_matches("engine").trim();
        if name.is_empty() { "docker".to_owned() } else { name.to_owned() }
    }
}

/// The answer of `/info`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub(super) name: Option<String>,
    pub(super) server_version: Option<String>,
    pub(super) operating_system: Option<String>,
    pub(super) kernel_version: Option<String>,
    pub(super) architecture: Option<String>,
    #[serde(rename = "OSType")]
    pub(super) os_type: Option<String>,
    #[serde(rename = "NCPU")]
    pub(super) cpus: Option<i64>,
    pub(super) mem_total: Option<i64>,
    pub(super) memory_limit: Option<bool>,
    pub(super) swap_limit: Option<bool>,
    pub(super) cpu_cfs_quota: Option<bool>,
    pub(super) pids_limit: Option<bool>,
    pub(super) cgroup_driver: Option<String>,
    pub(super) cgroup_version: Option<String>,
    pub(super) security_options: Option<Vec<String>>,
    pub(super) swarm: Option<SwarmInfo>,
}

impl Info {
    /// Whether the daemon runs without being root.
    pub(super) fn rootless(&self) -> bool {
        self.security_options.iter().flatten().any(|option| option == "name=rootless" || option == "rootless")
    }
}

/// N11.
pub(super) async fn node_info(client: &Client) -> Result<NodeInfo> {
    let version: Version = Request::get("/version").json(client).await?;
    let info: Info = Request::get("/info").json(client).await?;
    Ok(describe(client, &version, info))
}

fn describe(client: &Client, version: &Version, info: Info) -> NodeInfo {
    let mut node = NodeInfo::default();
    node.name = client.name.clone();
    node.engine = version.product();
    node.engine_version = version.version.clone().or(info.server_version).unwrap_or_default();
    node.api_version = Some(client.docker.client_version().to_string());
    node.hostname = info.name;
    node.os = info.operating_system;
    node.kernel = info.kernel_version;
    // Podman says amd64 where the kernel, and Docker, say x86_64.
    node.architecture = info.architecture.map(|name| match name.as_str() {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        _ => name,
    });
    node.cpus = info.cpus.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    node.memory_bytes = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    node.local = client.local;
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_named_by_their_own_report() {
        let product = |json: &str| serde_json::from_str::<Version>(json).unwrap().product();
        assert_eq!(product(r#"{"Components":[{"Name":"Engine"},{"Name":"containerd"}]}"#), "docker");
        assert_eq!(product(r#"{"Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#), "podman");
        assert_eq!(product(r#"{"Components":null}"#), "docker");
        assert_eq!(product(r#"{}"#), "docker");
    }
}
