//! Images of a server.

use std::sync::Arc;

use roadstead_core::{
    ByteStream, Error, ImageDetails, ImageProgress, ImageSummary, ImportOptions, ItemStream, PullOptions, Result,
};

use super::shared::Lxd;

/// I1.
pub(super) async fn list_images(_lxd: &Arc<Lxd>) -> Result<Vec<ImageSummary>> {
    Err(Error::unsupported("this yet"))
}

/// I2.
pub(super) async fn inspect_image(_lxd: &Arc<Lxd>, _reference: &str) -> Result<ImageDetails> {
    Err(Error::unsupported("this yet"))
}

/// I3, I4.
pub(super) async fn pull_image(_lxd: &Arc<Lxd>, _options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
    Err(Error::unsupported("this yet"))
}

/// I5, I6.
pub(super) async fn import_image(_lxd: &Arc<Lxd>, _archive: ByteStream, _options: &ImportOptions) -> Result<String> {
    Err(Error::unsupported("this yet"))
}

/// I7.
pub(super) async fn load_images(_lxd: &Arc<Lxd>, _archive: ByteStream) -> Result<Vec<String>> {
    Err(Error::unsupported("this yet"))
}

/// I7.
pub(super) async fn save_images(_lxd: &Arc<Lxd>, _references: &[String]) -> Result<ByteStream> {
    Err(Error::unsupported("this yet"))
}

/// I8.
pub(super) async fn tag_image(_lxd: &Arc<Lxd>, _reference: &str, _new_reference: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// I9, I10.
pub(super) async fn delete_image(_lxd: &Arc<Lxd>, _reference: &str, _force: bool) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
