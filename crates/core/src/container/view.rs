//! What is seen of existing containers: state, list items, details, and the filter of lists.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::interface::ContainerInterface;
use super::spec::{ContainerSpec, PortMapping};
use crate::error::Result;
use crate::names;
use crate::time::Timestamp;

/// The state of a container, in words that every engine's states map to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its main process runs.
    Running,
    /// All its processes are stopped in place.
    Frozen,
    /// Between an end and the next start.
    Restarting,
    /// On its way to the end.
    Stopping,
    /// Ended, whatever the exit code; can be started.
    Stopped,
    /// Cannot be used any more.
    Failed,
    /// The engine reports something that we have no word for, or nothing.
    #[default]
    #[serde(other)]
    Unknown,
}

impl ContainerState {
    /// Every state.
    pub const ALL: [ContainerState; 8] = [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Frozen,
        ContainerState::Restarting,
        ContainerState::Stopping,
        ContainerState::Stopped,
        ContainerState::Failed,
        ContainerState::Unknown,
    ];

    /// The word used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Frozen => "frozen",
            ContainerState::Restarting => "restarting",
            ContainerState::Stopping => "stopping",
            ContainerState::Stopped => "stopped",
            ContainerState::Failed => "failed",
            ContainerState::Unknown => "unknown",
        }
    }

    /// Whether processes exist in it.
    #[must_use]
    pub const fn has_processes(self) -> bool {
        matches!(self, ContainerState::Running | ContainerState::Frozen | ContainerState::Stopping)
    }
}

impl std::fmt::Display for ContainerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A container as it stands in a list. Everything comes from the engine's one list call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerSummary {
    /// Name of the node.
    pub node: String,
    /// The engine's id; where an engine knows names only, the name.
    pub id: String,
    /// Name without any leading slash.
    pub name: String,
    /// The image as it was asked for; engines may put the registry in front.
    pub image: String,
    /// Id of the image, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// State.
    pub state: ContainerState,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created, if told.
    pub created_at: Option<Timestamp>,
    /// Ports published on the node now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// Everything that the engine tells of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerDetails {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: ContainerSummary,
    /// The configuration in effect, the image's defaults included, as far as the engine tells.
    pub spec: ContainerSpec,
    /// When it was last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Exit code of the last end; 128 + n when signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Process id of the main process on the node, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often the engine has restarted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u64>,
    /// Whether the kernel ended it for want of memory; absent when the engine does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
    /// Result of the health check, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Whether the engine deletes it as soon as it ends: `--rm` on Docker, an ephemeral instance on LXD.
    #[serde(default)]
    pub removed_at_end: bool,
    /// Whether the engine refuses to delete it until that is changed: `security.protection.delete` on LXD.
    #[serde(default)]
    pub protected: bool,
    /// What the engine says went wrong at the last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The networks it is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<NetworkEndpoint>,
    /// The network interfaces that it sees, its loopback included; empty when the engine does not tell, or it has no processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<ContainerInterface>,
    /// Configuration of the engine's own that `spec` has no place for, sorted by name; what is the engine's default is left
    /// out. A copy by [`crate::migration`] as files and portable configuration does not have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond_spec: Vec<EngineSetting>,
}

/// A setting of an engine's own, in its words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct EngineSetting {
    /// Its name, for example `HostConfig.Ulimits` or `config.limits.kernel.nofile`.
    pub name: String,
    /// Its value as the engine writes it; left out where it is long, or may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl EngineSetting {
    /// The longest value that is shown, in characters.
    pub const SHOWN_MAX: usize = 120;

    /// A setting whose value is shown when it is one short line.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        let short = !value.is_empty() && value.chars().count() <= Self::SHOWN_MAX && !value.contains(char::is_control);
        EngineSetting { name: name.into(), value: short.then_some(value) }
    }

    /// A setting whose value is nobody's business.
    #[must_use]
    pub fn hidden(name: impl Into<String>) -> Self {
        EngineSetting { name: name.into(), value: None }
    }
}

/// Result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Health {
    /// Not known yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// A container's place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NetworkEndpoint {
    /// Name of the network.
    pub network: String,
    /// Addresses on it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
    /// Hardware address, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Gateway, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gateway: Option<IpAddr>,
}

/// Which containers a list shows. Every member narrows; the default shows all, stopped ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ContainerFilter {
    /// Any of these states; all states when empty.
    pub states: Vec<ContainerState>,
    /// Any of these ids, exactly; all ids when empty.
    pub ids: Vec<String>,
    /// Any of these names, exactly; all names when empty.
    pub names: Vec<String>,
    /// All of these labels.
    pub labels: Vec<LabelSelector>,
}

impl ContainerFilter {
    /// Shows everything.
    #[must_use]
    pub fn all() -> Self {
        ContainerFilter::default()
    }

    /// Whether nothing is filtered out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.ids.is_empty() && self.names.is_empty() && self.labels.is_empty()
    }

    /// Whether `container` passes. Engines narrow the list on their side and apply this to what comes back, since
    /// their own filters match substrings.
    #[must_use]
    pub fn matches(&self, container: &ContainerSummary) -> bool {
        (self.states.is_empty() || self.states.contains(&container.state))
            && (self.ids.is_empty() || self.ids.contains(&container.id))
            && (self.names.is_empty() || self.names.contains(&container.name))
            && self.labels.iter().all(|label| label.matches(&container.labels))
    }

    /// Checks the ids, names and labels.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names `id`, `name` or `label`.
    pub fn validate(&self) -> Result<()> {
        for id in &self.ids {
            names::existing("id", id)?;
        }
        for name in &self.names {
            names::existing("name", name)?;
        }
        for label in &self.labels {
            names::label_key("label", &label.key)?;
            names::no_nul("label", label.value.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// A label that must be there, with any value or with this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelSelector {
    /// The key.
    pub key: String,
    /// The value; any when absent.
    pub value: Option<String>,
}

impl LabelSelector {
    /// The label must be there, with any value.
    #[must_use]
    pub fn exists(key: impl Into<String>) -> Self {
        LabelSelector { key: key.into(), value: None }
    }

    /// The label must have this value.
    #[must_use]
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        LabelSelector { key: key.into(), value: Some(value.into()) }
    }

    /// Parses `key` or `key=value`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => LabelSelector::equals(key, value),
            None => LabelSelector::exists(text),
        }
    }

    /// Whether `labels` satisfy it.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}
