//! The full description of a container to create, and the checks that need no engine.

use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::names;
use crate::signal::Signal;

/// What a new container shall be. Everything but the image has a default that leaves the choice to the engine.
///
/// The same type describes an existing container in [`crate::ContainerDetails::spec`], as far as the engine tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerSpec {
    /// Image reference or id, for example `docker.io/library/nginx:1.27`; the path or URL of a flist on core0 (required).
    pub image: String,
    /// Name, unique on the node; the engine makes one up when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Environment variables, added to the image's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Directory in which the command starts; absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Host name inside the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Labels (`user.*` keys on engines that have those).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Directories, volumes and temporary file systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Ports published on the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Networks to join; the engine's default network when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkAttachment>,
    /// Name resolution inside the container.
    #[serde(skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
    /// What the engine does when the main process ends.
    #[serde(skip_serializing_if = "RestartPolicy::is_never")]
    pub restart: RestartPolicy,
    /// Resource limits.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Kernel capabilities to add, for example `NET_ADMIN`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities_add: Vec<String>,
    /// Kernel capabilities to drop; `ALL` drops every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities_drop: Vec<String>,
    /// All kernel capabilities and devices.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// An init process reaps orphans inside the container.
    pub init: bool,
    /// The main process has a terminal.
    pub tty: bool,
    /// Standard input of the main process stays open for [`crate::Container::attach`].
    pub stdin: bool,
    /// Signal that asks the main process to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<Signal>,
    /// Seconds between the stop signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u32>,
    /// How the engine checks that the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
}

impl ContainerSpec {
    /// A container from `image`, everything else by default.
    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        ContainerSpec { image: image.into(), ..ContainerSpec::default() }
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the command.
    #[must_use]
    pub fn command<I: IntoIterator<Item = S>, S: Into<String>>(mut self, command: I) -> Self {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Checks everything that can be known without an engine. Engines call it first, so that bad input changes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field, for example `mounts[1].target`.
    pub fn validate(&self) -> Result<()> {
        names::image("image", &self.image)?;
        if let Some(name) = &self.name {
            names::container_name("name", name)?;
        }
        for (field, command) in [("entrypoint", &self.entrypoint), ("command", &self.command)] {
            for (index, word) in command.iter().flatten().enumerate() {
                names::no_nul(&format!("{field}[{index}]"), word)?;
            }
        }
        for (key, value) in &self.env {
            names::env_name("env", key)?;
            names::no_nul(&format!("env.{key}"), value)?;
        }
        for (key, value) in &self.labels {
            names::label_key("labels", key)?;
            names::no_nul(&format!("labels.{key}"), value)?;
        }
        if let Some(directory) = &self.working_directory {
            names::absolute_path("working_directory", directory)?;
        }
        if let Some(user) = &self.user {
            names::user("user", user)?;
        }
        if let Some(hostname) = &self.hostname {
            names::hostname("hostname", hostname)?;
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            mount.validate(&format!("mounts[{index}]"))?;
            let place = mount.target.trim_end_matches('/');
            if place.is_empty() {
                return Err(Error::invalid(format!("mounts[{index}].target"), "nothing can be mounted over the root"));
            }
            if self.mounts.iter().take(index).any(|other| other.target.trim_end_matches('/') == place) {
                return Err(Error::invalid(format!("mounts[{index}].target"), "is given twice"));
            }
        }
        for (index, port) in self.ports.iter().enumerate() {
            port.validate(&format!("ports[{index}]"))?;
        }
        for (index, network) in self.networks.iter().enumerate() {
            network.validate(&format!("networks[{index}]"))?;
        }
        self.dns.validate()?;
        self.limits.validate("limits")?;
        for (field, list) in
            [("capabilities_add", &self.capabilities_add), ("capabilities_drop", &self.capabilities_drop)]
        {
            for (index, capability) in list.iter().enumerate() {
                names::kernel_capability(&format!("{field}[{index}]"), capability)?;
            }
        }
        self.health_check.as_ref().map_or(Ok(()), HealthCheck::validate)
    }
}

/// A directory, volume or temporary file system inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mount {
    /// What is mounted.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Path on the node for `bind`, name for `volume` (absent: an anonymous one), absent for `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Absolute path inside the container.
    pub target: String,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// Size limit of a `tmpfs`, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl Mount {
    fn validate(&self, field: &str) -> Result<()> {
        names::absolute_path(&format!("{field}.target"), &self.target)?;
        match (self.kind, &self.source) {
            (MountKind::Bind, Some(source)) => names::absolute_path(&format!("{field}.source"), source)?,
            (MountKind::Bind, None) => {
                return Err(Error::invalid(format!("{field}.source"), "a bind mount needs a path on the node"));
            }
            (MountKind::Volume, Some(source)) => names::volume_name(&format!("{field}.source"), source)?,
            (MountKind::Volume | MountKind::Unknown, _) | (MountKind::Tmpfs, None) => {}
            (MountKind::Tmpfs, Some(_)) => {
                return Err(Error::invalid(format!("{field}.source"), "a tmpfs has no source"));
            }
        }
        if self.kind == MountKind::Unknown {
            return Err(Error::invalid(format!("{field}.type"), "must be bind, volume or tmpfs"));
        }
        if self.size_bytes.is_some() && self.kind != MountKind::Tmpfs {
            return Err(Error::invalid(format!("{field}.size_bytes"), "only a tmpfs has a size"));
        }
        Ok(())
    }
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum MountKind {
    /// A path of the node.
    Bind,
    /// A volume of the engine.
    Volume,
    /// A temporary file system in memory.
    Tmpfs,
    /// Something that an engine reports and we have no word for; not accepted for a new container.
    #[serde(skip_deserializing)]
    Unknown,
}

/// A port of the container published on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortMapping {
    /// Port inside the container.
    pub container_port: u16,
    /// Port on the node; the engine picks a free one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Address on the node; all addresses when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub host_address: Option<std::net::IpAddr>,
    /// Transport.
    #[serde(default)]
    pub protocol: Protocol,
}

