//! Backups: a whole container as one archive, and a container made from one.

use std::sync::Arc;

use roadstead_core::{BackupOptions, ByteStream, CreatedContainer, Error, RestoreOptions, Result};

use super::shared::Lxd;

/// B1, B2.
pub(super) async fn backup(_lxd: &Arc<Lxd>, _id: &str, _options: &BackupOptions) -> Result<ByteStream> {
    Err(Error::unsupported("this yet"))
}

/// B10–B13.
pub(super) async fn restore_container(
    _lxd: &Arc<Lxd>,
    _archive: ByteStream,
    _options: &RestoreOptions,
) -> Result<CreatedContainer> {
    Err(Error::unsupported("this yet"))
}
