//! Custom storage volumes of a server.

use std::sync::Arc;

use roadstead_core::{Error, Result, Volume, VolumeSpec};

use super::shared::Lxd;

/// V1.
pub(super) async fn list_volumes(_lxd: &Arc<Lxd>) -> Result<Vec<Volume>> {
    Err(Error::unsupported("this yet"))
}

/// V2.
pub(super) async fn inspect_volume(_lxd: &Arc<Lxd>, _name: &str) -> Result<Volume> {
    Err(Error::unsupported("this yet"))
}

/// V3, V4.
pub(super) async fn create_volume(_lxd: &Arc<Lxd>, _spec: &VolumeSpec) -> Result<Volume> {
    Err(Error::unsupported("this yet"))
}

/// V5, V6.
pub(super) async fn delete_volume(_lxd: &Arc<Lxd>, _name: &str, _force: bool) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