impl PortMapping {
    fn validate(&self, field: &str) -> Result<()> {
        if self.container_port == 0 {
            return Err(Error::invalid(format!("{field}.container_port"), "must be from 1 to 65535"));
        }
        if self.host_port == Some(0) {
            return Err(Error::invalid(
                format!("{field}.host_port"),
                "must be from 1 to 65535; leave it out to have one picked",
            ));
        }
        Ok(())
    }
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A network that the container joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NetworkAttachment {
    /// Name of the network; `none` and `host` where the engine has them.
    pub network: String,
    /// Further names of the container on this network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// A fixed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub address: Option<std::net::IpAddr>,
}

impl NetworkAttachment {
    /// Joins `network` with everything else by default.
    #[must_use]
    pub fn new(network: impl Into<String>) -> Self {
        NetworkAttachment { network: network.into(), ..NetworkAttachment::default() }
    }

    fn validate(&self, field: &str) -> Result<()> {
        names::network_name(&format!("{field}.network"), &self.network)?;
        for (index, alias) in self.aliases.iter().enumerate() {
            names::hostname(&format!("{field}.aliases[{index}]"), alias)?;
        }
        Ok(())
    }
}

/// Name resolution inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub servers: Vec<std::net::IpAddr>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options, for example `ndots:1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Further lines of the hosts file: name to address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub hosts: BTreeMap<String, std::net::IpAddr>,
}

impl Dns {
    fn is_empty(&self) -> bool {
        *self == Dns::default()
    }

    fn validate(&self) -> Result<()> {
        for (index, domain) in self.search.iter().enumerate() {
            names::hostname(&format!("dns.search[{index}]"), domain)?;
        }
        for (index, option) in self.options.iter().enumerate() {
            names::one_word(&format!("dns.options[{index}]"), option)?;
        }
        for name in self.hosts.keys() {
            names::hostname("dns.hosts", name)?;
        }
        Ok(())
    }
}

/// What the engine does when the main process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    Never,
    /// Starts it again, whatever the exit code, and with the engine.
    Always,
    /// Like `always`, but not when it was stopped on purpose before the engine ended.
    UnlessStopped,
    /// Starts it again when the exit code is not 0.
    OnFailure {
        /// How often at most; without end when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_retries: Option<u32>,
    },
}

/// What serde's own code takes for a tagged enum includes sequences, and members that the variant does not have.
impl<'de> Deserialize<'de> for RestartPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Policy {
            Never,
            Always,
            UnlessStopped,
            OnFailure,
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            policy: Policy,
            #[serde(default)]
            max_retries: Option<u32>,
        }

        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Wire;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with the member policy")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Wire, A::Error> {
                Wire::deserialize(MapAccessDeserializer::new(map))
            }
        }

        let wire = deserializer.deserialize_map(Members)?;
        if wire.max_retries.is_some() && wire.policy != Policy::OnFailure {
            return Err(de::Error::custom("only the policy on_failure has max_retries"));
        }
        Ok(match wire.policy {
            Policy::Never => RestartPolicy::Never,
            Policy::Always => RestartPolicy::Always,
            Policy::UnlessStopped => RestartPolicy::UnlessStopped,
            Policy::OnFailure => RestartPolicy::OnFailure { max_retries: wire.max_retries },
        })
    }
}

impl RestartPolicy {
    fn is_never(&self) -> bool {
        *self == RestartPolicy::Never
    }
}

