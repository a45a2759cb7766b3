//! Snapshots of a container.

use std::sync::Arc;

use roadstead_core::{Error, Result, Snapshot, SnapshotOptions};

use super::shared::Lxd;

/// S1.
pub(super) async fn snapshots(_lxd: &Arc<Lxd>, _id: &str) -> Result<Vec<Snapshot>> {
    Err(Error::unsupported("this yet"))
}

/// S10–S12.
pub(super) async fn create_snapshot(_lxd: &Arc<Lxd>, _id: &str, _options: &SnapshotOptions) -> Result<Snapshot> {
    Err(Error::unsupported("this yet"))
}

/// S20–S23.
pub(super) async fn restore_snapshot(_lxd: &Arc<Lxd>, _id: &str, _name: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// S30–S32.
pub(super) async fn delete_snapshot(_lxd: &Arc<Lxd>, _id: &str, _name: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
