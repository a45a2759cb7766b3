//! Images: what containers are made from.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::container::PortMapping;
use crate::error::{Error, Result};
use crate::names;
use crate::secret::Secret;
use crate::stream::{ByteStream, ItemStream};
use crate::time::Timestamp;

/// An image as it stands in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ImageSummary {
    /// Name of the node.
    pub node: String,
    /// The engine's id.
    pub id: String,
    /// Every name (repository and tag, or alias) that it has.
    pub references: Vec<String>,
    /// Digests under which registries know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was made, if told.
    pub created_at: Option<Timestamp>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Everything that the engine tells of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ImageDetails {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: ImageSummary,
    /// Processor architecture, for example `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Operating system, for example `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Default entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Default command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Default environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Default working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Default user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports that it says it serves (never published by this alone).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Digests of its layers, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What to pull.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PullOptions {
    /// Full reference, for example `docker.io/library/nginx:1.27` (required). Without tag and digest: `latest`.
    pub reference: String,
    /// Platform, for example `linux/arm64`; the node's own when absent.
    pub platform: Option<String>,
    /// Credentials for the registry.
    pub credentials: Option<RegistryCredentials>,
}

impl PullOptions {
    /// Pulls `reference`, everything else by default.
    #[must_use]
    pub fn new(reference: impl Into<String>) -> Self {
        PullOptions { reference: reference.into(), ..PullOptions::default() }
    }

    /// Checks the reference.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::image_reference("reference", &self.reference)?;
        if let Some(platform) = &self.platform {
            names::one_word("platform", platform)?;
        }
        Ok(())
    }
}

/// Credentials for a registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistryCredentials {
    /// User name.
    pub username: String,
    /// Password or token.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Password))]
    pub password: Secret,
}

/// How far a pull, a load or an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ImageProgress {
    /// The layer, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The engine's words.
    pub status: String,
    /// Bytes done of this layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_bytes: Option<u64>,
    /// Bytes of this layer in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

/// How a root file system becomes an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ImportOptions {
    /// Reference of the new image (required).
    pub reference: String,
    /// Default command.
    pub command: Vec<String>,
    /// A remark kept with the image.
    pub message: Option<String>,
}

impl ImportOptions {
    /// Imports as `reference`.
    #[must_use]
    pub fn new(reference: impl Into<String>) -> Self {
        ImportOptions { reference: reference.into(), ..ImportOptions::default() }
    }

    /// Checks the reference.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field.
    pub fn validate(&self) -> Result<()> {
        names::image_reference("reference", &self.reference)?;
        if self.reference.contains('@') {
            return Err(Error::invalid("reference", "a new image is named by repository and tag, not by digest"));
        }
        for (index, word) in self.command.iter().enumerate() {
            names::no_nul(&format!("command[{index}]"), word)?;
        }
        names::no_nul("message", self.message.as_deref().unwrap_or_default())
    }
}

/// Sees to it that `to` has the image that `from` has by this id, and gives the reference to make containers of on `to`: `preferred`
/// where that means this image there, otherwise the id. Nothing is sent when it is there already.
///
/// It may be cancelled by dropping its future; `to` may have the image or not, then.
///
/// # Errors
/// `NotFound` when `from` does not have it, and what either node says; nodes of different kinds of engines do not take each other's.
pub async fn bring_image(from: &dyn Images, to: &dyn Images, id: &str, preferred: &str) -> Result<String> {
    if let Some(there) = there(to, id, preferred).await? {
        return Ok(there);
    }
    let known = from.inspect_image(id).await?.summary;
    // Its name goes along, where it is one of it.
    let named = known.references.iter().any(|reference| reference == preferred);
    let asked = if named { preferred } else { id };
    let loaded = to.load_images(from.save_images(&[asked.to_owned()]).await?).await?;
    if let Some(there) = there(to, id, preferred).await? {
        return Ok(there);
    }
    loaded.into_iter().next().ok_or_else(|| Error::not_found("image", id))
}

/// The reference of the image with this id, where it is there.
async fn there(node: &dyn Images, id: &str, preferred: &str) -> Result<Option<String>> {
    for reference in [preferred, id] {
        match node.inspect_image(reference).await {
            Ok(found) if found.summary.id == id => return Ok(Some(reference.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == crate::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The images of a node.
#[async_trait]
pub trait Images: Debug + Send + Sync {
    /// All images, in one engine call.
    ///
    /// * **I1**: holds every image with all of its references.
    async fn list_images(&self) -> Result<Vec<ImageSummary>>;

    /// Everything that the engine tells of the image with this reference or id.
    ///
    /// * **I2**: finds it by reference and by id; `NotFound` otherwise.
    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails>;

    /// Pulls from a registry. When the stream has ended without error, the image is there.
    /// Dropping the stream gives the pull up.
    ///
    /// * **I3**: gives progress, and the image is there afterwards.
    /// * **I4**: an image that the registry does not have is an error (`NotFound`, or `PermissionDenied` where the
    ///   registry does not tell the two apart), from the call or from the stream.
    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>>;

    /// Makes an image from the tar stream of a root file system, and gives its id.
    ///
    /// * **I5**: a container made from it has the files of the archive.
    /// * **I6**: a broken archive is `InvalidInput`; no image is made.
    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String>;

    /// Loads an archive made by [`Images::save_images`], and gives the references or ids loaded.
    ///
    /// * **I7**: what was saved and deleted is there again after loading, with its references.
    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>>;

    /// The images with these references as one archive.
    async fn save_images(&self, references: &[String]) -> Result<ByteStream>;

    /// Gives an image a further reference.
    ///
    /// * **I8**: it is found by the new reference, too, with the same id.
    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()>;

    /// Takes a reference away, and deletes the image with its last one. `force` also when containers use it.
    ///
    /// * **I9**: afterwards the reference is not found.
    /// * **I10**: `Conflict` when a running container uses it by its last reference and `force` is not set.
    async fn delete_image(&self, reference: &str, force: bool) -> Result<()>;
}