/// Resource limits; absent means unlimited. Also a part of [`crate::ContainerUpdate`], where absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Limits {
    /// Memory in bytes, at least 6 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Swap in bytes, on top of the memory; 0 means none. Needs `memory_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// CPU time in cores, for example 1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Relative weight when cores are short, 2 to 262144; engines begin with 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u32>,
    /// Cores to run on, for example `0-2,4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_set: Option<String>,
    /// Number of processes and threads, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Limits {
    /// The least memory limit that is accepted: Docker's own minimum.
    pub const MEMORY_MIN_BYTES: u64 = 6 * 1024 * 1024;

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Checks ranges; `field` is where the limits stand in the caller's input.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the member.
    pub fn validate(&self, field: &str) -> Result<()> {
        let at = |member: &str| if field.is_empty() { member.to_owned() } else { format!("{field}.{member}") };
        if self.memory_bytes.is_some_and(|bytes| !(Self::MEMORY_MIN_BYTES..=i64::MAX as u64).contains(&bytes)) {
            return Err(Error::invalid(at("memory_bytes"), "must be at least 6291456 (6 MiB) and below 2^63"));
        }
        if let Some(swap) = self.swap_bytes {
            let Some(memory) = self.memory_bytes else {
                return Err(Error::invalid(at("swap_bytes"), "needs memory_bytes beside it"));
            };
            if memory.checked_add(swap).is_none_or(|sum| sum > i64::MAX as u64) {
                return Err(Error::invalid(at("swap_bytes"), "is too large"));
            }
        }
        if self.cpus.is_some_and(|cpus| !(0.01..=4096.0).contains(&cpus)) {
            return Err(Error::invalid(at("cpus"), "must be from 0.01 to 4096"));
        }
        if self.cpu_shares.is_some_and(|shares| !(2..=262_144).contains(&shares)) {
            return Err(Error::invalid(at("cpu_shares"), "must be from 2 to 262144"));
        }
        if self.pids.is_some_and(|pids| pids == 0 || pids > 4_194_304) {
            return Err(Error::invalid(at("pids"), "must be from 1 to 4194304"));
        }
        if let Some(set) = &self.cpu_set {
            names::cpu_set(&at("cpu_set"), set)?;
        }
        Ok(())
    }
}

/// How the engine checks that a container is well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct HealthCheck {
    /// Command run inside the container; exit code 0 means well (required).
    pub command: Vec<String>,
    /// Seconds between checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    /// Seconds after which a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Seconds after the start in which failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period_seconds: Option<f64>,
    /// Failures in a row that make it unwell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl HealthCheck {
    /// Checks with `command`, everything else by default.
    #[must_use]
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(command: I) -> Self {
        HealthCheck { command: command.into_iter().map(Into::into).collect(), ..HealthCheck::default() }
    }

    fn validate(&self) -> Result<()> {
        if self.command.is_empty() {
            return Err(Error::invalid("health_check.command", "must not be empty"));
        }
        for (index, word) in self.command.iter().enumerate() {
            names::no_nul(&format!("health_check.command[{index}]"), word)?;
        }
        for (member, value) in [
            ("interval_seconds", self.interval_seconds),
            ("timeout_seconds", self.timeout_seconds),
            ("start_period_seconds", self.start_period_seconds),
        ] {
            // Docker refuses anything under a millisecond.
            if value.is_some_and(|seconds| !(0.001..=86_400.0).contains(&seconds)) {
                return Err(Error::invalid(format!("health_check.{member}"), "must be from 0.001 to 86400"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_policy_is_an_object_that_says_nothing_more_than_it_means() {
        for (policy, json) in [
            (RestartPolicy::Never, r#"{"policy":"never"}"#),
            (RestartPolicy::Always, r#"{"policy":"always"}"#),
            (RestartPolicy::UnlessStopped, r#"{"policy":"unless_stopped"}"#),
            (RestartPolicy::OnFailure { max_retries: None }, r#"{"policy":"on_failure"}"#),
            (RestartPolicy::OnFailure { max_retries: Some(3) }, r#"{"policy":"on_failure","max_retries":3}"#),
        ] {
            assert_eq!(serde_json::to_string(&policy).unwrap(), json);
            assert_eq!(serde_json::from_str::<RestartPolicy>(json).unwrap(), policy);
        }
        for bad in [
            r#"["always"]"#,
            r#"["on_failure",3]"#,
            r#""always""#,
            "{}",
            "null",
            r#"{"policy":"sometimes"}"#,
            r#"{"policy":["always"]}"#,
            r#"{"policy":"always","max_retries":3}"#,
            r#"{"policy":"always","more":1}"#,
        ] {
            assert!(serde_json::from_str::<RestartPolicy>(bad).is_err(), "{bad}");
        }
    }
}
