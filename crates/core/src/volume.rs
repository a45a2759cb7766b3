//! Volumes of a node: storage that outlives containers.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::names;
use crate::time::Timestamp;

/// A volume as the engine tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Volume {
    /// Name of the node.
    pub node: String,
    /// Name, unique on the node.
    pub name: String,
    /// Driver, for example `local`.
    pub driver: String,
    /// Where it is on the node, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// When it was made, if told.
    pub created_at: Option<Timestamp>,
}

/// What a new volume shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct VolumeSpec {
    /// Name (required).
    pub name: String,
    /// Driver; the engine's own when absent.
    pub driver: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

impl VolumeSpec {
    /// A volume of this name, everything else by default.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        VolumeSpec { name: name.into(), ..VolumeSpec::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::volume_name("name", &self.name)?;
        if let Some(driver) = &self.driver {
            names::one_word("driver", driver)?;
        }
        for key in self.labels.keys() {
            names::label_key("labels", key)?;
        }
        Ok(())
    }
}

/// The volumes of a node.
#[async_trait]
pub trait Volumes: Debug + Send + Sync {
    /// All volumes, in one engine call.
    ///
    /// * **V1**: holds every volume that was created, with its labels.
    async fn list_volumes(&self) -> Result<Vec<Volume>>;

    /// The volume with this name.
    ///
    /// * **V2**: finds it by name; `NotFound` otherwise.
    async fn inspect_volume(&self, name: &str) -> Result<Volume>;

    /// Creates a volume.
    ///
    /// * **V3**: it has the driver and labels that were asked for, and keeps files from one container to the next.
    /// * **V4**: a name that is taken is `AlreadyExists`; nothing changes.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume>;

    /// Deletes a volume. `force` also when the driver has lost it.
    ///
    /// * **V5**: afterwards it is not found; deleting it again is `NotFound`.
    /// * **V6**: `Conflict` while a container uses it; nothing changes.
    async fn delete_volume(&self, name: &str, force: bool) -> Result<()>;
}
